// SPDX-License-Identifier: BSD-3-Clause
// PPTP (RFC 2637): a control connection on TCP sets up calls; each call is a tunnel of GRE packets
// between the same two hosts. Every packet has its receiver's call id, and the control connection
// announces both ids. See NOTES.md for the messages and their expectations.
//
// The messages show which side is the PNS and which the PAC; the initiator of the connection does
// not. An outgoing call is requested by the PNS, an incoming one by the PAC (section 1.2).
//
// State: the session, and up to six calls with the ids of both sides.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/view.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern {
namespace {

constexpr unsigned kMaxCalls = 6;

constexpr std::uint16_t kPorts[] = {1723};
constexpr ExpectClass kClasses[] = {
    {"call", "a call's GRE tunnel, an expectation for each direction", 2 * kMaxCalls, 300}};
constexpr CounterDesc kCounters[] = {
    {"sessions", "control connections that both sides agreed on", Unit::connections},
    {"outgoing_calls", "calls requested by Outgoing-Call-Request and connected"},
    {"incoming_calls", "calls requested by Incoming-Call-Request and connected"},
    {"declined", "sessions and calls that the other side did not accept"},
    {"ended", "calls that ended before their control connection"},
    {"wrong_order", "messages that contradict earlier ones; they opened nothing", Unit::messages},
    {"unknown_call", "messages about an unknown call", Unit::messages},
    {"too_many_calls", "calls beyond the six tracked in a control connection"},
};
enum OwnCounter : unsigned {
    kSessions = named(kCounters, "sessions"),
    kOutgoing = named(kCounters, "outgoing_calls"),
    kIncoming = named(kCounters, "incoming_calls"),
    kDeclined = named(kCounters, "declined"),
    kEnded = named(kCounters, "ended"),
    kWrongOrder = named(kCounters, "wrong_order"),
    kUnknownCall = named(kCounters, "unknown_call"),
    kTooManyCalls = named(kCounters, "too_many_calls")
};

/// Section 2: control message types.
enum Type : std::uint16_t {
    kStartRequest = 1,
    kStartReply,
    kStopRequest,
    kStopReply,
    kEchoRequest,
    kEchoReply,
    kOutgoingRequest,
    kOutgoingReply,
    kIncomingRequest,
    kIncomingReply,
    kIncomingConnected,
    kClearRequest,
    kDisconnectNotify,
    kWanErrorNotify,
    kSetLinkInfo
};
/// Bytes of each, header included (sections 2.1 to 2.15).
constexpr std::array<std::uint16_t, 16> kSizes{0,  156, 156, 16, 16, 16,  20, 168,
                                               32, 220, 24,  28, 16, 148, 40, 24};
constexpr std::uint16_t kHeader = 12;    // length, kind, cookie, type, reserved
constexpr std::uint16_t kLongest = 512;  // more than any message has, with room for additions
constexpr std::uint16_t kControlMessage = 1, kManagementMessage = 2;
constexpr std::uint32_t kCookie = 0x1a2b3c4d;
constexpr unsigned kMajorVersion = 1;  // section 2.1
/// Result code of all replies: connected, accepted, done.
constexpr std::uint8_t kOk = 1;

enum class Session : std::uint8_t {
    none,
    requested,
    confirmed,
    stopping
};
enum class Phase : std::uint8_t {
    free,
    outgoing_asked,
    incoming_asked,
    incoming_accepted,
    up,
    clearing  ///< up, and the PNS has requested its end
};

/// A side is named by its direction.
struct Call {
    Phase phase = Phase::free;
    bool pac_is_server = false;
};
struct State {
    Session session = Session::none;
    std::uint8_t next = 0;                        ///< the call that a seventh one would replace
    std::array<std::uint8_t, kMaxCalls> calls{};  ///< Call, packed
    std::array<std::array<std::uint16_t, 2>, kMaxCalls> ids{};  ///< by side

    Call call(unsigned i) const noexcept {
        return {static_cast<Phase>(calls[i] & 0x7f), (calls[i] & 0x80) != 0};
    }
    void set(unsigned i, Phase phase) noexcept {
        calls[i] = static_cast<std::uint8_t>((calls[i] & 0x80) | static_cast<unsigned>(phase));
    }
    void begin(unsigned i, Phase phase, Direction pac) noexcept {
        calls[i] = static_cast<std::uint8_t>(static_cast<unsigned>(phase) |
                                             (pac == Direction::reply ? 0x80u : 0u));
        ids[i] = {};
    }
    Direction pac(unsigned i) const noexcept {
        return call(i).pac_is_server ? Direction::reply : Direction::original;
    }
    std::uint16_t& id(unsigned i, Direction side) noexcept { return ids[i][index(side)]; }
    bool is_up(unsigned i) const noexcept {
        return call(i).phase == Phase::up || call(i).phase == Phase::clearing;
    }
};
static_assert(sizeof(State) == kPrivateBytes);

constexpr Field kState[] = {
    POSTERN_FIELD(State, session, unsigned(Session::stopping)),
    POSTERN_FIELD(State, next, kMaxCalls - 1),
    {"phases", offsetof(State, calls), 1, kMaxCalls, unsigned(Phase::clearing)},
    {"pac_is_server", offsetof(State, calls), 1, kMaxCalls, 1, 7},
    POSTERN_FIELD(State, ids),
};

constexpr Direction other(Direction d) noexcept {
    return d == Direction::original ? Direction::reply : Direction::original;
}

/// The tunnel's packets to `to`, as the expectation and its connection have them: the ids are in
/// place of ports.
Tuple tunnel(const Tuple& control, const State& state, unsigned call, Direction to) noexcept {
    Tuple t{control.src, control.dst, Be16::from_host(state.ids[call][0]),
            Be16::from_host(state.ids[call][1]), proto::gre};
    return to == Direction::reply ? t : t.reversed();
}

/// Tags are never 0.
constexpr std::uint32_t tag_of(unsigned call) noexcept {
    return call + 1;
}

class Reader {
  public:
    Reader(View& view, Emit& emit) noexcept
        : view_(view), emit_(emit), speaker_(view.direction), state_(view.load<State>()) {}
    ~Reader() { view_.save(state_); }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    void read() noexcept;

  private:
    void start_request(std::uint16_t version) noexcept;
    void start_reply(std::uint8_t result) noexcept;
    void ask(std::uint16_t id, Phase phase) noexcept;
    void outgoing_reply(std::uint16_t id, std::uint16_t peer, std::uint8_t result) noexcept;
    void incoming_reply(std::uint16_t id, std::uint16_t peer, std::uint8_t result) noexcept;
    void incoming_connected(std::uint16_t peer) noexcept;
    void clear(std::uint16_t id) noexcept;
    void disconnected(std::uint16_t id) noexcept;
    void stopped() noexcept;

    /// The call in this phase to which `side` gave this id.
    std::optional<unsigned> find(Phase phase, Direction side, std::uint16_t id) noexcept {
        for (unsigned i = 0; i < kMaxCalls; ++i)
            if (state_.call(i).phase == phase && state_.id(i, side) == id) return i;
        return std::nullopt;
    }
    /// Whether a call that is up has this id already: the other call's packets would be
    /// indistinguishable.
    bool taken(Direction side, std::uint16_t id) noexcept {
        for (unsigned i = 0; i < kMaxCalls; ++i)
            if (state_.is_up(i) && state_.id(i, side) == id) return true;
        return false;
    }
    bool confirmed() noexcept {
        if (state_.session != Session::confirmed) emit_.count(kWrongOrder);
        return state_.session == Session::confirmed;
    }
    void connect(unsigned call) noexcept;
    void end(unsigned call) noexcept;

    View& view_;
    Emit& emit_;
    const Direction speaker_;
    State state_;
};

void Reader::start_request(std::uint16_t version) noexcept {
    if (speaker_ != Direction::original) return emit_.refuse(HelperCounter::wrong_direction);
    if (version >> 8 != kMajorVersion) return emit_.blind(HelperCounter::blind_not_protocol);
    if (state_.session != Session::none) return emit_.count(kWrongOrder);
    state_.session = Session::requested;
}

void Reader::start_reply(std::uint8_t result) noexcept {
    if (speaker_ != Direction::reply) return emit_.refuse(HelperCounter::wrong_direction);
    if (state_.session != Session::requested) return emit_.count(kWrongOrder);
    if (result != kOk) {
        state_.session = Session::none;
        return emit_.count(kDeclined);
    }
    state_.session = Session::confirmed;
    emit_.count(kSessions);
    emit_.proven();
}

/// Outgoing-Call-Request and Incoming-Call-Request: the requester sends its id.
void Reader::ask(std::uint16_t id, Phase phase) noexcept {
    if (!confirmed()) return;
    if (taken(speaker_, id)) return emit_.count(kWrongOrder);
    const Direction pac = phase == Phase::outgoing_asked ? other(speaker_) : speaker_;
    // A free entry, or that of the same request made before; else the next call that is only
    // requested is displaced.
    std::optional<unsigned> place = find(phase, speaker_, id);
    for (unsigned i = 0; i < kMaxCalls && !place; ++i)
        if (state_.call(i).phase == Phase::free) place = i;
    for (unsigned n = 0; n < kMaxCalls && !place; ++n) {
        const unsigned i = (state_.next + n) % kMaxCalls;
        if (state_.is_up(i)) continue;
        place = i;
        state_.next = static_cast<std::uint8_t>((i + 1) % kMaxCalls);
        emit_.count(kTooManyCalls);
    }
    if (!place) return emit_.count(kTooManyCalls);
    state_.begin(*place, phase, pac);
    state_.id(*place, speaker_) = id;
}

/// Section 2.8: the PAC answers with its id.
void Reader::outgoing_reply(std::uint16_t id, std::uint16_t peer, std::uint8_t result) noexcept {
    if (!confirmed()) return;
    const auto call = find(Phase::outgoing_asked, other(speaker_), peer);
    if (!call || state_.pac(*call) != speaker_) return emit_.count(kWrongOrder);
    if (result != kOk) {
        state_.set(*call, Phase::free);
        return emit_.count(kDeclined);
    }
    if (taken(speaker_, id)) return emit_.count(kWrongOrder);
    state_.id(*call, speaker_) = id;
    emit_.count(kOutgoing);
    connect(*call);
}

/// Section 2.10: the PNS answers with its id; the call is up when the PAC confirms that.
void Reader::incoming_reply(std::uint16_t id, std::uint16_t peer, std::uint8_t result) noexcept {
    if (!confirmed()) return;
    const auto call = find(Phase::incoming_asked, other(speaker_), peer);
    if (!call || state_.pac(*call) == speaker_) return emit_.count(kWrongOrder);
    if (result != kOk) {
        state_.set(*call, Phase::free);
        return emit_.count(kDeclined);
    }
    if (taken(speaker_, id)) return emit_.count(kWrongOrder);
    state_.id(*call, speaker_) = id;
    state_.set(*call, Phase::incoming_accepted);
}

/// Section 2.11.
void Reader::incoming_connected(std::uint16_t peer) noexcept {
    if (!confirmed()) return;
    const auto call = find(Phase::incoming_accepted, other(speaker_), peer);
    if (!call || state_.pac(*call) != speaker_) return emit_.count(kWrongOrder);
    // Another call may have been set up with these ids since they were agreed on.
    if (taken(speaker_, state_.id(*call, speaker_)) || taken(other(speaker_), peer))
        return emit_.count(kWrongOrder);
    emit_.count(kIncoming);
    connect(*call);
}

/// Section 2.12: the PNS requests the end. Packets may continue until the PAC has agreed.
void Reader::clear(std::uint16_t id) noexcept {
    for (unsigned i = 0; i < kMaxCalls; ++i) {
        if (state_.call(i).phase == Phase::free || state_.pac(i) == speaker_ ||
            state_.id(i, speaker_) != id)
            continue;
        state_.set(i, state_.is_up(i) ? Phase::clearing : Phase::free);
        return;
    }
    emit_.count(kUnknownCall);
}

/// Section 2.13: the PAC reports the end of a call, by its own id. Some servers answer a
/// Call-Clear-Request with another number; it then means the call to be cleared.
void Reader::disconnected(std::uint16_t id) noexcept {
    std::optional<unsigned> ended;
    for (unsigned i = 0; i < kMaxCalls; ++i) {
        const Phase phase = state_.call(i).phase;
        if (phase != Phase::free && phase != Phase::outgoing_asked && state_.pac(i) == speaker_ &&
            state_.id(i, speaker_) == id)
            ended = i;
    }
    for (unsigned i = 0; i < kMaxCalls && !ended; ++i)
        if (state_.call(i).phase == Phase::clearing && state_.pac(i) == speaker_) ended = i;
    if (!ended) return emit_.count(kUnknownCall);
    end(*ended);
}

/// Section 2.4: the calls end with the session.
void Reader::stopped() noexcept {
    if (state_.session != Session::stopping) return emit_.count(kWrongOrder);
    state_.session = Session::none;
    for (unsigned i = 0; i < kMaxCalls; ++i)
        if (state_.call(i).phase != Phase::free) end(i);
}

void Reader::connect(unsigned call) noexcept {
    state_.set(call, Phase::up);
    for (const Direction to : {Direction::reply, Direction::original}) {
        const Tuple t = tunnel(view_.original, state_, call, to);
        PinHole hole;
        hole.src = Prefix::exact(t.src);
        hole.dst = t.dst;
        hole.set_sport(t.sport);
        hole.dport = t.dport;
        hole.protocol = proto::gre;
        hole.announced_by_listener = to != speaker_;
        hole.tag = tag_of(call);
        // A client that restarts before its last connection has ended may use the same ids.
        hole.flags = expect_flag::beside;
        emit_.expect(hole);
    }
    // Then the tunnel may be running, too.
    emit_.adopt_child(tunnel(view_.original, state_, call, Direction::reply));
}

void Reader::end(unsigned call) noexcept {
    if (state_.is_up(call)) {
        emit_.remove(0, tag_of(call));
        emit_.end_child(tunnel(view_.original, state_, call, Direction::reply));
        emit_.count(kEnded);
    }
    state_.set(call, Phase::free);
}

void Reader::read() noexcept {
    Cursor c{view_.message};
    c.skip(2);
    const std::uint16_t kind = c.u16_be().value_or(0);
    c.skip(4);
    const std::uint16_t type = c.u16_be().value_or(0);
    c.skip(2);
    if (kind == kManagementMessage) return;  // section 1.4: none is defined
    if (type == 0 || type >= kSizes.size() || view_.message.size() < kSizes[type])
        return emit_.parse_error();
    const std::uint16_t first = c.u16_be().value_or(0);
    const std::uint16_t second = c.u16_be().value_or(0);
    const std::uint8_t third = c.u8().value_or(0);
    switch (type) {
        case kStartRequest: return start_request(first);
        case kStartReply: return start_reply(static_cast<std::uint8_t>(second >> 8));
        case kStopRequest:
            if (confirmed()) state_.session = Session::stopping;
            return;
        case kStopReply: return stopped();
        case kOutgoingRequest: return ask(first, Phase::outgoing_asked);
        case kOutgoingReply: return outgoing_reply(first, second, third);
        case kIncomingRequest: return ask(first, Phase::incoming_asked);
        case kIncomingReply: return incoming_reply(first, second, third);
        case kIncomingConnected: return incoming_connected(first);
        case kClearRequest: return clear(first);
        case kDisconnectNotify: return disconnected(first);
        default: return;  // Echo, WAN-Error-Notify, Set-Link-Info: they open and end nothing
    }
}

void on_message(View& view, Emit& emit) noexcept {
    Reader(view, emit).read();
}

/// Section 1.4: each message begins with its length, its kind, and the magic cookie.
Measured measure(Direction /*direction*/, Bytes bytes, Progress& /*progress*/,
                 std::span<const std::uint8_t, kPrivateBytes> /*state*/) noexcept {
    Cursor c{bytes};
    const auto length = c.u16_be();
    if (!length) return 0;
    if (*length < kHeader || *length > kLongest) return -1;
    const auto kind = c.u16_be();
    if (!kind) return 0;
    if (*kind != kControlMessage && *kind != kManagementMessage) return -1;
    const auto cookie = c.u32_be();
    if (!cookie) return 0;
    if (*cookie != kCookie) return -1;
    return *length;
}

/// The calls end with the control connection (section 3: "all calls are cleared").
void on_destroy(const Tuple& original, std::span<std::uint8_t, kPrivateBytes> bytes,
                Emit& emit) noexcept {
    const Bytes no_message;
    const View view{original, no_message, {}, bytes, Direction::original};
    const auto state = view.load<State>();
    for (unsigned i = 0; i < kMaxCalls; ++i)
        if (state.is_up(i)) emit.end_child(tunnel(original, state, i, Direction::reply));
}

}  // namespace

extern const HelperDesc helper_pptp;
constinit const HelperDesc helper_pptp{
    .name = "pptp",
    .help = "PPTP calls: GRE tunnels by the call ids that both sides agreed on",
    .transports = transport::tcp,
    .framing = Framing::measured,
    .needs_proof = true,
    .default_ports = kPorts,
    .classes = kClasses,
    .counters = kCounters,
    .state = private_state<State, kState>(),
    .measure = measure,
    .on_message = on_message,
    .on_destroy = on_destroy,
};

}  // namespace postern
