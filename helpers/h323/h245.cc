// SPDX-License-Identifier: BSD-3-Clause
// H.245, the media control of H.323, on a TCP connection of its own that call signalling announced:
// reads the addresses of logical channels and requests their RTP, RTCP and T.120 connections. See
// NOTES.md.
//
// State of a connection: which side has sent its capabilities (the proof of protocol, together with
// TPKT from the first octet on), and the channels proposed and not yet answered.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "h323/channels.h"
#include "h323/requests.h"
#include "h323/tpkt.h"
#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/view.h"

namespace postern {
namespace {

using h323::ControlMessage;

struct H245State {
    h323::OpenChannels channels;
    std::array<bool, 2> capable{};  ///< by Direction: has sent its TerminalCapabilitySet
};

constexpr Field kState[] = {
    POSTERN_FIELD(H245State, channels.asked),
    POSTERN_FIELD(H245State, capable),
};

constexpr std::uint8_t kMedia = 0;
constexpr ExpectClass kClasses[] = {{"media", "RTP and RTCP of a channel, or T.120", 18, 240}};
constexpr ParamDesc kParams[] = {
    with_help(kLooseParam, "as of `ftp`: media elsewhere than at the peer that announces it"),
    kDenyPortsParam, kDenyServicesParam};
constexpr CounterDesc kCounters[] = {
    {"open_channels", "OpenLogicalChannel read", Unit::messages},
    {"open_channel_acks", "OpenLogicalChannelAck read", Unit::messages},
    {"open_channel_rejects", "OpenLogicalChannelReject read", Unit::messages},
    {"close_channels", "CloseLogicalChannel read", Unit::messages},
    {"end_sessions", "EndSessionCommand read", Unit::messages},
    {"unasked_acks", "OpenLogicalChannelAck without OpenLogicalChannel: it opened nothing",
     Unit::messages},
};
enum OwnCounter : unsigned {
    kOpens = named(kCounters, "open_channels"),
    kOpenAcks = named(kCounters, "open_channel_acks"),
    kOpenRejects = named(kCounters, "open_channel_rejects"),
    kCloses = named(kCounters, "close_channels"),
    kEndSessions = named(kCounters, "end_sessions"),
    kUnaskedAcks = named(kCounters, "unasked_acks")
};

void on_message(View& view, Emit& emit) noexcept {
    const Bytes content = h323::tpkt_content(view.message);
    if (content.empty()) return;
    auto s = view.load<H245State>();
    h323::Requests requests(view, emit);
    switch (h323::read_control(content, s.channels, requests, kMedia, 0)) {
        case ControlMessage::unreadable: emit.parse_error(); break;
        case ControlMessage::other: break;
        case ControlMessage::capabilities:
            s.capable[index(view.direction)] = true;
            if (s.capable[0] && s.capable[1]) emit.proven();
            break;
        case ControlMessage::open: emit.count(kOpens); break;
        case ControlMessage::open_ack: emit.count(kOpenAcks); break;
        case ControlMessage::unasked_ack: emit.count(kUnaskedAcks); break;
        case ControlMessage::open_reject: emit.count(kOpenRejects); break;
        case ControlMessage::close: emit.count(kCloses); break;
        case ControlMessage::end_session: emit.count(kEndSessions); break;
    }
    view.save(s);
}

}  // namespace

extern const HelperDesc helper_h245;
constinit const HelperDesc helper_h245{
    .name = "h245",
    .help =
        "H.245: media channels and T.120 of H.323 calls; assigned to connections that q931 expects",
    .transports = transport::tcp,
    .framing = Framing::measured,
    .needs_proof = true,
    .classes = kClasses,
    .params = kParams,
    .counters = kCounters,
    .longest_message = h323::kLongest,
    .state = private_state<H245State, kState>(),
    .measure = h323::measure_tpkt,
    .on_message = on_message,
};

}  // namespace postern
