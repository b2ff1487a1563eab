// SPDX-License-Identifier: BSD-3-Clause
// `timeouts` and `limits`.
#include <algorithm>

#include "config/loader.h"
#include "config/read_keys.h"

namespace postern::config {

void Loader::timeouts(const Value& v) {
    Map map(v);
    TimeoutsSpec own;
    timeouts_of(map, own);
    spec_.timeouts = own.timeouts;
    if (auto profiles = map.get("profiles")) {
        Map of(*profiles);
        for (const auto& item : of.items()) {
            TimeoutProfileSpec profile;
            if (auto name = item.key.name()) profile.name = *name;
            if (profile.name == "linux" || profile.name == "rfc" || profile.name == "default")
                item.key.error(in_quotes(profile.name) + " has its meaning already");
            // Profiles before it may be its base.
            Map one(item.value);
            timeouts_of(one, profile);
            one.finish();
            timeout_profiles_.push_back(std::move(profile));
        }
    }
    map.finish();
}

/// `base`, and the differences from it.
template <class Profile>
void Loader::timeouts_of(Map& map, Profile& out) {
    if (auto base = map.get("base")) {
        std::vector<std::string_view> names;
        for (const auto& p : timeout_profiles_)
            names.push_back(p.name);
        if (auto i = base->choice(names, "a profile of timeouts above"))
            out.timeouts = timeout_profiles_[*i].timeouts;
    }
    read_keys(map, out);
}

/// The number of a profile in RuleSpec::timeouts; the profile is added to the Spec's.
std::uint8_t Loader::timeout_profile(const Value& v) {
    std::vector<std::string_view> names;
    for (const auto& p : timeout_profiles_)
        names.push_back(p.name);
    const auto chosen = v.choice(names, "a profile of timeouts");
    if (!chosen) return 0;
    auto& used = spec_.timeout_profiles;
    const TimeoutProfileSpec& profile = timeout_profiles_[*chosen];
    const auto at = static_cast<std::size_t>(
        std::find_if(used.begin(), used.end(),
                     [&](const TimeoutProfileSpec& p) { return p.name == profile.name; }) -
        used.begin());
    if (at == used.size()) {
        if (at == kMaxTimeoutNames) {
            v.error("rules use more than " + std::to_string(kMaxTimeoutNames) +
                    " profiles of timeouts");
            return 0;
        }
        used.push_back(profile);
    }
    return static_cast<std::uint8_t>(at + 1);
}

void Loader::limits(const Value& v) {
    LimitsSpec& l = spec_.limits;
    Map map(v);
    read_keys(map, l);
    ExpectationsPerSpec& per = l.expectations_per;
    per = ExpectationsPerSpec::shares_of(l.expectations);
    // A helped connection is a connection, so their number cannot be larger.
    l.helped_connections = std::min(l.helped_connections, l.connections);
    if (auto helped = map.get("helped_connections")) {
        KeyRange range = map.about("helped_connections").range;
        range.max = std::min<std::uint64_t>(range.max, l.connections);
        helped->read(l.helped_connections, range);
    }
    if (auto expectations = map.get("expectations_per")) {
        Map of(*expectations);
        read_keys(of, per);
        if (auto zone = of.get("ct_zone")) {
            const About& about = of.about("ct_zone");
            if (zone->is_map()) {
                Map zones(*zone);
                for (const auto& item : zones.items()) {
                    const auto id = item.key.number({about.min_key, about.max_key});
                    const auto max = item.value.number(about.range);
                    if (id && max)
                        per.of_ct_zones.emplace_back(CtZone::from(*id),
                                                     static_cast<std::uint32_t>(*max));
                }
            } else {
                zone->read(per.ct_zone, about.range);
            }
        }
        of.number("source", per.source);
        of.number("server", per.server);
        of.number("security_zone", per.security_zone);
        of.finish();
    }
    l.per_zone.assign(spec_.zones.size(), 0);
    if (auto zones = map.get("per_zone")) {
        Map of(*zones);
        for (std::size_t z = 0; z < spec_.zones.size(); ++z)
            if (auto one = of.get(spec_.zones[z].name))
                one->read(l.per_zone[z], map.about("per_zone").range);
        of.finish();
    }
    map.finish();
}

}  // namespace postern::config
