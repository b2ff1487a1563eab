// SPDX-License-Identifier: BSD-3-Clause
// The packet parser: reads nothing beyond the bytes it is given, and says the same of a frame
// whichever way it goes through it.
//
// Input: two bytes that say how much of the frame is contiguous, then the frame.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "net/options.h"
#include "net/packet.h"
#include "require.h"

namespace {

using namespace postern;

const HashSecret kSecret = HashSecret::from_seed(7);

/// The parser sees a copy of just the contiguous bytes, so that a sanitizer sees it look beyond.
PacketInfo parse(const std::vector<std::uint8_t>& frame, std::size_t contiguous) {
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[contiguous]);
    std::copy_n(frame.begin(), contiguous, exact.get());
    PacketInfo info{};
    parse_packet(exact.get(), static_cast<std::uint32_t>(contiguous),
                 static_cast<std::uint32_t>(frame.size()), {&kSecret, CtZone{}}, info);
    const auto tuple = tuple_of(exact.get(), info);
    if (info.why != DropReason::none || info.family == Family::none) return info;
    require(tuple.has_value(), "a sound packet has no tuple");
    require(info.l4_off + info.l4_len <= frame.size(), "the transport header is not in the frame");
    if (info.fragment) return info;
    require(info.pay_off >= info.l4_off, "the payload begins before the transport header");
    require(info.kind == L4Kind::icmp_error || info.pay_off + info.pay_len <= frame.size(),
            "the payload is not in the frame");
    if (info.kind == L4Kind::sctp || info.kind == L4Kind::dccp)
        require(info.pay_off + info.pay_len <= contiguous, "not all of it can be read");
    if (info.kind == L4Kind::tcp && (info.tcp_flags & tcp_flag::syn) == 0 && info.tcp_options != 0)
        require(info.tcp_options >= 26 && info.l4_off + info.tcp_options + 4 <= info.pay_off,
                "the selective acknowledgement is not in the header's options");
    if (info.kind != L4Kind::tcp) require(info.tcp_options == 0, "options of TCP without TCP");
    if (info.kind == L4Kind::tcp && (info.tcp_flags & tcp_flag::syn) != 0)
        require((info.tcp_options & tcp_offer::scale) <= kMaxWindowScale && info.tcp_options < 0x80,
                "a SYN offers what there is not");
    if (info.kind == L4Kind::icmp_error)
        require(info.quoted_l4_off > info.pay_off && info.quoted_l4_off <= contiguous,
                "the quoted packet is not in the frame");
    if (info.kind == L4Kind::other || info.kind == L4Kind::icmp_nd ||
        info.kind == L4Kind::icmp_message || info.kind == L4Kind::icmp_error)
        return info;
    bool swapped;
    const FlowKey key = make_key(*tuple, CtZone{}, kSecret, swapped, info.key_class,
                                 info.kind != L4Kind::icmp_reply);
    require(key == info.key && swapped == info.swapped,
            "the tuple has another key than the packet");
    require(hash_of(key, kSecret) == info.hash, "the hash is not the key's");
    return info;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const std::size_t cut = std::size_t{data[0]} << 8 | data[1];
    std::vector<std::uint8_t> frame(data + 2, data + size);
    const std::size_t contiguous = cut == 0 ? frame.size() : std::min(cut, frame.size());
    const PacketInfo plain = parse(frame, contiguous);

    // With a tag more it goes the general way, and must come to the same.
    if (plain.why == DropReason::truncated_l2 || plain.l3_off > 18) return 0;
    constexpr std::uint8_t kTag[4] = {0x81, 0x00, 0x00, 0x00};
    frame.insert(frame.begin() + 12, kTag, kTag + 4);
    const PacketInfo tagged = parse(frame, contiguous + 4);
    require(tagged.why == plain.why && tagged.family == plain.family, "a tag changes what it is");
    if (plain.why != DropReason::none || plain.family == Family::none) return 0;
    require(tagged.key == plain.key && tagged.hash == plain.hash && tagged.rss == plain.rss &&
                tagged.kind == plain.kind && tagged.swapped == plain.swapped &&
                tagged.pay_off == plain.pay_off + 4 && tagged.pay_len == plain.pay_len &&
                tagged.tcp_flags == plain.tcp_flags && tagged.tcp_options == plain.tcp_options &&
                tagged.fragment == plain.fragment,
            "a tag changes what is read");
    return 0;
}
