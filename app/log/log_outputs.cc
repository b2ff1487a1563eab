// SPDX-License-Identifier: BSD-3-Clause
#include "log/log_outputs.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace postern {
namespace {

// As much is kept for a file that cannot be written.
constexpr std::size_t kMaxWaiting = std::size_t{4} << 20;
constexpr mode_t kMode = 0640;
// Facility local0, severity notice and informational (RFC 5424 section 6.2.1).
constexpr int kRefused = 16 * 8 + 5, kAccepted = 16 * 8 + 6;

bool is_packet(const Json& row) {
    return row.value("event", "") == "packet";
}
bool is_refused(const Json& row) {
    return is_packet(row) && row.value("verdict", "") != "accept";
}

std::string text_of(const Json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
}

/// For people: "drop udp 192.0.2.1:4000 > 192.0.2.2:53 (default)", "destroy tcp 192.0.2.1:4001 >
/// 192.0.2.2:21 (ftp)".
std::string sentence_of(const Json& row) {
    const auto end = [&](const char* address, const char* port) {
        if (row.value(address, Json()).is_null()) return std::string("?");
        std::string out = text_of(row[address]);
        if (out.find(':') != std::string::npos) out = "[" + out + "]";
        return row[port].is_null() ? out : out + ":" + text_of(row[port]);
    };
    const bool packet = is_packet(row);
    std::string out = text_of(row[packet ? "verdict" : "event"]);
    if (!row["proto"].is_null()) out += " " + text_of(row["proto"]);
    out += " " + end("src", "sport") + " > " + end("dst", "dport");
    if (!row["rule"].is_null()) return out + " (" + text_of(row["rule"]) + ")";
    const Json& reason = row[packet ? "reason" : "cause"];
    return reason.is_null() ? out : out + " (" + text_of(reason) + ")";
}

}  // namespace

// --- the file ----------------------------------------------------------------------------------

Result<LogFile> LogFile::open(const LogFileSpec& spec, LogOutputCounters& counters) {
    LogFile file(spec, counters);
    if (auto opened = file.reopen(); !opened) return opened.error();
    return file;
}

Result<void> LogFile::reopen() {
    fd_ = UniqueFd(
        ::open(spec_.path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, kMode));
    struct stat st {};
    if (fd_.get() < 0 || ::fstat(fd_.get(), &st) != 0)
        return Error{"log.file: " + spec_.path + ": " + std::strerror(errno)};
    if (!S_ISREG(st.st_mode)) return Error{"log.file: " + spec_.path + " is not a regular file"};
    size_ = static_cast<std::uint64_t>(st.st_size);
    return {};
}

Result<void> LogFile::can_open(const LogFileSpec& spec) {
    struct stat st {};
    const bool exists = ::stat(spec.path.c_str(), &st) == 0;
    if (exists && !S_ISREG(st.st_mode))
        return Error{"log.file: " + spec.path + " is not a regular file"};
    const std::string place = exists ? spec.path : spec.path.substr(0, spec.path.rfind('/') + 1);
    if (::access(place.c_str(), W_OK) == 0) return {};
    return Error{"log.file: " + place + ": " + std::strerror(errno)};
}

bool LogFile::was_moved() const noexcept {
    struct stat here {
    }, there{};
    return fd_.get() < 0 || ::fstat(fd_.get(), &here) != 0 ||
           ::stat(spec_.path.c_str(), &there) != 0 || here.st_ino != there.st_ino ||
           here.st_dev != there.st_dev;
}

void LogFile::add(const std::string& line) {
    if (waiting_.size() + line.size() >= kMaxWaiting) return counters_->log_unwritten.add();
    waiting_ += line;
    waiting_ += '\n';
    ++lines_;
    // A rotation falls between two lines.
    if (size_ + waiting_.size() >= spec_.max_bytes) flush();
}

void LogFile::flush() {
    if (lines_ == 0) return;
    problem_.clear();
    if (was_moved())
        if (auto opened = reopen(); !opened) problem_ = opened.error().message;
    if (problem_.empty() && size_ != 0 && size_ + waiting_.size() > spec_.max_bytes) rotate();
    if (problem_.empty() && write(waiting_)) {
        size_ += waiting_.size();
        counters_->log_lines.add(lines_);
    } else {
        counters_->log_unwritten.add(lines_);
    }
    waiting_.clear();
    lines_ = 0;
}

bool LogFile::write(const std::string& text) {
    const ssize_t n = ::write(fd_.get(), text.data(), text.size());
    if (n == static_cast<ssize_t>(text.size())) return true;
    problem_ = spec_.path + ": " + (n < 0 ? std::strerror(errno) : "the disk is full");
    // No part of a line stays.
    if (n > 0 && ::ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0)
        problem_ += ", and the part written could not be removed";
    return false;
}

void LogFile::rotate() {
    const auto name = [&](std::uint32_t n) {
        return n == 0 ? spec_.path : spec_.path + "." + std::to_string(n);
    };
    for (std::uint32_t n = spec_.keep; n > 0; --n)
        if (::rename(name(n - 1).c_str(), name(n).c_str()) != 0 && errno != ENOENT) {
            problem_ = name(n) + ": " + std::strerror(errno);
            return;
        }
    counters_->log_rotations.add();
    if (auto opened = reopen(); !opened) problem_ = opened.error().message;
}

// --- daemons -----------------------------------------------------------------------------------

bool LogSocket::connect() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof address.sun_path) return false;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    fd_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd_.get() >= 0 &&
        ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
        return true;
    fd_ = UniqueFd();
    return false;
}

void LogSocket::send(const Json& row) {
    static const auto host = [] {
        std::array<char, 256> name{};
        return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data())
                                                                : std::string("-");
    }();
    const std::string message =
        form_ == Form::journal ? journal_message(row) : syslog_message(row, host, ::getpid());
    // A daemon that has been restarted has another socket.
    for (int attempt = 0; attempt < 2; ++attempt) {
        if (fd_.get() < 0 && !connect()) break;
        if (::send(fd_.get(), message.data(), message.size(), MSG_NOSIGNAL) >= 0)
            return counters_->log_sent.add();
        if (errno == EAGAIN) break;
        fd_ = UniqueFd();
    }
    counters_->log_unwritten.add();
}

std::string syslog_message(const Json& row, const std::string& host, int pid) {
    // 32473 is the number for documentation (RFC 5612): Postern has none of its own.
    std::string out = "<" + std::to_string(is_refused(row) ? kRefused : kAccepted) + ">1 " +
                      text_of(row["time"]) + " " + host + " postern " + std::to_string(pid) +
                      (is_packet(row) ? " packet [packet@32473" : " flow [flow@32473");
    for (const auto& [key, value] : row.items()) {
        if (key == "time" || (key == "event" && is_packet(row)) || value.is_null()) continue;
        out += " " + key + "=\"";
        for (const char c : text_of(value)) {
            if (c == '"' || c == '\\' || c == ']') out += '\\';
            out += c;
        }
        out += '"';
    }
    return out + "] " + sentence_of(row);
}

std::string journal_message(const Json& row) {
    std::string out = "MESSAGE=" + sentence_of(row) +
                      "\nPRIORITY=" + std::to_string((is_refused(row) ? kRefused : kAccepted) % 8) +
                      "\nSYSLOG_IDENTIFIER=postern\n";
    for (const auto& [key, value] : row.items()) {
        if (value.is_null()) continue;
        std::string name = "POSTERN_";
        for (const char c : key)
            name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        // Names of rules and ports have no line breaks, so no value needs a length.
        out += name + "=" + text_of(value) + "\n";
    }
    return out;
}

}  // namespace postern
