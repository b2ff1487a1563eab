// SPDX-License-Identifier: BSD-3-Clause
// The items of lists of addresses, ports and services, as text: of a rule, of a group, or of a line
// of an included file.
//
//   addresses   192.0.2.1   192.0.2.0/24   10.0.0.5-10.0.0.90   2001:db8::/32
//   ports       80   8000-8080
//   services    tcp/80   udp/500-510   gre
//   VLANs       10   10-19   none
//   DSCP        ef   46   af11   0-7
//
// An item may also be the name of a group, which only the caller knows; and each may have `not `
// before it. Pure functions of text without YAML, for control.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/address_set.h"

namespace postern::config {

/// Takes `not ` away from the beginning of `text`; returns whether it was there.
bool take_not(std::string_view& text);

/// One item's meaning. Without `set` it is none; then `problem` says why, or is empty for what may
/// be a name.
template <class Set>
struct Item {
    std::optional<Set> set;
    std::string problem;
};

/// A kind of list: its sets, and the words of its messages.
struct AddressKind {
    using Set = Addresses;
    static constexpr std::string_view kKey = "addresses";
    static constexpr std::string_view kOne = "an address, prefix or range of addresses";
    static constexpr std::string_view kMany = "addresses";
    static Item<Set> parse(std::string_view text);
};
struct PortKind {
    using Set = NumberSet<std::uint32_t>;
    static constexpr std::string_view kKey = "ports";
    static constexpr std::string_view kOne = "a port or a range of ports";
    static constexpr std::string_view kMany = "ports";
    static Item<Set> parse(std::string_view text);
    static constexpr std::uint32_t kLast = 0xffff;
};
struct ServiceKind {
    /// Protocol * 65536 + destination port.
    using Set = NumberSet<std::uint32_t>;
    static constexpr std::string_view kKey = "services";
    static constexpr std::string_view kOne = "a service such as tcp/80, udp/500-510 or gre";
    static constexpr std::string_view kMany = "services";
    static Item<Set> parse(std::string_view text);
    static constexpr std::uint32_t kLast = 0xffffff;
};

// VLANs and code points have no groups.
struct VlanKind {
    /// Ids; 0: no tag.
    using Set = NumberSet<std::uint32_t>;
    static constexpr std::string_view kKey = "";
    static constexpr std::string_view kOne = "a VLAN id (1 to 4094), a range of them, or none";
    static constexpr std::string_view kMany = "VLANs";
    static Item<Set> parse(std::string_view text);
    static constexpr std::uint32_t kLast = 0xfff;
};
struct DscpKind {
    using Set = NumberSet<std::uint32_t>;
    static constexpr std::string_view kKey = "";
    static constexpr std::string_view kOne =
        "a code point such as ef, af11, cs1 or 0 to 63, or a range of numbers";
    static constexpr std::string_view kMany = "code points";
    static Item<Set> parse(std::string_view text);
    static constexpr std::uint32_t kLast = 63;
};
/// The name of a code point, or its number.
std::string dscp_text(std::uint32_t value);

// Of schedules.
/// `08:00`, in minutes after midnight, up to 24:00. Nothing for any other text.
std::optional<std::uint16_t> time_of_day(std::string_view text);
/// `mon`, or `mon-fri`: bits, Monday's the lowest. 0 for any other text.
std::uint8_t days_of(std::string_view text);

/// Adds the numbers of `part` to `set`, which is a set only after finished().
void append(Addresses& set, const Addresses& part);
void append(NumberSet<std::uint32_t>& set, const NumberSet<std::uint32_t>& part);
Addresses finished(Addresses set);
NumberSet<std::uint32_t> finished(NumberSet<std::uint32_t> set);
Addresses without(const Addresses& set, const Addresses& part);
NumberSet<std::uint32_t> without(const NumberSet<std::uint32_t>& set,
                                 const NumberSet<std::uint32_t>& part);
bool is_empty(const Addresses& set);
Addresses every_address();
bool is_everything(const Addresses& set);
bool is_empty(const NumberSet<std::uint32_t>& set);

/// A line of an included file, without its comment and the blanks around it.
struct ListLine {
    unsigned number = 0;  ///< from 1
    std::string_view text;
};
/// The lines that are not empty. `#` begins a comment. The lines refer to `text`.
std::vector<ListLine> lines_of(std::string_view text);

}  // namespace postern::config
