// SPDX-License-Identifier: BSD-3-Clause
// ExpectTable: the pin-holes, one table for all workers.
//
// What: an expectation says "a connection to exactly this destination, from this (masked) source,
// belongs to that master". A helper files it on its worker; the child's first packet may arrive on
// any other, which claims it, once.
//
// Shape: the key {zone, family, protocol, destination} is hashed with a secret; the top bits choose
// a shard. A shard is an rte_hash (lock-free readers) from key to position, an anchor a position
// (head of a chain of candidates that differ in their source), a presence count a hash slot, and a
// lock for its writers. Objects are fixed pools, one an owner; chains link them by index.
//
// Who: each worker, and control as one more, has its ExpectOwner, and calls its methods only from
// its own thread. ExpectTable itself is read by all. Every caller is a registered reader of the
// RCU variable and online; it reports quiescent states between its calls, never inside one.
//
// Life-cycle: insert() takes an object from the caller's pool. It ends once, by whoever wins the
// compare-and-swap on its state: a claim on any worker, the owner's tick(), remove(), remove_all().
// The winner unlinks it under the shard's lock and gives it back to its owner over a lock-free
// stack. The owner waits for a grace period without blocking (tick() asks), then reuses it.
//
// Synchronisation: readers take no lock and write nothing. Writers take one shard's lock at a time,
// never two. Positions in the rte_hash are reused only after a grace period too (its own deferred
// queue), so a reader's position never becomes another key's under its feet.
//
// Order: all of an expectation is published (release on the anchor) before insert() returns, thus
// before the packet that announced it is sent; the child's packet comes after that one, so a
// worker that handles it sees the expectation.
//
// Cost: a miss reads one line while the table is empty, one more while the key's shard is, else two
// more, seldom the rte_hash.
// A hit adds the bucket, the key, the anchor and the candidate. See NOTES.md for figures.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/counter.h"
#include "base/result.h"
#include "expect/expectation.h"
#include "expect/spin_lock.h"
#include "expect/types.h"
#include "net/keyed_hash.h"
#include "table/event_ring.h"
#include "table/timing_wheel.h"

struct rte_hash;
struct rte_rcu_qsbr;

namespace postern {

class ExpectOwner;

struct ExpectConfig {
    unsigned owners = 1;  ///< threads that insert, claim or end: the workers and control
    /// Objects in each owner's pool: pending ones, and ended ones that wait for their grace period.
    std::uint32_t per_owner = 65536;
    std::uint32_t max_live = 65536;  ///< pending at once, of all owners
    std::uint32_t max_per_zone = 0;  ///< of each conntrack zone; 0 = no limit
    /// Zones with a limit of their own (0 = none).
    std::vector<std::pair<CtZone, std::uint32_t>> zone_limits;
    std::uint32_t max_per_host = 0;          ///< master's source address; 0 = no limit
    std::uint32_t max_per_destination = 64;  ///< candidates of one key
    std::uint32_t event_ring = 0;            ///< events kept for each owner; 0 = none
    int socket = -1;                         ///< NUMA node, -1 = any
    HashSecret secret;
    Tick start;
    rte_rcu_qsbr* rcu = nullptr;  ///< must outlive the table
};

/// A packet's key and hash, computed once: probe() for the whole burst, then claim().
struct ExpectProbe {
    ExpectKey key;
    std::uint64_t hash = 0;
    /// The packet does not tell its source port (a GRE call's id): any that is expected will do.
    bool sport_unknown = false;
};

class ExpectTable {
  public:
    /// Allocates everything that the table will ever use, from DPDK's heap.
    static Result<std::unique_ptr<ExpectTable>> create(const ExpectConfig& config);
    /// No reader may be online any more.
    ~ExpectTable();
    ExpectTable(const ExpectTable&) = delete;
    ExpectTable& operator=(const ExpectTable&) = delete;

    ExpectOwner& owner(OwnerId id) noexcept { return *owners_[id]; }
    const ExpectOwner& owner(OwnerId id) const noexcept { return *owners_[id]; }
    unsigned owners() const noexcept { return static_cast<unsigned>(owners_.size()); }
    OwnerId owner_of(ExpectId id) const noexcept {
        return static_cast<OwnerId>((id.index - 1) / per_owner_);
    }

    /// Hashes the tuple of a packet without connection, and starts to fetch what may_match() reads.
    ExpectProbe probe(CtZone zone, const Tuple& tuple, bool sport_unknown = false) const noexcept {
        if (live() == 0) return {};  // no expectation has such a key
        ExpectProbe p{key_of(zone, tuple.protocol, tuple.dst, tuple.dport), 0, sport_unknown};
        p.hash = keyed_hash<sizeof(ExpectKey)>(&p.key, secret_);
        const Shard& shard = shards_[shard_index(p.hash)];
        if (shard.live.load(std::memory_order_relaxed) != 0)
            __builtin_prefetch(&shard.presence[presence_slot(p.hash)]);
        return p;
    }

    /// False: certainly no candidate. True: claim() is worth its look-up.
    bool may_match(const ExpectProbe& p) const noexcept {
        const Shard& shard = shards_[shard_index(p.hash)];
        // Relaxed: causality through the network, or through a ring between workers, orders these
        // with the insert; see "Order" above.
        return shard.live.load(std::memory_order_relaxed) != 0 &&
               shard.presence[presence_slot(p.hash)].load(std::memory_order_relaxed) != 0;
    }

    /// What the tuple would match now, without claiming it: for policy to judge. take() claims it.
    bool peek(const ExpectProbe& p, const Tuple& tuple, Tick now, ExpectMatch& out) const noexcept {
        return may_match(p) && peek_candidate(p, tuple, now, out);
    }
    /// The same as a full copy.
    bool find(const ExpectProbe& p, const Tuple& tuple, Tick now, ExpectInfo& out) const noexcept;
    /// A copy of one expectation; false when it has ended.
    bool get(ExpectId id, ExpectInfo& out) const noexcept;

    /// Calls fn(const ExpectInfo&) for what is pending among the next `objects` of all pools.
    /// `cursor` starts at 0; false when the end is reached. What exists during the whole walk is
    /// seen exactly once. For control; concurrent writers do no harm.
    template <class Fn>
    bool walk(std::uint32_t& cursor, std::uint32_t objects, Fn&& fn) const {
        for (; objects != 0; --objects) {
            if (!skip_untouched(cursor)) return false;
            ExpectInfo info;
            if (copy_if_pending(++cursor, info)) fn(static_cast<const ExpectInfo&>(info));
        }
        return true;
    }

    /// Pending now, of all owners; of one zone. Any thread.
    std::uint32_t live() const noexcept { return live_.load(std::memory_order_relaxed); }
    std::uint32_t live_in_zone(CtZone zone) const noexcept {
        return zone_live_[zone].load(std::memory_order_relaxed);
    }
    unsigned shards() const noexcept { return shard_count_; }

  private:
    friend class ExpectOwner;

    struct RteFree {
        void operator()(void* p) const noexcept;
    };
    template <class T>
    using RteArray = std::unique_ptr<T[], RteFree>;
    template <class T>
    static RteArray<T> allocate(std::size_t n, int socket);

    struct alignas(64) Shard {
        // Line 1: all that most misses read. Written under the lock.
        std::atomic<std::uint32_t> live{0};
        // Line 2: set at start.
        alignas(64) rte_hash* hash = nullptr;
        RteArray<std::atomic<std::uint32_t>> anchor;    // by position: first candidate, 0 = none
        RteArray<std::atomic<std::uint16_t>> presence;  // by presence_slot(): pending ones
        // Line 3.
        alignas(64) SpinLock lock;
    };

    ExpectTable(const ExpectConfig& config);
    Result<void> allocate_all(const ExpectConfig& config);

    static ExpectKey key_of(CtZone zone, std::uint8_t protocol, const IpAddr& dst,
                            Be16 dport) noexcept {
        return ExpectKey{dst.bytes, dport, zone, dst.family, protocol, 0};
    }
    // Disjoint bits of the hash: shard from the top, presence from bit 32 on, rte_hash the low 32.
    std::uint32_t shard_index(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>(hash >> shard_shift_);
    }
    std::uint32_t presence_slot(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>(hash >> 32) & presence_mask_;
    }
    Expectation& at(std::uint32_t index) const noexcept { return objects_[index]; }
    bool skip_untouched(std::uint32_t& cursor) const noexcept;
    bool copy_if_pending(std::uint32_t index, ExpectInfo& out) const noexcept;
    void copy(const Expectation& e, std::uint32_t index, std::uint32_t word,
              ExpectInfo& out) const noexcept;
    bool peek_candidate(const ExpectProbe& p, const Tuple& tuple, Tick now,
                        ExpectMatch& out) const noexcept;
    void copy(const Expectation& e, std::uint32_t index, std::uint32_t word,
              ExpectMatch& out) const noexcept;
    std::uint32_t find_candidate(const ExpectProbe& p, const Tuple& tuple, Tick now,
                                 std::uint32_t first) const noexcept;

    HashSecret secret_;
    unsigned shard_count_;
    unsigned shard_shift_;
    std::uint32_t presence_mask_ = 0;
    std::uint32_t per_owner_;
    rte_rcu_qsbr* rcu_;
    std::uint32_t max_live_;
    std::uint32_t max_per_host_;
    std::uint32_t max_per_destination_;
    std::uint32_t host_mask_ = 0;
    std::vector<std::uint32_t> max_per_zone_;  // by zone; 0 = none
    std::unique_ptr<Shard[]> shards_;
    RteArray<Expectation> objects_;  // [0] is never used; owner o has o*per_owner+1 and on
    RteArray<std::atomic<std::uint32_t>> host_live_;  // two rows, see NOTES.md
    std::vector<std::unique_ptr<ExpectOwner>> owners_;
    // Any thread that inserts or ends: rw, relaxed (they are limits and figures, not guards).
    alignas(64) std::atomic<std::uint32_t> live_{0};
    alignas(64) std::unique_ptr<std::atomic<std::uint32_t>[]> zone_live_;
};

class ExpectOwner {
  public:
    OwnerId id() const noexcept { return id_; }

    /// Files an expectation. `master` is the list of the caller's own connection, or nullptr for
    /// one without a master. A class at its maximum loses its oldest first.
    InsertResult insert(const ExpectRequest& request, MasterExpectations* master,
                        ExpectTurn turn) noexcept;

    /// Claims the expectation that this packet's tuple matches, if there is one. At most one caller
    /// of all threads gets a given expectation, unless it is permanent.
    bool claim(const ExpectProbe& probe, const Tuple& tuple, ExpectTurn turn,
               ExpectMatch& out) noexcept {
        return table_.may_match(probe) && claim_candidate(probe, tuple, turn, out);
    }

    /// Claims what peek() found earlier in this turn: that expectation and no other. False: another
    /// thread was faster, or it has ended.
    bool take(const ExpectMatch& match, ExpectTurn turn) noexcept;

    /// The owner's share of work, once a turn: takes back what others ended, reuses what has passed
    /// its grace period, ends what has expired. Meets at most `budget` expiries; returns how many.
    std::uint32_t tick(ExpectTurn turn, std::uint32_t budget = 64) noexcept;

    /// Ends all pending expectations of one of the caller's masters. With `master_end` the master
    /// takes no more.
    void remove_all(MasterExpectations& master, ExpectEnd why, ExpectTurn turn) noexcept;
    /// Ends those of one class (or kAnyExpectClass) whose tag is this one in the bits of `mask`; 0:
    /// with any. Of the caller's master, like the next.
    void remove(MasterExpectations& master, std::uint8_t class_index, std::uint32_t tag,
                ExpectEnd why, ExpectTurn turn, std::uint32_t mask = ~0u) noexcept;
    /// Those of one class with this tag (0: any) match from now on, and end after `timeout_ms`; 0:
    /// when they would have.
    void activate(MasterExpectations& master, std::uint8_t class_index, std::uint32_t tag,
                  std::uint32_t timeout_ms, ExpectTurn turn) noexcept;
    /// Ends one, whoever owns it. False: it had ended already.
    bool remove(ExpectId id, ExpectEnd why, ExpectTurn turn) noexcept;

    /// From `inactive` to matching. False: it was not inactive (any more).
    bool activate(ExpectId id) noexcept;
    /// A new timeout from now on, whoever owns it. False: it has ended. One that another thread
    /// shortens stops matching in time, but ends (is counted, tells) only when its old time is up.
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
    /// Matches of permanent expectations, which stay.
    std::uint64_t matched_permanent() const noexcept { return permanent_.get(); }
    /// Claims that another thread was faster with.
    std::uint64_t claims_lost() const noexcept { return lost_.get(); }

    /// Objects that can be had at once, and those that come back later. Owner's thread only.
    std::uint32_t free_objects() const noexcept { return free_count_; }
    std::uint32_t waiting_objects() const noexcept { return retired_count_ + waiting_count_; }

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
    using Shard = ExpectTable::Shard;

    bool claim_candidate(const ExpectProbe& probe, const Tuple& tuple, ExpectTurn turn,
                         ExpectMatch& out) noexcept;

    struct Displaced;
    InsertResult count(InsertResult result) noexcept;
    void fill(Expectation& e, const ExpectRequest& r, ExpectTurn turn) noexcept;
    InsertResult check_chain(Shard& shard, std::int32_t position, const Expectation& e,
                             const ExpectRequest& r, Tick now, Displaced& displaced) noexcept;
    void make_room_in_class(MasterExpectations& master, std::uint8_t class_max,
                            const Expectation& e, Tick now, Displaced& displaced) noexcept;
    InsertOutcome publish(Shard& shard, std::int32_t& position, Expectation& e, std::uint32_t index,
                          InsertOutcome outcome, const Displaced& displaced) noexcept;
    InsertOutcome reserve(const Expectation& e) noexcept;
    void release(const Expectation& e) noexcept;

    bool end(Expectation& e) noexcept;
    bool end(Expectation& e, std::uint32_t generation) noexcept;
    void unlink_locked(Shard& shard, Expectation& e, std::uint32_t index) noexcept;
    void drop_key_if_unused(Shard& shard, const Expectation& e, std::uint32_t position) noexcept;
    void unlink(Expectation& e, std::uint32_t index) noexcept;
    void finish(std::uint32_t index, ExpectEnd why, ExpectTurn turn, bool place_taken) noexcept;
    void tell(ExpectEventType type, ExpectEnd end, std::uint32_t index, ExpectTurn turn) noexcept;

    void attach(MasterExpectations& master, Expectation& e, std::uint32_t index) noexcept;
    void detach(Expectation& e) noexcept;
    std::uint32_t allocate() noexcept;
    void retire(std::uint32_t index) noexcept;
    void take_returned() noexcept;
    void reclaim() noexcept;

    ExpectTable& table_;
    const OwnerId id_;
    // The pool. Never used objects are handed out last, lowest first.
    std::uint32_t free_ = 0;  ///< list through `link`
    std::uint32_t free_count_;
    const std::uint32_t last_;  ///< highest index of this pool
    // Ended, unlinked, not yet under a token; then under `token_`.
    std::uint32_t retired_ = 0, retired_tail_ = 0, retired_count_ = 0;
    std::uint32_t waiting_ = 0, waiting_tail_ = 0, waiting_count_ = 0;
    std::uint64_t token_ = 0;
    TimingWheel<Slots> wheel_;
    std::array<Counter, kInsertOutcomes> outcomes_;
    std::array<Counter, kExpectEnds> ends_;
    Counter permanent_, lost_;
    EventRing<ExpectEvent> events_;
    std::atomic<std::uint32_t> fresh_;  ///< lowest index never used; owner: rw, walk(): r
    // Ended by other threads: they push (release), the owner takes all (acquire).
    alignas(64) std::atomic<std::uint32_t> returned_{0};
};

}  // namespace postern
