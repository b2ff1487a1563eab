// SPDX-License-Identifier: BSD-3-Clause
#include "state/json_fields.h"

#include <algorithm>
#include <charconv>

#include "state/id_text.h"

namespace postern {
namespace {

std::optional<std::vector<std::uint8_t>> from_hex(const std::string& hex) {
    if (hex.size() % 2 != 0) return std::nullopt;
    std::vector<std::uint8_t> out(hex.size() / 2);
    for (std::size_t i = 0; i < out.size(); ++i) {
        const char* at = hex.data() + 2 * i;
        if (const auto [end, ec] = std::from_chars(at, at + 2, out[i], 16); end != at + 2)
            return std::nullopt;
    }
    return out;
}

std::string flag_names(std::span<const FlagName> names) {
    std::string out;
    for (const FlagName& f : names)
        out += (out.empty() ? "" : ", ") + std::string(f.name);
    return out;
}

}  // namespace

std::string hex_of(std::span<const std::uint8_t> bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string out;
    for (const std::uint8_t b : bytes) {
        out += kDigits[b >> 4];
        out += kDigits[b & 15];
    }
    return out;
}

Json flags_json(std::uint8_t flags, std::span<const FlagName> names) {
    Json out = Json::array();
    for (const FlagName& f : names)
        if ((flags & f.bit) != 0) out.push_back(f.name);
    return out;
}

Json struct_json(std::span<const std::uint8_t> object, std::span<const Field> fields) {
    Json out = Json::object();
    for (const Field& f : fields) {
        Json& value = out[std::string(f.name)];
        if (f.count == 1) value = f.get(object);
        for (unsigned i = 0; f.count != 1 && i < f.count; ++i)
            value.push_back(f.get(object, i));
    }
    return out;
}

void Fields::wrong(std::string_view key, const std::string& what, RecordFault fault) {
    if (!problem_.text.empty()) return;
    problem_.text = where_ + (key.empty() ? "" : "." + std::string(key)) + ": " + what;
    problem_.fault = fault;
}

const Json& Fields::at(const char* key) {
    static const Json kNull;
    if (object_.is_object() && object_.contains(key)) return object_[key];
    wrong(key, "is missing");
    return kNull;
}

std::uint64_t Fields::number(const Json& v, std::string_view key, std::uint64_t max) {
    if (v.is_number_unsigned() && v.get<std::uint64_t>() <= max) return v.get<std::uint64_t>();
    wrong(key, "expected a number up to " + std::to_string(max));
    return 0;
}

bool Fields::flag(const char* key) {
    const Json& v = at(key);
    if (!v.is_boolean()) wrong(key, "expected true or false");
    return v.is_boolean() && v.get<bool>();
}

std::string Fields::text(const char* key) {
    const Json& v = at(key);
    if (v.is_string()) return v.get<std::string>();
    if (!v.is_null()) wrong(key, "expected text or null");
    return {};
}

ConnId Fields::id(const char* key) {
    const std::string written = text(key);
    if (written.empty()) return {};
    const auto id = IdText::parse(written);
    if (id && id->worker < kMaxWorkers && id->generation <= UINT16_MAX)
        return {id->index, static_cast<std::uint16_t>(id->generation), WorkerId::from(id->worker)};
    wrong(key, "expected an id, WORKER/INDEX.GENERATION");
    return {};
}

IpAddr Fields::address(const char* key) {
    const auto a = IpAddr::parse(text(key));
    if (!a) wrong(key, "expected an IP address");
    return a.value_or(IpAddr{});
}

std::uint8_t Fields::flags(const char* key, std::span<const FlagName> names) {
    std::uint8_t out = 0;
    const Json& list = at(key);
    if (!list.is_array()) {
        wrong(key, "expected a list");
        return out;
    }
    for (const Json& item : list) {
        const auto found = std::find_if(names.begin(), names.end(), [&](const FlagName& f) {
            return item.is_string() && item.get<std::string>() == f.name;
        });
        if (found == names.end())
            wrong(key, "expected a list of " + flag_names(names));
        else
            out |= found->bit;
    }
    return out;
}

std::vector<std::uint8_t> Fields::bytes(const char* key, std::size_t max) {
    const auto out = from_hex(text(key));
    if (!out || out->size() > max)
        wrong(key, "expected at most " + std::to_string(max) + " bytes in hexadecimal");
    return out && out->size() <= max ? *out : std::vector<std::uint8_t>();
}

void Fields::read_struct(std::span<const Field> fields, std::span<std::uint8_t> out) {
    for (const Field& f : fields) {
        const std::string key(f.name);
        const Json& v = at(key.c_str());
        if (f.count == 1) {
            f.put(out, number(v, key, f.max));
        } else if (!v.is_array() || v.size() != f.count) {
            wrong(key, "expected a list of " + std::to_string(f.count) + " numbers");
        } else {
            for (unsigned i = 0; i < f.count; ++i)
                f.put(out, number(v[i], key, f.max), i);
        }
    }
    if (object_.is_object() && object_.size() > fields.size())
        wrong("", "has fields that are not known");
}

Fields Fields::of(const char* key, unsigned direction) {
    static const Json kNull;
    const Json& list = at(key);
    const bool good = list.is_array() && list.size() == 2;
    if (!good) wrong(key, "expected a list of two");
    return Fields(good ? list[direction] : kNull,
                  where_ + "." + key + "[" + std::to_string(direction) + "]", problem_);
}

}  // namespace postern
