// SPDX-License-Identifier: BSD-3-Clause
// TopSums: the largest sources, destinations or rules among any number of connections, in fixed
// memory.
//
// What: two passes over all connections. Each adds what its connections have to a count-min sketch
// (table/sketch.h) of its own; the difference of the two is what passed in between. During the
// second pass the keys with the largest values are kept, at most kKept of them. A value is never
// too low by much, and too high only for keys that share both their cells with others.
// Used by: `top`, control's thread. Cost: 8 MB while it exists, about 100 ns a connection and pass.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/types.h"
#include "net/addr.h"
#include "net/keyed_hash.h"
#include "table/sketch.h"

namespace postern {

class TopSums {
  public:
    enum class By : std::uint8_t {
        bytes,
        packets,
        connections,
        fresh  ///< connections that began between the passes
    };
    /// An address, or the number of a rule.
    struct Key {
        IpAddr address;
        std::uint32_t number = 0;
        friend constexpr auto operator<=>(const Key&, const Key&) = default;
    };
    struct Sum {
        std::uint64_t bytes = 0, packets = 0, connections = 0, fresh = 0;
        std::uint64_t of(By by) const noexcept;
    };
    struct Row {
        Key key;
        Sum sum;
    };
    static constexpr std::size_t kKept = 256;

    TopSums(By by, const HashSecret& secret);

    /// A connection in the first pass, then in the second one: its totals.
    void add_before(const Key& key, const Sum& totals) noexcept;
    void add(const Key& key, const Sum& totals);
    /// The keys with the largest values, in descending order: bytes and packets between the
    /// passes, connections in the second one.
    std::vector<Row> largest(std::size_t most) const;

  private:
    static constexpr std::uint32_t kCells = 1u << 16;  ///< a row

    using Cells = Sketch<Sum>;
    SketchPlace place_of(const Key& key) const noexcept;
    Sum between(SketchPlace place) const noexcept;
    void forget_smallest();

    By by_;
    HashSecret secret_;
    Cells before_, now_;
    std::map<Key, Sum> kept_;
    std::uint64_t least_ = 0;  ///< of a full kept_: no key of less is taken
};

}  // namespace postern
