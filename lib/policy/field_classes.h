// SPDX-License-Identifier: BSD-3-Clause
// FieldClasses: the classes of one field's values, by the conditions that hold for them.
//
// Two values are of one class if the same rules accept both. Building walks over the field's values
// in ascending order and stops only where a condition begins or ends. It knows the class of a
// value by the set of conditions that hold there, so a set of rules is made once a class, not once
// a value; and a list that many rules name is one condition. So the work grows with the lengths of
// the distinct lists plus the number of classes, and lists of one rule never multiply.
//
// Control thread, while a policy is built.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/ranges.h"
#include "policy/rule_bits.h"

namespace postern {

/// The values of a field: the last one of each stretch, and the rules that accept the stretch.
template <class T>
struct FieldMap {
    std::vector<T> lasts;  ///< ascending; the last is the greatest value
    std::vector<RuleSetId> sets;
};

template <class T>
class FieldClasses {
  public:
    explicit FieldClasses(std::size_t rules) : condition_of_(rules, kAny) {}

    /// A condition: the values that a rule accepts. `set` has to live until build(). Without a
    /// call a rule accepts all values. `same`: a pointer that only equal sets share, or null.
    void add(std::size_t rule, const NumberSet<T>& set, const void* same = nullptr) {
        condition_of_[rule] = condition(set, same);
    }
    bool empty() const noexcept { return sets_.empty(); }

    /// Returns false if the sets need more than `max_bytes` together with those that `bits` has;
    /// `culprit` is then a rule at which this happened.
    bool build(RuleBits& bits, std::size_t max_bytes, FieldMap<T>& out, std::size_t& culprit);

  private:
    static constexpr std::uint32_t kAny = UINT32_MAX;
    using Words = std::array<std::uint64_t, 8>;
    struct Edge {
        T at;                     ///< first value for which the condition begins or ceases to hold
        std::uint32_t condition;  ///< index into sets_
    };
    /// Names a set of conditions; two sets have one name with a probability below 2^-90.
    struct SetName {
        std::uint64_t a = 0, b = 0;
        friend bool operator==(const SetName&, const SetName&) = default;
        struct Hash {
            std::size_t operator()(const SetName& n) const noexcept { return n.a; }
        };
    };

    static std::uint64_t mixed(std::uint64_t n) noexcept {
        n += 0x9e3779b97f4a7c15;
        n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9;
        n = (n ^ n >> 27) * 0x94d049bb133111eb;
        return n ^ n >> 31;
    }
    static std::uint64_t hash_of(const NumberSet<T>& set) noexcept {
        std::uint64_t hash = set.size();
        const auto add = [&](const T& n) {
            if constexpr (requires { n.high; })
                hash = mixed(mixed(hash ^ n.high) ^ n.low);
            else
                hash = mixed(hash ^ n);
        };
        for (const auto& r : set)
            add(r.first), add(r.last);
        return hash;
    }
    std::uint32_t condition(const NumberSet<T>& set, const void* same);
    std::vector<Edge> edges() const;

    std::vector<std::uint32_t> condition_of_;  ///< by rule
    std::vector<const NumberSet<T>*> sets_;    ///< the distinct conditions
    std::unordered_map<const void*, std::uint32_t> by_pointer_;
    std::unordered_multimap<std::uint64_t, std::uint32_t> by_hash_;

    /// The set of rules at one value, changed from class to class.
    class Cursor;
};

template <class T>
std::uint32_t FieldClasses<T>::condition(const NumberSet<T>& set, const void* same) {
    if (same != nullptr)
        if (const auto at = by_pointer_.find(same); at != by_pointer_.end()) return at->second;
    const std::uint64_t hash = hash_of(set);
    const auto [begin, end] = by_hash_.equal_range(hash);
    const auto equal =
        std::find_if(begin, end, [&](const auto& e) { return *sets_[e.second] == set; });
    const auto index =
        equal == end ? static_cast<std::uint32_t>(sets_.size()) : std::uint32_t{equal->second};
    if (equal == end) {
        sets_.push_back(&set);
        by_hash_.emplace(hash, index);
    }
    if (same != nullptr) by_pointer_.emplace(same, index);
    return index;
}

template <class T>
std::vector<typename FieldClasses<T>::Edge> FieldClasses<T>::edges() const {
    std::vector<Edge> out;
    for (std::uint32_t c = 0; c < sets_.size(); ++c)
        for (const auto& r : *sets_[c]) {
            out.push_back({r.first, c});
            if (r.last != NumberLimits<T>::kMax) out.push_back({number_after(r.last), c});
        }
    std::sort(out.begin(), out.end(), [](const Edge& a, const Edge& b) { return a.at < b.at; });
    return out;
}

template <class T>
class FieldClasses<T>::Cursor {
  public:
    Cursor(const FieldClasses& field, RuleBits& bits)
        : bits_(bits), first_(field.sets_.size() + 1), changed_(field.sets_.size()) {
        // The rules of each condition, in one array.
        const auto& of = field.condition_of_;
        for (const std::uint32_t c : of)
            if (c != kAny) ++first_[c + 1];
        for (std::size_t c = 0; c + 1 < first_.size(); ++c)
            first_[c + 1] += first_[c];
        rules_.resize(first_.back());
        std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
        words_.resize(bits.blocks());
        numbers_.assign(bits.blocks(), RuleBits::kNone);
        dirty_.assign(bits.blocks(), 0);
        for (std::uint32_t rule = 0; rule < of.size(); ++rule) {
            if (of[rule] == kAny)
                flip(bits.place(rule));
            else
                rules_[next[of[rule]]++] = rule;
        }
        for (std::size_t b = 0; b < words_.size(); ++b)
            if (words_[b] != Words{}) numbers_[b] = bits.add_block(words_[b]);
        dirty_blocks_.clear();
        std::fill(dirty_.begin(), dirty_.end(), std::uint8_t{0});
        open_words_ = words_;
        open_numbers_ = numbers_;
    }

    /// The condition begins or ceases to hold.
    void change(std::uint32_t condition) {
        name_.a ^= mixed(2 * std::uint64_t{condition});
        name_.b ^= mixed(2 * std::uint64_t{condition} + 1);
        if ((changed_[condition] & kListed) == 0) list_.push_back(condition);
        changed_[condition] = static_cast<std::uint8_t>((changed_[condition] ^ kOdd) | kListed);
    }
    RuleSetId set() {
        const auto [at, fresh] = known_.try_emplace(name_);
        if (fresh) at->second = make();
        return at->second;
    }
    std::uint32_t a_rule_of(std::uint32_t condition) const { return rules_[first_[condition]]; }

  private:
    static constexpr std::uint8_t kOdd = 1, kListed = 2;

    void flip(std::uint32_t place) {
        const std::uint32_t b = place / RuleBits::kRulesPerBlock;
        words_[b][place / 64 % 8] ^= std::uint64_t{1} << (place % 64);
        if (dirty_[b] == 0) dirty_blocks_.push_back(b);
        dirty_[b] = 1;
    }
    RuleSetId make() {
        for (const std::uint32_t c : list_) {
            if ((changed_[c] & kOdd) != 0)
                for (std::uint32_t i = first_[c]; i < first_[c + 1]; ++i)
                    flip(bits_.place(rules_[i]));
            changed_[c] = 0;
        }
        list_.clear();
        for (const std::uint32_t b : dirty_blocks_) {
            dirty_[b] = 0;
            numbers_[b] = words_[b] == open_words_[b] ? open_numbers_[b]
                          : words_[b] == Words{}      ? RuleBits::kNone
                                                      : bits_.add_block(words_[b]);
        }
        dirty_blocks_.clear();
        return bits_.add_set(numbers_);
    }

    RuleBits& bits_;
    std::vector<std::uint32_t> first_;  ///< by condition: where its rules begin in rules_
    std::vector<std::uint32_t> rules_;
    std::vector<std::uint8_t> changed_;  ///< by condition: since words_ was made; kOdd, kListed
    std::vector<std::uint32_t> list_;    ///< the conditions with kListed
    std::vector<Words> words_;           ///< of the class made last
    std::vector<std::uint32_t> numbers_;
    std::vector<Words> open_words_;  ///< of the rules without a condition
    std::vector<std::uint32_t> open_numbers_;
    std::vector<std::uint8_t> dirty_;
    std::vector<std::uint32_t> dirty_blocks_;
    SetName name_;
    std::unordered_map<SetName, RuleSetId, typename SetName::Hash> known_;
};

template <class T>
bool FieldClasses<T>::build(RuleBits& bits, std::size_t max_bytes, FieldMap<T>& out,
                            std::size_t& culprit) {
    const std::vector<Edge> all = edges();
    Cursor cursor(*this, bits);
    T begin{};
    for (auto edge = all.begin();;) {
        for (; edge != all.end() && edge->at == begin; ++edge)
            cursor.change(edge->condition);
        const RuleSetId set = cursor.set();
        const T last = edge == all.end() ? NumberLimits<T>::kMax : number_before(edge->at);
        if (!out.sets.empty() && out.sets.back() == set) {
            out.lasts.back() = last;
        } else {
            out.lasts.push_back(last);
            out.sets.push_back(set);
        }
        if (edge == all.end()) return true;
        if (bits.bytes() > max_bytes) {
            culprit = cursor.a_rule_of(edge->condition);
            return false;
        }
        begin = edge->at;
    }
}

}  // namespace postern
