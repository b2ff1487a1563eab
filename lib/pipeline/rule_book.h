// SPDX-License-Identifier: BSD-3-Clause
// RuleBook: the counters of all rules by name, for lists and metrics.
//
// What: sums the workers' RuleSums. A rule keeps its counters while plans have its name. A number
// that becomes another name's begins at 0 for that name; what the former name had counted is kept,
// for the case that it comes back. Used by: control only. Cost: a walk over all rules a plan.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "pipeline/rule_counts.h"
#include "plan/names.h"

namespace postern {

struct RuleTotals {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t connections = 0;
    std::int64_t last_ms = 0;  ///< of the wall clock, since 1970; 0: no packet yet
};

class RuleBook {
  public:
    static Result<RuleBook> create(unsigned workers);

    /// The sums of one worker, for its RuleCounts. Its address stays the same.
    RuleSumsMemory& of_worker(unsigned w) noexcept { return sums_[w]; }
    /// A plan with these rules will be published: makes room for their sums.
    void prepare(const NameTable& rules);

    /// Converts the workers' times to the wall clock's. At least once in 20 days, and before a
    /// list.
    void look_at_times(Tick now, std::int64_t wall_ms);
    RuleTotals of_default() const { return totals(kDefault); }
    RuleTotals of(RuleId rule) const { return totals(rule.number() + kFirst); }

  private:
    static constexpr std::size_t kDefault = 0, kFirst = 1;
    /// Names that no plan has, and whose counters are kept.
    static constexpr std::size_t kMaxKept = kMaxRuleNumbers;

    struct Line {
        std::string name;                 ///< empty: of the default, or of no rule
        RuleTotals before;                ///< counted under this name by other numbers
        RuleTotals base;                  ///< the number's sums when it became this name's
        std::vector<std::uint64_t> seen;  ///< by worker: RuleSums::last at the last look
        std::int64_t last_ms = 0;
    };

    explicit RuleBook(std::vector<RuleSumsMemory> sums) : sums_(std::move(sums)), lines_(kFirst) {}
    const RuleSums& at(unsigned w, std::size_t line) const noexcept {
        return line == kDefault ? sums_[w].of_default() : sums_[w].of(RuleId::from(line - kFirst));
    }
    RuleTotals raw(std::size_t line) const noexcept;
    RuleTotals totals(std::size_t line) const;
    void begin(std::size_t line, const std::string& name);

    std::vector<RuleSumsMemory> sums_;  ///< by worker
    std::vector<Line> lines_;           ///< the default, then by number
    std::unordered_map<std::string, RuleTotals> kept_;
};

}  // namespace postern
