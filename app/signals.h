// SPDX-License-Identifier: BSD-3-Clause
// Signals: signals of the system and operators, as events of the daemon's main thread.
//
// None of them may end the process without its cleanup: Linux's default for a signal without a
// handler is to kill. The real-time signals stay unchanged: DPDK's tap driver takes a free one and
// needs its handler.
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace postern {

class Signals {
  public:
    enum class Wish {
        nothing,  ///< no signal was pending
        stop,     ///< SIGINT, SIGTERM, SIGQUIT
        reload,   ///< SIGHUP
        summary,  ///< SIGUSR1
        unknown   ///< SIGUSR2
    };

    /// Blocks those above in this thread and all later ones, and ignores the others that would end
    /// the process. Call it before any thread exists.
    static Result<Signals> take();

    /// Readable while a signal is pending.
    int fd() const noexcept { return fd_.get(); }
    /// The next pending one.
    Wish next() noexcept;

  private:
    explicit Signals(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
};

}  // namespace postern
