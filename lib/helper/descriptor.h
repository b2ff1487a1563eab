// SPDX-License-Identifier: BSD-3-Clause
// HelperDesc: the description of a helper, as constant data.
//
// What: each folder helpers/NAME defines one `constinit const HelperDesc helper_NAME`; the
// generated registry (registry.h) lists them. The YAML schema, the metrics, the scanner's patterns
// and the two functions that run on workers come from it. Life-cycle: static, immutable, no
// constructors run. Synchronisation: none needed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/field.h"
#include "base/types.h"
#include "helper/counters.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern {

struct View;
class Emit;

inline constexpr unsigned kMaxClasses = 4;
inline constexpr unsigned kMaxParams = 8;
inline constexpr unsigned kMaxPatterns = 64;
inline constexpr unsigned kMaxChildren = 4;
inline constexpr unsigned kPrivateBytes = 32;
inline constexpr unsigned kMaxPortRange = 128;

/// Transports of a helper's control connections: a set of bits.
namespace transport {
inline constexpr std::uint8_t tcp = 1, udp = 2;
/// The bit of an IP protocol; 0 for one that carries no control connections.
constexpr std::uint8_t of(std::uint8_t protocol) noexcept {
    return protocol == proto::tcp ? tcp : protocol == proto::udp ? udp : std::uint8_t{0};
}
}  // namespace transport

/// A kind of expectation of a helper, with the limits of a connection.
struct ExpectClass {
    std::string_view name;
    std::string_view help;
    std::uint16_t max_expected;  ///< pending at once, a connection; at most 255
    std::uint32_t timeout_s;
    /// The class announces other hosts' addresses by nature: the address guard is off for it.
    bool foreign = false;
    /// Over TCP, pending ones end when a FIN was answered, or with an RST, not only when the
    /// connection is forgotten. For services of a session that has ended then.
    bool ends_with_session = false;
    /// Those with an ExpectTerms::call: pending at once, a call; at most 255. `max_expected` is a
    /// message's limit then, and kMaxPendingParam the connection's.
    std::uint16_t per_call = 0;
};

enum class ParamType : std::uint8_t {
    boolean,  ///< "true" or "false"
    uint,     ///< a decimal number up to `max`
    text,
    networks,  ///< "192.0.2.0/24,2001:db8::/32"
    ports      ///< empty, or a range from 1024 on, "50000-50100", of at most kMaxPortRange
};

struct ParamDesc {
    std::string_view name;
    ParamType type;
    std::string_view default_text;  ///< in the same notation as in the configuration
    std::string_view help;
    std::uint64_t max = UINT64_MAX;  ///< uint only
};

/// The index in a table (counters, parameters) of the entry with this name. Does not compile if
/// there is none.
template <class Desc, std::size_t N>
consteval unsigned named(const Desc (&all)[N], std::string_view name) {
    unsigned at = 0;
    while (all[at].name != name)
        ++at;
    return at;
}
/// The same parameter with a help text for one helper.
constexpr ParamDesc with_help(ParamDesc param, std::string_view help) noexcept {
    param.help = help;
    return param;
}

/// The parameters of the guards. A helper that lists them is subject to them, without code of its
/// own.
inline constexpr ParamDesc kLooseParam{
    "loose", ParamType::boolean, "false",
    "accept announced addresses that are not the announcing peer's own"};
inline constexpr ParamDesc kDenyPortsParam{
    "deny_ports", ParamType::text, "",
    "ports and ranges never opened, at most 16, as in `\"3306,6000-6063\"`; those below 1024 never "
    "are"};
/// Also reads a TCP connection whose SYN was not seen: View::picked_up. The helper then defines the
/// proof of protocol, which is less than from the first byte on.
inline constexpr ParamDesc kPickUpParam{
    "pick_up", ParamType::boolean, "false",
    "read TCP connections picked up in mid-stream, after proof of protocol from both sides: a "
    "command and its matching reply, twice. docs/security.md, \"Connections met in mid-stream\", "
    "states what this weakens"};
/// Remote control, databases and similar services, which listen on hosts that are clients of other
/// services. No connection that such a host began may open them; this holds for helpers that do not
/// list the parameter, too.
inline constexpr ParamDesc kDenyServicesParam{
    "deny_services", ParamType::text,
    "1433,1521,2049,2375-2376,3306,3389,5432,5900-5909,5985-5986,6000-6009,6379,9200,11211,27017",
    "services never opened on the host that began the control connection, nor on a third host "
    "(`loose`). At most 32 ports and ranges, of TCP or of the protocol after a slash, as in "
    "`\"3389,5060/udp,7000-7010/any\"`. `\"\"`: none. The announcement passes and is counted "
    "(`denied_service`)"};

/// For helpers whose connections carry many calls: maximum pending of one connection, of all its
/// calls. A further one displaces the oldest.
inline constexpr ParamDesc kMaxPendingParam{
    "max_pending", ParamType::uint, "1024",
    "expectations pending of all calls of one connection, at most a quarter of "
    "`limits.expectations`; 0: that quarter. A further one displaces the oldest. Each call has "
    "limits of its own; a source has that of `limits.expectations_per`",
    65535};

/// An interesting message, found by Hyperscan before the parser is woken. Patterns are matched in
/// both directions; the framework refuses and counts a match from the wrong side.
struct PatternDesc {
    std::uint8_t id;         ///< the helper's own number, never 0
    const char* expression;  ///< PCRE syntax; `^` is the start of any line
    std::optional<Direction> said_by;
    bool caseless = false;
};
inline constexpr std::uint8_t kNoPattern = 0;

/// The framing of a TCP stream. Over UDP the datagram is always the message.
enum class Framing : std::uint8_t {
    line,      ///< up to and including LF
    measured,  ///< by `measure`
    datagram,  ///< UDP only: there is no stream
    stream     ///< `remote` only: bytes in order, as they arrive
};

/// The start of a stream: a message, then bytes outside messages (a body, interleaved media), which
/// are skipped and never stored, in any number.
struct Measured {
    std::int32_t length;     ///< bytes; 0: none; negative: not of this protocol, both go blind
    std::uint32_t skip = 0;  ///< bytes after it. Both 0: more bytes are needed

    constexpr Measured(std::int32_t message, std::uint32_t after = 0) noexcept
        : length(message), skip(after) {}
};
/// The position of `measure` in an incomplete message. The stream keeps it from one segment to the
/// next, so that no byte is read twice, however small the segments are. Zero for a new message. It
/// does not depend on the helper's private state, which may change meanwhile.
struct Progress {
    std::uint32_t read = 0;     ///< bytes that need not be read again
    std::uint32_t part_at = 0;  ///< start of the part that contains `read`
    /// The helper's own. A restored stream may continue without it: then all are zero again.
    std::uint32_t part = 0, length = 0, flags = 0;
};
/// Called again whenever more bytes have arrived, as long as it needs more. The bytes of earlier
/// calls are the same. It has to be linear: all calls for one message together read each byte a few
/// times at most. `state` is the helper's private state, for protocols whose messages do not
/// identify themselves.
using MeasureFn = Measured (*)(Direction direction, Bytes bytes, Progress& progress,
                               std::span<const std::uint8_t, kPrivateBytes> state) noexcept;
/// Reads one message. Never blocks, allocates or keeps a pointer into the view.
using MessageFn = void (*)(View& view, Emit& emit) noexcept;
/// The connection `original` ends; `state` is its private state. Of `emit` only count() and
/// end_child() have an effect.
using DestroyFn = void (*)(const Tuple& original, std::span<std::uint8_t, kPrivateBytes> state,
                           Emit& emit) noexcept;

/// A helper's private state, for saved connections: all of its struct. Empty for a helper without
/// state, and for a remote one, whose state is bytes of its process.
struct PrivateState {
    std::span<const Field> fields;
    std::uint8_t bytes = 0;  ///< of the struct
};
template <class State, const auto& table>
constexpr PrivateState private_state() noexcept {
    static_assert(std::is_trivially_copyable_v<State> && sizeof(State) <= kPrivateBytes);
    static_assert(describes<State>(table), "a member has no field, or they are out of order");
    return {table, sizeof(State)};
}

struct HelperDesc {
    std::string_view name;
    std::string_view help;
    /// Bits of `transport`. With both, View::original.protocol is a message's transport, and
    /// `framing` is TCP's.
    std::uint8_t transports;
    Framing framing;
    /// Nothing opens before the helper calls Emit::proven(); until it changes that, it reads every
    /// message of both directions.
    bool needs_proof = false;
    /// Its parser is another process: messages go to HelperEngine's AskFn, several whole lines at a
    /// time, and the functions below are not called.
    bool remote = false;
    std::span<const std::uint16_t> default_ports;
    std::span<const ExpectClass> classes;
    std::span<const ParamDesc> params;
    std::span<const CounterDesc> counters;
    std::span<const PatternDesc> patterns;  ///< none: every message wakes the parser
    /// Names of helpers for expected connections; PinHole::child is an index into this. It may name
    /// itself, which means the same instance. Of another helper the first configured instance is
    /// used; if there is none, the framework creates one with default parameters.
    std::span<const std::string_view> children;
    /// Bytes of a message over TCP, up to 32768; messages longer than `limits.stream_buffer` use
    /// one of a few long buffers. 0: none is longer than that.
    std::uint16_t longest_message = 0;
    PrivateState state;
    MeasureFn measure = nullptr;
    MessageFn on_message = nullptr;
    DestroyFn on_destroy = nullptr;
};

}  // namespace postern
