// SPDX-License-Identifier: BSD-3-Clause
// What belongs to a link: LLC headers and the IP that hides behind them, VLAN tags, neighbour
// discovery and multicast listeners.
#include <memory>

#include <gtest/gtest.h>

#include "net/llc.h"
#include "net/neighbour.h"
#include "net/packet.h"
#include "support/frames.h"

namespace postern {
namespace {

using namespace frames;

const HashSecret kSecret = HashSecret::from_seed(5);

/// From a heap buffer of exactly the frame's size, so that AddressSanitizer sees a byte too many.
PacketInfo parse(const Frame& f) {
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[f.size()]);
    std::copy(f.begin(), f.end(), exact.get());
    PacketInfo info{};
    const auto n = static_cast<std::uint32_t>(f.size());
    parse_packet(exact.get(), n, n, {&kSecret, CtZone{}}, info);
    return info;
}

// --- LLC ---------------------------------------------------------------------------------------

constexpr std::string_view kBridges = "0180c2000000", kPvst = "01000ccccccd", kCdp = "01000ccccccc",
                           kHost = "020000000001";

/// An 802.3 frame to a MAC address whose bytes after the length are these, then zeros.
Frame llc(std::string_view to, std::string_view header, unsigned type = 38) {
    const std::string mac = from_hex(to), bytes = from_hex(header);
    Frame f(mac.begin(), mac.end());
    f.insert(f.end(), {2, 0, 0, 0, 0, 2});
    f.push_back(static_cast<std::uint8_t>(type >> 8));
    f.push_back(static_cast<std::uint8_t>(type));
    f.insert(f.end(), bytes.begin(), bytes.end());
    f.resize(60);
    return f;
}

struct LlcRow {
    std::string_view to, header;
    DropReason why;
    unsigned ethertype = 0;  ///< that is found
};
constexpr auto kSound = DropReason::none, kIp = DropReason::snap_ip;
const LlcRow kLlcRows[] = {
    // RFC 1042, and IEEE 802.1H.
    {kHost, "aaaa030000000800", kIp},
    {kHost, "aaaa0300000086dd", kIp},
    {kHost, "aaaa030000000806", kIp},
    {kHost, "aaaa030000f80800", kIp},
    {kHost, "aaaa0300000088cc", kSound, 0x88cc},
    {kHost, "aaaa030000f88035", kSound, 0x8035},
    {kHost, "aaaa030000008847", kSound, 0x8847},
    // Hosts differ in what they look at: another control field, the lowest bits, one of the two.
    {kHost, "aaaa130000000800", kIp},
    {kHost, "abaa030000000800", kIp},
    {kHost, "aaab030000000800", kIp},
    {kHost, "aa00030000000800", kIp},
    {kHost, "aaaa00000000000800", kIp},  // two bytes of control
    // Once more wrapped.
    {kHost, "aaaa030000008100", DropReason::vlan_tags},
    {kHost, "aaaa0300000088a8", DropReason::vlan_tags},
    {kHost, "aaaa030000009100", DropReason::vlan_tags},
    {kHost, "aaaa030000008870", kSound, llc_type::other},
    {kHost, "aaaa030000000026", kSound, llc_type::other},
    // IP and ARP by access points of their own; IP by OSI's numbers.
    {kHost, "0606034500", kIp},
    {kHost, "0600034500", kIp},
    {kHost, "9898030001", kIp},
    {kHost, "fefe03cc", kIp},
    {kHost, "fefe038e", kIp},
    {kHost, "fefe03800000000800", kIp},
    // Spanning tree, to its own addresses only.
    {kBridges, "424203000000", kSound, llc_type::bpdu},
    {"0180c2000008", "424203000000", kSound, llc_type::bpdu},
    {kHost, "424203000000", kSound, llc_type::other},
    {kBridges, "4242000000000000", kSound, llc_type::other},
    {kBridges, "420003000000", kSound, llc_type::other},
    {kBridges, "aaaa030000000800", kIp},
    {kPvst, "aaaa0300000c010b", kSound, llc_type::bpdu},
    {kHost, "aaaa0300000c010b", kSound, llc_type::other},
    {kBridges, "aaaa0300000c010b", kSound, llc_type::other},
    // Its maker's other protocols, and what else there is.
    {kCdp, "aaaa0300000c2000", kSound, llc_type::cisco},
    {kHost, "aaaa0300000c2000", kSound, llc_type::other},
    {"0180c2000014", "fefe0383", kSound, llc_type::isis},
    {"09002b000005", "fefe0382", kSound, llc_type::isis},
    {"0180c2000015", "fefe0383", kSound, llc_type::isis},
    {"09002b000004", "fefe0382", kSound, llc_type::isis},
    {kHost, "fefe0383", kSound, llc_type::other},
    {kHost, "ffff0383", kSound, llc_type::other},
    {kHost, "fefe0381", kSound, llc_type::other},
    {kHost, "e0e003ffff", kSound, llc_type::other},
    {kHost, "ffff0022", kSound, llc_type::other},
    {kHost, "aaaa0300080f0800", kSound, llc_type::other},
};

TEST(Llc, IpIsFoundBehindIt) {
    for (const LlcRow& row : kLlcRows) {
        SCOPED_TRACE(std::string(row.to) + " " + std::string(row.header));
        const Frame frame = llc(row.to, row.header);
        for (const Frame& f :
             {frame, llc(row.to, row.header, 0x8870), llc(row.to, row.header, 0x05ff),
              wrap_vlan(frame, 5), wrap_vlan(wrap_vlan(frame, 5), 6, 0x88a8)}) {
            const PacketInfo info = parse(f);
            EXPECT_EQ(to_string(info.why), to_string(row.why));
            EXPECT_EQ(info.family, Family::none);
            if (row.why == kSound) {
                EXPECT_EQ(info.ethertype, row.ethertype);
            }
        }
        // Nothing beyond the frame is read; a header that is not whole is none that is known.
        for (std::size_t n = 14; n < 14 + row.header.size() / 2; ++n) {
            const PacketInfo cut = parse(Frame(frame.begin(), frame.begin() + n));
            EXPECT_TRUE(cut.why != kSound || cut.ethertype < kMinEthertype) << n;
        }
    }
}

TEST(Tags, TwoOfAnyKindAreLookedThrough) {
    const Flow flow4 = flow("10.0.0.1", 1024, "192.0.2.9", 80);
    const Frame plain = udp(flow4, "x");
    constexpr std::uint16_t kTags[] = {0x8100, 0x88a8, 0x9100, 0x9200, 0x9300};
    for (const std::uint16_t outer : kTags)
        for (const std::uint16_t inner : kTags) {
            const Frame one = wrap_vlan(plain, 7, inner), two = wrap_vlan(one, 6, outer);
            EXPECT_EQ(parse(one).key, parse(plain).key);
            EXPECT_EQ(parse(two).key, parse(plain).key);
            EXPECT_EQ(parse(two).vlan, 6);
            // A tag without an id says a priority, and hides no VLAN.
            EXPECT_EQ(parse(wrap_vlan(one, 0xa000, outer)).vlan, 7);
            EXPECT_EQ(parse(wrap_vlan(plain, 0xa000, outer)).vlan, 0xa000);
            EXPECT_EQ(parse(wrap_vlan(two, 5)).why, DropReason::vlan_tags);
            EXPECT_EQ(parse(wrap_vlan(two, 5)).kind, L4Kind::unparsed);
        }
}

// --- neighbour discovery and multicast listeners -----------------------------------------------

/// A message, and the RFC's sentence about it that it breaks.
struct Message {
    const char* what;
    const char *src, *dst;
    std::uint8_t type;
    std::string_view rest;  ///< after type, code and checksum, in hexadecimal
    std::uint8_t hop_limit = 255, code = 0;
};

constexpr const char *kLocal = "fe80::1", *kGlobal = "2001:db8::1", *kOther = "2001:db8::2",
                     *kNone = "::", *kAll = "ff02::1", *kNode = "ff02::1:ff00:2";
#define ADDRESS "20010db8000000000000000000000002"
#define LINK "fe800000000000000000000000000002"
#define GROUP "ff0200000000000000000000000000fb"
#define SOURCE "0101020000000001"

Frame make(const Message& m) {
    const std::string rest = from_hex(m.rest);
    Frame f = icmp(*IpAddr::parse(m.src), *IpAddr::parse(m.dst), m.type, m.code,
                   Frame(rest.begin(), rest.end()));
    f[kEth + 7] = m.hop_limit;
    return f;
}

TEST(Neighbour, WhatNodesSendPasses) {
    const Message messages[] = {
        {"duplicate address detection", kNone, kNode, 135, "00000000" ADDRESS},
        {"with a nonce, RFC 7527", kNone, kNode, 135, "00000000" ADDRESS "0e01000000000001"},
        {"resolution", kLocal, kNode, 135, "00000000" ADDRESS SOURCE},
        {"resolution by a global source", kGlobal, kNode, 135, "00000000" ADDRESS SOURCE},
        {"unreachability detection", kGlobal, kOther, 135, "00000000" ADDRESS},
        {"advertisement", kOther, kGlobal, 136, "60000000" ADDRESS "0201020000000002"},
        {"unsolicited", kLocal, kAll, 136, "20000000" ADDRESS "0201020000000002"},
        {"router solicitation", kLocal, "ff02::2", 133, "00000000" SOURCE},
        {"without an address", kNone, "ff02::2", 133, "00000000"},
        {"from a global one", kGlobal, "ff02::2", 133, "00000000"},
        {"router advertisement", kLocal, kAll, 134,
         "40000708"
         "0000000000000000" SOURCE "05010000000005dc"
         "030440c0000151800000384000000000"
         "20010db8000000000000000000000000"},
        {"with an unknown option", kLocal, kAll, 134,
         "400007080000000000000000"
         "fd01000000000000"},
        {"redirect", kLocal, kOther, 137, "00000000" LINK ADDRESS},
        {"to a neighbour, with what was redirected", kLocal, kOther, 137,
         "00000000" ADDRESS ADDRESS "0402000000000000"
         "6000000000003b40"},
    };
    for (const Message& m : messages)
        EXPECT_EQ(to_string(parse(make(m)).why), "none") << m.what;
}

TEST(Neighbour, WhatNoNodeOfTheLinkSendsDoesNot) {
    const Message messages[] = {
        {"crossed a router", kLocal, kNode, 135, "00000000" ADDRESS, 254},
        {"code", kLocal, kNode, 135, "00000000" ADDRESS, 255, 7},
        {"short", kLocal, kNode, 135, "00000000"},
        {"target is a group", kLocal, kNode, 135, "00000000" GROUP},
        {"source is a group", kAll, kNode, 135, "00000000" ADDRESS},
        {"option of length 0", kLocal, kNode, 135, "00000000" ADDRESS "0100020000000001"},
        {"option beyond the end", kLocal, kNode, 135, "00000000" ADDRESS "0102020000000001"},
        {"less than an option", kLocal, kNode, 135, "00000000" ADDRESS "0101"},
        {"no source, but its link", kNone, kNode, 135, "00000000" ADDRESS SOURCE},
        {"no source, to a node", kNone, kOther, 135, "00000000" ADDRESS},
        {"no source, to all", kNone, kAll, 135, "00000000" ADDRESS},
        {"advertisement of nobody", kNone, kAll, 136, "00000000" ADDRESS},
        {"solicited by all", kLocal, kAll, 136, "40000000" ADDRESS},
        {"target is a group", kLocal, kAll, 136, "00000000" GROUP},
        {"crossed a router", kLocal, kAll, 136, "00000000" ADDRESS, 64},
        {"no source, but its link", kNone, "ff02::2", 133, "00000000" SOURCE},
        {"crossed a router", kLocal, "ff02::2", 133, "00000000", 1},
        {"router of another link", kGlobal, kAll, 134, "400007080000000000000000"},
        {"router without an address", kNone, kAll, 134, "400007080000000000000000"},
        {"crossed a router", kLocal, kAll, 134, "400007080000000000000000", 33},
        {"short", kLocal, kAll, 134, "4000070800000000"},
        {"redirect of another link", kGlobal, kOther, 137, "00000000" LINK ADDRESS},
        {"to elsewhere", kLocal, kOther, 137,
         "00000000"
         "20010db8000000000000000000000099" ADDRESS},
        {"about a group", kLocal, kOther, 137, "00000000" LINK GROUP},
        {"short", kLocal, kOther, 137, "00000000" LINK},
    };
    for (const Message& m : messages)
        EXPECT_EQ(to_string(parse(make(m)).why), "nd_invalid") << m.what;
}

TEST(Neighbour, SizesAreBounded) {
    const auto with = [](std::uint8_t type, std::size_t fixed, std::size_t bytes) {
        Frame rest(bytes - 4);
        rest[0] = 0x20;
        if (type >= 135) rest[4] = 0xfe, rest[5] = 0x80;  // the target
        for (std::size_t at = fixed; at < bytes;) {
            const std::size_t n = std::min<std::size_t>((bytes - at) / 8, 255);
            rest[at - 4] = 13;
            rest[at - 3] = static_cast<std::uint8_t>(n);
            at += n * 8;
        }
        Frame f = icmp(*IpAddr::parse(kLocal), *IpAddr::parse(kAll), type, 0, rest);
        f[kEth + 7] = 255;
        return to_string(parse(f).why);
    };
    for (const auto& [type, fixed] : {std::pair{133, 8}, {135, 24}, {136, 24}}) {
        EXPECT_EQ(with(static_cast<std::uint8_t>(type), fixed, kMaxSolicitation), "none") << type;
        EXPECT_EQ(with(static_cast<std::uint8_t>(type), fixed, kMaxSolicitation + 8), "nd_invalid");
    }
    for (const auto& [type, fixed] : {std::pair{134, 16}, {137, 40}}) {
        EXPECT_EQ(with(static_cast<std::uint8_t>(type), fixed, kMaxAdvertisement), "none") << type;
        EXPECT_EQ(with(static_cast<std::uint8_t>(type), fixed, kMaxAdvertisement + 8),
                  "nd_invalid");
    }
}

TEST(Neighbour, NoHeaderIsBetweenButForListeners) {
    const Frame solicit = make({"", kLocal, kNode, 135, "00000000" ADDRESS SOURCE});
    EXPECT_EQ(parse(wrap_extensions(solicit, {{60, Frame(8)}})).why, kSound);
    // What is in front counts for the size.
    Frame large(kMaxSolicitation);
    large[1] = kMaxSolicitation / 8 - 1;
    for (std::size_t at = 2; at < large.size(); at += 2 + large[at + 1])
        large[at] = 1,
        large[at + 1] =
            static_cast<std::uint8_t>(std::min<std::size_t>(large.size() - at - 2, 255));
    EXPECT_EQ(to_string(parse(wrap_extensions(solicit, {{60, large}})).why), "nd_invalid");
    EXPECT_EQ(to_string(parse(wrap_extensions(solicit, {{0, large}})).why), "nd_invalid");
    // RFC 6980: not even an atomic fragment.
    EXPECT_EQ(parse(wrap_extensions(solicit, {{44, Frame(8)}})).why, DropReason::fragment_bad);
}

TEST(Listener, OnlyFromTheLinkAndWithTheRoutersAttention) {
    const Frame alert{0, 0, 5, 2, 0, 0, 1, 0};
    const auto why = [&](const Message& m, const Frame& options) {
        return to_string(parse(wrap_extensions(make(m), {{0, options}})).why);
    };
    const Message sound[] = {
        {"general query", kLocal, kAll, 130,
         "27100000"
         "00000000000000000000000000000000",
         1},
        {"query of version 2", kLocal, kAll, 130,
         "27100000"
         "00000000000000000000000000000000"
         "027d0000",
         1},
        {"with a source", kLocal, kAll, 130, "03e80000" GROUP "027d0001" ADDRESS, 1},
        {"report", kLocal, kAll, 131, "00000000" GROUP, 1},
        {"done", kLocal, "ff02::2", 132, "00000000" GROUP, 1},
        {"report of version 2", kLocal, "ff02::16", 143,
         "00000001"
         "04000000" GROUP,
         1},
        {"before there is an address", kNone, "ff02::16", 143,
         "00000001"
         "04000000" GROUP,
         1},
        {"of two groups, with a source", kLocal, "ff02::16", 143,
         "00000002"
         "04000001" GROUP ADDRESS "03000000" GROUP,
         1},
        {"of none", kLocal, "ff02::16", 143, "00000000", 1},
    };
    for (Message m : sound) {
        SCOPED_TRACE(m.what);
        EXPECT_EQ(why(m, alert), "none");
        EXPECT_EQ(why(m, Frame{0, 0, 0, 5, 2, 0, 0, 0}), "none") << "padded in front";
        EXPECT_EQ(why(m, Frame{0, 0, 5, 2, 0, 1, 1, 0}), "nd_invalid") << "for RSVP";
        EXPECT_EQ(why(m, Frame{0, 0, 1, 4, 0, 0, 0, 0}), "nd_invalid") << "no alert";
        EXPECT_EQ(to_string(parse(make(m)).why), "nd_invalid") << "no header for it";
        m.hop_limit = 255;
        EXPECT_EQ(why(m, alert), "nd_invalid");
        m.hop_limit = 1;
        m.code = 7;
        EXPECT_EQ(why(m, alert), "nd_invalid");
        m.code = 0;
        m.src = kGlobal;
        EXPECT_EQ(why(m, alert), "nd_invalid");
    }
    const Message wrong[] = {
        {"short", kLocal, kAll, 131, "00000000", 1},
        {"bytes behind", kLocal, kAll, 131, "00000000" GROUP "00000000", 1},
        {"not about a group", kLocal, kAll, 131, "00000000" ADDRESS, 1},
        {"asks for no group", kLocal, kAll, 130, "27100000" ADDRESS, 1},
        {"neither version", kLocal, kAll, 130, "27100000" GROUP "0200", 1},
        {"fewer sources than it says", kLocal, kAll, 130, "03e80000" GROUP "027d0002" ADDRESS, 1},
        {"more sources than it says", kLocal, kAll, 130, "03e80000" GROUP "027d0000" ADDRESS, 1},
        {"fewer records than it says", kLocal, "ff02::16", 143,
         "00000002"
         "04000000" GROUP,
         1},
        {"more than it says", kLocal, "ff02::16", 143,
         "00000000"
         "04000000" GROUP,
         1},
        {"a source too few", kLocal, "ff02::16", 143,
         "00000001"
         "04000001" GROUP,
         1},
        {"auxiliary data", kLocal, "ff02::16", 143,
         "00000001"
         "04010000" GROUP "00000000",
         1},
        {"not about a group", kLocal, "ff02::16", 143,
         "00000001"
         "04000000" ADDRESS,
         1},
    };
    for (const Message& m : wrong)
        EXPECT_EQ(why(m, alert), "nd_invalid") << m.what;
}

TEST(Neighbour, NothingIsReadBeyondTheMessageWhereverItEnds) {
    const Frame alert{0, 0, 5, 2, 0, 0, 1, 0};
    for (const Message& m : {
             Message{"", kLocal, kNode, 135, "00000000" ADDRESS SOURCE},
             Message{"", kLocal, kAll, 134, "400007080000000000000000" SOURCE},
             Message{"", kLocal, kOther, 137, "00000000" LINK ADDRESS SOURCE},
             Message{"", kLocal, kAll, 130, "03e80000" GROUP "027d0001" ADDRESS, 1},
             Message{"", kLocal, "ff02::16", 143,
                     "00000002"
                     "04000001" GROUP ADDRESS,
                     1},
         })
        for (const Frame& whole : {make(m), wrap_extensions(make(m), {{0, alert}})})
            for (std::size_t n = whole.size(); n-- > kEth + 40;) {
                Frame cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
                (void)parse(cut);  // the header says more than there is
                const std::size_t payload = n - kEth - 40;
                cut[kEth + 4] = static_cast<std::uint8_t>(payload >> 8);
                cut[kEth + 5] = static_cast<std::uint8_t>(payload);
                (void)parse(cut);
            }
}

}  // namespace
}  // namespace postern
