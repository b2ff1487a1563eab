// SPDX-License-Identifier: BSD-3-Clause
#include "config/reader.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <stdexcept>
#include <unordered_set>

namespace postern::config {
namespace {

SpecMark to_mark(const YAML::Mark& m) {
    if (m.is_null()) return {};
    return {static_cast<unsigned>(m.line) + 1, static_cast<unsigned>(m.column) + 1};
}

void sort_by_place(std::vector<Diagnostic>& list) {
    std::stable_sort(list.begin(), list.end(), [](const Diagnostic& a, const Diagnostic& b) {
        return std::pair(a.line, a.column) < std::pair(b.line, b.column);
    });
}

/// Number of single-letter insertions, removals and changes between two words.
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row[b.size()];
}

struct Suffix {
    char letter;
    std::uint64_t factor;
};
constexpr Suffix kSeconds[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
constexpr Suffix kSizes[] = {{'K', 1u << 10}, {'M', 1u << 20}, {'G', 1u << 30}};

/// Decimal or 0x-hexadecimal, with the unit's suffix; nothing for other forms or if it does not
/// fit. "010" is refused: some would read it as eight.
std::optional<std::uint64_t> parse_number(std::string_view text, KeyUnit unit) {
    std::uint64_t factor = 1;
    const std::span<const Suffix> suffixes =
        unit == KeyUnit::seconds ? std::span<const Suffix>(kSeconds)
        : unit == KeyUnit::size  ? std::span<const Suffix>(kSizes)
                                 : std::span<const Suffix>();
    for (const auto& s : suffixes)
        if (text.ends_with(s.letter)) {
            factor = s.factor;
            text.remove_suffix(1);
            break;
        }
    int base = 10;
    if (unit == KeyUnit::none && text.starts_with("0x")) {
        base = 16;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text.starts_with('0')) {
        return std::nullopt;
    }
    std::uint64_t n = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n, base);
    if (text.empty() || ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    if (n > UINT64_MAX / factor) return std::nullopt;
    return n * factor;
}

constexpr std::size_t kShortMap = 32;  ///< keys

bool is_quoted(const YAML::Node& node) {
    return node.Tag() == "!";
}

}  // namespace

std::string show(std::uint64_t n, KeyUnit unit) {
    const std::span<const Suffix> suffixes =
        unit == KeyUnit::seconds ? std::span<const Suffix>(kSeconds)
        : unit == KeyUnit::size  ? std::span<const Suffix>(kSizes)
                                 : std::span<const Suffix>();
    for (auto s = suffixes.rbegin(); s != suffixes.rend(); ++s)
        if (n >= s->factor && n % s->factor == 0) return std::to_string(n / s->factor) + s->letter;
    return std::to_string(n);
}

void Report::error(SpecMark at, const std::string& path, const std::string& message) {
    errors_.push_back({file_, at.line, at.column, path.empty() ? message : path + ": " + message});
}
void Report::warning(SpecMark at, const std::string& path, const std::string& message) {
    warnings_.push_back(
        {file_, at.line, at.column, path.empty() ? message : path + ": " + message});
}
void Report::move_to(LoadResult& result) {
    sort_by_place(errors_);
    sort_by_place(warnings_);
    result.errors = std::move(errors_);
    result.warnings = std::move(warnings_);
}

std::string in_quotes(std::string_view text) {
    constexpr std::size_t kMax = 60;
    std::string out = "\"";
    for (const char c : text.substr(0, kMax))
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    return out + (text.size() > kMax ? "...\"" : "\"");
}

std::string suggestion(std::string_view text, std::span<const std::string_view> candidates) {
    if (candidates.empty()) return "";
    // A long word is not a typing error, and the distance costs length * length. Nor is one
    // two-letter name a misspelling of another.
    if (!text.empty() && text.size() <= 32) {
        std::string_view best;
        std::size_t least = SIZE_MAX;
        for (const std::string_view candidate : candidates) {
            // At least as many changes as the lengths differ. (std::minmax of two values would
            // return dangling references.)
            const std::size_t shorter = std::min(text.size(), candidate.size());
            const std::size_t longer = std::max(text.size(), candidate.size());
            if (longer - shorter >= least) continue;
            if (const std::size_t d = edit_distance(text, candidate); d < least) {
                best = candidate;
                least = d;
            }
        }
        if (best.size() > 2 && least <= best.size() / 3)
            return " (did you mean \"" + std::string(best) + "\"?)";
    }
    constexpr std::size_t kMax = 32;
    std::string out = " (expected one of: ";
    for (std::size_t i = 0; i < candidates.size() && i < kMax; ++i)
        out += (i ? ", " : "") + std::string(candidates[i]);
    return out + (candidates.size() > kMax ? ", ...)" : ")");
}

SpecMark Value::mark() const {
    return to_mark(node_.Mark());
}

std::string Value::found() const {
    if (node_.IsMap()) return "a mapping";
    if (node_.IsSequence()) return "a list";
    if (node_.IsScalar()) return in_quotes(node_.Scalar());
    return "nothing";
}

std::optional<std::string> Value::scalar() const {
    if (!node_.IsScalar()) return std::nullopt;
    return node_.Scalar();
}

std::optional<std::string> Value::text(std::size_t max_length) const {
    if (!node_.IsScalar()) {
        error("expected text, found " + found());
        return std::nullopt;
    }
    const std::string& s = node_.Scalar();
    if (s.empty() || s.size() > max_length) {
        error("expected text of 1 to " + std::to_string(max_length) + " characters, found " +
              (s.empty() ? "none" : std::to_string(s.size())));
        return std::nullopt;
    }
    for (const char c : s)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            error("expected one line of text, found a control character in " + in_quotes(s));
            return std::nullopt;
        }
    return s;
}

std::optional<std::string> Value::name() const {
    const auto alnum = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    if (auto s = scalar(); s && !s->empty() && s->size() <= 31 && alnum(s->front()) &&
                           std::all_of(s->begin(), s->end(), [&](char c) {
                               return alnum(c) || c == '_' || c == '-' || c == '.';
                           }))
        return s;
    error(
        "expected a name (1 to 31 letters, digits, '_', '-', '.', the first a letter or digit), "
        "found " +
        found());
    return std::nullopt;
}

std::optional<bool> Value::flag() const {
    if (const auto s = scalar(); s && !is_quoted(node_)) {
        if (*s == "true" || *s == "yes" || *s == "on") return true;
        if (*s == "false" || *s == "no" || *s == "off") return false;
    }
    error("expected true or false, found " + found());
    return std::nullopt;
}

namespace {
/// `text` with all bits beyond its length cleared, if that is its only error.
std::optional<Prefix> trimmed_prefix(const std::string& text) {
    const auto slash = text.find('/');
    const auto address = IpAddr::parse(text.substr(0, slash));
    if (!address || slash == std::string::npos) return std::nullopt;
    Prefix p{*address, 0};
    const unsigned bits = address_bytes(address->family) * 8;
    for (unsigned length = 0; length <= bits; ++length) {
        if (text.substr(slash + 1) != std::to_string(length)) continue;
        p.length = static_cast<std::uint8_t>(length);
        for (unsigned bit = length; bit < bits; ++bit)
            p.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> (bit % 8)));
        return p;
    }
    return std::nullopt;
}
}  // namespace

std::optional<Prefix> Value::prefix() const {
    const auto s = scalar();
    if (auto prefix = s ? Prefix::parse(*s) : std::nullopt) return prefix;
    if (const auto trimmed = s ? trimmed_prefix(*s) : std::nullopt)
        error(in_quotes(*s) + " has bits set beyond its length (did you mean " +
              trimmed->to_string() + "?)");
    else
        error("expected an address or prefix such as 192.0.2.0/24 or 2001:db8::/32, found " +
              found());
    return std::nullopt;
}

std::optional<std::uint64_t> Value::number(KeyRange range) const {
    const std::string limits = show(range.min, range.unit) + " to " + show(range.max, range.unit);
    const auto s = scalar();
    const auto n = s ? parse_number(*s, range.unit) : std::nullopt;
    // Quotes make it text, but "30s" needs none, so quotes are accepted.
    if (!n || (is_quoted(node_) && range.unit == KeyUnit::none)) {
        error(std::string(range.unit == KeyUnit::seconds
                              ? "expected a time such as 30s, 5m, 2h or 5d"
                          : range.unit == KeyUnit::size ? "expected a number such as 4096, 4K or 1M"
                                                        : "expected a whole number") +
              ", " + limits + ", found " + found());
        return std::nullopt;
    }
    if (*n < range.min || *n > range.max) {
        error(*s + " is out of range (expected " + limits + ")");
        return std::nullopt;
    }
    return n;
}

std::optional<std::size_t> Value::choice(std::span<const std::string_view> names,
                                         const std::string& what) const {
    const auto s = scalar();
    if (!s) {
        error("expected " + what + ", found " + found() + suggestion("", names));
        return std::nullopt;
    }
    const auto it = std::find(names.begin(), names.end(), *s);
    if (it != names.end()) return static_cast<std::size_t>(it - names.begin());
    error(in_quotes(*s) + " is not " + what + suggestion(*s, names));
    return std::nullopt;
}

std::vector<Value> Value::list() const {
    std::vector<Value> out;
    if (node_.IsSequence()) {
        out.reserve(node_.size());
        for (const auto& item : node_)
            out.emplace_back(*report_, item, path_ + "[" + std::to_string(out.size()) + "]");
    } else if (!node_.IsNull()) {
        error("expected a list, found " + found());
    }
    return out;
}

std::vector<Value> Value::one_or_more() const {
    if (node_.IsScalar()) return {*this};
    if (!node_.IsSequence()) {
        error("expected one value or a list, found " + found());
        return {};
    }
    if (node_.size() == 0) error("an empty list; leave the key out, or write what is meant");
    return list();
}

Map::Map(const Value& value) : self_(value) {
    if (value.is_null()) return;
    if (!value.node_.IsMap()) {
        value.error("expected a mapping (key: value), found " + value.found());
        return;
    }
    // For a long mapping; a few keys are found faster without.
    std::unordered_set<std::string_view> keys;
    const bool is_long = value.node_.size() > kShortMap;
    if (is_long) keys.reserve(value.node_.size());
    for (const auto& pair : value.node_) {
        const SpecMark at = to_mark(pair.first.Mark());
        if (!pair.first.IsScalar()) {
            value.report_->error(at, value.path_, "expected a key, found a list or mapping");
            continue;
        }
        const std::string& key = pair.first.Scalar();
        const std::string path = value.path_.empty() ? key : value.path_ + "." + key;
        // The text lives as long as the node.
        const bool twice = is_long ? !keys.insert(key).second
                                   : std::any_of(entries_.begin(), entries_.end(),
                                                 [&](const Entry& e) { return e.key == key; });
        if (twice) {
            value.report_->error(at, path, "this key is given twice");
            continue;
        }
        entries_.push_back({key, pair.first, Value(*value.report_, pair.second, path), at});
    }
}

const Map::Key* Map::find(std::string_view key) const {
    const auto it =
        std::find_if(keys_.begin(), keys_.end(), [&](const Key& k) { return k.name == key; });
    return it == keys_.end() ? nullptr : &*it;
}

Map::Entry* Map::entry(std::string_view key) {
    const auto it = std::find_if(entries_.begin(), entries_.end(),
                                 [&](const Entry& e) { return e.key == key; });
    return it == entries_.end() ? nullptr : &*it;
}

void Map::declare(std::string_view key, const About& about) {
    declared_ = true;
    if (find(key) == nullptr) keys_.push_back({std::string(key), about});
    if (!about.formerly.empty()) give_new_name(keys_.back());
}

/// Errors under the key's old name are reported under its new one.
void Map::give_new_name(const Key& key) {
    Entry* const old = entry(key.about.formerly);
    if (old == nullptr) return;
    const std::string now = "\"" + key.name + "\"";
    const std::string path = self_.path_.empty() ? old->key : self_.path_ + "." + old->key;
    if (entry(key.name) != nullptr) {
        self_.report_->error(old->key_mark, path,
                             "is the old name of " + now + ", which is given, too");
        old->used = true;
        return;
    }
    self_.report_->warning(old->key_mark, path, "this key is called " + now + " now");
    old->key = key.name;
}

const About& Map::about(std::string_view key) const {
    const Key* const known = find(key);
    if (known == nullptr) throw std::logic_error("no description of key " + std::string(key));
    return known->about;
}

std::optional<Value> Map::get(std::string_view key) {
    if (find(key) == nullptr) {
        if (declared_) throw std::logic_error("no description of key " + std::string(key));
        keys_.push_back({std::string(key), {}});
    }
    Entry* const e = entry(key);
    if (e == nullptr) return std::nullopt;
    e->used = true;
    return e->value;
}

std::optional<Value> Map::require(std::string_view key) {
    auto v = get(key);
    // If the whole is no mapping, that has been reported already.
    if (!v && (self_.is_map() || self_.is_null()))
        self_.error("\"" + std::string(key) + "\" is missing (expected " +
                    std::string(about(key).expected) + ")");
    return v;
}

std::optional<std::size_t> Map::choice(std::string_view key) {
    const auto v = get(key);
    const About& a = about(key);
    return v ? v->choice(a.words, std::string(a.noun)) : std::nullopt;
}

std::vector<Map::Item> Map::items() {
    std::vector<Item> out;
    for (auto& e : entries_) {
        e.used = true;
        out.push_back({Value(*self_.report_, e.key_node, e.value.path()), e.value});
    }
    return out;
}

void Map::finish() {
    std::vector<std::string_view> known;
    for (const Key& k : keys_)
        known.push_back(k.name);
    for (const auto& e : entries_) {
        if (e.used) continue;
        if (find(e.key) != nullptr) throw std::logic_error("nobody reads key " + e.key);
        self_.report_->error(e.key_mark, self_.path_,
                             "unknown key " + in_quotes(e.key) + suggestion(e.key, known));
    }
}

}  // namespace postern::config
