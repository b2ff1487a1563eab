// SPDX-License-Identifier: BSD-3-Clause
#include "config/set_entries.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "config/spec/sets.h"
#include "net/address_set.h"

namespace postern {
namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr std::size_t kMostLine = 4096;  ///< bytes, comment included
constexpr std::size_t kBlock = std::size_t{256} << 10;

std::string_view trimmed(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(kBlanks);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}
/// Takes the first word away.
std::string_view take_word(std::string_view& text) {
    const std::size_t end = std::min(text.find_first_of(kBlanks), text.size());
    const std::string_view word = text.substr(0, end);
    text = trimmed(text.substr(end));
    return word;
}

}  // namespace

std::optional<std::uint32_t> parse_set_timeout(std::string_view text) {
    if (text == "never") return 0;
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || n == 0 || n > kMaxEntryTimeoutS) return std::nullopt;
    const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
    const std::uint64_t seconds = unit.empty() || unit == "s" ? n
                                  : unit == "m"               ? n * 60
                                  : unit == "h"               ? n * 3600
                                  : unit == "d"               ? n * 86400
                                                              : 0;
    if (seconds == 0 || seconds > kMaxEntryTimeoutS) return std::nullopt;
    return static_cast<std::uint32_t>(seconds);
}

Result<TimedPrefix> parse_set_entry(std::string_view text, bool repeat) {
    text = trimmed(text);
    const auto wrong = [&](std::string_view word, const std::string& what) {
        return Error{(repeat ? "'" + std::string(word.substr(0, 60)) + "' is " : "is ") + what};
    };
    const std::string_view address = take_word(text);
    const auto prefix = Prefix::parse(address);
    if (!prefix)
        return wrong(address,
                     address.find('-') != std::string_view::npos
                         ? "a range (expected an address or a prefix such as 192.0.2.0/24)"
                     : IpAddr::parse(address.substr(0, address.find('/')))
                         ? "not a prefix: bits beyond its length are set, or the length is wrong"
                         : "not an address or a prefix such as 192.0.2.1 or 2001:db8::/32");
    TimedPrefix out{*prefix, {}};
    if (text.empty()) return out;
    if (take_word(text) != "timeout")
        return Error{"expected `timeout TIME` or nothing behind the address"};
    const std::string_view time = take_word(text);
    out.timeout_s = parse_set_timeout(time);
    if (!out.timeout_s)
        return wrong(time,
                     "not a time (expected such as 90, 30s, 5m, 2h, 7d, at most 3650d, or "
                     "never)");
    if (!text.empty()) return Error{"expected nothing behind the time"};
    return out;
}

std::string to_string(const TimedPrefix& e) {
    std::string out = AddressRange::of(e.prefix).to_string();  // a host without its length
    if (e.timeout_s)
        out += " timeout " + (*e.timeout_s == 0 ? "never" : std::to_string(*e.timeout_s));
    return out;
}

void SetFileReader::line(std::string_view text, std::vector<TimedPrefix>& out) {
    ++number_;
    const auto fail = [&](const std::string& what) {
        errors_.push_back(name_ + ":" + std::to_string(number_) + ": " + what);
    };
    if (std::exchange(too_long_, false) || text.size() > kMostLine)
        return fail("is too long (expected an entry a line, at most 4096 bytes)");
    text = trimmed(text.substr(0, text.find('#')));
    if (text.empty()) return;
    auto entry = parse_set_entry(text, false);
    if (entry)
        out.push_back(*entry);
    else
        fail(entry.error().message);
}

bool SetFileReader::feed(std::string_view bytes, bool last, std::vector<TimedPrefix>& out) {
    while (!bytes.empty() && errors_.size() < kMostErrors) {
        const std::size_t end = bytes.find('\n');
        if (end == std::string_view::npos) {
            // A line of any length costs little memory.
            too_long_ |= rest_.size() + bytes.size() > kMostLine;
            if (!too_long_) rest_.append(bytes);
            break;
        }
        if (rest_.empty() && !too_long_) {
            line(bytes.substr(0, end), out);
        } else {
            too_long_ |= rest_.size() + end > kMostLine;
            if (!too_long_) rest_.append(bytes.substr(0, end));
            line(std::exchange(rest_, {}), out);
        }
        bytes.remove_prefix(end + 1);
    }
    if (last && (!rest_.empty() || too_long_) && errors_.size() < kMostErrors)
        line(std::exchange(rest_, {}), out);
    return errors_.size() < kMostErrors;
}

Result<std::vector<TimedPrefix>> read_set_file(const std::string& path, std::size_t most) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat about {};
    if (fd.get() < 0 || ::fstat(fd.get(), &about) != 0)
        return Error{path + ": cannot be opened: " + std::strerror(errno)};
    // Reading anything else might never end.
    if (!S_ISREG(about.st_mode)) return Error{path + ": is not a regular file"};
    SetFileReader reader(path);
    std::vector<TimedPrefix> out;
    std::string block(kBlock, '\0');
    for (bool last = false; !last;) {
        const ssize_t n = ::read(fd.get(), block.data(), block.size());
        if (n < 0) return Error{path + ": cannot be read: " + std::strerror(errno)};
        last = n == 0;
        if (!reader.feed({block.data(), static_cast<std::size_t>(n)}, last, out)) break;
        if (out.size() > most)
            return Error{path + ": has more entries than the set may have (" +
                         std::to_string(most) + ")"};
    }
    if (reader.errors().empty()) return out;
    std::string all;
    for (const std::string& error : reader.errors())
        all += (all.empty() ? "" : "\n") + error;
    return Error{all};
}

}  // namespace postern
