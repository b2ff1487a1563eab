// SPDX-License-Identifier: BSD-3-Clause
// Where records of packets and connections go: a file of JSON lines, syslog, systemd's journal.
//
// An output never waits. What it cannot take is counted as lost, and the packets go on. Control's
// thread only.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "config/spec/log.h"
#include "control/command.h"
#include "metrics/metric.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_LOG_OUTPUT_METRICS(X)                                                         \
    X(log_lines, counter, events, "records written to the log's file")                        \
    X(log_sent, counter, events, "records given to syslog, the journal or a collector")       \
    X(log_unwritten, counter, events,                                                         \
      "records that an output did not take: a full disk, a "                                  \
      "daemon that is away or too slow")                                                      \
    X(flow_records, counter, events, "records of connections")                                \
    X(flow_lost, counter, events, "events of connections lost, because control was too slow") \
    X(log_rotations, counter, events, "log files that had reached their size, and were moved")

struct LogOutputCounters {
    POSTERN_METRICS(POSTERN_LOG_OUTPUT_METRICS)
};

/// A file of lines, which moves away when it has reached its size.
class LogFile {
  public:
    static Result<LogFile> open(const LogFileSpec& spec, LogOutputCounters& counters);
    /// Whether open() would succeed, as far as that shows without making the file.
    static Result<void> can_open(const LogFileSpec& spec);

    /// Keeps a line until flush().
    void add(const std::string& line);
    /// Writes the lines. A file that someone has moved or removed is made anew.
    void flush();
    /// Of the last failure; empty: the last flush succeeded.
    const std::string& problem() const noexcept { return problem_; }

  private:
    LogFile(LogFileSpec spec, LogOutputCounters& counters)
        : spec_(std::move(spec)), counters_(&counters) {}
    Result<void> reopen();
    bool was_moved() const noexcept;
    void rotate();
    /// Writes all of it, or nothing.
    bool write(const std::string& text);

    LogFileSpec spec_;
    LogOutputCounters* counters_;
    UniqueFd fd_;
    std::uint64_t size_ = 0;
    std::string waiting_;
    std::uint64_t lines_ = 0;  ///< in `waiting_`
    std::string problem_;
};

/// A daemon that takes datagrams on a UNIX socket.
class LogSocket {
  public:
    enum class Form {
        syslog,  ///< RFC 5424
        journal  ///< systemd's native protocol
    };
    LogSocket(std::string path, Form form, LogOutputCounters& counters)
        : path_(std::move(path)), form_(form), counters_(&counters) {}

    void send(const Json& row);

  private:
    bool connect();
    std::string path_;
    Form form_;
    LogOutputCounters* counters_;
    UniqueFd fd_;
};

/// The messages, for tests.
std::string syslog_message(const Json& row, const std::string& host, int pid);
std::string journal_message(const Json& row);

}  // namespace postern
