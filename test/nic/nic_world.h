// SPDX-License-Identifier: BSD-3-Clause
// NicWorld: a whole Firewall between two cards of the model, opened by PortSet as the daemon does.
// All workers run on the test's thread, one turn after the other, with a clock that the test moves.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rte_rcu_qsbr.h>

#include "config/load.h"
#include "firewall.h"
#include "nic/nic_model.h"
#include "pipeline/turn.h"
#include "port/port_set.h"
#include "port_config.h"

namespace postern::nic {

struct Setup {
    unsigned workers = 2;
    Abilities inside, outside;
    std::string policy = "policy:\n  rules:\n    - {from: inside, action: accept}\n";
    std::string more = {};       ///< further sections of the configuration
    std::string of_ports = {};   ///< further keys of both ports: ", mtu: 9000"
    std::string of_bridge = {};  ///< the same of the bridge
    std::uint64_t rss_seed = 1;
    Tick start{100'000};
};

class NicWorld {
  public:
    static constexpr PortId kInside{0}, kOutside{1};

    explicit NicWorld(const Setup& setup)
        : inside("0000:03:00.0", setup.inside),
          outside("0000:03:00.1", setup.outside),
          now(setup.start) {
        const std::string text =
            "zones: [inside, outside]\n"
            "workers: {count: " +
            std::to_string(setup.workers) +
            "}\n"
            "ports:\n"
            "  - {name: in0, device: \"0000:03:00.0\", zone: inside" +
            setup.of_ports +
            "}\n"
            "  - {name: out0, device: \"0000:03:00.1\", zone: outside" +
            setup.of_ports +
            "}\n"
            "bridges: [{ports: [in0, out0], pass: [arp, nd]" +
            setup.of_bridge +
            "}]\n"
            "limits: {connections: 4096, expectations: 256, helped_connections: 64}\n" +
            setup.more + setup.policy;
        auto loaded = load_spec_text(text, "nic.yaml", build_schema());
        for (const auto& e : loaded.errors)
            std::fprintf(stderr, "%s\n", e.to_string().c_str());
        if (!loaded.ok()) std::abort();
        FirewallOptions options;
        options.workers = setup.workers;
        options.secret = HashSecret::from_seed(7);
        options.rss_seed = setup.rss_seed;
        options.start = now;
        options.wall_s = [] { return std::int64_t{0}; };
        auto built = Firewall::build(*loaded.spec, options);
        if (!built) {
            std::fprintf(stderr, "%s\n", built.error().message.c_str());
            std::abort();
        }
        firewall_ = std::move(built).value();
        spec = std::move(*loaded.spec);
        auto opened = PortSet::open(port_config(spec, fw()));
        if (!opened) {
            refusal = opened.error().message;
            return;
        }
        ports_ = std::move(opened).value();
        fw().set_devices_steer(ports_->any_rss(), ports_->reta(), ports_->sctp_ports());
    }
    ~NicWorld() {
        if (ports_ != nullptr) {
            turn();
            check_sums();
            for (unsigned w = 0; w < fw().workers(); ++w)
                fw().worker(w).release_held();
            ports_->workers_ended();
        }
        firewall_.reset();
        ports_.reset();
    }
    NicWorld(const NicWorld&) = delete;
    NicWorld& operator=(const NicWorld&) = delete;

    Nic inside, outside;
    std::string refusal;  ///< why the ports were not opened; empty: they were
    Tick now;
    Spec spec;

    Firewall& fw() { return *firewall_; }
    PortSet& ports() { return *ports_; }
    Nic& nic(PortId p) { return p == kInside ? inside : outside; }
    Nic& beyond(PortId p) { return p == kInside ? outside : inside; }

    /// Turns of every worker, until what one left for another is done, too: a fragment goes to the
    /// worker of its datagram, that to the one of its connection, and to one that may send it.
    void turn() {
        for (unsigned round = 0; round < 4; ++round)
            for (unsigned w = 0; w < fw().workers(); ++w) {
                Io io(*this, fw().worker(w));
                rte_rcu_qsbr_thread_online(fw().rcu(), w);
                while (run_turn(io.worker, io, now).timers_left) {
                }
                rte_rcu_qsbr_thread_offline(fw().rcu(), w);
            }
    }
    /// The frame arrives at a port, and leaves by the other one as it came.
    bool pass(const Frame& frame, PortId port) {
        if (!nic(port).arrive(frame)) return false;
        turn();
        const auto sent = beyond(port).sent();
        return sent.size() == 1 && sent[0].frame == frame && !sent[0].torn;
    }

    std::uint64_t sum(Counter WorkerCounters::*counter) {
        std::uint64_t n = 0;
        for (unsigned w = 0; w < fw().workers(); ++w)
            n += (fw().worker(w).counters().*counter).get();
        return n;
    }
    std::uint64_t drops(DropReason r) {
        std::uint64_t n = 0;
        for (unsigned w = 0; w < fw().workers(); ++w)
            n += fw().worker(w).counters().drops[static_cast<unsigned>(r)].get();
        return n;
    }
    std::uint64_t handed_off() { return sum(&WorkerCounters::handed_off); }
    /// The worker of the connection between these ports, in either direction.
    std::optional<unsigned> home_of(std::uint16_t sport, std::uint16_t dport) {
        for (unsigned w = 0; w < fw().workers(); ++w) {
            ConnTable& t = fw().worker(w).conns();
            for (std::uint32_t s = 1; s <= t.capacity(); ++s)
                if (t.at(s).alive() && t.at(s).dport.host() == dport &&
                    t.at(s).sport.host() == sport)
                    return w;
        }
        return std::nullopt;
    }

  private:
    struct Io : TurnIoDefaults {
        NicWorld& world;
        Worker& worker;
        unsigned next = 0;

        Io(NicWorld& its, Worker& w) : world(its), worker(w) {}
        unsigned receive(rte_mbuf** pkts) {
            while (next < 2)
                if (const unsigned n =
                        world.ports().receive(PortId::from(next++), worker.id(), pkts, 32);
                    n != 0)
                    return n;
            next = 0;
            return 0;
        }
        void send(PortId port, rte_mbuf** pkts, unsigned n) {
            count(port, world.ports().send(port, worker.id(), pkts, n));
        }
        unsigned send_for_others() {
            unsigned found = 0;
            for (unsigned p = 0; p < 2; ++p) {
                PortSet::Unsent unsent;
                found += world.ports().send_for_others(PortId::from(p), worker.id(), unsent);
                count(PortId::from(p), unsent);
            }
            return found;
        }
        void quiescent() { rte_rcu_qsbr_quiescent(world.fw().rcu(), worker.id().number()); }
        void count(PortId port, const PortSet::Unsent& unsent) {
            if (unsent.full != 0) worker.count_unsent(port, unsent.full, DropReason::tx_full);
            if (unsent.down != 0) worker.count_unsent(port, unsent.down, DropReason::link_down);
        }
    };
    /// Every frame that came has left, was dropped, or is held.
    void check_sums() {
        using C = WorkerCounters;
        const auto in = sum(&C::rx_packets) + sum(&C::rejected);
        const auto out = sum(&C::tx_packets) - sum(&C::unsent) + sum(&C::dropped) +
                         sum(&C::fragments_held) + sum(&C::helper_waits);
        if (in == out && sum(&C::handed_off) == sum(&C::taken_over)) return;
        std::fprintf(stderr, "counters do not add up: %lu in, %lu out, %lu handed, %lu taken\n", in,
                     out, sum(&C::handed_off), sum(&C::taken_over));
        std::abort();
    }

    std::unique_ptr<Firewall> firewall_;
    std::unique_ptr<PortSet> ports_;
};

}  // namespace postern::nic
