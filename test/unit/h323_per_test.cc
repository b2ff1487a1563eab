// SPDX-License-Identifier: BSD-3-Clause
// The PER reader of the H.323 helpers by hand-made octets (ITU-T X.691, aligned). That it reads
// whole messages as others do is shown by test/oracle/h323_test.py.
#include <cstdint>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "h323/per.h"
#include "h323/requests.h"
#include "h323/schema.h"
#include "h323/tpkt.h"

namespace postern::per {
namespace {

using Octets = std::vector<std::uint8_t>;

constexpr Type integer(std::uint64_t low, std::uint64_t high) {
    return {.kind = Kind::integer, .low = low, .high = high};
}
constexpr Type kNull{.kind = Kind::null};
constexpr Type kBoolean{.kind = Kind::boolean};
constexpr Type kOctets{.kind = Kind::octets};
constexpr Type kByte = integer(0, 255);

/// The number of a marked integer behind one bit, so that alignment shows.
std::optional<std::uint32_t> number(const Type& type, const Octets& bytes) {
    const Field fields[] = {{&kBoolean}, {&type, false, 1}};
    const Type t{.kind = Kind::sequence, .root = fields};
    Tree tree;
    if (!decode(t, bytes, tree)) return std::nullopt;
    return tree.items()[0].number;
}

TEST(Per, WholeNumbersHaveTheBitsOfTheirRange) {
    EXPECT_EQ(number(integer(7, 7), {0x00}), 7u);
    EXPECT_EQ(number(integer(0, 1), {0x40}), 1u);
    EXPECT_EQ(number(integer(1, 4), {0x60}), 4u);
    EXPECT_EQ(number(integer(0, 254), {0x7f, 0x00}), 254u);
    EXPECT_EQ(number(integer(0, 254), {0x7f, 0x80}), std::nullopt);  // 255
    EXPECT_EQ(number(integer(0, 255), {0x7f, 0x12}), 0x12u);         // aligned
    EXPECT_EQ(number(integer(1, 256), {0x00, 0xff}), 256u);
    EXPECT_EQ(number(integer(1, 257), {0x00, 0x01, 0x00}), 257u);  // two octets
    EXPECT_EQ(number(integer(1, 257), {0x00, 0x01, 0x01}), std::nullopt);
    EXPECT_EQ(number(integer(0, 65535), {0x00, 0xab, 0xcd}), 0xabcdu);
    EXPECT_EQ(number(integer(0, 65535), {0x00, 0xab}), std::nullopt);
}

TEST(Per, LargeNumbersSayHowManyOctetsTheyHave) {
    const Type any = integer(0, 4294967295);  // two bits: 1 to 4 octets
    EXPECT_EQ(number(any, {0x00, 0x09}), 9u);
    EXPECT_EQ(number(any, {0x20, 0x12, 0x34}), 0x1234u);
    EXPECT_EQ(number(any, {0x60, 0xff, 0xff, 0xff, 0xff}), 0xffffffffu);
    EXPECT_EQ(number(any, {0x60, 0xff, 0xff, 0xff}), std::nullopt);
    EXPECT_EQ(number(integer(1, 4294967295), {0x60, 0xff, 0xff, 0xff, 0xff}), std::nullopt);
    EXPECT_EQ(number(integer(1, 192400), {0x40, 0x02, 0xef, 0x8f}), 192400u);
    EXPECT_EQ(number(integer(1, 192400), {0x40, 0x02, 0xef, 0x90}), std::nullopt);
}

/// What an octet string without bounds holds.
std::optional<std::size_t> octets_read(const Octets& bytes) {
    const Field fields[] = {{&kOctets, false, 1}};
    const Type t{.kind = Kind::sequence, .root = fields};
    Tree tree;
    if (!decode(t, bytes, tree)) return std::nullopt;
    return tree.items()[0].bytes().size();
}

TEST(Per, LengthsHaveOneOrTwoOctets) {
    EXPECT_EQ(octets_read({0x00}), 0u);
    EXPECT_EQ(octets_read({0x02, 'a', 'b'}), 2u);
    EXPECT_EQ(octets_read({0x02, 'a'}), std::nullopt);
    Octets long_one(2 + 300);
    long_one[0] = 0x81;
    long_one[1] = 0x2c;
    EXPECT_EQ(octets_read(long_one), 300u);
    Octets fragmented(1 + 16384 + 1);
    fragmented[0] = 0xc1;
    EXPECT_EQ(octets_read(fragmented), std::nullopt);
}

TEST(Per, UnknownExtensionsAreSkippedByTheirLength) {
    const Field root[] = {{&kByte}}, extensions[] = {{}, {&kByte, false, 1}};
    const Type inner{
        .kind = Kind::sequence, .extensible = true, .root = root, .extensions = extensions};
    const Field fields[] = {{&inner}, {&kByte, false, 2}};
    const Type t{.kind = Kind::sequence, .root = fields};
    Tree tree;
    // Extensions 0, 1 and 3 of 4, then the field after the sequence.
    const Octets message{0x80, 0x05, 0x07, 0xa0, 0x02, 0xde, 0xad, 0x01, 0x2a, 0x01, 0xff, 0x33};
    ASSERT_TRUE(decode(t, message, tree));
    ASSERT_EQ(tree.items().size(), 2u);
    EXPECT_EQ(tree.items()[0].number, 0x2au);
    EXPECT_EQ(tree.items()[1].number, 0x33u);
    for (std::size_t n = 0; n < message.size(); ++n)
        EXPECT_FALSE(decode(t, Bytes{message}.first(n), tree)) << n;
}

TEST(Per, WhatAnExtensionHoldsDoesNotReachBeyondIt) {
    const Field root[] = {{&kNull}}, extensions[] = {{&kOctets, false, 1}};
    const Type t{.kind = Kind::choice, .extensible = true, .root = root, .extensions = extensions};
    Tree tree;
    EXPECT_TRUE(decode(t, Octets{0x80, 0x03, 0x02, 'a', 'b'}, tree));
    EXPECT_EQ(tree.items()[0].bytes().size(), 2u);
    EXPECT_FALSE(decode(t, Octets{0x80, 0x02, 0x02, 'a', 'b'}, tree));
    EXPECT_TRUE(decode(t, Octets{0x81, 0x02, 0x02, 'a', 'b'}, tree));  // alternative 1: unknown
    EXPECT_TRUE(tree.items().empty());
}

extern const Type kNested;
constexpr Field kNestedFields[] = {{&kNested}};
const Type kNested{.kind = Kind::sequence_of, .root = kNestedFields};

TEST(Per, NestingIsLimited) {
    Tree tree;
    EXPECT_TRUE(decode(kNested, Octets{0x01, 0x01, 0x01, 0x00}, tree));
    EXPECT_FALSE(decode(kNested, Octets(200, 0x01), tree));
}

TEST(Per, ValuesAndItemsAreLimited) {
    const Field nulls[] = {{&kNull}}, marked[] = {{&kNull, false, 1}};
    const Type many{.kind = Kind::sequence_of, .root = nulls};
    Tree tree;
    EXPECT_TRUE(decode(many, Octets{0x87, 0x00}, tree));   // 1792 of no bits each
    EXPECT_FALSE(decode(many, Octets{0xbf, 0xff}, tree));  // 16383
    const Type kept{.kind = Kind::sequence_of, .root = marked};
    EXPECT_TRUE(decode(kept, Octets{0x80, Tree::kMaxItems}, tree));
    EXPECT_EQ(tree.items().size(), Tree::kMaxItems);
    EXPECT_FALSE(decode(kept, Octets{0x80, Tree::kMaxItems + 1}, tree));
}

TEST(Per, ItemsKnowWhatStandsInside) {
    using namespace h323;
    // request, openLogicalChannel 258, nullData, h2250 with mediaChannel 192.0.2.1 port 5000.
    const Octets message{0x03, 0x00, 0x01, 0x01, 0x06, 0x00, 0x0a, 0x10, 0x00,
                         0x01, 0x00, 0xc0, 0x00, 0x02, 0x01, 0x13, 0x88};
    Tree tree;
    ASSERT_TRUE(decode(kControlMessage, message, tree));
    ASSERT_EQ(tree.items().size(), 5u);
    ASSERT_EQ(tree.items()[0].mark, kOpenLogicalChannel);
    EXPECT_EQ(tree.items()[0].inside, 4u);
    EXPECT_EQ(tree.items()[1].number, 258u);
    EXPECT_EQ(tree.items()[1].inside, 0u);
    ASSERT_EQ(tree.items()[2].mark, kMediaChannel);
    const auto to = address_in(inside(tree.items(), 2));
    ASSERT_TRUE(to);
    EXPECT_EQ(to->host, IpAddr::v4(192, 0, 2, 1));
    EXPECT_EQ(to->port.host(), 5000);
    for (std::size_t n = 0; n < message.size(); ++n)
        EXPECT_FALSE(decode(kControlMessage, Bytes{message}.first(n), tree)) << n;
}

TEST(Tpkt, TellsTheLengthFromFourOctets) {
    const std::array<std::uint8_t, kPrivateBytes> state{};
    const auto measure = [&](const Octets& bytes) {
        Progress progress;
        return h323::measure_tpkt(Direction::original, bytes, progress, state).length;
    };
    EXPECT_EQ(measure({}), 0);
    EXPECT_EQ(measure({3}), 0);
    EXPECT_EQ(measure({3, 0, 1}), 0);
    EXPECT_EQ(measure({3, 0, 1, 0}), 256);
    EXPECT_EQ(measure({3, 0, 0, 4}), 4);
    EXPECT_LT(measure({3, 0, 0, 3}), 0);
    EXPECT_LT(measure({3, 1}), 0);
    EXPECT_LT(measure({'G'}), 0);
}

}  // namespace
}  // namespace postern::per
