// SPDX-License-Identifier: BSD-3-Clause
#include "firewall.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "build_policy.h"
#include "helper/registry.h"
#include "stages/stages.h"

namespace postern {
namespace {

static_assert(kMaxTimeoutNames + 1 <= kMaxTimeoutProfiles);

/// A part of the table that new connections may not take: children that a helper expects get in.
std::uint32_t reserve_of(std::uint32_t connections) {
    return connections / 64;
}

/// How often a child's activity is told to its master: well within the time that a silent control
/// connection has, be it TCP or UDP.
std::uint32_t visit_ms_of(const Timeouts& t) {
    const std::uint32_t shortest =
        std::min(t.tcp_ms[static_cast<unsigned>(TcpState::established)], t.udp_ms[1]);
    return std::clamp(shortest / 4, 250u, 60'000u);
}

Timeouts timeouts_of(const TimeoutsSpec& spec) {
    Timeouts t = Timeouts::linux_profile();
    const auto set = [](auto& by_state, auto state, std::uint32_t seconds) {
        by_state[static_cast<unsigned>(state)] = seconds * 1000;
    };
    set(t.tcp_ms, TcpState::syn_sent, spec.tcp.syn_sent_s);
    set(t.tcp_ms, TcpState::syn_recv, spec.tcp.syn_recv_s);
    set(t.tcp_ms, TcpState::established, spec.tcp.established_s);
    set(t.tcp_ms, TcpState::fin_wait, spec.tcp.fin_wait_s);
    set(t.tcp_ms, TcpState::close_wait, spec.tcp.close_wait_s);
    set(t.tcp_ms, TcpState::last_ack, spec.tcp.last_ack_s);
    set(t.tcp_ms, TcpState::time_wait, spec.tcp.time_wait_s);
    set(t.tcp_ms, TcpState::close, spec.tcp.close_s);
    set(t.tcp_ms, TcpState::syn_sent2, spec.tcp.syn_sent2_s);
    set(t.sctp_ms, SctpState::none, spec.sctp.closed_s);
    set(t.sctp_ms, SctpState::closed, spec.sctp.closed_s);
    set(t.sctp_ms, SctpState::cookie_wait, spec.sctp.cookie_wait_s);
    set(t.sctp_ms, SctpState::cookie_echoed, spec.sctp.cookie_echoed_s);
    set(t.sctp_ms, SctpState::established, spec.sctp.established_s);
    set(t.sctp_ms, SctpState::shutdown_sent, spec.sctp.shutdown_sent_s);
    set(t.sctp_ms, SctpState::shutdown_recd, spec.sctp.shutdown_recd_s);
    set(t.sctp_ms, SctpState::shutdown_ack_sent, spec.sctp.shutdown_ack_sent_s);
    set(t.sctp_ms, SctpState::heartbeat_sent, spec.sctp.heartbeat_sent_s);
    set(t.dccp_ms, DccpState::none, spec.dccp.request_s);
    set(t.dccp_ms, DccpState::request, spec.dccp.request_s);
    set(t.dccp_ms, DccpState::respond, spec.dccp.respond_s);
    set(t.dccp_ms, DccpState::partopen, spec.dccp.partopen_s);
    set(t.dccp_ms, DccpState::open, spec.dccp.open_s);
    set(t.dccp_ms, DccpState::closereq, spec.dccp.closereq_s);
    set(t.dccp_ms, DccpState::closing, spec.dccp.closing_s);
    set(t.dccp_ms, DccpState::timewait, spec.dccp.timewait_s);
    t.tcp_unacknowledged_ms = spec.tcp.unacknowledged_s * 1000;
    t.tcp_retransmitted_ms = spec.tcp.retransmitted_s * 1000;
    t.udp_ms[0] = spec.udp.unreplied_s * 1000;
    t.udp_ms[1] = spec.udp.stream_s * 1000;
    t.gre_ms[0] = spec.gre_unreplied_s * 1000;
    t.gre_ms[1] = spec.gre_stream_s * 1000;
    t.gre_expected_ms[0] = spec.gre_expected_unreplied_s * 1000;
    t.gre_expected_ms[1] = spec.gre_expected_stream_s * 1000;
    t.icmp_ms = spec.icmp_request_s * 1000;
    t.icmpv6_ms = spec.icmpv6_request_s * 1000;
    t.generic_ms = spec.generic_s * 1000;
    return t;
}

std::vector<PortPlan> ports_of(const Spec& spec) {
    std::vector<PortPlan> out;
    for (const PortSpec& p : spec.ports) {
        PortPlan plan;
        plan.name = p.name;
        plan.zone = plan.beyond = p.zone;
        plan.checksums = static_cast<Checksums>(p.checksums);
        out.push_back(plan);
    }
    for (std::size_t b = 0; b < spec.bridges.size(); ++b) {
        const BridgeSpec& bridge = spec.bridges[b];
        for (int side = 0; side < 2; ++side) {
            PortPlan& p = out[bridge.ports[side]];
            p.has_peer = true;
            p.peer = bridge.ports[1 - side];
            p.beyond = out[p.peer].zone;
            p.ct_zone = bridge.ct_zone;
            p.vlan_zones = bridge.vlan_zones;
            p.pass_all_non_ip = bridge.pass.all_non_ip;
            p.pass_llc = bridge.pass.llc;
            p.pass_nd = bridge.pass.neighbour_discovery;
            p.pass_ethertypes = bridge.pass.ethertypes;
        }
    }
    return out;
}

std::vector<std::uint8_t> protocols_of(const HelperDesc& desc) {
    std::vector<std::uint8_t> out;
    for (const std::uint8_t p : {proto::tcp, proto::udp})
        if ((desc.transports & transport::of(p)) != 0) out.push_back(p);
    return out;
}

std::string param_text(const ParamValue& value) {
    if (const auto* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
    if (const auto* n = std::get_if<std::uint64_t>(&value)) return std::to_string(*n);
    return std::get<std::string>(value);
}

/// The helpers of `spec` as the framework takes them, and those it needs besides: these are added
/// to `spec`, too, and where a rule means what a helper expects it means what its children expect.
Result<std::unique_ptr<const HelperSet>> add_helpers(
    Spec& spec, ScannerCache* cache, std::vector<std::unique_ptr<DeclaredHelper>>& declared) {
    std::vector<HelperConfig> configs;
    for (std::size_t i = 0; i < spec.helpers.size(); ++i) {
        const HelperSpec& h = spec.helpers[i];
        HelperConfig& c = configs.emplace_back();
        c.id = static_cast<HelperId>(i + 1);
        c.name = h.name;
        c.desc = h.userspace ? &declared.emplace_back(std::make_unique<DeclaredHelper>(h))->desc()
                             : find_helper(h.kind);
        for (const auto& p : h.params)
            c.params.emplace_back(p.name, param_text(p.value));
    }
    const std::size_t configured = configs.size();
    if (auto added = add_children(configs, find_helper); !added) return added.error();
    for (std::size_t i = configured; i < configs.size(); ++i) {
        HelperSpec& h = spec.helpers.emplace_back();
        h.name = configs[i].name;
        h.kind = configs[i].desc->name;
        h.protocols = protocols_of(*configs[i].desc);
    }
    auto set = HelperSet::create(configs, cache);
    if (!set) return set;
    for (RuleSpec& rule : spec.policy.rules)
        for (std::size_t i = 0; i < rule.related.size(); ++i)  // it grows
            for (const HelperId child : (*set.value())[rule.related[i]].children)
                if (child > configured &&
                    std::count(rule.related.begin(), rule.related.end(), child) == 0)
                    rule.related.push_back(child);
    return set;
}

std::vector<HelperPlan> helper_plans_of(const Spec& spec, const HelperSet& set) {
    std::vector<HelperPlan> out;
    for (const HelperSpec& h : spec.helpers) {
        const HelperDesc* desc = set[static_cast<HelperId>(out.size() + 1)].desc;
        HelperPlan& p = out.emplace_back();
        p.name = h.name;
        p.transports = desc->transports;
        p.ports = h.ports;
        for (const auto& c : desc->classes)
            p.classes.push_back({std::string(c.name), static_cast<std::uint8_t>(c.max_expected),
                                 c.timeout_s * 1000});
    }
    return out;
}

/// Why this is no value of the parameter; empty when it is one.
std::string problem_of(const ParamDesc& desc, const std::string& text) {
    GuardPolicy unused;
    if (desc.name == kDenyPortsParam.name)
        if (const auto read = parse_deny_ports(text, unused); !read) return read.error().message;
    const auto read = parse_param(desc, text);
    return read ? std::string() : read.error().message;
}

/// `params` outlives the schema.
std::vector<ParamSchema> param_schema(std::span<const ParamDesc> params) {
    std::vector<ParamSchema> all;
    for (const ParamDesc& p : params) {
        ParamSchema& out = all.emplace_back();
        out.name = p.name;
        switch (p.type) {
            case ParamType::boolean: out.fallback = p.default_text == "true"; break;
            case ParamType::uint:
                out.fallback =
                    std::uint64_t{std::strtoull(std::string(p.default_text).c_str(), nullptr, 10)};
                out.max = p.max;
                break;
            case ParamType::networks:
            case ParamType::ports:
            case ParamType::text:
                out.fallback = std::string(p.default_text);
                out.problem = [&p](const std::string& text) { return problem_of(p, text); };
                break;
        }
    }
    return all;
}

/// Their names are of this build.
std::vector<const StageDesc*> stages_of(const std::vector<std::string>& names) {
    std::vector<const StageDesc*> stages;
    for (const auto& name : names)
        stages.push_back(find_stage(name));
    return stages;
}

}  // namespace

Schema build_schema() {
    Schema schema;
    for (const HelperDesc* desc : all_helpers()) {
        HelperSchema& h = schema.helpers.emplace_back();
        h.name = desc->name;
        h.protocols = protocols_of(*desc);
        h.children.assign(desc->children.begin(), desc->children.end());
        h.ports.assign(desc->default_ports.begin(), desc->default_ports.end());
        h.params = param_schema(desc->params);
    }
    schema.userspace_params = param_schema(DeclaredHelper::params());
    for (const StageDesc* s : all_stages())
        schema.stages.emplace_back(s->name);
    schema.default_pipeline = schema.stages;
    schema.order_problem = [](const std::vector<std::string>& names) -> Schema::OrderAnswer {
        const auto wrong = order_problem(stages_of(names));
        if (!wrong) return std::nullopt;
        return std::pair{wrong->at, wrong->text};
    };
    return schema;
}

void Firewall::FreeAligned::operator()(void* p) const noexcept {
    std::free(p);
}

Result<std::unique_ptr<Firewall>> Firewall::build(const Spec& configured,
                                                  const FirewallOptions& options) {
    std::unique_ptr<Firewall> fw(new Firewall);
    Spec spec = configured;
    auto set = add_helpers(spec, options.scanner_cache, fw->declared_);
    if (!set) return set.error();
    fw->helpers_ = std::move(set.value());

    const unsigned n = options.workers;
    const unsigned readers = n + 1;

    const std::size_t rcu_bytes = rte_rcu_qsbr_get_memsize(readers);
    fw->rcu_.reset(static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, (rcu_bytes + 63) / 64 * 64)));
    if (!fw->rcu_ || rte_rcu_qsbr_init(fw->rcu_.get(), readers) != 0)
        return Error{"no memory for the RCU variable"};
    for (unsigned i = 0; i < readers; ++i)
        rte_rcu_qsbr_thread_register(fw->rcu_.get(), i);

    Plan& plan = fw->plan_;
    plan.ports = ports_of(spec);
    plan.zones = spec.zones;
    for (const auto& r : spec.policy.rules) {
        plan.rules.push_back(r.name);
        plan.effects.push_back({.mark = r.set.mark,
                                .mark_mask = r.set.mark_mask,
                                .label = r.set.label,
                                .label_mask = r.set.label_mask,
                                .timeouts = r.timeouts,
                                .liberal = r.liberal});
        if (!r.expect) continue;
        plan.expects.push_back({.protocol = r.expect->protocol,
                                .to_server = r.expect->to_server,
                                .first_port = r.expect->dport.first,
                                .last_port = r.expect->dport.last,
                                .class_max = r.expect->max,
                                .permanent = r.expect->permanent,
                                .timeout_ms = r.expect->timeout_s * 1000});
        plan.effects.back().expects = static_cast<std::uint16_t>(plan.expects.size());
    }
    plan.helpers = helper_plans_of(spec, *fw->helpers_);
    for (std::size_t h = 0; h < spec.helpers.size(); ++h)
        for (const std::uint16_t port : spec.helpers[h].ports)
            for (const std::uint8_t protocol : spec.helpers[h].protocols)
                plan.helper_ports.add(
                    {port, protocol, static_cast<HelperId>(h + 1), spec.helpers[h].auto_assign});
    plan.track.timeouts[0] = timeouts_of(spec.timeouts);
    for (const TimeoutProfileSpec& profile : spec.timeout_profiles) {
        plan.timeout_names.push_back(profile.name);
        plan.track.timeouts[plan.timeout_names.size()] = timeouts_of(profile.timeouts);
    }
    plan.secret = options.secret;
    plan.set_workers(n);
    plan.stages = stages_of(spec.pipeline);
    if (const auto wrong = order_problem(plan.stages)) return Error{"pipeline: " + wrong->text};
    auto policy = build_policy(spec);
    if (!policy) return policy.error();
    plan.policy = std::move(policy.value());

    ExpectConfig ec;
    ec.owners = readers;
    // A worker may file all of them; what has ended waits a grace period for reuse.
    ec.per_owner = spec.limits.expectations + spec.limits.expectations / 4 + 64;
    ec.max_live = spec.limits.expectations;
    ec.max_per_zone = spec.limits.expectations_per_zone;
    ec.zone_limits = spec.limits.expectations_of_zones;
    ec.max_per_host = spec.limits.expectations_per_source;
    ec.max_per_destination = spec.limits.expectations_per_destination;
    ec.event_ring = options.expect_events;
    ec.secret = options.secret;
    ec.start = options.start;
    ec.rcu = fw->rcu_.get();
    auto table = ExpectTable::create(ec);
    if (!table) return table.error();
    fw->expectations_ = std::move(table.value());

    if (auto remote = userspace_helpers_of(spec); !remote.empty())
        fw->userspace_ =
            std::make_unique<UserspaceLink>(std::move(remote), n, spec.limits.stream_buffer_bytes);

    static std::atomic<unsigned> serial{0};
    Worker::Parts parts;
    const Error no_rings{"no memory for the rings between workers"};
    for (unsigned i = 0; i < n; ++i) {
        const std::string name = "home_" + std::to_string(serial.fetch_add(1));
        rte_ring* endings =
            rte_ring_create_elem(("endings_" + name).c_str(), sizeof(EndChild),
                                 options.activity_ring, SOCKET_ID_ANY, RING_F_SC_DEQ);
        if (endings == nullptr) return no_rings;
        fw->message_rings_.push_back(endings);
        parts.endings[i] = endings;
        if (n == 1) break;
        rte_ring* ring =
            rte_ring_create(name.c_str(), options.handoff_ring, SOCKET_ID_ANY, RING_F_SC_DEQ);
        if (ring == nullptr) return no_rings;
        fw->rings_.push_back(ring);
        parts.handoff[i] = ring;
        rte_ring* activity = rte_ring_create(("activity_" + name).c_str(), options.activity_ring,
                                             SOCKET_ID_ANY, RING_F_SC_DEQ);
        if (activity == nullptr) return no_rings;
        fw->message_rings_.push_back(activity);
        parts.activity[i] = activity;
    }
    std::uint32_t visit_ms = visit_ms_of(plan.track.timeouts[0]);
    for (std::size_t p = 1; p <= spec.timeout_profiles.size(); ++p)
        visit_ms = std::min(visit_ms, visit_ms_of(plan.track.timeouts[p]));
    auto share = [n](std::uint32_t total) { return (total + n - 1) / n; };
    for (unsigned i = 0; i < n; ++i) {
        Worker::Parts p;
        p.id = static_cast<WorkerId>(i);
        p.plan = &plan;
        p.handoff = parts.handoff;
        p.activity = parts.activity;
        p.endings = parts.endings;
        p.removed_helpers = &fw->removed_helpers_;
        p.event_ring = options.conn_events;
        ConnTable::Config cc;
        cc.worker = p.id;
        // Hashing spreads connections well, not perfectly.
        cc.max_connections = n == 1 ? spec.limits.connections
                                    : share(spec.limits.connections) + spec.limits.connections / 64;
        cc.expected_reserve = reserve_of(cc.max_connections);
        cc.visit_ms = visit_ms;
        cc.secret = &plan.secret;
        cc.start = options.start;
        p.source_limits = {share(spec.limits.half_open_per_source),
                           share(spec.limits.new_per_second_per_source)};
        for (std::size_t z = 0; z < spec.limits.per_zone.size(); ++z)
            p.zone_limits[z] = share(spec.limits.per_zone[z]);
        auto conns = ConnTable::create(cc);
        if (!conns) return conns.error();
        p.conns = std::move(conns.value());
        p.expectations = fw->expectations_.get();
        p.expect = &fw->expectations_->owner(static_cast<OwnerId>(i));
        EngineLimits limits;
        limits.max_conns = share(spec.limits.helped_connections);
        limits.max_buffers = std::max(64u, limits.max_conns / 4);
        limits.buffer_bytes = spec.limits.stream_buffer_bytes;
        auto engine = HelperEngine::create(*fw->helpers_, limits);
        if (!engine) return engine.error();
        p.helpers = std::move(engine.value());
        auto reassembly = Reassembly::create({share(spec.limits.fragments), &plan.secret});
        if (!reassembly) return reassembly.error();
        p.reassembly = std::move(reassembly.value());
        if (fw->userspace_)
            p.userspace =
                std::make_unique<UserspaceDesk>(*fw->userspace_, p.id, p.helpers->capacity());
        fw->workers_.push_back(std::make_unique<Worker>(std::move(p)));
    }
    return fw;
}

bool Firewall::is_gone(HelperId id) const noexcept {
    return std::all_of(workers_.begin(), workers_.end(),
                       [id](const auto& w) { return (w->helpers_gone() >> id & 1) != 0; });
}

Firewall::~Firewall() {
    workers_.clear();
    for (rte_ring* r : rings_) {
        void* m;
        while (rte_ring_dequeue(r, &m) == 0)
            rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
        rte_ring_free(r);
    }
    for (rte_ring* r : message_rings_)
        rte_ring_free(r);
}

}  // namespace postern
