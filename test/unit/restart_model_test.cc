// SPDX-License-Identifier: BSD-3-Clause
// A restored firewall against one that never stopped.
//
// Random conversations of all protocols run through a firewall. Its connections and expectations
// are saved, as a file has them, and restored in a second one, with another number of workers and
// another clock. From then on both get the same packets. They must send the same frames, but for
// the differences that Difference names.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "restorer.h"
#include "state/record_reader.h"
#include "state/record_writer.h"
#include "support/conversations.h"
#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using conversations::Conversation;
using conversations::Packet;
using conversations::Random;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr const char* kHelpers = "helpers: [{name: ftp}, {name: tftp}, {name: pptp}]\n";
constexpr const char* kLimits = "connections: 4096, expectations: 256, helped_connections: 256";
constexpr const char* kRules =
    "  rules:\n"
    "    - {name: related, ct: [related], action: accept}\n"
    "    - {name: ftp, from: inside, proto: tcp, dport: 21, ct: [new], action: accept,"
    " helper: ftp}\n"
    "    - {name: tftp, from: inside, proto: udp, dport: 69, ct: [new], action: accept,"
    " helper: tftp}\n"
    "    - {name: pptp, from: inside, proto: tcp, dport: 1723, ct: [new], action: accept,"
    " helper: pptp}\n"
    "    - {name: web, from: inside, proto: tcp, dport: 80, ct: [new], action: accept,"
    " set: {mark: 7, label: 3}}\n"
    "    - {name: out, from: inside, ct: [new], action: accept}\n";

std::string policy(bool rejects) {
    return std::string("policy:\n  default: ") + (rejects ? "reject" : "drop") + "\n" + kRules;
}

/// What a file would contain.
std::string saved_of(World& world) {
    Firewall& fw = world.fw();
    RecordWriter writer(header_now(fw.plan(), fw.helpers()));
    writer.set_plan(fw.plan(), fw.helpers());
    for (unsigned w = 0; w < fw.workers(); ++w) {
        ConnTable& table = fw.worker(w).conns();
        HelperEngine& helpers = fw.worker(w).helpers();
        for (std::uint32_t slot = 1; slot <= table.capacity(); ++slot) {
            const Conn& conn = table.at(slot);
            if (!conn.alive()) continue;
            HelperImage image;
            image.there = conn.helper_slot != 0;
            if (image.there) helpers.save(*helpers.at(conn.helper_slot), image);
            writer.connection(table.id_of(slot), conn, image.there ? &image : nullptr, world.now);
        }
    }
    std::uint32_t cursor = 0;
    while (fw.expectations().walk(
        cursor, 1024, [&](const ExpectInfo& info) { writer.expectation(info, world.now); })) {
    }
    writer.finish();
    std::string bytes;
    writer.take(bytes);
    return bytes;
}

/// Restores such a file. Everything in it has to be usable.
void restore(World& world, std::string_view bytes, std::uint32_t elapsed_ms) {
    WorkerRequests requests(world.fw());
    Restorer restorer(world.fw(), requests, elapsed_ms, [&world] { return world.now; });
    RecordReader reader(world.fw().plan(), world.fw().helpers());
    reader.feed(bytes);
    reader.feed_end();
    SavedRecord record;
    for (auto next = reader.next(record); next != RecordReader::Next::end;
         next = reader.next(record)) {
        ASSERT_EQ(next, RecordReader::Next::record) << reader.problem();
        std::visit([&](const auto& saved) { restorer.add(saved); }, record);
    }
    ASSERT_TRUE(reader.is_whole()) << reader.problem();
    for (restorer.finish(); !restorer.done(); restorer.step())
        world.turn();
    for (const auto& [outcome, n] : restorer.summary().connections)
        ASSERT_TRUE(outcome == "restored" || outcome == "expired") << outcome << ": " << n;
}

/// What a restored firewall may do otherwise than one that never stopped.
enum class Difference {
    /// A forged segment of TCP passes while the numbers of its connection are learned anew.
    learning,
    /// A connection began after the save: it is judged as a new one in mid-stream.
    younger,
    /// A handshake was not over at the save, and went on after it: what followed does not fit the
    /// saved state.
    half_open,
    /// An announcement was made between the save and the restart.
    announced_unseen,
    /// PPTP sent messages between the save and the restart. Their boundaries cannot be found again,
    /// so its helper reads no later ones (`blind_restored`).
    not_resynchronised,
    kCount
};

struct Shape {
    unsigned before, after;  ///< workers
    unsigned seed;
};

class RestartModel : public ::testing::TestWithParam<Shape> {
  protected:
    void begin() {
        const Shape& shape = GetParam();
        random_.emplace(shape.seed);
        const std::string rules = policy(shape.seed % 2 != 0);
        first_.emplace(rules, shape.before, kHelpers, kLimits);
        second_.emplace(rules, shape.after, kHelpers, kLimits);
        first_->keep_out = second_->keep_out = true;
        // Another process has another clock.
        first_->pass(random_->below(5000));
        using namespace conversations;
        using Make = std::unique_ptr<Conversation> (*)(unsigned, bool);
        unsigned number = 0;
        for (const Make make : {tcp, tcp, tcp, udp, udp, udp, udplite, echo, sctp, dccp, gre, other,
                                conversations::ftp, conversations::ftp, tftp, pptp})
            for (const bool v6 : {false, true})
                talks_.push_back(make(number++, v6));
    }
    enum class Phase {
        before,
        unsaved,
        after
    };

    /// A packet of any conversation: before the save, between it and the restart, or after that.
    void step(Phase phase) {
        Conversation& talk = *talks_[random_->below(static_cast<unsigned>(talks_.size()))];
        const Packet p = talk.next(*random_);
        History& history = of(p, talk, phase);
        const auto a = sent(*first_, p);
        if (p.honest) {
            EXPECT_EQ(a.size(), 1u) << "refused without a restart: " << talk.name() << ": "
                                    << p.what << ": " << drops(*first_);
        }
        if (phase != Phase::after) return;
        const auto b = sent(*second_, p);
        if (same(a, b)) return;
        if (const auto named = name_of(p, history)) {
            ++differences_[static_cast<unsigned>(*named)];
            history.differs = named;
            return;
        }
        ADD_FAILURE() << talk.name() << ": " << p.what << (p.honest ? "" : " (not honest)") << ": "
                      << a.size() << " sent, and " << b.size()
                      << " after a restart: " << drops(*second_) << "; the connection had "
                      << history.saved << " packets before the save, and " << history.after[0]
                      << " and " << history.after[1] << " after the restart";
    }

    /// What the test knows of a connection.
    struct History {
        Phase begun = Phase::before;
        unsigned saved = 0;       ///< packets before the save
        unsigned after[2] = {};   ///< acknowledgements after the restart, from inside and outside
        bool unseen = false;      ///< announced between the save and the restart
        bool unreadable = false;  ///< announced by a stream that cannot be read any more
        std::optional<Difference> differs;
    };
    History& of(const Packet& p, const Conversation& talk, Phase phase) {
        if (p.announces) announced_[&talk] = phase;
        if (p.control && phase == Phase::unsaved) unread_.insert(p.connection());
        if (p.control) control_[&talk] = p.connection();
        const auto [found, added] = histories_.try_emplace(p.connection());
        History& history = found->second;
        if (added) {
            history.begun = phase;
            history.unseen = p.announced && announced_[&talk] == Phase::unsaved;
            history.unreadable =
                p.announced && talk.name().starts_with("pptp") && unread_.contains(control_[&talk]);
        }
        if (!p.honest) return history;
        if (phase == Phase::before) ++history.saved;
        if (phase == Phase::after && p.acknowledges) ++history.after[p.from_inside ? 0 : 1];
        return history;
    }
    std::optional<Difference> name_of(const Packet& p, History& history) {
        // What was lost of a connection lets the rest of it differ, too.
        if (history.differs && *history.differs != Difference::learning) return history.differs;
        if (history.begun == Phase::unsaved) return Difference::younger;
        if (history.begun == Phase::before && history.saved < kHandshake && went_on_unsaved_)
            return Difference::half_open;
        if (!p.honest) {
            const bool learns =
                history.saved != 0 && (history.after[0] < kLearned || history.after[1] < kLearned);
            if (!learns) return std::nullopt;
            // What contradicts restarts it.
            history.after[0] = history.after[1] = 0;
            return Difference::learning;
        }
        if (history.unseen) return Difference::announced_unseen;
        if (history.unreadable) return Difference::not_resynchronised;
        return std::nullopt;
    }

    std::vector<World::Packet> sent(World& world, const Packet& p) {
        world.out.clear();
        world.send(p.frame, p.from_inside ? World::kInside : World::kOutside,
                   steps_++ % world.fw().workers());
        return std::exchange(world.out, {});
    }
    static bool same(const std::vector<World::Packet>& a, const std::vector<World::Packet>& b) {
        return std::ranges::equal(a, b, [](const World::Packet& x, const World::Packet& y) {
            return x.port == y.port && x.frame == y.frame;
        });
    }
    static std::string drops(World& world) {
        std::ostringstream all;
        for (unsigned r = 0; r < kDropReasons; ++r)
            if (const auto n = world.drops(static_cast<DropReason>(r)); n != 0)
                all << to_string(static_cast<DropReason>(r)) << ' ' << n << "; ";
        return all.str();
    }
    void pass(std::uint32_t ms) {
        first_->pass(ms);
        second_->pass(ms);
    }

    std::optional<Random> random_;
    std::optional<World> first_, second_;
    std::vector<std::unique_ptr<Conversation>> talks_;
    std::map<std::string, History> histories_;
    std::map<const Conversation*, Phase> announced_;
    std::map<const Conversation*, std::string> control_;  ///< the present control connection
    std::set<std::string> unread_;  ///< control connections with data after the save
    unsigned differences_[static_cast<unsigned>(Difference::kCount)] = {};
    bool went_on_unsaved_ = false;
    unsigned steps_ = 0;

  private:
    static constexpr unsigned kLearned = 2;    ///< acknowledgements of each side
    static constexpr unsigned kHandshake = 6;  ///< packets after which every handshake is over
};

TEST_P(RestartModel, ByASaveAtItsEndTheSamePacketsPass) {
    begin();
    for (unsigned i = 0; i < 1500; ++i) {
        step(Phase::before);
        if (random_->one_in(50)) first_->pass(random_->below(200));
    }
    ASSERT_NO_FATAL_FAILURE(restore(*second_, saved_of(*first_), 0));
    for (unsigned i = 0; i < 2500 && !HasFailure(); ++i) {
        step(Phase::after);
        if (random_->one_in(50)) pass(random_->below(200));
    }
    for (const Difference never : {Difference::younger, Difference::half_open,
                                   Difference::announced_unseen, Difference::not_resynchronised})
        EXPECT_EQ(differences_[static_cast<unsigned>(never)], 0u);
}

TEST_P(RestartModel, KilledAfterASaveWhatWasSavedGoesOn) {
    begin();
    for (unsigned i = 0; i < 1500; ++i)
        step(Phase::before);
    const std::string saved = saved_of(*first_);
    const Tick then = first_->now;
    went_on_unsaved_ = true;
    for (unsigned i = 0; i < 400; ++i) {
        step(Phase::unsaved);
        if (random_->one_in(50)) first_->pass(random_->below(200));
    }
    ASSERT_NO_FATAL_FAILURE(
        restore(*second_, saved, static_cast<std::uint32_t>(first_->now - then)));
    for (unsigned i = 0; i < 2500 && !HasFailure(); ++i) {
        step(Phase::after);
        if (random_->one_in(50)) pass(random_->below(200));
    }
}

std::vector<Shape> shapes() {
    std::vector<Shape> all;
    unsigned seed = 1;
    for (const unsigned before : {1u, 2u, 4u})
        for (const unsigned after : {1u, 2u, 4u})
            for (unsigned n = 0; n < 2; ++n)
                all.push_back({before, after, seed++});
    return all;
}
INSTANTIATE_TEST_SUITE_P(All, RestartModel, ::testing::ValuesIn(shapes()), [](const auto& each) {
    const Shape& s = each.param;
    return std::to_string(s.before) + "To" + std::to_string(s.after) + "Seed" +
           std::to_string(s.seed);
});

}  // namespace
}  // namespace postern
