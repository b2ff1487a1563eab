// SPDX-License-Identifier: BSD-3-Clause
// Filing: an expectation is compared with those of its key, gets room and a count under the limits,
// and is published.
#include <algorithm>
#include <cstring>
#include <mutex>

#include "expect/owner.h"

namespace postern {
namespace {

/// Identical ones of one master, of several calls or with several tags: the maximum.
constexpr unsigned kMaxTwins = 4;

/// The mask of the first `bits` bits of an address, at most 128, in network byte order.
void prefix_mask(unsigned bits, std::uint64_t (&words)[2]) noexcept {
    const auto leading = [](unsigned n) noexcept {
        return n == 0 ? 0 : __builtin_bswap64(~std::uint64_t{0} << (64 - n));
    };
    words[0] = leading(std::min(bits, 64u));
    words[1] = leading(bits > 64 ? bits - 64 : 0);
}

/// Same tuple and same mask, given the same key.
bool same_source(const Expectation& a, const Expectation& b) noexcept {
    return a.src[0] == b.src[0] && a.src[1] == b.src[1] && a.src_mask[0] == b.src_mask[0] &&
           a.src_mask[1] == b.src_mask[1] && a.sport == b.sport && a.sport_mask == b.sport_mask;
}

/// Could one packet match both, given the same key? Compared under the intersection of the masks.
bool sources_overlap(const Expectation& a, const Expectation& b) noexcept {
    return (((a.src[0] ^ b.src[0]) & a.src_mask[0] & b.src_mask[0]) |
            ((a.src[1] ^ b.src[1]) & a.src_mask[1] & b.src_mask[1]) |
            static_cast<std::uint64_t>((a.sport ^ b.sport) & a.sport_mask & b.sport_mask)) == 0;
}

/// Whether no packet can match both, because they are about other zones.
bool sides_apart(const Expectation& a, const Expectation& b) noexcept {
    const auto apart = [](EdgeId x, EdgeId y) noexcept {
        return x != kAnyEdge && y != kAnyEdge && x != y;
    };
    return apart(a.from_side, b.from_side) || apart(a.to_side, b.to_side);
}

/// The table has one object more from here on.
bool adds(InsertOutcome o) noexcept {
    return o == InsertOutcome::created || o == InsertOutcome::refreshed;
}

Tick deadline_of(const Expectation& e) noexcept {
    return Tick{e.deadline_ms.load(std::memory_order_relaxed)};
}

bool is_valid(const ExpectRequest& r) noexcept {
    return r.class_index < kExpectClasses && r.timeout_ms != 0 &&
           r.timeout_ms <= kMaxTimeoutS * 1000u && r.dst.family != Family::none &&
           (r.any_src() || r.src.address.family == r.dst.family);
}

}  // namespace

inline InsertResult ExpectOwner::count(InsertOutcome outcome, ExpectId id) noexcept {
    outcomes_[static_cast<unsigned>(outcome)].add();
    return {outcome, id};
}

InsertResult ExpectOwner::insert(const ExpectRequest& r, MasterExpectations* master,
                                 ExpectTurn turn) noexcept {
    if (!is_valid(r)) return count(InsertOutcome::invalid, {});
    if (master != nullptr && master->closed) return count(InsertOutcome::master_gone, {});
    take_returned();  // so that the class counts are right
    const std::uint32_t index = pool_.allocate();
    if (index == 0) return count(InsertOutcome::limit_pool, {});
    Newcomer newcomer{r, master, turn.now, index, store_.at(index), store_.books(index)};
    fill(newcomer);
    const InsertOutcome outcome = place(newcomer);
    finish_displaced(newcomer, turn);
    if (!adds(outcome)) {
        pool_.put_back(index);
        return count(outcome, newcomer.existing);
    }
    const Expectation& e = newcomer.e;
    const ExpectId id{index, expect_state::generation(e.state.load(std::memory_order_relaxed))};
    // The owner's own books. The expectation may have been claimed by now; then it comes back over
    // the pool, and take_returned() removes it again.
    if (master != nullptr) lists_.attach(*master, newcomer.e, index);
    wheel_.arm(index);
    emit_event(ExpectEventType::fresh, ExpectEnd::claimed, index, turn);
    return count(outcome, id);
}

void ExpectOwner::fill(const Newcomer& newcomer) noexcept {
    const ExpectRequest& r = newcomer.request;
    Expectation& e = newcomer.e;
    e.key = ExpectKey::of(r.ct_zone, r.protocol, r.dst, r.dport);
    e.hash = table_.hash_of(e.key);
    table_.shard_of(e.hash).prefetch_for_writing(e.hash);
    prefix_mask(std::min<unsigned>(r.src.length, 8 * address_bytes(r.dst.family)), e.src_mask);
    std::memcpy(e.src, r.src.address.bytes.data(), sizeof e.src);
    e.src[0] &= e.src_mask[0];
    e.src[1] &= e.src_mask[1];
    e.sport_mask = r.sport_mask.raw();
    e.sport = r.sport.raw() & e.sport_mask;
    e.from_side = r.from_side;
    e.to_side = r.to_side;
    e.inherited = r.as_inherited();
    e.owner = id_;
    e.master_tuple = r.master_tuple;
    e.deadline_ms.store((newcomer.now + r.timeout_ms).ms, std::memory_order_relaxed);
    e.master_zone = r.master_zone;
    e.host = limits_.source_place(r.ct_zone, r.master_tuple.src);

    ExpectBooks& books = newcomer.books;
    books.terms = r.as_terms();
    books.terms.flags &= expect_flag::kept;
    const bool proven = newcomer.master != nullptr && !newcomer.master->unproven;
    books.again.store(r.call != 0 && proven ? r.again : std::uint8_t{0}, std::memory_order_relaxed);
    // A rule's expectations come from the operator, not from a stranger: its limits hold at once.
    books.account.store(newcomer.unproven() && r.helper != kNoHelper ? ExpectAccount::unproven
                                                                     : ExpectAccount::shared,
                        std::memory_order_relaxed);
}

/// The part that requires the shard's lock.
InsertOutcome ExpectOwner::place(Newcomer& newcomer) noexcept {
    const Expectation& e = newcomer.e;
    ExpectShard& shard = table_.shard_of(e.hash);
    std::lock_guard guard(shard.lock());
    // A key is there only as long as one with it is pending.
    std::int32_t position = shard.may_have(e.hash) ? shard.position_of(e.key, e.hash) : -1;
    InsertOutcome outcome = InsertOutcome::created;
    if (position >= 0) outcome = check_chain(shard, shard.first_at(position), newcomer);
    if (outcome == InsertOutcome::created && newcomer.master != nullptr) make_room(newcomer);
    if (adds(outcome)) outcome = publish(shard, position, newcomer, outcome);
    std::uint32_t& place_of = newcomer.displaced.place_of;
    if (!adds(outcome) && place_of != 0) {
        store_.books(place_of).account.store(newcomer.books.counts_as(), std::memory_order_relaxed);
        place_of = 0;
    }
    if (position >= 0)
        shard.drop_key_if_unused(e.key, e.hash, static_cast<std::uint32_t>(position));
    return outcome;
}

ExpectOwner::Rival ExpectOwner::judge(const Newcomer& newcomer, std::uint32_t index,
                                      const Expectation& other, std::uint32_t word) const noexcept {
    const ExpectRequest& r = newcomer.request;
    const Expectation& e = newcomer.e;
    if (is_expired(other, newcomer.now)) return Rival::gives_way;
    const bool others = other.inherited.master != r.master;
    const ExpectTerms& terms = store_.books(index).terms;
    const bool skips = others && (r.flags & expect_flag::skip_master) != 0;
    const bool beside = (r.flags & expect_flag::beside) != 0;
    if (others) {
        if (sides_apart(other, e)) return Rival::beside;
        // An unproven master's never conflicts with a proven one's, nor does it serve it.
        if (store_.books(index).counts_as() == ExpectAccount::unproven &&
            newcomer.books.counts_as() != ExpectAccount::unproven)
            return !skips && !beside && sources_overlap(other, e) ? Rival::gives_way
                                                                  : Rival::beside;
        // Of unproven masters, the one that ends first is displaced if there is no room.
        if (beside)
            return same_source(other, e) && !newcomer.unproven() ? Rival::beside_twin
                                                                 : Rival::counts;
    } else {
        const bool other_cause = terms.call != r.call || terms.tag != r.tag;
        if (r.call != 0 && terms.call != 0 && other_cause)
            return same_source(other, e) ? Rival::twin : Rival::counts;
    }
    if (!same_source(other, e))
        return sources_overlap(other, e) && !skips ? Rival::busy : Rival::counts;
    if (others) return skips ? Rival::shared : Rival::already;
    if (terms.class_index != r.class_index) return Rival::already;
    const bool stays = (r.flags & expect_flag::stays) != 0;
    return stays && expect_state::of(word) == expect_state::live ? Rival::stays : Rival::refreshed;
}

/// Compares with the pending ones of the same key; ends expired ones, and those that this one
/// replaces.
InsertOutcome ExpectOwner::check_chain(ExpectShard& shard, std::uint32_t first,
                                       Newcomer& newcomer) noexcept {
    const Expectation& e = newcomer.e;
    Displaced& displaced = newcomer.displaced;
    InsertOutcome outcome = InsertOutcome::created;
    std::uint32_t candidates = 0;
    unsigned twins = 0, beside_twins = 0;
    // One source alone must not exclude the others, however many masters it has.
    const unsigned most_beside = std::max(kMaxTwins, table_.max_per_destination_ / 8);
    std::uint32_t soonest = 0;  // of other unproven masters', the one that ends first
    const auto take_over = [&](std::uint32_t at) noexcept {
        Expectation& other = store_.at(at);
        if (!end(other)) return false;
        shard.unlink(other, at, store_);
        if (displaced.place_of == 0 &&
            ExpectLimits::take_place(other, store_.books(at), e, newcomer.books))
            displaced.place_of = at;
        return true;
    };
    const auto give_way = [&](std::uint32_t at) noexcept {
        Expectation& other = store_.at(at);
        if (!take_over(at)) return;
        if (other.owner == id_) lists_.detach(other);  // this may make room in the class
        other.link = displaced.expired;
        displaced.expired = at;
    };
    // Relaxed: anchor and next are written under this lock only.
    for (std::uint32_t i = first, next; i != 0; i = next) {
        Expectation& other = store_.at(i);
        next = other.next.load(std::memory_order_relaxed);
        const std::uint32_t word = other.state.load(std::memory_order_acquire);
        if (!expect_state::pending(word)) continue;  // the thread that ended it waits for this lock
        const auto there = [&](InsertOutcome why) noexcept {
            newcomer.existing = {i, expect_state::generation(word)};
            return why;
        };
        const bool both_doubtful = other.inherited.master != e.inherited.master &&
                                   store_.books(i).counts_as() == ExpectAccount::unproven &&
                                   newcomer.books.counts_as() == ExpectAccount::unproven;
        if (both_doubtful && !sides_apart(other, e) &&
            (soonest == 0 || deadline_of(other) - deadline_of(store_.at(soonest)) < 0))
            soonest = i;
        switch (judge(newcomer, i, other, word)) {
            case Rival::beside: break;
            case Rival::counts: ++candidates; break;
            case Rival::beside_twin:
                if (++beside_twins == most_beside) {
                    give_way(i);
                    --beside_twins;
                } else {
                    ++candidates;
                }
                break;
            case Rival::twin:
                if (++twins == kMaxTwins) {
                    give_way(i);
                    --twins;
                } else {
                    ++candidates;
                }
                break;
            case Rival::gives_way: give_way(i); break;
            case Rival::refreshed:
                if (!take_over(i)) break;  // a child has just claimed it: this is a new one
                displaced.refreshed = i;
                outcome = InsertOutcome::refreshed;
                break;
            case Rival::stays: {
                const Tick least = newcomer.now + ExpectRequest::kMinStayMs;
                if (reached(deadline_of(other), least))
                    other.deadline_ms.store(least.ms, std::memory_order_relaxed);
                return there(InsertOutcome::shared);
            }
            case Rival::shared: return there(InsertOutcome::shared);
            case Rival::already: return there(InsertOutcome::already);
            case Rival::busy: return there(InsertOutcome::busy);
        }
    }
    if (candidates < table_.max_per_destination_) return outcome;
    // Forged announcements of one destination must not exclude an honest one.
    if (soonest == 0) return InsertOutcome::limit_destination;
    give_way(soonest);
    return outcome;
}

/// The displaced one may be in any shard, so here it is only ended: a lock is held, and no thread
/// may hold two.
void ExpectOwner::make_room(Newcomer& newcomer) noexcept {
    if (newcomer.request.call != 0)
        make_room_in_call(newcomer);
    else if (newcomer.request.class_max != 0)
        make_room_in_class(newcomer);
    if (newcomer.unproven()) make_room_in_master(newcomer);
}

/// In a full class, expired ones end first, then the oldest.
void ExpectOwner::make_room_in_class(Newcomer& newcomer) noexcept {
    const MasterExpectations& master = *newcomer.master;
    const std::uint8_t of_class = newcomer.request.class_index;
    for (const bool of_any_age : {false, true}) {
        std::uint32_t i = master.oldest;
        for (std::uint32_t newer; i != 0 && master.count[of_class] >= newcomer.request.class_max;
             i = newer) {
            const Expectation& old = store_.at(i);
            newer = old.newer;
            if (store_.books(i).terms.class_index == of_class &&
                (of_any_age || is_expired(old, newcomer.now)))
                displace(i, newcomer);
        }
    }
}

/// In a call's class the oldest with the same destination host is displaced, so that the many
/// answers of a forking call do not displace the caller's own. In a master's it is the oldest
/// except permanent ones, of which there are no more than one call may have.
void ExpectOwner::make_room_in_call(Newcomer& newcomer) noexcept {
    const MasterExpectations& master = *newcomer.master;
    const ExpectRequest& r = newcomer.request;
    const Expectation& e = newcomer.e;
    for (bool again = r.class_max != 0; again;) {
        unsigned count = 0;
        std::uint32_t oldest = 0, oldest_there = 0;
        lists_.for_each_of(
            master, r.call,
            [&](std::uint32_t i, const Expectation& other, const ExpectTerms& terms) noexcept {
                if (terms.class_index != r.class_index) return;
                ++count;
                oldest = i;
                if (other.key.dst == e.key.dst) oldest_there = i;
            });
        again = count > r.class_max;
        if (count >= r.class_max) displace(oldest_there != 0 ? oldest_there : oldest, newcomer);
    }
    while (r.master_max != 0 && master.pending() >= r.master_max) {
        std::uint32_t i = master.oldest;
        while (i != 0 && (store_.books(i).terms.flags & expect_flag::permanent) != 0)
            i = store_.at(i).newer;
        if (i == 0) return;
        displace(i, newcomer);
    }
}

/// An unproven master keeps as many as one message may announce: its oldest ones end.
void ExpectOwner::make_room_in_master(Newcomer& newcomer) noexcept {
    const MasterExpectations& master = *newcomer.master;
    while (master.oldest != 0 && master.pending() >= MasterExpectations::kMaxUnproven)
        displace(master.oldest, newcomer);
}

/// Ends one of the caller's own under another's lock; finish_displaced() does the rest. One that a
/// child claimed meanwhile leaves room, too, and comes back by itself.
void ExpectOwner::displace(std::uint32_t index, Newcomer& newcomer) noexcept {
    Expectation& old = store_.at(index);
    Displaced& displaced = newcomer.displaced;
    lists_.detach(old);
    if (!end(old)) return;
    old.link = displaced.evicted;
    displaced.evicted = index;
    if (displaced.place_of == 0 &&
        ExpectLimits::take_place(old, store_.books(index), newcomer.e, newcomer.books))
        displaced.place_of = index;
}

/// With the shard's lock. Returns `outcome`, or the limit reached.
InsertOutcome ExpectOwner::publish(ExpectShard& shard, std::int32_t& position, Newcomer& newcomer,
                                   InsertOutcome outcome) noexcept {
    Expectation& e = newcomer.e;
    const bool has_place = newcomer.displaced.place_of != 0;
    if (!has_place) {
        const InsertOutcome limit = limits_.reserve(e, newcomer.books, newcomer.unproven());
        if (limit != InsertOutcome::created) return limit;
    }
    if (position < 0) {
        position = shard.add_key(e.key, e.hash);
        if (position < 0) {
            if (!has_place) limits_.release(e, newcomer.books);
            return InsertOutcome::limit_pool;
        }
    }
    e.position = static_cast<std::uint32_t>(position);
    shard.count_in(e);
    e.next.store(shard.first_at(position), std::memory_order_relaxed);
    const std::uint32_t generation =
        expect_state::generation(e.state.load(std::memory_order_relaxed)) + 1;
    const std::uint32_t state = (newcomer.books.terms.flags & expect_flag::inactive) != 0
                                    ? expect_state::inactive
                                    : expect_state::live;
    // Release pairs with the acquire in copy_if_pending() and remove(), which access it by index
    // ...
    e.state.store(generation << expect_state::kBits | state, std::memory_order_release);
    // ... and this one with readers by key.
    shard.publish(e, newcomer.index);
    return outcome;
}

/// Without a lock: completes the ends of displaced ones.
void ExpectOwner::finish_displaced(const Newcomer& newcomer, ExpectTurn turn) noexcept {
    const Displaced& displaced = newcomer.displaced;
    const auto finish_one = [&](std::uint32_t i, ExpectEnd why) noexcept {
        finish(i, why, turn, displaced.place_of == i);
    };
    const auto cause = [&](const Expectation& old) noexcept {
        return is_expired(old, turn.now) ? ExpectEnd::expired : ExpectEnd::evicted;
    };
    if (displaced.refreshed != 0) finish_one(displaced.refreshed, ExpectEnd::refreshed);
    for (std::uint32_t i = displaced.expired, next; i != 0; i = next) {
        const Expectation& old = store_.at(i);
        next = old.link;
        finish_one(i, cause(old));
    }
    for (std::uint32_t i = displaced.evicted, next; i != 0; i = next) {
        Expectation& old = store_.at(i);
        next = old.link;
        unlink(old, i);
        finish_one(i, cause(old));
    }
}

}  // namespace postern
