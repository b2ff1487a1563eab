// SPDX-License-Identifier: BSD-3-Clause
// ConnFilter: conditions that select connections for a list, a deletion or a listener. Made by
// control from a command's arguments, matched by the worker that owns the connections. All given
// conditions must hold; a negated one must not.
#pragma once

#include <cstdint>
#include <optional>

#include "conntrack/conn.h"
#include "net/addr.h"

namespace postern {

/// Both ends are part of it.
struct Interval {
    std::uint64_t least = 0, most = ~std::uint64_t{0};

    static constexpr Interval of(std::uint64_t value) noexcept { return {value, value}; }
    constexpr bool contains(std::uint64_t value) const noexcept {
        return least <= value && value <= most;
    }
    friend constexpr bool operator==(const Interval&, const Interval&) = default;
};

/// The conditions that can be negated: bits of ConnFilter::negated. `from` and `to` are sets, which
/// control complements.
enum class ConnCondition : std::uint8_t {
    ct_zone,
    family,
    protocol,
    src,
    dst,
    sport,
    dport,
    state,
    state_name,
    mark,
    label,
    helper,
    expected_by,
    master,
    rule,
    id,
    timeout,
    idle,
    age,
    packets,
    bytes
};

struct ConnFilter {
    std::uint32_t negated = 0;  ///< bit ConnCondition
    std::optional<CtZone> ct_zone;
    /// Input or output edges of its original direction: bit n for the edge n.
    std::uint64_t from = ~std::uint64_t{0}, to = ~std::uint64_t{0};
    std::optional<Family> family;
    std::optional<std::uint8_t> protocol;
    std::optional<Prefix> src, dst;  ///< of the original direction, like the ports
    std::optional<Interval> sport, dport;
    std::optional<CtState> state;           ///< fresh, related or established
    const char* state_name = nullptr;       ///< its protocol's own, as from Conn::state_name()
    std::uint32_t mark = 0, mark_mask = 0;  ///< mask 0: any
    std::uint32_t label = 0, label_mask = 0;
    std::optional<bool> assured;
    std::optional<HelperId> helper;       ///< its helper
    std::optional<HelperId> expected_by;  ///< the helper that expected it
    std::optional<ConnId> master;
    std::optional<RuleId> rule;
    std::optional<ConnId> id;
    std::optional<Interval> timeout_s, idle_s, age_s;
    std::optional<Interval> packets, bytes;  ///< of both directions together

    void negate(ConnCondition c) noexcept { negated |= 1u << static_cast<unsigned>(c); }

    /// Whether a live connection matches the filter; `its_id` is its own. Reads its other lines
    /// only if the first matches.
    bool matches(const Conn& conn, ConnId its_id, Tick now) const noexcept;

  private:
    bool matches_times(const Conn& conn, Tick now) const noexcept;
    /// Whether a condition with this result holds.
    bool holds(ConnCondition c, bool is) const noexcept {
        return is != ((negated >> static_cast<unsigned>(c) & 1) != 0);
    }
};

/// Seconds until it ends, rounded up; 0 if that is overdue.
inline std::uint32_t seconds_left(const Conn& conn, Tick now) noexcept {
    const std::int32_t ms = conn.deadline() - now;
    return ms <= 0 ? 0 : (static_cast<std::uint32_t>(ms) + 999) / 1000;
}
/// Seconds since its first packet, right for connections of up to 49 days.
inline std::uint32_t age_s(const Conn& conn, Tick now) noexcept {
    return (now.ms - conn.start_ms) / 1000;
}
/// Seconds since its last packet.
inline std::uint32_t idle_s(const Conn& conn, Tick now) noexcept {
    return (now.ms - conn.last_seen_ms) / 1000;
}

/// A connection's state in lists: new until the first reply, related if it was expected.
inline CtState list_state(const Conn& conn) noexcept {
    if (conn.has(conn_flag::seen_reply)) return CtState::established;
    return conn.has(conn_flag::expected) ? CtState::related : CtState::fresh;
}

}  // namespace postern
