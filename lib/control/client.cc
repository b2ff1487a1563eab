// SPDX-License-Identifier: BSD-3-Clause
#include "control/client.h"

#include <cerrno>
#include <system_error>

#include <sys/socket.h>
#include <sys/time.h>

namespace postern {
namespace {

constexpr std::size_t kMaxLineBytes = 16 * 1024 * 1024;

Reply lost(std::string why) {
    return {Reply::Kind::lost, std::move(why), {}};
}

Reply parse(std::string_view line) {
    // Rows are many, and a caller that prints them unchanged need not parse them.
    constexpr std::string_view kRow = "{\"row\":";
    if (line.starts_with(kRow) && line.ends_with('}'))
        return {Reply::Kind::row,
                std::string(line.substr(kRow.size(), line.size() - kRow.size() - 1)),
                {}};
    const Json message = Json::parse(line, nullptr, false);
    if (message.is_object() && message.contains("end")) return {Reply::Kind::end, {}, {}};
    if (message.is_object() && message.contains("error") && message["error"].is_object()) {
        const Json& error = message["error"];
        return {Reply::Kind::error, error.value("message", "(no reason given)"),
                error.value("code", "")};
    }
    return lost("the daemon's answer makes no sense (another version?)");
}

}  // namespace

Result<ControlClient> ControlClient::connect(const std::string& path, unsigned timeout_s) {
    auto fd = connect_unix(path, timeout_s);
    if (!fd) return fd.error();
    timeval timeout{};
    timeout.tv_sec = timeout_s;
    ::setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    return ControlClient(std::move(*fd), timeout_s);
}

void ControlClient::ask(std::string_view command, const Json& args) {
    const std::string line = Json{{"v", 1}, {"command", command}, {"args", args}}.dump(
                                 -1, ' ', false, Json::error_handler_t::replace) +
                             "\n";
    for (std::size_t at = 0; at < line.size();) {
        const ssize_t sent = ::send(fd_.get(), line.data() + at, line.size() - at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return;
        at += static_cast<std::size_t>(sent);
    }
}

Reply ControlClient::next() {
    std::size_t searched = taken_;
    for (;;) {
        const std::size_t end = in_.find('\n', searched);
        if (end != std::string::npos) {
            Reply reply = parse(std::string_view(in_).substr(taken_, end - taken_));
            taken_ = end + 1;
            return reply;
        }
        in_.erase(0, taken_);
        taken_ = 0;
        searched = in_.size();
        if (in_.size() > kMaxLineBytes) return lost("the daemon's answer has a line without end");
        in_.resize(searched + 64 * 1024);
        const ssize_t got = ::recv(fd_.get(), in_.data() + searched, in_.size() - searched, 0);
        const int error = errno;
        in_.resize(searched + static_cast<std::size_t>(got > 0 ? got : 0));
        if (got > 0 || (got < 0 && error == EINTR)) continue;
        if (got < 0 && error == EAGAIN)
            return lost("the daemon gave no answer within " + std::to_string(timeout_s_) + " s");
        return lost("the daemon closed the connection before the answer was complete");
    }
}

}  // namespace postern
