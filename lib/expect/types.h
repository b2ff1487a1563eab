// SPDX-License-Identifier: BSD-3-Clause
// The values that go in and out of the expectation table: requests of helpers, matches for child
// connections, copies for lists, events. Plain data, no DPDK.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "base/types.h"
#include "metrics/metric.h"
#include "net/addr.h"
#include "net/expected.h"

namespace postern {

using OwnerId = std::uint8_t;  ///< index of a thread that owns expectations: a worker, or control
inline constexpr unsigned kMaxOwners = kMaxWorkers + 1;
inline constexpr unsigned kExpectClasses = 4;  ///< classes of one helper
inline constexpr std::uint8_t kAnyExpectClass = 0xff;

/// Names an expectation from any thread: never a pointer. A stale generation means that it has
/// ended.
struct ExpectId {
    std::uint32_t index = 0;  ///< 0 means "none"
    std::uint32_t generation = 0;

    constexpr explicit operator bool() const noexcept { return index != 0; }
    friend constexpr bool operator==(ExpectId, ExpectId) = default;
};

/// The clock and the caller's mark of one step of work. The cookie is stored in every event of the
/// step, so that replay can name the packet.
struct ExpectTurn {
    Tick now;
    std::uint64_t cookie = 0;
};

/// The key of a look-up: the destination is always exact.
struct ExpectKey {
    std::array<std::uint8_t, 16> dst{};
    Be16 dport;
    CtZone ct_zone;
    Family family = Family::none;
    std::uint8_t protocol = 0;
    std::uint16_t zero = 0;  ///< no padding: the key is hashed and compared as bytes

    static ExpectKey of(CtZone ct_zone, std::uint8_t protocol, const IpAddr& dst,
                        Be16 dport) noexcept {
        // By words, like the hash and the comparison: bytes would have to reach memory first.
        const auto halves = dst.halves();
        const std::uint64_t rest = dport.raw() | std::uint64_t{ct_zone.number()} << 16 |
                                   std::uint64_t{static_cast<std::uint8_t>(dst.family)} << 32 |
                                   std::uint64_t{protocol} << 40;
        static_assert(std::endian::native == std::endian::little);
        return std::bit_cast<ExpectKey>(std::array{halves[0], halves[1], rest});
    }
    friend constexpr bool operator==(const ExpectKey&, const ExpectKey&) = default;
};
static_assert(sizeof(ExpectKey) == 24 && std::has_unique_object_representations_v<ExpectKey>);

/// A request for one expectation. A packet that matches except for the sides is wrong_zone;
/// class_index is less than kExpectClasses; timeout_ms is 1..kMaxTimeoutS * 1000.
struct ExpectRequest : ExpectTuple, ExpectInherited, ExpectTerms {
    /// The master's original direction, for lists and events; its src is "the host" of limits, and
    /// its dst "the server".
    Tuple master_tuple;
    ZoneId master_zone;  ///< the zone from which it was begun
    /// Pending at once of this class, and of this call if there is one, else of this master; 0 = no
    /// limit.
    std::uint8_t class_max = 0;
    std::uint16_t master_max = 0;  ///< with a call: pending at once of this master; 0 = no limit
    /// An active one with `stays` ends no sooner than this.
    static constexpr std::uint32_t kMinStayMs = 32'000;
};

// X(name, help)
#define POSTERN_INSERT_OUTCOMES(X)                                                           \
    X(created, "expectation filed")                                                          \
    X(refreshed, "the same expectation of the same master and class was pending: replaced")  \
    X(shared, "an identical expectation that is pending serves this one too")                \
    X(already, "an identical expectation of another master or class is pending")             \
    X(busy, "a pending expectation could match the same packet")                             \
    X(master_gone, "the master connection has ended")                                        \
    X(invalid, "class, family or timeout out of range")                                      \
    X(limit_total, "the table is full (`limits.expectations`)")                              \
    X(limit_unproven, "the limit of unproven masters is reached")                            \
    X(limit_zone, "the conntrack zone's limit is reached")                                   \
    X(limit_host, "the limit of the master's source is reached")                             \
    X(limit_server, "masters to the same server hold as many as configured")                 \
    X(limit_security_zone, "masters from the same security zone hold as many as configured") \
    X(limit_destination, "the limit of the destination address and port is reached")         \
    X(limit_pool, "all expectations of this worker are in use, or too many at once in one shard")

enum class InsertOutcome : std::uint8_t {
#define X(name, help) name,
    POSTERN_INSERT_OUTCOMES(X)
#undef X
    kCount
};
inline constexpr unsigned kInsertOutcomes = static_cast<unsigned>(InsertOutcome::kCount);

/// True if a packet of the child will now find an expectation.
constexpr bool ok(InsertOutcome o) noexcept {
    return o <= InsertOutcome::shared;
}

// X(name, help)
#define POSTERN_EXPECT_ENDS(X)                                        \
    X(claimed, "claimed by a child connection")                       \
    X(expired, "its timeout passed")                                  \
    X(master_end, "its master connection ended")                      \
    X(evicted, "displaced as the oldest of a full class")             \
    X(refreshed, "replaced by the same expectation, requested again") \
    X(paired, "its connection began in the other direction")          \
    X(retracted, "removed by its helper")                             \
    X(helper_removed, "its helper was removed")                       \
    X(displaced, "its master's helper slot was displaced")            \
    X(control, "an operator deleted it")

/// How an expectation ends.
enum class ExpectEnd : std::uint8_t {
#define X(name, help) name,
    POSTERN_EXPECT_ENDS(X)
#undef X
    kCount
};
inline constexpr unsigned kExpectEnds = static_cast<unsigned>(ExpectEnd::kCount);

std::string_view to_string(InsertOutcome o) noexcept;
std::string_view help_text(InsertOutcome o) noexcept;
std::string_view to_string(ExpectEnd e) noexcept;
std::string_view help_text(ExpectEnd e) noexcept;
/// The metric of an owner's count of such outcomes, or ends.
const MetricDesc& metric_of(InsertOutcome o) noexcept;
const MetricDesc& metric_of(ExpectEnd e) noexcept;
/// Of the whole table.
inline constexpr MetricDesc kExpectationsMetric{"expectations", "expectations pending now",
                                                Unit::expectations, MetricKind::gauge};
inline constexpr MetricDesc kUnprovenExpectationsMetric{
    "expectations_unproven", "of these, masters that are not answered yet", Unit::expectations,
    MetricKind::gauge};

struct InsertResult {
    InsertOutcome outcome = InsertOutcome::invalid;
    ExpectId id;  ///< the new one; with shared, already and busy the existing one
};

/// Data for the child of a matched expectation.
struct ExpectMatch : ExpectInherited {
    ExpectId id;
    Be16 sport;  ///< the expected one, for a GRE call's packet, which does not contain it. See
                 ///< sport_mask
    Be16 sport_mask;
    CtZone ct_zone;
    std::uint8_t class_index = 0;
    std::uint8_t flags = 0;
};

/// The table's result for a packet without connection.
enum class ExpectAnswer : std::uint8_t {
    none,        ///< not expected
    match,       ///< expected
    wrong_zone,  ///< expected, but from or to other zones
};

/// A full copy, for lists and events. `flags` are current: activate() clears `inactive`;
/// `timeout_ms` and `again` are as requested.
struct ExpectInfo : ExpectTuple, ExpectInherited, ExpectTerms {
    ExpectId id;
    OwnerId owner = 0;
    Tuple master_tuple;
    Tick deadline;
};

enum class ExpectEventType : std::uint8_t {
    fresh,    ///< "new"
    claim,    ///< claimed by a child; with the permanent flag: matched, and still pending
    expire,   ///< its timeout passed
    destroy,  ///< any other end, see `end`
};
std::string_view to_string(ExpectEventType t) noexcept;

struct ExpectEvent {
    ExpectEventType type = ExpectEventType::fresh;
    ExpectEnd end = ExpectEnd::claimed;  ///< undefined with `fresh`
    OwnerId by = 0;                      ///< the thread that caused it
    Tick at;
    std::uint64_t cookie = 0;
    ExpectInfo info;
};
static_assert(std::is_trivially_copyable_v<ExpectEvent>);

/// A master's pending expectations, embedded in its connection state and touched only by the worker
/// that owns the connection. Give it to remove_all() before the connection's memory is reused.
struct MasterExpectations {
    std::uint32_t oldest = 0;
    std::uint32_t newest = 0;
    std::array<std::uint16_t, kExpectClasses> count{};  ///< pending, by class
    bool closed = false;                                ///< the master has ended
    /// Its peer has not answered: its expectations have a pool of their own, and are at most
    /// kMaxUnproven. See ExpectOwner::promote().
    bool unproven = false;
    bool claimed = false;  ///< a child claimed one of them, while it was unproven
    static constexpr unsigned kMaxUnproven = 16;  ///< the maximum that one message announces

    unsigned pending() const noexcept {
        unsigned n = 0;
        for (const std::uint16_t c : count)
            n += c;
        return n;
    }
};
static_assert(sizeof(MasterExpectations) <= 20);

}  // namespace postern
