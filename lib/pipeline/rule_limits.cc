// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/rule_limits.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <sys/mman.h>

#include "plan/names.h"

namespace postern {
namespace {

constexpr std::uint32_t kStamps = 1u << 27;  ///< milliseconds, 37 hours
/// Clocks of workers differ by the length of a turn. A later time than this ago is one ahead.
constexpr std::uint32_t kAheadMs = 60'000;
constexpr std::size_t kCellsAPage = 4096 / 16;

}  // namespace

void RuleLimits::Unmap::operator()(Cell* cells) const noexcept {
    ::munmap(cells, bytes);
}

Result<RuleLimits::Cells> RuleLimits::reserve(std::size_t cells) {
    const std::size_t bytes = cells * sizeof(Cell);
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return Error{std::string("no address space for the limits of rules: ") +
                     std::strerror(errno)};
    return Cells(static_cast<Cell*>(memory), Unmap{bytes});
}

RuleLimits::RuleLimits(Cells rules, Cells sources, const HashSecret& secret) noexcept
    : all_sources_(sources.get()),
      rules_(std::move(rules)),
      sources_(std::move(sources), kSourceCells),
      secret_(secret) {}

Result<std::unique_ptr<RuleLimits>> RuleLimits::create(const HashSecret& secret) {
    auto rules = reserve(kMaxRuleNumbers), sources = reserve(2 * std::size_t{kSourceCells});
    if (!rules) return rules.error();
    if (!sources) return sources.error();
    return std::unique_ptr<RuleLimits>(
        new RuleLimits(std::move(*rules), std::move(*sources), secret));
}

void RuleLimits::prepare(const Plan& plan) noexcept {
    // Workers may count in these pages meanwhile: adding nothing leaves that as it is.
    const auto touch = [](Cell* first, std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; i += kCellsAPage)
            first[i].open.fetch_add(0, std::memory_order_relaxed);
    };
    if (plan.limits.empty()) return;
    const std::size_t rules = std::min<std::size_t>(plan.rules.size(), kMaxRuleNumbers);
    touch(rules_.get(), prepared_, rules);
    prepared_ = std::max(prepared_, rules / kCellsAPage * kCellsAPage);
    const bool wanted = std::ranges::any_of(
        plan.limits, [](const RuleLimit& l) { return l.counts() || l.by_source(); });
    if (!wanted || std::exchange(sources_prepared_, true)) return;
    touch(all_sources_, 0, 2 * std::size_t{kSourceCells});
}

std::pair<RuleLimits::Cell&, RuleLimits::Cell&> RuleLimits::source(const Who& who) const noexcept {
    // As in SourceSketch: of an IPv6 address its /64.
    const std::array words{who.source.halves()[0],
                           std::uint64_t{who.zone.number()} << 56 | who.rule.number()};
    return sources_.at(sources_.place(keyed_hash<1>(words, secret_)));
}

/// The number of the cell with the present time in place of that of its count, without a debt,
/// which is set to what is left of it.
std::uint64_t RuleLimits::with_debt(std::uint64_t cell, Tick now, std::uint64_t& debt) noexcept {
    const std::uint64_t before = cell & ((std::uint64_t{1} << kDebtBits) - 1);
    const auto stamp = static_cast<std::uint32_t>(cell >> kDebtBits);
    const std::uint32_t passed_ms = (now.ms - stamp) & (kStamps - 1);
    if (passed_ms >= kStamps - kAheadMs && before != 0) {
        debt = before;  // another worker's clock is ahead
        return std::uint64_t{stamp} << kDebtBits;
    }
    debt = before - std::min(before, passed_ms * RuleRate::kUnitsPerMs);
    return std::uint64_t{now.ms & (kStamps - 1)} << kDebtBits;
}

/// A token bucket, as the time for which it is empty; at most `worst`.
bool RuleLimits::take(Cell& cell, const RuleRate& rate, Tick now, std::uint64_t worst) noexcept {
    std::uint64_t old = cell.rate.load(std::memory_order_relaxed);
    for (;;) {
        std::uint64_t debt;
        const std::uint64_t stamp = with_debt(old, now, debt);
        if (debt > worst) [[unlikely]] {
            debt = worst;
            if (!cell.rate.compare_exchange_weak(old, stamp | debt, std::memory_order_relaxed))
                continue;
            old = stamp | debt;
        }
        if (debt + rate.cost > rate.most) return false;
        if (cell.rate.compare_exchange_weak(old, stamp | (debt + rate.cost),
                                            std::memory_order_relaxed))
            return true;
    }
}

/// Its number may have belonged to a slower rule, or the rule was slower itself: that debt would
/// take longer than a whole burst of this one.
bool RuleLimits::take_of_rule(Cell& cell, const RuleRate& rate, Tick now) noexcept {
    return take(cell, rate, now, rate.most);
}

/// The same for a cell that is shared and does not decide: no debt of anybody becomes less.
void RuleLimits::charge(Cell& cell, const RuleRate& rate, Tick now) noexcept {
    std::uint64_t old = cell.rate.load(std::memory_order_relaxed);
    for (;;) {
        std::uint64_t debt;
        const std::uint64_t stamp = with_debt(old, now, debt);
        const std::uint64_t next = std::max(debt, std::min(debt + rate.cost, rate.most));
        if (cell.rate.compare_exchange_weak(old, stamp | next, std::memory_order_relaxed)) return;
    }
}

/// The smaller of its two debts is never too low.
bool RuleLimits::take_of_source(const Who& who, const RuleRate& rate, Tick now) noexcept {
    auto [a, b] = source(who);
    if (take(a, rate, now)) {
        charge(b, rate, now);
        return true;
    }
    if (!take(b, rate, now)) return false;
    charge(a, rate, now);
    return true;
}

DropReason RuleLimits::open(const Who& who, const RuleLimit& limit, Tick now) noexcept {
    Cell& rule = rules_[who.rule.number()];
    if (limit.counts()) {
        // Counted first, and taken back: no two workers can both take the last place.
        const std::uint32_t before = rule.open.fetch_add(1, std::memory_order_relaxed);
        auto [a, b] = source(who);
        const std::uint32_t of_a = a.open.fetch_add(1, std::memory_order_relaxed);
        const std::uint32_t of_b = b.open.fetch_add(1, std::memory_order_relaxed);
        const bool full = limit.at_once != 0 && before >= limit.at_once;
        const bool source_full =
            limit.source_at_once != 0 && std::min(of_a, of_b) >= limit.source_at_once;
        if (full || source_full) {
            close(who);
            return full ? DropReason::rule_at_once : DropReason::rule_source_at_once;
        }
    }
    DropReason why = DropReason::none;
    // The source first: one that is too fast does not use up the rule's share.
    if (limit.source_connections && !take_of_source(who, limit.source_connections, now))
        why = DropReason::rule_source_rate;
    else if (limit.connections && !take_of_rule(rule, limit.connections, now))
        why = DropReason::rule_rate;
    if (why != DropReason::none && limit.counts()) close(who);
    return why;
}

void RuleLimits::count(const Who& who) noexcept {
    rules_[who.rule.number()].open.fetch_add(1, std::memory_order_relaxed);
    auto [a, b] = source(who);
    a.open.fetch_add(1, std::memory_order_relaxed);
    b.open.fetch_add(1, std::memory_order_relaxed);
}

void RuleLimits::close(const Who& who) noexcept {
    rules_[who.rule.number()].open.fetch_sub(1, std::memory_order_relaxed);
    auto [a, b] = source(who);
    a.open.fetch_sub(1, std::memory_order_relaxed);
    b.open.fetch_sub(1, std::memory_order_relaxed);
}

DropReason RuleLimits::packet(const Who& who, const RuleLimit& limit, Tick now) noexcept {
    if (limit.source_packets && !take_of_source(who, limit.source_packets, now))
        return DropReason::rule_source_rate;
    if (limit.packets && !take_of_rule(rules_[who.rule.number()], limit.packets, now))
        return DropReason::rule_rate;
    return DropReason::none;
}

std::uint32_t RuleLimits::open_now(RuleId rule) const noexcept {
    return rules_[rule.number()].open.load(std::memory_order_relaxed);
}

}  // namespace postern
