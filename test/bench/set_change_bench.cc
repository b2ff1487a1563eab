// SPDX-License-Identifier: BSD-3-Clause
// What changes of a set do to traffic: a worker on a CPU of its own forwards bursts of 32 first
// packets of new connections, as fast as it can, and looks each up in a set of very many entries.
// Meanwhile control adds and deletes entries of this set on another CPU, one a command, by the
// functions of `set add` and `set delete`.
//
//   set_change_bench [--kind KIND] [--entries N] [--rate N] [--seconds N] [--cpu N]
//                    [--worker-cpu N] [--no-huge]
//
// One entry, which nobody deletes, has all of the sources: each packet must be accepted. turns.h
// explains the columns.
#include <atomic>
#include <chrono>
#include <deque>
#include <thread>

#include <spdlog/spdlog.h>

#include "commands/context.h"
#include "config/load.h"
#include "metrics/registry.h"
#include "start.h"
#include "turns.h"

namespace postern::bench {
namespace {

using Clock = std::chrono::steady_clock;

enum Phase : unsigned {
    quiet,
    changing,
    after,
    over
};
constexpr const char* kPhases[] = {"no changes", "changes", "no changes"};

struct Options : MachineOptions {
    std::string kind = "hosts4";
    std::uint32_t entries = 1'000'000, rate = 10'000, seconds = 5;
    int worker_cpu = -1;
    bool quick = false;

    Family family() const { return kind.back() == '4' ? Family::ipv4 : Family::ipv6; }
    bool hosts() const { return kind.starts_with("hosts"); }
};

constexpr std::uint32_t kConnections = 100'000, kFlows = 4'000'000;
/// A connection lasts for this time of the worker, of which a turn is 1 ms.
constexpr const char* kText =
    "zones: [inside, outside]\n"
    "ports:\n"
    "  - {name: in0, device: net_null0, zone: inside}\n"
    "  - {name: out0, device: net_null1, zone: outside}\n"
    "bridges: [{ports: [in0, out0]}]\n"
    "limits: {connections: 100000, expectations: 1024, helped_connections: 64, per_worker: "
    "{new_per_second: 0}}\n"
    "timeouts: {udp: {unreplied: 1s}}\n"
    "sets: [{name: allowed, entries: [10.0.0.0/8, \"2001:db8::/32\"]}]\n"
    "policy:\n  rules:\n    - {name: out, from: inside, src: allowed, action: accept}\n";

/// Among the sources: look-ups find entries beside theirs.
Prefix random_entry(const Options& o, Random& random) {
    std::uint64_t words[2] = {random.next(), random.next()};
    auto* const bytes = reinterpret_cast<std::uint8_t*>(words);
    Prefix p;
    if (o.family() == Family::ipv4) {
        bytes[0] = 10;
        p = Prefix::exact(IpAddr::v4(words));
        if (!o.hosts()) p.length = static_cast<std::uint8_t>(32 - random.below(17));
    } else {
        const std::uint8_t first[] = {0x20, 0x01, 0x0d, 0xb8};
        std::copy(std::begin(first), std::end(first), bytes);
        p = Prefix::exact(IpAddr::v6(words));
        if (!o.hosts()) p.length = static_cast<std::uint8_t>(77 - random.below(45));
    }
    const unsigned bits = address_bytes(o.family()) * 8;
    for (unsigned bit = p.length; bit < bits; ++bit)
        p.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
    return p;
}

/// Control's side: the commands, and what control's loop does for sets.
class Changes {
  public:
    Changes(const Options& o, Firewall& fw)
        : o_(o),
          fw_(fw),
          context_(
              fw, [] { return Tick{}; }, metrics_) {
        for (Command& command : all_commands(context_))
            if (command.name == "set add")
                add_ = std::move(command);
            else if (command.name == "set delete")
                delete_ = std::move(command);
        LiveSet& set = *fw.plan().find_set("allowed")->set;
        while (set.size() < o.entries) {
            const Prefix p = random_entry(o, random_);
            if (set.add({p, kForEver}) == LiveSet::Added::added) entries_.push_back(p);
        }
        tend();
    }

    void run() {
        const auto begin = Clock::now(), end = begin + std::chrono::seconds(o_.seconds);
        std::uint64_t done = 0;
        for (auto now = begin; now < end; now = Clock::now()) {
            const auto due = static_cast<std::uint64_t>(
                std::chrono::duration<double>(now - begin).count() * o_.rate);
            for (; done < due; ++done) {
                if (done % 2 == 0) {
                    entries_.push_back(random_entry(o_, random_));
                    change(add_, entries_.back());
                } else {
                    change(delete_, entries_.front());
                    entries_.pop_front();
                }
            }
            tend();
            std::this_thread::sleep_for(std::chrono::microseconds(500));
        }
        rate_ =
            static_cast<double>(done) / std::chrono::duration<double>(Clock::now() - begin).count();
    }

    void print() {
        std::sort(took_us_.begin(), took_us_.end());
        const auto at = [&](double share) {
            return took_us_[static_cast<std::size_t>(share *
                                                     static_cast<double>(took_us_.size() - 1))];
        };
        if (took_us_.empty()) die("nothing was changed");
        std::printf(
            "%.0f changes a second of %u wanted; microseconds of a change: median %.1f, 99 %% "
            "%.1f, longest %.0f; %zu entries, %.1f MiB\n",
            rate_, o_.rate, at(0.5), at(0.99), at(1), set().size(),
            static_cast<double>(set().bytes()) / (1 << 20));
    }

  private:
    LiveSet& set() { return *fw_.plan().find_set("allowed")->set; }
    void change(const Command& command, const Prefix& p) {
        const auto begin = Clock::now();
        auto rows =
            command.handler({{"set", "allowed"}, {"entry", AddressRange::of(p).to_string()}});
        if (!rows) die(rows.error().message);
        Json row = Json::object();
        while ((*rows)->next(row) != Pull::done) {
        }
        took_us_.push_back(std::chrono::duration<float, std::micro>(Clock::now() - begin).count());
    }
    void tend() {
        const auto ms =
            std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start_);
        fw_.tend_sets(Tick{static_cast<std::uint32_t>(ms.count())});
    }

    const Options& o_;
    Firewall& fw_;
    MetricRegistry metrics_;
    CommandContext context_;
    Command add_, delete_;
    Random random_{7};
    std::deque<Prefix> entries_;
    std::vector<float> took_us_;
    Clock::time_point start_ = Clock::now();
    double rate_ = 0;
};

/// The worker's thread.
void forward(Bench& bench, Flows& flows, int cpu, const std::atomic<Phase>& phase,
             std::array<Turns, over>& turns) {
    pin(cpu);
    double packets_a_cycle = 0;
    rte_rcu_qsbr* rcu = bench.firewall().rcu();
    std::uint32_t at = 0;
    Phase last = over;
    for (Phase now; (now = phase.load(std::memory_order_acquire)) != over;) {
        if (std::exchange(last, now) != now) {
            if (now == changing) packets_a_cycle = kBurst / turns[quiet].median() / 2;
            turns[now].begin();
        }
        const std::uint64_t began = rte_rdtsc_precise();
        bench.worker().begin_turn(bench.now());
        const std::uint64_t begin_cycles = rte_rdtsc_precise() - began;
        const Cost burst = bench.run(kBurst, Fate::accepted, [&](rte_mbuf* p, std::uint32_t) {
            flows.write(p, at, Direction::original, 0);
            at = at + 1 == flows.count() ? 0 : at + 1;
        });
        const std::uint64_t t0 = rte_rdtsc_precise();
        bench.worker().housekeeping(bench.now());
        rte_rcu_qsbr_quiescent(rcu, 0);
        turns[now].add(begin_cycles + burst.cycles + rte_rdtsc_precise() - t0, packets_a_cycle);
    }
    rte_rcu_qsbr_thread_offline(rcu, 0);
}

int run(const Options& o) {
    spdlog::set_level(spdlog::level::warn);
    // Each of the threads takes buffers, and gives them back.
    rte_mempool* pool = start(o, memory_for(kConnections), kRingBursts * kBurst * 2 - 1, 0);
    auto loaded = load_spec_text(kText, "set_change_bench", build_schema());
    if (!loaded.ok()) die(loaded.errors.front().to_string());
    Bench bench(pool, *loaded.spec);
    Flows flows(o.family(), proto::udp, kFlows);
    Firewall& fw = bench.firewall();
    rte_rcu_qsbr_thread_offline(fw.rcu(), fw.control_reader());
    Changes changes(o, fw);

    std::atomic<Phase> phase{quiet};
    std::array<Turns, over> turns;
    std::thread worker([&] { forward(bench, flows, o.worker_cpu, phase, turns); });
    const auto wait = std::chrono::milliseconds(o.quick ? 50 : 1000 * o.seconds);
    std::this_thread::sleep_for(wait);
    phase.store(changing, std::memory_order_release);
    changes.run();
    phase.store(after, std::memory_order_release);
    std::this_thread::sleep_for(wait);
    phase.store(over, std::memory_order_release);
    worker.join();
    rte_rcu_qsbr_thread_online(fw.rcu(), 0);

    std::printf("%s; microseconds a turn of %u new connections\n", o.kind.c_str(), kBurst);
    Turns::print_header();
    for (unsigned p = quiet; p < over; ++p)
        turns[p].print(kPhases[p]);
    changes.print();
    return 0;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    postern::bench::CommandLine line("What changes of a set do to traffic");
    postern::bench::Options o;
    line.word("--kind", o.kind, {"hosts4", "networks4", "hosts6", "networks6"}, "of entries");
    line.number("--entries", o.entries, "of the set", 2, 1'000'000);
    line.number("--rate", o.rate, "changes a second", 1, 1'000'000);
    line.number("--seconds", o.seconds, "of each phase", 1, 1000);
    line.number("--worker-cpu", o.worker_cpu, "the worker's CPU; --cpu is control's");
    o.add_to(line);
    line.flag("--quick", o.quick, postern::bench::kQuickHelp);
    line.parse(argc, argv);
    if (o.quick) o.entries = 2000, o.seconds = 1;
    return postern::bench::run(o);
}
