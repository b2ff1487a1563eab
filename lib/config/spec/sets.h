// SPDX-License-Identifier: BSD-3-Clause
// `sets`: sets of addresses that `posternctl set` changes while the firewall runs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/key.h"
#include "config/set_entries.h"
#include "config/spec/mark.h"
#include "net/address_set.h"

namespace postern {

inline constexpr unsigned kMaxSets = 32;  ///< a bit each in the policy's key
inline constexpr std::uint32_t kMaxSetEntries = 1 << 20;
inline constexpr std::uint32_t kMaxEntryTimeoutS = 3650u * 24 * 3600;
inline constexpr unsigned kMaxGivenEntries = 65536;  ///< of one set, in the configuration itself

/// A set's place in Spec::sets is its bit in SetCondition.
struct LiveSetSpec {
    std::string name;
    std::uint32_t max = kMaxSetEntries;  ///< entries
    std::uint32_t timeout_s = 0;         ///< of entries that name none; 0: for ever
    std::string file;                    ///< as given; empty: none
    /// Contents at the start: those of `entries` and of `file`. Null: the set has taken them, see
    /// release_set_entries().
    std::shared_ptr<const std::vector<TimedPrefix>> entries;
    SpecMark where;

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("name", {.help = "name, for rules and commands",
                              .form = Form::name,
                              .required = true,
                              .type = "name, unique",
                              .expected = "a name"});
        keys("max", &LiveSetSpec::max,
             {.help = "entries that it may have; memory is taken when there are some",
              .range = {1, kMaxSetEntries, KeyUnit::size},
              .type = "count"});
        keys("timeout", &LiveSetSpec::timeout_s,
             {.help = "lifetime of entries that name none",
              .range = {1, kMaxEntryTimeoutS, KeyUnit::seconds},
              .type = "time",
              .default_text = "for ever"});
        keys.by_hand("entries", {.help = "entries at the start: `192.0.2.1`, `2001:db8::/32 "
                                         "timeout 1h`",
                                 .form = Form::text,
                                 .shape = Shape::any_number,
                                 .type = "list of addresses and prefixes, each with a timeout or "
                                         "without",
                                 .default_text = "none"});
        keys.by_hand("file", {.help = "file of further entries at the start, one a line; `#` "
                                      "begins a comment. Relative to the configuration's folder",
                              .range = {1, 4000},
                              .form = Form::text,
                              .default_text = "none",
                              .range_text = "at most 4000 bytes"});
    }
};

/// Of a configuration in force: its sets have their contents, and need these no more.
inline void release_set_entries(std::vector<LiveSetSpec>& sets) {
    for (LiveSetSpec& set : sets)
        set.entries = nullptr;
}

/// A condition of a rule on sets, together with its list of addresses. It holds for an address in
/// that list, or in one of the sets `any` and in `within`; but not in one of the sets `none`.
struct SetCondition {
    std::uint32_t any = 0, none = 0;  ///< a bit a set
    AddressSet within;

    /// Whether an address of the family may match, together with the list.
    bool allows(Family family, const AddressSet& list) const noexcept {
        return list.has(family) || (any != 0 && within.has(family));
    }
    friend bool operator==(const SetCondition&, const SetCondition&) = default;
};

}  // namespace postern
