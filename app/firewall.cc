// SPDX-License-Identifier: BSD-3-Clause
#include "firewall.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <rte_rcu_qsbr.h>

#include "helper/registry.h"
#include "plan/compile.h"
#include "stages/stages.h"

namespace postern {
namespace {

constexpr std::uint32_t kMinUnproven = 16;  ///< slots of a worker for unproven connections

/// A part of the table reserved for children that a helper expects.
std::uint32_t reserve_of(std::uint32_t connections) {
    return connections / 64;
}

/// The error of the parameter's value; empty if it is valid.
std::string problem_of(const ParamDesc& desc, const std::string& text) {
    GuardPolicy unused;
    if (desc.name == kDenyPortsParam.name)
        if (const auto read = parse_deny_ports(text, unused); !read) return read.error().message;
    if (desc.name == kDenyServicesParam.name)
        if (const auto read = parse_deny_services(text, unused); !read) return read.error().message;
    const auto read = parse_param(desc, text);
    return read ? std::string() : read.error().message;
}

/// `params` outlives the schema.
std::vector<ParamSchema> param_schema(std::span<const ParamDesc> params) {
    std::vector<ParamSchema> all;
    for (const ParamDesc& p : params) {
        ParamSchema& out = all.emplace_back();
        out.name = p.name;
        out.help = p.help;
        if (p.type == ParamType::networks) out.type = "networks";
        if (p.type == ParamType::ports) out.type = "range of ports";
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

/// Of this build.
Catalogue catalogue() {
    return {find_helper, find_stage,
            [](const std::vector<const StageDesc*>& stages) -> std::optional<std::string> {
                const auto wrong = order_problem(stages);
                return wrong ? std::optional(wrong->text) : std::nullopt;
            }};
}

std::int64_t system_seconds() {
    using namespace std::chrono;
    return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
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

Result<std::unique_ptr<Firewall>> Firewall::build(const Spec& spec,
                                                  const FirewallOptions& options) {
    std::unique_ptr<Firewall> fw(new Firewall);
    const unsigned n = options.workers;
    const unsigned readers = n + 1;

    const std::size_t rcu_bytes = rte_rcu_qsbr_get_memsize(readers);
    fw->rcu_.reset(static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, (rcu_bytes + 63) / 64 * 64)));
    if (!fw->rcu_ || rte_rcu_qsbr_init(fw->rcu_.get(), readers) != 0)
        return Error{"no memory for the RCU variable"};
    for (unsigned i = 0; i < readers; ++i)
        rte_rcu_qsbr_thread_register(fw->rcu_.get(), i);

    fw->wall_s_ = options.wall_s ? options.wall_s : system_seconds;
    fw->set_shared_ = std::make_shared<SetShared>();
    fw->set_shared_->rcu = fw->rcu_.get();
    fw->set_shared_->secret = options.secret;
    fw->set_shared_->clock.advance(options.start);
    auto compiled = compile(spec, {}, catalogue(),
                            {.workers = options.workers,
                             .believe_checksums = options.believe_checksums,
                             .scanner_cache = options.scanner_cache,
                             .times = options.times,
                             .wall_s = fw->wall_s_(),
                             .set_shared = fw->set_shared_});
    if (!compiled) return compiled.error();
    fw->remember_sets(*compiled);
    fw->plans_ = std::make_unique<PlanStore>(fw->rcu_.get(), std::move(compiled.value()));
    const Plan& plan = fw->plan();
    Steering& steering = fw->steering_;
    steering.secret = options.secret;
    steering.set_workers(n);
    steering.rss = SymmetricRss::draw(options.rss_seed);
    fw->steer_ = spec.workers.steer;
    fw->set_devices_steer(false);

    auto share = [n](std::uint32_t total) { return (total + n - 1) / n; };
    // Unproven connections have slots of their own, and as many expectations each as one message
    // announces.
    const std::uint32_t helped = share(spec.limits.helped_connections);
    const std::uint32_t unproven = std::max(kMinUnproven, helped / 4);
    const std::uint32_t announced = unproven * MasterExpectations::kMaxUnproven;
    ExpectConfig ec;
    ec.owners = readers;
    // One worker may file all of them; ended ones wait a grace period for reuse.
    ec.per_owner = spec.limits.expectations + spec.limits.expectations / 4 + 64 + announced;
    ec.max_unproven = announced * n;
    ec.max_live = spec.limits.expectations;
    ec.max_per_zone = spec.limits.expectations_per.ct_zone;
    ec.zone_limits = spec.limits.expectations_per.of_ct_zones;
    ec.max_per_host = spec.limits.expectations_per.source;
    ec.max_per_server = spec.limits.expectations_per.server;
    ec.max_per_security_zone = spec.limits.expectations_per.security_zone;
    ec.max_per_destination = spec.limits.expectations_per.destination;
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

    auto rings = PeerRings::create(n, options.handoff_ring, options.activity_ring);
    if (!rings) return rings.error();
    fw->rings_ = std::move(rings.value());
    auto book = RuleBook::create(n);
    if (!book) return book.error();
    fw->rule_book_ = std::make_unique<RuleBook>(std::move(*book));
    fw->rule_book_->prepare(plan.names.rules);
    fw->taps_ = std::make_unique<TapStore>(fw->rcu_.get(), n);
    auto rule_limits = RuleLimits::create(options.secret);
    if (!rule_limits) return rule_limits.error();
    fw->rule_limits_ = std::move(*rule_limits);
    fw->rule_limits_->prepare(plan);
    for (unsigned i = 0; i < n; ++i) {
        Worker::Parts p;
        p.id = WorkerId::from(i);
        p.plans = fw->plans_.get();
        p.steering = &steering;
        p.rings = fw->rings_.get();
        p.rule_sums = &fw->rule_book_->of_worker(i);
        p.taps = fw->taps_.get();
        p.event_ring = options.conn_events;
        p.record_ring = options.packet_records;
        ConnTable::Config cc;
        cc.worker = p.id;
        // Hashing distributes connections well, not perfectly.
        cc.max_connections = n == 1 ? spec.limits.connections
                                    : share(spec.limits.connections) + spec.limits.connections / 64;
        cc.expected_reserve = reserve_of(cc.max_connections);
        // Only GRE calls need them; a small table must not run out of them first.
        cc.second_keys = std::min(cc.max_connections, cc.max_connections / 8 + 1024);
        cc.visit_ms = plan.visit_ms;
        cc.secret = &steering.secret;
        cc.start = options.start;
        p.limits.sources = {share(spec.limits.half_open_per_source),
                            share(spec.limits.new_per_second_per_source)};
        p.limits.answers = {share(spec.limits.answers_per_second),
                            share(spec.limits.answers_per_second_per_source)};
        p.limits.new_per_second = spec.limits.new_per_second_per_worker;
        p.limits.rules = fw->rule_limits_.get();
        p.limits.start = options.start;
        for (std::size_t z = 0; z < spec.limits.per_zone.size(); ++z)
            p.limits.per_zone[z] = share(spec.limits.per_zone[z]);
        auto conns = ConnTable::create(cc);
        if (!conns) return conns.error();
        p.conns = std::move(conns.value());
        p.expectations = fw->expectations_.get();
        p.expect = &fw->expectations_->owner(static_cast<OwnerId>(i));
        EngineLimits limits;
        limits.max_conns = helped;
        limits.unproven_conns = unproven;
        limits.secret = options.secret;
        limits.max_buffers = std::max(64u, limits.max_conns / 4);
        limits.buffer_bytes = spec.limits.stream_buffer_bytes;
        auto engine = HelperEngine::create(fw->helpers(), limits);
        if (!engine) return engine.error();
        p.helpers = std::move(engine.value());
        auto reassembly =
            Reassembly::create({share(spec.limits.fragments), &steering.secret, &plan.edges});
        if (!reassembly) return reassembly.error();
        p.reassembly = std::move(reassembly.value());
        p.userspace = fw->userspace_.get();
        fw->workers_.push_back(std::make_unique<Worker>(std::move(p)));
    }
    if (options.times != nullptr) options.times->end_of("tables");
    return fw;
}

void Firewall::set_devices_steer(bool they_do, std::span<const std::uint16_t> reta,
                                 bool sctp_ports) noexcept {
    steering_.rss.sctp_ports = sctp_ports;
    steering_.by_rss =
        steering_.workers > 1 && (steer_ == Steer::rss || (steer_ == Steer::automatic && they_do));
    if (steering_.by_rss && reta.size() == steering_.reta.size())
        std::ranges::transform(reta, steering_.reta.begin(),
                               [](std::uint16_t w) { return WorkerId::from(w); });
}

Names Firewall::next_names() {
    Names names = plan().names;
    if (!names.has_gone() || *names_holds_ != 0) return names;
    std::uint64_t swept = UINT64_MAX;
    for (const auto& w : workers_)
        swept = std::min(swept, w->sweep().swept());
    // Connections hold none of them any more, and file no expectations with them. Existing
    // expectations are checked after that.
    std::set<RuleId> rules;
    std::uint64_t helpers = 0, edges = 0;  // a bit each
    const auto hold = [](std::uint64_t& set, unsigned number) {
        if (number < 64) set |= std::uint64_t{1} << number;
    };
    rte_rcu_qsbr_thread_online(rcu(), control_reader());
    std::uint32_t cursor = 0;
    while (expectations_->walk(cursor, 4096, [&](const ExpectInfo& e) {
        rules.insert(e.rule);
        hold(helpers, e.helper);
        hold(helpers, e.child_helper);
        hold(edges, e.from_side.number());
        hold(edges, e.to_side.number());
    }))
        rte_rcu_qsbr_quiescent(rcu(), control_reader());
    rte_rcu_qsbr_thread_offline(rcu(), control_reader());
    using Number = NameTable::Number;
    names.rules.free_gone(swept, [&](Number n) { return rules.contains(RuleId{n}); });
    names.helpers.free_gone(swept, [&](Number n) { return (helpers >> n & 1) != 0; });
    names.edges.free_gone(swept, [&](Number n) { return (edges >> n & 1) != 0; });
    names.timeouts.free_gone(swept, [](Number) { return false; });
    names.sides.free_gone(swept, [](Number) { return false; });
    return names;
}

Firewall::PlanBasis Firewall::plan_basis() {
    return {.names = next_names(),
            .helpers = plan().helper_instances,
            .workers = workers(),
            .believe_checksums = plan().believe_checksums,
            .max_message = worker(0).helpers().max_message(),
            .helpers_in_service = plan().helpers_in_service,
            .names_version = names_version_,
            .wall_s = wall_s_(),
            .sets = sets_,
            .set_shared = set_shared_};
}

Result<Plan> Firewall::compile_plan(const Spec& spec, const PlanBasis& basis, Spec* as_compiled) {
    auto compiled = compile(spec, basis.names, catalogue(),
                            {.previous_helpers = basis.helpers,
                             .workers = basis.workers,
                             .believe_checksums = basis.believe_checksums,
                             .as_compiled = as_compiled,
                             .wall_s = basis.wall_s,
                             .sets = basis.sets,
                             .set_shared = basis.set_shared});
    if (!compiled) return compiled;
    const HelperSet& set = compiled.value().helper_instances->set();
    for (unsigned id = 1; id < kMaxHelpers; ++id) {
        const HelperInstance* instance = set.find(static_cast<HelperId>(id));
        if (instance != nullptr && instance->desc->longest_message > basis.max_message)
            return Error{"helper " + instance->name +
                         ": buffers for its messages are set aside at start only"};
    }
    return compiled;
}

bool Firewall::publish_compiled(Plan next, const PlanBasis& basis) {
    if (basis.names_version != names_version_) return false;
    // Its number is still its own: names keep theirs from the basis to the next plan.
    const std::uint64_t removed = basis.helpers_in_service & ~plan().helpers_in_service;
    next.helpers_in_service &= ~removed;
    next.sweep |= removed != 0;
    publish_plan(std::move(next));
    return true;
}

Result<std::vector<std::size_t>> Firewall::follow_schedules(const Spec& spec) {
    // They change at whole minutes, also when the clock is set.
    const std::int64_t minute = wall_s_() / 60;
    std::vector<std::size_t> changed;
    if (minute == followed_min_) return changed;
    const std::vector<bool> in_force = rules_in_force(spec, wall_s_());
    const auto& lines = plan().rule_lines;
    for (std::size_t i = 0; i < in_force.size() && i < lines.size(); ++i)
        if (lines[i].in_force != in_force[i]) changed.push_back(i);
    if (!changed.empty()) {
        const PlanBasis basis = plan_basis();
        auto compiled = compile_plan(spec, basis);
        if (!compiled) return compiled.error();
        // Other rules, and nothing else: a helper that was removed does not come back.
        compiled->helpers_in_service &= plan().helpers_in_service;
        (void)publish_compiled(std::move(*compiled), basis);  // nothing came between
    }
    followed_min_ = minute;
    return changed;
}

Result<void> Firewall::replace_plan(const Spec& spec) {
    const PlanBasis basis = plan_basis();
    auto compiled = compile_plan(spec, basis);
    if (!compiled) return compiled.error();
    (void)publish_compiled(std::move(*compiled), basis);  // nothing came between
    return {};
}

void Firewall::publish_plan(Plan plan) {
    if (plan.helper_instances->set().picks_up())
        for (const auto& w : workers_)
            w->helping().prepare_known_flows();
    rule_book_->prepare(plan.names.rules);
    rule_limits_->prepare(plan);
    remember_sets(plan);
    // A plan that came into a recheck would end it: workers go by the plan in force.
    const bool unfinished = std::ranges::any_of(
        workers_, [&](const auto& w) { return w->sweep().swept() < recheck_version_; });
    plan.sweep |= unfinished;
    plan.recheck |= unfinished;
    plans_->publish(std::move(plan));
    if (this->plan().recheck) recheck_version_ = this->plan().version;
    names_version_ = this->plan().version;
    followed_min_ = -1;  // it may have been compiled before the present minute
}

void Firewall::remove_helper(HelperId id) {
    if (is_removed(id)) return;
    Plan next = plan();
    next.helpers_in_service &= ~(std::uint64_t{1} << id);
    next.sweep = true;
    next.recheck = false;  // that of the present plan may have ended long ago
    // Its names are those that a plan being compiled began with.
    const std::uint64_t names = names_version_;
    publish_plan(std::move(next));
    names_version_ = names;
    removed_by_[id] = plan().version;
}

void Firewall::recheck() {
    Plan next = plan();
    next.sweep = next.recheck = true;
    const std::uint64_t names = names_version_;
    publish_plan(std::move(next));
    names_version_ = names;
}

void Firewall::remember_sets(const Plan& plan) {
    for (const SetPlan& s : plan.sets)
        sets_[s.name] = s.set;
}

void Firewall::forget_former_sets() {
    std::erase_if(sets_, [&](const auto& known) { return !plan().find_set(known.first); });
}

void Firewall::tend_sets(Tick now) {
    constexpr std::size_t kLinesATurn = 1024;
    set_shared_->clock.advance(now);
    for (const auto& [name, set] : sets_) {
        (void)set->expire(kLinesATurn);
        set->collect();
    }
}

bool Firewall::is_gone(HelperId id) const noexcept {
    return is_removed(id) && std::ranges::all_of(workers_, [&](const auto& w) {
               return w->sweep().swept() >= removed_by_[id];
           });
}

Firewall::~Firewall() = default;

}  // namespace postern
