// SPDX-License-Identifier: BSD-3-Clause
// RecordReader: saved connections and expectations from the bytes of a file, in the binary form or
// as JSON lines. The first byte decides which.
//
// What: bytes go in by feed(), in pieces of any size; records come out by next(), one at a time.
// Input is checked as if an attacker had written it: a record contains only indices, states and
// sizes that packets could have caused. A damaged record, or a damaged block of them, is reported
// and counted, and the rest is read. Unknown fields and kinds of records are skipped and counted.
//
// Who calls: control. Memory: one block (or line), and the names; independent of the file's size.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "helper/helper_set.h"
#include "state/saved.h"

namespace postern {

struct ReaderShared;
class ReaderForm;

class RecordReader {
  public:
    enum class Next : std::uint8_t {
        record,  ///< `out` is one
        bad,     ///< one or several cannot be used: see fault() and problem()
        more,    ///< call feed() or feed_end() first
        end      ///< there are no more; see problem(), which is empty if the file is whole
    };
    struct Counts {
        std::uint64_t connections = 0, expectations = 0;  ///< that were returned
        std::uint64_t bad[kRecordFaults] = {};            ///< by RecordFault
        std::uint64_t damaged_blocks = 0;
        std::uint64_t unknown_fields = 0, unknown_records = 0;
    };

    RecordReader(const Plan& plan, const HelperSet& helpers);
    ~RecordReader();
    RecordReader(const RecordReader&) = delete;
    RecordReader& operator=(const RecordReader&) = delete;

    /// Numbers in later records are of this plan. Call it again for another version, before the
    /// earlier plan is freed.
    void set_plan(const Plan& plan, const HelperSet& helpers);
    /// The next bytes of the file. Bounded by the caller: they are kept until next() has read them.
    void feed(std::span<const std::uint8_t> bytes);
    void feed(std::string_view bytes);
    /// The file has no more bytes.
    void feed_end();

    Next next(SavedRecord& out);
    /// After Next::bad and Next::end: what is wrong and where; empty: nothing.
    const std::string& problem() const noexcept;
    /// After Next::bad.
    RecordFault fault() const noexcept;

    /// Known when next() has returned anything but `more`.
    const StateHeader& header() const noexcept;
    /// Without one nothing is read.
    bool has_header() const noexcept;
    /// Whether its last record was read, and agrees with the number of records.
    bool is_whole() const noexcept;
    /// Of its last record, as the writer counted; zeros until it was read.
    const StateTotals& totals() const noexcept;
    const Counts& counts() const noexcept;

  private:
    std::unique_ptr<ReaderShared> shared_;
    std::unique_ptr<ReaderForm> form_;  ///< none: no byte has come yet
};

}  // namespace postern
