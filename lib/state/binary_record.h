// SPDX-License-Identifier: BSD-3-Clause
// One record of the binary form, field by field, behind checks; private to lib/state.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include "helper/descriptor.h"
#include "state/names_read.h"
#include "state/record_reader.h"
#include "state/saved_checks.h"
#include "state/wire.h"

namespace postern {

using Bytes8 = std::span<const std::uint8_t>;

/// The fields of one record or struct, read one after the other. The first thing that is wrong is
/// kept, and ends the loop.
class Record {
  public:
    Record(Bytes8 bytes, NamesRead& names, RecordReader::Counts& counts)
        : in_(bytes), names_(names), counts_(counts) {}

    /// The next field; false: there is none, or something is wrong.
    bool next() {
        if (!problem_.empty() || in_.at_end()) return false;
        const auto f = in_.field();
        if (!f) {
            wrong("a field is cut short");
            return false;
        }
        field_ = *f;
        return true;
    }
    std::uint32_t field() const noexcept { return field_.number; }
    void unknown() noexcept { ++counts_.unknown_fields; }

    void wrong(std::string what, RecordFault fault = RecordFault::damaged) {
        if (!problem_.empty()) return;
        problem_ = std::move(what);
        fault_ = fault;
    }
    void check(const Misfit& misfit) {
        if (misfit) wrong(std::string(misfit.key) + ": " + misfit.what, misfit.fault);
    }
    bool ok() const noexcept { return problem_.empty(); }
    const std::string& problem() const noexcept { return problem_; }
    RecordFault fault() const noexcept { return fault_; }

    // The value of the field.
    std::uint64_t number(const char* key, std::uint64_t max) {
        if (!field_.is_bytes && field_.value <= max) return field_.value;
        wrong(std::string(key) + ": expected a number up to " + std::to_string(max));
        return 0;
    }
    template <class T>
    void read(const char* key, T& out, std::uint64_t max = std::numeric_limits<T>::max()) {
        out = static_cast<T>(number(key, max));
    }
    void read(const char* key, Be16& out) {
        out = Be16::from_host(static_cast<std::uint16_t>(number(key, UINT16_MAX)));
    }
    bool flag(const char* key) { return number(key, 1) != 0; }
    Bytes8 data(const char* key) {
        if (!field_.is_bytes) wrong(std::string(key) + ": expected bytes");
        return field_.data;
    }
    /// A number that names a text, or 0.
    std::uint64_t name(const char* key) {
        const std::uint64_t n = number(key, UINT32_MAX);
        if (n == 0 || names_.text(n)) return n;
        wrong(std::string(key) + ": its name is not in the file");
        return 0;
    }
    IpAddr address(const char* key) {
        const Bytes8 bytes = data(key);
        if (bytes.size() == 4) return IpAddr::v4(bytes.data());
        if (bytes.size() == 16) return IpAddr::v6(bytes.data());
        wrong(std::string(key) + ": expected an IP address");
        return {};
    }
    ConnId id(const char* key) {
        const std::uint64_t n = number(key, (std::uint64_t{1} << 56) - 1);
        const ConnId id{static_cast<std::uint32_t>(n >> 24), static_cast<std::uint16_t>(n >> 8),
                        WorkerId::from(n & 0xff)};
        if ((n & 0xff) >= kMaxWorkers || (id.index == 0 && n != 0))
            wrong(std::string(key) + ": expected an id");
        return id.index == 0 ? ConnId{} : id;
    }
    std::uint8_t flags(const char* key, std::span<const FlagName> names) {
        const std::uint64_t bits = number(key, UINT64_MAX);
        std::uint8_t out = 0;
        for (std::size_t i = 0; i < names.size(); ++i)
            if ((bits >> i & 1) != 0) out |= names[i].bit;
        if (bits >> names.size() != 0) unknown();
        return out;
    }
    /// A struct of which each field of the table is there.
    void read_struct(const char* key, Bytes8 bytes, std::span<const Field> table,
                     std::span<std::uint8_t> out) {
        std::string_view where;
        const auto result =
            names_.read_struct(bytes, table, false, out, counts_.unknown_fields, where);
        if (result == NamesRead::Struct::unknown)
            wrong(std::string(key) + ": its layout is not in the file");
        else if (result == NamesRead::Struct::wrong)
            wrong(std::string(key) + (where.empty() ? "" : "." + std::string(where)) +
                  ": missing, or out of range");
    }

    NamesRead& names() noexcept { return names_; }
    RecordReader::Counts& counts() noexcept { return counts_; }

  private:
    state_wire::FieldReader in_;
    NamesRead& names_;
    RecordReader::Counts& counts_;
    state_wire::FieldReader::Field field_;
    std::string problem_;
    RecordFault fault_ = RecordFault::none;
};

/// Reads the fields of `helper_field` into `image`, for the helper `id`. True: its private state
/// has a meaning in this build. Problems are noted in `outer`.
bool read_helper(Record& outer, Bytes8 bytes, HelperId id, const HelperDesc& desc,
                 HelperImage& image);

}  // namespace postern
