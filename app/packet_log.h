// SPDX-License-Identifier: BSD-3-Clause
// PacketLog: takes the workers' records of packets, and gives them to the configured outputs and to
// the clients of `log follow`.
//
// Used by: the daemon's loop, which calls turn(), and the command. Control's thread only. What
// comes while control is busy waits in the workers' rings; what finds them full is counted there.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "firewall.h"
#include "log_outputs.h"
#include "record_rows.h"

namespace postern {

class PacketLog {
  public:
    /// A client that follows. It sees the records that came since it was added.
    struct Follower {
        static constexpr std::size_t kMaxWaiting = 16384;
        std::function<bool(const PacketRecord&)> wanted;
        std::deque<Json> waiting;
        std::uint64_t lost = 0;
    };

    explicit PacketLog(Firewall& firewall) : fw_(firewall) {}
    PacketLog(const PacketLog&) = delete;
    PacketLog& operator=(const PacketLog&) = delete;

    /// Opened outputs, before they are used.
    struct Outputs {
        std::optional<LogFile> file;
        std::vector<LogSocket> sockets;
    };
    /// Opens outputs. An error: the file cannot be written.
    Result<Outputs> open(const LogSpec& spec);
    /// Replaces the outputs. The former ones get the records that came before.
    void use(Outputs outputs);
    /// The error that open() would probably return. Makes no file.
    static Result<void> can_open(const LogSpec& spec);
    /// Takes what has come, a bounded number of records.
    void turn();
    void add(Follower& follower);
    void remove(Follower& follower) { followers_.erase(&follower); }
    const LogOutputCounters& counters() const noexcept { return counters_; }

  private:
    void take(const PacketRecord& record, const TscWall& clock);
    void report_problem();

    Firewall& fw_;
    LogOutputCounters counters_;
    Outputs outputs_;
    std::set<Follower*> followers_;
    std::string reported_;  ///< problem of the file
    std::chrono::steady_clock::time_point report_again_;
};

}  // namespace postern
