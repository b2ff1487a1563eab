// SPDX-License-Identifier: BSD-3-Clause
// Records of packets: which packets make one, its fields, rates; the file, syslog, the journal.
#include <fstream>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "control_fixture.h"
#include "log/record_log.h"
#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kPolicy =
    "log: {default: yes, drops: {bad_tcp_flags: yes, ct_not_first: 2/s}}\n"
    "policy: {rules: [\n"
    "  {name: dns, from: inside, proto: udp, dport: 53, action: accept, log: yes},\n"
    "  {name: web, from: inside, proto: tcp, dport: 80, action: accept},\n"
    "  {name: few, from: inside, proto: udp, dport: 54, action: drop, log: 10/s},\n"
    "  {name: quiet, from: inside, proto: udp, dport: 55, action: drop},\n"
    "  {name: no, from: inside, proto: udp, dport: 56, action: reject, log: yes},\n"
    "  {name: ping, from: inside, proto: udp, dport: 57, track: no, action: accept, log: yes}]}\n";

std::vector<Json> records(World& world) {
    std::vector<Json> all;
    for (unsigned w = 0; w < world.fw().workers(); ++w) {
        auto& ring = world.fw().worker(w).recording().ring();
        while (const PacketRecord* r = ring.front()) {
            all.push_back(record_row(world.fw().plan(), *r, TscWall::now()));
            ring.drop_front();
        }
    }
    return all;
}

class PacketLogTest : public ::testing::TestWithParam<unsigned> {
  protected:
    bool send(std::uint16_t sport, std::uint16_t dport, std::string_view payload = "x") {
        return world_.from_inside(
            frames::udp(flow("192.0.2.1", sport, "192.0.2.2", dport), payload));
    }
    World world_{kPolicy, GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Workers, PacketLogTest, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

TEST_P(PacketLogTest, AcceptingRuleLogsTheFirstPacketOfEachConnection) {
    ASSERT_TRUE(send(1000, 53, "question"));
    ASSERT_TRUE(send(1000, 53, "again"));
    const auto found = world_.connection(53);
    ASSERT_TRUE(found);
    auto all = records(world_);
    ASSERT_EQ(all.size(), 1u);
    Json& row = all[0];
    EXPECT_EQ(row["time"].get<std::string>().size(), 27u) << row;
    row.erase("time");
    EXPECT_EQ(row["id"], "" + std::to_string(found->worker) + "/" +
                             std::to_string(found->id.index) + "." +
                             std::to_string(found->id.generation));
    row.erase("id");
    EXPECT_EQ(row["worker"], found->worker);
    row.erase("worker");
    EXPECT_EQ(row, (Json{{"event", "packet"},
                         {"verdict", "accept"},
                         {"rule", "dns"},
                         {"reason", nullptr},
                         {"in", "in0"},
                         {"out", "out0"},
                         {"from", "inside"},
                         {"to", "outside"},
                         {"vlan", nullptr},
                         {"ethertype", 0x0800},
                         {"family", "ipv4"},
                         {"proto", "udp"},
                         {"src", "192.0.2.1"},
                         {"sport", 1000},
                         {"dst", "192.0.2.2"},
                         {"dport", 53},
                         {"tcp_flags", nullptr},
                         {"state", "new"},
                         {"bytes", 14 + 20 + 8 + 8},
                         {"ip_bytes", 20 + 8 + 8},
                         {"payload_bytes", 8}}));
}

TEST_P(PacketLogTest, RefusingRulesAndTheDefaultLogEachPacket) {
    for (int i = 0; i < 2; ++i) {
        ASSERT_FALSE(send(1000, 54));
        ASSERT_FALSE(send(1000, 55));
        send(1000, 56);  // the answer goes to its sender
        ASSERT_FALSE(send(1000, 99));
        ASSERT_TRUE(send(1000, 57));
    }
    std::multiset<std::string> found;
    for (const Json& row : records(world_)) {
        found.insert(row["verdict"].get<std::string>() + " " + row["rule"].get<std::string>() +
                     " " + (row["reason"].is_null() ? "-" : row["reason"].get<std::string>()) +
                     " " + row["dst"].get<std::string>());
        EXPECT_TRUE(row["id"].is_null()) << row;
    }
    const std::string to = " 192.0.2.2";
    EXPECT_EQ(found, (std::multiset<std::string>{
                         "drop few policy" + to, "drop few policy" + to, "reject no reject" + to,
                         "reject no reject" + to, "drop default policy" + to,
                         "drop default policy" + to, "accept ping -" + to, "accept ping -" + to}));
}

TEST_P(PacketLogTest, ARejectedPacketIsLoggedOnceAlsoWithoutAnAnswer) {
    for (int i = 0; i < 60; ++i)
        send(1000, 56);
    EXPECT_GT(world_.sum(&WorkerCounters::rejects_limited), 0u);
    EXPECT_EQ(records(world_).size(), 60u);
}

TEST_P(PacketLogTest, ReasonsLogWhatNoRuleDecides) {
    const auto f = flow("192.0.2.1", 1000, "192.0.2.2", 80);
    ASSERT_FALSE(world_.from_inside(frames::wrap_vlan(frames::tcp(f, {.flags = 0x03}), 7)));
    ASSERT_FALSE(world_.from_inside(frames::tcp(f, {.flags = 0x04})));
    const auto all = records(world_);
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0]["reason"], "bad_tcp_flags");
    EXPECT_EQ(all[0]["tcp_flags"], "syn,fin");
    EXPECT_EQ(all[0]["vlan"], 7);
    EXPECT_EQ(all[0]["rule"], nullptr);
    EXPECT_EQ(all[1]["reason"], "ct_not_first");
    EXPECT_EQ(all[1]["state"], "invalid");
    EXPECT_EQ(all[1]["sport"], 1000);
}

TEST_P(PacketLogTest, ARateIsAUpperBound) {
    // A flow falls on one worker, whose share is the rate divided and rounded up.
    const unsigned share = (10 + GetParam() - 1) / GetParam();
    for (unsigned second = 0; second < 3; ++second) {
        for (int i = 0; i < 50; ++i)
            ASSERT_FALSE(send(1000, 54));
        EXPECT_EQ(records(world_).size(), share) << second;
        world_.pass(1000);
    }
    EXPECT_EQ(world_.sum(&WorkerCounters::log_limited), 3 * (50u - share));
    EXPECT_EQ(world_.sum(&WorkerCounters::log_records), 3u * share);
}

TEST_P(PacketLogTest, WhatFindsTheRingFullIsCounted) {
    for (unsigned i = 0; i < World::kPacketRecords + 5; ++i)
        ASSERT_FALSE(send(1000, 99));
    EXPECT_EQ(world_.sum(&WorkerCounters::log_lost), 5u);
    EXPECT_EQ(records(world_).size(), World::kPacketRecords);
}

TEST_P(PacketLogTest, AnotherPlanLogsAnythingElse) {
    ASSERT_TRUE(world_.replace(
        World::with_two_ports("policy: {rules: [{name: dns, proto: udp, dport: 53, action: accept},"
                              " {name: few, proto: udp, dport: 54, action: drop, log: yes}]}\n")));
    world_.turn();
    ASSERT_TRUE(send(1000, 53));
    ASSERT_FALSE(send(1000, 99));
    EXPECT_EQ(records(world_).size(), 0u);
    for (int i = 0; i < 30; ++i)
        ASSERT_FALSE(send(1000, 54));
    EXPECT_EQ(records(world_).size(), 30u) << "the rate of the plan before is gone";
}

// --- outputs -----------------------------------------------------------------------------------

std::vector<std::string> lines_of(const std::string& path) {
    std::ifstream file(path);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);)
        all.push_back(line);
    return all;
}

class LogFileTest : public ::testing::Test {
  protected:
    LogFile open(std::uint64_t max, std::uint32_t keep) {
        auto file = LogFile::open({path_, max, keep}, counters_);
        if (!file) std::abort();
        return std::move(*file);
    }
    TempDir dir_;
    std::string path_ = dir_ / "log";
    LogOutputCounters counters_;
};

TEST_F(LogFileTest, GrowsAndMovesBetweenTwoLines) {
    LogFile file = open(100, 2);
    for (int i = 0; i < 10; ++i) {
        file.add(std::to_string(i) + std::string(38, 'x'));  // 40 bytes with its end
        file.flush();
    }
    EXPECT_EQ(file.problem(), "");
    const auto first = [&](const std::string& suffix) {
        std::string out;
        for (const std::string& line : lines_of(path_ + suffix))
            out += line[0];
        return out;
    };
    EXPECT_EQ(first(""), "89");
    EXPECT_EQ(first(".1"), "67");
    EXPECT_EQ(first(".2"), "45");
    EXPECT_TRUE(lines_of(path_ + ".3").empty());
    EXPECT_EQ(counters_.log_rotations.get(), 4u);
    EXPECT_EQ(counters_.log_lines.get(), 10u);
}

TEST_F(LogFileTest, ContinuesAFileAndOneThatWasMoved) {
    {
        LogFile file = open(1000, 1);
        file.add("one");
        file.flush();
    }
    LogFile file = open(1000, 1);
    file.add("two");
    file.flush();
    EXPECT_EQ(lines_of(path_), (std::vector<std::string>{"one", "two"}));
    ASSERT_EQ(::rename(path_.c_str(), (path_ + ".away").c_str()), 0);
    file.add("three");
    file.flush();
    EXPECT_EQ(lines_of(path_), (std::vector<std::string>{"three"}));
}

TEST_F(LogFileTest, CountsWhatItCannotWriteAndGoesOn) {
    LogFile file = open(1000, 1);
    ASSERT_EQ(::unlink(path_.c_str()), 0);
    ASSERT_EQ(::mkdir(path_.c_str(), 0700), 0);
    file.add("lost");
    file.flush();
    EXPECT_NE(file.problem(), "");
    EXPECT_EQ(counters_.log_unwritten.get(), 1u);
    ASSERT_EQ(::rmdir(path_.c_str()), 0);
    file.add("found");
    file.flush();
    EXPECT_EQ(file.problem(), "");
    EXPECT_EQ(lines_of(path_), (std::vector<std::string>{"found"}));
    EXPECT_FALSE(LogFile::open({"/nowhere/log", 1000, 1}, counters_).ok());
}

Json a_row() {
    return {{"time", "2026-11-30T01:02:03.000004Z"},
            {"event", "packet"},
            {"verdict", "drop"},
            {"rule", "default"},
            {"reason", "policy"},
            {"proto", "tcp"},
            {"src", "2001:db8::1"},
            {"sport", 4000},
            {"dst", "192.0.2.2"},
            {"dport", 22},
            {"vlan", nullptr},
            {"odd", "a\"b]c\\"}};
}

TEST(LogSocketTest, SyslogHasTheFieldsAsStructuredData) {
    EXPECT_EQ(syslog_message(a_row(), "host", 7),
              "<133>1 2026-11-30T01:02:03.000004Z host postern 7 packet [packet@32473 "
              "verdict=\"drop\" rule=\"default\" reason=\"policy\" proto=\"tcp\" "
              "src=\"2001:db8::1\" sport=\"4000\" dst=\"192.0.2.2\" dport=\"22\" "
              "odd=\"a\\\"b\\]c\\\\\"] drop tcp [2001:db8::1]:4000 > 192.0.2.2:22 (default)");
}

TEST(LogSocketTest, JournalHasAFieldEach) {
    const std::string message = journal_message(a_row());
    EXPECT_TRUE(message.starts_with(
        "MESSAGE=drop tcp [2001:db8::1]:4000 > 192.0.2.2:22 (default)\nPRIORITY=5\n"
        "SYSLOG_IDENTIFIER=postern\n"))
        << message;
    EXPECT_NE(message.find("\nPOSTERN_RULE=default\n"), std::string::npos);
    EXPECT_EQ(message.find("POSTERN_VLAN"), std::string::npos);
}

TEST(LogSocketTest, ADaemonMayComeLateAndAgain) {
    TempDir dir;
    const std::string path = dir / "syslog";
    LogOutputCounters counters;
    LogSocket out(path, LogSocket::Form::syslog, counters);
    out.send(a_row());
    EXPECT_EQ(counters.log_unwritten.get(), 1u);
    for (int round = 0; round < 2; ++round) {
        const UniqueFd daemon(::socket(AF_UNIX, SOCK_DGRAM, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        ::unlink(path.c_str());
        ASSERT_EQ(::bind(daemon.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        out.send(a_row());
        char text[2048];
        const ssize_t n = ::recv(daemon.get(), text, sizeof text, MSG_DONTWAIT);
        ASSERT_GT(n, 0) << round;
        EXPECT_TRUE(std::string_view(text, static_cast<std::size_t>(n)).starts_with("<133>1 "));
    }
    EXPECT_EQ(counters.log_sent.get(), 2u);
}

}  // namespace
}  // namespace postern
