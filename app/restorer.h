// SPDX-License-Identifier: BSD-3-Clause
// Restorer: puts saved connections and expectations back, in batches.
//
// What: takes the records of one file in any order, sends each to the worker that is its home by
// today's arithmetic, and counts what became of it. A child whose master has not been restored yet
// waits for it, on whichever worker that is; so does an expectation.
//
// Memory: the records that wait for room in a ring (kQueued at most, if the caller heeds
// has_room()), the children whose masters have not come, and the ids of connections that may be
// masters. A master without a helper, which lost it before the save, is remembered only for
// children that come before it.
//
// Time: all records have the same elapsed time since the save, so a record does not expire because
// others were restored before it.
//
// Who: the command `conntrack restore`, and the start. Control's thread only. While one exists, no
// number of a removed name is given to another one (Firewall::NamesHold), so the records' numbers
// stay right when a plan is replaced.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "firewall.h"
#include "state/saved.h"
#include "worker_requests.h"

namespace postern {

/// Results, by outcome.
using Outcomes = std::map<std::string, std::uint64_t>;
struct RestoreSummary {
    Outcomes connections, expectations;
    Outcomes unusable;           ///< records of either kind that mean nothing here, by cause
    std::uint64_t records = 0;   ///< all of these
    std::uint64_t restored = 0;  ///< of both kinds

    void operator+=(const RestoreSummary& more);
};

class Restorer final : public ReplyReader {
  public:
    /// Records that wait for room in the rings.
    static constexpr std::size_t kQueued = 4096;

    /// `elapsed_ms`: since the save, see elapsed_between(). `now`: the workers' time. References
    /// outlive it.
    Restorer(Firewall& firewall, WorkerRequests& requests, std::uint32_t elapsed_ms,
             std::function<Tick()> now);
    ~Restorer() { requests_.forget(*this); }
    Restorer(const Restorer&) = delete;
    Restorer& operator=(const Restorer&) = delete;

    bool has_room() const noexcept { return queued_ < kQueued; }
    void add(const SavedConnection& saved);
    void add(const SavedExpectation& saved);
    /// There are no more records: what waits for a master that has not come is restored without it;
    /// an expectation is not.
    void finish() noexcept { finished_ = true; }
    /// Hands out replies, and sends what there is room for. Call until done().
    void step();
    /// After finish(): all records have an outcome.
    bool done() const noexcept {
        return finished_ && queued_ == 0 && sent_count_ == 0 && waiting_count_ == 0;
    }
    /// So far.
    RestoreSummary summary() const;

    void on_reply(std::uint32_t tag, const ControlReply& reply) override;

  private:
    /// The id of a connection when it was saved; 0: none.
    using OldId = std::uint64_t;
    struct Item {
        ControlRequest request;
        std::unique_ptr<HelperImage> image;
        OldId id = 0, master = 0;
        bool forgets = false;     ///< its helper is missing
        bool may_master = false;  ///< remembered when it is restored
    };
    /// The part of an Item that is needed when its reply comes.
    struct Sent {
        OldId id = 0;
        bool forgets = false, may_master = false;
    };

    /// Queues it, or lets it wait for its master.
    void place(Item&& item);
    /// `master`: none if it has not been restored.
    void queue(Item&& item, ConnId master);
    void send(WorkerId worker, Item&& item);
    /// What waits for this master does so no more. `now`: its new id; none: it was not restored.
    void release(OldId master, ConnId now);
    /// The masters of what still waits will not come.
    void release_orphans();
    Firewall& firewall_;
    WorkerRequests& requests_;
    std::uint32_t elapsed_ms_;
    std::function<Tick()> now_;
    Firewall::NamesHold hold_;
    std::vector<std::deque<Item>> queues_;  ///< by worker
    std::size_t queued_ = 0;
    std::vector<Sent> sent_;  ///< by tag
    std::vector<std::uint32_t> free_tags_;
    std::size_t sent_count_ = 0;
    std::unordered_map<OldId, ConnId> ids_;
    std::unordered_map<OldId, std::vector<Item>> waiting_;  ///< by master
    std::size_t waiting_count_ = 0;
    bool finished_ = false;
    std::array<std::uint64_t, RestoreRequest::kOutcomes>
        connections_{};                                          ///< by RestoreRequest::Outcome
    std::array<std::uint64_t, kInsertOutcomes> expectations_{};  ///< by InsertOutcome
    std::uint64_t expired_ = 0;                                  ///< expectations
};

}  // namespace postern
