// SPDX-License-Identifier: BSD-3-Clause
// SIP (RFC 3261): reads where calls want their media (SDP in INVITE, UPDATE, ACK, PRACK and their
// responses) and where a registered user wants to be called (REGISTER), and asks for expectations.
// See NOTES.md for the semantics. message.h reads messages, sdp.h session descriptions.
//
// A connection may carry any number of calls, so nothing is remembered of a call but its tag: some
// bits of a hash of its Call-ID, and of the CSeq of the request that announced the medium. The tag
// goes with each expectation, and whatever ends a call or one attempt names it. The connection's
// state is the latest REGISTER and the latest few requests whose responses may announce.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/text.h"
#include "helper/view.h"
#include "net/addr.h"
#include "net/cursor.h"
#include "sip/message.h"
#include "sip/sdp.h"

namespace postern {
namespace sip {
namespace {

enum Pattern : std::uint8_t {
    kRequest = 1,
    kCSeq
};

enum Class : std::uint8_t {
    kSignalling,
    kAudio,
    kVideo,
    kImage
};

enum Param : unsigned {
    kDirectSignalling,
    kDirectMedia,
    kExternalMedia
};

enum OwnCounter : unsigned {
    kInvites,
    kUpdates,
    kAcks,
    kPracks,
    kByes,
    kCancels,
    kRegisters,
    kResponses,
    kNotAsked,
    kNames,
    kOtherMedia,
    kElsewhere
};

constexpr std::uint32_t kMasterTimeoutS = 3600;  ///< of the control connection, as in Linux
constexpr std::uint32_t kMaxRegistrationS = 0xffff;

struct SipState {
    std::uint32_t registering = 0;  ///< hash of Call-ID and CSeq of the latest REGISTER; 0: none
    std::uint32_t contact = 0;      ///< tag of the address that was asked for last; 0: none
    std::array<std::uint32_t, 4> asked{};       ///< tags; 0: the place is free
    std::array<std::uint8_t, 4> asked_flags{};  ///< Direction, kDescribed
    std::uint8_t next_asked = 0;
    std::uint8_t registering_by = 0;  ///< Direction
    std::uint16_t registered_s = 0;   ///< how long the last registration lasts
};
constexpr std::uint8_t kDescribed = 2;

constexpr Field kState[] = {
    POSTERN_FIELD(SipState, registering),
    POSTERN_FIELD(SipState, contact),
    POSTERN_FIELD(SipState, asked),
    POSTERN_FIELD(SipState, asked_flags, 1 | kDescribed),
    POSTERN_FIELD(SipState, next_asked, SipState{}.asked.size() - 1),
    POSTERN_FIELD(SipState, registering_by, 1),
    POSTERN_FIELD(SipState, registered_s),
};

/// What media are known by: 23 bits of their call, 8 of the CSeq. The first bit sets them apart
/// from registered addresses.
constexpr std::uint32_t kMediaTag = 0x80000000, kCallMask = 0xffffff00;
constexpr std::uint32_t tag_of(const Message& m) noexcept {
    return kMediaTag | (m.call & kCallMask) | (m.cseq & 0xff);
}

constexpr std::uint32_t mix(std::uint32_t h, std::uint32_t v) noexcept {
    h = (h ^ v) * 0x85ebca6bu;
    return h ^ h >> 13;
}
std::uint32_t registration_of(const Message& m) noexcept {
    return mix(m.call, m.cseq) | 1;
}
/// A registered address, which is the registering host's own, is known by the rest. Never 0.
std::uint32_t contact_tag(Be16 port, std::uint8_t protocol) noexcept {
    return std::uint32_t{port.host()} << 8 | protocol;
}

constexpr ExpectClass kClasses[] = {
    {"signalling", "calls to a registered address", 1, 180},
    {"audio", "RTP and RTCP of sound", 4, 180, true},
    {"video", "RTP and RTCP of pictures that move", 4, 180, true},
    {"image", "T.38 facsimile", 2, 180, true},
};
constexpr ParamDesc kParams[] = {
    ParamDesc{"direct_signalling", ParamType::boolean, "true",
              "calls to a registered address come from its registrar only; false: from anyone"},
    ParamDesc{"direct_media", ParamType::boolean, "true",
              "media run between the hosts that signal; false: between any"},
    ParamDesc{"external_media", ParamType::networks, "",
              "networks of one side of this firewall: what runs between two hosts in them does not "
              "pass here and opens nothing"},
    kDenyPortsParam,
};
constexpr CounterDesc kCounters[] = {
    {"invite_requests", "INVITE requests read"},
    {"update_requests", "UPDATE requests read"},
    {"ack_requests", "ACK requests read"},
    {"prack_requests", "PRACK requests read"},
    {"bye_requests", "BYE requests read"},
    {"cancel_requests", "CANCEL requests read"},
    {"register_requests", "REGISTER requests read"},
    {"responses", "responses to these read"},
    {"not_asked", "refused: a response to a REGISTER that was not the latest one"},
    {"names", "addresses given as names, which are not looked up"},
    {"other_media", "media that are neither RTP nor T.38 over UDP, or of another kind"},
    {"media_elsewhere", "media that do not pass here, as external_media says"},
};
constexpr std::uint16_t kPorts[] = {5060};
constexpr std::string_view kChildren[] = {"sip"};
constexpr std::uint8_t kSelf = 0;
// The second finds responses by what they answer; it finds the requests, too, but not those that
// cannot be read.
constexpr PatternDesc kPatterns[] = {
    {kRequest, "^(?:INVITE|UPDATE|ACK|PRACK|BYE|CANCEL|REGISTER) ", {}},
    {kCSeq, "^CSeq\\s*:\\s*[0-9]+\\s+(?:INVITE|UPDATE|PRACK|REGISTER)", {}, true},
};

void remember(SipState& s, const View& view, const Message& m, bool described) noexcept {
    const std::uint32_t tag = tag_of(m);
    unsigned place = s.next_asked;
    for (unsigned i = 0; i < s.asked.size(); ++i) {
        if (s.asked[i] != tag || (s.asked_flags[i] & 1) != index(view.direction)) continue;
        place = i;
    }
    if (place == s.next_asked)
        s.next_asked = static_cast<std::uint8_t>((place + 1) % s.asked.size());
    s.asked[place] = tag;
    s.asked_flags[place] =
        static_cast<std::uint8_t>(index(view.direction) | (described ? kDescribed : 0u));
}

/// What is known of the request that a response answers.
struct Question {
    bool wrong_side = false;  ///< it was asked by who answers now, and not by the other
    bool described = false;   ///< it had an offer, so this is the answer
};
Question question_of(const SipState& s, const View& view, const Message& m) noexcept {
    Question q;
    bool by_other = false;
    for (unsigned i = 0; i < s.asked.size(); ++i) {
        if (s.asked[i] != tag_of(m)) continue;
        const bool own = (s.asked_flags[i] & 1) == index(view.direction);
        q.wrong_side |= own;
        by_other |= !own;
        if (!own) q.described = (s.asked_flags[i] & kDescribed) != 0;
    }
    if (by_other) q.wrong_side = false;
    return q;
}

/// Media between hosts of one side, told by who signals.
bool is_elsewhere(const View& view, const IpAddr& host) noexcept {
    const auto on_that_side = [&](const IpAddr& a) {
        for (const Prefix& network : view.params[kExternalMedia].networks)
            if (network.contains(a)) return true;
        return false;
    };
    return on_that_side(host) && on_that_side(view.listener());
}

void ask(const View& view, Emit& emit, Class which, std::uint32_t tag, const IpAddr& host,
         Be16 port) noexcept {
    const bool direct = view.params[kDirectMedia].number != 0;
    if (host.family == Family::none) return emit.count(kNames);
    if (is_elsewhere(view, host)) return emit.count(kElsewhere);
    if (direct && host != view.speaker()) return emit.refuse(HelperCounter::third_party_address);
    PinHole hole;
    if (direct) hole.src = PinHole::exact(view.listener());
    hole.dst = host;
    hole.dport = port;
    hole.protocol = proto::udp;
    hole.class_index = which;
    hole.flags = PinHole::kSkipMaster;
    hole.tag = tag;
    emit.expect(hole);
}

/// Opens what the message's session description announces. False: it has none.
bool announce(const View& view, Emit& emit, const Message& m, bool is_answer) noexcept {
    const Bytes text = session_description(m);
    if (text.empty()) return false;
    const auto session = read_session(text);
    if (!session) {
        emit.parse_error();
        return true;
    }
    if (session->more) emit.refuse(HelperCounter::class_limit);
    for (const Media& medium : std::span(session->media).first(session->count)) {
        const std::uint32_t tag = tag_of(m);
        // Port 0: refused (RFC 3264 section 6). The unspecified address: on hold (section 8.4).
        const bool on_hold = medium.host == IpAddr{{}, medium.host.family};
        if (medium.port.host() == 0) continue;
        if (on_hold && medium.host.family != Family::none) continue;
        if (!medium.udp || medium.kind == MediaKind::other) {
            emit.count(kOtherMedia);
            continue;
        }
        const auto which = static_cast<Class>(kAudio + static_cast<unsigned>(medium.kind));
        ask(view, emit, which, tag, medium.host, medium.port);
        // Both sides have agreed to one port (RFC 5761 section 5.1.1), or the offer says the same.
        const bool one_port = (is_answer && medium.mux) ||
                              (medium.rtcp_port == medium.port && medium.rtcp_host == medium.host);
        if (medium.rtcp && !one_port && medium.rtcp_port.host() != 0)
            ask(view, emit, which, tag, medium.rtcp_host, medium.rtcp_port);
    }
    return true;
}

/// What one request announced, and its answer.
void remove_attempt(Emit& emit, const Message& m) noexcept {
    emit.remove(Emit::kAnyClass, tag_of(m));
}
void remove_call(Emit& emit, const Message& m) noexcept {
    emit.remove(Emit::kAnyClass, tag_of(m), kCallMask);
}

std::uint8_t transport_of(const Contact& contact, const View& view) noexcept {
    return contact.protocol != 0 ? contact.protocol : view.original.protocol;
}

/// REGISTER (section 10.2): calls to the address will come, once the registrar agrees.
void on_register(const View& view, Emit& emit, SipState& s, const Message& m) noexcept {
    s.registering = registration_of(m);
    s.registering_by = static_cast<std::uint8_t>(index(view.direction));
    const bool read = for_each_contact(m, [&](const Contact& contact) noexcept {
        if (contact.all || !contact.is_sip) return true;
        const std::uint8_t protocol = transport_of(contact, view);
        if (protocol != proto::udp && protocol != proto::tcp) return true;
        if (contact.host.family == Family::none) {
            emit.count(kNames);
            return true;
        }
        if (contact.host != view.speaker()) {
            emit.refuse(HelperCounter::third_party_address);
            return true;
        }
        // With no time given the registrar chooses one (section 10.2.1.1).
        if (contact.expires.value_or(m.expires.value_or(1)) == 0) return true;
        s.contact = contact_tag(contact.port, protocol);
        PinHole hole;
        if (view.params[kDirectSignalling].number != 0) hole.src = PinHole::exact(view.listener());
        hole.dst = contact.host;
        hole.dport = contact.port;
        hole.protocol = protocol;
        hole.class_index = kSignalling;
        // Of another connection of the same host, perhaps one that it has forgotten: good enough.
        hole.flags = PinHole::kPermanent | PinHole::kInactive | PinHole::kSkipMaster;
        hole.child = kSelf;
        hole.tag = s.contact;
        emit.expect(hole);
        return false;  // one a connection
    });
    if (!read) emit.parse_error();
}

/// The registrar's answer (section 10.3): what of it is still registered, and for how long.
void on_registered(const View& view, Emit& emit, SipState& s, const Message& m) noexcept {
    if (s.registering != registration_of(m)) return emit.count(kNotAsked);
    if (s.registering_by == index(view.direction))
        return emit.refuse(HelperCounter::wrong_direction);
    if (m.code < 200) return;
    std::uint32_t seconds = 0;
    if (m.succeeded() && s.contact != 0) {
        const bool read = for_each_contact(m, [&](const Contact& contact) noexcept {
            if (contact.all || !contact.is_sip || contact.host != view.listener()) return true;
            if (contact_tag(contact.port, transport_of(contact, view)) != s.contact) return true;
            seconds = contact.expires.value_or(m.expires.value_or(0));
            return false;
        });
        if (!read) emit.parse_error();
    }
    s.registered_s = static_cast<std::uint16_t>(std::min(seconds, kMaxRegistrationS));
    if (s.registered_s != 0)
        emit.activate(kSignalling, s.contact, s.registered_s);
    else
        emit.remove(kSignalling, 0);
}

void on_request(const View& view, Emit& emit, SipState& s, const Message& m) noexcept {
    switch (m.method) {
        case Method::invite:
            emit.count(kInvites);
            remove_call(emit, m);  // it describes the call anew
            remember(s, view, m, announce(view, emit, m, false));
            break;
        case Method::update:
            emit.count(kUpdates);
            remember(s, view, m, announce(view, emit, m, false));
            break;
        case Method::prack:
            emit.count(kPracks);
            remember(s, view, m, announce(view, emit, m, false));
            break;
        case Method::ack:
            emit.count(kAcks);
            announce(view, emit, m, false);
            break;
        case Method::bye:
            emit.count(kByes);
            remove_call(emit, m);
            break;
        case Method::cancel:  // of the request with the same CSeq (section 9.1)
            emit.count(kCancels);
            remove_attempt(emit, m);
            break;
        case Method::registration:
            emit.count(kRegisters);
            on_register(view, emit, s, m);
            break;
        case Method::other: break;
    }
}

void on_response(const View& view, Emit& emit, SipState& s, const Message& m) noexcept {
    switch (m.method) {
        case Method::invite:
        case Method::update:
        case Method::prack: {
            emit.count(kResponses);
            const Question q = question_of(s, view, m);
            if (q.wrong_side) return emit.refuse(HelperCounter::wrong_direction);
            if (m.failed())
                remove_attempt(emit, m);
            else
                announce(view, emit, m, q.described);
            break;
        }
        case Method::registration:
            emit.count(kResponses);
            on_registered(view, emit, s, m);
            break;
        default: break;
    }
}

void on_message(View& view, Emit& emit) noexcept {
    if (!is_sip(view.message)) return;  // line ends, or what keeps a NAT's binding alive
    const auto m = read_message(view.message);
    if (!m) return emit.parse_error();
    emit.proven();
    emit.read_all(false);
    auto s = view.load<SipState>();
    if (m->is_request)
        on_request(view, emit, s, *m);
    else
        on_response(view, emit, s, *m);
    // The connection has to be there as long as what it has registered.
    emit.master_timeout(std::max<std::uint32_t>(kMasterTimeoutS, s.registered_s));
    view.save(s);
}

Measured measure_message(Direction, Bytes bytes, std::size_t seen,
                         std::span<const std::uint8_t, kPrivateBytes>) noexcept {
    return measure(bytes, seen);
}

}  // namespace
}  // namespace sip

extern const HelperDesc helper_sip;
constinit const HelperDesc helper_sip{
    .name = "sip",
    .help = "media that SIP calls announce, and calls to registered addresses",
    .transports = transport::udp | transport::tcp,
    .framing = Framing::measured,
    .needs_proof = true,
    .default_ports = sip::kPorts,
    .classes = sip::kClasses,
    .params = sip::kParams,
    .counters = sip::kCounters,
    .patterns = sip::kPatterns,
    .children = sip::kChildren,
    .longest_message = sip::kLongest,
    .state = private_state<sip::SipState, sip::kState>(),
    .measure = sip::measure_message,
    .on_message = sip::on_message,
};

}  // namespace postern
