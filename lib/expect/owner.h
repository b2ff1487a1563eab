// SPDX-License-Identifier: BSD-3-Clause
// ExpectOwner: one thread's part of the expectation table, see table.h. It files, claims and ends
// expectations; its own ones are in its pool, its timing wheel and its masters' lists. Each worker
// and control has one, and calls its methods only from its own thread.
#pragma once

#include <array>
#include <cstdint>

#include "base/counter.h"
#include "expect/master_lists.h"
#include "expect/table.h"
#include "table/event_ring.h"
#include "table/grace_pool.h"
#include "table/timing_wheel.h"

namespace postern {

class ExpectOwner {
  public:
    OwnerId id() const noexcept { return id_; }

    /// Files an expectation. `master` is the list of the caller's own connection, or nullptr
    /// without a master. In a class at its maximum, the oldest is ended first.
    InsertResult insert(const ExpectRequest& request, MasterExpectations* master,
                        ExpectTurn turn) noexcept;

    /// Claims exactly the expectation that peek() found earlier in this turn. At most one caller of
    /// all threads gets it, unless it is permanent. False: another thread was faster, or it has
    /// ended.
    bool take(const ExpectMatch& match, ExpectTurn turn) noexcept;

    /// The owner's work once a turn: takes back objects that others ended, reuses those whose grace
    /// period has passed, ends expired ones. At most `budget` expiries; returns how many.
    std::uint32_t tick(ExpectTurn turn, std::uint32_t budget = 64) noexcept;

    /// The master's peer has answered: its pending expectations count like any other. Those that
    /// exceed a limit end, oldest first.
    void promote(MasterExpectations& master, ExpectTurn turn) noexcept;
    /// Calls fn(master) for unproven masters of which a child claimed an expectation since the last
    /// call. Some may be missing; MasterExpectations::claimed is set for all.
    template <class Fn>
    void for_each_claimed(Fn&& fn) noexcept {
        while (claimed_count_ != 0)
            fn(*claimed_[--claimed_count_]);
    }

    /// Ends all pending expectations of one of the caller's masters. With `master_end` the master
    /// accepts no more.
    void remove_all(MasterExpectations& master, ExpectEnd why, ExpectTurn turn) noexcept;
    /// Ends those of one class (or kAnyExpectClass) whose tag equals `tag` in the bits of `mask`;
    /// tag 0: any. With a call: of this call only, at its cost; `others` selects those with another
    /// tag. For the caller's master, like the next two.
    void remove(MasterExpectations& master, std::uint8_t class_index, std::uint32_t tag,
                ExpectEnd why, ExpectTurn turn, std::uint32_t mask = ~0u, std::uint32_t call = 0,
                bool others = false) noexcept;
    /// Ends those of the call whose tag has these bits under `mask`; and all of the call if no
    /// other then has non-zero bits there.
    void remove_branch(MasterExpectations& master, std::uint32_t call, std::uint32_t bits,
                       std::uint32_t mask, ExpectEnd why, ExpectTurn turn) noexcept;
    /// Activates those of one class (and call, if not 0) with this tag (0: any); they end after
    /// `timeout_ms`; 0: at their old deadline.
    void activate(MasterExpectations& master, std::uint8_t class_index, std::uint32_t tag,
                  std::uint32_t timeout_ms, ExpectTurn turn, std::uint32_t call = 0) noexcept;
    /// Whether a permanent one of a call is active: such a master is worth keeping.
    bool has_lasting(const MasterExpectations& master, Tick now) noexcept;
    /// Ends one of any owner. False: it had ended already.
    bool remove(ExpectId id, ExpectEnd why, ExpectTurn turn) noexcept;

    /// From `inactive` to matching. False: it was not inactive (any more).
    bool activate(ExpectId id) noexcept;
    /// Sets a new timeout from now on, for any owner. False: it has ended. One that another thread
    /// shortens stops matching in time, but its end (count, event) follows at its old deadline.
    bool set_timeout(ExpectId id, std::uint32_t timeout_ms, ExpectTurn turn) noexcept;

    EventRing<ExpectEvent>& events() noexcept { return events_; }
    const EventRing<ExpectEvent>& events() const noexcept { return events_; }

    // Counters: written by this owner's thread, read by any.
    std::uint64_t inserted(InsertOutcome o) const noexcept {
        return outcomes_[static_cast<unsigned>(o)].get();
    }
    std::uint64_t ended(ExpectEnd e) const noexcept {
        return ends_[static_cast<unsigned>(e)].get();
    }
    /// Claims lost to another thread.
    std::uint64_t claims_lost() const noexcept { return lost_.get(); }

    /// Objects available now, and those that become available later. Owner's thread only.
    std::uint32_t free_objects() const noexcept { return pool_.free(); }
    std::uint32_t waiting_objects() const noexcept { return pool_.waiting(); }

    struct Slots {
        Expectation* objects;
        WheelLink& link(std::uint32_t i) noexcept { return objects[i].wheel; }
        Tick deadline(std::uint32_t i) const noexcept {
            return Tick{objects[i].deadline_ms.load(std::memory_order_relaxed)};
        }
    };
    /// Use ExpectTable::owner().
    ExpectOwner(ExpectTable& table, OwnerId id, const ExpectConfig& config);

  private:
    friend class ExpectTable;

    struct PoolSlots {
        Expectation* objects;
        std::uint32_t& next(std::uint32_t i) noexcept { return objects[i].link; }
        void prefetch(std::uint32_t i) const noexcept { __builtin_prefetch(&objects[i].list, 1); }
    };

    // Filing: insert.cc.
    /// Expectations displaced by an insert: ended under the lock, uncounted after it.
    struct Displaced {
        std::uint32_t refreshed = 0;  ///< the same expectation, requested again
        std::uint32_t expired = 0;    ///< list: of the same key, expired or displaced; unlinked
        std::uint32_t evicted = 0;    ///< list: of the same class and master, still in their chains
        std::uint32_t place_of = 0;   ///< the one whose count under the limits the new one takes
    };
    /// The new expectation while it is filed.
    struct Newcomer {
        const ExpectRequest& request;
        MasterExpectations* master;
        Tick now;
        std::uint32_t index;
        Expectation& e;
        ExpectBooks& books;
        Displaced displaced{};
        ExpectId existing{};  ///< with shared, already and busy: the one that is there

        bool unproven() const noexcept { return master != nullptr && master->unproven; }
    };
    InsertResult count(InsertOutcome outcome, ExpectId id) noexcept;
    void fill(const Newcomer& newcomer) noexcept;
    InsertOutcome place(Newcomer& newcomer) noexcept;
    InsertOutcome check_chain(ExpectShard& shard, std::uint32_t first, Newcomer& newcomer) noexcept;
    /// The relation of one of the same key to the newcomer.
    enum class Rival : std::uint8_t {
        beside,       ///< no conflict, not counted
        beside_twin,  ///< another master's for the same packets: the oldest of too many is
                      ///< displaced
        counts,       ///< no conflict, counted as a candidate of its key
        twin,         ///< the same of another call of the master: counted, until there are too many
        gives_way,
        refreshed,
        stays,
        shared,
        already,
        busy
    };
    Rival judge(const Newcomer& newcomer, std::uint32_t index, const Expectation& other,
                std::uint32_t word) const noexcept;
    void make_room(Newcomer& newcomer) noexcept;
    void make_room_in_class(Newcomer& newcomer) noexcept;
    void make_room_in_call(Newcomer& newcomer) noexcept;
    void make_room_in_master(Newcomer& newcomer) noexcept;
    void displace(std::uint32_t index, Newcomer& newcomer) noexcept;
    void finish_displaced(const Newcomer& newcomer, ExpectTurn turn) noexcept;
    InsertOutcome publish(ExpectShard& shard, std::int32_t& position, Newcomer& newcomer,
                          InsertOutcome outcome) noexcept;

    // Ends, and the owner's books: owner.cc.
    bool end(Expectation& e) noexcept;
    bool end(Expectation& e, std::uint32_t generation) noexcept;
    void unlink(Expectation& e, std::uint32_t index) noexcept;
    void finish(std::uint32_t index, ExpectEnd why, ExpectTurn turn, bool place_taken) noexcept;
    /// All of the above for one of the caller's own, unless it was claimed: then it comes back by
    /// itself.
    void end_own(std::uint32_t index, Expectation& e, ExpectEnd why, ExpectTurn turn) noexcept;
    void emit_event(ExpectEventType type, ExpectEnd end, std::uint32_t index,
                    ExpectTurn turn) noexcept;
    void strike_out(Expectation& e) noexcept;
    void take_returned() noexcept;

    ExpectTable& table_;
    const ExpectStore& store_;
    ExpectLimits& limits_;
    const OwnerId id_;
    MasterLists lists_;
    GracePool<PoolSlots> pool_;
    TimingWheel<Slots> wheel_;
    std::array<MasterExpectations*, 64> claimed_{};  ///< for_each_claimed()
    unsigned claimed_count_ = 0;
    std::array<Counter, kInsertOutcomes> outcomes_;
    std::array<Counter, kExpectEnds> ends_;
    Counter lost_;
    EventRing<ExpectEvent> events_;
};

}  // namespace postern
