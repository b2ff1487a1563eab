// SPDX-License-Identifier: BSD-3-Clause
// SIP (RFC 3261): reads the media addresses of calls (SDP in INVITE, UPDATE, ACK, PRACK and their
// responses) and the addresses of registered users (REGISTER), and requests expectations. See
// NOTES.md for the semantics. message.h parses messages, sdp.h session descriptions.
//
// A connection may carry any number of calls, so no call has state here. Each expectation has a
// hash of its Call-ID and of the requesting side (ExpectTerms::call). Its tag has the attempt (CSeq
// and branch) and the dialog that announced it. The end of a call, an attempt or a dialog removes
// expectations by these. The connection's state is the latest REGISTERs, the registered addresses,
// and the latest few requests whose responses may announce.
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
#include "sip/state.h"

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

constexpr std::uint32_t kMinTimeoutS = 3600;  ///< of the control connection, as in Linux
constexpr std::uint32_t kMaxRegistrationS = 0xffff;
constexpr std::uint8_t kAgain = 3;
/// Further flows of answers to one port: if the server is silent for half a minute of ringing, its
/// next answer begins a new one.
constexpr std::uint8_t kAnswerFlows = 15;
constexpr std::uint32_t kRegisterAnswerS = 32;  ///< timer F (section 17.1.2.2): the longest wait

/// ExpectTerms::call of expectations without a call. Those of kRegistering match nothing: each
/// represents a REGISTER that is answered in another connection.
constexpr std::uint32_t kRegistrations = 1, kAnswers = 2, kRegistering = 3;
/// Of a call's media: by its Call-ID, and by the sender of the request that announced them or whose
/// answer did, since each side counts its own CSeq.
constexpr std::uint32_t kIsCall = 0x80000000, kAskedByReply = 0x40000000;
constexpr std::uint32_t call_of(const Message& m, Direction asker) noexcept {
    return kIsCall | (asker == Direction::reply ? kAskedByReply : 0) | m.call >> 2;
}
/// ExpectTerms::tag of media: 5 bits of the CSeq and 13 of the branch, which identify an attempt,
/// one that is set, and 13 of the dialog, which are 0 for announcements to all of them.
constexpr unsigned kCSeqAt = 27, kBranchAt = 14, kDialogWidth = 13;
constexpr std::uint32_t kCSeqBits = ~0u << kCSeqAt, kAttemptBits = ~0u << kBranchAt,
                        kDialogBits = (1u << kDialogWidth) - 1, kIsTag = 1u << kDialogWidth;
constexpr std::uint32_t tag_of(const Message& m) noexcept {
    const std::uint32_t branch = (m.via.branch ^ m.via.branch >> 16) << kBranchAt & ~kCSeqBits;
    return m.cseq << kCSeqAt | branch | kIsTag | (m.dialog & kDialogBits);
}

/// A registered address, or one for awaited answers, both the speaker's own, is identified by the
/// rest. Never 0.
constexpr std::uint32_t port_tag(Be16 port, std::uint8_t protocol) noexcept {
    return std::uint32_t{port.host()} << 8 | protocol;
}
constexpr std::uint8_t kFromAnyPort = 0;  ///< in place of a protocol: answers from any port

constexpr ExpectClass kClasses[] = {
    {"signalling", "calls to a registered address; answers to the port that a request names", 6,
     180, false, false, 6},
    {"audio", "RTP and RTCP of audio", 4, 180, true, false, 16},
    {"video", "RTP and RTCP of video", 4, 180, true, false, 16},
    {"image", "T.38 facsimile", 2, 180, true, false, 8},
};
/// 1024 calls, which have four each: a trunk's with 5 calls a second that ring for minutes.
constexpr ParamDesc kPending = [] {
    ParamDesc p = kMaxPendingParam;
    p.default_text = "4096";
    return p;
}();
constexpr ParamDesc kParams[] = {
    ParamDesc{"direct_signalling", ParamType::boolean, "true",
              "calls to a registered address come from its registrar only; false: from any host"},
    ParamDesc{"direct_media", ParamType::boolean, "true",
              "media run between the hosts that signal; false: between any hosts, so that third "
              "parties' addresses are accepted too"},
    ParamDesc{"external_media", ParamType::networks, "",
              "networks of one side of this firewall, as in "
              "`\"198.51.100.0/24,2001:db8:1::/48\"`: media between two hosts in them do not pass "
              "here and open nothing"},
    kPending,
    kDenyPortsParam,
    kDenyServicesParam,
    with_help(kPickUpParam, "as of `ftp`, over TCP: after two requests, each with its answer")};
enum Param : unsigned {
    kDirectSignalling = named(kParams, "direct_signalling"),
    kDirectMedia = named(kParams, "direct_media"),
    kExternalMedia = named(kParams, "external_media")
};
constexpr CounterDesc kCounters[] = {
    {"invite_requests", "INVITE requests read", Unit::requests},
    {"update_requests", "UPDATE requests read", Unit::requests},
    {"ack_requests", "ACK requests read", Unit::requests},
    {"prack_requests", "PRACK requests read", Unit::requests},
    {"bye_requests", "BYE requests read", Unit::requests},
    {"cancel_requests", "CANCEL requests read", Unit::requests},
    {"register_requests", "REGISTER requests read", Unit::requests},
    {"responses", "responses to these requests read", Unit::messages},
    {"not_asked", "refused: a response to a REGISTER that was not the latest one", Unit::messages},
    {"names", "addresses given as names, which are not looked up"},
    {"other_media", "media that are neither RTP nor T.38 over UDP, or of another kind"},
    {"media_elsewhere", "media that do not pass here, by external_media"},
};
enum OwnCounter : unsigned {
    kInvites = named(kCounters, "invite_requests"),
    kUpdates = named(kCounters, "update_requests"),
    kAcks = named(kCounters, "ack_requests"),
    kPracks = named(kCounters, "prack_requests"),
    kByes = named(kCounters, "bye_requests"),
    kCancels = named(kCounters, "cancel_requests"),
    kRegisters = named(kCounters, "register_requests"),
    kResponses = named(kCounters, "responses"),
    kNotAsked = named(kCounters, "not_asked"),
    kNames = named(kCounters, "names"),
    kOtherMedia = named(kCounters, "other_media"),
    kElsewhere = named(kCounters, "media_elsewhere")
};
constexpr std::uint16_t kPorts[] = {5060};
constexpr std::string_view kChildren[] = {"sip"};
constexpr std::uint8_t kSelf = 0;
// The second finds responses by the answered request; it finds the requests, too, but not
// unreadable ones.
constexpr PatternDesc kPatterns[] = {
    {kRequest,
     "^(?:INVITE|UPDATE|ACK|PRACK|BYE|CANCEL|REGISTER|OPTIONS|SUBSCRIBE|NOTIFY|PUBLISH|MESSAGE|"
     "INFO|"
     "REFER) ",
     {}},
    {kCSeq, "^CSeq\\s*:\\s*[0-9]+\\s+(?:INVITE|UPDATE|PRACK|REGISTER)", {}, true},
};

/// Media between hosts of one side, by the hosts that signal.
bool is_elsewhere(const View& view, const IpAddr& host) noexcept {
    const auto on_that_side = [&](const IpAddr& a) {
        for (const Prefix& network : view.params[kExternalMedia].networks)
            if (network.contains(a)) return true;
        return false;
    };
    return on_that_side(host) && on_that_side(view.listener());
}

/// The end of a message's announcements.
struct Owner {
    std::uint32_t call;
    std::uint32_t tag;
    bool may_fork = false;  ///< an offer that several callees may answer
};

void ask(const View& view, Emit& emit, Class which, Owner owner, const IpAddr& host,
         Be16 port) noexcept {
    const bool direct = view.params[kDirectMedia].number != 0;
    if (host.family == Family::none) return emit.count(kNames);
    if (is_elsewhere(view, host)) return emit.count(kElsewhere);
    if (direct && host != view.speaker()) return emit.refuse(HelperCounter::third_party_address);
    PinHole hole;
    if (direct) hole.src = Prefix::exact(view.listener());
    hole.dst = host;
    hole.dport = port;
    hole.protocol = proto::udp;
    hole.class_index = which;
    hole.flags = expect_flag::skip_master;
    hole.tag = owner.tag;
    hole.call = owner.call;
    // Each callee sends from a port of its own. With any source: only one flow.
    if (direct && owner.may_fork) hole.again = kAgain;
    emit.expect(hole);
}

/// Requests the expectations of a session description.
void announce(const View& view, Emit& emit, Owner owner, bool is_answer, Bytes text) noexcept {
    const auto session = read_session(text);
    if (!session || session->unclear) emit.parse_error();
    if (!session) return;
    for (unsigned i = 0; i < session->other; ++i)
        emit.count(kOtherMedia);
    if (session->more) emit.refuse(HelperCounter::class_limit);
    for (const Media& medium : std::span(session->media).first(session->count)) {
        const auto which = static_cast<Class>(kAudio + static_cast<unsigned>(medium.kind));
        ask(view, emit, which, owner, medium.host, medium.port);
        const Owner rtcp{owner.call, owner.tag};
        // Both sides have agreed on one port (RFC 5761 section 5.1.1), or the offer requires it.
        const bool one_port = (is_answer && medium.mux) ||
                              (medium.rtcp_port == medium.port && medium.rtcp_host == medium.host);
        if (medium.rtcp && !one_port && medium.rtcp_port.host() != 0)
            ask(view, emit, which, rtcp, medium.rtcp_host, medium.rtcp_port);
    }
}

/// Requests the expectations of the message's session descriptions. False: it has none.
bool announce(const View& view, Emit& emit, const Message& m, bool is_answer) noexcept {
    const Owner owner{call_of(m, m.is_request ? view.direction : !view.direction), tag_of(m),
                      m.is_request && m.method == Method::invite && m.dialog == 0};
    bool any = false;
    for_each_description(m, [&](Bytes text) noexcept {
        any = true;
        announce(view, emit, owner, is_answer, text);
    });
    return any;
}

std::uint32_t registration_of(const Message& m, Direction asker) noexcept {
    return ((mix(m.call, m.cseq) | 2) & ~kByReply) | asked_by(asker);
}

/// Answers over UDP go to the request's source address, but to the port in its Via (section
/// 18.2.2), unless it requests its source port (RFC 3581). Some telephones send from a port on
/// which they do not listen. The server usually answers from the request's destination port: that
/// flow has an expectation of its own, which a datagram forged from another port does not use up.
void await_answers(const View& view, Emit& emit, const Message& m) noexcept {
    const Be16 own = view.from_client() ? view.original.sport : view.original.dport;
    if (view.original.protocol != proto::udp || m.method == Method::ack) return;
    if (m.via.port.host() == 0 || m.via.port == own) return;
    PinHole hole;
    hole.src = Prefix::exact(view.listener());
    hole.dst = view.speaker();
    hole.dport = m.via.port;
    hole.protocol = proto::udp;
    hole.class_index = kSignalling;
    // Those of earlier connections of the same host have their own timeout and their own master.
    hole.flags = expect_flag::beside;
    hole.child = kSelf;
    hole.call = kAnswers;
    hole.again = kAnswerFlows;
    hole.tag = port_tag(m.via.port, kFromAnyPort);
    emit.expect(hole);
    hole.set_sport(view.from_client() ? view.original.dport : view.original.sport);
    hole.tag = port_tag(m.via.port, proto::udp);
    emit.expect(hole);
    if (m.method != Method::registration) return;
    // So that the connection of the answer recognises it: see grant().
    hole.set_sport({});
    hole.again = 0;
    hole.flags |= expect_flag::inactive;
    hole.call = kRegistering;
    hole.tag = registration_of(
        m, Direction::original);  // the answer does not show which side sent the request
    hole.timeout_ms = kRegisterAnswerS * 1000;
    emit.expect(hole);
}

// ---- registrations ------------------------------------------------------------------------------

std::uint8_t transport_of(const Contact& contact, const View& view) noexcept {
    return contact.protocol != 0 ? contact.protocol : view.original.protocol;
}
std::uint16_t call_bits(const Message& m) noexcept {
    return static_cast<std::uint16_t>(m.call ^ m.call >> 16) & contact_info::call;
}
std::uint8_t protocol_of(std::uint16_t info) noexcept {
    return (info & contact_info::tcp) != 0 ? proto::tcp : proto::udp;
}

/// Its index; contact.size(): not stored.
std::size_t place_of(const SipState& s, Be16 port, std::uint8_t protocol) noexcept {
    std::size_t i = 0;
    while (i < s.contact.size() &&
           (s.contact[i] != port.host() || protocol_of(s.contact_info[i]) != protocol))
        ++i;
    return i;
}

/// REGISTER (section 10.2): calls to the address will follow, once the registrar accepts. Earlier
/// grants stay until its next answer.
void on_register(const View& view, Emit& emit, SipState& s, const Message& m) noexcept {
    const std::uint32_t asked = registration_of(m, view.direction);
    if (s.registering[0] != asked) s.registering = {asked, s.registering[0]};
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
        // Without a lifetime the registrar chooses one (section 10.2.1.1).
        if (contact.expires.value_or(m.expires.value_or(1)) == 0) return true;
        std::size_t place = place_of(s, contact.port, protocol);
        if (place == s.contact.size()) place = place_of(s, Be16{}, proto::udp);
        if (place == s.contact.size()) {
            emit.refuse(HelperCounter::class_limit);
            return true;
        }
        const bool known = s.contact[place] == contact.port.host();
        s.contact[place] = contact.port.host();
        s.contact_info[place] = static_cast<std::uint16_t>(
            (known ? s.contact_info[place] & contact_info::granted : 0) | call_bits(m) |
            (protocol == proto::tcp ? contact_info::tcp : 0));
        PinHole hole;
        if (view.params[kDirectSignalling].number != 0) hole.src = Prefix::exact(view.listener());
        hole.dst = contact.host;
        hole.dport = contact.port;
        hole.protocol = protocol;
        hole.class_index = kSignalling;
        // That of another connection of the same host, possibly one that it has lost, ends with its
        // lifetime.
        hole.flags = expect_flag::permanent | expect_flag::inactive | expect_flag::beside |
                     expect_flag::stays;
        hole.child = kSelf;
        hole.tag = port_tag(contact.port, protocol);
        hole.call = kRegistrations;
        emit.expect(hole);
        return true;
    });
    if (!read) emit.parse_error();
}

/// The registrar's answer to this connection's REGISTER, or to its master's. A telephone that
/// expects answers at another port than its source port (await_answers()) gets them in a connection
/// of its own, and the request is then that of the master.
enum class Asked : std::uint8_t {
    here,
    in_master
};

void grant(const View& view, Emit& emit, const Message& m, Asked where, Be16 port,
           std::uint8_t protocol, std::uint32_t seconds) noexcept {
    const std::uint32_t tag = port_tag(port, protocol);
    if (where == Asked::in_master)
        emit.grant_in_master(kSignalling, kRegistrations, tag,
                             Tuple{view.speaker(), view.listener(), {}, port, protocol}, seconds,
                             kRegistering, registration_of(m, Direction::original));
    else if (seconds != 0)
        emit.activate(kSignalling, tag, seconds, kRegistrations);
    else
        emit.remove(kSignalling, tag, ~0u, kRegistrations);
}

/// A 2xx (section 10.3): the current registrations, and their lifetime.
void on_granted(const View& view, Emit& emit, SipState& s, const Message& m, Asked where) noexcept {
    std::uint32_t longest = 0;
    unsigned listed = 0;  // places
    const bool read = for_each_contact(m, [&](const Contact& contact) noexcept {
        if (contact.all || !contact.is_sip || contact.host != view.listener()) return true;
        const std::uint8_t protocol = transport_of(contact, view);
        if (protocol != proto::udp && protocol != proto::tcp) return true;
        const std::uint32_t seconds =
            std::min(contact.expires.value_or(m.expires.value_or(0)), kMaxRegistrationS);
        std::size_t place = place_of(s, contact.port, protocol);
        if (place == s.contact.size() && where == Asked::in_master) {
            place = place_of(s, Be16{}, proto::udp);
            if (place == s.contact.size()) return true;
            s.contact[place] = contact.port.host();
            s.contact_info[place] = static_cast<std::uint16_t>(
                call_bits(m) | (protocol == proto::tcp ? contact_info::tcp : 0));
        }
        // One that was not requested here is another connection's. Of several users the longest
        // lifetime counts.
        if (place == s.contact.size() || seconds == 0 || (listed >> place & 1) != 0) return true;
        s.contact_info[place] |= contact_info::granted;
        listed |= 1u << place;
        longest = std::max(longest, seconds);
        grant(view, emit, m, where, contact.port, protocol, seconds);
        return true;
    });
    if (!read) emit.parse_error();
    for (std::size_t i = 0; i < s.contact.size(); ++i) {
        if (s.contact[i] == 0 || (listed >> i & 1) != 0) continue;
        if ((s.contact_info[i] & contact_info::call) != call_bits(m)) continue;  // another user's
        grant(view, emit, m, where, Be16::from_host(s.contact[i]), protocol_of(s.contact_info[i]),
              0);
        s.contact[i] = s.contact_info[i] = 0;
    }
    s.registered_s = static_cast<std::uint16_t>(longest);
}

void on_registered(const View& view, Emit& emit, SipState& s, const Message& m) noexcept {
    const auto asked = [&](Direction asker) {
        return std::find(s.registering.begin(), s.registering.end(), registration_of(m, asker)) !=
               s.registering.end();
    };
    Asked where = Asked::here;
    if (!asked(!view.direction)) {
        if (asked(view.direction)) return emit.refuse(HelperCounter::wrong_direction);
        if (!view.from_client() || view.original.protocol != proto::udp)
            return emit.count(kNotAsked);
        where = Asked::in_master;
    }
    if (m.succeeded()) return on_granted(view, emit, s, m, where);
    if (!m.failed() || where == Asked::in_master) return;
    // Refused (usually for lack of a password): earlier grants stay, the rest is removed.
    for (std::size_t i = 0; i < s.contact.size(); ++i) {
        const std::uint16_t info = s.contact_info[i];
        if (s.contact[i] == 0 || (info & contact_info::granted) != 0) continue;
        if ((info & contact_info::call) != call_bits(m)) continue;
        grant(view, emit, m, where, Be16::from_host(s.contact[i]), protocol_of(info), 0);
        s.contact[i] = s.contact_info[i] = 0;
    }
}

// ---- calls --------------------------------------------------------------------------------------

/// The expectations of one request, and of its answers.
void remove_attempt(const View& view, Emit& emit, const Message& m) noexcept {
    emit.remove(Emit::kAnyClass, tag_of(m), kAttemptBits, call_of(m, !view.direction));
}
/// The expectations of the same side's earlier and later requests of the call.
void remove_others(Emit& emit, const Message& m, Direction asker) noexcept {
    emit.remove(Emit::kAnyClass, tag_of(m), kCSeqBits, call_of(m, asker), true);
}

/// BYE ends a dialog (section 15). A forking call may have others.
void on_bye(Emit& emit, const Message& m) noexcept {
    for (const Direction asker : {Direction::original, Direction::reply}) {
        const std::uint32_t call = call_of(m, asker);
        if (m.dialog != 0)
            emit.remove_branch(call, m.dialog, kDialogBits);
        else
            emit.remove(Emit::kAnyClass, 0, ~0u, call);
    }
}

void on_request(const View& view, Emit& emit, SipState& s, const Message& m) noexcept {
    await_answers(view, emit, m);
    switch (m.method) {
        case Method::invite:
            emit.count(kInvites);
            // Repeated after a refusal: it describes the call anew. Within a call that holds only
            // when it is accepted.
            if (m.dialog == 0) remove_others(emit, m, view.direction);
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
            on_bye(emit, m);
            break;
        case Method::cancel:  // no effect: a 200 may cross it (section 9.1)
            emit.count(kCancels);
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
            if (m.failed()) return remove_attempt(view, emit, m);
            if (m.method == Method::invite && m.succeeded() && q.in_dialog)
                remove_others(emit, m, !view.direction);
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

/// In mid-stream, before the proof: true if this message completes it.
bool proves_picked_up(const View& view, SipState& s, const Message& m) noexcept {
    const std::uint32_t by_reply = view.direction == Direction::reply ? kByReply : 0;
    // Never 0. An ACK is not answered (section 13.2.2.4).
    const std::uint32_t request = question_hash(m) | kDescribed;
    if (m.is_request) {
        if (m.method != Method::ack) set_question(s, 0, request | by_reply);
        return false;
    }
    if (question(s, 0) != (request | (by_reply ^ kByReply))) return false;
    set_question(s, 0, 0);
    return ++s.pairs == kPairs;
}

/// The same for a connection that was proven before the firewall restarted: one request with its
/// answer suffices. Requests are read like any other, so that their answers are understood.
bool proves_resumed(const View& view, Emit& emit, SipState& s, const Message& m) noexcept {
    constexpr std::size_t kLast = 2;  ///< question that is this function's
    const std::uint32_t by_reply = view.direction == Direction::reply ? kByReply : 0;
    const std::uint32_t request = question_hash(m) | kDescribed;
    if (m.is_request) {
        on_request(view, emit, s, m);
        if (m.method != Method::ack) set_question(s, kLast, request | by_reply);
        return false;
    }
    if (question(s, kLast) != (request | (by_reply ^ kByReply))) return false;
    set_question(s, kLast, 0);
    s.pairs = kPairs;
    return true;
}

void on_message(View& view, Emit& emit) noexcept {
    // Line ends before a message are skipped in streams only (section 7.5): a datagram that begins
    // otherwise may be what a web page put into another protocol's.
    if (!is_sip(view.message)) return;  // line ends, or a keep-alive for a NAT's binding
    const auto m = read_message(view.message);
    if (!m) return emit.parse_error();
    // Over TCP the client's own messages prove it, whose first bytes had to be a message: a web
    // page may have made the client connect here, to a server that sends what it likes.
    auto s = view.load<SipState>();
    if (view.resumed && s.pairs < kPairs) {
        const bool proven = m->own_version && proves_resumed(view, emit, s, *m);
        if (!proven) return view.save(s);
    } else if (view.picked_up && s.pairs < kPairs) {
        if (!m->own_version) return emit.blind(HelperCounter::blind_not_protocol);
        const bool proven = proves_picked_up(view, s, *m);
        view.save(s);
        if (proven) emit.proven();
        return;
    }
    const bool proves = view.original.protocol == proto::udp || view.resumed ||
                        (view.from_client() && m->own_version);
    if (proves) emit.proven();
    if (proves || !view.from_client()) emit.read_all(false);
    if (m->is_request)
        on_request(view, emit, s, *m);
    else
        on_response(view, emit, s, *m);
    // The connection has to exist as long as its registrations.
    emit.min_timeout(std::max<std::uint32_t>(kMinTimeoutS, s.registered_s));
    view.save(s);
}

Measured measure_message(Direction, Bytes bytes, Progress& progress,
                         std::span<const std::uint8_t, kPrivateBytes>) noexcept {
    return measure(bytes, progress);
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
