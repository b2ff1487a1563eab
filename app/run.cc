// SPDX-License-Identifier: BSD-3-Clause
#include "run.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <thread>

#include <grp.h>
#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_rcu_qsbr.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "base/wall_clock.h"
#include "commands/context.h"
#include "control/server.h"
#include "firewall.h"
#include "live_config.h"
#include "log/record_log.h"
#include "metric_sources.h"
#include "port/port_set.h"
#include "port_config.h"
#include "port_report.h"
#include "port_watch.h"
#include "save_stream.h"
#include "signals.h"
#include "state_saver.h"
#include "state_start.h"
#include "userspace/server.h"
#include "worker_loop.h"

namespace postern {
namespace {

constexpr int kRuntimeFailure = 1;
constexpr int kPollMs = 200;

struct WorkerJob {
    Firewall* firewall;
    PortSet* ports;
    WorkerId id;
    LoopConfig config;
    LoopStats* stats;
    const std::atomic<bool>* stop;
};

int worker_main(void* arg) {
    const auto& job = *static_cast<WorkerJob*>(arg);
    run_worker(*job.firewall, *job.ports, job.id, job.config, *job.stats, *job.stop);
    return 0;
}

void print_summary(Firewall& fw) {
    std::uint64_t rx = 0, tx = 0, dropped = 0, created = 0, expected = 0;
    for (unsigned w = 0; w < fw.workers(); ++w) {
        const WorkerCounters& c = fw.worker(w).counters();
        rx += c.rx_packets.get();
        tx += c.tx_packets.get();
        dropped += c.dropped.get();
        created += c.connections_created.get();
        expected += c.connections_expected.get();
    }
    std::printf(
        "summary: %lu packets in, %lu out, %lu dropped; %lu connections, of which %lu expected\n",
        rx, tx, dropped, created, expected);
    for (unsigned r = 1; r < kDropReasons; ++r) {
        std::uint64_t n = 0;
        for (unsigned w = 0; w < fw.workers(); ++w)
            n += fw.worker(w).counters().drops[r].get();
        if (n != 0)
            std::printf("  dropped %lu: %s\n", n, std::string(drop_reason_table()[r].name).c_str());
    }
    std::fflush(stdout);
}

int fail(const Error& error) {
    spdlog::error("{}", error.message);
    return kRuntimeFailure;
}

/// Control's regular work: its part of the expectation table's upkeep, replaced plans, and a log
/// line if a rule seems to lack its helper.
class ControlShare {
  public:
    explicit ControlShare(Firewall& fw) : fw_(fw) {}

    void turn(Tick now) {
        rte_rcu_qsbr_thread_online(fw_.rcu(), fw_.control_reader());
        fw_.expectations().owner(static_cast<OwnerId>(fw_.workers())).tick({now}, 4096);
        rte_rcu_qsbr_thread_offline(fw_.rcu(), fw_.control_reader());
        fw_.reclaim_plans();
        fw_.tend_sets(now);
        fw_.taps().turn(TapStore::Clock::now());
        look_at_rules(now);
        for (unsigned w = 0; w < fw_.workers() && !warned_; ++w) {
            if (fw_.worker(w).counters().helpers_not_assigned.get() == 0) continue;
            spdlog::warn(
                "a connection to a helper's port was accepted by a rule without `helper:`, so "
                "nothing watches it (`postern check` names the rule; `auto_assign: true` at the "
                "helper does without; counter helpers_not_assigned)");
            warned_ = true;
        }
    }

  private:
    /// Workers' times mean something for a few weeks only.
    void look_at_rules(Tick now) {
        if (std::chrono::steady_clock::now() < next_look_) return;
        next_look_ = std::chrono::steady_clock::now() + std::chrono::hours(1);
        fw_.rule_book().look_at_times(now, wall_ms());
    }

    Firewall& fw_;
    std::chrono::steady_clock::time_point next_look_;
    bool warned_ = false;
};

/// The saves of `state.save_every`, in bounded steps of control's turns.
class PeriodicSave {
  public:
    PeriodicSave(StateSaver saver, std::uint32_t every_s)
        : saver_(std::move(saver)), every_(every_s), next_(Clock::now() + every_) {}

    /// The time until it wants its next turn, at most `most` milliseconds.
    int wait_ms(int most) const { return saver_.in_progress() ? (waiting_ ? 1 : 0) : most; }
    void turn() {
        if (!saver_.in_progress()) {
            if (Clock::now() < next_) return;
            saver_.begin();
        }
        const StateSaver::Step step = saver_.step();
        waiting_ = step == StateSaver::Step::waiting;
        if (step != StateSaver::Step::saved && step != StateSaver::Step::failed) return;
        next_ = Clock::now() + every_;
        // Each failure is one more crash that would keep too little.
        if (step == StateSaver::Step::failed) spdlog::error("{}", saver_.error());
    }

  private:
    using Clock = std::chrono::steady_clock;
    StateSaver saver_;
    std::chrono::seconds every_;
    Clock::time_point next_;
    bool waiting_ = false;
};

/// The configured control sockets; an Error if the group does not exist.
Result<ControlOptions> control_options(const ControlSpec& spec) {
    ControlOptions options;
    options.audit = [](const std::string& command, const std::string& who) {
        spdlog::info("{} by {}", command, who);
    };
    options.path = spec.socket;
    options.read_path = spec.read_socket;
    constexpr mode_t kModes[] = {0600, 0660, 0666};  // by ReadAccess
    options.read_access.mode = kModes[static_cast<unsigned>(spec.read_access)];
    if (!spec.read_group.empty()) {
        // Control's thread, before any other one exists.
        const group* found = ::getgrnam(spec.read_group.c_str());
        if (found == nullptr)
            return Error{"control.read_group: there is no group \"" + spec.read_group + "\""};
        options.read_access.group = found->gr_gid;
    }
    return options;
}

/// The number in a file, which is replaced as a whole; 0 if there is none.
std::int64_t seconds_in(const std::string& file) {
    std::ifstream in(file);
    std::int64_t seconds = 0;
    in >> seconds;
    return in ? seconds : 0;
}

/// Everything between the start and the end of DPDK.
int serve(LiveConfig::Source source, ControlServer& control, Signals& signals, StartFile& start,
          const RunOptions& asked) {
    Spec spec = source.spec;
    FirewallOptions options;
    options.workers = spec.workers.count;
    options.secret = HashSecret::random();
    // Separate from the secret: a device shows its key to any program that queries it.
    options.rss_seed = HashSecret::random().words[0];
    options.expect_events = kExpectEvents;
    options.conn_events = kConnEvents;
    options.packet_records = kPacketRecords;
    if (!asked.clock.empty()) options.wall_s = [file = asked.clock] { return seconds_in(file); };
    StepTimes times = asked.times;
    times.end_of("DPDK");
    options.times = &times;
    ScannerCache cache(spec.scanner_cache);
    if (!spec.scanner_cache.empty()) options.scanner_cache = &cache;
    auto firewall = Firewall::build(spec, options);
    if (!firewall) return fail(firewall.error());
    release_set_entries(spec.sets);
    if (cache.hits() != 0)
        spdlog::info("compiled patterns of helpers taken from {}", spec.scanner_cache);
    for (const std::string& warning : cache.warnings())
        spdlog::warn("{}", warning);
    Firewall& fw = **firewall;
    auto requests = std::make_shared<WorkerRequests>(fw);
    auto restored = std::make_shared<RestoreSummary>();
    const auto restore = [&] {
        auto done = restore_at_start(fw, *requests, start, *restored);
        times.end_of("saved connections");
        return done;
    };
    // Before the ports are opened, unless they decide which worker a connection belongs to: then
    // packets wait in their queues meanwhile.
    if (!fw.devices_decide())
        if (auto r = restore(); !r) return fail(r.error());
    auto ports = PortSet::open(port_config(spec, fw));
    if (!ports) return fail(ports.error());
    times.end_of("ports");
    fw.set_devices_steer((*ports)->any_rss(), (*ports)->reta(), (*ports)->sctp_ports());
    if (fw.devices_decide())
        if (auto r = restore(); !r) return fail(r.error());
    // The workers' time begins when the tables are ready.
    const std::uint64_t start_tsc = rte_rdtsc();
    TscClock clock(start_tsc);
    std::unique_ptr<UserspaceServer> processes;
    if (fw.userspace() != nullptr) {
        auto opened = UserspaceServer::open(
            *fw.userspace(), {.now = [own = TscClock(start_tsc)]() mutable { return own.now(); },
                              .log = [](const std::string& line) { spdlog::info("{}", line); }});
        if (!opened) return fail(opened.error());
        processes = std::move(opened).value();
    }
    auto watch = PortWatch::create(**ports, spec);
    if (!watch) return fail(watch.error());
    auto history = ConfigHistory::open(spec.control.history);
    if (!history) return fail(history.error());
    const std::shared_ptr<ConnHub> hub = make_conn_hub(fw);
    RecordLog log(fw, hub, [&clock] { return clock.now(); });
    auto outputs = log.open(spec.log);
    if (!outputs) return fail(outputs.error());
    log.use(std::move(*outputs));
    LiveConfig config(fw, std::move(source), std::move(*history), &log);
    MetricRegistry metrics;
    CommandContext context(
        fw, [&clock] { return clock.now(); }, metrics, requests, restored, hub);
    add_metrics(metrics, {&fw, ports->get(), &*watch, processes.get(), &control,
                          context.restored.get(), &log});
    std::vector<LoopStats> loops(fw.workers());
    context.loops = &loops;
    context.max_expectations = spec.limits.expectations;
    context.max_fragments = spec.limits.fragments;
    context.watch = &*watch;
    context.processes = processes.get();
    context.log = &log;
    context.config = &config;
    context.asked_by = [&control] { return control.asked_by(); };
    for (Command& command : all_commands(context))
        control.register_command(std::move(command));

    std::atomic<bool> stop{false};
    bool asked_to_stop = false;
    const auto heed = [&] {
        switch (signals.next()) {
            case Signals::Wish::nothing: break;
            case Signals::Wish::stop: asked_to_stop = true; break;
            case Signals::Wish::summary: print_summary(fw); break;
            case Signals::Wish::reload: config.reload("SIGHUP"); break;
            case Signals::Wish::unknown: spdlog::info("SIGUSR2 means nothing here"); break;
        }
    };
    if (auto r = control.watch(signals.fd(), heed); !r) return fail(r.error());
    // Changes are checked after each poll.
    if (auto r = control.watch(watch->fd(), [] {}); !r) return fail(r.error());

    std::vector<WorkerJob> jobs;
    for (unsigned w = 0; w < fw.workers(); ++w)
        jobs.push_back(
            {&fw,
             ports->get(),
             WorkerId::from(w),
             {spec.workers.burst, spec.workers.idle.spins, spec.workers.idle.sleep_us, start_tsc},
             &loops[w],
             &stop});
    std::thread process_thread;
    if (processes) process_thread = std::thread([&] { processes->run(stop); });
    for (auto& job : jobs)
        rte_eal_remote_launch(worker_main, &job, job.id.number() + 1u);
    std::vector<int> nodes;
    for (unsigned w = 0; w < fw.workers(); ++w)
        nodes.push_back(static_cast<int>(rte_lcore_to_socket_id(w + 1)));
    for (unsigned p = 0; p < (*ports)->size(); ++p) {
        const auto i = (*ports)->info(PortId::from(p));
        const PortReport report = report_port(i, nodes);
        spdlog::info("{}", report.line);
        for (const std::string& warning : report.warnings)
            spdlog::warn("{}", warning);
        if (i.driver == std::string_view("net_af_packet"))
            spdlog::info(
                "port {}: refuses frames whose outer VLAN tag is of type 0x88a8: the driver would "
                "pass it on as 0x8100",
                i.name);
    }
    if (fw.workers() > 1) spdlog::info("steer: {}", fw.steering().by_rss ? "rss" : "keyed");
    times.end_of("the rest");
    spdlog::info("started in {}, of which {}", StepTimes::text_of(times.total()), times.longest());
    std::printf("postern: ready, %u workers, control socket %s\n", fw.workers(),
                control.path().c_str());
    std::fflush(stdout);

    ControlShare share(fw);
    std::optional<PeriodicSave> saves;
    if (!spec.state.file.empty() && spec.state.save_every_s != 0)
        saves.emplace(
            StateSaver(
                fw, context.query_owners, [&clock] { return clock.now(); }, spec.state.file),
            spec.state.save_every_s);
    bool records_wait = false;
    while (!asked_to_stop) {
        control.poll(records_wait ? 0 : saves ? saves->wait_ms(kPollMs) : kPollMs);
        if (saves) saves->turn();
        share.turn(clock.now());
        requests->poll();
        watch->turn();
        config.turn();
        records_wait = log.turn();
    }
    spdlog::info("stopping");
    saves.reset();
    stop.store(true, std::memory_order_relaxed);
    rte_eal_mp_wait_lcore();
    if (process_thread.joinable()) process_thread.join();
    log.take_rest();
    print_summary(fw);
    int code = 0;
    if (!spec.state.file.empty() && spec.state.save_on_stop) {
        if (auto saved = save_stopped(fw, clock.now(), spec.state.file); saved) {
            spdlog::info("saved {} connections and {} expectations to {}", saved->connections,
                         saved->expectations, spec.state.file);
        } else {
            code = fail(saved.error());
        }
    }
    (*ports)->workers_ended();
    // Their answers, and its listener, refer to the firewall.
    control.disconnect_all();
    log.use({});
    processes.reset();
    // Packets left in the rings between workers go back to the ports' mempool before it is freed.
    firewall->reset();
    return code;
}

}  // namespace

int run_daemon(LiveConfig::Source source, const RunOptions& asked) {
    const Spec& spec = source.spec;
    // Before any thread exists, so that signals are blocked in all of them.
    auto signals = Signals::take();
    if (!signals) return fail(signals.error());

    // First, so that a second daemon on the same path touches no port.
    auto options = control_options(spec.control);
    if (!options) return fail(options.error());
    auto control = ControlServer::open(*options);
    if (!control) return fail(control.error());

    // Before DPDK: the usual mistake is noticed at once.
    auto start = open_start_file(asked.restore, spec.state);
    if (!start) return fail(start.error());

    if (auto r = start_eal(eal_config(spec, asked.verbose)); !r) {
        const int code = fail(r.error());
        control->reset();  // removes the socket file
        // DPDK failed half-way, with threads of its own running; they do not survive an orderly
        // exit.
        std::fflush(stdout);
        _exit(code);
    }
    const int code = serve(std::move(source), **control, *signals, *start, asked);
    stop_eal();
    return code;
}

}  // namespace postern
