// SPDX-License-Identifier: BSD-3-Clause
#include "plan/helpers.h"

#include <algorithm>

#include "net/addr.h"

namespace postern {
namespace {

std::string param_text(const ParamValue& value) {
    if (const auto* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
    if (const auto* n = std::get_if<std::uint64_t>(&value)) return std::to_string(*n);
    return std::get<std::string>(value);
}

/// The meaning of a connection's helper state depends on this, beside the build.
std::string identity_of(const HelperSpec& h) {
    std::string out = h.name + " " + h.kind;
    if (!h.userspace) return out;
    out += h.userspace->stream ? " stream" : " lines";
    out += " " + std::to_string(h.userspace->data_bytes);
    for (const std::uint8_t protocol : h.protocols)
        out += " " + std::to_string(protocol);
    for (const auto& c : h.userspace->classes)
        out += " " + c.name + "/" + std::to_string(c.protocol) + "/" + std::to_string(c.max) + "/" +
               std::to_string(c.timeout_s);
    return out;
}

/// All inputs of an instance.
std::string text_of(const HelperConfig& config, const HelperSpec& h) {
    std::string out = std::to_string(config.id) + " " + identity_of(h);
    if (h.userspace) out += h.userspace->proof ? " proof" : " no proof";
    for (const std::uint16_t port : h.ports)
        out += " " + std::to_string(port);
    for (const auto& [name, text] : config.params)
        out += " " + name + "=" + std::to_string(text.size()) + ":" + text;
    return out + "\n";
}

}  // namespace

Error no_number(const std::string& kind, const std::string& name) {
    return Error{"no number is free for " + kind + " " + name +
                 ": those of names that were removed are still in use by "
                 "connections; try again"};
}

std::vector<std::uint8_t> protocols_of(const HelperDesc& desc) {
    std::vector<std::uint8_t> out;
    for (const std::uint8_t p : {proto::tcp, proto::udp})
        if ((desc.transports & transport::of(p)) != 0) out.push_back(p);
    return out;
}

HelperInstances::HelperInstances() = default;
HelperInstances::~HelperInstances() = default;

Result<std::shared_ptr<const HelperInstances>> HelperInstances::create(Spec& spec, NameTable& names,
                                                                       const Options& options) {
    auto out = std::make_shared<HelperInstances>();
    std::vector<HelperConfig> configs;
    for (std::size_t i = 0; i < spec.helpers.size(); ++i) {
        const HelperSpec& h = spec.helpers[i];
        HelperConfig& c = configs.emplace_back();
        c.id = static_cast<HelperId>(i + 1);
        c.name = h.name;
        c.desc = h.userspace
                     ? &out->declared_.emplace_back(std::make_unique<DeclaredHelper>(h))->desc()
                     : options.find(h.kind);
        for (const auto& p : h.params)
            c.params.emplace_back(p.name, param_text(p.value));
    }
    const std::size_t configured = configs.size();
    if (auto added = add_children(configs, options.find); !added) return added.error();
    for (std::size_t i = configured; i < configs.size(); ++i) {
        HelperSpec& h = spec.helpers.emplace_back();
        h.name = configs[i].name;
        h.kind = configs[i].desc->name;
        h.protocols = protocols_of(*configs[i].desc);
    }
    std::uint64_t added = 0;  // a bit a helper
    for (std::size_t i = 0; i < configs.size(); ++i) {
        const auto number = names.use(identity_of(spec.helpers[i]));
        if (!number) return no_number("helper", spec.helpers[i].name);
        configs[i].id = static_cast<HelperId>(*number);
        configs[i].identity = identity_of(spec.helpers[i]);
        out->ids_.push_back(configs[i].id);
        if (i >= configured) added |= std::uint64_t{1} << *number;
        out->made_of_ += text_of(configs[i], spec.helpers[i]);
    }
    for (RuleSpec& rule : spec.policy.rules) {
        if (rule.helper != kNoHelper) rule.helper = out->ids_[rule.helper - 1u];
        for (HelperId& id : rule.related)
            id = out->ids_[id - 1u];
    }
    std::shared_ptr<const HelperInstances> result;
    if (options.previous != nullptr && options.previous->made_of_ == out->made_of_) {
        result = options.previous;
    } else {
        auto set = HelperSet::create(configs, options.cache);
        if (!set) return set.error();
        out->set_ = std::move(set.value());
        for (unsigned w = 0; w < options.workers; ++w) {
            auto scratch = out->set_->scratch().clone();
            if (!scratch) return scratch.error();
            out->scratch_.push_back(std::move(scratch.value()));
        }
        result = std::move(out);
    }
    for (RuleSpec& rule : spec.policy.rules)
        for (std::size_t i = 0; i < rule.related.size(); ++i)  // the list grows in the loop
            for (const HelperId child : result->set()[rule.related[i]].children)
                if ((added >> child & 1) != 0 &&
                    std::count(rule.related.begin(), rule.related.end(), child) == 0)
                    rule.related.push_back(child);
    return result;
}

std::vector<HelperPlan> helper_plans_of(const Spec& spec, const HelperInstances& instances) {
    std::vector<HelperPlan> out;
    for (std::size_t i = 0; i < spec.helpers.size(); ++i) {
        const HelperSpec& h = spec.helpers[i];
        const HelperId id = instances.ids()[i];
        const HelperInstance& instance = instances.set()[id];
        const HelperDesc* desc = instance.desc;
        if (out.size() < id) out.resize(id);
        HelperPlan& p = out[id - 1u];
        p.name = h.name;
        p.transports = desc->transports;
        p.ports = h.ports;
        for (const auto& c : desc->classes)
            p.classes.push_back({std::string(c.name), static_cast<std::uint8_t>(c.max_expected),
                                 c.timeout_s * 1000, static_cast<std::uint8_t>(c.per_call)});
        // One connection never has more than its share of the table.
        const std::uint32_t share = std::min(65535u, std::max(16u, spec.limits.expectations / 4));
        p.max_pending = static_cast<std::uint16_t>(
            instance.max_pending == 0 ? share
                                      : std::min<std::uint32_t>(instance.max_pending, share));
    }
    return out;
}

}  // namespace postern
