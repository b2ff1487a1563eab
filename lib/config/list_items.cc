// SPDX-License-Identifier: BSD-3-Clause
#include "config/list_items.h"

#include <charconv>
#include <utility>

#include "config/reader.h"

namespace postern::config {
namespace {

constexpr std::string_view kBlanks = " \t\r";

std::string_view trimmed(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(kBlanks);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::optional<std::uint32_t> number(std::string_view text, std::uint32_t max) {
    const bool hex = text.starts_with("0x");
    if (hex) text.remove_prefix(2);
    std::uint32_t n = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), n, hex ? 16 : 10);
    // As everywhere in the file: 010 might be meant as an octal number.
    if (!hex && text.size() > 1 && text.front() == '0') return std::nullopt;
    if (text.empty() || error != std::errc{} || end != text.data() + text.size() || n > max)
        return std::nullopt;
    return n;
}

/// "80" or "8000-8080". `problem` is set for a range that is empty.
std::optional<NumberRange<std::uint32_t>> number_range(std::string_view text, std::uint32_t max,
                                                       std::string& problem) {
    const std::size_t dash = text.find('-');
    const auto first = number(text.substr(0, dash), max);
    const auto last = dash == std::string_view::npos ? first : number(text.substr(dash + 1), max);
    if (!first || !last) return std::nullopt;
    if (*first > *last) {
        problem = "the range " + std::string(text) + " is empty (did you mean " +
                  std::to_string(*last) + "-" + std::to_string(*first) + "?)";
        return std::nullopt;
    }
    return NumberRange<std::uint32_t>{*first, *last};
}

Addresses only(const AddressRange& range) {
    if (range.first.family == Family::ipv4)
        return {{{number_of_v4(range.first), number_of_v4(range.last)}}, {}};
    return {{}, {{number_of_v6(range.first), number_of_v6(range.last)}}};
}

/// The prefix with the bits beyond its length cleared, if they are its only error.
std::optional<Prefix> without_host_bits(std::string_view text) {
    const std::size_t slash = text.find('/');
    const auto address = IpAddr::parse(text.substr(0, slash));
    if (!address || slash == std::string_view::npos) return std::nullopt;
    const unsigned bits = address_bytes(address->family) * 8;
    const auto length = number(text.substr(slash + 1), bits);
    if (!length) return std::nullopt;
    Prefix p{*address, static_cast<std::uint8_t>(*length)};
    for (unsigned bit = p.length; bit < bits; ++bit)
        p.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> (bit % 8)));
    return p;
}

}  // namespace

bool take_not(std::string_view& text) {
    if (!text.starts_with("not ")) return false;
    text = trimmed(text.substr(4));
    return true;
}

Item<Addresses> AddressKind::parse(std::string_view text) {
    if (const auto prefix = Prefix::parse(text)) return {only(AddressRange::of(*prefix)), {}};
    if (const auto prefix = without_host_bits(text))
        return {{},
                in_quotes(text) + " has bits set beyond its length (did you mean " +
                    prefix->to_string() + "?)"};
    const std::size_t dash = text.find('-');
    if (dash == std::string_view::npos) return {};
    const auto first = IpAddr::parse(trimmed(text.substr(0, dash)));
    const auto last = IpAddr::parse(trimmed(text.substr(dash + 1)));
    if (!first || !last) return {};
    if (first->family != last->family)
        return {{}, "the ends of " + in_quotes(text) + " are of different families"};
    if (*first > *last)
        return {{},
                "the range " + std::string(text) + " is empty (did you mean " + last->to_string() +
                    "-" + first->to_string() + "?)"};
    return {only({*first, *last}), {}};
}

Item<NumberSet<std::uint32_t>> PortKind::parse(std::string_view text) {
    Item<Set> out;
    if (const auto range = number_range(text, kLast, out.problem)) out.set = Set{*range};
    return out;
}

Item<NumberSet<std::uint32_t>> ServiceKind::parse(std::string_view text) {
    Item<Set> out;
    const std::size_t slash = text.find('/');
    const auto protocol = parse_protocol(text.substr(0, slash));
    if (!protocol) return out;
    const std::uint32_t first = std::uint32_t{*protocol} << 16;
    if (slash == std::string_view::npos) {
        out.set = Set{{first, first | 0xffff}};
    } else if (!has_ports(*protocol)) {
        out.problem = protocol_name(*protocol) + " has no ports";
    } else if (const auto ports = number_range(text.substr(slash + 1), 0xffff, out.problem)) {
        out.set = Set{{first | ports->first, first | ports->last}};
    }
    return out;
}

Item<NumberSet<std::uint32_t>> VlanKind::parse(std::string_view text) {
    if (text == "none") return {Set{{0, 0}}, {}};
    Item<Set> out;
    // 4095 is reserved (IEEE 802.1Q, table 9-2); 0 is a tag without an id.
    const auto range = number_range(text, kLast - 1, out.problem);
    if (range && range->first == 0)
        out.problem = "0 is no VLAN id (frames without one are `none`)";
    else if (range)
        out.set = Set{*range};
    return out;
}

namespace {
/// RFC 2474, 2597, 3246, 5865, 8622.
struct CodePoint {
    std::string_view name;
    std::uint32_t value;
};
constexpr CodePoint kCodePoints[] = {
    {"cs0", 0},   {"cs1", 8},   {"cs2", 16},  {"cs3", 24},  {"cs4", 32},  {"cs5", 40},
    {"cs6", 48},  {"cs7", 56},  {"af11", 10}, {"af12", 12}, {"af13", 14}, {"af21", 18},
    {"af22", 20}, {"af23", 22}, {"af31", 26}, {"af32", 28}, {"af33", 30}, {"af41", 34},
    {"af42", 36}, {"af43", 38}, {"ef", 46},   {"va", 44},   {"le", 1},    {"be", 0}};
}  // namespace

Item<NumberSet<std::uint32_t>> DscpKind::parse(std::string_view text) {
    for (const CodePoint& p : kCodePoints)
        if (p.name == text) return {Set{{p.value, p.value}}, {}};
    Item<Set> out;
    if (const auto range = number_range(text, kLast, out.problem)) out.set = Set{*range};
    return out;
}

std::string dscp_text(std::uint32_t value) {
    for (const CodePoint& p : kCodePoints)
        if (p.value == value) return std::string(p.name);
    return std::to_string(value);
}

void append(Addresses& set, const Addresses& part) {
    set.ipv4.insert(set.ipv4.end(), part.ipv4.begin(), part.ipv4.end());
    set.ipv6.insert(set.ipv6.end(), part.ipv6.begin(), part.ipv6.end());
}
void append(NumberSet<std::uint32_t>& set, const NumberSet<std::uint32_t>& part) {
    set.insert(set.end(), part.begin(), part.end());
}
Addresses finished(Addresses set) {
    return {set_of(std::move(set.ipv4)), set_of(std::move(set.ipv6))};
}
NumberSet<std::uint32_t> finished(NumberSet<std::uint32_t> set) {
    return set_of(std::move(set));
}
Addresses without(const Addresses& set, const Addresses& part) {
    return {intersection(set.ipv4, complement(part.ipv4)),
            intersection(set.ipv6, complement(part.ipv6))};
}
NumberSet<std::uint32_t> without(const NumberSet<std::uint32_t>& set,
                                 const NumberSet<std::uint32_t>& part) {
    return intersection(set, complement(part));
}
bool is_empty(const Addresses& set) {
    return set.ipv4.empty() && set.ipv6.empty();
}
bool is_empty(const NumberSet<std::uint32_t>& set) {
    return set.empty();
}
Addresses every_address() {
    return {{{0, UINT32_MAX}}, {{Wide{}, NumberLimits<Wide>::kMax}}};
}
bool is_everything(const Addresses& set) {
    return set == every_address();
}

std::vector<ListLine> lines_of(std::string_view text) {
    std::vector<ListLine> out;
    unsigned number = 0;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        std::string_view line = text.substr(at, end - at);
        line = trimmed(line.substr(0, line.find('#')));
        ++number;
        if (!line.empty()) out.push_back({number, line});
        at = end + 1;
    }
    return out;
}

}  // namespace postern::config
