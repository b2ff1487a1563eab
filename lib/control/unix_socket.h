// SPDX-License-Identifier: BSD-3-Clause
// The two ends of the control socket: the path a daemon claims, and a client's connection to it.
//
// A path is claimed under a lock on its directory, so that of two daemons started at once one wins
// and the other is told. A socket file on which nobody answers is left over from a daemon that
// died, and is replaced; one that answers is never touched.
#pragma once

#include <string>

#include <sys/socket.h>
#include <sys/types.h>

#include "base/result.h"
#include "base/unique_fd.h"

namespace postern {

inline constexpr const char* kDefaultControlSocket = "/run/postern/control.sock";

/// A listening, non-blocking UNIX socket of mode 0600. The destructor removes the file,
/// unless another one has taken its place.
class ListeningSocket {
  public:
    /// Creates missing directories (mode 0755 less the umask). `type` is SOCK_STREAM or
    /// SOCK_SEQPACKET; `what` names the socket in errors.
    static Result<ListeningSocket> claim(const std::string& path, int type = SOCK_STREAM,
                                         const std::string& what = "control socket");
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
    dev_t device_;  ///< with inode_: the file we made
    ino_t inode_;
    std::string what_;
};

/// A blocking connection to the daemon that answers on `path`.
Result<UniqueFd> connect_unix(const std::string& path);

}  // namespace postern
