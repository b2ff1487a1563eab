// SPDX-License-Identifier: BSD-3-Clause
// Conversations with what they must open, as files.
//
// A file holds lines of these kinds:
//   # comment
//   helper NAME [PARAM=VALUE ...]      first; the helper under test
//   families ipv4 ipv6                 the conversation is run once for each; default: both
//   to ADDRESS [PORT]                  the server's address, and the client's port, where they are
//                                      not the usual ones
//   midstream client|server|picked     the SYN of that side is not seen; picked: of neither side,
//   and
//                                      the helper reads on all the same
//   over tcp|udp                       for a helper that has both; default: tcp. `over tcp udp`:
//   the
//                                      conversation is run over each, and `expect` means udp
//   in order                           only the ways without reordering (when that is the point)
//   every N                            of the splits in two, those at each Nth byte (long messages)
//   once                               datagrams are not said twice (when the second says nothing)
//   C: text    S: text                 client, server says a line; CR LF is added
//   C| text    S| text                 as it stands, nothing is added
//   C= hex     S= hex                  bytes, in groups of pairs; {client#} and the like may stand
//                                      between the groups
//   C- text    S- text                 lost: never seen, never repeated
//   + text                             one more line of the words before it; CR LF is added
//   = hex                              more bytes of the words before it
// What the words just before ask for, in this order, and no more:
//   expect SRC -> DST:PORT CLASS [TIMEOUT] [WORD ...]
//                                      SRC and DST: client, server, any, or an address; TIMEOUT: if
//                                      it is not the class's. Words: permanent, inactive,
//                                      skip_master, beside, stays, again=N, call=TAG, tag=TAG,
//                                      child=NAME, and the protocol if it is neither the helper's
//                                      own nor, if it has both, udp
//   activate CLASS TAG TIMEOUT [call=TAG]
//   remove CLASS TAG [mask=HEX] [call=TAG] [others]
//                                      CLASS may be `any`
//   remove branch TAG call=TAG
//   grant_in_master CLASS TAG TIMEOUT [call=TAG] PROTO ADDRESS:PORT asked_call=TAG asked_tag=TAG
//                                      a TAG is a number, or $NAME: the same number each time
//   end PROTO SRC:PORT -> DST:PORT     a running connection; `adopt`: it becomes this one's child
//   min_timeout N                   from here on, in seconds; in any place
// At the end:
//   destroy                            what follows (`end`) is asked for when the connection ends
//   count COUNTER N                    refusals, blind streams and parse errors that are not named
//                                      must be 0
// Over UDP each of the words is one datagram, never cut; said twice, it asks twice.
// In text: \r \n \t \\ \xHH, {client} {server} (addresses), {client,} {server,} (as in PORT),
// {client#} {server#} (their bytes), {client_number} {server_number} (as in DCC), {af} (1 or 2, as
// in EPRT), {N*c} (N times the character c), {N*HH} (N times the byte HH), {[client]} {[server]}
// (in brackets if IPv6), {ip} (IP4 or IP6), {length} (bytes after the first empty line, as in
// Content-Length).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "helper/engine.h"

namespace postern {

inline constexpr HelperId kHelper = 1;

struct Words {
    Direction by = Direction::original;
    bool lost = false;
    std::string text;
    std::vector<std::string> expect;  ///< as print() writes them
    std::optional<std::uint16_t> min_timeout_s;
};

struct Dialogue {
    std::string file;
    HelperConfig config;
    std::vector<Family> families{Family::ipv4, Family::ipv6};
    std::optional<IpAddr> server;
    std::uint16_t client_port = 40000;
    std::array<bool, 2> syn_seen{true, true};
    bool picked_up = false;
    bool in_order = false;
    bool once = false;
    std::size_t every = 1;
    std::vector<std::uint8_t> over{proto::tcp};  ///< IP protocols: it is run over each
    std::uint8_t usual = proto::tcp;             ///< of an expectation that names none
    std::vector<Words> words;
    std::vector<std::string> parting;  ///< what is asked for when it ends
    std::map<std::string, std::uint64_t> counts;
};

struct Addresses {
    IpAddr client, server;
    explicit Addresses(Family f)
        : client(*IpAddr::parse(f == Family::ipv4 ? "192.0.2.1" : "2001:db8::1")),
          server(*IpAddr::parse(f == Family::ipv4 ? "198.51.100.2" : "2001:db8:1::2")) {}

    std::string name(const IpAddr& a) const {
        return a == client ? "client" : a == server ? "server" : a.to_string();
    }
};

/// `in` with what stands in braces in these addresses' notation.
std::string expand(std::string_view in, const Addresses& addresses);
/// Throws std::runtime_error, which names the line.
Dialogue parse(const std::filesystem::path& path);
/// As a file writes it; `usual`: the protocol that goes without saying.
std::string print(const PinHole& hole, const HelperDesc& desc, const Addresses& addresses,
                  std::uint8_t usual);
std::string print(const EmitAction& act, const HelperDesc& desc, const Addresses& addresses);

}  // namespace postern
