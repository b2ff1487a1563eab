// SPDX-License-Identifier: BSD-3-Clause
// SourceSketch: a cell pair of a count-min sketch (table/sketch.h) for each source of packets.
//
// A source is an IPv4 address or an IPv6 /64 in its security zone: the owner of one address of a
// /64 has them all, and a packet with a forged address from another zone does not use up the
// address's share.
#pragma once

#include <algorithm>
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
        IpAddr who = source;
        if (who.family == Family::ipv6) std::fill(who.bytes.begin() + 8, who.bytes.end(), 0);
        // The second half of an address is zero here: room for the zone.
        who.bytes[15] = zone.number();
        return sketch_.at(sketch_.place(keyed_hash<16, 1>(who.bytes.data(), secret_)));
    }

  private:
    HashSecret secret_;
    Sketch<Cell> sketch_;
};

}  // namespace postern
