// SPDX-License-Identifier: BSD-3-Clause
// parse_packet(): what it finds in each kind of frame, and that it never reads beyond one.
#include <algorithm>
#include <bit>
#include <memory>
#include <set>

#include <gtest/gtest.h>
#include <rte_thash.h>

#include "net/ipv6.h"
#include "net/packet.h"
#include "net/rss.h"
#include "support/frames.h"

namespace postern {
namespace {

using namespace frames;

const HashSecret kSecret = HashSecret::from_seed(3);
const SymmetricRss kRss = SymmetricRss::draw(3);
/// What chooses the worker; null: the secret.
const SymmetricRss* steering = &kRss;
/// Runs a part of a test with either.
template <class Part>
void steered_by_both(Part&& part) {
    for (const SymmetricRss* by : {&kRss, static_cast<const SymmetricRss*>(nullptr)}) {
        SCOPED_TRACE(by != nullptr ? "rss" : "keyed");
        steering = by;
        part();
    }
    steering = &kRss;
}

/// From a heap buffer of exactly the frame's size, so that AddressSanitizer sees a byte too many.
PacketInfo parse(const Frame& f, std::size_t len, std::size_t frame_len, std::uint16_t zone = 0) {
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[len]);
    std::copy_n(f.begin(), len, exact.get());
    PacketInfo info{};
    parse_packet(exact.get(), static_cast<std::uint32_t>(len),
                 static_cast<std::uint32_t>(frame_len), {&kSecret, CtZone{zone}, nullptr, steering},
                 info);
    const auto tuple = tuple_of(exact.get(), info);  // whatever it is: nothing beyond is read
    EXPECT_EQ(tuple.has_value(), info.kind != L4Kind::unparsed);
    if (info.family == Family::none) {
        EXPECT_FALSE(tuple);
    } else if (info.why == DropReason::none) {
        EXPECT_TRUE(tuple);
    }
    return info;
}
PacketInfo parse(const Frame& f, std::uint16_t zone = 0) {
    return parse(f, f.size(), f.size(), zone);
}

const Flow kFlow4 = flow("10.0.0.1", 1024, "192.0.2.9", 80);
const Flow kFlow6 = flow("2001:db8::1", 1024, "2001:db8:1::9", 80);

std::vector<Frame> samples() {
    std::vector<Frame> out;
    for (const Flow& f : {kFlow4, kFlow6}) {
        const Frame syn = tcp(f, {.flags = tcp_flag::syn, .options = {2, 4, 5, 180, 3, 3, 7, 0}});
        out.push_back(syn);
        out.push_back(udp(f, "some payload"));
        out.push_back(echo(f, true, 5));
        out.push_back(unreachable(f.dst, f.src, syn));
        // RFC 792: the header and eight bytes.
        const std::size_t head = (f.src.family == Family::ipv4 ? 20 : 40) + 8;
        out.push_back(unreachable(f.dst, f.src, udp(f, "more"), head));
        out.push_back(ip(f.src, f.dst, proto::gre, Frame(12, 0)));
        out.push_back(gre_call(f.src, f.dst, 7));
        out.push_back(unreachable(f.dst, f.src, gre_call(f.src, f.dst, 7), head));
        out.push_back(wrap_vlan(syn, 5));
        out.push_back(wrap_vlan(wrap_vlan(syn, 5), 6, 0x88a8));
    }
    const Frame fragment_header{0, 0, 0, 0, 0, 0, 0, 9};
    out.push_back(wrap_extensions(
        udp(kFlow6), {{0, Frame(8)}, {43, Frame{0, 0, 4, 0, 0, 0, 0, 0}}, {60, Frame(8)}}));
    out.push_back(wrap_extensions(udp(kFlow6), {{44, fragment_header}, {51, Frame(12, 1)}}));
    return out;
}

TEST(Parse, NeverReadsBeyondTheFrameWhereverItEnds) {
    for (const Frame& f : samples()) {
        EXPECT_EQ(parse(f).why, DropReason::none);
        for (std::size_t len = 0; len < f.size(); ++len) {
            (void)parse(f, len, len);       // the frame ends here
            (void)parse(f, len, f.size());  // only its first segment does
            if (len > 0 && len < f.size() - 1) {
                EXPECT_NE(parse(f, len, len).why, DropReason::none) << len << " of " << f.size();
            }
        }
    }
}

TEST(Parse, NeverReadsBeyondTheFrameWhateverIsInIt) {
    std::uint32_t x = 1;
    const auto random = [&] { return x = x * 1664525 + 1013904223, x >> 8; };
    for (const Frame& f : samples())
        for (int round = 0; round < 2000; ++round) {
            Frame bad = f;
            for (unsigned n = random() % 4; n < 4; ++n)
                bad[random() % bad.size()] = static_cast<std::uint8_t>(random());
            const std::size_t len = random() % 2 ? bad.size() : random() % (bad.size() + 1);
            (void)parse(bad, len, bad.size());
        }
}

TEST(Parse, FindsWhereThingsAre) {
    const PacketInfo t =
        parse(tcp(kFlow4, {.flags = tcp_flag::ack, .options = {1, 1, 1, 1}, .payload = "hello"}));
    EXPECT_EQ(t.kind, L4Kind::tcp);
    EXPECT_EQ(t.l3_off, 14);
    EXPECT_EQ(t.l4_off, 34);
    EXPECT_EQ(t.l4_len, 29);
    EXPECT_EQ(t.pay_off, 58);
    EXPECT_EQ(t.pay_len, 5);
    EXPECT_EQ(t.vlan, 0);
    EXPECT_EQ(t.ethertype, 0x0800);
    const PacketInfo u = parse(udp(kFlow6, "hello"));
    EXPECT_EQ(u.kind, L4Kind::ports);
    EXPECT_EQ(u.l4_off, 54);
    EXPECT_EQ(u.pay_off, 62);
    EXPECT_EQ(u.pay_len, 5);
}

TEST(Parse, TagsMoveEverythingAndChangeNothing) {
    const Frame plain = udp(kFlow4, "x");
    const PacketInfo a = parse(plain), b = parse(wrap_vlan(plain, 0x2005)),
                     c = parse(wrap_vlan(wrap_vlan(plain, 5), 6, 0x88a8));
    EXPECT_EQ(b.vlan, 0x2005);
    EXPECT_EQ(b.l3_off, 18);
    EXPECT_EQ(c.vlan, 6);
    EXPECT_EQ(c.l3_off, 22);
    EXPECT_EQ(a.key, b.key);
    EXPECT_EQ(a.key, c.key);
    EXPECT_EQ(a.rss, c.rss);
}

TEST(Parse, ExtensionHeadersAreSkipped) {
    const Frame plain = udp(kFlow6, "x");
    const PacketInfo a = parse(plain), b = parse(samples()[samples().size() - 2]);
    EXPECT_EQ(b.why, DropReason::none);
    EXPECT_EQ(b.protocol, proto::udp);
    EXPECT_EQ(b.l4_off, a.l4_off + 24);
    EXPECT_EQ(parse(wrap_extensions(plain, {{60, Frame(8)}})).key, a.key);
    EXPECT_EQ(parse(wrap_extensions(plain, std::vector<Extension>(30, {60, Frame(8)}))).why,
              DropReason::bad_ext_header);
}

TEST(Parse, BothDirectionsHaveOneKeyAndOneHomeAndOtherEndsHaveOthers) {
    // Of these, half of the addresses is the same, or greater where the other is less.
    const Flow network = flow("2001:db8::1", 1024, "2001:db8::9", 80);
    const Flow host = flow("2001:db8::1", 1024, "2001:db8:1::1", 80);
    const Flow crossed = flow("2001:db8:2::1", 1024, "2001:db8:1::9", 80);
    const auto all = {kFlow4, kFlow6, kFlow4.back(), kFlow6.back(), network, host, crossed};
    steered_by_both([&] {
        for (const Flow& f : all) {
            const PacketInfo a = parse(udp(f));
            EXPECT_EQ(parse(udp(f.back())).rss, a.rss);
            EXPECT_EQ(parse(wrap_vlan(udp(f), 0)).rss, a.rss);
            EXPECT_EQ(parse(unreachable(f.dst, f.src, udp(f))).rss, a.rss);
            EXPECT_EQ(parse(echo(f, true, 5)).rss, parse(echo(f.back(), false, 5)).rss);
        }
    });
    for (const Flow& f : all) {
        const PacketInfo a = parse(udp(f)), b = parse(udp(f.back()));
        EXPECT_EQ(a.key, b.key);
        EXPECT_EQ(a.hash, b.hash);
        EXPECT_EQ(a.hash, hash_of(a.key, kSecret));
        for (const Flow& way : {f, f.back()}) {  // a tag takes it the general way
            const PacketInfo tagged = parse(wrap_vlan(udp(way), 0));
            EXPECT_EQ(tagged.key, a.key);
            EXPECT_EQ(tagged.hash, a.hash);
            EXPECT_EQ(tagged.swapped, parse(udp(way)).swapped);
        }
        EXPECT_NE(a.swapped, b.swapped);
        Flow other = f;
        ++other.sport;
        EXPECT_FALSE(parse(udp(other)).key == a.key);
        EXPECT_FALSE(parse(tcp(f, {.flags = tcp_flag::syn})).key == a.key);
        EXPECT_FALSE(parse(udp(f), 1).key == a.key);
        EXPECT_NE(parse(udp(f), 1).hash, a.hash);
        const PacketInfo error = parse(unreachable(f.dst, f.src, udp(f)));
        EXPECT_EQ(error.kind, L4Kind::icmp_error);
        EXPECT_EQ(error.key, a.key);
    }
}

TEST(Parse, FragmentsOfADatagramMeet) {
    steered_by_both([&] {
        Frame first = udp(kFlow4, "0123456789");
        Frame last = first;
        first[14 + 6] |= 0x20;  // more follow
        last[14 + 7] = 1;
        ASSERT_TRUE(parse(first).fragment && parse(last).fragment);
        EXPECT_EQ(parse(first).rss, parse(last).rss);
        // RFC 8200 section 4.5: only the first one's next header counts.
        Frame first6 = wrap_extensions(udp(kFlow6), {{44, {0, 0, 0, 1, 0, 0, 0, 9}}});
        Frame last6 = first6;
        last6[14 + 40 + 3] = 8;
        last6[14 + 40] = proto::tcp;
        ASSERT_TRUE(parse(first6).fragment && parse(last6).fragment);
        EXPECT_EQ(parse(first6).rss, parse(last6).rss);
    });
}

TEST(Parse, AConnectionIsSteeredAsItsPackets) {
    steered_by_both([] {
        for (const Frame& f : samples()) {
            const PacketInfo info = parse(f);
            if (info.why != DropReason::none || info.fragment || info.kind == L4Kind::icmp_error)
                continue;
            EXPECT_EQ(steering_hash(*tuple_of(f.data(), info), info.key_class,
                                    {&kSecret, CtZone{}, nullptr, steering}),
                      info.rss);
        }
    });
}

TEST(Parse, AGreCallHasAKeyForEachDirection) {
    steered_by_both([] {
        for (const Flow& f : {kFlow4, kFlow6, kFlow4.back(), kFlow6.back()}) {
            // One home for both, for those without calls, and for errors.
            const PacketInfo a = parse(gre_call(f.src, f.dst, 7));
            EXPECT_EQ(parse(gre_call(f.dst, f.src, 9)).rss, a.rss);
            EXPECT_EQ(parse(ip(f.src, f.dst, proto::gre, Frame(12, 0))).rss, a.rss);
            EXPECT_EQ(parse(unreachable(f.dst, f.src, gre_call(f.src, f.dst, 7))).rss, a.rss);
        }
    });
    for (const Flow& f : {kFlow4, kFlow6, kFlow4.back(), kFlow6.back()}) {
        const PacketInfo a = parse(gre_call(f.src, f.dst, 7)), b = parse(gre_call(f.dst, f.src, 7));
        EXPECT_EQ(a.kind, L4Kind::gre_call);
        EXPECT_EQ(a.pay_len, 3);
        EXPECT_FALSE(a.key == b.key);
        EXPECT_NE(a.swapped, b.swapped);
        EXPECT_FALSE(parse(gre_call(f.src, f.dst, 8)).key == a.key);
        EXPECT_FALSE(parse(ip(f.src, f.dst, proto::gre, Frame(12, 0))).key ==
                     parse(gre_call(f.src, f.dst, 0)).key);
        // make_key() of the packet's tuple is the same; of the answer's, the answer's.
        const Tuple tuple{f.src, f.dst, Be16::from_host(9), Be16::from_host(7), proto::gre};
        bool swapped;
        EXPECT_EQ(make_key(tuple, CtZone{}, kSecret, swapped, kGreCall), a.key);
        EXPECT_EQ(swapped, a.swapped);
        EXPECT_EQ(make_key(tuple.reversed(), CtZone{}, kSecret, swapped, kGreCall),
                  parse(gre_call(f.dst, f.src, 9)).key);
        // An error speaks of the packet it carries, and goes the other way.
        const PacketInfo error = parse(unreachable(f.dst, f.src, gre_call(f.src, f.dst, 7)));
        EXPECT_EQ(error.key, a.key);
        EXPECT_NE(error.swapped, a.swapped);
    }
}

TEST(Parse, GreHeadersThatPptpNeverSendsAreNamed) {
    const Frame good = gre_call(kFlow4.src, kFlow4.dst, 7);
    const auto with = [&](unsigned at, unsigned value) {
        Frame f = good;
        f[34 + at] = static_cast<std::uint8_t>(value);
        return parse(f).why;
    };
    EXPECT_EQ(with(0, 0x30), DropReason::none);
    for (const unsigned byte0 : {0x10u, 0xb0u, 0x70u, 0x38u, 0x31u})  // K gone; C, R, s, recursion
        EXPECT_EQ(with(0, byte0), DropReason::bad_gre) << byte0;
    EXPECT_EQ(with(1, 0xc1), DropReason::bad_gre);  // a flag
    EXPECT_EQ(with(2, 0x08), DropReason::bad_gre);  // not PPP
    EXPECT_EQ(with(5, 4), DropReason::bad_l4_length);
    EXPECT_EQ(with(0, 0x20), DropReason::none);  // an acknowledgement alone, whatever its length
    for (const unsigned version : {0u, 2u, 7u})
        EXPECT_EQ(with(1, version), DropReason::none) << version;
    // What the flags say must be there.
    const Frame head(good.begin() + 34, good.begin() + 34 + 12);
    EXPECT_EQ(parse(ip(kFlow4.src, kFlow4.dst, proto::gre, head)).why, DropReason::truncated_l4);
    EXPECT_EQ(parse(ip(kFlow4.src, kFlow4.dst, proto::gre, Frame(3))).why,
              DropReason::truncated_l4);
}

TEST(Parse, FlagsThatNoStackSendsAreNamed) {
    using namespace tcp_flag;
    for (const unsigned flags : {0u, unsigned{fin}, unsigned{syn | fin}, unsigned{syn | rst},
                                 unsigned{fin | rst | ack}, unsigned{fin | psh | urg}})
        EXPECT_EQ(parse(tcp(kFlow4, {.flags = static_cast<std::uint8_t>(flags)})).why,
                  DropReason::bad_tcp_flags)
            << flags;
    for (const unsigned flags : {unsigned{syn}, unsigned{syn | ack}, unsigned{ack},
                                 unsigned{ack | psh}, unsigned{fin | ack}, unsigned{rst}, 0xc2u})
        EXPECT_EQ(parse(tcp(kFlow4, {.flags = static_cast<std::uint8_t>(flags)})).why,
                  DropReason::none)
            << flags;
}

struct OptionRow {
    Frame options;
    DropReason why;
    bool scale_limited = false;
};

// Each row by both families, and tagged, which is the general way.
TEST(Parse, TcpOptionsThatCannotBeAreNamed) {
    constexpr auto kSound = DropReason::none, kLength = DropReason::tcp_option_length,
                   kCut = DropReason::tcp_option_cut, kBad = DropReason::tcp_option_bad;
    const OptionRow rows[] = {
        {{}, kSound},
        {{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 14}, kSound},
        {{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, kSound},
        {{0, 3, 0, 99}, kSound},   // what follows the end is nothing
        {{254, 4, 1, 2}, kSound},  // an experiment (RFC 6994)
        {{34, 2, 1, 1}, kSound},   // a request for a Fast Open cookie (RFC 7413)
        {{3, 0, 7, 0}, kLength},
        {{1, 1, 254, 1}, kLength},
        {{1, 1, 1, 254}, kCut},  // no room for its length
        {{1, 1, 254, 3}, kCut},
        {{254, 255, 1, 1}, kCut},
        {{1, 1, 8, 10, 0, 0, 0, 1}, kCut},
        {{2, 3, 5, 1}, kBad},
        {{2, 6, 5, 180, 0, 0, 1, 1}, kBad},
        {{3, 2, 1, 1}, kBad},
        {{3, 4, 7, 7}, kBad},
        {{4, 3, 0, 1}, kBad},
        {{8, 4, 1, 1}, kBad},
        {{1, 1, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2}, kBad},
        {{1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2}, kSound},
        {{1, 1, 5, 2}, kBad},
        {{1, 1, 5, 6, 0, 0, 0, 1}, kBad},
        {{1, 3, 3, 15}, kSound, true},  // RFC 7323 section 2.3
        {{1, 3, 3, 255}, kSound, true},
        {{3, 3, 15, 3, 3, 7, 1, 1}, kSound, true},
        {{2, 2, 1, 3, 3, 7, 254, 1}, kLength},  // one that cannot be read goes before a bad one
    };
    for (const Flow& f : {kFlow4, kFlow6}) {
        for (const OptionRow& row : rows) {
            for (const std::uint8_t flags : {tcp_flag::syn, tcp_flag::ack}) {
                SCOPED_TRACE(::testing::PrintToString(row.options));
                const Frame frame = tcp(f, {.flags = flags, .options = row.options});
                for (const PacketInfo& info : {parse(frame), parse(wrap_vlan(frame, 5))}) {
                    EXPECT_EQ(to_string(info.why), to_string(row.why));
                    // In any other segment the option means nothing.
                    EXPECT_EQ((info.tcp_options & tcp_offer::limited) != 0,
                              row.scale_limited && flags == tcp_flag::syn);
                }
            }
        }
    }
    // Flags that cannot be are said first; a header of less than its 20 bytes has no options.
    EXPECT_EQ(parse(tcp(kFlow4, {.flags = 0, .options = {3, 0, 7, 0}})).why,
              DropReason::bad_tcp_flags);
    Frame shorter = tcp(kFlow4, {.flags = tcp_flag::syn, .options = {1, 1, 1, 1}});
    shorter[kEth + 20 + 12] = 4 << 4;
    EXPECT_EQ(parse(shorter).why, DropReason::bad_l4_length);
}

// The tracker reads no options of its own. Plain and tagged again.
TEST(Parse, WhatTcpOptionsOfferAndAcknowledgeIsForTheTracker) {
    using namespace tcp_offer;
    const auto sack_block = [](std::uint8_t from, std::uint8_t to) {
        return Frame{5, 10, 0, 0, 0, from, 0, 0, 0, to};
    };
    const auto both = [](Frame a, const Frame& b) {
        a.insert(a.end(), b.begin(), b.end());
        return a;
    };
    struct Row {
        Frame options;
        unsigned of_syn, of_ack;  ///< which acknowledges 100
    };
    const Row rows[] = {
        {{}, 0, 0},
        {{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, 0, 0},
        {{1, 3, 3, 0}, window_scale, 0},
        {{1, 3, 3, 14}, window_scale | 14, 0},
        {{1, 3, 3, 200}, window_scale | limited | 14, 0},
        {{1, 1, 4, 2}, sack, 0},
        {{1, 1, 4, 2, 1, 3, 3, 7}, sack | window_scale | 7, 0},
        {{3, 3, 15, 3, 3, 7, 1, 1}, window_scale | limited | 7, 0},  // the last one counts
        {{0, 3, 3, 7}, 0, 0},
        {both({1, 1}, sack_block(90, 150)), 0, 28},
        {both({1, 1}, sack_block(50, 100)), 0, 0},  // nothing beyond the acknowledgement
        {{5, 26, 0, 0,   0, 110, 0, 0,   0, 120, 0, 0,   0, 150,
          0, 0,  0, 170, 0, 0,   0, 130, 0, 0,   0, 140, 1, 1},
         0,
         34},
        {both(both({1, 1}, sack_block(110, 120)), both({1, 1}, sack_block(110, 130))), 0, 40},
        {both(both({1, 1}, sack_block(110, 130)), both({1, 1}, sack_block(110, 120))), 0, 28},
    };
    for (const Flow& f : {kFlow4, kFlow6}) {
        for (const Row& row : rows) {
            SCOPED_TRACE(::testing::PrintToString(row.options));
            const auto check = [&](std::uint8_t flags, unsigned want) {
                const Frame frame = tcp(f, {.flags = flags, .ack = 100, .options = row.options});
                for (const PacketInfo& info : {parse(frame), parse(wrap_vlan(frame, 5))})
                    EXPECT_EQ(info.tcp_options, want);
            };
            check(tcp_flag::syn, row.of_syn);
            check(tcp_flag::syn | tcp_flag::ack, row.of_syn);
            check(tcp_flag::ack, row.of_ack);
            check(tcp_flag::ack | tcp_flag::fin, row.of_ack);
        }
    }
    EXPECT_EQ(parse(udp(kFlow4)).tcp_options, 0);
    // An error is no segment, whatever it carries.
    EXPECT_EQ(parse(unreachable(kFlow4.dst, kFlow4.src,
                                tcp(kFlow4, {.flags = tcp_flag::syn, .options = {1, 3, 3, 7}})))
                  .tcp_options,
              0);
}

/// The IPv4 frame with options, padded with zeros, between its IP header and what follows.
Frame with_ip_options(Frame frame, Frame options) {
    options.resize((options.size() + 3) / 4 * 4);
    frame.insert(frame.begin() + kEth + 20, options.begin(), options.end());
    frame[kEth] = static_cast<std::uint8_t>(0x45 + options.size() / 4);
    frame[kEth + 3] = static_cast<std::uint8_t>(frame.size() - kEth);
    return frame;
}

TEST(Parse, IpOptionsThatCannotBeAreNamed) {
    constexpr auto kSound = DropReason::none, kLength = DropReason::ip_option_length,
                   kCut = DropReason::ip_option_cut, kBad = DropReason::ip_option_bad,
                   kRoute = DropReason::ip_source_route;
    const OptionRow rows[] = {
        {{1, 1, 1, 0}, kSound},
        {{0, 7, 0, 99}, kSound},
        {{7, 7, 4, 0, 0, 0, 0}, kSound},     // record route, RFC 791 section 3.1
        {{131, 7, 8, 10, 0, 0, 1}, kRoute},  // also when it is used up
        {{131, 7, 4, 10, 0, 0, 1}, kRoute},
        {{1, 137, 7, 4, 10, 0, 0, 1}, kRoute},
        {{148, 4, 0, 0, 131, 7, 4, 10, 0, 0, 1}, kRoute},
        {{0, 131, 3, 4}, kSound},             // behind the end of the options
        {{68, 8, 5, 0, 0, 0, 0, 0}, kSound},  // timestamps
        {{148, 4, 0, 0}, kSound},             // router alert, RFC 2113
        {{130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0}, kSound},
        {{7, 0, 4, 0}, kLength},
        {{1, 1, 130, 1}, kLength},
        {{1, 1, 1, 7}, kCut},
        {{7, 11, 4, 0, 0, 0, 0}, kCut},
        {{7, 2, 0, 0}, kBad},
        {{7, 7, 3, 0, 0, 0, 0}, kBad},
        {{137, 3, 0}, kRoute},
        {{131, 3, 0}, kRoute},
        {{68, 4, 4, 0}, kBad},
        {{68, 3, 5}, kBad},
        {{148, 3, 0}, kBad},
    };
    for (const OptionRow& row : rows) {
        SCOPED_TRACE(::testing::PrintToString(row.options));
        for (const Frame& plain :
             {udp(kFlow4, "x"), tcp(kFlow4, {.flags = tcp_flag::syn}), echo(kFlow4, true, 1)}) {
            const Frame frame = with_ip_options(plain, row.options);
            EXPECT_EQ(to_string(parse(frame).why), to_string(row.why));
            EXPECT_EQ(to_string(parse(wrap_vlan(frame, 5)).why), to_string(row.why));
        }
    }
    // In a fragment, too. Of a packet in an ICMP error they are nobody's business.
    EXPECT_EQ(
        parse(with_ip_options(fragment(udp(kFlow4, "1234567890"), 8, 8, false, 1), {7, 0, 4, 0}))
            .why,
        kLength);
    EXPECT_EQ(
        parse(unreachable(kFlow4.dst, kFlow4.src, with_ip_options(udp(kFlow4), {7, 0, 4, 0}))).why,
        kSound);
}

// RFC 8200 section 4.2. Rows are what follows a header's own two bytes.
TEST(Parse, Ip6OptionsThatGoBeyondTheirHeaderAreNamed) {
    constexpr auto kSound = DropReason::none, kCut = DropReason::ip6_option_cut;
    const OptionRow rows[] = {
        {{0, 0, 0, 0, 0, 0}, kSound},  // six of the padding that has no length
        {{1, 4, 0, 0, 0, 0}, kSound},  // padding to the end
        {{5, 2, 0, 0, 1, 0}, kSound},  // router alert (RFC 2711), padding of two
        {{0, 0, 0, 0, 1, 0}, kSound},
        {{0xc2, 4, 0, 1, 0, 0}, kSound},  // a jumbogram's, which is somebody else's matter
        {{30, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, kSound},  // unknown
        {{1, 5, 0, 0, 0, 0}, kCut},
        {{0, 0, 0, 0, 0, 1}, kCut},  // no room for its length
        {{0, 0, 0, 0, 5, 1}, kCut},
        {{30, 255, 0, 0, 0, 0}, kCut},
        {{5, 2, 0, 0, 1, 1}, kCut},
        {{30, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, kCut},
        {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, kCut},
    };
    const Frame sound(8);
    for (const OptionRow& row : rows) {
        SCOPED_TRACE(::testing::PrintToString(row.options));
        Frame header{0, static_cast<std::uint8_t>(row.options.size() / 8)};
        header.insert(header.end(), row.options.begin(), row.options.end());
        for (const Frame& plain :
             {udp(kFlow6, "x"), tcp(kFlow6, {.flags = tcp_flag::syn}), echo(kFlow6, true, 1)}) {
            const auto why = [&](const std::vector<Extension>& extensions) {
                const Frame frame = wrap_extensions(plain, extensions);
                EXPECT_EQ(parse(frame).l4_off, frame.size() - (plain.size() - kEth - 40));
                EXPECT_EQ(parse(frame).why, parse(wrap_vlan(frame, 5)).why);
                return to_string(parse(frame).why);
            };
            EXPECT_EQ(why({{0, header}}), to_string(row.why));
            EXPECT_EQ(why({{60, header}}), to_string(row.why));
            EXPECT_EQ(why({{0, sound}, {51, Frame(12, 1)}, {60, header}}), to_string(row.why));
            Frame routing = header;
            routing[2] = 4;
            routing[3] = 0;
            EXPECT_EQ(why({{60, header}, {43, routing}, {60, sound}}), to_string(row.why));
            // Other headers have none; nor has what a fragment carries after its first.
            EXPECT_EQ(why({{43, routing}}), to_string(kSound));
        }
    }
    const Frame bad{0, 0, 1, 5, 0, 0, 0, 0}, whole = wrap_extensions(udp(kFlow6, "x"), {{60, bad}});
    const Frame later{0, 0, 0, 8, 0, 0, 0, 9};
    EXPECT_EQ(parse(wrap_extensions(udp(kFlow6, "x"), {{0, bad}, {44, later}})).why, kCut);
    EXPECT_EQ(parse(wrap_extensions(whole, {{44, later}})).why, kSound);
    // Another reason is said first. Of a packet in an ICMP error they are nobody's business.
    EXPECT_EQ(parse(wrap_extensions(tcp(kFlow6, {}), {{60, bad}})).why, DropReason::bad_tcp_flags);
    EXPECT_EQ(parse(unreachable(kFlow6.dst, kFlow6.src, whole)).why, kSound);
}

// Rules see the address of the next segment; RFC 5095, RFC 6275, RFC 8754.
TEST(Parse, RoutingHeadersOfTypesThatAreNotAllowedAreNamed) {
    constexpr std::uint8_t kMobile = ipv6_routing::bit(2), kSegments = ipv6_routing::bit(4);
    const auto why = [](std::uint8_t type, std::uint8_t left, std::uint8_t allowed) {
        Frame header(24);
        header[1] = 2, header[2] = type, header[3] = left;
        std::string found;
        for (const auto& chain : {std::vector<Extension>{{43, header}},
                                  {{60, Frame(8)}, {43, header}, {60, Frame(8)}},
                                  {{43, header}, {44, Frame{0, 0, 0, 1, 0, 0, 0, 9}}},
                                  {{44, Frame(8)}, {43, header}}}) {
            const Frame f = wrap_extensions(tcp(kFlow6, {.flags = tcp_flag::syn}), chain);
            PacketInfo info{};
            const auto n = static_cast<std::uint32_t>(f.size());
            parse_packet(f.data(), n, n,
                         {.secret = &kSecret, .ct_zone = CtZone{}, .routing_headers = allowed},
                         info);
            if (!found.empty()) {
                EXPECT_EQ(found, to_string(info.why));
            }
            found = to_string(info.why);
        }
        return found;
    };
    const auto all = static_cast<std::uint8_t>(kMobile | kSegments);
    EXPECT_EQ(why(0, 1, all), "ip6_source_route");
    EXPECT_EQ(why(0, 0, all), "ip6_source_route");
    EXPECT_EQ(why(2, 1, 0), "ip6_routing_header");
    EXPECT_EQ(why(2, 1, kSegments), "ip6_routing_header");
    EXPECT_EQ(why(2, 1, kMobile), "none");
    EXPECT_EQ(why(4, 2, kMobile), "ip6_routing_header");
    EXPECT_EQ(why(4, 2, kSegments), "none");
    EXPECT_EQ(why(4, 0, 0), "none") << "it routes nothing";
    for (unsigned type = 1; type < 256; ++type) {
        if (type == 2 || type == 4) continue;
        EXPECT_EQ(why(static_cast<std::uint8_t>(type), 1, 0xff), "ip6_routing_header") << type;
        EXPECT_EQ(why(static_cast<std::uint8_t>(type), 0, 0), "none") << type;
    }
    // Of a packet in an ICMP error it is nobody's business.
    const Frame routed = wrap_extensions(udp(kFlow6), {{43, Frame{0, 0, 0, 1, 0, 0, 0, 0}}});
    EXPECT_EQ(parse(routed).why, DropReason::ip6_source_route);
    EXPECT_EQ(parse(unreachable(kFlow6.dst, kFlow6.src, routed)).why, DropReason::none);
}

TEST(Parse, MobilityHipAndShim6EndTheChain) {
    for (const unsigned number : {135u, 139u, 140u}) {
        const auto protocol = static_cast<std::uint8_t>(number);
        const Frame frame = wrap_extensions(udp(kFlow6), {{protocol, Frame(8)}});
        const PacketInfo info = parse(frame);
        EXPECT_EQ(info.why, DropReason::none);
        EXPECT_EQ(info.protocol, protocol);
        EXPECT_EQ(info.kind, L4Kind::other);
        EXPECT_EQ(info.l4_off, kEth + 40u);
        const PacketInfo behind = parse(wrap_extensions(frame, {{60, Frame(8)}}));
        EXPECT_EQ(behind.protocol, protocol);
        EXPECT_EQ(behind.key, info.key);
    }
}

TEST(Parse, AnErrorGoesToTheSenderItSpeaksOf) {
    for (const Flow& f : {kFlow4, kFlow6}) {
        EXPECT_EQ(parse(unreachable(f.dst, f.src, udp(f))).why, DropReason::none);
        // The sender complains about itself; a stranger hears of it.
        EXPECT_EQ(parse(unreachable(f.src, f.dst, udp(f))).why, DropReason::bad_icmp_error);
        IpAddr stranger = f.src;
        stranger.bytes[3] ^= 1;
        EXPECT_EQ(parse(unreachable(f.dst, stranger, udp(f))).why, DropReason::bad_icmp_error);
    }
}

/// An ICMP error's quotation is what a host remembers of a packet: its lengths may be anything.
TEST(Parse, LengthsInAnErrorsQuotationAreNotLookedAt) {
    for (const Flow& f : {kFlow4, kFlow6}) {
        const bool v4 = f.src.family == Family::ipv4;
        const Frame sound = unreachable(f.dst, f.src, tcp(f, {.flags = tcp_flag::syn}));
        const FlowKey key = parse(sound).key;
        const std::size_t quoted = kEth + (v4 ? 20 : 40) + 8, length = quoted + (v4 ? 2 : 4);
        for (const unsigned value : {0u, 1u, 19u, 20u, 0x2800u, 0xffffu}) {
            Frame odd = sound;
            odd[length] = static_cast<std::uint8_t>(value >> 8);
            odd[length + 1] = static_cast<std::uint8_t>(value);
            const PacketInfo info = parse(odd);
            EXPECT_EQ(to_string(info.why), "none") << value;
            EXPECT_EQ(info.key, key);
            EXPECT_EQ(*tuple_of(odd.data(), info), *tuple_of(sound.data(), parse(sound)));
        }
    }
    // Extension headers are found all the same.
    const Frame about = wrap_extensions(udp(kFlow6), {{60, Frame(8)}});
    Frame odd = unreachable(kFlow6.dst, kFlow6.src, about);
    const FlowKey key = parse(odd).key;
    odd[kEth + 40 + 8 + 4] = odd[kEth + 40 + 8 + 5] = 0;
    EXPECT_EQ(parse(odd).why, DropReason::none);
    EXPECT_EQ(parse(odd).key, key);
    // "Do not fragment", turned around, is no offset; another word is one.
    Frame turned = unreachable(kFlow4.dst, kFlow4.src, udp(kFlow4));
    turned[kEth + 28 + 7] = 0x40;
    EXPECT_EQ(parse(turned).why, DropReason::none);
    turned[kEth + 28 + 7] = 0x41;
    EXPECT_EQ(parse(turned).why, DropReason::fragment);
    // Of a packet itself they count.
    Frame itself = udp(kFlow4);
    itself[kEth + 2] = itself[kEth + 3] = 0;
    EXPECT_EQ(parse(itself).why, DropReason::bad_ip_header);
}

TEST(Parse, RedirectsAndSourceQuenchAreNoErrors) {
    const Frame about = udp(kFlow4);
    for (const unsigned type : {3u, 4u, 5u, 11u, 12u}) {
        Frame rest{0, 0, 0, 0};
        rest.insert(rest.end(), about.begin() + kEth, about.end());
        const PacketInfo info =
            parse(icmp(kFlow4.dst, kFlow4.src, static_cast<std::uint8_t>(type), 0, rest));
        EXPECT_EQ(info.why, DropReason::none);
        const bool error = type != 4 && type != 5;
        EXPECT_EQ(info.kind, error ? L4Kind::icmp_error : L4Kind::icmp_message) << type;
        EXPECT_EQ(info.key == parse(about).key, error);
    }
    EXPECT_EQ(parse(icmp(kFlow4.src, kFlow4.dst, 9, 0, Frame(4))).kind, L4Kind::icmp_message);
    EXPECT_EQ(parse(icmp(kFlow6.src, kFlow6.dst, 148, 0, Frame(4))).kind, L4Kind::icmp_message);
    EXPECT_EQ(parse(icmp(kFlow6.src, kFlow6.dst, 4, 0, Frame(4))).why,
              DropReason::truncated_l3);  // an error without what it is about
    const PacketInfo unknown = parse(icmp(kFlow6.src, kFlow6.dst, 100, 0, Frame(4)));
    EXPECT_EQ(unknown.why, DropReason::none);
    EXPECT_EQ(unknown.kind, L4Kind::icmp_message);
    EXPECT_EQ(unknown.key, parse(icmp(kFlow6.src, kFlow6.dst, 148, 0, Frame(4))).key);
    EXPECT_EQ(unknown.pay_len, unknown.l4_len);
}

// What was not read cannot be asked for.
TEST(Parse, TheTupleIsWhatWasRead) {
    EXPECT_FALSE(tuple_of(nullptr, PacketInfo{}));
    const auto tuple = [](const Frame& f, std::size_t n) {
        const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[n]);
        std::copy_n(f.begin(), n, exact.get());
        PacketInfo info{};
        const auto size = static_cast<std::uint32_t>(n);
        parse_packet(exact.get(), size, size, {&kSecret, CtZone{}}, info);
        const auto t = tuple_of(exact.get(), info);
        return t ? t->to_string() : "nothing";
    };
    // An error that quotes an IPv6 packet up to the middle of its extension headers.
    const Frame quoted = wrap_extensions(udp(kFlow6), {{60, Frame(72, 0)}});
    Frame error = unreachable(kFlow6.dst, kFlow6.src, quoted, 44);
    EXPECT_EQ(parse(error).why, DropReason::bad_ext_header);
    EXPECT_EQ(tuple(error, error.size()),
              bare_tuple(error.data() + kEth, Family::ipv6, proto::icmpv6).to_string());
    // One that is about somebody else's packet still says which.
    error = unreachable(kFlow4.src, kFlow4.dst, udp(kFlow4));
    EXPECT_EQ(parse(error).why, DropReason::bad_icmp_error);
    EXPECT_EQ(tuple(error, error.size()),
              tuple_of(udp(kFlow4).data(), parse(udp(kFlow4)))->reversed().to_string());
    // A transport header that is cut leaves the addresses.
    Frame cut = udp(kFlow4);
    cut[kEth + 3] = 22;
    EXPECT_EQ(parse(cut).why, DropReason::truncated_l4);
    EXPECT_EQ(tuple(cut, cut.size()),
              bare_tuple(cut.data() + kEth, Family::ipv4, proto::udp).to_string());
    EXPECT_EQ(tuple(cut, kEth + 19), "nothing");
}

TEST(Parse, RareTransportsMustBeWholeAndSound) {
    const auto why = [](std::uint8_t protocol, const Frame& l4) {
        return parse(ip(kFlow4.src, kFlow4.dst, protocol, l4)).why;
    };
    for (const std::uint8_t protocol : {proto::sctp, proto::dccp}) {
        EXPECT_EQ(why(protocol, Frame(11)), DropReason::truncated_l4);
        EXPECT_EQ(why(protocol, Frame(12)), DropReason::none);
    }
    // RFC 3828 section 3.1: a coverage of 0, or at least the header.
    const auto covers = [&](std::uint8_t n) {
        return why(proto::udplite, Frame{0, 1, 0, 2, 0, n, 0, 1, 'd', 'a', 't', 'a'});
    };
    EXPECT_EQ(why(proto::udplite, Frame(7)), DropReason::truncated_l4);
    for (const std::uint8_t n : Frame{0, 8, 12})
        EXPECT_EQ(covers(n), DropReason::none) << unsigned{n};
    for (const std::uint8_t n : Frame{1, 7, 13})
        EXPECT_EQ(covers(n), DropReason::bad_l4_length) << unsigned{n};
}

TEST(Parse, ASenderThatIsItsOwnReceiverIsALand) {
    EXPECT_EQ(parse(udp(flow("10.0.0.1", 7, "10.0.0.1", 7))).why, DropReason::land);
    EXPECT_EQ(parse(udp(flow("10.0.0.1", 7, "10.0.0.1", 8))).why, DropReason::none);
    EXPECT_EQ(parse(udp(flow("2001:db8::1", 7, "2001:db8::1", 7))).why, DropReason::land);
}

/// Bit by bit: DPDK's own.
std::uint32_t reference(const std::vector<std::uint32_t>& host_words) {
    std::vector<std::uint32_t> words(host_words);
    // It reads the key as words.
    alignas(4) const auto key = kRss.key();
    return rte_softrss(words.data(), static_cast<std::uint32_t>(words.size()), key.data());
}
std::vector<std::uint32_t> words_of(const IpAddr& a) {
    std::vector<std::uint32_t> out;
    for (unsigned i = 0; i < address_bytes(a.family); i += 4)
        out.push_back(std::uint32_t{a.bytes[i]} << 24 | std::uint32_t{a.bytes[i + 1]} << 16 |
                      std::uint32_t{a.bytes[i + 2]} << 8 | a.bytes[i + 3]);
    return out;
}

TEST(Rss, IsTheToeplitzHashOfANicWithOurKey) {
    std::uint32_t x = 9;
    const auto random = [&] { return x = x * 1664525 + 1013904223, x >> 8; };
    for (int round = 0; round < 200; ++round) {
        Flow f = round % 2 ? kFlow4 : kFlow6;
        for (unsigned i = 0; i < address_bytes(f.src.family); ++i) {
            f.src.bytes[i] = static_cast<std::uint8_t>(random());
            f.dst.bytes[i] = static_cast<std::uint8_t>(random());
        }
        f.sport = static_cast<std::uint16_t>(random());
        f.dport = static_cast<std::uint16_t>(random());
        std::vector<std::uint32_t> words = words_of(f.src);
        for (const std::uint32_t w : words_of(f.dst))
            words.push_back(w);
        EXPECT_EQ(parse(ip(f.src, f.dst, 4, Frame(8))).rss, reference(words));
        words.push_back(std::uint32_t{f.sport} << 16 | f.dport);
        EXPECT_EQ(parse(udp(f)).rss, reference(words));
        EXPECT_EQ(parse(tcp(f, {.flags = tcp_flag::syn})).rss, reference(words));
    }
}

/// The distance of the code that the low bits of all hashes are: the fewest input bits that any sum
/// of output bits depends on. By the hash itself, not by how its word was chosen.
int least_taps(const SymmetricRss& rss, unsigned bits) {
    int least = 16;
    for (std::uint32_t sum = 1; sum < 1u << bits; ++sum) {
        int taps = 0;
        for (unsigned i = 0; i < 16; ++i)
            taps += std::popcount(rss.hash(static_cast<std::uint16_t>(1u << i)) & sum) & 1;
        least = std::min(least, taps);
    }
    return least;
}

TEST(Rss, KeysAreDrawnFromThoseThatMix) {
    std::set<std::uint16_t> words;
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        const SymmetricRss rss = SymmetricRss::draw(seed);
        EXPECT_GE(least_taps(rss, SymmetricRss::kUsedBits), 4);
        std::set<std::uint32_t> hashes;  // full rank: no two inputs have one hash
        for (std::uint32_t folded = 0; folded < 65536; folded += 7)
            hashes.insert(rss.hash(static_cast<std::uint16_t>(folded)));
        EXPECT_EQ(hashes.size(), 65536u / 7 + 1);
        words.insert(static_cast<std::uint16_t>(rss.key()[0] << 8 | rss.key()[1]));
    }
    EXPECT_GT(words.size(), 280u);
    // The word of many documents sends whole ranges of ports to half of the workers.
    EXPECT_FALSE(SymmetricRss::mixes_well(0x6d5a));
    EXPECT_LT(least_taps(SymmetricRss(0x6d5a), SymmetricRss::kUsedBits), 4);
}

TEST(Steering, EqualFoldsAreSpreadByTheSecret) {
    // Addresses and ports whose words have one XOR: one worker under every key of a device.
    std::set<std::uint32_t> by_rss, by_secret;
    for (unsigned i = 0; i < 256; ++i) {
        const auto both = static_cast<std::uint8_t>(i);
        const Flow f{IpAddr::v4(10, 0, 0, both), IpAddr::v4(192, 0, 2, both), 1024, 80};
        steered_by_both(
            [&] { (steering != nullptr ? by_rss : by_secret).insert(parse(udp(f)).rss % 128); });
    }
    EXPECT_EQ(by_rss.size(), 1u);
    EXPECT_GT(by_secret.size(), 90u);  // of 128, by 256 balls
}

}  // namespace
}  // namespace postern
