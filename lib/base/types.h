// SPDX-License-Identifier: BSD-3-Clause
// Types shared by every layer. Nothing here allocates, throws or needs DPDK.
#pragma once

#include <bit>
#include <compare>
#include <concepts>
#include <cstdint>

namespace postern {

/// A number of one kind. Two kinds do not convert into each other, nor implicitly from or to a
/// plain number.
template <class Kind, class Number>
class StrongId {
  public:
    using number_type = Number;
    constexpr StrongId() = default;
    constexpr explicit StrongId(Number number) noexcept : number_(number) {}
    /// For numbers that are known to be in range: others are truncated.
    template <std::integral Wide>
    static constexpr StrongId from(Wide wide) noexcept {
        return StrongId{static_cast<Number>(wide)};
    }
    constexpr Number number() const noexcept { return number_; }
    friend constexpr auto operator<=>(StrongId, StrongId) = default;

  private:
    Number number_ = 0;
};

/// Index of a security zone in the configuration's order.
using ZoneId = StrongId<struct SecurityZone, std::uint8_t>;
/// Index of an edge: an input side as connections compare it. A security zone, or a port of a
/// bridge with `sides: port`. The zones come first, in their order.
using EdgeId = StrongId<struct ZoneEdge, std::uint8_t>;
/// Conntrack zone: the same tuple may exist in each of them.
using CtZone = StrongId<struct ConntrackZone, std::uint16_t>;

/// Index of a worker, 0 to kMaxWorkers - 1.
using WorkerId = StrongId<struct PipelineWorker, std::uint8_t>;
/// Index of a port in the configuration's order.
using PortId = StrongId<struct ConfiguredPort, std::uint8_t>;
/// Number of a policy rule, which its name keeps from plan to plan; kNoRule when none matched. 32
/// bits: while a plan is replaced, all of its rules and all of the next one's have numbers.
using RuleId = StrongId<struct PolicyRuleName, std::uint32_t>;

using HelperId = std::uint8_t;  ///< index of a configured helper instance; 0 means "none"

inline constexpr unsigned kMaxWorkers = 32;
inline constexpr unsigned kMaxPorts = 16;
inline constexpr unsigned kMaxZones = 64;  ///< security zones
inline constexpr unsigned kMaxEdges = 64;
inline constexpr EdgeId kAnyEdge{0xff};
inline constexpr unsigned kCtZones = 65536;
inline constexpr unsigned kVlans = 4096;  ///< VLAN ids, 0 for "priority tag only" included
inline constexpr unsigned kMaxHelpers = 64;
inline constexpr unsigned kMaxBurst = 64;  ///< packets in a batch, and bits in a mask
inline constexpr HelperId kNoHelper = 0;
inline constexpr RuleId kNoRule{0xffffffff};

/// A 16-bit integer kept in network byte order. Only the named conversions cross the boundary.
class Be16 {
  public:
    constexpr Be16() = default;
    static constexpr Be16 from_host(std::uint16_t v) noexcept { return Be16{swap(v)}; }
    static constexpr Be16 from_raw(std::uint16_t v) noexcept { return Be16{v}; }
    constexpr std::uint16_t host() const noexcept { return swap(raw_); }
    constexpr std::uint16_t raw() const noexcept { return raw_; }
    friend constexpr bool operator==(Be16, Be16) = default;

  private:
    constexpr explicit Be16(std::uint16_t raw) noexcept : raw_(raw) {}
    static constexpr std::uint16_t swap(std::uint16_t v) noexcept {
        if constexpr (std::endian::native == std::endian::little) return __builtin_bswap16(v);
        return v;
    }
    std::uint16_t raw_ = 0;
};

/// A 32-bit integer kept in network byte order.
class Be32 {
  public:
    constexpr Be32() = default;
    static constexpr Be32 from_host(std::uint32_t v) noexcept { return Be32{swap(v)}; }
    static constexpr Be32 from_raw(std::uint32_t v) noexcept { return Be32{v}; }
    constexpr std::uint32_t host() const noexcept { return swap(raw_); }
    constexpr std::uint32_t raw() const noexcept { return raw_; }
    friend constexpr bool operator==(Be32, Be32) = default;

  private:
    constexpr explicit Be32(std::uint32_t raw) noexcept : raw_(raw) {}
    static constexpr std::uint32_t swap(std::uint32_t v) noexcept {
        if constexpr (std::endian::native == std::endian::little) return __builtin_bswap32(v);
        return v;
    }
    std::uint32_t raw_ = 0;
};

/// Coarse time: milliseconds since an arbitrary start, modulo 2^32. Comparisons are right while the
/// two times are less than 24.8 days apart, so no timeout may be longer than kMaxTimeoutS.
struct Tick {
    std::uint32_t ms = 0;

    friend constexpr bool operator==(Tick, Tick) = default;
    /// Signed distance in milliseconds: positive when `a` is later.
    friend constexpr std::int32_t operator-(Tick a, Tick b) noexcept {
        return static_cast<std::int32_t>(a.ms - b.ms);
    }
    friend constexpr Tick operator+(Tick a, std::uint32_t delta_ms) noexcept {
        return Tick{a.ms + delta_ms};
    }
};
inline constexpr std::uint32_t kMaxTimeoutS = 20 * 24 * 3600;
constexpr bool reached(Tick deadline, Tick now) noexcept {
    return now - deadline >= 0;
}

/// Direction of a packet of a connection: `original` is that of its first packet.
enum class Direction : std::uint8_t {
    original = 0,
    reply = 1
};
constexpr Direction operator!(Direction d) noexcept {
    return static_cast<Direction>(1 - static_cast<unsigned>(d));
}
constexpr unsigned index(Direction d) noexcept {
    return static_cast<unsigned>(d);
}

/// Conntrack's state of a packet; the words of Linux's `ct state`.
enum class CtState : std::uint8_t {
    untracked = 0,
    fresh = 1,
    established = 2,
    related = 3,
    invalid = 4
};
constexpr const char* to_string(CtState s) noexcept {
    constexpr const char* kNames[] = {"untracked", "new", "established", "related", "invalid"};
    return kNames[static_cast<unsigned>(s)];
}

/// Names a connection from any thread: never a pointer. A stale generation means that it has ended.
struct ConnId {
    std::uint32_t index = 0;  ///< slot in the owner's table; 0 is never used, so it means "none"
    std::uint16_t generation = 0;
    WorkerId worker;

    constexpr explicit operator bool() const noexcept { return index != 0; }
    friend constexpr bool operator==(ConnId, ConnId) = default;
};

}  // namespace postern
