// SPDX-License-Identifier: BSD-3-Clause
// Names: the numbers that names of the configuration have, from one plan to the next.
//
// Connections and expectations hold rules, helpers, zones and timeout profiles by number. A name
// keeps its number as long as plans have it. The number of a name that a plan does not have any
// more is `gone`: it stays taken until nothing holds it, see Worker::swept(), and only then it is
// free for another name. A plan holds the Names that it was made with; the next one begins with a
// copy. Control thread; workers only ask whether a number is gone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace postern {

/// The numbers of one kind of name.
class NameTable {
  public:
    using Number = std::uint32_t;

    /// Numbers are `first` to `last`.
    NameTable(Number first, Number last) : first_(first), last_(last) {}

    /// All names become candidates to be gone: those that are not used before end_plan().
    void begin_plan();
    /// The number of a name in the plan that is being made: the one that it has, or the least free
    /// one. Nothing when there is none.
    std::optional<Number> use(std::string_view name);
    /// Names that begin_plan() knew and nobody has used are gone.
    void end_plan();
    /// Takes one name away.
    void retire(Number number);
    /// The plan is in force as `version`: since then names are gone that it does not have.
    void stamp(std::uint64_t version);
    /// Frees the numbers that are gone since `version` or before and that `held(number)` denies.
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
    /// Also of one that is gone; empty when the number is free.
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
        std::uint64_t gone_since = 0;  ///< version of a plan; 0: of the one that is being made
    };
    bool is(Number number, State state) const noexcept {
        return number >= first_ && number < end() && entries_[number - first_].state == state;
    }
    Number number_at(std::size_t i) const noexcept { return first_ + static_cast<Number>(i); }
    void release(std::size_t i);

    Number first_, last_;
    std::vector<Entry> entries_;                          ///< by number, from first_ on
    std::unordered_map<std::string, std::size_t> place_;  ///< of a name in entries_
    std::size_t least_free_ = 0;                          ///< none before this place is free
    std::size_t gone_ = 0;
};

/// All kinds.
struct Names {
    NameTable rules;
    NameTable helpers;   ///< by name and kind: a helper of another kind is another helper
    NameTable timeouts;  ///< profiles, from 1 on
    NameTable edges;     ///< security zones, and ports of bridges that tell their sides apart
    NameTable sides;     ///< pairs of sides that have a short number, see Edges

    Names();
    // Of all tables.
    void begin_plan();
    void end_plan();
    bool has_gone() const noexcept;
    void stamp(std::uint64_t version);
};

}  // namespace postern
