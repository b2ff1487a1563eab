// SPDX-License-Identifier: BSD-3-Clause
#include "helper/scanner_cache.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace postern {
namespace {

// A file: magic, length of the key, length of the bytes (64 bits each, as this machine writes
// them), key, bytes, and the hash of all that.
constexpr char kMagic[8] = {'P', 'S', 'T', 'R', 'N', 'H', 'S', '1'};
constexpr std::size_t kHead = sizeof kMagic + 2 * sizeof(std::uint64_t);
constexpr std::size_t kMaxFile = std::size_t{64} << 20;

/// FNV-1a. Each step is invertible, so two inputs that differ in one byte never agree.
std::uint64_t hash(std::string_view bytes) {
    std::uint64_t h = 0xcbf29ce484222325u;
    for (const char c : bytes)
        h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    return h;
}

void put(std::string& out, std::uint64_t v) {
    out.append(reinterpret_cast<const char*>(&v), sizeof v);
}

std::uint64_t get(std::string_view bytes, std::size_t at) {
    std::uint64_t v = 0;
    std::memcpy(&v, bytes.data() + at, sizeof v);
    return v;
}

std::string system_error() {
    return std::strerror(errno);
}

/// The whole file; nothing, with `why`, if it cannot be read or must not be.
std::optional<std::string> read_file(const UniqueFd& fd, std::string& why) {
    const auto fail = [&](std::string reason) -> std::optional<std::string> {
        why = std::move(reason);
        return std::nullopt;
    };
    struct stat info {};
    if (fstat(fd.get(), &info) != 0) return fail(system_error());
    if (!S_ISREG(info.st_mode)) return fail("is not a plain file");
    if ((info.st_uid != geteuid() && info.st_uid != 0) || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return fail("others may write to it");
    if (static_cast<std::uint64_t>(info.st_size) > kMaxFile) return fail("is too long");
    std::string text(static_cast<std::size_t>(info.st_size), 0);
    for (std::size_t at = 0; at < text.size();) {
        const ssize_t n = read(fd.get(), text.data() + at, text.size() - at);
        if (n < 0) return fail(system_error());
        if (n == 0) return fail("is cut short");
        at += static_cast<std::size_t>(n);
    }
    return text;
}

/// Empty if nothing is wrong.
std::string what_is_wrong(std::string_view file, std::string_view key) {
    if (file.size() < kHead + sizeof(std::uint64_t)) return "is cut short";
    if (file.substr(0, sizeof kMagic) != std::string_view(kMagic, sizeof kMagic))
        return "is of another kind or version";
    const std::string_view body = file.substr(0, file.size() - sizeof(std::uint64_t));
    if (get(file, body.size()) != hash(body)) return "is damaged";
    const std::uint64_t key_bytes = get(file, sizeof kMagic);
    if (key_bytes > body.size() - kHead ||
        get(file, sizeof kMagic + sizeof(std::uint64_t)) != body.size() - kHead - key_bytes)
        return "is damaged";
    if (file.substr(kHead, key_bytes) != key)
        return "holds other patterns, or was made for another processor or version";
    return {};
}

bool write_all(const UniqueFd& fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = write(fd.get(), text.data(), text.size());
        if (n < 0) return false;
        text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

}  // namespace

std::string ScannerCache::path_of(std::string_view key) const {
    char name[40];
    std::snprintf(name, sizeof name, "/scanner-%016llx.hs",
                  static_cast<unsigned long long>(hash(key)));
    return directory_ + name;
}

void ScannerCache::warn(std::string_view key, std::string_view why) {
    warnings_.push_back(path_of(key) + " " + std::string(why) + "; the patterns are compiled anew");
}

void ScannerCache::reject(std::string_view key, std::string_view why) {
    --hits_;
    ++misses_;
    warn(key, why);
}

std::vector<char> ScannerCache::load(std::string_view key) {
    const UniqueFd fd(open(path_of(key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    std::string why;
    if (!fd) {
        ++misses_;
        // store() reports this for a directory.
        if (errno != ENOENT && errno != ENOTDIR) warn(key, "cannot be opened: " + system_error());
        return {};
    }
    const auto file = read_file(fd, why);
    if (file) why = what_is_wrong(*file, key);
    if (!why.empty()) {
        ++misses_;
        warn(key, why);
        return {};
    }
    ++hits_;
    const char* bytes = file->data() + kHead + key.size();
    return {bytes, file->data() + file->size() - sizeof(std::uint64_t)};
}

void ScannerCache::store(std::string_view key, const std::vector<char>& bytes) {
    if (use_ == Use::read) return;
    std::string text(kMagic, sizeof kMagic);
    put(text, key.size());
    put(text, bytes.size());
    text += key;
    text.append(bytes.data(), bytes.size());
    put(text, hash(text));

    mkdir(directory_.c_str(), 0700);  // it exists already, or the next step reports the error
    std::string beside = directory_ + "/scanner-XXXXXX";
    UniqueFd fd(mkostemp(beside.data(), O_CLOEXEC));
    bool kept = false;
    if (fd) {
        kept = write_all(fd, text) && rename(beside.c_str(), path_of(key).c_str()) == 0;
        const int error = errno;
        if (!kept) unlink(beside.c_str());
        errno = error;
    }
    if (kept) return;
    const std::string warning =
        "compiled patterns cannot be kept in " + directory_ + ": " + system_error();
    if (std::find(warnings_.begin(), warnings_.end(), warning) == warnings_.end())
        warnings_.push_back(warning);
}

}  // namespace postern
