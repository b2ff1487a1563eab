// SPDX-License-Identifier: BSD-3-Clause
// FairPool: selects the item of a full pool that a new one displaces.
//
// What: every item is charged to one account in each of D dimensions (its source prefix, its
// destination, ...). An account may hold more than its share only while the pool has room. In a
// full pool, a newcomer whose own account has used its share displaces the least recently used item
// of that account; any other newcomer displaces the least recently used item of all. So one account
// cannot displace the others, whatever its rate, and a pool with room refuses nobody.
//
// The pool keeps lists only; the items and their memory are the caller's.
// Used by: HelperEngine and Assembler, on their worker. Nothing is shared. The constructor
// allocates the memory.
//
// Cost: D + 1 unlinks or links an operation. victim() visits at most kLooks items.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <vector>

#include "base/types.h"

namespace postern {

template <unsigned D>
class FairPool {
  public:
    static constexpr unsigned kLooks = 8;
    using Accounts = std::array<std::uint32_t, D>;

    struct Dimension {
        std::uint32_t accounts = 1;
        std::uint32_t share = 1;  ///< items of one account, once the pool is full
    };
    /// The result of victim().
    struct Victim {
        std::uint32_t item = 0;  ///< 0: the pool is empty
        unsigned cause = D;      ///< the dimension whose share is used up; D: the whole pool is
    };

    /// Items have the indices 1..`last`; at most `capacity` of them are in the pool at once.
    FairPool(std::uint32_t last, std::uint32_t capacity, const std::array<Dimension, D>& dimensions)
        : capacity_(capacity), items_(last + 1) {
        std::uint32_t n = 1;
        for (unsigned d = 0; d < D; ++d) {
            first_[d] = n;
            share_[d] = dimensions[d].share;
            n += dimensions[d].accounts;
        }
        lists_.resize(n);
    }

    std::uint32_t size() const noexcept { return lists_[0].count; }
    std::uint32_t capacity() const noexcept { return capacity_; }
    bool full() const noexcept { return size() >= capacity_; }
    bool has(std::uint32_t item) const noexcept { return items_[item].in; }
    std::uint32_t held(unsigned dimension, std::uint32_t account) const noexcept {
        return lists_[first_[dimension] + account].count;
    }
    /// When the item was inserted or touched last.
    Tick used(std::uint32_t item) const noexcept { return items_[item].used; }
    /// The least recently used item; 0: none.
    std::uint32_t oldest() const noexcept { return lists_[0].head; }

    void insert(std::uint32_t item, const Accounts& accounts, Tick now) noexcept {
        Item& it = items_[item];
        assert(!it.in);
        it.in = true;
        it.accounts = accounts;
        link(item, now);
    }
    /// Does nothing when the item is not in the pool.
    void remove(std::uint32_t item) noexcept {
        if (!items_[item].in) return;
        items_[item].in = false;
        unlink(item);
    }
    /// Makes it the most recently used one.
    void touch(std::uint32_t item, Tick now) noexcept {
        unlink(item);
        link(item, now);
    }
    const Accounts& accounts(std::uint32_t item) const noexcept { return items_[item].accounts; }

    /// Returns the item that a new one with these accounts displaces. `last_used(item)` may be
    /// later than the last touch(); such items are touched instead of chosen.
    template <class LastUsed>
    Victim victim(const Accounts& accounts, LastUsed&& last_used) noexcept {
        Victim v;
        unsigned d = 0;
        while (d < D && held(d, accounts[d]) < share_[d])
            ++d;
        const List& list = d < D ? lists_[first_[d] + accounts[d]] : lists_[0];
        v.cause = d;
        for (unsigned n = 0; n < kLooks; ++n) {
            v.item = list.head;
            if (v.item == 0) return v;
            const Tick later = last_used(v.item);
            if (later - items_[v.item].used <= 0) return v;
            touch(v.item, later);
        }
        v.item = list.head;
        return v;
    }

  private:
    struct Link {
        std::uint32_t older = 0, newer = 0;
    };
    struct Item {
        std::array<Link, D + 1> links;  ///< [0] is of all, [1 + d] of its account
        Accounts accounts{};
        Tick used;
        bool in = false;
    };
    struct List {
        std::uint32_t head = 0, tail = 0;  ///< least and most recently used
        std::uint32_t count = 0;
    };

    List& list_of(const Item& it, unsigned n) noexcept {
        return lists_[n == 0 ? 0 : first_[n - 1] + it.accounts[n - 1]];
    }
    void link(std::uint32_t item, Tick now) noexcept {
        Item& it = items_[item];
        it.used = now;
        for (unsigned n = 0; n <= D; ++n) {
            List& list = list_of(it, n);
            it.links[n] = {list.tail, 0};
            (list.tail != 0 ? items_[list.tail].links[n].newer : list.head) = item;
            list.tail = item;
            ++list.count;
        }
    }
    void unlink(std::uint32_t item) noexcept {
        Item& it = items_[item];
        for (unsigned n = 0; n <= D; ++n) {
            List& list = list_of(it, n);
            const Link l = it.links[n];
            (l.older != 0 ? items_[l.older].links[n].newer : list.head) = l.newer;
            (l.newer != 0 ? items_[l.newer].links[n].older : list.tail) = l.older;
            --list.count;
        }
    }

    std::uint32_t capacity_;
    std::vector<Item> items_;
    std::vector<List> lists_;  ///< [0] of all, then by dimension and account
    std::array<std::uint32_t, D> first_{}, share_{};
};

}  // namespace postern
