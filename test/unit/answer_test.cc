// SPDX-License-Identifier: BSD-3-Clause
// Answers to packets that do not pass: written here, read by the parser, checksums compared.
#include "net/answer.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "net/bytes.h"
#include "net/checksum.h"
#include "net/packet.h"
#include "support/frames.h"

namespace postern {
namespace {

using namespace frames;

const Flow kFlow4 = flow("192.0.2.1", 40000, "198.51.100.2", 80);
const Flow kFlow6 = flow("2001:db8::1", 40000, "2001:db8:1::2", 80);

PacketInfo parse(const Frame& f) {
    static const HashSecret secret{};
    ParseContext context;
    context.secret = &secret;
    PacketInfo info;
    parse_packet(f.data(), static_cast<std::uint32_t>(f.size()),
                 static_cast<std::uint32_t>(f.size()), context, info);
    return info;
}
Tuple tuple(const Frame& f) {
    return *tuple_of(f.data(), parse(f));
}
Frame reset_of(Frame f) {
    const PacketInfo info = parse(f);
    const Tuple t = tuple(f);
    write_reset(f.data(), info, t);
    f.resize(reset_bytes(info));
    return f;
}
Frame error_of(Frame f) {
    const PacketInfo info = parse(f);
    const Tuple t = tuple(f);
    const IcmpLayout layout = icmp_layout(info, static_cast<unsigned>(f.size()));
    f.resize(info.l3_off + layout.quoted);
    f.insert(f.begin() + info.l3_off, layout.added, 0xee);
    write_icmp_error(f.data(), info, t, layout, admin_prohibited(info.family));
    return f;
}

TEST(Answer, AResetContinuesTheNumbersOfWhatItAnswers) {
    for (const Flow& f : {kFlow4, kFlow6}) {
        const Frame syn =
            reset_of(tcp(f, {.flags = tcp_flag::syn, .seq = 1000, .options = {2, 4, 5, 0xb4}}));
        const PacketInfo of_syn = parse(syn);
        const std::uint8_t* header = syn.data() + of_syn.l4_off;
        EXPECT_EQ(of_syn.why, DropReason::none);
        EXPECT_EQ(tuple(syn).src, f.dst);
        EXPECT_EQ(tuple(syn).sport.host(), f.dport);
        EXPECT_EQ(of_syn.tcp_flags, tcp_flag::rst | tcp_flag::ack);
        EXPECT_EQ(wire::be32(header + 4), 0u);
        EXPECT_EQ(wire::be32(header + 8), 1001u);
        EXPECT_TRUE(checksums_right(syn));

        const Frame data = reset_of(
            tcp(f, {.flags = tcp_flag::ack, .seq = 5, .ack = 0xdeadbeef, .payload = "hello"}));
        EXPECT_EQ(parse(data).tcp_flags, tcp_flag::rst);
        EXPECT_EQ(wire::be32(data.data() + parse(data).l4_off + 4), 0xdeadbeefu);
        EXPECT_EQ(parse(data).pay_len, 0);
        EXPECT_TRUE(checksums_right(data));

        const Frame fin = reset_of(tcp(f, {.flags = tcp_flag::fin, .seq = 7, .payload = "abc"}));
        EXPECT_EQ(wire::be32(fin.data() + parse(fin).l4_off + 8), 7u + 3 + 1);
    }
}

TEST(Answer, AnErrorQuotesWhatItIsAbout) {
    const std::string text(3000, 'x');
    for (const Flow& f : {kFlow4, kFlow6}) {
        for (const std::size_t bytes : {std::size_t{0}, std::size_t{3}, std::size_t{3000}}) {
            const Frame about = udp(f, std::string_view(text).substr(0, bytes));
            const Frame error = error_of(about);
            const PacketInfo info = parse(error);
            EXPECT_EQ(info.why, DropReason::none);
            EXPECT_EQ(info.kind, L4Kind::icmp_error);
            EXPECT_EQ(tuple(error), tuple(about).reversed()) << "of the connection it is about";
            EXPECT_TRUE(checksums_right(error)) << bytes;
            const bool v4 = f.src.family == Family::ipv4;
            EXPECT_EQ(error[info.l4_off], v4 ? 3 : 1);
            EXPECT_EQ(error[info.l4_off + 1], v4 ? 13 : 1);
            const std::size_t quoted = error.size() - info.l4_off - 8;
            EXPECT_EQ(quoted, v4 ? 28 : std::min<std::size_t>(about.size() - kEth, 1232));
            EXPECT_EQ(std::memcmp(&error[info.pay_off], &about[kEth], quoted), 0);
        }
    }
}

TEST(Answer, TagsStay) {
    const Frame error = error_of(wrap_vlan(udp(kFlow4, "hello"), 5));
    EXPECT_EQ(parse(error).vlan, 5);
    EXPECT_EQ(parse(error).kind, L4Kind::icmp_error);
}

TEST(Answer, SomePacketsAreNeverAnswered) {
    const auto answerable = [](const Frame& f) { return is_answerable(parse(f), f.data()); };
    EXPECT_TRUE(answerable(tcp(kFlow4, {.flags = tcp_flag::syn})));
    EXPECT_FALSE(answerable(tcp(kFlow4, {.flags = tcp_flag::rst})));
    EXPECT_TRUE(answerable(udp(kFlow6)));
    EXPECT_TRUE(answerable(echo(kFlow4, true, 1)));
    EXPECT_FALSE(answerable(unreachable(kFlow4.dst, kFlow4.src, udp(kFlow4))));
    Frame group = udp(kFlow4);
    group[0] |= 1;
    EXPECT_FALSE(answerable(group));
    for (const char* host : {"192.0.2.1", "2001:db8::1", "fe80::1"})
        EXPECT_TRUE(is_host(*IpAddr::parse(host))) << host;
    for (const char* none : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1",
                             "::", "::1", "ff02::1", "::ffff:192.0.2.1"})
        EXPECT_FALSE(is_host(*IpAddr::parse(none))) << none;
}

TEST(Answer, MacAddressesTurnRound) {
    std::uint8_t frame[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    swap_macs(frame);
    const std::uint8_t turned[12] = {7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6};
    EXPECT_EQ(std::memcmp(frame, turned, sizeof frame), 0);
}

TEST(Checksum, AnyLengthAndBeginning) {
    // RFC 1071 section 3: 00 01 f2 03 f4 f5 f6 f7 add up to ddf2.
    std::uint8_t bytes[9] = {0xff, 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    const std::uint16_t sum = finish_sum(add_to_sum(0, bytes + 1, 8));
    std::uint8_t stored[2];
    wire::put_raw16(stored, sum);
    EXPECT_EQ(wire::be16(stored), 0x220d);
    EXPECT_EQ(
        finish_sum(add_to_sum(0, bytes + 1, 7)),
        finish_sum(add_to_sum(
            0, reinterpret_cast<const std::uint8_t*>("\x00\x01\xf2\x03\xf4\xf5\xf6\x00"), 8)));
}

}  // namespace
}  // namespace postern
