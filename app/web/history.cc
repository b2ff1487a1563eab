// SPDX-License-Identifier: BSD-3-Clause
#include "web/history.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include <poll.h>

#include "base/wall_clock.h"

namespace postern {
namespace {

using std::chrono::milliseconds;

/// The metrics of workers that the page draws, by their fields in a point.
constexpr std::pair<const char*, const char*> kSums[] = {
    {"rx_packets", "rx_packets"},   {"rx_bytes", "rx_bytes"},
    {"tx_packets", "tx_packets"},   {"tx_bytes", "tx_bytes"},
    {"connections_created", "new"}, {"connections_expected", "expected"},
    {"connections", "connections"}};

std::string gap(const std::string& why) {
    return Json{{"event", "lost"}, {"why", why}}.dump(-1, ' ', false,
                                                      Json::error_handler_t::replace);
}

}  // namespace

Metrics read_metrics(Daemon& daemon) {
    constexpr Daemon::Bounds kAll{.rows = 500'000, .bytes = 256u << 20};
    const auto answer = daemon.ask("metrics", Json::object(), kAll);
    Metrics metrics;
    if (answer->state != DaemonAnswer::State::ok) {
        metrics.why = answer->error;
        return metrics;
    }
    for (const std::string& text : answer->rows)
        if (auto row = read_metric(text)) metrics.rows.push_back(std::move(*row));
    return metrics;
}

void NumberedLines::add(const std::string& object) {
    const std::lock_guard lock(mutex_);
    const std::string rest = object.substr(1);
    lines_.push_back(
        {++last_, "{\"seq\":" + std::to_string(last_) + (rest.starts_with('}') ? "" : ",") + rest});
    if (lines_.size() > kept_) lines_.pop_front();
}

std::string NumberedLines::after(std::uint64_t after, std::uint64_t& next) const {
    const std::lock_guard lock(mutex_);
    // A reader of an earlier process has seen numbers that are to come: it gets all.
    if (after > last_) after = 0;
    std::string out = "[";
    for (const Line& line : lines_) {
        if (line.number <= after) continue;
        if (out.size() > 1) out += ',';
        out += line.text;
    }
    next = last_;
    return out + ']';
}

std::string history_point(const Metrics& metrics, std::int64_t now_ms) {
    Json point{{"t", now_ms}, {"up", metrics.why.empty()}};
    if (!metrics.why.empty()) {
        point["why"] = metrics.why;
        return point.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    std::map<std::string, std::uint64_t> drops;
    std::map<std::string_view, std::uint64_t> sums;
    std::uint64_t expectations = 0;
    for (const MetricRow& row : metrics.rows) {
        if (row.group == "worker") sums[row.name] += row.value;
        if (row.group == "expect" && row.name == "expectations") expectations += row.value;
        if (row.group == "drops" && row.value != 0)
            for (const auto& [name, value] : row.labels)
                if (name == "reason") drops[value] += row.value;
    }
    for (const auto& [name, field] : kSums)
        point[field] = sums[name];
    point["expectations"] = expectations;
    point["drops"] = drops;
    return point.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void History::start() {
    std::thread([this] { sample(); }).detach();
    std::thread([this] { follow_expectations(); }).detach();
}

void History::sample() {
    auto due = Daemon::Clock::now();
    for (;;) {
        points_.add(history_point(read_metrics(daemon_), wall_ms()));
        // After a slow answer the next one is not made up for.
        due = std::max(due + milliseconds(kPeriodMs), Daemon::Clock::now());
        std::this_thread::sleep_until(due);
    }
}

void History::follow_expectations() {
    constexpr milliseconds kRetry{2'000};
    std::string said;
    for (;; std::this_thread::sleep_for(kRetry)) {
        auto client = ControlClient::connect(daemon_.socket());
        if (!client) {
            if (said != client.error().message) expectations_.add(gap(client.error().message));
            said = client.error().message;
            continue;
        }
        said.clear();
        client->ask("expect events");
        for (;;) {
            pollfd p{client->fd(), POLLIN, 0};
            while (!client->ready() && ::poll(&p, 1, -1) < 0) {
            }
            const Reply reply = client->next();
            if (reply.kind != Reply::Kind::row) {
                expectations_.add(gap(reply.text));
                break;
            }
            if (reply.text.starts_with('{')) expectations_.add(reply.text);
        }
    }
}

}  // namespace postern
