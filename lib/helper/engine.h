// SPDX-License-Identifier: BSD-3-Clause
// HelperEngine: runs the helpers for the connections of one worker.
//
// What: between the pipeline's helper stage and the helpers. For each packet of a helped connection
// it puts the payload in order (stream.h), cuts it into messages, scans them (scanner.h), wakes the
// parser for those that matter, and lets through what the guards allow (guards.h). The caller files
// what is left in Emit.
//
// Who calls: the worker that owns the connections. counters() is for control too.
//
// Life-cycle of a HelperConn: attach() at the connection's first packet (before on_syn), detach()
// when the connection ends. All memory is taken at create(); attach() fails when the slots are all
// taken, and the connection passes without its helper.
//
// Dropping the announcing packet: when the expectation cannot be filed, undo() makes the engine
// forget the packet, so that the caller may drop it and its retransmission is read again.
//
// Synchronisation: none but the counters, which have one writer.
//
// Cost: a segment without payload costs a comparison. One in order, of whole lines that matter to
// nobody, touches the first cache line of its HelperConn and pays what LineFilter does; lines that
// may matter pay one hs_scan. Segments of ended or blind streams cost one comparison.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/huge_pages.h"
#include "base/result.h"
#include "base/types.h"
#include "helper/counters.h"
#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/helper_set.h"
#include "helper/scanner.h"
#include "helper/stream.h"
#include "helper/view.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern {

/// The helper's part of one connection.
struct alignas(64) HelperConn {
    std::array<Stream, 2> stream;         ///< by Direction
    std::uint32_t owner = 0;              ///< the caller's: its connection
    HelperId helper = kNoHelper;          ///< kNoHelper: the slot is free
    bool proven = false;                  ///< may open
    std::uint16_t min_timeout_s = 0;      ///< Emit::master_timeout()
    std::array<std::uint32_t, 2> skip{};  ///< bytes still to pass over, by Direction
    alignas(8) std::array<std::uint8_t, kPrivateBytes> state{};
    Tuple original;

    bool blind(Direction d) const noexcept { return stream[index(d)].state == StreamState::blind; }
};
static_assert(sizeof(HelperConn) == 128 && offsetof(HelperConn, min_timeout_s) < 64);

/// The helper's part of a connection in a form that another engine can go on with.
struct HelperImage {
    static constexpr std::size_t kWaiting = 256;
    bool there = false;
    bool cut = false;  ///< bytes that wait are not in it, in one direction or both
    HelperConn conn;   ///< its buffers mean nothing; Stream::fill bytes of `waiting` do
    std::array<std::array<std::uint8_t, kWaiting>, 2> waiting{};  ///< by Direction
};

struct EngineLimits {
    std::uint32_t max_conns = 4096;     ///< helped connections of this worker
    std::uint32_t max_buffers = 1024;   ///< streams with something waiting
    std::uint32_t buffer_bytes = 4096;  ///< a stream; also the longest message, where the helper
                                        ///< does not want more. 64..32768
    std::uint32_t long_buffers = 64;    ///< for longer ones; none where no helper wants them
};

struct CounterValue {
    std::string_view name;
    std::string_view help;
    std::uint64_t value;
};

/// Takes one message of a remote helper: whole lines, or what its framing says. Valid during the
/// call.
using AskFn = void (*)(void* context, Direction direction, Bytes message) noexcept;

/// What the process of a remote helper says of a message.
struct RemoteAnswer {
    Direction direction = Direction::original;  ///< who said the message
    std::span<const PinHole> requests;          ///< their classes exist
    bool proven = false;   ///< both sides speak the protocol: from here on it may open
    bool give_up = false;  ///< nothing of this connection matters any more
};

class HelperEngine {
  public:
    /// `set` must outlive the engine. Control, before the worker starts.
    static Result<std::unique_ptr<HelperEngine>> create(const HelperSet& set, EngineLimits limits);
    HelperEngine(const HelperEngine&) = delete;
    HelperEngine& operator=(const HelperEngine&) = delete;

    /// Null when no slot is left (counted) or no helper has this id.
    HelperConn* attach(HelperId helper, const Tuple& original, std::uint32_t owner) noexcept;
    /// A slot for a connection that expects others without having a helper: by its rule. Null when
    /// none is left.
    HelperConn* reserve(const Tuple& original, std::uint32_t owner) noexcept;
    /// A copy of it. A direction with more than kWaiting bytes of an incomplete message is blind in
    /// it; what had come early is not in it and has to come again. Both make it `cut`.
    void save(const HelperConn& conn, HelperImage& out) const noexcept;
    /// Goes on with one, for the connection `original` of `owner`. Null when no slot is left.
    HelperConn* resume(const HelperImage& image, const Tuple& original,
                       std::uint32_t owner) noexcept;
    /// Empties `emit`, then has in it what the helper asks for at the end: end_child only.
    void detach(HelperConn* conn, Emit& emit) noexcept;

    /// A slot's name for the caller's connection: 0 is nobody's, and has no helper.
    std::uint32_t index_of(const HelperConn* conn) const noexcept {
        return conn == nullptr ? 0 : static_cast<std::uint32_t>(conn - conns_.get());
    }
    HelperConn* at(std::uint32_t index) noexcept { return conns_.get() + index; }

    /// Fetches what the next packet of this one needs first.
    [[gnu::always_inline]] void prefetch(std::uint32_t index) const noexcept {
        __builtin_prefetch(conns_.get() + index);
    }

    /// The SYN, or SYN+ACK, of this direction. on_segment() does it too when `flags` have SYN.
    void on_syn(HelperConn* conn, Direction direction, std::uint32_t seq) noexcept {
        assembler_.start(conn->stream[index(direction)], seq);
    }
    /// A segment that conntrack found valid; `flags` as on the wire. Empties `emit` first.
    void on_segment(HelperConn* conn, Direction direction, std::uint32_t seq, std::uint8_t flags,
                    Bytes payload, Emit& emit) noexcept {
        if (skim(*conn, direction, seq, flags, payload)) return emit.clear();
        read_segment(conn, direction, seq, flags, payload, emit);
    }
    /// The short way of on_segment(), for what nearly all are: segments without payload, and whole
    /// lines, next in order and not the first, none of which can match. True when it was such a
    /// one: it has been read, asks for nothing, and cannot be undone. Else false, and nothing has
    /// changed.
    bool skim(HelperConn& conn, Direction direction, std::uint32_t seq, std::uint8_t flags,
              Bytes payload) noexcept;
    void on_datagram(HelperConn* conn, Direction direction, Bytes payload, Emit& emit) noexcept;

    /// Forgets the packet of the last on_segment() or on_datagram(), which the caller then drops;
    /// to be called before anything else. False when it cannot be: the packet should pass, its
    /// expectations are lost; or nothing of it mattered. Counters are not turned back.
    bool undo(HelperConn* conn) noexcept;
    /// The same, and it does not count: the caller keeps the packet, to show it again.
    bool rewind(HelperConn* conn) noexcept;

    /// Who takes the messages of remote helpers. Before the worker starts.
    void ask_by(AskFn ask, void* context) noexcept {
        ask_ = ask;
        ask_context_ = context;
    }
    /// An answer, through the same guards as a parser's requests. Empties `emit` first.
    void on_answer(HelperConn* conn, const RemoteAnswer& answer, Emit& emit) noexcept;

    const HelperSet& set() const noexcept { return set_; }
    /// Of one instance: control may read at any time.
    const HelperCounters& counters(HelperId helper) const noexcept { return counters_[helper]; }
    HelperCounters& counters(HelperId helper) noexcept { return counters_[helper]; }
    /// f(CounterValue) for each counter of an instance. Control, at any time.
    template <class F>
    void for_each_counter(HelperId helper, F&& f) const;

    /// Slots 1..capacity() may be given to at(); a free one has no helper.
    std::uint32_t capacity() const noexcept { return static_cast<std::uint32_t>(free_.capacity()); }
    std::uint32_t conns_free() const noexcept { return static_cast<std::uint32_t>(free_.size()); }
    /// Of both sizes.
    std::uint32_t buffers_free() const noexcept { return assembler_.buffers_free(); }

  private:
    /// One packet being read.
    struct Reading {
        HelperConn& conn;
        const HelperInstance& instance;
        HelperCounters& counters;
        Emit& emit;
        Direction direction;
    };

    HelperEngine(const HelperSet& set, EngineLimits limits, Scratch scratch);
    /// Bytes of a message that this helper may have.
    std::uint32_t longest(const Reading& r) const noexcept {
        return std::max<std::uint32_t>(assembler_.buffer_bytes(), r.instance.desc->longest_message);
    }
    /// The long way of on_segment().
    void read_segment(HelperConn* conn, Direction direction, std::uint32_t seq, std::uint8_t flags,
                      Bytes payload, Emit& emit) noexcept;
    void begin(HelperConn* conn, Direction direction, Emit& emit) noexcept;
    std::size_t read(Reading& r, Bytes run, std::size_t fresh) noexcept;
    std::size_t read_lines(Reading& r, Bytes run) noexcept;
    std::size_t read_measured(Reading& r, Bytes run, std::size_t fresh) noexcept;
    std::size_t read_remote(Reading& r, Bytes run, std::size_t fresh) noexcept;
    void scan(const Reading& r, Bytes bytes) noexcept;
    /// Scans one message; wakes the parser if it matters.
    void offer(Reading& r, Bytes message) noexcept;
    void wake(Reading& r, Bytes message, unsigned pattern) noexcept;
    void guard(Reading& r, const View& view) noexcept;
    void blind_both(Reading& r, HelperCounter cause) noexcept;

    const HelperSet& set_;
    Scratch scratch_;
    Assembler assembler_;
    HugeArray<HelperConn> conns_;
    std::vector<std::uint32_t> free_;  ///< a stack; reserved for all, so it never allocates
    std::vector<HelperCounters> counters_;
    /// What skim() needs of a helper that reads lines, and only lines with a pattern. Of others:
    /// nothing can be ruled out.
    struct Skim {
        const LineFilter* filter = &LineFilter::nothing();
        Counter* scanned = nullptr;
    };
    std::array<Skim, kMaxHelpers> skim_by_{};
    Matches matches_;
    AskFn ask_ = nullptr;
    void* ask_context_ = nullptr;

    /// For undo(): the connection as it was before the last packet.
    HelperConn* last_ = nullptr;
    Direction last_direction_ = Direction::original;
    HelperConn saved_;
    Assembler::Ranges saved_ranges_;
};

[[gnu::always_inline]] inline bool HelperEngine::skim(HelperConn& conn, Direction direction,
                                                      std::uint32_t seq, std::uint8_t flags,
                                                      Bytes payload) noexcept {
    if ((flags & (stream_flag::syn | stream_flag::fin | stream_flag::rst)) != 0) return false;
    last_ = nullptr;
    if (payload.empty()) return true;
    Stream& s = conn.stream[index(direction)];
    if (s.fin_seen != 0 || s.has_data == 0 || s.read_all != 0 || s.state != StreamState::open ||
        s.buffer != 0 || seq != s.next_seq || payload.back() != '\n' ||
        payload.size() > assembler_.buffer_bytes())
        return false;
    const Skim& by = skim_by_[conn.helper];
    if (by.filter->may_match(payload)) return false;
    s.next_seq += static_cast<std::uint32_t>(payload.size());
    by.scanned->add(payload.size());
    return true;
}

template <class F>
void HelperEngine::for_each_counter(HelperId helper, F&& f) const {
    const HelperInstance* instance = set_.find(helper);
    if (instance == nullptr) return;
    const HelperCounters& row = counters_[helper];
    for (unsigned i = 0; i < kHelperCounters; ++i)
        f(CounterValue{kHelperCounterTable[i].name, kHelperCounterTable[i].help, row.at[i].get()});
    const auto& own = instance->desc->counters;
    for (unsigned i = 0; i < own.size(); ++i)
        f(CounterValue{own[i].name, own[i].help, row.at[kHelperCounters + i].get()});
}

}  // namespace postern
