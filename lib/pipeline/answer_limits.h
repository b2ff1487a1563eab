// SPDX-License-Identifier: BSD-3-Clause
// AnswerLimits: how many answers to rejected packets a worker may send (RFC 4443 section 2.4 (f)).
//
// What: token buckets, one for all answers and one by source, each filled with a second's answers
// at most. The sources' are cells of a sketch (conntrack/source_sketch.h): a source is held back
// only when both of its cells are empty. Without limits nothing is kept.
// Why by source: whoever forges a source address turns the answers on its owner.
// Who: the worker that owns it. Cost: two cache lines an answer; other packets do not touch it.
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

    /// Whether an answer may go to `source`, a host of this zone. Counts it, if so.
    bool admit(const IpAddr& source, ZoneId zone, Tick now) noexcept {
        if (sources_) {
            const auto [a, b] = sources_.find(zone, source);
            // No short cut: both pay.
            const bool has_a = a.take(rates_.per_second_per_source, now);
            const bool has_b = b.take(rates_.per_second_per_source, now);
            if (!has_a && !has_b) return false;
        }
        return rates_.per_second == 0 || all_.take(rates_.per_second, now);
    }

  private:
    static constexpr std::uint32_t kCells = 1u << 12;  ///< a row; 8 bytes each

    /// Thousandths of an answer: a millisecond brings `per_second` of them.
    struct Bucket {
        std::uint32_t at_ms = 0;
        std::uint32_t spent = 0;  ///< of what a full one holds

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
