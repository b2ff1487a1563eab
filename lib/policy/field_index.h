// SPDX-License-Identifier: BSD-3-Clause
// From a field's value to the rules that accept it: a table for a byte, search trees for the rest.
// find() answers for the `n` queries of a burst.
//
// Built by control with the policy, never changed; read by all workers.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/types.h"
#include "net/ranges.h"
#include "policy/field_classes.h"
#include "policy/rule_bits.h"
#include "policy/search_tree.h"

namespace postern {

/// Of a byte: a table.
class ByteIndex {
  public:
    using Value = std::uint8_t;
    explicit ByteIndex(const FieldMap<std::uint8_t>& map) {
        for (unsigned value = 0, i = 0; value < sets_.size(); ++value) {
            if (value > map.lasts[i]) ++i;
            sets_[value] = map.sets[i];
        }
    }
    RuleSetId operator[](std::uint8_t value) const noexcept { return sets_[value]; }
    std::size_t bytes() const noexcept { return sizeof sets_; }

  private:
    std::array<RuleSetId, 256> sets_;
};

/// Of a number of at most 32 bits.
class NumberIndex {
  public:
    using Value = std::uint32_t;
    explicit NumberIndex(const FieldMap<std::uint32_t>& map)
        : tree_(trees_.add(map.lasts)), sets_(map.sets.begin(), map.sets.end()) {}
    void find(const std::uint32_t* values, unsigned n, RuleSetId* out) const noexcept {
        trees_.find(tree_, values, n, out);
        const RuleSetId* const sets = sets_.data();
        for (unsigned k = 0; k < n; ++k)
            out[k] = sets[out[k]];
    }
    std::size_t bytes() const noexcept { return trees_.bytes() + sets_.size() * sizeof(RuleSetId); }

  private:
    SearchTrees<std::uint32_t> trees_;
    SearchTrees<std::uint32_t>::Tree tree_;
    HugeVector<RuleSetId> sets_;
};

/// Of an IPv6 address: first by the upper half, then, if stretches end within it, by the lower.
class WideIndex {
  public:
    using Value = Wide;
    explicit WideIndex(const FieldMap<Wide>& map) : sets_(map.sets.begin(), map.sets.end()) {
        std::vector<std::uint64_t> low, highs;
        for (std::size_t i = 0; i < map.lasts.size();) {
            const std::uint64_t high = map.lasts[i].high;
            const std::size_t begin = i;
            for (low.clear(); i < map.lasts.size() && map.lasts[i].high == high; ++i)
                low.push_back(map.lasts[i].low);
            // A search needs an end; beyond the last stretch of this half the next one's begins.
            if (low.back() != UINT64_MAX) low.push_back(UINT64_MAX);
            highs.push_back(high);
            groups_.push_back({high, static_cast<std::uint32_t>(begin), trees_.add(low)});
        }
        top_ = trees_.add(highs);
    }
    /// `values`: all upper halves, then all lower ones.
    void find(const std::uint64_t (*values)[kMaxBurst], unsigned n, RuleSetId* out) const noexcept {
        trees_.find(top_, values[0], n, out);
        for (unsigned k = 0; k < n; ++k)
            __builtin_prefetch(&groups_[out[k]]);
        for (unsigned k = 0; k < n; ++k) {
            const Group& group = groups_[out[k]];
            out[k] = group.begin;
            if (group.high == values[0][k]) out[k] += trees_.find(group.tree, values[1][k]);
        }
        const RuleSetId* const sets = sets_.data();
        for (unsigned k = 0; k < n; ++k)
            out[k] = sets[out[k]];
    }
    std::size_t bytes() const noexcept {
        return trees_.bytes() + sets_.size() * sizeof(RuleSetId) + groups_.size() * sizeof(Group);
    }

  private:
    /// The stretches that end in one upper half.
    struct alignas(64) Group {
        std::uint64_t high;
        std::uint32_t begin;
        SearchTrees<std::uint64_t>::Tree tree;
    };
    SearchTrees<std::uint64_t> trees_;
    SearchTrees<std::uint64_t>::Tree top_;
    HugeVector<Group> groups_;
    HugeVector<RuleSetId> sets_;
};

/// Of three bytes together: the rules in the intersection of their sets.
class TripleIndex {
  public:
    /// Returns nothing if it would need more than kMaxSets sets. Of a byte that no rule matches
    /// the index is missing.
    static std::optional<TripleIndex> make(
        RuleBits& bits, const std::array<const std::optional<ByteIndex>*, 3>& bytes) {
        TripleIndex out;
        std::array<std::vector<RuleSetId>, 3> of;  // the distinct sets of each byte
        std::size_t n = 1;
        for (unsigned b = 0; b < 3; ++b) {
            for (unsigned value = 0; *bytes[b] && value < 256; ++value) {
                const RuleSetId set = (**bytes[b])[static_cast<std::uint8_t>(value)];
                const auto at = std::find(of[b].begin(), of[b].end(), set);
                out.parts_[b][value] =
                    static_cast<std::uint16_t>(static_cast<std::size_t>(at - of[b].begin()) * n);
                if (at == of[b].end()) of[b].push_back(set);
            }
            n *= std::max<std::size_t>(of[b].size(), 1);
            if (n > kMaxSets) return std::nullopt;
        }
        for (std::size_t i = 0; i < n; ++i) {
            std::optional<RuleSetId> all;
            std::size_t rest = i;
            for (const auto& sets : of) {
                if (sets.empty()) continue;
                const RuleSetId set = sets[rest % sets.size()];
                all = all ? bits.intersect(*all, set) : set;
                rest /= sets.size();
            }
            if (!all) return std::nullopt;
            out.sets_.push_back(*all);
        }
        return out;
    }
    RuleSetId find(std::uint8_t a, std::uint8_t b, std::uint8_t c) const noexcept {
        return sets_[static_cast<std::size_t>(parts_[0][a] + parts_[1][b] + parts_[2][c])];
    }
    std::size_t bytes() const noexcept { return sizeof parts_ + sets_.size() * sizeof sets_[0]; }

  private:
    static constexpr std::size_t kMaxSets = 1024;
    std::array<std::array<std::uint16_t, 256>, 3> parts_{};
    std::vector<RuleSetId> sets_;
};

}  // namespace postern
