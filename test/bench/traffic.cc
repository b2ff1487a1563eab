// SPDX-License-Identifier: BSD-3-Clause
// A generator and sink over two ports, for what testpmd cannot send: flows that begin and end,
// whole TCP and FTP sessions, and probes that carry the time they were sent.
//
//   traffic --in DEVICE --out DEVICE [--sessions N] ...
//
// Packets go in at one port and are expected at the other. It reads commands from standard input,
// one a line, and answers each with one line of JSON:
//
//   warm FLOWS        a UDP packet of each flow both ways, slowly enough that none is lost
//   udp SECONDS RATE FLOWS NEW BOTH
//                     packets of these flows at random, RATE a second (0: as fast as it can); of
//                     1000 packets from inside NEW begin a flow instead; BOTH 1: every other burst
//                     is answers from outside
//   tcp SECONDS       sessions of open, ask, answer, close, one after the other
//   ftp SECONDS       FTP sessions
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

#include <nlohmann/json.hpp>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sched.h>

#include "command_line.h"
#include "path_lab.h"
#include "port/eal.h"
#include "sessions.h"
#include "wire.h"

namespace postern::bench {
namespace {

constexpr unsigned kPacedBurst = 8, kDescriptors = 1024;
constexpr std::uint32_t kNewFlows = 1u << 22;  ///< numbers of flows that begin are from here on
constexpr std::uint32_t kMagic = 0x706f7374;
constexpr unsigned kUdpPayloadAt = 14 + 20 + 8;

struct Options {
    std::string in, out;
    unsigned frame_bytes = 60;
    SessionConfig sessions;
    std::string to_server_mac, to_client_mac;
    int cpu = 0;
    unsigned receive_queues = 1;
};

/// What the command `udp` asks for.
struct UdpLoad {
    double rate = 0;  ///< packets a second; 0: as fast as possible
    std::uint32_t flows = 1000;
    unsigned new_permille = 0;
    unsigned both_ways = 0;
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
    explicit Traffic(const Options& o)
        : o_(o),
          sessions_{Sessions(of_kind(o, false)), Sessions(of_kind(o, true))},
          hz_(rte_get_tsc_hz()) {
        pool_ = rte_pktmbuf_pool_create("packets", 16383, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
                                        SOCKET_ID_ANY);
        if (pool_ == nullptr) die("no memory for packet buffers");
        ports_[kInside.number()] = open(o.in);
        ports_[kOutside.number()] = open(o.out);
    }
    ~Traffic() {
        for (const std::uint16_t port : ports_) {
            rte_eth_dev_stop(port);
            rte_eth_dev_close(port);
        }
    }
    Traffic(const Traffic&) = delete;
    Traffic& operator=(const Traffic&) = delete;

    nlohmann::json udp(double seconds, const UdpLoad& load) {
        drain();
        Totals t;
        const std::uint64_t start = rte_rdtsc();
        send_udp(start, start + cycles(seconds), load, t);
        return row_of(t, start);
    }
    nlohmann::json sessions(double seconds, bool ftp) {
        playing_ = &sessions_[ftp];
        drain();
        Totals t;
        const Sessions::Counts before = playing_->counts();
        const std::uint64_t start = rte_rdtsc();
        send_sessions(start + cycles(seconds), t);
        nlohmann::json row = row_of(t, start);
        const Sessions::Counts& now = playing_->counts();
        row["sessions"] = now.sessions - before.sessions;
        row["connections"] = now.connections - before.connections;
        row["announced"] = now.announced - before.announced;
        row["repeated"] = now.repeated - before.repeated;
        row["failed"] = now.failed - before.failed;
        row["strays"] = now.strays - before.strays;
        playing_ = nullptr;
        return row;
    }

    /// Each flow once from inside and once back, until most of a round comes through.
    nlohmann::json warm(std::uint32_t flows) {
        Totals t;
        const std::uint64_t end = rte_rdtsc() + hz_ * 20;
        for (const PortId from : {kInside, kOutside})
            for (std::uint32_t f = 0; f < flows && rte_rdtsc() < end;) {
                rte_mbuf* pkts[kPacedBurst];
                const unsigned n = std::min(kPacedBurst, flows - f);
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
    static SessionConfig of_kind(const Options& o, bool ftp) {
        SessionConfig config = o.sessions;
        config.ftp = ftp;
        return config;
    }
    std::uint64_t cycles(double seconds) const {
        return static_cast<std::uint64_t>(seconds * static_cast<double>(hz_));
    }
    nlohmann::json row_of(const Totals& t, std::uint64_t start) const {
        const double took = static_cast<double>(rte_rdtsc() - start) / static_cast<double>(hz_);
        nlohmann::json row{{"seconds", took},
                           {"sent", t.sent},
                           {"received", t.received},
                           {"pps", static_cast<double>(t.received) / took}};
        if (t.latency.total() != 0) {
            const double us = 1e6 / static_cast<double>(hz_);
            row["latency_us"] = {{"p50", t.latency.percentile(0.5) * us},
                                 {"p99", t.latency.percentile(0.99) * us},
                                 {"p99.9", t.latency.percentile(0.999) * us},
                                 {"max", static_cast<double>(t.latency.largest()) * us}};
        }
        return row;
    }

    std::uint16_t open(const std::string& device) {
        if (rte_dev_probe(device.c_str()) != 0) die("cannot open " + device);
        std::uint16_t id = 0;
        if (rte_eth_dev_get_port_by_name(device.substr(0, device.find(',')).c_str(), &id) != 0)
            die("no port of " + device);
        rte_eth_conf conf{};
        const auto queues = static_cast<std::uint16_t>(o_.receive_queues);
        std::uint16_t rxd = kDescriptors, txd = kDescriptors;
        if (rte_eth_dev_configure(id, queues, 1, &conf) != 0 ||
            rte_eth_dev_adjust_nb_rx_tx_desc(id, &rxd, &txd) != 0)
            die("cannot configure " + device);
        for (std::uint16_t q = 0; q < queues; ++q)
            if (rte_eth_rx_queue_setup(id, q, rxd, 0, nullptr, pool_) != 0)
                die("cannot set up the receive queues of " + device);
        if (rte_eth_tx_queue_setup(id, 0, txd, 0, nullptr) != 0)
            die("cannot set up the transmit queue of " + device);
        if (rte_eth_dev_start(id) != 0) die("cannot start " + device);
        rte_eth_promiscuous_enable(id);
        return id;
    }

    void write_udp(rte_mbuf* m, PortId from, std::uint32_t flow) {
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

    unsigned send(PortId from, rte_mbuf** pkts, unsigned n) {
        const unsigned sent =
            rte_eth_tx_burst(ports_[from.number()], 0, pkts, static_cast<std::uint16_t>(n));
        if (sent < n) rte_pktmbuf_free_bulk(pkts + sent, n - sent);
        return sent;
    }

    void receive(Totals& t) {
        for (const PortId port : {kInside, kOutside})
            for (std::uint16_t q = 0; q < o_.receive_queues; ++q) {
                rte_mbuf* pkts[kBurst];
                const unsigned n = rte_eth_rx_burst(ports_[port.number()], q, pkts, kBurst);
                if (n == 0) continue;
                if (playing_ == nullptr)
                    take_udp(pkts, n, t);
                else
                    take_sessions(pkts, n, port, t);
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
    void take_sessions(rte_mbuf** pkts, unsigned n, PortId port, Totals& t) {
        const auto at = port == kInside ? Sessions::Side::client : Sessions::Side::server;
        for (unsigned i = 0; i < n; ++i)
            playing_->arrived(rte_pktmbuf_mtod(pkts[i], const std::uint8_t*), pkts[i]->data_len,
                              at);
        t.received += n;
    }
    /// What is still on its way from an earlier run.
    void drain() {
        Totals ignored;
        for (const std::uint64_t end = rte_rdtsc() + hz_ / 100; rte_rdtsc() < end;)
            receive(ignored);
    }

    void send_udp(std::uint64_t start, std::uint64_t end, const UdpLoad& load, Totals& t) {
        const unsigned burst = load.rate > 0 ? kPacedBurst : kBurst;
        const double gap = load.rate > 0 ? static_cast<double>(hz_) * burst / load.rate : 0;
        double next = static_cast<double>(start);
        bool outward = true;
        for (std::uint64_t now = start; now < end; now = rte_rdtsc()) {
            receive(t);
            if (static_cast<double>(now) < next) continue;
            // Who was held up does not catch up with a flood.
            next = std::max(next + gap, static_cast<double>(now) - 16 * gap);
            rte_mbuf* pkts[kBurst];
            if (rte_pktmbuf_alloc_bulk(pool_, pkts, burst) != 0) continue;
            const PortId from = outward || load.both_ways == 0 ? kInside : kOutside;
            outward = !outward;
            for (unsigned i = 0; i < burst; ++i) {
                const bool fresh = from == kInside && random_.below(1000) < load.new_permille;
                write_udp(pkts[i], from,
                          fresh ? kNewFlows + new_flow_++ % kNewFlows : random_.below(load.flows));
            }
            t.sent += send(from, pkts, burst);
        }
    }

    void send_sessions(std::uint64_t end, Totals& t) {
        for (std::uint64_t now = rte_rdtsc(); now < end; now = rte_rdtsc()) {
            receive(t);
            playing_->look_for_lost(now);
            rte_mbuf* pkts[2][kBurst];
            unsigned n[2] = {0, 0};
            for (unsigned i = 0; i < kBurst; ++i) {
                rte_mbuf* m = rte_pktmbuf_alloc(pool_);
                if (m == nullptr) break;
                Sessions::Side from;
                const unsigned length =
                    playing_->next(rte_pktmbuf_mtod(m, std::uint8_t*), from, now);
                if (length == 0) {
                    rte_pktmbuf_free(m);
                    break;
                }
                m->data_len = static_cast<std::uint16_t>(length);
                m->pkt_len = length;
                const PortId port = from == Sessions::Side::client ? kInside : kOutside;
                pkts[port.number()][n[port.number()]++] = m;
            }
            for (const PortId port : {kInside, kOutside})
                if (n[port.number()] != 0)
                    t.sent += send(port, pkts[port.number()], n[port.number()]);
        }
    }

    Options o_;
    std::array<Sessions, 2> sessions_;  ///< tcp, ftp
    Sessions* playing_ = nullptr;       ///< null: UDP
    std::uint64_t hz_;
    rte_mempool* pool_ = nullptr;
    std::array<std::uint16_t, 2> ports_{};
    Random random_;
    std::uint32_t new_flow_ = 0;
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
    o.sessions.repeat_after = rte_get_tsc_hz() / 5;
    {
        Traffic traffic(o);
        std::cout << "ready" << std::endl;
        for (std::string line; std::getline(std::cin, line) && line != "quit";) {
            std::istringstream words(line);
            std::string word;
            double seconds = 0;
            UdpLoad load;
            words >> word;
            nlohmann::json answer;
            if (word == "warm" && words >> load.flows)
                answer = traffic.warm(load.flows);
            else if (word == "udp" && words >> seconds >> load.rate >> load.flows >>
                                          load.new_permille >> load.both_ways)
                answer = traffic.udp(seconds, load);
            else if ((word == "tcp" || word == "ftp") && words >> seconds)
                answer = traffic.sessions(seconds, word == "ftp");
            else
                answer = {{"error", "no such command: " + line}};
            std::cout << answer.dump() << std::endl;
        }
    }
    stop_eal();
    return 0;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    postern::bench::Options o;
    postern::bench::CommandLine line{
        "Sends over two ports what a firewall between them has to carry, and counts it"};
    line.required_text("--in", o.in, "virtual device towards the inside port");
    line.required_text("--out", o.out, "virtual device towards the outside port");
    line.number("--frame", o.frame_bytes, "udp: bytes of a frame, without its check sequence", 60,
                1514);
    line.number("--sessions", o.sessions.slots, "tcp, ftp: how many at once", 1, 65'536);
    line.number("--transfers", o.sessions.transfers, "ftp: of each session");
    line.number("--bytes", o.sessions.data_bytes, "tcp, ftp: of each transfer");
    line.text("--to-server-mac", o.to_server_mac, "where frames from inside go");
    line.text("--to-client-mac", o.to_client_mac, "where frames from outside go");
    line.number("--cpu", o.cpu, "run on this CPU");
    line.number("--receive-queues", o.receive_queues, "of each port", 1, 16);
    line.parse(argc, argv);
    return postern::bench::run(o);
}
