// SPDX-License-Identifier: BSD-3-Clause
// Reader: a YAML tree that complains by itself. A Value knows its place in the file and its path
// ("policy.rules[3].helper"); each typed read either gives a value in range or files one error that
// says what was found and what was expected, and the caller goes on, so that all errors of a file
// come in one run.
//
// Private to lib/config: the only header that names yaml-cpp. Called by load.cc only.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "config/load.h"

namespace postern::config {

/// What was found wrong so far.
class Report {
  public:
    explicit Report(std::string file) : file_(std::move(file)) {}

    void error(SpecMark at, const std::string& path, const std::string& message);
    void warning(SpecMark at, const std::string& path, const std::string& message);
    bool clean() const noexcept { return errors_.empty(); }
    /// Sorts by place in the file and hands the lists over.
    void move_to(LoadResult& result);

  private:
    std::string file_;
    std::vector<Diagnostic> errors_;
    std::vector<Diagnostic> warnings_;
};

/// Text from the file, fit to be shown: quoted, control characters replaced, cut when long.
std::string quoted(std::string_view text);
/// " (did you mean "x"?)" or " (expected one of: a, b, c)", or nothing when there are no
/// candidates.
std::string suggestion(std::string_view text, std::span<const std::string_view> candidates);

enum class Unit : std::uint8_t {
    none,
    seconds,  ///< 90, 30s, 5m, 2h, 5d
    size      ///< 4096, 4K, 1M, 1G (powers of 1024)
};
struct Range {
    std::uint64_t min;
    std::uint64_t max;
    Unit unit = Unit::none;
};

class Value {
  public:
    Value(Report& report, YAML::Node node, std::string path)
        : report_(&report), node_(std::move(node)), path_(std::move(path)) {}

    SpecMark mark() const;
    const std::string& path() const noexcept { return path_; }
    void error(const std::string& message) const { report_->error(mark(), path_, message); }
    void warning(const std::string& message) const { report_->warning(mark(), path_, message); }
    /// "found" in messages: `a list`, `text "x"`, `nothing` …
    std::string found() const;

    bool is_null() const { return node_.IsNull(); }
    bool is_map() const { return node_.IsMap(); }
    bool is_list() const { return node_.IsSequence(); }
    /// The plain text of a scalar, without complaint; nothing for lists, mappings and null.
    std::optional<std::string> scalar() const;

    std::optional<std::string> text(std::size_t max_length = 255) const;
    /// A name: letters, digits, '_', '-', '.', at most 31, beginning with a letter or digit.
    std::optional<std::string> name() const;
    std::optional<bool> flag() const;
    std::optional<std::uint64_t> number(Range range) const;
    /// One of these names; `what` completes: "x" is not … ("a zone of this file").
    std::optional<std::size_t> choice(std::span<const std::string_view> names,
                                      const std::string& what) const;

    /// The elements of a list. Nothing at all is an empty list.
    std::vector<Value> list() const;
    /// The elements of a list, or the scalar itself as the only one; an empty list is an error,
    /// because where lists are conditions it would mean "never" to one reader, "any" to another.
    std::vector<Value> one_or_more() const;

    template <class T>
    void read(T& out, Range range) const {
        if (auto n = number(range)) out = static_cast<T>(*n);
    }

  private:
    friend class Map;
    Report* report_;
    YAML::Node node_;
    std::string path_;
};

/// A mapping being read. Remembers which keys were asked for; finish() complains of all others, so
/// the list of known keys is the code that reads them.
class Map {
  public:
    /// Complains when `value` is no mapping, and is empty then. Nothing at all is an empty mapping.
    explicit Map(const Value& value);

    std::optional<Value> get(std::string_view key);
    /// Complains when the key is missing.
    std::optional<Value> require(std::string_view key, const std::string& expected);
    template <class T>
    void read(std::string_view key, T& out, Range range) {
        if (auto v = get(key)) v->read(out, range);
    }
    /// All keys and values, for mappings whose keys are not known beforehand.
    struct Item {
        Value key;
        Value value;
    };
    std::vector<Item> items();
    void finish();

  private:
    struct Entry {
        std::string key;
        YAML::Node key_node;
        Value value;
        SpecMark key_mark;
        bool used = false;
    };
    Value self_;
    std::vector<Entry> entries_;
    std::vector<std::string> asked_;
};

}  // namespace postern::config
