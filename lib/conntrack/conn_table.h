// SPDX-License-Identifier: BSD-3-Clause
// ConnTable: the connections of one worker.
//
// What: a slab of Conn, an index from the hash of a FlowKey to a slot (flow_index.h), second keys
// for connections whose two directions have different ones, and a timing wheel for their expiry;
// packets only store last_seen. All memory is allocated and touched at creation. Slots are reused
// last-in first-out, so the warm ones come first. A free slot may still be in the wheel, for its
// former connection: the next one takes that over, or the wheel removes it.
//
// Used by: its worker only. Other threads send a request.
//
// Cost: a look-up reads one line of the index, then the Conn, all of a burst prefetched. The
// wheel's links are apart from the connections, dense, so that a walk of a long list stays in the
// cache. 212 bytes a connection, and 32 for a second key.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "base/counter.h"
#include "base/result.h"
#include "conntrack/conn.h"
#include "conntrack/flow_index.h"
#include "conntrack/table_memory.h"
#include "metrics/metric.h"
#include "net/packet.h"
#include "table/timing_wheel.h"

namespace postern {

// Many methods: slots, keys, index and timers are one structure, and a look-up takes three steps.
class ConnTable {
  public:
    static constexpr MetricDesc kCountMetric{"connections", "connections now", Unit::connections,
                                             MetricKind::gauge};
    static constexpr MetricDesc kCapacityMetric{"connections_max", "how many there may be",
                                                Unit::connections, MetricKind::gauge};
    struct Config {
        WorkerId worker;
        std::uint32_t max_connections = 0;
        std::uint32_t expected_reserve = 0;  ///< of these, reserved for expected children
        std::uint32_t second_keys = 0;       ///< connections that may have one, at once
        std::uint32_t visit_ms = 60'000;     ///< interval of visits to expected children
        const HashSecret* secret = nullptr;
        Tick start;
    };
    /// Fails with a text that contains the memory needed.
    static Result<std::unique_ptr<ConnTable>> create(const Config& config);
    ~ConnTable();
    ConnTable(const ConnTable&) = delete;
    ConnTable& operator=(const ConnTable&) = delete;

    /// The result of lookup(): for TCP over IPv6 by the key alone, a keyed digest. The whole tuple
    /// is in a line of the connection that its next segment in order need not read, since its
    /// numbers match.
    class [[nodiscard]] Found {
      public:
        explicit operator bool() const noexcept { return conn_ != nullptr; }
        /// Sufficient for track_fast(), which accepts such segments only, or checked ones.
        Conn& for_next_segment() const noexcept { return *conn_; }
        /// Valid for any packet. Null, with info.conn 0 and why ct_collision, if the connection is
        /// another one with the same digest; also null if nothing was found.
        [[gnu::always_inline]] Conn* checked(PacketInfo& info,
                                             const std::uint8_t* data) const noexcept {
            if (conn_ == nullptr || is_owner(*conn_, info, data)) [[likely]]
                return conn_;
            info.conn = 0;
            info.why = DropReason::ct_collision;
            return nullptr;
        }

        explicit Found(Conn* conn) noexcept : conn_(conn) {}

      private:
        Conn* conn_;
    };
    /// Finds a packet's connection guessed by prefetch_conn(), if the packet travels between its
    /// zones, by their tags: sets info.dir. Else call may_be_another(), for lookup_one().
    [[gnu::always_inline]] Found lookup(PacketInfo& info, const std::uint8_t* data) noexcept {
        Conn& guess = slab_[info.conn];
        // Slot 0 is not a connection, and its key matches nothing. lookup_one() finds a connection
        // by its second key.
        if (fits(guess, info)) [[likely]] {
            info.dir = direction_of(info, guess);
            if (info.kind == L4Kind::tcp || is_owner(guess, info, data)) [[likely]]
                return Found(&guess);
        }
        return Found(nullptr);
    }
    /// Whether a packet for which lookup() found nothing may have a connection nevertheless. If
    /// not, sets info.conn to 0.
    [[gnu::always_inline]] bool may_be_another(const PacketInfo& info) const noexcept {
        return info.conn != 0 || index_.spilled(info.hash);
    }
    /// Finds a packet's connection, whatever its zones, and independent of info.conn: sets
    /// info.conn and info.dir, or info.conn to 0. Compares the whole tuple.
    Conn* lookup_one(PacketInfo& info, const std::uint8_t* data) noexcept;

    /// Returns the connection with this tuple in either direction (ICMP: with the query's source);
    /// 0: none. `key_class` as in PacketInfo. Not for packets.
    std::uint32_t find(const Tuple& tuple, CtZone ct_zone, std::uint8_t key_class) const noexcept;

    /// Allocates a slot for the packet's connection, with key, tuple, flags and generation set; 0
    /// if the table is full. `expected`: may use the reserve. The caller fills in the rest, then
    /// calls arm(). The packet must not have a connection yet.
    std::uint32_t create_conn(const PacketInfo& info, const std::uint8_t* data, Tick now,
                              bool expected) noexcept;
    /// Whether one more connection fits now. The reserve is room that only expected connections may
    /// use. Expected ones beyond it compete with all others, so that a flood of expected
    /// connections excludes no new one.
    bool has_room(bool expected) const noexcept {
        if (size() >= max_) return false;
        return expected || size() - std::min(expected_, reserve_) < max_ - reserve_;
    }
    /// Whether one more connection may have a second key.
    bool has_second_key() const noexcept { return free_second_ != 0; }
    /// Allocates a slot for a restored connection, unchanged except for key and generation; 0: the
    /// table is full. There must be none with its tuple. A GRE call has only one key before pair().
    /// `zones`: of its original direction.
    std::uint32_t adopt(const Conn& image, const ZonePair& zones, Tick now) noexcept;
    /// Gives a GRE version 1 connection its second key: `sender` is the call id of the end that
    /// sent the first packet, which the answers will carry. holder_of() returns another connection
    /// with this key, which must end first. False: there are no more second keys.
    bool pair(std::uint32_t slot, Be16 sender) noexcept;
    /// The connection to which the answers would belong without pair(); 0: none.
    std::uint32_t holder_of(std::uint32_t slot, Be16 sender) const noexcept;
    /// The same for a call without a slot: `tuple` is that of its first packet.
    std::uint32_t holder_of(const Tuple& tuple, CtZone ct_zone, Be16 sender) const noexcept;
    /// Removes a connection: keys, timer, slot. From here on its ids are stale.
    void remove(std::uint32_t slot) noexcept;

    /// Returns the least valuable of a few connections spread over the table, or 0 if all are
    /// assured: never answered ones first, then closing ones, then those that are not assured; the
    /// longest silent of the best kind. Never an assured one.
    std::uint32_t find_victim(Tick now) noexcept;

    Conn& at(std::uint32_t slot) noexcept { return slab_[slot]; }
    const Conn& at(std::uint32_t slot) const noexcept { return slab_[slot]; }
    std::uint32_t slot_of(const Conn& conn) const noexcept {
        return static_cast<std::uint32_t>(&conn - slab_);
    }
    ConnId id_of(std::uint32_t slot) const noexcept {
        return {slot, slab_[slot].generation, worker_};
    }
    /// The connection of an id, or nullptr if it has ended (or belongs to another worker).
    Conn* find(ConnId id) noexcept {
        if (id.worker != worker_ || id.index == 0 || id.index > max_) return nullptr;
        Conn& c = slab_[id.index];
        return c.generation == id.generation && c.alive() ? &c : nullptr;
    }

    /// Notifies the timer of a deadline that may be earlier now: before the next expire(), several
    /// together, so that none waits for the lines of its neighbours in the wheel.
    void arm(std::uint32_t slot) noexcept {
        pending_[pending_count_++] = slot;
        __builtin_prefetch(&links_[slot], 1);
        if (pending_count_ == kArmTogether) arm_pending();
    }
    /// The same after a packet, seen just now, may have shortened the timeout `before_ms` to
    /// `timeout_ms`. Most changes need no call: TCP's alternates between days and minutes with
    /// every acknowledgement.
    void arm_if_shorter(std::uint32_t slot, std::uint32_t before_ms,
                        std::uint32_t timeout_ms) noexcept {
        if (timeout_ms < WheelSlots::kLookAgainMs && timeout_ms < before_ms) arm(slot);
    }
    /// Calls fn(slot) for expired connections; fn must end them by remove(). Calls visit(slot) for
    /// expected children, each once every visit_ms. At most `budget` a call.
    template <class Fn, class Visit>
    std::uint32_t expire(Tick now, std::uint32_t budget, Fn&& fn, Visit&& visit) noexcept {
        arm_pending();
        // Each is ended some time after its line of the index was prefetched.
        std::uint32_t due[kExpireBehind];
        std::uint32_t found = 0, done = 0;
        const auto finish_one = [&]() noexcept {
            const std::uint32_t slot = due[done++ % kExpireBehind];
            Conn& c = slab_[slot];
            if (!c.alive()) return;  // ended since it was armed
            if (!c.has(conn_flag::expected) || reached(c.deadline(), now)) return fn(slot);
            visit(slot);
            c.visit_ms = now.ms + visit_ms_;
            wheel_.arm(slot);
        };
        const std::uint32_t used = wheel_.advance(now, budget, [&](std::uint32_t slot) noexcept {
            if (found - done == kExpireBehind) finish_one();
            index_.prefetch(hash_of_slot(slot));
            due[found++ % kExpireBehind] = slot;
        });
        while (done != found)
            finish_one();
        return used;
    }
    template <class Fn>
    std::uint32_t expire(Tick now, std::uint32_t budget, Fn&& fn) noexcept {
        return expire(now, budget, fn, [](std::uint32_t) {});
    }
    std::uint32_t visit_ms() const noexcept { return visit_ms_; }
    /// Holds from the next visit of each child on.
    void set_visit_ms(std::uint32_t ms) noexcept { visit_ms_ = ms; }

    std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(count_.get()); }
    std::uint32_t capacity() const noexcept { return max_; }
    WorkerId worker() const noexcept { return worker_; }
    /// Live connections; control reads it.
    const Counter& count() const noexcept { return count_; }
    /// Bytes of memory allocated at creation.
    std::size_t memory_bytes() const noexcept { return memory_.bytes; }

    // A look-up in three steps, so that memory is loaded while other packets are processed. For a
    // packet to be looked up:
    /// First: prefetches its line of the index.
    [[gnu::always_inline]] void prefetch(std::uint32_t hash) const noexcept {
        index_.prefetch(hash);
    }
    /// Second: guesses its connection by that line, and prefetches it. The guess is in info.conn
    /// for lookup(), the third step.
    void prefetch_conn(PacketInfo& info) const noexcept {
        const std::uint32_t candidate = index_.candidate(info.hash);
        info.conn = candidate & kConnSlot;
        if (info.conn == 0) [[unlikely]]
            return index_.prefetch_other(info.hash);
        const auto* line = reinterpret_cast<const char*>(&slab_[info.conn]);
        for_each_line(
            candidate, info, [&](unsigned n) __attribute__((always_inline)) {
                __builtin_prefetch(line + 64 * n, 1);
            });
    }
    /// The lines of its connection that prefetch_conn() would prefetch: bit n for line n.
    unsigned lines_foreseen(const PacketInfo& info) const noexcept {
        const std::uint32_t candidate = index_.candidate(info.hash);
        unsigned lines = 0;
        if ((candidate & kConnSlot) != 0)
            for_each_line(candidate, info, [&](unsigned n) { lines |= 1u << n; });
        return lines;
    }
    /// Call when a connection gets or loses a helper: its packets then need the second line, or no
    /// longer.
    void note_helper(std::uint32_t slot, bool helped) noexcept {
        const FlowKey& key = slab_[slot].key;
        index_.note(hash_of_slot(slot), slot, kSecondLine, helped || needs_ends(key));
    }
    /// Call when a connection becomes steady, or no longer is: most of its packets then do not need
    /// the third line, or do. `hash` is its key's.
    void note_steady(std::uint32_t hash, std::uint32_t slot, bool steady) noexcept {
        index_.note(hash, slot, kThirdLine, !steady);
    }

  private:
    static constexpr unsigned kExpireBehind = 16, kArmTogether = 32;
    static constexpr unsigned kSlotsAhead = 4;  ///< distance at which free slots are prefetched
    // Flags in the index.
    static constexpr std::uint32_t kSecondLine = 1u << 31, kThirdLine = 1u << 30;
    static_assert((kSecondLine | kThirdLine) == FlowIndex::kNotes);
    // An entry of the index is a connection's slot, and whether its key is the second one: so a
    // packet with either key prefetches the connection's lines.
    static constexpr std::uint32_t kHasSecondKey = 1u << 29, kConnSlot = kHasSecondKey - 1;
    static_assert((kHasSecondKey | kConnSlot) == FlowIndex::kSlot);
    static constexpr std::uint8_t kStateFlags = tcp_flag::syn | tcp_flag::fin | tcp_flag::rst;
    static_assert(L4Kind::other < L4Kind::tcp && L4Kind::ports < L4Kind::tcp);

    /// Calls fn(n) for each line of the candidate that the packet probably needs. Inlined, fn too:
    /// g++ removes a call of a function that only prefetches.
    template <class Fn>
    [[gnu::always_inline]] static void for_each_line(std::uint32_t candidate,
                                                     const PacketInfo& info, Fn&& fn) noexcept {
        fn(0);
        if ((candidate & kSecondLine) != 0) fn(1);
        const bool changes_state = (info.tcp_flags & kStateFlags) != 0;
        if ((candidate & kThirdLine) != 0 || changes_state || info.kind > L4Kind::tcp) {
            fn(2);
            if (info.family == Family::ipv6) fn(1);
        }
    }

    struct WheelSlots {
        /// At this rate the silent ones of a full table of ten million take less than a hundredth
        /// of a worker; most timeouts are no shorter.
        static constexpr std::uint32_t kLookAgainMs = 120'000;
        WheelLink* links;
        Conn* slab;
        WheelLink& link(std::uint32_t i) noexcept { return links[i]; }
        Tick deadline(std::uint32_t i) const noexcept {
            const Conn& c = slab[i];
            if (!c.alive()) return c.last_seen();  // ended: any time that is past
            const Tick end = c.deadline();
            if (!c.has(conn_flag::expected) || end - Tick{c.visit_ms} <= 0) return end;
            return Tick{c.visit_ms};
        }
        [[gnu::always_inline]] void prefetch(std::uint32_t i) const noexcept {
            __builtin_prefetch(&slab[i], 1);
        }
    };
    /// The other key of a connection whose two directions have different ones.
    struct SecondKey {
        FlowKey key{};
        std::uint32_t slot = 0;  ///< of its connection; in a free one: the next free one
        /// Direction of packets whose source is the key's low end.
        Direction of_low_end = Direction::original;
    };
    template <class T>
    using Array = std::unique_ptr<T[], FreeTable>;
    struct Memory {
        Array<Conn> slab;
        Array<SecondKey> second;
        Array<FlowIndex::Bucket> buckets;
        Array<WheelLink> links;
        Array<std::uint32_t> free;
        std::size_t bytes = 0;
    };
    template <class T>
    static Array<T> allocate(const char* name, std::size_t n, std::size_t& bytes);

    ConnTable(const Config& config, Memory memory) noexcept;
    /// The same key, and the same zones, by their tags. One branch, not two: both nearly always
    /// match.
    [[gnu::always_inline]] static bool fits(const Conn& conn, const PacketInfo& info) noexcept {
        std::uint64_t a[2], b[2];
        static_assert(sizeof conn.key == sizeof a);
        std::memcpy(a, &conn.key, sizeof a);
        std::memcpy(b, &info.key, sizeof b);
        const unsigned tags = (conn.timeouts_and_tag ^ info.zone_tag) & Conn::kTagMask;
        return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | tags) == 0;
    }
    static Direction direction_of(const PacketInfo& info, const Conn& conn) noexcept {
        return static_cast<Direction>(info.swapped != conn.has(conn_flag::swapped));
    }
    /// Whether the connection with the packet's key, in direction info.dir, is the packet's own: an
    /// IPv6 key is a digest, so equal keys do not imply equal ends.
    static bool is_owner(const Conn& conn, const PacketInfo& info,
                         const std::uint8_t* data) noexcept {
        if (info.family != Family::ipv6) return true;
        return info.kind == L4Kind::tcp || info.kind == L4Kind::ports
                   ? same_plain_ends(conn, info, data)
                   : same_ends(conn, info, data);
    }
    static bool same_ends(const Conn& conn, const PacketInfo& info,
                          const std::uint8_t* data) noexcept;
    static bool same_plain_ends(const Conn& conn, const PacketInfo& info,
                                const std::uint8_t* data) noexcept;
    /// Whether all packets of this key are compared with the whole tuple: it is a digest.
    static bool needs_ends(const FlowKey& key) noexcept {
        return static_cast<Family>(key.family) == Family::ipv6 && key.protocol != proto::tcp;
    }
    /// Of an entry of the index.
    SecondKey& second_of(std::uint32_t slot) const noexcept {
        return second_[slab_[slot].gre.second_key];
    }
    const FlowKey& key_of(std::uint32_t entry) const noexcept {
        return (entry & kHasSecondKey) == 0 ? slab_[entry].key : second_of(entry & kConnSlot).key;
    }
    std::uint32_t entry_of(const FlowKey& key) const noexcept {
        return index_.find(hash_of(key, *secret_),
                           [&](std::uint32_t entry) { return key_of(entry) == key; });
    }
    FlowKey answer_key(const Tuple& tuple, CtZone ct_zone, Be16 sender,
                       bool& swapped) const noexcept;
    bool take_slot(const FlowKey& key, std::uint32_t hash, std::uint32_t& slot) noexcept;
    bool add_second_key(std::uint32_t slot, const FlowKey& key, Direction of_low_end) noexcept;
    void remove_second_key(std::uint32_t slot) noexcept;
    void arm_pending() noexcept;
    std::uint32_t hash_of_slot(std::uint32_t slot) const noexcept {
        return hash_of(slab_[slot].key, *secret_);
    }

    WorkerId worker_;
    std::uint32_t max_;
    std::uint32_t reserve_;
    std::uint32_t expected_ = 0;  ///< number of expected connections
    std::uint32_t visit_ms_;
    std::uint32_t free_count_ = 0;
    std::uint32_t sweep_ = 0;  ///< where find_victim() continues
    unsigned pending_count_ = 0;
    const HashSecret* secret_;
    Memory memory_;
    Conn* slab_;
    SecondKey* second_;              ///< [0] is unused
    std::uint32_t free_second_ = 0;  ///< the first free one; a list through `slot`
    WheelLink* links_;
    /// Free slots are free_[1..free_count_], of which the last is used next; zeros before them.
    std::uint32_t* free_;
    std::array<std::uint32_t, kArmTogether> pending_;  ///< slots to arm
    FlowIndex index_;
    TimingWheel<WheelSlots> wheel_;
    Counter count_;
};

/// same_ends() for TCP and UDP over IPv6, without a branch on the direction: in the connection and
/// in the packet, the two addresses are adjacent, and so are the ports.
inline bool ConnTable::same_plain_ends(const Conn& conn, const PacketInfo& info,
                                       const std::uint8_t* data) noexcept {
    static_assert(offsetof(Conn, dst) == offsetof(Conn, src) + 16 &&
                  offsetof(Conn, dport) == offsetof(Conn, sport) + 2);
    // In vector registers: where this is inlined, the others are scarce.
    using Address [[gnu::vector_size(16)]] = std::uint64_t;
    const auto read = [](const auto* from, auto what) noexcept {
        std::memcpy(&what, from, sizeof what);
        return what;
    };
    const auto* in_conn = reinterpret_cast<const std::uint8_t*>(&conn);
    const std::uint8_t* ends = in_conn + offsetof(Conn, src);
    const std::uint8_t* ip = data + info.l3_off + 8;
    const unsigned turn = 16 * index(info.dir);
    const Address differs = (read(ip, Address{}) ^ read(ends + turn, Address{})) |
                            (read(ip + 16, Address{}) ^ read(ends + 16 - turn, Address{}));
    if ((differs[0] | differs[1]) != 0) return false;
    const std::uint32_t known = read(in_conn + offsetof(Conn, sport), std::uint32_t{});
    const std::uint32_t ports = read(data + info.l4_off, std::uint32_t{});
    return ports == std::rotl(known, static_cast<int>(turn));
}

}  // namespace postern
