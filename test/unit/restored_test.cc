// SPDX-License-Identifier: BSD-3-Clause
// TCP connections that were restored after more was sent than their save knows: honest traffic,
// attacks, and what their helpers make of it. Through whole firewalls.
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "support/requests.h"
#include "world.h"

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr const char *kClient = "192.0.2.1", *kServer = "198.51.100.2";
constexpr auto kOriginal = Direction::original, kReply = Direction::reply;
constexpr std::uint8_t kAck = tcp_flag::ack, kData = tcp_flag::ack | tcp_flag::psh,
                       kFin = tcp_flag::ack | tcp_flag::fin, kRst = tcp_flag::rst;

std::string policy(const std::string& helper, unsigned dport) {
    return "helpers: [{name: " + helper +
           "}]\n"
           "policy:\n"
           "  default: drop\n"
           "  rules:\n"
           "    - {name: control, from: inside, proto: tcp, dport: " +
           std::to_string(dport) + ", ct: [new], action: accept, helper: " + helper +
           "}\n"
           "    - {name: children, ct: [related], action: accept}\n"
           "    - {name: rest, from: inside, proto: tcp, dport: 22, ct: [new], action: accept}\n";
}

/// Two peers, whose segments go through one firewall, then through another one.
class Session {
  public:
    Session(World& world, unsigned dport)
        : world_(&world), flow_(frames::flow(kClient, 40000, kServer, dport)), dport_(dport) {}

    bool open() {
        return send(kOriginal, tcp_flag::syn) && send(kReply, tcp_flag::syn | kAck) &&
               send(kOriginal, kAck);
    }
    bool send(Direction d, std::uint8_t flags, std::string_view text = {}) {
        const bool passed = forge(d, flags, seq_[index(d)], seq_[index(!d)], text);
        if (passed) unseen(d, text.size() + ((flags & 0x03) != 0 ? 1 : 0));
        return passed;
    }
    bool client(std::string_view text) { return send(kOriginal, kData, text); }
    bool server(std::string_view text) { return send(kReply, kData, text); }
    /// So many bytes reach the other side while there is no firewall.
    void unseen(Direction d, std::size_t bytes) {
        seq_[index(d)] += static_cast<std::uint32_t>(bytes);
    }
    /// A segment with any numbers, from the sender's own zone or from the other one.
    bool forge(Direction d, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack,
               std::string_view text = {}, bool other_zone = false) {
        frames::TcpFields t{.flags = flags, .seq = seq, .win = 8000, .payload = text};
        if ((flags & kAck) != 0) t.ack = ack;
        const bool original = d == kOriginal;
        return world_->send(frames::tcp(original ? flow_ : flow_.back(), t),
                            original != other_zone ? World::kInside : World::kOutside);
    }
    std::uint32_t seq(Direction d) const { return seq_[index(d)]; }

    /// Saves the connection; to be restored by restart().
    void save() {
        const auto found = world_->connection(static_cast<std::uint16_t>(dport_));
        ASSERT_TRUE(found);
        image_ = {};
        image_.conn = found->conn;
        Conn& c = image_.conn;
        c.recall_last();
        if (c.has(conn_flag::has_helper_slot)) {
            HelperEngine& helpers = world_->fw().worker(found->worker).helpers();
            helpers.save(*helpers.at(c.helper_slot), image_.helper);
            c.helper = kNoHelper;
        }
        c.helper_slot = 0;
        c.flags &= conn_flag::seen_reply | conn_flag::assured | conn_flag::swapped;
        idle_ms_ = static_cast<std::uint32_t>(world_->now - c.last_seen());
    }
    /// From here on the peers' segments go through `next`.
    void restart(World& next) {
        ASSERT_EQ(restart_outcome(next), RestoreRequest::Outcome::restored);
    }
    RestoreRequest::Outcome restart_outcome(World& next) {
        pass_through(next);
        return restore_into(next.fw().worker(0), image_, idle_ms_, idle_ms_).outcome;
    }
    /// The same, before anything is restored there.
    void pass_through(World& next) {
        next.turn();  // its worker knows the time
        world_ = &next;
    }
    bool learning() { return conn().learning != 0; }
    Conn conn() { return world_->connection(static_cast<std::uint16_t>(dport_))->conn; }
    World& world() { return *world_; }

  private:
    World* world_;
    frames::Flow flow_;
    unsigned dport_;
    std::uint32_t seq_[2] = {0xfffff000, 5000};
    ConnImage image_;
    std::uint32_t idle_ms_ = 0;
};

std::uint64_t refused(World& w) {
    return w.drops(DropReason::tcp_seq_beyond) + w.drops(DropReason::tcp_ack_unsent);
}

class Restored : public ::testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(s.open());
        ASSERT_TRUE(s.client("hello"));
        ASSERT_TRUE(s.server("hello"));
        ASSERT_TRUE(s.send(kOriginal, kAck));
        s.save();
    }
    void restart() { s.restart(second); }

    World first{policy("ftp", 21), 1}, second{policy("ftp", 21), 1};
    Session s{first, 22};
    const std::string bulk = std::string(1400, 'x');
};

TEST_F(Restored, BulkGoesOnBothWays) {
    for (const std::size_t more : {std::size_t{3'000'000}, std::size_t{3'000'000'000}}) {
        World next(policy("ftp", 21), 1);
        s.unseen(kOriginal, more);
        s.unseen(kReply, more + 1);
        s.restart(next);
        for (unsigned i = 0; i < 20; ++i) {
            ASSERT_TRUE(s.client(bulk));
            ASSERT_TRUE(s.server(bulk));
        }
        EXPECT_FALSE(s.learning());
        EXPECT_EQ(refused(next), 0u);
        EXPECT_FALSE(s.forge(kReply, kData, s.seq(kReply) + 10'000'000, s.seq(kOriginal), "x"));
        EXPECT_EQ(refused(next), 1u);
    }
}

TEST_F(Restored, AnIdleSessionWakesAfterAnHour) {
    s.unseen(kOriginal, 36);
    s.unseen(kReply, 72);
    restart();
    for (unsigned i = 0; i < 2; ++i) {
        second.pass(3'600'000, 10'000);
        ASSERT_TRUE(s.server("x"));
        ASSERT_TRUE(s.send(kOriginal, kAck));
        EXPECT_FALSE(s.learning());
        EXPECT_EQ(s.conn().timeout_ms, 432'000'000u);
    }
}

TEST_F(Restored, UnansweredDataLeavesMinutes) {
    restart();
    second.pass(3'600'000, 10'000);
    ASSERT_TRUE(s.forge(kReply, kData, 0x33333333, 0x44444444, "x"));
    EXPECT_TRUE(s.learning());
    EXPECT_EQ(s.conn().timeout_ms, 300'000u);
    second.pass(290'000, 10'000);
    EXPECT_TRUE(second.connection(22));
    second.pass(130'000, 10'000);  // the timing wheel looks at it every two minutes
    EXPECT_FALSE(second.connection(22));
}

TEST_F(Restored, AcknowledgementsAloneDoNotKeepIt) {
    restart();
    const std::uint32_t seen_ms = s.conn().last_seen_ms;
    second.pass(60'000, 10'000);
    ASSERT_TRUE(s.forge(kReply, kAck, 0x33333333, 0x44444444));
    EXPECT_EQ(s.conn().last_seen_ms, seen_ms);
    EXPECT_EQ(s.conn().timeout_ms, 432'000'000u);
}

TEST_F(Restored, AForgerOfAnotherZoneTeachesNothing) {
    s.unseen(kReply, 1'000'000);
    restart();
    const Conn before = s.conn();
    EXPECT_FALSE(s.forge(kReply, kData, 0x33333333, 0x44444444, "x", true));
    EXPECT_EQ(second.drops(DropReason::wrong_zone), 1u);
    EXPECT_EQ(s.conn().tcp_near.side[1].end, before.tcp_near.side[1].end);
    EXPECT_TRUE(s.server("x"));
    EXPECT_TRUE(s.send(kOriginal, kAck));
    EXPECT_FALSE(s.learning());
}

TEST_F(Restored, AForgerOfTheRightZoneDelaysOnly) {
    s.unseen(kReply, 1'000'000);
    s.unseen(kOriginal, 1'000'000);
    restart();
    for (unsigned i = 0; i < 50; ++i) {
        ASSERT_TRUE(s.forge(kReply, kData, 0x33333333 * i, 0x44444444, bulk));
        ASSERT_TRUE(s.client("x"));
        ASSERT_TRUE(s.forge(kReply, kRst, 0x33333333 * i, 0));
        ASSERT_TRUE(s.forge(kReply, kFin, 0x53333333 * i, 0x44444444));
    }
    EXPECT_EQ(s.conn().tcp_state(), TcpState::established);
    EXPECT_TRUE(s.client("x"));
    EXPECT_TRUE(s.server("x"));
    EXPECT_FALSE(s.learning());
    EXPECT_FALSE(s.forge(kReply, kData, 0x33333333, 0x44444444, bulk));
}

TEST_F(Restored, ATransferEndsRightAfterTheRestart) {
    s.unseen(kReply, 1'000'000);
    restart();
    EXPECT_TRUE(s.send(kReply, kFin, bulk));
    EXPECT_TRUE(s.send(kOriginal, kFin));
    EXPECT_TRUE(s.send(kReply, kAck));
    EXPECT_EQ(s.conn().tcp_state(), TcpState::time_wait);
}

TEST_F(Restored, AResetRightAfterTheRestart) {
    s.unseen(kReply, 1'000'000);
    restart();
    ASSERT_TRUE(s.server(bulk));
    ASSERT_TRUE(s.send(kOriginal, kRst));
    EXPECT_EQ(s.conn().tcp_state(), TcpState::close);
    World other(policy("ftp", 21), 1);
    s.restart(other);
    ASSERT_TRUE(s.forge(kReply, kRst, s.seq(kReply) + 7, 0));
    EXPECT_EQ(s.conn().timeout_ms, 300'000u);
    other.pass(310'000, 10'000);
    EXPECT_FALSE(other.connection(22));
}

TEST_F(Restored, AnErrorNeedsANumberSeenSinceTheRestart) {
    s.unseen(kReply, 1'000'000);
    restart();
    const auto error = [&](std::uint32_t seq) {
        const auto f = frames::flow(kServer, 22, kClient, 40000);
        const auto about = frames::tcp(f, {.flags = kData, .seq = seq, .payload = bulk});
        return second.from_inside(
            frames::unreachable(IpAddr::v4(192, 0, 2, 1), IpAddr::v4(198, 51, 100, 2), about));
    };
    const std::uint32_t seq = s.seq(kReply);
    EXPECT_FALSE(error(seq));
    ASSERT_TRUE(s.server(bulk));
    EXPECT_TRUE(error(seq));
    EXPECT_FALSE(error(seq + 5'000'000));
}

// ---- helpers ----

class RestoredFtp : public ::testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(s.open());
        ASSERT_TRUE(s.server("220 hi\r\n"));
        ASSERT_TRUE(s.client("USER a\r\n"));
        ASSERT_TRUE(s.server("230 in\r\n"));
        ASSERT_TRUE(s.send(kOriginal, kAck));
        s.save();
    }
    void restart_after_missing() {
        s.unseen(kOriginal, 6);
        s.unseen(kReply, 8);
        s.restart(second);
    }
    void restart() { s.restart(second); }
    void ask(std::string_view command, std::string_view reply) {
        ASSERT_TRUE(s.client(command));
        ASSERT_TRUE(s.server(reply));
        ASSERT_TRUE(s.send(kOriginal, kAck));
    }
    bool passes(unsigned port) {
        return second.from_inside(frames::tcp(frames::flow(kClient, 40001, kServer, port),
                                              {.flags = tcp_flag::syn, .seq = 1}));
    }
    bool passes_back(unsigned port) {
        return second.from_outside(frames::tcp(frames::flow(kServer, 20, kClient, port),
                                               {.flags = tcp_flag::syn, .seq = 1}));
    }
    std::uint64_t count(HelperCounter counter) {
        return second.fw().worker(0).helpers().counters(1)[counter].get();
    }

    World first{policy("ftp", 21), 1}, second{policy("ftp", 21), 1};
    Session s{first, 21};
};

TEST_F(RestoredFtp, GoesOnAtOnceIfNothingWasMissed) {
    restart();
    ask("PASV\r\n", "227 ok (198,51,100,2,195,80)\r\n");
    EXPECT_TRUE(passes(50000));
    ask("PORT 192,0,2,1,195,81\r\n", "200 ok\r\n");
    EXPECT_TRUE(passes_back(50001));
}

TEST_F(RestoredFtp, TakesThePlaceOfWhatBeganInMidStream) {
    s.unseen(kOriginal, 6);
    s.unseen(kReply, 8);
    s.pass_through(second);
    ask("TYPE I\r\n", "200 ok\r\n");
    restart();
    ask("PASV\r\n", "227 ok (198,51,100,2,195,80)\r\n");
    EXPECT_TRUE(passes(50000));
}

TEST_F(RestoredFtp, TakesNoPlaceOfAConnectionThatBeganAnew) {
    Session young(second, 21);
    ASSERT_TRUE(young.open());
    ASSERT_TRUE(young.server("220 hi\r\n"));
    EXPECT_EQ(s.restart_outcome(second), RestoreRequest::Outcome::exists);
    ASSERT_TRUE(young.client("USER a\r\n"));
    ASSERT_TRUE(young.server("230 in\r\n"));
    ASSERT_TRUE(young.client("PASV\r\n"));
    ASSERT_TRUE(young.server("227 ok (198,51,100,2,195,80)\r\n"));
    EXPECT_TRUE(passes(50000));
}

TEST_F(RestoredFtp, GoesOnInABurst) {
    restart();
    const auto f = frames::flow(kClient, 40000, kServer, 21);
    const std::string_view pasv = "PASV\r\n", ok = "227 ok (198,51,100,2,195,80)\r\n";
    const std::uint32_t c = s.seq(kOriginal), v = s.seq(kReply);
    EXPECT_EQ(second.send_burst(
                  {{frames::tcp(f, {.flags = kData, .seq = c, .ack = v, .payload = pasv}),
                    World::kInside},
                   {frames::tcp(f.back(), {.flags = kData, .seq = v, .ack = c + 6, .payload = ok}),
                    World::kOutside}}),
              "aa");
    EXPECT_TRUE(passes(50000));
}

TEST_F(RestoredFtp, GoesOnAfterMissedCommands) {
    restart_after_missing();
    ask("TYPE I\r\n", "200 ok\r\n");
    ask("PASV\r\n", "227 ok (198,51,100,2,195,80)\r\n");
    EXPECT_TRUE(passes(50000));
    ask("PASV\r\n", "227 ok (198,51,100,2,195,82)\r\n");
    EXPECT_TRUE(passes(50002));
    ask("PORT 192,0,2,1,195,81\r\n", "200 ok\r\n");
    EXPECT_TRUE(passes_back(50001));
    EXPECT_EQ(count(HelperCounter::blind_restored), 0u);
}

TEST_F(RestoredFtp, GoesOnAfterATransferThatEndsAfterTheRestart) {
    restart_after_missing();
    ASSERT_TRUE(s.server("226 sent\r\n"));
    ASSERT_TRUE(s.send(kOriginal, kAck));
    ask("EPSV\r\n", "229 ok (|||50003|)\r\n");
    EXPECT_TRUE(passes(50003));
}

TEST_F(RestoredFtp, AKeepAliveMissesNothing) {
    restart();
    ASSERT_TRUE(s.forge(kReply, kAck, s.seq(kReply) - 1, s.seq(kOriginal)));
    ASSERT_TRUE(s.send(kOriginal, kAck));
    ask("PASV\r\n", "227 ok (198,51,100,2,195,80)\r\n");
    EXPECT_TRUE(passes(50000));
}

TEST_F(RestoredFtp, ARepeatedSegmentMissesNothing) {
    restart();
    ASSERT_TRUE(s.forge(kReply, kData, s.seq(kReply) - 8, s.seq(kOriginal), "230 in\r\n"));
    ASSERT_TRUE(s.send(kOriginal, kAck));
    ask("PASV\r\n", "227 ok (198,51,100,2,195,80)\r\n");
    EXPECT_TRUE(passes(50000));
}

TEST_F(RestoredFtp, BeginsWithAPassiveTransferAfterMissedCommands) {
    restart_after_missing();
    ask("PASV\r\n", "227 ok (198,51,100,2,195,80)\r\n");
    EXPECT_TRUE(passes(50000));
}

TEST_F(RestoredFtp, BeginsWithAnActiveTransferAfterMissedCommands) {
    restart_after_missing();
    ASSERT_TRUE(s.client("PORT 192,0,2,1,195,81\r\n"));
    EXPECT_FALSE(passes_back(50001));
    ASSERT_TRUE(s.server("200 ok\r\n"));
    EXPECT_TRUE(passes_back(50001));
}

TEST_F(RestoredFtp, BeginsAfterAcknowledgementsOnly) {
    restart_after_missing();
    ASSERT_TRUE(s.send(kOriginal, kAck));
    ASSERT_TRUE(s.send(kReply, kAck));
    EXPECT_FALSE(s.learning());
    ask("PASV\r\n", "227 ok (198,51,100,2,195,80)\r\n");
    EXPECT_TRUE(passes(50000));
}

TEST_F(RestoredFtp, OpensNothingByTheRestOfARequest) {
    // The line may be the rest of one, for example of the name of a file.
    for (const char* reply :
         {"150 here it comes\r\n226 sent\r\n", "550 no such file\r\n", "202 ok\r\n"}) {
        World world(policy("ftp", 21), 1);
        s.unseen(kOriginal, 6);
        s.unseen(kReply, 8);
        s.restart(world);
        ask("PORT 192,0,2,1,195,81\r\n", reply);
        ask("TYPE I\r\n", "200 ok\r\n");
        ask("TYPE I\r\n", "200 ok\r\n");
        EXPECT_FALSE(world.from_outside(frames::tcp(frames::flow(kServer, 20, kClient, 50001),
                                                    {.flags = tcp_flag::syn, .seq = 1})))
            << reply;
        ask("PASV\r\n", "227 ok (198,51,100,2,195,80)\r\n");
        EXPECT_TRUE(world.from_inside(frames::tcp(frames::flow(kClient, 40001, kServer, 50000),
                                                  {.flags = tcp_flag::syn, .seq = 1})))
            << reply;
    }
}

TEST_F(RestoredFtp, OpensNothingWhereTheServerCutsARequest) {
    // By its window, or as if a part was lost; and by contradicting itself, far or near.
    for (const unsigned sent : {9u, 32u}) {
        for (const std::uint32_t off : {0x33333333u, 100u}) {
            World world(policy("ftp", 21), 1);
            s.restart(world);
            const std::uint32_t c = s.seq(kOriginal), v = s.seq(kReply);
            const std::string_view line = "RETR aaaaPORT 192,0,2,1,195,81\r\n";
            ASSERT_TRUE(s.forge(kOriginal, kData, c, v, line.substr(0, sent)));
            ASSERT_TRUE(s.forge(kReply, kData, v + off, c + 9, "\r\n"));
            ASSERT_TRUE(s.forge(kReply, kAck, v, c + 9));
            ASSERT_TRUE(s.forge(kOriginal, kData, c + 9, v, line.substr(9)));
            const std::uint32_t at = off == 100 ? v + 102 : v;
            ASSERT_TRUE(s.forge(kOriginal, kAck, c + 32, at));
            ASSERT_TRUE(s.forge(kReply, kData, at, c + 32, "200 ok\r\n"));
            const auto data = frames::flow(kServer, 20, kClient, 50001);
            EXPECT_FALSE(world.from_outside(frames::tcp(data, {.flags = tcp_flag::syn})));
        }
    }
}

TEST_F(RestoredFtp, OpensNothingByTheRestOfAReply) {
    restart_after_missing();
    // It was sent before the request.
    ASSERT_TRUE(s.server("227 ok (198,51,100,2,195,80)\r\n"));
    ASSERT_TRUE(s.client("PASV\r\n"));
    EXPECT_FALSE(passes(50000));
    // It does not begin where the client's last request left off.
    World third(policy("ftp", 21), 1);
    s.restart(third);
    ASSERT_TRUE(s.client("PASV\r\n"));
    s.unseen(kReply, 4);
    ASSERT_TRUE(s.server("227 ok (198,51,100,2,195,80)\r\n"));
    ASSERT_TRUE(s.send(kOriginal, kAck));
    EXPECT_FALSE(third.from_inside(frames::tcp(frames::flow(kClient, 40001, kServer, 50000),
                                               {.flags = tcp_flag::syn, .seq = 1})));
}

TEST_F(RestoredFtp, OpensNothingByForgedSegments) {
    restart_after_missing();
    for (unsigned i = 0; i < 3; ++i) {
        ASSERT_TRUE(s.forge(kReply, kData, 0x33333333, 0x44444444, "200 ok\r\n"));
        ASSERT_TRUE(s.client("PASV\r\n"));
        ASSERT_TRUE(
            s.forge(kReply, kData, 0x3333333b, 0x4444444a, "227 ok (198,51,100,2,195,80)\r\n"));
        EXPECT_FALSE(passes(50000));
    }
    // A forger on both sides needs numbers that each side acknowledges.
    ASSERT_TRUE(s.forge(kOriginal, kData, 0x44444444, 0x33333333, "GET / HTTP/1.1\r\n"));
    EXPECT_TRUE(s.learning());
    // The connection is read nevertheless.
    ask("TYPE I\r\n", "200 ok\r\n");
    ask("PASV\r\n", "227 ok (198,51,100,2,195,84)\r\n");
    EXPECT_TRUE(passes(50004));
    EXPECT_FALSE(passes(50000));
}

TEST_F(RestoredFtp, WaitsForItsFirstPayload) {
    World before(policy("ftp", 21), 1);
    Session young(before, 21);
    ASSERT_TRUE(young.send(kOriginal, tcp_flag::syn));
    ASSERT_TRUE(young.send(kReply, tcp_flag::syn | kAck));
    young.save();
    young.restart(second);
    ASSERT_TRUE(young.send(kOriginal, kAck));
    ASSERT_TRUE(young.server("220 hi\r\n"));
    ASSERT_TRUE(young.client("USER a\r\n"));
    ASSERT_TRUE(young.server("230 in\r\n"));
    ASSERT_TRUE(young.client("PASV\r\n"));
    ASSERT_TRUE(young.server("227 ok (198,51,100,2,195,80)\r\n"));
    EXPECT_TRUE(passes(50000));
}

TEST_F(RestoredFtp, WithoutItsFirstBytesItIsNotRead) {
    World before(policy("ftp", 21), 1);
    Session young(before, 21);
    ASSERT_TRUE(young.send(kOriginal, tcp_flag::syn));
    ASSERT_TRUE(young.send(kReply, tcp_flag::syn | kAck));
    young.save();
    young.unseen(kReply, 8);
    young.restart(second);
    for (unsigned i = 0; i < 3; ++i) {
        ASSERT_TRUE(young.client("PASV\r\n"));
        ASSERT_TRUE(young.server("227 ok (198,51,100,2,195,80)\r\n"));
    }
    EXPECT_FALSE(passes(50000));
    EXPECT_EQ(count(HelperCounter::blind_restored), 1u);
}

TEST(RestoredPptp, IsNotReadAfterMissedBytes) {
    for (const std::size_t missed : {std::size_t{0}, std::size_t{100}}) {
        World first(policy("pptp", 1723), 1), second(policy("pptp", 1723), 1);
        Session s(first, 1723);
        ASSERT_TRUE(s.open());
        ASSERT_TRUE(s.client("x"));  // an incomplete message
        s.save();
        s.unseen(kOriginal, missed);
        s.restart(second);
        ASSERT_TRUE(s.client("y"));
        ASSERT_TRUE(s.server("z"));
        ASSERT_TRUE(s.client("y"));
        EXPECT_FALSE(s.learning());
        EXPECT_EQ(second.fw().worker(0).helpers().counters(1)[HelperCounter::blind_restored].get(),
                  missed != 0 ? 1u : 0u);
    }
}

class RestoredSip : public ::testing::Test {
  protected:
    static std::string message(const std::string& start, const std::string& call,
                               const char* media = nullptr, unsigned port = 0) {
        std::string body;
        if (media != nullptr)
            body = "v=0\r\nc=IN IP4 " + std::string(media) + "\r\nm=audio " + std::to_string(port) +
                   " RTP/AVP 0\r\n";
        return start + "\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK" + call +
               "\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>" + (start[0] == 'S' ? ";tag=2" : "") +
               "\r\nCall-ID: " + call + "\r\nCSeq: 1 INVITE\r\n" +
               (body.empty() ? "" : "Content-Type: application/sdp\r\n") +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }
    static std::string invite(const std::string& call, unsigned port) {
        return message("INVITE sip:b@b SIP/2.0", call, kClient, port);
    }
    static std::string trying(const std::string& call) {
        return message("SIP/2.0 100 Trying", call);
    }
    static std::string answer(const std::string& call, unsigned port) {
        return message("SIP/2.0 200 OK", call, kServer, port);
    }
    void SetUp() override {
        ASSERT_TRUE(s.open());
        ASSERT_TRUE(s.client(invite("first", 30000)));
        ASSERT_TRUE(s.server(trying("first")));
        ASSERT_TRUE(s.send(kOriginal, kAck));
        s.save();
    }
    bool media_passes(World& w, unsigned port) {
        return w.from_inside(frames::udp(frames::flow(kClient, 30001, kServer, port), "rtp"));
    }

    World first{policy("sip", 5060), 1}, second{policy("sip", 5060), 1};
    Session s{first, 5060};
};

TEST_F(RestoredSip, GoesOnAtOnceIfNothingWasMissed) {
    s.restart(second);
    ASSERT_TRUE(s.server(answer("first", 40000)));
    EXPECT_TRUE(media_passes(second, 40000));
}

TEST_F(RestoredSip, GoesOnWithTheNextCall) {
    s.unseen(kReply, 300);
    s.unseen(kOriginal, 200);
    s.restart(second);
    ASSERT_TRUE(s.client(invite("second", 30002)));
    ASSERT_TRUE(s.server(trying("second")));
    ASSERT_TRUE(s.server(answer("second", 40002)));
    EXPECT_TRUE(media_passes(second, 40002));
    ASSERT_TRUE(s.client(invite("third", 30004)));
    ASSERT_TRUE(s.server(answer("third", 40004)));
    EXPECT_TRUE(media_passes(second, 40004));
}

TEST_F(RestoredSip, SkipsTheRestOfAMessage) {
    s.unseen(kReply, 300);
    s.restart(second);
    ASSERT_TRUE(s.client("a=rtpmap:0 PCMU/8000\r\n"));
    ASSERT_TRUE(s.send(kReply, kAck));
    ASSERT_TRUE(s.client(invite("second", 30002)));
    ASSERT_TRUE(s.server(answer("second", 40002)));
    EXPECT_TRUE(media_passes(second, 40002));
}

TEST_F(RestoredSip, OpensNothingByAMessageInABody) {
    s.unseen(kOriginal, 300);
    s.unseen(kReply, 300);
    s.restart(second);
    // A body of which a segment begins with what resembles a message. Nobody answers it.
    ASSERT_TRUE(s.client(invite("evil", 30002)));
    ASSERT_TRUE(s.server(answer("other", 40002)));
    EXPECT_FALSE(media_passes(second, 40002));
    EXPECT_FALSE(
        second.from_outside(frames::udp(frames::flow(kServer, 40002, kClient, 30002), "rtp")));
}

}  // namespace
}  // namespace postern
