// SPDX-License-Identifier: BSD-3-Clause
#include "live_config.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/load.h"
#include "plan/needs_restart.h"
#include "state/file.h"
#include "wall_clock.h"

namespace postern {
namespace {

constexpr std::size_t kMostMistakes = 20;  ///< in one error
constexpr std::size_t kMostLogged = 50;    ///< differences of one load
constexpr const char* kByTimer = "no confirmation in time";

std::string lines(const std::vector<std::string>& all) {
    std::string out;
    for (std::size_t i = 0; i < all.size() && i < kMostMistakes; ++i)
        out += (i == 0 ? "" : "\n") + all[i];
    if (all.size() > kMostMistakes)
        out += "\n... and " + std::to_string(all.size() - kMostMistakes) + " more";
    return out;
}

Result<LiveConfig::Source> parse(const std::string& path, std::string text) {
    LoadResult loaded = load_spec_text(text, path, build_schema());
    std::vector<std::string> mistakes, warnings;
    for (const Diagnostic& e : loaded.errors)
        mistakes.push_back(e.to_string());
    for (const Diagnostic& w : loaded.warnings)
        warnings.push_back(w.to_string());
    if (!loaded.ok()) return Error{lines(mistakes)};
    return LiveConfig::Source{std::move(*loaded.spec), path, std::move(text), std::move(warnings)};
}

/// Whether a file of this name could be replaced.
Result<void> can_replace(const std::string& path) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    if (::access(folder.empty() ? "." : folder.c_str(), W_OK) == 0) return {};
    return Error{path + ": the next start reads this file, and it cannot be replaced (" +
                 std::strerror(errno) + "), so nothing has changed"};
}

/// A link would be replaced by a file.
std::string real_path(const std::string& path) {
    std::error_code error;
    const auto real = std::filesystem::canonical(path, error);
    return error ? path : real.string();
}

bool same_file(const std::string& a, const std::string& b) {
    std::error_code ignored;
    return a == b || std::filesystem::equivalent(a, b, ignored);
}

}  // namespace

LiveConfig::LiveConfig(Firewall& fw, Source start, ConfigHistory history)
    : fw_(fw),
      now_(std::move(start)),
      history_(std::move(history)),
      start_path_(real_path(now_.path)),
      confirmed_(now_.text) {
    // What a former process left unconfirmed is decided by now.
    auto cleared = history_.clear_unconfirmed();
    const auto& entries = history_.entries();
    if (cleared && (entries.empty() || entries.back().text != now_.text))
        cleared = history_.add({0, wall_ms(), "start", now_.path, true, now_.text});
    if (!cleared) spdlog::warn("{}", cleared.error().message);
}

Result<LiveConfig::Source> LiveConfig::read(const std::string& path) {
    struct stat st {};
    // A pipe or a device would keep the control thread waiting.
    if (::stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode))
        return Error{path + ": is not a regular file"};
    auto text = read_config_file(path);
    if (!text) return Error{path + ": " + text.error().message};
    return parse(path, std::move(*text));
}

Result<LiveConfig::Change> LiveConfig::compare(const Source& next) const {
    if (auto causes = needs_restart(now_.spec, next.spec); !causes.empty()) {
        causes.insert(causes.begin(), "this needs a restart, so nothing has changed:");
        return Error{lines(causes)};
    }
    auto found = differences(now_.text, next.text);
    if (!found) return found.error();
    return Change{0, std::move(*found), next.warnings};
}

Result<LiveConfig::Change> LiveConfig::check(const std::string& path) {
    auto next = read(path);
    if (!next) return next.error();
    auto change = compare(*next);
    if (!change) return change;
    if (auto compiled = fw_.check_plan(next->spec); !compiled) return compiled.error();
    return change;
}

Result<std::vector<Difference>> LiveConfig::diff(const std::string& path) const {
    auto text = read_config_file(path);
    if (!text) return Error{path + ": " + text.error().message};
    return differences(now_.text, *text);
}

Result<LiveConfig::Change> LiveConfig::adopt(Source next, const std::string& by, bool confirmed) {
    auto change = compare(next);
    if (!change) return change;
    if (auto replaced = fw_.replace_plan(next.spec); !replaced) return replaced.error();
    now_ = std::move(next);
    change->number = history_.next_number();
    spdlog::info("configuration {} is in force: {}, loaded by {}, {} differences{}", change->number,
                 now_.path, by, change->differences.size(), confirmed ? "" : ", not confirmed yet");
    std::size_t logged = 0;
    for (const Difference& d : change->differences)
        if (logged++ < kMostLogged) spdlog::info("  {} {}", to_string(d.change), d.path);
    if (auto added = history_.add({0, wall_ms(), by, now_.path, confirmed, now_.text}); !added)
        spdlog::warn("{}", added.error().message);
    return change;
}

Result<LiveConfig::Change> LiveConfig::load(const std::string& path, const std::string& by,
                                            std::optional<std::chrono::seconds> confirm_within) {
    auto next = read(path);
    if (!next) return next.error();
    const bool is_start_file = same_file(path, start_path_);
    if (is_start_file && confirm_within && !history_.is_on_disk())
        return Error{path +
                     ": the next start reads this file, so it would run what nobody has confirmed. "
                     "Load another file, or set control.history"};
    if (!is_start_file)
        if (auto can = can_replace(start_path_); !can) return can.error();
    if (is_start_file && confirm_within)
        if (auto marked = history_.mark_unconfirmed(next->text); !marked) return marked.error();
    auto change = adopt(std::move(*next), by, !confirm_within);
    if (!change) {
        if (is_start_file && confirm_within && !confirm_by_)
            if (auto cleared = history_.clear_unconfirmed(); !cleared) return cleared.error();
        return change;
    }
    if (confirm_within) {
        confirm_by_ = Clock::now() + *confirm_within;
        return change;
    }
    confirm_by_.reset();
    if (auto written = write_start_file(); !written) return written.error();
    return change;
}

Result<LiveConfig::Change> LiveConfig::rollback(std::optional<unsigned> number,
                                                const std::string& by) {
    const ConfigHistory::Entry* to = nullptr;
    if (number) {
        to = history_.find(*number);
        if (to == nullptr)
            return Error{"there is no configuration " + std::to_string(*number) +
                         " (config list shows them)"};
    } else {
        const auto& entries = history_.entries();
        for (auto e = entries.rbegin(); e != entries.rend() && to == nullptr; ++e)
            if (e != entries.rbegin() && e->confirmed && e->text != now_.text) to = &*e;
        if (to == nullptr) return Error{"there is no earlier configuration"};
    }
    auto next = parse(to->file, to->text);
    if (!next) return next.error();
    auto change = adopt(std::move(*next), by, true);
    if (!change) return change;
    confirm_by_.reset();
    if (auto written = write_start_file(); !written) return written.error();
    return change;
}

Result<void> LiveConfig::confirm(const std::string& by) {
    if (!confirm_by_) return Error{"no configuration waits for a confirmation"};
    if (auto written = write_start_file(); !written) return written;
    confirm_by_.reset();
    spdlog::info("configuration {} is confirmed by {}", history_.entries().back().number, by);
    return history_.confirm_newest();
}

void LiveConfig::follow_schedules() {
    const auto changed = fw_.follow_schedules(now_.spec);
    if (!changed) {
        if (std::exchange(schedule_failed_, true)) return;  // once, and tried again
        return spdlog::error("schedule: {}", changed.error().message);
    }
    schedule_failed_ = false;
    std::size_t logged = 0;
    for (const std::size_t i : changed.value()) {
        const bool begins = fw_.plan().rule_lines[i].in_force;
        if (logged++ < kMostLogged)
            spdlog::info("schedule: rule {} {}", now_.spec.policy.rules[i].name,
                         begins ? "begins" : "ends");
    }
}

void LiveConfig::turn(Clock::time_point now) {
    follow_schedules();
    if (!confirm_by_ || now < *confirm_by_) return;
    confirm_by_.reset();
    auto confirmed = parse(start_path_, confirmed_);
    auto change = confirmed ? adopt(std::move(*confirmed), kByTimer, true)
                            : Result<Change>(confirmed.error());
    auto written = change ? write_start_file() : Result<void>(change.error());
    if (!written) spdlog::error("cannot go back: {}", written.error().message);
}

std::optional<std::chrono::seconds> LiveConfig::awaits(Clock::time_point now) const {
    if (!confirm_by_) return std::nullopt;
    return std::chrono::ceil<std::chrono::seconds>(*confirm_by_ - now);
}

/// The text in force is confirmed: the next start runs it.
Result<void> LiveConfig::write_start_file() {
    confirmed_ = now_.text;
    auto there = read_config_file(start_path_);
    if (!there || *there != now_.text) {
        struct stat st {};
        const bool known = ::stat(start_path_.c_str(), &st) == 0;
        auto file = StateFileWriter::beside(start_path_);
        if (!file) return file.error();
        file->write(now_.text);
        if (auto kept = file->commit(); !kept) return kept;
        // Its readers stay the same.
        if (known && (::chmod(start_path_.c_str(), st.st_mode & 07777) != 0 ||
                      ::chown(start_path_.c_str(), st.st_uid, st.st_gid) != 0))
            spdlog::warn("{}: its mode or owner could not be kept", start_path_);
    }
    return history_.clear_unconfirmed();
}

}  // namespace postern
