// SPDX-License-Identifier: BSD-3-Clause
// Numbers of names from one plan to the next.
#include "plan/names.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

constexpr auto kHeldByNobody = [](NameTable::Number) { return false; };

/// The numbers that these names have in the next plan; -1: none was free.
std::vector<int> plan(NameTable& table, const std::vector<std::string>& names) {
    std::vector<int> out;
    table.begin_plan();
    for (const auto& name : names) {
        const auto number = table.use(name);
        out.push_back(number ? static_cast<int>(*number) : -1);
    }
    table.end_plan();
    return out;
}
using Numbers = std::vector<int>;

TEST(NameTable, TheFirstPlanNumbersInOrder) {
    NameTable table(1, 9);
    EXPECT_EQ(plan(table, {"c", "a", "b"}), (Numbers{1, 2, 3}));
    EXPECT_FALSE(table.has_gone());
    EXPECT_EQ(table.name(2), "a");
    EXPECT_EQ(table.end(), 4u);
}

TEST(NameTable, ANameKeepsItsNumberWhateverIsAddedBeforeIt) {
    NameTable table(0, 9);
    plan(table, {"a", "b"});
    EXPECT_EQ(plan(table, {"new", "b", "a"}), (Numbers{2, 1, 0}));
}

TEST(NameTable, TheNumberOfANameThatIsGoneStaysTaken) {
    NameTable table(0, 9);
    plan(table, {"a", "b"});
    EXPECT_EQ(plan(table, {"b", "c"}), (Numbers{1, 2}));
    EXPECT_TRUE(table.is_gone(0));
    EXPECT_EQ(table.name(0), "a");
    EXPECT_EQ(plan(table, {"d", "b"}), (Numbers{3, 1}));
}

TEST(NameTable, ANameThatComesBackHasItsOldNumber) {
    NameTable table(0, 9);
    plan(table, {"a", "b"});
    plan(table, {"b"});
    table.stamp(2);
    EXPECT_EQ(plan(table, {"a", "b"}), (Numbers{0, 1}));
    EXPECT_FALSE(table.has_gone());
    table.free_gone(9, kHeldByNobody);
    EXPECT_TRUE(table.is_used(0));
}

TEST(NameTable, ANumberIsFreeAgainOnlyAfterTheSweepOfThePlanThatLostItsName) {
    NameTable table(0, 9);
    plan(table, {"a", "b"});
    plan(table, {"b"});
    table.free_gone(9, kHeldByNobody);  // not in force yet
    EXPECT_TRUE(table.is_gone(0));
    table.stamp(5);
    table.free_gone(4, kHeldByNobody);
    EXPECT_TRUE(table.is_gone(0));
    table.free_gone(5, kHeldByNobody);
    EXPECT_FALSE(table.is_gone(0));
    EXPECT_EQ(table.name(0), "");
    EXPECT_EQ(plan(table, {"b", "z"}), (Numbers{1, 0}));
}

TEST(NameTable, GoneAgainCountsFromTheSecondTime) {
    NameTable table(0, 9);
    plan(table, {"a"});
    plan(table, {});
    table.stamp(2);
    plan(table, {"a"});
    table.stamp(3);
    plan(table, {});
    table.stamp(4);
    table.free_gone(3, kHeldByNobody);
    EXPECT_TRUE(table.is_gone(0));
    table.free_gone(4, kHeldByNobody);
    EXPECT_FALSE(table.has_gone());
}

TEST(NameTable, WhatIsHeldIsNotFreed) {
    NameTable table(0, 9);
    plan(table, {"a", "b"});
    plan(table, {});
    table.stamp(2);
    table.free_gone(2, [](NameTable::Number n) { return n == 0; });
    EXPECT_TRUE(table.is_gone(0));
    EXPECT_FALSE(table.is_gone(1));
}

TEST(NameTable, WithoutAFreeNumberThereIsNone) {
    NameTable table(1, 2);
    EXPECT_EQ(plan(table, {"a", "b", "c"}), (Numbers{1, 2, -1}));
    EXPECT_EQ(plan(table, {"c", "b"}), (Numbers{-1, 2}));  // "a" is gone, not free
    table.stamp(2);
    table.free_gone(2, kHeldByNobody);
    EXPECT_EQ(plan(table, {"c", "b"}), (Numbers{1, 2}));
}

}  // namespace
}  // namespace postern
