// SPDX-License-Identifier: BSD-3-Clause
#include "control/unix_socket.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

namespace postern {
namespace {

std::string errno_text(int error = errno) {
    return std::generic_category().message(error);
}

Result<sockaddr_un> make_address(const std::string& path, const std::string& what) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty()) return Error{"the " + what + "'s path is empty"};
    if (path.size() >= sizeof address.sun_path)
        return Error{what + " path '" + path + "' is too long: " + std::to_string(path.size()) +
                     " bytes, at most " + std::to_string(sizeof address.sun_path - 1) +
                     " are possible"};
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

int connect_to(int fd, const sockaddr_un& address) {
    for (;;) {
        if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
            return 0;
        if (errno != EINTR) return errno;
    }
}

std::filesystem::path directory_of(const std::string& path) {
    auto directory = std::filesystem::path(path).parent_path();
    return directory.empty() ? "." : directory;
}

/// Makes the missing directories up to `directory`.
Result<void> make_directories(const std::filesystem::path& directory, mode_t mode,
                              const std::string& what) {
    std::filesystem::path so_far;
    for (const auto& part : directory) {
        so_far /= part;
        // An explicit mode, independent of the umask.
        const bool made = ::mkdir(so_far.c_str(), 0700) == 0;
        if ((!made && errno != EEXIST) ||
            (made && mode != 0700 && ::chmod(so_far.c_str(), mode) != 0))
            return Error{"cannot create the " + what + "'s directory '" + so_far.string() +
                         "': " + errno_text()};
    }
    return {};
}

/// Whether only the daemon's user and root may create, replace or remove files in it.
Result<void> check_directory(const std::filesystem::path& directory, const std::string& what) {
    const std::string name = "the " + what + "'s directory '" + directory.string() + "'";
    struct stat st {};
    if (::stat(directory.c_str(), &st) != 0)
        return Error{"cannot open " + name + ": " + errno_text()};
    if (!S_ISDIR(st.st_mode)) return Error{name + " is not a directory"};
    if (st.st_uid != 0 && st.st_uid != ::geteuid())
        return Error{name + " belongs to another user (uid " + std::to_string(st.st_uid) +
                     "), who could replace the socket"};
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        char mode[8];
        std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(st.st_mode & 07777));
        return Error{name + " can be written to by others (mode " + mode +
                     "), who could replace the socket; expected 0700, or 0711 if others may use a "
                     "socket in it"};
    }
    return {};
}

/// Held while this object exists: no other daemon claims or removes the socket at `path`.
///
/// A file beside the socket that no other user can open: any user who may read a directory could
/// lock that. Other daemons hold it only briefly, so waiting for it is bounded.
class PathLock {
  public:
    static Result<PathLock> take(const std::string& path, const std::string& what) {
        using namespace std::chrono;
        const std::string file = path + ".lock";
        const auto give_up = steady_clock::now() + kLockWait;
        for (;;) {
            UniqueFd fd(
                ::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
            struct stat held {};
            if (!fd || ::fstat(fd.get(), &held) != 0)
                return Error{"cannot make the lock of the " + what + " '" + file +
                             "': " + errno_text()};
            if (!S_ISREG(held.st_mode) || held.st_uid != ::geteuid() ||
                (held.st_mode & (S_IRWXG | S_IRWXO)) != 0)
                return Error{"the lock of the " + what + " '" + file +
                             "' is not a file of ours that others cannot open; remove it"};
            if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
                // The previous holder removes the file that it has locked.
                struct stat there {};
                if (::lstat(file.c_str(), &there) == 0 && there.st_dev == held.st_dev &&
                    there.st_ino == held.st_ino)
                    return PathLock(std::move(fd), file);
                continue;
            }
            if (errno != EWOULDBLOCK && errno != EINTR)
                return Error{"cannot lock '" + file + "': " + errno_text()};
            if (steady_clock::now() >= give_up)
                return Error{"another process has held the lock of the " + what + " '" + file +
                             "' for " + std::to_string(kLockWait.count()) + " s"};
            std::this_thread::sleep_for(milliseconds(5));
        }
    }
    PathLock(PathLock&&) = default;
    PathLock& operator=(PathLock&&) = delete;
    ~PathLock() {
        if (fd_) ::unlink(file_.c_str());
    }

  private:
    static constexpr std::chrono::seconds kLockWait{3};

    PathLock(UniqueFd fd, std::string file) : fd_(std::move(fd)), file_(std::move(file)) {}

    UniqueFd fd_;
    std::string file_;
};

/// Handles an existing file at `path`: removes a dead daemon's socket. The path is locked.
Result<void> make_way(const std::string& path, const sockaddr_un& address, int type,
                      const std::string& what) {
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) {
        if (errno == ENOENT) return {};
        return Error{"cannot look at '" + path + "': " + errno_text()};
    }
    if (!S_ISSOCK(st.st_mode))
        return Error{"cannot make the " + what + ": '" + path + "' exists and is not a socket"};
    UniqueFd probe(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!probe) return Error{"cannot create a socket: " + errno_text()};
    switch (const int error = connect_to(probe.get(), address)) {
        case 0:
        case EAGAIN:  // its backlog is full: busy, but alive
            return Error{"another daemon answers on '" + path + "'"};
        case ECONNREFUSED:
            if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
            return Error{"cannot remove the stale " + what + " '" + path + "': " + errno_text()};
        default:
            return Error{"cannot tell whether another daemon uses '" + path +
                         "': " + errno_text(error)};
    }
}

}  // namespace

Result<ListeningSocket> ListeningSocket::claim(const std::string& path, int type,
                                               const std::string& what,
                                               const SocketAccess& access) {
    auto address = make_address(path, what);
    if (!address) return address.error();

    const auto directory = directory_of(path);
    if (auto made = make_directories(directory, access.directory_mode, what); !made)
        return made.error();
    if (auto safe = check_directory(directory, what); !safe) return safe.error();
    auto lock = PathLock::take(path, what);
    if (!lock) return lock.error();
    if (auto free = make_way(path, *address, type, what); !free) return free.error();

    UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    struct stat st {};
    // A socket's mode before bind() is the mode of the file that bind() creates. So others can
    // never connect in between, and the process's umask stays unchanged.
    if (!fd || ::fchmod(fd.get(), 0600) != 0 ||
        ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(sockaddr_un)) != 0 ||
        ::listen(fd.get(), 64) != 0 || ::lstat(path.c_str(), &st) != 0)
        return Error{"cannot make the " + what + " '" + path + "': " + errno_text()};
    // No other user can have replaced the file, since the directory is protected. The group is set
    // first, so that no other group has access for a moment.
    if ((access.group && ::lchown(path.c_str(), static_cast<uid_t>(-1), *access.group) != 0) ||
        (access.mode != 0600 && ::chmod(path.c_str(), access.mode) != 0)) {
        const std::string why = errno_text();
        ::unlink(path.c_str());
        return Error{"cannot let others use the " + what + " '" + path + "': " + why};
    }
    return ListeningSocket(std::move(fd), path, st.st_dev, st.st_ino, what);
}

ListeningSocket::~ListeningSocket() {
    if (!fd_) return;  // moved from
    const auto lock = PathLock::take(path_, what_);
    struct stat st {};
    // Without the lock the file stays; the next daemon finds no listener on it.
    if (lock && ::lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_)
        ::unlink(path_.c_str());
}

Result<UniqueFd> connect_unix(const std::string& path, unsigned timeout_s) {
    auto address = make_address(path, "control socket");
    if (!address) return address.error();
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return Error{"cannot create a socket: " + errno_text()};
    // Sending too: a daemon that does not read must not block the client for ever.
    timeval timeout{};
    timeout.tv_sec = timeout_s;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    switch (const int error = connect_to(fd.get(), *address)) {
        case 0: return fd;
        case EAGAIN:
            return Error{"the daemon on '" + path + "' accepted no connection within " +
                         std::to_string(timeout_s) + " s"};
        case ENOENT:
        case ECONNREFUSED:
            return Error{"no daemon answers on '" + path + "' (is postern running?)"};
        default: return Error{"cannot connect to '" + path + "': " + errno_text(error)};
    }
}

}  // namespace postern
