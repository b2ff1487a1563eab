// SPDX-License-Identifier: BSD-3-Clause
#include "state_start.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include "file_restorer.h"

namespace postern {
namespace {

/// Of a file, as it is read.
using Piece = std::array<std::uint8_t, 256 * 1024>;

bool is_missing(const std::string& path) {
    struct stat st {};
    return ::lstat(path.c_str(), &st) != 0 && errno == ENOENT;
}

/// Out of the way of the next save.
void keep_aside(const std::string& path) {
    const std::string aside = path + ".damaged";
    if (std::rename(path.c_str(), aside.c_str()) == 0)
        spdlog::warn("{} is kept as {}", path, aside);
    else
        spdlog::error("{}: cannot be kept as {}: {}", path, aside, std::strerror(errno));
}

std::string text_of(const Outcomes& outcomes) {
    std::string text;
    for (const auto& [name, n] : outcomes)
        text += (text.empty() ? "" : ", ") + name + " " + std::to_string(n);
    return text.empty() ? "none" : text;
}

void log(const std::string& path, const FileRestorer& file, double seconds) {
    const RestoreSummary summary = file.summary();
    spdlog::info(
        "{}: {} of {} records restored in {:.1f} s, saved {:.1f} s before; connections: "
        "{}; expectations: {}; unusable: {}",
        path, summary.restored, summary.records, seconds, file.elapsed_ms() / 1000.0,
        text_of(summary.connections), text_of(summary.expectations), text_of(summary.unusable));
    for (const std::string& bad : file.bad_records())
        spdlog::warn("{}: {}", path, bad);
}

/// The first damage: what and where.
std::string damage_of(const FileRestorer& file) {
    if (!file.problem().empty()) return file.problem();
    return file.bad_records().empty() ? "it is damaged" : file.bad_records().front();
}

}  // namespace

Result<StartFile> open_start_file(const std::string& restore, const StateSpec& state) {
    StartFile start;
    start.is_required = !restore.empty();
    start.path = start.is_required ? restore : state.file;
    if (start.path.empty()) return start;
    if (!start.is_required && is_missing(start.path)) {
        spdlog::info("{}: there is no such file yet; starts without connections", start.path);
        return start;
    }
    auto opened = StateFileReader::open(start.path);
    if (opened) {
        start.file = std::move(opened).value();
        return start;
    }
    if (start.is_required) return opened.error();
    spdlog::error("{}; starts without connections", opened.error().message);
    keep_aside(start.path);
    return start;
}

Result<double> estimate_restore(Firewall& firewall, const std::string& path,
                                std::chrono::milliseconds enough) {
    auto opened = StateFileReader::open(path);
    if (!opened) return opened.error();
    WorkerRequests requests(firewall);
    FileRestorer file(firewall, requests, [] { return Tick{}; });
    auto piece = std::make_unique<Piece>();
    std::uint64_t read = 0;
    const auto begun = std::chrono::steady_clock::now();
    for (;;) {
        const FileRestorer::Step step = file.step();
        if (step == FileRestorer::Step::done) break;
        if (step == FileRestorer::Step::busy) {
            requests.answer_here({});
            continue;
        }
        if (read != 0 && std::chrono::steady_clock::now() - begun >= enough) break;
        auto n = opened->read(*piece);
        if (!n) return n.error();
        read += *n;
        if (*n == 0)
            file.feed_end();
        else
            file.feed({reinterpret_cast<const char*>(piece->data()), *n});
    }
    requests.answer_here({});
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    return read == 0
               ? 0
               : took.count() * static_cast<double>(opened->size()) / static_cast<double>(read);
}

Result<void> restore_at_start(Firewall& firewall, WorkerRequests& requests, StartFile& start,
                              RestoreSummary& totals) {
    if (!start.file) return {};
    const auto begun = std::chrono::steady_clock::now();
    FileRestorer file(firewall, requests, [] { return Tick{}; });
    auto piece = std::make_unique<Piece>();
    std::string unreadable;
    for (;;) {
        const FileRestorer::Step step = file.step();
        if (step == FileRestorer::Step::done) break;
        if (step == FileRestorer::Step::busy) {
            requests.answer_here({});
            continue;
        }
        auto n = start.file->read(*piece);
        if (!n) unreadable = n.error().message;
        if (!n || *n == 0)
            file.feed_end();
        else
            file.feed({reinterpret_cast<const char*>(piece->data()), *n});
    }
    start.file.reset();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    totals += file.summary();
    if (file.is_whole()) {
        log(start.path, file, took.count());
        return {};
    }
    const std::string what = unreadable.empty() ? start.path + ": " + damage_of(file) : unreadable;
    if (start.is_required) return Error{what};
    spdlog::error("{}; what is sound in it is restored", what);
    log(start.path, file, took.count());
    keep_aside(start.path);
    return {};
}

}  // namespace postern
