// SPDX-License-Identifier: BSD-3-Clause
// Reassembly against a model: what comes out whole is what went in, what leaves is the fragments
// that came, and no buffer is lost.
//
// Input: fragments of {which datagram and flags, offset / 8, bytes / 8, time}. Odd datagrams are
// IPv6. Payload bytes are told by datagram and place, so that fragments never contradict each
// other.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include <rte_mbuf.h>

#include "net/cursor.h"
#include "pipeline/reassembly.h"
#include "pipeline/worker.h"
#include "require.h"
#include "support/frames.h"
#include "support/init_eal.h"

namespace {

using namespace postern;
using frames::Frame;

const HashSecret kSecret = HashSecret::from_seed(7);
constexpr unsigned kDatagrams = 4, kHeld = 24;
rte_mempool* pool;

std::uint8_t byte_of(unsigned datagram, std::size_t at) {
    return static_cast<std::uint8_t>(datagram * 31 + at * 7);
}

/// A UDP datagram whose header says what its fragments will come to.
Frame whole_frame(unsigned datagram, std::size_t bytes) {
    const frames::Flow f = datagram % 2 != 0
                               ? frames::flow("2001:db8::1", 1000 + datagram, "2001:db8::2", 53)
                               : frames::flow("10.0.0.1", 1000 + datagram, "10.0.0.2", 53);
    Frame l4(bytes);
    for (std::size_t i = 0; i < bytes; ++i)
        l4[i] = byte_of(datagram, i);
    return frames::ip(f.src, f.dst, proto::udp, l4);
}

Frame bytes_of(const rte_mbuf* m) {
    Frame f(rte_pktmbuf_pkt_len(m));
    const void* p = rte_pktmbuf_read(m, 0, rte_pktmbuf_pkt_len(m), f.data());
    if (p != nullptr && p != f.data()) std::memcpy(f.data(), p, f.size());
    return f;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    init_eal(64);
    pool = rte_pktmbuf_pool_create("fuzz", 255, 0, 0, 2176, SOCKET_ID_ANY);
    require(pool != nullptr, "no packet buffers");
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Edges edges;
    edges.add_zone("inside");
    auto made = Reassembly::create({.fragments = kHeld, .secret = &kSecret, .edges = &edges});
    require(static_cast<bool>(made), "cannot be made");
    auto reassembly = std::move(made).value();
    const auto counters = std::make_unique<WorkerCounters>();
    std::vector<Frame> taken[kDatagrams];
    Tick now{1000};
    Cursor in{Bytes{data, size}};
    while (in.remaining() >= 4) {
        const std::uint8_t head = *in.u8();
        const unsigned d = head % kDatagrams;
        const bool more = (head & 0x10) != 0;
        const unsigned offset = *in.u8() % 64 * 8u;
        const unsigned eighths = 1 + *in.u8() % 31;
        const unsigned bytes = eighths * 8 - ((head & 0x20) != 0 ? 3u : 0u);
        now = now + *in.u8() * 50u;
        const Frame f = frames::fragment(whole_frame(d, 1024), offset, bytes, more, d);
        reassembly->expire(now, 8, *counters);

        rte_mbuf* m = rte_pktmbuf_alloc(pool);
        require(m != nullptr, "packet buffers were lost");
        m->port = 0;  // drops are counted by the port of arrival
        std::copy(f.begin(), f.end(),
                  reinterpret_cast<std::uint8_t*>(
                      rte_pktmbuf_append(m, static_cast<std::uint16_t>(f.size()))));
        PacketInfo info{};
        const auto n = static_cast<std::uint32_t>(f.size());
        parse_packet(rte_pktmbuf_mtod(m, const std::uint8_t*), n, n, {&kSecret, CtZone{}}, info);
        if (info.why != DropReason::none || !info.fragment) {
            rte_pktmbuf_free(m);
            continue;
        }
        const Reassembly::Taken t = reassembly->take(m, info, now, *counters);
        require(rte_mempool_in_use_count(pool) <= kHeld + Reassembly::kMaxFragments,
                "more is held than may be");
        if (t.why != DropReason::none) {
            rte_pktmbuf_free(m);
            continue;
        }
        taken[d].push_back(f);
        if (t.whole == nullptr) continue;

        PacketInfo whole{};
        parse_packet(rte_pktmbuf_mtod(t.whole, const std::uint8_t*), rte_pktmbuf_data_len(t.whole),
                     rte_pktmbuf_pkt_len(t.whole), {&kSecret, CtZone{}}, whole);
        require(!whole.fragment && whole.family == info.family, "whole, and yet a fragment");
        const Frame out = bytes_of(t.whole);
        for (std::size_t i = 0; i < whole.l4_len; ++i)
            require(out[whole.l4_off + i] == byte_of(d, i), "another byte than went in");
        rte_mbuf* apart[Reassembly::kMaxFragments];
        const unsigned pieces = reassembly->take_apart(t.whole, whole, apart);
        for (unsigned i = 0; i < pieces; ++i) {
            const Frame piece = bytes_of(apart[i]);
            require(std::find(taken[d].begin(), taken[d].end(), piece) != taken[d].end(),
                    "a fragment leaves that never came");
        }
        rte_pktmbuf_free_bulk(apart, pieces);
    }
    reassembly->clear(*counters);
    require(rte_mempool_in_use_count(pool) == 0, "packet buffers were lost");
    return 0;
}
