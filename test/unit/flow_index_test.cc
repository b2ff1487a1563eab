// SPDX-License-Identifier: BSD-3-Clause
// FlowIndex against a plain list, filled to what it promises and emptied, again and again.
#include "conntrack/flow_index.h"

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace postern {
namespace {

/// The index with slots 1..capacity, and the hash that each slot was inserted with. Every slot has
/// notes, which change as it stays.
class Model {
  public:
    explicit Model(std::uint32_t capacity)
        : capacity_(capacity),
          buckets_(FlowIndex::buckets_for(capacity)),
          index_(buckets_.data(), static_cast<std::uint32_t>(buckets_.size())) {
        for (std::uint32_t slot = capacity; slot != 0; --slot)
            free_.push_back(slot);
    }

    std::size_t size() const { return hashes_.size(); }
    bool full() const { return free_.empty(); }

    bool insert(std::uint32_t hash) {
        const std::uint32_t slot = free_.back();
        notes_[slot] = slot % 4 << 30;
        if (!index_.insert(hash, slot | notes_[slot],
                           [&](std::uint32_t s) { return hashes_.at(s); }))
            return false;
        free_.pop_back();
        hashes_[slot] = hash;
        return true;
    }
    /// Changes one of its two notes.
    void note(std::uint32_t slot, unsigned which) {
        const std::uint32_t note = 1u << (30 + which);
        notes_[slot] ^= note;
        index_.note(hashes_.at(slot), slot, note, (notes_[slot] & note) != 0);
    }
    void erase(std::uint32_t slot) {
        index_.erase(hashes_.at(slot), slot);
        hashes_.erase(slot);
        free_.push_back(slot);
    }
    /// Some slot that is taken.
    std::uint32_t some(std::mt19937& random) const {
        auto it = hashes_.lower_bound(static_cast<std::uint32_t>(random() % capacity_));
        return it == hashes_.end() ? hashes_.begin()->first : it->first;
    }
    /// Every slot is found by its hash, whoever else has it, with its notes, and no slot that is
    /// free.
    void check() const {
        for (const auto& [slot, hash] : hashes_) {
            const std::uint32_t wanted = slot;
            ASSERT_EQ(index_.find(hash, [&](std::uint32_t s) { return s == wanted; }), slot);
            index_.find(hash, [&](std::uint32_t s) {
                EXPECT_TRUE(hashes_.contains(s)) << s;
                return false;
            });
            const std::uint32_t candidate = index_.candidate(hash);
            if ((candidate & FlowIndex::kSlot) == slot) {
                EXPECT_EQ(candidate & FlowIndex::kNotes, notes_.at(slot));
            }
        }
        std::size_t places = 0, spilled = 0;
        for (const auto& b : buckets_) {
            places += static_cast<std::size_t>(
                std::count_if(b.tag, b.tag + FlowIndex::kPlaces, [](auto t) { return t != 0; }));
            spilled += b.spilled;
        }
        EXPECT_EQ(places, hashes_.size());
        EXPECT_LE(spilled, hashes_.size());
        if (hashes_.empty()) {
            EXPECT_EQ(spilled, 0u);
        }
    }

  private:
    std::uint32_t capacity_;
    std::vector<FlowIndex::Bucket> buckets_;
    FlowIndex index_;
    std::vector<std::uint32_t> free_;
    std::map<std::uint32_t, std::uint32_t> hashes_, notes_;
};

TEST(FlowIndex, FilledAndEmptiedByRandomStepsItAgreesWithAList) {
    for (const std::uint32_t capacity : {1u, 7u, 64u, 1000u, 20'000u}) {
        SCOPED_TRACE(capacity);
        std::mt19937 random(capacity);
        Model model(capacity);
        for (unsigned round = 0; round < 6; ++round) {
            // Up to full, then down to a tenth, with steps back in between.
            for (const bool up : {true, false}) {
                while (up ? !model.full() : model.size() > capacity / 10) {
                    if (model.size() != 0)
                        model.note(model.some(random), static_cast<unsigned>(random() % 2));
                    if ((random() % 4 != 0) == up && !model.full()) {
                        ASSERT_TRUE(model.insert(static_cast<std::uint32_t>(random())));
                    } else if (model.size() != 0) {
                        model.erase(model.some(random));
                    }
                }
                ASSERT_NO_FATAL_FAILURE(model.check());
            }
        }
        while (model.size() != 0)
            model.erase(model.some(random));
        model.check();
    }
}

TEST(FlowIndex, ManyOfOneTagOrOneBucketAreFoundOrRefusedAndNeverLost) {
    // No secret keeps these apart: as an attacker would have it who knew one.
    for (const std::uint32_t mask : {0xffff0000u, 0x0000ffffu, 0x00000003u, 0u}) {
        SCOPED_TRACE(mask);
        std::mt19937 random(mask);
        Model model(4096);
        unsigned refused = 0;
        for (unsigned step = 0; step < 20'000; ++step) {
            if (!model.full() && random() % 3 != 0)
                refused += !model.insert(static_cast<std::uint32_t>(random()) & mask);
            else if (model.size() != 0)
                model.erase(model.some(random));
        }
        ASSERT_NO_FATAL_FAILURE(model.check());
        // Two buckets hold 20 of one hash, and not one more.
        if (mask == 0) {
            EXPECT_GT(refused, 0u);
            EXPECT_LE(model.size(), 2 * FlowIndex::kPlaces);
        }
        while (model.size() != 0)
            model.erase(model.some(random));
        model.check();
    }
}

}  // namespace
}  // namespace postern
