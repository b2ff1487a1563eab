// SPDX-License-Identifier: BSD-3-Clause
#include "expect/table.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>

namespace postern {
namespace {

/// rte_hash would call memcmp() for a key of 24 bytes. 0 when equal.
int compare_keys(const void* a, const void* b, std::size_t) {
    std::uint64_t x[3], y[3];
    std::memcpy(x, a, sizeof x);
    std::memcpy(y, b, sizeof y);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2])) != 0;
}

void to_words(const IpAddr& a, std::uint64_t (&words)[2]) noexcept {
    std::memcpy(words, a.bytes.data(), sizeof words);
}

void prefix_mask(unsigned bits, std::uint64_t (&words)[2]) noexcept {
    std::array<std::uint8_t, 16> bytes{};
    for (unsigned i = 0; i < 16 && bits != 0; ++i) {
        const unsigned n = std::min(bits, 8u);
        bytes[i] = static_cast<std::uint8_t>(0xff00u >> n);
        bits -= n;
    }
    std::memcpy(words, bytes.data(), sizeof words);
}

/// Does the packet come from where this candidate expects it?
bool source_matches(const Expectation& e, const std::uint64_t (&src)[2], Be16 sport) noexcept {
    return (((src[0] & e.src_mask[0]) ^ e.src[0]) | ((src[1] & e.src_mask[1]) ^ e.src[1]) |
            static_cast<std::uint64_t>((sport.raw() & e.sport_mask) ^ e.sport)) == 0;
}

/// Same tuple and same mask, given the same key.
bool same_source(const Expectation& a, const Expectation& b) noexcept {
    return a.src[0] == b.src[0] && a.src[1] == b.src[1] && a.src_mask[0] == b.src_mask[0] &&
           a.src_mask[1] == b.src_mask[1] && a.sport == b.sport && a.sport_mask == b.sport_mask;
}

/// Could one packet match both, given the same key? Compared under the intersection of the masks.
bool sources_overlap(const Expectation& a, const Expectation& b) noexcept {
    return (((a.src[0] ^ b.src[0]) & a.src_mask[0] & b.src_mask[0]) |
            ((a.src[1] ^ b.src[1]) & a.src_mask[1] & b.src_mask[1]) |
            static_cast<std::uint64_t>((a.sport ^ b.sport) & a.sport_mask & b.sport_mask)) == 0;
}

bool expired(const Expectation& e, Tick now) noexcept {
    return reached(Tick{e.deadline_ms.load(std::memory_order_relaxed)}, now);
}

bool pending(std::uint32_t word) noexcept {
    const std::uint32_t s = expect_state::of(word);
    return s == expect_state::live || s == expect_state::inactive;
}

/// Limits of one zone and one host, so that one expectation may take over another's place.
bool same_account(const Expectation& a, const Expectation& b) noexcept {
    return a.key.zone == b.key.zone && a.host_slot[0] == b.host_slot[0] &&
           a.host_slot[1] == b.host_slot[1];
}

ExpectEventType event_of(ExpectEnd end) noexcept {
    switch (end) {
        case ExpectEnd::claimed: return ExpectEventType::claim;
        case ExpectEnd::expired: return ExpectEventType::expire;
        default: return ExpectEventType::destroy;
    }
}

/// There is one object more in the table after it.
bool adds(InsertOutcome o) noexcept {
    return o == InsertOutcome::created || o == InsertOutcome::refreshed;
}

constexpr unsigned kMinShardsPerOwner = 4;
constexpr std::uint32_t kNoHost = 0xffffffff;

}  // namespace

// ---- set-up -------------------------------------------------------------------------------------

void ExpectTable::RteFree::operator()(void* p) const noexcept {
    rte_free(p);
}

template <class T>
ExpectTable::RteArray<T> ExpectTable::allocate(std::size_t n, int socket) {
    static_assert(std::is_trivially_destructible_v<T>);
    void* memory = rte_malloc_socket("expect", n * sizeof(T), 64, socket);
    if (memory == nullptr) return nullptr;
    auto* first = static_cast<T*>(memory);
    for (std::size_t i = 0; i < n; ++i)
        new (first + i) T();  // also touches every page now rather than under traffic
    return RteArray<T>(first);
}

ExpectTable::ExpectTable(const ExpectConfig& c)
    : secret_(c.secret),
      shard_count_(std::bit_ceil(kMinShardsPerOwner * c.owners)),
      shard_shift_(64u - static_cast<unsigned>(std::countr_zero(shard_count_))),
      per_owner_(c.per_owner),
      rcu_(c.rcu),
      max_live_(c.max_live),
      max_per_host_(c.max_per_host),
      max_per_destination_(c.max_per_destination),
      max_per_zone_(kCtZones, c.max_per_zone),
      zone_live_(std::make_unique<std::atomic<std::uint32_t>[]>(kCtZones)) {
    for (const auto& [zone, max] : c.zone_limits)
        max_per_zone_[zone] = max;
}

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
    const Error no_memory{"expectation table: no memory for " + std::to_string(c.owners) + " x " +
                          std::to_string(c.per_owner) + " expectations (DPDK's heap is full)"};
    const std::size_t objects = std::size_t{c.owners} * c.per_owner;
    objects_ = allocate<Expectation>(objects + 1, c.socket);
    if (!objects_) return no_memory;

    // The hash spreads the keys evenly but for chance: six standard deviations of room, and some
    // for small tables. More keys than objects (pending or in their grace period) cannot be.
    const double mean = static_cast<double>(objects) / shard_count_;
    const auto entries = static_cast<std::uint32_t>(mean + 6 * std::sqrt(mean)) + 64;
    presence_mask_ = std::bit_ceil(2 * entries) - 1;
    shards_ = std::make_unique<Shard[]>(shard_count_);
    for (unsigned i = 0; i < shard_count_; ++i) {
        Shard& shard = shards_[i];
        char name[RTE_HASH_NAMESIZE];
        // Unique in the process; short, because rte_hash puts prefixes before it.
        std::snprintf(name, sizeof name, "x%lx.%x", reinterpret_cast<unsigned long>(this) >> 4, i);
        rte_hash_parameters params{};
        params.name = name;
        params.entries = entries;
        params.key_len = sizeof(ExpectKey);
        params.socket_id = c.socket;
        // Not MULTI_WRITER_ADD: the shard's own lock serialises writers, see NOTES.md.
        params.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF | RTE_HASH_EXTRA_FLAGS_EXT_TABLE;
        shard.hash = rte_hash_create(&params);
        if (shard.hash == nullptr) return no_memory;
        rte_hash_set_cmp_func(shard.hash, compare_keys);
        rte_hash_rcu_config rcu{};
        rcu.v = c.rcu;
        rcu.mode = RTE_HASH_QSBR_MODE_DQ;
        if (rte_hash_rcu_qsbr_add(shard.hash, &rcu) != 0) return no_memory;
        shard.anchor = allocate<std::atomic<std::uint32_t>>(
            static_cast<std::size_t>(rte_hash_max_key_id(shard.hash)) + 1, c.socket);
        shard.presence = allocate<std::atomic<std::uint16_t>>(presence_mask_ + 1, c.socket);
        if (!shard.anchor || !shard.presence) return no_memory;
    }

    if (max_per_host_ != 0) {
        const std::uint32_t slots = std::bit_ceil(std::min(2 * c.max_live, 1u << 20));
        host_mask_ = slots - 1;
        host_live_ = allocate<std::atomic<std::uint32_t>>(2 * std::size_t{slots}, c.socket);
        if (!host_live_) return no_memory;
    }
    for (unsigned i = 0; i < c.owners; ++i)
        owners_.push_back(std::make_unique<ExpectOwner>(*this, static_cast<OwnerId>(i), c));
    return {};
}

ExpectTable::~ExpectTable() {
    if (shards_ == nullptr) return;
    for (unsigned i = 0; i < shard_count_; ++i)
        rte_hash_free(shards_[i].hash);
}

ExpectOwner::ExpectOwner(ExpectTable& table, OwnerId id, const ExpectConfig& config)
    : table_(table),
      id_(id),
      free_count_(config.per_owner),
      last_((id + 1u) * config.per_owner),
      wheel_(Slots{table.objects_.get()}, config.start),
      events_(config.event_ring),
      fresh_(id * config.per_owner + 1) {}

// ---- readers ------------------------------------------------------------------------------------

/// The first matching candidate from `first` on (0: look the key up), or 0.
std::uint32_t ExpectTable::find_candidate(const ExpectProbe& p, const Tuple& tuple, Tick now,
                                          std::uint32_t first) const noexcept {
    std::uint32_t index = first;
    if (index == 0) {
        const Shard& shard = shards_[shard_index(p.hash)];
        const std::int32_t position =
            rte_hash_lookup_with_hash(shard.hash, &p.key, static_cast<hash_sig_t>(p.hash));
        if (position < 0) return 0;
        // Acquire pairs with insert()'s release: the candidate is complete.
        index = shard.anchor[static_cast<std::uint32_t>(position)].load(std::memory_order_acquire);
    }
    std::uint64_t src[2];
    to_words(tuple.src, src);
    while (index != 0) {
        const Expectation& e = at(index);
        if (expect_state::of(e.state.load(std::memory_order_acquire)) == expect_state::live &&
            source_matches(e, src, p.sport_unknown ? Be16::from_raw(e.sport) : tuple.sport) &&
            !expired(e, now))
            return index;
        // Acquire pairs with unlink_locked()'s release.
        index = e.next.load(std::memory_order_acquire);
    }
    return 0;
}

bool ExpectTable::find(const ExpectProbe& p, const Tuple& tuple, Tick now,
                       ExpectInfo& out) const noexcept {
    if (!may_match(p)) return false;
    const std::uint32_t index = find_candidate(p, tuple, now, 0);
    return index != 0 && copy_if_pending(index, out);
}

bool ExpectTable::get(ExpectId id, ExpectInfo& out) const noexcept {
    return id && copy_if_pending(id.index, out) && out.id == id;
}

void ExpectTable::copy(const Expectation& e, std::uint32_t index, std::uint32_t word,
                       ExpectInfo& out) const noexcept {
    const std::uint32_t state = expect_state::of(word);
    const std::uint8_t inactive =
        state == expect_state::inactive || state == expect_state::dead_inactive
            ? expect_flag::inactive
            : 0;
    out = ExpectInfo{
        .id = {index, expect_state::generation(word)},
        .owner = e.owner,
        .zone = e.key.zone,
        .protocol = e.key.protocol,
        .src_prefix = e.src_prefix,
        .src = {{}, e.key.family},
        .dst = {e.key.dst, e.key.family},
        .sport = Be16::from_raw(e.sport),
        .sport_mask = Be16::from_raw(e.sport_mask),
        .dport = e.key.dport,
        .rule = e.rule,
        .master = e.master,
        .master_tuple = e.master_tuple,
        .mark = e.mark,
        .label = e.label,
        .helper = e.helper,
        .child_helper = e.child_helper,
        .class_index = e.class_index,
        .flags = static_cast<std::uint8_t>((e.flags & ~expect_flag::inactive) | inactive),
        .tag = e.tag,
        .timeout_ms = e.timeout_ms,
        .deadline = Tick{e.deadline_ms.load(std::memory_order_relaxed)},
    };
    std::memcpy(out.src.bytes.data(), e.src, sizeof e.src);
}

/// While the caller is an online reader, what it saw pending is not reused: no tearing.
bool ExpectTable::copy_if_pending(std::uint32_t index, ExpectInfo& out) const noexcept {
    const Expectation& e = at(index);
    // Acquire pairs with the release that made it live: its fields are complete.
    const std::uint32_t word = e.state.load(std::memory_order_acquire);
    if (!pending(word)) return false;
    copy(e, index, word, out);
    return true;
}

/// Moves over the part of a pool that was never used; false when no object is left.
bool ExpectTable::skip_untouched(std::uint32_t& cursor) const noexcept {
    for (std::uint32_t o = cursor / per_owner_; o < owners_.size(); ++o) {
        // Relaxed: an object that is missed was made after the walk began.
        if (cursor + 1 < owners_[o]->fresh_.load(std::memory_order_relaxed)) return true;
        cursor = (o + 1) * per_owner_;
    }
    return false;
}

void ExpectTable::copy(const Expectation& e, std::uint32_t index, std::uint32_t word,
                       ExpectMatch& out) const noexcept {
    out = ExpectMatch{
        .id = {index, expect_state::generation(word)},
        .master = e.master,
        .sport = Be16::from_raw(e.sport),
        .sport_mask = Be16::from_raw(e.sport_mask),
        .mark = e.mark,
        .label = e.label,
        .rule = e.rule,
        .zone = e.key.zone,
        .helper = e.helper,
        .child_helper = e.child_helper,
        .class_index = e.class_index,
        .flags = e.flags,
    };
}

bool ExpectTable::peek_candidate(const ExpectProbe& p, const Tuple& tuple, Tick now,
                                 ExpectMatch& out) const noexcept {
    const std::uint32_t index = find_candidate(p, tuple, now, 0);
    if (index == 0) return false;
    const Expectation& e = at(index);
    // It may have ended since; then its generation is that of the dead, and take() finds out.
    copy(e, index, e.state.load(std::memory_order_acquire), out);
    return true;
}

bool ExpectOwner::claim_candidate(const ExpectProbe& probe, const Tuple& tuple, ExpectTurn turn,
                                  ExpectMatch& out) noexcept {
    std::uint32_t index = table_.find_candidate(probe, tuple, turn.now, 0);
    while (index != 0) {
        const Expectation& e = table_.at(index);
        table_.copy(e, index, e.state.load(std::memory_order_acquire), out);
        if (take(out, turn)) return true;
        const std::uint32_t next = e.next.load(std::memory_order_acquire);
        index = next == 0 ? 0 : table_.find_candidate(probe, tuple, turn.now, next);
    }
    return false;
}

bool ExpectOwner::take(const ExpectMatch& match, ExpectTurn turn) noexcept {
    const std::uint32_t index = match.id.index;
    Expectation& e = table_.at(index);
    std::uint32_t word = match.id.generation << expect_state::kBits | expect_state::live;
    if ((match.flags & expect_flag::permanent) != 0) {
        if (e.state.load(std::memory_order_acquire) != word) return lost_.add(), false;
        permanent_.add();
        tell(ExpectEventType::claim, ExpectEnd::claimed, index, turn);
        return true;
    }
    // The one point where an expectation has exactly one taker. Acquire-release: the taker sees it
    // whole, and who finds it claimed sees that the taker will unlink it.
    if (!e.state.compare_exchange_strong(word, expect_state::with(word, expect_state::claimed),
                                         std::memory_order_acq_rel, std::memory_order_relaxed))
        return lost_.add(), false;
    unlink(e, index);
    finish(index, ExpectEnd::claimed, turn, false);
    return true;
}

// ---- insert -------------------------------------------------------------------------------------

/// What an insert pushed aside: ended under the lock, accounted for after it.
struct ExpectOwner::Displaced {
    std::uint32_t refreshed = 0;  ///< the same expectation, asked again
    std::uint32_t expired = 0;    ///< list: of the same key, unlinked already
    std::uint32_t evicted = 0;    ///< list: of the same class and master, still in their chains
    std::uint32_t place_of = 0;   ///< the one whose place under the limits the new one takes over
};

InsertResult ExpectOwner::insert(const ExpectRequest& r, MasterExpectations* master,
                                 ExpectTurn turn) noexcept {
    if (r.class_index >= kExpectClasses || r.timeout_ms == 0 ||
        r.timeout_ms > kMaxTimeoutS * 1000u || r.dst.family == Family::none ||
        (r.src.family != Family::none && r.src.family != r.dst.family))
        return count({InsertOutcome::invalid, {}});
    if (master != nullptr && master->closed) return count({InsertOutcome::master_gone, {}});
    take_returned();  // so that the class counts are right
    const std::uint32_t index = allocate();
    if (index == 0) return count({InsertOutcome::limit_pool, {}});
    Expectation& e = table_.at(index);
    fill(e, r, turn);

    Shard& shard = table_.shards_[table_.shard_index(e.hash)];
    Displaced displaced;
    InsertResult result;
    {
        std::lock_guard guard(shard.lock);
        std::int32_t position = -1;
        if (shard.live.load(std::memory_order_relaxed) != 0)
            position =
                rte_hash_lookup_with_hash(shard.hash, &e.key, static_cast<hash_sig_t>(e.hash));
        result = check_chain(shard, position, e, r, turn.now, displaced);
        if (result.outcome == InsertOutcome::created && master != nullptr && r.class_max != 0)
            make_room_in_class(*master, r.class_max, e, turn.now, displaced);
        if (adds(result.outcome))
            result.outcome = publish(shard, position, e, index, result.outcome, displaced);
        if (!adds(result.outcome)) displaced.place_of = 0;
        if (position >= 0) drop_key_if_unused(shard, e, static_cast<std::uint32_t>(position));
    }
    if (displaced.refreshed != 0)
        finish(displaced.refreshed, ExpectEnd::refreshed, turn,
               displaced.place_of == displaced.refreshed);
    for (std::uint32_t i = displaced.expired, next; i != 0; i = next) {
        next = table_.at(i).link;
        finish(i, ExpectEnd::expired, turn, displaced.place_of == i);
    }
    for (std::uint32_t i = displaced.evicted, next; i != 0; i = next) {
        Expectation& old = table_.at(i);
        next = old.link;
        unlink(old, i);
        finish(i, expired(old, turn.now) ? ExpectEnd::expired : ExpectEnd::evicted, turn,
               displaced.place_of == i);
    }
    if (!adds(result.outcome)) {
        e.link = free_;  // it was never published: no grace period
        free_ = index;
        ++free_count_;
        return count(result);
    }

    result.id = {index, expect_state::generation(e.state.load(std::memory_order_relaxed))};
    // The owner's own books. The expectation may have been claimed by now; then it comes back over
    // the stack, and take_returned() strikes it out again.
    if (master != nullptr) attach(*master, e, index);
    wheel_.arm(index);
    tell(ExpectEventType::fresh, ExpectEnd::claimed, index, turn);
    return count(result);
}

InsertResult ExpectOwner::count(InsertResult result) noexcept {
    outcomes_[static_cast<unsigned>(result.outcome)].add();
    return result;
}

void ExpectOwner::fill(Expectation& e, const ExpectRequest& r, ExpectTurn turn) noexcept {
    e.key = ExpectTable::key_of(r.zone, r.protocol, r.dst, r.dport);
    e.hash = keyed_hash<sizeof(ExpectKey)>(&e.key, table_.secret_);
    e.src_prefix = 0;
    if (r.src.family != Family::none)
        e.src_prefix = static_cast<std::uint8_t>(
            std::min<unsigned>(r.src_prefix, 8 * address_bytes(r.dst.family)));
    prefix_mask(e.src_prefix, e.src_mask);
    to_words(r.src, e.src);
    e.src[0] &= e.src_mask[0];
    e.src[1] &= e.src_mask[1];
    e.sport_mask = r.sport_mask.raw();
    e.sport = r.sport.raw() & e.sport_mask;
    e.flags = r.flags;
    e.class_index = r.class_index;
    e.helper = r.helper;
    e.child_helper = r.child_helper;
    e.mark = r.mark;
    e.label = r.label;
    e.tag = r.tag;
    e.rule = r.rule;
    e.owner = id_;
    e.master = r.master;
    e.master_tuple = r.master_tuple;
    e.timeout_ms = r.timeout_ms;
    e.deadline_ms.store((turn.now + r.timeout_ms).ms, std::memory_order_relaxed);
    e.host_slot[0] = e.host_slot[1] = kNoHost;
    if (table_.max_per_host_ != 0 && r.master_tuple.src.family != Family::none) {
        const ExpectKey host = ExpectTable::key_of(r.zone, 0, r.master_tuple.src, Be16{});
        const std::uint64_t h = keyed_hash<sizeof host, 1>(&host, table_.secret_);
        e.host_slot[0] = static_cast<std::uint32_t>(h) & table_.host_mask_;
        e.host_slot[1] =
            (static_cast<std::uint32_t>(h >> 32) & table_.host_mask_) + table_.host_mask_ + 1;
    }
}

/// With the shard's lock: compares with the pending ones of the same key, ends what has expired
/// and what this one replaces.
InsertResult ExpectOwner::check_chain(Shard& shard, std::int32_t position, const Expectation& e,
                                      const ExpectRequest& r, Tick now,
                                      Displaced& displaced) noexcept {
    if (position < 0) return {InsertOutcome::created, {}};
    InsertOutcome outcome = InsertOutcome::created;
    std::uint32_t candidates = 0;
    // Relaxed: anchor and next are written under this lock only.
    std::uint32_t i =
        shard.anchor[static_cast<std::uint32_t>(position)].load(std::memory_order_relaxed);
    for (std::uint32_t next; i != 0; i = next) {
        Expectation& other = table_.at(i);
        next = other.next.load(std::memory_order_relaxed);
        const std::uint32_t word = other.state.load(std::memory_order_acquire);
        if (!pending(word)) continue;  // on its way out; who ended it waits for this lock
        const ExpectId id{i, expect_state::generation(word)};
        const bool others = other.master != e.master;
        if (expired(other, now)) {
            if (!end(other)) continue;
            unlink_locked(shard, other, i);
            if (other.owner == id_) detach(other);  // the class may have room by that
            other.link = displaced.expired;
            displaced.expired = i;
            if (displaced.place_of == 0 && same_account(other, e)) displaced.place_of = i;
        } else if (r.beside && others) {
            ++candidates;
        } else if (same_source(other, e)) {
            const bool same_class = other.class_index == e.class_index;
            if (same_class && !others) {
                if (!end(other)) continue;  // a child has just taken it: this is a new one
                unlink_locked(shard, other, i);
                displaced.refreshed = i;
                if (displaced.place_of == 0 && same_account(other, e)) displaced.place_of = i;
                outcome = InsertOutcome::refreshed;
            } else {
                return {r.skip_master && others ? InsertOutcome::shared : InsertOutcome::already,
                        id};
            }
        } else if (sources_overlap(other, e) && !(r.skip_master && others)) {
            return {InsertOutcome::busy, id};
        } else {
            ++candidates;
        }
    }
    if (candidates >= table_.max_per_destination_) outcome = InsertOutcome::limit_destination;
    return {outcome, {}};
}

/// When the class is full, expired ones of it go first, then the oldest. They lie in any shard, so
/// here they are only ended: a lock is held, and nobody may hold two.
void ExpectOwner::make_room_in_class(MasterExpectations& master, std::uint8_t class_max,
                                     const Expectation& e, Tick now,
                                     Displaced& displaced) noexcept {
    for (const bool of_any_age : {false, true}) {
        std::uint32_t i = master.oldest;
        for (std::uint32_t newer; i != 0 && master.count[e.class_index] >= class_max; i = newer) {
            Expectation& old = table_.at(i);
            newer = old.newer;
            if (old.class_index != e.class_index || !(of_any_age || expired(old, now))) continue;
            detach(old);
            if (!end(old)) continue;  // taken, and about to come back: the class has room by that
            old.link = displaced.evicted;
            displaced.evicted = i;
            if (displaced.place_of == 0 && same_account(old, e)) displaced.place_of = i;
        }
    }
}

/// With the shard's lock. Returns `outcome`, or the limit that was met.
InsertOutcome ExpectOwner::publish(Shard& shard, std::int32_t& position, Expectation& e,
                                   std::uint32_t index, InsertOutcome outcome,
                                   const Displaced& displaced) noexcept {
    if (displaced.place_of == 0)
        if (const InsertOutcome limit = reserve(e); limit != InsertOutcome::created) return limit;
    if (position < 0) {
        position = rte_hash_add_key_with_hash(shard.hash, &e.key, static_cast<hash_sig_t>(e.hash));
        if (position < 0) {
            if (displaced.place_of == 0) release(e);
            return InsertOutcome::limit_pool;
        }
    }
    // Before the candidate can be found: a reader that finds these zero may look no further.
    shard.live.store(shard.live.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    auto& slot = shard.presence[table_.presence_slot(e.hash)];
    slot.store(static_cast<std::uint16_t>(slot.load(std::memory_order_relaxed) + 1),
               std::memory_order_relaxed);

    auto& anchor = shard.anchor[static_cast<std::uint32_t>(position)];
    e.position = static_cast<std::uint32_t>(position);
    e.next.store(anchor.load(std::memory_order_relaxed), std::memory_order_relaxed);
    const std::uint32_t generation =
        expect_state::generation(e.state.load(std::memory_order_relaxed)) + 1;
    const std::uint32_t state =
        (e.flags & expect_flag::inactive) != 0 ? expect_state::inactive : expect_state::live;
    // Release pairs with the acquire in copy_if_pending() and remove(), which come by index ...
    e.state.store(generation << expect_state::kBits | state, std::memory_order_release);
    // ... and this one with find_candidate()'s, which come by key.
    anchor.store(index, std::memory_order_release);
    return outcome;
}

InsertOutcome ExpectOwner::reserve(const Expectation& e) noexcept {
    // Relaxed: limits count, they guard no data. Add first, so that two threads at the limit cannot
    // both get the last place.
    const auto take = [](std::atomic<std::uint32_t>& count, std::uint32_t max) noexcept {
        if (count.fetch_add(1, std::memory_order_relaxed) < max) return true;
        count.fetch_sub(1, std::memory_order_relaxed);
        return false;
    };
    const std::uint32_t zone_max = table_.max_per_zone_[e.key.zone];
    const std::uint32_t host_max = table_.max_per_host_;
    if (!take(table_.live_, table_.max_live_)) return InsertOutcome::limit_total;
    if (!take(table_.zone_live_[e.key.zone], zone_max == 0 ? ~0u : zone_max)) {
        table_.live_.fetch_sub(1, std::memory_order_relaxed);
        return InsertOutcome::limit_zone;
    }
    if (e.host_slot[0] == kNoHost) return InsertOutcome::created;
    // The host is over its limit only if both its counts say so: see NOTES.md.
    const std::uint32_t a =
        table_.host_live_[e.host_slot[0]].fetch_add(1, std::memory_order_relaxed);
    const std::uint32_t b =
        table_.host_live_[e.host_slot[1]].fetch_add(1, std::memory_order_relaxed);
    if (std::min(a, b) < host_max) return InsertOutcome::created;
    release(e);
    return InsertOutcome::limit_host;
}

void ExpectOwner::release(const Expectation& e) noexcept {
    table_.live_.fetch_sub(1, std::memory_order_relaxed);
    table_.zone_live_[e.key.zone].fetch_sub(1, std::memory_order_relaxed);
    if (e.host_slot[0] == kNoHost) return;
    table_.host_live_[e.host_slot[0]].fetch_sub(1, std::memory_order_relaxed);
    table_.host_live_[e.host_slot[1]].fetch_sub(1, std::memory_order_relaxed);
}

// ---- the end of an expectation ------------------------------------------------------------------

/// True when this call ended it; then the caller must unlink() and finish() it.
bool ExpectOwner::end(Expectation& e) noexcept {
    return end(e, expect_state::generation(e.state.load(std::memory_order_acquire)));
}
bool ExpectOwner::end(Expectation& e, std::uint32_t generation) noexcept {
    std::uint32_t word = e.state.load(std::memory_order_acquire);
    while (pending(word) && expect_state::generation(word) == generation) {
        const std::uint32_t dead = expect_state::of(word) == expect_state::inactive
                                       ? expect_state::dead_inactive
                                       : expect_state::dead;
        // Acquire-release, as in claim_candidate().
        if (e.state.compare_exchange_weak(word, expect_state::with(word, dead),
                                          std::memory_order_acq_rel, std::memory_order_acquire))
            return true;
    }
    return false;
}

/// With the shard's lock. The key stays until drop_key_if_unused().
void ExpectOwner::unlink_locked(Shard& shard, Expectation& e, std::uint32_t index) noexcept {
    std::atomic<std::uint32_t>* link = &shard.anchor[e.position];
    for (std::uint32_t i; (i = link->load(std::memory_order_relaxed)) != index;) {
        assert(i != 0);
        link = &table_.at(i).next;
    }
    // Release: a reader that follows it must see the candidate it leads to.
    link->store(e.next.load(std::memory_order_relaxed), std::memory_order_release);
    auto& slot = shard.presence[table_.presence_slot(e.hash)];
    slot.store(static_cast<std::uint16_t>(slot.load(std::memory_order_relaxed) - 1),
               std::memory_order_relaxed);
    shard.live.store(shard.live.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

void ExpectOwner::drop_key_if_unused(Shard& shard, const Expectation& e,
                                     std::uint32_t position) noexcept {
    if (shard.anchor[position].load(std::memory_order_relaxed) == 0)
        rte_hash_del_key_with_hash(shard.hash, &e.key, static_cast<hash_sig_t>(e.hash));
}

void ExpectOwner::unlink(Expectation& e, std::uint32_t index) noexcept {
    Shard& shard = table_.shards_[table_.shard_index(e.hash)];
    std::lock_guard guard(shard.lock);
    unlink_locked(shard, e, index);
    drop_key_if_unused(shard, e, e.position);
}

/// After unlinking, without a lock.
void ExpectOwner::finish(std::uint32_t index, ExpectEnd why, ExpectTurn turn,
                         bool place_taken) noexcept {
    Expectation& e = table_.at(index);
    if (!place_taken) release(e);
    ends_[static_cast<unsigned>(why)].add();
    tell(event_of(why), why, index, turn);
    if (e.owner == id_) {
        detach(e);
        wheel_.disarm(index);
        retire(index);
        return;
    }
    std::atomic<std::uint32_t>& stack = table_.owner(e.owner).returned_;
    std::uint32_t head = stack.load(std::memory_order_relaxed);
    do
        e.link = head;
    // Release pairs with take_returned()'s acquire. Nobody pops single objects: no ABA.
    while (!stack.compare_exchange_weak(head, index, std::memory_order_release,
                                        std::memory_order_relaxed));
}

bool ExpectOwner::remove(ExpectId id, ExpectEnd why, ExpectTurn turn) noexcept {
    if (!id || id.index > table_.owners() * table_.per_owner_) return false;
    Expectation& e = table_.at(id.index);
    if (!end(e, id.generation)) return false;
    unlink(e, id.index);
    finish(id.index, why, turn, false);
    return true;
}

void ExpectOwner::remove_all(MasterExpectations& master, ExpectEnd why, ExpectTurn turn) noexcept {
    if (why == ExpectEnd::master_end) master.closed = true;
    while (master.oldest != 0) {
        const std::uint32_t index = master.oldest;
        Expectation& e = table_.at(index);
        detach(e);
        if (!end(e)) continue;  // taken: it comes back by itself
        unlink(e, index);
        finish(index, why, turn, false);
    }
}

void ExpectOwner::remove(MasterExpectations& master, std::uint8_t class_index, std::uint32_t tag,
                         ExpectEnd why, ExpectTurn turn, std::uint32_t mask) noexcept {
    for (std::uint32_t i = master.oldest, newer; i != 0; i = newer) {
        Expectation& e = table_.at(i);
        newer = e.newer;
        if (class_index != kAnyExpectClass && e.class_index != class_index) continue;
        if (tag != 0 && (e.tag & mask) != (tag & mask)) continue;
        detach(e);
        if (!end(e)) continue;  // taken: it comes back by itself
        unlink(e, i);
        finish(i, why, turn, false);
    }
}

void ExpectOwner::activate(MasterExpectations& master, std::uint8_t class_index, std::uint32_t tag,
                           std::uint32_t timeout_ms, ExpectTurn turn) noexcept {
    for (std::uint32_t i = master.oldest; i != 0; i = table_.at(i).newer) {
        const Expectation& e = table_.at(i);
        if (e.class_index != class_index || (tag != 0 && e.tag != tag)) continue;
        const ExpectId id{i, expect_state::generation(e.state.load(std::memory_order_relaxed))};
        if (timeout_ms != 0) set_timeout(id, timeout_ms, turn);
        activate(id);
    }
}

bool ExpectOwner::activate(ExpectId id) noexcept {
    if (!id || id.index > table_.owners() * table_.per_owner_) return false;
    std::uint32_t word = id.generation << expect_state::kBits | expect_state::inactive;
    return table_.at(id.index).state.compare_exchange_strong(
        word, expect_state::with(word, expect_state::live), std::memory_order_acq_rel,
        std::memory_order_relaxed);
}

bool ExpectOwner::set_timeout(ExpectId id, std::uint32_t timeout_ms, ExpectTurn turn) noexcept {
    if (!id || id.index > table_.owners() * table_.per_owner_) return false;
    Expectation& e = table_.at(id.index);
    const std::uint32_t word = e.state.load(std::memory_order_acquire);
    if (!pending(word) || expect_state::generation(word) != id.generation) return false;
    // If it ends just now this is harmless: it is not reused while this thread is online.
    e.deadline_ms.store((turn.now + timeout_ms).ms, std::memory_order_relaxed);
    if (e.owner == id_) wheel_.arm(id.index);
    return true;
}

void ExpectOwner::tell(ExpectEventType type, ExpectEnd end, std::uint32_t index,
                       ExpectTurn turn) noexcept {
    if (!events_.enabled()) return;
    ExpectEvent* event = events_.reserve();
    if (event == nullptr) return;
    const Expectation& e = table_.at(index);
    event->type = type;
    event->end = end;
    event->by = id_;
    event->at = turn.now;
    event->cookie = turn.cookie;
    table_.copy(e, index, e.state.load(std::memory_order_relaxed), event->info);
    events_.publish();
}

// ---- the owner's books --------------------------------------------------------------------------

void ExpectOwner::attach(MasterExpectations& master, Expectation& e, std::uint32_t index) noexcept {
    e.list = &master;
    e.newer = 0;
    e.older = master.newest;
    (master.newest != 0 ? table_.at(master.newest).newer : master.oldest) = index;
    master.newest = index;
    ++master.count[e.class_index];
}

void ExpectOwner::detach(Expectation& e) noexcept {
    if (e.list == nullptr) return;
    (e.older != 0 ? table_.at(e.older).newer : e.list->oldest) = e.newer;
    (e.newer != 0 ? table_.at(e.newer).older : e.list->newest) = e.older;
    --e.list->count[e.class_index];
    e.list = nullptr;
}

std::uint32_t ExpectOwner::allocate() noexcept {
    if (free_ == 0) {
        const std::uint32_t fresh = fresh_.load(std::memory_order_relaxed);
        if (fresh <= last_) {
            fresh_.store(fresh + 1, std::memory_order_relaxed);
            --free_count_;
            return fresh;
        }
        reclaim();
        if (free_ == 0) return 0;
    }
    const std::uint32_t index = free_;
    free_ = table_.at(index).link;
    --free_count_;
    return index;
}

void ExpectOwner::retire(std::uint32_t index) noexcept {
    table_.at(index).link = retired_;
    if (retired_ == 0) retired_tail_ = index;
    retired_ = index;
    ++retired_count_;
}

void ExpectOwner::take_returned() noexcept {
    if (returned_.load(std::memory_order_relaxed) == 0) return;
    // Acquire pairs with finish()'s release.
    std::uint32_t i = returned_.exchange(0, std::memory_order_acquire);
    for (std::uint32_t next; i != 0; i = next) {
        Expectation& e = table_.at(i);
        next = e.link;
        if (next != 0) __builtin_prefetch(&table_.at(next).list, 1);
        detach(e);
        wheel_.disarm(i);
        retire(i);
    }
}

/// Two batches: one collects, the other waits for the readers of its time. One token a batch, so
/// the RCU variable's line, which all workers share, is written once a turn and not once an object.
void ExpectOwner::reclaim() noexcept {
    if (waiting_ != 0 && rte_rcu_qsbr_check(table_.rcu_, token_, false) == 1) {
        table_.at(waiting_tail_).link = free_;
        free_ = waiting_;
        free_count_ += waiting_count_;
        waiting_ = waiting_count_ = 0;
    }
    if (waiting_ == 0 && retired_ != 0) {
        waiting_ = retired_;
        waiting_tail_ = retired_tail_;
        waiting_count_ = retired_count_;
        retired_ = retired_count_ = 0;
        token_ = rte_rcu_qsbr_start(table_.rcu_);
    }
}

std::uint32_t ExpectOwner::tick(ExpectTurn turn, std::uint32_t budget) noexcept {
    take_returned();
    reclaim();
    return wheel_.advance(turn.now, budget, [&](std::uint32_t index) noexcept {
        Expectation& e = table_.at(index);
        if (!expired(e, turn.now)) return wheel_.arm(index);  // set_timeout() was a bit faster
        if (!end(e)) return;                                  // taken: it comes back by itself
        unlink(e, index);
        finish(index, ExpectEnd::expired, turn, false);
    });
}

}  // namespace postern
