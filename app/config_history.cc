// SPDX-License-Identifier: BSD-3-Clause
#include "config_history.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/command.h"
#include "state/file.h"

namespace postern {
namespace {

constexpr const char* kIndex = "/index.json";
constexpr const char* kUnconfirmed = "/unconfirmed.yaml";
constexpr const char* kLock = "/lock";

Error failure(const std::string& path, const char* what) {
    return Error{path + ": cannot be " + what + ": " + std::strerror(errno)};
}

std::optional<std::string> contents_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return std::nullopt;
    return std::string(std::istreambuf_iterator<char>(in), {});
}

Result<void> write_file(const std::string& path, const std::string& text) {
    auto file = StateFileWriter::beside(path);
    if (!file) return file.error();
    file->write(text);
    return file->commit();
}

/// The entries of an index, without their texts; nothing: it cannot be read.
std::optional<std::deque<ConfigHistory::Entry>> parse_index(const std::string& text) {
    try {
        std::deque<ConfigHistory::Entry> out;
        const Json index = Json::parse(text);
        for (const Json& item : index.at("configurations"))
            out.push_back({item.at("number").get<unsigned>(),
                           item.at("since_ms").get<std::int64_t>(),
                           item.at("by").get<std::string>(),
                           item.at("file").get<std::string>(),
                           item.at("confirmed").get<bool>(),
                           {}});
        return out;
    } catch (const Json::exception&) {
        return std::nullopt;
    }
}

std::deque<ConfigHistory::Entry> read_entries(const std::string& folder) {
    std::deque<ConfigHistory::Entry> out;
    const auto index = contents_of(folder + kIndex);
    if (!index) return out;
    auto entries = parse_index(*index);
    if (!entries) return out;  // damaged: begin anew rather than not at all
    for (ConfigHistory::Entry& e : *entries) {
        auto text = contents_of(folder + "/" + std::to_string(e.number) + ".yaml");
        if (!text) continue;
        e.text = std::move(*text);
        out.push_back(std::move(e));
    }
    return out;
}

}  // namespace

Result<ConfigHistory> ConfigHistory::open(const std::string& folder) {
    ConfigHistory history;
    if (folder.empty()) return history;
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return failure(folder, "made");
    const std::string lock = folder + kLock;
    history.lock_ = UniqueFd(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!history.lock_) return failure(lock, "opened");
    if (::flock(history.lock_.get(), LOCK_EX | LOCK_NB) != 0)
        return Error{folder + ": another daemon keeps its configurations there"};
    history.folder_ = folder;
    history.entries_ = read_entries(folder);
    for (const Entry& e : history.entries_)
        history.next_ = std::max(history.next_, e.number + 1);
    return history;
}

std::string ConfigHistory::path_of(unsigned number) const {
    return folder_ + "/" + std::to_string(number) + ".yaml";
}

Result<void> ConfigHistory::write_index() const {
    if (folder_.empty()) return {};
    Json list = Json::array();
    for (const Entry& e : entries_)
        list.push_back({{"number", e.number},
                        {"since_ms", e.since_ms},
                        {"by", e.by},
                        {"file", e.file},
                        {"confirmed", e.confirmed}});
    return write_file(
        folder_ + kIndex,
        Json{{"configurations", list}}.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

Result<void> ConfigHistory::add(Entry entry) {
    entry.number = next_++;
    entries_.push_back(std::move(entry));
    std::vector<unsigned> gone;
    const auto confirmed =
        std::ranges::find(entries_.rbegin(), entries_.rend(), true, &Entry::confirmed);
    const unsigned kept = confirmed == entries_.rend() ? 0 : confirmed->number;
    while (entries_.size() > kMost) {
        const auto oldest = entries_.begin() + (entries_.front().number == kept ? 1 : 0);
        gone.push_back(oldest->number);
        entries_.erase(oldest);
    }
    // An index without it still has the others.
    const Entry& newest = entries_.back();
    if (!folder_.empty())
        if (auto written = write_file(path_of(newest.number), newest.text); !written)
            return written;
    if (auto written = write_index(); !written) return written;
    // Only now: an index must not name what is not there.
    if (!folder_.empty())
        for (const unsigned number : gone)
            ::unlink(path_of(number).c_str());
    return {};
}

Result<void> ConfigHistory::confirm_newest() {
    if (entries_.empty() || entries_.back().confirmed) return {};
    entries_.back().confirmed = true;
    return write_index();
}

const ConfigHistory::Entry* ConfigHistory::find(unsigned number) const noexcept {
    const auto found = std::ranges::find(entries_, number, &Entry::number);
    return found == entries_.end() ? nullptr : &*found;
}

Result<void> ConfigHistory::mark_unconfirmed(const std::string& text) {
    return folder_.empty() ? Result<void>() : write_file(folder_ + kUnconfirmed, text);
}

bool ConfigHistory::has_unconfirmed() const noexcept {
    return !folder_.empty() && ::access((folder_ + kUnconfirmed).c_str(), F_OK) == 0;
}

Result<void> ConfigHistory::clear_unconfirmed() {
    const std::string path = folder_ + kUnconfirmed;
    // On a disk that is read-only unlink() fails even for a missing file.
    if (folder_.empty() || (::access(path.c_str(), F_OK) != 0 && errno == ENOENT)) return {};
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    return failure(path, "removed");
}

std::optional<std::string> ConfigHistory::replacement_of(const std::string& folder,
                                                         const std::string& text) {
    if (folder.empty() || contents_of(folder + kUnconfirmed) != text) return std::nullopt;
    const std::deque<Entry> entries = read_entries(folder);
    for (auto e = entries.rbegin(); e != entries.rend(); ++e)
        if (e->confirmed) return e->text;
    return std::nullopt;
}

}  // namespace postern
