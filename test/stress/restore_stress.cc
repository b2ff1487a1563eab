// SPDX-License-Identifier: BSD-3-Clause
// Connections that are ended and restored again and again, while workers on threads of their own
// forward their packets.
//
//   restore_stress [--seconds N] [--workers N]
//
// The connections are made and saved once: UDP flows, and FTP control connections with the state of
// their helper and an expectation. Then control ends all of them, as `conntrack flush` does, and
// restores them, as `conntrack restore` does, for as long as the test lasts. Each worker sends
// packets of all flows meanwhile; of every other flow from outside only, so that nothing but a
// restored connection lets them pass. Always:
//  * each record has one outcome: it was restored, or traffic had made the connection meanwhile;
//  * after the last time all of them are there;
//  * no packet buffer is left, and the counters add up.
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstring>
#include <thread>
#include <vector>

#include "conn_queries.h"
#include "pipeline/turn.h"
#include "restorer.h"
#include "stress/locked_pool.h"
#include "support/init_eal.h"
#include "unit/world.h"
#include "worker_requests.h"

namespace postern {
namespace {

constexpr unsigned kFlows = 2000, kSessions = 40;

constexpr const char* kPolicy =
    "policy:\n"
    "  default: drop\n"
    "  rules:\n"
    "    - {name: control, from: inside, proto: tcp, dport: 21, ct: [new], action: accept,"
    " helper: ftp}\n"
    "    - {name: data, ct: [related], related: [ftp], action: accept}\n"
    "    - {name: out, from: inside, proto: udp, ct: [new], action: accept}\n";
constexpr const char* kLimits = "connections: 16384, expectations: 1024, helped_connections: 256";

frames::Flow udp_flow(unsigned n) {
    return frames::flow("10.0." + std::to_string(n / 200) + "." + std::to_string(1 + n % 200), 4000,
                        "192.0.2.2", 5000);
}
frames::Flow ftp_flow(unsigned n) {
    return frames::flow("10.1.0." + std::to_string(1 + n), 4000, "192.0.2.2", 21);
}

class RestoreStress {
  public:
    RestoreStress(unsigned workers, unsigned seconds)
        : workers_(workers),
          seconds_(seconds),
          world_(kPolicy, workers, "helpers: [{name: ftp}]\n", kLimits),
          requests_(fw()),
          pool_(LockedPool::create("restore_stress", 8191, 2048)) {}
    ~RestoreStress() { rte_mempool_free(pool_); }

    int run() {
        make_connections();
        save();
        for (unsigned w = 0; w <= workers_; ++w)
            rte_rcu_qsbr_thread_offline(fw().rcu(), w);
        std::vector<std::thread> threads;
        for (unsigned w = 0; w < workers_; ++w)
            threads.emplace_back([this, w] { work(w); });
        end_and_restore();
        for (auto& t : threads)
            t.join();
        for (unsigned w = 0; w <= workers_; ++w)
            rte_rcu_qsbr_thread_online(fw().rcu(), w);
        world_.now = now();
        for (unsigned i = 0; i < 4; ++i)
            world_.turn();
        check(rte_mempool_in_use_count(pool_) == 0, "packet buffers are left");
        check(world_.unbalanced().empty(), "counters do not add up");
        unsigned there = 0;
        for (unsigned n = 0; n < kFlows; ++n)
            there += world_.from_outside(frames::udp(udp_flow(n).back(), "answer"));
        check(there == kFlows, "a connection is missing after the last time");
        check(restored_ != 0 && existed_ != 0, "nothing was restored, or nothing existed already");
        check(accepted_.load() != 0 && dropped_.load() != 0, "no packet passed, or all did");
        std::printf("%u workers, %u s: %u times, %" PRIu64 " restored, %" PRIu64
                    " existed; %" PRIu64 " packets passed, %" PRIu64 " did not: %s\n",
                    workers_, seconds_, rounds_, restored_, existed_, accepted_.load(),
                    dropped_.load(), failures_ == 0 ? "ok" : "FAILED");
        return failures_ == 0 ? 0 : 1;
    }

  private:
    Firewall& fw() { return world_.fw(); }
    void check(bool good, const char* what) {
        if (!good && failures_.fetch_add(1) < 10) std::fprintf(stderr, "check failed: %s\n", what);
    }
    Tick now() const {
        using namespace std::chrono;
        const auto ms = duration_cast<milliseconds>(steady_clock::now() - begun_).count();
        return Tick{100'000 + static_cast<std::uint32_t>(ms)};
    }

    // ---- before the threads ----

    void make_connections() {
        for (unsigned n = 0; n < kFlows; ++n)
            check(world_.from_inside(frames::udp(udp_flow(n), "question")) &&
                      world_.from_outside(frames::udp(udp_flow(n).back(), "answer")),
                  "a flow does not begin");
        for (unsigned n = 0; n < kSessions; ++n) {
            Talk talk(world_, ftp_flow(n));
            check(talk.open() && talk.server("220 ready\r\n") && talk.client("USER a\r\n") &&
                      talk.server("331 password\r\n") && talk.client("PASS b\r\n") &&
                      talk.server("230 in\r\n") && talk.client("EPSV\r\n") &&
                      talk.server("229 ok (|||50000|)\r\n"),
                  "a session does not begin");
        }
    }
    void save() {
        for (unsigned w = 0; w < workers_; ++w) {
            ConnTable& t = fw().worker(w).conns();
            HelperEngine& helpers = fw().worker(w).helpers();
            for (std::uint32_t s = 1; s <= t.capacity(); ++s) {
                if (!t.at(s).alive()) continue;
                SavedConnection& saved = connections_.emplace_back();
                saved.image.conn = t.at(s);
                saved.id = t.id_of(s);
                saved.image.helper.there = t.at(s).helper_slot != 0;
                if (saved.image.helper.there)
                    helpers.save(*helpers.at(t.at(s).helper_slot), saved.image.helper);
            }
        }
        check(connections_.size() == kFlows + kSessions, "not all connections are there");
        std::uint32_t cursor = 0;
        const auto keep = [this](const ExpectInfo& info) {
            SavedExpectation& saved = expectations_.emplace_back();
            saved.request.protocol = info.protocol;
            saved.request.src = info.src;
            saved.request.dst = info.dst;
            saved.request.dport = info.dport;
            saved.request.helper = info.helper;
            saved.request.class_index = info.class_index;
            saved.request.class_max = 1;
            saved.request.timeout_ms = 60'000;
            saved.master = info.master;
        };
        while (fw().expectations().walk(cursor, 1024, keep)) {
        }
        check(expectations_.size() == kSessions, "not all expectations are there");
    }

    // ---- control ----

    void end_and_restore() {
        using std::chrono::steady_clock;
        const auto end = steady_clock::now() + std::chrono::seconds(seconds_);
        const auto owners = std::make_shared<QueryOwners>(workers_);
        do {
            ConnQueries flush(fw(), owners, ConnQuery::Action::end, {});
            for (ConnQuery::Row row; flush.next(row) != Pull::done;)
                std::this_thread::yield();
            restore();
            ++rounds_;
        } while (steady_clock::now() < end);
        stop_.store(true, std::memory_order_relaxed);
    }
    void restore() {
        Restorer restorer(fw(), requests_, 0, [this] { return now(); });
        const auto wait = [&](auto&& ready) {
            while (!ready()) {
                restorer.step();
                std::this_thread::yield();
            }
        };
        // Children before their masters: they wait for them.
        for (const SavedExpectation& saved : expectations_) {
            wait([&] { return restorer.has_room(); });
            restorer.add(saved);
        }
        for (const SavedConnection& saved : connections_) {
            wait([&] { return restorer.has_room(); });
            restorer.add(saved);
        }
        restorer.finish();
        wait([&] { return restorer.done(); });
        RestoreSummary summary = restorer.summary();
        const std::uint64_t restored = summary.connections["restored"];
        const std::uint64_t existed = summary.connections["exists"];
        check(summary.records == connections_.size() + expectations_.size(),
              "a record has no outcome");
        check(restored + existed == connections_.size(), "a connection has another outcome");
        check(summary.expectations["restored"] == kSessions, "an expectation is missing");
        restored_ += restored;
        existed_ += existed;
    }

    // ---- a worker ----

    struct Io : TurnIoDefaults {
        RestoreStress& test;
        unsigned id;
        unsigned bursts = 0;  ///< still to come in this turn
        unsigned next = 0;    ///< flow

        Io(RestoreStress& its, unsigned worker) : test(its), id(worker), next(worker * 97) {}
        unsigned receive(rte_mbuf** out) {
            if (bursts == 0) return 0;
            --bursts;
            unsigned n = 0;
            for (unsigned i = 0; i < 16; ++i, next = (next + 1) % kFlows) {
                const bool inward = next % 2 != 0 || i % 2 != 0;
                const frames::Flow flow = udp_flow(next);
                if (rte_mbuf* m = test.packet(frames::udp(inward ? flow.back() : flow, "more"),
                                              inward ? World::kOutside : World::kInside))
                    out[n++] = m;
            }
            return n;
        }
        void decided(Worker& worker) {
            const Batch& b = worker.batch();
            for (unsigned i = 0; i < b.n; ++i) {
                test.accepted_.fetch_add((b[MaskId::accept] & bit(i)) != 0,
                                         std::memory_order_relaxed);
                test.dropped_.fetch_add((b[MaskId::drop] & bit(i)) != 0, std::memory_order_relaxed);
            }
        }
        void send(PortId, rte_mbuf** out, unsigned n) { rte_pktmbuf_free_bulk(out, n); }
        void quiescent() { rte_rcu_qsbr_quiescent(test.fw().rcu(), id); }
    };
    rte_mbuf* packet(const frames::Frame& frame, PortId port) {
        rte_mbuf* m = rte_pktmbuf_alloc(pool_);
        if (m == nullptr) return nullptr;
        std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(frame.size())), frame.data(),
                    frame.size());
        m->port = port.number();
        return m;
    }
    void work(unsigned id) {
        Worker& worker = fw().worker(id);
        rte_rcu_qsbr* rcu = fw().rcu();
        Io io(*this, id);
        rte_rcu_qsbr_thread_online(rcu, id);
        bool last = false;
        for (unsigned drained = 0; drained < 200;) {
            if (!last && stop_.load(std::memory_order_relaxed)) {
                last = true;
                stopped_.fetch_add(1);  // has put its last packet into a ring
            }
            if (last) drained += stopped_.load() == workers_, std::this_thread::yield();
            io.bursts = last ? 0 : 1;
            run_turn(worker, io, now());
        }
        worker.release_held();
        rte_rcu_qsbr_thread_offline(rcu, id);
    }

    unsigned workers_, seconds_;
    World world_;
    WorkerRequests requests_;
    rte_mempool* pool_;
    std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
    std::vector<SavedConnection> connections_;
    std::vector<SavedExpectation> expectations_;
    unsigned rounds_ = 0;
    std::uint64_t restored_ = 0, existed_ = 0;
    std::atomic<bool> stop_{false};
    std::atomic<unsigned> stopped_{0}, failures_{0};
    std::atomic<std::uint64_t> accepted_{0}, dropped_{0};
};

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    unsigned workers = 3, seconds = 3;
    for (int i = 1; i + 1 < argc; i += 2) {
        const auto value = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
        if (std::strcmp(argv[i], "--seconds") == 0)
            seconds = value;
        else if (std::strcmp(argv[i], "--workers") == 0)
            workers = value;
        else
            return std::fprintf(stderr, "unknown option %s\n", argv[i]), 2;
    }
    postern::init_eal();
    return postern::RestoreStress(workers, seconds).run();
}
