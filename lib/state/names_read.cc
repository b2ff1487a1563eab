// SPDX-License-Identifier: BSD-3-Clause
#include "state/names_read.h"

#include <algorithm>
#include <utility>

#include "state/json_names.h"
#include "state/layout.h"
#include "state/wire.h"

namespace postern {

void NamesRead::set_plan(const Plan& plan, const HelperSet& helpers) {
    plan_ = &plan;
    helpers_ = &helpers;
    for (Name& n : names_) {
        n.rule.known = n.edge.known = n.helper.known = n.timeouts.known = false;
    }
    for (auto& [number, layout] : layouts_)
        layout.table = nullptr;
    rules_.clear();
    versions_.assign(plan.helpers.size() + 1, {});
}

bool NamesRead::add_name(std::uint64_t number, std::string_view text) {
    if (number == 0 || number > kMaxNames || text.empty()) return false;
    if (name_bytes_ + text.size() > kMaxNameBytes) return false;
    if (number > names_.size()) names_.resize(static_cast<std::size_t>(number));
    Name& n = names_[static_cast<std::size_t>(number - 1)];
    if (!n.text.empty()) return n.text == text;
    n.text = text;
    name_bytes_ += text.size();
    return true;
}

NamesRead::Name* NamesRead::find(std::uint64_t number) noexcept {
    if (number == 0 || number > names_.size()) return nullptr;
    Name& n = names_[static_cast<std::size_t>(number - 1)];
    return n.text.empty() ? nullptr : &n;
}

std::optional<std::string_view> NamesRead::text(std::uint64_t number) const noexcept {
    if (number == 0 || number > names_.size()) return std::nullopt;
    const Name& n = names_[static_cast<std::size_t>(number - 1)];
    if (n.text.empty()) return std::nullopt;
    return n.text;
}

RuleId NamesRead::rule(std::uint64_t number) {
    Name* n = find(number);
    if (n == nullptr) return kNoRule;
    if (!n->rule.known) {
        // A hash of all of them: a file may name each of many rules.
        if (rules_.empty())
            for (std::size_t i = 0; i < plan_->rules.size(); ++i)
                if (!plan_->rules[i].empty()) rules_.try_emplace(plan_->rules[i], RuleId::from(i));
        const auto found = rules_.find(n->text);
        n->rule = {true, found == rules_.end() ? kNoRule : found->second};
    }
    return n->rule.value;
}

std::optional<EdgeId> NamesRead::edge(std::uint64_t number) {
    Name* n = find(number);
    if (n == nullptr) return std::nullopt;
    if (!n->edge.known) n->edge = {true, plan_->edges.find(n->text)};
    return n->edge.value;
}

HelperId NamesRead::helper(std::uint64_t number) {
    Name* n = find(number);
    if (n == nullptr) return kNoHelper;
    if (!n->helper.known) {
        const HelperId id = helper_of(*plan_, n->text);
        n->helper = {true, id != kNoHelper && helpers_->find(id) == nullptr ? kNoHelper : id};
    }
    return n->helper.value;
}

unsigned NamesRead::timeouts(std::uint64_t number) {
    Name* n = find(number);
    if (n == nullptr) return 0;
    if (!n->timeouts.known) {
        const auto at =
            place(plan_->timeout_names, n->text, [](const std::string& t) { return t; });
        n->timeouts = {true, at ? static_cast<unsigned>(*at) + 1 : 0};
    }
    return n->timeouts.value;
}

const std::string& NamesRead::version(HelperId id) {
    std::string& v = versions_[id];
    if (v.empty()) v = version_of(*helpers_->find(id)->desc);
    return v;
}

bool NamesRead::add_layout(std::uint64_t number, std::string_view version,
                           std::vector<LayoutField> fields) {
    if (layouts_.size() >= kMaxLayouts || fields.size() > kMaxLayoutFields) return false;
    Layout layout;
    layout.version = version;
    layout.fields = std::move(fields);
    return layouts_.try_emplace(number, std::move(layout)).second;
}

void NamesRead::bind(Layout& layout, std::span<const Field> table) {
    layout.table = table.data();
    layout.place.clear();
    std::vector<bool> seen(table.size());
    for (const LayoutField& f : layout.fields) {
        const auto at = std::find_if(table.begin(), table.end(),
                                     [&f](const Field& t) { return t.name == f.name; });
        const bool fits = at != table.end() && at->count == f.count &&
                          !seen[static_cast<std::size_t>(at - table.begin())];
        layout.place.push_back(fits ? static_cast<int>(at - table.begin()) : -1);
        if (fits) seen[static_cast<std::size_t>(at - table.begin())] = true;
    }
    layout.all = std::all_of(seen.begin(), seen.end(), [](bool b) { return b; });
}

std::optional<std::string_view> NamesRead::layout_version(
    std::span<const std::uint8_t> bytes) const {
    const auto number = state_wire::FieldReader(bytes).varint();
    const auto at = number ? layouts_.find(*number) : layouts_.end();
    if (at == layouts_.end()) return std::nullopt;
    return at->second.version;
}

NamesRead::Struct NamesRead::read_struct(std::span<const std::uint8_t> bytes,
                                         std::span<const Field> table, bool exact,
                                         std::span<std::uint8_t> out, std::uint64_t& skipped,
                                         std::string_view& where) {
    state_wire::FieldReader in(bytes);
    const auto number = in.varint();
    const auto at = number ? layouts_.find(*number) : layouts_.end();
    if (at == layouts_.end()) return Struct::unknown;
    Layout& layout = at->second;
    if (layout.table != table.data() || table.empty()) bind(layout, table);
    where = {};
    if (!layout.all || (exact && layout.fields.size() != table.size())) return Struct::wrong;
    for (std::size_t i = 0; i < layout.fields.size(); ++i) {
        const LayoutField& f = layout.fields[i];
        const int place = layout.place[i];
        where = f.name;
        for (unsigned n = 0; n < f.count; ++n) {
            const auto value = in.varint();
            if (!value) return Struct::wrong;
            if (place < 0) continue;
            const Field& field = table[static_cast<std::size_t>(place)];
            if (*value > field.max) return Struct::wrong;
            field.put(out, *value, n);
        }
        if (place < 0) ++skipped;
    }
    where = {};
    return in.at_end() ? Struct::good : Struct::wrong;
}

}  // namespace postern
