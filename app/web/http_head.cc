// SPDX-License-Identifier: BSD-3-Clause
// The head of a request (RFC 9112), strictly: what is doubtful is refused.
#include <algorithm>
#include <array>

#include "web/http.h"

namespace postern {
namespace {

constexpr std::size_t kMaxTarget = 2048;
constexpr std::size_t kMaxHeaders = 64;

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

bool is_token(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    });
}
bool is_field_value(std::string_view text) {
    return std::ranges::all_of(text, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
    });
}
bool is_digits(std::string_view text) {
    return !text.empty() && text.size() <= 12 &&
           std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}
std::string_view trimmed(std::string_view text) {
    const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && is_blank(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back()))
        text.remove_suffix(1);
    return text;
}

Error bad(const char* why) {
    return Error{std::string("400 Bad Request: ") + why};
}

Result<void> check_request_line(std::string_view line) {
    const std::size_t first = line.find(' '), second = line.find(' ', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos)
        return bad("the request line is not METHOD TARGET VERSION");
    const std::string_view method = line.substr(0, first),
                           target = line.substr(first + 1, second - first - 1),
                           version = line.substr(second + 1);
    if (version.size() != 8 || !version.starts_with("HTTP/") || !is_field_value(version))
        return bad("the request line is not METHOD TARGET VERSION");
    if (version != "HTTP/1.1" && version != "HTTP/1.0")
        return Error{"505 HTTP Version Not Supported: this is HTTP/1.1"};
    if (!is_token(method)) return bad("the method is not a word");
    if (method != "GET" && method != "HEAD" && method != "POST")
        return Error{"405 Method Not Allowed: there are GET, HEAD and POST"};
    if (target.size() > kMaxTarget) return Error{"414 URI Too Long: at most 2048 bytes"};
    if (!target.starts_with('/') ||
        !std::ranges::all_of(target, [](char c) { return c > 0x20 && c < 0x7f; }))
        return bad("the target is not a path");
    return {};
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
    const std::string key(name);
    return headers.count(key) == 1 ? std::string_view(headers.find(key)->second)
                                   : std::string_view();
}

Result<std::string> checked_head(std::string_view head) {
    // The library would act on these: many ranges of one body, compression of each answer, a second
    // round trip. Nothing here needs them.
    constexpr std::array<std::string_view, 5> kLeftOut{"range", "accept-encoding", "expect",
                                                       "connection", "upgrade"};
    std::string out;
    std::size_t headers = 0, hosts = 0, lengths = 0;
    for (bool first = true; !head.empty(); first = false) {
        const std::size_t end = head.find("\r\n");
        if (end == std::string_view::npos) return bad("a line does not end with CR LF");
        const std::string_view line = head.substr(0, end);
        head.remove_prefix(end + 2);
        if (first) {
            if (auto fits = check_request_line(line); !fits) return fits.error();
            out.append(line).append("\r\n");
            continue;
        }
        if (line.empty()) break;
        if (++headers > kMaxHeaders)
            return Error{"431 Request Header Fields Too Large: at most 64 of them"};
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || !is_token(line.substr(0, colon)) ||
            !is_field_value(line.substr(colon + 1)))
            return bad("a header field is not NAME: VALUE");
        const std::string name = lower(line.substr(0, colon));
        const std::string_view value = trimmed(line.substr(colon + 1));
        if (name == "transfer-encoding")
            return Error{"501 Not Implemented: a body needs a Content-Length"};
        if (name == "host" && ++hosts > 1) return bad("more than one Host");
        if (name == "content-length" && (++lengths > 1 || !is_digits(value)))
            return bad("the Content-Length is not one number");
        if (std::ranges::find(kLeftOut, name) == kLeftOut.end())
            out.append(name).append(": ").append(value).append("\r\n");
    }
    if (hosts == 0) return bad("there is no Host");
    return out.append("\r\n");
}

}  // namespace postern
