// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/conn_table.h"

#include <array>
#include <bit>
#include <cstring>
#include <new>
#include <string>
#include <utility>

namespace postern {
namespace {

/// c = Conn{}, by wide stores. A compiler fills 192 bytes by one instruction that takes longer.
void clear(Conn& c) noexcept {
    static constexpr Conn kBlank{};
    const auto* from = reinterpret_cast<const std::uint8_t*>(&kBlank);
    auto* to = reinterpret_cast<std::uint8_t*>(&c);
    for (unsigned at = 0; at < sizeof(Conn); at += 64)
        std::memcpy(to + at, from + at, 64);
}

}  // namespace

template <class T>
ConnTable::Array<T> ConnTable::allocate(const char* name, std::size_t n, std::size_t& bytes) {
    auto [memory, free] = take_table_memory(name, n * sizeof(T));
    auto* objects = static_cast<T*>(memory);
    bytes += n * sizeof(T);
    // Writes all of it, so that no packet causes a page fault.
    for (std::size_t i = 0; objects != nullptr && i < n; ++i)
        new (&objects[i]) T{};
    return Array<T>(objects, free);
}

Result<std::unique_ptr<ConnTable>> ConnTable::create(const Config& config) {
    if (config.max_connections > kConnSlot)
        return Error{"a table has at most " + std::to_string(kConnSlot) + " connections"};
    const std::size_t slots = std::size_t{config.max_connections} + 1;
    Memory m;
    m.slab = allocate<Conn>("conn_slab", slots, m.bytes);
    m.second = allocate<SecondKey>("conn_keys", std::size_t{config.second_keys} + 1, m.bytes);
    m.buckets = allocate<FlowIndex::Bucket>(
        "conn_index", FlowIndex::buckets_for(config.max_connections + config.second_keys), m.bytes);
    m.links = allocate<WheelLink>("conn_timers", slots, m.bytes);
    m.free = allocate<std::uint32_t>("conn_free", slots + kSlotsAhead, m.bytes);
    if (!m.slab || !m.second || !m.buckets || !m.links || !m.free)
        return Error{"no memory for the connection table of worker " +
                     std::to_string(config.worker.number()) + " (" +
                     std::to_string(config.max_connections) + " connections, about " +
                     std::to_string(m.bytes >> 20) +
                     " MiB): lower limits.connections or raise eal.memory_mb"};
    return std::unique_ptr<ConnTable>(new ConnTable(config, std::move(m)));
}

ConnTable::ConnTable(const Config& config, Memory memory) noexcept
    : worker_(config.worker),
      max_(config.max_connections),
      reserve_(config.expected_reserve),
      visit_ms_(config.visit_ms),
      secret_(config.secret),
      memory_(std::move(memory)),
      slab_(memory_.slab.get()),
      second_(memory_.second.get()),
      links_(memory_.links.get()),
      free_(memory_.free.get() + kSlotsAhead),
      index_(memory_.buckets.get(),
             FlowIndex::buckets_for(config.max_connections + config.second_keys)),
      wheel_(WheelSlots{links_, slab_}, config.start) {
    for (std::uint32_t i = max_; i > 0; --i)
        free_[++free_count_] = i;
    for (std::uint32_t i = config.second_keys; i > 0; --i)
        second_[i].slot = std::exchange(free_second_, i);
}

ConnTable::~ConnTable() = default;

bool ConnTable::same_ends(const Conn& conn, const PacketInfo& info,
                          const std::uint8_t* data) noexcept {
    const bool same_way = info.dir == Direction::original;
    const auto& src = same_way ? conn.src : conn.dst;
    const auto& dst = same_way ? conn.dst : conn.src;
    const Be16 sport = same_way ? conn.sport : conn.dport;
    const Be16 dport = same_way ? conn.dport : conn.sport;
    const Tuple t = *tuple_of(data, info);
    if (std::memcmp(t.src.bytes.data(), src, 16) != 0 ||
        std::memcmp(t.dst.bytes.data(), dst, 16) != 0)
        return false;
    // A GRE call: only the receiver's id is in the packet.
    if (conn.protocol() == proto::gre && conn.key_class == kGreCall)
        return info.kind == L4Kind::icmp_error ? t.sport == sport : t.dport == dport;
    return t.sport == sport && t.dport == dport;
}

Conn* ConnTable::lookup_one(PacketInfo& info, const std::uint8_t* data) noexcept {
    // With too many zones for tags the guess is still valid by key.
    if (Conn& guess = slab_[info.conn]; guess.key == info.key) {
        info.dir = direction_of(info, guess);
        if (is_owner(guess, info, data)) return &guess;
    }
    const std::uint32_t entry = index_.find(
        info.hash, [&](std::uint32_t candidate) { return key_of(candidate) == info.key; });
    info.conn = 0;
    if (entry == 0) return nullptr;
    const std::uint32_t slot = entry & kConnSlot;
    Conn& conn = slab_[slot];
    if ((entry & kHasSecondKey) == 0) {
        info.dir = direction_of(info, conn);
    } else {
        const Direction of_low_end = second_of(slot).of_low_end;
        info.dir = info.swapped ? !of_low_end : of_low_end;
    }
    if (!is_owner(conn, info, data)) {
        info.why = DropReason::ct_collision;
        return nullptr;
    }
    info.conn = slot;
    return &conn;
}

/// Takes a free slot, and adds it to the index by this key. False: there is none.
inline bool ConnTable::take_slot(const FlowKey& key, std::uint32_t hash,
                                 std::uint32_t& slot) noexcept {
    slot = free_[free_count_];  // 0 when there is none
    if (slot == 0) return false;
    const std::uint32_t notes = kThirdLine | (needs_ends(key) ? kSecondLine : 0);
    if (!index_.insert(hash, slot | notes,
                       [&](std::uint32_t s) { return hash_of(key_of(s), *secret_); }))
        return false;
    --free_count_;
    return true;
}

std::uint32_t ConnTable::find(const Tuple& tuple, CtZone ct_zone,
                              std::uint8_t key_class) const noexcept {
    const bool call = tuple.protocol == proto::gre && key_class == kGreCall;
    for (const Tuple& way : {tuple, tuple.reversed()}) {
        bool swapped;
        const FlowKey key = make_key(way, ct_zone, *secret_, swapped, key_class);
        const std::uint32_t entry =
            index_.find(hash_of(key, *secret_), [&](std::uint32_t candidate) {
                if (key_of(candidate) != key) return false;
                Tuple have = slab_[candidate & kConnSlot].tuple();
                if ((candidate & kHasSecondKey) != 0) have = have.reversed();
                if (call)
                    return have.src == way.src && have.dst == way.dst && have.dport == way.dport;
                return have == way || have.reversed() == way;
            });
        if (entry != 0) return entry & kConnSlot;
        if (key_class != 0 && !call) break;  // the reverse direction is another query
        // The sender's id is not known: 0 would be the id of another call.
        if (call && tuple.sport.raw() == 0) break;
    }
    return 0;
}

std::uint32_t ConnTable::create_conn(const PacketInfo& info, const std::uint8_t* data, Tick now,
                                     bool expected) noexcept {
    std::uint32_t slot;
    if (!has_room(expected) || !take_slot(info.key, info.hash, slot)) return 0;
    // One of the next to be created: memory takes longer than creating the one between.
    const std::uint32_t ahead = *(free_ + free_count_ - (kSlotsAhead - 1));
    __builtin_prefetch(&links_[ahead], 1);
    const auto* line = reinterpret_cast<const char*>(&slab_[ahead]);
    __builtin_prefetch(line, 1);
    __builtin_prefetch(line + 64, 1);
    __builtin_prefetch(line + 128, 1);

    Conn& c = slab_[slot];
    const auto generation = static_cast<std::uint16_t>(c.generation + 1);
    const auto tuple = tuple_of(data, info);  // no copy of it: that costs more than reading it
    clear(c);
    c.key = info.key;
    c.generation = generation;
    c.flags = static_cast<std::uint8_t>((info.swapped ? conn_flag::swapped : 0) |
                                        (expected ? conn_flag::expected : 0));
    c.key_class = info.key_class & 0x0f;
    c.set_edges(info.zones);
    if (info.protocol == proto::gre) c.gre = {};
    std::memcpy(c.src, tuple->src.bytes.data(), 16);
    std::memcpy(c.dst, tuple->dst.bytes.data(), 16);
    c.sport = tuple->sport;
    c.dport = tuple->dport;
    c.start_ms = c.last_seen_ms = now.ms;
    if (expected) {
        c.visit_ms = now.ms + visit_ms_;
        ++expected_;
    }
    count_.add(1);
    return slot;
}

std::uint32_t ConnTable::adopt(const Conn& image, const ZonePair& zones, Tick now) noexcept {
    bool swapped;
    const FlowKey key =
        make_key(image.tuple(), image.ct_zone(), *secret_, swapped, image.key_class);
    std::uint32_t slot;
    if (!has_room(image.has(conn_flag::expected)) || !take_slot(key, hash_of(key, *secret_), slot))
        return 0;
    Conn& c = slab_[slot];
    const auto generation = static_cast<std::uint16_t>(c.generation + 1);
    c = image;
    c.key = key;
    c.generation = generation;
    c.helper_slot = 0;
    if (c.protocol() == proto::gre) c.gre = {};
    if (c.protocol() == proto::tcp) c.forbid_shortcuts();
    if (!c.has_tracker()) c.plain = {{c.last_seen_ms, c.last_seen_ms}};
    c.flags =
        static_cast<std::uint8_t>((c.flags & ~(conn_flag::swapped | conn_flag::has_helper_slot)) |
                                  (swapped ? conn_flag::swapped : 0));
    c.set_edges(zones);
    if (c.has(conn_flag::expected)) {
        c.visit_ms = now.ms + visit_ms_;
        ++expected_;
    }
    count_.add(1);
    return slot;
}

/// The key of the answers to a GRE call's first packet: back to its sender, with the sender's id.
FlowKey ConnTable::answer_key(const Tuple& tuple, CtZone ct_zone, Be16 sender,
                              bool& swapped) const noexcept {
    Tuple answer = tuple.reversed();
    answer.dport = sender;
    return make_key(answer, ct_zone, *secret_, swapped, kGreCall);
}

std::uint32_t ConnTable::holder_of(std::uint32_t slot, Be16 sender) const noexcept {
    const Conn& conn = slab_[slot];
    bool swapped;
    // One id for both directions: its own key is not another call's.
    if (answer_key(conn.tuple(), conn.ct_zone(), sender, swapped) == conn.key) return 0;
    return holder_of(conn.tuple(), conn.ct_zone(), sender);
}

std::uint32_t ConnTable::holder_of(const Tuple& tuple, CtZone ct_zone, Be16 sender) const noexcept {
    bool swapped;
    return entry_of(answer_key(tuple, ct_zone, sender, swapped)) & kConnSlot;
}

bool ConnTable::pair(std::uint32_t slot, Be16 sender) noexcept {
    Conn& c = slab_[slot];
    c.sport = sender;
    bool swapped;
    const FlowKey key = answer_key(c.tuple(), c.ct_zone(), sender, swapped);
    if (key == c.key) return true;  // a host with a call to itself, with one id
    return add_second_key(slot, key, swapped ? Direction::original : Direction::reply);
}

bool ConnTable::add_second_key(std::uint32_t slot, const FlowKey& key,
                               Direction of_low_end) noexcept {
    const std::uint32_t number = free_second_;
    if (number == 0) return false;
    SecondKey& second = second_[number];
    if (!index_.insert(hash_of(key, *secret_), slot | kHasSecondKey | kThirdLine | kSecondLine,
                       [&](std::uint32_t s) { return hash_of(key_of(s), *secret_); }))
        return false;
    free_second_ = second.slot;
    second = {key, slot, of_low_end};
    slab_[slot].gre.second_key = number;
    return true;
}

void ConnTable::remove_second_key(std::uint32_t slot) noexcept {
    const std::uint32_t number = slab_[slot].gre.second_key;
    index_.erase(hash_of(second_[number].key, *secret_), slot | kHasSecondKey);
    second_[number].slot = std::exchange(free_second_, number);
    slab_[slot].gre.second_key = 0;
}

namespace {

constexpr unsigned kVictimSample = 16;

/// The value of the connection; kKeep: not to be displaced.
constexpr unsigned kKeep = 4;
/// `flooded`: expected connections have used up their reserve.
unsigned worth(const Conn& c, bool flooded) noexcept {
    // Nearly all of a table; their state, in another line of memory, is known to be a good one.
    if (c.has(conn_flag::assured) && c.tcp_steady()) return kKeep;
    if (!c.has(conn_flag::seen_reply)) return c.has(conn_flag::expected) && !flooded ? 2 : 0;
    if (c.closing()) return 1;
    return c.has(conn_flag::assured) ? kKeep : 3;
}

}  // namespace

std::uint32_t ConnTable::find_victim(Tick now) noexcept {
    // Steps of the golden ratio: the sample is spread over the table, and visits everything in
    // time.
    std::uint32_t slots[kVictimSample];
    for (auto& slot : slots) {
        sweep_ += 0x9e3779b9u;
        slot = 1 + static_cast<std::uint32_t>(std::uint64_t{sweep_} * max_ >> 32);
        const auto* line = reinterpret_cast<const char*>(&slab_[slot]);
        __builtin_prefetch(line);
        __builtin_prefetch(line + 128);
    }
    std::uint32_t best = 0;
    unsigned best_worth = kKeep;
    std::int32_t best_silence = 0;
    for (const std::uint32_t slot : slots) {
        const Conn& c = slab_[slot];
        if (!c.alive()) continue;
        const unsigned w = worth(c, expected_ > reserve_);
        const std::int32_t silence = now - c.last_seen();
        if (w < best_worth || (w == best_worth && w != kKeep && silence > best_silence)) {
            best = slot;
            best_worth = w;
            best_silence = silence;
        }
    }
    return best;
}

void ConnTable::arm_pending() noexcept {
    unsigned n = 0;
    for (unsigned i = 0; i < pending_count_; ++i) {
        if (wheel_.needs_no_rearm(pending_[i])) continue;
        pending_[n++] = pending_[i];
        wheel_.prefetch_neighbours(pending_[i]);
    }
    for (unsigned i = 0; i < n; ++i)
        wheel_.arm(pending_[i]);
    pending_count_ = 0;
}

void ConnTable::remove(std::uint32_t slot) noexcept {
    Conn& c = slab_[slot];
    if (c.protocol() == proto::gre && c.gre.second_key != 0) [[unlikely]]
        remove_second_key(slot);
    index_.erase(hash_of_slot(slot), slot);
    if (c.has(conn_flag::expected)) --expected_;
    c.key.family = 0;  // the rest may still be read for the event of its last packet
    free_[++free_count_] = slot;
    count_.set(count_.get() - 1);
}

}  // namespace postern
