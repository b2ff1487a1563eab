// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/conn_table.h"

#include <atomic>
#include <cstring>
#include <new>
#include <string>

#include <rte_hash.h>
#include <rte_malloc.h>

namespace postern {
namespace {

// The hash is filled to 8/9 at most: a cuckoo table that is nearly full spends its time moving
// keys.
std::uint32_t hash_entries(std::uint32_t max) {
    return max + max / 8 + 64;
}

void* as_data(std::uint32_t slot) noexcept {
    return reinterpret_cast<void*>(static_cast<std::uintptr_t>(slot));
}
std::uint32_t as_slot(const void* data) noexcept {
    return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(data));
}

}  // namespace

Result<std::unique_ptr<ConnTable>> ConnTable::create(const Config& config) {
    // rte_hash wants a name that is unique in the process; several tables may serve one worker id
    // in tests.
    static std::atomic<unsigned> serial{0};
    const std::string name = "conn_" + std::to_string(serial.fetch_add(1));
    const std::size_t slab_bytes = (std::size_t{config.max_connections} + 1) * sizeof(Conn);
    auto failed = [&](const char* what) {
        return Error{std::string("no memory for the connection table's ") + what + " of worker " +
                     std::to_string(config.worker) + " (" + std::to_string(config.max_connections) +
                     " connections, about " +
                     std::to_string((slab_bytes + config.max_connections * 60ul) >> 20) +
                     " MiB): lower limits.connections or raise eal.memory_mb"};
    };
    rte_hash_parameters params{};
    params.name = name.c_str();
    params.entries = hash_entries(config.max_connections);
    params.key_len = sizeof(FlowKey);
    params.socket_id = SOCKET_ID_ANY;
    rte_hash* hash = rte_hash_create(&params);
    if (hash == nullptr) return failed("hash");
    auto* memory = rte_zmalloc_socket("conn_slab", slab_bytes, 64, SOCKET_ID_ANY);
    if (memory == nullptr) {
        rte_hash_free(hash);
        return failed("slots");
    }
    auto* slab = static_cast<Conn*>(memory);
    for (std::uint32_t i = 0; i <= config.max_connections; ++i)
        new (&slab[i]) Conn;
    std::unique_ptr<ConnTable> table(new ConnTable(config, slab, hash));
    table->memory_bytes_ = slab_bytes + hash_entries(config.max_connections) * 60ul;
    return table;
}

ConnTable::ConnTable(const Config& config, Conn* slab, rte_hash* hash) noexcept
    : worker_(config.worker),
      max_(config.max_connections),
      reserve_(config.expected_reserve),
      visit_ms_(config.visit_ms),
      secret_(config.secret),
      hash_(hash),
      slab_(slab),
      wheel_(WheelSlots{slab}, config.start) {
    for (std::uint32_t i = max_; i > 0; --i) {
        slab_[i].next_free = free_head_;
        free_head_ = i;
    }
}

ConnTable::~ConnTable() {
    rte_hash_free(hash_);
    rte_free(slab_);
}

bool ConnTable::matches(const Conn& conn, const PacketInfo& info,
                        const std::uint8_t* data) const noexcept {
    if (conn.family != info.family) return false;
    const Tuple t = tuple_of(data, info);
    const bool same_way = info.swapped == conn.has(conn_flag::swapped);
    const auto& src = same_way ? conn.src : conn.dst;
    const auto& dst = same_way ? conn.dst : conn.src;
    return std::memcmp(src, t.src.bytes.data(), 16) == 0 &&
           std::memcmp(dst, t.dst.bytes.data(), 16) == 0 &&
           t.sport == (same_way ? conn.sport : conn.dport) &&
           t.dport == (same_way ? conn.dport : conn.sport);
}

std::uint64_t ConnTable::lookup(PacketInfo* infos, const std::uint8_t* const* data,
                                std::uint64_t mask) noexcept {
    const void* keys[kMaxBurst];
    hash_sig_t hashes[kMaxBurst];
    void* found[kMaxBurst];
    std::uint8_t which[kMaxBurst];
    unsigned n = 0;
    for (std::uint64_t m = mask; m != 0; m &= m - 1) {
        const auto i = static_cast<unsigned>(std::countr_zero(m));
        which[n] = static_cast<std::uint8_t>(i);
        keys[n] = &infos[i].key;
        hashes[n++] = infos[i].hash;
    }
    std::uint64_t hits = 0;
    if (n == 0 || rte_hash_lookup_with_hash_bulk_data(hash_, keys, hashes, n, &hits, found) <= 0)
        return 0;
    for (std::uint64_t m = hits; m != 0; m &= m - 1)
        prefetch(as_slot(found[std::countr_zero(m)]));
    std::uint64_t result = 0;
    for (std::uint64_t m = hits; m != 0; m &= m - 1) {
        const auto k = static_cast<unsigned>(std::countr_zero(m));
        PacketInfo& info = infos[which[k]];
        const std::uint32_t slot = as_slot(found[k]);
        const Conn& conn = slab_[slot];
        // An IPv6 key is a digest: make sure.
        if (info.family == Family::ipv6 && !matches(conn, info, data[which[k]])) {
            info.why = DropReason::ct_collision;
            continue;
        }
        info.conn = slot;
        info.generation = conn.generation;
        info.dir =
            info.swapped == conn.has(conn_flag::swapped) ? Direction::original : Direction::reply;
        result |= std::uint64_t{1} << which[k];
    }
    return result;
}

bool ConnTable::lookup_one(PacketInfo& info, const std::uint8_t* data) noexcept {
    void* found;
    if (rte_hash_lookup_with_hash_data(hash_, &info.key, info.hash, &found) < 0) return false;
    const std::uint32_t slot = as_slot(found);
    const Conn& conn = slab_[slot];
    if (info.family == Family::ipv6 && !matches(conn, info, data)) {
        info.why = DropReason::ct_collision;
        return false;
    }
    info.conn = slot;
    info.generation = conn.generation;
    info.dir =
        info.swapped == conn.has(conn_flag::swapped) ? Direction::original : Direction::reply;
    return true;
}

std::uint32_t ConnTable::create_conn(const PacketInfo& info, const std::uint8_t* data, Tick now,
                                     bool expected) noexcept {
    const std::uint32_t limit = expected ? max_ : max_ - reserve_;
    if (size() >= limit || free_head_ == 0) return 0;
    const std::uint32_t slot = free_head_;
    if (rte_hash_add_key_with_hash_data(hash_, &info.key, info.hash, as_data(slot)) != 0) return 0;

    Conn& c = slab_[slot];
    free_head_ = c.next_free;
    const auto generation = c.generation;
    const Tuple t = tuple_of(data, info);
    c = Conn{};
    c.generation = generation;
    c.protocol = info.protocol;
    c.zone = info.key.zone;
    c.flags = static_cast<std::uint8_t>((info.swapped ? conn_flag::swapped : 0) |
                                        (expected ? conn_flag::expected : 0));
    c.icmp_class = info.icmp_class;
    std::memcpy(c.src, t.src.bytes.data(), 16);
    std::memcpy(c.dst, t.dst.bytes.data(), 16);
    c.sport = t.sport;
    c.dport = t.dport;
    c.family = info.family;
    c.start_ms = c.last_seen_ms = now.ms;
    if (expected) c.visit_ms = now.ms + visit_ms_;
    count_.add(1);
    return slot;
}

namespace {

constexpr unsigned kVictimSample = 16;

/// How bad it is to lose the connection; kKeep: too bad.
constexpr unsigned kKeep = 4;
unsigned worth(const Conn& c) noexcept {
    if (!c.has(conn_flag::seen_reply)) return c.has(conn_flag::expected) ? 2 : 0;
    if (c.protocol == proto::tcp && c.tcp_state() >= TcpState::fin_wait &&
        c.tcp_state() <= TcpState::close)
        return 1;
    return c.has(conn_flag::assured) ? kKeep : 3;
}

}  // namespace

std::uint32_t ConnTable::find_victim(Tick now) noexcept {
    // Steps of the golden ratio: the sample is spread over the table, and comes everywhere in time.
    std::uint32_t slots[kVictimSample];
    for (auto& slot : slots) {
        sweep_ += 0x9e3779b9u;
        slot = 1 + static_cast<std::uint32_t>(std::uint64_t{sweep_} * max_ >> 32);
        prefetch(slot);
    }
    std::uint32_t best = 0;
    unsigned best_worth = kKeep;
    std::int32_t best_silence = 0;
    for (const std::uint32_t slot : slots) {
        const Conn& c = slab_[slot];
        if (c.family == Family::none) continue;
        const unsigned w = worth(c);
        const std::int32_t silence = now - c.last_seen();
        if (w < best_worth || (w == best_worth && w != kKeep && silence > best_silence)) {
            best = slot;
            best_worth = w;
            best_silence = silence;
        }
    }
    return best;
}

void ConnTable::remove(std::uint32_t slot) noexcept {
    Conn& c = slab_[slot];
    // Of an ICMP query the original direction is always the one that asks.
    bool swapped;
    const FlowKey key = make_key(c.tuple(), c.zone, *secret_, swapped, c.icmp_class);
    rte_hash_del_key_with_hash(hash_, &key, hash_of(key, *secret_));
    wheel_.disarm(slot);
    ++c.generation;
    c.family = Family::none;
    c.next_free = free_head_;
    free_head_ = slot;
    count_.set(count_.get() - 1);
}

}  // namespace postern
