// SPDX-License-Identifier: BSD-3-Clause
#include "sets/live_set.h"

#include <algorithm>
#include <bit>
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

/// The list of a set's tables, the longest prefixes first. Immutable; the tables change.
struct SetContents {
    std::vector<SetPart<std::uint32_t>> ipv4;
    std::vector<SetPart<Wide>> ipv6;

    template <class Key>
    auto& parts() noexcept {
        if constexpr (std::same_as<Key, Wide>)
            return ipv6;
        else
            return ipv4;
    }
    template <class Key>
    const auto& parts() const noexcept {
        return const_cast<SetContents*>(this)->parts<Key>();
    }
    template <class Key>
    SetTable<Key>* find(unsigned length) const noexcept {
        for (const auto& part : parts<Key>())
            if (part.length == length) return part.table.get();
        return nullptr;
    }
    std::size_t size() const noexcept { return ipv4.size() + ipv6.size(); }
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
    // Acquire pairs with the release of publish(): the list is complete.
    const SetContents* const contents = contents_.load(std::memory_order_acquire);
    const SetTime now = shared_->clock.now();
    Search searches[kMaxBurst];
    unsigned waiting = 0;
    // In groups, so that their loads overlap: of many addresses, or of one in many tables.
    const auto search = [&] {
        for (unsigned i = 0; i < waiting; ++i) {
            const auto& [part, line, k] = searches[i];
            if (part->table->find(line, masked(addresses[k], part->mask)) > now) out[k] |= bit;
        }
        waiting = 0;
    };
    for (const SetPart<Key>& part : contents->parts<Key>())
        for (unsigned k = 0; k < n; ++k) {
            const SetLine<Key>* const line = part.table->line_of(masked(addresses[k], part.mask));
            __builtin_prefetch(line);
            searches[waiting++] = {&part, line, k};
            if (waiting == kMaxBurst) search();
        }
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
    SetTable<Key>* table = held_->find<Key>(length);
    const SetTime known = table == nullptr ? kUnusedSlot : table->find(key);
    if (table == nullptr || (known == kUnusedSlot && !table->has_room())) {
        // A larger table without the dead keys, in a new list.
        auto grown = std::make_shared<SetTable<Key>>(room_for(table == nullptr ? 0 : table->live()),
                                                     shared_->secret);
        for (std::size_t line = 0; table != nullptr && line < table->lines(); ++line)
            table->for_each_in(line, [&](const Key& k, SetTime t) { grown->put(k, t); });
        grown->put(key, until);
        auto next = std::make_shared<SetContents>(*held_);
        auto& parts = next->template parts<Key>();
        auto at = std::ranges::find_if(parts, [&](const auto& p) { return p.length <= length; });
        if (at == parts.end() || at->length != length) at = parts.insert(at, SetPart<Key>{});
        *at = {length, mask_of<Key>(length), std::move(grown)};
        publish(std::move(next));
    } else {
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
    SetTable<Key>* const table = held_->find<Key>(length);
    const SetTime before = table == nullptr ? kUnusedSlot : table->put(key, kDeadSlot);
    if (before <= kDeadSlot) return false;
    --size_;
    if (table->live() == 0) {
        // Look-ups of other lengths do not pay for it.
        auto next = std::make_shared<SetContents>(*held_);
        std::erase_if(next->template parts<Key>(),
                      [&](const auto& part) { return part.length == length; });
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
        const auto* const table = held_->find<std::decay_t<decltype(key)>>(p.length);
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
    const SetPart<Key> of = held_->parts<Key>()[part];  // keeps the table
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
        const bool is_v4 = expire_part_ < held_->ipv4.size();
        const std::size_t part = is_v4 ? expire_part_ : expire_part_ - held_->ipv4.size();
        const std::size_t all =
            is_v4 ? held_->ipv4[part].table->lines() : held_->ipv6[part].table->lines();
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
    for (const auto& part : held_->ipv4)
        n += part.table->bytes();
    for (const auto& part : held_->ipv6)
        n += part.table->bytes();
    return n;
}

LiveSet::Walk::Walk(const LiveSet& set) : contents_(set.held_), shared_(set.shared_) {}

bool LiveSet::Walk::step(const std::function<void(const SetEntry&)>& fn) {
    if (part_ == contents_->size()) return false;
    const auto walk = [&]<class Key>(const SetPart<Key>& part) {
        part.table->for_each_in(line_, [&](const Key& key, SetTime time) {
            if (time > shared_->clock.now()) fn({prefix_of(part.length, key), time});
        });
        if (++line_ < part.table->lines()) return;
        line_ = 0;
        ++part_;
    };
    if (part_ < contents_->ipv4.size())
        walk(contents_->ipv4[part_]);
    else
        walk(contents_->ipv6[part_ - contents_->ipv4.size()]);
    return true;
}

}  // namespace postern
