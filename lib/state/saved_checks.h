// SPDX-License-Identifier: BSD-3-Clause
// Checks that both codecs make: whether what a record contains could have been caused by packets
// and by this plan.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "state/saved.h"

namespace postern {

/// A flag and its name in records. Its position in its list is its number in the binary form.
struct FlagName {
    std::uint8_t bit;
    const char* name;
};
inline constexpr FlagName kConnFlags[] = {{conn_flag::seen_reply, "seen_reply"},
                                          {conn_flag::assured, "assured"},
                                          {conn_flag::expected, "expected"},
                                          {conn_flag::liberal, "liberal"}};
/// Flags of an expectation that have names.
inline constexpr FlagName kExpectFlags[] = {{expect_flag::permanent, "permanent"},
                                            {expect_flag::inactive, "inactive"},
                                            {expect_flag::userspace, "operator"}};
inline constexpr std::string_view kStreamStates[] = {"unseen", "open", "ended", "blind"};

/// The first thing that is wrong; nothing: no `key`.
struct Misfit {
    const char* key = nullptr;
    const char* what = nullptr;
    RecordFault fault = RecordFault::damaged;

    explicit operator bool() const noexcept { return key != nullptr; }
};

/// Sets the ends of a connection.
void set_ends(Conn& conn, const Tuple& ends) noexcept;
/// The largest key_class of a protocol.
unsigned max_key_class(std::uint8_t protocol) noexcept;
/// Checks the part of the key that is not in the ends, and sets it: the kind of an ICMP query,
/// whether GRE is a call's. Ends that no packet of the protocol has are wrong.
Misfit set_key_class(Conn& conn, const Tuple& ends, unsigned key_class, bool both_calls_known);
/// Sets the zones; nothing is a name that the plan lacks.
Misfit set_zones(Conn& conn, const Plan& plan, std::optional<EdgeId> from,
                 std::optional<EdgeId> to);
/// Sets how its first packet came; nothing of an expected connection. A port that the plan lacks is
/// not known.
void set_first_link(Conn& conn, const Plan& plan, std::uint64_t vlan, std::uint64_t dscp,
                    std::string_view in_port) noexcept;
/// Sets the state of a protocol's tracker by its name. False: it has no such state.
bool set_state(Conn& conn, std::string_view name) noexcept;
/// Whether its tracker's states have names; if not, it has two: 0 and 1.
bool has_state_names(std::uint8_t protocol) noexcept;
/// Whether no packet has set state on which a later one depends: its helper waits for the first
/// payload.
bool is_silent(const Conn& conn) noexcept;
/// Sets the limits of an expectation's class, by its helper.
void set_limits(const Plan& plan, ExpectRequest& request) noexcept;

}  // namespace postern
