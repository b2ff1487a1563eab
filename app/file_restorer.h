// SPDX-License-Identifier: BSD-3-Clause
// FileRestorer: restores the contents of a file of saved connections from its bytes.
//
// What: bytes go in, in pieces; records are read (lib/state) and put back (restorer.h) as fast as
// the workers take them. Records that cannot be used are counted by cause, and the rest is
// restored.
// Who: the command `conntrack restore` and the start. Control's thread only. Memory: the bytes that
// were fed and not read, and that of a Restorer.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "restorer.h"
#include "state/record_reader.h"

namespace postern {

class FileRestorer {
  public:
    enum class Step {
        hungry,  ///< feed() or feed_end(), then call step() again
        busy,    ///< the workers have to take some first
        done     ///< everything has an outcome
    };
    /// Arguments as for Restorer.
    FileRestorer(Firewall& firewall, WorkerRequests& requests, std::function<Tick()> now);

    void feed(std::string_view bytes) { reader_.feed(bytes); }
    void feed_end() { reader_.feed_end(); }
    Step step();

    /// So far.
    RestoreSummary summary() const;
    /// What is wrong with the file as a whole, and where; empty: nothing, as far as it was read.
    const std::string& problem() const noexcept { return problem_; }
    /// The first records that cannot be used: what is wrong with them, and where.
    const std::vector<std::string>& bad_records() const noexcept { return bad_records_; }
    /// Whether all of it was read, to its end, without damage.
    bool is_whole() const noexcept {
        return over_ && problem_.empty() && reader_.counts().damaged_blocks == 0 &&
               reader_.counts().bad[static_cast<unsigned>(RecordFault::damaged)] == 0;
    }
    std::uint32_t elapsed_ms() const noexcept { return elapsed_ms_; }

  private:
    static constexpr std::size_t kBadRecords = 8;

    Firewall& firewall_;
    WorkerRequests& requests_;
    std::function<Tick()> now_;
    std::uint64_t version_;  ///< of the reader's plan
    RecordReader reader_;
    std::optional<Restorer> restorer_;  ///< from the header on
    std::uint32_t elapsed_ms_ = 0;
    bool over_ = false;
    std::string problem_;
    std::vector<std::string> bad_records_;
};

}  // namespace postern
