// SPDX-License-Identifier: BSD-3-Clause
#include "args.h"

#include <algorithm>
#include <charconv>
#include <cstddef>

#include "control/suggest.h"
#include "value_text.h"

namespace postern {
namespace {

std::vector<std::string> helpers_of(const Plan& plan) {
    std::vector<std::string> names;
    for (const auto& helper : plan.helpers)
        if (!helper.name.empty()) names.push_back(helper.name);
    return names;
}

std::vector<std::string> rules_of(const Plan& plan) {
    std::vector<std::string> names;
    for (const auto& rule : plan.rules)
        if (!rule.empty()) names.push_back(rule);
    return names;
}

std::vector<std::string> zones_of(const Plan& plan) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < plan.edges.size(); ++i) {
        const auto& edge = plan.edges[EdgeId(static_cast<std::uint8_t>(i))];
        if (edge.zone.number() == i) names.push_back(edge.name);  // otherwise it is a port's
    }
    return names;
}

std::vector<std::string> sets_of(const Plan& plan) {
    std::vector<std::string> names;
    for (const SetPlan& s : plan.sets)
        names.push_back(s.name);
    return names;
}

/// Decimal, or hexadecimal after 0x.
std::optional<std::uint64_t> number(std::string_view text, std::uint64_t max) {
    const bool hex = text.starts_with("0x");
    if (hex) text.remove_prefix(2);
    std::uint64_t v = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), v, hex ? 16 : 10);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size() || v > max)
        return std::nullopt;
    return v;
}

/// Those of protocols that are not just their numbers.
std::vector<std::string> protocol_names() {
    std::vector<std::string> names;
    for (unsigned p = 0; p < 256; ++p)
        if (std::string name = protocol_name(static_cast<std::uint8_t>(p)); !number(name, 255))
            names.push_back(std::move(name));
    return names;
}

/// "; did you mean 'tcp'?", or nothing.
std::string or_near(const std::string& word, const std::vector<std::string>& words) {
    const std::string found = nearest(lower(word), words);
    return found.empty() ? "" : "; did you mean '" + found + "'?";
}

/// The element of `names` that this name means, exactly or, if there is none, in any case.
template <class Names, class NameOf>
std::optional<std::size_t> find_name(const Names& names, const std::string& name, NameOf name_of) {
    for (std::size_t i = 0; i < names.size(); ++i)
        if (name_of(names[i]) == name) return i;
    for (std::size_t i = 0; i < names.size(); ++i)
        if (same_word(name_of(names[i]), name)) return i;
    return std::nullopt;
}

}  // namespace

/// Scalars may be numbers, too.
std::string Args::text(const char* name) const {
    const Json& v = args_[name];
    return v.is_string() ? v.get<std::string>() : v.dump();
}

std::optional<bool> Args::boolean(const char* name) const {
    return has(name) ? std::optional(args_[name].get<bool>()) : std::nullopt;
}

std::optional<std::uint32_t> Args::uint(const char* name, std::uint32_t max) {
    if (!has(name)) return std::nullopt;
    const auto v = args_[name].get<std::int64_t>();
    if (v >= 0 && v <= std::int64_t{max}) return static_cast<std::uint32_t>(v);
    wrong(name, "expected a number up to " + std::to_string(max));
    return std::nullopt;
}

std::optional<std::uint32_t> Args::integer(const char* name, std::uint32_t max) {
    if (!has(name)) return std::nullopt;
    if (const auto v = number(text(name), max)) return static_cast<std::uint32_t>(*v);
    wrong(name, "expected a number up to " + std::to_string(max));
    return std::nullopt;
}

std::optional<Be16> Args::port(const char* name) {
    if (!has(name)) return std::nullopt;
    if (const auto port = port_of(text(name))) return Be16::from_host(*port);
    wrong(name, "expected a port (0 to 65535), or the name of a service in /etc/services");
    return std::nullopt;
}

std::optional<Interval> Args::ports(const char* name) {
    if (!has(name)) return std::nullopt;
    const auto range = range_of(text(name), port_of);
    if (!range)
        wrong(name, "expected ports (" + std::string(type_help(ArgType::ports)) +
                        "); names are those of /etc/services");
    return range;
}

std::optional<std::uint32_t> Args::time(const char* name, std::uint32_t max) {
    if (!has(name)) return std::nullopt;
    const auto seconds = seconds_of(text(name));
    if (seconds && *seconds <= max) return seconds;
    wrong(name, "expected a time of up to " + std::to_string(max) +
                    " seconds: " + type_help(ArgType::time));
    return std::nullopt;
}

std::optional<Interval> Args::times(const char* name) {
    if (!has(name)) return std::nullopt;
    const auto range = range_of(text(name), seconds_of);
    if (!range) wrong(name, "expected times: " + std::string(type_help(ArgType::times)));
    return range;
}

std::optional<Interval> Args::numbers(const char* name) {
    if (!has(name)) return std::nullopt;
    const auto range =
        range_of(text(name), [](std::string_view one) { return number_of(one, UINT64_MAX); });
    if (!range) wrong(name, "expected numbers: " + std::string(type_help(ArgType::numbers)));
    return range;
}

std::optional<std::uint8_t> Args::protocol(const char* name) {
    if (!has(name)) return std::nullopt;
    const auto p = parse_protocol(lower(text(name)));
    if (!p) wrong(name, "expected tcp, udp, … or a number" + or_near(text(name), protocol_names()));
    return p;
}

std::optional<Prefix> Args::prefix(const char* name) {
    if (!has(name)) return std::nullopt;
    if (const auto a = IpAddr::parse(text(name))) return Prefix{*a, full_length(*a)};
    const auto p = Prefix::parse(text(name));
    if (!p) wrong(name, "expected an address or a prefix");
    return p;
}

std::optional<HelperId> Args::helper(const char* name) {
    if (!has(name)) return std::nullopt;
    const auto i = find_name(
        plan_.helpers, text(name), [](const auto& h) -> auto& { return h.name; });
    if (i && !text(name).empty()) return static_cast<HelperId>(*i + 1);
    wrong(name,
          "there is no helper \"" + text(name) + "\"" + suggestion(text(name), helpers_of(plan_)));
    return std::nullopt;
}

std::optional<RuleId> Args::rule(const char* name) {
    if (!has(name)) return std::nullopt;
    const auto i = find_name(
        plan_.rules, text(name), [](const auto& rule) -> auto& { return rule; });
    if (i && !text(name).empty()) return RuleId::from(*i);
    wrong(name,
          "there is no rule \"" + text(name) + "\"" + suggestion(text(name), rules_of(plan_)));
    return std::nullopt;
}

const SetPlan* Args::set(const char* name) {
    if (!has(name)) return nullptr;
    const auto i = find_name(
        plan_.sets, text(name), [](const SetPlan& s) -> auto& { return s.name; });
    if (i) return &plan_.sets[*i];
    wrong(name, "there is no set \"" + text(name) + "\"" +
                    (plan_.sets.empty() ? " (the configuration has no `sets`)"
                                        : suggestion(text(name), sets_of(plan_))));
    return nullptr;
}

std::uint64_t Args::edges(const char* name) {
    if (!has(name)) return ~std::uint64_t{0};
    std::uint64_t edges = plan_.edges.edges_in(text(name));
    for (const std::string& zone : zones_of(plan_))
        if (edges == 0 && same_word(zone, text(name))) edges = plan_.edges.edges_in(zone);
    if (edges == 0)
        wrong(name,
              "there is no zone \"" + text(name) + "\"" + suggestion(text(name), zones_of(plan_)));
    return edges;
}

std::optional<IdText> Args::id(const char* name, std::uint32_t last_worker,
                               std::uint32_t last_generation) {
    if (!has(name)) return std::nullopt;
    const auto id = IdText::parse(text(name));
    if (id && id->worker <= last_worker && id->generation <= last_generation) return id;
    wrong(name, "expected an id as lists show it, WORKER/INDEX.GENERATION");
    return std::nullopt;
}

std::optional<ConnId> Args::connection(const char* name) {
    const auto id = this->id(name, plan_.workers - 1, UINT16_MAX);
    if (!id) return std::nullopt;
    return ConnId{id->index, static_cast<std::uint16_t>(id->generation),
                  WorkerId::from(id->worker)};
}

std::optional<std::pair<OwnerId, ExpectId>> Args::expectation(const char* name) {
    // Control owns some, too.
    const auto id = this->id(name, plan_.workers, UINT32_MAX);
    if (!id) return std::nullopt;
    return std::pair{static_cast<OwnerId>(id->worker), ExpectId{id->index, id->generation}};
}

bool Args::masked(const char* name, std::uint32_t& value, std::uint32_t& mask) {
    if (!has(name)) return false;
    const std::string all = text(name);
    const auto slash = all.find('/');
    const auto v = number(std::string_view(all).substr(0, slash), UINT32_MAX);
    const auto m = slash == all.npos ? std::optional<std::uint64_t>(UINT32_MAX)
                                     : number(std::string_view(all).substr(slash + 1), UINT32_MAX);
    if (!v || !m || *m == 0 || (*v & ~*m) != 0) {
        wrong(name, "expected a number, or number/mask with all its bits in the mask");
        return false;
    }
    value = static_cast<std::uint32_t>(*v);
    mask = static_cast<std::uint32_t>(*m);
    return true;
}

std::optional<std::size_t> Args::word(const char* name, std::span<const std::string_view> words) {
    if (!has(name)) return std::nullopt;
    std::string all;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (same_word(words[i], text(name))) return i;
        all += (i == 0 ? "" : ", ") + std::string(words[i]);
    }
    wrong(name, "expected one of " + all + or_near(text(name), words_of(words)));
    return std::nullopt;
}

std::function<std::vector<std::string>()> helper_names(PlanSource plan) {
    return [plan = std::move(plan)] { return helpers_of(plan()); };
}

std::function<std::vector<std::string>()> rule_names(PlanSource plan) {
    return [plan = std::move(plan)] { return rules_of(plan()); };
}

std::function<std::vector<std::string>()> zone_names(PlanSource plan) {
    return [plan = std::move(plan)] { return zones_of(plan()); };
}

std::function<std::vector<std::string>()> set_names(PlanSource plan) {
    return [plan = std::move(plan)] { return sets_of(plan()); };
}

Conditions Conditions::of(const Json& args) {
    Conditions out{args, {}};
    for (auto& [name, value] : out.args.items()) {
        if (!value.is_string()) continue;
        auto& text = value.get_ref<std::string&>();
        if (!text.starts_with('!')) continue;
        text.erase(0, 1);
        out.negated.push_back(name);
    }
    return out;
}

bool Conditions::is_negated(std::string_view name) const {
    return std::ranges::find(negated, name) != negated.end();
}

}  // namespace postern
