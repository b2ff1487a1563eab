// SPDX-License-Identifier: BSD-3-Clause
// Files of saved connections as bytes: written so that the former file stays until the new one is
// complete and on the disk, and read only if nobody else can have written it.
//
// Used by posternctl and by the daemon's control thread. All calls may wait for the disk.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace postern {

/// A new file of mode 0600 that replaces `path` when it is complete, or vanishes.
///
/// It has no name until then (O_TMPFILE), so a killed process leaves nothing behind. On a file
/// system that has no such files it has a name that cannot be guessed and must be new (O_EXCL). So
/// local users who may write to the directory can neither keep it open nor redirect it by a link.
class StateFileWriter {
  public:
    static Result<StateFileWriter> beside(const std::string& path);
    StateFileWriter(StateFileWriter&&) = default;
    StateFileWriter& operator=(StateFileWriter&&) = delete;
    ~StateFileWriter();

    /// The first failure is kept: later calls do nothing, and commit() reports it.
    void write(std::string_view bytes);
    /// False after a failure; see error().
    bool ok() const noexcept { return error_ == 0; }
    /// The first failure, with the name of the file and the cause.
    Error error() const;
    std::uint64_t bytes() const noexcept { return bytes_; }
    /// Writes all of it to the disk, renames it to `path`, and writes the directory to the disk.
    /// After an error the former file is there unchanged, and nothing of the new one.
    Result<void> commit();

  private:
    static constexpr std::size_t kBlock = 64 * 1024;
    static constexpr std::uint64_t kStartWriting = 4 * 1024 * 1024;

    StateFileWriter(std::string path, std::string name, UniqueFd fd)
        : path_(std::move(path)), name_(std::move(name)), fd_(std::move(fd)) {}
    void flush();
    /// Gives a file without a name one. Returns errno, or 0.
    int give_name();

    std::string path_;
    std::string name_;  ///< of the unfinished file; empty: it has none
    UniqueFd fd_;       ///< none: it has been renamed, or removed
    std::string waiting_;
    std::uint64_t bytes_ = 0, started_ = 0;
    int error_ = 0;  ///< errno of the first failure
};

/// Opens and reads a file that only the user and root can have written.
class StateFileReader {
  public:
    /// Restoring a file opens the firewall as the file describes. One that others own or may write
    /// to is refused, and so is anything but a regular file.
    static Result<StateFileReader> open(const std::string& path);

    /// The next bytes, at most as many as `into` has; 0: the end.
    Result<std::size_t> read(std::span<std::uint8_t> into);
    std::uint64_t size() const noexcept { return size_; }
    const std::string& path() const noexcept { return path_; }
    /// The descriptor, which this object closes.
    int fd() const noexcept { return fd_.get(); }

  private:
    StateFileReader(std::string path, UniqueFd fd, std::uint64_t size)
        : path_(std::move(path)), fd_(std::move(fd)), size_(size) {}

    std::string path_;
    UniqueFd fd_;
    std::uint64_t size_ = 0;
};

}  // namespace postern
