// SPDX-License-Identifier: BSD-3-Clause
// Plans replaced as fast as once a millisecond, while workers on threads of their own judge
// packets.
//
//   plan_stress [--seconds N] [--workers N] [--per-second N]
//
// Plan number s accepts UDP to the port 1000 + s % 4 and nothing else, by a rule that only every
// fourth plan has; and its rule's mark and label, and how long a connection may wait for an answer,
// are made of s. Each worker sends bursts with packets to all four ports, and looks at what became
// of them before the burst leaves. Always:
//  * what is accepted has the rule, mark, label and timeout of one plan: no mixture;
//  * all packets that a worker judges in one turn are judged by the same plan;
//  * that plan was in force at some time of this turn.
// Besides, each worker has a long FTP control connection whose helper set changes under it, and
// which is never cut: every other four plans ask about running connections again, and end those of
// other plans' rules. At the end all replaced plans are freed, and no packet buffer is left.
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstring>
#include <thread>
#include <vector>

#include "pipeline/turn.h"
#include "stress/locked_pool.h"
#include "support/init_eal.h"
#include "unit/world.h"

namespace postern {
namespace {

constexpr unsigned kKinds = 4;  ///< of plans
constexpr unsigned kFirstPort = 1000;

/// The configuration of plans whose number is `kind` modulo kKinds.
std::string config(unsigned kind) {
    const std::string port = std::to_string(kFirstPort + kind);
    return "zones: [inside, outside]\n"
           "ports:\n"
           "  - {name: in0, device: net_null0, zone: inside}\n"
           "  - {name: out0, device: net_null1, zone: outside}\n"
           "bridges: [{ports: [in0, out0]}]\n"
           "limits: {connections: 65536, expectations: 1024, helped_connections: 256}\n"
           "timeouts: {udp: {unreplied: 1}}\n"
           "helpers: [{name: ftp, params: {loose: " +
           std::string(kind < kKinds / 2 ? "true" : "false") +
           "}}]\n"
           "policy:\n"
           "  default: drop\n"
           "  rules:\n"
           "    - {name: control, from: inside, proto: tcp, dport: 21, ct: [new], action: accept,"
           " helper: ftp}\n"
           "    - {name: data, ct: [related], related: [ftp], action: accept}\n"
           "    - {name: udp" +
           port + ", from: inside, proto: udp, dport: " + port + ", action: accept}\n";
}

Spec spec_of(unsigned kind) {
    auto loaded = load_spec_text(config(kind), "plan.yaml", build_schema());
    if (!loaded.ok()) {
        for (const auto& e : loaded.errors)
            std::fprintf(stderr, "%s\n", e.to_string().c_str());
        std::exit(2);
    }
    return *loaded.spec;
}

constexpr std::uint32_t timeout_of_plan(std::uint32_t serial) {
    return 1000 + serial % 997;
}

class PlanStress {
  public:
    PlanStress(unsigned workers, unsigned seconds, unsigned per_second)
        : workers_(workers),
          seconds_(seconds),
          per_second_(per_second),
          world_(World::Whole{config(0)}, workers),
          pool_(LockedPool::create("plan_stress", 8191, 2048)) {}
    ~PlanStress() { rte_mempool_free(pool_); }

    int run() {
        make_kinds();
        publish();  // the first one has no number
        for (unsigned w = 0; w < workers_; ++w)
            rte_rcu_qsbr_quiescent(fw().rcu(), w);
        for (unsigned w = 0; w <= workers_; ++w)
            rte_rcu_qsbr_thread_offline(fw().rcu(), w);
        std::vector<std::thread> threads;
        for (unsigned w = 0; w < workers_; ++w)
            threads.emplace_back([this, w] { work(w); });
        const double rate = replace_plans();
        for (auto& t : threads)
            t.join();
        check(fw().reclaim_plans() == 0, "a replaced plan was not freed");
        for (unsigned w = 0; w <= workers_; ++w)
            rte_rcu_qsbr_thread_online(fw().rcu(), w);
        for (unsigned i = 0; i < 4; ++i)
            world_.turn();
        check(rte_mempool_in_use_count(pool_) == 0, "packet buffers are left");
        check(world_.unbalanced().empty(), "counters do not add up");
        check(judged_.load() != 0 && accepted_.load() != 0, "no packet was judged");
        check(world_.sum(&WorkerCounters::connections_refused) != 0,
              "nothing was refused later on");
        check(lines_.load() != 0, "no line of a control connection passed");
        std::printf("%u workers, %u s: %" PRIu32 " plans (%.0f a second), %" PRIu64
                    " packets judged, %" PRIu64 " accepted, %" PRIu64 " lines read: %s\n",
                    workers_, seconds_, serial_, rate, judged_.load(), accepted_.load(),
                    lines_.load(), failures_ == 0 ? "ok" : "FAILED");
        return failures_ == 0 ? 0 : 1;
    }

  private:
    Firewall& fw() { return world_.fw(); }
    void check(bool good, const char* what) {
        if (!good && failures_.fetch_add(1) < 10) std::fprintf(stderr, "check failed: %s\n", what);
    }
    Tick now() const {
        return Tick{100'000 + static_cast<std::uint32_t>(
                                  std::chrono::duration_cast<std::chrono::milliseconds>(
                                      std::chrono::steady_clock::now() - begun_)
                                      .count())};
    }

    // ---- control ----

    /// One plan of each kind, compiled. Each knows the names of the others as gone.
    void make_kinds() {
        for (unsigned round = 0; round < 2; ++round)
            for (unsigned kind = 0; kind < kKinds; ++kind) {
                if (const auto done = fw().replace_plan(spec_of(kind)); !done) {
                    std::fprintf(stderr, "%s\n", done.error().message.c_str());
                    std::exit(2);
                }
                if (round == 1) {
                    kinds_.push_back(fw().plan());
                    rule_[kind] = rule_of(kinds_.back(), kind);
                }
            }
    }
    static RuleId rule_of(const Plan& plan, unsigned kind) {
        RuleId id{};
        while (plan.rule_name(id) != "udp" + std::to_string(kFirstPort + kind))
            id = RuleId{id.number() + 1};
        return id;
    }

    /// The next number's plan: a copy, which shares what was compiled.
    void publish() {
        const std::uint32_t serial = serial_ + 1;
        const unsigned kind = serial % kKinds;
        Plan plan = kinds_[kind];
        RuleEffect& effect = plan.effects[rule_[kind].number()];
        effect.mark = effect.label = serial;
        effect.mark_mask = effect.label_mask = ~0u;
        plan.recheck = serial / kKinds % 2 != 0;
        plan.track.timeouts[0].udp_ms[0] = timeout_of_plan(serial);
        // Pairs with the workers' loads: a worker may take this plan from now on; and has to, or a
        // later one, in a turn that begins after it is published.
        begun_serial_.store(serial, std::memory_order_release);
        fw().publish_plan(std::move(plan));
        published_serial_.store(serial, std::memory_order_release);
        serial_ = serial;
    }

    /// Another thread compiles from what is in force, one plan after the other, as `config load`
    /// does.
    void compile_beside() {
        if (compiling_.load(std::memory_order_acquire)) return;
        if (compiler_.joinable()) compiler_.join();
        compiling_.store(true, std::memory_order_relaxed);
        compiler_ = std::thread([this, kind = compiled_ % kKinds, basis = fw().plan_basis()] {
            check(Firewall::compile_plan(spec_of(kind), basis).ok(), "a plan does not compile");
            compiling_.store(false, std::memory_order_release);
        });
        ++compiled_;
    }

    double replace_plans() {
        using namespace std::chrono;
        const auto start = steady_clock::now(), end = start + seconds(seconds_);
        auto next = start;
        std::uint32_t n = 0;
        while (steady_clock::now() < end) {
            publish();
            ++n;
            compile_beside();
            fw().reclaim_plans();
            next += microseconds(1'000'000 / per_second_);
            std::this_thread::sleep_until(next);
        }
        stop_.store(true, std::memory_order_relaxed);
        if (compiler_.joinable()) compiler_.join();
        check(compiled_ > 1, "no plan was compiled beside");
        return n / duration<double>(steady_clock::now() - start).count();
    }

    // ---- a worker ----

    struct Io : TurnIoDefaults {
        PlanStress& test;
        unsigned id;
        unsigned bursts = 0;       ///< still to come in this turn
        std::uint32_t serial = 0;  ///< of the plan that judges this turn; 0: not known yet
        unsigned refused = 0;      ///< kinds whose packets were dropped in this turn, a bit each
        std::uint16_t sport = 1024;
        unsigned client_of_worker = 0;
        std::uint32_t seq = 1000;
        frames::Flow control;

        Io(PlanStress& its, unsigned worker) : test(its), id(worker) {}
        unsigned receive(rte_mbuf** out) {
            if (bursts == 0) return 0;
            --bursts;
            unsigned n = 0;
            // No flow twice: each is to meet policy.
            const std::string client =
                "10.0." + std::to_string(client_of_worker) + "." + std::to_string(1 + id);
            for (unsigned kind = 0; kind < kKinds; ++kind) {
                const auto f = frames::flow(client, sport, "192.0.2.2", kFirstPort + kind);
                if (rte_mbuf* m = test.packet(frames::udp(f))) out[n++] = m;
            }
            if (++sport == 0) {
                ++client_of_worker;
                sport = 1024;
            }
            if (rte_mbuf* m = test.packet(frames::tcp(
                    control, {.flags = 0x18, .seq = seq, .ack = 5001, .payload = "NOOP\r\n"}))) {
                out[n++] = m;
                seq += 6;
            }
            if (rte_mbuf* m = test.packet(
                    frames::tcp(control.back(), {.flags = 0x10, .seq = 5001, .ack = seq}))) {
                m->port = World::kOutside.number();
                out[n++] = m;
            }
            return n;
        }
        void decided(Worker& worker) { test.look_at(*this, worker); }
        void send(PortId, rte_mbuf** out, unsigned n) { rte_pktmbuf_free_bulk(out, n); }
        void quiescent() { rte_rcu_qsbr_quiescent(test.fw().rcu(), id); }
    };

    rte_mbuf* packet(const frames::Frame& frame) {
        rte_mbuf* m = rte_pktmbuf_alloc(pool_);
        if (m == nullptr) return nullptr;
        std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(frame.size())), frame.data(),
                    frame.size());
        m->port = World::kInside.number();
        return m;
    }

    void look_at(Io& io, Worker& worker) {
        const Batch& b = worker.batch();
        for (unsigned i = 0; i < b.n; ++i) {
            const PacketInfo& info = b.info[i];
            const bool accepted = (b[MaskId::accept] & bit(i)) != 0;
            if (info.protocol == proto::tcp) {
                if ((b[MaskId::drop] & bit(i)) == 0)
                    lines_.fetch_add(accepted, std::memory_order_relaxed);
                else
                    check(false, "a control connection was cut");
                continue;
            }
            // What was handed over is another worker's by now.
            const auto kind = [&] { return b.data[i][36] * 256u + b.data[i][37] - kFirstPort; };
            if (accepted) {
                judge_accepted(io, worker.conns().at(info.conn), b.rule_of(i), kind());
            } else if ((b[MaskId::drop] & bit(i)) != 0 && info.why == DropReason::policy) {
                judged_.fetch_add(1, std::memory_order_relaxed);
                io.refused |= 1u << kind();
            }
        }
    }
    void judge_accepted(Io& io, const Conn& conn, RuleId rule, unsigned kind) {
        judged_.fetch_add(1, std::memory_order_relaxed);
        accepted_.fetch_add(1, std::memory_order_relaxed);
        check(conn.mark % kKinds == kind, "a rule of one plan, its effect of another");
        check(conn.label == conn.mark, "two plans' effects");
        check(conn.timeout_ms == timeout_of_plan(conn.mark), "a timeout of another plan");
        check(rule == rule_[kind] && conn.rule == rule_[kind], "another rule");
        check(io.serial == 0 || io.serial == conn.mark, "two plans in a turn");
        io.serial = conn.mark;
    }

    void work(unsigned id) {
        Worker& worker = fw().worker(id);
        rte_rcu_qsbr* rcu = fw().rcu();
        Io io(*this, id);
        rte_rcu_qsbr_thread_online(rcu, id);
        open_control(io, worker);
        bool last = false;
        for (unsigned drained = 0; drained < 200;) {
            if (!last && stop_.load(std::memory_order_relaxed)) {
                last = true;
                stopped_.fetch_add(1);  // has put its last packet into a ring
            }
            if (last) drained += stopped_.load() == workers_, std::this_thread::yield();
            io.bursts = last ? 0 : 2;
            io.serial = io.refused = 0;
            const std::uint32_t from = published_serial_.load(std::memory_order_acquire);
            run_turn(worker, io, now());
            const std::uint32_t to = begun_serial_.load(std::memory_order_acquire);
            if (io.serial == 0) continue;
            check(from <= io.serial && io.serial <= to, "a plan that was not in force");
            check((io.refused >> io.serial % kKinds & 1) == 0, "accepted and refused in a turn");
        }
        worker.release_held();
        rte_rcu_qsbr_thread_offline(rcu, id);
    }

    /// A control connection that lives on this very worker, so that its lines stay in order.
    void open_control(Io& io, Worker& worker) {
        unsigned sport = 20000;
        const auto home = [&] {
            io.control =
                frames::flow("10.1.0." + std::to_string(1 + io.id), sport, "192.0.2.2", 21);
            const frames::Frame frame = frames::tcp(io.control, {.flags = 0x02});
            PacketInfo info{};
            parse_packet(frame.data(), static_cast<std::uint32_t>(frame.size()),
                         static_cast<std::uint32_t>(frame.size()),
                         {&fw().steering().secret, CtZone{}}, info);
            return fw().steering().home(info.rss);
        };
        while (home().number() != io.id)
            ++sport;
        const auto one = [&](const frames::Frame& frame, PortId port) {
            rte_mbuf* m = packet(frame);
            m->port = port.number();
            worker.begin_turn(now());
            run_burst(worker, &m, 1, now());
            send_accepted(worker, io);
        };
        one(frames::tcp(io.control, {.flags = 0x02, .seq = 999}), World::kInside);
        one(frames::tcp(io.control.back(), {.flags = 0x12, .seq = 5000, .ack = 1000}),
            World::kOutside);
        one(frames::tcp(io.control, {.flags = 0x10, .seq = 1000, .ack = 5001}), World::kInside);
        rte_rcu_qsbr_quiescent(fw().rcu(), io.id);
    }

    unsigned workers_, seconds_, per_second_;
    World world_;
    rte_mempool* pool_;
    std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
    std::vector<Plan> kinds_;
    std::array<RuleId, kKinds> rule_{};
    std::uint32_t serial_ = 0;  // control's
    std::atomic<std::uint32_t> begun_serial_{0}, published_serial_{0};
    std::atomic<bool> stop_{false};
    std::thread compiler_;
    std::atomic<bool> compiling_{false};
    unsigned compiled_ = 0;
    std::atomic<unsigned> stopped_{0}, failures_{0};
    std::atomic<std::uint64_t> judged_{0}, accepted_{0}, lines_{0};
};

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    unsigned workers = 4, seconds = 3, per_second = 1000;
    for (int i = 1; i + 1 < argc; i += 2) {
        const auto value = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
        if (std::strcmp(argv[i], "--seconds") == 0)
            seconds = value;
        else if (std::strcmp(argv[i], "--workers") == 0)
            workers = value;
        else if (std::strcmp(argv[i], "--per-second") == 0)
            per_second = value;
        else
            return std::fprintf(stderr, "unknown option %s\n", argv[i]), 2;
    }
    postern::init_eal();
    return postern::PlanStress(workers, seconds, per_second).run();
}
