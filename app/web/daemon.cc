// SPDX-License-Identifier: BSD-3-Clause
#include "web/daemon.h"

#include <algorithm>

namespace postern {
namespace {

DaemonAnswer unavailable(std::string why) {
    DaemonAnswer answer;
    answer.error = std::move(why);
    answer.at = Daemon::Clock::now();
    return answer;
}

}  // namespace

std::shared_ptr<const DaemonAnswer> Daemon::ask(const std::string& command, const Json& args,
                                                Bounds bounds) {
    const std::string key = command + '\n' +
                            args.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n' +
                            std::to_string(bounds.rows);
    const auto give_up = Clock::now() + options_.deadline + options_.wait;
    std::unique_lock lock(mutex_);
    for (;;) {
        Entry& entry = entries_[key];
        if (!entry.asking && entry.answer != nullptr &&
            Clock::now() - entry.answer->at < options_.max_age)
            return entry.answer;
        if (!entry.asking) break;
        if (changed_.wait_until(lock, give_up) == std::cv_status::timeout)
            return std::make_shared<DaemonAnswer>(unavailable("no answer in time"));
    }
    // The entry stays while `asking`: forget_old() leaves it.
    entries_[key].asking = true;
    std::shared_ptr<const DaemonAnswer> answer;
    const bool free =
        changed_.wait_for(lock, options_.wait, [this] { return in_use_ < options_.connections; });
    if (!free) {
        answer = std::make_shared<DaemonAnswer>(
            unavailable("all " + std::to_string(options_.connections) +
                        " connections to the daemon wait for answers; try again"));
    } else {
        ++in_use_;
        lock.unlock();
        answer = std::make_shared<DaemonAnswer>(ask_now(command, args, bounds));
        asked_.fetch_add(1, std::memory_order_relaxed);
        lock.lock();
        --in_use_;
    }
    if (answer->state == DaemonAnswer::State::unavailable)
        failed_.fetch_add(1, std::memory_order_relaxed);
    Entry& entry = entries_[key];
    entry.answer = answer;
    entry.asking = false;
    forget_old();
    changed_.notify_all();
    return answer;
}

DaemonAnswer Daemon::ask_now(const std::string& command, const Json& args, Bounds bounds) const {
    auto client = ControlClient::connect(options_.socket, options_.silence_s);
    if (!client) return unavailable(client.error().message);
    client->ask(command, args);
    DaemonAnswer answer;
    const auto deadline = Clock::now() + options_.deadline;
    std::size_t bytes = 0;
    Reply reply;
    while ((reply = client->next()).kind == Reply::Kind::row) {
        if (answer.rows.size() == bounds.rows || bytes + reply.text.size() > bounds.bytes) {
            answer.truncated = true;  // disconnecting ends the rest at the daemon
            break;
        }
        if (Clock::now() > deadline)
            return unavailable("the daemon's answer was not complete in time");
        bytes += reply.text.size();
        answer.rows.push_back(std::move(reply.text));
    }
    answer.at = Clock::now();
    if (reply.kind == Reply::Kind::lost || reply.code == "busy") return unavailable(reply.text);
    if (reply.kind == Reply::Kind::error) {
        answer.rows.clear();
        answer.state = DaemonAnswer::State::refused;
        answer.error = reply.text;
        answer.code = reply.code;
        return answer;
    }
    answer.state = DaemonAnswer::State::ok;
    return answer;
}

void Daemon::forget_old() {
    const auto now = Clock::now();
    std::erase_if(entries_, [&](const auto& entry) {
        return !entry.second.asking && entry.second.answer != nullptr &&
               now - entry.second.answer->at >= options_.max_age;
    });
    while (entries_.size() > options_.answers) {
        const auto any = std::find_if(entries_.begin(), entries_.end(), [](const auto& entry) {
            return !entry.second.asking && entry.second.answer != nullptr;
        });
        if (any == entries_.end()) return;
        entries_.erase(any);
    }
}

}  // namespace postern
