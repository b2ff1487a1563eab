// SPDX-License-Identifier: BSD-3-Clause
#include "helper/helper_set.h"

#include <algorithm>
#include <charconv>

namespace postern {
namespace {

Result<void> check_descriptor(const HelperDesc& d) {
    const auto wrong = [&](const char* what) {
        return Error{"helper " + std::string(d.name) + ": " + what};
    };
    if (d.protocol != proto::tcp && d.protocol != proto::udp)
        return wrong("its protocol is neither tcp nor udp");
    if ((d.framing == Framing::datagram) != (d.protocol == proto::udp))
        return wrong("datagrams are UDP's framing, and the only one");
    if (d.on_message == nullptr || (d.framing == Framing::measured && d.measure == nullptr))
        return wrong("a function is missing");
    if (d.classes.size() > kMaxClasses || d.params.size() > kMaxParams ||
        d.counters.size() > kMaxOwnCounters || d.patterns.size() > kMaxPatterns)
        return wrong("too many classes, parameters, counters or patterns");
    for (const PatternDesc& p : d.patterns)
        if (p.id == kNoPattern) return wrong("a pattern has the id 0");
    return {};
}

Result<HelperInstance> make_instance(const HelperConfig& config) {
    HelperInstance instance;
    const HelperDesc& desc = *config.desc;
    instance.desc = &desc;
    instance.name = config.name.empty() ? std::string(desc.name) : config.name;
    const auto wrong = [&](std::string_view param, const std::string& what) {
        return Error{"helper " + instance.name + ", parameter " + std::string(param) + ": " + what};
    };

    for (const ParamDesc& p : desc.params)
        instance.texts.emplace_back(p.default_text);
    for (const auto& [name, text] : config.params) {
        const auto at =
            std::find_if(desc.params.begin(), desc.params.end(),
                         [&, &wanted = name](const ParamDesc& p) { return p.name == wanted; });
        if (at == desc.params.end()) return wrong(name, "there is none of this name");
        instance.texts[static_cast<std::size_t>(at - desc.params.begin())] = text;
    }
    instance.guards.loose = desc.foreign_media;
    for (std::size_t i = 0; i < desc.params.size(); ++i) {
        const ParamDesc& p = desc.params[i];
        const auto number = parse_param(p, instance.texts[i]);
        if (!number) return wrong(p.name, number.error().message);
        instance.params.push_back(ParamSetting{number.value(), {}});
        if (p.name == kLooseParam.name && number.value() != 0) instance.guards.loose = true;
        if (p.name == kDenyPortsParam.name) {
            const auto read = parse_deny_ports(instance.texts[i], instance.guards);
            if (!read) return wrong(p.name, read.error().message);
        }
    }
    return instance;
}

}  // namespace

Result<std::uint64_t> parse_param(const ParamDesc& desc, std::string_view text) {
    switch (desc.type) {
        case ParamType::text: return std::uint64_t{0};
        case ParamType::boolean:
            if (text == "true") return std::uint64_t{1};
            if (text == "false") return std::uint64_t{0};
            return Error{"expected true or false, not \"" + std::string(text) + "\""};
        case ParamType::uint: break;
    }
    std::uint64_t v = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (ec != std::errc{} || end != text.data() + text.size() || v > desc.max)
        return Error{"expected a number up to " + std::to_string(desc.max) + ", not \"" +
                     std::string(text) + "\""};
    return v;
}

Result<std::unique_ptr<const HelperSet>> HelperSet::create(std::span<const HelperConfig> configs) {
    std::unique_ptr<HelperSet> set(new HelperSet);
    std::array<std::vector<const HelperDesc*>, 2> owners;
    for (const HelperConfig& config : configs) {
        if (config.desc == nullptr || config.id == kNoHelper || config.id >= kMaxHelpers ||
            set->find(config.id) != nullptr)
            return Error{"helper " + config.name +
                         ": no descriptor, or its id is taken or not in 1.." +
                         std::to_string(kMaxHelpers - 1)};
        if (const auto checked = check_descriptor(*config.desc); !checked) return checked.error();
        auto made = make_instance(config);
        if (!made) return made.error();
        HelperInstance& instance = set->instances_[config.id] = std::move(made).value();
        for (std::size_t i = 0; i < instance.params.size(); ++i)
            instance.params[i].text = instance.texts[i];  // only now are they where they stay

        // Instances of one helper share its patterns.
        auto& list = owners[config.desc->protocol == proto::udp];
        const auto at = std::find(list.begin(), list.end(), config.desc);
        instance.owner = static_cast<std::uint8_t>(at - list.begin());
        if (at == list.end()) list.push_back(config.desc);
    }
    for (std::size_t i = 0; i < owners.size(); ++i) {
        auto compiled = Scanner::compile(owners[i], set->scratch_);
        if (!compiled) return compiled.error();
        set->scanners_[i] = std::move(compiled).value();
    }
    return std::unique_ptr<const HelperSet>(std::move(set));
}

}  // namespace postern
