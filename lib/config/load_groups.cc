// SPDX-License-Identifier: BSD-3-Clause
// `groups`, and the lists of rules.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "config/groups.h"
#include "config/loader.h"
#include "config/read_keys.h"

namespace postern::config {
namespace {

constexpr std::size_t kMaxListBytes = std::size_t{64} << 20;
constexpr unsigned kMostErrors = 10;  ///< of one included file

/// A regular file: reading anything else might never end.
Result<std::string> read_list_file(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat about {};
    if (fd.get() < 0 || ::fstat(fd.get(), &about) != 0)
        return Error{std::string("cannot be opened: ") + std::strerror(errno)};
    if (!S_ISREG(about.st_mode)) return Error{"is not a regular file"};
    std::string text;
    char block[65536];
    for (;;) {
        const ssize_t n = ::read(fd.get(), block, sizeof block);
        if (n == 0) return text;
        if (n < 0) return Error{std::string("cannot be read: ") + std::strerror(errno)};
        text.append(block, static_cast<std::size_t>(n));
        if (text.size() > kMaxListBytes) return Error{"is too large (expected at most 64 MiB)"};
    }
}

template <class Kind>
typename Kind::Set everything() {
    if constexpr (std::is_same_v<Kind, AddressKind>)
        return every_address();
    else
        return {{0, Kind::kLast}};
}

bool looks_like_a_name(std::string_view text) {
    return !text.empty() && text.find_first_of(":/ ") == std::string_view::npos &&
           text.find_first_not_of("0123456789.-") != std::string_view::npos;
}

}  // namespace

/// A list being read.
template <class Kind>
struct Groups::List {
    typename Kind::Set with, without;
    bool any_with = false, any_without = false, failed = false;
    /// The only item so far, if it is a group.
    std::shared_ptr<const typename Kind::Set> whole;
    SetCondition* sets = nullptr;  ///< see set_of_list()

    void add(std::shared_ptr<const typename Kind::Set> set, bool negated) {
        whole = any_with || any_without || negated ? nullptr : set;
        append(negated ? without : with, *set);
        (negated ? any_without : any_with) = true;
    }
};

Groups::Groups(const std::string& file) {
    const std::size_t slash = file.rfind('/');
    if (slash != std::string::npos) folder_ = file.substr(0, slash + 1);
}

void Groups::read(const Value& v) {
    Map map(v);
    GroupsSpec described;
    read_keys(map, described);
    define<AddressKind>(map);
    define<PortKind>(map);
    define<ServiceKind>(map);
    map.finish();
    resolve_all<AddressKind>();
    resolve_all<PortKind>();
    resolve_all<ServiceKind>();
}

template <class Kind>
std::string Groups::bad_name(const std::string& name, const std::string& of) {
    const auto literal = Kind::parse(name);
    if (name == "any" || name == "not" || literal.set || !literal.problem.empty())
        return in_quotes(name) + " cannot be the name of a " + of +
               ": it means something else in a list";
    if (name.find('.') != std::string::npos)
        return in_quotes(name) + " cannot be the name of a " + of.substr(0, of.find(' ')) +
               ": it has a dot, like addresses and names of hosts";
    return {};
}

bool Groups::add_set(const Value& at, const std::string& name) {
    const std::string wrong = bad_name<AddressKind>(name, "set");
    if (!wrong.empty())
        at.error(wrong);
    else if (std::ranges::find(sets_, name) != sets_.end())
        at.error(in_quotes(name) + " is given twice");
    else
        return sets_.push_back(name), true;
    return false;
}

template <class Kind>
void Groups::define(Map& map) {
    const auto given = map.get(Kind::kKey);
    if (!given) return;
    Map of(*given);
    for (const auto& item : of.items()) {
        const auto name = item.key.name();
        if (!name) continue;
        const std::string wrong = bad_name<Kind>(*name, "group of " + std::string(Kind::kMany));
        if (!wrong.empty())
            item.key.error(wrong);
        else if (std::ranges::find(sets_, *name) != sets_.end())
            item.key.error(in_quotes(*name) + " is the name of a set already");
        else if (!other_kind(*name).empty())
            item.key.error(in_quotes(*name) + " is a group of " + std::string(other_kind(*name)) +
                           " already");
        else
            table<Kind>().try_emplace(*name, Group<Kind>{item.key, item.value, nullptr, false});
    }
}

template <class Kind>
void Groups::resolve_all() {
    for (auto& [name, group] : table<Kind>())
        (void)resolve<Kind>(name, group.key);
}

std::string_view Groups::other_kind(std::string_view name) const {
    std::string_view out;
    const auto look = [&]<class Kind>(const Table<Kind>& table, Kind) {
        if (table.find(name) != table.end()) out = Kind::kMany;
    };
    look(std::get<0>(tables_), AddressKind{});
    look(std::get<1>(tables_), PortKind{});
    look(std::get<2>(tables_), ServiceKind{});
    return out;
}

template <class Kind>
std::shared_ptr<const typename Kind::Set> Groups::resolve(std::string_view name, const Value& at) {
    Group<Kind>& group = table<Kind>().find(name)->second;
    if (group.set) return group.set;
    if (group.begun) {
        const auto first = std::find(chain_.begin(), chain_.end(), name);
        if (first == chain_.end()) return nullptr;  // has an error, which is reported
        std::string path;
        for (auto link = first; link != chain_.end(); ++link)
            path += *link + " -> ";
        at.error("group " + in_quotes(name) + " contains itself (" + path + std::string(name) +
                 ")");
        return nullptr;
    }
    group.begun = true;
    if (chain_.size() == kMaxGroupDepth) {
        at.error("groups in groups more than " + std::to_string(kMaxGroupDepth) + " deep");
        return nullptr;
    }
    chain_.emplace_back(name);
    const auto items =
        group.value.is_map() ? std::vector<Value>{group.value} : group.value.one_or_more();
    if (items.size() > kMaxGroupItems)
        group.value.error(std::to_string(items.size()) + " items (expected at most " +
                          std::to_string(kMaxGroupItems) + "; a file may have more)");
    else if (!items.empty())
        group.set = set_of_list<Kind>(items, true);
    chain_.pop_back();
    return group.set;
}

template <class Kind>
std::shared_ptr<const typename Kind::Set> Groups::set_of_list(const std::vector<Value>& items,
                                                              bool files, SetCondition* sets) {
    List<Kind> list;
    list.sets = sets;
    std::set<std::string> seen;
    for (const Value& item : items) {
        if (files && item.is_map()) {
            add_file(list, item);
            continue;
        }
        const auto text = item.scalar();
        if (text && *text == "any") {
            item.error("\"any\" stands alone, not in a list");
            list.failed = true;
        } else if (text && !seen.insert(*text).second) {
            item.error(item.found() + " is given twice");
            list.failed = true;
        } else if (text) {
            add(list, *text, item, "");
        } else {
            item.error("expected " + std::string(Kind::kOne) + ", found " + item.found());
            list.failed = true;
        }
    }
    if (list.failed) return nullptr;
    const bool some_of_sets = sets != nullptr && sets->any != 0;
    if (list.whole) return list.whole;
    const bool all_but = !list.any_with && !some_of_sets &&
                         (list.any_without || (sets != nullptr && sets->none != 0));
    auto set = all_but ? everything<Kind>() : finished(std::move(list.with));
    if (list.any_without) {
        const auto left_out = finished(std::move(list.without));
        set = without(set, left_out);
        if constexpr (std::is_same_v<Kind, AddressKind>)
            if (some_of_sets) sets->within = AddressSet(without(everything<Kind>(), left_out));
    }
    const bool sets_may_match = some_of_sets && (sets->any & ~sets->none) != 0;
    if ((list.any_without || some_of_sets) && is_empty(set) && !sets_may_match) {
        items.front().error("`not` leaves nothing of this list");
        return nullptr;
    }
    return std::make_shared<const typename Kind::Set>(std::move(set));
}

/// `line`: "FILE:LINE" of an included file, or empty. Its text is not repeated in messages: whoever
/// may have a configuration checked may not be allowed to read the file.
template <class Kind>
void Groups::add(List<Kind>& list, std::string_view text, const Value& at,
                 const std::string& line) {
    const bool negated = take_not(text);
    auto item = Kind::parse(text);
    std::shared_ptr<const typename Kind::Set> set;
    const auto live = std::ranges::find(sets_, text);
    if (item.set) {
        set = std::make_shared<const typename Kind::Set>(std::move(*item.set));
    } else if (item.problem.empty() && live != sets_.end()) {
        if (list.sets != nullptr) {
            const std::uint32_t bit = 1u << (live - sets_.begin());
            (negated ? list.sets->none : list.sets->any) |= bit;
            return;
        }
        // A file's text is not repeated.
        at.error((line.empty() ? in_quotes(text) : line + ":") +
                 " is a set: only `src` and `dst` of rules may name one");
    } else if (item.problem.empty() && table<Kind>().find(text) != table<Kind>().end()) {
        set = resolve<Kind>(text, at);
    } else if (!item.problem.empty()) {
        at.error((line.empty() ? "" : line + ": ") + item.problem);
    } else {
        unknown<Kind>(text, at, line);
    }
    if (set)
        list.add(std::move(set), negated);
    else
        list.failed = true;
}

void Groups::add_included(IncludedFile file) {
    const auto same = [&](const IncludedFile& other) {
        return other.name == file.name && other.of_set == file.of_set;
    };
    if (std::ranges::none_of(included_, same)) included_.push_back(std::move(file));
}

template <class Kind>
void Groups::add_file(List<Kind>& list, const Value& item) {
    Map map(item);
    const auto path = map.get("file");
    map.finish();
    const auto name = path ? path->text(4000) : std::nullopt;
    if (!path) item.error("expected {file: PATH}");
    if (!name) {
        list.failed = true;
        return;
    }
    const auto text = read_list_file(path_of(*name));
    const auto lines = text ? lines_of(text.value()) : std::vector<ListLine>{};
    IncludedFile file{*name, text ? std::string() : text.error().message};
    for (const ListLine& line : lines)
        file.add_entry(line.text);
    add_included(std::move(file));
    if (!text || lines.size() > kMaxGroupLines) {
        path->error(text ? *name + " has " + std::to_string(lines.size()) +
                               " entries (expected at most " + std::to_string(kMaxGroupLines) + ")"
                         : *name + " " + text.error().message);
        list.failed = true;
        return;
    }
    list.any_with = true;  // a file without entries is an empty set, not everything
    list.whole = nullptr;
    unsigned errors = 0;
    const bool failed = std::exchange(list.failed, false);
    for (const ListLine& line : lines) {
        // Most lines are plain: no shared set for each.
        if (auto plain = Kind::parse(line.text); plain.set) {
            append(list.with, *plain.set);
            continue;
        }
        add(list, line.text, *path, *name + ":" + std::to_string(line.number));
        if (std::exchange(list.failed, false) && ++errors == kMostErrors) break;
    }
    list.failed = failed || errors != 0;
}

template <class Kind>
void Groups::unknown(std::string_view text, const Value& at, const std::string& line) {
    const std::string_view other = other_kind(text);
    const bool sets = std::is_same_v<Kind, AddressKind> && !sets_.empty();
    const bool groups = !table<Kind>().empty() || sets;
    std::string what = "is not " + std::string(Kind::kOne);
    if (!table<Kind>().empty()) what += ", nor a group of " + std::string(Kind::kMany);
    if (sets) what += ", nor a set";
    if (!line.empty()) return at.error(line + " " + what);
    if (!other.empty())
        return at.error(in_quotes(text) + " is a group of " + std::string(other) + ", not of " +
                        std::string(Kind::kMany));
    if (groups && looks_like_a_name(text)) {
        std::vector<std::string_view> names;
        for (const auto& [name, group] : table<Kind>())
            names.push_back(name);
        if (sets) names.insert(names.end(), sets_.begin(), sets_.end());
        return at.error(in_quotes(text) + " " + what + suggestion(text, names));
    }
    // In the words of a single value, which know its other mistakes.
    if constexpr (std::is_same_v<Kind, AddressKind>) {
        if (!at.scalar()->starts_with("not ")) return void(at.prefix());
    } else if constexpr (std::is_same_v<Kind, PortKind>) {
        if (text.find_first_not_of("0123456789") == std::string_view::npos &&
            at.scalar()->size() == text.size())
            return void(at.number({0, Kind::kLast}));
        return at.error("expected a port or a range such as 8000-8080, 0 to 65535, found " +
                        at.found());
    }
    at.error("expected " + std::string(Kind::kOne) + ", found " + at.found());
}

template std::shared_ptr<const Addresses> Groups::set_of_list<AddressKind>(
    const std::vector<Value>&, bool, SetCondition*);
template std::shared_ptr<const NumberSet<std::uint32_t>> Groups::set_of_list<PortKind>(
    const std::vector<Value>&, bool, SetCondition*);
template std::shared_ptr<const NumberSet<std::uint32_t>> Groups::set_of_list<ServiceKind>(
    const std::vector<Value>&, bool, SetCondition*);
template std::shared_ptr<const NumberSet<std::uint32_t>> Groups::set_of_list<VlanKind>(
    const std::vector<Value>&, bool, SetCondition*);
template std::shared_ptr<const NumberSet<std::uint32_t>> Groups::set_of_list<DscpKind>(
    const std::vector<Value>&, bool, SetCondition*);

}  // namespace postern::config
