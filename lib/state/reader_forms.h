// SPDX-License-Identifier: BSD-3-Clause
// The two forms that RecordReader reads; private to lib/state.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "state/record_reader.h"
#include "state/wire.h"

namespace postern {

/// What both forms use of a RecordReader.
struct ReaderShared {
    const Plan* plan = nullptr;
    const HelperSet* helpers = nullptr;
    StateHeader header;
    StateTotals totals;
    RecordReader::Counts counts;
    std::string problem;
    RecordFault fault = RecordFault::none;
    bool has_header = false;
    bool over = false;   ///< no byte will be fed any more
    bool ended = false;  ///< next() has returned `end`
    bool whole = false;

    void add(std::span<const std::uint8_t> more) {
        // Moved to the front now and then, so that the cost is linear.
        if (at_ > bytes_.size() / 2) {
            bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(at_));
            at_ = 0;
        }
        bytes_.insert(bytes_.end(), more.begin(), more.end());
    }
    /// Bytes that no form has taken. Valid until add().
    std::span<const std::uint8_t> rest() const noexcept { return std::span(bytes_).subspan(at_); }
    void take(std::size_t n) noexcept { at_ += n; }

    RecordReader::Next bad(std::string what, RecordFault why = RecordFault::damaged) {
        problem = std::move(what);
        fault = why;
        return RecordReader::Next::bad;
    }
    /// Empty: nothing is wrong.
    RecordReader::Next end(std::string what) {
        problem = std::move(what);
        fault = problem.empty() ? RecordFault::none : RecordFault::damaged;
        ended = true;
        whole = problem.empty();
        return RecordReader::Next::end;
    }
    /// At the last record: whether the numbers of records agree with it.
    bool agrees() const noexcept {
        std::uint64_t all = counts.connections + counts.expectations;
        for (const std::uint64_t n : counts.bad)
            all += n;
        // Of those that are not known some may have been among them.
        const std::uint64_t stated = totals.connections + totals.expectations;
        return all <= stated && all + counts.unknown_records >= stated;
    }

  private:
    std::vector<std::uint8_t> bytes_;
    std::size_t at_ = 0;
};

class ReaderForm {
  public:
    virtual ~ReaderForm() = default;
    virtual RecordReader::Next next(SavedRecord& out) = 0;
    /// ReaderShared has another plan.
    virtual void plan_changed() = 0;
};

std::unique_ptr<ReaderForm> binary_form(ReaderShared& shared);
std::unique_ptr<ReaderForm> lines_form(ReaderShared& shared);

}  // namespace postern
