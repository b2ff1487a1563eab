// SPDX-License-Identifier: BSD-3-Clause
#include "expect/shard.h"

#include <cassert>
#include <cstring>

#include <rte_hash.h>
#include <rte_rcu_qsbr.h>

namespace postern {
namespace {

/// Replaces memcmp(), which rte_hash would call for a key of 24 bytes. 0 if equal.
int compare_keys(const void* a, const void* b, std::size_t) {
    std::uint64_t x[3], y[3];
    std::memcpy(x, a, sizeof x);
    std::memcpy(y, b, sizeof y);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2])) != 0;
}

}  // namespace

bool ExpectShard::create(const char* name, std::uint32_t keys, std::uint32_t slots, int socket,
                         rte_rcu_qsbr* rcu) {
    rte_hash_parameters params{};
    params.name = name;
    params.entries = keys;
    params.key_len = sizeof(ExpectKey);
    params.socket_id = socket;
    // Not MULTI_WRITER_ADD: the shard's own lock serialises writers, see NOTES.md.
    params.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF | RTE_HASH_EXTRA_FLAGS_EXT_TABLE;
    hash_ = rte_hash_create(&params);
    if (hash_ == nullptr) return false;
    rte_hash_set_cmp_func(hash_, compare_keys);
    rte_hash_rcu_config deferred{};
    deferred.v = rcu;
    deferred.mode = RTE_HASH_QSBR_MODE_DQ;
    if (rte_hash_rcu_qsbr_add(hash_, &deferred) != 0) return false;
    slot_mask_ = slots - 1;
    anchor_ = make_rte_array<std::atomic<std::uint32_t>>(
        static_cast<std::size_t>(rte_hash_max_key_id(hash_)) + 1, socket);
    presence_ = make_rte_array<std::atomic<std::uint16_t>>(slots, socket);
    return anchor_ != nullptr && presence_ != nullptr;
}

ExpectShard::~ExpectShard() {
    rte_hash_free(hash_);
}

std::int32_t ExpectShard::position_of(const ExpectKey& key, std::uint64_t hash) const noexcept {
    return rte_hash_lookup_with_hash(hash_, &key, static_cast<hash_sig_t>(hash));
}

std::uint32_t ExpectShard::first(const ExpectKey& key, std::uint64_t hash) const noexcept {
    const std::int32_t position = position_of(key, hash);
    if (position < 0) return 0;
    // Acquire pairs with publish()'s release: the candidate is complete.
    return anchor_[static_cast<std::uint32_t>(position)].load(std::memory_order_acquire);
}

std::int32_t ExpectShard::add_key(const ExpectKey& key, std::uint64_t hash) noexcept {
    return rte_hash_add_key_with_hash(hash_, &key, static_cast<hash_sig_t>(hash));
}

void ExpectShard::count_in(const Expectation& e) noexcept {
    live_.store(live_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    auto& slot = presence_[slot_of(e.hash)];
    slot.store(static_cast<std::uint16_t>(slot.load(std::memory_order_relaxed) + 1),
               std::memory_order_relaxed);
}

void ExpectShard::publish(Expectation& e, std::uint32_t index) noexcept {
    // Release pairs with first()'s acquire.
    anchor_[e.position].store(index, std::memory_order_release);
}

void ExpectShard::unlink(Expectation& e, std::uint32_t index, const ExpectStore& store) noexcept {
    std::atomic<std::uint32_t>* link = &anchor_[e.position];
    for (std::uint32_t i; (i = link->load(std::memory_order_relaxed)) != index;) {
        assert(i != 0);
        link = &store.at(i).next;
    }
    // Release: a reader that follows it must see the next candidate.
    link->store(e.next.load(std::memory_order_relaxed), std::memory_order_release);
    auto& slot = presence_[slot_of(e.hash)];
    slot.store(static_cast<std::uint16_t>(slot.load(std::memory_order_relaxed) - 1),
               std::memory_order_relaxed);
    live_.store(live_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

void ExpectShard::drop_key_if_unused(const ExpectKey& key, std::uint64_t hash,
                                     std::uint32_t position) noexcept {
    if (anchor_[position].load(std::memory_order_relaxed) == 0)
        rte_hash_del_key_with_hash(hash_, &key, static_cast<hash_sig_t>(hash));
}

}  // namespace postern
