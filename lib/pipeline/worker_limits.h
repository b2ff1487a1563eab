// SPDX-License-Identifier: BSD-3-Clause
// Limits: a worker's limits of new connections, by source, by zone, and in all; and of answers to
// rejected packets.
//
// What: this worker's share of each limit of the configuration. Nothing is counted without a limit.
// Used by: its worker only. Synchronisation: none. Cost: packets of known connections touch nothing
// here; a new one pays for the configured limits.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/drop_reason.h"
#include "base/rate_limit.h"
#include "base/types.h"
#include "conntrack/conn.h"
#include "conntrack/source_table.h"
#include "pipeline/answer_limits.h"
#include "pipeline/rule_limits.h"
#include "plan/edges.h"
#include "plan/plan.h"

namespace postern {

class Limits {
  public:
    struct Config {
        SourceLimits sources;
        AnswerRates answers;
        std::array<std::uint32_t, kMaxZones> per_zone{};  ///< connections at once; 0 = no limit
        std::uint32_t new_per_second = 0;                 ///< in all; 0 = no limit
        RuleLimits* rules = nullptr;                      ///< of all workers; outlives it
        Tick start;
    };
    Limits(const Config& config, const HashSecret& secret)
        : sources_(config.sources, secret),
          answers_(config.answers, secret),
          new_connections_(config.new_per_second, config.start),
          rules_(config.rules),
          per_zone_(config.per_zone),
          zones_limited_(std::ranges::any_of(per_zone_, [](auto limit) { return limit != 0; })) {}

    /// Updates the time. Once a burst.
    void refill(Tick now) noexcept { new_connections_.refill(now); }

    /// Returns `none` if the limits admit a new connection, or the drop reason. Call it once for
    /// each connection that policy accepts: it counts. Not for expected ones. `source_of()` returns
    /// its source; it is not called without limits by source.
    template <class SourceOf>
    DropReason admit(ZoneId zone, SourceOf&& source_of, Tick now) noexcept {
        if (per_zone_[zone.number()] != 0 && zone_count_[zone.number()] >= per_zone_[zone.number()])
            return DropReason::zone_full;
        if (sources_.enabled()) {
            switch (sources_.admit(zone, source_of(), now)) {
                case SourceTable::Answer::too_fast: return DropReason::source_rate;
                case SourceTable::Answer::too_many_half_open: return DropReason::source_half_open;
                case SourceTable::Answer::ok: break;
            }
        }
        // Last: a connection refused for another reason consumes nothing here.
        return new_connections_.take() ? DropReason::none : DropReason::worker_rate;
    }

    /// A connection has its slot; its zone is in `edges`. `half_open`: it counts as such until
    /// no_longer_half_open(), or until it ends.
    void opened(Conn& conn, const Edges& edges, bool half_open) noexcept {
        if (zones_limited_) ++zone_count_[zone_of(conn, edges).number()];
        if (!half_open || !sources_.enabled()) return;
        sources_.opened(zone_of(conn, edges), conn.tuple().src);
        conn.flags |= conn_flag::half_open;
    }
    void no_longer_half_open(Conn& conn, const Edges& edges) noexcept {
        sources_.closed(zone_of(conn, edges), conn.tuple().src);
        conn.flags &= static_cast<std::uint8_t>(~conn_flag::half_open);
    }
    /// A connection ends; its memory is unchanged.
    void ended(Conn& conn, const Edges& edges) noexcept {
        if (conn.has(conn_flag::half_open)) no_longer_half_open(conn, edges);
        if (zones_limited_) --zone_count_[zone_of(conn, edges).number()];
        if (counts_for_rule(conn)) [[unlikely]]
            leave_rule(conn, edges);
    }

    // --- limits of rules ---
    RuleLimits& rules() noexcept { return *rules_; }
    /// A connection may be counted for its rule's limit: call it when the rule is set, and for
    /// running ones when the plan has changed. It counts whatever the limit is.
    void join_rule(Conn& conn, const Plan& plan) noexcept {
        const RuleLimit* const limit = plan.limit_of(conn.rule);
        const bool counts = limit != nullptr && limit->counts();
        if (conn.has(conn_flag::expected) || counts == counts_for_rule(conn)) return;
        if (!counts) return leave_rule(conn, plan.edges);
        const IpAddr source = conn.tuple().src;
        rules_->count({conn.rule, zone_of(conn, plan.edges), source});
        conn.first.limited = 1;
    }
    /// It gets another rule, or ends. Only of one that counts.
    void leave_rule(Conn& conn, const Edges& edges) noexcept {
        const IpAddr source = conn.tuple().src;
        rules_->close({conn.rule, zone_of(conn, edges), source});
        conn.first.limited = 0;
    }
    static bool counts_for_rule(const Conn& conn) noexcept {
        return conn.first.limited != 0 && !conn.has(conn_flag::expected);
    }

    AnswerLimits& answers() noexcept { return answers_; }

  private:
    /// The zone that it was begun from. In the connection's second line.
    static ZoneId zone_of(const Conn& conn, const Edges& edges) noexcept {
        return edges.zone_of(conn.edge(Direction::original));
    }

    SourceTable sources_;
    AnswerLimits answers_;
    RateLimit new_connections_;
    RuleLimits* rules_;
    std::array<std::uint32_t, kMaxZones> per_zone_;
    bool zones_limited_;  ///< else nothing is counted: an end would have to read the second line
    std::array<std::uint32_t, kMaxZones> zone_count_{};
};

}  // namespace postern
