// SPDX-License-Identifier: BSD-3-Clause
// The arguments of a control command as values, read one after the other. The error of the first
// bad one stays in `problem`, in words for the operator.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.h"
#include "conntrack/filter.h"
#include "control/command.h"
#include "expect/types.h"
#include "net/addr.h"
#include "plan/plan.h"
#include "state/id_text.h"

namespace postern {

class Args {
  public:
    Args(const Plan& plan, const Json& args) : plan_(plan), args_(args) {}

    std::string problem;

    bool flag(const char* name) const { return args_.value(name, false); }
    std::optional<bool> boolean(const char* name) const;
    std::optional<std::uint32_t> uint(const char* name, std::uint32_t max);
    /// The same of an argument that is a text or a number.
    std::optional<std::uint32_t> integer(const char* name, std::uint32_t max);
    std::optional<Be16> port(const char* name);
    std::optional<Interval> ports(const char* name);
    /// Seconds.
    std::optional<std::uint32_t> time(const char* name, std::uint32_t max);
    std::optional<Interval> times(const char* name);
    std::optional<Interval> numbers(const char* name);
    std::optional<std::uint8_t> protocol(const char* name);
    /// A single address is a prefix of full length.
    std::optional<Prefix> prefix(const char* name);
    std::optional<HelperId> helper(const char* name);
    std::optional<RuleId> rule(const char* name);
    /// Null: not given, or there is none of this name. Valid as long as the plan.
    const SetPlan* set(const char* name);
    /// The edges of a security zone, bit n for the edge n; all of them if it is not given.
    std::uint64_t edges(const char* name);
    /// A connection's id (id_text.h).
    std::optional<ConnId> connection(const char* name);
    /// An expectation's: its owner and its id there.
    std::optional<std::pair<OwnerId, ExpectId>> expectation(const char* name);
    /// "16", "0x10" or "0x10/0xff"; false: not given, or wrong.
    bool masked(const char* name, std::uint32_t& value, std::uint32_t& mask);
    /// The index of the word among these.
    std::optional<std::size_t> word(const char* name, std::span<const std::string_view> words);

    void wrong(const std::string& name, const std::string& what) {
        if (problem.empty()) problem = name + ": " + what;
    }

  private:
    std::optional<IdText> id(const char* name, std::uint32_t last_worker,
                             std::uint32_t last_generation);
    bool has(const char* name) const { return args_.contains(name); }
    std::string text(const char* name) const;

    const Plan& plan_;
    const Json& args_;
};

/// The arguments of a list's conditions without the '!' of those that are negated.
struct Conditions {
    Json args;
    std::vector<std::string> negated;

    static Conditions of(const Json& args);
    bool is_negated(std::string_view name) const;
};

/// Bits of a whole address of this family.
inline std::uint8_t full_length(const IpAddr& a) {
    return static_cast<std::uint8_t>(address_bytes(a.family) * 8);
}

/// The current plan: it may be another one at the next call.
using PlanSource = std::function<const Plan&()>;
/// The names that are valid for an argument, for completion.
std::function<std::vector<std::string>()> helper_names(PlanSource plan);
std::function<std::vector<std::string>()> rule_names(PlanSource plan);
std::function<std::vector<std::string>()> zone_names(PlanSource plan);
std::function<std::vector<std::string>()> set_names(PlanSource plan);

inline std::vector<std::string> words_of(std::span<const std::string_view> words) {
    return {words.begin(), words.end()};
}

}  // namespace postern
