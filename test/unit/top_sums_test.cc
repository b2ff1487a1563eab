// SPDX-License-Identifier: BSD-3-Clause
// The largest keys among many, in fixed memory: exact with few, right about the largest with many.
#include "top_sums.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

using By = TopSums::By;
using Sum = TopSums::Sum;

TopSums::Key host(unsigned n) {
    return {IpAddr::v4(10, static_cast<std::uint8_t>(n >> 16), static_cast<std::uint8_t>(n >> 8),
                       static_cast<std::uint8_t>(n))};
}

TEST(TopSumsTest, ShowsWhatPassedBetweenThePasses) {
    TopSums sums(By::bytes, HashSecret::from_seed(1));
    sums.add_before(host(1), {.bytes = 1000, .packets = 10});
    sums.add_before(host(1), {.bytes = 500, .packets = 5});
    sums.add_before(host(2), {.bytes = 9000, .packets = 90});  // ends in between
    sums.add_before(host(3), {.bytes = 9000, .packets = 90});  // idle
    sums.add(host(1), {.bytes = 1300, .packets = 13, .connections = 1});
    sums.add(host(1), {.bytes = 500, .packets = 5, .connections = 1});
    sums.add(host(3), {.bytes = 9000, .packets = 90, .connections = 1});
    sums.add(host(4), {.bytes = 400, .packets = 1, .connections = 1, .fresh = 1});
    const auto rows = sums.largest(10);
    ASSERT_EQ(rows.size(), 3u);
    EXPECT_EQ(rows[0].key, host(4));
    EXPECT_EQ(rows[0].sum.bytes, 400u);
    EXPECT_EQ(rows[0].sum.fresh, 1u);
    EXPECT_EQ(rows[1].key, host(1));
    EXPECT_EQ(rows[1].sum.bytes, 300u);
    EXPECT_EQ(rows[1].sum.packets, 3u);
    EXPECT_EQ(rows[1].sum.connections, 2u);
    EXPECT_EQ(rows[2].key, host(3));
    EXPECT_EQ(rows[2].sum.bytes, 0u);
    EXPECT_EQ(sums.largest(1).size(), 1u);
}

TEST(TopSumsTest, OrdersByEachValue) {
    for (const By by : {By::bytes, By::packets, By::connections, By::fresh}) {
        TopSums sums(by, HashSecret::from_seed(1));
        sums.add(host(1), {.bytes = 9, .packets = 1, .connections = 1, .fresh = 1});
        sums.add(host(2), {.bytes = 1, .packets = 9, .connections = 1, .fresh = 1});
        sums.add(host(3), {.bytes = 1, .packets = 1, .connections = 9, .fresh = 1});
        sums.add(host(4), {.bytes = 1, .packets = 1, .connections = 1, .fresh = 9});
        EXPECT_EQ(sums.largest(1).at(0).key, host(1 + static_cast<unsigned>(by)));
    }
}

TEST(TopSumsTest, FindsTheLargestAmongMoreThanItKeeps) {
    TopSums sums(By::bytes, HashSecret::from_seed(1));
    // The large ones come in small parts, before, among and after 100,000 small ones.
    constexpr unsigned kSmall = 100'000, kLarge = 10, kParts = 50;
    for (unsigned part = 0; part < kParts; ++part) {
        for (unsigned n = 0; n < kSmall / kParts; ++n)
            sums.add(host(1000 + part * kSmall / kParts + n), {.bytes = 1000, .connections = 1});
        for (unsigned n = 0; n < kLarge; ++n)
            sums.add(host(n), {.bytes = 1000 + 100 * n, .connections = 1});
    }
    const auto rows = sums.largest(TopSums::kKept);
    EXPECT_EQ(rows.size(), TopSums::kKept);
    for (unsigned n = 0; n < kLarge; ++n) {
        EXPECT_EQ(rows[n].key, host(kLarge - 1 - n));
        const std::uint64_t exact = kParts * (1000 + 100 * (kLarge - 1 - n));
        EXPECT_GE(rows[n].sum.bytes, exact) << "never too low";
        EXPECT_LE(rows[n].sum.bytes, exact + exact / 4);
    }
}

}  // namespace
}  // namespace postern
