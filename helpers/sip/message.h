// SPDX-License-Identifier: BSD-3-Clause
// One SIP message (RFC 3261): its start line, the header fields that matter to a firewall
// (fields.h), its body (parts.h). Nothing is copied: what is handed out points into the message.
#pragma once

#include <cstdint>
#include <optional>

#include "helper/descriptor.h"
#include "net/cursor.h"
#include "sip/fields.h"
#include "sip/parts.h"

namespace postern::sip {

/// Requests that open, close or announce media or registrations.
enum class Method : std::uint8_t {
    other,
    invite,
    update,
    ack,
    prack,
    bye,
    cancel,
    registration
};

struct Message {
    bool is_request = false;
    Method method = Method::other;  ///< of a response: that of its CSeq
    std::uint16_t code = 0;         ///< of a response, 100 to 699
    bool own_version = false;       ///< each Via has SIP/2.0, like the start line
    std::uint32_t cseq = 0;
    std::uint32_t call = 0;  ///< a hash of the Call-ID
    /// A hash of both tags (section 12), the same for both sides; 0: no dialog, or an old client's.
    std::uint16_t dialog = 0;
    Via via;
    std::optional<std::uint32_t> expires;  ///< seconds
    Content content = Content::none;
    Bytes boundary;  ///< of a multipart body
    Bytes headers;   ///< all header fields, with the empty line
    Bytes body;

    bool succeeded() const noexcept { return code >= 200 && code < 300; }
    bool failed() const noexcept { return code >= 300; }
};

/// Whether the bytes begin like a SIP message: a request or status line of version 2.0.
bool is_sip(Bytes message) noexcept;
/// Parses a whole message. Returns nothing if it lacks a mandatory field (Via, From, To, Call-ID
/// and CSeq: RFC 3261 section 8.1.1), has one of these twice except Via, or ends before its session
/// description does. Bytes after the body of a datagram are ignored (section 18.3).
std::optional<Message> read_message(Bytes bytes) noexcept;
/// Calls f(Bytes) for each part of a body, or the whole of it, that is a session description.
template <class F>
void for_each_description(const Message& message, F&& f) noexcept;

/// Maximum of a message with its session description over TCP (a datagram has its own limit).
inline constexpr std::uint16_t kLongest = 32768;

/// HelperDesc::measure, for both directions. Line ends between messages count as a message (section
/// 7.5). A body that announces nothing is not part of the message: it is skipped, whatever its
/// size.
Measured measure(Bytes bytes, Progress& progress) noexcept;

/// Calls f(Contact) for each value of each Contact field; stops when f returns false. False if a
/// value could not be parsed: f was called for those before it.
template <class F>
bool for_each_contact(const Message& message, F&& f) noexcept;

template <class F>
void for_each_description(const Message& message, F&& f) noexcept {
    if (message.content == Content::sdp) return f(message.body);
    if (message.content != Content::multipart) return;
    Parts parts(message.body, message.boundary);
    for (Bytes text = parts.next_description(); !text.empty(); text = parts.next_description())
        f(text);
}

template <class F>
bool for_each_contact(const Message& message, F&& f) noexcept {
    Header header;
    for (Cursor c{message.headers}; take_header(c, header) == HeaderStep::field;) {
        if (!names_contact(header.name)) continue;
        for (Cursor values{header.value}; !values.at_end();) {
            const auto contact = take_contact(values);
            if (!contact) return false;
            if (!f(*contact)) return true;
        }
    }
    return true;
}

}  // namespace postern::sip
