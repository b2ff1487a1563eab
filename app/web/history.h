// SPDX-License-Identifier: BSD-3-Clause
// History: the last quarter of an hour, for a page that is opened now.
//
// What: sums of the metrics, read every two seconds, and the events of expectations as they come.
// Each entry has a number that only grows, so a reader asks for what it has not seen. A gap (the
// daemon was away) is an entry, too.
// Used by: two threads of its own, and threads of HTTP requests. Synchronisation: a mutex.
// Life-cycle: start() once; the threads run until the process ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "web/daemon.h"
#include "web/metric_text.h"

namespace postern {

/// The daemon's metrics, parsed. `why` is empty if they could be read.
struct Metrics {
    std::vector<MetricRow> rows;
    std::string why;
};
Metrics read_metrics(Daemon& daemon);

/// JSON objects with numbers, the last N of them.
class NumberedLines {
  public:
    explicit NumberedLines(std::size_t kept) : kept_(kept) {}

    /// `object` is the text of a JSON object without "seq".
    void add(const std::string& object);
    /// A JSON array of those with a number above `after`, oldest first. `next` becomes the last
    /// number given, for the next question.
    std::string after(std::uint64_t after, std::uint64_t& next) const;

  private:
    struct Line {
        std::uint64_t number;
        std::string text;
    };
    const std::size_t kept_;
    mutable std::mutex mutex_;  ///< of what follows
    std::deque<Line> lines_;
    std::uint64_t last_ = 0;
};

/// One entry of the history: cumulative sums over workers. `now_ms`: after 1970.
std::string history_point(const Metrics& metrics, std::int64_t now_ms);

class History {
  public:
    static constexpr unsigned kPeriodMs = 2'000;

    explicit History(Daemon& daemon) : daemon_(daemon) {}

    void start();
    const NumberedLines& points() const noexcept { return points_; }
    const NumberedLines& expectations() const noexcept { return expectations_; }

  private:
    void sample();
    void follow_expectations();

    Daemon& daemon_;
    NumberedLines points_{450};
    NumberedLines expectations_{1'000};
};

}  // namespace postern
