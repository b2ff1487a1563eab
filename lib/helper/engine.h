// SPDX-License-Identifier: BSD-3-Clause
// HelperEngine: runs the helpers for the connections of one worker. engine.cc has their life-cycle,
// reading.cc what becomes of payload; the pool of their slots is HelperSlots (slots.h).
//
// What: between the pipeline's helper stage and the helpers. For each packet of a helped connection
// it puts the payload in order (stream.h), cuts it into messages, scans them (scanner.h), wakes the
// parser for relevant ones, and passes on the requests that the guards allow (guards.h). The caller
// files the requests left in Emit.
//
// Used by: the worker that owns the connections. counters() is for control too.
//
// Life-cycle of a HelperConn: attach() at the connection's first packet (before on_syn), detach()
// when the connection ends. All memory is allocated at create(); attach() fails if the slots of the
// connection's standing are all in use. victim() then returns the one to displace.
//
// Dropping the announcing packet: if the expectation cannot be filed, undo() restores the state
// before the packet, so that the caller may drop it and its retransmission is read again.
//
// Synchronisation: none except the counters, which have one writer.
//
// Cost: a segment without payload costs a comparison. One in order, of whole lines without a match,
// touches the first cache line of its HelperConn and costs one LineFilter; lines that may match
// cost one hs_scan. Segments of ended or blind streams cost one comparison.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "helper/counters.h"
#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/helper_conn.h"
#include "helper/helper_set.h"
#include "helper/scanner.h"
#include "helper/slots.h"
#include "helper/stream.h"
#include "helper/view.h"
#include "net/addr.h"
#include "net/cursor.h"
#include "net/keyed_hash.h"

namespace postern {

struct EngineLimits {
    std::uint32_t max_conns = 4096;     ///< helped connections of this worker
    std::uint32_t max_buffers = 1024;   ///< streams with buffered bytes
    std::uint32_t buffer_bytes = 4096;  ///< a stream; default longest message. 64..32768
    std::uint32_t long_buffers = 64;    ///< for longer ones; none if no helper needs them
    std::uint32_t unproven_conns = 0;   ///< unproven connections, in addition to max_conns
    HashSecret secret;                  ///< distributes sources and destinations over accounts
};

struct CounterValue : MetricDesc {
    std::uint64_t value;
};

/// Takes one message of a remote helper: whole lines, or by its framing. Valid during the call.
using AskFn = void (*)(void* context, Direction direction, Bytes message) noexcept;

/// The answer of a remote helper's process to a message.
struct RemoteAnswer {
    Direction direction = Direction::original;  ///< sender of the message
    std::span<const PinHole> requests;          ///< their classes exist
    bool proven = false;                        ///< proof of protocol: from here on it may open
    bool give_up = false;                       ///< no more of this connection needs to be read
};

/// The result of HelperEngine::skim() for a segment.
enum class Skim : std::uint8_t {
    not_asked,
    unread,     ///< the payload was not examined
    may_match,  ///< whole lines, which the line filter cannot rule out
    read        ///< it has been read
};

/// Many methods: the framework's one face to the pipeline. Slots pass through to HelperSlots, so
/// that a slot and its streams change together; the rest is a connection's life, a packet's
/// reading, and counters.
class HelperEngine {
  public:
    /// `set` must outlive the engine. Control, before the worker starts.
    static Result<std::unique_ptr<HelperEngine>> create(const HelperSet& set, EngineLimits limits);
    HelperEngine(const HelperEngine&) = delete;
    HelperEngine& operator=(const HelperEngine&) = delete;

    /// Null if no slot of its standing is left (counted) or no helper has this id. Without a helper
    /// the slot is for a connection whose rule has `expect`.
    HelperConn* attach(const Applicant& applicant) noexcept;
    HelperConn* attach(HelperId helper, const Tuple& original, std::uint32_t owner) noexcept {
        return attach(Applicant{.helper = helper, .original = original, .owner = owner});
    }
    /// Assigns a helper to a slot without one.
    void assign(HelperConn& conn, HelperId helper) noexcept;
    /// Whether attach() would find a slot.
    bool has_room(Standing s) const noexcept { return slots_.has_room(s); }
    /// Returns the slot that this applicant displaces: the least recently used one of the
    /// applicant's account (source, destination, helper or zone) that has used up its share, else
    /// of all. Counts it; the caller ends it. `last_used(slot)` is the time of its connection's
    /// last packet. 0: there is none.
    template <class LastUsed>
    std::uint32_t victim(const Applicant& applicant, LastUsed&& last_used) noexcept;
    /// Its peer has answered: moves it to the proven slots. Requires room.
    void promote(HelperConn& conn, Tick now) noexcept;
    /// Marks an unproven slot as used.
    void touch(HelperConn& conn, Tick now) noexcept { slots_.touch(index_of(&conn), now); }
    /// The least recently used unproven slot, if that was kUnprovenMs ago; 0: none.
    std::uint32_t stale_unproven(Tick now) const noexcept {
        return slots_.stale_unproven(kUnprovenMs, now);
    }
    static constexpr std::uint32_t kUnprovenMs = 32'000;
    /// A copy of its state. A direction with more than kWaiting bytes of an incomplete message is
    /// blind in it; early bytes are not in it and have to be sent again. Both make it `cut`.
    void save(const HelperConn& conn, HelperImage& out) const noexcept;
    /// Continues from such a copy, with the applicant's helper. Null if no slot is left.
    HelperConn* resume(const HelperImage& image, const Applicant& applicant) noexcept;
    /// Empties `emit`, then fills it with the helper's requests at the end: end_child only.
    void detach(HelperConn* conn, Emit& emit) noexcept;

    /// The number of a slot for the caller's connection: 0 means none, without a helper.
    std::uint32_t index_of(const HelperConn* conn) const noexcept {
        return conn == nullptr ? 0 : slots_.index_of(conn);
    }
    HelperConn* at(std::uint32_t index) noexcept { return slots_.at(index); }

    /// Prefetches the memory that its next packet needs first.
    [[gnu::always_inline]] void prefetch(std::uint32_t index) const noexcept {
        __builtin_prefetch(slots_.at(index));
    }

    /// The SYN, or SYN+ACK, of this direction. on_segment() does it too when `flags` have SYN.
    void on_syn(HelperConn* conn, Direction direction, std::uint32_t seq) noexcept {
        assembler_.start(conn->stream[index(direction)], seq);
    }
    /// No SYN of this connection was seen: both directions are read from these numbers on.
    void pick_up(HelperConn* conn, std::uint32_t original_seq, std::uint32_t reply_seq) noexcept {
        conn->picked_up = true;
        on_syn(conn, Direction::original, original_seq - 1);
        on_syn(conn, Direction::reply, reply_seq - 1);
        own_ends_[index_of(conn)] = {OwnEnd{original_seq + kOwnWindow, true},
                                     OwnEnd{reply_seq + kOwnWindow, true}};
    }
    /// Bytes of a restored connection were missed: reads on from a segment, as pick_up() does, with
    /// the helper's state as at the beginning. Nothing opens before the numbers are known and the
    /// protocol is proven again. To be repeated when the numbers were contradicted. A helper that
    /// cannot is blind (blind_restored).
    void resynchronise(HelperConn& conn, Direction direction, std::uint32_t seq,
                       std::uint32_t ack) noexcept;
    /// The first payload of a direction since resynchronise() may begin later than assumed. Then
    /// its first message may be the rest of one.
    void align(HelperConn& conn, Direction direction, std::uint32_t seq) noexcept;

    /// Whether a helper reads such connections.
    bool picks_up(HelperId helper) const noexcept { return (*set_)[helper].picks_up; }
    /// Whether nothing has been read in either direction, nor ended: on_syn() restarts it.
    static bool is_untouched(const HelperConn& conn) noexcept {
        return std::ranges::all_of(conn.stream, Assembler::is_untouched);
    }
    /// Conntrack's values for the receiver of a direction; they may be wrong.
    struct Receiver {
        std::uint32_t acked = 0;       ///< the highest acknowledgement it sent
        std::uint32_t max_window = 0;  ///< the largest window it offered, scaled
    };
    /// For connections whose windows are not enforced: the number of bytes of a segment that its
    /// receiver may accept, up to its acknowledgement plus kOwnWindow. Call it for each segment in
    /// order of arrival; `receiver`: by Direction of the sender.
    std::uint32_t own_window(const HelperConn& conn, Direction direction, std::uint32_t seq,
                             std::uint32_t ack, const std::array<Receiver, 2>& receiver) noexcept;
    /// Bytes beyond an acknowledgement; more if the receiver has offered more.
    static constexpr std::uint32_t kOwnWindow = 65535;
    /// A segment that conntrack found valid, reduced in `flags` and `payload` to the parts that its
    /// receiver accepts: no SYN inside a connection, no RST except an exact one, nothing beyond the
    /// window. Empties `emit` first. `skimmed`: the result of skim(), if it was called.
    void on_segment(HelperConn* conn, Direction direction, std::uint32_t seq, std::uint8_t flags,
                    Bytes payload, Emit& emit, Skim skimmed = Skim::not_asked) noexcept {
        if (skimmed == Skim::not_asked) skimmed = skim(*conn, direction, seq, flags, payload);
        if (skimmed == Skim::read) return emit.clear();
        read_segment(conn, direction, seq, flags, payload, emit, skimmed == Skim::may_match);
    }
    /// The fast path of on_segment(), for nearly all segments: without payload, or whole lines,
    /// next in order and not the first, none of which can match. `read`: it was such a segment; it
    /// requests nothing, and cannot be undone. Otherwise nothing has changed, and on_segment() has
    /// to follow.
    Skim skim(HelperConn& conn, Direction direction, std::uint32_t seq, std::uint8_t flags,
              Bytes payload) noexcept;
    void on_datagram(HelperConn* conn, Direction direction, Bytes payload, Emit& emit) noexcept;

    /// Undoes the last on_segment() or on_datagram(), whose packet the caller then drops; to be
    /// called before anything else. False if it cannot be undone (the packet should pass, its
    /// expectations are lost), or had no effect. Counters are not restored.
    bool undo(HelperConn* conn) noexcept;
    /// The same without counting: the caller holds the packet, to pass it again.
    bool rewind(HelperConn* conn) noexcept;

    /// The receiver of remote helpers' messages. Before the worker starts.
    void ask_by(AskFn ask, void* context) noexcept {
        ask_ = ask;
        ask_context_ = context;
    }
    /// Handles an answer, through the same guards as a parser's requests. Empties `emit` first.
    void on_answer(HelperConn* conn, const RemoteAnswer& answer, Emit& emit) noexcept;

    const HelperSet& set() const noexcept { return *set_; }
    /// From now on the helpers are those of `set`; `scratch` was made for it, and both outlive
    /// their use. A connection whose helper is not in `set` must be detached before the engine gets
    /// a packet of it. No message of any helper may be longer than max_message().
    void adopt(const HelperSet& set, const Scratch& scratch) noexcept;
    /// Bytes of the longest message that a helper of an adopted set may have.
    std::uint32_t max_message() const noexcept { return max_message_; }
    /// Of one instance: control may read it at any time.
    const HelperCounters& counters(HelperId helper) const noexcept { return counters_[helper]; }
    HelperCounters& counters(HelperId helper) noexcept { return counters_[helper]; }
    /// f(CounterValue) for each counter of an instance of `set`. Control, at any time: `set` is
    /// control's own, as the worker may just adopt another. What it has counted for another helper
    /// of the same id is not shown.
    template <class F>
    void for_each_counter(const HelperSet& set, HelperId helper, F&& f) const;

    /// Slots 1..capacity() are valid for at(); a free one has no helper.
    std::uint32_t capacity() const noexcept { return slots_.total(); }
    std::uint32_t conns_free() const noexcept { return slots_.free(); }
    /// Of both sizes.
    std::uint32_t buffers_free() const noexcept { return assembler_.buffers_free(); }

    /// Use and capacity of a pool. Written by publish_use(), read by control.
    struct PoolUse {
        Counter slots, buffers;
        std::uint32_t max_slots = 0;
    };
    const PoolUse& use(Standing standing) const noexcept { return use_[index(standing)]; }
    /// Calls read(const MetricDesc&, value) for the pools. Control, at any time.
    template <class Read>
    void each_pool_metric(Read&& read) const;
    /// Once a turn.
    void publish_use() noexcept {
        for (const Standing s : {Standing::unproven, Standing::proven}) {
            use_[index(s)].slots.set(slots_.held(s));
            use_[index(s)].buffers.set(assembler_.buffers_held(s));
        }
    }

  private:
    /// One packet being read.
    struct Reading {
        HelperConn& conn;
        const HelperInstance& instance;
        HelperCounters& counters;
        Emit& emit;
        Direction direction;
        Progress progress{};                     ///< of the message at the start of the run
        const std::uint8_t* filtered = nullptr;  ///< payload that the line filter cannot rule out
    };

    HelperEngine(const HelperSet& set, EngineLimits limits, Scratch scratch);
    static std::uint32_t unproven_buffers(const EngineLimits& limits, std::uint32_t n) noexcept;
    Assembler::Hooks hooks() noexcept;
    void prepare_skim() noexcept;
    void count_for_set() noexcept;
    void count_displaced(const HelperSlots::Victim& victim) noexcept;
    /// Longest message of this helper, in bytes.
    std::uint32_t longest(const Reading& r) const noexcept {
        return std::max<std::uint32_t>(assembler_.buffer_bytes(), r.instance.desc->longest_message);
    }
    /// The slow path of on_segment(). `filtered`: the line filter cannot rule out the payload.
    void read_segment(HelperConn* conn, Direction direction, std::uint32_t seq, std::uint8_t flags,
                      Bytes payload, Emit& emit, bool filtered) noexcept;
    void begin(HelperConn* conn, Direction direction, Emit& emit) noexcept;
    std::size_t read(Reading& r, Bytes run, std::size_t fresh) noexcept;
    std::size_t read_lines(Reading& r, Bytes run) noexcept;
    std::size_t read_measured(Reading& r, Bytes run) noexcept;
    std::size_t read_remote(Reading& r, Bytes run, std::size_t fresh) noexcept;
    void scan(const Reading& r, Bytes bytes) noexcept;
    /// Scans one message; wakes the parser if it is relevant.
    void offer(Reading& r, Bytes message) noexcept;
    void wake(Reading& r, Bytes message, unsigned pattern) noexcept;
    void guard(Reading& r, const View& view) noexcept;
    void blind_both(Reading& r, HelperCounter cause) noexcept;

    const HelperSet* set_;
    Scratch own_scratch_;     ///< for the first set
    const Scratch* scratch_;  ///< for set_
    std::uint32_t max_message_;
    Assembler assembler_;
    /// By buffer: of the incomplete message in it. Written when a stream takes it.
    std::vector<Progress> progress_;
    HelperSlots slots_;
    std::array<PoolUse, 2> use_;  ///< by Standing
    /// By slot and Direction, see own_window(): one past the last number allowed, as far as known.
    struct OwnEnd {
        std::uint32_t end = 0;
        bool known = false;
    };
    std::vector<std::array<OwnEnd, 2>> own_ends_;
    std::vector<HelperCounters> counters_;
    /// A helper's data for skim(), if it reads lines, and only lines with a pattern. For others
    /// nothing can be ruled out.
    struct SkimBy {
        const LineFilter* filter = &LineFilter::nothing();
        Counter* scanned = nullptr;
    };
    std::array<SkimBy, kMaxHelpers> skim_by_{};
    Matches matches_;
    AskFn ask_ = nullptr;
    void* ask_context_ = nullptr;

    /// For undo(): the connection as it was before the last packet.
    HelperConn* last_ = nullptr;
    Direction last_direction_ = Direction::original;
    HelperConn saved_;
    Assembler::Ranges saved_ranges_;
    Progress saved_progress_;
};

[[gnu::always_inline]] inline Skim HelperEngine::skim(HelperConn& conn, Direction direction,
                                                      std::uint32_t seq, std::uint8_t flags,
                                                      Bytes payload) noexcept {
    if ((flags & (stream_flag::syn | stream_flag::fin | stream_flag::rst)) != 0)
        return Skim::unread;
    last_ = nullptr;
    if (payload.empty()) return Skim::read;
    Stream& s = conn.stream[index(direction)];
    if (s.fin_seen != 0 || s.has_data == 0 || s.read_all != 0 || s.state != StreamState::open ||
        s.buffer != 0 || seq != s.next_seq || payload.back() != '\n' ||
        payload.size() > assembler_.buffer_bytes())
        return Skim::unread;
    const SkimBy& by = skim_by_[conn.helper];
    if (by.filter->may_match(payload)) return Skim::may_match;
    s.next_seq += static_cast<std::uint32_t>(payload.size());
    by.scanned->add(payload.size());
    return Skim::read;
}

template <class LastUsed>
std::uint32_t HelperEngine::victim(const Applicant& applicant, LastUsed&& last_used) noexcept {
    const HelperSlots::Victim v = slots_.victim(applicant, last_used);
    if (v.slot != 0) count_displaced(v);
    return v.slot;
}

// X(name, kind, unit, help), of connections of one standing
#define POSTERN_POOL_METRICS(X, standing)                                              \
    X(helper_slots_##standing, gauge, slots, "held by " #standing " connections, now") \
    X(helper_slots_##standing##_max, gauge, slots, "how many these may hold")          \
    X(stream_buffers_##standing, gauge, buffers, "held by " #standing " ones, now")

template <class Read>
void HelperEngine::each_pool_metric(Read&& read) const {
    static constexpr MetricDesc kProven[] = {POSTERN_POOL_METRICS(POSTERN_METRIC_DESC, proven)};
    static constexpr MetricDesc kUnproven[] = {POSTERN_POOL_METRICS(POSTERN_METRIC_DESC, unproven)};
    for (const Standing standing : {Standing::proven, Standing::unproven}) {
        const MetricDesc* desc = standing == Standing::proven ? kProven : kUnproven;
        const PoolUse& pool = use(standing);
        read(desc[0], pool.slots.get());
        read(desc[1], std::uint64_t{pool.max_slots});
        read(desc[2], pool.buffers.get());
    }
}

template <class F>
void HelperEngine::for_each_counter(const HelperSet& set, HelperId helper, F&& f) const {
    const HelperInstance* instance = set.find(helper);
    if (instance == nullptr) return;
    const HelperCounters& row = counters_[helper];
    const bool its_own = row.of.load(std::memory_order_acquire) == instance->identity;
    const auto value = [&](unsigned i) { return its_own ? row.at[i].get() : std::uint64_t{0}; };
    for (unsigned i = 0; i < kHelperCounters; ++i)
        f(CounterValue{kHelperCounterTable[i], value(i)});
    const auto& own = instance->desc->counters;
    for (unsigned i = 0; i < own.size(); ++i)
        f(CounterValue{own[i], value(kHelperCounters + i)});
}

}  // namespace postern
