// SPDX-License-Identifier: BSD-3-Clause
#include "helper/helper_set.h"

#include <algorithm>
#include <charconv>
#include <functional>

namespace postern {
namespace {

Result<void> check_descriptor(const HelperDesc& d) {
    const auto wrong = [&](const char* what) {
        return Error{"helper " + std::string(d.name) + ": " + what};
    };
    if (d.transports == 0 || (d.transports & ~(transport::tcp | transport::udp)) != 0)
        return wrong("its transports are neither tcp nor udp nor both");
    if ((d.framing == Framing::datagram) != (d.transports == transport::udp))
        return wrong("a stream falls into lines or measured messages, and only a stream does");
    if (d.remote ? d.framing == Framing::measured : d.framing == Framing::stream)
        return wrong(
            "only who reads in another process gets a stream, and nobody else is measured");
    if ((d.on_message == nullptr && !d.remote) ||
        (d.framing == Framing::measured && d.measure == nullptr))
        return wrong("a function is missing");
    if (d.classes.size() > kMaxClasses || d.params.size() > kMaxParams ||
        d.counters.size() > kMaxOwnCounters || d.patterns.size() > kMaxPatterns ||
        d.children.size() > kMaxChildren)
        return wrong("too many classes, parameters, counters, patterns or children");
    for (const ExpectClass& c : d.classes)
        if (c.max_expected == 0 || c.max_expected > UINT8_MAX || c.per_call > UINT8_MAX ||
            c.timeout_s == 0)
            return wrong("a class has no maximum from 1 to 255 or no timeout");
    for (const PatternDesc& p : d.patterns)
        if (p.id == kNoPattern) return wrong("a pattern has the id 0");
    return {};
}

Result<std::vector<Prefix>> parse_networks(std::string_view text) {
    std::vector<Prefix> out;
    while (!text.empty()) {
        const auto comma = text.find(',');
        const std::string_view item = text.substr(0, comma);
        text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
        const auto prefix = Prefix::parse(item);
        if (!prefix)
            return Error{"expected networks as in \"192.0.2.0/24,2001:db8::/32\", not \"" +
                         std::string(item) + "\""};
        out.push_back(*prefix);
    }
    return out;
}

Result<HelperInstance> make_instance(const HelperConfig& config) {
    HelperInstance instance;
    const HelperDesc& desc = *config.desc;
    instance.desc = &desc;
    if (!desc.remote) instance.filter = LineFilter::make(desc.patterns);
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
    if (const auto read = parse_deny_services(kDenyServicesParam.default_text, instance.guards);
        !read)
        return wrong(kDenyServicesParam.name, read.error().message);
    for (std::size_t i = 0; i < desc.params.size(); ++i) {
        const ParamDesc& p = desc.params[i];
        const auto number = parse_param(p, instance.texts[i]);
        if (!number) return wrong(p.name, number.error().message);
        instance.params.push_back(ParamSetting{number.value(), {}, {}});
        auto& networks = instance.networks.emplace_back();
        if (p.type == ParamType::networks)
            networks = std::move(parse_networks(instance.texts[i]).value());
        if (p.name == kMaxPendingParam.name)
            instance.max_pending = static_cast<std::uint16_t>(number.value());
        if (p.name == kLooseParam.name && number.value() != 0) instance.guards.loose = true;
        if (p.name == kPickUpParam.name) instance.picks_up = number.value() != 0;
        if (p.name == kDenyPortsParam.name) {
            const auto read = parse_deny_ports(instance.texts[i], instance.guards);
            if (!read) return wrong(p.name, read.error().message);
        }
        if (p.name == kDenyServicesParam.name) {
            const auto read = parse_deny_services(instance.texts[i], instance.guards);
            if (!read) return wrong(p.name, read.error().message);
        }
    }
    return instance;
}

/// Never 0.
std::uint64_t identity_of(const HelperConfig& config, const HelperInstance& instance) {
    const std::string text = config.identity.empty()
                                 ? instance.name + '\0' + std::string(instance.desc->name)
                                 : config.identity;
    return std::hash<std::string>()(text) | 1;
}

}  // namespace

Result<std::uint64_t> parse_param(const ParamDesc& desc, std::string_view text) {
    switch (desc.type) {
        case ParamType::text: return std::uint64_t{0};
        case ParamType::networks: {
            const auto read = parse_networks(text);
            if (!read) return read.error();
            return std::uint64_t{0};
        }
        case ParamType::ports: {
            if (text.empty()) return std::uint64_t{0};
            GuardPolicy read;
            const auto ok = parse_deny_ports(text, read);
            const auto& range = read.deny[0];
            if (!ok || read.deny_count != 1 || range.first < 1024 ||
                range.last - range.first >= static_cast<int>(kMaxPortRange))
                return Error{"expected a range of at most " + std::to_string(kMaxPortRange) +
                             " ports from 1024 on, such as 50000-50100, not \"" +
                             std::string(text) + "\""};
            return std::uint64_t{range.first} << 16 | range.last;
        }
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

namespace {

/// The instance that a child's name means for `config`; null if there is none yet.
const HelperConfig* child_of(const HelperConfig& config, std::string_view name,
                             std::span<const HelperConfig> all) {
    if (config.desc->name == name) return &config;
    const auto at = std::find_if(all.begin(), all.end(), [&](const HelperConfig& c) {
        return c.desc != nullptr && c.desc->name == name;
    });
    return at == all.end() ? nullptr : &*at;
}

}  // namespace

Result<void> add_children(std::vector<HelperConfig>& configs,
                          const HelperDesc* (*find)(std::string_view)) {
    for (std::size_t i = 0; i < configs.size(); ++i) {
        if (configs[i].desc == nullptr) continue;
        for (const std::string_view name : configs[i].desc->children) {
            if (child_of(configs[i], name, configs) != nullptr) continue;
            HelperConfig child;
            child.desc = find(name);
            if (child.desc == nullptr)
                return Error{"helper " + std::string(configs[i].desc->name) + ": its child " +
                             std::string(name) + " is not built in"};
            const auto taken = [&](auto&& is) {
                return std::any_of(configs.begin(), configs.end(), is);
            };
            child.name = name;
            while (taken([&](const HelperConfig& c) { return c.name == child.name; }))
                child.name += "_";
            child.id = 1;
            while (taken([&](const HelperConfig& c) { return c.id == child.id; }))
                ++child.id;
            if (child.id >= kMaxHelpers)
                return Error{"more than " + std::to_string(kMaxHelpers - 1) +
                             " helpers, with the children of those configured"};
            configs.push_back(std::move(child));
        }
    }
    return {};
}

Result<std::unique_ptr<const HelperSet>> HelperSet::create(std::span<const HelperConfig> configs,
                                                           ScannerCache* cache) {
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
        set->picks_up_ |= instance.picks_up;
        instance.identity = identity_of(config, instance);
        for (std::size_t i = 0; i < instance.params.size(); ++i) {
            instance.params[i].text = instance.texts[i];  // from now on they do not move
            instance.params[i].networks = instance.networks[i];
        }

        // Instances of one helper share its patterns.
        for (std::size_t t = 0; t < owners.size(); ++t) {
            if ((config.desc->transports & (t == 0 ? transport::tcp : transport::udp)) == 0)
                continue;
            auto& list = owners[t];
            const auto at = std::find(list.begin(), list.end(), config.desc);
            instance.owners[t] = static_cast<std::uint8_t>(at - list.begin());
            if (at == list.end()) list.push_back(config.desc);
        }
        for (std::size_t i = 0; i < config.desc->children.size(); ++i) {
            const HelperConfig* child = child_of(config, config.desc->children[i], configs);
            if (child == nullptr)
                return Error{"helper " + instance.name + ": its child " +
                             std::string(config.desc->children[i]) + " is missing"};
            instance.children[i] = child->id;
        }
    }
    for (std::size_t i = 0; i < owners.size(); ++i) {
        auto compiled = Scanner::compile(owners[i], set->scratch_, cache);
        if (!compiled) return compiled.error();
        set->scanners_[i] = std::move(compiled).value();
    }
    return std::unique_ptr<const HelperSet>(std::move(set));
}

}  // namespace postern
