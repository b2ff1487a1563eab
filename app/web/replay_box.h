// SPDX-License-Identifier: BSD-3-Clause
// ReplayBox: runs `postern replay` over a capture that a client has sent, in a process of its own
// that can do nothing else.
//
// The process has no network (a network namespace of its own), reads the program, its libraries,
// the configuration's folder and the capture only, writes no file (Landlock), and has limits of
// time, memory and descriptors. If the kernel refuses one of these, nothing is replayed. One replay
// at a time. Called by threads of HTTP requests; run() waits for the process.
#pragma once

#include <chrono>
#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"

namespace postern {

struct ReplayAnswer {
    enum class State {
        ok,
        busy,    ///< another replay runs
        failed,  ///< see `error`: what the program said, or why there was none
    };
    State state = State::failed;
    std::string error{};
    std::vector<std::string> rows{};  ///< packets and expectations, JSON objects, the first ones
    std::string summary = "null";     ///< the last object
    std::size_t left_out = 0;         ///< rows beyond the bound
};

class ReplayBox {
  public:
    struct Options {
        std::string program;  ///< postern; empty: there are no replays
        std::string config;   ///< its configuration
        std::chrono::seconds deadline{30};
        std::size_t rows = 5'000;
        std::size_t output_bytes = 512u << 20;  ///< of the whole output, before it is ended
        std::size_t memory_bytes = std::size_t{8} << 30;
    };
    explicit ReplayBox(Options options) : options_(std::move(options)) {}

    bool available() const noexcept { return !options_.program.empty(); }
    const std::string& config() const noexcept { return options_.config; }
    /// `arguments`: further ones of `postern replay`, checked by the caller.
    ReplayAnswer run(const std::string& capture, const std::vector<std::string>& arguments);

  private:
    ReplayAnswer run_in(const std::string& folder, const std::string& capture,
                        const std::vector<std::string>& arguments) const;

    Options options_;
    std::mutex one_at_a_time_;
};

}  // namespace postern
