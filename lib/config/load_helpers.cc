// SPDX-License-Identifier: BSD-3-Clause
// `helpers`: those of this build, with their parameters, and those in other processes.
#include <algorithm>
#include <iterator>

#include "config/loader.h"
#include "config/read_keys.h"

namespace postern::config {

void Loader::helpers(const Value& v) {
    std::vector<std::string_view> kinds;
    for (const auto& h : schema_.helpers)
        kinds.push_back(h.name);
    const auto items = v.list();
    if (items.size() > kMaxHelpers - 1)
        v.error(std::to_string(items.size()) + " helpers (expected at most " +
                std::to_string(kMaxHelpers - 1) + ")");
    for (const auto& item : items) {
        HelperSpec helper;
        helper.where = item.mark();
        Map map(item);
        read_keys(map, helper);
        const auto name = map.require("name");
        const auto process = map.get("userspace");
        const auto kind_value = map.get("helper");
        if (process && kind_value)
            kind_value->error("a helper in another process (`userspace`) has no kind");
        std::optional<std::size_t> kind;
        if (name)
            if (auto s = name->name()) {
                helper.name = *s;
                helper_names_.add(*name, *s);
                if (process && std::count(kinds.begin(), kinds.end(), *s) != 0)
                    name->error(in_quotes(*s) +
                                " is a helper of this build; one in another process "
                                "needs another name");
                if (!kind_value && !process)
                    kind = name->choice(kinds, "a helper; give its kind by `helper:`");
            }
        if (kind_value && !process) kind = kind_value->choice(kinds, "a helper");
        const auto ports = map.get("ports");
        const auto params = map.get("params");
        if (kind) {
            const HelperSchema& schema = schema_.helpers[*kind];
            helper.kind = schema.name;
            helper.protocols = schema.protocols;
            helper.ports = schema.ports;
            helper_params(params ? &*params : nullptr, schema.params, helper);
        } else if (process) {
            helper.kind = helper.name;
            helper.userspace = userspace(*process, helper);
            helper_params(params ? &*params : nullptr, schema_.userspace_params, helper);
        }
        if (ports) {
            helper.ports.clear();
            for (const auto& p : ports->one_or_more())
                if (auto n = p.number(map.about("ports").range)) {
                    const auto port = static_cast<std::uint16_t>(*n);
                    if (std::count(helper.ports.begin(), helper.ports.end(), port))
                        p.error("port " + std::to_string(port) + " is given twice");
                    else
                        helper.ports.push_back(port);
                }
        }
        map.finish();
        spec_.helpers.push_back(std::move(helper));
    }
}

void Loader::helper_params(const Value* v, const std::vector<ParamSchema>& params,
                           HelperSpec& helper) {
    std::optional<Map> map;
    if (v) map.emplace(*v);
    for (const auto& p : params) {
        ParamValue value = p.fallback;
        if (auto given = map ? map->get(p.name) : std::nullopt) {
            if (std::holds_alternative<bool>(value)) {
                if (auto b = given->flag()) value = *b;
            } else if (std::holds_alternative<std::uint64_t>(value)) {
                if (auto n = given->number({p.min, p.max})) value = *n;
            } else if (auto s = given->text()) {
                if (const std::string what = p.problem ? p.problem(*s) : ""; !what.empty())
                    given->error(what);
                value = *s;
            }
        }
        helper.params.push_back({p.name, std::move(value)});
    }
    if (map) map->finish();
}

UserspaceSpec Loader::userspace(const Value& v, HelperSpec& helper) {
    static constexpr std::uint8_t kProtocols[] = {proto::tcp, proto::udp};
    static_assert(std::size(kProtocols) == std::size(kTransportWords));
    constexpr std::size_t kMaxClasses = 4;
    UserspaceSpec out;
    Map map(v);
    read_keys(map, out);
    if (const auto transports = map.require("transports")) {
        const About& about = map.about("transports");
        for (const auto& t : transports->one_or_more())
            if (const auto i = t.choice(about.words, std::string(about.noun))) {
                if (std::count(helper.protocols.begin(), helper.protocols.end(), kProtocols[*i]))
                    t.error(in_quotes(about.words[*i]) + " is given twice");
                else
                    helper.protocols.push_back(kProtocols[*i]);
            }
    }
    if (const auto i = map.choice("framing")) out.stream = *i == 1;
    if (const auto classes = map.require("classes")) {
        const auto items = classes->list();
        if (items.empty() || items.size() > kMaxClasses)
            classes->error(std::to_string(items.size()) + " classes (expected 1 to 4)");
        for (const auto& item : items) {
            UserspaceSpec::Class c;
            Map of(item);
            read_keys(of, c);
            if (const auto name = of.require("name"))
                if (auto s = name->name()) {
                    if (std::any_of(out.classes.begin(), out.classes.end(),
                                    [&](const auto& other) { return other.name == *s; }))
                        name->error(in_quotes(*s) + " is given twice");
                    c.name = *s;
                }
            of.require("proto");
            if (const auto i = of.choice("proto")) c.protocol = kProtocols[*i];
            of.finish();
            out.classes.push_back(std::move(c));
        }
    }
    map.finish();
    return out;
}

}  // namespace postern::config
