// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include "base/drop_reason.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern {
namespace {

TEST(IpAddr, ParsesAndPrintsBothFamilies) {
    EXPECT_EQ(IpAddr::parse("192.0.2.1"), IpAddr::v4(192, 0, 2, 1));
    EXPECT_EQ(IpAddr::parse("2001:db8::1")->to_string(), "2001:db8::1");
    for (const char* bad : {"", "192.0.2", "192.0.2.256", "2001:db8::g", "name", "192.0.2.1:80"})
        EXPECT_FALSE(IpAddr::parse(bad)) << bad;
}

TEST(Prefix, ContainsAddressesOfItsFamilyOnly) {
    const auto p = Prefix::parse("192.0.2.128/25");
    ASSERT_TRUE(p);
    EXPECT_TRUE(p->contains(*IpAddr::parse("192.0.2.200")));
    EXPECT_FALSE(p->contains(*IpAddr::parse("192.0.2.100")));
    EXPECT_FALSE(p->contains(*IpAddr::parse("2001:db8::1")));
    EXPECT_TRUE(Prefix::parse("::/0")->contains(*IpAddr::parse("2001:db8::1")));
    for (const char* bad : {"192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/x", "/8"})
        EXPECT_FALSE(Prefix::parse(bad)) << bad;
}

TEST(Cursor, NeverMovesPastTheEnd) {
    const std::uint8_t bytes[] = {1, 2, 3};
    Cursor c{Bytes{bytes}};
    EXPECT_FALSE(c.u32_be());
    EXPECT_EQ(c.position(), 0u);
    EXPECT_EQ(c.u16_be(), 0x0102);
    EXPECT_FALSE(c.skip(2));
    EXPECT_EQ(c.u8(), 3);
    EXPECT_TRUE(c.at_end());
    EXPECT_FALSE(c.u8());
}

TEST(Tick, ComparesAcrossTheWrap) {
    const Tick before{0xfffffff0}, after = before + 0x20;
    EXPECT_EQ(after - before, 0x20);
    EXPECT_TRUE(reached(before, after));
    EXPECT_FALSE(reached(after, before));
}

TEST(DropReason, EveryReasonHasANameAndAHelpText) {
    for (const auto& info : drop_reason_table()) {
        EXPECT_FALSE(info.name.empty());
        EXPECT_FALSE(info.help.empty());
    }
    EXPECT_EQ(to_string(DropReason::land), "land");
}

}  // namespace
}  // namespace postern
