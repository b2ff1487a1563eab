// SPDX-License-Identifier: BSD-3-Clause
// Every drop reason. One line a reason binds the enumerator, the displayed name, and the help text;
// nothing else lists them.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace postern {

// X(name, help)
#define POSTERN_DROP_REASONS(X)                                                                \
    X(none, "not dropped")                                                                     \
    X(truncated_l2, "the frame ends inside its Ethernet or VLAN header")                       \
    X(vlan_tags, "more than two VLAN tags")                                                    \
    X(snap_ip, "IPv4, IPv6 or ARP behind an LLC header (SNAP, or a SAP of its own)")           \
    X(truncated_l3, "the frame ends inside the IP header, or before the IP total length")      \
    X(truncated_l4, "the IP packet ends inside its transport header")                          \
    X(bad_ip_header, "impossible IP version, header length or total length")                   \
    X(bad_ext_header, "an IPv6 extension header is malformed, or there are too many")          \
    X(bad_l4_length, "impossible length field of the transport header")                        \
    X(bad_tcp_flags, "a combination of TCP flags that no stack sends (SYN+FIN, none, ...)")    \
    X(ip_option_length, "an IPv4 option with a length below its own two bytes")                \
    X(ip_option_cut, "an IPv4 option exceeds the header")                                      \
    X(ip_option_bad, "impossible length or pointer for the IPv4 option's kind")                \
    X(ip6_option_cut, "an IPv6 option exceeds its extension header")                           \
    X(ip_source_route, "an IPv4 source route (LSRR, SSRR)")                                    \
    X(ip6_source_route, "an IPv6 routing header of type 0, a source route (RFC 5095)")         \
    X(ip6_routing_header, "an IPv6 routing header that its bridge does not allow")             \
    X(tcp_option_length, "a TCP option with a length below its own two bytes")                 \
    X(tcp_option_cut, "a TCP option exceeds the header")                                       \
    X(tcp_option_bad, "impossible length for the TCP option's kind")                           \
    X(bad_gre, "a GRE version 1 header with flags or a protocol that PPTP never sends")        \
    X(land, "source and destination address and port are the same")                            \
    X(bad_ip_checksum, "the IPv4 header's checksum is wrong")                                  \
    X(bad_l4_checksum, "the transport header's checksum is wrong")                             \
    X(bad_icmp_error, "an ICMP error not addressed to the sender of the packet it quotes")     \
    X(fragment,                                                                                \
      "an IP fragment, and the pipeline has no reassemble stage; or an ICMP error quotes one") \
    X(fragment_bad, "a fragment with an impossible offset, or that contradicts another")       \
    X(fragment_overlap, "fragments of its datagram overlap")                                   \
    X(fragment_tiny, "the first fragment lacks part of the transport header")                  \
    X(fragment_duplicate, "an exact duplicate of a fragment")                                  \
    X(fragment_too_many, "its datagram has more than 64 fragments")                            \
    X(fragment_timeout, "the rest of its datagram did not arrive in time")                     \
    X(fragment_full, "its datagram was displaced: too many fragments held")                    \
    X(non_ip, "not IP, and its ethertype is not on the port's pass list")                      \
    X(neighbour_discovery, "IPv6 neighbour discovery, and the port does not pass it")          \
    X(nd_invalid, "IPv6 neighbour discovery or MLD that no node of the link sends")            \
    X(no_peer, "its input port is in no bridge")                                               \
    X(ct_invalid, "invalid for its connection's state")                                        \
    X(tcp_state, "a TCP segment with flags invalid for its connection's state")                \
    X(tcp_seq_beyond, "a TCP segment that begins beyond its receiver's window")                \
    X(tcp_ack_unsent, "a TCP segment that acknowledges bytes that were not sent")              \
    X(tcp_rst_old, "a TCP reset with a number that its receiver has already acknowledged")     \
    X(ct_not_first, "no connection, and such a packet cannot begin one")                       \
    X(ct_table_full, "the connection table is full")                                           \
    X(source_half_open, "its source has too many half-open connections")                       \
    X(source_rate, "its source opens connections too fast")                                    \
    X(worker_rate, "its worker's limit of new connections a second is reached")                \
    X(zone_full, "its zone's limit of connections is reached")                                 \
    X(rule_rate, "its rule's `limit` of connections or packets a second is reached")           \
    X(rule_at_once, "its rule's `limit` of connections at once is reached")                    \
    X(rule_source_rate, "the same as rule_rate, `per_source`")                                 \
    X(rule_source_at_once, "the same as rule_at_once, `per_source`")                           \
    X(wrong_zone, "its connection or expectation is between other zones")                      \
    X(spoofed, "its source address belongs to another zone")                                   \
    X(ct_collision, "two connections collided on one key of the table")                        \
    X(policy, "dropped by a policy rule or the default")                                       \
    X(reject, "rejected by a policy rule; its sender gets an answer within `limits.answers`")  \
    X(helper, "its helper could not file the expectation; the sender will retransmit")         \
    X(helper_absent, "its helper's process did not answer in time, or its queue was full")     \
    X(helper_verdict, "dropped at its helper process's request")                               \
    X(helper_gone, "its connection ended while it waited for its helper's process")            \
    X(expect, "its rule's expectation could not be filed; the sender will try again")          \
    X(undecided, "no stage of the pipeline gave a verdict")                                    \
    X(handoff_full, "the ring to its home worker was full")                                    \
    X(tx_full, "the output port's queue was full")                                             \
    X(link_down, "the output port's link is down, or its device is gone")

enum class DropReason : std::uint8_t {
#define X(name, help) name,
    POSTERN_DROP_REASONS(X)
#undef X
    kCount
};

inline constexpr unsigned kDropReasons = static_cast<unsigned>(DropReason::kCount);

struct DropReasonInfo {
    std::string_view name;
    std::string_view help;
};
const std::array<DropReasonInfo, kDropReasons>& drop_reason_table() noexcept;

inline std::string_view to_string(DropReason r) noexcept {
    return drop_reason_table()[static_cast<unsigned>(r)].name;
}

}  // namespace postern
