// SPDX-License-Identifier: BSD-3-Clause
// What DPDK's librte_ip_frag does with fragments that this firewall has to judge: the reasons why
// lib/pipeline/reassembly.h has a ledger of its own. A release of DPDK that fails one of these
// tests has taken that reason away; lib/pipeline/NOTES.md says what hangs on it.
#include <cerrno>
#include <cstdint>
#include <cstring>

#include <gtest/gtest.h>
#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_ip.h>
#include <rte_ip_frag.h>
#include <rte_mbuf.h>

#include "support/eal.h"

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr unsigned kHeader = sizeof(rte_ipv4_hdr), kEach = 24;

class IpFragLibrary : public ::testing::Test {
  protected:
    void SetUp() override {
        pool_ =
            rte_pktmbuf_pool_create("ip_frag", 255, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
        ASSERT_NE(pool_, nullptr);
        table_ = rte_ip_frag_table_create(16, 4, 64, rte_get_tsc_hz() * 3600, SOCKET_ID_ANY);
        ASSERT_NE(table_, nullptr);
    }
    void TearDown() override {
        free_dead();
        rte_pktmbuf_free(whole_);
        rte_ip_frag_table_destroy(table_);
        EXPECT_EQ(rte_mempool_in_use_count(pool_), 0u);
        rte_mempool_free(pool_);
    }

    rte_mbuf* packet(unsigned at, unsigned bytes, bool more, char text = 'a') {
        rte_mbuf* m = rte_pktmbuf_alloc(pool_);
        m->data_len = static_cast<std::uint16_t>(kHeader + bytes);
        m->pkt_len = m->data_len;
        std::memset(rte_pktmbuf_mtod(m, void*), text, m->data_len);
        auto* ip = rte_pktmbuf_mtod(m, rte_ipv4_hdr*);
        *ip = {};
        ip->version_ihl = 0x45;
        ip->total_length = rte_cpu_to_be_16(static_cast<std::uint16_t>(kHeader + bytes));
        ip->packet_id = rte_cpu_to_be_16(7);
        ip->fragment_offset = rte_cpu_to_be_16(
            static_cast<std::uint16_t>(at / 8 | (more ? RTE_IPV4_HDR_MF_FLAG : 0)));
        ip->time_to_live = 64;
        ip->next_proto_id = 17;
        ip->src_addr = rte_cpu_to_be_32(0x0a000001);
        ip->dst_addr = rte_cpu_to_be_32(0x0a000002);
        m->l2_len = 0;
        m->l3_len = kHeader;
        return m;
    }
    /// Bytes of the datagram that this fragment makes whole, 0 when it does not.
    unsigned give(unsigned at, unsigned bytes, bool more, char text = 'a') {
        rte_mbuf* m = packet(at, bytes, more, text);
        rte_mbuf* whole = rte_ipv4_frag_reassemble_packet(table_, &dead_, m, rte_rdtsc(),
                                                          rte_pktmbuf_mtod(m, rte_ipv4_hdr*));
        if (whole == nullptr) return 0;
        rte_pktmbuf_free(whole_);
        whole_ = whole;
        return rte_pktmbuf_pkt_len(whole) - kHeader;
    }
    /// How many fragments it gave up since this was asked last.
    unsigned free_dead() {
        const unsigned n = dead_.cnt;
        rte_ip_frag_free_death_row(&dead_, 0);
        return n;
    }

    rte_mempool* pool_ = nullptr;
    rte_ip_frag_tbl* table_ = nullptr;
    rte_ip_frag_death_row dead_{};
    rte_mbuf* whole_ = nullptr;
};

TEST_F(IpFragLibrary, TakesEightFragmentsOfADatagramAndNotNine) {
    for (unsigned i = 0; i < 8; ++i)
        EXPECT_EQ(give(i * kEach, kEach, i < 7), i < 7 ? 0 : 8 * kEach);
    for (unsigned i = 0; i < 9; ++i)
        EXPECT_EQ(give(i * kEach, kEach, i < 8), 0u);
    EXPECT_EQ(free_dead(), 8u);  // and the ninth waits for what is gone
}

TEST_F(IpFragLibrary, GivesUpADatagramForAFragmentThatTheNetworkDoubled) {
    EXPECT_EQ(give(0, kEach, true), 0u);
    EXPECT_EQ(give(0, kEach, true), 0u);
    EXPECT_EQ(give(kEach, kEach, true), 0u);
    EXPECT_EQ(give(2 * kEach, kEach, false), 0u);
    EXPECT_GT(free_dead(), 0u);
}

// RFC 5722 section 4: all of a datagram goes, what has not come yet included.
TEST_F(IpFragLibrary, PutsTogetherADatagramOfWhichTwoFragmentsContradictedEachOther) {
    EXPECT_EQ(give(0, kEach, true, 'a'), 0u);
    EXPECT_EQ(give(0, 2 * kEach, true, 'b'), 0u);
    EXPECT_EQ(free_dead(), 2u);
    EXPECT_EQ(give(kEach, kEach, false), 0u);
    EXPECT_EQ(give(0, kEach, true, 'b'), 2 * kEach);
}

TEST_F(IpFragLibrary, RefusesOnTheWayOutWhatMayNotBeFragmentedFurther) {
    constexpr unsigned kSmallestMtu = 68;
    rte_mbuf* m = packet(0, 4 * kEach, false);
    rte_pktmbuf_mtod(m, rte_ipv4_hdr*)->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
    rte_mbuf* out[4];
    EXPECT_EQ(rte_ipv4_fragment_packet(m, out, 4, kSmallestMtu, pool_, pool_), -ENOTSUP);
    rte_pktmbuf_free(m);
}

TEST_F(IpFragLibrary, WritesZeroForTheIdentificationOfIpv6) {
    for (unsigned datagram = 0; datagram < 2; ++datagram) {
        rte_mbuf* m = rte_pktmbuf_alloc(pool_);
        m->data_len = sizeof(rte_ipv6_hdr) + 2000;
        m->pkt_len = m->data_len;
        auto* ip = rte_pktmbuf_mtod(m, rte_ipv6_hdr*);
        std::memset(rte_pktmbuf_mtod(m, void*), 0, m->data_len);
        ip->vtc_flow = rte_cpu_to_be_32(6u << 28);
        ip->payload_len = rte_cpu_to_be_16(2000);
        ip->proto = 17;
        rte_mbuf* out[4] = {};
        ASSERT_EQ(rte_ipv6_fragment_packet(m, out, 4, 1280, pool_, pool_), 2);
        for (unsigned i = 0; i < 2; ++i) {
            const auto* head =
                rte_pktmbuf_mtod_offset(out[i], const rte_ipv6_fragment_ext*, sizeof(rte_ipv6_hdr));
            EXPECT_EQ(head->id, 0u);
            rte_pktmbuf_free(out[i]);
        }
        rte_pktmbuf_free(m);
    }
}

}  // namespace
}  // namespace postern
