// SPDX-License-Identifier: BSD-3-Clause
// Plan: everything in the configuration that decides about packets. Made by compile() on the
// control thread, immutable; workers read one pointer to it a turn.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/drop_reason.h"
#include "base/log_rate.h"
#include "base/types.h"
#include "conntrack/track.h"
#include "helper/descriptor.h"
#include "net/packet.h"
#include "plan/edges.h"
#include "plan/helper_instances.h"
#include "plan/names.h"
#include "plan/port_plan.h"
#include "policy/policy.h"
#include "policy/zone_prefixes.h"
#include "sets/live_set.h"

namespace postern {

struct StageDesc;

/// A helper instance, as the packet path uses it.
struct HelperPlan {
    std::string name;
    std::uint8_t transports = 0;       ///< bits of `transport`
    std::vector<std::uint16_t> ports;  ///< its usual control ports, host order
    struct Class {
        std::string name;
        std::uint8_t max_expected = 1;
        std::uint32_t timeout_ms = 0;
        std::uint8_t max_per_call = 0;
    };
    std::vector<Class> classes;
    std::uint16_t max_pending = 0;  ///< of one connection's calls together; 0: no limit

    bool supports(std::uint8_t protocol) const noexcept {
        return (transports & transport::of(protocol)) != 0;
    }
};

/// The helper of each usual control port, independent of the rules.
class HelperPorts {
  public:
    struct Entry {
        std::uint16_t port = 0;
        std::uint8_t protocol = 0;
        HelperId helper = kNoHelper;
        bool assign = false;  ///< assigned without a rule
    };
    /// The first helper of a port is kept.
    void add(const Entry& entry);
    const Entry* find(std::uint8_t protocol, std::uint16_t port) const noexcept {
        if ((known_[port / 64] >> port % 64 & 1) == 0) return nullptr;
        for (const Entry& e : entries_)
            if (e.port == port && e.protocol == protocol) return &e;
        return nullptr;
    }

  private:
    std::array<std::uint64_t, 1024> known_{};  ///< a bit a port, which ends most look-ups
    std::vector<Entry> entries_;
};

/// Expectations of a connection by its rule, without a parser: for connections to its ports, from
/// its peer.
struct RuleExpect {
    std::uint8_t protocol = 0;
    bool to_server = false;  ///< from the client to the server; else the reverse
    std::uint16_t first_port = 0,
                  last_port = 0;  ///< host order; destinations of one connection each
    std::uint32_t timeout_ms = 0;
    std::uint8_t class_max = 0;  ///< pending at once, of one connection
    bool permanent = false;
};

/// A rate as RuleLimits counts it: the time between two items, and of how many it may be ahead.
struct RuleRate {
    static constexpr std::uint64_t kUnitsPerMs = 31'250;  ///< 32 ns each
    std::uint64_t cost = 0;                               ///< of an item; 0: no limit
    std::uint64_t most = 0;                               ///< of the burst

    constexpr explicit operator bool() const noexcept { return cost != 0; }
};

/// What a rule accepts at most. 0: no limit.
struct RuleLimit {
    RuleRate connections, source_connections;  ///< begun
    RuleRate packets, source_packets;          ///< accepted without a connection
    std::uint32_t at_once = 0, source_at_once = 0;

    /// Whether running connections are counted, always for both.
    bool counts() const noexcept { return (at_once | source_at_once) != 0; }
    bool by_source() const noexcept { return source_connections || source_packets; }
};

/// The settings of connections that a rule accepts.
struct RuleEffect {
    std::uint32_t mark = 0, mark_mask = 0;  ///< bits in the mask are set to the value
    std::uint32_t label = 0, label_mask = 0;
    std::uint8_t timeouts = 0;  ///< index into TrackConfig::timeouts
    bool liberal = false;       ///< TCP windows are not enforced
    bool sloppy = false;        ///< states from the packets seen, see Conn::sloppy
    bool untracked = false;     ///< makes no connections: judges each packet
    LogRate log;                ///< of each worker
    std::uint16_t expects = 0;  ///< 0: none, else index in Plan::expects plus 1
    std::uint16_t limit = 0;    ///< the same in Plan::limits
    static constexpr std::uint32_t set(std::uint32_t old, std::uint32_t value,
                                       std::uint32_t mask) noexcept {
        return (old & ~mask) | value;
    }
};

/// What is logged besides the records of rules (RuleEffect::log). Rates of each worker.
struct LogPlan {
    bool drops = false;  ///< a dropped packet may have to be logged
    LogRate of_default;
    std::array<LogRate, kDropReasons> of_reasons{};
};

/// A set of addresses, whose contents outlive the plan. Control only: the policy has its own
/// reference.
struct SetPlan {
    std::string name;
    std::uint32_t max = 0;
    std::uint32_t timeout_s = 0;  ///< of entries that name none; 0: for ever
    std::shared_ptr<LiveSet> set;
};
/// Sets by name.
using KnownSets = std::map<std::string, std::shared_ptr<LiveSet>, std::less<>>;

/// The name that lists, logs and metrics give to the default; no rule has it.
inline constexpr std::string_view kDefaultRule = "default";

/// Copies share large parts: policy, prefixes, helpers.
struct Plan {
    std::vector<PortPlan> ports;
    bool some_without_peer = false;   ///< some of the ports are in no bridge
    std::vector<HelperPlan> helpers;  ///< by HelperId - 1; without a name: no helper has this id
    std::shared_ptr<const HelperInstances> helper_instances;  ///< for the workers' engines
    HelperPorts helper_ports;
    std::vector<std::string> rules;   ///< names, by RuleId; empty: no rule has this number
    std::vector<RuleEffect> effects;  ///< by RuleId
    /// The rules as the file has them, for display.
    struct RuleLine {
        RuleId id;
        PolicyAction action;
        bool in_force = true;  ///< by its schedule
    };
    std::vector<RuleLine> rule_lines;
    PolicyAction fallback = PolicyAction::drop;
    std::vector<RuleExpect> expects;
    std::vector<RuleLimit> limits;
    LogPlan log;
    Edges edges;
    std::shared_ptr<const ZonePrefixes> zone_prefixes;  ///< null: no zone has any
    std::vector<std::string> timeout_names;             ///< of TrackConfig::timeouts from [1] on
    std::shared_ptr<const Policy> policy;
    std::vector<SetPlan> sets;  ///< in the file's order
    TrackConfig track;
    /// A rule is sloppy or untracked: policy also judges packets that can begin no connection.
    bool asks_about_all = false;
    bool believe_checksums = false;  ///< all count as right: for captures, see replay
    std::vector<const StageDesc*> stages;
    Names names;           ///< with the numbers above, and the removed ones
    unsigned workers = 1;  ///< number for which it is made
    /// Version; each published plan has a higher one. See PlanStore.
    std::uint64_t version = 0;
    /// Bit h: helper h may be assigned to connections, and stay assigned. Bit 0 is always set.
    std::uint64_t helpers_in_service = 1;

    /// Connections may hold names that this plan lacks: each worker sweeps its own.
    bool sweep = false;
    /// The sweep also asks `policy` again about each connection, and ends what it refuses.
    bool recheck = false;

    /// Interval of reports of a child's activity to its master: well below the timeout of a silent
    /// control connection, over TCP or UDP.
    std::uint32_t visit_ms = 60'000;

    // Names for display; empty: there is none, or not any more.
    const std::string& rule_name(RuleId id) const noexcept {
        return at_or_none(rules, id.number());
    }
    /// Of a rule of this plan.
    const RuleEffect& effect(RuleId id) const noexcept { return effects[id.number()]; }
    /// Its limit; null: none. `id` may be of another plan, or kNoRule.
    const RuleLimit* limit_of(RuleId id) const noexcept {
        if (id.number() >= effects.size() || effects[id.number()].limit == 0) return nullptr;
        return &limits[effects[id.number()].limit - 1u];
    }
    const std::string& helper_name(HelperId id) const noexcept {
        return id != kNoHelper && id <= helpers.size() ? helpers[id - 1u].name : none();
    }
    /// Of a profile; 0 is the default, which has no name.
    const std::string& timeouts_name(unsigned profile) const noexcept {
        return profile == 0 ? none() : at_or_none(timeout_names, profile - 1);
    }

    /// Null: there is no set of this name.
    const SetPlan* find_set(std::string_view name) const noexcept {
        for (const SetPlan& s : sets)
            if (s.name == name) return &s;
        return nullptr;
    }

    bool serves(HelperId helper) const noexcept { return (helpers_in_service >> helper & 1) != 0; }

  private:
    static const std::string& none() noexcept;
    static const std::string& at_or_none(const std::vector<std::string>& names,
                                         std::size_t i) noexcept {
        return i < names.size() ? names[i] : none();
    }
};

}  // namespace postern
