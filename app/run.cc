// SPDX-License-Identifier: BSD-3-Clause
#include "run.h"

#include <atomic>
#include <cstdio>
#include <thread>

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_rcu_qsbr.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "commands.h"
#include "control/server.h"
#include "firewall.h"
#include "port/eal.h"
#include "port/port_set.h"
#include "userspace/server.h"
#include "worker_loop.h"

namespace postern {
namespace {

constexpr int kRuntimeFailure = 1;
constexpr int kPollMs = 200;

EalConfig eal_config(const Spec& spec, bool verbose) {
    EalConfig c;
    c.hugepages = spec.eal.hugepages == Hugepages::yes  ? EalConfig::Huge::yes
                  : spec.eal.hugepages == Hugepages::no ? EalConfig::Huge::no
                                                        : EalConfig::Huge::automatic;
    c.memory_mb = spec.eal.memory_mb;
    c.workers = spec.workers.count;
    c.cpus = spec.workers.cpus;
    c.main_cpu = spec.workers.main_cpu;
    for (const auto& p : spec.ports)
        if (p.is_pci()) c.pci.push_back(p.device);
    c.extra = spec.eal.args;
    c.verbose = verbose;
    return c;
}

PortSetConfig port_config(const Spec& spec, Firewall& fw) {
    PortSetConfig c;
    c.rcu = fw.rcu();
    c.workers = spec.workers.count;
    c.held = spec.limits.fragments + spec.workers.count;
    for (const auto& h : spec.helpers)
        if (h.userspace) c.held += h.userspace->queue * spec.workers.count;
    c.reta.assign(fw.plan().reta.begin(), fw.plan().reta.end());
    for (const auto& p : spec.ports)
        c.ports.push_back(
            {p.name, p.device, p.is_pci(), p.queues, p.mtu, p.checksums != ChecksumMode::off});
    return c;
}

struct WorkerJob {
    Firewall* firewall;
    PortSet* ports;
    WorkerId id;
    LoopConfig config;
    const std::atomic<bool>* stop;
};

int worker_main(void* arg) {
    const auto& job = *static_cast<WorkerJob*>(arg);
    run_worker(*job.firewall, *job.ports, job.id, job.config, *job.stop);
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

/// What control does for the packets' sake: its part of the expectation table's upkeep, and a word
/// in the log when a rule seems to have forgotten its helper.
class ControlShare {
  public:
    explicit ControlShare(Firewall& fw) : fw_(fw) {}

    void turn(Tick now) {
        rte_rcu_qsbr_thread_online(fw_.rcu(), fw_.control_reader());
        fw_.expectations().owner(static_cast<OwnerId>(fw_.workers())).tick({now}, 4096);
        rte_rcu_qsbr_thread_offline(fw_.rcu(), fw_.control_reader());
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
    Firewall& fw_;
    bool warned_ = false;
};

/// Everything between "DPDK runs" and "DPDK is told to stop".
int serve(const Spec& spec, ControlServer& control, int signals) {
    FirewallOptions options;
    options.workers = spec.workers.count;
    options.secret = HashSecret::random();
    options.expect_events = 1024;
    options.conn_events = 4096;
    ScannerCache cache(spec.scanner_cache);
    if (!spec.scanner_cache.empty()) options.scanner_cache = &cache;
    auto firewall = Firewall::build(spec, options);
    if (!firewall) return fail(firewall.error());
    if (cache.hits() != 0)
        spdlog::info("compiled patterns of helpers taken from {}", spec.scanner_cache);
    for (const std::string& warning : cache.warnings())
        spdlog::warn("{}", warning);
    Firewall& fw = **firewall;
    auto ports = PortSet::open(port_config(spec, fw));
    if (!ports) return fail(ports.error());
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
    register_commands(control, fw, **ports, processes.get(), [&clock] { return clock.now(); });

    std::atomic<bool> stop{false};
    bool asked_to_stop = false;
    if (auto r = control.watch(signals,
                               [&] {
                                   signalfd_siginfo info;
                                   if (read(signals, &info, sizeof info) == sizeof info)
                                       asked_to_stop = true;
                               });
        !r)
        return fail(r.error());

    std::vector<WorkerJob> jobs;
    for (unsigned w = 0; w < fw.workers(); ++w)
        jobs.push_back(
            {&fw,
             ports->get(),
             static_cast<WorkerId>(w),
             {spec.workers.burst, spec.workers.idle.spins, spec.workers.idle.sleep_us, start_tsc},
             &stop});
    std::thread process_thread;
    if (processes) process_thread = std::thread([&] { processes->run(stop); });
    for (auto& job : jobs)
        rte_eal_remote_launch(worker_main, &job, job.id + 1u);
    for (unsigned p = 0; p < (*ports)->size(); ++p) {
        const auto i = (*ports)->info(static_cast<PortIndex>(p));
        spdlog::info("port {}: {}, {} receive and {} transmit queues, {}{}", i.name, i.driver,
                     i.rx_queues, i.tx_queues, i.rss ? "symmetric RSS" : "hashing in software",
                     i.checksums ? ", checks checksums" : "");
    }
    std::printf("postern: ready, %u workers, control socket %s\n", fw.workers(),
                control.path().c_str());
    std::fflush(stdout);

    ControlShare share(fw);
    while (!asked_to_stop) {
        control.poll(kPollMs);
        share.turn(clock.now());
    }
    spdlog::info("stopping");
    stop.store(true, std::memory_order_relaxed);
    rte_eal_mp_wait_lcore();
    if (process_thread.joinable()) process_thread.join();
    print_summary(fw);
    (*ports)->workers_ended();
    // Their answers refer to the firewall.
    control.disconnect_all();
    processes.reset();
    // What is left in the rings between workers goes back to the ports' packet pool: while there is
    // one.
    firewall->reset();
    return 0;
}

}  // namespace

int run_daemon(const Spec& spec, bool verbose) {
    // Blocked here, before any thread exists, so that only signalfd sees them.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    UniqueFd signals(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!signals) return fail({"cannot create a signalfd"});

    // First of all, so that a second daemon on the same path touches no port.
    ControlOptions control_options;
    control_options.path = spec.control.socket;
    auto control = ControlServer::open(control_options);
    if (!control) return fail(control.error());

    if (auto r = start_eal(eal_config(spec, verbose)); !r) {
        const int code = fail(r.error());
        control->reset();  // takes the socket file away
        // DPDK gave up half-way, with threads of its own running; they do not survive an orderly
        // exit.
        std::fflush(stdout);
        _exit(code);
    }
    const int code = serve(spec, **control, signals.get());
    stop_eal();
    return code;
}

}  // namespace postern
