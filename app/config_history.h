// SPDX-License-Identifier: BSD-3-Clause
// The configurations that were in force, the last ten of them: in memory, and in a folder if one is
// configured, so that `config rollback` also works after a restart.
//
// The folder has `index.json`, a file `N.yaml` for each configuration, and `unconfirmed.yaml` while
// the file that the next start reads holds a text that nobody has confirmed yet. Each file is
// complete or absent: it is written beside its place and renamed.
//
// Used by LiveConfig, and by main() for the configuration of a start. Control thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace postern {

class ConfigHistory {
  public:
    static constexpr std::size_t kMost = 10;

    struct Entry {
        unsigned number = 0;        ///< counts up; never used twice
        std::int64_t since_ms = 0;  ///< wall clock when it came into force, since 1970
        std::string by;             ///< who loaded it: "uid 0, pid 4711", "start", "SIGHUP"
        std::string file;           ///< the path it was read from
        bool confirmed = true;
        std::string text;
    };

    /// `folder` is made with mode 0700 if it is missing; empty: in memory only. An error: it cannot
    /// be used, or another daemon uses it.
    static Result<ConfigHistory> open(const std::string& folder);

    /// The newest is the one in force. Beyond kMost the oldest are forgotten, but not the last
    /// confirmed one. After an error it is
    /// kept in memory only.
    Result<void> add(Entry entry);
    Result<void> confirm_newest();
    /// Oldest first.
    const std::deque<Entry>& entries() const noexcept { return entries_; }
    /// Nothing: no such number is kept.
    const Entry* find(unsigned number) const noexcept;
    unsigned next_number() const noexcept { return next_; }

    /// The file of the start holds this text, which is in force until it is confirmed or replaced.
    Result<void> mark_unconfirmed(const std::string& text);
    Result<void> clear_unconfirmed();
    /// Whether a mark is there, of this process or a former one.
    bool has_unconfirmed() const noexcept;
    bool is_on_disk() const noexcept { return !folder_.empty(); }

    /// For a start: the confirmed text to use in place of `text`, the contents of the start's file,
    /// if a former process was to go back from `text` and did not live to do so.
    static std::optional<std::string> replacement_of(const std::string& folder,
                                                     const std::string& text);

  private:
    ConfigHistory() = default;
    Result<void> write_index() const;
    std::string path_of(unsigned number) const;

    std::string folder_;
    UniqueFd lock_;
    std::deque<Entry> entries_;
    unsigned next_ = 1;
};

}  // namespace postern
