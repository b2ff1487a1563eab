// SPDX-License-Identifier: BSD-3-Clause
// ExpectTable: the expectations, one table for all workers.
//
// What: an expectation is the tuple of a connection to exactly one destination, from a (masked)
// source, and its master. A helper files it on its worker. The child's first packet may arrive on
// any other worker, which claims it, once.
//
// Shape: the key {zone, family, protocol, destination} is hashed with a secret; the top bits choose
// a shard (shard.h). Objects are fixed pools, one an owner; chains link them by index.
//
// Used by: each worker, and control as one more, has its ExpectOwner (owner.h), and calls its
// methods only from its own thread. All of them read ExpectTable itself. Every caller is a
// registered reader of the RCU variable and online; it reports quiescent states between its calls,
// never inside one.
//
// Life-cycle: insert() takes an object from the caller's pool. It ends once, by the winner of the
// compare-and-swap on its state: a claim on any worker, the owner's tick(), remove(), remove_all().
// The winner unlinks it under the shard's lock and gives it back to its owner. The owner waits for
// a grace period without blocking (table/grace_pool.h), then reuses it.
//
// Synchronisation: readers take no lock and write nothing. Writers take one shard's lock at a time,
// never two.
//
// Order: all of an expectation is published (release on the anchor) before insert() returns, thus
// before the announcing packet is sent. The child's packet comes after that one, so a worker that
// handles it sees the expectation.
//
// Cost: a miss reads one line while the table is empty, one more while the key's shard is, else two
// more, seldom the rte_hash. A hit adds the bucket, the key, the anchor and the candidate. See
// NOTES.md for figures.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "expect/expect_config.h"
#include "expect/expect_limits.h"
#include "expect/expectation.h"
#include "expect/shard.h"
#include "expect/types.h"
#include "net/keyed_hash.h"

namespace postern {

class ExpectOwner;

/// A packet's key and hash, computed once: probe() for the whole burst, then peek().
struct ExpectProbe {
    ExpectKey key;
    std::uint64_t hash = 0;
    /// The packet does not contain its source port (a GRE call's id): any expected one matches.
    bool sport_unknown = false;
    /// The sides from which the packet comes and to which it goes; kAnyEdge: not compared.
    EdgeId from_side = kAnyEdge, to_side = kAnyEdge;
};

class ExpectTable {
  public:
    /// Allocates all memory that the table will ever use, from DPDK's heap.
    static Result<std::unique_ptr<ExpectTable>> create(const ExpectConfig& config);
    /// Requires that no reader is online any more.
    ~ExpectTable();
    ExpectTable(const ExpectTable&) = delete;
    ExpectTable& operator=(const ExpectTable&) = delete;

    ExpectOwner& owner(OwnerId id) noexcept { return *owners_[id]; }
    const ExpectOwner& owner(OwnerId id) const noexcept { return *owners_[id]; }
    unsigned owners() const noexcept { return static_cast<unsigned>(owners_.size()); }
    OwnerId owner_of(ExpectId id) const noexcept {
        return static_cast<OwnerId>((id.index - 1) / store_.per_owner);
    }

    /// Hashes the tuple of a packet without connection, and prefetches the memory that may_match()
    /// reads.
    ExpectProbe probe(CtZone ct_zone, const Tuple& tuple,
                      bool sport_unknown = false) const noexcept {
        if (live() == 0) return {};  // no expectation has such a key
        ExpectProbe p{.key = ExpectKey::of(ct_zone, tuple.protocol, tuple.dst, tuple.dport),
                      .sport_unknown = sport_unknown};
        p.hash = hash_of(p.key);
        shard_of(p.hash).prefetch(p.hash);
        return p;
    }

    /// False: certainly no candidate. True: call peek().
    bool may_match(const ExpectProbe& p) const noexcept {
        return shard_of(p.hash).may_have(p.hash);
    }

    /// Returns the expectation that the tuple would match now, without claiming it, for policy.
    /// ExpectOwner::take() claims it.
    ExpectAnswer peek(const ExpectProbe& p, const Tuple& tuple, Tick now,
                      ExpectMatch& out) const noexcept {
        return may_match(p) ? peek_candidate(p, tuple, now, out) : ExpectAnswer::none;
    }
    /// The same as a full copy.
    bool find(const ExpectProbe& p, const Tuple& tuple, Tick now, ExpectInfo& out) const noexcept;
    /// Copies one expectation; false if it has ended.
    bool get(ExpectId id, ExpectInfo& out) const noexcept;
    /// Returns the pending one of this master (none: of any), class, call and tag, active or not,
    /// that matches a packet to the tuple's destination; none: there is none. Any thread.
    ExpectId find_of(ConnId master, const ExpectProbe& p, std::uint8_t class_index,
                     std::uint32_t call, std::uint32_t tag) const noexcept;

    /// Calls fn(const ExpectInfo&) for pending ones among the next `objects` of all pools. `cursor`
    /// starts at 0; false at the end. Those that exist during the whole walk are visited exactly
    /// once. For control; concurrent writers do no harm.
    template <class Fn>
    bool walk(std::uint32_t& cursor, std::uint32_t objects, Fn&& fn) const {
        for (; objects != 0; --objects) {
            if (!skip_untouched(cursor)) return false;
            ExpectInfo info;
            if (copy_if_pending(++cursor, info)) fn(static_cast<const ExpectInfo&>(info));
        }
        return true;
    }

    /// Pending now, of all owners. Any thread, like the next.
    std::uint32_t live() const noexcept { return limits_.live(); }
    /// Of these, the unproven masters'.
    std::uint32_t live_unproven() const noexcept { return limits_.unproven(); }
    std::uint32_t live_in_zone(CtZone ct_zone) const noexcept { return limits_.in_zone(ct_zone); }

  private:
    friend class ExpectOwner;

    ExpectTable(const ExpectConfig& config);
    Result<void> allocate_all(const ExpectConfig& config);

    std::uint64_t hash_of(const ExpectKey& key) const noexcept {
        return keyed_hash<sizeof key>(&key, secret_);
    }
    ExpectShard& shard_of(std::uint64_t hash) const noexcept {
        return shards_[hash >> shard_shift_];
    }
    /// Whether the id may belong to this table.
    bool has(ExpectId id) const noexcept { return id && id.index <= owners() * store_.per_owner; }
    bool skip_untouched(std::uint32_t& cursor) const noexcept;
    bool copy_if_pending(std::uint32_t index, ExpectInfo& out) const noexcept;
    void copy(const Expectation& e, std::uint32_t index, std::uint32_t word,
              ExpectInfo& out) const noexcept;
    ExpectAnswer peek_candidate(const ExpectProbe& p, const Tuple& tuple, Tick now,
                                ExpectMatch& out) const noexcept;
    /// The first matching candidate, or 0. Sets `wrong_zone`, if not null, if one matches except
    /// for its zones.
    std::uint32_t find_candidate(const ExpectProbe& p, const Tuple& tuple, Tick now,
                                 bool* wrong_zone = nullptr) const noexcept;

    HashSecret secret_;
    unsigned shard_count_;
    unsigned shard_shift_;
    std::uint32_t max_per_destination_;
    std::unique_ptr<ExpectShard[]> shards_;
    ExpectStore store_;
    ExpectLimits limits_;
    std::vector<std::unique_ptr<ExpectOwner>> owners_;
};

}  // namespace postern
