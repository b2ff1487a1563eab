// SPDX-License-Identifier: BSD-3-Clause
// SourceSketch: a cell pair of a count-min sketch (table/sketch.h) for each source of packets.
//
// A source is an IPv4 address or an IPv6 /64 in its security zone: the owner of one address of a
// /64 has them all, and a packet with a forged address from another zone does not use up the
// address's share.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/types.h"
#include "net/addr.h"
#include "net/keyed_hash.h"
#include "table/sketch.h"

namespace postern {

template <class Cell>
class SourceSketch {
  public:
    /// `cells` a row, a power of two; 0: nothing is counted.
    SourceSketch(std::uint32_t cells, const HashSecret& secret) : secret_(secret) {
        if (cells != 0) sketch_ = Sketch<Cell>(std::make_unique<Cell[]>(2 * cells), cells);
    }
    explicit operator bool() const noexcept { return static_cast<bool>(sketch_); }

    /// Not to be called on a sketch without cells.
    std::pair<Cell&, Cell&> find(ZoneId zone, const IpAddr& source) const noexcept {
        // The second half of an address does not count: room for the zone. Not written into a copy
        // of the address, whose bytes would then have to reach memory before it is read by words.
        const std::array words{source.halves()[0], std::uint64_t{zone.number()} << 56};
        return sketch_.at(sketch_.place(keyed_hash<1>(words, secret_)));
    }

  private:
    HashSecret secret_;
    Sketch<Cell> sketch_;
};

}  // namespace postern
