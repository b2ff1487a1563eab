// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/tap.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include <rte_rcu_qsbr.h>

namespace postern {
namespace {

/// Records of each worker's ring: a power of two.
std::uint32_t records_of(const TapConfig& config, unsigned workers) {
    const std::size_t each = sizeof(TapRecord) + config.snap;
    const std::size_t fit = Tap::kMemory / (each * workers);
    return std::clamp(std::bit_floor(static_cast<std::uint32_t>(fit)), Tap::kMinRecords,
                      Tap::kMaxRecords);
}

}  // namespace

Tap::OfWorker::OfWorker(const TapConfig& config, std::uint32_t records) : ring(records) {
    // Written here, so that the worker causes no page faults.
    if (config.snap != 0) {
        memory = std::make_unique<std::uint8_t[]>(std::size_t{records} * config.snap);
        came = std::make_unique<std::uint8_t[]>(std::size_t{kMaxBurst} * config.snap);
    }
    ring.prepare([&](TapRecord& record, std::uint32_t place) {
        record.bytes = memory.get() + std::size_t{place} * config.snap;
    });
    if (config.trace)
        steps = std::make_unique<std::array<TapStep, TapRecord::kMaxSteps>[]>(kMaxBurst);
}

Tap::Tap(TapConfig config, unsigned workers) : config_(std::move(config)) {
    for (unsigned w = 0; w < workers; ++w)
        workers_.push_back(std::make_unique<OfWorker>(config_, records_of(config_, workers)));
}

std::uint64_t Tap::lost() const noexcept {
    std::uint64_t n = 0;
    for (const auto& w : workers_)
        n += w->lost.get();
    return n;
}

Result<std::shared_ptr<Tap>> TapStore::add(TapConfig config, Clock::time_point until) {
    const auto tops = static_cast<std::size_t>(
        std::count_if(running_.begin(), running_.end(),
                      [](const Running& r) { return r.tap->config().for_top; }));
    if (config.for_top && tops != 0) return Error{"another `top limits` runs; try again"};
    if (!config.for_top && running_.size() - tops == TapSet::kCaptures)
        return Error{"there are " + std::to_string(TapSet::kCaptures) +
                     " captures and traces already; end one of them first"};
    auto tap = std::make_shared<Tap>(std::move(config), workers_);
    running_.push_back({tap, until});
    publish(nullptr);
    return tap;
}

void TapStore::remove(const Tap& tap) {
    const auto found = std::find_if(running_.begin(), running_.end(),
                                    [&](const Running& r) { return r.tap.get() == &tap; });
    if (found == running_.end()) return;
    auto ended = std::move(found->tap);
    running_.erase(found);
    publish(std::move(ended));
}

bool TapStore::runs(const Tap& tap) const noexcept {
    return std::any_of(running_.begin(), running_.end(),
                       [&](const Running& r) { return r.tap.get() == &tap; });
}

void TapStore::publish(std::shared_ptr<Tap> ended) {
    std::unique_ptr<TapSet> next;
    if (!running_.empty()) {
        next = std::make_unique<TapSet>();
        for (const Running& r : running_)
            next->taps[next->n++] = r.tap.get();
    }
    current_.store(next.get(), std::memory_order_release);
    // After the store: a worker that reports later has seen the new set, or takes it in its next
    // turn.
    const std::uint64_t token = rte_rcu_qsbr_start(rcu_);
    if (in_force_ != nullptr)
        ended_.push_back({std::exchange(in_force_, nullptr), std::move(ended), token});
    in_force_ = std::move(next);
    counters_.captures.set(running_.size());
    count_ended();
}

/// Some only hold an earlier set of taps that run on.
void TapStore::count_ended() noexcept {
    counters_.captures_ending.set(static_cast<std::uint64_t>(std::count_if(
        ended_.begin(), ended_.end(), [](const Ended& e) { return e.tap != nullptr; })));
}

void TapStore::turn(Clock::time_point now) {
    for (std::size_t i = 0; i < running_.size();) {
        const Running r = running_[i];
        if (r.until <= now)
            remove(*r.tap);
        else
            ++i;
    }
    if (ended_.empty()) return;
    while (!ended_.empty() && rte_rcu_qsbr_check(rcu_, ended_.front().token, false) == 1)
        ended_.pop_front();
    count_ended();
}

}  // namespace postern
