// SPDX-License-Identifier: BSD-3-Clause
// The names and layouts of a binary file, and their meaning in a plan. Each is looked up in the
// plan once, when a record first uses it. Bounded in size, whatever the file says.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/field.h"
#include "helper/helper_set.h"
#include "plan/plan.h"

namespace postern {

class NamesRead {
  public:
    void set_plan(const Plan& plan, const HelperSet& helpers);
    /// False: there are too many, or the number was given to another text.
    bool add_name(std::uint64_t number, std::string_view text);

    /// The text of a number; nothing if no record has named it.
    std::optional<std::string_view> text(std::uint64_t number) const noexcept;
    // Of a number that text() knows; 0, no name, is none.
    RuleId rule(std::uint64_t number);
    std::optional<EdgeId> edge(std::uint64_t number);
    HelperId helper(std::uint64_t number);
    unsigned timeouts(std::uint64_t number);
    /// version_of() the helper.
    const std::string& version(HelperId id);

    struct LayoutField {
        std::string name;
        unsigned count = 0;
    };
    bool add_layout(std::uint64_t number, std::string_view version,
                    std::vector<LayoutField> fields);
    enum class Struct : std::uint8_t {
        good,
        wrong,   ///< a value is out of range, or something is missing or too much
        unknown  ///< its layout is not known
    };
    /// Reads a struct by its layout in the file into the fields of `table`. With `exact` it has no
    /// other fields; without, they are skipped and added to `skipped`. The first field that is
    /// wrong is in `where`. `version`: of the layout, as the file says.
    Struct read_struct(std::span<const std::uint8_t> bytes, std::span<const Field> table,
                       bool exact, std::span<std::uint8_t> out, std::uint64_t& skipped,
                       std::string_view& where);
    /// The version of the layout of a struct; nothing if it is not known.
    std::optional<std::string_view> layout_version(std::span<const std::uint8_t> bytes) const;

  private:
    static constexpr std::size_t kMaxNames = 1u << 20, kMaxNameBytes = 64u << 20;
    static constexpr std::size_t kMaxLayouts = 1024, kMaxLayoutFields = 256;

    template <class T>
    struct Meaning {
        bool known = false;
        T value{};
    };
    struct Name {
        std::string text;
        Meaning<RuleId> rule;
        Meaning<std::optional<EdgeId>> edge;
        Meaning<HelperId> helper;
        Meaning<unsigned> timeouts;
    };
    struct Layout {
        std::string version;
        std::vector<LayoutField> fields;
        /// The table that `place` is for: by field, its index there, or -1.
        const Field* table = nullptr;
        std::vector<int> place;
        bool all = false;  ///< every field of the table is in the layout, with its count
    };
    Name* find(std::uint64_t number) noexcept;
    void bind(Layout& layout, std::span<const Field> table);

    const Plan* plan_ = nullptr;
    const HelperSet* helpers_ = nullptr;
    std::vector<Name> names_;  ///< by number - 1; without text: not named
    std::size_t name_bytes_ = 0;
    std::unordered_map<std::uint64_t, Layout> layouts_;
    std::unordered_map<std::string_view, RuleId> rules_;  ///< of the plan; made at first use
    std::vector<std::string> versions_;                   ///< by HelperId; empty: not made
};

}  // namespace postern
