// SPDX-License-Identifier: BSD-3-Clause
// GRE through whole workers: without calls by addresses, with calls by the pair of expectations
// that knows both ids. The calls' master is a connection of the tests' own.
#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::Frame;
using frames::gre_call;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr PortId kIn = World::kInside, kOut = World::kOutside;
const IpAddr kClient = IpAddr::v4(192, 0, 2, 1), kServer = IpAddr::v4(198, 51, 100, 2);
const IpAddr kClient6 = *IpAddr::parse("2001:db8::1"), kServer6 = *IpAddr::parse("2001:db8:1::2");

const std::string kRelated = "policy: {rules: [{name: related, ct: [related], action: accept}]}\n";
const std::string kInsideOut =
    "policy:\n"
    "  rules:\n"
    "    - {name: related, ct: [related], action: accept}\n"
    "    - {name: out, from: inside, ct: [new], action: accept}\n";

/// Expects what `from` sends to `to`: packets that name the call `to_id`.
InsertOutcome expect_call(World& world, const IpAddr& from, std::uint16_t from_id, const IpAddr& to,
                          std::uint16_t to_id) {
    ExpectRequest r;
    r.protocol = proto::gre;
    r.src = Prefix::exact(from);
    r.set_sport(Be16::from_host(from_id));
    r.dst = to;
    r.dport = Be16::from_host(to_id);
    r.master = {1, 1, {}};
    r.timeout_ms = 60'000;
    auto& control = world.fw().expectations().owner(static_cast<OwnerId>(world.fw().workers()));
    return control.insert(r, nullptr, {world.now}).outcome;
}

class GreCall : public ::testing::TestWithParam<std::tuple<unsigned, bool>> {
  protected:
    unsigned workers() const { return std::get<0>(GetParam()); }
    IpAddr client = std::get<1>(GetParam()) ? kClient6 : kClient;
    IpAddr server = std::get<1>(GetParam()) ? kServer6 : kServer;

    void expect_both(World& world) {
        ASSERT_EQ(expect_call(world, client, 11, server, 22), InsertOutcome::created);
        ASSERT_EQ(expect_call(world, server, 22, client, 11), InsertOutcome::created);
    }
};

TEST_P(GreCall, EitherSideBeginsAndBothAreOneConnection) {
    for (const bool server_first : {false, true}) {
        World world(kRelated, workers());
        expect_both(world);
        const Frame there = gre_call(client, server, 22), back = gre_call(server, client, 11);
        // Wherever they come in, they meet on one worker.
        unsigned on = 0;
        for (int n = 0; n < 3; ++n) {
            const unsigned a = on++ % workers(), b = on++ % workers();
            if (server_first) {
                EXPECT_TRUE(world.send(back, kOut, a));
                EXPECT_TRUE(world.send(there, kIn, b));
            } else {
                EXPECT_TRUE(world.send(there, kIn, a));
                EXPECT_TRUE(world.send(back, kOut, b));
            }
        }
        EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
        EXPECT_EQ(world.sum(&WorkerCounters::connections_expected), 1u);
        EXPECT_EQ(world.fw().expectations().live(), 0u);
        const auto conn = world.connection(server_first ? 11 : 22);
        ASSERT_TRUE(conn);
        EXPECT_EQ(conn->conn.sport.host(), server_first ? 22 : 11);
        EXPECT_EQ(conn->conn.packets(Direction::original), 3u);
        EXPECT_EQ(conn->conn.packets(Direction::reply), 3u);
        EXPECT_TRUE(conn->conn.has(conn_flag::assured));
        EXPECT_EQ(conn->conn.timeout_ms, 18'000'000u);
        // No other call, and none without a call.
        EXPECT_FALSE(world.send(gre_call(server, client, 22), kOut));
        EXPECT_FALSE(world.send(gre_call(client, server, 11), kIn));
        EXPECT_FALSE(world.send(frames::ip(server, client, proto::gre, Frame(8)), kOut));
        EXPECT_EQ(world.drops(DropReason::policy), 3u);
        EXPECT_EQ(world.buffers_in_use(), 0u);
    }
}

TEST_P(GreCall, BothFirstPacketsInOneBurst) {
    World world(kRelated, workers());
    expect_both(world);
    const Frame there = gre_call(client, server, 22), back = gre_call(server, client, 11);
    // On the worker that they belong to.
    PacketInfo info{};
    const auto n = static_cast<std::uint32_t>(there.size());
    parse_packet(there.data(), n, n, {&world.fw().steering().secret, CtZone{}}, info);
    const WorkerId home = world.fw().steering().home(info.rss);
    EXPECT_EQ(
        world.send_burst({{back, kOut}, {there, kIn}, {there, kIn}, {back, kOut}}, home.number()),
        "aaaa");
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
    EXPECT_EQ(world.fw().expectations().live(), 0u);
}

TEST_P(GreCall, WithoutExpectationsEachDirectionIsItsOwn) {
    World world(kInsideOut, workers());
    // As in Linux, nothing tells which call of the other side an answer belongs to.
    EXPECT_TRUE(world.send(gre_call(client, server, 22), kIn));
    EXPECT_FALSE(world.send(gre_call(server, client, 11), kOut));
    EXPECT_FALSE(world.send(gre_call(server, client, 22), kOut));
    const auto conn = world.connection(22);
    ASSERT_TRUE(conn);
    EXPECT_EQ(conn->conn.sport.host(), 0);
    EXPECT_EQ(conn->conn.timeout_ms, 30'000u);
}

TEST_P(GreCall, TheAnswersThatCameTooEarlyJoinTheirCall) {
    World world(kInsideOut, workers());
    EXPECT_TRUE(world.send(gre_call(client, server, 22), kIn));  // before anybody expected it
    expect_both(world);
    EXPECT_TRUE(world.send(gre_call(server, client, 11), kOut));
    EXPECT_TRUE(world.send(gre_call(client, server, 22), kIn));
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 2u);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_ended), 1u);
    const auto conn = world.connection(11);
    ASSERT_TRUE(conn);
    EXPECT_EQ(conn->conn.packets(Direction::original), 1u);
    EXPECT_EQ(conn->conn.packets(Direction::reply), 1u);
}

TEST_P(GreCall, WhatPolicyDropsUsesNoExpectation) {
    World world("policy: {rules: [{name: other, proto: udp, action: accept}]}\n", workers());
    expect_both(world);
    EXPECT_FALSE(world.send(gre_call(client, server, 22), kIn));
    EXPECT_EQ(world.fw().expectations().live(), 2u);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 0u);
}

INSTANTIATE_TEST_SUITE_P(All, GreCall,
                         ::testing::Values(std::tuple{1u, false}, std::tuple{3u, true},
                                           std::tuple{4u, false}),
                         [](const auto& param) {
                             return std::to_string(std::get<0>(param.param)) + "Workers" +
                                    (std::get<1>(param.param) ? "6" : "4");
                         });

// ---- calls of PPTP, by its helper ---------------------------------------------------------------

/// A PPTP client's control connection through a World, and what both sides say in it (RFC 2637).
class Control {
  public:
    Control(World& world, std::uint16_t port, unsigned bridge = 0)
        : talk_(world, frames::flow("192.0.2.1", port, "198.51.100.2", 1723), true, bridge) {}

    bool open() {
        return talk_.open() && talk_.client(message(1, 156, {0x01, 0x00})) &&
               talk_.server(message(2, 156, {0x01, 0x00, 0x01, 0x00}));
    }
    /// Outgoing-Call-Request and -Reply.
    bool call(std::uint8_t client_id, std::uint8_t server_id) {
        return talk_.client(message(7, 168, {0, client_id})) &&
               talk_.server(message(8, 32, {0, server_id, 0, client_id, 1})) &&
               talk_.packet(Direction::original, 0x10);
    }
    /// Call-Disconnect-Notify.
    bool disconnect(std::uint8_t server_id) {
        return talk_.server(message(13, 148, {0, server_id}));
    }
    bool reset() { return talk_.packet(Direction::reply, 0x14); }

  private:
    static std::string message(std::uint8_t type, std::uint8_t size,
                               std::initializer_list<std::uint8_t> fields) {
        std::string m{0, static_cast<char>(size), 0, 1, 0x1a, 0x2b, 0x3c, 0x4d,
                      0, static_cast<char>(type), 0, 0};
        for (const std::uint8_t b : fields)
            m += static_cast<char>(b);
        m.resize(size, '\0');
        return m;
    }

    Talk talk_;
};

const std::string kCalls =
    "helpers: [{name: pptp}]\n"
    "timeouts: {tcp: {close: 2}}\n"
    "policy:\n"
    "  rules:\n"
    "    - {name: control, from: inside, proto: tcp, dport: 1723, ct: [new], action: accept, "
    "helper: pptp}\n"
    "    - {name: tunnels, ct: [related], related: [pptp], action: accept}\n";

class Reconnected : public ::testing::TestWithParam<unsigned> {
  protected:
    World world{kCalls, GetParam()};

    bool there(std::uint16_t id) {
        return world.send(gre_call(kClient, kServer, id), World::kInside);
    }
    bool back(std::uint16_t id) {
        return world.send(gre_call(kServer, kClient, id), World::kOutside);
    }
    unsigned tunnels() {
        unsigned n = 0;
        for (unsigned w = 0; w < world.fw().workers(); ++w) {
            ConnTable& t = world.fw().worker(w).conns();
            for (std::uint32_t s = 1; s <= t.capacity(); ++s)
                n += t.at(s).alive() && t.at(s).protocol() == proto::gre;
        }
        return n;
    }
    /// A reset, and the time until it is forgotten.
    void end(Control& control) {
        ASSERT_TRUE(control.reset());
        world.pass(3'000);
    }
};
INSTANTIATE_TEST_SUITE_P(Workers, Reconnected, ::testing::Values(1u, 2u, 3u, 8u));

TEST_P(Reconnected, TheNewControlConnectionTakesTheRunningTunnelOver) {
    for (std::uint16_t port = 41000; port < 41008; port = static_cast<std::uint16_t>(port + 2)) {
        Control old(world, port), next(world, static_cast<std::uint16_t>(port + 1));
        ASSERT_TRUE(old.open() && old.call(11, 22));
        ASSERT_TRUE(there(22) && back(11));
        ASSERT_TRUE(next.open() && next.call(11, 22));
        EXPECT_TRUE(there(22) && back(11));
        // Long after the pin-holes.
        world.pass(400'000, 500);
        end(old);
        EXPECT_TRUE(there(22) && back(11));
        EXPECT_EQ(tunnels(), 1u);
        end(next);
        EXPECT_FALSE(there(22) || back(11));
        EXPECT_EQ(tunnels(), 0u);
        EXPECT_EQ(world.fw().expectations().live(), 0u);
    }
    EXPECT_EQ(world.sum(&WorkerCounters::children_adopted), 4u);
}

TEST_P(Reconnected, NotByHostsOfOtherZones) {
    std::string text =
        "zones: [inside, outside, lab, lab_outside]\n"
        "ports:\n"
        "  - {name: p0, device: net_null0, zone: inside}\n"
        "  - {name: p1, device: net_null1, zone: outside}\n"
        "  - {name: p2, device: net_null2, zone: lab}\n"
        "  - {name: p3, device: net_null3, zone: lab_outside}\n"
        "bridges: [{ports: [p0, p1], ct_zone: 0}, {ports: [p2, p3], ct_zone: 0}]\n"
        "limits: {connections: 1024, expectations: 64, helped_connections: 64}\n" +
        kCalls;
    text.replace(text.find("from: inside"), 12, "from: [inside, lab]");
    World two(World::Whole{text}, GetParam());
    const auto passes = [&](bool client, std::uint16_t id, PortId port) {
        return two.send(client ? gre_call(kClient, kServer, id) : gre_call(kServer, kClient, id),
                        port);
    };
    Control honest(two, 41000), same(two, 41001, 1), half(two, 41002, 1);
    ASSERT_TRUE(honest.open() && honest.call(11, 22));
    ASSERT_TRUE(passes(true, 22, PortId{0}) && passes(false, 11, PortId{1}));
    // The same call, announced and taken back in the laboratory.
    ASSERT_TRUE(same.open() && same.call(11, 22) && same.disconnect(22));
    EXPECT_TRUE(passes(true, 22, PortId{0}) && passes(false, 11, PortId{1}));
    // A call there whose answers would be the running one's.
    ASSERT_TRUE(half.open() && half.call(11, 33));
    EXPECT_FALSE(passes(true, 33, PortId{2}));
    EXPECT_TRUE(passes(true, 22, PortId{0}) && passes(false, 11, PortId{1}));
    EXPECT_EQ(two.sum(&WorkerCounters::children_adopted), 0u);
}

TEST_P(Reconnected, ACallTheOldOneTakesBackIsNoLongerIts) {
    Control old(world, 41000), next(world, 41001);
    ASSERT_TRUE(old.open() && old.call(11, 22));
    ASSERT_TRUE(there(22) && back(11));
    ASSERT_TRUE(next.open() && next.call(11, 22));
    ASSERT_TRUE(old.disconnect(22));
    EXPECT_TRUE(there(22) && back(11));
    ASSERT_TRUE(next.disconnect(22));
    EXPECT_FALSE(there(22) || back(11));
}

TEST_P(Reconnected, BeforeAnyPacketOfTheTunnel) {
    Control old(world, 41000), next(world, 41001);
    ASSERT_TRUE(old.open() && old.call(11, 22));
    ASSERT_TRUE(next.open() && next.call(11, 22));
    end(old);
    EXPECT_TRUE(back(11) && there(22));
    EXPECT_EQ(tunnels(), 1u);
    end(next);
    EXPECT_EQ(tunnels(), 0u);
}

TEST_P(Reconnected, AfterTheTunnelHasEnded) {
    Control old(world, 41000), next(world, 41001);
    ASSERT_TRUE(old.open() && old.call(11, 22));
    ASSERT_TRUE(there(22) && back(11));
    end(old);
    ASSERT_TRUE(next.open() && next.call(11, 22));
    EXPECT_TRUE(there(22) && back(11));
}

TEST_P(Reconnected, TwiceAndTheMiddleOneEndsFirst) {
    Control first(world, 41000), second(world, 41001), third(world, 41002);
    ASSERT_TRUE(first.open() && first.call(11, 22));
    ASSERT_TRUE(there(22) && back(11));
    ASSERT_TRUE(second.open() && second.call(11, 22));
    ASSERT_TRUE(third.open() && third.call(11, 22));
    end(second);
    EXPECT_TRUE(there(22) && back(11));
    end(first);
    EXPECT_TRUE(there(22) && back(11));
    end(third);
    EXPECT_FALSE(there(22) || back(11));
}

TEST_P(Reconnected, WithOneIdOfTwo) {
    // The old tunnel is found by the id that both have: it is another call all the same.
    for (const bool same_client : {true, false}) {
        const std::uint8_t client_id = same_client ? 11 : 12, server_id = same_client ? 23 : 22;
        Control old(world, same_client ? 41000 : 42000), next(world, same_client ? 41001 : 42001);
        ASSERT_TRUE(old.open() && old.call(11, 22));
        ASSERT_TRUE(there(22) && back(11));
        ASSERT_TRUE(next.open() && next.call(client_id, server_id));
        EXPECT_TRUE(there(server_id) && back(client_id));
        EXPECT_TRUE(there(server_id) && back(client_id));
        end(old);
        EXPECT_TRUE(there(server_id) && back(client_id));
        EXPECT_EQ(tunnels(), 1u);
        end(next);
        EXPECT_FALSE(there(server_id) || back(client_id));
    }
}

TEST_P(Reconnected, OtherCallsOfTheOldOneEndWithIt) {
    Control old(world, 41000), next(world, 41001);
    ASSERT_TRUE(old.open() && old.call(11, 22) && old.call(12, 23));
    ASSERT_TRUE(there(22) && back(11) && there(23) && back(12));
    ASSERT_TRUE(next.open() && next.call(11, 22));
    end(old);
    EXPECT_TRUE(there(22) && back(11));
    EXPECT_FALSE(there(23) || back(12));
}

TEST_P(Reconnected, TheOldOneEndsBeforeAnyWorkerHasHeardOfTheNew) {
    // On several workers the two orders may come in either order. Then the tunnel begins anew.
    Control old(world, 41000), next(world, 41001);
    ASSERT_TRUE(old.open() && old.call(11, 22));
    ASSERT_TRUE(there(22) && back(11));
    const auto master = world.connection(22)->conn.master;
    ASSERT_TRUE(next.open());
    world.fw().worker(master.worker).tracking().end(master.index, ConnEnd::control);
    ASSERT_TRUE(next.call(11, 22));
    EXPECT_TRUE(there(22) && back(11));
    EXPECT_EQ(tunnels(), 1u);
    end(next);
    EXPECT_FALSE(there(22) || back(11));
}

TEST(Gre, AFullTableLetsGoOfNothing) {
    // A pair takes one slot; a table that is full drops, counts, and goes on once there is room.
    World world(kRelated, 1, {}, "connections: 64, expectations: 256, helped_connections: 16");
    unsigned passed = 0;
    for (std::uint16_t id = 1; id <= 80; ++id) {
        ASSERT_EQ(expect_call(world, kClient, id, kServer, static_cast<std::uint16_t>(1000 + id)),
                  InsertOutcome::created);
        passed +=
            world.send(gre_call(kClient, kServer, static_cast<std::uint16_t>(1000 + id)), kIn);
        passed += world.send(gre_call(kServer, kClient, id), kOut) ? 0 : 1000;
        passed += world.send(gre_call(kClient, kServer, static_cast<std::uint16_t>(1000 + id)), kIn)
                      ? 0
                      : 1000;
        if (passed >= 1000) break;
    }
    EXPECT_EQ(passed, 2064u);  // 64 pairs, then neither direction
    EXPECT_EQ(world.sum(&WorkerCounters::table_full), 2u);
    EXPECT_EQ(world.fw().expectations().live(), 1u);  // it is not used up
    world.pass(18'000'000, 60'000);
    EXPECT_EQ(world.fw().worker(0).conns().size(), 0u);
    ASSERT_EQ(expect_call(world, kClient, 1, kServer, 2000), InsertOutcome::created);
    EXPECT_TRUE(world.send(gre_call(kClient, kServer, 2000), kIn));
}

TEST(Gre, WithoutCallsIsByAddresses) {
    World world(kInsideOut, 2);
    const Frame there = frames::ip(kClient, kServer, proto::gre, {0, 0, 8, 0, 1, 2, 3, 4}),
                back = frames::ip(kServer, kClient, proto::gre, {0x20, 0, 8, 0, 9, 9, 9, 9});
    EXPECT_FALSE(world.send(back, kOut));
    EXPECT_TRUE(world.send(there, kIn, 1));
    EXPECT_TRUE(world.send(back, kOut, 0));
    const auto conn = world.connection(0);
    ASSERT_TRUE(conn);
    EXPECT_EQ(conn->conn.timeout_ms, 30'000u);
    EXPECT_TRUE(world.send(there, kIn, 1));
    EXPECT_EQ(world.connection(0)->conn.timeout_ms, 180'000u);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
}

}  // namespace
}  // namespace postern
