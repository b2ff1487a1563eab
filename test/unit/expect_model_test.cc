// SPDX-License-Identifier: BSD-3-Clause
// The table against a naive model: owners interleaved on one thread, fixed seeds. Every outcome,
// match, event and count has to be the model's.
#include <algorithm>
#include <list>
#include <random>
#include <tuple>

#include <gtest/gtest.h>

#include "support/expect_fixture.h"

namespace postern {
namespace {

constexpr unsigned kOwners = 4;
constexpr unsigned kMasters = 3;       // of each owner
constexpr std::uint32_t kStepMs = 64;  // the wheel's unit, so that expiry is exact

struct Pending {
    ExpectId id;
    ExpectRequest r;
    unsigned owner;
    int master;  // -1: none
    Tick deadline;
    bool inactive;
};

using Told = std::tuple<ExpectEventType, ExpectEnd, std::uint32_t, std::uint32_t>;

class Model {
  public:
    explicit Model(const ExpectConfig& c) : config(c) {}

    static bool same_key(const ExpectRequest& a, const ExpectRequest& b) {
        return a.ct_zone == b.ct_zone && a.protocol == b.protocol && a.dst == b.dst &&
               a.dport == b.dport;
    }
    static bool covers(const ExpectRequest& r, const IpAddr& src, Be16 sport) {
        if (!r.any_src()) {
            const unsigned bits = std::min<unsigned>(r.src.length, 32);
            for (unsigned b = 0; b < bits; ++b)
                if (((r.src.address.bytes[b / 8] ^ src.bytes[b / 8]) & (0x80u >> b % 8)) != 0)
                    return false;
        }
        return r.sport_mask == Be16{} || r.sport == sport;
    }
    static unsigned prefix(const ExpectRequest& r) { return std::min<unsigned>(r.src.length, 32); }
    static bool any_port(const ExpectRequest& r) { return r.sport_mask == Be16{}; }
    /// One packet could match both: the wider one covers the narrower one, in both fields.
    static bool overlap(const ExpectRequest& a, const ExpectRequest& b) {
        const ExpectRequest& wide = prefix(a) <= prefix(b) ? a : b;
        const ExpectRequest& narrow = prefix(a) <= prefix(b) ? b : a;
        const bool ports = any_port(a) || any_port(b) || a.sport == b.sport;
        ExpectRequest address_only = wide;
        address_only.sport_mask = Be16{};
        return ports && (prefix(wide) == 0 || covers(address_only, narrow.src.address, Be16{}));
    }
    static bool identical(const ExpectRequest& a, const ExpectRequest& b) {
        return overlap(a, b) && prefix(a) == prefix(b) && any_port(a) == any_port(b);
    }
    bool expired(const Pending& p) const { return reached(p.deadline, now); }
    unsigned in_zone(CtZone zone) const {
        return static_cast<unsigned>(std::count_if(
            pending.begin(), pending.end(), [&](const Pending& p) { return p.r.ct_zone == zone; }));
    }
    std::uint32_t max_of_zone(CtZone zone) const {
        for (const auto& [limited, max] : config.zone_limits)
            if (limited == zone) return max;
        return config.max_per_zone;
    }
    unsigned of_host(const ExpectRequest& r) const {
        return static_cast<unsigned>(
            std::count_if(pending.begin(), pending.end(), [&](const Pending& p) {
                return p.r.ct_zone == r.ct_zone && p.r.master_tuple.src == r.master_tuple.src;
            }));
    }
    unsigned in_class(unsigned owner, int master, unsigned class_index) const {
        return static_cast<unsigned>(
            std::count_if(pending.begin(), pending.end(), [&](const Pending& p) {
                return p.owner == owner && p.master == master && p.r.class_index == class_index;
            }));
    }
    bool same_place(const ExpectRequest& a, const ExpectRequest& b) const {
        return a.ct_zone == b.ct_zone &&
               (config.max_per_host == 0 || a.master_tuple.src == b.master_tuple.src);
    }
    std::list<Pending>::iterator tell_end(std::list<Pending>::iterator p, ExpectEnd end) {
        const auto type = end == ExpectEnd::claimed   ? ExpectEventType::claim
                          : end == ExpectEnd::expired ? ExpectEventType::expire
                                                      : ExpectEventType::destroy;
        told.emplace_back(type, end, p->id.index, p->id.generation);
        return pending.erase(p);
    }

    /// `id` is what the table gave it.
    InsertOutcome insert(unsigned owner, int master, bool closed, const ExpectRequest& r,
                         ExpectId id) {
        if (closed) return InsertOutcome::master_gone;
        unsigned candidates = 0, beside_twins = 0;
        bool refresh = false, place = false;
        // Counts before: what is pushed aside leaves the limits only when all is done.
        const unsigned live = static_cast<unsigned>(pending.size()), zone = in_zone(r.ct_zone),
                       host = of_host(r);
        for (auto p = pending.begin(); p != pending.end();) {  // newest first
            if (!same_key(p->r, r)) {
                ++p;
            } else if (expired(*p)) {
                place |= same_place(p->r, r);
                p = tell_end(p, ExpectEnd::expired);
            } else if ((r.flags & expect_flag::beside) != 0 && p->r.master != r.master) {
                const bool twin = identical(p->r, r);
                if (twin && ++beside_twins == std::max(4u, config.max_per_destination / 8)) {
                    --beside_twins;
                    place |= same_place(p->r, r);
                    p = tell_end(p, ExpectEnd::expired);
                } else {
                    ++candidates;
                    ++p;
                }
            } else if (identical(p->r, r)) {
                if (p->r.class_index == r.class_index && p->r.master == r.master) {
                    refresh = true;
                    place |= same_place(p->r, r);
                    p = tell_end(p, ExpectEnd::refreshed);
                } else {
                    return (r.flags & expect_flag::skip_master) != 0 && p->r.master != r.master
                               ? InsertOutcome::shared
                               : InsertOutcome::already;
                }
            } else if (overlap(p->r, r) &&
                       !((r.flags & expect_flag::skip_master) != 0 && p->r.master != r.master)) {
                return InsertOutcome::busy;
            } else {
                ++candidates;
                ++p;
            }
        }
        if (candidates >= config.max_per_destination) return InsertOutcome::limit_destination;
        if (master >= 0 && r.class_max != 0 && !refresh)
            for (const bool any_age : {false, true})
                for (auto p = pending.end(); p != pending.begin();) {  // oldest first
                    if (in_class(owner, master, r.class_index) < r.class_max) break;
                    --p;
                    if (p->owner != owner || p->master != master ||
                        p->r.class_index != r.class_index || !(any_age || expired(*p)))
                        continue;
                    place |= same_place(p->r, r);
                    p = tell_end(p, expired(*p) ? ExpectEnd::expired : ExpectEnd::evicted);
                }
        if (!place) {
            if (live >= config.max_live) return InsertOutcome::limit_total;
            if (const auto max = max_of_zone(r.ct_zone); max != 0 && zone >= max)
                return InsertOutcome::limit_zone;
            if (config.max_per_host != 0 && host >= config.max_per_host)
                return InsertOutcome::limit_host;
        }
        pending.push_front(Pending{id, r, owner, master, now + r.timeout_ms,
                                   (r.flags & expect_flag::inactive) != 0});
        told.emplace_back(ExpectEventType::fresh, ExpectEnd::claimed, id.index, id.generation);
        return refresh ? InsertOutcome::refreshed : InsertOutcome::created;
    }

    const Pending* find(CtZone zone, const Tuple& t) const {
        for (const Pending& p : pending)
            if (p.r.ct_zone == zone && p.r.protocol == t.protocol && p.r.dst == t.dst &&
                p.r.dport == t.dport && !p.inactive && !expired(p) && covers(p.r, t.src, t.sport))
                return &p;
        return nullptr;
    }
    std::list<Pending>::iterator by_id(ExpectId id) {
        return std::find_if(pending.begin(), pending.end(),
                            [&](const Pending& p) { return p.id == id; });
    }
    void end_all(ExpectEnd end, auto&& which) {
        for (auto p = pending.begin(); p != pending.end();)
            p = which(*p) ? tell_end(p, end) : std::next(p);
    }

    ExpectConfig config;
    Tick now;
    std::list<Pending> pending;  // newest first
    std::vector<Told> told;
};

class Comparison {
  public:
    Comparison(std::uint64_t seed, const ExpectConfig& config)
        : random_(seed), rcu_(kOwners), model_(config) {
        ExpectConfig c = config;
        c.rcu = rcu_.get();
        table_ = make_table(c);
        model_.now = config.start;
    }
    ~Comparison() { rcu_.all_offline(); }

    void step() {
        const unsigned o = pick(kOwners);
        ExpectOwner& owner = table_->owner(static_cast<OwnerId>(o));
        const ExpectTurn turn{model_.now, ++cookie_};
        switch (pick(20)) {
            default: insert(owner, o, turn); break;
            case 0:
            case 1:
            case 2:
            case 3:
            case 4:
            case 5: claim(owner, turn); break;
            case 6:
            case 7: model_.now = model_.now + kStepMs * pick(8); break;
            case 8:
            case 9:
                owner.tick(turn, 1u << 30);
                model_.end_all(ExpectEnd::expired,
                               [&](const Pending& p) { return p.owner == o && model_.expired(p); });
                check_masters(o);
                rcu_.quiescent(o);
                break;
            case 10: {  // any thread deletes; sometimes by a stale id
                const ExpectId id = some_id();
                const auto p = model_.by_id(id);
                ASSERT_EQ(owner.remove(id, ExpectEnd::control, turn), p != model_.pending.end());
                if (p != model_.pending.end()) model_.tell_end(p, ExpectEnd::control);
                break;
            }
            case 11: {
                const unsigned m = pick(kMasters);
                const bool end = pick(2) != 0;
                const ExpectEnd why = end ? ExpectEnd::master_end : ExpectEnd::helper_removed;
                owner.remove_all(masters_[o][m], why, turn);
                model_.end_all(why, [&](const Pending& p) {
                    return p.owner == o && p.master == static_cast<int>(m);
                });
                if (end && pick(4) != 0) masters_[o][m] = {};  // the slot's next connection
                break;
            }
            case 12: {
                const ExpectId id = some_id();
                const auto p = model_.by_id(id);
                const bool can = p != model_.pending.end() && p->inactive;
                ASSERT_EQ(owner.activate(id), can);
                if (can) p->inactive = false;
                break;
            }
            case 13: {
                const ExpectId id = some_id();
                const auto p = model_.by_id(id);
                std::uint32_t timeout_ms = kStepMs * (1 + pick(20));
                // When another thread shortens it, its end is late by the old timeout: not
                // modelled.
                if (p != model_.pending.end() && p->owner != o && !model_.expired(*p))
                    timeout_ms += static_cast<std::uint32_t>(p->deadline - model_.now);
                ASSERT_EQ(owner.set_timeout(id, timeout_ms, turn), p != model_.pending.end());
                if (p != model_.pending.end()) p->deadline = model_.now + timeout_ms;
                break;
            }
        }
        check_events(owner, turn);
        ASSERT_EQ(table_->live(), model_.pending.size());
    }

    void check_all() {
        std::uint32_t cursor = 0;
        std::size_t seen = 0;
        while (table_->walk(cursor, 5, [&](const ExpectInfo& info) {
            ++seen;
            const auto p = model_.by_id(info.id);
            ASSERT_NE(p, model_.pending.end());
            EXPECT_EQ(info.dport, p->r.dport);
            EXPECT_EQ(info.deadline, p->deadline);
            EXPECT_EQ((info.flags & expect_flag::inactive) != 0, p->inactive);
            EXPECT_EQ(info.src.length, Model::prefix(p->r));
        })) {
        }
        ASSERT_EQ(seen, model_.pending.size());
        for (const CtZone z : {CtZone{0}, CtZone{1}})
            ASSERT_EQ(table_->live_in_zone(z), model_.in_zone(z));
    }

    void finish() {
        model_.now = model_.now + 1'000'000;
        for (int i = 0; i < 4; ++i)
            for (unsigned o = 0; o < kOwners; ++o) {
                table_->owner(static_cast<OwnerId>(o)).tick({model_.now, 0}, 1u << 30);
                rcu_.all_quiescent();
            }
        EXPECT_EQ(table_->live(), 0u);
        for (unsigned o = 0; o < kOwners; ++o) {
            EXPECT_EQ(table_->owner(static_cast<OwnerId>(o)).free_objects(),
                      model_.config.per_owner);
            for (const auto& m : masters_[o])
                EXPECT_EQ(m.oldest, 0u);
        }
    }

    std::array<unsigned, kInsertOutcomes> outcomes{};
    unsigned claims = 0;

  private:
    unsigned pick(unsigned n) { return static_cast<unsigned>(random_() % n); }
    IpAddr address() {
        return IpAddr::v4(10, 0, static_cast<std::uint8_t>(pick(3)),
                          static_cast<std::uint8_t>(pick(3)));
    }
    ExpectId some_id() {
        if (!model_.pending.empty() && pick(4) != 0)
            return std::next(model_.pending.begin(),
                             pick(static_cast<unsigned>(model_.pending.size())))
                ->id;
        return stale_;
    }
    static ConnId conn(unsigned owner, int master) {
        return master < 0
                   ? ConnId{}
                   : ConnId{static_cast<std::uint32_t>(master) + 1, 1, WorkerId::from(owner)};
    }

    void insert(ExpectOwner& owner, unsigned o, ExpectTurn turn) {
        const int master = static_cast<int>(pick(kMasters + 1)) - 1;
        ExpectRequest r;
        r.ct_zone = CtZone::from(pick(8) == 0 ? 1 : 0);
        r.protocol = pick(4) == 0 ? proto::udp : proto::tcp;
        r.dst = IpAddr::v4(10, 1, 0, static_cast<std::uint8_t>(pick(2)));
        r.dport = Be16::from_host(static_cast<std::uint16_t>(100 + pick(6)));
        if (pick(8) != 0) {
            r.src = Prefix::exact(address());
            constexpr std::uint8_t kPrefixes[] = {0, 24, 31, 32, 32, 32, 128};
            r.src.length = kPrefixes[pick(std::size(kPrefixes))];
        }
        if (pick(3) == 0) {
            r.sport = Be16::from_host(static_cast<std::uint16_t>(pick(2)));
            r.sport_mask = Be16::from_raw(0xffff);
        }
        r.master = conn(o, master);
        r.master_tuple.src = IpAddr::v4(10, 2, 0, static_cast<std::uint8_t>(o % 2));
        r.class_index = static_cast<std::uint8_t>(pick(4) == 0);
        r.class_max = static_cast<std::uint8_t>(pick(5));
        if (pick(8) == 0) r.flags |= expect_flag::skip_master;
        if (pick(8) == 0) r.flags |= expect_flag::beside;
        if (pick(8) == 0) r.flags |= expect_flag::permanent;
        if (pick(8) == 0) r.flags |= expect_flag::inactive;
        r.timeout_ms = kStepMs * (1 + pick(100));
        MasterExpectations* list =
            master < 0 ? nullptr : &masters_[o][static_cast<unsigned>(master)];
        const bool closed = list != nullptr && list->closed;
        const InsertResult got = owner.insert(r, list, turn);
        ASSERT_EQ(got.outcome, model_.insert(o, master, closed, r, got.id))
            << to_string(got.outcome);
        ++outcomes[static_cast<unsigned>(got.outcome)];
        if (pick(16) == 0) stale_ = got.id;
    }

    void claim(ExpectOwner& owner, ExpectTurn turn) {
        Tuple t;
        t.protocol = pick(4) == 0 ? proto::udp : proto::tcp;
        t.src = address();
        t.sport = Be16::from_host(static_cast<std::uint16_t>(pick(3)));
        t.dst = IpAddr::v4(10, 1, 0, static_cast<std::uint8_t>(pick(2)));
        t.dport = Be16::from_host(static_cast<std::uint16_t>(100 + pick(6)));
        const auto zone = CtZone::from(pick(8) == 0 ? 1 : 0);
        const Pending* want = model_.find(zone, t);
        ExpectMatch match;
        ASSERT_EQ(postern::claim(*table_, owner, table_->probe(zone, t), t, turn, match),
                  want != nullptr);
        if (want == nullptr) return;
        ++claims;
        ASSERT_EQ(match.id, want->id);
        ASSERT_EQ(match.master, want->r.master);
        if ((want->r.flags & expect_flag::permanent) != 0)
            model_.told.emplace_back(ExpectEventType::claim, ExpectEnd::claimed, want->id.index,
                                     want->id.generation);
        else
            model_.tell_end(model_.by_id(want->id), ExpectEnd::claimed);
    }

    void check_events(ExpectOwner& owner, ExpectTurn turn) {
        std::vector<Told> got;
        for (ExpectEvent e; owner.events().pop(e);) {
            got.emplace_back(e.type, e.end, e.info.id.index, e.info.id.generation);
            ASSERT_EQ(e.cookie, turn.cookie);
        }
        std::sort(got.begin(), got.end());
        std::sort(model_.told.begin(), model_.told.end());
        ASSERT_EQ(got, model_.told);
        model_.told.clear();
    }

    void check_masters(unsigned o) {
        for (unsigned m = 0; m < kMasters; ++m)
            for (unsigned c = 0; c < kExpectClasses; ++c)
                ASSERT_EQ(masters_[o][m].count[c], model_.in_class(o, static_cast<int>(m), c));
    }

    std::mt19937_64 random_;
    Rcu rcu_;
    Model model_;
    std::unique_ptr<ExpectTable> table_;
    std::array<std::array<MasterExpectations, kMasters>, kOwners> masters_{};
    std::uint64_t cookie_ = 0;
    ExpectId stale_;
};

class ExpectModelTest : public testing::TestWithParam<unsigned> {};

TEST_P(ExpectModelTest, AgreesWithTheNaiveOne) {
    const unsigned seed = GetParam();
    ExpectConfig c;
    c.owners = kOwners;
    c.per_owner = 2048;
    c.secret = HashSecret::from_seed(seed);
    c.event_ring = 4096;
    c.start = Tick{seed % 2 == 0 ? 0xffffff00u : kStepMs};  // across the wrap of the clock
    // Odd seeds are crowded: every limit is met.
    c.max_live = seed % 2 == 0 ? 10000 : 18;
    c.max_per_destination = seed % 2 == 0 ? 64 : 6;
    if (seed % 2 != 0) c.zone_limits = {{CtZone{1}, 4}};
    if (seed % 4 == 1) c.max_per_host = 12;
    Comparison run(seed, c);
    for (unsigned step = 0; step < 50000; ++step) {
        run.step();
        if (step % 64 == 0) run.check_all();
        ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed << " step " << step;
    }
    run.finish();
    // The run met what it is for.
    EXPECT_GT(run.claims, 100u);
    for (const auto o : {InsertOutcome::created, InsertOutcome::refreshed, InsertOutcome::shared,
                         InsertOutcome::already, InsertOutcome::busy, InsertOutcome::master_gone})
        EXPECT_GT(run.outcomes[static_cast<unsigned>(o)], 0u) << to_string(o);
    if (seed % 4 == 1) {
        for (const auto o :
             {InsertOutcome::limit_total, InsertOutcome::limit_zone, InsertOutcome::limit_host})
            EXPECT_GT(run.outcomes[static_cast<unsigned>(o)], 0u) << to_string(o);
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ExpectModelTest, testing::Range(0u, 16u));

}  // namespace
}  // namespace postern
