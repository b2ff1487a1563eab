// SPDX-License-Identifier: BSD-3-Clause
#include "restorer.h"

#include <algorithm>
#include <unordered_set>
#include <utility>
#include <variant>

#include "control_reader.h"

namespace postern {
namespace {

constexpr const char* kOutcomeNames[] = {"restored", "without_helper", "exists",
                                         "expired",  "zone_gone",      "full"};
static_assert(std::size(kOutcomeNames) == RestoreRequest::kOutcomes);

constexpr bool is_good(RestoreRequest::Outcome o) noexcept {
    using enum RestoreRequest::Outcome;
    return o == restored || o == without_helper;
}

/// Of an id in a file; 0: none.
std::uint64_t old_id(ConnId id) {
    return id ? std::uint64_t{id.worker.number()} << 48 ^ std::uint64_t{id.generation} << 32 ^
                    id.index
              : 0;
}

}  // namespace

void RestoreSummary::operator+=(const RestoreSummary& more) {
    for (const auto& [name, n] : more.connections)
        connections[name] += n;
    for (const auto& [name, n] : more.expectations)
        expectations[name] += n;
    for (const auto& [name, n] : more.unusable)
        unusable[name] += n;
    records += more.records;
    restored += more.restored;
}

Restorer::Restorer(Firewall& firewall, WorkerRequests& requests, std::uint32_t elapsed_ms,
                   std::function<Tick()> now)
    : firewall_(firewall),
      requests_(requests),
      elapsed_ms_(elapsed_ms),
      now_(std::move(now)),
      hold_(firewall),
      queues_(firewall.workers()) {}

void Restorer::add(const SavedConnection& saved) {
    Item item;
    RestoreRequest& r = item.request.emplace<RestoreRequest>();
    r.conn = saved.image.conn;
    r.conn.master = {};
    const std::uint64_t idle_ms = std::uint64_t{saved.idle_ms} + elapsed_ms_;
    r.idle_ms = static_cast<std::uint32_t>(std::min<std::uint64_t>(idle_ms, INT32_MAX));
    r.age_ms = saved.age_ms + elapsed_ms_;
    if (saved.image.helper.there) item.image = std::make_unique<HelperImage>(saved.image.helper);
    item.id = old_id(saved.id);
    item.master = old_id(saved.master);
    item.forgets = saved.forgets;
    item.may_master = item.image || saved.forgets || r.conn.helper != kNoHelper;
    place(std::move(item));
}

void Restorer::add(const SavedExpectation& saved) {
    ExpectRequest request = saved.request;
    if (request.timeout_ms <= elapsed_ms_) {
        ++expired_;
        return;
    }
    request.timeout_ms -= elapsed_ms_;
    const OldId master = old_id(saved.master);
    if (master == 0) {
        Online online(firewall_);
        const auto outcome = control_owner(firewall_).insert(request, nullptr, {now_()}).outcome;
        ++expectations_[static_cast<unsigned>(outcome)];
        return;
    }
    Item item;
    item.request = CreateExpectRequest{{}, request};
    item.master = master;
    place(std::move(item));
}

void Restorer::place(Item&& item) {
    if (item.master == 0) return queue(std::move(item), {});
    if (const auto master = ids_.find(item.master); master != ids_.end())
        return queue(std::move(item), master->second);
    waiting_[item.master].push_back(std::move(item));
    ++waiting_count_;
}

void Restorer::queue(Item&& item, ConnId master) {
    WorkerId worker;
    if (auto* restore = std::get_if<RestoreRequest>(&item.request)) {
        restore->conn.master = master;
        worker = home_of(firewall_.steering(), restore->conn);
    } else if (!master) {
        ++expectations_[static_cast<unsigned>(InsertOutcome::master_gone)];
        return;
    } else {
        std::get<CreateExpectRequest>(item.request).master = master;
        worker = master.worker;
    }
    if (queues_[worker.number()].empty() && requests_.has_room(worker))
        return send(worker, std::move(item));
    queues_[worker.number()].push_back(std::move(item));
    ++queued_;
}

void Restorer::send(WorkerId worker, Item&& item) {
    std::uint32_t tag;
    if (free_tags_.empty()) {
        tag = static_cast<std::uint32_t>(sent_.size());
        sent_.emplace_back();
    } else {
        tag = free_tags_.back();
        free_tags_.pop_back();
    }
    sent_[tag] = {item.id, item.forgets, item.may_master};
    ++sent_count_;
    if (auto* restore = std::get_if<RestoreRequest>(&item.request))
        restore->helper = item.image.get();
    requests_.send(worker, item.request, *this, tag, std::move(item.image));
}

void Restorer::step() {
    requests_.poll();
    for (unsigned w = 0; w < queues_.size(); ++w) {
        const WorkerId worker = WorkerId::from(w);
        while (!queues_[w].empty() && requests_.has_room(worker)) {
            Item item = std::move(queues_[w].front());
            queues_[w].pop_front();
            --queued_;
            send(worker, std::move(item));
        }
    }
    if (finished_ && queued_ == 0 && sent_count_ == 0 && waiting_count_ != 0) release_orphans();
}

void Restorer::on_reply(std::uint32_t tag, const ControlReply& reply) {
    const Sent sent = sent_[tag];
    free_tags_.push_back(tag);
    --sent_count_;
    if (const auto* created = std::get_if<CreateExpectReply>(&reply)) {
        const auto outcome = created->found ? created->result.outcome : InsertOutcome::master_gone;
        ++expectations_[static_cast<unsigned>(outcome)];
        return;
    }
    const auto& [answer, id] = std::get<RestoreReply>(reply);
    using enum RestoreRequest::Outcome;
    const auto outcome = answer == restored && sent.forgets ? without_helper : answer;
    ++connections_[static_cast<unsigned>(outcome)];
    if (sent.id == 0) return;
    if (is_good(outcome) && sent.may_master) ids_[sent.id] = id;
    if (waiting_count_ != 0) release(sent.id, id);
}

void Restorer::release(OldId master, ConnId now) {
    const auto found = waiting_.find(master);
    if (found == waiting_.end()) return;
    std::vector<Item> items = std::move(found->second);
    waiting_.erase(found);
    waiting_count_ -= items.size();
    for (Item& item : items)
        queue(std::move(item), now);
}

void Restorer::release_orphans() {
    // Those whose master waits itself are released by it. Where all wait for each other, which no
    // save writes, all of them go.
    std::vector<OldId> gone;
    std::unordered_set<OldId> wait;
    for (const auto& [master, items] : waiting_)
        for (const Item& item : items)
            wait.insert(item.id);
    for (const auto& [master, items] : waiting_)
        if (!wait.contains(master)) gone.push_back(master);
    if (gone.empty())
        for (const auto& [master, items] : waiting_)
            gone.push_back(master);
    for (const OldId master : gone)
        release(master, {});
}

RestoreSummary Restorer::summary() const {
    RestoreSummary out;
    for (unsigned i = 0; i < connections_.size(); ++i) {
        if (connections_[i] == 0) continue;
        out.connections[kOutcomeNames[i]] += connections_[i];
        if (is_good(static_cast<RestoreRequest::Outcome>(i))) out.restored += connections_[i];
    }
    for (unsigned i = 0; i < expectations_.size(); ++i) {
        if (expectations_[i] == 0) continue;
        const auto outcome = static_cast<InsertOutcome>(i);
        out.expectations[ok(outcome) ? "restored" : std::string(to_string(outcome))] +=
            expectations_[i];
        if (ok(outcome)) out.restored += expectations_[i];
    }
    if (expired_ != 0) out.expectations["expired"] += expired_;
    for (const Outcomes* one : {&out.connections, &out.expectations})
        for (const auto& [name, n] : *one)
            out.records += n;
    return out;
}

}  // namespace postern
