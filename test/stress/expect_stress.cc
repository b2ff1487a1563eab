// SPDX-License-Identifier: BSD-3-Clause
// Several workers and a control thread work on one expectation table as fast as they can: create,
// claim, expire, delete, end masters, sleep. Checked all the while, and at the end:
//  * no expectation is claimed twice, and what a claim or a list shows is not torn;
//  * an expectation that insert() reported is found by another worker that learns of it afterwards;
//  * every creation has one end; all counts return to zero; every object is back in its pool.
//
//   expect_stress [--seconds N] [--threads N] [--seed N]
#include <array>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "support/expect_fixture.h"
#include "support/init_eal.h"

namespace postern {
namespace {

constexpr std::uint32_t kPerOwner = 16384;

std::atomic<unsigned> failures{0};
#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition) && failures.fetch_add(1) < 20)                                        \
            std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
    } while (false)

std::uint32_t mix(std::uint32_t serial, Be16 dport) {
    return (serial ^ dport.raw()) * 2654435761u;
}

/// One expectation handed to the next worker, who alone may claim it.
struct Handover {
    alignas(64) std::atomic<std::uint32_t> port{0};  // 0: empty; release by writer and reader
    std::uint32_t serial = 0;
};

struct Shared {
    ExpectTable* table;
    Rcu* rcu;
    unsigned workers;
    std::atomic<bool> stop{false};
    std::atomic<bool> release{false};
    std::vector<std::atomic<std::uint32_t>> claimed_generation;
    std::vector<Handover> handovers;
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();

    Tick now() const {
        // Ten times as fast as the wall's: most expectations have time to expire.
        const auto since = std::chrono::steady_clock::now() - start;
        return Tick{static_cast<std::uint32_t>(
            std::chrono::duration_cast<std::chrono::microseconds>(since).count() / 100)};
    }
};

class Worker {
  public:
    Worker(Shared& shared, unsigned id, std::uint64_t seed)
        : shared_(shared),
          id_(id),
          owner_(shared.table->owner(static_cast<OwnerId>(id))),
          random_(seed * 1000 + id) {}

    void run() {
        shared_.rcu->online(id_);
        while (!shared_.stop.load(std::memory_order_relaxed)) {
            turn_.now = shared_.now();
            const unsigned ops = 1 + pick(32);
            for (unsigned i = 0; i < ops; ++i)
                operation();
            owner_.tick(turn_);
            for (ExpectEvent e; owner_.events().pop(e);)
                CHECK(e.info.mark == mix(e.info.label, e.info.dport));
            shared_.rcu->quiescent(id_);
            if (pick(64) == 0) {  // sleeps: nobody may wait for it
                shared_.rcu->offline(id_);
                std::this_thread::yield();
                shared_.rcu->online(id_);
            }
        }
        for (auto& m : masters_)
            owner_.remove_all(m, ExpectEnd::master_end, turn_);
        shared_.rcu->offline(id_);
    }

  private:
    unsigned pick(unsigned n) { return static_cast<unsigned>(random_() % n); }

    void operation() {
        const unsigned what = pick(100);
        if (what < 45)
            insert();
        else if (what < 85)
            claim();
        else if (what < 88)
            owner_.remove_all(masters_[pick(kMasters)], ExpectEnd::helper_removed, turn_);
        else if (what < 90)
            owner_.remove(recent_[pick(kRecent)], ExpectEnd::control, turn_);
        else if (what < 91)
            owner_.activate(recent_[pick(kRecent)]);
        else if (what < 92)
            owner_.set_timeout(recent_[pick(kRecent)], 1 + pick(200), turn_);
        else if (what < 96)
            post();
        else
            collect();
    }

    ExpectRequest request(std::uint16_t port) {
        ExpectRequest r;
        r.ct_zone = CtZone::from(pick(2));
        r.protocol = proto::tcp;
        if (pick(8) != 0)
            r.src = Prefix::exact(IpAddr::v4(10, 0, 0, static_cast<std::uint8_t>(pick(8))));
        r.dst = IpAddr::v4(10, 1, 0, 1);
        r.dport = Be16::from_host(port);
        r.label = ++serial_ * 64 + id_;
        r.mark = mix(r.label, r.dport);
        r.timeout_ms = 1 + pick(200);
        r.class_index = static_cast<std::uint8_t>(pick(2));
        r.class_max = 8;
        if (pick(16) == 0) r.flags |= expect_flag::skip_master;
        if (pick(16) == 0) r.flags |= expect_flag::beside;
        return r;
    }

    void insert() {
        ExpectRequest r = request(static_cast<std::uint16_t>(1 + pick(16)));
        const unsigned m = pick(kMasters + 1);
        MasterExpectations* list = nullptr;
        if (m < kMasters) {
            list = &masters_[m];
            r.master = ConnId{m + 1, 1, WorkerId::from(id_)};
            r.master_tuple.src = IpAddr::v4(10, 2, 0, static_cast<std::uint8_t>(id_));
        }
        if (pick(16) == 0) r.flags |= expect_flag::permanent;
        if (pick(16) == 0) r.flags |= expect_flag::inactive;
        const InsertResult result = owner_.insert(r, list, turn_);
        if (ok(result.outcome)) recent_[pick(kRecent)] = result.id;
    }

    void check_claim(const ExpectMatch& match, Be16 dport) {
        CHECK(match.mark == mix(match.label, dport));
        if ((match.flags & expect_flag::permanent) != 0) return;
        const std::uint32_t before = shared_.claimed_generation[match.id.index].exchange(
            match.id.generation, std::memory_order_relaxed);
        CHECK(before < match.id.generation);
    }

    void claim() {
        Tuple t;
        t.protocol = proto::tcp;
        t.src = IpAddr::v4(10, 0, 0, static_cast<std::uint8_t>(pick(8)));
        t.sport = Be16::from_host(static_cast<std::uint16_t>(pick(65536)));
        t.dst = IpAddr::v4(10, 1, 0, 1);
        t.dport = Be16::from_host(static_cast<std::uint16_t>(1 + pick(16)));
        const auto zone = CtZone::from(pick(2));
        ExpectMatch match;
        if (postern::claim(*shared_.table, owner_, shared_.table->probe(zone, t), t, turn_, match))
            check_claim(match, t.dport);
    }

    /// The key is this worker's own, and the next worker's to claim.
    void post() {
        Handover& box = shared_.handovers[id_];
        if (box.port.load(std::memory_order_acquire) != 0) return;
        const auto port = static_cast<std::uint16_t>(10000 + 1000 * id_ + ++posted_ % 1000);
        ExpectRequest r = request(port);
        r.ct_zone = CtZone{2};
        r.src = {};
        r.timeout_ms = 1'000'000'000;
        if (owner_.insert(r, nullptr, turn_).outcome != InsertOutcome::created) return;
        box.serial = r.label;
        // Release pairs with collect()'s acquire: as a packet on the wire would order it.
        box.port.store(port, std::memory_order_release);
    }
    void collect() {
        Handover& box = shared_.handovers[(id_ + shared_.workers - 1) % shared_.workers];
        const std::uint32_t port = box.port.load(std::memory_order_acquire);
        if (port == 0) return;
        Tuple t;
        t.protocol = proto::tcp;
        t.src = IpAddr::v4(10, 9, 9, 9);
        t.dst = IpAddr::v4(10, 1, 0, 1);
        t.dport = Be16::from_host(static_cast<std::uint16_t>(port));
        ExpectMatch match;
        const bool found = postern::claim(*shared_.table, owner_,
                                          shared_.table->probe(CtZone{2}, t), t, turn_, match);
        CHECK(found);
        if (found) {
            CHECK(match.label == box.serial);
            check_claim(match, t.dport);
        }
        box.port.store(0, std::memory_order_release);
    }

    static constexpr unsigned kMasters = 8, kRecent = 32;
    Shared& shared_;
    const unsigned id_;
    ExpectOwner& owner_;
    std::minstd_rand random_;
    ExpectTurn turn_;
    std::array<MasterExpectations, kMasters> masters_{};
    std::array<ExpectId, kRecent> recent_{};
    std::uint32_t serial_ = 0;
    std::uint32_t posted_ = 0;
};

/// Lists, deletes anybody's, and makes some of its own, as posternctl would.
void control(Shared& shared, unsigned id, std::uint64_t seed) {
    ExpectOwner& owner = shared.table->owner(static_cast<OwnerId>(id));
    std::minstd_rand random(seed * 1000 + id);
    std::uint32_t serial = 0;
    std::vector<ExpectId> doomed;
    while (!shared.stop.load(std::memory_order_relaxed)) {
        std::uint32_t cursor = 0;
        bool more = true;
        while (more && !shared.stop.load(std::memory_order_relaxed)) {
            shared.rcu->online(id);
            const ExpectTurn turn{shared.now()};
            doomed.clear();
            more = shared.table->walk(cursor, 64, [&](const ExpectInfo& info) {
                CHECK(info.mark == mix(info.label, info.dport));
                if (info.ct_zone != CtZone{2} && random() % 16 == 0) doomed.push_back(info.id);
                if (info.ct_zone != CtZone{2} && random() % 16 == 0)
                    owner.set_timeout(info.id, static_cast<std::uint32_t>(1 + random() % 200),
                                      turn);
            });
            for (const ExpectId d : doomed)
                owner.remove(d, ExpectEnd::control, turn);
            ExpectRequest r;
            r.protocol = proto::tcp;
            r.dst = IpAddr::v4(10, 1, 0, 1);
            r.dport = Be16::from_host(static_cast<std::uint16_t>(1 + random() % 16));
            r.label = ++serial * 64 + id;
            r.mark = mix(r.label, r.dport);
            r.timeout_ms = 1000;
            r.flags = expect_flag::userspace;
            owner.insert(r, nullptr, turn);
            owner.tick(turn);
            for (ExpectEvent e; owner.events().pop(e);)
                CHECK(e.info.mark == mix(e.info.label, e.info.dport));
            shared.rcu->offline(id);
        }
    }
}

int run(unsigned seconds, unsigned workers, std::uint64_t seed) {
    const unsigned owners = workers + 1;
    Rcu rcu(owners);
    rcu.all_offline();
    ExpectConfig c;
    c.owners = owners;
    c.per_owner = kPerOwner;
    c.max_live = 100;
    c.max_per_host = 40;
    c.max_per_destination = 6;
    c.event_ring = 256;
    c.secret = HashSecret::random();
    c.rcu = rcu.get();
    auto table = make_table(c);

    Shared shared;
    shared.table = table.get();
    shared.rcu = &rcu;
    shared.workers = workers;
    shared.claimed_generation = std::vector<std::atomic<std::uint32_t>>(owners * kPerOwner + 1);
    shared.handovers = std::vector<Handover>(workers);

    std::vector<std::thread> threads;
    std::vector<std::unique_ptr<Worker>> all;
    for (unsigned i = 0; i < workers; ++i) {
        all.push_back(std::make_unique<Worker>(shared, i, seed));
        threads.emplace_back([w = all.back().get()] { w->run(); });
    }
    threads.emplace_back([&] { control(shared, workers, seed); });
    std::this_thread::sleep_for(std::chrono::seconds(seconds));
    shared.stop.store(true);
    for (auto& t : threads)
        t.join();

    // Everybody's last turns, long after the last deadline.
    const ExpectTurn late{shared.now() + 1'100'000'000};
    for (int i = 0; i < 4; ++i)
        for (unsigned o = 0; o < owners; ++o)
            table->owner(static_cast<OwnerId>(o)).tick(late, ~0u);

    std::uint64_t created = 0, ended = 0;
    std::array<std::uint64_t, kInsertOutcomes> outcomes{};
    std::array<std::uint64_t, kExpectEnds> ends{};
    std::uint64_t lost_claims = 0;
    for (unsigned o = 0; o < owners; ++o) {
        const ExpectOwner& owner = table->owner(static_cast<OwnerId>(o));
        for (unsigned i = 0; i < kInsertOutcomes; ++i)
            outcomes[i] += owner.inserted(static_cast<InsertOutcome>(i));
        for (unsigned i = 0; i < kExpectEnds; ++i)
            ended += owner.ended(static_cast<ExpectEnd>(i)),
                ends[i] += owner.ended(static_cast<ExpectEnd>(i));
        lost_claims += owner.claims_lost();
        CHECK(owner.free_objects() == kPerOwner);
        CHECK(owner.waiting_objects() == 0);
    }
    created = outcomes[0] + outcomes[1];
    CHECK(created == ended);
    CHECK(table->live() == 0);
    for (unsigned z = 0; z < kCtZones; ++z)
        CHECK(table->live_in_zone(CtZone::from(z)) == 0);
    std::uint32_t cursor = 0, left = 0;
    while (table->walk(cursor, 1000, [&](const ExpectInfo&) { ++left; })) {
    }
    CHECK(left == 0);
    // The run met what it is for.
    for (const auto e : {ExpectEnd::claimed, ExpectEnd::expired, ExpectEnd::control,
                         ExpectEnd::evicted, ExpectEnd::helper_removed})
        CHECK(ends[static_cast<unsigned>(e)] > 0);

    for (unsigned i = 0; i < kInsertOutcomes; ++i)
        std::printf("%-18s %12" PRIu64 "\n",
                    std::string(to_string(static_cast<InsertOutcome>(i))).c_str(), outcomes[i]);
    for (unsigned i = 0; i < kExpectEnds; ++i)
        std::printf("end %-14s %12" PRIu64 "\n",
                    std::string(to_string(static_cast<ExpectEnd>(i))).c_str(), ends[i]);
    std::printf("claims lost        %12" PRIu64 "\n", lost_claims);
    std::printf("%u workers, %u s, seed %" PRIu64 ": %s\n", workers, seconds, seed,
                failures.load() == 0 ? "ok" : "FAILED");
    return failures.load() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    unsigned seconds = 3, workers = 4;
    std::uint64_t seed = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        const unsigned long value = std::strtoul(argv[i + 1], nullptr, 10);
        if (std::strcmp(argv[i], "--seconds") == 0)
            seconds = static_cast<unsigned>(value);
        else if (std::strcmp(argv[i], "--threads") == 0)
            workers = static_cast<unsigned>(value);
        else if (std::strcmp(argv[i], "--seed") == 0)
            seed = value;
        else
            return std::fprintf(stderr, "unknown option %s\n", argv[i]), 2;
    }
    postern::init_eal();
    return postern::run(seconds, workers, seed);
}
