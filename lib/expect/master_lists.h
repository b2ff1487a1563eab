// SPDX-License-Identifier: BSD-3-Clause
// MasterLists: the pending expectations of one owner's masters; private to lib/expect.
//
// What: each master has a list, oldest first, whose ends are in its MasterExpectations. In
// addition, those of one of its calls (ExpectTerms::call) form a chain in a hash of masters and
// calls. So the cost of ending a call does not depend on its master's other expectations.
// Used by: the owner, on its own thread; no synchronisation.
#pragma once

#include <array>
#include <cstdint>

#include "expect/expect_limits.h"
#include "expect/expectation.h"
#include "expect/types.h"
#include "net/keyed_hash.h"

namespace postern {

class MasterLists {
  public:
    MasterLists(const ExpectStore& store, ExpectLimits& limits, OwnerId owner,
                const HashSecret& secret)
        : store_(store), limits_(limits), first_(store.first_of(owner)), secret_(secret) {}

    /// The newest of its master. A list does not move while it has entries.
    void attach(MasterExpectations& master, Expectation& e, std::uint32_t index) noexcept {
        e.list = &master;
        e.newer = 0;
        e.older = master.newest;
        (master.newest != 0 ? store_.at(master.newest).newer : master.oldest) = index;
        master.newest = index;
        ExpectBooks& books = store_.books(index);
        ++master.count[books.terms.class_index];
        if (books.terms.call != 0) {
            std::uint32_t& head = chain_of(master, books.terms.call);
            books.newer = 0;
            books.older = head;
            if (head != 0) store_.books(head).newer = index;
            head = index;
        }
        if (master.unproven) limits_.count_unproven(1);
    }

    /// Does nothing when it is in no list.
    void detach(Expectation& e) noexcept {
        if (e.list == nullptr) return;
        (e.older != 0 ? store_.at(e.older).newer : e.list->oldest) = e.newer;
        (e.newer != 0 ? store_.at(e.newer).older : e.list->newest) = e.older;
        const ExpectBooks& books = store_.books(e);
        --e.list->count[books.terms.class_index];
        if (const std::uint32_t call = books.terms.call; call != 0) {
            (books.newer != 0 ? store_.books(books.newer).older : chain_of(*e.list, call)) =
                books.older;
            if (books.older != 0) store_.books(books.older).newer = books.newer;
        }
        if (e.list->unproven) limits_.count_unproven(-1);
        e.list = nullptr;
    }

    /// Calls fn(index, expectation, terms) for each of the call, newest first; without a call for
    /// each of the master, oldest first. fn may end the expectation.
    template <class Fn>
    void for_each_of(const MasterExpectations& master, std::uint32_t call, Fn&& fn) noexcept {
        std::uint32_t next;
        for (std::uint32_t i = call != 0 ? chain_of(master, call) : master.oldest; i != 0;
             i = next) {
            Expectation& e = store_.at(i);
            const ExpectBooks& books = store_.books(i);
            next = call != 0 ? books.older : e.newer;
            if (call == 0 || (e.list == &master && books.terms.call == call)) fn(i, e, books.terms);
        }
    }

  private:
    /// The slot of the hash of masters and calls: one for each of the owner's objects.
    std::uint32_t& chain_of(const MasterExpectations& master, std::uint32_t call) noexcept {
        const std::array<std::uint64_t, 2> words{reinterpret_cast<std::uintptr_t>(&master), call};
        const std::uint64_t h = keyed_hash32(words, secret_);
        return store_.books(first_ + static_cast<std::uint32_t>(h * store_.per_owner >> 32)).head;
    }

    const ExpectStore& store_;
    ExpectLimits& limits_;
    std::uint32_t first_;
    HashSecret secret_;
};

}  // namespace postern
