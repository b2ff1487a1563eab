// SPDX-License-Identifier: BSD-3-Clause
// Helpers and IP fragments: a message that comes in fragments is read like any other, and text that
// only stands at the beginning of a fragment is no message (NAT slipstreaming by fragments).
#include <string>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::Flow;
using frames::Frame;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kHelpers = "helpers: [{name: ftp}, {name: tftp}, {name: sip}, {name: ras}]\n";
const std::string kPolicy =
    "policy:\n"
    "  rules:\n"
    "    - {from: inside, proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp}\n"
    "    - {from: inside, proto: udp, dport: 69, ct: [new], action: accept, helper: tftp}\n"
    "    - {from: inside, proto: udp, dport: 53, ct: [new], action: accept}\n"
    "    - {from: inside, proto: udp, dport: 5060, ct: [new], action: accept, helper: sip}\n"
    "    - {from: inside, proto: udp, dport: 1719, ct: [new], action: accept, helper: ras}\n"
    "    - {ct: [related], action: accept}\n";

/// RRQ (RFC 1350 section 5).
std::string read_request(const std::string& file) {
    return std::string("\0\1", 2) + file + std::string("\0octet\0", 7);
}

/// A phone registers: its address waits for the registrar's word.
std::string registration(int family) {
    return "REGISTER sip:r SIP/2.0\r\nv: x\r\nf: a\r\nt: b\r\ni: 1\r\nCSeq: 1 REGISTER\r\nm: "
           "<sip:a@" +
           std::string(family == 4 ? "192.0.2.1" : "[2001:db8::1]") +
           ":5062>;expires=60\r\nl: 0\r\n\r\n";
}
/// RAS: an endpoint says where it takes calls, 192.0.2.1 port 1720 (H.225.0 section 7.9.1).
std::string h323_registration() {
    return frames::from_hex(
        "0c000001060008914a0007800100c000020106b80100c00002019c4022c0b50000120b506f7374"
        "65726e2074657374003106b50000120b506f737465726e20746573740031");
}

/// Family and number of workers.
class HelperFragments : public ::testing::TestWithParam<std::pair<int, unsigned>> {
  protected:
    World world_{kPolicy, GetParam().second, kHelpers};

    Flow ends(unsigned sport, unsigned dport) const {
        return GetParam().first == 4 ? frames::flow("192.0.2.1", sport, "192.0.2.2", dport)
                                     : frames::flow("2001:db8::1", sport, "2001:db8::2", dport);
    }
    /// In fragments of `bytes`, the last one first if `backwards`; true when the datagram passed.
    bool in_fragments(const Frame& frame, unsigned bytes, PortId port = World::kInside,
                      bool backwards = false) {
        auto parts = frames::fragments(frame, bytes, ++id_);
        if (backwards) std::reverse(parts.begin(), parts.end());
        bool passed = false;
        unsigned on = 0;
        for (const Frame& part : parts)
            passed = world_.send(part, port, on++ % GetParam().second);
        return passed;
    }
    /// A message that opens, behind bytes that put it at each offset where a fragment can begin.
    void opens_only_from_its_beginning(const std::string& message, unsigned dport) {
        unsigned sport = 6000;
        for (unsigned offset = 16; offset <= 80; offset += 8) {
            const std::string payload = std::string(offset - 8, 'A') + message;
            EXPECT_TRUE(in_fragments(frames::udp(ends(++sport, dport), payload), offset)) << offset;
            EXPECT_EQ(live(), 0u) << "a fragment at " << offset << " opened something";
        }
        // Not for want of reading: the same without what stands before it.
        EXPECT_TRUE(in_fragments(frames::udp(ends(++sport, dport), message), 16));
        EXPECT_EQ(live(), 1u);
    }
    std::uint32_t live() { return world_.fw().expectations().live(); }

  private:
    std::uint32_t id_ = 0;
};
INSTANTIATE_TEST_SUITE_P(FamilyWorkers, HelperFragments,
                         ::testing::Values(std::pair{4, 1u}, std::pair{4, 3u}, std::pair{6, 1u},
                                           std::pair{6, 3u}),
                         [](const auto& p) {
                             return "v" + std::to_string(p.param.first) + "w" +
                                    std::to_string(p.param.second);
                         });

TEST_P(HelperFragments, RequestInFragmentsIsRead) {
    const std::string request = read_request(std::string(300, 'f'));
    unsigned sport = 4000;
    for (const unsigned bytes : {8u, 16u, 64u, 120u, 304u})
        for (const bool backwards : {false, true}) {
            const Flow f = ends(++sport, 69);
            ASSERT_TRUE(in_fragments(frames::udp(f, request), bytes, World::kInside, backwards))
                << bytes;
            // The server answers from a port of its own choosing.
            EXPECT_EQ(live(), 1u) << bytes;
            Flow answer = f.back();
            answer.sport = 33000;
            EXPECT_TRUE(world_.from_outside(frames::udp(answer, "data"))) << bytes;
            EXPECT_EQ(live(), 0u);
        }
}

TEST_P(HelperFragments, RequestAtTheBeginningOfALaterFragmentIsNone) {
    const std::string request = read_request("secret");
    unsigned sport = 5000;
    // The attacker's bytes before it put it at each offset where a fragment can begin; port 69
    // shows that it is not only a matter of who reads, port 53 that nobody does.
    for (const unsigned dport : {69u, 53u})
        for (unsigned offset = 8; offset <= 64; offset += 8) {
            std::string payload(offset - 8, 'A');  // the UDP header is eight bytes, too
            if (payload.empty()) payload = std::string(8, 'A'), offset += 8;
            payload += request;
            const bool passed = in_fragments(frames::udp(ends(++sport, dport), payload), offset);
            EXPECT_TRUE(passed) << offset;
            EXPECT_EQ(live(), 0u) << "a fragment at " << offset << " opened something";
        }
}

// SIP, and RAS of H.323.
TEST_P(HelperFragments, PhoneThatRegistersAtTheBeginningOfALaterFragmentDoesNot) {
    opens_only_from_its_beginning(registration(GetParam().first), 5060);
}
TEST_P(HelperFragments, EndpointThatRegistersAtTheBeginningOfALaterFragmentDoesNot) {
    if (GetParam().first == 6) GTEST_SKIP() << "its message has an IPv4 address";
    opens_only_from_its_beginning(h323_registration(), 1719);
}

TEST_P(HelperFragments, AnnouncementOfFtpInFragmentsIsRead) {
    const Flow f = ends(40000, 21);
    Talk control(world_, f);
    ASSERT_TRUE(control.open());
    ASSERT_TRUE(control.server("220 ready\r\n"));
    ASSERT_TRUE(control.client("EPSV\r\n"));
    frames::TcpFields t;
    t.flags = 0x18;
    t.seq = 5001 + 11;
    t.ack = 1001 + 6;
    t.payload = "229 ok (|||50000|)\r\n";
    ASSERT_TRUE(in_fragments(frames::tcp(f.back(), t), 24, World::kOutside));
    EXPECT_EQ(live(), 1u);
    EXPECT_TRUE(Talk(world_, ends(41000, 50000)).open());
}

TEST_P(HelperFragments, PostedCommandAtAFragmentsBeginningOpensNothing) {
    const std::string port =
        GetParam().first == 4 ? "PORT 192,0,2,1,200,1\r\n" : "EPRT |2|2001:db8::1|51201|\r\n";
    const std::string http = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
    unsigned sport = 40000;
    for (unsigned pad = 0; pad < 8; ++pad) {
        const Flow f = ends(++sport, 21);
        Talk control(world_, f);
        ASSERT_TRUE(control.open());
        // TCP header, request and padding fill the first fragment.
        std::string body = http + std::string(pad, 'a');
        body += std::string((8 - (20 + body.size()) % 8) % 8, 'a');
        const auto first = static_cast<unsigned>(20 + body.size());
        body += port;
        frames::TcpFields t;
        t.flags = 0x18;
        t.seq = 1001;
        t.ack = 5001;
        t.payload = body;
        ASSERT_TRUE(in_fragments(frames::tcp(f, t), first));
        EXPECT_EQ(live(), 0u) << pad;
    }
}

}  // namespace
}  // namespace postern
