// SPDX-License-Identifier: BSD-3-Clause
// Reassembly: the fragments that one worker holds until their datagram is complete.
//
// A complete datagram is a chain of the original buffers of its fragments. The headers of all but
// the first are skipped, not removed, and the first header is changed to that of a whole datagram.
// take_apart() undoes that before the packet leaves. So the original fragments leave, each in its
// original size. In between every stage processes one packet.
//
// Strict where stacks differ, since attacks use the differences. A datagram is given up at an
// overlap (RFC 5722), a contradiction, or a first fragment without its whole transport header (RFC
// 1858, RFC 7112). Its later fragments are dropped until its timeout. An exact duplicate is dropped
// alone; the first copy counts, and only that one leaves.
//
// IPv4's identification has 16 bits and wraps within seconds between two busy hosts. A new datagram
// then displaces the rest of an older one. The age of a datagram is the number of fragments between
// the two hosts since its last one, as with Linux's ipfrag_max_dist. Linux's limit is 64, which
// links that hash by ports (first fragments by one, later ones by another) exceed without a fault.
// Here 64 suffice only for a datagram that contradicts the new fragment, or is silent for a second.
//
// Used by: the reassemble stage, Worker::finish(), Worker::housekeeping(). Life-cycle: as its
// worker; it frees the fragments it holds. Synchronisation: none, everything is private to the
// worker. Memory: fixed by Config::fragments; if all is in use the oldest datagram is displaced.
// Cost: a fragment is one look-up by a keyed hash and a walk over the datagram's fragments.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/drop_reason.h"
#include "base/result.h"
#include "base/types.h"
#include "net/keyed_hash.h"
#include "net/packet.h"

struct rte_mbuf;

namespace postern {

class Edges;
struct WorkerCounters;

class Reassembly {
  public:
    /// Of one datagram. 64 KiB are 46 fragments of Ethernet's size.
    static constexpr unsigned kMaxFragments = 64;
    /// From its first fragment to its last; Linux's timeout.
    static constexpr std::uint32_t kTimeoutMs = 30'000;
    /// Fragments between the same ends after which an IPv4 datagram with the same identification
    /// may be another one, and after which it is another one.
    static constexpr std::uint32_t kNearDistance = 64, kFarDistance = 1024;
    /// Beyond kNearDistance: the silence after which it is another one, too.
    static constexpr std::uint32_t kStaleMs = 1000;

    struct Config {
        std::uint32_t fragments = 4096;  ///< held at once, and the limit of incomplete datagrams
        const HashSecret* secret = nullptr;
        const Edges* edges = nullptr;
    };
    static Result<std::unique_ptr<Reassembly>> create(const Config& config);
    ~Reassembly();
    Reassembly(const Reassembly&) = delete;
    Reassembly& operator=(const Reassembly&) = delete;

    struct Taken {
        rte_mbuf* whole;  ///< the datagram that this fragment completed, or null
        DropReason why;   ///< `none`, or why the fragment (still the caller's) is dropped
    };
    /// Takes a fragment, described by parse_packet().
    Taken take(rte_mbuf* m, const PacketInfo& info, Tick now, WorkerCounters& counters) noexcept;

    /// Changes the limits to those of another plan.
    void set_edges(const Edges& edges) noexcept { edges_ = &edges; }
    /// Gives up expired datagrams, at most `budget`; returns how many.
    unsigned expire(Tick now, unsigned budget, WorkerCounters& counters) noexcept;
    /// Gives up all.
    void clear(WorkerCounters& counters) noexcept;

    /// Fragments that wait for the rest of their datagrams.
    std::uint32_t held() const noexcept { return held_; }

    /// Whether an outgoing packet is a chain of fragments, and of how many.
    bool is_chain(const rte_mbuf* m) const noexcept;
    /// The same by flags: of one packet, or combined of several.
    bool is_chain(std::uint64_t ol_flags) const noexcept { return (ol_flags & begins_) != 0; }
    unsigned frames_of(const rte_mbuf* m) const noexcept;
    /// Undoes take(): writes the fragments, first to last, to `out`; returns how many (at most
    /// kMaxFragments). `info` is of the whole packet.
    unsigned take_apart(rte_mbuf* m, const PacketInfo& info, rte_mbuf** out) const noexcept;
    /// Makes a packet of the first fragment alone, for an answer that quotes it.
    void keep_first(rte_mbuf* m) const noexcept;

  private:
    static constexpr std::uint32_t kNone = 0;  ///< as an index

    struct Key {
        std::array<std::uint8_t, 16> src{}, dst{};
        std::uint32_t id = 0;
        std::uint16_t vlan = 0;
        std::uint8_t protocol = 0;  ///< IPv4 only: fragments of one IPv6 datagram may differ in it
        std::uint8_t family = 0;
        std::uint8_t l3_off = 0;
        /// Zones, not the port, since links are aggregated and bridges redundant. Not only the
        /// ends, since a stranger in another zone must not add to a datagram.
        EdgeId from_side, to_side;
        std::uint8_t pad = 0;
        CtZone ct_zone;
        std::array<std::uint8_t, 2> pad2{};
        friend bool operator==(const Key&, const Key&) = default;
    };
    static_assert(sizeof(Key) == 48 && std::has_unique_object_representations_v<Key>);

    /// One held fragment; those of a datagram are linked in the order of their offsets.
    struct Piece {
        rte_mbuf* m;
        std::uint32_t next;
        std::uint32_t offset;  ///< of its bytes, in the datagram's payload
        std::uint16_t bytes;
        std::uint16_t skip;  ///< bytes of the frame before them
    };
    struct Datagram {
        Key key;
        std::uint32_t chain;         ///< next in its bucket, or next free one
        std::uint32_t older, newer;  ///< in order of their beginning
        std::uint32_t first;         ///< its pieces
        std::uint32_t bytes;         ///< bytes held
        std::uint32_t end;           ///< bytes in all; 0 until the last fragment has arrived
        Tick begun;
        Tick last;               ///< time of the last fragment
        std::uint32_t distance;  ///< count of its ends' fragments at that time
        std::uint16_t pieces;
        DropReason given_up;  ///< the reason; later fragments are dropped for it, too
    };
    /// Position of a fragment in its datagram.
    struct Place {
        std::uint32_t offset, bytes, skip;
        std::uint32_t fixed;      ///< bytes that the IP length includes before the payload
        std::uint16_t v6_header;  ///< offset of the fragment header in the frame
        bool more;
    };

    explicit Reassembly(const Config& config);
    /// Number of fragments from one host to another, modulo 2^32. Hosts may share a count.
    std::uint32_t& count_of_ends(const Key& key) noexcept;
    /// Whether datagram d is older than that of a new fragment with its key.
    bool is_outdated(std::uint32_t d, std::uint32_t count, const Place& place,
                     Tick now) const noexcept;
    Place read(const std::uint8_t* frame, const PacketInfo& info, Key& key) const noexcept;
    std::uint32_t& bucket_of(const Key& key) noexcept;
    std::uint32_t find(const Key& key) noexcept;
    std::uint32_t begin_datagram(const Key& key, Tick now) noexcept;
    void remove(std::uint32_t d) noexcept;
    void drop_pieces(std::uint32_t d, DropReason why, WorkerCounters& counters) noexcept;
    bool make_room(std::uint32_t keep, WorkerCounters& counters) noexcept;
    DropReason add(std::uint32_t d, rte_mbuf* m, const Place& place) noexcept;
    rte_mbuf* assemble(std::uint32_t d) noexcept;
    std::uint16_t& note(rte_mbuf* m) const noexcept;

    const HashSecret* secret_;
    const Edges* edges_;
    /// In an mbuf: the bit for "a fragment begins here", and the place of its note. The note of a
    /// chain's head is the position of its IPv6 fragment header; in the other segments it is the
    /// number of bytes skipped.
    std::uint64_t begins_ = 0;
    int note_at_ = -1;
    std::vector<std::uint32_t> buckets_;
    std::vector<std::uint32_t> counts_;  ///< of fragments, by ends
    std::vector<Datagram> datagrams_;    ///< [0] is unused
    std::vector<Piece> pieces_;          ///< [0] is unused
    std::uint32_t free_datagram_ = kNone, free_piece_ = kNone;
    std::uint32_t oldest_ = kNone, newest_ = kNone;
    std::uint32_t held_ = 0;
};

}  // namespace postern
