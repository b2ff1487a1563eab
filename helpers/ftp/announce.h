// SPDX-License-Identifier: BSD-3-Clause
// Addresses and ports in FTP's notation: in PORT, EPRT and LPRT, and in the replies 227, 228 and
// 229. Pure functions of the bytes.
#pragma once

#include <optional>

#include "net/addr.h"
#include "net/cursor.h"

namespace postern::ftp {

struct HostPort {
    IpAddr host;
    Be16 port;
};

/// Each parses the whole argument of a command; returns nothing if it is malformed or followed by
/// more.
std::optional<HostPort> read_port(Bytes argument) noexcept;
std::optional<HostPort> read_eprt(Bytes argument) noexcept;
std::optional<HostPort> read_lprt(Bytes argument) noexcept;

/// The six numbers of a 227. Servers write them with and without brackets, after any text (RFC 1123
/// section 4.1.2.6): in the first parenthesis that starts with a digit, or if there is none the
/// first run of digits and commas. Other numbers in the text are ignored.
std::optional<HostPort> find_227(Bytes text) noexcept;
/// The contents of a 228's parentheses (RFC 1639 section 3).
std::optional<HostPort> find_228(Bytes text) noexcept;
/// The port of a 229, "(|||6446|)" after any text (RFC 2428 section 3); also in other
/// brackets.
std::optional<Be16> find_229(Bytes text) noexcept;

}  // namespace postern::ftp
