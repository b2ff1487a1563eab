// SPDX-License-Identifier: BSD-3-Clause
// Call signalling of H.323 (ITU-T H.225.0 section 7): Q.931 messages on TCP whose user-user element
// announces the H.245 connection, media channels directly (fast start), H.245 messages (tunnelled),
// or the target of a forwarded call. See NOTES.md.
//
// State of a connection: whether the client's Setup was seen (the proof of protocol, together with
// TPKT from the first octet on), and the tunnelled channels proposed and not yet answered.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
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

enum Class : std::uint8_t {
    kCall,
    kForwarded
};
enum Child : std::uint8_t {
    kH245Child,
    kQ931Child
};

struct Q931State {
    h323::OpenChannels channels;
    bool set_up = false;
};

constexpr Field kState[] = {
    POSTERN_FIELD(Q931State, channels.asked),
    POSTERN_FIELD(Q931State, set_up),
};

constexpr std::uint16_t kPorts[] = {1720};
constexpr ExpectClass kClasses[] = {
    {"call", "the H.245 connection, or RTP, RTCP and T.120", 20, 240},
    {"forwarded", "call signalling to the target of a forwarded call", 20, 240, true}};
constexpr std::string_view kChildren[] = {"h245", "q931"};
constexpr ParamDesc kParams[] = {
    with_help(kLooseParam,
              "as of `ftp`: H.245 and media elsewhere than at the peer that announces it"),
    kDenyPortsParam,
    ParamDesc{"callforward_filter", ParamType::networks, "",
              "networks, as in `\"10.0.0.0/8,2001:db8::/32\"`: a forwarded call is expected only "
              "if one of its ends is inside them and the other is not"},
    kDenyServicesParam};
enum Param : unsigned {
    kCallForwardFilter = named(kParams, "callforward_filter")
};
constexpr CounterDesc kCounters[] = {
    {"setups", "Setup read", Unit::messages},
    {"call_proceedings", "Call Proceeding read", Unit::messages},
    {"alertings", "Alerting read", Unit::messages},
    {"connects", "Connect read", Unit::messages},
    {"facilities", "Facility read", Unit::messages},
    {"progresses", "Progress read", Unit::messages},
    {"releases", "Release Complete read", Unit::messages},
    {"tunnelled", "tunnelled H.245 messages read", Unit::messages},
    {"fast_starts", "fast start channels read, proposed or accepted"},
    {"unasked_acks", "OpenLogicalChannelAck without OpenLogicalChannel: it opened nothing",
     Unit::messages},
    {"not_forwarded", "forwarded calls excluded by callforward_filter"},
};
enum OwnCounter : unsigned {
    kSetups = named(kCounters, "setups"),
    kCallProceedings = named(kCounters, "call_proceedings"),
    kAlertings = named(kCounters, "alertings"),
    kConnects = named(kCounters, "connects"),
    kFacilities = named(kCounters, "facilities"),
    kProgresses = named(kCounters, "progresses"),
    kReleases = named(kCounters, "releases"),
    kTunnelled = named(kCounters, "tunnelled"),
    kFastStarts = named(kCounters, "fast_starts"),
    kUnaskedAcks = named(kCounters, "unasked_acks"),
    kNotForwarded = named(kCounters, "not_forwarded")
};

/// The relevant parts of a Q.931 message.
struct Message {
    std::uint32_t tag;  ///< of the call: the same for both sides, never 0
    Bytes user_user;    ///< PER; empty: it has none
};

constexpr std::uint8_t kDiscriminator = 0x08;  ///< Q.931 section 4.2
constexpr std::uint8_t kUserUser = 0x7e;
constexpr std::uint8_t kPerCoded = 0x05;  ///< H.225.0 table 17: X.208 and X.209 coded
/// {itu-t recommendation h 2250 version}, encoded.
constexpr std::uint8_t kH225Id[] = {0x00, 0x08, 0x91, 0x4a, 0x00};

/// Header and elements (Q.931 sections 4.2 to 4.5; the length of the user-user element has two
/// octets in H.225.0, section 7.2.2.31).
std::optional<Message> read_q931(Bytes bytes, Direction speaker) noexcept {
    Cursor c{bytes};
    if (c.u8() != kDiscriminator) return std::nullopt;
    const auto reference_length = c.u8();
    if (!reference_length || *reference_length > 2) return std::nullopt;
    std::uint32_t reference = 0;
    for (unsigned i = 0; i < *reference_length; ++i) {
        const auto octet = c.u8();
        if (!octet) return std::nullopt;
        reference = reference << 8 | *octet;
    }
    // The flag is clear in the messages of the call's originator. References are the originator's
    // own.
    const std::uint32_t flag = *reference_length == 1 ? 0x80 : 0x8000;
    const Direction originator = (reference & flag) == 0 ? speaker : !speaker;
    Message m{(index(originator) + 1) << 16 | (reference & (flag - 1)), {}};

    if (!c.u8()) return std::nullopt;  // the message type; the user-user element has its own
    while (const auto element = c.u8()) {
        if ((*element & 0x80) != 0) continue;  // of one octet
        const bool user_user = *element == kUserUser;
        std::optional<std::size_t> length;
        if (user_user)
            length = c.u16_be();
        else
            length = c.u8();
        const auto content = length ? c.take(*length) : std::nullopt;
        if (!content) return std::nullopt;
        if (!user_user) continue;
        Cursor inner{*content};
        if (inner.u8() != kPerCoded) return std::nullopt;
        m.user_user = inner.rest();
        break;
    }
    return m;
}

void expect_h245(h323::Requests& requests, const h323::HostPort& to, std::uint32_t tag) noexcept {
    PinHole hole = requests.from_listener(to, proto::tcp);
    hole.class_index = kCall;
    hole.child = kH245Child;
    hole.tag = tag;
    requests.expect(hole);
}

/// The caller hangs up and calls another address: H.323 section 8.3.
void expect_forwarded(h323::Requests& requests, const h323::HostPort& to) noexcept {
    const View& view = requests.view();
    const auto networks = view.params[kCallForwardFilter].networks;
    const auto inside = [&](const IpAddr& a) {
        return std::any_of(networks.begin(), networks.end(),
                           [&](const Prefix& n) { return n.contains(a); });
    };
    if (!networks.empty() && inside(to.host) == inside(view.listener()))
        return requests.emit().count(kNotForwarded);
    PinHole hole = requests.from_listener(to, proto::tcp);
    hole.class_index = kForwarded;
    hole.child = kQ931Child;
    requests.expect(hole);
}

void count_body(Emit& emit, std::uint8_t mark) noexcept {
    switch (mark) {
        case h323::kSetup: emit.count(kSetups); break;
        case h323::kCallProceeding: emit.count(kCallProceedings); break;
        case h323::kAlerting: emit.count(kAlertings); break;
        case h323::kConnect: emit.count(kConnects); break;
        case h323::kFacility: emit.count(kFacilities); break;
        case h323::kProgress: emit.count(kProgresses); break;
        case h323::kReleaseComplete: emit.count(kReleases); break;
        default: break;
    }
}

void read_tunnelled(h323::Requests& requests, Q931State& s, Bytes message,
                    std::uint32_t tag) noexcept {
    Emit& emit = requests.emit();
    emit.count(kTunnelled);
    switch (h323::read_control(message, s.channels, requests, kCall, tag)) {
        case ControlMessage::unreadable: emit.parse_error(); break;
        case ControlMessage::unasked_ack: emit.count(kUnaskedAcks); break;
        default: break;
    }
}

void on_user_information(View& view, Emit& emit, Q931State& s, std::span<const per::Item> items,
                         std::uint32_t tag) noexcept {
    h323::Requests requests(view, emit);
    std::optional<h323::HostPort> alternative;
    bool forwarded = false, released = false;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const per::Item& item = items[i];
        count_body(emit, item.mark);
        switch (item.mark) {
            case h323::kH245Address:
                if (const auto to = h323::address_in(per::inside(items, i)))
                    expect_h245(requests, *to, tag);
                break;
            case h323::kFastStart:
                emit.count(kFastStarts);
                if (!h323::read_fast_start(item.bytes(), requests, kCall, tag)) emit.parse_error();
                break;
            case h323::kH245Control: read_tunnelled(requests, s, item.bytes(), tag); break;
            case h323::kAlternativeAddress:
                alternative = h323::address_in(per::inside(items, i));
                break;
            case h323::kCallForwarded: forwarded = true; break;
            case h323::kReleaseComplete: released = true; break;
            default: break;
        }
    }
    if (forwarded && alternative) expect_forwarded(requests, *alternative);
    if (released) emit.remove(kCall, tag);
}

void on_message(View& view, Emit& emit) noexcept {
    const Bytes content = h323::tpkt_content(view.message);
    if (content.empty()) return;
    auto s = view.load<Q931State>();
    const auto message = read_q931(content, view.direction);
    per::Tree tree;
    const bool readable =
        message && (message->user_user.empty() ||
                    per::decode(h323::kUserInformation, message->user_user, tree));
    if (!s.set_up && view.from_client()) {
        // The client's first message must be a Setup of H.323.
        const auto items = tree.items();
        if (!readable || items.empty() || items[0].mark != h323::kSetup ||
            !h323::is_version_of(items, kH225Id))
            return emit.blind(HelperCounter::blind_not_protocol);
        s.set_up = true;
        emit.proven();
    }
    if (!readable)
        emit.parse_error();
    else
        on_user_information(view, emit, s, tree.items(), message->tag);
    view.save(s);
}

}  // namespace

extern const HelperDesc helper_q931;
constinit const HelperDesc helper_q931{
    .name = "q931",
    .help = "H.323 call signalling: H.245, fast start, tunnelled H.245 and forwarded calls",
    .transports = transport::tcp,
    .framing = Framing::measured,
    .needs_proof = true,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kParams,
    .counters = kCounters,
    .children = kChildren,
    .longest_message = h323::kLongest,
    .state = private_state<Q931State, kState>(),
    .measure = h323::measure_tpkt,
    .on_message = on_message,
};

}  // namespace postern
