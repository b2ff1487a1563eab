// SPDX-License-Identifier: BSD-3-Clause
// What the benchmarks of the whole path share: connections as packets, and one worker that they are
// fed to. See path_bench.cc for what is measured.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <rte_cycles.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <sys/resource.h>

#include "die.h"
#include "firewall.h"
#include "helper/registry.h"
#include "net/packet.h"
#include "pipeline/turn.h"

namespace postern::bench {

inline constexpr unsigned kBurst = 32, kRingBursts = 32;
inline constexpr PortId kInside{0}, kOutside{1};
/// As a NIC leaves packets whose checksums it has found right; their bytes have none.
inline constexpr std::uint64_t kVouched = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
inline constexpr std::uint32_t kLiveFlows = 1000;  ///< kept alive while others expire

struct Kind {
    const char* name;
    Family family;
    std::uint8_t protocol;
};
inline constexpr Kind kKinds[] = {{"udp4", Family::ipv4, proto::udp},
                                  {"tcp4", Family::ipv4, proto::tcp},
                                  {"udp6", Family::ipv6, proto::udp},
                                  {"tcp6", Family::ipv6, proto::tcp}};

class Random {
  public:
    /// Others than 0 give other numbers.
    explicit Random(std::uint64_t seed = 0) : state_(0x9e3779b97f4a7c15u + seed) {}
    std::uint64_t next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        return state_ ^= state_ << 17;
    }
    std::uint32_t below(std::uint32_t n) {
        return static_cast<std::uint32_t>((next() >> 32) * n >> 32);
    }

  private:
    std::uint64_t state_;
};

/// `count` connections whose addresses and ports follow from their number; only TCP's sequence
/// numbers are kept.
class Flows {
  public:
    /// `dport` 0: 443 of TCP, 4433 of UDP.
    Flows(Family family, std::uint8_t protocol, std::uint32_t count, std::uint8_t net = 10,
          std::uint16_t dport = 0)
        : v4_(family == Family::ipv4),
          tcp_(protocol == proto::tcp),
          count_(count),
          net_(net),
          dport_(dport != 0 ? dport
                 : tcp_     ? std::uint16_t{443}
                            : std::uint16_t{4433}),
          sent_(tcp_ ? 2ul * count : 0, 0) {}

    std::uint32_t count() const { return count_; }
    bool tcp() const { return tcp_; }
    void restart() { std::fill(sent_.begin(), sent_.end(), 0u); }

    /// From now on TCP segments of established connections carry nothing, or again six bytes.
    void set_bare(bool bare) { bare_ = bare; }
    bool bare() const { return bare_; }
    /// A packet of connection i. 64 bytes on the wire, or as few as the headers allow; data may
    /// make it up to `frame` bytes long, without the check sequence.
    void write(rte_mbuf* m, std::uint32_t i, Direction dir, std::uint8_t tcp_flags,
               unsigned frame = 0) {
        auto* p = rte_pktmbuf_mtod(m, std::uint8_t*);
        const unsigned headers = 14u + (v4_ ? 20u : 40u) + (tcp_ ? 20u : 8u);
        const bool data = !bare_ && (tcp_flags & (tcp_flag::syn | tcp_flag::rst)) == 0;
        const unsigned payload = data ? std::max(6u, frame < headers ? 0 : frame - headers) : 0;
        const unsigned length = std::max(60u, headers + payload);
        std::memset(p, 0, length);
        put(p + 12, v4_ ? 0x0800 : 0x86dd, 2);
        std::uint8_t* ip = p + 14;
        const bool original = dir == Direction::original;
        const std::uint32_t mixed = i * 2654435761u;
        const std::uint32_t client = std::uint32_t{net_} << 24 | i;
        const std::uint32_t server = 198u << 24 | 18u << 16 | (mixed & 0xffff);
        const unsigned l4_len = (tcp_ ? 20u : 8u) + payload;
        if (v4_) {
            ip[0] = 0x45;
            put(ip + 2, 20 + l4_len, 2);
            ip[8] = 64;
            ip[9] = tcp_ ? proto::tcp : proto::udp;
            put(ip + 12, original ? client : server, 4);
            put(ip + 16, original ? server : client, 4);
            ip += 20;
        } else {
            ip[0] = 0x60;
            put(ip + 4, l4_len, 2);
            ip[6] = tcp_ ? proto::tcp : proto::udp;
            ip[7] = 64;
            put(ip + 8, 0x20010db8, 4);
            put(ip + 20, original ? client : server, 4);
            put(ip + 24, 0x20010db8, 4);
            put(ip + 36, original ? server : client, 4);
            ip += 40;
        }
        const std::uint32_t sport = 1024 + (mixed >> 17);
        put(ip, original ? sport : dport_, 2);
        put(ip + 2, original ? dport_ : sport, 2);
        if (tcp_) {
            std::uint32_t& seq = sent_[2ul * i + index(dir)];
            const std::uint32_t ack = sent_[2ul * i + index(!dir)];
            // Who refuses has no sequence number of its own (RFC 9293 section 3.10.7.1).
            const bool refuses = seq == 0 && (tcp_flags & tcp_flag::rst) != 0;
            put(ip + 4, refuses ? 0 : 1000 + seq, 4);
            if (tcp_flags & tcp_flag::ack) put(ip + 8, 1000 + ack, 4);
            ip[12] = 5 << 4;
            ip[13] = tcp_flags;
            put(ip + 14, 0xffff, 2);
            seq += payload + ((tcp_flags & (tcp_flag::syn | tcp_flag::fin)) != 0 ? 1 : 0);
        } else {
            put(ip + 4, l4_len, 2);
        }
        m->data_len = static_cast<std::uint16_t>(length);
        m->pkt_len = length;
        m->port = (original ? kInside : kOutside).number();
    }

  private:
    static void put(std::uint8_t* p, std::uint32_t v, unsigned bytes) {
        for (unsigned k = 0; k < bytes; ++k)
            p[k] = static_cast<std::uint8_t>(v >> 8 * (bytes - 1 - k));
    }

    bool v4_, tcp_, bare_ = false;
    std::uint32_t count_;
    std::uint8_t net_;
    std::uint16_t dport_;
    std::vector<std::uint32_t> sent_;  ///< by connection and direction
};

/// What the kernel did to this thread so far.
struct Disturbance {
    long switches = 0;  ///< it had to leave the CPU to others
    long faults = 0;    ///< pages it touched that were not there

    static Disturbance now() {
        rusage u;
        getrusage(RUSAGE_THREAD, &u);
        return {u.ru_nivcsw, u.ru_minflt + u.ru_majflt};
    }
};

struct Cost {
    std::uint64_t cycles = 0, items = 0;
    std::uint64_t longest = 0;  ///< of those during which nobody else got the CPU
    long faults = 0;

    void add(std::uint64_t c, std::uint64_t n) {
        cycles += c;
        items += n;
    }
    /// The same, and `before` is from before the work.
    void add(std::uint64_t c, std::uint64_t n, const Disturbance& before) {
        add(c, n);
        const Disturbance now = Disturbance::now();
        faults += now.faults - before.faults;
        if (now.switches == before.switches) longest = std::max(longest, c);
    }
    double each() const { return static_cast<double>(cycles) / static_cast<double>(items); }
};

enum class Fate {
    accepted,
    dropped
};

/// Cycles by stage: before the first one, each of the plan's, after the last one.
using StageCosts = std::vector<double>;

/// run_burst() with a look at the clock after each step.
inline void timed_turn(Worker& w, rte_mbuf** pkts, unsigned n, Tick now, StageCosts& costs) {
    std::uint64_t before = rte_rdtsc_precise();
    std::size_t at = 0;
    const auto lap = [&] {
        const std::uint64_t t = rte_rdtsc_precise();
        costs[at++] += static_cast<double>(t - before);
        before = t;
    };
    w.begin(pkts, n, now);
    lap();
    for (const StageDesc* stage : w.plan().stages) {
        if (w.batch()[stage->on] != 0) {
            stage->run(w, w.batch());
            lap();
        } else {
            ++at;
        }
    }
    w.finish();
    lap();
}

/// run_burst() by a name of its own, for a profiler that is told to look at nothing else.
[[gnu::noinline]] inline void counted_burst(Worker& w, rte_mbuf** pkts, unsigned n, Tick now) {
    run_burst(w, pkts, n, now);
}

/// One worker, and the packets for it.
class Bench {
  public:
    Bench(rte_mempool* pool, std::uint32_t connections) : Bench(pool, spec_of(connections)) {}
    Bench(rte_mempool* pool, const Spec& spec) : pool_(pool) {
        const std::size_t before = heap_bytes();
        FirewallOptions options;
        options.secret = HashSecret::from_seed(1);
        options.start = now_;
        auto built = Firewall::build(spec, options);
        if (!built) die(built.error().message);
        firewall_ = std::move(built).value();
        heap_bytes_ = heap_bytes() - before;
        capacity_ = worker().conns().capacity();
        rte_rcu_qsbr_thread_online(firewall_->rcu(), 0);
    }

    Firewall& firewall() { return *firewall_; }
    Worker& worker() { return firewall_->worker(0); }
    Tick now() const { return now_; }
    std::size_t memory_bytes() const { return heap_bytes_; }
    std::uint32_t capacity() const { return capacity_; }
    void pass(std::uint32_t ms) { now_ = now_ + ms; }
    /// From now on bursts are what a profiler is to count, or no longer.
    void set_counted(bool counted) { counted_ = counted; }
    /// From now on the time of each stage is added to `costs`; null: no longer.
    void set_stage_costs(StageCosts* costs) { stage_costs_ = costs; }
    /// From now on bursts are watched for page faults, and for the longest one.
    void set_watched(bool watched) { watched_ = watched; }

    /// Runs `packets` packets, made by write(mbuf, n) for n = 0, 1, ….
    template <class Write>
    Cost run(std::uint32_t packets, Fate fate, Write write) {
        Cost cost;
        for (std::uint32_t done = 0; done < packets;) {
            rte_mbuf* ring[kRingBursts * kBurst];
            const std::uint32_t n = std::min(packets - done, kRingBursts * kBurst);
            if (rte_pktmbuf_alloc_bulk(pool_, ring, n) != 0) die("out of packet buffers");
            for (std::uint32_t i = 0; i < n; ++i)
                write(ring[i], done + i);
            for (std::uint32_t at = 0; at < n; at += kBurst)
                one_burst(ring + at, std::min(kBurst, n - at), fate, cost);
            done += n;
            now_ = now_ + 1;
        }
        return cost;
    }

    /// Lets time pass until the table has only `left` connections; a burst of `live` flows a turn.
    Cost expire(std::uint32_t left, Flows& live, Cost& turns) {
        Cost cost;
        Random random;
        rte_mbuf* ring[kBurst];
        while (worker().conns().size() > left) {
            bool more = true;
            while (more && worker().conns().size() > left) {
                if (rte_pktmbuf_alloc_bulk(pool_, ring, kBurst) != 0) die("out of packet buffers");
                for (rte_mbuf* m : ring)
                    live.write(m, random.below(live.count()), Direction(random.next() & 1),
                               tcp_flag::ack);
                const std::uint32_t before = worker().conns().size();
                const Disturbance undisturbed = Disturbance::now();
                const std::uint64_t t0 = start();
                more = !worker().housekeeping(now_);
                const std::uint64_t t1 = stop();
                Cost burst;
                one_burst(ring, kBurst, Fate::accepted, burst);
                if (const auto n = before - worker().conns().size(); n != 0) {
                    cost.add(t1 - t0, n);
                    turns.add(t1 - t0 + burst.cycles, 1, undisturbed);
                }
            }
            now_ = now_ + 1;
        }
        return cost;
    }

    /// Inside may open connections, outside may not.
    static Spec spec_of(std::uint32_t connections) {
        Spec spec;
        spec.zones = {{.name = "inside"}, {.name = "outside"}};
        for (const char* name : {"in0", "out0"}) {
            PortSpec& p = spec.ports.emplace_back();
            p.name = name;
            p.zone = ZoneId::from(spec.ports.size() - 1);
        }
        spec.bridges.push_back({{kInside, kOutside}, {}});
        spec.limits = {connections, 1024, 64, 4096};
        spec.limits.new_per_second_per_worker = 0;  // here a second is as short as it takes
        RuleSpec& out = spec.policy.rules.emplace_back();
        out.name = "out";
        out.from = {ZoneId{0}};
        out.to = {ZoneId{1}};
        out.action = RuleAction::accept;
        spec.pipeline = build_schema().default_pipeline;
        return spec;
    }

    /// The same, and all that they open has the FTP helper, though it goes to the port of `Flows`.
    static Spec helped_spec_of(std::uint32_t connections) {
        Spec spec = spec_of(connections);
        HelperSpec& ftp = spec.helpers.emplace_back();
        ftp.name = ftp.kind = "ftp";
        ftp.ports = {443};
        spec.policy.rules[0].helper = 1;
        spec.limits.helped_connections = connections;
        return spec;
    }

    /// Inside may open connections, and every helper watches those to its usual ports.
    static Spec all_helpers_spec_of(std::uint32_t connections, std::uint32_t helped) {
        Spec spec = spec_of(connections);
        std::vector<RuleSpec> rules;
        for (const HelperDesc* desc : all_helpers()) {
            HelperSpec& helper = spec.helpers.emplace_back();
            helper.name = helper.kind = desc->name;
            helper.ports.assign(desc->default_ports.begin(), desc->default_ports.end());
            if (helper.ports.empty()) continue;  // only for what others expect
            RuleSpec& rule = rules.emplace_back(spec.policy.rules[0]);
            rule.name = helper.name;
            rule.helper = static_cast<HelperId>(spec.helpers.size());
            for (const std::uint8_t p : {proto::tcp, proto::udp})
                if ((desc->transports & transport::of(p)) != 0) rule.protocols.push_back(p);
            for (const std::uint16_t port : helper.ports)
                rule.dport.push_back({port, port});
        }
        rules.push_back(spec.policy.rules[0]);
        spec.policy.rules = std::move(rules);
        spec.limits.helped_connections = helped;
        return spec;
    }

  private:
    static std::uint64_t start() {
        rte_mb();
        return rte_rdtsc();
    }
    /// As RDTSCP does it, but on every processor: some hypervisors hide that instruction, and
    /// valgrind then refuses it.
    static std::uint64_t stop() {
        rte_rmb();  // LFENCE: all instructions before it are done
        return rte_rdtsc();
    }
    static std::size_t heap_bytes() {
        std::size_t sum = 0;
        for (unsigned s = 0; s < rte_socket_count(); ++s) {
            rte_malloc_socket_stats stats;
            if (rte_malloc_get_socket_stats(rte_socket_id_by_idx(s), &stats) == 0)
                sum += stats.heap_allocsz_bytes;
        }
        return sum;
    }

    /// What a receive function leaves of a packet in the cache: its mbuf's first line.
    static void receive(rte_mbuf** pkts, unsigned n) {
        for (unsigned i = 0; i < n; ++i) {
            pkts[i]->data_off = RTE_PKTMBUF_HEADROOM;
            pkts[i]->ol_flags = kVouched;
        }
    }

    void one_burst(rte_mbuf** pkts, unsigned n, Fate fate, Cost& cost) {
        Worker& w = worker();
        receive(pkts, n);
        // Asking the kernel before each burst would leave the CPU's predictors cold.
        const Disturbance before = watched_ ? Disturbance::now() : Disturbance{};
        const std::uint64_t t0 = start();
        if (stage_costs_ != nullptr)
            timed_turn(w, pkts, n, now_, *stage_costs_);
        else if (counted_)
            counted_burst(w, pkts, n, now_);
        else
            run_burst(w, pkts, n, now_);
        const std::uint64_t spent = stop() - t0;
        if (watched_)
            cost.add(spent, n, before);
        else
            cost.add(spent, n);
        rte_rcu_qsbr_quiescent(firewall_->rcu(), 0);
        struct Free {
            unsigned sent = 0;
            void send(PortId, rte_mbuf** out, unsigned count) noexcept {
                rte_pktmbuf_free_bulk(out, count);
                sent += count;
            }
        } io;
        send_accepted(w, io);
        if (io.sent != (fate == Fate::accepted ? n : 0)) {
            for (unsigned r = 0; r < kDropReasons; ++r)
                if (const auto c = w.counters().drops[r].get(); c != 0)
                    std::fprintf(stderr, "  dropped for %s: %llu\n",
                                 std::string(to_string(DropReason(r))).c_str(),
                                 static_cast<unsigned long long>(c));
            die("packets did not take the path that is to be measured");
        }
    }

    rte_mempool* pool_;
    Tick now_{1'000'000};
    std::unique_ptr<Firewall> firewall_;
    std::size_t heap_bytes_ = 0;
    std::uint32_t capacity_ = 0;
    bool counted_ = false, watched_ = false;
    StageCosts* stage_costs_ = nullptr;
};

/// Makes all connections. Returns the cost of their first packets.
inline Cost open_all(Bench& bench, Flows& flows) {
    flows.restart();
    const std::uint8_t first = flows.tcp() ? tcp_flag::syn : 0;
    return bench.run(flows.count(), Fate::accepted, [&](rte_mbuf* m, std::uint32_t i) {
        flows.write(m, i, Direction::original, first);
    });
}
/// Lets the other side answer: TCP's handshake, or UDP late enough to make a stream of it.
inline void answer_all(Bench& bench, Flows& flows) {
    auto all = [&](Direction dir, std::uint8_t flags) {
        bench.run(flows.count(), Fate::accepted,
                  [&](rte_mbuf* m, std::uint32_t i) { flows.write(m, i, dir, flags); });
    };
    if (!flows.tcp()) bench.pass(2'100);
    all(Direction::reply, flows.tcp() ? tcp_flag::syn | tcp_flag::ack : 0);
    if (flows.tcp()) all(Direction::original, tcp_flag::ack);
}

/// A packet of connection i that says six bytes.
inline void write_line(Flows& flows, rte_mbuf* m, std::uint32_t i, Direction dir,
                       const char (&line)[7]) {
    flows.write(m, i, dir, tcp_flag::ack | tcp_flag::psh);
    std::memcpy(rte_pktmbuf_mtod_offset(m, char*, 54), line, 6);
}
/// A packet of an FTP session that announces nothing and wakes no parser: a line, or an
/// acknowledgement when the flows are bare.
inline void write_idle(Flows& flows, rte_mbuf* m, std::uint32_t i, Direction dir) {
    if (flows.bare())
        flows.write(m, i, dir, tcp_flag::ack);
    else if (dir == Direction::original)
        write_line(flows, m, i, dir, "NOOP\r\n");
    else
        write_line(flows, m, i, dir, "226 \r\n");
}
/// All connections (TCP over IPv4) begin and prove to be FTP; after that neither side's lines are
/// all read.
inline void open_ftp(Bench& bench, Flows& flows) {
    flows.set_bare(true);  // the handshake says nothing
    open_all(bench, flows);
    answer_all(bench, flows);
    flows.set_bare(false);
    bench.run(flows.count(), Fate::accepted, [&](rte_mbuf* m, std::uint32_t i) {
        write_line(flows, m, i, Direction::reply, "220 \r\n");
    });
    for (const Direction dir : {Direction::original, Direction::reply, Direction::original})
        bench.run(flows.count(), Fate::accepted,
                  [&](rte_mbuf* m, std::uint32_t i) { write_idle(flows, m, i, dir); });
    const HelperEngine& helpers = bench.worker().helpers();
    for (HelperId each = 1; helpers.set().find(each) != nullptr; ++each)
        helpers.for_each_counter(helpers.set(), each, [](const CounterValue& c) {
            if (c.name.starts_with("blind") && c.value != 0) die("helped streams are not read");
        });
}

}  // namespace postern::bench
