// SPDX-License-Identifier: BSD-3-Clause
// What path_bench leaves out: loads that mix, whole sessions, and several workers.
//
// One thread plays all workers, by turns, each packet given to the worker that a NIC with symmetric
// RSS would choose (or, in the rows "handed over", to another one). The TSC is read around what the
// workers do, so making packets is not in the figures, and neither is waiting for another
// processor's cache lines. Cycles are the sum over all workers.
//
// Rows "at once": each worker on a thread and a CPU of its own, all at the same time, so there is
// waiting for another processor's cache lines, and for whatever else two CPUs share. Beside them
// the same with one of the workers idle.
//
// Rows of sessions: Sessions (sessions.h) plays both ends; what a worker sends is what arrives.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <sched.h>

#include "config/load.h"
#include "net/rss.h"
#include "pipeline/turn.h"
#include "sessions.h"
#include "start.h"
#include "wire.h"

namespace postern::bench {
namespace {

struct Options : RowOptions {
    std::uint32_t flows = 100'000;
    std::uint32_t packets = 1 << 19;
    std::uint32_t sessions = 20'000;
    cpu_set_t cpus;  ///< that it may use, as it was started
};

constexpr std::uint32_t kHelped = 8192;  ///< connections with a helper, at most

std::string policy_text(std::uint32_t connections) {
    return "zones: [inside, outside]\n"
           "ports:\n"
           "  - {name: in0, device: net_null0, zone: inside}\n"
           "  - {name: out0, device: net_null1, zone: outside}\n"
           "bridges: [{ports: [in0, out0]}]\n"
           "workers: {steer: rss}\n"
           "limits: {per_worker: {new_per_second: 0}, connections: " +
           std::to_string(connections) + ", expectations: 65536, helped_connections: " +
           std::to_string(std::min(connections, kHelped)) +
           "}\n"
           "timeouts: {tcp: {close: 1, time_wait: 1, fin_wait: 1, last_ack: 1, close_wait: 1}}\n"
           "helpers: [{name: ftp}]\n"
           "policy:\n"
           "  default: drop\n"
           "  rules:\n"
           "    - {name: udp, from: inside, to: outside, proto: udp, action: accept}\n"
           "    - {name: web, from: inside, to: outside, proto: tcp, dport: [80, 443], action: "
           "accept}\n"
           "    - {name: ftp-control, from: inside, to: outside, proto: tcp, dport: 21, ct: [new],"
           " action: accept, helper: ftp}\n"
           "    - {name: ftp-data, ct: [related], related: [ftp], action: accept}\n";
}

/// N workers of one firewall, all on this thread.
class Crew {
  public:
    Crew(rte_mempool* pool, unsigned workers, std::uint32_t connections) : pool_(pool) {
        auto loaded = load_spec_text(policy_text(connections), "mix_bench.yaml", build_schema());
        for (const auto& e : loaded.errors)
            std::fprintf(stderr, "%s\n", e.to_string().c_str());
        if (!loaded.ok()) die("its own configuration is refused");
        FirewallOptions options;
        options.workers = workers;
        options.secret = HashSecret::from_seed(1);
        options.start = now_;
        auto built = Firewall::build(*loaded.spec, options);
        if (!built) die(built.error().message);
        firewall_ = std::move(built).value();
        for (unsigned w = 0; w <= workers; ++w)
            rte_rcu_qsbr_thread_online(firewall_->rcu(), w);
    }

    unsigned workers() const { return firewall_->workers(); }
    Worker& worker(unsigned w) { return firewall_->worker(w); }
    rte_mempool* pool() { return pool_; }
    void pass(std::uint32_t ms) { now_ = now_ + ms; }

    /// The worker that symmetric RSS chooses for an IPv4 frame with ports.
    unsigned home(const std::uint8_t* frame) const {
        const auto folded =
            static_cast<std::uint16_t>(fold16(frame + 26, 8) ^ fold16(frame + 34, 4));
        return firewall_->steering().home(firewall_->steering().rss.hash(folded)).number();
    }

    /// One burst on worker w; calls sent(mbuf, port) for what comes out. Returns cycles.
    template <class Sent>
    std::uint64_t burst(unsigned w, rte_mbuf** pkts, unsigned n, Sent&& sent) {
        for (unsigned i = 0; i < n; ++i)
            pkts[i]->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
        Worker& worker = firewall_->worker(w);
        Io<std::remove_reference_t<Sent>> io{{}, *this, worker, sent};
        const std::uint64_t start = rte_rdtsc_precise();
        run_burst(worker, pkts, n, now_);
        const std::uint64_t took = rte_rdtsc_precise() - start;
        send_accepted(worker, io);
        return took;
    }
    /// What others left for each worker, then its housekeeping. Returns cycles.
    template <class Sent>
    std::uint64_t turn(Sent&& sent) {
        std::uint64_t took = 0;
        for (unsigned w = 0; w < workers(); ++w)
            took += turn(w, sent);
        rte_rcu_qsbr_quiescent(firewall_->rcu(), firewall_->control_reader());
        return took;
    }
    /// The same of one worker.
    template <class Sent>
    std::uint64_t turn(unsigned w, Sent&& sent) {
        Worker& worker = firewall_->worker(w);
        Io<std::remove_reference_t<Sent>> io{{}, *this, worker, sent};
        const std::uint64_t start = rte_rdtsc_precise();
        run_turn(worker, io, now_);
        return rte_rdtsc_precise() - start - io.not_ours;
    }
    rte_rcu_qsbr* rcu() { return firewall_->rcu(); }

  private:
    /// Nothing comes from outside; see burst().
    template <class Sent>
    struct Io : TurnIoDefaults {
        Crew& crew;
        Worker& worker;
        Sent& sent;
        std::uint64_t not_ours = 0;  ///< cycles of what stands for the ports

        unsigned receive(rte_mbuf**) { return 0; }
        void send(PortId port, rte_mbuf** pkts, unsigned n) {
            const std::uint64_t start = rte_rdtsc_precise();
            for (unsigned i = 0; i < n; ++i)
                sent(pkts[i], port);
            rte_pktmbuf_free_bulk(pkts, n);
            not_ours += rte_rdtsc_precise() - start;
        }
        void quiescent() { rte_rcu_qsbr_quiescent(crew.rcu(), worker.id().number()); }
    };

    rte_mempool* pool_;
    Tick now_{1'000'000};
    std::unique_ptr<Firewall> firewall_;
};

/// Flow numbers as they are popular: the k-th is drawn k^-s times as often as the first.
class Zipf {
  public:
    Zipf(std::uint32_t count, double s) : sums_(count) {
        double sum = 0;
        for (std::uint32_t k = 0; k < count; ++k)
            sums_[k] = sum += std::pow(k + 1, -s);
    }
    std::uint32_t draw(Random& random) const {
        const double at = static_cast<double>(random.next() >> 11) * 0x1p-53 * sums_.back();
        const auto k = std::lower_bound(sums_.begin(), sums_.end(), at) - sums_.begin();
        // Popular ones do not lie side by side.
        return static_cast<std::uint32_t>(static_cast<std::uint64_t>(k) * 2'147'483'647 %
                                          sums_.size());
    }

  private:
    std::vector<double> sums_;
};

class Report {
  public:
    explicit Report(double ghz) : ghz_(ghz) {}
    void row(const std::string& name, std::vector<double> values, const char* unit) {
        std::sort(values.begin(), values.end());
        std::printf("%-52s %10.1f %10.1f  %s\n", name.c_str(), values.front(),
                    values[values.size() / 2], unit);
        std::fflush(stdout);
        rows_.push_back({name, 0, unit, std::move(values)});
    }
    void save(const RowOptions& o) const { o.save(ghz_, rows_); }

  private:
    double ghz_;
    std::vector<Row> rows_;
};

/// What opens a connection; of UDP, two packets of each side make a stream.
struct Opening {
    Direction dir;
    std::uint8_t flags;
};
constexpr Opening kOpening[] = {{Direction::original, tcp_flag::syn},
                                {Direction::reply, tcp_flag::syn | tcp_flag::ack},
                                {Direction::original, tcp_flag::ack}};

struct Mix {
    const char* name;
    Family family = Family::ipv4;
    std::uint8_t protocol = proto::udp;
    bool zipf = false;
    bool imix = false;
    unsigned new_permille = 0;
    unsigned workers = 1;
    bool hand_over = false;
};
constexpr Mix kMixes[] = {
    {.name = "udp4 established, uniform"},
    {.name = "udp4 established, Zipf 1.0", .zipf = true},
    {.name = "udp4 established, uniform, IMIX", .imix = true},
    {.name = "tcp4 established, Zipf 1.0", .protocol = proto::tcp, .zipf = true},
    {.name = "tcp4 established, Zipf 1.0, IMIX",
     .protocol = proto::tcp,
     .zipf = true,
     .imix = true},
    {.name = "udp6 established, Zipf 1.0", .family = Family::ipv6, .zipf = true},
    {.name = "tcp6 established, Zipf 1.0",
     .family = Family::ipv6,
     .protocol = proto::tcp,
     .zipf = true},
    {.name = "udp4 1 % of packets new", .new_permille = 10},
    {.name = "udp4 10 % of packets new", .new_permille = 100},
    {.name = "udp4 established, 2 workers, RSS", .workers = 2},
    {.name = "udp4 established, 2 workers, all handed over", .workers = 2, .hand_over = true},
};

/// The length of a frame without its check sequence: 7 : 4 : 1 of 64, 594 and 1518 bytes with it.
unsigned imix_bytes(Random& random) {
    const std::uint32_t kind = random.below(12);
    return kind < 7 ? 60 : kind < 11 ? 590 : 1514;
}

/// Packets of a mix: cycles each.
void mixes(const Options& o, rte_mempool* pool, Report& report) {
    for (const Mix& mix : kMixes) {
        const std::string name = mix.name;
        if (!o.wants(name)) continue;
        const std::uint32_t fresh = (o.runs + 1) * (o.packets / 1000 + 1) * mix.new_permille;
        Crew crew(pool, mix.workers, (o.flows + fresh) * 9 / 8 + 4096);
        Flows flows(mix.family, mix.protocol, o.flows + fresh);
        Random random;
        const Zipf zipf(mix.zipf ? o.flows : 1, 1.0);
        std::uint32_t next_new = o.flows;
        std::uint64_t cycles = 0, out = 0;
        const auto sent = [&](rte_mbuf*, PortId) { ++out; };
        std::vector<std::vector<rte_mbuf*>> waiting(mix.workers);
        const auto send = [&](rte_mbuf* m) {
            unsigned w = crew.home(rte_pktmbuf_mtod(m, std::uint8_t*));
            if (mix.hand_over) w = (w + 1) % mix.workers;
            waiting[w].push_back(m);
            if (waiting[w].size() < kBurst) return;
            cycles += crew.burst(w, waiting[w].data(), kBurst, sent);
            waiting[w].clear();
            if (mix.hand_over) cycles += crew.turn(sent);
        };
        const auto flush = [&] {
            for (unsigned w = 0; w < mix.workers; ++w) {
                if (!waiting[w].empty())
                    crew.burst(w, waiting[w].data(), static_cast<unsigned>(waiting[w].size()),
                               sent);
                waiting[w].clear();
            }
            for (unsigned i = 0; i < 64; ++i)
                crew.turn(sent);
        };
        const auto make = [&](std::uint32_t flow, Direction dir, std::uint8_t flags,
                              unsigned bytes = 0) {
            rte_mbuf* m = rte_pktmbuf_alloc(pool);
            if (m == nullptr) die("out of packet buffers");
            flows.write(m, flow, dir, flags, bytes);
            return m;
        };
        for (const Opening& step : kOpening) {
            for (std::uint32_t f = 0; f < o.flows; ++f)
                send(make(f, step.dir, step.flags));
            flush();
            crew.pass(2'100);  // UDP that is answered this late is a stream
        }
        if (out != std::size(kOpening) * o.flows) die(name + ": connections could not be opened");
        std::vector<double> values;
        for (unsigned r = 0; r < o.runs; ++r) {
            cycles = out = 0;
            for (std::uint32_t i = 0; i < o.packets; ++i) {
                const bool begins =
                    random.below(1000) < mix.new_permille && next_new < o.flows + fresh;
                const std::uint32_t flow = begins     ? next_new++
                                           : mix.zipf ? zipf.draw(random)
                                                      : random.below(o.flows);
                const Direction dir = begins ? Direction::original : Direction(random.next() & 1);
                send(make(flow, dir, tcp_flag::ack, mix.imix ? imix_bytes(random) : 0));
            }
            const double each = static_cast<double>(cycles) / static_cast<double>(out);
            flush();
            if (out != o.packets) die(name + ": packets were lost");
            values.push_back(each);
        }
        report.row(name, values, "cycles/packet");
    }
}

/// Workers on threads of their own, each with the packets that symmetric RSS gives it, or those of
/// the next worker: cycles a packet, all together.
class AtOnce {
  public:
    AtOnce(const Options& o, rte_mempool* pool, unsigned workers)
        : o_(o), crew_(pool, workers, o.flows * 9 / 8 + 4096), flows_(kFamily, kProtocol, o.flows) {
        for (unsigned cpu = 0; cpu < CPU_SETSIZE && cpus_.size() < workers; ++cpu)
            if (CPU_ISSET(cpu, &o.cpus)) cpus_.push_back(cpu);
        open();
    }
    /// Whether there is a CPU for each.
    bool possible() const { return cpus_.size() == crew_.workers(); }

    /// `busy`: how many of the workers have packets.
    double run(unsigned busy, bool hand_over) {
        ready_ = finished_ = 0;
        busy_ = busy;
        std::vector<std::thread> threads;
        std::vector<Share> shares(crew_.workers());
        for (unsigned w = 0; w <= crew_.workers(); ++w)
            rte_rcu_qsbr_thread_offline(crew_.rcu(), w);
        for (unsigned w = 0; w < crew_.workers(); ++w)
            threads.emplace_back([&, w] { work(w, hand_over, shares); });
        for (auto& t : threads)
            t.join();
        for (unsigned w = 0; w <= crew_.workers(); ++w)
            rte_rcu_qsbr_thread_online(crew_.rcu(), w);
        std::uint64_t cycles = 0, packets = 0;
        for (const Share& s : shares) {
            cycles += s.cycles;
            packets += s.packets;
        }
        if (packets != std::uint64_t{busy} * rings() * kRingBursts * kBurst) {
            for (unsigned w = 0; w < crew_.workers(); ++w)
                for (unsigned r = 0; r < kDropReasons; ++r)
                    if (const auto n = crew_.worker(w).counters().drops[r].get(); n != 0)
                        std::fprintf(stderr, "  dropped for %s: %llu\n",
                                     std::string(to_string(DropReason(r))).c_str(),
                                     static_cast<unsigned long long>(n));
            die("packets were lost between the workers");
        }
        return static_cast<double>(cycles) / static_cast<double>(packets);
    }

  private:
    static constexpr Family kFamily = Family::ipv4;
    static constexpr std::uint8_t kProtocol = proto::udp;

    static constexpr std::uint64_t kUnderWay = 1024;  ///< packets in the rings between workers

    struct alignas(64) Share {
        std::uint64_t cycles = 0;                         ///< that it worked
        std::atomic<std::uint64_t> given{0}, packets{0};  ///< packets: to it; that it sent

        /// Adds what work() says it took; what it took while others had the CPU is not counted,
        /// but as the mean of the rest.
        template <class Work>
        void add(Work&& work) {
            const Disturbance before = Disturbance::now();
            const std::uint64_t took = work();
            const bool alone = Disturbance::now().switches == before.switches;
            if (alone) {
                undisturbed_ += took;
                ++times_;
            }
            cycles += alone ? took : undisturbed_ / std::max<std::uint64_t>(times_, 1);
        }

      private:
        std::uint64_t undisturbed_ = 0, times_ = 0;
    };
    static std::uint64_t under_way(const std::vector<Share>& shares) {
        std::uint64_t n = 0;
        for (const Share& s : shares)
            n +=
                s.given.load(std::memory_order_relaxed) - s.packets.load(std::memory_order_relaxed);
        return n;
    }

    std::uint32_t rings() const {
        return std::max(1u, o_.packets / (kRingBursts * kBurst * crew_.workers()));
    }

    void open() {
        by_home_.resize(crew_.workers());
        for (const Opening& step : kOpening) {
            for (std::uint32_t f = 0; f < o_.flows; ++f) {
                rte_mbuf* m = rte_pktmbuf_alloc(crew_.pool());
                if (m == nullptr) die("out of packet buffers");
                flows_.write(m, f, step.dir, step.flags);
                const unsigned home = crew_.home(rte_pktmbuf_mtod(m, std::uint8_t*));
                if (&step == &kOpening[0]) by_home_[home].push_back(f);
                crew_.burst(home, &m, 1, [](rte_mbuf*, PortId) {});
            }
            crew_.pass(2'100);
        }
    }

    void work(unsigned w, bool hand_over, std::vector<Share>& shares) {
        cpu_set_t mine;
        CPU_ZERO(&mine);
        CPU_SET(cpus_[w], &mine);
        pthread_setaffinity_np(pthread_self(), sizeof mine, &mine);
        rte_rcu_qsbr_thread_online(crew_.rcu(), w);
        Random random(w + 1);
        const auto& flows = by_home_[(w + (hand_over ? 1 : 0)) % crew_.workers()];
        Share& share = shares[w];
        const auto sent = [&](rte_mbuf*, PortId) {
            share.packets.store(share.packets.load(std::memory_order_relaxed) + 1,
                                std::memory_order_relaxed);
        };
        ready_.fetch_add(1);
        while (ready_.load() != crew_.workers())
            rte_pause();
        for (std::uint32_t r = 0; w < busy_ && r < rings(); ++r) {
            rte_mbuf* ring[kRingBursts * kBurst];
            while (rte_pktmbuf_alloc_bulk(crew_.pool(), ring, std::size(ring)) != 0)
                crew_.turn(w, sent);
            for (rte_mbuf* m : ring)
                flows_.write(m, flows[random.below(static_cast<std::uint32_t>(flows.size()))],
                             Direction(random.next() & 1), 0);
            for (unsigned at = 0; at < std::size(ring); at += kBurst) {
                share.given.store(share.given.load(std::memory_order_relaxed) + kBurst,
                                  std::memory_order_relaxed);
                share.add([&] { return crew_.burst(w, ring + at, kBurst, sent); });
                share.add([&] { return crew_.turn(w, sent); });
                // Who shares a CPU may be away for long: what waits for it must find room.
                while (hand_over && under_way(shares) > kUnderWay)
                    crew_.turn(w, sent);
            }
        }
        // Others may still hand over.
        finished_.fetch_add(1);
        while (finished_.load() != crew_.workers())
            crew_.turn(w, sent);
        for (unsigned i = 0; i < 64; ++i)
            crew_.turn(w, sent);
        rte_rcu_qsbr_thread_offline(crew_.rcu(), w);
    }

    const Options& o_;
    Crew crew_;
    Flows flows_;
    std::vector<std::vector<std::uint32_t>> by_home_;
    std::vector<unsigned> cpus_;
    std::atomic<unsigned> ready_{0}, finished_{0};
    unsigned busy_ = 0;
};

void at_once(const Options& o, rte_mempool* pool, Report& report) {
    const std::string name = "udp4 established, at once, ";
    if (!o.wants(name)) return;
    AtOnce lab(o, pool, 2);
    if (!lab.possible()) {
        std::printf("%snot measured: needs 2 CPUs\n", name.c_str());
        return;
    }
    std::vector<double> alone, both, handed;
    for (unsigned r = 0; r < o.runs; ++r) {
        alone.push_back(lab.run(1, false));
        both.push_back(lab.run(2, false));
        handed.push_back(lab.run(2, true));
    }
    report.row(name + "1 of 2 workers busy", alone, "cycles/packet");
    report.row(name + "2 workers, RSS", both, "cycles/packet");
    report.row(name + "2 workers, all handed over", handed, "cycles/packet");
}

/// Whole sessions of both ends: cycles a session and a connection, all workers together.
void sessions(const Options& o, rte_mempool* pool, Report& report, bool ftp, unsigned workers) {
    const std::string name = std::string(ftp ? "ftp" : "tcp4") + " sessions, " +
                             std::to_string(workers) + (workers == 1 ? " worker" : " workers");
    if (!o.wants(name)) return;
    Crew crew(pool, workers, std::max(65'536u, o.sessions * 8));
    SessionConfig config;
    config.ftp = ftp;
    config.slots = 512;
    Sessions play(config);
    const auto sent = [&](rte_mbuf* m, PortId port) {
        play.arrived(rte_pktmbuf_mtod(m, const std::uint8_t*), m->data_len,
                     port == kInside ? Sessions::Side::client : Sessions::Side::server);
    };
    std::vector<double> each_session, each_connection, each_announced, per_second;
    for (unsigned r = 0; r < o.runs; ++r) {
        const Sessions::Counts before = play.counts();
        std::uint64_t cycles = 0, turns = 0;
        while (play.counts().sessions - before.sessions < o.sessions) {
            std::vector<std::vector<rte_mbuf*>> for_worker(workers);
            for (unsigned i = 0; i < kBurst * workers; ++i) {
                rte_mbuf* m = rte_pktmbuf_alloc(pool);
                if (m == nullptr) die("out of packet buffers");
                Sessions::Side from;
                const unsigned length = play.next(rte_pktmbuf_mtod(m, std::uint8_t*), from, 0);
                if (length == 0) {
                    rte_pktmbuf_free(m);
                    break;
                }
                m->data_len = static_cast<std::uint16_t>(length);
                m->pkt_len = length;
                m->port = (from == Sessions::Side::client ? kInside : kOutside).number();
                for_worker[crew.home(rte_pktmbuf_mtod(m, std::uint8_t*))].push_back(m);
            }
            for (unsigned w = 0; w < workers; ++w)
                for (std::size_t at = 0; at < for_worker[w].size(); at += kBurst)
                    cycles += crew.burst(w, for_worker[w].data() + at,
                                         static_cast<unsigned>(std::min<std::size_t>(
                                             kBurst, for_worker[w].size() - at)),
                                         sent);
            cycles += crew.turn(sent);
            // Connections that ended are forgotten a second later, and only then is a helper's
            // state of theirs free: time passes so fast that kHelped of these are enough.
            if (++turns % (4 / workers) == 0) crew.pass(1);
            if (turns > 40ull * o.sessions) die(name + ": sessions do not come to their end");
        }
        const Sessions::Counts& now = play.counts();
        const auto per = [&](std::uint64_t n) {
            return static_cast<double>(cycles) / static_cast<double>(std::max<std::uint64_t>(n, 1));
        };
        each_session.push_back(per(now.sessions - before.sessions));
        each_connection.push_back(per(now.connections - before.connections));
        each_announced.push_back(per(now.announced - before.announced));
    }
    report.row(name, each_session, "cycles/session");
    report.row(name + ", each connection", each_connection, "cycles/connection");
    if (!ftp) return;
    report.row(name + ", each expected connection", each_announced, "cycles/expected connection");
    std::uint64_t expected = 0;
    for (unsigned w = 0; w < workers; ++w)
        expected += crew.worker(w).counters().connections_expected.get();
    if (expected < play.counts().announced) die(name + ": data connections were not expected ones");
}

int run(Options& o) {
    sched_getaffinity(0, sizeof o.cpus, &o.cpus);
    rte_mempool* pool = start(o, 1200, 8191);
    const double ghz = static_cast<double>(rte_get_tsc_hz()) / 1e9;
    std::printf("%u flows, TSC %.3f GHz; best and median of %u runs\n", o.flows, ghz, o.runs);
    Report report(ghz);
    mixes(o, pool, report);
    at_once(o, pool, report);
    for (const bool ftp : {false, true})
        for (const unsigned workers : {1u, 2u})
            sessions(o, pool, report, ftp, workers);
    report.save(o);
    return 0;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    postern::bench::Options o;
    postern::bench::CommandLine line{
        "Mixed loads, whole sessions and several workers, from memory to memory"};
    line.number("--flows", o.flows, "connections of the mixes", 64, 1u << 22);
    line.number("--packets", o.packets, "of a run of a mix", 1000, 1u << 26);
    line.number("--sessions", o.sessions, "of a run", 10, 1u << 20);
    o.add_to(line);
    o.add_json_to(line);
    line.parse(argc, argv);
    return postern::bench::run(o);
}
