// SPDX-License-Identifier: BSD-3-Clause
#include "helper/line_filter.h"

#include <algorithm>
#include <bitset>
#include <string_view>
#include <vector>

#include <string.h>

namespace postern {
namespace {

using ByteSet = std::bitset<256>;
/// The first bytes of a text, a set for each: kDepth of them, or fewer if the text may end.
using Beginning = std::vector<ByteSet>;
using Beginnings = std::vector<Beginning>;

/// Of one part of an expression; with more it is not parsed.
constexpr std::size_t kMostBeginnings = 256;

/// Beyond this number the choice does not matter.
void add(Beginnings& to, const Beginning& b) {
    if (to.size() > kMostBeginnings) return;
    if (std::find(to.begin(), to.end(), b) == to.end()) to.push_back(b);
}

void add(Beginnings& to, const Beginnings& more) {
    for (const Beginning& b : more)
        add(to, b);
}

/// Texts of `first`, each followed by one of `then`.
Beginnings joined(const Beginnings& first, const Beginnings& then) {
    Beginnings out;
    for (const Beginning& a : first) {
        for (const Beginning& b : then) {
            Beginning whole = a;
            for (std::size_t i = 0; i < b.size() && whole.size() < LineFilter::kDepth; ++i)
                whole.push_back(b[i]);
            add(out, whole);
        }
    }
    return out;
}

/// Any number of texts of `one`, including none. Each non-empty one adds a byte, so no more than
/// kDepth of them matter.
Beginnings repeated(const Beginnings& one) {
    Beginnings out{{}}, some{{}};
    for (unsigned n = 0; n < LineFilter::kDepth; ++n)
        add(out, some = joined(some, one));
    return out;
}

/// Parses an expression in PCRE's syntax as far as helpers use it: literals, escapes, classes,
/// non-capturing groups, alternatives, and * + ?. As Scanner compiles it: `.` is any byte, letters
/// without case are ASCII's.
class ExpressionReader {
  public:
    ExpressionReader(std::string_view text, bool caseless) : rest_(text), caseless_(caseless) {}

    /// The possible beginnings of matches; empty: not an expression that starts with `^`, or not
    /// parsed.
    Beginnings read() {
        if (!take('^')) return {};
        Beginnings all = sequence();  // not alternatives(): in `^a|b` only one half is anchored
        if (!rest_.empty() || failed_) return {};
        return all;
    }

  private:
    bool take(char c) {
        if (rest_.empty() || rest_.front() != c) return false;
        rest_.remove_prefix(1);
        return true;
    }
    char take_any() {
        if (rest_.empty()) return failed_ = true, '\0';
        const char c = rest_.front();
        rest_.remove_prefix(1);
        return c;
    }

    Beginnings alternatives() {
        Beginnings all = sequence();
        while (take('|'))
            add(all, sequence());
        return all;
    }

    Beginnings sequence() {
        Beginnings so_far{{}};
        while (!failed_ && !rest_.empty() && rest_.front() != '|' && rest_.front() != ')') {
            Beginnings part = item();
            if (take('*')) {
                part = repeated(part);
            } else if (take('+')) {
                part = joined(part, repeated(part));
            } else if (take('?')) {
                add(part, Beginning{});
            }
            so_far = joined(so_far, part);
            if (std::max(part.size(), so_far.size()) > kMostBeginnings) failed_ = true;
        }
        return so_far;
    }

    Beginnings item() {
        if (take('(')) {
            if (!take('?') || !take(':')) return failed_ = true, Beginnings{};
            Beginnings inside = alternatives();
            if (!take(')')) failed_ = true;
            return inside;
        }
        if (take('.')) return {{ByteSet().set()}};
        return {{take('[') ? byte_class() : with_other_case(member("^$*+?{}|)]"))}};
    }

    /// After `[`, up to and including the `]`.
    ByteSet byte_class() {
        const bool inverted = take('^');
        ByteSet set;
        do {
            const ByteSet first = member("[]");
            set |= first;
            if (!rest_.starts_with('-') || rest_.starts_with("-]")) continue;
            take('-');
            const ByteSet last = member("[]");
            if (first.count() != 1 || last.count() != 1) failed_ = true;
            for (unsigned b = lowest(first); !failed_ && b <= lowest(last); ++b)
                set.set(b);
        } while (!failed_ && !take(']'));
        set = with_other_case(set);
        return inverted ? ~set : set;
    }

    /// A literal byte, or the one after a backslash. `special`: characters with another meaning.
    ByteSet member(std::string_view special) {
        const bool escaped = take('\\');
        const char c = take_any();
        if (!escaped) {
            if (special.find(c) != std::string_view::npos) failed_ = true;
            return one(c);
        }
        switch (c) {
            case 'n': return one('\n');
            case 'r': return one('\r');
            case 't': return one('\t');
            case 'x': {
                const unsigned high = hex_digit();
                return ByteSet().set(high << 4 | hex_digit());
            }
            case 'd': {
                ByteSet digits;
                for (char digit = '0'; digit <= '9'; ++digit)
                    digits |= one(digit);
                return digits;
            }
            case 's': return one(' ') | one('\t') | one('\n') | one('\v') | one('\f') | one('\r');
            default: break;
        }
        if (is_letter(c | 0x20) || (c >= '0' && c <= '9')) failed_ = true;
        return one(c);
    }

    unsigned hex_digit() {
        const char c = take_any();
        if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
        if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
        if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
        return failed_ = true, 0u;
    }

    static bool is_letter(int lower) noexcept { return lower >= 'a' && lower <= 'z'; }
    static ByteSet one(char c) { return ByteSet().set(static_cast<std::uint8_t>(c)); }
    static unsigned lowest(const ByteSet& set) { return static_cast<unsigned>(set._Find_first()); }
    ByteSet with_other_case(const ByteSet& set) const {
        ByteSet both = set;
        for (unsigned lower = 'a'; caseless_ && lower <= 'z'; ++lower) {
            const unsigned upper = lower - 'a' + 'A';
            if (set[lower] || set[upper]) both.set(lower).set(upper);
        }
        return both;
    }

    std::string_view rest_;
    bool caseless_;
    bool failed_ = false;
};

/// The beginnings that both may have, and few others.
Beginning merged(const Beginning& a, const Beginning& b) {
    Beginning out = a;
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] |= b[i];
    return out;
}

/// The number of texts of kDepth bytes that it represents.
double weight(const Beginning& b) {
    double product = 1;
    for (const ByteSet& set : b)
        product *= static_cast<double>(set.count());
    return product;
}

/// Reduces their number, by merging the pair that adds the fewest texts.
void merge_cheapest(Beginnings& all) {
    std::size_t best_a = 0, best_b = 1;
    double least = 0;
    for (std::size_t a = 0; a < all.size(); ++a) {
        for (std::size_t b = a + 1; b < all.size(); ++b) {
            const double cost = weight(merged(all[a], all[b])) - weight(all[a]) - weight(all[b]);
            if ((a != 0 || b != 1) && cost >= least) continue;
            least = cost;
            best_a = a;
            best_b = b;
        }
    }
    all[best_a] = merged(all[best_a], all[best_b]);
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(best_b));
}

}  // namespace

const LineFilter& LineFilter::nothing() noexcept {
    static const LineFilter filter = [] {
        LineFilter all;
        for (auto& bytes : all.ways_)
            bytes.fill(static_cast<Ways>(~0u));
        return all;
    }();
    return filter;
}

bool LineFilter::may_match_anywhere(Bytes text) const noexcept {
    const std::uint8_t* line = text.data();
    for (std::size_t left = text.size(); left != 0;) {
        if (left >= kDepth) {
            if (may_begin(line)) return true;
        } else {
            Ways ways = static_cast<Ways>(~0u);  // no byte there: rules out nothing
            for (std::size_t i = 0; i < left; ++i)
                ways = static_cast<Ways>(ways & ways_[i][line[i]]);
            if (ways != 0) return true;
        }
        const void* lf = memchr(line, '\n', left);
        if (lf == nullptr) return false;
        const std::uint8_t* next = static_cast<const std::uint8_t*>(lf) + 1;
        left -= static_cast<std::size_t>(next - line);
        line = next;
    }
    return false;
}

std::unique_ptr<const LineFilter> LineFilter::make(std::span<const PatternDesc> patterns) {
    Beginnings all;
    for (const PatternDesc& pattern : patterns) {
        Beginnings these = ExpressionReader(pattern.expression, pattern.caseless).read();
        if (these.empty()) return nullptr;
        for (Beginning& b : these) {
            b.resize(kDepth, ByteSet().set());  // any bytes may follow the match
            add(all, b);
        }
        if (all.size() > kMostBeginnings) return nullptr;
    }
    if (all.empty()) return nullptr;
    while (all.size() > kWays)
        merge_cheapest(all);
    std::unique_ptr<LineFilter> filter(new LineFilter);
    for (unsigned way = 0; way < all.size(); ++way)
        for (unsigned i = 0; i < kDepth; ++i)
            for (unsigned b = 0; b < 256; ++b)
                if (all[way][i][b]) filter->ways_[i][b] |= static_cast<Ways>(1u << way);
    return filter;
}

}  // namespace postern
