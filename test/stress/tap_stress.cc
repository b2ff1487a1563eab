// SPDX-License-Identifier: BSD-3-Clause
// Captures and traces that start and end as fast as control can, while workers on threads of their
// own judge packets.
//
//   tap_stress [--seconds N] [--workers N]
//
// Each packet's payload repeats its source port. Control starts taps of all kinds, reads some of
// their records, and ends them, also while their rings are full. Always:
//  * a record's bytes, tuple and verdict are those of one packet that its filter matches;
//  * a worker finishes its turns, whether records are read or not;
//  * at the end no tap is left, and no packet buffer.
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "capture/filter.h"
#include "pipeline/turn.h"
#include "stress/locked_pool.h"
#include "support/init_eal.h"
#include "tap_reader.h"
#include "unit/world.h"

namespace postern {
namespace {

const std::string kPolicy =
    "policy: {rules: [{name: dns, from: inside, proto: udp, dport: 53, action: accept}]}\n";
constexpr unsigned kPayloadAt = 42, kPayload = 60;
/// Few, so that the table has room for all of their connections.
constexpr std::pair<std::uint16_t, std::uint16_t> kSports{1024, 1124};

class TapStress {
  public:
    TapStress(unsigned workers, unsigned seconds)
        : workers_(workers),
          seconds_(seconds),
          world_(kPolicy, workers),
          pool_(LockedPool::create("tap_stress", 8191, 2048)) {}
    ~TapStress() { rte_mempool_free(pool_); }

    int run() {
        for (unsigned w = 0; w <= workers_; ++w)
            rte_rcu_qsbr_thread_offline(fw().rcu(), w);
        std::vector<std::thread> threads;
        for (unsigned w = 0; w < workers_; ++w)
            threads.emplace_back([this, w] { work(w); });
        control();
        for (auto& t : threads)
            t.join();
        fw().taps().turn(TapStore::Clock::now());
        check(fw().taps().counters().captures_ending.get() == 0, "a tap was not freed");
        for (unsigned w = 0; w <= workers_; ++w)
            rte_rcu_qsbr_thread_online(fw().rcu(), w);
        for (unsigned i = 0; i < 4; ++i)
            world_.turn();
        check(rte_mempool_in_use_count(pool_) == 0, "packet buffers are left");
        check(world_.unbalanced().empty(), "counters do not add up");
        check(records_ != 0 && taps_ != 0, "nothing was recorded");
        const std::uint64_t lost = world_.sum(&WorkerCounters::capture_lost);
        std::printf("%u workers, %u s: %" PRIu64 " taps, %" PRIu64 " records read, %" PRIu64
                    " lost: %s\n",
                    workers_, seconds_, taps_, records_, lost, failures_ == 0 ? "ok" : "FAILED");
        return failures_ == 0 ? 0 : 1;
    }

  private:
    Firewall& fw() { return world_.fw(); }
    void check(bool good, const char* what) {
        if (!good && failures_.fetch_add(1) < 10) std::fprintf(stderr, "check failed: %s\n", what);
    }

    // ---- control ----

    void control() {
        using namespace std::chrono;
        const auto end = steady_clock::now() + seconds(seconds_);
        const auto to_53 = PacketFilter::from_program(compile_filter("udp dst port 53").value());
        std::vector<std::unique_ptr<TapReader>> readers;
        std::mt19937 random(1);
        while (steady_clock::now() < end) {
            fw().taps().turn(steady_clock::now());
            if (readers.size() < TapSet::kCaptures && random() % 2 == 0) {
                TapConfig config;
                config.trace = random() % 2 == 0;
                config.receive = random() % 2 == 0;
                config.drop = random() % 2 == 0;
                config.transmit = random() % 2 == 0;
                config.snap = 64u << random() % 3;
                if (random() % 2 == 0) config.filter = to_53.value();
                auto reader = TapReader::start(fw(), std::move(config), 60);
                if (reader) {
                    readers.push_back(std::move(reader).value());
                    ++taps_;
                }
            }
            if (readers.empty()) continue;
            const std::size_t one = random() % readers.size();
            for (auto n = random() % 2000; n != 0; --n) {
                const TapRecord* record = readers[one]->front();
                if (record == nullptr) break;
                look_at(*record);
                readers[one]->drop_front();
                ++records_;
            }
            // Some are never read, some not to their end.
            if (random() % 8 == 0) readers.erase(readers.begin() + static_cast<long>(one));
        }
        readers.clear();
        stop_.store(true, std::memory_order_relaxed);
    }
    void look_at(const TapRecord& r) {
        const unsigned sport = r.packet.sport.host();
        check(r.kept > kPayloadAt && r.kept <= kPayloadAt + kPayload, "the bytes of no packet");
        for (unsigned at = kPayloadAt; at + 2 <= r.kept; at += 2)
            if (r.bytes[at] * 256u + r.bytes[at + 1] != sport) return check(false, "mixed packets");
        const bool good = r.packet.dport.host() == 53;
        check(r.bytes[37] == r.packet.dport.host(), "another packet's port");
        const bool no_room = r.packet.why == DropReason::handoff_full;
        check(r.fate == TapFate::handed || no_room || (r.fate == TapFate::accept) == good,
              "another verdict");
        check(r.n_steps <= TapRecord::kMaxSteps && (r.point != TapPoint::trace || r.n_steps != 0),
              "a trace without a way");
    }

    // ---- a worker ----

    struct Io : TurnIoDefaults {
        TapStress& test;
        unsigned id;
        bool more = true;
        std::uint16_t sport = kSports.first;

        Io(TapStress& its, unsigned worker) : test(its), id(worker) {}
        unsigned receive(rte_mbuf** out) {
            if (!more) return 0;
            more = false;
            unsigned n = 0;
            for (; n < 16; ++n) {
                if (++sport == kSports.second) sport = kSports.first;
                std::string payload;
                for (unsigned i = 0; i < kPayload / 2; ++i)
                    payload += {static_cast<char>(sport >> 8), static_cast<char>(sport)};
                const auto f = frames::flow("10.0.0." + std::to_string(1 + id), sport, "192.0.2.2",
                                            n % 2 == 0 ? 53 : 54);
                out[n] = test.packet(frames::udp(f, payload));
                if (out[n] == nullptr) break;
            }
            return n;
        }
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

    void work(unsigned id) {
        Worker& worker = fw().worker(id);
        Io io(*this, id);
        rte_rcu_qsbr_thread_online(fw().rcu(), id);
        bool last = false;
        for (unsigned drained = 0; drained < 200;) {
            if (!last && stop_.load(std::memory_order_relaxed)) {
                last = true;
                stopped_.fetch_add(1);  // has put its last packet into a ring
            }
            if (last) drained += stopped_.load() == workers_, std::this_thread::yield();
            io.more = !last;
            run_turn(worker, io, Tick{100'000});
        }
        worker.release_held();
        rte_rcu_qsbr_thread_offline(fw().rcu(), id);
    }

    unsigned workers_, seconds_;
    World world_;
    rte_mempool* pool_;
    std::uint64_t taps_ = 0, records_ = 0;  // control's
    std::atomic<bool> stop_{false};
    std::atomic<unsigned> stopped_{0}, failures_{0};
};

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    unsigned workers = 4, seconds = 3;
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
    return postern::TapStress(workers, seconds).run();
}
