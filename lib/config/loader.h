// SPDX-License-Identifier: BSD-3-Clause
// Loader: the structure of a configuration file, one function a section. A function continues after
// an error; a value with an error keeps its default, and the Spec is discarded at the end if there
// was any error.
//
// Private to lib/config: the file as a whole in load.cc, its sections in load_*.cc.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "config/groups.h"
#include "config/reader.h"

namespace postern::config {

inline constexpr std::size_t kMaxPath = 4000;

/// Names of one kind (zones, ports, …) in the file's order; the index is the id.
class Names {
  public:
    explicit Names(std::string what) : what_(std::move(what)) {}

    void add(const Value& at, const std::string& name);
    /// Reports a name that is not among them, unless there are none and that was reported.
    std::optional<std::size_t> find(const Value& v) const;
    /// The same of a part of the value's text.
    std::optional<std::size_t> find(const Value& at, std::string_view name) const;
    std::size_t size() const noexcept { return order_.size(); }

    bool quiet_when_empty = false;

  private:
    std::string what_;
    std::vector<std::string> order_;
    std::unordered_map<std::string, std::size_t> index_;
};

/// `yes`, `no` or `10/s`. Reports anything else.
LogRate read_log_rate(const Value& v);
/// `10/s`, `10/m` or `10/h`; the same.
RateSpec read_rate(const Value& v);

/// The possible zones of this port's frames.
std::set<ZoneId> zones_at(const PortSpec& port);

class Loader {
  public:
    Loader(Report& report, const Schema& schema)
        : report_(report),
          schema_(schema),
          groups_(report.file()),
          timeout_profiles_{{"linux", TimeoutSeconds{}}, {"rfc", TimeoutSeconds::rfc()}} {}
    Spec load(const YAML::Node& root);
    std::vector<IncludedFile> take_included() { return groups_.take_included(); }

  private:
    void eal(const Value& v);
    void workers(const Value& v);
    void zones(const Value& v);
    void zone(const Value& item);
    void zone_settings(Map& map, ZoneSpec& zone);
    void ports(const Value& v);
    void bridges(const Value& v);
    PassSpec pass(const Value& v, const About& about);
    void conntrack_zones(Map& map, BridgeSpec& bridge);
    using Sides = std::pair<std::string, std::string>;  ///< in alphabetical order
    Sides sides_of(const BridgeSpec& bridge, std::uint16_t vlan) const;
    std::set<std::uint16_t> vlans_of(const BridgeSpec& bridge) const;
    bool leads_somewhere(const BridgeSpec& bridge) const;
    void part_vlans(BridgeSpec& bridge, std::size_t index);
    void helpers(const Value& v);
    bool is_child(const std::string& kind) const;
    void helper_params(const Value* v, const std::vector<ParamSchema>& params, HelperSpec& helper);
    UserspaceSpec userspace(const Value& v, HelperSpec& helper);
    void sets(const Value& v);
    void set_contents(Map& map, LiveSetSpec& set);
    void timeouts(const Value& v);
    template <class Profile>
    void timeouts_of(Map& map, Profile& out);
    std::uint8_t timeout_profile(const Value& v);
    void limits(const Value& v);
    void policy(const Value& v);
    void rule(const Value& v);
    void addresses(Map& map, std::string_view key, RuleSpec& rule, AddressSet& out,
                   SetCondition& sets);
    /// The items of a condition on lists; nothing if it always holds, or after an error.
    std::optional<std::vector<Value>> items_of(Map& map, std::string_view key);
    void port_ranges(Map& map, std::string_view key, const RuleSpec& rule,
                     std::vector<PortRange>& out);
    void services(Map& map, RuleSpec& rule);
    void icmp_types(Map& map, RuleSpec& rule);
    /// `vlan`, `dscp`, `in_port` and `out_port`.
    void link(Map& map, RuleSpec& rule);
    void port_names(Map& map, std::string_view key, std::vector<PortId>& out);
    void tracking(Map& map, RuleSpec& rule);
    void states(Map& map, RuleSpec& rule);
    void effects(Map& map, RuleSpec& rule);
    ExpectSpec expect(const Value& v);
    void limit(const Value& v, RuleSpec& rule);
    void schedule(const Value& v, RuleSpec& rule);
    void limit_rates(Map& map, const RuleSpec& rule, PerSourceSpec& out);
    void check_families(const Value& v, RuleSpec& rule);
    void pipeline(const Value& v);
    void control(const Value& v);
    void state(const Value& v);
    void log(const Value& v);
    void scanner_cache(const Value& v);
    void advise();
    void advise_of_shared_zones();
    void advise_of_nothing(const RuleSpec& r, const std::string& path);

    /// Reads a condition of a rule: nothing or `any` leaves `out` empty.
    template <class T, class Fn>
    void condition(Map& map, std::string_view key, std::vector<T>& out, Fn parse_one);

    Report& report_;
    const Schema& schema_;
    Spec spec_;
    Groups groups_;
    Names zone_names_{"a zone of this file"};
    Names port_names_{"a port of this file"};
    Names helper_names_{"a helper of this file"};
    std::vector<TimeoutProfileSpec> timeout_profiles_;  ///< all that rules may choose
    std::unordered_set<std::string> rule_names_;
    std::map<std::string, std::shared_ptr<const TimeZone>> time_zones_;  ///< of rules
    std::unordered_set<std::string> zone_prefixes_;                      ///< of all zones
};

}  // namespace postern::config
