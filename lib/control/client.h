// SPDX-License-Identifier: BSD-3-Clause
// ControlClient: the client side of the control socket, for posternctl and tests. Blocking.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/command.h"
#include "control/unix_socket.h"

namespace postern {

struct Reply {
    enum class Kind {
        row,    ///< `text` is the row, a JSON object as the daemon wrote it; more follows
        end,    ///< the answer is complete
        error,  ///< the daemon refuses: `text` is the reason, `code` its code
        lost    ///< the daemon is gone, silent or sends nonsense: see `text`
    };
    Kind kind = Kind::lost;
    std::string text;
    std::string code;
};

class ControlClient {
  public:
    /// timeout_s: how long this waits for the daemon to accept, and next() for a byte.
    static Result<ControlClient> connect(const std::string& path, unsigned timeout_s = 10);

    /// Sends one request. A daemon that disconnects meanwhile is not an error yet: next() reports
    /// it, with the daemon's own reason if it gave one.
    void ask(std::string_view command, const Json& args = Json::object());

    Reply next();
    /// Whether next() would return without reading from the socket. While false, a caller may wait
    /// for fd() to become readable, as long as it likes.
    bool ready() const noexcept { return in_.find('\n', taken_) != std::string::npos; }

    /// For a signal handler, which may shut it down: next() then reports `lost`, after all replies
    /// that had come.
    int fd() const noexcept { return fd_.get(); }

  private:
    explicit ControlClient(UniqueFd fd, unsigned timeout_s)
        : fd_(std::move(fd)), timeout_s_(timeout_s) {}

    UniqueFd fd_;
    unsigned timeout_s_;
    std::string in_;
    std::size_t taken_ = 0;
};

}  // namespace postern
