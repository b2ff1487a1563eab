// SPDX-License-Identifier: BSD-3-Clause
#include "state/file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

namespace postern {
namespace {

constexpr const char* kOwnFiles = "/proc/self/fd";

Error cannot(const std::string& path, const char* verb, int error) {
    return Error{path + ": cannot be " + verb + ": " + std::strerror(error)};
}

/// Replaces only a missing or regular file: no link, device, pipe or directory.
Result<void> check_target(const std::string& path) {
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) {
        if (errno == ENOENT) return {};
        return cannot(path, "written", errno);
    }
    if (S_ISREG(st.st_mode)) return {};
    return Error{path + ": is there and is not a regular file; it is left alone"};
}

std::string directory_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

/// Writes the directory of `path` to the disk, so that a renamed file is found after a power
/// failure. Returns errno, or 0.
int sync_directory(const std::string& path) {
    const UniqueFd fd(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return errno;
    // Some file systems have no such call for directories: EINVAL.
    return ::fsync(fd.get()) == 0 || errno == EINVAL ? 0 : errno;
}

}  // namespace

Result<StateFileWriter> StateFileWriter::beside(const std::string& path) {
    if (auto fit = check_target(path); !fit) return fit.error();
    // Naming it needs /proc.
    if (::access(kOwnFiles, X_OK) == 0) {
        UniqueFd unnamed(
            ::open(directory_of(path).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
        if (unnamed && ::fchmod(unnamed.get(), 0600) == 0)
            return StateFileWriter(path, {}, std::move(unnamed));
    }
    std::string name = path + ".XXXXXX";
    UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));  // with mode 0600
    if (!fd) return cannot(path, "written", errno);
    return StateFileWriter(path, std::move(name), std::move(fd));
}

StateFileWriter::~StateFileWriter() {
    if (fd_ && !name_.empty()) ::unlink(name_.c_str());
}

Error StateFileWriter::error() const {
    return cannot(path_, "written", error_);
}

void StateFileWriter::write(std::string_view bytes) {
    waiting_ += bytes;
    if (waiting_.size() >= kBlock) flush();
}

void StateFileWriter::flush() {
    // By write(2): each failure has its own errno, which a stream may lose.
    for (std::string_view rest = waiting_; error_ == 0 && !rest.empty();) {
        const ssize_t n = ::write(fd_.get(), rest.data(), rest.size());
        if (n > 0) {
            rest.remove_prefix(static_cast<std::size_t>(n));
            bytes_ += static_cast<std::uint64_t>(n);
        } else if (n == 0) {
            error_ = ENOSPC;
        } else if (errno != EINTR) {
            error_ = errno;
        }
    }
    waiting_.clear();
    // The disk begins early, so that the fsync() of a large file is short. A hint: its result does
    // not matter.
    if (error_ == 0 && bytes_ - started_ >= kStartWriting) {
        (void)::sync_file_range(fd_.get(), static_cast<off64_t>(started_),
                                static_cast<off64_t>(bytes_ - started_), SYNC_FILE_RANGE_WRITE);
        started_ = bytes_;
    }
}

int StateFileWriter::give_name() {
    const std::string own = std::string(kOwnFiles) + "/" + std::to_string(fd_.get());
    constexpr int kTries = 100;
    for (int i = 0; i < kTries; ++i) {
        std::uint64_t random = 0;
        if (::getrandom(&random, sizeof random, 0) != sizeof random) return errno;
        std::string name = path_ + "." + std::to_string(random);
        // Fails if something has this name, even a link.
        if (::linkat(AT_FDCWD, own.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
            name_ = std::move(name);
            return 0;
        }
        if (errno != EEXIST) return errno;
    }
    return EEXIST;
}

Result<void> StateFileWriter::commit() {
    flush();
    if (error_ == 0 && ::fsync(fd_.get()) != 0) error_ = errno;
    if (error_ == 0 && name_.empty()) error_ = give_name();
    // Some file systems report a full disk only here.
    if (const int fd = fd_.release(); ::close(fd) != 0 && error_ == 0) error_ = errno;
    // Checks again what exists there by now.
    auto fit = check_target(path_);
    if (fit && error_ == 0 && std::rename(name_.c_str(), path_.c_str()) != 0) error_ = errno;
    if (!fit || error_ != 0) {
        if (!name_.empty()) ::unlink(name_.c_str());
        if (!fit) return fit.error();
        return error();
    }
    if (const int e = sync_directory(path_); e != 0)
        return Error{path_ + ": is written, but may be the former one after a power failure: " +
                     std::strerror(e)};
    return {};
}

Result<StateFileReader> StateFileReader::open(const std::string& path) {
    // O_NONBLOCK: does not wait for a writer of a pipe.
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    struct stat st {};
    if (!fd || ::fstat(fd.get(), &st) != 0) return cannot(path, "opened", errno);
    if (!S_ISREG(st.st_mode)) return Error{path + ": is not a regular file"};
    if (st.st_uid != 0 && st.st_uid != ::geteuid())
        return Error{path + ": belongs to another user (uid " + std::to_string(st.st_uid) +
                     "); expected yours or root's"};
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        char mode[8];
        std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(st.st_mode & 07777));
        return Error{path + ": can be written to by others (mode " + mode +
                     "); if you trust it: chmod go-w"};
    }
    return StateFileReader(path, std::move(fd), static_cast<std::uint64_t>(st.st_size));
}

Result<std::size_t> StateFileReader::read(std::span<std::uint8_t> into) {
    for (;;) {
        const ssize_t n = ::read(fd_.get(), into.data(), into.size());
        if (n >= 0) return static_cast<std::size_t>(n);
        if (errno != EINTR) return cannot(path_, "read", errno);
    }
}

}  // namespace postern
