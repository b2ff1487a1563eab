// SPDX-License-Identifier: BSD-3-Clause
// Signals: what the system and operators tell the daemon by signals, as events of its main thread.
//
// None of them may end the process without its cleanup: Linux's default for a signal without a
// handler is to kill. The real-time signals stay as they are: DPDK's tap driver looks for a free
// one and lives on its handler.
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace postern {

class Signals {
  public:
    enum class Wish {
        nothing,  ///< no signal was waiting
        stop,     ///< SIGINT, SIGTERM, SIGQUIT
        reload,   ///< SIGHUP
        summary,  ///< SIGUSR1
        unknown   ///< SIGUSR2
    };

    /// Blocks those above in this thread and all that it will make, and ignores the others that
    /// would end the process. Call it before any thread exists.
    static Result<Signals> take();

    /// Readable while a signal waits.
    int fd() const noexcept { return fd_.get(); }
    /// The next one that waits.
    Wish next() noexcept;

  private:
    explicit Signals(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
};

}  // namespace postern
