// SPDX-License-Identifier: BSD-3-Clause
// A generator and sink over two ports, for what testpmd cannot send: flows that begin and end,
// whole TCP and FTP sessions, and probes that carry the time they were sent.
//
//   traffic --in DEVICE --out DEVICE [--load udp|tcp|ftp] [--flows N] ...
//
// Packets go in at one port and are expected at the other. It reads commands from standard input,
// one a line, and answers each with one line of JSON:
//
//   warm              sends a packet of each flow both ways, slowly enough that none is lost
//   run SECONDS       sends as fast as it can
//   run SECONDS RATE  sends that many packets a second (udp)
//   quit
//
// Between commands it sleeps. One thread, so that on a machine with two CPUs the other one is free
// for what is measured.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sched.h>

#include "path_lab.h"
#include "port/eal.h"
#include "sessions.h"
#include "wire.h"

namespace postern::bench {
namespace {

constexpr unsigned kPacedBurst = 8, kDescriptors = 1024;
constexpr std::uint32_t kMagic = 0x706f7374;
constexpr unsigned kUdpPayloadAt = 14 + 20 + 8;

struct Options {
    std::string in, out;
    std::string load = "udp";
    std::uint32_t flows = 1000;
    unsigned new_permille = 0;  ///< of the packets from inside, those that begin a flow
    bool both_ways = false;
    unsigned frame_bytes = 60;
    SessionConfig sessions;
    std::string to_server_mac, to_client_mac;
    int cpu = 0;
    unsigned queues = 1;
};

/// Times, by powers of two with sixteen steps each.
class Histogram {
  public:
    void add(std::uint64_t v) {
        ++count_[bucket(v)];
        ++total_;
        largest_ = std::max(largest_, v);
    }
    double percentile(double p) const {
        const auto wanted = static_cast<std::uint64_t>(std::ceil(static_cast<double>(total_) * p));
        std::uint64_t seen = 0;
        for (unsigned b = 0; b < count_.size(); ++b)
            if ((seen += count_[b]) >= wanted) return static_cast<double>(middle(b));
        return static_cast<double>(largest_);
    }
    std::uint64_t largest() const { return largest_; }
    std::uint64_t total() const { return total_; }

  private:
    static unsigned bucket(std::uint64_t v) {
        if (v < 16) return static_cast<unsigned>(v);
        const auto power = static_cast<unsigned>(63 - __builtin_clzll(v));
        return (power - 3) * 16 + static_cast<unsigned>(v >> (power - 4) & 15);
    }
    static std::uint64_t middle(unsigned b) {
        if (b < 16) return b;
        const unsigned power = b / 16 + 3;
        return (std::uint64_t{16 + b % 16} << (power - 4)) + (std::uint64_t{1} << (power - 4)) / 2;
    }
    std::array<std::uint64_t, 64 * 16> count_{};
    std::uint64_t total_ = 0, largest_ = 0;
};

struct Totals {
    std::uint64_t sent = 0, received = 0;
    Histogram latency;
};

class Traffic {
  public:
    explicit Traffic(const Options& o) : o_(o), sessions_(o.sessions), hz_(rte_get_tsc_hz()) {
        pool_ = rte_pktmbuf_pool_create("packets", 16383, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
                                        SOCKET_ID_ANY);
        if (pool_ == nullptr) die("no memory for packet buffers");
        ports_[kInside] = open(o.in);
        ports_[kOutside] = open(o.out);
    }
    ~Traffic() {
        for (const std::uint16_t port : ports_) {
            rte_eth_dev_stop(port);
            rte_eth_dev_close(port);
        }
    }
    Traffic(const Traffic&) = delete;
    Traffic& operator=(const Traffic&) = delete;

    nlohmann::json run(double seconds, double rate) {
        drain();
        Totals t;
        const Sessions::Counts before = sessions_.counts();
        const std::uint64_t start = rte_rdtsc();
        const auto end = start + static_cast<std::uint64_t>(seconds * static_cast<double>(hz_));
        if (o_.load == "udp")
            send_udp(start, end, rate, t);
        else
            send_sessions(end, t);
        const double took = static_cast<double>(rte_rdtsc() - start) / static_cast<double>(hz_);
        nlohmann::json row{{"seconds", took},
                           {"sent", t.sent},
                           {"received", t.received},
                           {"pps", static_cast<double>(t.received) / took}};
        if (o_.load != "udp") {
            const Sessions::Counts& now = sessions_.counts();
            row["sessions"] = now.sessions - before.sessions;
            row["connections"] = now.connections - before.connections;
            row["announced"] = now.announced - before.announced;
            row["repeated"] = now.repeated - before.repeated;
            row["failed"] = now.failed - before.failed;
            row["strays"] = now.strays - before.strays;
        }
        if (t.latency.total() != 0) {
            const double us = 1e6 / static_cast<double>(hz_);
            row["latency_us"] = {{"p50", t.latency.percentile(0.5) * us},
                                 {"p99", t.latency.percentile(0.99) * us},
                                 {"p99.9", t.latency.percentile(0.999) * us},
                                 {"max", static_cast<double>(t.latency.largest()) * us}};
        }
        return row;
    }

    /// Each flow once from inside and once back, until most of a round comes through.
    nlohmann::json warm() {
        Totals t;
        const std::uint64_t end = rte_rdtsc() + hz_ * 20;
        for (const PortIndex from : {kInside, kOutside})
            for (std::uint32_t f = 0; f < o_.flows && rte_rdtsc() < end;) {
                rte_mbuf* pkts[kPacedBurst];
                const unsigned n = std::min(kPacedBurst, o_.flows - f);
                if (rte_pktmbuf_alloc_bulk(pool_, pkts, n) != 0) die("out of packet buffers");
                for (unsigned i = 0; i < n; ++i)
                    write_udp(pkts[i], from, f + i);
                f += send(from, pkts, n);
                t.sent += n;
                // Waits for them: nothing is lost for want of room.
                const std::uint64_t wanted = t.received + n, give_up = rte_rdtsc() + hz_ / 500;
                while (t.received < wanted && rte_rdtsc() < give_up)
                    receive(t);
            }
        return {{"sent", t.sent}, {"received", t.received}};
    }

  private:
    std::uint16_t open(const std::string& device) {
        if (rte_dev_probe(device.c_str()) != 0) die("cannot open " + device);
        std::uint16_t id = 0;
        if (rte_eth_dev_get_port_by_name(device.substr(0, device.find(',')).c_str(), &id) != 0)
            die("no port of " + device);
        rte_eth_conf conf{};
        const auto q = static_cast<std::uint16_t>(o_.queues);
        std::uint16_t rxd = kDescriptors, txd = kDescriptors;
        if (rte_eth_dev_configure(id, q, q, &conf) != 0 ||
            rte_eth_dev_adjust_nb_rx_tx_desc(id, &rxd, &txd) != 0)
            die("cannot configure " + device);
        for (std::uint16_t i = 0; i < q; ++i)
            if (rte_eth_rx_queue_setup(id, i, rxd, 0, nullptr, pool_) != 0 ||
                rte_eth_tx_queue_setup(id, i, txd, 0, nullptr) != 0)
                die("cannot set up the queues of " + device);
        if (rte_eth_dev_start(id) != 0) die("cannot start " + device);
        rte_eth_promiscuous_enable(id);
        return id;
    }

    void write_udp(rte_mbuf* m, PortIndex from, std::uint32_t flow) {
        auto* p = rte_pktmbuf_mtod(m, std::uint8_t*);
        const bool inside = from == kInside;
        const std::uint32_t client = 10u << 24 | flow;
        const std::uint32_t server = 198u << 24 | 18u << 16 | (flow & 0xff);
        const unsigned l4_length = o_.frame_bytes - 34;
        write_ethernet(p, inside ? o_.sessions.to_server_mac : o_.sessions.to_client_mac);
        std::uint8_t* udp =
            write_ipv4(p + 14, 17, inside ? client : server, inside ? server : client, l4_length);
        const std::uint16_t sport = static_cast<std::uint16_t>(1024 + (flow >> 8) % 60'000);
        put16(udp, inside ? sport : 4433);
        put16(udp + 2, inside ? 4433 : sport);
        put16(udp + 4, l4_length);
        put16(udp + 6, 0);  // none (RFC 768)
        put32(p + kUdpPayloadAt, kMagic);
        const std::uint64_t now = rte_rdtsc();
        std::memcpy(p + kUdpPayloadAt + 4, &now, sizeof now);
        m->data_len = static_cast<std::uint16_t>(o_.frame_bytes);
        m->pkt_len = o_.frame_bytes;
    }

    unsigned send(PortIndex from, rte_mbuf** pkts, unsigned n) {
        const std::uint16_t queue = static_cast<std::uint16_t>(turn_++ % o_.queues);
        const unsigned sent =
            rte_eth_tx_burst(ports_[from], queue, pkts, static_cast<std::uint16_t>(n));
        if (sent < n) rte_pktmbuf_free_bulk(pkts + sent, n - sent);
        return sent;
    }

    void receive(Totals& t) {
        for (const PortIndex port : {kInside, kOutside})
            for (std::uint16_t q = 0; q < o_.queues; ++q) {
                rte_mbuf* pkts[kBurst];
                const unsigned n = rte_eth_rx_burst(ports_[port], q, pkts, kBurst);
                if (n == 0) continue;
                if (o_.load == "udp")
                    take_udp(pkts, n, t);
                else
                    for (unsigned i = 0; i < n; ++i)
                        sessions_.arrived(
                            rte_pktmbuf_mtod(pkts[i], const std::uint8_t*), pkts[i]->data_len,
                            port == kInside ? Sessions::Side::client : Sessions::Side::server);
                if (o_.load != "udp") t.received += n;
                rte_pktmbuf_free_bulk(pkts, n);
            }
    }
    static void take_udp(rte_mbuf** pkts, unsigned n, Totals& t) {
        const std::uint64_t now = rte_rdtsc();
        for (unsigned i = 0; i < n; ++i) {
            const auto* p = rte_pktmbuf_mtod(pkts[i], const std::uint8_t*);
            if (pkts[i]->data_len < 60 || get32(p + kUdpPayloadAt) != kMagic) continue;
            std::uint64_t then;
            std::memcpy(&then, p + kUdpPayloadAt + 4, sizeof then);
            ++t.received;
            t.latency.add(now - then);
        }
    }
    /// What is still on its way from an earlier run.
    void drain() {
        Totals ignored;
        for (const std::uint64_t end = rte_rdtsc() + hz_ / 100; rte_rdtsc() < end;)
            receive(ignored);
    }

    void send_udp(std::uint64_t start, std::uint64_t end, double rate, Totals& t) {
        const unsigned burst = rate > 0 ? kPacedBurst : kBurst;
        const double gap = rate > 0 ? static_cast<double>(hz_) * burst / rate : 0;
        double next = static_cast<double>(start);
        bool outward = true;
        for (std::uint64_t now = start; now < end; now = rte_rdtsc()) {
            receive(t);
            if (static_cast<double>(now) < next) continue;
            // Who was held up does not catch up with a flood.
            next = std::max(next + gap, static_cast<double>(now) - 16 * gap);
            rte_mbuf* pkts[kBurst];
            if (rte_pktmbuf_alloc_bulk(pool_, pkts, burst) != 0) continue;
            const PortIndex from = outward || !o_.both_ways ? kInside : kOutside;
            outward = !outward;
            for (unsigned i = 0; i < burst; ++i) {
                const bool fresh = from == kInside && random_.below(1000) < o_.new_permille;
                write_udp(pkts[i], from,
                          fresh ? o_.flows + new_flow_++ % (1u << 23) : random_.below(o_.flows));
            }
            t.sent += send(from, pkts, burst);
        }
    }

    void send_sessions(std::uint64_t end, Totals& t) {
        for (std::uint64_t now = rte_rdtsc(); now < end; now = rte_rdtsc()) {
            receive(t);
            sessions_.look_for_lost(now);
            rte_mbuf* pkts[2][kBurst];
            unsigned n[2] = {0, 0};
            for (unsigned i = 0; i < kBurst; ++i) {
                rte_mbuf* m = rte_pktmbuf_alloc(pool_);
                if (m == nullptr) break;
                Sessions::Side from;
                const unsigned length =
                    sessions_.next(rte_pktmbuf_mtod(m, std::uint8_t*), from, now);
                if (length == 0) {
                    rte_pktmbuf_free(m);
                    break;
                }
                m->data_len = static_cast<std::uint16_t>(length);
                m->pkt_len = length;
                const PortIndex port = from == Sessions::Side::client ? kInside : kOutside;
                pkts[port][n[port]++] = m;
            }
            for (const PortIndex port : {kInside, kOutside})
                if (n[port] != 0) t.sent += send(port, pkts[port], n[port]);
        }
    }

    Options o_;
    Sessions sessions_;
    std::uint64_t hz_;
    rte_mempool* pool_ = nullptr;
    std::array<std::uint16_t, 2> ports_{};
    Random random_;
    std::uint32_t new_flow_ = 0;
    std::uint32_t turn_ = 0;
};

void set_mac(const std::string& text, Mac& mac) {
    if (text.empty()) return;
    unsigned v[6];
    if (std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", v, v + 1, v + 2, v + 3, v + 4, v + 5) != 6)
        die("\"" + text + "\" is not a MAC address");
    for (unsigned i = 0; i < 6; ++i)
        mac[i] = static_cast<std::uint8_t>(v[i]);
}

int run(Options& o) {
    EalConfig eal;
    eal.hugepages = EalConfig::Huge::no;  // leaves them to what is measured
    eal.memory_mb = 128;
    eal.main_cpu = static_cast<std::uint16_t>(o.cpu);
    if (auto r = start_eal(eal); !r) die(r.error().message);
    set_mac(o.to_server_mac, o.sessions.to_server_mac);
    set_mac(o.to_client_mac, o.sessions.to_client_mac);
    o.sessions.ftp = o.load == "ftp";
    o.sessions.repeat_after = rte_get_tsc_hz() / 5;
    {
        Traffic traffic(o);
        std::cout << "ready" << std::endl;
        for (std::string line; std::getline(std::cin, line) && line != "quit";) {
            std::istringstream words(line);
            std::string word;
            double seconds = 0, rate = 0;
            words >> word >> seconds >> rate;
            if (word == "run")
                std::cout << traffic.run(seconds, rate).dump() << std::endl;
            else if (word == "warm")
                std::cout << traffic.warm().dump() << std::endl;
            else
                std::cout << "{\"error\": \"expected warm, run SECONDS [RATE] or quit\"}"
                          << std::endl;
        }
    }
    stop_eal();
    return 0;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    postern::bench::Options o;
    CLI::App app{"Sends over two ports what a firewall between them has to carry, and counts it"};
    app.add_option("--in", o.in, "virtual device towards the inside port")->required();
    app.add_option("--out", o.out, "virtual device towards the outside port")->required();
    app.add_option("--load", o.load, "udp, tcp (open, transfer, close) or ftp")
        ->check(CLI::IsMember({"udp", "tcp", "ftp"}));
    app.add_option("--flows", o.flows, "udp: how many flows")->check(CLI::Range(1u, 1u << 22));
    app.add_option("--new", o.new_permille,
                   "udp: of 1000 packets from inside, those that begin a flow")
        ->check(CLI::Range(0u, 1000u));
    app.add_flag("--both-ways", o.both_ways, "udp: every other burst is answers from outside");
    app.add_option("--frame", o.frame_bytes, "udp: bytes of a frame, without its check sequence")
        ->check(CLI::Range(60u, 1514u));
    app.add_option("--sessions", o.sessions.slots, "tcp, ftp: how many at once")
        ->check(CLI::Range(1u, 65'536u));
    app.add_option("--transfers", o.sessions.transfers, "ftp: of each session");
    app.add_option("--bytes", o.sessions.data_bytes, "tcp, ftp: of each transfer");
    app.add_option("--to-server-mac", o.to_server_mac, "where frames from inside go");
    app.add_option("--to-client-mac", o.to_client_mac, "where frames from outside go");
    app.add_option("--cpu", o.cpu, "run on this CPU");
    app.add_option("--queues", o.queues, "of each port")->check(CLI::Range(1u, 16u));
    CLI11_PARSE(app, argc, argv);
    return postern::bench::run(o);
}
