// SPDX-License-Identifier: BSD-3-Clause
// `worker list`: how busy the workers are. Rates are those of a moment before the answer.
#include <array>
#include <chrono>

#include <rte_cycles.h>
#include <rte_lcore.h>

#include "commands/context.h"
#include "loop_stats.h"

namespace postern {
namespace {

constexpr std::chrono::milliseconds kMoment{300};

struct LoopSample {
    std::uint64_t busy = 0, idle = 0, packets = 0, turns = 0;
    std::array<std::uint64_t, LoopStats::kBurstSizes> bursts{};

    static LoopSample of(const LoopStats& s) {
        LoopSample sample{
            s.busy_cycles.get(), s.idle_cycles.get(), s.turn_packets.get(), s.busy_turns.get(), {}};
        for (unsigned i = 0; i < LoopStats::kBurstSizes; ++i)
            sample.bursts[i] = s.bursts[i].get();
        return sample;
    }
    LoopSample operator-(const LoopSample& before) const {
        LoopSample d{busy - before.busy,
                     idle - before.idle,
                     packets - before.packets,
                     turns - before.turns,
                     {}};
        for (unsigned i = 0; i < LoopStats::kBurstSizes; ++i)
            d.bursts[i] = bursts[i] - before.bursts[i];
        return d;
    }
};

/// One digit behind the point.
double rounded(double value) {
    return static_cast<double>(static_cast<std::int64_t>(value * 10 + 0.5)) / 10;
}
Json share(std::uint64_t part, std::uint64_t of) {
    if (of == 0) return nullptr;
    return rounded(static_cast<double>(part) / static_cast<double>(of));
}

class WorkerListSource : public RowSource {
  public:
    WorkerListSource(Firewall& fw, const std::vector<LoopStats>& loops) : fw_(fw), loops_(loops) {
        for (const LoopStats& loop : loops_)
            before_.push_back(LoopSample::of(loop));
    }

    Pull next(Json& row) override {
        if (worker_ == fw_.workers()) return Pull::done;
        if (Clock::now() - began_ < kMoment) return Pull::pending;
        fill(row, worker_++);
        return Pull::row;
    }

  private:
    using Clock = std::chrono::steady_clock;

    void fill(Json& row, unsigned w) const {
        const WorkerCounters& c = fw_.worker(w).counters();
        const LoopSample all = LoopSample::of(loops_[w]), now = all - before_[w];
        const double us = static_cast<double>(rte_get_tsc_hz()) / 1e6;
        const double s = std::chrono::duration<double>(Clock::now() - began_).count();
        row["worker"] = w;
        row["cpu"] = rte_lcore_to_cpu_id(static_cast<int>(w + 1));
        row["busy_percent"] = share(now.busy * 100, now.busy + now.idle);
        row["packets_per_s"] = static_cast<std::uint64_t>(static_cast<double>(now.packets) / s);
        row["cycles_per_packet"] = share(now.busy, now.packets);
        row["packets_per_turn"] = share(now.packets, now.turns);
        row["longest_turn_us"] =
            rounded(static_cast<double>(loops_[w].longest_turn_cycles.get()) / us);
        row["packets"] = all.packets;
        row["sleeps"] = c.sleeps.get();
        row["handed_off"] = c.handed_off.get();
        row["taken_over"] = c.taken_over.get();
        const Peers::Waiting waiting = fw_.worker(w).peers().waiting();
        row["ring"] = waiting.packets;
        row["ring_percent"] =
            share(std::uint64_t{waiting.packets} * 100, std::uint64_t{waiting.room});
        row["connections"] = fw_.worker(w).conns().count().get();
        static constexpr const char* kSizes[] = {"1", "2-3", "4-7", "8-15", "16-31", "32-63", "64"};
        Json bursts = Json::object();
        for (unsigned i = 0; i < LoopStats::kBurstSizes; ++i)
            bursts[kSizes[i]] = all.bursts[i];
        row["bursts"] = std::move(bursts);
    }

    Firewall& fw_;
    const std::vector<LoopStats>& loops_;
    Clock::time_point began_ = Clock::now();
    std::vector<LoopSample> before_;
    unsigned worker_ = 0;
};

}  // namespace

Command command_worker_list(const CommandContext& context) {
    return {.name = "worker list",
            .help = "List the workers and how busy they are; rates are those of 0.3 seconds",
            .args = {},
            .handler =
                [&context](const Json&) {
                    if (context.loops == nullptr) return Source(rows_of({}));
                    return Source(std::make_unique<WorkerListSource>(context.fw, *context.loops));
                },
            .effect = Effect::read,
            .columns = {
                number("WORKER", "worker"), number("CPU", "cpu"), number("BUSY%", "busy_percent"),
                number("PPS", "packets_per_s"), number("CYCLES/PKT", "cycles_per_packet"),
                ranked(1, number("PKTS/TURN", "packets_per_turn")),
                ranked(2, number("LONGEST_US", "longest_turn_us")),
                ranked(3, number("CONNECTIONS", "connections")),
                ranked(4, number("HANDED_OFF", "handed_off")),
                ranked(5, number("RING%", "ring_percent")), ranked(6, {"BURSTS", {"bursts"}})}};
}

}  // namespace postern
