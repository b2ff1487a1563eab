// SPDX-License-Identifier: BSD-3-Clause
// ScannerCache: a directory that keeps compiled patterns from one start to the next.
//
// What: a file has one key (everything that the result of compiling depends on, in full) and the
// bytes compiled from it. Its name is the key's hash, so another set of patterns, another Hyperscan
// or another processor is another file; the key itself is then compared byte by byte.
// Used by: Scanner::compile(), on control's thread while a configuration is loaded. Faults: the
// cache is optional. A file that is damaged, of another kind, or writable by another user (the
// scanner's engine trusts its contents) is not read, and written anew; a directory that cannot be
// written to is a warning. Files are written beside and renamed, so a reader sees a file completely
// or not at all.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern {

class ScannerCache {
  public:
    enum class Use {
        read_and_write,
        read  ///< store() does nothing
    };
    explicit ScannerCache(std::string directory, Use use = Use::read_and_write)
        : directory_(std::move(directory)), use_(use) {}

    /// Returns the bytes stored under exactly this key; empty if there are none that can be
    /// trusted.
    std::vector<char> load(std::string_view key);
    /// Stores them; creates the directory if it is missing (not its parents).
    void store(std::string_view key, const std::vector<char>& bytes);
    /// The result of load() was not usable.
    void reject(std::string_view key, std::string_view why);

    std::string path_of(std::string_view key) const;
    unsigned hits() const noexcept { return hits_; }
    unsigned misses() const noexcept { return misses_; }
    /// One line each, for the log; at most one a file and one for the directory.
    const std::vector<std::string>& warnings() const noexcept { return warnings_; }

  private:
    void warn(std::string_view key, std::string_view why);

    std::string directory_;
    Use use_;
    unsigned hits_ = 0, misses_ = 0;
    std::vector<std::string> warnings_;
};

}  // namespace postern
