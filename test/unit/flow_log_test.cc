// SPDX-License-Identifier: BSD-3-Clause
// Flow records: which connections make one, its fields; the file, syslog, a collector of IPFIX.
#include <fstream>
#include <map>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "config/load.h"
#include "control_fixture.h"
#include "log/record_log.h"
#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kPolicy =
    "timeouts: {udp: {unreplied: 10, stream: 10}}\n"
    "log: {default: yes}\n"
    "policy: {rules: [\n"
    "  {name: dns, from: inside, proto: udp, dport: 53, action: accept},\n"
    "  {name: web, from: inside, proto: tcp, dport: 80, action: accept}]}\n";

/// A collector: a UDP socket of this machine.
class Collector {
  public:
    Collector() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) { listen(0); }
    void listen(std::uint16_t port) {
        if (!fd_) fd_ = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
            ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0)
            std::abort();
        port_ = ntohs(address.sin_port);
    }
    void close() {
        fd_.reset();
        templates_.clear();
    }
    std::uint16_t port() const { return port_; }

    using Record = std::map<unsigned, std::string>;  ///< element (with 0x8000: reverse), its bytes
    /// Records of the messages that have come. Those of unknown templates are in `unknown`.
    std::vector<Record> records() {
        std::vector<Record> all;
        char data[2048];
        for (ssize_t n; (n = ::recv(fd_.get(), data, sizeof data, 0)) > 0;) {
            ++messages;
            read({data, static_cast<std::size_t>(n)}, all);
        }
        return all;
    }
    unsigned messages = 0, unknown = 0;

  private:
    struct Field {
        unsigned element, bytes;
    };
    static unsigned u16(std::string_view text, std::size_t at) {
        return static_cast<std::uint8_t>(text[at]) << 8 | static_cast<std::uint8_t>(text[at + 1]);
    }
    /// RFC 7011 section 3.
    void read(std::string_view message, std::vector<Record>& all) {
        ASSERT_EQ(u16(message, 0), 10u);
        ASSERT_EQ(u16(message, 2), message.size());
        for (std::size_t at = 16; at < message.size();) {
            const unsigned id = u16(message, at), length = u16(message, at + 2);
            ASSERT_GE(length, 4u);
            const std::string_view set = message.substr(at + 4, length - 4);
            at += length;
            if (id == 2)
                read_templates(set);
            else if (!templates_.contains(id))
                ++unknown;
            else
                read_data(set, templates_[id], all);
        }
    }
    void read_templates(std::string_view set) {
        for (std::size_t at = 0; at + 4 <= set.size();) {
            std::vector<Field>& fields = templates_[u16(set, at)];
            unsigned count = u16(set, at + 2);
            fields.clear();
            for (at += 4; count-- != 0; at += 4) {
                Field field{u16(set, at), u16(set, at + 2)};
                if ((field.element & 0x8000) != 0) {
                    EXPECT_EQ(u16(set, at + 4) << 16 | u16(set, at + 6), 29305u);  // RFC 5103
                    at += 4;
                }
                fields.push_back(field);
            }
        }
    }
    static void read_data(std::string_view set, const std::vector<Field>& fields,
                          std::vector<Record>& all) {
        std::size_t at = 0;
        while (set.size() - at >= 16) {  // less is padding
            Record& record = all.emplace_back();
            for (const Field& field : fields) {
                unsigned bytes = field.bytes;
                if (bytes == 0xffff) bytes = static_cast<std::uint8_t>(set[at++]);
                record[field.element] = set.substr(at, bytes);
                at += bytes;
            }
        }
    }

    UniqueFd fd_;
    std::uint16_t port_ = 0;
    std::map<unsigned, std::vector<Field>> templates_;
};

std::uint64_t number(const Collector::Record& record, unsigned element) {
    std::uint64_t value = 0;
    for (const char c : record.at(element))
        value = value << 8 | static_cast<std::uint8_t>(c);
    return value;
}
std::string bytes_of(const char* address) {
    const IpAddr a = *IpAddr::parse(address);
    return {reinterpret_cast<const char*>(a.bytes.data()), address_bytes(a.family)};
}

// Elements of IANA's registry.
constexpr unsigned kOctets = 1, kPackets = 2, kProtocol = 4, kSport = 7, kSource4 = 8, kDport = 11,
                   kDestination4 = 12, kSource6 = 27, kDestination6 = 28, kEndReason = 136,
                   kFlowId = 148, kStart = 152, kEnd = 153, kEvent = 233, kRule = 335,
                   kReverse = 0x8000;

class FlowLogTest : public ::testing::TestWithParam<unsigned> {
  protected:
    void use(const std::string& log) {
        auto loaded =
            load_spec_text(World::with_two_ports("log: {" + log + "}\npolicy: {rules: []}\n"),
                           "log.yaml", build_schema());
        for (const auto& e : loaded.errors)
            ADD_FAILURE() << e.to_string();
        auto outputs = log_.open(loaded.spec->log);
        ASSERT_TRUE(outputs) << outputs.error().message;
        log_.use(std::move(*outputs));
        world_.turn();
    }
    std::string ipfix(const std::string& more = "") {
        return "ipfix: {collector: \"127.0.0.1:" + std::to_string(collector_.port()) + "\"" + more +
               "}";
    }
    void ask(std::uint16_t sport, bool answered, const char* src = "192.0.2.1",
             const char* dst = "192.0.2.2") {
        const auto f = flow(src, sport, dst, 53);
        ASSERT_TRUE(world_.from_inside(frames::udp(f, "question")));
        if (!answered) return;
        ASSERT_TRUE(world_.from_outside(frames::udp(f.back(), "yes")));
    }
    std::vector<Json> lines() {
        std::ifstream file(path_);
        std::vector<Json> all;
        for (std::string line; std::getline(file, line);)
            all.push_back(Json::parse(line));
        return all;
    }

    TempDir dir_;
    std::string path_ = dir_ / "flows";
    World world_{kPolicy, GetParam(), "", World::kLimits, "", 64};
    RecordLog log_{world_.fw(), make_conn_hub(world_.fw()), [this] { return world_.now; }};
    Collector collector_;
};
INSTANTIATE_TEST_SUITE_P(Workers, FlowLogTest, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

TEST_P(FlowLogTest, AConnectionIsRecordedAtItsEnd) {
    use("flows: end, file: {path: " + path_ + "}");
    ask(1000, true);
    const auto found = world_.connection(53);
    ASSERT_TRUE(found);
    log_.turn();
    EXPECT_TRUE(lines().empty());
    world_.pass(20'000);
    log_.turn();
    auto all = lines();
    ASSERT_EQ(all.size(), 1u);
    Json& row = all[0];
    for (const char* time : {"time", "start", "end"}) {
        EXPECT_EQ(row[time].get<std::string>().size(), 27u) << row;
        row.erase(time);
    }
    row.erase("worker");
    const std::string id = std::to_string(found->worker) + "/" + std::to_string(found->id.index) +
                           "." + std::to_string(found->id.generation);
    EXPECT_EQ(row, (Json{{"event", "destroy"},
                         {"cause", "expired"},
                         {"duration_ms", 0},
                         {"family", "ipv4"},
                         {"proto", "udp"},
                         {"src", "192.0.2.1"},
                         {"sport", 1000},
                         {"dst", "192.0.2.2"},
                         {"dport", 53},
                         {"from", "inside"},
                         {"to", "outside"},
                         {"rule", "dns"},
                         {"helper", nullptr},
                         {"expected_by", nullptr},
                         {"proto_state", nullptr},
                         {"replied", true},
                         {"packets_original", 1},
                         {"bytes_original", 14 + 20 + 8 + 8},
                         {"packets_reply", 1},
                         {"bytes_reply", 14 + 20 + 8 + 3},
                         {"mark", 0},
                         {"label", 0},
                         {"id", id},
                         {"master_id", nullptr}}));
    EXPECT_EQ(log_.counters().flow_records.get(), 1u);
}

TEST_P(FlowLogTest, AlsoAtItsBeginning) {
    use("flows: all, file: {path: " + path_ + "}");
    ask(1000, true);
    world_.pass(20'000);
    log_.turn();
    const auto all = lines();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0]["event"], "new");
    EXPECT_EQ(all[0]["end"], nullptr);
    EXPECT_EQ(all[1]["event"], "destroy");
    EXPECT_EQ(all[0]["id"], all[1]["id"]);
}

TEST_P(FlowLogTest, NothingBeforeAndAfter) {
    ask(1000, false);
    use("flows: all, file: {path: " + path_ + "}");
    ask(1001, false);
    use("file: {path: " + path_ + "}");
    ask(1002, false);
    world_.pass(20'000);
    log_.turn();
    ASSERT_EQ(lines().size(), 1u);
    EXPECT_EQ(lines()[0]["sport"], 1001);
}

TEST_P(FlowLogTest, OtherOutputsGetWhatComesAfterThem) {
    use("flows: end, file: {path: " + path_ + "}");
    ask(1000, false);
    world_.pass(20'000);
    use("flows: all, file: {path: " + path_ + "2}");
    ask(1001, false);
    log_.turn();
    ASSERT_EQ(lines().size(), 1u);
    path_ += "2";
    ASSERT_EQ(lines().size(), 1u);
    EXPECT_EQ(lines()[0]["event"], "new");
    EXPECT_EQ(log_.counters().flow_lost.get(), 0u);
}

TEST_P(FlowLogTest, WhatTheRingHasNoRoomForIsCounted) {
    use("flows: all, file: {path: " + path_ + "}");
    for (std::uint16_t n = 0; n < 400; ++n)
        ask(static_cast<std::uint16_t>(1000 + n), false);
    log_.take_rest();
    log_.turn();
    EXPECT_GT(log_.counters().flow_lost.get(), 0u);
    EXPECT_EQ(log_.counters().flow_records.get() + log_.counters().flow_lost.get(), 400u);
    EXPECT_EQ(lines().size(), log_.counters().flow_records.get());
}

TEST_P(FlowLogTest, ACollectorGetsFlowsOfBothFamilies) {
    use("flows: end, " + ipfix(", domain: 7"));
    ask(1000, true);
    world_.pass(3000);
    ask(1000, true);
    ask(2000, false, "2001:db8::1", "2001:db8::2");
    world_.pass(20'000);
    log_.turn();
    const auto all = collector_.records();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(collector_.unknown, 0u);
    const auto& v4 = all[all[0].contains(kSource4) ? 0 : 1];
    const auto& v6 = all[all[0].contains(kSource4) ? 1 : 0];
    EXPECT_EQ(v4.at(kSource4), bytes_of("192.0.2.1"));
    EXPECT_EQ(v4.at(kDestination4), bytes_of("192.0.2.2"));
    EXPECT_EQ(number(v4, kSport), 1000u);
    EXPECT_EQ(number(v4, kDport), 53u);
    EXPECT_EQ(number(v4, kProtocol), 17u);
    EXPECT_EQ(number(v4, kPackets), 2u);
    EXPECT_EQ(number(v4, kOctets), 2u * (14 + 20 + 8 + 8));
    EXPECT_EQ(number(v4, kPackets | kReverse), 2u);
    EXPECT_EQ(number(v4, kOctets | kReverse), 2u * (14 + 20 + 8 + 3));
    EXPECT_EQ(number(v4, kEnd) - number(v4, kStart), 3000u);
    EXPECT_EQ(number(v4, kEvent), 2u);      // deleted
    EXPECT_EQ(number(v4, kEndReason), 1u);  // idle
    EXPECT_EQ(v4.at(kRule), "dns");
    EXPECT_EQ(v6.at(kSource6), bytes_of("2001:db8::1"));
    EXPECT_EQ(v6.at(kDestination6), bytes_of("2001:db8::2"));
    EXPECT_EQ(number(v6, kPackets | kReverse), 0u);
    EXPECT_NE(number(v4, kFlowId), number(v6, kFlowId));
    EXPECT_EQ(log_.counters().log_sent.get(), 2u);
}

TEST_P(FlowLogTest, ACollectorGetsRefusedPackets) {
    use(ipfix());
    ASSERT_FALSE(world_.from_inside(
        frames::tcp(flow("192.0.2.1", 1000, "192.0.2.2", 22), {.flags = tcp_flag::syn})));
    log_.turn();
    const auto all = collector_.records();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(number(all[0], kEvent), 3u);  // denied
    EXPECT_EQ(all[0].at(kRule), "default");
    EXPECT_EQ(number(all[0], kDport), 22u);
    EXPECT_FALSE(all[0].contains(kEndReason));
}

TEST_P(FlowLogTest, ManyFlowsTakeSeveralMessages) {
    use("flows: end, " + ipfix());
    for (std::uint16_t n = 0; n < 60; ++n)
        ask(static_cast<std::uint16_t>(1000 + n), false);
    world_.pass(20'000);
    log_.take_rest();
    EXPECT_EQ(collector_.records().size(), 60u);
    EXPECT_GT(collector_.messages, 3u);
    EXPECT_EQ(collector_.unknown, 0u);
}

TEST_P(FlowLogTest, ACollectorThatComesAgainGetsTheTemplatesAgain) {
    use("flows: all, " + ipfix());
    ask(1000, false);
    log_.turn();
    ASSERT_EQ(collector_.records().size(), 1u);
    const std::uint16_t port = collector_.port();
    collector_.close();
    for (std::uint16_t n = 1; n < 4; ++n) {  // the kernel tells of the first one at the second
        ask(static_cast<std::uint16_t>(1000 + n), false);
        log_.turn();
    }
    collector_.listen(port);
    ask(1010, false);
    log_.turn();
    ask(1011, false);
    log_.turn();
    EXPECT_GE(collector_.records().size(), 1u);
}

TEST(FlowEndReason, FollowsTheCause) {
    Conn conn;
    conn.key.protocol = proto::tcp;
    conn.set_state(TcpState::established);
    EXPECT_EQ(flow_end_reason(conn, ConnEnd::expired), 1);
    conn.set_state(TcpState::time_wait);
    EXPECT_EQ(flow_end_reason(conn, ConnEnd::expired), 3);
    EXPECT_EQ(flow_end_reason(conn, ConnEnd::control), 4);
    EXPECT_EQ(flow_end_reason(conn, ConnEnd::early_drop), 5);
}

}  // namespace
}  // namespace postern
