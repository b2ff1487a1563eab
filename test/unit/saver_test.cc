// SPDX-License-Identifier: BSD-3-Clause
// Saving a firewall: by the worker's answers, in steps of control, and from the tables of workers
// that do not run.
#include <cstdlib>
#include <fstream>
#include <set>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "save_stream.h"
#include "state/file.h"
#include "state/record_reader.h"
#include "state_saver.h"
#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kPolicy =
    "helpers: [{name: ftp}]\n"
    "policy:\n"
    "  rules:\n"
    "    - {name: control, proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp}\n"
    "    - {name: data, ct: [related], related: [ftp], action: accept}\n"
    "    - {name: dns, proto: udp, ct: [new], action: accept}\n";

/// What a file contains.
struct Content {
    std::vector<SavedConnection> connections;
    std::vector<SavedExpectation> expectations;
    StateTotals totals;
    bool whole = false;
};
Content content_of(const std::string& bytes, Firewall& fw) {
    RecordReader reader(fw.plan(), fw.helpers());
    reader.feed(bytes);
    reader.feed_end();
    Content out;
    SavedRecord record;
    RecordReader::Next next;
    while ((next = reader.next(record)) != RecordReader::Next::end) {
        EXPECT_EQ(next, RecordReader::Next::record) << reader.problem();
        if (next != RecordReader::Next::record) break;
        if (auto* c = std::get_if<SavedConnection>(&record))
            out.connections.push_back(*c);
        else
            out.expectations.push_back(std::get<SavedExpectation>(record));
    }
    out.totals = reader.totals();
    out.whole = reader.is_whole();
    return out;
}

class Saving : public ::testing::TestWithParam<unsigned> {
  protected:
    void SetUp() override {
        char name[] = "/tmp/saver_test.XXXXXX";
        ASSERT_NE(::mkdtemp(name), nullptr);
        folder_ = name;
        path_ = folder_ + "/state";
        std::ofstream(path_) << "former";
        // A helped connection with a pending expectation and half a line, and plain ones.
        ASSERT_TRUE(control_.open());
        ASSERT_TRUE(control_.server("220 ready\r\n"));
        ASSERT_TRUE(control_.client("EPSV\r\n"));
        ASSERT_TRUE(control_.server("229 ok (|||50000|)\r\n"));
        ASSERT_TRUE(control_.client("half a l"));
        for (unsigned i = 0; i < kPlain; ++i)
            ASSERT_TRUE(
                world_.from_inside(frames::udp(flow("192.0.2.3", 4000 + i, "192.0.2.2", 53))));
    }
    void TearDown() override { EXPECT_EQ(std::system(("rm -rf '" + folder_ + "'").c_str()), 0); }
    std::string content() const {
        std::ifstream in(path_);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    void turn() {
        // Control and workers share this thread.
        for (unsigned i = 0; i <= world_.fw().workers(); ++i)
            rte_rcu_qsbr_thread_online(world_.fw().rcu(), i);
        world_.turn();
    }
    std::string stream(const ConnFilter& filter, bool all) {
        SaveStream s(world_.fw(), owners_, filter, all, [this] { return world_.now; });
        std::string bytes;
        for (Pull pull = Pull::row; pull != Pull::done;) {
            pull = s.step(bytes, 64);
            if (pull == Pull::pending) turn();
        }
        return bytes;
    }
    void check_all(const Content& c) {
        EXPECT_TRUE(c.whole);
        EXPECT_EQ(c.connections.size(), kPlain + 1);
        EXPECT_EQ(c.totals.connections, kPlain + 1);
        EXPECT_EQ(c.totals.filtered, 0u);
        std::set<unsigned> ports;
        for (const SavedConnection& s : c.connections) {
            const bool helped = s.image.conn.dport.host() == 21;
            EXPECT_EQ(s.image.helper.there, helped);
            EXPECT_EQ(world_.fw().worker(s.id.worker).conns().find(s.id)->sport,
                      s.image.conn.sport);
            ports.insert(s.image.conn.sport.host());
            if (!helped) continue;
            EXPECT_TRUE(s.image.helper.conn.proven);
            const Stream& stream = s.image.helper.conn.stream[0];
            ASSERT_EQ(stream.fill, 8u);
            EXPECT_EQ(std::string(s.image.helper.waiting[0].begin(),
                                  s.image.helper.waiting[0].begin() + stream.fill),
                      "half a l");
            ASSERT_EQ(c.expectations.size(), 1u);
            EXPECT_EQ(c.expectations[0].master, s.id);
            EXPECT_EQ(c.expectations[0].request.dport.host(), 50000u);
        }
        EXPECT_EQ(ports.size(), kPlain + 1);
    }

    static constexpr unsigned kPlain = 700;
    World world_{kPolicy, GetParam(), {}, World::kLimits};
    Talk control_{world_, flow("192.0.2.1", 40000, "192.0.2.2", 21)};
    std::shared_ptr<QueryOwners> owners_ = std::make_shared<QueryOwners>(world_.fw().workers());
    std::string folder_, path_;
};
INSTANTIATE_TEST_SUITE_P(Workers, Saving, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

TEST_P(Saving, InStepsAllIsSaved) {
    StateSaver saver(
        world_.fw(), owners_, [this] { return world_.now; }, path_);
    EXPECT_EQ(saver.step(), StateSaver::Step::idle);
    for (int round = 0; round < 2; ++round) {
        saver.begin();
        EXPECT_TRUE(saver.in_progress());
        const std::string before = content();
        StateSaver::Step step;
        while ((step = saver.step()) != StateSaver::Step::saved) {
            ASSERT_NE(step, StateSaver::Step::failed) << saver.error();
            ASSERT_NE(step, StateSaver::Step::idle);
            // The new one takes its place as a whole, at any time before saver knows of it.
            if (content() != before) check_all(content_of(content(), world_.fw()));
            if (step == StateSaver::Step::waiting) turn();
        }
        EXPECT_EQ(saver.totals().connections, kPlain + 1);
        EXPECT_EQ(saver.step(), StateSaver::Step::idle);
        check_all(content_of(content(), world_.fw()));
    }
}

TEST_P(Saving, FromTablesOfStoppedWorkersAllIsSaved) {
    auto saved = save_stopped(world_.fw(), world_.now, path_);
    ASSERT_TRUE(saved) << saved.error().message;
    EXPECT_EQ(saved->connections, kPlain + 1);
    EXPECT_EQ(saved->expectations, 1u);
    check_all(content_of(content(), world_.fw()));
}

TEST_P(Saving, CancelledTheFormerFileStays) {
    StateSaver saver(
        world_.fw(), owners_, [this] { return world_.now; }, path_);
    saver.begin();
    while (saver.step() == StateSaver::Step::waiting)
        turn();
    saver.cancel();
    EXPECT_FALSE(saver.in_progress());
    EXPECT_EQ(content(), "former");
    EXPECT_EQ(std::system(("test $(ls '" + folder_ + "' | wc -l) = 1").c_str()), 0);
}

TEST_P(Saving, AFailureNamesItsCause) {
    const std::string path = folder_ + "/none/state";
    StateSaver saver(
        world_.fw(), owners_, [this] { return world_.now; }, path);
    saver.begin();
    EXPECT_EQ(saver.step(), StateSaver::Step::failed);
    EXPECT_EQ(saver.error(), path + ": cannot be written: No such file or directory");
    EXPECT_FALSE(saver.in_progress());
    EXPECT_EQ(save_stopped(world_.fw(), world_.now, path).error().message, saver.error());
}

TEST_P(Saving, ConditionsLeaveOutAndCount) {
    ConnFilter udp;
    udp.protocol = proto::udp;
    Content c = content_of(stream(udp, false), world_.fw());
    EXPECT_EQ(c.connections.size(), kPlain);
    EXPECT_EQ(c.totals.filtered, 1u);
    EXPECT_TRUE(c.expectations.empty());
    EXPECT_EQ(c.totals.expectations_filtered, 1u);
    ConnFilter tcp;
    tcp.protocol = proto::tcp;
    c = content_of(stream(tcp, false), world_.fw());
    EXPECT_EQ(c.connections.size(), 1u);
    EXPECT_EQ(c.totals.filtered, kPlain);
    EXPECT_EQ(c.expectations.size(), 1u) << "its master is saved";
    check_all(content_of(stream({}, true), world_.fw()));
}

TEST(SavingAtSize, MoreHelpersThanTheRingHas) {
    World world(kPolicy, 1, {}, "connections: 4096, expectations: 64, helped_connections: 2048");
    constexpr unsigned kCount = 3 * ConnQuery::kHelpers;
    for (unsigned i = 0; i < kCount; ++i) {
        const auto f = flow("192.0.2.1", 1024 + i, "192.0.2.2", 21);
        ASSERT_TRUE(world.from_inside(frames::tcp(f, {.flags = tcp_flag::syn})));
        ASSERT_TRUE(
            world.from_outside(frames::tcp(f.back(), {.flags = 0x12, .seq = 100, .ack = 1})));
        ASSERT_TRUE(world.from_inside(frames::tcp(f, {.flags = 0x10, .seq = 1, .ack = 101})));
        ASSERT_TRUE(world.from_outside(frames::tcp(
            f.back(), {.flags = 0x18, .seq = 101, .ack = 1, .payload = "220 ready\r\n"})));
    }
    auto owners = std::make_shared<QueryOwners>(1);
    SaveStream s(world.fw(), owners, {}, true, [&] { return world.now; });
    std::string bytes;
    for (Pull pull = Pull::row; pull != Pull::done;) {
        // Control is slow: the ring of states is full at times.
        for (unsigned n = 0; n < 20; ++n) {
            rte_rcu_qsbr_thread_online(world.fw().rcu(), 0);
            rte_rcu_qsbr_thread_online(world.fw().rcu(), 1);
            world.turn();
        }
        pull = s.step(bytes, 100);
    }
    unsigned helped = 0;
    const Content c = content_of(bytes, world.fw());
    for (const SavedConnection& saved : c.connections)
        helped += saved.image.conn.helper != kNoHelper || saved.image.helper.there ? 1 : 0;
    EXPECT_EQ(c.connections.size(), kCount);
    EXPECT_GT(helped, ConnQuery::kHelpers);
}

}  // namespace
}  // namespace postern
