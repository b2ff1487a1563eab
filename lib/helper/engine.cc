// SPDX-License-Identifier: BSD-3-Clause
#include "helper/engine.h"

#include <algorithm>
#include <cassert>
#include <string>
#include <utility>

#include <string.h>

namespace postern {
namespace {

constexpr unsigned kNoMatch = kMaxPatterns;  ///< in place of a pattern's place

/// One account's share of a pool; at least one item.
constexpr std::uint32_t part(std::uint32_t pool, std::uint32_t accounts) noexcept {
    return std::max(1u, pool / accounts);
}

/// One past the last LF at or after `from`; 0 when there is none.
std::size_t after_last_lf(Bytes b, std::size_t from) noexcept {
    const void* lf = memrchr(b.data() + from, '\n', b.size() - from);
    return lf == nullptr
               ? 0
               : static_cast<std::size_t>(static_cast<const std::uint8_t*>(lf) - b.data()) + 1;
}

/// One past the first LF at or after `from`, or the end.
std::size_t after_first_lf(Bytes b, std::size_t from) noexcept {
    const void* lf = memchr(b.data() + from, '\n', b.size() - from);
    return lf == nullptr
               ? b.size()
               : static_cast<std::size_t>(static_cast<const std::uint8_t*>(lf) - b.data()) + 1;
}

/// Whether a line is longer than `most`, looking only at where each stretch of so many bytes ends.
bool has_line_of_more(Bytes lines, std::size_t most) noexcept {
    for (std::size_t at = 0; lines.size() - at > most;) {
        const std::size_t next = after_last_lf(lines.subspan(at, most), 0);
        if (next == 0) return true;
        at += next;
    }
    return false;
}

HelperCounter counter_of(BlindCause cause) noexcept {
    switch (cause) {
        case BlindCause::gap: return HelperCounter::blind_gap;
        case BlindCause::overflow: return HelperCounter::blind_overflow;
        case BlindCause::midstream: return HelperCounter::blind_midstream;
        case BlindCause::no_buffer: return HelperCounter::blind_no_buffer;
        case BlindCause::none: break;
    }
    return HelperCounter::kCount;
}

/// Of all helpers of a configuration.
std::uint32_t longest_message(const HelperSet& set) noexcept {
    std::uint32_t most = 0;
    for (unsigned id = 1; id < kMaxHelpers; ++id)
        if (const HelperInstance* instance = set.find(static_cast<HelperId>(id)))
            most = std::max<std::uint32_t>(most, instance->desc->longest_message);
    return most;
}

}  // namespace

void Emit::keep(const PinHole& request) noexcept {
    if (count_ == kCapacity) {
        unsigned victim = 0;
        for (unsigned i = 0; i < count_; ++i) {
            if (requests_[i].class_index == request.class_index) {
                victim = i;
                break;
            }
        }
        std::copy(requests_.begin() + victim + 1, requests_.begin() + count_,
                  requests_.begin() + victim);
        --count_;
        close_gap(victim);
        refuse(HelperCounter::superseded);
    }
    requests_[count_++] = request;
}

/// Room for the streams of unproven connections, beside `n` buffers for the others.
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
      conns_(
          make_huge_array<HelperConn>(std::size_t{limits.max_conns} + limits.unproven_conns + 1)),
      secret_(limits.secret),
      unproven_(limits.max_conns + limits.unproven_conns, limits.unproven_conns,
                {{{kAccounts, part(limits.unproven_conns, 8)},
                  {kAccounts, part(limits.unproven_conns, 4)},
                  {kMaxHelpers, part(limits.unproven_conns, 2)},
                  {kMaxZones, part(limits.unproven_conns, 2)}}}),
      proven_(limits.max_conns + limits.unproven_conns, limits.max_conns,
              {{{kAccounts, part(limits.max_conns, 8)}, {kAccounts, part(limits.max_conns, 2)}}}),
      own_ends_(std::size_t{limits.max_conns} + limits.unproven_conns + 1),
      counters_(kMaxHelpers) {
    use_[index(Standing::unproven)].max_slots = limits.unproven_conns;
    use_[index(Standing::proven)].max_slots = limits.max_conns;
    const std::uint32_t slots = limits.max_conns + limits.unproven_conns;
    free_.reserve(slots);
    for (std::uint32_t i = slots; i != 0; --i)
        free_.push_back(i);
    prepare_skim();
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

/// The account of an address, of which so many leading bits count.
std::uint32_t HelperEngine::account_of(const IpAddr& address, unsigned v4_bits,
                                       unsigned v6_bits) const noexcept {
    struct {
        std::array<std::uint8_t, 16> bytes{};
    } who;
    const unsigned bytes = (address.family == Family::ipv4 ? v4_bits : v6_bits) / 8;
    std::copy_n(address.bytes.begin(), bytes, who.bytes.begin());
    return static_cast<std::uint32_t>(keyed_hash<16, 1>(who.bytes.data(), secret_)) % kAccounts;
}

HelperEngine::ProvenPool::Accounts HelperEngine::proven_accounts(
    const Tuple& original) const noexcept {
    return {account_of(original.src, 32, 64), account_of(original.dst, 32, 128)};
}

HelperEngine::UnprovenPool::Accounts HelperEngine::unproven_accounts(
    const Applicant& a) const noexcept {
    return {account_of(a.original.src, 24, 56), account_of(a.original.dst, 32, 128), a.helper,
            a.from.number()};
}

Assembler::Hooks HelperEngine::hooks() noexcept {
    // All streams are those of conns_.
    static constexpr auto conn_of = [](const HelperEngine& e, const Stream& s) noexcept {
        const auto at =
            reinterpret_cast<std::uintptr_t>(&s) - reinterpret_cast<std::uintptr_t>(e.conns_.get());
        return static_cast<std::uint32_t>(at / sizeof(HelperConn));
    };
    return {
        .context = this,
        .party_of =
            [](void* context, const Stream& s) noexcept {
                const auto& e = *static_cast<HelperEngine*>(context);
                const std::uint32_t slot = conn_of(e, s);
                if (e.unproven_.has(slot)) {
                    const auto& by = e.unproven_.accounts(slot);
                    return Assembler::Party{Standing::unproven, by[kBySource], by[kByDestination]};
                }
                const auto& by = e.proven_.accounts(slot);
                return Assembler::Party{Standing::proven, by[kBySource], by[kByDestination]};
            },
        .displaced =
            [](void* context, Stream& s) noexcept {
                auto& e = *static_cast<HelperEngine*>(context);
                const HelperConn& conn = e.conns_[conn_of(e, s)];
                e.counters_[conn.helper][HelperCounter::blind_displaced].add();
            }};
}

void HelperEngine::count_displaced(std::uint32_t slot, unsigned cause) noexcept {
    constexpr HelperCounter kCauses[] = {
        HelperCounter::displaced_source, HelperCounter::displaced_destination,
        HelperCounter::displaced_helper, HelperCounter::displaced_zone,
        HelperCounter::displaced_oldest};
    counters_[conns_[slot].helper][kCauses[cause]].add();
}

HelperConn* HelperEngine::attach(const Applicant& a) noexcept {
    if (a.helper != kNoHelper && set_->find(a.helper) == nullptr) return nullptr;
    if (!has_room(a.standing)) {
        counters_[a.helper][HelperCounter::attach_failed].add();
        return nullptr;
    }
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    HelperConn& conn = conns_[slot];
    conn = HelperConn{};
    own_ends_[slot] = {};
    conn.owner = a.owner;
    conn.original = a.original;
    conn.stranger = a.standing == Standing::unproven;
    if (conn.stranger)
        unproven_.insert(slot, unproven_accounts(a), a.now);
    else
        proven_.insert(slot, proven_accounts(a.original), a.now);
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
    const std::uint32_t slot = index_of(&conn);
    unproven_.remove(slot);
    proven_.insert(slot, proven_accounts(conn.original), now);
    conn.stranger = false;
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
    conn->min_timeout_s = image.conn.min_timeout_s;
    conn->skip = image.conn.skip;
    conn->state = image.conn.state;
    assembler_.recycle();
    last_ = nullptr;
    for (unsigned d = 0; d < 2; ++d) {
        Stream& s = conn->stream[d];
        assembler_.resume(s, Bytes{image.waiting[d]}.first(s.fill));
        if (s.buffer != 0) progress_[s.buffer] = {};
    }
    return conn;
}

void HelperEngine::detach(HelperConn* conn, Emit& emit) noexcept {
    assembler_.recycle();
    last_ = nullptr;
    emit.clear(counters_[conn->helper]);
    const HelperInstance* instance = set_->find(conn->helper);  // null: by reserve()
    if (instance != nullptr && instance->desc->on_destroy != nullptr) {
        instance->desc->on_destroy(conn->original, conn->state, emit);
        emit.asked_ = 0;
    }
    for (Stream& s : conn->stream)
        assembler_.stop(s, StreamState::ended);
    assembler_.recycle();
    conn->helper = kNoHelper;
    const std::uint32_t slot = index_of(conn);
    unproven_.remove(slot);
    proven_.remove(slot);
    free_.push_back(slot);
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
    // An acknowledgement may be of what is read later in this burst, or was read long ago, but not
    // of any number: forged ones would move the window.
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
        if (!is_near(!direction, ack)) return 0;  // nobody ever sent that
        acknowledge(!direction, ack);
    }
    const OwnEnd& own = ends[index(direction)];
    const std::int32_t room = ahead_of(own.end, seq);
    return own.known && room > 0 ? static_cast<std::uint32_t>(room) : 0;
}

void HelperEngine::read_segment(HelperConn* conn, Direction direction, std::uint32_t seq,
                                std::uint8_t flags, Bytes payload, Emit& emit,
                                bool filtered) noexcept {
    emit.clear(counters_[conn->helper]);
    Stream& s = conn->stream[index(direction)];
    if (s.state == StreamState::ended || s.state == StreamState::blind) {
        // Nothing to read; an RST still ends the other side.
        if ((flags & stream_flag::rst) == 0) {
            last_ = nullptr;
            return;
        }
    }
    begin(conn, direction, emit);
    if ((flags & stream_flag::rst) != 0) {
        for (Stream& each : conn->stream)
            if (each.state != StreamState::blind) assembler_.stop(each, StreamState::ended);
        return;
    }
    Reading r{*conn, (*set_)[conn->helper], counters_[conn->helper], emit, direction};
    if (filtered) r.filtered = payload.data();
    if (s.buffer != 0) r.progress = progress_[s.buffer];
    const BlindCause cause = assembler_.push(
        s, seq, flags, payload,
        [&](Bytes run, std::size_t fresh) noexcept { return read(r, run, fresh); }, longest(r));
    if (s.buffer != 0) progress_[s.buffer] = r.progress;
    if (cause != BlindCause::none) r.counters[counter_of(cause)].add();
}

void HelperEngine::on_datagram(HelperConn* conn, Direction direction, Bytes payload,
                               Emit& emit) noexcept {
    begin(conn, direction, emit);
    if (conn->blind(direction) || payload.empty()) return;
    Reading r{*conn, (*set_)[conn->helper], counters_[conn->helper], emit, direction};
    offer(r, payload);
}

void HelperEngine::on_answer(HelperConn* conn, const RemoteAnswer& answer, Emit& emit) noexcept {
    assembler_.recycle();
    last_ = nullptr;
    Reading r{*conn, (*set_)[conn->helper], counters_[conn->helper], emit, answer.direction};
    emit.clear(r.counters);
    if (answer.proven) conn->proven = true;
    const View view{conn->original,   {},         r.instance.params, conn->state,
                    answer.direction, kNoPattern, conn->helper};
    for (const PinHole& request : answer.requests)
        emit.expect(request);
    if (emit.asked_ != 0) guard(r, view);
    if (answer.give_up) blind_both(r, HelperCounter::blind_not_protocol);
}

std::size_t HelperEngine::read(Reading& r, Bytes run, std::size_t fresh) noexcept {
    if (r.instance.desc->remote) return read_remote(r, run, fresh);
    if (r.instance.desc->framing == Framing::measured) return read_measured(r, run);

    const std::size_t end = after_last_lf(run, fresh);
    if (end == 0) return 0;
    const Bytes lines = run.first(end);
    const Stream& s = r.conn.stream[index(r.direction)];
    if (s.read_all || r.instance.desc->patterns.empty() || has_line_of_more(lines, longest(r)))
        return read_lines(r, lines);

    scan(r, lines);
    if (matches_.count == 0) return end;
    if (matches_.overflow) return read_lines(r, lines);
    std::size_t done = 0;  // end of the last line that woke the parser
    for (unsigned i = 0; i < matches_.count; ++i) {
        const std::size_t in_line = matches_.at[i].end - 1;
        if (matches_.at[i].end <= done) continue;
        const std::size_t begin = after_last_lf(lines.first(in_line), 0);
        done = after_first_lf(lines, in_line);
        wake(r, lines.subspan(begin, done - begin), matches_.at[i].pattern);
        if (s.state != StreamState::open) return end;
        // Line by line for the rest of this run, so that turning it on and off again and again
        // costs one more scan a byte, not one more a turn.
        if (s.read_all) return done + read_lines(r, lines.subspan(done));
    }
    return end;
}

std::size_t HelperEngine::read_lines(Reading& r, Bytes run) noexcept {
    const Stream& s = r.conn.stream[index(r.direction)];
    std::size_t at = 0;
    while (at < run.size()) {
        const std::size_t end = after_first_lf(run, at);
        if (end - at > longest(r)) {
            assembler_.stop(r.conn.stream[index(r.direction)], StreamState::blind);
            r.counters[HelperCounter::blind_overflow].add();
            return run.size();
        }
        offer(r, run.subspan(at, end - at));
        if (s.state != StreamState::open) return run.size();
        at = end;
    }
    return at;
}

/// Whole lines, as many as a buffer takes, or whatever is there.
std::size_t HelperEngine::read_remote(Reading& r, Bytes run, std::size_t fresh) noexcept {
    const bool lines = r.instance.desc->framing == Framing::line;
    const std::size_t end = lines ? after_last_lf(run, fresh) : run.size();
    for (std::size_t at = 0; at < end;) {
        std::size_t n = std::min<std::size_t>(end - at, assembler_.buffer_bytes());
        if (lines && at + n < end) n = after_last_lf(run.subspan(at, n), 0);
        if (n == 0) {
            assembler_.stop(r.conn.stream[index(r.direction)], StreamState::blind);
            r.counters[HelperCounter::blind_overflow].add();
            return run.size();
        }
        offer(r, run.subspan(at, n));
        at += n;
    }
    return end;
}

std::size_t HelperEngine::read_measured(Reading& r, Bytes run) noexcept {
    Stream& s = r.conn.stream[index(r.direction)];
    std::uint32_t& skip = r.conn.skip[index(r.direction)];
    if (run.size() < s.wanted) return 0;
    s.wanted = 0;
    std::size_t at = 0;
    while (at < run.size()) {
        if (skip != 0) {
            const std::size_t n = std::min<std::size_t>(skip, run.size() - at);
            skip -= static_cast<std::uint32_t>(n);
            at += n;
            continue;
        }
        const Measured next =
            r.instance.desc->measure(r.direction, run.subspan(at), r.progress, r.conn.state);
        if (next.length < 0) {
            blind_both(r, HelperCounter::blind_not_protocol);
            return run.size();
        }
        const auto n = static_cast<std::size_t>(next.length);
        if (n > longest(r)) {
            assembler_.stop(s, StreamState::blind);
            r.counters[HelperCounter::blind_overflow].add();
            return run.size();
        }
        if (n > run.size() - at) s.wanted = static_cast<std::uint16_t>(n);
        if ((n == 0 && next.skip == 0) || n > run.size() - at) break;
        skip = next.skip;
        r.progress = {};
        if (n != 0) offer(r, run.subspan(at, n));
        if (s.state != StreamState::open) return run.size();
        at += n;
    }
    return at;
}

void HelperEngine::scan(const Reading& r, Bytes bytes) noexcept {
    r.counters[HelperCounter::scanned_bytes].add(bytes.size());
    // Skimmed text comes whole, or line by line: of its first line the filter knows nothing new.
    const bool asked = bytes.data() == r.filtered;
    if (!asked && r.instance.filter != nullptr && !r.instance.filter->may_match(bytes))
        return matches_.clear();
    const std::uint8_t protocol = r.conn.original.protocol;
    set_->scanner(protocol).scan(*scratch_, bytes, r.instance.owner(protocol), matches_);
}

void HelperEngine::offer(Reading& r, Bytes message) noexcept {
    const HelperDesc& desc = *r.instance.desc;
    if (desc.remote) return ask_(ask_context_, r.direction, message);
    unsigned pattern = kNoMatch;
    if (!desc.patterns.empty()) {
        scan(r, message);
        for (unsigned i = 0; i < matches_.count; ++i)
            if (matches_.at[i].pattern < pattern) pattern = matches_.at[i].pattern;
        if (pattern == kNoMatch && !r.conn.stream[index(r.direction)].read_all) return;
    }
    wake(r, message, pattern);
}

void HelperEngine::wake(Reading& r, Bytes message, unsigned pattern) noexcept {
    const HelperDesc& desc = *r.instance.desc;
    Stream& s = r.conn.stream[index(r.direction)];
    std::uint8_t id = kNoPattern;
    if (pattern != kNoMatch) {
        const PatternDesc& p = desc.patterns[pattern];
        if (!p.said_by || *p.said_by == r.direction)
            id = p.id;
        else if (!s.read_all) {
            r.counters[HelperCounter::wrong_direction].add();
            return;
        }
    }
    r.counters[HelperCounter::messages].add();
    View view{r.conn.original, message, r.instance.params, r.conn.state,
              r.direction,     id,      r.conn.helper,     r.conn.picked_up};
    Emit& e = r.emit;
    e.blind_ = HelperCounter::kCount;
    e.proven_ = e.read_all_set_ = e.read_both_ = e.min_timeout_set_ = false;
    e.asked_ = 0;
    const unsigned acts_before = e.acts_;
    desc.on_message(view, e);
    // Its state may have changed, and with it what measure() says.
    for (Stream& each : r.conn.stream)
        each.wanted = std::min<std::uint16_t>(each.wanted, 1);
    if (e.proven_) r.conn.proven = true;
    if (!r.conn.proven) e.acts_ = acts_before;
    if (e.min_timeout_set_ && r.conn.proven) r.conn.min_timeout_s = e.min_timeout_s_;
    if (e.read_all_set_) s.read_all = e.read_all_;
    if (e.read_both_) r.conn.stream[index(!r.direction)].read_all = e.read_all_;
    if (e.asked_ != 0) guard(r, view);
    if (e.blind_ != HelperCounter::kCount) blind_both(r, e.blind_);
}

void HelperEngine::guard(Reading& r, const View& view) noexcept {
    const auto& classes = r.instance.desc->classes;
    std::array<unsigned, kMaxClasses> kept{};
    // keep() writes below what is still to be looked at.
    const unsigned first = r.emit.count_;
    for (unsigned i = first; i < first + r.emit.asked_; ++i) {
        PinHole request = r.emit.requests_[i];
        assert(request.class_index < classes.size());
        const ExpectClass& c = classes[request.class_index];
        HelperCounter refused = r.conn.proven
                                    ? check_guards(r.instance.guards, view, request, c.foreign)
                                    : HelperCounter::not_proven;
        if (refused == HelperCounter::kCount &&
            (kept[request.class_index] += 1u + request.more_ports) > c.max_expected)
            refused = HelperCounter::class_limit;
        if (refused != HelperCounter::kCount) {
            r.counters[refused].add();
            r.emit.close_gap(r.emit.count_);
            continue;
        }
        request.child_helper =
            request.child == PinHole::kNoChild ? kNoHelper : r.instance.children[request.child];
        if (request.timeout_ms == 0) request.timeout_ms = c.timeout_s * 1000;
        r.counters[HelperCounter::expectations].add();
        r.emit.keep(request);
    }
}

void HelperEngine::blind_both(Reading& r, HelperCounter cause) noexcept {
    r.counters[cause].add();
    for (Stream& s : r.conn.stream)
        assembler_.stop(s, StreamState::blind);
}

}  // namespace postern
