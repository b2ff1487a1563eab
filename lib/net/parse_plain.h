// SPDX-License-Identifier: BSD-3-Clause
// The fast path of parse_packet(), for nearly every frame.
//
// Called inline by the parse stage and by parse_packet() itself, which uses the general path for
// frames that this refuses. Both give the same results (test/unit/parse_test.cc).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "net/bytes.h"
#include "net/keyed_hash.h"
#include "net/options.h"
#include "net/packet.h"
#include "net/rss.h"

namespace postern {

inline constexpr std::uint16_t kEthIpv4 = 0x0800, kEthIpv6 = 0x86dd;

/// TCP flag combinations that stacks send, PSH, ECE and CWR apart (RFC 9293 section 3.10.7).
/// A bit for each.
inline constexpr std::uint64_t kTcpFlagsValid = [] {
    std::uint64_t ok = 0;
    using namespace tcp_flag;
    constexpr unsigned kSyn = syn, kRst = rst, kFin = fin, kAck = ack, kUrg = urg;
    for (unsigned f : {kSyn, kSyn | kUrg, kSyn | kAck, kRst, kRst | kAck, kFin | kAck,
                       kFin | kAck | kUrg, kAck, kAck | kUrg})
        ok |= std::uint64_t{1} << f | std::uint64_t{1} << (f | psh);
    return ok;
}();
inline bool tcp_flags_valid(std::uint8_t flags) noexcept {
    return (kTcpFlagsValid >> (flags & 0x3f) & 1) != 0;
}

/// Whether the complete TCP header of `header` bytes at `l4` is long enough and has only options
/// that matter to the tracker alone: then sets info.tcp_options. For headers that are neither bare
/// nor with timestamps only.
bool tcp_options_plain(const std::uint8_t* l4, unsigned header, PacketInfo& info) noexcept;

template <Family kFamily>
[[gnu::always_inline]] inline bool parse_plain_as(const std::uint8_t* data, std::uint32_t len,
                                                  const ParseContext& context,
                                                  PacketInfo& info) noexcept {
    using namespace wire;
    constexpr bool kV4 = kFamily == Family::ipv4;
    constexpr unsigned kIp = 14, kL4 = kIp + (kV4 ? 20 : 40), kAddress = kV4 ? 4 : 16;
    const std::uint8_t* ip = data + kIp;
    const std::uint8_t* l4 = data + kL4;
    const std::uint8_t* src = ip + (kV4 ? 12 : 8);
    const std::uint8_t* dst = src + kAddress;
    if (kV4 && (raw16(ip + 6) & 0xff3f) != 0) return false;
    const std::uint8_t protocol = ip[kV4 ? 9 : 6];
    // From 8 bytes to the available ones; a shorter length becomes a very large number.
    const unsigned l4_len = kV4 ? be16(ip + 2) - 20u : be16(ip + 4);
    if (l4_len - 8 > len - kL4 - 8) return false;

    // The general path fills in anew a packet that is refused from here on, so each field is stored
    // as soon as it is known. The second half is one wide store, instead of some fifteen. Each
    // field of the first half is set below.
    const PacketInfo& image = (*context.plain)[kV4 ? 0 : 1];
    constexpr std::size_t kHalf = sizeof info / 2;
    static_assert(offsetof(PacketInfo, pay_len) + sizeof info.pay_len == kHalf);
    std::memcpy(reinterpret_cast<std::uint8_t*>(&info) + kHalf,
                reinterpret_cast<const std::uint8_t*>(&image) + kHalf, kHalf);

    unsigned header = 8, payload_end = l4_len;
    L4Kind kind = L4Kind::ports;
    std::uint8_t tcp_flags = 0;
    if (protocol == proto::tcp) {
        if (l4_len < 20) return false;
        header = (l4[12] >> 4) * 4u;
        tcp_flags = l4[13];
        if (header > l4_len || !tcp_flags_valid(tcp_flags)) return false;
        if (header != 20 && !only_timestamps(l4 + 20, header - 20) &&
            !tcp_options_plain(l4, header, info))
            return false;
        kind = L4Kind::tcp;
    } else {
        if (protocol != proto::udp) return false;
        payload_end = be16(l4 + 4);
        if (payload_end < 8 || payload_end > l4_len) return false;
    }
    info.l4_off = kL4;
    info.l4_len = static_cast<std::uint16_t>(l4_len);
    info.pay_off = static_cast<std::uint16_t>(kL4 + header);
    info.pay_len = static_cast<std::uint16_t>(payload_end - header);
    info.protocol = protocol;
    info.kind = kind;
    info.tcp_flags = tcp_flags;

    // The key as its two words, so that hashing need not wait for them to be stored. No branch on
    // the direction: both are equally likely.
    static_assert(std::endian::native == std::endian::little);
    std::array<std::uint64_t, 2> words;
    const auto beside_ports = [&]() noexcept {
        return raw64(reinterpret_cast<const std::uint8_t*>(&image.key) + 8) |
               std::uint64_t{protocol} << 32;
    };
    bool swapped;
    if constexpr (kV4) {
        const std::uint64_t from = std::uint64_t{raw32(src)} << 16 | raw16(l4);
        const std::uint64_t to = std::uint64_t{raw32(dst)} << 16 | raw16(l4 + 2);
        if (from == to) return false;  // land
        swapped = from > to;
        // Both addresses, then both ports, the low end's first.
        words[0] = std::rotl(raw64(src), 32 * swapped);
        words[1] = std::rotl(raw32(l4), 16 * swapped) | beside_ports();
        std::memcpy(static_cast<void*>(&info.key), words.data(), sizeof info.key);
        info.hash = keyed_hash32(words, *context.secret);
    } else {
        // The order of source_is_high(): by the upper halves, or if they are equal by the lower
        // ones.
        std::uint64_t from = raw64(src + 8), to = raw64(dst + 8);
        if (from == to) {
            from = raw64(src);
            to = raw64(dst);
            if (from == to) return false;  // land, or talking to itself
        }
        swapped = from > to;
        const unsigned turn = 16 * swapped;
        const std::uint8_t* low = src + turn;
        const std::uint8_t* high = dst - turn;
        words[1] = beside_ports();
        const KeyDigest digest =
            keyed_digest(std::array{raw64(low), raw64(low + 8), raw64(high), raw64(high + 8),
                                    std::rotl(raw32(l4), static_cast<int>(turn)) | words[1]},
                         *context.secret);
        words[0] = digest.rest;
        words[1] |= digest.hash;
        std::memcpy(static_cast<void*>(&info.key), words.data(), sizeof info.key);
        info.hash = digest.hash;
    }
    info.rss = context.rss != nullptr ? context.rss->hash(fold16(src, 2 * kAddress) ^ fold16(l4, 4))
                                      : info.hash;
    info.swapped = swapped;
    info.zone_tag = image.zones.tags[swapped];
    return true;
}

/// Parses nearly every packet: no tag, no option or extension header, no fragment, contiguous, a
/// valid TCP or UDP header. False for any other, for which the general path gives the result.
/// Without a branch on the packet's direction.
[[gnu::always_inline]] inline bool parse_plain(const std::uint8_t* data, std::uint32_t len,
                                               const ParseContext& context,
                                               PacketInfo& info) noexcept {
    // No shorter frame has both headers; 8 bytes are UDP's.
    if (len < 14 + 20 + 8) return false;
    // Type, version and, of IPv4, the header's length: no options.
    const std::uint32_t start = wire::raw32(data + 12);
    if ((start & 0x00ffffff) == 0x00450008)
        return parse_plain_as<Family::ipv4>(data, len, context, info);
    return (start & 0x00f0ffff) == 0x0060dd86 && len >= 14 + 40 + 8 &&
           parse_plain_as<Family::ipv6>(data, len, context, info);
}

}  // namespace postern
