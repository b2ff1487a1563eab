// SPDX-License-Identifier: BSD-3-Clause
#include "plan/names.h"

#include "base/types.h"
#include "conntrack/timeouts.h"
#include "net/packet.h"

namespace postern {

void NameTable::begin_plan() {
    for (Entry& e : entries_)
        if (e.state == State::used) e.state = State::candidate;
}

std::optional<NameTable::Number> NameTable::use(std::string_view name) {
    const auto [known, fresh] = place_.try_emplace(std::string(name), 0);
    if (!fresh) {
        Entry& e = entries_[known->second];
        if (e.state == State::gone) --gone_;
        e.state = State::used;
        e.gone_since = 0;
        return number_at(known->second);
    }
    while (least_free_ < entries_.size() && entries_[least_free_].state != State::free)
        ++least_free_;
    if (least_free_ > last_ - first_) {
        place_.erase(known);
        return std::nullopt;
    }
    if (least_free_ == entries_.size()) entries_.emplace_back();
    known->second = least_free_;
    entries_[least_free_] = {std::string(name), State::used, 0};
    return number_at(least_free_++);
}

void NameTable::end_plan() {
    for (std::size_t i = 0; i < entries_.size(); ++i)
        if (entries_[i].state == State::candidate) retire(number_at(i));
}

void NameTable::retire(Number number) {
    Entry& e = entries_[number - first_];
    if (e.state == State::gone || e.state == State::free) return;
    e.state = State::gone;
    e.gone_since = 0;
    ++gone_;
}

void NameTable::stamp(std::uint64_t version) {
    if (gone_ == 0) return;
    for (Entry& e : entries_)
        if (e.state == State::gone && e.gone_since == 0) e.gone_since = version;
}

void NameTable::release(std::size_t i) {
    place_.erase(entries_[i].name);
    entries_[i] = {};
    --gone_;
    if (i < least_free_) least_free_ = i;
}

const std::string& NameTable::name(Number number) const noexcept {
    static const std::string kNone;
    return number >= first_ && number < end() ? entries_[number - first_].name : kNone;
}

Names::Names()
    : rules(0, kMaxRuleNumbers - 1),
      helpers(1, kMaxHelpers - 1),
      timeouts(1, kMaxTimeoutProfiles - 1),
      edges(0, kMaxEdges - 1),
      sides(0, ZonePair::kNumbers / 2 - 1) {}

void Names::begin_plan() {
    for (NameTable* table : {&rules, &helpers, &timeouts, &edges, &sides})
        table->begin_plan();
}

void Names::end_plan() {
    for (NameTable* table : {&rules, &helpers, &timeouts, &edges, &sides})
        table->end_plan();
}

bool Names::has_gone() const noexcept {
    return rules.has_gone() || helpers.has_gone() || timeouts.has_gone() || edges.has_gone() ||
           sides.has_gone();
}

void Names::stamp(std::uint64_t version) {
    for (NameTable* table : {&rules, &helpers, &timeouts, &edges, &sides})
        table->stamp(version);
}

}  // namespace postern
