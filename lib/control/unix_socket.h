// SPDX-License-Identifier: BSD-3-Clause
// The two ends of the control socket: the path that a daemon claims, and a client's connection to
// it.
//
// A path is claimed under a lock, so that of two daemons started at once one wins and the other
// gets an error. A socket file without a listener is left over from a dead daemon, and is replaced;
// one with a listener is never touched. Local users can neither hold the lock nor plant files: the
// lock is a file of mode 0600 beside the socket that exists only briefly, and a directory in which
// others may write is refused.
#pragma once

#include <optional>
#include <string>

#include <sys/socket.h>
#include <sys/types.h>

#include "base/result.h"
#include "base/unique_fd.h"

namespace postern {

inline constexpr const char* kDefaultControlSocket = "/run/postern/control.sock";

/// Permissions of a socket.
struct SocketAccess {
    mode_t mode = 0600;            ///< of the socket's file; connecting needs write permission
    std::optional<gid_t> group{};  ///< of the file; none: the process's
    mode_t directory_mode = 0700;  ///< of directories that have to be made
};

/// A listening, non-blocking UNIX socket. The destructor removes the file, unless another one has
/// replaced it.
class ListeningSocket {
  public:
    /// Creates missing directories. An existing one must belong to the daemon's user or root, and
    /// only they may write to it. Waits at most 3 s for the lock. `type` is SOCK_STREAM or
    /// SOCK_SEQPACKET; `what` names the socket in errors.
    static Result<ListeningSocket> claim(const std::string& path, int type = SOCK_STREAM,
                                         const std::string& what = "control socket",
                                         const SocketAccess& access = {});
    ListeningSocket(ListeningSocket&&) = default;
    ListeningSocket& operator=(ListeningSocket&&) = delete;
    ~ListeningSocket();

    int fd() const noexcept { return fd_.get(); }
    const std::string& path() const noexcept { return path_; }

  private:
    ListeningSocket(UniqueFd fd, std::string path, dev_t device, ino_t inode, std::string what)
        : fd_(std::move(fd)),
          path_(std::move(path)),
          device_(device),
          inode_(inode),
          what_(std::move(what)) {}

    UniqueFd fd_;
    std::string path_;
    dev_t device_;  ///< with inode_: the created file
    ino_t inode_;
    std::string what_;
};

/// A blocking connection to the daemon that answers on `path`. timeout_s: how long to wait for a
/// daemon that accepts none (it is stopped, and its backlog is full), and for each later send.
Result<UniqueFd> connect_unix(const std::string& path, unsigned timeout_s = 10);

}  // namespace postern
