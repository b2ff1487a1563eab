// SPDX-License-Identifier: BSD-3-Clause
// The binary form's bytes: numbers, fields, blocks. NOTES.md describes the whole form.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "pipeline/crc32c.h"

namespace postern::state_wire {

/// The first bytes of a file. The first one begins no text in UTF-8, so no JSON.
inline constexpr std::string_view kMagic{"\xf9pstate\n", 8};
/// Of the block format. A reader refuses another one.
inline constexpr std::uint32_t kFormat = 2;
/// A block with its header. In base64 it fits into one request of the control socket.
inline constexpr std::size_t kBlockBytes = 32 * 1024;

/// Precedes each block; little-endian.
struct BlockHeader {
    std::uint32_t magic = kMagicNumber;
    std::uint32_t number = 0;  ///< of the block in its file, from 0
    std::uint32_t bytes = 0;   ///< of the records that follow
    std::uint32_t crc = 0;     ///< CRC32C of the fields above and of the records

    static constexpr std::uint32_t kMagicNumber = 0x6b427350;  // "PsBk"

    std::uint32_t crc_of(const void* records) const noexcept {
        const std::uint32_t own = crc32c(this, offsetof(BlockHeader, crc), 0xffffffff);
        return crc32c(records, bytes, own);
    }
};
static_assert(sizeof(BlockHeader) == 16);
inline constexpr std::size_t kMaxRecords = kBlockBytes - sizeof(BlockHeader);

// Kinds of records. Numbers of kinds and fields are never used again for another meaning.
enum Kind : std::uint8_t {
    kHeader = 1,
    kName = 2,    ///< a text, and the number that stands for it from here on
    kLayout = 3,  ///< the fields of a struct, and the number that stands for them
    kConnection = 4,
    kExpectation = 5,
    kEnd = 6
};
/// Version of each kind's meaning. A reader skips and counts a record of a later one.
inline constexpr std::uint8_t kVersion = 1;

namespace header_field {
enum : std::uint32_t {
    saved_ms = 1,
    host = 2,
    plan_digest = 3,
    boot_ms = 4,
    boot_id = 5
};
}  // namespace header_field
namespace name_field {
enum : std::uint32_t {
    number = 1,
    text = 2
};
}  // namespace name_field
namespace layout_field {
enum : std::uint32_t {
    number = 1,
    version = 2,  ///< text: another one means that another build wrote it
    field = 3     ///< once for each: its count of numbers, then its name
};
}  // namespace layout_field
namespace conn_field {
enum : std::uint32_t {
    id = 1,
    master = 2,
    protocol = 3,
    src = 4,
    dst = 5,
    sport = 6,
    dport = 7,
    key_class = 8,
    both_calls_known = 9,
    ct_zone = 10,
    rule = 11,
    mark = 12,
    label = 13,
    from = 14,
    to = 15,
    timeouts = 16,
    expected_by = 17,
    flags = 18,
    state_name = 19,
    state = 20,  ///< of a protocol whose states have no names
    timeout_ms = 21,
    idle_ms = 22,
    age_ms = 23,
    packets_original = 24,
    packets_reply = 25,
    bytes_original = 26,
    bytes_reply = 27,
    tcp_original = 28,
    tcp_reply = 29,
    tracker = 30,
    helper = 31,
    helper_state = 32,  ///< fields of helper_field
    expects_by_rule = 33,
    vlan = 34,  ///< of its first packet, like the next two; absent of an expected one
    dscp = 35,
    in_port = 36  ///< a name
};
}  // namespace conn_field
namespace helper_field {
enum : std::uint32_t {
    proven = 1,
    picked_up = 2,
    min_timeout_s = 3,
    stream_original = 4,  ///< fields of stream_field
    stream_reply = 5,
    state = 6,         ///< a struct
    remote_state = 7,  ///< bytes of a helper in another process
    remote_version = 8
};
}  // namespace helper_field
namespace stream_field {
enum : std::uint32_t {
    state = 1,  ///< a name
    next_seq = 2,
    fin_seq = 3,  ///< present only if a FIN was seen
    has_data = 4,
    read_all = 5,
    skip = 6,
    waiting = 7
};
}  // namespace stream_field
namespace expect_field {
enum : std::uint32_t {
    master = 1,
    protocol = 2,
    src = 3,  ///< absent: any
    src_prefix = 4,
    sport = 5,  ///< absent: any
    dst = 6,
    dport = 7,
    class_index = 8,
    flags = 9,
    tag = 10,
    call = 11,
    left_ms = 12,
    helper = 13,
    child_helper = 14,
    from = 15,
    to = 16,
    ct_zone = 17,
    rule = 18,
    mark = 19,
    label = 20
};
}  // namespace expect_field
namespace end_field {
enum : std::uint32_t {
    connections = 1,
    expectations = 2,
    cut = 3,
    filtered = 4,
    zone_gone = 5,
    expectations_gone = 6,
    expectations_filtered = 7
};
}  // namespace end_field

/// How a field's value is written.
enum Type : std::uint32_t {
    kNumber = 0,  ///< a varint: 7 bits a byte, low ones first; the high bit of the last is 0
    kBytes = 1    ///< a varint with the number of bytes, then the bytes
};
inline constexpr unsigned kTypeBits = 1;
inline constexpr std::size_t kMaxVarint = 10;

/// Writes fields into its own memory, which it keeps from record to record.
class FieldWriter {
  public:
    /// A connection with a helper's state and full buffers takes less than 2 KiB, a header or a
    /// name at most the length of its text besides.
    static constexpr std::size_t kCapacity = 8 * 1024;

    void clear() noexcept { size_ = 0; }
    std::string_view view() const noexcept { return {bytes_.data(), size_}; }

    void varint(std::uint64_t v) noexcept {
        if (size_ + kMaxVarint > kCapacity) return;
        while (v >= 0x80) {
            bytes_[size_++] = static_cast<char>(v | 0x80);
            v >>= 7;
        }
        bytes_[size_++] = static_cast<char>(v);
    }
    /// A field that is absent if it is 0.
    void number(std::uint32_t field, std::uint64_t value) noexcept {
        if (value != 0) number_or_zero(field, value);
    }
    void number_or_zero(std::uint32_t field, std::uint64_t value) noexcept {
        varint(field << kTypeBits | kNumber);
        varint(value);
    }
    void bytes(std::uint32_t field, std::string_view value) noexcept {
        if (size_ + 2 * kMaxVarint + value.size() > kCapacity) return;
        varint(field << kTypeBits | kBytes);
        varint(value.size());
        raw(value);
    }
    void bytes(std::uint32_t field, std::span<const std::uint8_t> value) noexcept {
        bytes(field, {reinterpret_cast<const char*>(value.data()), value.size()});
    }
    void raw(std::string_view value) noexcept {
        if (value.empty() || size_ + value.size() > kCapacity) return;
        std::memcpy(bytes_.data() + size_, value.data(), value.size());
        size_ += value.size();
    }

  private:
    std::array<char, kCapacity> bytes_;
    std::size_t size_ = 0;
};

/// Takes numbers and bytes from the front of a record, behind length checks.
class FieldReader {
  public:
    explicit FieldReader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

    bool at_end() const noexcept { return rest_.empty(); }
    std::span<const std::uint8_t> rest() const noexcept { return rest_; }
    std::optional<std::uint64_t> varint() noexcept {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < rest_.size() && i < kMaxVarint; ++i) {
            const std::uint64_t bits = rest_[i] & 0x7f;
            if (i == kMaxVarint - 1 && bits > 1) break;  // more than 64 bits
            value |= bits << 7 * i;
            if ((rest_[i] & 0x80) != 0) continue;
            rest_ = rest_.subspan(i + 1);
            return value;
        }
        return std::nullopt;
    }
    std::optional<std::span<const std::uint8_t>> bytes(std::uint64_t n) noexcept {
        if (n > rest_.size()) return std::nullopt;
        const auto out = rest_.first(static_cast<std::size_t>(n));
        rest_ = rest_.subspan(static_cast<std::size_t>(n));
        return out;
    }

    struct Field {
        std::uint32_t number = 0;
        bool is_bytes = false;
        std::uint64_t value = 0;               ///< of a number
        std::span<const std::uint8_t> data{};  ///< of bytes

        std::string_view text() const noexcept {
            return {reinterpret_cast<const char*>(data.data()), data.size()};
        }
    };
    /// The next field; nothing if the rest is none.
    std::optional<Field> field() noexcept {
        const auto tag = varint();
        if (!tag || *tag >> kTypeBits == 0 || *tag > UINT32_MAX) return std::nullopt;
        const auto value = varint();
        if (!value) return std::nullopt;
        Field out;
        out.number = static_cast<std::uint32_t>(*tag >> kTypeBits);
        out.is_bytes = (*tag & kBytes) != 0;
        if (!out.is_bytes) {
            out.value = *value;
            return out;
        }
        const auto data = bytes(*value);
        if (!data) return std::nullopt;
        out.data = *data;
        return out;
    }

  private:
    std::span<const std::uint8_t> rest_;
};

}  // namespace postern::state_wire
