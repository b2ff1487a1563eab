// SPDX-License-Identifier: BSD-3-Clause
// Entries of sets as text, in the configuration, in files and in commands:
//
//   192.0.2.1
//   2001:db8::/32 timeout 1h
//
// A file has an entry a line. `#` begins a comment; empty lines are skipped. Pure functions of
// text, for control.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/addr.h"

namespace postern {

/// An entry with the time that it is to stay.
struct TimedPrefix {
    Prefix prefix;
    std::optional<std::uint32_t> timeout_s;  ///< 0: for ever; nothing: the set's default
    friend bool operator==(const TimedPrefix&, const TimedPrefix&) = default;
};

/// An error says what was expected, and repeats the text if `repeat` is set: who may have a file
/// read may not be allowed to read it.
Result<TimedPrefix> parse_set_entry(std::string_view text, bool repeat = true);
/// Seconds of "90", "30s", "5m", "2h", "7d"; 0 of "never". Nothing: it is none, or longer than
/// kMaxEntryTimeoutS.
std::optional<std::uint32_t> parse_set_timeout(std::string_view text);
std::string to_string(const TimedPrefix& entry);

/// Reads the lines of a file, some bytes at a time.
class SetFileReader {
  public:
    static constexpr std::size_t kMostErrors = 10;

    /// `name`: of the file, for errors.
    explicit SetFileReader(std::string name) : name_(std::move(name)) {}

    /// Appends the entries of whole lines to `out`. `last`: the text ends here. False: there are
    /// kMostErrors errors, and reading on makes no sense.
    bool feed(std::string_view bytes, bool last, std::vector<TimedPrefix>& out);
    /// "FILE:LINE: what was expected".
    const std::vector<std::string>& errors() const noexcept { return errors_; }

  private:
    void line(std::string_view text, std::vector<TimedPrefix>& out);

    std::string name_, rest_;
    unsigned number_ = 0;
    bool too_long_ = false;
    std::vector<std::string> errors_;
};

/// All entries of a regular file, of at most `most` entries. An error has a line for each mistake.
Result<std::vector<TimedPrefix>> read_set_file(const std::string& path, std::size_t most);

}  // namespace postern
