// SPDX-License-Identifier: BSD-3-Clause
#include "config/differences.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

/// "changed policy.default: drop -> accept", a line each.
std::string differences_of(const char* before, const char* after) {
    auto found = differences(before, after);
    if (!found) return found.error().message;
    std::string out;
    for (const Difference& d : *found)
        out += std::string(to_string(d.change)) + " " + d.path + ": " + d.before + " -> " +
               d.after + "\n";
    return out;
}

TEST(Differences, BlanksCommentsAndTheOrderOfKeysAreNone) {
    EXPECT_EQ(differences_of("a: 1\nb: [1, 2]\n", "# new\nb:\n  - 1\n  - 2\na: 1\n"), "");
}

TEST(Differences, KeysComeGoAndChange) {
    EXPECT_EQ(differences_of("{a: {x: 1, y: 2}, b: 1}", "{a: {x: 3, z: [4, 5]}, c: 1}"),
              "removed b: 1 -> \n"
              "removed a.y: 2 -> \n"
              "changed a.x: 1 -> 3\n"
              "added a.z:  -> [4, 5]\n"
              "added c:  -> 1\n");
}

TEST(Differences, ItemsOfAListAreKnownByTheirNames) {
    EXPECT_EQ(differences_of("r: [{name: a, p: 1}, {name: b}, {name: c}]",
                             "r: [{name: a, p: 2}, {name: new}, {name: c}]"),
              "removed r[b]: {name: b} -> \n"
              "changed r[a].p: 1 -> 2\n"
              "added r[new]:  -> {name: new}\n");
}

TEST(Differences, OnlyWhatMovedIsSaidToHaveMoved) {
    EXPECT_EQ(differences_of("r: [{name: a}, {name: b}, {name: c}, {name: d}]",
                             "r: [{name: d}, {name: a}, {name: b}, {name: c}]"),
              "moved r[d]:  -> \n");
    EXPECT_EQ(differences_of("r: [{name: a}, {name: b}]", "r: [{name: new}, {name: a}, {name: b}]"),
              "added r[new]:  -> {name: new}\n");
}

TEST(Differences, ItemsWithoutANameAreWhole) {
    EXPECT_EQ(differences_of("b: [{ports: [x, y]}]", "b: [{ports: [x, z]}]"),
              "removed b[{ports: [x, y]}]: {ports: [x, y]} -> \n"
              "added b[{ports: [x, z]}]:  -> {ports: [x, z]}\n");
    EXPECT_EQ(differences_of("b: [{x: 1}, {x: 1}]", "b: [{x: 1}]"),
              "removed b[{x: 1}]: {x: 1} -> \n");
}

TEST(Differences, LongValuesAreCut) {
    const std::string value(1000, 'x');
    auto found = differences("a: 1", "a: " + value);
    ASSERT_TRUE(found);
    EXPECT_EQ((*found)[0].after.size(), 163u);
}

TEST(Differences, NoYaml) {
    EXPECT_NE(differences_of("a: [", "a: 1").find("not valid YAML"), std::string::npos);
}

}  // namespace
}  // namespace postern
