// SPDX-License-Identifier: BSD-3-Clause
// The values that go in and out of the expectation table: what a helper asks for, what a child
// connection gets, what control lists, what an event says. Plain data, no DPDK.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "base/types.h"
#include "net/addr.h"

namespace postern {

using OwnerId = std::uint8_t;  ///< index of a thread that owns expectations: a worker, or control
inline constexpr unsigned kMaxOwners = kMaxWorkers + 1;
inline constexpr unsigned kExpectClasses = 4;  ///< classes of one helper
inline constexpr std::uint8_t kAnyExpectClass = 0xff;

/// Flags of an expectation; the values are Linux's.
namespace expect_flag {
inline constexpr std::uint8_t permanent = 1;  ///< a match does not consume it
inline constexpr std::uint8_t inactive = 2;   ///< skipped by matching until activate()
inline constexpr std::uint8_t userspace = 4;  ///< made by an operator or a helper outside
}  // namespace expect_flag

/// Names an expectation from anywhere: never a pointer. A stale generation means "gone".
struct ExpectId {
    std::uint32_t index = 0;  ///< 0 means "none"
    std::uint32_t generation = 0;

    constexpr explicit operator bool() const noexcept { return index != 0; }
    friend constexpr bool operator==(ExpectId, ExpectId) = default;
};

/// The clock and the caller's mark of one step of work. The cookie goes into every event that the
/// step causes, so that replay can say which packet it was.
struct ExpectTurn {
    Tick now;
    std::uint64_t cookie = 0;
};

/// What the table looks up by: the destination is always exact.
struct ExpectKey {
    std::array<std::uint8_t, 16> dst{};
    Be16 dport;
    CtZone zone = 0;
    Family family = Family::none;
    std::uint8_t protocol = 0;
    std::uint16_t zero = 0;  ///< no padding: the key is hashed and compared as bytes

    friend constexpr bool operator==(const ExpectKey&, const ExpectKey&) = default;
};
static_assert(sizeof(ExpectKey) == 24 && std::has_unique_object_representations_v<ExpectKey>);

/// A wish for one expectation. The first group is the tuple, the second what the child inherits.
struct ExpectRequest {
    CtZone zone = 0;
    std::uint8_t protocol = 0;
    IpAddr src;                     ///< family none: any source of dst's family
    std::uint8_t src_prefix = 128;  ///< leading bits of src that count; cut to the family's length
    Be16 sport;
    Be16 sport_mask;  ///< raw 0: any source port; raw 0xffff: exactly sport
    IpAddr dst;
    Be16 dport;

    ConnId master;       ///< none: made by an operator
    Tuple master_tuple;  ///< its original direction, for lists and events; src is "the host" of
                         ///< limits
    HelperId helper = kNoHelper;        ///< who asks
    HelperId child_helper = kNoHelper;  ///< watches the child
    std::uint32_t mark = 0;
    std::uint32_t label = 0;
    RuleId rule = kNoRule;
    std::uint32_t tag = 0;  ///< the helper's own; see ExpectOwner::activate() and remove()

    std::uint8_t class_index = 0;  ///< 0..kExpectClasses-1
    std::uint8_t class_max = 0;    ///< pending at once of this class and master; 0 = no limit
    std::uint8_t flags = 0;        ///< expect_flag
    /// Another master's identical expectation is as good as an own one: `shared`, nothing is added.
    /// One that could match the same packet is not in the way either: the newer is found first.
    bool skip_master = false;
    /// Those of other masters are not in the way, identical ones neither: each ends with its own
    /// master. The newest is found first.
    bool beside = false;
    std::uint32_t timeout_ms = 0;  ///< 1..kMaxTimeoutS * 1000
};

// X(name, help)
#define POSTERN_INSERT_OUTCOMES(X)                                                          \
    X(created, "expectation filed")                                                         \
    X(refreshed, "the same expectation of the same master and class was pending: replaced") \
    X(shared, "another master's identical expectation serves this one too (skip_master)")   \
    X(already, "an identical expectation of another master or class is pending")            \
    X(busy, "a pending expectation could match the same packet")                            \
    X(master_gone, "the master connection has ended")                                       \
    X(invalid, "class, family or timeout out of range")                                     \
    X(limit_total, "the table holds as many as configured")                                 \
    X(limit_zone, "the zone holds as many as configured")                                   \
    X(limit_host, "the master's source host holds as many as configured")                   \
    X(limit_destination, "one destination address and port holds as many as configured")    \
    X(limit_pool,                                                                           \
      "this worker's expectations are all in use, or too many at once went to a "           \
      "shard")

enum class InsertOutcome : std::uint8_t {
#define X(name, help) name,
    POSTERN_INSERT_OUTCOMES(X)
#undef X
    kCount
};
inline constexpr unsigned kInsertOutcomes = static_cast<unsigned>(InsertOutcome::kCount);

/// True when a packet of the child will now find an expectation.
constexpr bool ok(InsertOutcome o) noexcept {
    return o <= InsertOutcome::shared;
}
constexpr bool is_limit(InsertOutcome o) noexcept {
    return o >= InsertOutcome::limit_total && o <= InsertOutcome::limit_pool;
}

// X(name, help)
#define POSTERN_EXPECT_ENDS(X)                                     \
    X(claimed, "a child connection took it")                       \
    X(expired, "its time ran out")                                 \
    X(master_end, "its master connection ended")                   \
    X(evicted, "the oldest of a full class made room for another") \
    X(refreshed, "replaced by the same expectation, asked again")  \
    X(paired, "the connection began in the other direction")       \
    X(retracted, "its helper took it back")                        \
    X(helper_removed, "its helper was removed")                    \
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

struct InsertResult {
    InsertOutcome outcome = InsertOutcome::invalid;
    ExpectId id;  ///< the new one; with shared, already and busy the one that was in the way
};

/// What the child of a matched expectation needs to know.
struct ExpectMatch {
    ExpectId id;
    ConnId master;
    Be16 sport;  ///< that was expected; what a GRE call's packet does not tell. See sport_mask
    Be16 sport_mask;
    std::uint32_t mark = 0;
    std::uint32_t label = 0;
    RuleId rule = kNoRule;
    CtZone zone = 0;
    HelperId helper = kNoHelper;
    HelperId child_helper = kNoHelper;
    std::uint8_t class_index = 0;
    std::uint8_t flags = 0;
};

/// A full copy, for lists and events.
struct ExpectInfo {
    ExpectId id;
    OwnerId owner = 0;
    CtZone zone = 0;
    std::uint8_t protocol = 0;
    std::uint8_t src_prefix = 0;  ///< 0: any source address
    IpAddr src;
    IpAddr dst;
    Be16 sport;
    Be16 sport_mask;  ///< raw 0: any source port
    Be16 dport;
    RuleId rule = kNoRule;
    ConnId master;
    Tuple master_tuple;
    std::uint32_t mark = 0;
    std::uint32_t label = 0;
    HelperId helper = kNoHelper;
    HelperId child_helper = kNoHelper;
    std::uint8_t class_index = 0;
    std::uint8_t flags = 0;  ///< as it is now: activate() takes `inactive` away
    std::uint32_t tag = 0;
    std::uint32_t timeout_ms = 0;  ///< as asked for
    Tick deadline;
};

enum class ExpectEventType : std::uint8_t {
    fresh,    ///< "new"
    claim,    ///< taken by a child; with the permanent flag: matched, and still there
    expire,   ///< its time ran out
    destroy,  ///< any other end, see `end`
};
std::string_view to_string(ExpectEventType t) noexcept;

struct ExpectEvent {
    ExpectEventType type = ExpectEventType::fresh;
    ExpectEnd end = ExpectEnd::claimed;  ///< meaningless with `fresh`
    OwnerId by = 0;                      ///< the thread that did it
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
    std::array<std::uint8_t, kExpectClasses> count{};  ///< pending, by class
    bool closed = false;                               ///< the master has ended
};
static_assert(sizeof(MasterExpectations) <= 16);

}  // namespace postern
