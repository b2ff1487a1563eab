// SPDX-License-Identifier: BSD-3-Clause
// GracePool with readers that this thread plays.
#include "table/grace_pool.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "support/expect_fixture.h"

namespace postern {
namespace {

struct WordSlots {
    std::uint32_t* words;
    std::uint32_t& next(std::uint32_t i) noexcept { return words[i]; }
    void prefetch(std::uint32_t i) const noexcept { EXPECT_NE(i, 0u); }
};

struct GracePoolTest : ::testing::Test {
    void TearDown() override { rcu.all_offline(); }
    std::set<std::uint32_t> allocate_all() {
        std::set<std::uint32_t> all;
        while (const std::uint32_t i = pool.allocate())
            EXPECT_TRUE(all.insert(i).second) << i;
        return all;
    }

    Rcu rcu{2};
    std::vector<std::uint32_t> words = std::vector<std::uint32_t>(20);
    GracePool<WordSlots> pool{WordSlots{words.data()}, 11, 4, rcu.get()};
};

TEST_F(GracePoolTest, HandsOutItsOwnIndicesOnce) {
    EXPECT_EQ(pool.fresh(), 11u);
    EXPECT_EQ(allocate_all(), (std::set<std::uint32_t>{11, 12, 13, 14}));
    EXPECT_EQ(pool.fresh(), 15u);
    EXPECT_EQ(pool.free(), 0u);
}

TEST_F(GracePoolTest, WhatWasNeverPublishedIsFreeAtOnce) {
    allocate_all();
    pool.put_back(13);
    EXPECT_EQ(pool.free(), 1u);
    EXPECT_EQ(pool.allocate(), 13u);
}

TEST_F(GracePoolTest, RetiredOnesWaitForEveryReader) {
    allocate_all();
    pool.retire(12);
    pool.reclaim();
    EXPECT_EQ(pool.allocate(), 0u);
    EXPECT_EQ(pool.waiting(), 1u);
    rcu.quiescent(0);
    pool.reclaim();
    EXPECT_EQ(pool.allocate(), 0u) << "reader 1 may still hold it";
    pool.retire(14);  // waits for a grace period of its own
    rcu.quiescent(1);
    pool.reclaim();
    EXPECT_EQ(pool.allocate(), 12u);
    EXPECT_EQ(pool.allocate(), 0u);
    rcu.all_quiescent();
    EXPECT_EQ(pool.allocate(), 14u);
    EXPECT_EQ(pool.waiting(), 0u);
}

TEST_F(GracePoolTest, OthersSendBackWhatTheOwnerCollects) {
    allocate_all();
    pool.send_back(11);
    pool.send_back(14);
    std::set<std::uint32_t> seen;
    pool.take_returned([&](std::uint32_t i) { seen.insert(i); });
    EXPECT_EQ(seen, (std::set<std::uint32_t>{11, 14}));
    pool.take_returned([&](std::uint32_t) { FAIL() << "twice"; });
    pool.reclaim();
    rcu.all_quiescent();
    pool.reclaim();
    EXPECT_EQ(allocate_all(), seen);
}

}  // namespace
}  // namespace postern
