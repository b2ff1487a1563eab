// SPDX-License-Identifier: BSD-3-Clause
// The description of a key of the configuration: once, beside its field.
//
// Each struct of a Spec has `template <class Keys> static void describe(Keys& keys)`, which names
// its keys one after the other. Three visitors call it: the reader (read_keys.h), and the writers
// of the documentation's tables and of the JSON schema (description.h). A visitor takes
//
//   keys("mtu", &PortSpec::mtu, {.help = "...", .range = {1280, 9600}});   a field, read as such
//   keys.by_hand("pass", {.help = "...", ...});          read by the code of its section
//   keys.mapping("userspace", of<UserspaceSpec>, {...}); the same, with keys of its own
//   keys.group("idle", {...}, [](auto& of) { of(...); }); keys one level down, of the same struct
//
// The default is the field's own initial value. Life-cycle: constant data. Nothing here knows YAML.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace postern {

/// Notation of a number.
enum class KeyUnit : std::uint8_t {
    none,     ///< decimal or 0x-hexadecimal
    seconds,  ///< 90, 30s, 5m, 2h, 5d
    size      ///< 4096, 4K, 1M, 1G (powers of 1024)
};

/// Both ends are included.
struct KeyRange {
    std::uint64_t min = 0;
    std::uint64_t max = 0;
    KeyUnit unit = KeyUnit::none;
};

/// Form of one value.
enum class Form : std::uint8_t {
    by_field,  ///< by the field's type
    mapping,   ///< has keys of its own
    boolean,   ///< true or false
    number,    ///< within `range`
    text,      ///< one line
    name,      ///< letters, digits, '_', '-', '.'; also of something defined elsewhere in the file
    choice,    ///< one of `words`
    prefix,    ///< address or prefix
    protocol,  ///< by name or number
    port_range,   ///< a port, or FIRST-LAST
    address,      ///< address, prefix, range or group, perhaps behind `not`
    port,         ///< port, range or group, perhaps behind `not`
    service,      ///< PROTOCOL/PORTS, protocol or group, perhaps behind `not`
    icmp_type,    ///< by name or number
    vlan,         ///< id, range or `none`, perhaps behind `not`
    dscp,         ///< name, number or range, perhaps behind `not`
    port_name,    ///< name of a port, perhaps behind `not`
    pass_word,    ///< one of `words`, or an ethertype
    masked,       ///< number, or NUMBER/MASK, of 32 bits
    log_rate,     ///< yes, no, or NUMBER/s
    days,         ///< a day, or FIRST-LAST
    time_of_day,  ///< HH:MM
    rate,         ///< NUMBER/s, NUMBER/m or NUMBER/h
    stage,        ///< a stage of this build
    helper_kind   ///< a helper of this build
};

/// Number and arrangement of values.
enum class Shape : std::uint8_t {
    one,
    list,           ///< may be empty
    one_or_more,    ///< a value, or a list that is not empty
    any_number,     ///< a value, or a list that may be empty
    by_name,        ///< a mapping whose keys are names
    lists_by_name,  ///< the same, of lists that may include files
    by_number,      ///< a mapping whose keys are numbers, `min_key` to `max_key`
    one_or_by_number
};

/// One key, without its name and its field.
struct About {
    std::string_view help;  ///< its meaning: Markdown, one line
    KeyRange range = {};    ///< of numbers
    Form form = Form::by_field;
    Shape shape = Shape::one;
    std::span<const std::string_view> words = {};
    std::string_view noun = {};  ///< completes: "x" is not ... ("an action")
    /// A word that may replace all values, such as `any`; or words, separated by spaces.
    std::string_view instead = {};
    std::uint32_t min_key = 0, max_key = 0;  ///< of mappings by number
    bool required = false;
    bool own_table = true;  ///< of a mapping: the documentation has a table of its keys
    // For the documentation, if the text made from the above does not suffice.
    std::string_view type = {};
    std::string_view default_text = {};
    std::string_view range_text = {};
    /// For a required key: completes "... is missing (expected ...)".
    std::string_view expected = {};
    /// Its name in earlier versions; still accepted, with a warning.
    std::string_view formerly = {};
};

/// The type of a mapping, as an argument.
template <class T>
struct Of {
    using type = T;
};
template <class T>
inline constexpr Of<T> of{};

/// The words of an enumeration in the configuration; several words may mean the same.
template <class E, std::size_t N>
struct Words {
    std::string_view noun;  ///< completes: "x" is not ...
    std::array<std::string_view, N> texts{};
    std::array<E, N> values{};

    constexpr std::string_view text_of(E value) const noexcept {
        for (std::size_t i = 0; i < N; ++i)
            if (values[i] == value) return texts[i];
        return {};
    }
};
template <class E, std::size_t N>
constexpr Words<E, N> words(std::string_view noun,
                            const std::pair<std::string_view, E> (&list)[N]) noexcept {
    Words<E, N> out{noun};
    for (std::size_t i = 0; i < N; ++i) {
        out.texts[i] = list[i].first;
        out.values[i] = list[i].second;
    }
    return out;
}
/// Specialised beside each enumeration that a field has.
template <class E>
inline constexpr int kWordsOf = 0;

}  // namespace postern
