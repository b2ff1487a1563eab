// SPDX-License-Identifier: BSD-3-Clause
// A set that control changes as fast as it can, while workers look addresses up.
//
//   set_stress [--seconds N] [--workers N]
//
// Control adds and deletes hosts and prefixes, so that tables grow, shrink, appear and vanish; lets
// entries expire; and now and then replaces all of the contents. Always, for each worker:
//  * an entry that is in all contents is found, and an address in none is not;
//  * of two addresses, one of which is in each of two contents, one look-up finds exactly one;
//  * an entry that was deleted before the worker's turn began is not found.
// At the end all replaced tables are freed.
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

#include "sets/live_set.h"

namespace postern {
namespace {

constexpr std::uint32_t kAlways = 0x0a000001, kNever = 0x0b000001, kEven = 0x0c000001,
                        kOdd = 0x0c000002, kHosts = 0x14000000;
constexpr Wide kAlways6{0x20010db800000001, 1}, kNever6{0x20010db800000002, 1},
    kEven6{0x20010db800000003, 1}, kOdd6{0x20010db800000003, 2}, kInside6{0x20010db8000a000b, 5};

std::atomic<unsigned> failures{0};
void check(bool good, const char* what) {
    if (!good && failures.fetch_add(1) < 10) std::fprintf(stderr, "check failed: %s\n", what);
}

Prefix host(std::uint32_t n) {
    n = __builtin_bswap32(n);
    return Prefix::exact(IpAddr::v4(&n));
}
Prefix host(const Wide& w) {
    const std::uint64_t words[2] = {__builtin_bswap64(w.high), __builtin_bswap64(w.low)};
    return Prefix::exact(IpAddr::v6(words));
}

class SetStress {
  public:
    SetStress(unsigned workers, unsigned seconds) : workers_(workers), seconds_(seconds) {
        const std::size_t bytes = (rte_rcu_qsbr_get_memsize(workers) + 63) / 64 * 64;
        rcu_ = static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, bytes));
        if (rcu_ == nullptr || rte_rcu_qsbr_init(rcu_, workers) != 0) std::abort();
        shared_->rcu = rcu_;
        shared_->secret = HashSecret::from_seed(1);
        shared_->clock.advance(Tick{0});
        set_ = std::make_unique<LiveSet>(shared_);
        fill(*set_, 0);
    }
    ~SetStress() {
        set_.reset();
        std::free(rcu_);
    }

    int run() {
        std::vector<std::thread> threads;
        for (unsigned w = 0; w < workers_; ++w) {
            rte_rcu_qsbr_thread_register(rcu_, w);
            rte_rcu_qsbr_thread_online(rcu_, w);
            threads.emplace_back([this, w] { look_up(w); });
        }
        const std::uint64_t changes = change();
        stop_.store(true, std::memory_order_relaxed);
        for (auto& t : threads)
            t.join();
        set_->collect();
        check(looked_.load() != 0, "nothing was looked up");
        std::printf("%u workers, %u s: %" PRIu64 " changes, %" PRIu64 " looked up: %s\n", workers_,
                    seconds_, changes, looked_.load(), failures == 0 ? "ok" : "FAILED");
        return failures == 0 ? 0 : 1;
    }

  private:
    static void fill(LiveSet& set, unsigned round) {
        set.add({host(kAlways), kForEver});
        set.add({host(kAlways6), kForEver});
        // Among the lengths that come and go: found through each of their filters.
        Prefix net = host(Wide{kInside6.high, 0});
        net.length = 64;
        set.add({net, kForEver});
        set.add({host(round % 2 == 0 ? kEven : kOdd), kForEver});
        set.add({host(round % 2 == 0 ? kEven6 : kOdd6), kForEver});
    }

    std::uint64_t change() {
        std::mt19937 rng(1);
        std::uint64_t changes = 0;
        unsigned round = 0;
        const auto begin = std::chrono::steady_clock::now();
        const auto end = begin + std::chrono::seconds(seconds_);
        for (std::uint32_t serial = 0; std::chrono::steady_clock::now() < end; ++serial) {
            // A host of its own number, deleted before the number is published.
            set_->add({host(kHosts + serial % 65536), kForEver});
            set_->remove(host(kHosts + serial % 65536));
            deleted_.store(kHosts + serial % 65536, std::memory_order_release);
            for (unsigned i = 0; i < 4; ++i) {
                Prefix p = i % 2 == 0
                               ? host(0x1e000000 | static_cast<std::uint32_t>(rng() % 4096) << 8)
                               : host(Wide{0x20010db900000000 | rng() % 4096 << 16, 0});
                p.length = static_cast<std::uint8_t>(p.length / (i % 2 + 1) - rng() % 8);
                for (unsigned bit = p.length; bit < 128; ++bit)
                    p.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
                if (rng() % 2 != 0)
                    set_->add({p, set_->until(static_cast<std::uint32_t>(rng() % 3))});
                else
                    set_->remove(p);
            }
            changes += 6;
            if (serial % 64 == 0) {
                const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                    std::chrono::steady_clock::now() - begin);
                shared_->clock.advance(Tick{static_cast<std::uint32_t>(ms.count())});
                set_->expire(64);
                set_->collect();
            }
            if (serial % 1000 == 0) {
                LiveSet next(shared_);
                fill(next, ++round);
                set_->take(std::move(next));
            }
        }
        return changes;
    }

    void look_up(unsigned worker) {
        std::uint64_t looked = 0;
        while (!stop_.load(std::memory_order_relaxed)) {
            const std::uint32_t deleted = deleted_.load(std::memory_order_acquire);
            const std::uint32_t v4[] = {kAlways, kNever, kEven, kOdd};
            const Wide v6[] = {kAlways6, kNever6, kEven6, kOdd6, kInside6};
            std::uint32_t found4[4] = {}, found6[5] = {};
            set_->find(v4, 4, 1, found4);
            set_->find(v6, 5, 1, found6);
            check(found6[4] == 1, "a prefix is missing");
            for (const std::uint32_t* found : {found4, found6}) {
                check(found[0] == 1, "an entry is missing");
                check(found[1] == 0, "an address is found that was never added");
                check(found[2] + found[3] == 1, "a mixture of two contents");
            }
            std::uint32_t gone = 0;
            set_->find(&deleted, 1, 1, &gone);
            // Its number may have come again meanwhile.
            check(gone == 0 || deleted != deleted_.load(std::memory_order_acquire) || deleted == 0,
                  "a deleted entry is found");
            looked += 10;
            rte_rcu_qsbr_quiescent(rcu_, worker);
        }
        rte_rcu_qsbr_thread_offline(rcu_, worker);
        looked_.fetch_add(looked);
    }

    unsigned workers_, seconds_;
    rte_rcu_qsbr* rcu_;
    std::shared_ptr<SetShared> shared_ = std::make_shared<SetShared>();
    std::unique_ptr<LiveSet> set_;
    std::atomic<bool> stop_{false};
    std::atomic<std::uint32_t> deleted_{0};  // control: w, workers: r; release and acquire
    std::atomic<std::uint64_t> looked_{0};
};

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    unsigned seconds = 3, workers = 3;
    for (int i = 1; i + 1 < argc; i += 2) {
        const auto n = static_cast<unsigned>(std::atoi(argv[i + 1]));
        if (std::strcmp(argv[i], "--seconds") == 0) seconds = n;
        if (std::strcmp(argv[i], "--workers") == 0) workers = n;
    }
    return postern::SetStress(workers, seconds).run();
}
