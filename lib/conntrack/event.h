// SPDX-License-Identifier: BSD-3-Clause
// Events of a worker's connections: plain data, a copy of the connection.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "conntrack/conn.h"

namespace postern {

// X(name, help)
#define POSTERN_CONN_ENDS(X)                                         \
    X(expired, "it was silent for its timeout")                      \
    X(closed, "a reset answered its first packet")                   \
    X(reopened, "its ends began a new connection with its ports")    \
    X(early_drop, "it made room for another one")                    \
    X(zone_changed, "its ends began anew between other zones")       \
    X(zone_removed, "no port has its zone any more")                 \
    X(policy, "the rules of another configuration refuse it")        \
    X(parent, "its master, or its helper, ended it")                 \
    X(restored, "a saved connection with its helper took its place") \
    X(control, "an operator deleted it")

/// How a connection ends.
enum class ConnEnd : std::uint8_t {
#define X(name, help) name,
    POSTERN_CONN_ENDS(X)
#undef X
    kCount
};
constexpr std::string_view to_string(ConnEnd e) noexcept {
    constexpr std::string_view kNames[] = {
#define X(name, help) #name,
        POSTERN_CONN_ENDS(X)
#undef X
    };
    return kNames[static_cast<unsigned>(e)];
}

enum class ConnEventType : std::uint8_t {
    fresh,   ///< "new"
    update,  ///< its protocol's state, its first reply, or "assured"
    destroy  ///< see `end`
};
constexpr std::string_view to_string(ConnEventType t) noexcept {
    constexpr std::string_view kNames[] = {"new", "update", "destroy"};
    return kNames[static_cast<unsigned>(t)];
}

/// Which events somebody listens for: each value has those of the values before it. Updates cost
/// each packet a comparison, ends and beginnings cost packets of running connections nothing.
enum class ConnEvents : std::uint8_t {
    none,
    ends,
    ends_and_begins,
    all
};
constexpr bool is_among(ConnEventType type, ConnEvents which) noexcept {
    constexpr ConnEvents kLeast[] = {ConnEvents::ends_and_begins, ConnEvents::all,
                                     ConnEvents::ends};
    return which >= kLeast[static_cast<unsigned>(type)];
}

struct ConnEvent {
    ConnEventType type = ConnEventType::fresh;
    ConnEnd end = ConnEnd::expired;  ///< with `destroy` only
    WorkerId worker;
    std::uint32_t slot = 0;
    Tick at;
    Conn conn;  ///< after the event; with `destroy`, before it
};
static_assert(std::is_trivially_copyable_v<ConnEvent>);

}  // namespace postern
