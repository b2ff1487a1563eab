// SPDX-License-Identifier: BSD-3-Clause
// SetFilter: which of eight neighbouring lengths of prefixes may occur below an address, so that a
// look-up searches only the tables of these.
//
// A byte for each hash of the bits that all eight lengths share, and a bit of it for each length.
// It has no keys: two addresses with the same hash share a byte, which costs their look-ups a
// search that finds nothing. Bits are set and never cleared: those of deleted entries stay until
// the filter is built anew (LiveSet).
//
// Synchronisation: control writes; any worker reads. An addition sets the entry's bit and puts the
// entry into its table. Relaxed order suffices:
//  * A look-up that happens after an addition sees the bit and the entry: both were written before,
//    and no bit is ever cleared.
//  * A look-up at the same time may see the bit, the entry, both or neither. It finds the entry if
//    it sees both. That is a look-up after the addition, or else before it.
//  * Two readers never disagree about which it was: if one has found the entry and then told the
//    other, the other reads the same byte and slot later, and never an older value (coherence).
//
// Cost: of a look-up one byte. Size: two bytes for each bit that it has room for.
#pragma once

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>

#include "base/huge_pages.h"
#include "net/keyed_hash.h"
#include "net/ranges.h"

namespace postern {

/// Keyed hash of the bits of a prefix.
template <class Key>
std::uint32_t set_hash(const Key& key, const HashSecret& secret) noexcept {
    if constexpr (std::same_as<Key, Wide>)
        return keyed_hash32(std::array{key.high, key.low}, secret);
    else
        return keyed_hash32(std::array{std::uint64_t{key}}, secret);
}

template <class Key>
class SetFilter {
  public:
    /// Has room for `bits` bits. `secret` outlives it.
    SetFilter(std::size_t bits, const HashSecret& secret)
        : secret_(secret),
          room_(bits),
          size_(bits * kBytesABit),
          bytes_(make_huge_array<std::atomic<std::uint8_t>>(size_)) {}

    // --- any thread ---
    /// The byte of an address, of which only the shared bits are set.
    const std::atomic<std::uint8_t>* byte_of(const Key& shared) const noexcept {
        return &bytes_[set_hash(shared, secret_) * size_ >> 32];
    }

    // --- control ---
    bool has_room() const noexcept { return set_ < room_; }
    /// When an entry of this length is added.
    void set(const Key& shared, std::uint8_t bit) noexcept {
        std::atomic<std::uint8_t>& byte = bytes_[set_hash(shared, secret_) * size_ >> 32];
        const std::uint8_t before = byte.load(std::memory_order_relaxed);
        if ((before & bit) != 0) return;
        byte.store(before | bit, std::memory_order_relaxed);  // nobody else writes
        ++set_;
    }
    std::size_t bytes() const noexcept { return size_; }

  private:
    static constexpr std::size_t kBytesABit = 2;

    const HashSecret& secret_;
    std::size_t room_, size_;
    /// Control: w, workers: r; relaxed, see above.
    HugeArray<std::atomic<std::uint8_t>> bytes_;
    std::size_t set_ = 0;  ///< bits
};

}  // namespace postern
