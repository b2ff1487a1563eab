// SPDX-License-Identifier: BSD-3-Clause
// SANE network scanning: a client sends START to saned; the answer names a port of the server, from
// which the client then fetches the image (SANE Standard 1.06, section 5). See NOTES.md.
//
// Answers do not name their request, so each is read as the answer to the request before it; the
// protocol is strictly one question, one answer. State of a connection: the awaited answer, the
// position in it, and the protocol's version, on which the form of one request depends.
#include <cstddef>
#include <cstdint>
#include <optional>

#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/view.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern {
namespace {

// Section 5.2: the remote procedures, in the order of their numbers, which are one less than these.
enum Procedure : std::uint8_t {
    kNothing,
    kInit,
    kGetDevices,
    kOpen,
    kClose,
    kGetOptions,
    kControlOption,
    kGetParameters,
    kStart,
    kCancel,
    kAuthorize,
    kExit
};

struct SaneState {
    std::uint8_t awaited = kNothing;  ///< procedure whose answer comes next
    /// Answered with a request for a password: its real answer comes after that to AUTHORIZE.
    std::uint8_t postponed = kNothing;
    std::uint8_t step = 0;       ///< of an answer in several parts: the next part
    bool begun = false;          ///< the rest is valid: INIT was read
    bool ended = false;          ///< EXIT was read
    bool old = false;            ///< version 2 or older of the protocol
    std::uint32_t elements = 0;  ///< of the current list: elements still to come
    std::uint32_t strings = 0;   ///< and strings in its current element
};

constexpr Field kState[] = {
    POSTERN_FIELD(SaneState, awaited, kExit), POSTERN_FIELD(SaneState, postponed, kExit),
    POSTERN_FIELD(SaneState, step, 1),        POSTERN_FIELD(SaneState, begun),
    POSTERN_FIELD(SaneState, ended),          POSTERN_FIELD(SaneState, old),
    POSTERN_FIELD(SaneState, elements),       POSTERN_FIELD(SaneState, strings),
};

constexpr std::uint16_t kPorts[] = {6566};
constexpr ExpectClass kClasses[] = {{"data", "the image's connection", 1, 300}};
constexpr ParamDesc kParams[] = {kDenyPortsParam, kDenyServicesParam};
constexpr CounterDesc kCounters[] = {
    {"start_requests", "START requests read", Unit::requests},
    {"start_replies", "answers to START with a port"},
    {"not_started", "answers to START that refuse, or ask for a password first"},
    {"authorizations", "AUTHORIZE requests read", Unit::requests},
};
enum OwnCounter : unsigned {
    kStartRequests = named(kCounters, "start_requests"),
    kStartReplies = named(kCounters, "start_replies"),
    kNotStarted = named(kCounters, "not_started"),
    kAuthorizations = named(kCounters, "authorizations")
};

constexpr std::uint32_t kMajorVersion = 1;
constexpr std::uint32_t kSetAuto = 2;          // section 4.3.7: the action without a value
constexpr std::uint32_t kMaxBytes = 1u << 20;  // more than saned takes or sends at once
constexpr std::uint32_t kValueTypes = 6;
constexpr std::uint32_t kRange = 1, kWordList = 2, kStringList = 3;

constexpr Measured kNotSane = -1;
constexpr Measured kMore = 0;

/// Reads the lengths up to a message's end. After a missing or impossible one all reads fail.
class Ruler {
  public:
    explicit Ruler(Bytes bytes) noexcept : c_(bytes) {}

    std::uint32_t word() noexcept {
        const auto v = fine() ? c_.u32_be() : std::nullopt;
        if (!v) more_ = true;
        return v.value_or(0);
    }
    /// A length and that many bytes, which have to be there.
    void string() noexcept {
        const std::uint32_t n = word();
        if (n > kMaxBytes) bad_ = true;
        if (fine() && !c_.skip(n)) more_ = true;
    }
    void words(unsigned n) noexcept {
        while (n-- != 0)
            word();
    }
    bool fine() const noexcept { return !bad_ && !more_; }
    void refuse() noexcept { bad_ = true; }

    /// The message ends here, and `skip` irrelevant bytes follow.
    Measured end(std::uint64_t skip = 0) const noexcept {
        if (bad_ || (fine() && skip > kMaxBytes)) return kNotSane;
        if (more_) return kMore;
        return {static_cast<std::int32_t>(c_.position()), static_cast<std::uint32_t>(skip)};
    }

  private:
    Cursor c_;
    bool more_ = false;
    bool bad_ = false;
};

/// Type, size and number of the elements of an option's value (section 5.2.6): the bytes of the
/// value itself.
std::uint64_t value_bytes(Ruler& r) noexcept {
    const std::uint32_t type = r.word();
    r.word();
    const std::uint64_t count = r.word();
    if (type >= kValueTypes) r.refuse();
    constexpr std::uint64_t kElement[kValueTypes] = {4, 4, 4, 1, 0, 0};
    return r.fine() ? count * kElement[type] : 0;
}

Measured measure_request(Bytes bytes, const SaneState& s) noexcept {
    Ruler r{bytes};
    const std::uint32_t number = r.word();
    if (!r.fine()) return kMore;
    const std::uint64_t procedure = std::uint64_t{number} + 1;
    // One question at a time, INIT first; after a request for a password, AUTHORIZE.
    if (s.ended || s.awaited != kNothing || s.begun != (procedure != kInit)) return kNotSane;
    if (s.postponed != kNothing && procedure != kAuthorize) return kNotSane;
    switch (procedure) {
        case kInit:
            if (r.word() >> 24 != kMajorVersion && r.fine()) return kNotSane;
            r.string();
            return r.end();
        case kGetDevices:
        case kExit: return r.end();
        case kOpen: r.string(); return r.end();
        case kClose:
        case kGetOptions:
        case kGetParameters:
        case kStart:
        case kCancel: r.word(); return r.end();
        case kControlOption: {
            r.words(2);
            const std::uint32_t action = r.word();
            if (!r.fine() || (action == kSetAuto && !s.old)) return r.end();
            return r.end(value_bytes(r));
        }
        case kAuthorize:
            for (int i = 0; i < 3; ++i)
                r.string();
            return r.end();
        default: return kNotSane;
    }
}

/// An option's description, up to the first element of its constraint's list.
Measured measure_option(Ruler r) noexcept {
    if (r.word() != 0) return r.end();  // there is none
    for (int i = 0; i < 3; ++i)
        r.string();  // name, title, description
    r.words(4);      // type, unit, size, capabilities
    switch (r.word()) {
        case kRange:
            if (r.word() == 0) r.words(3);
            return r.end();
        case kWordList: {
            const std::uint64_t n = r.word();
            return r.end(n * 4);
        }
        case kStringList: r.word(); return r.end();
        default: return r.end();
    }
}

Measured measure_reply(Bytes bytes, const SaneState& s) noexcept {
    Ruler r{bytes};
    switch (s.awaited) {
        case kInit: r.words(2); return r.end();
        case kGetDevices:
            if (s.step == 0) {
                r.words(2);
            } else if (r.word() == 0) {
                for (int i = 0; i < 4; ++i)
                    r.string();  // name, vendor, model, type
            }
            return r.end();
        case kOpen:
            r.words(2);
            r.string();
            return r.end();
        case kClose:
        case kCancel:
        case kAuthorize: r.word(); return r.end();
        case kGetOptions:
            if (s.step == 0) {
                r.word();
                return r.end();
            }
            if (s.strings == 0) return measure_option(r);
            return r.end(r.word());
        case kControlOption:
            if (s.step == 0) {
                r.words(2);
                return r.end(value_bytes(r));
            }
            r.string();
            return r.end();
        case kGetParameters: r.words(7); return r.end();
        case kStart:
            r.words(3);
            r.string();
            return r.end();
        default: return kNotSane;  // unsolicited
    }
}

Measured measure(Direction direction, Bytes bytes, Progress& /*progress*/,
                 std::span<const std::uint8_t, kPrivateBytes> state) noexcept {
    const auto s = load_state<SaneState>(state);
    return direction == Direction::original ? measure_request(bytes, s) : measure_reply(bytes, s);
}

void on_request(View& view, Emit& emit, SaneState& s) noexcept {
    const auto procedure =
        static_cast<std::uint8_t>(Cursor{view.message}.u32_be().value_or(kExit - 1) + 1);
    s.begun = true;
    s.ended = procedure == kExit;
    s.awaited = s.ended ? std::uint8_t{kNothing} : procedure;
    s.step = 0;
    if (procedure == kStart) emit.count(kStartRequests);
    if (procedure == kAuthorize) emit.count(kAuthorizations);
}

void on_start_reply(const View& view, Emit& emit, std::uint32_t status, std::uint32_t port,
                    bool password) noexcept {
    if (status != 0 || password) return emit.count(kNotStarted);
    if (port > 0xffff) return emit.parse_error();
    emit.count(kStartReplies);
    PinHole request;
    request.src = Prefix::exact(view.listener());
    request.dst = view.speaker();
    request.dport = Be16::from_host(static_cast<std::uint16_t>(port));
    request.protocol = proto::tcp;
    emit.expect(request);
}

/// One part of the awaited answer: true for the last one.
bool on_reply_part(View& view, Emit& emit, SaneState& s) noexcept {
    Cursor c{view.message};
    const auto word = [&c] { return c.u32_be().value_or(0); };
    const bool first = s.step == 0;
    switch (s.awaited) {
        case kInit: {
            const std::uint32_t status = word(), version = word();
            if (version >> 24 != kMajorVersion) {
                emit.blind(HelperCounter::blind_not_protocol);
            } else if (status == 0) {
                s.old = (version & 0xffff) < 3;
                emit.proven();
            }
            return true;
        }
        case kGetDevices:
        case kGetOptions:
            if (first) {
                if (s.awaited == kGetDevices) word();  // status
                s.elements = word();
                s.strings = 0;
                s.step = 1;
            } else if (s.strings != 0) {
                if (--s.strings == 0) --s.elements;
            } else {
                // A list of texts, if the option has one: its length ends the message.
                const bool option = s.awaited == kGetOptions && word() == 0;
                if (option) {
                    for (int i = 0; i < 3; ++i)
                        c.skip(word());
                    c.skip(16);
                    if (word() == kStringList) s.strings = word();
                }
                if (s.strings == 0) --s.elements;
            }
            return s.elements == 0;
        case kControlOption:
            s.step = 1;
            if (first) return false;
            if (word() != 0) s.postponed = kControlOption;
            return true;
        case kOpen:
            c.skip(8);
            if (word() != 0) s.postponed = kOpen;
            return true;
        case kStart: {
            const std::uint32_t status = word(), port = word();
            word();  // byte order of the image
            const bool password = word() != 0;
            on_start_reply(view, emit, status, port, password);
            if (password) s.postponed = kStart;
            return true;
        }
        default: return true;
    }
}

void on_message(View& view, Emit& emit) noexcept {
    auto s = view.load<SaneState>();
    if (view.from_client()) {
        on_request(view, emit, s);
    } else if (const auto answered = s.awaited; on_reply_part(view, emit, s)) {
        s.awaited = kNothing;
        s.step = 0;
        if (answered == kAuthorize) {
            s.awaited = s.postponed;
            s.postponed = kNothing;
        }
    }
    view.save(s);
}

}  // namespace

extern const HelperDesc helper_sane;
constinit const HelperDesc helper_sane{
    .name = "sane",
    .help = "SANE scanners: the image's connection, announced in the answer to START",
    .transports = transport::tcp,
    .framing = Framing::measured,
    .needs_proof = true,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kParams,
    .counters = kCounters,
    .state = private_state<SaneState, kState>(),
    .measure = measure,
    .on_message = on_message,
};

}  // namespace postern
