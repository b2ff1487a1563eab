// SPDX-License-Identifier: BSD-3-Clause
// ScannerCache: a directory that keeps compiled patterns from one start to the next.
//
// What: a file holds one key (everything that the result of compiling depends on, in full) and the
// bytes compiled from it. Its name comes from the key's hash, so another set of patterns, another
// Hyperscan or another processor is another file; that the key is really the same is then compared
// byte by byte.
// Who calls: Scanner::compile(), on control's thread while a configuration is loaded.
// Faults: the cache is never needed. A file that is damaged, or another's, or that somebody else
// could have written (it is run by the scanner's engine, which trusts it) is left unread and
// written anew; a directory that cannot be written to is a warning. Files are written beside and
// renamed, so a reader sees all or nothing of one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern {

class ScannerCache {
  public:
    explicit ScannerCache(std::string directory) : directory_(std::move(directory)) {}

    /// The bytes stored under exactly this key; empty when there are none that can be trusted.
    std::vector<char> load(std::string_view key);
    /// Keeps them; makes the directory if it is missing (not its parents).
    void store(std::string_view key, const std::vector<char>& bytes);
    /// What load() gave turned out to be of no use.
    void reject(std::string_view key, std::string_view why);

    std::string path_of(std::string_view key) const;
    unsigned hits() const noexcept { return hits_; }
    unsigned misses() const noexcept { return misses_; }
    /// One line each, for the log; at most one a file and one for the directory.
    const std::vector<std::string>& warnings() const noexcept { return warnings_; }

  private:
    void warn(std::string_view key, std::string_view why);

    std::string directory_;
    unsigned hits_ = 0, misses_ = 0;
    std::vector<std::string> warnings_;
};

}  // namespace postern
