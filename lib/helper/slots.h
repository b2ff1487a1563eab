// SPDX-License-Identifier: BSD-3-Clause
// HelperSlots: the HelperConns of one worker, and which connection has which.
//
// What: a slot for each helped connection, from two pools that share no memory, one for each
// standing (NOTES.md, Pools). A full pool names the slot that gives way: of the applicant's account
// (source, destination, helper or zone) if that has used up its share, else of all.
//
// Who calls: HelperEngine, on its worker. use() is for control too. Memory is taken by the
// constructor.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/counter.h"
#include "base/huge_pages.h"
#include "base/types.h"
#include "helper/fair_pool.h"
#include "helper/helper_conn.h"
#include "helper/stream.h"
#include "net/addr.h"
#include "net/keyed_hash.h"

namespace postern {

/// A connection that needs a slot.
struct Applicant {
    HelperId helper = kNoHelper;  ///< kNoHelper: its rule has `expect`
    const Tuple& original;
    std::uint32_t owner = 0;  ///< the caller's: its connection
    Standing standing = Standing::proven;
    ZoneId from;
    Tick now;
};

class HelperSlots {
  public:
    HelperSlots(std::uint32_t proven, std::uint32_t unproven, const HashSecret& secret);
    HelperSlots(const HelperSlots&) = delete;
    HelperSlots& operator=(const HelperSlots&) = delete;

    HelperConn* at(std::uint32_t slot) const noexcept { return conns_.get() + slot; }
    std::uint32_t index_of(const HelperConn* conn) const noexcept {
        return static_cast<std::uint32_t>(conn - conns_.get());
    }
    /// The slot whose connection has this stream.
    std::uint32_t slot_of(const Stream& s) const noexcept {
        const auto at =
            reinterpret_cast<std::uintptr_t>(&s) - reinterpret_cast<std::uintptr_t>(conns_.get());
        return static_cast<std::uint32_t>(at / sizeof(HelperConn));
    }

    bool has_room(Standing s) const noexcept {
        return !(s == Standing::proven ? proven_.full() : unproven_.full());
    }
    /// There is room. The HelperConn is as good as new.
    std::uint32_t take(const Applicant& applicant) noexcept;
    void give(std::uint32_t slot) noexcept;

    /// What a full pool gives up for an applicant.
    struct Victim {
        std::uint32_t slot = 0;  ///< 0: there is none
        unsigned cause = 0;      ///< kBySource to kByZone; kOldest: the whole pool is full
    };
    enum : unsigned {
        kBySource,
        kByDestination,
        kByHelper,
        kByZone,
        kOldest
    };
    template <class LastUsed>
    Victim victim(const Applicant& applicant, LastUsed&& last_used) noexcept;

    /// An unproven one is proven from now on. There is room.
    void promote(std::uint32_t slot, Tick now) noexcept;
    /// An unproven one has been used.
    void touch(std::uint32_t slot, Tick now) noexcept { unproven_.touch(slot, now); }
    /// The unproven slot that was used least recently, if that is `ms` ago; 0: none.
    std::uint32_t stale_unproven(std::uint32_t ms, Tick now) const noexcept {
        const std::uint32_t slot = unproven_.oldest();
        return slot != 0 && reached(unproven_.used(slot) + ms, now) ? slot : 0;
    }
    /// What a buffer of this slot's streams is charged to.
    Assembler::Party party_of(std::uint32_t slot) const noexcept;

    std::uint32_t held(Standing s) const noexcept {
        return s == Standing::proven ? proven_.size() : unproven_.size();
    }
    std::uint32_t capacity(Standing s) const noexcept {
        return s == Standing::proven ? proven_.capacity() : unproven_.capacity();
    }
    /// Slots of both standings: 1..total().
    std::uint32_t total() const noexcept { return static_cast<std::uint32_t>(free_.capacity()); }
    std::uint32_t free() const noexcept { return static_cast<std::uint32_t>(free_.size()); }

  private:
    /// Accounts of unproven connections. Here a source is a prefix: forging a neighbour's address
    /// is free.
    using UnprovenPool = FairPool<4>;
    using ProvenPool = FairPool<2>;  ///< by source and destination
    static constexpr std::uint32_t kAccounts = Assembler::kAccounts;

    std::uint32_t account_of(const IpAddr& address, unsigned v4_bits,
                             unsigned v6_bits) const noexcept;
    ProvenPool::Accounts proven_accounts(const Tuple& original) const noexcept;
    UnprovenPool::Accounts unproven_accounts(const Applicant& applicant) const noexcept;

    HugeArray<HelperConn> conns_;
    HashSecret secret_;
    UnprovenPool unproven_;
    ProvenPool proven_;
    std::vector<std::uint32_t> free_;  ///< a stack; reserved for all, so it never allocates
};

template <class LastUsed>
HelperSlots::Victim HelperSlots::victim(const Applicant& applicant, LastUsed&& last_used) noexcept {
    if (applicant.standing == Standing::proven) {
        const auto v = proven_.victim(proven_accounts(applicant.original), last_used);
        return {v.item, v.cause < 2 ? v.cause : kOldest};
    }
    // These are touched at each of their packets.
    const auto v = unproven_.victim(unproven_accounts(applicant),
                                    [&](std::uint32_t i) { return unproven_.used(i); });
    return {v.item, v.cause};
}

}  // namespace postern
