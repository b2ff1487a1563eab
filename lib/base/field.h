// SPDX-License-Identifier: BSD-3-Clause
// Field: position, name and largest value of a number in a struct.
//
// What: constant tables of these, one for each struct in saved connections (trackers, helpers'
// private state). The same table writes the struct out by name and reads it back. A value that is
// read is never out of range: an index in a file cannot exceed its array.
// Used by: the owner of the struct defines its table; control walks it. Nothing here runs on
// workers.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>
#include <type_traits>

namespace postern {

struct Field {
    std::string_view name;
    std::uint8_t offset;  ///< bytes from the start of the struct
    std::uint8_t bytes;   ///< of a number: 1, 2, 4 or 8
    std::uint8_t count;   ///< consecutive numbers
    std::uint64_t max;    ///< the largest value of each
    /// First bit within the number's bytes, if several fields share them. It has as many bits as
    /// `max` needs.
    std::uint8_t low_bit = 0;

    constexpr std::size_t end() const noexcept { return std::size_t{offset} + bytes * count; }
    std::uint64_t get(std::span<const std::uint8_t> object, unsigned i = 0) const noexcept {
        return word(object, i) >> low_bit & mask();
    }
    /// `value` is at most `max`.
    void put(std::span<std::uint8_t> object, std::uint64_t value, unsigned i = 0) const noexcept {
        const std::uint64_t w = (word(object, i) & ~(mask() << low_bit)) | value << low_bit;
        std::memcpy(object.data() + offset + std::size_t{bytes} * i, &w, bytes);
    }

  private:
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t mask() const noexcept { return ~std::uint64_t{0} >> std::countl_zero(max); }
    std::uint64_t word(std::span<const std::uint8_t> object, unsigned i) const noexcept {
        std::uint64_t w = 0;
        std::memcpy(&w, object.data() + offset + std::size_t{bytes} * i, bytes);
        return w;
    }
};

namespace field_detail {
template <class T>
struct Shape {
    using Number = T;
    static constexpr std::size_t count = 1;
};
template <class T, std::size_t N>
struct Shape<std::array<T, N>> {
    using Number = typename Shape<T>::Number;
    static constexpr std::size_t count = N * Shape<T>::count;
};
}  // namespace field_detail

/// For POSTERN_FIELD. `T`: a number, a truth value, an enumeration, or arrays of them.
template <class T>
constexpr Field field_of(std::string_view name, std::size_t offset, std::uint64_t max) noexcept {
    using Number = typename field_detail::Shape<T>::Number;
    return {name, static_cast<std::uint8_t>(offset), sizeof(Number),
            static_cast<std::uint8_t>(field_detail::Shape<T>::count), max};
}
/// Any number, or a truth value. For an enumeration the last enumerator has to be given.
template <class T>
constexpr Field field_of(std::string_view name, std::size_t offset) noexcept {
    using Number = typename field_detail::Shape<T>::Number;
    static_assert(std::is_unsigned_v<Number>, "say its largest value");
    return field_of<T>(name, offset, std::numeric_limits<Number>::max());
}

/// A member of a struct, under its own name: POSTERN_FIELD(State, next, 5). Without a largest value
/// all values of the type are valid.
#define POSTERN_FIELD(type, member, ...)                 \
    ::postern::field_of<decltype(type::member)>(#member, \
                                                offsetof(type, member) __VA_OPT__(, ) __VA_ARGS__)

/// Whether the gaps in the table, in the struct's order, are alignment only; if not, a member was
/// forgotten.
template <class T>
constexpr bool describes(std::span<const Field> table) noexcept {
    std::size_t at = 0;
    for (const Field& f : table) {
        if (f.low_bit == 0 && (f.offset < at || f.offset >= at + f.bytes)) return false;
        if (f.low_bit != 0 && f.end() != at) return false;
        at = f.end();
    }
    return at <= sizeof(T) && sizeof(T) - at < alignof(T);
}

}  // namespace postern
