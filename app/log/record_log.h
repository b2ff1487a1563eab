// SPDX-License-Identifier: BSD-3-Clause
// RecordLog: takes the workers' records of packets and their events of connections, and gives them
// to the configured outputs; the records of packets also to the clients of `log follow`.
//
// Used by: the daemon's loop, which calls turn(), and the command. Control's thread only. What
// comes while control is busy waits in the workers' rings; what finds them full is counted.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "conn_hub.h"
#include "firewall.h"
#include "log/ipfix.h"
#include "log/log_outputs.h"
#include "log/record_rows.h"

namespace postern {

class RecordLog {
  public:
    /// A client that follows. It sees the records that came since it was added.
    struct Follower {
        static constexpr std::size_t kMaxWaiting = 16384;
        std::function<bool(const PacketRecord&)> wanted;
        std::deque<Json> waiting;
        std::uint64_t lost = 0;
    };

    /// `now`: the clock of the events.
    RecordLog(Firewall& firewall, std::shared_ptr<ConnHub> hub, std::function<Tick()> now);
    ~RecordLog();
    RecordLog(const RecordLog&) = delete;
    RecordLog& operator=(const RecordLog&) = delete;

    /// Opened outputs, before they are used.
    struct Outputs {
        std::optional<LogFile> file;
        std::vector<LogSocket> sockets;
        std::optional<IpfixExporter> ipfix;
        FlowRecords flows = FlowRecords::none;
    };
    /// Opens outputs. An error: the file cannot be written, or no route leads to the collector.
    Result<Outputs> open(const LogSpec& spec);
    /// Replaces the outputs. The former ones get the records that came before. Without outputs, it
    /// does not refer to the firewall any more.
    void use(Outputs outputs);
    /// The error that open() would probably return. Makes no file.
    static Result<void> can_open(const LogSpec& spec);
    /// Takes what has come, a bounded number of records. Returns whether more wait.
    bool turn();
    /// The same without a bound, when the workers have stopped.
    void take_rest() {
        while (turn()) {
        }
    }
    void add(Follower& follower);
    void remove(Follower& follower) { followers_.erase(&follower); }
    const LogOutputCounters& counters() const noexcept { return counters_; }

  private:
    void take(const PacketRecord& record, const TscWall& clock);
    void take(const ConnEvent& event);
    bool take_packets();
    void listen(FlowRecords flows);
    void report_problem();

    Firewall& fw_;
    std::shared_ptr<ConnHub> hub_;
    std::function<Tick()> now_;
    ConnHub::Listener listener_;
    bool listens_ = false;
    LogOutputCounters counters_;
    Outputs outputs_;
    std::set<Follower*> followers_;
    std::string reported_;  ///< problem of the file
    std::chrono::steady_clock::time_point report_again_;
};

}  // namespace postern
