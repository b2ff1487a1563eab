// SPDX-License-Identifier: BSD-3-Clause
// Claims and ends of expectations, and the owner's work once a turn.
#include "expect/owner.h"

#include <mutex>

namespace postern {
namespace {

ExpectEventType event_of(ExpectEnd end) noexcept {
    switch (end) {
        case ExpectEnd::claimed: return ExpectEventType::claim;
        case ExpectEnd::expired: return ExpectEventType::expire;
        default: return ExpectEventType::destroy;
    }
}

}  // namespace

ExpectOwner::ExpectOwner(ExpectTable& table, OwnerId id, const ExpectConfig& config)
    : table_(table),
      store_(table.store_),
      limits_(table.limits_),
      id_(id),
      lists_(store_, limits_, id, config.secret),
      pool_(PoolSlots{store_.objects.get()}, store_.first_of(id), config.per_owner, config.rcu),
      wheel_(Slots{store_.objects.get()}, config.start),
      events_(config.event_ring) {}

// ---- claims -------------------------------------------------------------------------------------

bool ExpectOwner::take(const ExpectMatch& match, ExpectTurn turn) noexcept {
    const std::uint32_t index = match.id.index;
    Expectation& e = store_.at(index);
    std::uint32_t word = match.id.generation << expect_state::kBits | expect_state::live;
    if ((match.flags & expect_flag::permanent) != 0) {
        if (e.state.load(std::memory_order_acquire) != word) {
            lost_.add();
            return false;
        }
        emit_event(ExpectEventType::claim, ExpectEnd::claimed, index, turn);
        return true;
    }
    std::atomic<std::uint8_t>& again = store_.books(index).again;
    std::uint8_t left = again.load(std::memory_order_relaxed);
    if (left != 0 && e.state.load(std::memory_order_acquire) == word) {
        while (left != 0 && !again.compare_exchange_weak(left, static_cast<std::uint8_t>(left - 1),
                                                         std::memory_order_relaxed))
            ;
        if (left != 0) {
            emit_event(ExpectEventType::claim, ExpectEnd::claimed, index, turn);
            return true;
        }
    }
    // The one point where an expectation has exactly one claimant. Acquire-release: the claimant
    // sees it whole, and other threads that find it claimed rely on the claimant to unlink it.
    if (!e.state.compare_exchange_strong(word, expect_state::with(word, expect_state::claimed),
                                         std::memory_order_acq_rel, std::memory_order_relaxed)) {
        lost_.add();
        return false;
    }
    unlink(e, index);
    finish(index, ExpectEnd::claimed, turn, false);
    return true;
}

// ---- ends ---------------------------------------------------------------------------------------

/// True if this call ended it; then the caller must unlink() and finish() it.
bool ExpectOwner::end(Expectation& e) noexcept {
    return end(e, expect_state::generation(e.state.load(std::memory_order_acquire)));
}
bool ExpectOwner::end(Expectation& e, std::uint32_t generation) noexcept {
    std::uint32_t word = e.state.load(std::memory_order_acquire);
    while (expect_state::pending(word) && expect_state::generation(word) == generation) {
        const std::uint32_t dead = expect_state::of(word) == expect_state::inactive
                                       ? expect_state::dead_inactive
                                       : expect_state::dead;
        // Acquire-release, as in take().
        if (e.state.compare_exchange_weak(word, expect_state::with(word, dead),
                                          std::memory_order_acq_rel, std::memory_order_acquire))
            return true;
    }
    return false;
}

void ExpectOwner::unlink(Expectation& e, std::uint32_t index) noexcept {
    ExpectShard& shard = table_.shard_of(e.hash);
    std::lock_guard guard(shard.lock());
    shard.unlink(e, index, store_);
    shard.drop_key_if_unused(e.key, e.hash, e.position);
}

/// After unlinking, without a lock.
void ExpectOwner::finish(std::uint32_t index, ExpectEnd why, ExpectTurn turn,
                         bool place_taken) noexcept {
    Expectation& e = store_.at(index);
    if (!place_taken) limits_.release(e, store_.books(index));
    ends_[static_cast<unsigned>(why)].add();
    emit_event(event_of(why), why, index, turn);
    if (e.owner != id_) return table_.owner(e.owner).pool_.send_back(index);
    strike_out(e);
    wheel_.disarm(index);
    pool_.retire(index);
}

void ExpectOwner::end_own(std::uint32_t index, Expectation& e, ExpectEnd why,
                          ExpectTurn turn) noexcept {
    lists_.detach(e);
    if (!end(e)) return;
    unlink(e, index);
    finish(index, why, turn, false);
}

bool ExpectOwner::remove(ExpectId id, ExpectEnd why, ExpectTurn turn) noexcept {
    if (!table_.has(id)) return false;
    Expectation& e = store_.at(id.index);
    if (!end(e, id.generation)) return false;
    unlink(e, id.index);
    finish(id.index, why, turn, false);
    return true;
}

void ExpectOwner::remove_all(MasterExpectations& master, ExpectEnd why, ExpectTurn turn) noexcept {
    if (why == ExpectEnd::master_end) master.closed = true;
    while (master.oldest != 0)
        end_own(master.oldest, store_.at(master.oldest), why, turn);
}

void ExpectOwner::remove(MasterExpectations& master, std::uint8_t class_index, std::uint32_t tag,
                         ExpectEnd why, ExpectTurn turn, std::uint32_t mask, std::uint32_t call,
                         bool others) noexcept {
    lists_.for_each_of(master, call,
                       [&](std::uint32_t i, Expectation& e, const ExpectTerms& terms) noexcept {
                           if (class_index != kAnyExpectClass && terms.class_index != class_index)
                               return;
                           if (tag != 0 && ((terms.tag & mask) == (tag & mask)) == others) return;
                           end_own(i, e, why, turn);
                       });
}

void ExpectOwner::remove_branch(MasterExpectations& master, std::uint32_t call, std::uint32_t bits,
                                std::uint32_t mask, ExpectEnd why, ExpectTurn turn) noexcept {
    take_returned();
    bool others = false;
    lists_.for_each_of(master, call,
                       [&](std::uint32_t, const Expectation&, const ExpectTerms& terms) noexcept {
                           others |= (terms.tag & mask) != 0 && (terms.tag & mask) != bits;
                       });
    remove(master, kAnyExpectClass, others ? bits : 0, why, turn, mask, call);
}

void ExpectOwner::activate(MasterExpectations& master, std::uint8_t class_index, std::uint32_t tag,
                           std::uint32_t timeout_ms, ExpectTurn turn, std::uint32_t call) noexcept {
    lists_.for_each_of(
        master, call,
        [&](std::uint32_t i, const Expectation& e, const ExpectTerms& terms) noexcept {
            if (terms.class_index != class_index || (tag != 0 && terms.tag != tag)) return;
            const ExpectId id{i, expect_state::generation(e.state.load(std::memory_order_relaxed))};
            if (timeout_ms != 0) set_timeout(id, timeout_ms, turn);
            activate(id);
        });
}

bool ExpectOwner::has_lasting(const MasterExpectations& master, Tick now) noexcept {
    bool found = false;
    lists_.for_each_of(
        master, 0, [&](std::uint32_t, const Expectation& e, const ExpectTerms& terms) noexcept {
            const std::uint32_t word = e.state.load(std::memory_order_acquire);
            found |= (terms.flags & expect_flag::permanent) != 0 && terms.call != 0 &&
                     expect_state::of(word) == expect_state::live && !is_expired(e, now);
        });
    return found;
}

bool ExpectOwner::activate(ExpectId id) noexcept {
    if (!table_.has(id)) return false;
    std::uint32_t word = id.generation << expect_state::kBits | expect_state::inactive;
    return store_.at(id.index).state.compare_exchange_strong(
        word, expect_state::with(word, expect_state::live), std::memory_order_acq_rel,
        std::memory_order_relaxed);
}

bool ExpectOwner::set_timeout(ExpectId id, std::uint32_t timeout_ms, ExpectTurn turn) noexcept {
    if (!table_.has(id)) return false;
    Expectation& e = store_.at(id.index);
    const std::uint32_t word = e.state.load(std::memory_order_acquire);
    if (!expect_state::pending(word) || expect_state::generation(word) != id.generation)
        return false;
    // If it ends just now this is harmless: it is not reused while this thread is online.
    e.deadline_ms.store((turn.now + timeout_ms).ms, std::memory_order_relaxed);
    if (e.owner == id_) wheel_.arm(id.index);
    return true;
}

void ExpectOwner::emit_event(ExpectEventType type, ExpectEnd end, std::uint32_t index,
                             ExpectTurn turn) noexcept {
    if (!events_.enabled()) return;
    ExpectEvent* event = events_.reserve();
    if (event == nullptr) return;
    const Expectation& e = store_.at(index);
    event->type = type;
    event->end = end;
    event->by = id_;
    event->at = turn.now;
    event->cookie = turn.cookie;
    table_.copy(e, index, e.state.load(std::memory_order_relaxed), event->info);
    events_.publish();
}

// ---- unproven masters ---------------------------------------------------------------------------

void ExpectOwner::promote(MasterExpectations& master, ExpectTurn turn) noexcept {
    if (!master.unproven) return;
    take_returned();
    while (master.oldest != 0 && limits_.has_no_room_for(master.pending()))
        end_own(master.oldest, store_.at(master.oldest), ExpectEnd::evicted, turn);
    // From now on they count for their zone and host, with their limits.
    for (std::uint32_t i = master.oldest, newer; i != 0; i = newer) {
        Expectation& e = store_.at(i);
        newer = e.newer;
        ExpectBooks& books = store_.books(i);
        if (books.counts_as() != ExpectAccount::unproven) continue;
        if (!limits_.prove(e, books)) {
            end_own(i, e, ExpectEnd::evicted, turn);
            continue;
        }
        if (books.terms.call != 0) books.again.store(books.terms.again, std::memory_order_relaxed);
    }
    master.unproven = master.claimed = false;
    limits_.count_unproven(-static_cast<std::int32_t>(master.pending()));
}

/// Removes one that has ended, on any thread, from its master's list.
void ExpectOwner::strike_out(Expectation& e) noexcept {
    if (e.list != nullptr && e.list->unproven && !e.list->claimed &&
        expect_state::of(e.state.load(std::memory_order_relaxed)) == expect_state::claimed) {
        e.list->claimed = true;
        if (claimed_count_ != claimed_.size()) claimed_[claimed_count_++] = e.list;
    }
    lists_.detach(e);
}

// ---- once a turn --------------------------------------------------------------------------------

void ExpectOwner::take_returned() noexcept {
    pool_.take_returned([this](std::uint32_t i) noexcept {
        strike_out(store_.at(i));
        wheel_.disarm(i);
    });
}

std::uint32_t ExpectOwner::tick(ExpectTurn turn, std::uint32_t budget) noexcept {
    take_returned();
    pool_.reclaim();
    return wheel_.advance(turn.now, budget, [&](std::uint32_t index) noexcept {
        Expectation& e = store_.at(index);
        // Its deadline was extended meanwhile.
        if (!is_expired(e, turn.now)) return wheel_.arm(index);
        if (!end(e)) return;  // claimed: it comes back by itself
        unlink(e, index);
        finish(index, ExpectEnd::expired, turn, false);
    });
}

}  // namespace postern
