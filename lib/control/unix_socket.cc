// SPDX-License-Identifier: BSD-3-Clause
#include "control/unix_socket.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

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

/// Held while this object lives: nobody else claims or removes a socket in this directory.
Result<UniqueFd> lock_directory(const std::string& path, const std::string& what) {
    const auto directory = directory_of(path);
    UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int rc = -1;
    if (fd) {
        do
            rc = ::flock(fd.get(), LOCK_EX);
        while (rc != 0 && errno == EINTR);
    }
    if (rc != 0)
        return Error{"cannot open the " + what + "'s directory '" + directory.string() +
                     "': " + errno_text()};
    return fd;
}

/// Whatever is at `path` already: removes it when it is a dead daemon's socket. The directory is
/// locked.
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
                                               const std::string& what) {
    auto address = make_address(path, what);
    if (!address) return address.error();

    std::error_code ec;
    std::filesystem::create_directories(directory_of(path), ec);
    if (ec)
        return Error{"cannot create the " + what + "'s directory '" + directory_of(path).string() +
                     "': " + ec.message()};
    auto lock = lock_directory(path, what);
    if (!lock) return lock.error();
    if (auto free = make_way(path, *address, type, what); !free) return free.error();

    UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    struct stat st {};
    // The mode of a socket before bind() is the mode of the file that bind() makes: so there is no
    // moment at which others could connect, and no need to touch the process's umask.
    if (!fd || ::fchmod(fd.get(), 0600) != 0 ||
        ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(sockaddr_un)) != 0 ||
        ::listen(fd.get(), 64) != 0 || ::lstat(path.c_str(), &st) != 0)
        return Error{"cannot make the " + what + " '" + path + "': " + errno_text()};
    return ListeningSocket(std::move(fd), path, st.st_dev, st.st_ino, what);
}

ListeningSocket::~ListeningSocket() {
    if (!fd_) return;  // moved from
    auto lock = lock_directory(path_, what_);
    struct stat st {};
    if (::lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_)
        ::unlink(path_.c_str());
}

Result<UniqueFd> connect_unix(const std::string& path) {
    auto address = make_address(path, "control socket");
    if (!address) return address.error();
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return Error{"cannot create a socket: " + errno_text()};
    switch (const int error = connect_to(fd.get(), *address)) {
        case 0: return fd;
        case ENOENT:
        case ECONNREFUSED:
            return Error{"no daemon answers on '" + path + "' (is postern running?)"};
        default: return Error{"cannot connect to '" + path + "': " + errno_text(error)};
    }
}

}  // namespace postern
