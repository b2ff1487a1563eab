// SPDX-License-Identifier: BSD-3-Clause
#include "sets/live_set.h"

#include <algorithm>
#include <bit>
#include <span>
#include <utility>

#include <rte_rcu_qsbr.h>

#include "net/address_set.h"
#include "net/bytes.h"

namespace postern {
namespace {

constexpr std::uint32_t masked(std::uint32_t key, std::uint32_t mask) noexcept {
    return key & mask;
}
constexpr Wide masked(const Wide& key, const Wide& mask) noexcept {
    return {key.high & mask.high, key.low & mask.low};
}
template <class Word>
constexpr Word ones(unsigned length) noexcept {
    return length == 0 ? Word{0} : static_cast<Word>(~Word{0} << (sizeof(Word) * 8 - length));
}
template <class Key>
constexpr Key mask_of(unsigned length) noexcept {
    if constexpr (std::same_as<Key, Wide>)
        return {ones<std::uint64_t>(std::min(length, 64u)),
                ones<std::uint64_t>(length > 64 ? length - 64 : 0)};
    else
        return ones<std::uint32_t>(length);
}
template <class Key>
Prefix prefix_of(unsigned length, const Key& key) {
    Prefix out;
    out.length = static_cast<std::uint8_t>(length);
    if constexpr (std::same_as<Key, Wide>) {
        const std::uint64_t words[2] = {__builtin_bswap64(key.high), __builtin_bswap64(key.low)};
        out.address = IpAddr::v6(words);
    } else {
        const std::uint32_t word = __builtin_bswap32(key);
        out.address = IpAddr::v4(&word);
    }
    return out;
}

/// A group is eight lengths that share the bits before them: 1 to 8, 9 to 16 and so on. Length 0 is
/// alone.
constexpr unsigned group_of(unsigned length) noexcept {
    return (length + 7) / 8;
}
/// The bits that a group's lengths share. Groups 0 and 1 share none.
constexpr unsigned shared_bits(unsigned group) noexcept {
    return group < 2 ? 0 : (group - 1) * 8;
}
constexpr unsigned place_in_group(unsigned length) noexcept {
    return (length + 7) % 8;
}
constexpr std::uint8_t bit_of(unsigned length) noexcept {
    return static_cast<std::uint8_t>(1u << place_in_group(length));
}
/// Of fewer lengths a filter saves less than it costs.
constexpr unsigned kFilteredLengths = 3;

/// Room for further keys before the next table.
constexpr std::size_t room_for(std::size_t live) noexcept {
    return live + live / 2 + 4;
}

}  // namespace

/// The tables of one length and family.
template <class Key>
struct SetPart {
    unsigned length = 0;
    Key mask{};
    std::shared_ptr<SetTable<Key>> table;
};

/// The lengths of one group that occur.
template <class Key>
struct SetGroup {
    unsigned number = 0;
    unsigned first = 0, end = 0;               ///< its parts
    std::uint8_t present = 0;                  ///< a bit for each length, by its place
    std::array<std::uint8_t, 8> part_of = {};  ///< by its place
    Key mask{};                                ///< of the bits shared
    /// Null: look-ups search all of the lengths.
    std::shared_ptr<SetFilter<Key>> filter{};

    unsigned lengths() const noexcept { return end - first; }
};

template <class Key>
struct SetFamily {
    std::vector<SetPart<Key>> parts;  ///< the longest prefixes first
    std::vector<SetGroup<Key>> groups;

    SetTable<Key>* find(unsigned length) const noexcept {
        for (const auto& part : parts)
            if (part.length == length) return part.table.get();
        return nullptr;
    }
    const SetGroup<Key>* group(unsigned number) const noexcept {
        for (const auto& group : groups)
            if (group.number == number) return &group;
        return nullptr;
    }
    void put(SetPart<Key> part) {
        auto at =
            std::ranges::find_if(parts, [&](const auto& p) { return p.length <= part.length; });
        if (at == parts.end() || at->length != part.length) at = parts.insert(at, SetPart<Key>{});
        *at = std::move(part);
        regroup();
    }
    void erase(unsigned length) {
        std::erase_if(parts, [&](const auto& part) { return part.length == length; });
        regroup();
    }
    /// Makes the group's filter for the entries that are in its tables; none if it has few lengths.
    void filter(unsigned number, const HashSecret& secret) {
        auto& group = *std::ranges::find(groups, number, &SetGroup<Key>::number);
        group.filter = nullptr;
        if (shared_bits(number) == 0 || group.lengths() < kFilteredLengths) return;
        const std::span of(&parts[group.first], group.lengths());
        std::size_t entries = 0;
        for (const auto& part : of)
            entries += part.table->live();
        group.filter = std::make_shared<SetFilter<Key>>(room_for(entries), secret);
        for (const auto& part : of)
            for (std::size_t line = 0; line < part.table->lines(); ++line)
                part.table->for_each_in(line, [&](const Key& key, SetTime) {
                    group.filter->set(masked(key, group.mask), bit_of(part.length));
                });
    }

  private:
    /// After a change of `parts`. Filters stay.
    void regroup() {
        const std::vector<SetGroup<Key>> before = std::exchange(groups, {});
        for (unsigned i = 0; i < parts.size(); ++i) {
            const unsigned length = parts[i].length, number = group_of(length);
            if (groups.empty() || groups.back().number != number) {
                groups.push_back(
                    {.number = number, .first = i, .mask = mask_of<Key>(shared_bits(number))});
                for (const auto& group : before)
                    if (group.number == number) groups.back().filter = group.filter;
            }
            SetGroup<Key>& group = groups.back();
            group.end = i + 1;
            group.present |= bit_of(length);
            group.part_of[place_in_group(length)] = static_cast<std::uint8_t>(i);
        }
    }
};

/// The list of a set's tables. Immutable; the tables and the filters change.
struct SetContents {
    SetFamily<std::uint32_t> ipv4;
    SetFamily<Wide> ipv6;

    template <class Key>
    auto& of() noexcept {
        if constexpr (std::same_as<Key, Wide>)
            return ipv6;
        else
            return ipv4;
    }
    template <class Key>
    const auto& of() const noexcept {
        return const_cast<SetContents*>(this)->of<Key>();
    }
    std::size_t size() const noexcept { return ipv4.parts.size() + ipv6.parts.size(); }
};

void SetClock::advance(Tick now) noexcept {
    if (last_ && now - *last_ > 0) passed_ms_ += static_cast<std::uint32_t>(now - *last_);
    last_ = now;
    now_.store(static_cast<SetTime>(1 + passed_ms_ / 1000), std::memory_order_relaxed);
}

LiveSet::LiveSet(std::shared_ptr<const SetShared> shared)
    : shared_(std::move(shared)), held_(std::make_shared<const SetContents>()) {
    contents_.store(held_.get(), std::memory_order_release);
}

LiveSet::~LiveSet() = default;

template <class Key>
void LiveSet::find_in(const Key* addresses, unsigned n, std::uint32_t bit,
                      std::uint32_t* out) const noexcept {
    struct Search {
        const SetPart<Key>* part;
        const SetLine<Key>* line;
        unsigned k;
    };
    struct Check {
        const SetGroup<Key>* group;
        const std::atomic<std::uint8_t>* byte;
        unsigned k;
    };
    // Acquire pairs with the release of publish(): the list is complete.
    const SetFamily<Key>& family = contents_.load(std::memory_order_acquire)->template of<Key>();
    const SetTime now = shared_->clock.now();
    // First the bytes of filters, then the lines of the tables that they leave; kMaxBurst at a
    // time, so that their loads overlap: of many addresses, or of one in many tables.
    Search searches[kMaxBurst];
    Check checks[kMaxBurst];
    unsigned waiting = 0, unchecked = 0;
    const auto search = [&] {
        for (unsigned i = 0; i < waiting; ++i) {
            const auto& [part, line, k] = searches[i];
            if ((out[k] & bit) != 0) continue;  // by another length
            if (part->table->find(line, masked(addresses[k], part->mask)) > now) out[k] |= bit;
        }
        waiting = 0;
    };
    const auto begin_search = [&](const SetPart<Key>& part, unsigned k) {
        const SetLine<Key>* const line = part.table->line_of(masked(addresses[k], part.mask));
        __builtin_prefetch(line);
        searches[waiting++] = {&part, line, k};
        if (waiting == kMaxBurst) search();
    };
    const auto check = [&] {
        for (unsigned i = 0; i < unchecked; ++i) {
            const auto& [group, byte, k] = checks[i];
            if ((out[k] & bit) != 0) continue;
            unsigned lengths = byte->load(std::memory_order_relaxed) & group->present;
            for (; lengths != 0; lengths &= lengths - 1)
                begin_search(
                    family.parts[group->part_of[static_cast<unsigned>(std::countr_zero(lengths))]],
                    k);
        }
        unchecked = 0;
    };
    for (const SetGroup<Key>& group : family.groups) {
        if (group.filter == nullptr) {
            for (unsigned part = group.first; part < group.end; ++part)
                for (unsigned k = 0; k < n; ++k)
                    begin_search(family.parts[part], k);
            continue;
        }
        for (unsigned k = 0; k < n; ++k) {
            const auto* const byte = group.filter->byte_of(masked(addresses[k], group.mask));
            __builtin_prefetch(byte);
            checks[unchecked++] = {&group, byte, k};
            if (unchecked == kMaxBurst) check();
        }
    }
    check();
    search();
}

void LiveSet::find(const std::uint32_t* addresses, unsigned n, std::uint32_t bit,
                   std::uint32_t* out) const noexcept {
    find_in(addresses, n, bit, out);
}
void LiveSet::find(const Wide* addresses, unsigned n, std::uint32_t bit,
                   std::uint32_t* out) const noexcept {
    find_in(addresses, n, bit, out);
}

void LiveSet::publish(std::shared_ptr<const SetContents> next) {
    contents_.store(next.get(), std::memory_order_release);
    std::shared_ptr<const SetContents> before = std::exchange(held_, std::move(next));
    if (shared_->rcu == nullptr) return;
    // After the store: a reader that reports later takes the new list.
    retired_.push_back({std::move(before), rte_rcu_qsbr_start(shared_->rcu)});
    collect();
}

void LiveSet::collect() {
    while (!retired_.empty() &&
           rte_rcu_qsbr_check(shared_->rcu, retired_.front().token, false) == 1)
        retired_.pop_front();
}

template <class Key>
LiveSet::Added LiveSet::add_key(unsigned length, const Key& key, SetTime until) {
    const SetFamily<Key>& family = held_->of<Key>();
    const unsigned number = group_of(length);
    const SetGroup<Key>* const group = family.group(number);
    SetFilter<Key>* const filter = group == nullptr ? nullptr : group->filter.get();
    SetTable<Key>* table = family.find(length);
    const SetTime known = table == nullptr ? kUnusedSlot : table->find(key);
    const bool grows = table == nullptr || (known == kUnusedSlot && !table->has_room());
    const bool crowded = filter != nullptr && known <= kDeadSlot && !filter->has_room();
    if (grows || crowded) {
        // In a new list, a larger table without the dead keys, and a filter without their bits.
        auto next = std::make_shared<SetContents>(*held_);
        auto& after = next->template of<Key>();
        if (grows) {
            auto grown = std::make_shared<SetTable<Key>>(
                room_for(table == nullptr ? 0 : table->live()), shared_->secret);
            for (std::size_t line = 0; table != nullptr && line < table->lines(); ++line)
                table->for_each_in(line, [&](const Key& k, SetTime t) { grown->put(k, t); });
            table = grown.get();
            after.put({length, mask_of<Key>(length), std::move(grown)});
        }
        table->put(key, until);
        const unsigned lengths = after.group(number)->lengths();
        if (filter == nullptr || crowded || lengths < kFilteredLengths)
            after.filter(number, shared_->secret);
        else
            filter->set(masked(key, group->mask), bit_of(length));
        publish(std::move(next));
    } else {
        if (filter != nullptr) filter->set(masked(key, group->mask), bit_of(length));
        table->put(key, until);
    }
    if (known <= kDeadSlot) {
        ++size_;
        ++counters_.added;
    }
    timed_ |= until != kForEver;
    return known > now() ? Added::updated : Added::added;
}

template <class Key>
bool LiveSet::remove_key(unsigned length, const Key& key) {
    SetTable<Key>* const table = held_->of<Key>().find(length);
    const SetTime before = table == nullptr ? kUnusedSlot : table->put(key, kDeadSlot);
    if (before <= kDeadSlot) return false;
    --size_;
    if (table->live() == 0) {
        // Look-ups of other lengths do not pay for it.
        auto next = std::make_shared<SetContents>(*held_);
        next->template of<Key>().erase(length);
        publish(std::move(next));
    }
    ++(before > now() ? counters_.deleted : counters_.expired);
    return before > now();
}

LiveSet::Added LiveSet::add(const SetEntry& e) {
    const IpAddr& a = e.prefix.address;
    return a.family == Family::ipv4 ? add_key(e.prefix.length, number_of_v4(a), e.until)
                                    : add_key(e.prefix.length, number_of_v6(a), e.until);
}

bool LiveSet::remove(const Prefix& p) {
    return p.address.family == Family::ipv4 ? remove_key(p.length, number_of_v4(p.address))
                                            : remove_key(p.length, number_of_v6(p.address));
}

bool LiveSet::has(const Prefix& p) const {
    const auto look = [&](const auto& key) {
        const auto* const table = held_->of<std::decay_t<decltype(key)>>().find(p.length);
        return table != nullptr && table->find(key) > now();
    };
    return p.address.family == Family::ipv4 ? look(number_of_v4(p.address))
                                            : look(number_of_v6(p.address));
}

bool LiveSet::contains(const IpAddr& a) const {
    std::uint32_t found = 0;
    const auto look = [&](const auto& key) { find_in(&key, 1, 1, &found); };
    a.family == Family::ipv4 ? look(number_of_v4(a)) : look(number_of_v6(a));
    return found != 0;
}

void LiveSet::flush() {
    counters_.deleted += std::exchange(size_, 0);
    timed_ = false;
    publish(std::make_shared<const SetContents>());
}

void LiveSet::take(LiveSet&& other) {
    counters_.deleted += size_;
    counters_.added += other.size_;
    size_ = other.size_;
    timed_ = other.timed_;
    publish(other.held_);
    other.flush();
}

template <class Key>
std::size_t LiveSet::expire_part(std::size_t part, std::size_t from, std::size_t to) {
    const SetPart<Key> of = held_->of<Key>().parts[part];  // keeps the table
    std::vector<Key> gone;
    for (std::size_t line = from; line < to; ++line)
        of.table->for_each_in(line, [&](const Key& key, SetTime time) {
            if (time <= now()) gone.push_back(key);
        });
    for (const Key& key : gone)
        remove_key(of.length, key);
    return gone.size();
}

std::size_t LiveSet::expire(std::size_t lines) {
    std::size_t expired = 0;
    // At most once around; the first part may come twice, for its first lines.
    const std::size_t most = held_->size() + 1;
    for (std::size_t parts = 0; timed_ && lines != 0 && parts < most; ++parts) {
        if (expire_part_ >= held_->size()) expire_part_ = expire_line_ = 0;
        if (held_->size() == 0) break;
        const bool is_v4 = expire_part_ < held_->ipv4.parts.size();
        const std::size_t part = is_v4 ? expire_part_ : expire_part_ - held_->ipv4.parts.size();
        const std::size_t all =
            is_v4 ? held_->ipv4.parts[part].table->lines() : held_->ipv6.parts[part].table->lines();
        const std::size_t from = std::min(expire_line_, all);
        const std::size_t to = from + std::min(lines, all - from);
        lines -= to - from;
        const std::size_t before = held_->size();
        expired +=
            is_v4 ? expire_part<std::uint32_t>(part, from, to) : expire_part<Wide>(part, from, to);
        expire_line_ = to;
        if (to < all) break;
        expire_line_ = 0;
        if (held_->size() == before) ++expire_part_;  // else the next one has taken its place
    }
    return expired;
}

std::size_t LiveSet::bytes() const noexcept {
    std::size_t n = 0;
    const auto add = [&](const auto& family) {
        for (const auto& part : family.parts)
            n += part.table->bytes();
        for (const auto& group : family.groups)
            n += group.filter == nullptr ? 0 : group.filter->bytes();
    };
    add(held_->ipv4);
    add(held_->ipv6);
    return n;
}

bool LiveSet::list(SetCursor& at, const std::function<void(const SetEntry&)>& fn) const {
    const auto next_of = [&]<class Key>(const SetFamily<Key>& family) {
        for (const SetPart<Key>& part : family.parts) {
            const int length = static_cast<int>(part.length);
            if (length > at.length) continue;
            if (std::exchange(at.length, length) != length) at.hash = 0;
            at.hash = part.table->for_each_from(at.hash, [&](const Key& key, SetTime time) {
                if (time > now()) fn({prefix_of(part.length, key), time});
            });
            if (at.hash == SetTable<Key>::kHashes) --at.length, at.hash = 0;
            return true;
        }
        return false;
    };
    if (at.family == Family::ipv4) {
        if (next_of(held_->ipv4)) return true;
        at = {Family::ipv6, 128, 0};
    }
    return next_of(held_->ipv6);
}

}  // namespace postern
