// SPDX-License-Identifier: BSD-3-Clause
// A template for helpers; docs/writing-a-helper.md explains each line. It is built and tested like
// all others, and is in no program.
//
// Its protocol is made up. The server greets with "SAMPLE 1", the client sends "OPEN <port>", and
// the server connects to the client's <port> by TCP.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/view.h"
#include "net/cursor.h"

namespace postern {
namespace {

enum Pattern : std::uint8_t {
    kOpen = 1
};
/// State from one message of a connection to the next; at most 32 bytes.
struct SampleState {
    bool greeted = false;
};

constexpr Field kState[] = {
    POSTERN_FIELD(SampleState, greeted),
};

constexpr std::uint16_t kPorts[] = {7777};
constexpr ExpectClass kClasses[] = {{"data", "the connection that OPEN announces", 2, 60}};
constexpr ParamDesc kParams[] = {kDenyPortsParam, kDenyServicesParam};
constexpr CounterDesc kCounters[] = {{"opens", "OPEN read"}};
enum OwnCounter : unsigned {
    kOpens = named(kCounters, "opens")
};
constexpr PatternDesc kPatterns[] = {{kOpen, "^OPEN ", Direction::original}};

/// The port, up to the end of the line.
std::optional<std::uint16_t> take_port(Cursor& c) noexcept {
    std::uint32_t port = 0;
    unsigned digits = 0;
    while (const auto b = c.u8()) {
        if (*b == '\r' || *b == '\n') break;
        if (*b < '0' || *b > '9' || ++digits > 5) return std::nullopt;
        port = port * 10 + (*b - std::uint32_t{'0'});
    }
    if (digits == 0 || port > UINT16_MAX) return std::nullopt;
    return static_cast<std::uint16_t>(port);
}

bool take_text(Cursor& c, std::string_view text) noexcept {
    for (std::size_t i = 0; i < text.size(); ++i)
        if (c.peek(i) != static_cast<std::uint8_t>(text[i])) return false;
    return c.skip(text.size());
}

void on_message(View& view, Emit& emit) noexcept {
    auto state = view.load<SampleState>();
    Cursor c{view.message};
    if (!state.greeted) {
        // The client sends only after the greeting; anything earlier is another protocol.
        if (view.from_client() || !take_text(c, "SAMPLE 1"))
            return emit.blind(HelperCounter::blind_not_protocol);
        state.greeted = true;
        view.save(state);
        emit.read_all(false);  // nothing of the server is read any more
        emit.proven();
        return;
    }
    emit.read_all(false);  // from here on only messages of the client that match the pattern
    if (!view.from_client() || !take_text(c, "OPEN ")) return;
    emit.count(kOpens);
    const auto port = take_port(c);
    if (!port) return emit.parse_error();

    PinHole hole;
    hole.src = Prefix::exact(view.listener());
    hole.dst = view.speaker();
    hole.dport = Be16::from_host(*port);
    hole.protocol = proto::tcp;
    emit.expect(hole);
}

}  // namespace

extern const HelperDesc helper_sample;
constinit const HelperDesc helper_sample{
    .name = "sample",
    .help = "a protocol that does not exist",
    .transports = transport::tcp,
    .framing = Framing::line,
    .needs_proof = true,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kParams,
    .counters = kCounters,
    .patterns = kPatterns,
    .state = private_state<SampleState, kState>(),
    .on_message = on_message,
};

}  // namespace postern
