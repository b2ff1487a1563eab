// SPDX-License-Identifier: BSD-3-Clause
// Masters and children that always live on different workers, in random interleavings.
//
//   cross_worker [--seed N] [--runs N]      simulated: 8 workers on one thread, stage by stage
//   cross_worker --threads 4 [--seconds N]  real: each worker on a thread of its own
//
// FTP sessions announce passive data connections; several hosts' packets race for each, on several
// workers, while control connections end and expectations expire. Always:
//  * each announcement lets at most one connection in, and exactly one if its time and its master
//    last; nothing else gets in;
//  * a child's master, where its id still names a connection, is that very control connection;
//  * at the end no expectation, no packet buffer and no helper's slot is left, and every
//    expectation that was created ended once.
//
// A simulated run is a list of steps made of a seed. When one fails, steps are taken out for as
// long as it still fails, and what is left is printed: the shortest way there that was found.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <thread>
#include <utility>

#include "pipeline/turn.h"
#include "stages/stages.h"
#include "stress/locked_pool.h"
#include "support/init_eal.h"
#include "unit/world.h"

namespace postern {
namespace {

constexpr unsigned kWorkers = 8;
constexpr unsigned kSessions = 12;
constexpr std::uint32_t kExpectMs = 300'000;  // the class's timeout of FTP

const std::string kPolicy =
    "helpers: [{name: ftp}]\n"
    "policy:\n"
    "  rules:\n"
    "    - {from: inside, proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp}\n"
    "    - {ct: [related], related: [ftp], action: accept}\n";

std::string client_of(unsigned session) {
    return "10.0." + std::to_string(session / 200) + "." + std::to_string(1 + session % 200);
}
frames::Flow control_of(unsigned session, unsigned sport) {
    return frames::flow(client_of(session), sport, "192.0.2.2", 21);
}

/// The worker on which this connection lives.
WorkerId home_of(const Firewall& fw, const frames::Flow& f) {
    const frames::Frame frame = frames::tcp(f, {.flags = 0x02});
    PacketInfo info{};
    parse_packet(frame.data(), static_cast<std::uint32_t>(frame.size()),
                 static_cast<std::uint32_t>(frame.size()),
                 fw.steering().parse_context(fw.plan().ports[0]), info);
    return fw.steering().home(info.rss);
}

// ---- simulated ----

struct Step {
    enum Kind : std::uint8_t {
        open,      ///< a control connection, up to the greeting
        announce,  ///< passive, a port whose child lives elsewhere
        race,      ///< SYNs of two ports of the client for the last announcement, on two workers
        stray,     ///< a SYN to a port that nobody announced
        reset,     ///< the control connection ends
        wait,      ///< time passes
        expire     ///< ... longer than any expectation lives
    };
    Kind kind;
    std::uint8_t session;
    std::uint16_t dice;  ///< decides about the details
};
constexpr const char* kStepNames[] = {"open",  "announce", "race",  "stray",
                                      "reset", "wait",     "expire"};

std::vector<Step> steps_of(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<Step> steps(20 + random() % 180);
    for (Step& s : steps) {
        const auto what = static_cast<unsigned>(random() % 100);
        s.kind = what < 20   ? Step::open
                 : what < 48 ? Step::announce
                 : what < 82 ? Step::race
                 : what < 87 ? Step::stray
                 : what < 93 ? Step::reset
                 : what < 99 ? Step::wait
                             : Step::expire;
        s.session = static_cast<std::uint8_t>(random() % kSessions);
        s.dice = static_cast<std::uint16_t>(random());
    }
    return steps;
}

class Simulation {
  public:
    /// Empty, or what went wrong.
    static std::string run(const std::vector<Step>& steps) {
        Simulation s;
        for (std::size_t i = 0; i < steps.size() && s.wrong_.empty(); ++i) {
            s.step(steps[i]);
            s.check_masters();
        }
        if (s.wrong_.empty()) s.finish();
        return s.wrong_;
    }

  private:
    struct Session {
        std::unique_ptr<Talk> talk;
        frames::Flow control;
        ConnId id;
        std::uint16_t port = 0;  ///< announced and not taken; 0: none
        Tick until;
    };

    void fail(const std::string& what) {
        if (wrong_.empty()) wrong_ = what;
    }

    void step(const Step& s) {
        Session& session = sessions_[s.session];
        dice_ = s.dice;
        switch (s.kind) {
            case Step::open: return open(session, s.session);
            case Step::announce:
                if (session.talk) announce(session);
                return;
            case Step::race:
                if (session.port != 0) race(session, s.session);
                return;
            case Step::stray:
                if (syn(client_of(s.session), 1024 + s.dice % 1000, 30000 + s.dice % 1000))
                    fail("a stray SYN got in");
                return;
            case Step::reset: return reset(session);
            case Step::wait: return pass(s.dice % 5000);
            case Step::expire: return pass(kExpectMs + 1000);
        }
    }

    void open(Session& session, unsigned n) {
        if (session.talk) return;
        session.control = control_of(n, next_sport_++);
        session.talk = std::make_unique<Talk>(world_, session.control);
        if (!session.talk->open() || !session.talk->server("220 hello\r\n") ||
            !session.talk->packet(Direction::original, 0x10))
            return fail("a control connection did not open");
        // Whichever worker it is on.
        for (unsigned w = 0; w < kWorkers; ++w) {
            ConnTable& t = world_.fw().worker(w).conns();
            for (std::uint32_t slot = 1; slot <= t.capacity(); ++slot)
                if (t.at(slot).alive() && t.at(slot).sport.host() == session.control.sport &&
                    t.at(slot).dport.host() == 21)
                    session.id = t.id_of(slot);
        }
        if (session.id.worker != home_of(world_.fw(), session.control))
            fail("a control connection is not at home");
    }

    void announce(Session& session) {
        const auto port = static_cast<std::uint16_t>(50000 + next_port_++ % 10000);
        if (!session.talk->client("EPSV\r\n")) return fail("EPSV was dropped");
        if (!session.talk->server("229 (|||" + std::to_string(port) + "|)\r\n") ||
            !session.talk->packet(Direction::original, 0x10))
            return fail("the announcement was dropped");
        // The class holds one: an older one that nobody took is gone.
        session.port = port;
        session.until = world_.now + kExpectMs;
    }

    /// Two source ports, whose packets are taken by different workers if there are such, and go
    /// through their stages in turns.
    void race(Session& session, unsigned n) {
        const Plan& plan = world_.fw().plan();
        std::vector<frames::Flow> rivals;
        std::set<WorkerId> homes;
        for (unsigned sport = 40000 + dice_ % 5000; rivals.size() < 2; ++sport) {
            const auto f = frames::flow(client_of(n), sport, "192.0.2.2", session.port);
            const WorkerId home = home_of(world_.fw(), f);
            // Another one than the control connection's and each other's.
            if (home == session.id.worker || homes.count(home) != 0) continue;
            homes.insert(home);
            rivals.push_back(f);
        }
        const bool live = !reached(session.until, world_.now);
        unsigned taken = 0;
        std::vector<unsigned> workers;
        for (const auto& f : rivals) {
            workers.push_back(home_of(world_.fw(), f).number());
            world_.take({{frames::tcp(f, {.flags = 0x02}), World::kInside}}, workers.back());
        }
        // Stage by stage, in an order that the dice give.
        std::size_t at[2] = {0, 0};
        unsigned dice = dice_;
        const auto& stages = plan.stages;
        while (at[0] < stages.size() || at[1] < stages.size()) {
            unsigned who = dice & 1;
            dice = dice >> 1 | (dice & 1) << 15;
            if (at[who] == stages.size()) who = 1 - who;
            Worker& w = world_.fw().worker(workers[who]);
            const StageDesc* stage = stages[at[who]++];
            if (w.batch()[stage->on] != 0) stage->run(w, w.batch());
        }
        for (const unsigned w : workers) {
            taken += world_.fates(w) == "a";
            world_.put_out(world_.fw().worker(w));
        }
        world_.turn();
        if (taken > 1) fail("an expectation was claimed twice");
        if (live && taken == 0) fail("an announced connection did not get in");
        if (!live && taken != 0) fail("a connection got in after the expectation's time");
        session.port = 0;
    }

    bool syn(const std::string& from, unsigned sport, unsigned dport) {
        return world_.from_inside(
            frames::tcp(frames::flow(from, sport, "192.0.2.2", dport), {.flags = 0x02}));
    }

    void reset(Session& session) {
        if (!session.talk) return;
        const std::uint16_t port = session.port;
        const frames::Flow control = session.control;
        session.talk->packet(Direction::original, 0x14);
        pass(11'000);  // the time of a reset connection
        if (world_.fw().worker(session.id.worker).conns().find(session.id) != nullptr)
            return fail("a reset control connection lives on");
        session = {};
        if (port != 0 && syn(control.src.to_string(), 45000, port))
            fail("an expectation outlived its master");
    }

    /// In few, large steps: what is due in between is met at the next one.
    void pass(std::uint32_t ms) {
        world_.now = world_.now + ms;
        world_.turn();
        world_.turn();
        for (Session& s : sessions_)
            if (s.port != 0 && reached(s.until, world_.now)) s.port = 0;
    }

    void check_masters() {
        std::map<unsigned, const Session*> by_sport;
        for (const Session& s : sessions_)
            if (s.talk) by_sport[s.control.sport] = &s;
        for (unsigned w = 0; w < kWorkers; ++w) {
            ConnTable& t = world_.fw().worker(w).conns();
            for (std::uint32_t slot = 1; slot <= t.capacity(); ++slot) {
                const Conn& child = t.at(slot);
                if (!child.alive() || !child.master) continue;
                if (child.master.worker == WorkerId::from(w))
                    return fail("a child lives where its master does");
                const Conn* master =
                    world_.fw().worker(child.master.worker).conns().find(child.master);
                if (master == nullptr) continue;  // gone: the generation says so
                if (master->dport.host() != 21 ||
                    std::memcmp(master->src, child.src, sizeof child.src) != 0)
                    return fail("a stale id led to a stranger");
            }
        }
    }

    void finish() {
        for (Session& s : sessions_)
            if (s.talk) s.talk->packet(Direction::original, 0x14);
        pass(11'000);
        pass(6 * 24 * 3600 * 1000u);
        std::uint64_t created = 0, ended = 0;
        for (unsigned o = 0; o <= kWorkers; ++o) {
            const ExpectOwner& e = world_.fw().expectations().owner(static_cast<OwnerId>(o));
            created += e.inserted(InsertOutcome::created) + e.inserted(InsertOutcome::refreshed);
            for (unsigned k = 0; k < kExpectEnds; ++k)
                ended += e.ended(static_cast<ExpectEnd>(k));
        }
        if (world_.fw().expectations().live() != 0) fail("an expectation is left");
        if (created != ended)
            fail(std::to_string(created) + " expectations were created, " + std::to_string(ended) +
                 " ended");
        for (unsigned w = 0; w < kWorkers; ++w) {
            HelperEngine& h = world_.fw().worker(w).helpers();
            if (h.conns_free() != h.capacity()) fail("a helper's slot is left");
        }
        if (world_.buffers_in_use() != 0) fail("a packet buffer is left");
        if (const std::string wrong = world_.unbalanced(); !wrong.empty()) fail(wrong);
    }

    World world_{kPolicy, kWorkers, "",
                 "connections: 1024, expectations: 256, helped_connections: 512"};
    Session sessions_[kSessions];
    std::string wrong_;
    unsigned dice_ = 0;
    std::uint16_t next_sport_ = 20000;
    unsigned next_port_ = 0;
};

/// Takes steps out, halves first and then fewer, for as long as the rest still fails.
std::vector<Step> shrink(std::vector<Step> steps) {
    for (std::size_t size = steps.size() / 2; size != 0;) {
        bool shorter = false;
        for (std::size_t at = 0; at + size <= steps.size();) {
            std::vector<Step> rest = steps;
            rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(at),
                       rest.begin() + static_cast<std::ptrdiff_t>(at + size));
            if (Simulation::run(rest).empty()) {
                at += size;
            } else {
                steps = std::move(rest);
                shorter = true;
            }
        }
        if (!shorter || size > steps.size() / 2) size = std::min(size / 2, steps.size() / 2);
    }
    return steps;
}

int simulate(std::uint64_t seed, unsigned runs) {
    std::size_t total = 0;
    for (unsigned r = 0; r < runs; ++r) {
        const auto steps = steps_of(seed + r);
        total += steps.size();
        const std::string wrong = Simulation::run(steps);
        if (wrong.empty()) continue;
        std::printf("seed %" PRIu64 ": %s, after %zu steps; shrinking\n", seed + r, wrong.c_str(),
                    steps.size());
        const auto few = shrink(steps);
        std::printf("%s, by these %zu:\n", Simulation::run(few).c_str(), few.size());
        for (const Step& s : few)
            std::printf("  {Step::%s, %u, %u}\n", kStepNames[s.kind], s.session, s.dice);
        return 1;
    }
    std::printf("%u simulated workers, seeds %" PRIu64 " to %" PRIu64 ", %zu steps: ok\n", kWorkers,
                seed, seed + runs - 1, total);
    return 0;
}

// ---- real ----

/// One session that a thread plays; whoever sends one of its packets says so here.
struct Played {
    std::atomic<std::uint32_t> passed{0};    ///< packets of its control connection that came out
    std::atomic<std::uint32_t> children{0};  ///< first packets of data connections that came out
};

class Real {
  public:
    Real(unsigned threads, unsigned seconds)
        : threads_(threads),
          seconds_(seconds),
          world_(kPolicy, threads, "timeouts: {tcp: {close: 1, syn_sent: 5}}\n",
                 "connections: 65536, expectations: 4096, helped_connections: 16384"),
          pool_(LockedPool::create("cross_real", 16383, 2048)) {}
    ~Real() { rte_mempool_free(pool_); }

    int run() {
        // World registered its readers as online for its own thread; now each is its worker's.
        for (unsigned w = 0; w <= threads_; ++w)
            rte_rcu_qsbr_thread_offline(world_.fw().rcu(), w);
        std::vector<std::thread> all;
        for (unsigned t = 0; t < threads_; ++t)
            all.emplace_back([this, t] { work(t); });
        for (auto& t : all)
            t.join();
        unsigned stuck = 0;
        for (const auto& slots : slots_)
            for (const Slot& s : slots)
                stuck += s.step > 6 && played_[s.client % kPlayed].children.load() == 0;
        for (const Played& p : played_)
            check(p.children.load() <= 1, "an expectation was claimed twice");
        for (unsigned w = 0; w <= threads_; ++w)
            rte_rcu_qsbr_thread_online(world_.fw().rcu(), w);
        world_.now = now() + 6 * 24 * 3600 * 1000u;
        for (unsigned i = 0; i < 4; ++i)
            world_.turn();
        check(world_.fw().expectations().live() == 0, "expectations are left");
        check(rte_mempool_in_use_count(pool_) == 0, "packet buffers are left");
        check(world_.unbalanced().empty(), "counters do not add up");
        for (unsigned w = 0; w < threads_; ++w) {
            HelperEngine& h = world_.fw().worker(w).helpers();
            check(h.conns_free() == h.capacity(), "helpers' slots are left");
        }
        // A machine that is fast enough to use up all slots or expectations is excused.
        check(stuck == 0 || world_.drops(DropReason::handoff_full) != 0 ||
                  world_.sum(&WorkerCounters::helper_slots_displaced) != 0 ||
                  world_.sum(&WorkerCounters::announced_unexpected) != 0,
              "an announced connection did not get in");
        check(sessions_ != 0, "no session came to its end");
        std::printf("%u threads, %u s: %" PRIu64 " sessions, %" PRIu64 " claims, %" PRIu64
                    " claims lost: %s\n",
                    threads_, seconds_, sessions_.load(), claims_.load(),
                    world_.sum(&WorkerCounters::claims_lost), failures_ == 0 ? "ok" : "FAILED");
        return failures_ == 0 ? 0 : 1;
    }

  private:
    static constexpr unsigned kSlots = 24;  ///< sessions of a thread, one after the other each

    struct Slot {
        unsigned step = 0;
        unsigned client = 0;
        std::uint16_t port = 0;
        frames::Flow control;
        std::uint32_t seq[2] = {1000, 5000};
    };

    void check(bool good, const char* what) {
        if (!good && failures_.fetch_add(1) < 10) std::fprintf(stderr, "check failed: %s\n", what);
    }
    Tick now() const {
        return Tick{100'000 + static_cast<std::uint32_t>(
                                  std::chrono::duration_cast<std::chrono::milliseconds>(
                                      std::chrono::steady_clock::now() - begun_)
                                      .count())};
    }

    rte_mbuf* packet(const frames::Frame& frame, PortId port) {
        rte_mbuf* m = rte_pktmbuf_alloc(pool_);
        if (m == nullptr) return nullptr;
        std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(frame.size())), frame.data(),
                    frame.size());
        m->port = port.number();
        return m;
    }

    void work(unsigned id) {
        Worker& worker = world_.fw().worker(id);
        rte_rcu_qsbr* rcu = world_.fw().rcu();
        std::mt19937_64 random(id + 1);
        std::vector<Slot>& slots = slots_[id];
        Io io(*this, id);
        rte_rcu_qsbr_thread_online(rcu, id);
        const auto deadline = begun_ + std::chrono::seconds(seconds_);
        bool last = false;
        for (unsigned drained = 0; drained < 200;) {
            if (!last && std::chrono::steady_clock::now() > deadline) {
                last = true;
                stopped_.fetch_add(1);  // has put its last packet into a ring
            }
            rte_mbuf* pkts[kMaxBurst];
            unsigned n = 0;
            if (!last)
                for (unsigned k = 0; k < 8; ++k)
                    play(slots[random() % kSlots], static_cast<unsigned>(random()), pkts, n);
            else
                drained += stopped_.load() == threads_, std::this_thread::yield();
            io.pkts = pkts;
            io.n = n;
            run_turn(worker, io, now());
        }
        worker.release_held();
        rte_rcu_qsbr_thread_offline(rcu, id);
    }

    /// What a thread plays comes in; what leaves is noted.
    struct Io : TurnIoDefaults {
        Real& real;
        unsigned id;
        rte_mbuf** pkts = nullptr;
        unsigned n = 0;

        Io(Real& its, unsigned worker) : real(its), id(worker) {}
        unsigned receive(rte_mbuf** out) {
            std::copy_n(pkts, n, out);
            return std::exchange(n, 0);
        }
        void send(PortId, rte_mbuf** out, unsigned count) {
            for (unsigned i = 0; i < count; ++i) {
                real.sent(rte_pktmbuf_mtod(out[i], const std::uint8_t*));
                rte_pktmbuf_free(out[i]);
            }
        }
        void quiescent() { rte_rcu_qsbr_quiescent(real.world_.fw().rcu(), id); }
    };

    /// A packet came out: the client's number is in its address, 10.0.x.y.
    void sent(const std::uint8_t* frame) {
        const std::uint8_t* src = frame + 26;
        const bool from_client = src[0] == 10;
        const std::uint8_t* client = from_client ? src : frame + 30;
        const unsigned number = client[1] * 65536u + client[2] * 256u + client[3];
        const unsigned sport = frame[34] * 256u + frame[35], dport = frame[36] * 256u + frame[37];
        Played& p = played_[number % kPlayed];
        if (sport == 21 || dport == 21)
            p.passed.fetch_add(1, std::memory_order_release);
        else if (from_client)
            p.children.fetch_add(1, std::memory_order_relaxed);
    }

    /// The slot's next packet or packets, if the one before has come out.
    void play(Slot& s, unsigned dice, rte_mbuf** pkts, unsigned& n) {
        struct Line {
            Direction d;
            std::uint8_t flags;
            const char* text;
        };
        static const Line kLines[] = {
            {Direction::original, 0x02, ""},         {Direction::reply, 0x12, ""},
            {Direction::original, 0x10, ""},         {Direction::reply, 0x18, "220 hello\r\n"},
            {Direction::original, 0x18, "EPSV\r\n"}, {Direction::reply, 0x18, "229 (|||%u|)\r\n"}};
        constexpr unsigned kTalk = std::size(kLines);
        if (s.step == 0) {
            s.client = next_client_.fetch_add(1);
            Played& p = played_[s.client % kPlayed];
            p.passed.store(0);
            check(p.children.exchange(0) <= 1, "an expectation was claimed twice");
            const std::string address = "10." + std::to_string(s.client >> 16 & 255) + "." +
                                        std::to_string(s.client >> 8 & 255) + "." +
                                        std::to_string(s.client & 255);
            s.control = frames::flow(address, 20000 + dice % 20000, "192.0.2.2", 21);
            s.seq[0] = 1000;
            s.seq[1] = 5000;
            s.port = static_cast<std::uint16_t>(50000 + dice % 10000);
        }
        Played& p = played_[s.client % kPlayed];
        if (p.passed.load(std::memory_order_acquire) < std::min(s.step, kTalk)) return;
        if (s.step < kTalk) {
            const Line& line = kLines[s.step];
            char text[64];
            std::snprintf(text, sizeof text, line.text, unsigned{s.port});
            frames::TcpFields t;
            t.flags = line.flags;
            t.seq = s.seq[index(line.d)];
            if ((line.flags & 0x10) != 0) t.ack = s.seq[1 - index(line.d)];
            t.payload = text;
            const bool out = line.d == Direction::original;
            rte_mbuf* m = packet(frames::tcp(out ? s.control : s.control.back(), t),
                                 out ? World::kInside : World::kOutside);
            if (m == nullptr || n == kMaxBurst) return rte_pktmbuf_free(m);
            pkts[n++] = m;
            s.seq[index(line.d)] +=
                static_cast<std::uint32_t>(t.payload.size()) + ((line.flags & 0x02) != 0 ? 1u : 0u);
            ++s.step;
        } else if (s.step == kTalk) {
            // The announcement is out: from here on two of the client's ports race for it, from
            // this thread and, over the rings, on whichever workers they live.
            const WorkerId master = home_of(world_.fw(), s.control);
            unsigned rivals = 0;
            for (unsigned sport = 41000 + dice % 1000; rivals < 2; ++sport) {
                frames::Flow f = s.control;
                f.sport = static_cast<std::uint16_t>(sport);
                f.dport = s.port;
                if (home_of(world_.fw(), f) == master) continue;
                rte_mbuf* m = packet(frames::tcp(f, {.flags = 0x02}), World::kInside);
                if (m == nullptr || n == kMaxBurst) return rte_pktmbuf_free(m);
                pkts[n++] = m;
                ++rivals;
            }
            s.step = kTalk + 1;
        } else if (p.children.load(std::memory_order_relaxed) != 0 && (dice & 63) == 0) {
            // Long enough for the other one to have got in, if it could.
            check(p.children.load() == 1, "an expectation was claimed twice");
            sessions_.fetch_add(1);
            claims_.fetch_add(p.children.load());
            rte_mbuf* m =
                packet(frames::tcp(s.control, {.flags = 0x14, .seq = s.seq[0], .ack = s.seq[1]}),
                       World::kInside);
            if (m == nullptr || n == kMaxBurst) return rte_pktmbuf_free(m);
            pkts[n++] = m;
            s.step = 0;
        }
    }

    static constexpr unsigned kPlayed = 1 << 16;
    unsigned threads_, seconds_;
    World world_;
    rte_mempool* pool_;
    std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
    std::vector<Played> played_ = std::vector<Played>(kPlayed);
    std::atomic<unsigned> next_client_{0}, failures_{0}, stopped_{0};
    std::vector<std::vector<Slot>> slots_{threads_, std::vector<Slot>(kSlots)};
    std::atomic<std::uint64_t> sessions_{0}, claims_{0};
};

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    unsigned threads = 0, seconds = 3, runs = 40;
    std::uint64_t seed = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        const unsigned long value = std::strtoul(argv[i + 1], nullptr, 10);
        if (std::strcmp(argv[i], "--threads") == 0)
            threads = static_cast<unsigned>(value);
        else if (std::strcmp(argv[i], "--seconds") == 0)
            seconds = static_cast<unsigned>(value);
        else if (std::strcmp(argv[i], "--runs") == 0)
            runs = static_cast<unsigned>(value);
        else if (std::strcmp(argv[i], "--seed") == 0)
            seed = value;
        else
            return std::fprintf(stderr, "unknown option %s\n", argv[i]), 2;
    }
    postern::init_eal();
    return threads != 0 ? postern::Real(threads, seconds).run() : postern::simulate(seed, runs);
}
