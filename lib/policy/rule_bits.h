// SPDX-License-Identifier: BSD-3-Clause
// RuleBits: sets of rules, as bits in blocks of a cache line.
//
// Each rule has a place, a bit. A set is a record: a summary with one bit a block that is not
// empty, and the numbers of those blocks. Sets that differ in a few rules share their other blocks.
// The rules of a packet are the intersection of one set a field: the summaries first, then the
// blocks that are left. Up to 512 rules are one block, and a set is that block's number.
//
// Places follow the rules' order within a section. A section holds the rules that leave the same
// fields open, so that the summary of a field with many different values stays sparse: a host's
// set has a block or two in the sections whose rules name hosts.
//
// Life-cycle: filled by FieldClasses while a policy is built, then only read, by all workers.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/types.h"
#include "policy/huge_vector.h"

namespace postern {

/// A set of rules: where its record begins.
using RuleSetId = std::uint32_t;

class RuleBits {
  public:
    static constexpr unsigned kRulesPerBlock = 512;
    static constexpr unsigned kMaxBlocks = 256;
    static constexpr std::uint32_t kNone = UINT32_MAX;

    using Words4 = std::uint64_t __attribute__((vector_size(32)));
    struct alignas(64) Block {
        Words4 half[2];
    };
    using Words = std::array<std::uint64_t, 8>;  ///< of a block

    /// `sections`: the section of each rule, below 8.
    explicit RuleBits(std::span<const std::uint8_t> sections);

    unsigned blocks() const noexcept { return static_cast<unsigned>(first_rule_.size()); }
    /// The bit of a rule.
    std::uint32_t place(std::size_t rule) const noexcept { return places_[rule]; }

    /// Adds a set: the number of each of its blocks, kNone for an empty one.
    RuleSetId add_set(std::span<const std::uint32_t> block_numbers);
    std::uint32_t add_block(const Words& words);
    /// Adds the set of the rules that are in both.
    RuleSetId intersect(RuleSetId a, RuleSetId b);

    /// For each of `n` queries: the first rule that is in all of its sets, kNone if none is.
    /// `sets[field][query]`, of at least one field; n is at most kMaxBurst.
    void first_in_all(const RuleSetId (*sets)[kMaxBurst], unsigned fields, unsigned n,
                      std::uint32_t* rules) const noexcept;

    /// For control: the rules that are in all of these sets, in their order; at most `most`.
    std::vector<std::uint32_t> all(std::span<const RuleSetId> sets, std::size_t most) const;

    std::size_t bytes() const noexcept {
        return records_.size() * sizeof(std::uint32_t) + pool_.size() * sizeof(Block);
    }

  private:
    using Summary = std::array<std::uint64_t, kMaxBlocks / 64>;

    bool is_one_block() const noexcept { return rules_.size() <= kRulesPerBlock; }
    Words4 summary(RuleSetId set) const noexcept;
    std::uint32_t block_number(RuleSetId set, unsigned block) const noexcept;
    unsigned next_block(const Summary& summary, unsigned from) const noexcept;
    void first_in_one_block(const RuleSetId (*sets)[kMaxBurst], unsigned fields, unsigned n,
                            std::uint32_t* rules) const noexcept;

    HugeVector<std::uint32_t> records_;
    HugeVector<Block> pool_;
    std::vector<std::uint32_t> places_;       ///< by rule
    std::vector<std::uint32_t> rules_;        ///< by place; kNone: a place without a rule
    std::vector<std::uint32_t> first_rule_;   ///< by block
    std::vector<std::uint32_t> section_end_;  ///< by block: the first block of the next section
};

}  // namespace postern
