// SPDX-License-Identifier: BSD-3-Clause
// Checksums: what the NIC says, and what software finds, packet by packet and bit by bit.
#include "pipeline/checksum.h"

#include <vector>

#include <gtest/gtest.h>
#include <rte_hash_crc.h>

#include "support/eal.h"
#include "support/frames.h"

namespace postern {
namespace {

using namespace frames;

[[maybe_unused]] auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const HashSecret kSecret = HashSecret::from_seed(7);
const Flow kFlow4 = flow("10.0.0.1", 1024, "192.0.2.9", 80);
const Flow kFlow6 = flow("2001:db8::1", 1024, "2001:db8:1::9", 80);

class ChecksumTest : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        pool_ = rte_pktmbuf_pool_create("checksum_test", 63, 0, 0, 2176, SOCKET_ID_ANY);
        ASSERT_NE(pool_, nullptr);
    }
    static void TearDownTestSuite() { rte_mempool_free(pool_); }

    /// The frame as a chain of buffers of at most `piece` bytes, and what is said of it.
    static DropReason check(const Frame& f, Checksums mode, std::uint64_t flags = 0,
                            std::size_t piece = 2000) {
        rte_mbuf* head = nullptr;
        for (std::size_t at = 0; at < f.size(); at += piece) {
            const std::size_t n = std::min(piece, f.size() - at);
            rte_mbuf* m = rte_pktmbuf_alloc(pool_);
            std::copy_n(f.begin() + static_cast<std::ptrdiff_t>(at), n,
                        rte_pktmbuf_append(m, static_cast<std::uint16_t>(n)));
            if (head == nullptr)
                head = m;
            else
                rte_pktmbuf_chain(head, m);
        }
        head->ol_flags = flags;
        PacketInfo info{};
        parse_packet(rte_pktmbuf_mtod(head, const std::uint8_t*), head->data_len, head->pkt_len,
                     {.secret = &kSecret, .ct_zone = CtZone{}, .routing_headers = 0xff}, info);
        const DropReason why =
            info.why != DropReason::none ? info.why : check_checksums(head, info, mode);
        sums = !whole && sums_vouched(flags, info.family) ? Sums::right
                                                          : judge_sums(head, info, whole);
        rte_pktmbuf_free(head);
        return why;
    }
    static inline Sums sums;           ///< what a helper's packet is judged by, of the last check()
    static inline bool whole = false;  ///< as if it had come in fragments

    static inline rte_mempool* pool_ = nullptr;
};

Frame sctp(const Flow& f) {
    Frame l4(29);
    l4[1] = 1, l4[3] = 2, l4[12] = 4, l4[15] = 17;
    for (std::size_t i = 16; i < l4.size(); ++i)
        l4[i] = static_cast<std::uint8_t>(i * 7);
    const std::uint32_t crc =
        ~rte_hash_crc(l4.data(), static_cast<unsigned>(l4.size()), 0xffffffff);
    for (unsigned i = 0; i < 4; ++i)
        l4[8 + i] = static_cast<std::uint8_t>(crc >> 8 * i);
    return ip(f.src, f.dst, proto::sctp, l4);
}

/// With the checksum at `at` filled in.
Frame summed(const Flow& f, std::uint8_t protocol, Frame l4, unsigned at) {
    const std::uint16_t sum = l4_sum(f.src, f.dst, protocol, l4.data(), l4.size());
    l4[at] = static_cast<std::uint8_t>(sum >> 8);
    l4[at + 1] = static_cast<std::uint8_t>(sum);
    return ip(f.src, f.dst, protocol, l4);
}

std::vector<Frame> samples() {
    std::vector<Frame> out;
    for (const Flow& f : {kFlow4, kFlow6}) {
        out.push_back(tcp(f, {.flags = tcp_flag::ack, .payload = "some payload, odd"}));
        out.push_back(udp(f, "some payload"));
        out.push_back(udp(f));
        out.push_back(echo(f, true, 5));
        out.push_back(sctp(f));
        Frame lite{4, 0, 0, 80, 0, 0, 0, 0, 'a', 'b', 'c'};
        out.push_back(summed(f, proto::udplite, lite, 6));
        Frame dccp(21);
        dccp[0] = 4, dccp[4] = 4, dccp[8] = 1, dccp[20] = 'x';
        out.push_back(summed(f, proto::dccp, dccp, 6));
    }
    return out;
}

TEST_F(ChecksumTest, RightOnesPassInOnePieceOrMany) {
    for (const Frame& f : samples()) {
        EXPECT_EQ(check(f, Checksums::full), DropReason::none) << f.size();
        // The headers must be in the first piece; the rest may be anywhere.
        for (const std::size_t piece : std::vector<std::size_t>{62, 75, 79, 80})
            if (piece >= 54 + (f[12] == 0x86 ? 20u : 0u)) {
                EXPECT_EQ(check(f, Checksums::full, 0, piece), DropReason::none) << piece;
            }
    }
}

TEST_F(ChecksumTest, AnyFlippedBitOfTheTransportIsFound) {
    for (const Frame& good : samples()) {
        const std::size_t l4 = good[12] == 0x86 ? 54 : 34;
        for (std::size_t at = l4; at < good.size(); ++at) {
            Frame bad = good;
            bad[at] ^= 0x10;
            EXPECT_NE(check(bad, Checksums::full), DropReason::none) << at;
        }
    }
}

TEST_F(ChecksumTest, ThePseudoHeaderCounts) {
    Frame bad = udp(kFlow6, "x");
    bad[14 + 8 + 15] ^= 1;  // the source address
    EXPECT_EQ(check(bad, Checksums::full), DropReason::bad_l4_checksum);
    bad = udp(kFlow4, "x");
    bad[14 + 10] ^= 1;
    EXPECT_EQ(check(bad, Checksums::full), DropReason::bad_ip_checksum);
}

// RFC 8200 section 8.1: while segments are left, the last destination is in the routing header.
TEST_F(ChecksumTest, ThePseudoHeaderHasTheLastDestination) {
    for (const std::uint8_t type : {std::uint8_t{2}, std::uint8_t{4}})
        for (const std::uint8_t left : {std::uint8_t{0}, std::uint8_t{1}}) {
            Frame header(24);
            header[1] = 2, header[2] = type, header[3] = left;
            std::copy_n(kFlow6.dst.bytes.begin(), 16, header.begin() + 8);
            Frame f = wrap_extensions(udp(kFlow6, "x"), {{60, Frame(8)}, {43, header}});
            if (left != 0) f[14 + 24 + 15] ^= 1;  // on its way to some other address
            EXPECT_EQ(check(f, Checksums::full), DropReason::none) << unsigned{type};
            f[14 + 40 + 8 + 8 + 15] ^= 1;
            EXPECT_EQ(check(f, Checksums::full),
                      left != 0 ? DropReason::bad_l4_checksum : DropReason::none);
        }
}

TEST_F(ChecksumTest, NoneIsRight) {
    Frame f = udp(kFlow4, "x");
    f[14 + 20 + 6] = f[14 + 20 + 7] = 0;
    EXPECT_EQ(check(f, Checksums::full), DropReason::none);
}

TEST_F(ChecksumTest, UdpLiteCoversWhatItSays) {
    Frame lite{4, 0, 0, 80, 0, 8, 0, 0};
    Frame f = summed(kFlow4, proto::udplite, lite, 6);
    // Three bytes that are not covered; the pseudo-header has the whole length.
    const std::uint16_t old_sum = static_cast<std::uint16_t>(f[40] << 8 | f[41]);
    lite = {4,
            0,
            0,
            80,
            0,
            8,
            static_cast<std::uint8_t>((old_sum - 3) >> 8),
            static_cast<std::uint8_t>(old_sum - 3),
            'a',
            'b',
            'c'};
    f = ip(kFlow4.src, kFlow4.dst, proto::udplite, lite);
    EXPECT_EQ(check(f, Checksums::full), DropReason::none);
    f.back() ^= 1;
    EXPECT_EQ(check(f, Checksums::full), DropReason::none);
    f[34] ^= 1;
    EXPECT_EQ(check(f, Checksums::full), DropReason::bad_l4_checksum);
}

TEST_F(ChecksumTest, UdpLiteAlwaysHasOne) {
    for (const Flow& f : {kFlow4, kFlow6})
        for (const Checksums mode : {Checksums::off, Checksums::nic, Checksums::full})
            EXPECT_EQ(check(ip(f.src, f.dst, proto::udplite, {4, 0, 0, 80, 0, 8, 0, 0, 'a'}), mode),
                      DropReason::bad_l4_checksum);
}

// RFC 6275 section 6.3: a mobile node that is elsewhere has its home address in an option.
TEST_F(ChecksumTest, ThePseudoHeaderHasTheHomeAddress) {
    Frame header{0, 2, 1, 0, 201, 16};  // a pad of two bytes, the option
    header.resize(24);
    std::copy_n(kFlow6.src.bytes.begin(), 16, header.begin() + 6);
    header[22] = 1;
    for (const Frame& plain :
         {udp(kFlow6, "x"), tcp(kFlow6, {.flags = tcp_flag::ack}), echo(kFlow6, true, 7)}) {
        Frame f = wrap_extensions(plain, {{60, header}});
        f[14 + 8 + 15] ^= 1;  // sent from some other address
        EXPECT_EQ(check(f, Checksums::full), DropReason::none);
        f[14 + 40 + 6 + 15] ^= 1;
        EXPECT_EQ(check(f, Checksums::full), DropReason::bad_l4_checksum);
    }
}

// RFC 9868: bytes that follow a UDP datagram inside of its IP packet.
TEST_F(ChecksumTest, SurplusIsNotCovered) {
    for (const Flow& ends : {kFlow4, kFlow6}) {
        Frame f = udp(ends, "payload");
        const unsigned l4 = ends.src.family == Family::ipv4 ? 34 : 54;
        Frame rest(f.begin() + l4, f.end());
        rest.insert(rest.end(), {1, 2, 3, 4, 5});
        f = ip(ends.src, ends.dst, proto::udp, rest);
        EXPECT_EQ(check(f, Checksums::full), DropReason::none);
        EXPECT_EQ(sums, Sums::right);
        f.back() ^= 1;
        EXPECT_EQ(check(f, Checksums::full), DropReason::none);
        f[l4 + 8] ^= 1;
        EXPECT_EQ(check(f, Checksums::full), DropReason::bad_l4_checksum);
    }
}

TEST_F(ChecksumTest, ANicThatSaysWrongIsNotBelieved) {
    constexpr std::uint64_t kBad = RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD;
    std::vector<Frame> right = samples();
    Frame none = udp(kFlow6, "x");  // RFC 6936
    none[14 + 40 + 6] = none[14 + 40 + 7] = 0;
    right.push_back(none);
    for (const Checksums mode : {Checksums::nic, Checksums::full})
        for (const Frame& f : right) {
            for (const std::size_t piece : {std::size_t{2000}, std::size_t{80}})
                EXPECT_EQ(check(f, mode, kBad, piece), DropReason::none) << f.size();
            EXPECT_EQ(sums, Sums::right);
        }
}

TEST_F(ChecksumTest, ANicThatSaysRightIsBelieved) {
    const Frame good = udp(kFlow4, "x");
    Frame bad = good, bad_header = good;
    bad.back() ^= 1;
    bad_header[14 + 8] ^= 1;
    for (const Checksums mode : {Checksums::nic, Checksums::full}) {
        EXPECT_EQ(check(bad_header, mode, RTE_MBUF_F_RX_IP_CKSUM_BAD), DropReason::bad_ip_checksum);
        EXPECT_EQ(check(bad, mode, RTE_MBUF_F_RX_L4_CKSUM_BAD), DropReason::bad_l4_checksum);
        EXPECT_EQ(check(bad, mode, RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD),
                  DropReason::none);
        EXPECT_EQ(check(bad, mode, RTE_MBUF_F_RX_IP_CKSUM_NONE | RTE_MBUF_F_RX_L4_CKSUM_NONE),
                  DropReason::none);
    }
    EXPECT_EQ(check(bad, Checksums::nic), DropReason::none);
    EXPECT_EQ(check(bad, Checksums::full, RTE_MBUF_F_RX_IP_CKSUM_GOOD),
              DropReason::bad_l4_checksum);
    EXPECT_EQ(check(bad, Checksums::off, RTE_MBUF_F_RX_L4_CKSUM_BAD), DropReason::none);
}

/// The parse stage asks once a burst whether any packet needs a look.
/// The frame as a host leaves it to its device: only the pseudo-header is summed up.
Frame unfinished(Frame f, unsigned l4, unsigned sum_at, std::uint8_t protocol, const Flow& ends) {
    f[l4 + sum_at] = f[l4 + sum_at + 1] = 0;
    const Frame nothing(f.size() - l4, 0);
    const auto sum = static_cast<std::uint16_t>(
        ~l4_sum(ends.src, ends.dst, protocol, nothing.data(), nothing.size()));
    f[l4 + sum_at] = static_cast<std::uint8_t>(sum >> 8);
    f[l4 + sum_at + 1] = static_cast<std::uint8_t>(sum);
    return f;
}

TEST_F(ChecksumTest, WhatAHelperReadsIsRight) {
    constexpr std::uint64_t kGood = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD,
                            kNone = RTE_MBUF_F_RX_IP_CKSUM_NONE | RTE_MBUF_F_RX_L4_CKSUM_NONE,
                            kBad = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_BAD;
    for (const Flow& ends : {kFlow4, kFlow6}) {
        const unsigned l4 = ends.src.family == Family::ipv4 ? 34 : 54;
        for (const bool by_tcp : {true, false}) {
            const Frame right = by_tcp ? tcp(ends, {.flags = 0x18, .payload = "220 hello\r\n"})
                                       : udp(ends, "INVITE");
            Frame wrong = right;
            wrong.back() ^= 0x40;
            const Frame partial =
                unfinished(right, l4, by_tcp ? 16 : 6, by_tcp ? proto::tcp : proto::udp, ends);
            for (const std::size_t piece : {std::size_t{2000}, std::size_t{l4 + 21}}) {
                const auto judge = [&](const Frame& f, std::uint64_t flags) {
                    (void)check(f, Checksums::off, flags, piece);
                    return sums;
                };
                EXPECT_EQ(judge(right, 0), Sums::right);
                EXPECT_EQ(judge(wrong, 0), Sums::wrong);
                EXPECT_EQ(judge(partial, 0), Sums::partial);
                // What the device says is believed.
                EXPECT_EQ(judge(wrong, kGood), Sums::right);
                EXPECT_EQ(judge(partial, kNone), Sums::right);
                EXPECT_EQ(judge(partial, kBad), Sums::partial);
                EXPECT_EQ(judge(wrong, kBad), Sums::wrong);
                EXPECT_EQ(judge(right, kBad), Sums::right) << "but for wrong ones";
                // But it cannot know of fragments.
                whole = true;
                EXPECT_EQ(judge(wrong, RTE_MBUF_F_RX_L4_CKSUM_GOOD), Sums::wrong);
                EXPECT_EQ(judge(right, kBad), Sums::right);
                whole = false;
            }
        }
    }
    Frame header = tcp(kFlow4, {.flags = 0x18, .payload = "220 hello\r\n"});
    header[22] ^= 1;  // the hops it may still go
    (void)check(header, Checksums::off);
    EXPECT_EQ(sums, Sums::wrong);
}

TEST_F(ChecksumTest, NoBurstWithAWrongOneIsPassedOver) {
    constexpr std::uint64_t kIp[] = {0, RTE_MBUF_F_RX_IP_CKSUM_BAD, RTE_MBUF_F_RX_IP_CKSUM_GOOD,
                                     RTE_MBUF_F_RX_IP_CKSUM_NONE};
    constexpr std::uint64_t kL4[] = {0, RTE_MBUF_F_RX_L4_CKSUM_BAD, RTE_MBUF_F_RX_L4_CKSUM_GOOD,
                                     RTE_MBUF_F_RX_L4_CKSUM_NONE};
    const auto looks = [](Checksums mode, std::uint64_t flags) {
        return (modes_to_check(flags) >> static_cast<unsigned>(mode) & 1) != 0;
    };
    Frame bad = udp(kFlow4, "x");
    bad.back() ^= 1;
    for (const Checksums mode : {Checksums::off, Checksums::nic, Checksums::full})
        for (const std::uint64_t ip : kIp)
            for (const std::uint64_t l4 : kL4)
                for (const std::uint64_t others : kL4)
                    EXPECT_TRUE(looks(mode, ip | l4 | others) ||
                                check(bad, mode, ip | l4) == DropReason::none)
                        << ip << ' ' << l4 << ' ' << others;
    EXPECT_FALSE(looks(Checksums::nic, kIp[2] | kL4[2]));
    EXPECT_FALSE(looks(Checksums::off, ~std::uint64_t{0}));
}

}  // namespace
}  // namespace postern
