// SPDX-License-Identifier: BSD-3-Clause
// A policy whose rules name live sets, asked by workers while control changes the sets as fast as
// it can.
//
//   set_policy_stress [--seconds N] [--workers N]
//
// Rule 0 accepts sources that are in the set `good` and not in the set `bad`. Control adds and
// deletes entries of both for a number of addresses, by prefixes of changing lengths, beside other
// entries that let tables and filters grow, vanish and expire. Rule 1 rejects destinations in the
// set `one`, whose contents control replaces as a whole: each has one of four addresses. Always,
// for each worker:
//  * the verdict on an address is that of contents which were in force at some time of the look-up;
//  * of the four addresses exactly one is in the contents that a look-up saw, and these were in
//    force at some time of it.
// At the end all replaced tables are freed.
#include <array>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include <rte_rcu_qsbr.h>

#include "policy/policy.h"
#include "sets/live_set.h"

namespace postern {
namespace {

constexpr unsigned kAddresses = 24;  ///< of each family
constexpr unsigned kContents = 4;
constexpr unsigned kGood = 0, kBad = 9, kOne = 31;  ///< sets: each in another byte of their bits
static_assert(2 * (kAddresses + kContents) <= kMaxBurst);

std::atomic<unsigned> failures{0};
void check(bool good, const char* what) {
    if (!good && failures.fetch_add(1) < 10) std::fprintf(stderr, "check failed: %s\n", what);
}

/// Addresses of which no two are in one prefix of at least shortest() bits.
IpAddr address(Family family, unsigned net, unsigned i) {
    if (family == Family::ipv4)
        return IpAddr::v4(static_cast<std::uint8_t>(net), static_cast<std::uint8_t>(i), 7, 1);
    const std::uint8_t bytes[16] = {0x20,
                                    0x01,
                                    0x0d,
                                    0xb8,
                                    static_cast<std::uint8_t>(net),
                                    static_cast<std::uint8_t>(i),
                                    9,
                                    0,
                                    0,
                                    0,
                                    0,
                                    0,
                                    0,
                                    0,
                                    0,
                                    1};
    return IpAddr::v6(bytes);
}
constexpr unsigned shortest(Family family) {
    return family == Family::ipv4 ? 16 : 48;
}
Prefix prefix(const IpAddr& a, unsigned length) {
    Prefix p{a, static_cast<std::uint8_t>(length)};
    for (unsigned bit = length; bit < address_bytes(a.family) * 8; ++bit)
        p.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
    return p;
}

/// An address's place in a set: it is in the set after an odd number of changes.
struct Place {
    // Control: w, workers: r. A worker reads `done` before its look-up and `begun` after it: the
    // contents in force meanwhile are those after `done` to `begun` changes. Release and acquire
    // bound the look-up from below; from above it is bounded by the order in which x86 makes stores
    // and loads.
    std::atomic<std::uint32_t> begun{0}, done{0};
    std::optional<Prefix> entry;  ///< control's: by which the address is in the set
};
struct Seen {
    std::uint32_t from = 0, to = 0;
    /// Whether being in the set, or not, was in force.
    bool may_be(bool in) const { return from != to || (from % 2 != 0) == in; }
};

class SetPolicyStress {
  public:
    SetPolicyStress(unsigned workers, unsigned seconds) : workers_(workers), seconds_(seconds) {
        const std::size_t bytes = (rte_rcu_qsbr_get_memsize(workers) + 63) / 64 * 64;
        rcu_ = static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, bytes));
        if (rcu_ == nullptr || rte_rcu_qsbr_init(rcu_, workers) != 0) std::abort();
        shared_->rcu = rcu_;
        shared_->secret = HashSecret::from_seed(1);
        shared_->clock.advance(Tick{0});
        PolicyRules rules;
        rules.sets.resize(kMaxPolicySets);
        for (const unsigned s : {kGood, kBad, kOne}) {
            sets_[s] = std::make_shared<LiveSet>(shared_);
            rules.sets[s] = sets_[s];
        }
        rules.rules.resize(2);
        rules.rules[0].src_sets = {.any = 1u << kGood, .none = 1u << kBad};
        rules.rules[0].action = PolicyAction::accept;
        rules.rules[1].dst_sets = {.any = 1u << kOne};
        rules.rules[1].action = PolicyAction::reject;
        policy_ = Policy::build(rules).value();
        replace(0);
    }
    ~SetPolicyStress() {
        policy_.reset();
        sets_ = {};
        std::free(rcu_);
    }

    int run() {
        std::vector<std::thread> threads;
        for (unsigned w = 0; w < workers_; ++w) {
            rte_rcu_qsbr_thread_register(rcu_, w);
            rte_rcu_qsbr_thread_online(rcu_, w);
            threads.emplace_back([this, w] { ask(w); });
        }
        const std::uint64_t changes = change();
        stop_.store(true, std::memory_order_relaxed);
        for (auto& t : threads)
            t.join();
        for (const unsigned s : {kGood, kBad, kOne})
            sets_[s]->collect();
        check(asked_ != 0 && unchanged_ != 0, "nothing was asked");
        check(accepted_ != 0 && accepted_ < unchanged_, "always the same verdict");
        std::printf("%u workers, %u s: %" PRIu64 " changes, %" PRIu64 " verdicts, %" PRIu64
                    " of them on unchanged addresses: %s\n",
                    workers_, seconds_, changes, asked_.load(), unchanged_.load(),
                    failures == 0 ? "ok" : "FAILED");
        return failures == 0 ? 0 : 1;
    }

  private:
    // ---- control ----

    /// The contents number `serial` of the set `one`, beside some others.
    void replace(std::uint32_t serial) {
        LiveSet next(*sets_[kOne], LiveSet::Empty{});
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            const IpAddr a = address(family, 200, serial % kContents);
            next.add({prefix(a, shortest(family) + serial % 17), kForEver});
            for (unsigned i = 0; i < serial % 50; ++i)
                next.add({prefix(address(family, 201, i), shortest(family) + i % 17), kForEver});
        }
        begun_contents_.store(serial, std::memory_order_seq_cst);
        sets_[kOne]->take(std::move(next));
        done_contents_.store(serial, std::memory_order_release);
    }
    void toggle(unsigned set, Family family, unsigned i, std::mt19937& rng) {
        Place& place = place_of(set, family, i);
        const std::uint32_t n = place.begun.load(std::memory_order_relaxed) + 1;
        place.begun.store(n, std::memory_order_seq_cst);
        if (place.entry) {
            check(sets_[set]->remove(*place.entry), "control's entry is not there");
            place.entry.reset();
        } else {
            const unsigned least = shortest(family), bits = address_bytes(family) * 8;
            place.entry = prefix(address(family, 10, i),
                                 least + static_cast<unsigned>(rng() % (bits - least + 1)));
            sets_[set]->add({*place.entry, kForEver});
        }
        place.done.store(n, std::memory_order_release);
    }
    /// Entries of nobody's address.
    void disturb(LiveSet& set, std::mt19937& rng) {
        const Family family = rng() % 2 != 0 ? Family::ipv4 : Family::ipv6;
        const IpAddr a = address(family, 11, static_cast<unsigned>(rng() % 256));
        const unsigned bits = address_bytes(family) * 8;
        const Prefix p = prefix(a, bits - static_cast<unsigned>(rng() % (bits / 2)));
        if (p.length < shortest(family)) return;
        if (rng() % 2 != 0)
            set.add({p, set.until(static_cast<std::uint32_t>(rng() % 3))});
        else
            set.remove(p);
    }
    std::uint64_t change() {
        std::mt19937 rng(1);
        std::uint64_t changes = 0;
        const auto begin = std::chrono::steady_clock::now();
        const auto end = begin + std::chrono::seconds(seconds_);
        for (std::uint32_t serial = 1; std::chrono::steady_clock::now() < end; ++serial) {
            const unsigned set = rng() % 2 != 0 ? kGood : kBad;
            toggle(set, rng() % 2 != 0 ? Family::ipv4 : Family::ipv6,
                   static_cast<unsigned>(rng() % kAddresses), rng);
            for (unsigned i = 0; i < 4; ++i)
                disturb(*sets_[rng() % 2 != 0 ? kGood : kBad], rng);
            changes += 5;
            if (serial % 16 == 0) replace(serial / 16);
            if (serial % 64 != 0) continue;
            const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                std::chrono::steady_clock::now() - begin);
            shared_->clock.advance(Tick{static_cast<std::uint32_t>(ms.count())});
            for (const unsigned s : {kGood, kBad, kOne}) {
                sets_[s]->expire(64);
                sets_[s]->collect();
            }
        }
        return changes;
    }

    // ---- a worker ----

    void ask(unsigned worker) {
        PolicyBurst burst;
        unsigned n = 0;
        const auto add = [&](const IpAddr& src, const IpAddr& dst) {
            burst.add(n++,
                      {.tuple = {src, dst, Be16::from_host(1000), Be16::from_host(80), proto::tcp},
                       .context = {}});
        };
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            for (unsigned i = 0; i < kAddresses; ++i)
                add(address(family, 10, i), address(family, 99, 0));
            for (unsigned i = 0; i < kContents; ++i)
                add(address(family, 99, 1), address(family, 200, i));
        }
        std::uint64_t asked = 0, unchanged = 0, accepted = 0;
        std::array<PolicyVerdict, kMaxBurst> verdicts;
        std::array<std::array<Seen, 2 * kAddresses>, 2> seen;  // of good, of bad
        while (!stop_.load(std::memory_order_relaxed)) {
            each([&](unsigned of, unsigned at, const Place& place) {
                seen[of][at].from = place.done.load(std::memory_order_acquire);
            });
            const std::uint32_t from = done_contents_.load(std::memory_order_acquire);
            policy_->classify(burst, verdicts.data());
            each([&](unsigned of, unsigned at, const Place& place) {
                seen[of][at].to = place.begun.load(std::memory_order_seq_cst);
            });
            const std::uint32_t to = begun_contents_.load(std::memory_order_seq_cst);
            unsigned at = 0;
            for (unsigned family = 0; family < 2; ++family) {
                for (unsigned i = 0; i < kAddresses; ++i, ++at) {
                    const Seen& good = seen[0][family * kAddresses + i];
                    const Seen& bad = seen[1][family * kAddresses + i];
                    const bool is = verdicts[at].action == PolicyAction::accept;
                    check(is ? good.may_be(true) && bad.may_be(false)
                             : good.may_be(false) || bad.may_be(true),
                          "a verdict of no contents in force");
                    if (good.from != good.to || bad.from != bad.to) continue;
                    ++unchanged;
                    accepted += is;
                }
                unsigned found = 0, which = 0;
                for (unsigned i = 0; i < kContents; ++i, ++at)
                    if (verdicts[at].action == PolicyAction::reject) ++found, which = i;
                check(found == 1, "a mixture of contents");
                check(to - from >= kContents || (which - from) % kContents <= to - from,
                      "contents that were not in force");
            }
            asked += at;
            rte_rcu_qsbr_quiescent(rcu_, worker);
        }
        rte_rcu_qsbr_thread_offline(rcu_, worker);
        asked_ += asked;
        unchanged_ += unchanged;
        accepted_ += accepted;
    }

    Place& place_of(unsigned set, Family family, unsigned i) {
        return places_[set == kGood ? 0 : 1][(family == Family::ipv4 ? 0 : kAddresses) + i];
    }
    template <class Fn>
    void each(Fn&& fn) const {
        for (unsigned of = 0; of < 2; ++of)
            for (unsigned at = 0; at < 2 * kAddresses; ++at)
                fn(of, at, places_[of][at]);
    }

    unsigned workers_, seconds_;
    rte_rcu_qsbr* rcu_;
    std::shared_ptr<SetShared> shared_ = std::make_shared<SetShared>();
    std::array<std::shared_ptr<LiveSet>, kMaxPolicySets> sets_;
    std::unique_ptr<const Policy> policy_;
    std::array<std::array<Place, 2 * kAddresses>, 2> places_;
    std::atomic<std::uint32_t> begun_contents_{0}, done_contents_{0};  // like those of Place
    std::atomic<bool> stop_{false};
    std::atomic<std::uint64_t> asked_{0}, unchanged_{0}, accepted_{0};
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
    return postern::SetPolicyStress(workers, seconds).run();
}
