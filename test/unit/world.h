// SPDX-License-Identifier: BSD-3-Clause
// World: a whole Firewall whose workers all run on the test's thread, one turn after the other,
// with a clock that the test moves. Each test program has one EAL (support/eal.h).
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>

#include "config/load.h"
#include "firewall.h"
#include "pipeline/turn.h"
#include "support/frames.h"

namespace postern {

class World {
  public:
    static constexpr PortId kInside{0}, kOutside{1};
    static constexpr std::uint32_t kPacketRecords = 64;

    static constexpr const char* kLimits =
        "connections: 1024, expectations: 256, helped_connections: 64";

    World(const std::string& policy, unsigned workers, const std::string& more = {},
          const std::string& limits = kLimits, const std::string& bridge = {},
          std::uint32_t conn_events = 0, const std::string& pass = "[arp, nd]")
        : World(Whole{with_two_ports(policy, more, limits, bridge, pass)}, workers, conn_events) {}
    static std::string with_two_ports(const std::string& policy, const std::string& more = {},
                                      const std::string& limits = kLimits,
                                      const std::string& bridge = {},
                                      const std::string& pass = "[arp, nd]") {
        return "zones: [inside, outside]\n"
               "ports:\n"
               "  - {name: in0, device: net_null0, zone: inside}\n"
               "  - {name: out0, device: net_null1, zone: outside}\n"
               "bridges: [{ports: [in0, out0], pass: " +
               pass + bridge + "}]\nlimits: {" + limits + "}\n" + more + policy;
    }
    /// Puts another whole configuration into force.
    Result<void> replace(const std::string& text) {
        auto loaded = load_spec_text(text, "next.yaml", build_schema());
        for (const auto& e : loaded.errors)
            std::fprintf(stderr, "%s\n", e.to_string().c_str());
        if (!loaded.ok()) return Error{"wrong configuration"};
        return fw().replace_plan(*loaded.spec);
    }

    /// A whole configuration.
    struct Whole {
        std::string text;
    };
    World(const Whole& whole, unsigned workers, std::uint32_t conn_events = 0) {
        const std::string& text = whole.text;
        auto loaded = load_spec_text(text, "world.yaml", build_schema());
        for (const auto& e : loaded.errors)
            std::fprintf(stderr, "%s\n", e.to_string().c_str());
        if (!loaded.ok()) std::abort();
        FirewallOptions options;
        options.workers = workers;
        options.secret = HashSecret::from_seed(7);
        options.start = now;
        options.expect_events = 64;
        options.conn_events = conn_events;
        options.packet_records = kPacketRecords;
        options.wall_s = [this] { return wall_s; };
        options.handoff_ring = 128;
        auto built = Firewall::build(*loaded.spec, options);
        if (!built) {
            std::fprintf(stderr, "%s\n", built.error().message.c_str());
            std::abort();
        }
        firewall_ = std::move(built).value();
        for (unsigned i = 0; i <= workers; ++i)
            rte_rcu_qsbr_thread_online(fw().rcu(), i);
        static unsigned serial = 0;
        pool_ = rte_pktmbuf_pool_create(("world_" + std::to_string(serial++)).c_str(), 255, 0, 0,
                                        2048, SOCKET_ID_ANY);
        if (pool_ == nullptr) std::abort();
    }
    ~World() {
        turn();  // empties the rings between workers
        if (const std::string wrong = unbalanced(); !wrong.empty()) {
            std::fprintf(stderr, "counters do not add up: %s\n", wrong.c_str());
            std::abort();
        }
        // Who is still a reader keeps what the table has yet to reuse.
        for (unsigned i = 0; i <= fw().workers(); ++i)
            rte_rcu_qsbr_thread_offline(fw().rcu(), i);
        firewall_.reset();
        rte_mempool_free(pool_);
    }
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    Firewall& fw() { return *firewall_; }
    Tick now{100'000};
    std::int64_t wall_s = 0;  ///< the time of day, for schedules

    /// Packet buffers that nobody has given back.
    unsigned buffers_in_use() { return rte_mempool_in_use_count(pool_); }

    /// One frame into a port, on the worker that a device without RSS would choose; true when it
    /// came out of the other.
    bool send(const frames::Frame& frame, PortId port, unsigned on = 0) {
        rte_mbuf* m = packet(frame, port);
        sent_ = 0;
        Worker& worker = fw().worker(on);
        worker.begin_turn(now);
        worker.begin(&m, 1, now);
        worker.run_stages();
        put_out(worker);
        turn();
        return sent_ != 0;
    }
    /// The same by a whole turn of that worker, so that captures and traces see it.
    bool send_by_turn(const frames::Frame& frame, PortId port, unsigned on = 0) {
        sent_ = 0;
        Io io(*this, fw().worker(on));
        io.next = packet(frame, port);
        run_turn(io.worker, io, now);
        turn();
        return sent_ != 0;
    }
    bool from_inside(const frames::Frame& f) { return send(f, kInside); }
    bool from_outside(const frames::Frame& f) { return send(f, kOutside); }

    struct Packet {
        frames::Frame frame;
        PortId port;
    };
    /// Several frames in one burst on one worker. What became of each: 'a' accepted, 'd' dropped,
    /// 'w' given to another worker, 'h' held, '?' none or more than one of these.
    std::string send_burst(const std::vector<Packet>& packets, unsigned on = 0) {
        take(packets, on);
        fw().worker(on).run_stages();
        const std::string fate = fates(on);
        put_out(fw().worker(on));
        return fate;
    }
    /// The parts of send_burst(), for tests that stop between two stages.
    void take(const std::vector<Packet>& packets, unsigned on) {
        rte_mbuf* pkts[kMaxBurst];
        unsigned n = 0;
        for (const Packet& p : packets)
            pkts[n++] = packet(p.frame, p.port);
        fw().worker(on).begin_turn(now);
        fw().worker(on).begin(pkts, n, now);
    }
    std::string fates(unsigned on) {
        const Batch& b = fw().worker(on).batch();
        std::string fate;
        for (unsigned i = 0; i < b.n; ++i) {
            const bool a = b[MaskId::accept] & bit(i), d = b[MaskId::drop] & bit(i),
                       w = b[MaskId::away] & bit(i), h = b[MaskId::held] & bit(i);
            fate += a + d + w + h != 1 ? '?' : a ? 'a' : d ? 'd' : w ? 'w' : 'h';
        }
        return fate;
    }
    /// finish(); what is accepted goes to `out`.
    void put_out(Worker& w) {
        Io io(*this, w);
        conclude(w, io);
    }
    /// With keep_out: all that came out, and by which port.
    bool keep_out = false;
    std::vector<Packet> out;
    /// Packet buffers that somebody holds.
    unsigned buffers_in_use() const { return rte_mempool_in_use_count(pool_); }
    std::uint64_t drops(DropReason r) {
        std::uint64_t n = 0;
        for (unsigned w = 0; w < fw().workers(); ++w)
            n += fw().worker(w).counters().drops[static_cast<unsigned>(r)].get();
        return n;
    }

    /// Those of one port.
    std::uint64_t drops_at(PortId port, DropReason r) {
        std::uint64_t n = 0;
        for (unsigned w = 0; w < fw().workers(); ++w)
            n += fw().worker(w).counters().drops_at[port.number()][static_cast<unsigned>(r)].get();
        return n;
    }

    /// Turns of every worker: what others left for it, and its housekeeping.
    void turn() {
        for (unsigned round = 0; round < 2; ++round)
            for (unsigned w = 0; w < fw().workers(); ++w) {
                Io io(*this, fw().worker(w));
                while (run_turn(fw().worker(w), io, now).timers_left) {
                }
            }
        rte_rcu_qsbr_quiescent(fw().rcu(), fw().control_reader());
    }
    /// What does not add up in the workers' counters while no packet is in a ring between them;
    /// empty: nothing. Every frame that came has left, was dropped, or is held; an answer is one
    /// frame more.
    std::string unbalanced() {
        std::uint64_t drops = 0;
        for (unsigned r = 0; r < kDropReasons; ++r)
            drops += this->drops(static_cast<DropReason>(r));
        using C = WorkerCounters;
        const std::uint64_t in = sum(&C::rx_packets) + sum(&C::rejected);
        const std::uint64_t sent = sum(&C::tx_packets) - sum(&C::unsent);
        const std::uint64_t held = sum(&C::fragments_held) + sum(&C::helper_waits);
        const std::uint64_t dropped = sum(&C::dropped);
        std::uint64_t by_port = 0;
        for (unsigned p = 0; p < kMaxPorts; ++p)
            for (unsigned r = 0; r < kDropReasons; ++r)
                by_port += drops_at(PortId::from(p), static_cast<DropReason>(r));
        std::string wrong;
        const auto compare = [&](const char* what, std::uint64_t a, std::uint64_t b) {
            if (a != b)
                wrong += std::string(what) + ": " + std::to_string(a) + " and " +
                         std::to_string(b) + "; ";
        };
        compare("handed over, taken over", sum(&C::handed_off), sum(&C::taken_over));
        compare("dropped, sum of drops", dropped, drops);
        compare("dropped, sum of drops by port", dropped, by_port);
        compare("received + answers, sent + dropped + held", in, sent + dropped + held);
        return wrong;
    }
    /// Time passes for everybody, in steps.
    void pass(std::uint32_t ms, std::uint32_t step_ms = 50) {
        for (; ms >= step_ms; ms -= step_ms) {
            now = now + step_ms;
            turn();
        }
    }

    struct Found {
        unsigned worker;
        ConnId id;
        Conn conn;
    };
    /// The connection with this original destination port.
    std::optional<Found> connection(std::uint16_t dport) {
        for (unsigned w = 0; w < fw().workers(); ++w) {
            ConnTable& t = fw().worker(w).conns();
            for (std::uint32_t s = 1; s <= t.capacity(); ++s)
                if (t.at(s).alive() && t.at(s).dport.host() == dport)
                    return Found{w, t.id_of(s), t.at(s)};
        }
        return std::nullopt;
    }
    std::uint64_t sum(Counter WorkerCounters::*counter) {
        std::uint64_t n = 0;
        for (unsigned w = 0; w < fw().workers(); ++w)
            n += (fw().worker(w).counters().*counter).get();
        return n;
    }

  private:
    /// Only `next` comes from outside; see send_burst().
    struct Io : TurnIoDefaults {
        World& world;
        Worker& worker;
        rte_mbuf* next = nullptr;

        Io(World& its, Worker& w) : world(its), worker(w) {}
        unsigned receive(rte_mbuf** pkts) {
            pkts[0] = next;
            return std::exchange(next, nullptr) != nullptr ? 1 : 0;
        }
        void send(PortId port, rte_mbuf** pkts, unsigned n) {
            for (unsigned i = 0; i < n; ++i) {
                const auto* data = rte_pktmbuf_mtod(pkts[i], const std::uint8_t*);
                if (world.keep_out)
                    world.out.push_back(
                        {frames::Frame(data, data + rte_pktmbuf_data_len(pkts[i])), port});
                rte_pktmbuf_free(pkts[i]);
            }
            world.sent_ += n;
        }
        void quiescent() { rte_rcu_qsbr_quiescent(world.fw().rcu(), worker.id().number()); }
    };
    rte_mbuf* packet(const frames::Frame& frame, PortId port) {
        rte_mbuf* m = rte_pktmbuf_alloc(pool_);
        std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(frame.size())), frame.data(),
                    frame.size());
        m->port = port.number();
        return m;
    }

    std::unique_ptr<Firewall> firewall_;
    rte_mempool* pool_ = nullptr;
    unsigned sent_ = 0;
};

/// A TCP conversation through a World; keeps the sequence numbers.
class Talk {
  public:
    /// `client` and `server` as in frames::flow(); who is inside is told by `opens_inside`.
    /// `bridge`: its number, where bridge n has the ports 2n and 2n + 1.
    Talk(World& world, frames::Flow flow, bool opens_inside = true, unsigned bridge = 0)
        : world_(world), flow_(flow), inside_(opens_inside), bridge_(bridge) {}

    /// The three packets that open it; false as soon as one does not pass.
    bool open() {
        if (!packet(Direction::original, 0x02)) return false;
        return packet(Direction::reply, 0x12) && packet(Direction::original, 0x10);
    }
    bool client(std::string_view text) { return packet(Direction::original, 0x18, text); }
    bool server(std::string_view text) { return packet(Direction::reply, 0x18, text); }
    bool packet(Direction d, std::uint8_t flags, std::string_view text = {}) {
        frames::TcpFields t;
        t.flags = flags;
        t.seq = seq_[index(d)];
        if (flags & 0x10) t.ack = seq_[1 - index(d)];
        t.payload = text;
        const bool original = d == Direction::original;
        const PortId port = original == inside_ ? World::kInside : World::kOutside;
        const bool passed = world_.send(frames::tcp(original ? flow_ : flow_.back(), t),
                                        PortId::from(port.number() + 2 * bridge_));
        if (passed)
            seq_[index(d)] +=
                static_cast<std::uint32_t>(text.size()) + ((flags & 0x03) != 0 ? 1u : 0u);
        return passed;
    }

    /// A packet that was held has gone on.
    void passed_later(Direction d, std::string_view text) {
        seq_[index(d)] += static_cast<std::uint32_t>(text.size());
    }

  private:
    World& world_;
    frames::Flow flow_;
    bool inside_;
    unsigned bridge_;
    std::uint32_t seq_[2] = {1000, 5000};
};

}  // namespace postern
