// SPDX-License-Identifier: BSD-3-Clause
// Reads by any thread: matches of a packet, copies for lists and events.
#include <bit>
#include <cstring>

#include "expect/owner.h"
#include "expect/table.h"

namespace postern {
namespace {

/// Whether the packet comes from this candidate's source.
bool source_matches(const Expectation& e, const std::uint64_t (&src)[2], Be16 sport) noexcept {
    return (((src[0] & e.src_mask[0]) ^ e.src[0]) | ((src[1] & e.src_mask[1]) ^ e.src[1]) |
            static_cast<std::uint64_t>((sport.raw() & e.sport_mask) ^ e.sport)) == 0;
}

/// Whether it is between this candidate's sides.
bool zones_match(const Expectation& e, const ExpectProbe& p) noexcept {
    const auto fits = [](EdgeId wanted, EdgeId side) noexcept {
        return wanted == side || wanted == kAnyEdge || side == kAnyEdge;
    };
    return fits(e.from_side, p.from_side) && fits(e.to_side, p.to_side);
}

}  // namespace

std::uint32_t ExpectTable::find_candidate(const ExpectProbe& p, const Tuple& tuple, Tick now,
                                          bool* wrong_zone) const noexcept {
    std::uint64_t src[2];
    std::memcpy(src, tuple.src.bytes.data(), sizeof src);
    // Acquire pairs with unlink()'s release.
    for (std::uint32_t i = shard_of(p.hash).first(p.key, p.hash); i != 0;
         i = store_.at(i).next.load(std::memory_order_acquire)) {
        const Expectation& e = store_.at(i);
        if (expect_state::of(e.state.load(std::memory_order_acquire)) != expect_state::live ||
            !source_matches(e, src, p.sport_unknown ? Be16::from_raw(e.sport) : tuple.sport) ||
            is_expired(e, now))
            continue;
        if (zones_match(e, p)) return i;
        // The announcement of an unproven master may be forged: it blocks nothing.
        if (wrong_zone != nullptr && store_.books(i).counts_as() != ExpectAccount::unproven)
            *wrong_zone = true;
    }
    return 0;
}

bool ExpectTable::find(const ExpectProbe& p, const Tuple& tuple, Tick now,
                       ExpectInfo& out) const noexcept {
    if (!may_match(p)) return false;
    const std::uint32_t index = find_candidate(p, tuple, now);
    return index != 0 && copy_if_pending(index, out);
}

bool ExpectTable::get(ExpectId id, ExpectInfo& out) const noexcept {
    return id && copy_if_pending(id.index, out) && out.id == id;
}

void ExpectTable::copy(const Expectation& e, std::uint32_t index, std::uint32_t word,
                       ExpectInfo& out) const noexcept {
    const std::uint32_t state = expect_state::of(word);
    const std::uint8_t inactive =
        state == expect_state::inactive || state == expect_state::dead_inactive
            ? expect_flag::inactive
            : 0;
    const ExpectTerms& terms = store_.books(index).terms;
    out.as_tuple() = {
        .ct_zone = e.key.ct_zone,
        .from_side = e.from_side,
        .to_side = e.to_side,
        .protocol = e.key.protocol,
        .src = {{{}, e.key.family},
                static_cast<std::uint8_t>(std::popcount(e.src_mask[0]) +
                                          std::popcount(e.src_mask[1]))},
        .dst = {e.key.dst, e.key.family},
        .sport = Be16::from_raw(e.sport),
        .sport_mask = Be16::from_raw(e.sport_mask),
        .dport = e.key.dport,
    };
    std::memcpy(out.src.address.bytes.data(), e.src, sizeof e.src);
    out.as_inherited() = e.inherited;
    out.as_terms() = terms;
    out.flags = static_cast<std::uint8_t>((terms.flags & ~expect_flag::inactive) | inactive);
    out.id = {index, expect_state::generation(word)};
    out.owner = e.owner;
    out.master_tuple = e.master_tuple;
    out.deadline = Tick{e.deadline_ms.load(std::memory_order_relaxed)};
}

ExpectId ExpectTable::find_of(ConnId master, const ExpectProbe& p, std::uint8_t class_index,
                              std::uint32_t call, std::uint32_t tag) const noexcept {
    if (!may_match(p)) return {};
    for (std::uint32_t i = shard_of(p.hash).first(p.key, p.hash); i != 0;
         i = store_.at(i).next.load(std::memory_order_acquire)) {
        const Expectation& e = store_.at(i);
        const std::uint32_t word = e.state.load(std::memory_order_acquire);
        const ExpectTerms& terms = store_.books(i).terms;
        if (expect_state::pending(word) && (!master || e.inherited.master == master) &&
            terms.class_index == class_index && terms.tag == tag && terms.call == call)
            return {i, expect_state::generation(word)};
    }
    return {};
}

/// While the caller is an online reader, objects that it saw pending are not reused: no tearing.
bool ExpectTable::copy_if_pending(std::uint32_t index, ExpectInfo& out) const noexcept {
    const Expectation& e = store_.at(index);
    // Acquire pairs with the release that made it live: its fields are complete.
    const std::uint32_t word = e.state.load(std::memory_order_acquire);
    if (!expect_state::pending(word)) return false;
    copy(e, index, word, out);
    return true;
}

/// Skips the unused part of a pool; false if no object is left.
bool ExpectTable::skip_untouched(std::uint32_t& cursor) const noexcept {
    for (std::uint32_t o = cursor / store_.per_owner; o < owners_.size(); ++o) {
        // A missed object was created after the walk began.
        if (cursor + 1 < owners_[o]->pool_.fresh()) return true;
        cursor = (o + 1) * store_.per_owner;
    }
    return false;
}

ExpectAnswer ExpectTable::peek_candidate(const ExpectProbe& p, const Tuple& tuple, Tick now,
                                         ExpectMatch& out) const noexcept {
    bool wrong_zone = false;
    const std::uint32_t index = find_candidate(p, tuple, now, &wrong_zone);
    if (index == 0) return wrong_zone ? ExpectAnswer::wrong_zone : ExpectAnswer::none;
    const Expectation& e = store_.at(index);
    // It may have ended since; then its generation is that of the dead, and take() detects that.
    const std::uint32_t word = e.state.load(std::memory_order_acquire);
    out.as_inherited() = e.inherited;
    out.id = {index, expect_state::generation(word)};
    out.sport = Be16::from_raw(e.sport);
    out.sport_mask = Be16::from_raw(e.sport_mask);
    out.ct_zone = e.key.ct_zone;
    out.class_index = store_.books(index).terms.class_index;
    out.flags = store_.books(index).terms.flags;
    return ExpectAnswer::match;
}

}  // namespace postern
