// SPDX-License-Identifier: BSD-3-Clause
#include "helper/engine.h"

#include <algorithm>
#include <string>
#include <utility>

namespace postern {
namespace {

/// Of all helpers of a configuration.
std::uint32_t longest_message(const HelperSet& set) noexcept {
    std::uint32_t most = 0;
    for (unsigned id = 1; id < kMaxHelpers; ++id)
        if (const HelperInstance* instance = set.find(static_cast<HelperId>(id)))
            most = std::max<std::uint32_t>(most, instance->desc->longest_message);
    return most;
}

/// Whether the client's stream, which is to begin anew at `seq`, may begin inside a message that
/// was seen: not for the first time, after an incomplete message, or with a repetition. A hostile
/// server contradicts itself, and chooses by its acknowledgements and its window where the client's
/// segments begin.
bool may_reread(const HelperConn& conn, std::uint32_t seq) noexcept {
    const Stream& s = conn.stream[index(Direction::original)];
    return conn.resumed || s.state != StreamState::open || s.buffer != 0 ||
           static_cast<std::int32_t>(seq - s.next_seq) < 0;
}

/// Whether a helper can read on after a gap: those that can begin in mid-stream.
bool can_resynchronise(const HelperDesc& desc) noexcept {
    return !desc.remote && std::ranges::any_of(desc.params, [](const ParamDesc& p) {
        return p.name == kPickUpParam.name;
    });
}

}  // namespace

/// Room for the streams of unproven connections, besides `n` buffers for the others.
std::uint32_t HelperEngine::unproven_buffers(const EngineLimits& limits, std::uint32_t n) noexcept {
    return limits.unproven_conns == 0 || n == 0 ? 0 : std::max(4u, n / 8);
}

HelperEngine::HelperEngine(const HelperSet& set, EngineLimits limits, Scratch scratch)
    : set_(&set),
      own_scratch_(std::move(scratch)),
      scratch_(&own_scratch_),
      max_message_(limits.long_buffers != 0 ? longest_message(set) : limits.buffer_bytes),
      assembler_({.buffers = limits.max_buffers,
                  .buffer_bytes = limits.buffer_bytes,
                  .long_buffers = limits.long_buffers,
                  .long_bytes = longest_message(set),
                  .unproven_buffers = unproven_buffers(limits, limits.max_buffers),
                  .unproven_long_buffers = unproven_buffers(limits, limits.long_buffers)},
                 hooks()),
      progress_(assembler_.last_buffer() + 1),
      slots_(limits.max_conns, limits.unproven_conns, limits.secret),
      own_ends_(std::size_t{limits.max_conns} + limits.unproven_conns + 1),
      counters_(kMaxHelpers) {
    for (const Standing s : {Standing::unproven, Standing::proven})
        use_[index(s)].max_slots = slots_.capacity(s);
    count_for_set();
    prepare_skim();
}

void HelperEngine::count_for_set() noexcept {
    for (unsigned id = 1; id < kMaxHelpers; ++id)
        if (const HelperInstance* instance = set_->find(static_cast<HelperId>(id)))
            counters_[id].count_for(instance->identity);
}

void HelperEngine::prepare_skim() noexcept {
    skim_by_ = {};
    for (unsigned id = 1; id < kMaxHelpers; ++id)
        if (const HelperInstance* instance = set_->find(static_cast<HelperId>(id)))
            if (instance->desc->framing == Framing::line && instance->filter != nullptr)
                skim_by_[id] = {instance->filter.get(),
                                &counters_[id][HelperCounter::scanned_bytes]};
}

void HelperEngine::adopt(const HelperSet& set, const Scratch& scratch) noexcept {
    assembler_.recycle();
    last_ = nullptr;
    set_ = &set;
    scratch_ = &scratch;
    count_for_set();
    prepare_skim();
}

Result<std::unique_ptr<HelperEngine>> HelperEngine::create(const HelperSet& set,
                                                           EngineLimits limits) {
    if (limits.buffer_bytes < 64 || limits.buffer_bytes > Assembler::kMaxBufferBytes)
        return Error{"a stream buffer must have 64 to " +
                     std::to_string(Assembler::kMaxBufferBytes) + " bytes"};
    if (longest_message(set) <= limits.buffer_bytes) limits.long_buffers = 0;
    auto scratch = set.scratch().clone();
    if (!scratch) return scratch.error();
    return std::unique_ptr<HelperEngine>(new HelperEngine(set, limits, std::move(scratch).value()));
}

Assembler::Hooks HelperEngine::hooks() noexcept {
    return {.context = this,
            .party_of =
                [](void* context, const Stream& s) noexcept {
                    const HelperSlots& slots = static_cast<HelperEngine*>(context)->slots_;
                    return slots.party_of(slots.slot_of(s));
                },
            .displaced =
                [](void* context, Stream& s) noexcept {
                    auto& e = *static_cast<HelperEngine*>(context);
                    const HelperConn& conn = *e.slots_.at(e.slots_.slot_of(s));
                    e.counters_[conn.helper][HelperCounter::blind_displaced].add();
                }};
}

void HelperEngine::count_displaced(const HelperSlots::Victim& victim) noexcept {
    constexpr HelperCounter kCauses[] = {
        HelperCounter::displaced_source, HelperCounter::displaced_destination,
        HelperCounter::displaced_helper, HelperCounter::displaced_zone,
        HelperCounter::displaced_oldest};
    counters_[slots_.at(victim.slot)->helper][kCauses[victim.cause]].add();
}

HelperConn* HelperEngine::attach(const Applicant& a) noexcept {
    if (a.helper != kNoHelper && set_->find(a.helper) == nullptr) return nullptr;
    if (!has_room(a.standing)) {
        counters_[a.helper][HelperCounter::attach_failed].add();
        return nullptr;
    }
    const std::uint32_t slot = slots_.take(a);
    HelperConn& conn = *slots_.at(slot);
    own_ends_[slot] = {};
    if (a.helper != kNoHelper) assign(conn, a.helper);
    return &conn;
}

void HelperEngine::assign(HelperConn& conn, HelperId helper) noexcept {
    const bool needs_proof = (*set_)[helper].desc->needs_proof;
    conn.helper = helper;
    conn.proven = !needs_proof;
    for (Stream& s : conn.stream)
        s.read_all = needs_proof;
    counters_[helper][HelperCounter::attached].add();
}

void HelperEngine::promote(HelperConn& conn, Tick now) noexcept {
    slots_.promote(index_of(&conn), now);
    assembler_.recycle();
    last_ = nullptr;
    for (Stream& s : conn.stream)
        assembler_.recharge(s);
}

void HelperEngine::save(const HelperConn& conn, HelperImage& out) const noexcept {
    out.there = true;
    out.cut = false;
    out.conn = conn;
    for (unsigned d = 0; d < 2; ++d) {
        const Bytes waiting = assembler_.waiting(conn.stream[d]);
        Stream& s = out.conn.stream[d];
        out.cut |= s.buffer != 0 && assembler_.ranges(s.buffer).count != 0;
        s.buffer = 0;
        s.start = 0;
        s.fill = static_cast<std::uint16_t>(waiting.size());
        if (waiting.size() > HelperImage::kWaiting) {
            out.cut = true;
            s.state = StreamState::blind;
            s.fill = 0;
        }
        std::copy_n(waiting.begin(), s.fill, out.waiting[d].begin());
    }
}

HelperConn* HelperEngine::resume(const HelperImage& image, const Applicant& applicant) noexcept {
    HelperConn* conn = attach(applicant);
    if (conn == nullptr || applicant.helper == kNoHelper) return conn;
    conn->stream = image.conn.stream;
    conn->proven = image.conn.proven;
    conn->picked_up = image.conn.picked_up;
    conn->min_timeout_s = image.conn.min_timeout_s;
    conn->skip = image.conn.skip;
    conn->state = image.conn.state;
    if (applicant.original.protocol == proto::tcp) {
        conn->learning = true;
        conn->resumable = conn->proven && can_resynchronise(*(*set_)[applicant.helper].desc) &&
                          std::ranges::all_of(conn->stream, [](const Stream& s) {
                              return s.state == StreamState::open;
                          });
        if (conn->picked_up && !conn->proven) conn->unsure = 3;
    }
    assembler_.recycle();
    last_ = nullptr;
    for (unsigned d = 0; d < 2; ++d) {
        Stream& s = conn->stream[d];
        assembler_.resume(s, Bytes{image.waiting[d]}.first(s.fill));
        if (s.buffer != 0) progress_[s.buffer] = {};
    }
    return conn;
}

void HelperEngine::resynchronise(HelperConn& conn, Direction direction, std::uint32_t seq,
                                 std::uint32_t ack) noexcept {
    assembler_.recycle();
    last_ = nullptr;
    const bool reread = may_reread(conn, direction == Direction::original ? seq : ack);
    const bool was_read = std::ranges::any_of(
        conn.stream, [](const Stream& s) { return s.state == StreamState::open; });
    for (Stream& s : conn.stream)
        assembler_.stop(s, StreamState::blind);
    assembler_.recycle();
    if (!conn.resumable) {
        if (was_read) counters_[conn.helper][HelperCounter::blind_restored].add();
        return;
    }
    conn.stream = {};
    conn.skip = {};
    conn.state = {};
    conn.proven = false;
    conn.resumed = true;
    conn.unsure = 3;
    for (Stream& s : conn.stream)
        s.read_all = (*set_)[conn.helper].desc->needs_proof;
    if (direction == Direction::original)
        pick_up(&conn, seq, ack);
    else
        pick_up(&conn, ack, seq);
    conn.stream[index(Direction::original)].reread = reread;
}

void HelperEngine::align(HelperConn& conn, Direction direction, std::uint32_t seq) noexcept {
    Stream& s = conn.stream[index(direction)];
    const auto ahead = static_cast<std::int32_t>(seq - s.next_seq);
    if (!conn.resumed || s.state != StreamState::open || s.has_data || ahead <= 0) return;
    s.next_seq = seq;
    conn.unsure = static_cast<std::uint8_t>(conn.unsure | 1u << index(direction)) & 3;
}

void HelperEngine::detach(HelperConn* conn, Emit& emit) noexcept {
    assembler_.recycle();
    last_ = nullptr;
    emit.clear(counters_[conn->helper]);
    const HelperInstance* instance = set_->find(conn->helper);  // null: attached by reserve()
    if (instance != nullptr && instance->desc->on_destroy != nullptr) {
        instance->desc->on_destroy(conn->original, conn->state, emit);
        emit.asked_ = 0;
    }
    for (Stream& s : conn->stream)
        assembler_.stop(s, StreamState::ended);
    assembler_.recycle();
    slots_.give(index_of(conn));
}

void HelperEngine::begin(HelperConn* conn, Direction direction, Emit& emit) noexcept {
    emit.clear(counters_[conn->helper]);
    Stream& s = conn->stream[index(direction)];
    assembler_.recycle(s);
    last_ = conn;
    last_direction_ = direction;
    saved_ = *conn;
    if (s.buffer == 0) return;
    saved_ranges_ = assembler_.ranges(s.buffer);
    saved_progress_ = progress_[s.buffer];
}

bool HelperEngine::undo(HelperConn* conn) noexcept {
    if (!rewind(conn)) return false;
    counters_[conn->helper][HelperCounter::undone].add();
    return true;
}

bool HelperEngine::rewind(HelperConn* conn) noexcept {
    if (last_ != conn || assembler_.moved()) return false;
    last_ = nullptr;
    const Stream& now = conn->stream[index(last_direction_)];
    const std::uint32_t before = saved_.stream[index(last_direction_)].buffer;
    if (now.buffer != 0 && now.buffer != before) assembler_.give(now.buffer);
    assembler_.take_back(saved_.stream[0].buffer, saved_.stream[1].buffer);
    *conn = saved_;
    if (before != 0) {
        assembler_.ranges(before) = saved_ranges_;
        progress_[before] = saved_progress_;
    }
    return true;
}

std::uint32_t HelperEngine::own_window(const HelperConn& conn, Direction direction,
                                       std::uint32_t seq, std::uint32_t ack,
                                       const std::array<Receiver, 2>& receiver) noexcept {
    // An acknowledgement may be of bytes that are read later in this burst, or were read long ago,
    // but not of any number: forged ones would move the window.
    constexpr std::int32_t kReach = 1 << 18;
    const auto ahead_of = [](std::uint32_t a, std::uint32_t b) noexcept {
        return static_cast<std::int32_t>(a - b);
    };
    const auto is_near = [&](Direction d, std::uint32_t number) noexcept {
        const std::int32_t ahead = ahead_of(number, conn.stream[index(d)].next_seq);
        return ahead <= kReach && ahead >= -kReach;
    };
    std::array<OwnEnd, 2>& ends = own_ends_[index_of(&conn)];
    const auto acknowledge = [&](Direction d, std::uint32_t number) noexcept {
        if (!is_near(d, number)) return;
        OwnEnd& own = ends[index(d)];
        const std::uint32_t end = number + std::max(kOwnWindow, receiver[index(d)].max_window);
        if (!own.known || ahead_of(end, own.end) > 0) own = {end, true};
    };
    acknowledge(direction, receiver[index(direction)].acked);
    if (conn.stream[index(!direction)].state != StreamState::unseen) {
        if (!is_near(!direction, ack)) return 0;  // that number was never sent
        acknowledge(!direction, ack);
    }
    const OwnEnd& own = ends[index(direction)];
    const std::int32_t room = ahead_of(own.end, seq);
    return own.known && room > 0 ? static_cast<std::uint32_t>(room) : 0;
}

}  // namespace postern
