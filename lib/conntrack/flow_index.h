// SPDX-License-Identifier: BSD-3-Clause
// FlowIndex: from the hash of a flow's key to the slot of its connection.
//
// What: a hash table without keys, which are in the connections. A bucket is one cache line of ten
// entries: a tag of 15 bits of the hash, a number of 30 and two flags. A hash has two buckets; an
// insert that finds both full moves another entry to its other bucket. The load is at most 8 in 10,
// which always leaves room for that: 8 bytes a connection, all allocated at start; it never grows
// or rehashes.
//
// Used by: ConnTable, thus one worker; no synchronisation. The owner compares keys: slots with the
// right tag are only candidates.
//
// Cost: a look-up reads one line, and of the twenty tags a wrong one matches once in thousands of
// times. The second bucket is read only if an entry of the first is in its other bucket
// (`spilled`), so even a miss usually reads one line. The hash must be keyed with a secret, else an
// attacker chooses the buckets.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace postern {

class FlowIndex {
  public:
    static constexpr unsigned kPlaces = 10;
    /// In an entry, as from candidate(): two flags of its owner, available before the slot is. The
    /// rest, kSlot, is the owner's number for the position of the key.
    static constexpr std::uint32_t kNotes = 3u << 30, kSlot = ~kNotes;

    struct alignas(64) Bucket {
        std::uint16_t tag[kPlaces];  ///< 0: the entry is free
        std::uint16_t spilled;       ///< entries of this first bucket in their other one
        std::uint16_t pad;
        std::uint32_t slot[kPlaces];  ///< and kNotes
    };
    static_assert(sizeof(Bucket) == 64);

    /// Number of buckets for `entries` at a load of 8 in 10 (less for very small tables).
    static constexpr std::uint32_t buckets_for(std::uint32_t entries) noexcept {
        return entries / 8 + 8;
    }
    /// `buckets` are zeroed and belong to the caller.
    FlowIndex(Bucket* buckets, std::uint32_t count) noexcept : buckets_(buckets), count_(count) {}

    // Inlined: g++ removes a call of a function that only prefetches.
    [[gnu::always_inline]] void prefetch(std::uint32_t hash) const noexcept {
        __builtin_prefetch(&buckets_[first(hash)]);
    }

    /// The first candidate slot in the first bucket, with its flags; 0: none. For prefetching
    /// connections.
    std::uint32_t candidate(std::uint32_t hash) const noexcept {
        const Bucket& b = buckets_[first(hash)];
        const std::uint32_t at = places_of(b, tag_of(hash));
        return at == 0 ? 0 : b.slot[first_place(at)];
    }
    /// Prefetches the second bucket, if a look-up will have to read it.
    [[gnu::always_inline]] void prefetch_other(std::uint32_t hash) const noexcept {
        if (spilled(hash)) __builtin_prefetch(&buckets_[other(first(hash), tag_of(hash))]);
    }
    /// Whether an entry with this hash may be in its second bucket.
    bool spilled(std::uint32_t hash) const noexcept { return buckets_[first(hash)].spilled != 0; }
    /// The slot for which is_it(slot) holds; 0: none.
    template <class IsIt>
    std::uint32_t find(std::uint32_t hash, IsIt&& is_it) const noexcept {
        const std::uint16_t tag = tag_of(hash);
        const std::uint32_t home = first(hash);
        const std::uint32_t slot = find_in(buckets_[home], tag, is_it);
        if (slot != 0 || buckets_[home].spilled == 0) return slot;
        return find_in(buckets_[other(home, tag)], tag, is_it);
    }

    /// Adds a slot, with its flags, that is not there yet. hash_of(slot) returns the hash of any
    /// slot inserted before. False: no room, which needs more entries than the table is made for.
    template <class HashOf>
    bool insert(std::uint32_t hash, std::uint32_t slot, HashOf&& hash_of) noexcept {
        const std::uint16_t tag = tag_of(hash);
        const std::uint32_t home = first(hash), away = other(home, tag);
        if (put(home, tag, slot)) return true;
        if (!put(away, tag, slot)) {
            if (make_room(home, hash_of)) return put(home, tag, slot);
            if (!make_room(away, hash_of)) return false;
            put(away, tag, slot);
        }
        ++buckets_[home].spilled;
        return true;
    }

    /// Sets or clears a flag of an existing slot.
    void note(std::uint32_t hash, std::uint32_t slot, std::uint32_t note, bool set) noexcept {
        const std::uint16_t tag = tag_of(hash);
        const std::uint32_t home = first(hash);
        std::uint32_t* entry = entry_of(buckets_[home], tag, slot);
        if (entry == nullptr) entry = entry_of(buckets_[other(home, tag)], tag, slot);
        if (entry != nullptr) *entry = set ? *entry | note : *entry & ~note;
    }

    void erase(std::uint32_t hash, std::uint32_t slot) noexcept {
        const std::uint16_t tag = tag_of(hash);
        const std::uint32_t home = first(hash);
        if (take(buckets_[home], tag, slot)) return;
        if (take(buckets_[other(home, tag)], tag, slot)) --buckets_[home].spilled;
    }

  private:
    // The bucket is from the hash's high bits, the tag from its low ones; it is never 0.
    static std::uint16_t tag_of(std::uint32_t hash) noexcept {
        return static_cast<std::uint16_t>(hash | 0x8000);
    }
    std::uint32_t first(std::uint32_t hash) const noexcept {
        return static_cast<std::uint32_t>(std::uint64_t{hash} * count_ >> 32);
    }
    /// An entry's other bucket, for either of its two.
    std::uint32_t other(std::uint32_t bucket, std::uint16_t tag) const noexcept {
        const std::uint32_t sum = first(tag * 0x9e3779b1u);
        return sum >= bucket ? sum - bucket : sum + count_ - bucket;
    }

    /// Bit 2 i for each entry i with the tag: comparisons return two bits an entry.
    static std::uint32_t places_of(const Bucket& b, std::uint16_t tag) noexcept {
        constexpr std::uint32_t kAll = 0x55555;
        static_assert(kAll == ((1u << 2 * kPlaces) - 1) / 3);
#ifdef __SSE2__
        // Entries 0..7, and 2..9, of which the upper two are new.
        const __m128i wanted = _mm_set1_epi16(static_cast<short>(tag));
        const auto equal = [&](const std::uint16_t* from) noexcept {
            const __m128i tags = _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from));
            return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi16(tags, wanted)));
        };
        return (equal(b.tag) | equal(b.tag + 2) >> 12 << 16) & kAll;
#else
        std::uint32_t found = 0;
        for (unsigned i = 0; i < kPlaces; ++i)
            found |= static_cast<std::uint32_t>(b.tag[i] == tag) << 2 * i;
        return found;
#endif
    }
    static unsigned first_place(std::uint32_t places) noexcept {
        return static_cast<unsigned>(std::countr_zero(places)) / 2;
    }

    template <class IsIt>
    static std::uint32_t find_in(const Bucket& b, std::uint16_t tag, IsIt&& is_it) noexcept {
        for (std::uint32_t at = places_of(b, tag); at != 0; at &= at - 1) {
            const std::uint32_t slot = b.slot[first_place(at)] & kSlot;
            if (is_it(slot)) return slot;
        }
        return 0;
    }
    bool put(std::uint32_t bucket, std::uint16_t tag, std::uint32_t slot) noexcept {
        Bucket& b = buckets_[bucket];
        for (unsigned i = 0; i < kPlaces; ++i) {
            if (b.tag[i] != 0) continue;
            b.slot[i] = slot;
            b.tag[i] = tag;
            return true;
        }
        return false;
    }
    static std::uint32_t* entry_of(Bucket& b, std::uint16_t tag, std::uint32_t slot) noexcept {
        for (std::uint32_t at = places_of(b, tag); at != 0; at &= at - 1)
            if ((b.slot[first_place(at)] & kSlot) == slot) return &b.slot[first_place(at)];
        return nullptr;
    }
    static bool take(Bucket& b, std::uint16_t tag, std::uint32_t slot) noexcept {
        for (std::uint32_t at = places_of(b, tag); at != 0; at &= at - 1) {
            if ((b.slot[first_place(at)] & kSlot) != slot) continue;
            b.tag[first_place(at)] = 0;
            return true;
        }
        return false;
    }
    /// Moves one entry of a full bucket to its other one.
    template <class HashOf>
    bool make_room(std::uint32_t bucket, HashOf&& hash_of) noexcept {
        Bucket& b = buckets_[bucket];
        for (unsigned i = 0; i < kPlaces; ++i) {
            const std::uint32_t to = other(bucket, b.tag[i]);
            if (to == bucket || !put(to, b.tag[i], b.slot[i])) continue;
            const std::uint32_t home = first(hash_of(b.slot[i] & kSlot));
            if (home == bucket)
                ++b.spilled;
            else
                --buckets_[home].spilled;
            b.tag[i] = 0;
            return true;
        }
        return false;
    }

    Bucket* buckets_;
    std::uint32_t count_;
};

}  // namespace postern
