// SPDX-License-Identifier: BSD-3-Clause
#include "top_sums.h"

#include <algorithm>
#include <memory>

namespace postern {
namespace {

void add_to(std::pair<TopSums::Sum&, TopSums::Sum&> cells, const TopSums::Sum& s) noexcept {
    for (TopSums::Sum* cell : {&cells.first, &cells.second}) {
        cell->bytes += s.bytes;
        cell->packets += s.packets;
        cell->connections += s.connections;
        cell->fresh += s.fresh;
    }
}

TopSums::Sum least_of(std::pair<TopSums::Sum&, TopSums::Sum&> cells) noexcept {
    const auto& [a, b] = cells;
    return {std::min(a.bytes, b.bytes), std::min(a.packets, b.packets),
            std::min(a.connections, b.connections), std::min(a.fresh, b.fresh)};
}

}  // namespace

std::uint64_t TopSums::Sum::of(By by) const noexcept {
    switch (by) {
        case By::bytes: return bytes;
        case By::packets: return packets;
        case By::connections: return connections;
        case By::fresh: return fresh;
    }
    return 0;
}

TopSums::TopSums(By by, const HashSecret& secret)
    : by_(by),
      secret_(secret),
      before_(std::make_unique<Sum[]>(2 * kCells), kCells),
      now_(std::make_unique<Sum[]>(2 * kCells), kCells) {}

SketchPlace TopSums::place_of(const Key& key) const noexcept {
    const auto halves = key.address.halves();
    const std::uint64_t rest =
        std::uint64_t{static_cast<std::uint8_t>(key.address.family)} << 32 | key.number;
    return now_.place(
        keyed_hash(std::array{halves[0], halves[1], rest, std::uint64_t{0}}, secret_));
}

void TopSums::add_before(const Key& key, const Sum& totals) noexcept {
    add_to(before_.at(place_of(key)), totals);
}

TopSums::Sum TopSums::between(SketchPlace place) const noexcept {
    const Sum before = least_of(before_.at(place)), now = least_of(now_.at(place));
    return {now.bytes - std::min(before.bytes, now.bytes),
            now.packets - std::min(before.packets, now.packets), now.connections, now.fresh};
}

void TopSums::add(const Key& key, const Sum& totals) {
    const SketchPlace place = place_of(key);
    add_to(now_.at(place), totals);
    const Sum sum = between(place);
    // It grows with each connection of the key: at the last one it is whole.
    if (const auto found = kept_.find(key); found != kept_.end()) {
        found->second = sum;
        return;
    }
    if (kept_.size() == kKept && sum.of(by_) <= least_) return;
    if (kept_.size() == kKept) forget_smallest();
    kept_.emplace(key, sum);
}

/// Values grow, so the limit is too low rather than too high.
void TopSums::forget_smallest() {
    const auto less = [this](const auto& a, const auto& b) {
        return a.second.of(by_) < b.second.of(by_);
    };
    const auto smallest = std::min_element(kept_.begin(), kept_.end(), less);
    least_ = smallest->second.of(by_);
    kept_.erase(smallest);
}

std::vector<TopSums::Row> TopSums::largest(std::size_t most) const {
    std::vector<Row> rows;
    for (const auto& [key, sum] : kept_)
        rows.push_back({key, sum});
    std::ranges::sort(rows, [this](const Row& a, const Row& b) {
        const auto x = a.sum.of(by_), y = b.sum.of(by_);
        return x != y ? x > y : a.key < b.key;
    });
    if (rows.size() > most) rows.resize(most);
    return rows;
}

}  // namespace postern
