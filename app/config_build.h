// SPDX-License-Identifier: BSD-3-Clause
// ConfigBuild: reads, compares and compiles a configuration on a thread of its own, so that control
// goes on answering while 65,000 rules are compiled.
//
// The thread touches nothing that another one changes: its order is a copy, and what it makes is
// taken when it has ended. It runs on control's CPU with less priority, so workers keep theirs.
// Life-cycle: the constructor starts it; the destructor tells it to stop, and waits until it has
// ended its present step.
//
// Used by LiveConfig. Control thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "config/differences.h"
#include "config/load.h"
#include "firewall.h"

namespace postern {

/// A configuration and where it was read from.
struct ConfigSource {
    Spec spec;
    std::string path;
    std::string text;
    std::vector<std::string> warnings;  ///< of the loader, with their places
    std::vector<IncludedFile> included{};
};

class ConfigBuild {
  public:
    struct Order {
        /// One of these: a file to read, its text, or what was read before.
        std::string path;
        std::optional<std::string> text;
        std::shared_ptr<ConfigSource> source;
        /// The configuration in force, to compare with.
        std::shared_ptr<const ConfigSource> now;
        std::string start_path;  ///< the file that the next start reads
        /// None: only the differences are asked for, also of a file that cannot be loaded.
        std::optional<Firewall::PlanBasis> basis;
    };
    struct Built {
        std::shared_ptr<ConfigSource> source;  ///< null without a basis
        std::vector<Difference> differences;
        std::vector<std::string> warnings;
        std::optional<Plan> plan;
    };

    explicit ConfigBuild(Order order);
    ConfigBuild(const ConfigBuild&) = delete;
    ConfigBuild& operator=(const ConfigBuild&) = delete;

    const Order& order() const noexcept { return order_; }
    /// Whether take() has something. Acquire pairs with the release at the thread's end.
    bool is_done() const noexcept { return done_.load(std::memory_order_acquire); }
    /// Once, when it is done.
    Result<Built> take() { return std::move(*result_); }
    /// Ends it after its present step, with an error.
    void cancel() noexcept { thread_.request_stop(); }

  private:
    void run(const std::stop_token& stop);

    const Order order_;
    std::optional<Result<Built>> result_;  // the thread: w until done_; control: r after it
    std::atomic<bool> done_{false};        // the thread: w, control: r
    std::jthread thread_;                  // the last member: it ends first
};

/// Reads a regular file. An error has a line for each mistake.
Result<ConfigSource> read_config(const std::string& path);

/// Lines of one message; of very many mistakes the first ones.
std::string message_of(const std::vector<std::string>& lines);

}  // namespace postern
