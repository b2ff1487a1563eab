// SPDX-License-Identifier: BSD-3-Clause
// A bounded reader of ASN.1 values in the packed encoding that H.225.0 and H.245 use: ALIGNED BASIC
// PER (ITU-T X.691).
//
// What: a message's type is constant data (Type, schema.h has those of H.323), and decode() walks
// the bytes by it. Marked fields leave an item in a Tree. The helper reads the tree after the whole
// message has been parsed, so a message with an error opens nothing.
// Used by: the H.323 helpers, on a worker. Bounds: every read goes through Cursor; the nesting, the
// number of values read and of items kept are limited, and a length in fragments (16384 and more,
// X.691 section 11.9.3.8) is refused. Unknown extensions are skipped by their length, as in X.691
// section 19.9. Cost: one pass over the bytes, no allocation; a tree has 4 KiB.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "net/cursor.h"

namespace postern::per {

enum class Kind : std::uint8_t {
    null,
    boolean,
    integer,     ///< low..high
    octets,      ///< low..high of them
    characters,  ///< low..high of `char_bits` bits each
    object_id,
    sequence,
    sequence_of,  ///< low..high elements of type root[0]
    choice
};

inline constexpr std::uint8_t kNoMark = 0;
inline constexpr std::uint64_t kUnbounded = UINT64_MAX;

struct Type;

/// A component of a sequence or an alternative of a choice.
struct Field {
    /// None: an extension is skipped; at any other component reading ends, and the items found so
    /// far count.
    const Type* type = nullptr;
    bool optional = false;
    std::uint8_t mark = kNoMark;  ///< leaves an item with this mark
};

struct Type {
    Kind kind;
    bool extensible = false;     ///< has an extension marker
    std::uint8_t char_bits = 8;  ///< characters only: a power of two
    std::uint64_t low = 0;       ///< of the value, or of the size
    std::uint64_t high = kUnbounded;
    std::span<const Field> root{};
    std::span<const Field> extensions{};  ///< the first ones; later ones are skipped
};

/// Contents of a marked field. Items are in the order of the message; those inside a field follow
/// it.
struct Item {
    std::uint8_t mark;
    std::uint16_t inside;  ///< number of the next items that are inside it
    std::uint32_t number;  ///< boolean, integer
    std::uint32_t size;
    const std::uint8_t* data;

    Bytes bytes() const noexcept { return {data, size}; }  ///< octets, object_id
};

/// The items inside the item at index `i`.
inline std::span<const Item> inside(std::span<const Item> items, std::size_t i) noexcept {
    return items.subspan(i + 1, items[i].inside);
}

class Tree {
  public:
    static constexpr unsigned kMaxItems = 128;

    std::span<const Item> items() const noexcept { return {items_.data(), count_}; }

  private:
    friend class Reader;
    std::array<Item, kMaxItems> items_;  // not cleared: that would cost more than most messages
    std::uint16_t count_ = 0;
};

/// Bits from the most significant of the first octet on.
class BitCursor {
  public:
    explicit BitCursor(Bytes bytes) noexcept : octets_(bytes) {}

    /// Up to 32 bits; none if they are not there.
    std::optional<std::uint32_t> bits(unsigned n) noexcept {
        std::uint32_t v = 0;
        while (n != 0) {
            if (left_ == 0) {
                const auto next = octets_.u8();
                if (!next) return std::nullopt;
                octet_ = *next;
                left_ = 8;
            }
            const unsigned take = n < left_ ? n : left_;
            left_ -= take;
            v = v << take | (unsigned{octet_} >> left_ & ((1u << take) - 1));
            n -= take;
        }
        return v;
    }
    void align() noexcept { left_ = 0; }
    /// Whole octets, after align().
    std::optional<Bytes> octets(std::size_t n) noexcept { return octets_.take(n); }
    bool skip_bits(std::uint64_t n) noexcept {
        if (n <= left_) {
            left_ -= static_cast<unsigned>(n);
            return true;
        }
        n -= left_;
        left_ = 0;
        if (n / 8 > octets_.remaining() || !octets_.skip(static_cast<std::size_t>(n / 8)))
            return false;
        return bits(static_cast<unsigned>(n % 8)).has_value();
    }

  private:
    Cursor octets_;
    std::uint8_t octet_ = 0;
    unsigned left_ = 0;  ///< bits of octet_ that have not been read
};

/// One walk over one message.
class Reader {
  public:
    static constexpr unsigned kMaxDepth = 20;
    static constexpr unsigned kMaxValues = 2000;

    explicit Reader(Tree& tree) noexcept : tree_(tree) { tree_.count_ = 0; }

    bool message(const Type& type, Bytes bytes) noexcept {
        BitCursor in{bytes};
        return value(in, type, nullptr, 0);
    }

  private:
    static unsigned bits_for(std::uint64_t values) noexcept {
        return static_cast<unsigned>(std::bit_width(values - 1));
    }

    /// A whole number of low..high (X.691 section 11.5.7), less low.
    static std::optional<std::uint32_t> constrained(BitCursor& in, std::uint64_t low,
                                                    std::uint64_t high) noexcept {
        const std::uint64_t range = high - low + 1;
        if (range <= 255) return in.bits(bits_for(range));
        if (range <= 65536) {
            in.align();
            return in.bits(range == 256 ? 8 : 16);
        }
        // The number of octets, then these.
        const auto octets = in.bits(bits_for((bits_for(range) + 7) / 8));
        if (!octets || *octets > 3) return std::nullopt;
        in.align();
        return in.bits((*octets + 1) * 8);
    }

    /// A length without an upper bound below 64K (X.691 section 11.9.3.5 to 8).
    static std::optional<std::uint32_t> length(BitCursor& in) noexcept {
        in.align();
        const auto first = in.bits(8);
        if (!first || *first < 0x80) return first;
        if ((*first & 0x40) != 0) return std::nullopt;
        const auto second = in.bits(8);
        if (!second) return std::nullopt;
        return (*first & 0x3f) << 8 | *second;
    }

    static std::optional<std::uint32_t> size_of(BitCursor& in, const Type& type) noexcept {
        if (type.high >= 65536) return length(in);
        const auto more = constrained(in, type.low, type.high);
        if (!more) return std::nullopt;
        return static_cast<std::uint32_t>(type.low) + *more;
    }

    /// X.691 section 11.6: a number that is mostly below 64.
    static std::optional<std::uint32_t> small_number(BitCursor& in) noexcept {
        const auto large = in.bits(1);
        if (!large) return std::nullopt;
        if (*large == 0) return in.bits(6);
        const auto octets = length(in);
        if (!octets || *octets == 0 || *octets > 2) return std::nullopt;
        return in.bits(*octets * 8);
    }

    bool value(BitCursor& in, const Type& type, Item* item, unsigned depth) noexcept {
        if (depth > kMaxDepth || ++values_ > kMaxValues) return false;
        switch (type.kind) {
            case Kind::null: return true;
            case Kind::boolean: return keep(in.bits(1), 0, item);
            case Kind::integer: {
                const auto v = constrained(in, type.low, type.high);
                if (v && *v > type.high - type.low) return false;
                return keep(v, type.low, item);
            }
            case Kind::object_id: {
                const auto n = length(in);
                const auto found = n ? in.octets(*n) : std::nullopt;
                if (found) keep(*found, item);
                return found && !found->empty();
            }
            case Kind::octets: return octets(in, type, item);
            case Kind::characters: return characters(in, type);
            case Kind::sequence: return sequence(in, type, depth);
            case Kind::sequence_of: {
                const auto n = size_of(in, type);
                if (!n || (type.high < 65536 && *n > type.high)) return false;
                for (std::uint32_t i = 0; i < *n && !stopped_; ++i)
                    if (!field(in, type.root[0], depth)) return false;
                return true;
            }
            case Kind::choice: return choice(in, type, depth);
        }
        return false;
    }

    static bool keep(std::optional<std::uint32_t> v, std::uint64_t low, Item* item) noexcept {
        if (v && item != nullptr) item->number = static_cast<std::uint32_t>(low + *v);
        return v.has_value();
    }

    static void keep(Bytes found, Item* item) noexcept {
        if (item == nullptr) return;
        item->data = found.data();
        item->size = static_cast<std::uint32_t>(found.size());
    }

    /// X.691 section 17. Two octets of a fixed size are not aligned, others are.
    static bool octets(BitCursor& in, const Type& type, Item* item) noexcept {
        if (type.low == type.high && type.high <= 2) return in.skip_bits(type.high * 8);
        const auto n = size_of(in, type);
        if (!n || (type.high < 65536 && *n > type.high)) return false;
        if (*n != 0) in.align();
        const auto found = in.octets(*n);
        if (found) keep(*found, item);
        return found.has_value();
    }

    /// X.691 section 30. Short ones are not aligned, others are.
    static bool characters(BitCursor& in, const Type& type) noexcept {
        const auto n = size_of(in, type);
        if (!n || (type.high < 65536 && *n > type.high)) return false;
        const std::uint64_t most = type.low == type.high ? 16 : 15;
        if (*n != 0 && (type.high >= 65536 || type.high * type.char_bits > most)) in.align();
        return in.skip_bits(std::uint64_t{*n} * type.char_bits);
    }

    /// One component or alternative that is present.
    bool field(BitCursor& in, const Field& f, unsigned depth) noexcept {
        if (f.mark == kNoMark) {
            if (f.type != nullptr) return value(in, *f.type, nullptr, depth + 1);
            stopped_ = true;
            return true;
        }
        if (tree_.count_ == Tree::kMaxItems) return false;
        Item& item = tree_.items_[tree_.count_++];
        item = Item{f.mark, 0, 0, 0, nullptr};
        const unsigned before = tree_.count_;
        if (f.type == nullptr)
            stopped_ = true;
        else if (!value(in, *f.type, &item, depth + 1))
            return false;
        item.inside = static_cast<std::uint16_t>(tree_.count_ - before);
        return true;
    }

    /// An extension: its length is known, so it can be skipped, and nothing inside it exceeds it
    /// (X.691 section 11.2).
    bool extension(BitCursor& in, const Field* f, unsigned depth) noexcept {
        const auto n = length(in);
        const auto content = n ? in.octets(*n) : std::nullopt;
        if (!content || ++values_ > kMaxValues) return false;
        if (f == nullptr || (f->type == nullptr && f->mark == kNoMark)) return true;
        BitCursor inner{*content};
        const bool read = field(inner, *f, depth);
        stopped_ = false;  // only the rest of this extension was skipped
        return read;
    }

    /// X.691 section 19.
    bool sequence(BitCursor& in, const Type& type, unsigned depth) noexcept {
        const auto extended = type.extensible ? in.bits(1) : std::optional<std::uint32_t>{0};
        unsigned optionals = 0;
        for (const Field& f : type.root)
            optionals += f.optional ? 1 : 0;
        const auto present = in.bits(optionals);
        if (!extended || !present) return false;
        for (const Field& f : type.root) {
            if (f.optional && (*present >> --optionals & 1) == 0) continue;
            if (!field(in, f, depth)) return false;
            if (stopped_) return true;
        }
        return *extended == 0 || extensions(in, type, depth);
    }

    bool extensions(BitCursor& in, const Type& type, unsigned depth) noexcept {
        const auto more = in.bits(7);
        if (!more || *more >= 64) return false;  // no type has more than 64
        const unsigned count = *more + 1;
        const auto high = in.bits(count > 32 ? count - 32 : 0);
        const auto low = in.bits(count > 32 ? 32 : count);
        if (!high || !low) return false;
        const std::uint64_t present = std::uint64_t{*high} << 32 | *low;
        for (unsigned i = 0; i < count; ++i) {
            if ((present >> (count - 1 - i) & 1) == 0) continue;
            const Field* f = i < type.extensions.size() ? &type.extensions[i] : nullptr;
            if (!extension(in, f, depth)) return false;
        }
        return true;
    }

    /// X.691 section 23.
    bool choice(BitCursor& in, const Type& type, unsigned depth) noexcept {
        const auto extended = type.extensible ? in.bits(1) : std::optional<std::uint32_t>{0};
        if (!extended) return false;
        if (*extended == 0) {
            const auto i = in.bits(bits_for(type.root.size()));
            return i && *i < type.root.size() && field(in, type.root[*i], depth);
        }
        const auto i = small_number(in);
        if (!i) return false;
        return extension(in, *i < type.extensions.size() ? &type.extensions[*i] : nullptr, depth);
    }

    Tree& tree_;
    unsigned values_ = 0;
    bool stopped_ = false;
};

/// Parses one value of `type` from the start of `bytes`; false if it is malformed.
inline bool decode(const Type& type, Bytes bytes, Tree& tree) noexcept {
    return Reader{tree}.message(type, bytes);
}

}  // namespace postern::per
