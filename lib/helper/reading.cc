// SPDX-License-Identifier: BSD-3-Clause
// What becomes of payload: put in order, cut into messages, scanned, shown to the parser; and what
// the guards let through of what that asks for. Each message is looked at once, see NOTES.md.
#include <algorithm>
#include <cassert>

#include <string.h>

#include "helper/engine.h"

namespace postern {
namespace {

constexpr unsigned kNoMatch = kMaxPatterns;  ///< in place of a pattern's index

/// One past the last LF at or after `from`; 0 if there is none.
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

/// Whether a line is longer than `most`, checking only the end of each stretch of that length.
bool has_line_of_more(Bytes lines, std::size_t most) noexcept {
    for (std::size_t at = 0; lines.size() - at > most;) {
        const std::size_t next = after_last_lf(lines.subspan(at, most), 0);
        if (next == 0) return true;
        at += next;
    }
    return false;
}

/// Whether requests of a connection's helper count: its protocol is proven, and if it has
/// resynchronised, by segments of which both sides have acknowledged the other's.
bool may_open(const HelperConn& conn) noexcept {
    return conn.proven && !(conn.resumed && conn.learning);
}

/// After resynchronise() a direction has delivered its first message. A client sends its next
/// request after it has read the answer to the one before. So what the server sends from there on
/// begins with a whole message.
void note_begun(HelperConn& conn, Direction direction) noexcept {
    unsigned begun = 1u << index(direction);
    const unsigned answers = 1u << index(Direction::reply);
    if (direction == Direction::original && conn.resumed && !conn.stream[1].has_data)
        begun |= answers;
    conn.unsure = conn.unsure & ~begun & 3;
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

void HelperEngine::read_segment(HelperConn* conn, Direction direction, std::uint32_t seq,
                                std::uint8_t flags, Bytes payload, Emit& emit,
                                bool filtered) noexcept {
    emit.clear(counters_[conn->helper]);
    Stream& s = conn->stream[index(direction)];
    if (s.state == StreamState::ended || s.state == StreamState::blind) {
        // Nothing to read; an RST still ends the other direction.
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
        // Line by line for the rest of this run, so that turning it on and off repeatedly costs one
        // more scan a byte, not one more each time.
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

/// Whole lines, as many as a buffer holds, or all available bytes.
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
            // The rest of a message whose beginning was missed: the next one may begin with a
            // segment.
            if (r.conn.resumed && !r.conn.proven)
                r.progress = {};
            else
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
    // Skimmed payload comes whole, or line by line: the filter's result for its first line is
    // known.
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
    View view{r.conn.original,   message,
              r.instance.params, r.conn.state,
              r.direction,       id,
              r.conn.helper,     r.conn.picked_up,
              r.conn.resumed,    (r.conn.unsure >> index(r.direction) & 1) != 0,
              s.reread != 0};
    note_begun(r.conn, r.direction);
    Emit& e = r.emit;
    e.blind_ = HelperCounter::kCount;
    e.proven_ = e.read_all_set_ = e.read_both_ = e.min_timeout_set_ = false;
    e.asked_ = 0;
    const unsigned acts_before = e.acts_;
    desc.on_message(view, e);
    // Its state may have changed, and with it the result of measure().
    for (Stream& each : r.conn.stream)
        each.wanted = std::min<std::uint16_t>(each.wanted, 1);
    if (e.proven_) r.conn.proven = true;
    if (!may_open(r.conn)) e.acts_ = acts_before;
    if (e.min_timeout_set_ && may_open(r.conn)) r.conn.min_timeout_s = e.min_timeout_s_;
    if (e.read_all_set_) s.read_all = e.read_all_;
    if (e.read_both_) r.conn.stream[index(!r.direction)].read_all = e.read_all_;
    if (e.asked_ != 0) guard(r, view);
    if (e.blind_ != HelperCounter::kCount) blind_both(r, e.blind_);
}

void HelperEngine::guard(Reading& r, const View& view) noexcept {
    const auto& classes = r.instance.desc->classes;
    std::array<unsigned, kMaxClasses> kept{};
    // keep() writes below the requests still to be checked.
    const unsigned first = r.emit.count_;
    for (unsigned i = first; i < first + r.emit.asked_; ++i) {
        PinHole request = r.emit.requests_[i];
        assert(request.class_index < classes.size());
        const ExpectClass& c = classes[request.class_index];
        HelperCounter refused = may_open(r.conn)
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
