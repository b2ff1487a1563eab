// SPDX-License-Identifier: BSD-3-Clause
// Fields of a record as JSON: how numbers, flags, bytes and structs are written, and their one
// reader.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/field.h"
#include "base/types.h"
#include "control/command.h"
#include "net/addr.h"
#include "state/saved_checks.h"

namespace postern {

std::string hex_of(std::span<const std::uint8_t> bytes);

Json flags_json(std::uint8_t flags, std::span<const FlagName> names);

/// A struct by its table: a number a field, or a list of them.
Json struct_json(std::span<const std::uint8_t> object, std::span<const Field> fields);

/// What is wrong with the first bad field, and where it is; empty while all were good.
struct Problem {
    std::string text;
    RecordFault fault = RecordFault::none;
};
/// Reads the fields of one object. A bad one reads as zero and is noted in the Problem, so a caller
/// reads all it wants and looks there once.
class Fields {
  public:
    Fields(const Json& object, std::string where, Problem& problem)
        : object_(object), where_(std::move(where)), problem_(problem) {
        if (!object_.is_object()) wrong("", "expected an object");
    }

    void wrong(std::string_view key, const std::string& what,
               RecordFault fault = RecordFault::damaged);
    bool has(const char* key) const { return object_.is_object() && object_.contains(key); }
    const Json& at(const char* key);
    std::uint64_t number(const char* key, std::uint64_t max) { return number(at(key), key, max); }
    std::uint64_t number(const Json& v, std::string_view key, std::uint64_t max);
    template <class T>
    void read(const char* key, T& out) {
        out = static_cast<T>(number(key, std::numeric_limits<T>::max()));
    }
    template <class Kind, class Number>
    void read(const char* key, StrongId<Kind, Number>& out) {
        out = StrongId<Kind, Number>::from(number(key, std::numeric_limits<Number>::max()));
    }
    void read(const char* key, Be16& out) {
        out = Be16::from_host(static_cast<std::uint16_t>(number(key, UINT16_MAX)));
    }
    /// Milliseconds, at most the range of Tick comparisons.
    std::uint32_t duration_ms(const char* key) {
        return static_cast<std::uint32_t>(number(key, INT32_MAX));
    }
    bool flag(const char* key);
    /// Empty for null.
    std::string text(const char* key);
    IpAddr address(const char* key);
    /// A connection's id; none for null.
    ConnId id(const char* key);
    std::uint8_t flags(const char* key, std::span<const FlagName> names);
    std::vector<std::uint8_t> bytes(const char* key, std::size_t max);
    /// A struct from an object with exactly these fields.
    void read_struct(std::span<const Field> fields, std::span<std::uint8_t> out);
    /// The two elements of a list, by Direction.
    Fields of(const char* key, unsigned direction);
    Fields inner(const char* key) { return inner(key, problem_); }
    Fields inner(const char* key, Problem& problem) {
        return Fields(at(key), where_ + "." + key, problem);
    }

  private:
    const Json& object_;
    std::string where_;
    Problem& problem_;
};

}  // namespace postern
