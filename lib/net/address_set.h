// SPDX-License-Identifier: BSD-3-Clause
// AddressSet: a condition on an address. Any address, or those of a set of ranges of both families.
//
// A set is made once and never changed; copies share it, so that rules which name one group hold
// one copy of its entries, and the policy compiles them once. Control thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/addr.h"
#include "net/ranges.h"

namespace postern {

/// First and last address of one family, both included.
struct AddressRange {
    IpAddr first;
    IpAddr last;

    static AddressRange of(const Prefix& prefix) noexcept;
    /// A prefix or an address if it is one, else FIRST-LAST.
    std::string to_string() const;
    friend constexpr bool operator==(const AddressRange&, const AddressRange&) = default;
};

std::uint32_t number_of_v4(const IpAddr& a) noexcept;
Wide number_of_v6(const IpAddr& a) noexcept;

/// The addresses of a set, by family.
struct Addresses {
    NumberSet<std::uint32_t> ipv4;
    NumberSet<Wide> ipv6;

    bool contains(const IpAddr& a) const noexcept;
    std::size_t ranges() const noexcept { return ipv4.size() + ipv6.size(); }
    friend bool operator==(const Addresses&, const Addresses&) = default;
};

class AddressSet {
  public:
    /// Any address.
    AddressSet() = default;
    /// The addresses of these prefixes; of none: any address.
    AddressSet(std::initializer_list<Prefix> prefixes);
    explicit AddressSet(const std::vector<Prefix>& prefixes);
    /// Exactly these; if empty, no address.
    explicit AddressSet(const std::vector<AddressRange>& ranges);
    explicit AddressSet(Addresses addresses)
        : set_(std::make_shared<const Addresses>(std::move(addresses))) {}
    explicit AddressSet(std::shared_ptr<const Addresses> set) : set_(std::move(set)) {}

    bool is_any() const noexcept { return set_ == nullptr; }
    bool contains(const IpAddr& a) const noexcept { return is_any() || set_->contains(a); }
    /// Whether some address of the family is in it.
    bool has(Family family) const noexcept {
        return is_any() || !(family == Family::ipv6 ? set_->ipv6.empty() : set_->ipv4.empty());
    }
    /// The least address of the family; nothing if none is in it.
    std::optional<IpAddr> first(Family family) const;
    /// Only if not any.
    const Addresses& addresses() const noexcept { return *set_; }
    /// Its ranges in ascending order, IPv4 first; only if not any.
    std::vector<AddressRange> ranges() const;
    /// Whether all addresses of `part` are in this one.
    bool includes(const AddressSet& part) const;

    friend bool operator==(const AddressSet& a, const AddressSet& b) noexcept {
        return a.set_ == b.set_ || (a.set_ && b.set_ && *a.set_ == *b.set_);
    }

  private:
    std::shared_ptr<const Addresses> set_;
};

}  // namespace postern
