// SPDX-License-Identifier: BSD-3-Clause
#include "net/address_set.h"

namespace postern {
namespace {

IpAddr address_of(std::uint32_t n) noexcept {
    return IpAddr::v4(static_cast<std::uint8_t>(n >> 24), static_cast<std::uint8_t>(n >> 16),
                      static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n));
}
IpAddr address_of(Wide n) noexcept {
    IpAddr a;
    a.family = Family::ipv6;
    for (unsigned i = 0; i < 16; ++i)
        a.bytes[i] = static_cast<std::uint8_t>((i < 8 ? n.high : n.low) >> (56 - 8 * (i % 8)));
    return a;
}
std::uint64_t eight_bytes(const std::uint8_t* p) noexcept {
    std::uint64_t n = 0;
    for (unsigned i = 0; i < 8; ++i)
        n = n << 8 | p[i];
    return n;
}

Addresses from_ranges(const std::vector<AddressRange>& ranges) {
    std::vector<NumberRange<std::uint32_t>> v4;
    std::vector<NumberRange<Wide>> v6;
    for (const AddressRange& r : ranges) {
        if (r.first.family == Family::ipv4)
            v4.push_back({number_of_v4(r.first), number_of_v4(r.last)});
        else
            v6.push_back({number_of_v6(r.first), number_of_v6(r.last)});
    }
    return {set_of(std::move(v4)), set_of(std::move(v6))};
}

template <class Prefixes>
std::shared_ptr<const Addresses> from_prefixes(const Prefixes& prefixes) {
    if (std::empty(prefixes)) return nullptr;
    std::vector<AddressRange> ranges;
    for (const Prefix& p : prefixes)
        ranges.push_back(AddressRange::of(p));
    return std::make_shared<const Addresses>(from_ranges(ranges));
}

}  // namespace

std::uint32_t number_of_v4(const IpAddr& a) noexcept {
    return static_cast<std::uint32_t>(eight_bytes(a.bytes.data()) >> 32);
}
Wide number_of_v6(const IpAddr& a) noexcept {
    return {eight_bytes(a.bytes.data()), eight_bytes(a.bytes.data() + 8)};
}

AddressRange AddressRange::of(const Prefix& prefix) noexcept {
    AddressRange out{prefix.address, prefix.address};
    for (unsigned bit = prefix.length; bit < address_bytes(prefix.address.family) * 8; ++bit)
        out.last.bytes[bit / 8] |= static_cast<std::uint8_t>(0x80u >> (bit % 8));
    return out;
}

std::string AddressRange::to_string() const {
    if (first == last) return first.to_string();
    for (unsigned length = 0; length < address_bytes(first.family) * 8; ++length) {
        const Prefix p{first, static_cast<std::uint8_t>(length)};
        // Its bits beyond the length have to be zero, or the same text would not be read again.
        if (of(p).last == last && Prefix::parse(p.to_string())) return p.to_string();
    }
    return first.to_string() + "-" + last.to_string();
}

bool Addresses::contains(const IpAddr& a) const noexcept {
    return a.family == Family::ipv6 ? postern::contains(ipv6, number_of_v6(a))
                                    : postern::contains(ipv4, number_of_v4(a));
}

AddressSet::AddressSet(std::initializer_list<Prefix> prefixes) : set_(from_prefixes(prefixes)) {}
AddressSet::AddressSet(const std::vector<Prefix>& prefixes) : set_(from_prefixes(prefixes)) {}
AddressSet::AddressSet(const std::vector<AddressRange>& ranges) : AddressSet(from_ranges(ranges)) {}

std::optional<IpAddr> AddressSet::first(Family family) const {
    if (!has(family)) return std::nullopt;
    if (family == Family::ipv6) return address_of(is_any() ? Wide{} : set_->ipv6.front().first);
    return address_of(is_any() ? 0u : set_->ipv4.front().first);
}

std::vector<AddressRange> AddressSet::ranges() const {
    std::vector<AddressRange> out;
    for (const auto& r : set_->ipv4)
        out.push_back({address_of(r.first), address_of(r.last)});
    for (const auto& r : set_->ipv6)
        out.push_back({address_of(r.first), address_of(r.last)});
    return out;
}

bool AddressSet::includes(const AddressSet& part) const {
    if (is_any() || set_ == part.set_) return true;
    if (part.is_any()) {
        static const Addresses kAll{{{0, UINT32_MAX}}, {{Wide{}, NumberLimits<Wide>::kMax}}};
        return *set_ == kAll;
    }
    return postern::includes(set_->ipv4, part.set_->ipv4) &&
           postern::includes(set_->ipv6, part.set_->ipv6);
}

}  // namespace postern
