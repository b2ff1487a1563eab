// SPDX-License-Identifier: BSD-3-Clause
#include "args.h"

#include <charconv>

namespace postern {
namespace {

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

std::optional<Be16> Args::port(const char* name) {
    const auto v = uint(name, 65535);
    return v ? std::optional(Be16::from_host(static_cast<std::uint16_t>(*v))) : std::nullopt;
}

std::optional<std::uint8_t> Args::protocol(const char* name) {
    if (!has(name)) return std::nullopt;
    const auto p = parse_protocol(text(name));
    if (!p) wrong(name, "expected tcp, udp, … or a number");
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
    for (std::size_t i = 0; i < plan_.helpers.size(); ++i)
        if (plan_.helpers[i].name == text(name)) return static_cast<HelperId>(i + 1);
    wrong(name, "there is no helper \"" + text(name) + "\"");
    return std::nullopt;
}

std::optional<RuleId> Args::rule(const char* name) {
    if (!has(name)) return std::nullopt;
    for (std::size_t i = 0; i < plan_.rules.size(); ++i)
        if (plan_.rules[i] == text(name)) return RuleId::from(i);
    wrong(name, "there is no rule \"" + text(name) + "\"");
    return std::nullopt;
}

std::uint64_t Args::edges(const char* name) {
    if (!has(name)) return ~std::uint64_t{0};
    const std::uint64_t edges = plan_.edges.edges_in(text(name));
    if (edges == 0) wrong(name, "there is no zone \"" + text(name) + "\"");
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
        if (words[i] == text(name)) return i;
        all += (i == 0 ? "" : ", ") + std::string(words[i]);
    }
    wrong(name, "expected one of " + all);
    return std::nullopt;
}

std::function<std::vector<std::string>()> helper_names(PlanSource plan) {
    return [plan = std::move(plan)] {
        std::vector<std::string> names;
        for (const auto& helper : plan().helpers)
            if (!helper.name.empty()) names.push_back(helper.name);
        return names;
    };
}

std::function<std::vector<std::string>()> rule_names(PlanSource plan) {
    return [plan = std::move(plan)] {
        std::vector<std::string> names;
        for (const auto& rule : plan().rules)
            if (!rule.empty()) names.push_back(rule);
        return names;
    };
}

std::function<std::vector<std::string>()> zone_names(PlanSource plan) {
    return [plan = std::move(plan)] {
        std::vector<std::string> names;
        const Edges& edges = plan().edges;
        for (std::size_t i = 0; i < edges.size(); ++i) {
            const auto& edge = edges[EdgeId(static_cast<std::uint8_t>(i))];
            if (edge.zone.number() == i) names.push_back(edge.name);  // otherwise it is a port's
        }
        return names;
    };
}

}  // namespace postern
