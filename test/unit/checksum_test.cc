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
                     {&kSecret, 0}, info);
        const DropReason why =
            info.why != DropReason::none ? info.why : check_checksums(head, info, mode);
        rte_pktmbuf_free(head);
        return why;
    }

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

TEST_F(ChecksumTest, TheNicIsBelieved) {
    const Frame good = udp(kFlow4, "x");
    Frame bad = good;
    bad.back() ^= 1;
    for (const Checksums mode : {Checksums::nic, Checksums::full}) {
        EXPECT_EQ(check(good, mode, RTE_MBUF_F_RX_IP_CKSUM_BAD), DropReason::bad_ip_checksum);
        EXPECT_EQ(check(good, mode, RTE_MBUF_F_RX_L4_CKSUM_BAD), DropReason::bad_l4_checksum);
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
