// SPDX-License-Identifier: BSD-3-Clause
// Sets of numbers and of addresses, against a bit for each number.
#include "net/address_set.h"

#include <bitset>
#include <random>

#include <gtest/gtest.h>

namespace postern {
namespace {

using Bits = std::bitset<256>;
using Set = NumberSet<std::uint8_t>;

Bits bits_of(const std::vector<NumberRange<std::uint8_t>>& ranges) {
    Bits out;
    for (const auto& r : ranges)
        for (unsigned n = r.first; n <= r.last; ++n)
            out.set(n);
    return out;
}

TEST(NumberSet, AgreesWithBits) {
    std::mt19937 rng(1);
    for (unsigned round = 0; round < 2000; ++round) {
        const auto draw = [&] {
            std::vector<NumberRange<std::uint8_t>> out;
            for (unsigned n = static_cast<unsigned>(rng() % 6); n > 0; --n) {
                // The ends of the numbers are drawn often.
                const auto pick = [&] {
                    const auto v = static_cast<std::uint8_t>(rng());
                    return rng() % 4 ? v : static_cast<std::uint8_t>(rng() % 2 ? v | 0xfe : v & 1);
                };
                const std::uint8_t a = pick(), b = pick();
                out.push_back({std::min(a, b), std::max(a, b)});
            }
            return out;
        };
        const auto ranges_a = draw(), ranges_b = draw();
        const Set a = set_of(ranges_a), b = set_of(ranges_b);
        const Bits bits_a = bits_of(ranges_a), bits_b = bits_of(ranges_b);
        ASSERT_EQ(bits_of(a), bits_a);
        for (std::size_t i = 1; i < a.size(); ++i)
            ASSERT_GT(a[i].first, a[i - 1].last + 1) << "ranges overlap or touch";
        ASSERT_EQ(bits_of(complement(a)), ~bits_a);
        ASSERT_EQ(complement(complement(a)), a);
        ASSERT_EQ(bits_of(intersection(a, b)), bits_a & bits_b);
        ASSERT_EQ(includes(a, b), (bits_b & ~bits_a).none());
        for (unsigned n = 0; n < 256; ++n)
            ASSERT_EQ(contains(a, static_cast<std::uint8_t>(n)), bits_a.test(n));
    }
}

TEST(AddressSet, MergesPrefixesOfBothFamilies) {
    const AddressSet set{*Prefix::parse("192.0.2.0/25"), *Prefix::parse("2001:db8::/64"),
                         *Prefix::parse("192.0.2.128/25"), *Prefix::parse("2001:db8:0:1::/64"),
                         *Prefix::parse("10.0.0.1")};
    std::string text;
    for (const AddressRange& r : set.ranges())
        text += r.to_string() + " ";
    EXPECT_EQ(text, "10.0.0.1 192.0.2.0/24 2001:db8::/63 ");
    EXPECT_TRUE(set.contains(*IpAddr::parse("2001:db8:0:1:ffff:ffff:ffff:ffff")));
    EXPECT_FALSE(set.contains(*IpAddr::parse("2001:db8:0:2::")));
    EXPECT_FALSE(set.contains(*IpAddr::parse("10.0.0.2")));
    EXPECT_EQ((AddressRange{IpAddr::v4(10, 0, 0, 5), IpAddr::v4(10, 0, 0, 90)}.to_string()),
              "10.0.0.5-10.0.0.90");
}

TEST(AddressSet, AnyNoneAndAll) {
    const AddressSet any, none{Addresses{}};
    EXPECT_TRUE(any.is_any());
    EXPECT_TRUE(any.has(Family::ipv6));
    EXPECT_FALSE(none.is_any());
    EXPECT_FALSE(none.has(Family::ipv4));
    EXPECT_FALSE(none.contains(IpAddr::v4(1, 2, 3, 4)));
    EXPECT_TRUE(AddressSet(std::vector<Prefix>{}).is_any());
    const AddressSet all{*Prefix::parse("0.0.0.0/0"), *Prefix::parse("::/0")};
    EXPECT_TRUE(all.includes(any));
    EXPECT_TRUE(any.includes(all));
    EXPECT_TRUE(all.includes(none));
    EXPECT_FALSE(none.includes(all));
    EXPECT_EQ(complement(all.addresses().ipv6).size(), 0u);
}

}  // namespace
}  // namespace postern
