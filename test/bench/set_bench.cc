// SPDX-License-Identifier: BSD-3-Clause
// Sets of a million entries: memory, look-ups, changes, and what changes do to look-ups.
//
//   set_bench [--entries N] [--seconds N]
//
// Look-ups are of 32 addresses a burst, half of them in the set. `burst max` is the longest burst
// of a thread that does nothing else, without changes and while another thread makes 10,000 changes
// a second; the machine's own interruptions are in both.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <rte_rcu_qsbr.h>

#include "net/address_set.h"
#include "sets/live_set.h"

namespace postern {
namespace {

using Clock = std::chrono::steady_clock;
constexpr unsigned kBurst = 32, kBursts = 4096, kChangesPerMs = 10;

double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

enum class Kind {
    hosts,    ///< addresses
    networks  ///< prefixes of many lengths: /8 to /32, /20 to /64
};

Prefix make(Family family, Kind kind, std::mt19937_64& rng) {
    Prefix p;
    std::uint64_t words[2] = {rng(), rng()};
    p = Prefix::exact(family == Family::ipv4 ? IpAddr::v4(words) : IpAddr::v6(words));
    if (family == Family::ipv6) p.address.bytes[0] = 0x20;
    const unsigned bits = p.length;
    if (kind == Kind::networks)
        p.length = static_cast<std::uint8_t>(family == Family::ipv4
                                                 ? std::max<std::uint64_t>(8, 32 - rng() % 17)
                                                 : std::max<std::uint64_t>(20, 64 - rng() % 45));
    for (unsigned bit = p.length; bit < bits; ++bit)
        p.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
    return p;
}

class Bench {
  public:
    Bench(Family family, Kind kind, std::size_t entries, unsigned seconds)
        : family_(family), kind_(kind), seconds_(seconds) {
        const std::size_t bytes = (rte_rcu_qsbr_get_memsize(1) + 63) / 64 * 64;
        rcu_ = static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, bytes));
        if (rcu_ == nullptr || rte_rcu_qsbr_init(rcu_, 1) != 0) std::abort();
        rte_rcu_qsbr_thread_register(rcu_, 0);
        shared_->rcu = rcu_;
        shared_->secret = HashSecret::random();
        set_ = std::make_unique<LiveSet>(shared_);
        const auto begin = Clock::now();
        for (std::size_t i = 0; i < entries; ++i) {
            prefixes_.push_back(make(family, kind, rng_));
            set_->add({prefixes_.back(), kForEver});
        }
        fill_s_ = seconds_since(begin);
        set_->collect();
        for (unsigned i = 0; i < kBurst * kBursts; ++i) {
            IpAddr a = i % 2 == 0 ? prefixes_[rng_() % prefixes_.size()].address
                                  : make(family, Kind::hosts, rng_).address;
            v4_.push_back(number_of_v4(a));
            v6_.push_back(number_of_v6(a));
        }
    }
    ~Bench() {
        set_.reset();
        std::free(rcu_);
    }

    void run() {
        const auto idle = look_up();
        std::thread control([this] { change(); });
        const auto busy = look_up();
        stop_.store(true, std::memory_order_relaxed);
        control.join();
        std::printf("%-4s %-8s %9zu %6.1f %8.0f %8.1f %8.1f %9.1f %9.1f %9.0f %9.1f\n",
                    to_string(family_), kind_ == Kind::hosts ? "hosts" : "networks", set_->size(),
                    static_cast<double>(set_->bytes()) / (1 << 20),
                    fill_s_ * 1e9 / static_cast<double>(prefixes_.size()), idle.ns, busy.ns,
                    idle.longest_us, busy.longest_us, changes_s_, longest_change_us_);
    }

  private:
    struct Figures {
        double ns;  ///< an address, median of bursts
        double longest_us;
    };
    Figures look_up() {
        rte_rcu_qsbr_thread_online(rcu_, 0);
        std::vector<float> took;
        const auto begin = Clock::now();
        auto last = begin;
        for (unsigned at = 0; last - begin < std::chrono::seconds(seconds_);
             at = (at + 1) % kBursts) {
            std::uint32_t found[kBurst] = {};
            if (family_ == Family::ipv4)
                set_->find(&v4_[at * kBurst], kBurst, 1, found);
            else
                set_->find(&v6_[at * kBurst], kBurst, 1, found);
            asm volatile("" : : "r"(found) : "memory");
            rte_rcu_qsbr_quiescent(rcu_, 0);
            const auto now = Clock::now();
            took.push_back(std::chrono::duration<float, std::micro>(now - last).count());
            last = now;
        }
        rte_rcu_qsbr_thread_offline(rcu_, 0);
        const double longest = *std::ranges::max_element(took);
        std::nth_element(took.begin(), took.begin() + static_cast<long>(took.size() / 2),
                         took.end());
        return {took[took.size() / 2] * 1000.0 / kBurst, longest};
    }
    /// Deletes an entry and adds another, 10,000 changes a second together.
    void change() {
        const auto begin = Clock::now();
        std::uint64_t changes = 0;
        for (std::size_t at = 0; !stop_.load(std::memory_order_relaxed);) {
            for (unsigned i = 0; i < kChangesPerMs; i += 2, at = (at + 1) % prefixes_.size()) {
                const auto one = Clock::now();
                set_->remove(prefixes_[at]);
                prefixes_[at] = make(family_, kind_, rng_);
                set_->add({prefixes_[at], kForEver});
                longest_change_us_ = std::max(longest_change_us_, seconds_since(one) * 1e6);
            }
            changes += kChangesPerMs;
            set_->collect();
            std::this_thread::sleep_until(begin +
                                          std::chrono::milliseconds(changes / kChangesPerMs));
        }
        changes_s_ = static_cast<double>(changes) / seconds_since(begin);
    }

    Family family_;
    Kind kind_;
    unsigned seconds_;
    std::mt19937_64 rng_{1};
    rte_rcu_qsbr* rcu_;
    std::shared_ptr<SetShared> shared_ = std::make_shared<SetShared>();
    std::unique_ptr<LiveSet> set_;
    std::vector<Prefix> prefixes_;
    std::vector<std::uint32_t> v4_;
    std::vector<Wide> v6_;
    std::atomic<bool> stop_{false};
    double fill_s_ = 0, changes_s_ = 0, longest_change_us_ = 0;
};

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    std::size_t entries = 1'000'000;
    unsigned seconds = 3;
    for (int i = 1; i + 1 < argc; i += 2) {
        const auto n = static_cast<unsigned>(std::atoi(argv[i + 1]));
        if (std::strcmp(argv[i], "--entries") == 0) entries = n;
        if (std::strcmp(argv[i], "--seconds") == 0) seconds = n;
    }
    std::printf(
        "                               fill     ns an address    burst max, us\n"
        "                 entries    MiB   ns each     idle  changing      idle  changing "
        "changes/s  change max, us\n");
    for (const auto family : {postern::Family::ipv4, postern::Family::ipv6})
        for (const auto kind : {postern::Kind::hosts, postern::Kind::networks})
            postern::Bench(family, kind, entries, seconds).run();
    return 0;
}
