// SPDX-License-Identifier: BSD-3-Clause
#include "helper/slots.h"

#include <algorithm>
#include <bit>

#include "helper/descriptor.h"
#include "net/addr.h"

namespace postern {
namespace {

/// One account's share of a pool; at least one item.
constexpr std::uint32_t part(std::uint32_t pool, std::uint32_t accounts) noexcept {
    return std::max(1u, pool / accounts);
}

}  // namespace

HelperSlots::HelperSlots(std::uint32_t proven, std::uint32_t unproven, const HashSecret& secret)
    : conns_(make_huge_array<HelperConn>(std::size_t{proven} + unproven + 1)),
      secret_(secret),
      unproven_(proven + unproven, unproven,
                {{{kAccounts, part(unproven, 8)},
                  {kAccounts, part(unproven, 4)},
                  {kMaxHelpers, part(unproven, 2)},
                  {kMaxZones, part(unproven, 2)}}}),
      proven_(proven + unproven, proven,
              {{{kAccounts, part(proven, 8)}, {kAccounts, part(proven, 2)}}}) {
    const std::uint32_t slots = proven + unproven;
    free_.reserve(slots);
    for (std::uint32_t i = slots; i != 0; --i)
        free_.push_back(i);
}

/// The account of an address, by its leading bits: whole bytes, of IPv6 at most 64 or all.
std::uint32_t HelperSlots::account_of(const IpAddr& address, unsigned v4_bits,
                                      unsigned v6_bits) const noexcept {
    // By words, as the hash takes them: bytes would have to reach memory first.
    const unsigned bits = address.family == Family::ipv4 ? v4_bits : v6_bits;
    auto halves = address.halves();
    static_assert(std::endian::native == std::endian::little);
    if (bits < 64) halves[0] &= (std::uint64_t{1} << bits) - 1;
    if (bits <= 64) halves[1] = 0;
    return static_cast<std::uint32_t>(keyed_hash<1>(halves, secret_)) % kAccounts;
}

HelperSlots::ProvenPool::Accounts HelperSlots::proven_accounts(
    const Tuple& original) const noexcept {
    return {account_of(original.src, 32, 64), account_of(original.dst, 32, 128)};
}

HelperSlots::UnprovenPool::Accounts HelperSlots::unproven_accounts(
    const Applicant& a) const noexcept {
    return {account_of(a.original.src, 24, 56), account_of(a.original.dst, 32, 128), a.helper,
            a.from.number()};
}

std::uint32_t HelperSlots::take(const Applicant& a) noexcept {
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    HelperConn& conn = conns_[slot];
    conn = HelperConn{};
    conn.owner = a.owner;
    conn.original = a.original;
    conn.stranger = a.standing == Standing::unproven;
    if (conn.stranger)
        unproven_.insert(slot, unproven_accounts(a), a.now);
    else
        proven_.insert(slot, proven_accounts(a.original), a.now);
    return slot;
}

void HelperSlots::give(std::uint32_t slot) noexcept {
    conns_[slot].helper = kNoHelper;
    unproven_.remove(slot);
    proven_.remove(slot);
    free_.push_back(slot);
}

void HelperSlots::promote(std::uint32_t slot, Tick now) noexcept {
    unproven_.remove(slot);
    proven_.insert(slot, proven_accounts(conns_[slot].original), now);
    conns_[slot].stranger = false;
}

Assembler::Party HelperSlots::party_of(std::uint32_t slot) const noexcept {
    if (unproven_.has(slot)) {
        const auto& by = unproven_.accounts(slot);
        return {Standing::unproven, by[kBySource], by[kByDestination]};
    }
    const auto& by = proven_.accounts(slot);
    return {Standing::proven, by[kBySource], by[kByDestination]};
}

}  // namespace postern
