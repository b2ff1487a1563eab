// SPDX-License-Identifier: BSD-3-Clause
// Reassembly: the fragments that one worker holds until their datagram is whole.
//
// A whole datagram is a chain of the very buffers its fragments came in: the headers of all but the
// first are skipped, not removed, and the first one's is made to say "whole". take_apart() undoes
// that before the packet leaves, so what leaves is the fragments that came, each as large as it
// was. In between every stage sees one packet.
//
// Strict where stacks differ, since an attacker lives on the differences: a datagram with an
// overlap (RFC 5722), a contradiction or a first fragment without its whole transport header
// (RFC 1858, RFC 7112) is given up, and what still comes of it is dropped until its time is over.
// An exact duplicate is dropped alone; the first copy counts, and only that one leaves.
//
// IPv4's identification has 16 bits and comes round within seconds between two busy hosts. What is
// left of an older datagram then gives way to the new one. How old it is tells the number of
// fragments between the two since it had its last, as Linux's ipfrag_max_dist does. That one counts
// 64, which links that hash by ports (first fragments by one, later ones by another) exceed without
// a fault: here 64 are enough for what contradicts the new fragment, or is silent for a second.
//
// Called by: the reassemble stage, Worker::finish(), Worker::housekeeping(). Life-cycle: as its
// worker; it frees what it holds. Synchronisation: none, all is the worker's own. Memory: fixed by
// Config::fragments; when all is in use the oldest datagram gives way.
// Cost: a fragment is one look-up by a keyed hash and a walk over those that its datagram has.
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
    /// Of one datagram. 64 KiB come in 46 fragments of Ethernet's size.
    static constexpr unsigned kMaxFragments = 64;
    /// From its first fragment to its last; what Linux waits.
    static constexpr std::uint32_t kTimeoutMs = 30'000;
    /// Fragments between the same ends after which an IPv4 datagram may be another one that has its
    /// identification, and after which it is.
    static constexpr std::uint32_t kNearDistance = 64, kFarDistance = 1024;
    /// Beyond kNearDistance, after so much silence it is, too.
    static constexpr std::uint32_t kStaleMs = 1000;

    struct Config {
        std::uint32_t fragments = 4096;  ///< held at once, and datagrams begun
        const HashSecret* secret = nullptr;
        const Edges* edges = nullptr;
    };
    static Result<std::unique_ptr<Reassembly>> create(const Config& config);
    ~Reassembly();
    Reassembly(const Reassembly&) = delete;
    Reassembly& operator=(const Reassembly&) = delete;

    struct Taken {
        rte_mbuf* whole;  ///< the datagram that this fragment made whole, or null
        DropReason why;   ///< `none`, or why the fragment is not wanted; it is still the caller's
    };
    /// Takes a fragment, as parse_packet() describes it.
    Taken take(rte_mbuf* m, const PacketInfo& info, Tick now, WorkerCounters& counters) noexcept;

    /// Those of another plan, from now on.
    void set_edges(const Edges& edges) noexcept { edges_ = &edges; }
    /// Gives up datagrams whose time is over, at most `budget`; returns how many.
    unsigned expire(Tick now, unsigned budget, WorkerCounters& counters) noexcept;
    /// Gives up all.
    void clear(WorkerCounters& counters) noexcept;

    /// Fragments that wait for the rest of their datagrams.
    std::uint32_t held() const noexcept { return held_; }

    /// Of a packet on its way out: whether it is a chain of fragments, and of how many.
    bool is_chain(const rte_mbuf* m) const noexcept;
    /// The same by flags: of one packet, or of several whether any of them is.
    bool is_chain(std::uint64_t ol_flags) const noexcept { return (ol_flags & begins_) != 0; }
    unsigned frames_of(const rte_mbuf* m) const noexcept;
    /// Undoes what take() did: writes the fragments, first to last, to `out`; returns how many
    /// (at most kMaxFragments). `info` is of the whole packet.
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
        /// Not the port, for links are aggregated and bridges redundant; and not only the ends, for
        /// a stranger in another zone must not add to a datagram.
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
        std::uint32_t offset;  ///< of its bytes in the datagram's payload
        std::uint16_t bytes;
        std::uint16_t skip;  ///< bytes of the frame before them
    };
    struct Datagram {
        Key key;
        std::uint32_t chain;         ///< next in its bucket, or next free one
        std::uint32_t older, newer;  ///< in order of their beginning
        std::uint32_t first;         ///< its pieces
        std::uint32_t bytes;         ///< held
        std::uint32_t end;           ///< bytes in all, 0 until the last fragment is seen
        Tick begun;
        Tick last;               ///< fragment
        std::uint32_t distance;  ///< the fragments of its ends that had come by then
        std::uint16_t pieces;
        DropReason given_up;  ///< for this reason; what still comes is dropped for it, too
    };
    /// Where a fragment belongs.
    struct Place {
        std::uint32_t offset, bytes, skip;
        std::uint32_t fixed;      ///< bytes that the IP length counts before the payload
        std::uint16_t v6_header;  ///< offset of the fragment header in the frame
        bool more;
    };

    explicit Reassembly(const Config& config);
    /// Fragments that came from one host to another, modulo 2^32. Hosts may share a count.
    std::uint32_t& count_of_ends(const Key& key) noexcept;
    /// Whether datagram d is an older one than that of a new fragment with its key.
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
    /// Of an mbuf: bit that says "a fragment begins here", and where its note is. The note of a
    /// chain's head is where its IPv6 fragment header is, the others' how much of them is skipped.
    std::uint64_t begins_ = 0;
    int note_at_ = -1;
    std::vector<std::uint32_t> buckets_;
    std::vector<std::uint32_t> counts_;  ///< of fragments, by ends
    std::vector<Datagram> datagrams_;    ///< [0] is nobody
    std::vector<Piece> pieces_;          ///< [0] is nobody
    std::uint32_t free_datagram_ = kNone, free_piece_ = kNone;
    std::uint32_t oldest_ = kNone, newest_ = kNone;
    std::uint32_t held_ = 0;
};

}  // namespace postern
