// SPDX-License-Identifier: BSD-3-Clause
// Set-up of a table.
#include "expect/table.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <string>

#include <rte_hash.h>
#include <rte_malloc.h>

#include "expect/owner.h"

namespace postern {
namespace {

constexpr unsigned kMinShardsPerOwner = 4;

}  // namespace

void RteFree::operator()(void* p) const noexcept {
    rte_free(p);
}

void* take_rte_memory(std::size_t bytes, int socket) noexcept {
    return rte_malloc_socket("expect", bytes, 64, socket);
}

ExpectTable::ExpectTable(const ExpectConfig& c)
    : secret_(c.secret),
      shard_count_(std::bit_ceil(kMinShardsPerOwner * c.owners)),
      shard_shift_(64u - static_cast<unsigned>(std::countr_zero(shard_count_))),
      max_per_destination_(c.max_per_destination),
      limits_(c) {}

Result<std::unique_ptr<ExpectTable>> ExpectTable::create(const ExpectConfig& config) {
    if (config.owners == 0 || config.owners > kMaxOwners)
        return Error{"expectation table: 1.." + std::to_string(kMaxOwners) + " owners expected"};
    if (config.per_owner == 0 || config.per_owner > (1u << 30) / config.owners)
        return Error{"expectation table: 1.." + std::to_string((1u << 30) / config.owners) +
                     " expectations an owner expected"};
    if (config.max_live == 0 || config.max_per_destination == 0 || config.rcu == nullptr)
        return Error{"expectation table: a limit of 0, or no RCU variable"};
    std::unique_ptr<ExpectTable> table(new ExpectTable(config));
    if (auto r = table->allocate_all(config); !r) return r.error();
    return table;
}

Result<void> ExpectTable::allocate_all(const ExpectConfig& c) {
    const std::size_t objects = std::size_t{c.owners} * c.per_owner;
    // A key in the hash: itself with its data, its share of twice as many bucket entries, a slot.
    constexpr std::size_t kKeyBytes = 32 + 2 * 8 + 8;
    const std::size_t bytes =
        objects * (sizeof(Expectation) + sizeof(ExpectBooks) + kKeyBytes + sizeof(std::uint64_t));
    const Error no_memory{"expectation table: no memory for " + std::to_string(c.owners) + " x " +
                          std::to_string(c.per_owner) + " expectations (about " +
                          std::to_string(bytes >> 20) +
                          " MiB): lower limits.expectations or raise eal.memory_mb"};
    store_.per_owner = c.per_owner;
    store_.objects = make_rte_array<Expectation>(objects + 1, c.socket);
    store_.books_of = make_rte_array<ExpectBooks>(objects + 1, c.socket);
    if (!store_.objects || !store_.books_of || !limits_.allocate(c)) return no_memory;

    // The hash distributes the keys evenly except for chance: six standard deviations of room, and
    // some for small tables. There cannot be more keys than objects (pending or in their grace
    // period).
    const double mean = static_cast<double>(objects) / shard_count_;
    const auto keys = static_cast<std::uint32_t>(mean + 6 * std::sqrt(mean)) + 64;
    shards_ = std::make_unique<ExpectShard[]>(shard_count_);
    for (unsigned i = 0; i < shard_count_; ++i) {
        char name[RTE_HASH_NAMESIZE];
        // Unique in the process; short, because rte_hash puts prefixes before it.
        std::snprintf(name, sizeof name, "x%lx.%x", reinterpret_cast<unsigned long>(this) >> 4, i);
        if (!shards_[i].create(name, keys, std::bit_ceil(2 * keys), c.socket, c.rcu))
            return no_memory;
    }
    for (unsigned i = 0; i < c.owners; ++i)
        owners_.push_back(std::make_unique<ExpectOwner>(*this, static_cast<OwnerId>(i), c));
    return {};
}

ExpectTable::~ExpectTable() = default;

}  // namespace postern
