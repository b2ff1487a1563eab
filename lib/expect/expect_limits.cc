// SPDX-License-Identifier: BSD-3-Clause
#include "expect/expect_limits.h"

#include <algorithm>
#include <bit>

namespace postern {
namespace {

/// Adds one, unless the limit is reached.
bool count_up(std::atomic<std::uint32_t>& count, std::uint32_t max) noexcept {
    if (count.fetch_add(1, std::memory_order_relaxed) < max) return true;
    count.fetch_sub(1, std::memory_order_relaxed);
    return false;
}

/// In place of the protocol in a host's key.
constexpr std::uint8_t kSource = 0, kServer = 1;

/// The same slot must not serve both rows of a sketch: the second one is in the second row.
constexpr bool is_counted(SketchPlace host) noexcept {
    return host != SketchPlace{};
}

}  // namespace

ExpectLimits::ExpectLimits(const ExpectConfig& c)
    : secret_(c.secret),
      max_live_(c.max_live),
      max_unproven_(c.max_unproven),
      max_per_host_(c.max_per_host != 0 ? c.max_per_host : ~0u),
      max_per_server_(c.max_per_server != 0 ? c.max_per_server : ~0u),
      max_per_security_zone_(c.max_per_security_zone != 0 ? c.max_per_security_zone : ~0u),
      max_per_zone_(kCtZones, c.max_per_zone),
      zone_live_(std::make_unique<std::atomic<std::uint32_t>[]>(kCtZones)) {
    for (const auto& [zone, max] : c.zone_limits)
        max_per_zone_[zone.number()] = max;
}

bool ExpectLimits::allocate(const ExpectConfig& c) {
    // Without a place in it a master is not counted for its security zone either.
    if (c.max_per_host == 0 && c.max_per_server == 0 && c.max_per_security_zone == 0) return true;
    const std::uint32_t row = std::bit_ceil(std::min(4 * c.max_live, 1u << 20));
    auto cells = make_rte_array<HostCount>(2 * std::size_t{row}, c.socket);
    if (!cells) return false;
    hosts_ = {std::move(cells), row};
    return true;
}

/// The counter of what `halves` of an address say, in one role. By words: bytes of a key would have
/// to reach memory before they are hashed as words.
SketchPlace ExpectLimits::host_place(CtZone ct_zone, std::uint8_t role, Family family,
                                     std::array<std::uint64_t, 2> halves) const noexcept {
    const std::uint64_t rest = ct_zone.number() | std::uint64_t{role} << 16 |
                               std::uint64_t{static_cast<std::uint8_t>(family)} << 24;
    return hosts_.place(keyed_hash<1>(std::array{halves[0], halves[1], rest}, secret_));
}

SketchPlace ExpectLimits::source_place(CtZone ct_zone, const IpAddr& source) const noexcept {
    if (!hosts_ || source.family == Family::none) return {};
    // The owner of one IPv6 address usually has its /64. The second half of an IPv4 one is zero.
    return host_place(ct_zone, kSource, source.family, {source.halves()[0], 0});
}

SketchPlace ExpectLimits::server_place(const Expectation& e) const noexcept {
    const IpAddr& server = e.master_tuple.dst;
    return host_place(e.key.ct_zone, kServer, server.family, server.halves());
}

InsertOutcome ExpectLimits::reserve(const Expectation& e, const ExpectBooks& books,
                                    bool of_unproven) noexcept {
    // Those of unproven masters and the others have separate limits.
    const std::uint32_t doubtful = unproven();
    if (of_unproven && doubtful >= max_unproven_) return InsertOutcome::limit_unproven;
    if (!count_up(live_, of_unproven ? ~0u : max_live_ + doubtful))
        return InsertOutcome::limit_total;
    if (books.counts_as() == ExpectAccount::unproven) return InsertOutcome::created;
    const InsertOutcome outcome = open_account(e);
    if (outcome != InsertOutcome::created) live_.fetch_sub(1, std::memory_order_relaxed);
    return outcome;
}

/// Over its limit only if both its counts are: see table/sketch.h.
bool ExpectLimits::count_host(SketchPlace place, std::uint32_t max) noexcept {
    const auto [a, b] = hosts_.at(place);
    const std::uint32_t in_a = a.fetch_add(1, std::memory_order_relaxed);
    const std::uint32_t in_b = b.fetch_add(1, std::memory_order_relaxed);
    if (std::min(in_a, in_b) < max) return true;
    uncount_host(place);
    return false;
}

void ExpectLimits::uncount_host(SketchPlace place) noexcept {
    const auto [a, b] = hosts_.at(place);
    a.fetch_sub(1, std::memory_order_relaxed);
    b.fetch_sub(1, std::memory_order_relaxed);
}

/// Counts it for its conntrack zone, and for its master's source, server and zone, unless one of
/// their limits is reached.
InsertOutcome ExpectLimits::open_account(const Expectation& e) noexcept {
    const std::uint32_t zone_max = max_per_zone_[e.key.ct_zone.number()];
    std::atomic<std::uint32_t>& of_ct_zone = zone_live_[e.key.ct_zone.number()];
    if (!count_up(of_ct_zone, zone_max == 0 ? ~0u : zone_max)) return InsertOutcome::limit_zone;
    if (!is_counted(e.host)) return InsertOutcome::created;
    InsertOutcome limit = InsertOutcome::limit_host;
    if (count_host(e.host, max_per_host_)) {
        limit = InsertOutcome::limit_server;
        if (count_host(server_place(e), max_per_server_)) {
            if (count_up(security_zone_live_[e.master_zone.number()], max_per_security_zone_))
                return InsertOutcome::created;
            limit = InsertOutcome::limit_security_zone;
            uncount_host(server_place(e));
        }
        uncount_host(e.host);
    }
    of_ct_zone.fetch_sub(1, std::memory_order_relaxed);
    return limit;
}

void ExpectLimits::close_account(const Expectation& e) noexcept {
    zone_live_[e.key.ct_zone.number()].fetch_sub(1, std::memory_order_relaxed);
    if (!is_counted(e.host)) return;
    uncount_host(e.host);
    uncount_host(server_place(e));
    security_zone_live_[e.master_zone.number()].fetch_sub(1, std::memory_order_relaxed);
}

void ExpectLimits::release(const Expectation& e, ExpectBooks& books) noexcept {
    live_.fetch_sub(1, std::memory_order_relaxed);
    if (books.account.exchange(ExpectAccount::closed, std::memory_order_relaxed) ==
        ExpectAccount::shared)
        close_account(e);
}

bool ExpectLimits::take_place(const Expectation& of, ExpectBooks& of_books, const Expectation& by,
                              const ExpectBooks& by_books) noexcept {
    if (of.key.ct_zone != by.key.ct_zone || of.host != by.host ||
        of.master_tuple.dst != by.master_tuple.dst || of.master_zone != by.master_zone)
        return false;
    ExpectAccount same = by_books.counts_as();
    return of_books.account.compare_exchange_strong(same, ExpectAccount::closed,
                                                    std::memory_order_relaxed);
}

bool ExpectLimits::prove(const Expectation& e, ExpectBooks& books) noexcept {
    if (open_account(e) != InsertOutcome::created) return false;
    ExpectAccount account = ExpectAccount::unproven;  // or just ended by another worker, and closed
    if (!books.account.compare_exchange_strong(account, ExpectAccount::shared,
                                               std::memory_order_relaxed))
        close_account(e);
    return true;
}

}  // namespace postern
