// SPDX-License-Identifier: BSD-3-Clause
// Names: numbers of the configuration's names, stable from one plan to the next.
//
// Connections and expectations hold rules, helpers, zones and timeout profiles by number. A name
// keeps its number as long as plans have it. The number of a name that a plan lacks is `gone`: it
// stays in use until nothing holds it, see Worker::swept(), and only then it is free for another
// name. A plan holds the Names that it was made with; the next one begins with a copy. Control
// thread; workers only query whether a number is gone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace postern {

/// Rules of several plans: each has at most 65,000.
inline constexpr std::uint32_t kMaxRuleNumbers = 1u << 18;

/// The numbers of one kind of name.
class NameTable {
  public:
    using Number = std::uint32_t;

    /// Numbers are `first` to `last`.
    NameTable(Number first, Number last) : first_(first), last_(last) {}

    /// Makes all names candidates for removal: those that are not used before end_plan().
    void begin_plan();
    /// The number of a name in the plan being made: its present one, or the least free one. Nothing
    /// if there is none.
    std::optional<Number> use(std::string_view name);
    /// Marks names from before begin_plan() that were not used as gone.
    void end_plan();
    /// Removes one name.
    void retire(Number number);
    /// The plan is published as `version`: names that it lacks are gone since then.
    void stamp(std::uint64_t version);
    /// Frees the numbers that are gone since `version` or before and for which `held(number)` is
    /// false.
    template <class Held>
    void free_gone(std::uint64_t version, Held&& held) {
        for (std::size_t i = 0; i < entries_.size(); ++i)
            if (entries_[i].state == State::gone && entries_[i].gone_since != 0 &&
                entries_[i].gone_since <= version && !held(number_at(i)))
                release(i);
    }

    bool has_gone() const noexcept { return gone_ != 0; }
    bool is_gone(Number number) const noexcept { return is(number, State::gone); }
    bool is_used(Number number) const noexcept { return is(number, State::used); }
    /// Also of a removed name; empty if the number is free.
    const std::string& name(Number number) const noexcept;
    /// One past the highest number that is not free.
    Number end() const noexcept { return number_at(entries_.size()); }

  private:
    enum class State : std::uint8_t {
        free,
        candidate,  ///< between begin_plan() and end_plan()
        used,
        gone
    };
    struct Entry {
        std::string name;
        State state = State::free;
        std::uint64_t gone_since = 0;  ///< version of a plan; 0: of the one being made
    };
    bool is(Number number, State state) const noexcept {
        return number >= first_ && number < end() && entries_[number - first_].state == state;
    }
    Number number_at(std::size_t i) const noexcept { return first_ + static_cast<Number>(i); }
    void release(std::size_t i);

    Number first_, last_;
    std::vector<Entry> entries_;                          ///< by number, from first_ on
    std::unordered_map<std::string, std::size_t> place_;  ///< of a name in entries_
    std::size_t least_free_ = 0;                          ///< no earlier entry is free
    std::size_t gone_ = 0;
};

/// All kinds.
struct Names {
    NameTable rules;
    NameTable helpers;   ///< by name and kind: the same name with another kind is another helper
    NameTable timeouts;  ///< profiles, from 1 on
    NameTable edges;     ///< security zones, and ports of bridges with `sides: port`
    NameTable sides;     ///< pairs of sides that have a short number, see Edges

    Names();
    // Of all tables.
    void begin_plan();
    void end_plan();
    bool has_gone() const noexcept;
    void stamp(std::uint64_t version);
};

}  // namespace postern
