// SPDX-License-Identifier: BSD-3-Clause
// AnswerLimits: limits of a worker's answers to rejected packets (RFC 4443 section 2.4 (f)).
//
// What: token buckets, one for all answers and one by source, each with at most one second's
// answers. The buckets of sources are cells of a sketch (conntrack/source_sketch.h): a source is
// limited only when both of its cells are empty. Without limits nothing is stored. A limit by
// source is needed because a forged source address directs the answers at its owner.
// Used by: the worker that owns it. Cost: two cache lines an answer; other packets do not touch it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/types.h"
#include "conntrack/source_sketch.h"
#include "net/addr.h"
#include "net/keyed_hash.h"

namespace postern {

struct AnswerRates {
    std::uint32_t per_second = 0;             ///< 0 = no limit
    std::uint32_t per_second_per_source = 0;  ///< of an IPv4 address or IPv6 /64; 0 = no limit
};

class AnswerLimits {
  public:
    AnswerLimits(AnswerRates rates, const HashSecret& secret)
        : rates_(rates), sources_(rates.per_second_per_source != 0 ? kCells : 0, secret) {}

    /// Returns whether an answer may go to `source`, a host of this zone. If so, counts it.
    bool admit(const IpAddr& source, ZoneId zone, Tick now) noexcept {
        if (sources_) {
            const auto [a, b] = sources_.find(zone, source);
            // Both buckets pay, also if one is empty.
            const bool has_a = a.take(rates_.per_second_per_source, now);
            const bool has_b = b.take(rates_.per_second_per_source, now);
            if (!has_a && !has_b) return false;
        }
        return rates_.per_second == 0 || all_.take(rates_.per_second, now);
    }

  private:
    static constexpr std::uint32_t kCells = 1u << 12;  ///< a row; 8 bytes each

    /// Thousandths of an answer: a millisecond adds `per_second` of them.
    struct Bucket {
        std::uint32_t at_ms = 0;
        std::uint32_t spent = 0;  ///< tokens taken from a full bucket

        bool take(std::uint32_t per_second, Tick now) noexcept {
            const std::uint64_t back = std::uint64_t{now.ms - at_ms} * per_second;
            spent -= static_cast<std::uint32_t>(std::min<std::uint64_t>(back, spent));
            at_ms = now.ms;
            if (spent + 1000 > per_second * 1000) return false;
            spent += 1000;
            return true;
        }
    };
    static_assert(sizeof(Bucket) == 8);

    AnswerRates rates_;
    SourceSketch<Bucket> sources_;
    Bucket all_;
};

}  // namespace postern
