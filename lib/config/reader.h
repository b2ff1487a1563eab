// SPDX-License-Identifier: BSD-3-Clause
// Reader: a YAML tree that reports its own errors. A Value has its position in the file and its
// path ("policy.rules[3].helper"). Each typed read either returns a value in range or files one
// error with the found and the expected value. The caller continues, so that one run reports all
// errors of a file.
//
// Private to lib/config: the only header that names yaml-cpp. Called by the sections' readers only.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "config/key.h"
#include "config/load.h"

namespace postern::config {

/// The errors so far.
class Report {
  public:
    explicit Report(std::string file) : file_(std::move(file)) {}

    void error(SpecMark at, const std::string& path, const std::string& message);
    void warning(SpecMark at, const std::string& path, const std::string& message);
    bool clean() const noexcept { return errors_.empty(); }
    const std::string& file() const noexcept { return file_; }
    /// Sorts by position in the file and returns the lists.
    void move_to(LoadResult& result);

  private:
    std::string file_;
    std::vector<Diagnostic> errors_;
    std::vector<Diagnostic> warnings_;
};

/// Text from the file for display: quoted, control characters replaced, cut when long.
std::string in_quotes(std::string_view text);
/// " (did you mean "x"?)" or " (expected one of: a, b, c)", or nothing when there are no
/// candidates.
std::string suggestion(std::string_view text, std::span<const std::string_view> candidates);

/// In the largest unit that gives a whole number.
std::string show(std::uint64_t n, KeyUnit unit);

class Value {
  public:
    Value(Report& report, YAML::Node node, std::string path)
        : report_(&report), node_(std::move(node)), path_(std::move(path)) {}

    SpecMark mark() const;
    const std::string& path() const noexcept { return path_; }
    void error(const std::string& message) const { report_->error(mark(), path_, message); }
    void warning(const std::string& message) const { report_->warning(mark(), path_, message); }
    /// The found value in messages: `a list`, `text "x"`, `nothing` …
    std::string found() const;

    bool is_null() const { return node_.IsNull(); }
    bool is_map() const { return node_.IsMap(); }
    bool is_list() const { return node_.IsSequence(); }
    /// The plain text of a scalar, without an error; nothing for lists, mappings and null.
    std::optional<std::string> scalar() const;

    std::optional<std::string> text(std::size_t max_length = 255) const;
    /// A name: letters, digits, '_', '-', '.', at most 31, beginning with a letter or digit.
    std::optional<std::string> name() const;
    std::optional<bool> flag() const;
    std::optional<std::uint64_t> number(KeyRange range) const;
    /// An address is its own full-length prefix; bits beyond the length are an error.
    std::optional<Prefix> prefix() const;
    /// One of these names; `what` completes: "x" is not … ("a zone of this file").
    std::optional<std::size_t> choice(std::span<const std::string_view> names,
                                      const std::string& what) const;

    /// The elements of a list. Nothing at all is an empty list.
    std::vector<Value> list() const;
    /// The elements of a list, or the scalar itself as the only one. An empty list is an error,
    /// because as a condition it would mean "never" to one reader, "any" to another.
    std::vector<Value> one_or_more() const;

    template <class T>
    void read(T& out, KeyRange range) const {
        const auto n = number(range);
        if (!n) return;
        if constexpr (requires { T::from(*n); })
            out = T::from(*n);
        else
            out = static_cast<T>(*n);
    }

  private:
    friend class Map;
    Report* report_;
    YAML::Node node_;
    std::string path_;
};

/// A mapping being read. Its keys are the declared ones, as in read_keys(); else, if they are not
/// known beforehand, those that were queried. finish() reports all others.
class Map {
  public:
    /// Reports a `value` that is no mapping; the Map is then empty. Nothing at all is an empty
    /// mapping.
    explicit Map(const Value& value);

    /// `about` refers to constant data.
    void declare(std::string_view key, const About& about);
    /// Of a declared key.
    const About& about(std::string_view key) const;

    /// After the first declaration, a query for an undeclared key is an error in the program.
    std::optional<Value> get(std::string_view key);
    /// Reports a missing key, in the words of its description.
    std::optional<Value> require(std::string_view key);
    /// Reads a key by its description: one of its words, or a number in its range. Reports any
    /// other value.
    std::optional<std::size_t> choice(std::string_view key);
    template <class T>
    void number(std::string_view key, T& out) {
        if (auto v = get(key)) v->read(out, about(key).range);
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
    struct Key {
        std::string name;
        About about;
    };
    const Key* find(std::string_view key) const;
    Entry* entry(std::string_view key);
    void give_new_name(const Key& key);

    Value self_;
    std::vector<Entry> entries_;
    std::vector<Key> keys_;  ///< declared, or queried
    bool declared_ = false;
};

}  // namespace postern::config
