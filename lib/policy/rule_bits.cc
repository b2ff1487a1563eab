// SPDX-License-Identifier: BSD-3-Clause
#include "policy/rule_bits.h"

#include <algorithm>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace postern {
namespace {

constexpr unsigned kSections = 8;

// A record: the summary, then one word with the number of blocks before each 64, then the blocks'
// numbers.
constexpr unsigned kSummaryWords = sizeof(RuleBits::Words4) / sizeof(std::uint32_t);
constexpr unsigned kHeadWords = kSummaryWords + 1;

/// The lowest bit of a block; kRulesPerBlock if there is none.
inline unsigned first_bit(RuleBits::Words4 low, RuleBits::Words4 high) noexcept {
    alignas(64) std::uint64_t words[8];
    std::memcpy(words, &low, sizeof low);
    std::memcpy(words + 4, &high, sizeof high);
#if defined(__AVX2__)
    const __m256i zero = _mm256_setzero_si256();
    const auto zeros_of = [&](RuleBits::Words4 half) {
        return static_cast<unsigned>(_mm256_movemask_pd(
            _mm256_castsi256_pd(_mm256_cmpeq_epi64(reinterpret_cast<const __m256i&>(half), zero))));
    };
    const unsigned used = ~(zeros_of(low) | zeros_of(high) << 4) & 0xff;
#else
    unsigned used = 0;
    for (unsigned w = 0; w < 8; ++w)
        used |= (words[w] != 0 ? 1u : 0u) << w;
#endif
    if (used == 0) return RuleBits::kRulesPerBlock;
    const auto w = static_cast<unsigned>(std::countr_zero(used));
    return w * 64 + static_cast<unsigned>(std::countr_zero(words[w]));
}

}  // namespace

RuleBits::RuleBits(std::span<const std::uint8_t> sections) : places_(sections.size()) {
    const bool one_block = sections.size() <= kRulesPerBlock;
    for (unsigned section = 0; section < (one_block ? 1 : kSections); ++section) {
        const std::size_t begin = first_rule_.size();
        for (std::uint32_t rule = 0; rule < sections.size(); ++rule) {
            if (!one_block && sections[rule] != section) continue;
            if (rules_.size() % kRulesPerBlock == 0) first_rule_.push_back(rule);
            places_[rule] = static_cast<std::uint32_t>(rules_.size());
            rules_.push_back(rule);
        }
        rules_.resize(first_rule_.size() * kRulesPerBlock, kNone);
        section_end_.resize(first_rule_.size());
        std::fill(section_end_.begin() + static_cast<std::ptrdiff_t>(begin), section_end_.end(),
                  static_cast<std::uint32_t>(first_rule_.size()));
    }
}

std::uint32_t RuleBits::add_block(const Words& words) {
    static_assert(sizeof words == sizeof(Block));
    Block block;
    std::memcpy(&block, words.data(), sizeof block);
    pool_.push_back(block);
    return static_cast<std::uint32_t>(pool_.size() - 1);
}

RuleSetId RuleBits::add_set(std::span<const std::uint32_t> block_numbers) {
    if (is_one_block()) return block_numbers[0] != kNone ? block_numbers[0] : add_block({});
    const std::size_t at = records_.size();
    records_.resize(at + kHeadWords);
    Summary summary{};
    std::uint32_t before = 0;
    for (unsigned i = 0; i < block_numbers.size(); ++i) {
        if (i % 64 == 0)
            before |= static_cast<std::uint32_t>(records_.size() - at - kHeadWords) << i / 64 * 8;
        if (block_numbers[i] == kNone) continue;
        summary[i / 64] |= std::uint64_t{1} << (i % 64);
        records_.push_back(block_numbers[i]);
    }
    std::memcpy(&records_[at], summary.data(), sizeof summary);
    records_[at + kSummaryWords] = before;
    // The next summary begins at a multiple of its size, within one line.
    records_.resize((records_.size() + kSummaryWords - 1) / kSummaryWords * kSummaryWords);
    return static_cast<RuleSetId>(at);
}

RuleSetId RuleBits::intersect(RuleSetId a, RuleSetId b) {
    const auto both = [&](const Block& x, const Block& y) {
        const Words4 halves[2] = {x.half[0] & y.half[0], x.half[1] & y.half[1]};
        Words words;
        std::memcpy(words.data(), halves, sizeof words);
        return words == Words{} ? kNone : add_block(words);
    };
    std::vector<std::uint32_t> numbers(blocks(), kNone);
    if (is_one_block()) {
        numbers[0] = both(Block(pool_[a]), Block(pool_[b]));
        return add_set(numbers);
    }
    Summary left;
    const Words4 common = summary(a) & summary(b);
    std::memcpy(left.data(), &common, sizeof left);
    for (unsigned i = next_block(left, 0); i < blocks(); i = next_block(left, i + 1))
        numbers[i] = both(Block(pool_[block_number(a, i)]), Block(pool_[block_number(b, i)]));
    return add_set(numbers);
}

inline RuleBits::Words4 RuleBits::summary(RuleSetId set) const noexcept {
    return *reinterpret_cast<const Words4*>(records_.data() + set);
}

/// A block that is not empty: its number follows those of the blocks before it.
inline std::uint32_t RuleBits::block_number(RuleSetId set, unsigned block) const noexcept {
    const std::uint32_t* const record = records_.data() + set;
    std::uint64_t word;
    std::memcpy(&word, record + block / 64 * 2, sizeof word);
    const std::uint32_t before = record[kSummaryWords] >> block / 64 * 8 & 0xff;
    const auto among =
        static_cast<unsigned>(std::popcount(word & ((std::uint64_t{1} << (block % 64)) - 1)));
    return record[kHeadWords + before + among];
}

/// The first block of the summary from `from` on; blocks() if there is none.
inline unsigned RuleBits::next_block(const Summary& s, unsigned from) const noexcept {
    for (; from < blocks(); from = (from | 63) + 1)
        if (const std::uint64_t rest = s[from / 64] >> (from % 64); rest != 0)
            return from + static_cast<unsigned>(std::countr_zero(rest));
    return blocks();
}

std::vector<std::uint32_t> RuleBits::all(std::span<const RuleSetId> sets, std::size_t most) const {
    std::vector<std::uint32_t> out;
    const auto holds = [&](RuleSetId set, unsigned b) {
        Summary blocks{1};
        if (!is_one_block()) {
            const Words4 words = summary(set);
            std::memcpy(blocks.data(), &words, sizeof words);
        }
        return (blocks[b / 64] >> (b % 64) & 1) != 0;
    };
    std::size_t begin = 0;  // of the section in `out`
    for (unsigned b = 0; b < blocks(); ++b) {
        if (b > 0 && section_end_[b] != section_end_[b - 1]) begin = out.size();
        if (out.size() - begin >= most) continue;
        Words words;
        words.fill(UINT64_MAX);
        for (const RuleSetId set : sets) {
            if (!holds(set, b)) {
                words.fill(0);
                break;
            }
            Words of;
            std::memcpy(of.data(), &pool_[is_one_block() ? set : block_number(set, b)], sizeof of);
            for (unsigned w = 0; w < words.size(); ++w)
                words[w] &= of[w];
        }
        for (unsigned w = 0; w < words.size(); ++w)
            for (std::uint64_t rest = words[w]; rest != 0; rest &= rest - 1)
                out.push_back(rules_[b * kRulesPerBlock + w * 64 +
                                     static_cast<unsigned>(std::countr_zero(rest))]);
    }
    std::sort(out.begin(), out.end());
    if (out.size() > most) out.resize(most);
    return out;
}

inline void RuleBits::first_in_one_block(const RuleSetId (*sets)[kMaxBurst], unsigned fields,
                                         unsigned n, std::uint32_t* rules) const noexcept {
    const Block* const pool = pool_.data();
    for (unsigned k = 0; k < n; ++k) {
        Words4 low = pool[sets[0][k]].half[0], high = pool[sets[0][k]].half[1];
        for (unsigned f = 1; f < fields; ++f) {
            low &= pool[sets[f][k]].half[0];
            high &= pool[sets[f][k]].half[1];
        }
        const unsigned bit = first_bit(low, high);
        rules[k] = bit < kRulesPerBlock ? bit : kNone;  // a rule's place is its number
    }
}

void RuleBits::first_in_all(const RuleSetId (*sets)[kMaxBurst], unsigned fields, unsigned n,
                            std::uint32_t* rules) const noexcept {
    if (is_one_block()) return first_in_one_block(sets, fields, n, rules);
    const Block* const pool = pool_.data();
    alignas(32) Summary left[kMaxBurst];
    unsigned first_block[kMaxBurst];
    for (unsigned f = 0; f < fields; ++f)
        for (unsigned k = 0; k < n; ++k)
            __builtin_prefetch(records_.data() + sets[f][k]);
    for (unsigned k = 0; k < n; ++k) {
        Words4 common = summary(sets[0][k]);
        for (unsigned f = 1; f < fields; ++f)
            common &= summary(sets[f][k]);
        std::memcpy(left[k].data(), &common, sizeof common);
        const unsigned b = first_block[k] = next_block(left[k], 0);
        for (unsigned f = 0; b < blocks() && f < fields; ++f)
            __builtin_prefetch(&pool[block_number(sets[f][k], b)]);
    }
    for (unsigned k = 0; k < n; ++k) {
        std::uint32_t best = kNone;
        for (unsigned b = first_block[k]; b < blocks();) {
            // A section's blocks are in the rules' order: behind a match, or behind a block that
            // begins with a later rule than the best, it has nothing better.
            if (first_rule_[b] >= best) {
                b = next_block(left[k], section_end_[b]);
                continue;
            }
            const Block& block = pool[block_number(sets[0][k], b)];
            Words4 low = block.half[0], high = block.half[1];
            for (unsigned f = 1; f < fields; ++f) {
                const Block& other = pool[block_number(sets[f][k], b)];
                low &= other.half[0];
                high &= other.half[1];
            }
            const unsigned bit = first_bit(low, high);
            if (bit < kRulesPerBlock) best = std::min(best, rules_[b * kRulesPerBlock + bit]);
            b = next_block(left[k], bit < kRulesPerBlock ? section_end_[b] : b + 1);
        }
        rules[k] = best;
    }
}

}  // namespace postern
