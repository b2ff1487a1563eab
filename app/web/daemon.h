// SPDX-License-Identifier: BSD-3-Clause
// Daemon: asks the daemon on a control socket, on behalf of any number of HTTP requests.
//
// What: the rows of a command, as the daemon wrote them. Equal questions within a moment share one
// answer, and a question that is being asked is not asked twice. At most a few connections exist at
// once, each with a deadline. So no number of HTTP requests costs the daemon more than that, and no
// state of the daemon holds an HTTP request longer than the deadline.
// Used by: threads of HTTP requests and of History. Synchronisation: a mutex, not held while
// asking.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "control/client.h"

namespace postern {

struct DaemonAnswer {
    enum class State {
        ok,
        refused,     ///< the daemon refuses the question: see `error` and `code`
        unavailable  ///< no daemon, or no answer in time: see `error`
    };
    State state = State::unavailable;
    std::string error{};
    std::string code{};               ///< the daemon's, such as bad_args
    std::vector<std::string> rows{};  ///< JSON objects
    bool truncated = false;           ///< there were more rows than wanted
    std::chrono::steady_clock::time_point at{};
};

class Daemon {
  public:
    using Clock = std::chrono::steady_clock;

    struct Options {
        std::string socket;
        unsigned connections = 4;  ///< at once
        /// How long to wait for a byte of an answer.
        unsigned silence_s = 6;
        std::chrono::milliseconds deadline{12'000};  ///< of a whole answer
        std::chrono::milliseconds wait{2'000};       ///< for a connection to become free
        std::chrono::milliseconds max_age{1'000};    ///< of an answer that is given again
        std::size_t answers = 64;                    ///< kept at once
    };
    /// Bounds of one answer. Beyond `bytes` rows are left out, as beyond `rows`.
    struct Bounds {
        std::size_t rows = 1'000;
        std::size_t bytes = 32u << 20;
    };

    explicit Daemon(Options options) : options_(std::move(options)) {}

    /// Never null. The answer may be up to `max_age` old, also if it is an error.
    std::shared_ptr<const DaemonAnswer> ask(const std::string& command, const Json& args,
                                            Bounds bounds);

    const std::string& socket() const noexcept { return options_.socket; }
    std::uint64_t asked() const noexcept { return asked_.load(std::memory_order_relaxed); }
    std::uint64_t failed() const noexcept { return failed_.load(std::memory_order_relaxed); }

  private:
    struct Entry {
        std::shared_ptr<const DaemonAnswer> answer;  ///< null: none yet
        bool asking = false;
    };

    DaemonAnswer ask_now(const std::string& command, const Json& args, Bounds bounds) const;
    void forget_old();

    Options options_;
    std::mutex mutex_;  ///< of what follows
    std::condition_variable changed_;
    std::map<std::string, Entry> entries_;
    unsigned in_use_ = 0;  ///< connections
    std::atomic<std::uint64_t> asked_ = 0, failed_ = 0;
};

}  // namespace postern
