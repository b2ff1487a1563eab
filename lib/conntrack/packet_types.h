// SPDX-License-Identifier: BSD-3-Clause
// Numbers of packet and chunk types that the trackers of DCCP and SCTP look at.
#pragma once

#include <cstdint>

namespace postern {

/// RFC 9260 section 3.2.
namespace sctp_chunk {
constexpr std::uint8_t data = 0, init = 1, init_ack = 2, heartbeat = 4, heartbeat_ack = 5,
                       abort = 6, shutdown = 7, shutdown_ack = 8, error = 9, cookie_echo = 10,
                       cookie_ack = 11, shutdown_complete = 14;
}

/// RFC 4340 section 5.1.
namespace dccp_type {
enum : std::uint8_t {
    kRequest,
    kResponse,
    kData,
    kAck,
    kDataAck,
    kCloseReq,
    kClose,
    kReset,
    kSync,
    kSyncAck,
    kDccpTypes
};
}  // namespace dccp_type

}  // namespace postern
