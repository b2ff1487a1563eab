// SPDX-License-Identifier: BSD-3-Clause
#include "config/describe_rules.h"

#include <cstdio>
#include <string_view>
#include <vector>

#include "config/list_items.h"

namespace postern {
namespace {

constexpr std::size_t kMostItems = 8;  ///< of one list

using Texts = std::vector<std::string>;

std::string listed(const Texts& items) {
    std::string out;
    for (std::size_t i = 0; i < items.size() && i < kMostItems; ++i)
        out += (i == 0 ? "" : ", ") + items[i];
    if (items.size() > kMostItems)
        out += " and " + std::to_string(items.size() - kMostItems) + " more";
    return out;
}

std::string range_text(unsigned first, unsigned last) {
    return std::to_string(first) + (first == last ? "" : "-" + std::to_string(last));
}
Texts texts_of(const AddressSet& set) {
    Texts out;
    for (const AddressRange& r : set.ranges())
        out.push_back(r.to_string());
    return out;
}
Texts texts_of(const std::vector<PortRange>& list) {
    Texts out;
    for (const PortRange& r : list)
        out.push_back(range_text(r.first, r.last));
    return out;
}
Texts texts_of(const NumberSet<std::uint32_t>& services) {
    Texts out;
    for (const auto& r : services) {
        // A range may reach over several protocols.
        for (std::uint32_t protocol = r.first >> 16; protocol <= r.last >> 16; ++protocol) {
            const std::uint32_t base = protocol << 16;
            const std::uint32_t first = r.first > base ? r.first - base : 0;
            const std::uint32_t last = r.last < (base | 0xffff) ? r.last - base : 0xffff;
            std::string text = protocol_name(static_cast<std::uint8_t>(protocol));
            if (first != 0 || last != 0xffff) text += "/" + range_text(first, last);
            out.push_back(std::move(text));
        }
    }
    return out;
}

std::string masked(std::uint32_t value, std::uint32_t mask) {
    char text[32];
    std::snprintf(text, sizeof text, "0x%x/0x%x", value, mask);
    return text;
}

/// The line of one rule, condition by condition.
class RuleLine {
  public:
    RuleLine(const Spec& spec, const RuleSpec& rule) : spec_(spec), rule_(rule) {}

    std::string text() {
        out_ = rule_.name + ": ";
        if (!rule_.enabled) out_ += "(disabled) ";
        if (rule_.schedule) out_ += "(" + rule_.schedule->text() + ") ";
        out_ += to_string(rule_.action);
        out_ += " " + states();
        zones("from", rule_.from);
        zones("to", rule_.to);
        if (rule_.family != Family::none) add("family", to_string(rule_.family));
        addresses("src", rule_.src, rule_.src_sets);
        addresses("dst", rule_.dst, rule_.dst_sets);
        protocols();
        if (!rule_.sport.empty()) add("sport", listed(texts_of(rule_.sport)));
        if (!rule_.dport.empty()) add("dport", listed(texts_of(rule_.dport)));
        link();
        if (rule_.mark_mask != 0) add("mark", masked(rule_.mark, rule_.mark_mask));
        effects();
        if (!rule_.description.empty()) out_ += "  # " + rule_.description;
        return out_ + "\n";
    }

  private:
    void add(std::string_view what, const std::string& value) {
        out_ += ", " + std::string(what) + " " + value;
    }
    std::string states() const {
        std::string related = "related";
        if (!rule_.related.empty()) {
            Texts names;
            for (const HelperId h : rule_.related)
                names.push_back(spec_.helper(h).name);
            related += " by " + listed(names);
        }
        if (!rule_.match_new && !rule_.match_related) return "nothing";
        return rule_.match_new && rule_.match_related ? "new and " + related
               : rule_.match_new                      ? "new"
                                                      : related;
    }
    void zones(std::string_view what, const std::vector<ZoneId>& zones) {
        Texts names;
        for (const ZoneId z : zones)
            names.push_back(spec_.zones[z.number()].name);
        if (!names.empty()) add(what, listed(names));
    }
    void addresses(std::string_view what, const AddressSet& list, const SetCondition& sets) {
        Texts texts;
        for (std::size_t s = 0; s < spec_.sets.size(); ++s) {
            const std::string name = "set " + spec_.sets[s].name;
            if ((sets.any >> s & 1) != 0)
                texts.push_back(name + (sets.within.is_any() ? "" : " (in part)"));
            if ((sets.none >> s & 1) != 0) texts.push_back("not " + name);
        }
        if (list.is_any() && texts.empty()) return;
        if (!list.is_any()) {
            const Texts ranges = texts_of(list);
            texts.insert(texts.end(), ranges.begin(), ranges.end());
        }
        add(what, texts.empty() ? "no address" : listed(texts));
    }
    void protocols() {
        Texts names;
        if (rule_.services) {
            add("service", listed(texts_of(*rule_.services)));
            return;
        }
        for (const std::uint8_t p : rule_.protocols)
            names.push_back(protocol_name(p));
        if (!names.empty()) add("proto", listed(names));
        Texts types;
        for (const std::uint8_t type : rule_.icmp_types)
            types.push_back(std::to_string(type));
        if (!types.empty()) add("icmp_type", listed(types));
    }
    void link() {
        Texts vlans, code_points;
        for (const auto& r : rule_.vlan)
            vlans.push_back(r.last == 0 ? "none"
                                        : (r.first == 0 ? "none, " : "") +
                                              range_text(r.first == 0 ? 1 : r.first, r.last));
        for (const auto& r : rule_.dscp)
            code_points.push_back(r.first == r.last ? config::dscp_text(r.first)
                                                    : range_text(r.first, r.last));
        if (!vlans.empty()) add("vlan", listed(vlans));
        if (!code_points.empty()) add("dscp", listed(code_points));
        ports("in_port", rule_.in_port);
        ports("out_port", rule_.out_port);
    }
    void ports(std::string_view what, const std::vector<PortId>& ports) {
        Texts names;
        for (const PortId p : ports)
            names.push_back(spec_.ports[p.number()].name);
        if (!names.empty()) add(what, listed(names));
    }
    void effects() {
        if (rule_.helper != kNoHelper) add("helper", spec_.helper(rule_.helper).name);
        if (rule_.track != TrackMode::yes)
            add("track", std::string(kWordsOf<TrackMode>.text_of(rule_.track)));
        if (rule_.set.mark_mask != 0) add("set mark", masked(rule_.set.mark, rule_.set.mark_mask));
        if (rule_.set.label_mask != 0)
            add("set label", masked(rule_.set.label, rule_.set.label_mask));
        if (rule_.timeouts != 0) add("timeouts", spec_.timeout_profiles[rule_.timeouts - 1u].name);
        if (rule_.liberal) out_ += ", liberal";
        if (rule_.expect)
            add("expect", protocol_name(rule_.expect->protocol) + " " +
                              range_text(rule_.expect->dport.first, rule_.expect->dport.last) +
                              (rule_.expect->to_server ? " to the server" : " to the client"));
        if (!rule_.limit) return;
        if (rule_.limit->any()) add("limit", limit_text(*rule_.limit));
        if (rule_.limit->per_source.any())
            add("limit per source", limit_text(rule_.limit->per_source));
    }

    static std::string limit_text(const PerSourceSpec& limit) {
        std::string out;
        const auto item = [&out](const std::string& text) {
            out += (out.empty() ? "" : " and ") + text;
        };
        const auto rate = [&](const RateSpec& r, const char* of) {
            if (r.number == 0) return;
            item(std::to_string(r.number) +
                 (r.period_s == 1    ? "/s"
                  : r.period_s == 60 ? "/m"
                                     : "/h") +
                 " " + of);
            if (limit.burst != 0) out += " (burst " + std::to_string(limit.burst) + ")";
        };
        rate(limit.connections, "connections");
        rate(limit.packets, "packets");
        if (limit.at_once != 0) item(std::to_string(limit.at_once) + " at once");
        return out;
    }

    const Spec& spec_;
    const RuleSpec& rule_;
    std::string out_;
};

}  // namespace

std::string describe_rules(const Spec& spec) {
    std::string out;
    for (const RuleSpec& r : spec.policy.rules)
        out += "  " + RuleLine(spec, r).text();
    return out;
}

}  // namespace postern
