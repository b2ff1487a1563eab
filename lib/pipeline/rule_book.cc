// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/rule_book.h"

#include <algorithm>
#include <utility>

namespace postern {

Result<RuleBook> RuleBook::create(unsigned workers) {
    std::vector<RuleSumsMemory> sums;
    for (unsigned w = 0; w < workers; ++w) {
        auto memory = RuleSumsMemory::create();
        if (!memory) return memory.error();
        sums.push_back(std::move(*memory));
    }
    return RuleBook(std::move(sums));
}

void RuleBook::prepare(const NameTable& rules) {
    for (RuleSumsMemory& memory : sums_)
        memory.prepare(rules.end());
    lines_.resize(std::max(lines_.size(), rules.end() + kFirst));
    // All former names first: one of them may have another number now.
    const auto name_of = [&](std::size_t line) -> const std::string& {
        return rules.name(static_cast<NameTable::Number>(line - kFirst));
    };
    std::vector<std::size_t> renamed;
    for (std::size_t line = kFirst; line < lines_.size(); ++line)
        if (name_of(line) != lines_[line].name) renamed.push_back(line);
    for (const std::size_t line : renamed)
        if (!lines_[line].name.empty() && kept_.size() < kMaxKept)
            kept_[lines_[line].name] = totals(line);
    for (const std::size_t line : renamed)
        begin(line, name_of(line));
}

/// No connection has this number any more, so its sums stand still.
void RuleBook::begin(std::size_t line, const std::string& name) {
    Line& l = lines_[line];
    l.name = name;
    l.base = raw(line);
    l.before = {};
    if (const auto known = kept_.find(name); known != kept_.end()) {
        l.before = known->second;
        kept_.erase(known);
    }
    l.last_ms = l.before.last_ms;
}

void RuleBook::look_at_times(Tick now, std::int64_t wall_ms) {
    for (std::size_t line = 0; line < lines_.size(); ++line) {
        Line& l = lines_[line];
        l.seen.resize(sums_.size());
        for (unsigned w = 0; w < sums_.size(); ++w) {
            const std::uint64_t last = at(w, line).last.get();
            if (last == std::exchange(l.seen[w], last)) continue;
            const auto ago = std::max(0, now - Tick{static_cast<std::uint32_t>(last)});
            l.last_ms = std::max(l.last_ms, wall_ms - ago);
        }
    }
}

RuleTotals RuleBook::raw(std::size_t line) const noexcept {
    RuleTotals sum;
    for (unsigned w = 0; w < sums_.size(); ++w) {
        const RuleSums& s = at(w, line);
        sum.packets += s.packets.get();
        sum.bytes += s.bytes.get();
        sum.connections += s.connections.get();
    }
    return sum;
}

RuleTotals RuleBook::totals(std::size_t line) const {
    if (line >= lines_.size()) return {};
    const Line& l = lines_[line];
    const RuleTotals now = raw(line);
    return {l.before.packets + now.packets - l.base.packets,
            l.before.bytes + now.bytes - l.base.bytes,
            l.before.connections + now.connections - l.base.connections, l.last_ms};
}

}  // namespace postern
