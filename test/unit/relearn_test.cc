// SPDX-License-Identifier: BSD-3-Clause
// A restored TCP connection learns its numbers: segments of both sides, at any distance from the
// saved numbers. Every conversation also crosses the wrap.
#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "conntrack/tcp_relearn.h"
#include "conntrack/tcp_window.h"

namespace postern {
namespace {

constexpr std::uint8_t kAck = tcp_flag::ack, kFin = tcp_flag::fin | tcp_flag::ack,
                       kRst = tcp_flag::rst, kSyn = tcp_flag::syn;
constexpr unsigned kClient = 0, kServer = 1;

/// An established connection with window scale 7 and SACK, restored with the numbers of the save:
/// the client's next byte is `isn[0] + 1000`, the server's `isn[1] + 5000`. Numbers in send() count
/// from the same bases.
class Restored {
  public:
    explicit Restored(std::uint32_t client = 0, std::uint32_t server = 0,
                      TcpState state = TcpState::established)
        : base_{client, server} {
        conn.key.protocol = proto::tcp;
        conn.set_state(state);
        const std::uint32_t ends[] = {client + 1000, server + 5000};
        for (unsigned d = 0; d < 2; ++d) {
            TcpSideRef side = conn.tcp_side(d);
            side.end = ends[d];
            side.max_ack = ends[1 - d];
            side.max_end = ends[d] + kWindow;
            side.max_win = kWindow;
            side.flags = tcp_side::window_scale | tcp_side::sack | tcp_side::max_ack_set;
            side.set_scale(7);
        }
        conn.tcp_far.last.kind = TcpKind::ack;
        conn.tcp_far.last.win = 500;
        tcp_begin_learning(conn);
    }
    static constexpr std::uint32_t kWindow = 500u << 7;

    TcpResult send(unsigned d, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack,
                   std::uint32_t len = 0, std::uint16_t win = 500, std::uint32_t sacked = 0) {
        TcpSegment s{};
        s.seq = base_[d] + seq;
        s.ack = (flags & kAck) != 0 ? base_[1 - d] + ack : 0;
        s.sack = sacked != 0 ? base_[1 - d] + sacked : s.ack;
        s.options = sacked != 0 ? 1 : 0;
        s.has_options = sacked != 0;
        s.payload_len = len;
        s.win = win;
        s.flags = flags;
        const auto dir = static_cast<Direction>(d);
        const TcpResult r = tcp_track(conn, conn.tcp_state(), dir, true, true, s, {});
        if (r.action == TcpAction::accept) conn.set_state(r.state);
        return r;
    }
    /// As send(); how it changed the learning.
    Learning learn(unsigned d, std::uint32_t seq, std::uint32_t ack, std::uint32_t len = 0,
                   std::uint8_t flags = kAck) {
        return send(d, flags, seq, ack, len).learning;
    }
    bool passes(unsigned d, std::uint32_t seq, std::uint32_t ack, std::uint32_t len = 0) {
        return send(d, kAck, seq, ack, len).action != TcpAction::invalid;
    }
    bool enforces() { return !passes(kServer, 0x50000000, 0x60000000, 1); }

    Conn conn;

  private:
    std::uint32_t base_[2];
};

class Relearn : public ::testing::TestWithParam<std::uint32_t> {
  protected:
    Restored c{GetParam(), 0 - GetParam() / 3};
};

TEST_P(Relearn, NothingWasSentMeanwhile) {
    EXPECT_EQ(c.learn(kClient, 1000, 5000, 10), Learning::consistent);
    EXPECT_EQ(c.learn(kServer, 5000, 1010, 10), Learning::complete);
    EXPECT_TRUE(c.passes(kClient, 1010, 5010, 10));
    EXPECT_TRUE(c.enforces());
}

TEST_P(Relearn, BulkGoesOnAfterAnyAmount) {
    for (const std::uint32_t more :
         {100u, 60'000u, 70'000u, 5'000'000u, 0x7fffffffu, 0x80000000u, 0xc0000000u, 0xfffff000u}) {
        Restored b(GetParam(), 77);
        const std::uint32_t c0 = 1000 + more, s0 = 5000 + more / 2;
        // Both ways, each with bytes in flight.
        EXPECT_TRUE(b.passes(kServer, s0, c0 - 3000, 1400)) << more;
        EXPECT_TRUE(b.passes(kClient, c0, s0 - 3000, 1400)) << more;
        EXPECT_TRUE(b.passes(kServer, s0 + 1400, c0 - 3000, 1400)) << more;
        EXPECT_TRUE(b.passes(kClient, c0 + 1400, s0 + 1400, 1400)) << more;
        EXPECT_TRUE(b.passes(kServer, s0 + 2800, c0 + 1400, 1400)) << more;
        EXPECT_EQ(b.conn.learning, 0) << more;
        // A whole window on both sides, then one byte too many.
        EXPECT_TRUE(b.passes(kServer, s0 + 2800 + Restored::kWindow, c0 + 1400, 10)) << more;
        EXPECT_TRUE(b.passes(kClient, c0 + 2800, s0 + 4200, 10)) << more;
        EXPECT_FALSE(b.passes(kClient, c0 + 3 * Restored::kWindow, s0 + 4200, 10)) << more;
    }
}

TEST_P(Relearn, DownloadOfWhichTheFirstSegmentIsARetransmission) {
    EXPECT_EQ(c.learn(kServer, 9'000'000, 1000, 1400), Learning::restarted);
    // The client has all but this one.
    EXPECT_EQ(c.learn(kClient, 1000, 9'040'000), Learning::restarted);
    EXPECT_EQ(c.learn(kServer, 9'040'000, 1000, 1400), Learning::complete);
    EXPECT_TRUE(c.passes(kClient, 1000, 9'041'400));
    EXPECT_TRUE(c.enforces());
}

TEST_P(Relearn, SelectiveAcknowledgementsShowWhatWasSent) {
    EXPECT_EQ(c.learn(kServer, 9'000'000, 1000, 1400), Learning::restarted);
    const TcpResult r = c.send(kClient, kAck, 1000, 9'001'400, 0, 500, 9'040'000);
    EXPECT_EQ(r.learning, Learning::complete);
    EXPECT_TRUE(c.passes(kClient, 1000, 9'040'000));
    EXPECT_TRUE(c.enforces());
}

TEST_P(Relearn, ASelectiveAcknowledgementBeyondTheWindowShowsNothing) {
    EXPECT_EQ(c.learn(kServer, 5000, 900, 10), Learning::consistent);
    c.send(kClient, kAck, 1000, 5000, 0, 500, 5000 + 50 * Restored::kWindow);
    EXPECT_EQ(c.learn(kServer, 5010, 1000, 10), Learning::complete);
    // The client's own window, not one beyond what it claimed to have.
    EXPECT_FALSE(c.passes(kServer, 5020 + 10 * Restored::kWindow, 1010, 10));
}

TEST_P(Relearn, BytesThatPassedUnseenMayBeAcknowledged) {
    // Without SACK. Two segments were lost before the restart; the client has five more.
    for (std::uint8_t& flags : c.conn.tcp_flags)
        flags &= static_cast<std::uint8_t>(~tcp_side::sack);
    EXPECT_EQ(c.learn(kServer, 9'000'000, 1000, 1000), Learning::restarted);
    EXPECT_EQ(c.learn(kClient, 1000, 9'003'000), Learning::restarted);
    EXPECT_EQ(c.learn(kServer, 9'003'000, 1000, 1000), Learning::complete);
    EXPECT_TRUE(c.passes(kClient, 1000, 9'008'000));
    EXPECT_TRUE(c.passes(kServer, 9'008'000, 1000, 1000));
    // Not more than it allowed; nor by a segment outside of the window.
    EXPECT_FALSE(c.passes(kClient, 1000, 9'009'000 + 2 * Restored::kWindow));
    EXPECT_FALSE(c.passes(kClient, 1000 - 2 * Restored::kWindow, 9'010'000));
}

TEST_P(Relearn, ASelectiveAcknowledgementByAGrownWindow) {
    EXPECT_EQ(c.learn(kServer, 9'000'000, 1000, 1400), Learning::restarted);
    const TcpResult r = c.send(kClient, kAck, 1000, 9'000'000, 0, 4000, 9'200'000);
    EXPECT_EQ(r.learning, Learning::complete);
    EXPECT_EQ(r.action, TcpAction::accept);
    EXPECT_TRUE(c.passes(kClient, 1000, 9'200'000));
}

TEST_P(Relearn, SavedWhileItLearnedItBeginsAnew) {
    EXPECT_EQ(c.learn(kClient, 700'000, 800'000, 10), Learning::restarted);
    tcp_begin_learning(c.conn);
    EXPECT_EQ(c.learn(kServer, 800'000, 700'000, 10), Learning::consistent);
    EXPECT_EQ(c.learn(kClient, 700'010, 800'010, 10), Learning::consistent);
    EXPECT_EQ(c.learn(kServer, 800'010, 700'020, 10), Learning::complete);
}

TEST_P(Relearn, NoSegmentIsSparedTheLearning) {
    c.conn.allow_shortcuts();
    tcp_begin_learning(c.conn);
    EXPECT_FALSE(c.conn.tcp_steady());
}

TEST_P(Relearn, AKeepAliveAndItsAnswerComplete) {
    EXPECT_EQ(c.learn(kServer, 77'777, 4000), Learning::restarted);  // one before its next byte
    EXPECT_EQ(c.learn(kClient, 4000, 77'778), Learning::complete);
    EXPECT_TRUE(c.passes(kServer, 77'778, 4000, 10));
}

TEST_P(Relearn, AForgersSegmentBeforeTheFirst) {
    EXPECT_EQ(c.learn(kServer, 0x33333333, 0x44444444, 100), Learning::restarted);
    EXPECT_EQ(c.learn(kClient, 8000, 9000, 10), Learning::restarted);
    EXPECT_EQ(c.learn(kServer, 9000, 8010, 10), Learning::complete);
    EXPECT_TRUE(c.passes(kClient, 8010, 9010));
    EXPECT_TRUE(c.enforces());
}

TEST_P(Relearn, AForgerBetweenHonestSegments) {
    for (unsigned i = 0; i < 10; ++i) {
        EXPECT_TRUE(c.passes(kClient, 8000, 9000, 10));
        EXPECT_TRUE(c.passes(kServer, 0x33333333 + i, 0x44444444, 100));
        EXPECT_EQ(c.conn.learning, 1);
    }
    EXPECT_TRUE(c.passes(kClient, 8000, 9000, 10));
    EXPECT_TRUE(c.passes(kServer, 9000, 8010, 10));
    EXPECT_EQ(c.conn.learning, 0);
}

TEST_P(Relearn, OneSideAloneLearnsNothing) {
    for (unsigned i = 0; i < 100; ++i)
        EXPECT_NE(c.learn(kServer, 70'000 + i, 4000 + i, 1), Learning::complete);
    EXPECT_EQ(c.conn.learning, 1);
}

TEST_P(Relearn, OldSegmentsDoNoHarm) {
    EXPECT_TRUE(c.passes(kServer, 900'000, 800'000, 1400));
    EXPECT_TRUE(c.passes(kClient, 800'000, 901'400));
    EXPECT_EQ(c.conn.learning, 0);
    Restored d(GetParam(), 5);
    EXPECT_TRUE(d.passes(kServer, 4000, 900, 1000));  // sent before the save
    EXPECT_TRUE(d.passes(kServer, 900'000, 800'000, 1400));
    EXPECT_TRUE(d.passes(kServer, 4000, 900, 1000));
    EXPECT_TRUE(d.passes(kClient, 800'000, 901'400));
    EXPECT_TRUE(d.passes(kServer, 901'400, 800'000, 1400));
    EXPECT_TRUE(d.passes(kClient, 800'000, 902'800));
    EXPECT_EQ(d.conn.learning, 0);
}

TEST_P(Relearn, TheLargestWindowStays) {
    // The client offers little now. The server may use what it was offered before.
    EXPECT_TRUE(c.send(kServer, kAck, 900'000, 1000, 1400).action != TcpAction::invalid);
    EXPECT_EQ(c.send(kClient, kAck, 1000, 901'400, 0, 1).learning, Learning::complete);
    EXPECT_TRUE(c.passes(kServer, 901'400 + Restored::kWindow - 2000, 1000, 1400));
    EXPECT_EQ(c.conn.tcp_side(kClient).scale(), 7u);
}

TEST_P(Relearn, AFinCountsWhenItsNumbersAreKnown) {
    EXPECT_EQ(c.learn(kServer, 900'000, 1000, 1400, kFin), Learning::restarted);
    EXPECT_EQ(c.conn.tcp_state(), TcpState::established);
    EXPECT_EQ(c.learn(kClient, 1000, 901'401), Learning::complete);
    EXPECT_EQ(c.conn.tcp_state(), TcpState::close_wait);
    EXPECT_TRUE(c.passes(kClient, 1000, 901'401, 10));
    EXPECT_EQ(c.send(kClient, kFin, 1010, 901'401).state, TcpState::last_ack);
    EXPECT_EQ(c.send(kServer, kAck, 901'401, 1011).state, TcpState::time_wait);
}

TEST_P(Relearn, FinsOfBothSides) {
    EXPECT_EQ(c.learn(kServer, 900'000, 1000, 0, kFin), Learning::restarted);
    EXPECT_EQ(c.learn(kClient, 1000, 900'001, 0, kFin), Learning::complete);
    EXPECT_EQ(c.conn.tcp_state(), TcpState::last_ack);
    EXPECT_EQ(c.send(kServer, kAck, 900'001, 1001).state, TcpState::time_wait);
}

TEST_P(Relearn, AForgedFinClosesNothing) {
    const TcpResult r = c.send(kServer, kFin, 0x33333333, 0x44444444);
    EXPECT_EQ(r.action, TcpAction::learn);
    EXPECT_EQ(r.timeout, TcpTimeout::unacknowledged);
    const TcpResult answer = c.send(kClient, kAck, 1000, 5000);
    EXPECT_EQ(answer.learning, Learning::restarted);
    EXPECT_EQ(answer.timeout, TcpTimeout::by_state);
    EXPECT_EQ(c.learn(kServer, 5000, 1000, 10), Learning::complete);
    EXPECT_EQ(c.conn.tcp_state(), TcpState::established);
}

TEST_P(Relearn, AResetByItsReceiversNumberCloses) {
    EXPECT_EQ(c.learn(kServer, 900'000, 800'000, 1400), Learning::restarted);
    // By a host without the connection any more (RFC 9293 section 3.10.7.1).
    const TcpResult r = c.send(kClient, kRst, 800'000, 0);
    EXPECT_EQ(r.action, TcpAction::accept);
    EXPECT_EQ(r.state, TcpState::close);
    EXPECT_EQ(r.timeout, TcpTimeout::close);
    EXPECT_TRUE(r.heeded & tcp_heed::reset);
}

TEST_P(Relearn, AnyOtherResetLeavesItForMinutes) {
    const TcpResult r = c.send(kClient, kRst | kAck, 800'000, 900'000);
    EXPECT_EQ(r.action, TcpAction::learn);
    EXPECT_EQ(r.state, TcpState::established);
    EXPECT_EQ(r.timeout, TcpTimeout::unacknowledged);
    EXPECT_EQ(r.heeded, 0);
    // It was forged: both go on.
    EXPECT_EQ(c.learn(kClient, 700'000, 600'000, 10), Learning::restarted);
    EXPECT_EQ(c.send(kServer, kAck, 600'000, 700'010).timeout, TcpTimeout::by_state);
    EXPECT_EQ(c.conn.learning, 0);
}

TEST_P(Relearn, ASynChangesNothing) {
    EXPECT_EQ(c.send(kClient, kSyn, 0x33333333, 0).action, TcpAction::pass);
    EXPECT_EQ(c.conn.tcp_state(), TcpState::established);
    EXPECT_EQ(c.send(kServer, kSyn, 0x33333333, 0).action, TcpAction::invalid);
    EXPECT_EQ(c.learn(kServer, 900'000, 800'000, 10), Learning::restarted);
    EXPECT_EQ(c.learn(kClient, 800'000, 900'010, 10), Learning::complete);
}

TEST_P(Relearn, AHandshakeGoesOn) {
    Restored h(GetParam(), 9, TcpState::syn_recv);
    EXPECT_EQ(h.learn(kClient, 1000, 5000), Learning::consistent);
    EXPECT_EQ(h.learn(kServer, 5000, 1000, 10), Learning::complete);
    EXPECT_EQ(h.send(kClient, kAck, 1000, 5010).state, TcpState::established);
}

TEST_P(Relearn, AHandshakeThatWentOnUnseenIsForPolicy) {
    Restored h(GetParam(), 9, TcpState::syn_sent);
    EXPECT_EQ(h.send(kServer, kAck, 9000, 8000, 10).action, TcpAction::pass);
    EXPECT_EQ(h.send(kServer, kFin, 9010, 8000).action, TcpAction::invalid);  // perhaps forged
    EXPECT_EQ(h.send(kClient, kAck, 8000, 9010, 10).action, TcpAction::reopen);
}

TEST_P(Relearn, AHalfClosedTransferGoesOn) {
    Restored h(GetParam(), 9, TcpState::close_wait);
    EXPECT_EQ(h.learn(kServer, 900'000, 1000, 1400), Learning::restarted);
    EXPECT_EQ(h.learn(kClient, 1000, 901'400), Learning::complete);
    EXPECT_EQ(h.conn.tcp_state(), TcpState::close_wait);
    EXPECT_EQ(h.send(kServer, kFin, 901'400, 1000).state, TcpState::last_ack);
}

TEST_P(Relearn, TheNextSegmentsTakeTheFastPath) {
    EXPECT_TRUE(c.passes(kClient, 8000, 9000, 10));
    EXPECT_FALSE(c.conn.tcp_steady());
    EXPECT_TRUE(c.passes(kServer, 9000, 8010, 10));
    EXPECT_TRUE(c.conn.tcp_steady());
}

/// Two honest peers with loss, reordering and retransmissions, a gap of any length, segments with
/// holes that were received before the restart, and a forger who knows no number. `c` is the
/// firewall between them.
class Peers {
  public:
    Peers(Restored& c, std::uint32_t seed, bool forger) : c_(c), random_(seed), forger_(forger) {
        const std::uint32_t gap[] = {number(), number()};
        sent_[0] = acked_[0] = got_[1] = 1000 + gap[0];
        sent_[1] = acked_[1] = got_[0] = 5000 + gap[1];
        for (unsigned d = 0; d < 2; ++d) {
            const std::uint32_t n = number() % 40;
            for (unsigned i = 0; i < n; ++i, sent_[d] += 1000)
                if (i != 0 && number() % 3 != 0)
                    got_early_[1 - d].emplace_back(sent_[d], sent_[d] + 1000);
        }
    }
    /// False: an honest segment was dropped.
    bool step() {
        if (forger_ && c_.conn.learning && number() % 4 == 0) {
            const std::uint8_t kinds[] = {kAck, kFin, kRst};
            c_.send(number() % 2, kinds[number() % 3], number(), number(), number() % 1400,
                    static_cast<std::uint16_t>(number()));
        }
        const unsigned d = number() % 2;
        Wire w{d, sent_[d], got_[d], number() % 3 == 0 ? 0 : number() % 1400};
        const unsigned kind = number() % 8;
        if (kind == 0) w.seq = acked_[d];  // repeats the oldest
        if (kind == 1) w.len = 0, w.seq = sent_[d] - 1;
        if (w.seq + w.len - acked_[d] > Restored::kWindow && kind != 1) w.len = 0;
        if (kind == 0 && w.seq + w.len - acked_[d] > sent_[d] - acked_[d]) w.len = 0;
        if (kind > 1) sent_[d] += w.len;
        if (number() % 16 == 0) return true;  // lost before
        flying_.push_back(w);
        while (!flying_.empty() && number() % 4 != 0)
            if (!deliver(number() % std::min<std::size_t>(flying_.size(), 3))) return false;
        return true;
    }

  private:
    std::uint32_t number() { return static_cast<std::uint32_t>(random_()); }
    struct Wire {
        unsigned d;
        std::uint32_t seq, ack, len;
    };
    bool deliver(std::size_t at) {
        const Wire w = flying_[at];
        flying_.erase(flying_.begin() + static_cast<std::ptrdiff_t>(at));
        if (!c_.passes(w.d, w.seq, w.ack, w.len)) return false;
        if (number() % 16 == 0) return true;  // lost behind
        const unsigned to = 1 - w.d;
        got_early_[to].emplace_back(w.seq, w.seq + w.len);
        for (bool more = true; more;) {
            more = false;
            for (const auto& [begin, end] : got_early_[to]) {
                if (seq_after(begin, got_[to]) || !seq_after(end, got_[to])) continue;
                got_[to] = end;
                more = true;
            }
        }
        if (seq_after(w.ack, acked_[to])) acked_[to] = w.ack;
        return true;
    }

    Restored& c_;
    std::mt19937 random_;
    bool forger_;
    std::uint32_t sent_[2], acked_[2];  ///< by sender
    std::uint32_t got_[2];              ///< by receiver: the next expected
    std::vector<Wire> flying_;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> got_early_[2];  ///< by receiver: segments
};

TEST_P(Relearn, NoHonestSegmentIsDropped) {
    unsigned complete = 0;
    for (unsigned seed = 1; seed <= 400; ++seed) {
        Restored firewall(GetParam(), seed);
        Peers peers(firewall, seed + GetParam() % 1000, seed % 2 == 0);
        for (unsigned i = 0; i < 200; ++i)
            ASSERT_TRUE(peers.step()) << "seed " << seed << ", step " << i;
        complete += firewall.conn.learning == 0;
    }
    EXPECT_GT(complete, 390u);
}

INSTANTIATE_TEST_SUITE_P(Numbers, Relearn,
                         ::testing::Values(0u, 0x7ffff000u, 0xfffffc00u, 0xffff0000u));

}  // namespace
}  // namespace postern
