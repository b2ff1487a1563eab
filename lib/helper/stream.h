// SPDX-License-Identifier: BSD-3-Clause
// In-order streams: one direction of a TCP control connection as its receiver reads it.
//
// What: Stream is the 20-byte state of one direction, stored in its connection; Assembler owns the
// buffers of one worker and puts segments in order. The normal segment (exactly next, ending at a
// message boundary) goes to the reader straight from the packet. Only the tail of an incomplete
// message and early segments are copied, into a buffer from a fixed pool, which is given back as
// soon as it is empty. There are two sizes: many buffers for the messages of nearly all helpers,
// and a few long ones, for helpers with longer messages. A message that outgrows one moves to the
// other.
//
// Rules: reading starts at the first byte after the SYN, or never. The first copy of a byte counts,
// as it was forwarded to the receiver; later copies are not compared. The stream becomes blind for
// good if it cannot be put in order: a gap that stays open until the buffer or its list of ranges
// is full, a message longer than the maximum, no free buffer, no SYN. It is never resumed by
// guessing.
//
// Used by: HelperEngine, on its worker only. Nothing is shared. Life-cycle: a Stream holds at most
// one buffer; release() gives it back.
//
// If all buffers are in use, the least recently used one is reassigned and its stream becomes
// blind; a source or a destination that holds more than its share loses one of its own
// (fair_pool.h). Streams of unproven connections have buffers of their own and never take those of
// proven ones.
//
// Undo: a push destroys no buffered byte, unless moved() returns true, and buffers given back stay
// untouched until recycle() (one that moves is copied). So a copy of the Stream and of its ranges
// taken before a push restores it.
//
// Cost: without a buffer a few comparisons. Otherwise one copy of the payload.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "helper/fair_pool.h"
#include "net/cursor.h"

namespace postern {

/// Whether the peer of a connection has answered. Connections of the two kinds share no memory of
/// the helper framework; see NOTES.md.
enum class Standing : std::uint8_t {
    unproven = 0,
    proven = 1
};
constexpr unsigned index(Standing s) noexcept {
    return static_cast<unsigned>(s);
}

/// TCP header flags of interest to a stream, as on the wire.
namespace stream_flag {
inline constexpr std::uint8_t fin = 0x01, syn = 0x02, rst = 0x04;
}

enum class StreamState : std::uint8_t {
    unseen = 0,  ///< no SYN yet
    open,
    ended,  ///< FIN or RST
    blind
};

enum class BlindCause : std::uint8_t {
    none = 0,
    gap,
    overflow,
    midstream,
    no_buffer
};

struct Stream {
    std::uint32_t next_seq = 0;  ///< of the first byte not yet in order
    std::uint32_t fin_seq = 0;   ///< end of the stream, if fin_seen
    std::uint32_t buffer = 0;    ///< of the Assembler; 0 = none
    std::uint16_t start = 0;     ///< in the buffer: first byte of the incomplete message
    std::uint16_t fill = 0;      ///< bytes of it, so buffer[start + fill] has next_seq
    std::uint16_t wanted = 0;    ///< the engine's: minimum length of the message; 0: not known
    StreamState state = StreamState::unseen;
    // Of one byte-sized type, so that a compiler tests several with one comparison.
    std::uint8_t fin_seen : 1 = 0;
    std::uint8_t has_data : 1 = 0;  ///< some payload was seen
    std::uint8_t read_all : 1 = 0;  ///< the engine's: every message wakes the parser
    std::uint8_t reread : 1 = 0;    ///< the engine's: View::reread
};
static_assert(sizeof(Stream) == 20);

class Assembler {
  public:
    static constexpr unsigned kMaxRanges = 8;
    static constexpr std::uint32_t kMaxBufferBytes = 32768;

    /// Early bytes: positions in the buffer, sorted, neither overlapping nor touching.
    struct Range {
        std::uint16_t begin = 0;
        std::uint16_t end = 0;
    };
    struct Ranges {
        std::array<Range, kMaxRanges + 1> at{};  // one more for the bytes about to be joined
        std::uint16_t count = 0;
    };

    /// The accounts to which a buffer is charged.
    struct Party {
        Standing standing = Standing::proven;
        std::uint32_t source = 0, destination = 0;  ///< below kAccounts
    };
    static constexpr std::uint32_t kAccounts = 1024;
    /// The owner of the streams.
    struct Hooks {
        void* context = nullptr;
        Party (*party_of)(void* context, const Stream& s) noexcept = nullptr;
        /// Another stream has displaced the stream's buffer; it is blind.
        void (*displaced)(void* context, Stream& s) noexcept = nullptr;
    };
    struct Sizes {
        std::uint32_t buffers = 0;       ///< for streams of proven connections
        std::uint32_t buffer_bytes = 0;  ///< of each
        std::uint32_t long_buffers = 0;
        std::uint32_t long_bytes = 0;
        std::uint32_t unproven_buffers = 0;  ///< in addition, for the others
        std::uint32_t unproven_long_buffers = 0;
    };

    /// Allocates fixed memory. No buffer has more than kMaxBufferBytes.
    Assembler(const Sizes& sizes, Hooks hooks);
    Assembler(std::uint32_t buffers, std::uint32_t buffer_bytes, std::uint32_t long_buffers = 0,
              std::uint32_t long_bytes = 0)
        : Assembler(Sizes{buffers, buffer_bytes, long_buffers, long_bytes}, Hooks{}) {}
    Assembler(const Assembler&) = delete;
    Assembler& operator=(const Assembler&) = delete;

    /// The SYN that opens this direction. A new one before any payload restarts it.
    void start(Stream& s, std::uint32_t isn) noexcept;
    /// Whether start() begins here, for the first time or again.
    static bool is_untouched(const Stream& s) noexcept {
        return s.state == StreamState::unseen ||
               (s.state == StreamState::open && !s.has_data && !s.fin_seen);
    }

    /// Processes one segment. `read(run, fresh)` gets bytes in order from a message boundary on;
    /// those before `fresh` were passed before. It returns the number of bytes that it has finished
    /// (whole messages), and may set s.state to stop. `read` is called for each new run, possibly
    /// never or several times. `longest`: maximum of buffered bytes if a usual buffer does not
    /// suffice; at most `long_bytes`.
    template <class Reader>
    BlindCause push(Stream& s, std::uint32_t seq, std::uint8_t flags, Bytes payload, Reader&& read,
                    std::uint32_t longest = 0) noexcept;

    /// Gives up or ends a stream; its buffer is kept until recycle().
    void stop(Stream& s, StreamState state) noexcept {
        s.state = state;
        release(s);
    }

    /// Reuses buffers that the last push gave back. Removes read bytes in front of the buffered
    /// bytes of `s`, if there are enough of them to be worth the move.
    void recycle(Stream& s) noexcept {
        recycle();
        if (s.start != 0 && s.start > slack(s.buffer)) compact(s);
        moved_ = false;
    }
    void recycle() noexcept {
        while (released_count_ != 0)
            give(released_[--released_count_]);
    }
    /// Since the last recycle(), buffered bytes were moved: a copied Stream does not restore them.
    bool moved() const noexcept { return moved_; }
    /// Cancels the returns since the last recycle(), but only for these two buffers: their owners
    /// have been restored.
    void take_back(std::uint32_t a, std::uint32_t b) noexcept {
        for (unsigned i = 0; i < released_count_; ++i)
            if (released_[i] != a && released_[i] != b) give(released_[i]);
        released_count_ = 0;
    }
    /// Give a buffer back at once.
    void give(std::uint32_t buffer) noexcept {
        Kind& kind = kind_of(buffer);
        for (auto& pool : kind.pools)
            pool.remove(buffer);
        owners_[buffer] = nullptr;
        kind.free.push_back(buffer);
    }
    /// The standing of this stream's connection has changed.
    void recharge(Stream& s) noexcept;
    /// Buffers of both sizes that streams of this standing hold.
    std::uint32_t buffers_held(Standing standing) const noexcept {
        return usual_.pools[index(standing)].size() + long_.pools[index(standing)].size();
    }

    /// The incomplete message; empty: none.
    Bytes waiting(const Stream& s) const noexcept {
        return s.buffer == 0 ? Bytes{} : Bytes{data(s.buffer) + s.start, s.fill};
    }
    /// Continues a restored stream with these buffered bytes. Without room for them it is blind.
    void resume(Stream& s, Bytes waiting) noexcept {
        s.buffer = 0;
        s.start = s.fill = 0;
        if (waiting.empty() || s.state != StreamState::open) return;
        if (waiting.size() > buffer_bytes_ || !take(s, waiting.size())) {
            s.state = StreamState::blind;
            return;
        }
        std::memcpy(data(s.buffer), waiting.data(), waiting.size());
        s.fill = static_cast<std::uint16_t>(waiting.size());
    }

    Ranges& ranges(std::uint32_t buffer) noexcept { return ranges_[buffer]; }
    const Ranges& ranges(std::uint32_t buffer) const noexcept { return ranges_[buffer]; }
    std::uint32_t buffer_bytes() const noexcept { return buffer_bytes_; }
    /// Buffers of both sizes are 1 to this one.
    std::uint32_t last_buffer() const noexcept {
        return static_cast<std::uint32_t>(ranges_.size() - 1);
    }
    /// Of both sizes.
    std::uint32_t buffers_free() const noexcept {
        return static_cast<std::uint32_t>(usual_.free.size() + long_.free.size()) + released_count_;
    }

  private:
    /// Bytes that a buffer has beyond the maximum of buffered ones: the maximum of read bytes in
    /// front of those. Each byte read pays for at most this ratio of moved bytes, also if short
    /// messages arrive one by one and early bytes fill the buffer behind them.
    static constexpr std::uint32_t kSlackShare = 8;
    static constexpr std::uint32_t with_slack(std::uint32_t bytes) noexcept {
        return bytes + bytes / kSlackShare;
    }
    std::uint32_t slack(std::uint32_t buffer) const noexcept {
        return (is_long(buffer) ? longest_bytes_ : buffer_bytes_) / kSlackShare;
    }
    using Pool = FairPool<2>;  ///< by source and destination
    /// Buffers of one size.
    struct Kind {
        std::vector<std::uint32_t> free;  ///< a stack; reserved for all, so it never allocates
        std::array<Pool, 2> pools;        ///< by Standing
    };

    static Kind make_kind(std::uint32_t first, std::uint32_t last, std::uint32_t unproven);
    Kind& kind_of(std::uint32_t buffer) noexcept { return is_long(buffer) ? long_ : usual_; }
    Party party_of(const Stream& s) const noexcept {
        return hooks_.party_of != nullptr ? hooks_.party_of(hooks_.context, s) : Party{};
    }
    /// Makes room in the pool for one with these accounts.
    bool make_room(Kind& kind, const Party& party) noexcept;
    /// A buffer for this stream, which is not yet its own; 0: none.
    std::uint32_t obtain(Kind& kind, Stream& s) noexcept;
    void touch(std::uint32_t buffer) noexcept {
        for (auto& pool : kind_of(buffer).pools)
            if (pool.has(buffer)) pool.touch(buffer, {});
    }
    std::uint8_t* data(std::uint32_t buffer) const noexcept {
        return is_long(buffer) ? long_bytes_.get() +
                                     std::size_t{buffer - buffers_ - 1} * with_slack(longest_bytes_)
                               : bytes_.get() + std::size_t{buffer} * with_slack(buffer_bytes_);
    }
    bool is_long(std::uint32_t buffer) const noexcept { return buffer > buffers_; }
    /// Maximum of buffered bytes in this one.
    std::size_t capacity(const Stream& s, std::uint32_t longest) const noexcept {
        return is_long(s.buffer) ? longest : buffer_bytes_;
    }
    /// A buffer of the size for `bytes`.
    bool take(Stream& s, std::size_t bytes) noexcept;
    /// Moves the buffered bytes to a long buffer.
    bool grow(Stream& s) noexcept;
    void release(Stream& s) noexcept {
        if (s.buffer == 0) return;
        released_[released_count_++] = s.buffer;
        s.buffer = 0;
        s.start = s.fill = 0;
    }
    void compact(Stream& s) noexcept;
    bool store(Stream& s, std::size_t at, Bytes bytes, unsigned max_ranges) noexcept;
    void absorb(Stream& s) noexcept;
    void cut_ranges(Stream& s) noexcept;
    BlindCause give_up(Stream& s, BlindCause cause) noexcept {
        stop(s, StreamState::blind);
        return cause;
    }
    template <class Reader>
    BlindCause push_buffered(Stream& s, std::size_t ahead, Bytes payload, Reader&& read,
                             std::uint32_t longest) noexcept;

    std::uint32_t buffers_;  ///< 1 to this are the usual ones, those above it the long ones
    std::uint32_t buffer_bytes_;
    std::uint32_t longest_bytes_;
    std::unique_ptr<std::uint8_t[]> bytes_;
    std::unique_ptr<std::uint8_t[]> long_bytes_;
    std::vector<Ranges> ranges_;
    std::vector<Stream*> owners_;  ///< by buffer
    Kind usual_, long_;
    Hooks hooks_;
    /// At most one of each direction of the last call's connection, and the one that was outgrown.
    std::array<std::uint32_t, 3> released_{};
    unsigned released_count_ = 0;
    bool moved_ = false;
};

template <class Reader>
BlindCause Assembler::push(Stream& s, std::uint32_t seq, std::uint8_t flags, Bytes payload,
                           Reader&& read, std::uint32_t longest) noexcept {
    if ((flags & stream_flag::syn) != 0)
        start(s, seq);
    else if (s.state == StreamState::unseen)
        return payload.empty() ? BlindCause::none : give_up(s, BlindCause::midstream);
    if (s.state != StreamState::open) return BlindCause::none;
    if ((flags & stream_flag::syn) != 0) ++seq;

    const std::uint32_t end_seq = seq + static_cast<std::uint32_t>(payload.size());
    if ((flags & stream_flag::fin) != 0 && !s.fin_seen &&
        static_cast<std::int32_t>(end_seq - s.next_seq) >= 0) {
        s.fin_seen = true;
        s.fin_seq = end_seq;
        if (s.buffer != 0) cut_ranges(s);
    }
    if (s.fin_seen) {  // nothing is read from beyond the FIN
        const auto room = static_cast<std::int32_t>(s.fin_seq - seq);
        if (room <= 0)
            payload = {};
        else if (payload.size() > static_cast<std::size_t>(room))
            payload = payload.first(static_cast<std::size_t>(room));
    }
    auto ahead = static_cast<std::int32_t>(seq - s.next_seq);
    if (ahead < 0) {  // all or part of it was received before
        const auto old = static_cast<std::size_t>(-static_cast<std::int64_t>(ahead));
        payload = old < payload.size() ? payload.subspan(old) : Bytes{};
        ahead = 0;
    }
    BlindCause cause = BlindCause::none;
    if (!payload.empty()) {
        s.has_data = true;
        if (ahead == 0 && s.buffer == 0) {
            s.next_seq += static_cast<std::uint32_t>(payload.size());
            const std::size_t done = read(payload, std::size_t{0});
            if (s.state == StreamState::open && done < payload.size()) {
                const Bytes rest = payload.subspan(done);
                if (rest.size() > std::max(buffer_bytes_, longest))
                    return give_up(s, BlindCause::overflow);
                if (!take(s, rest.size())) return give_up(s, BlindCause::no_buffer);
                std::memcpy(data(s.buffer), rest.data(), rest.size());
                s.fill = static_cast<std::uint16_t>(rest.size());
            }
        } else {
            cause = push_buffered(s, static_cast<std::size_t>(ahead), payload, read, longest);
        }
    }
    if (s.fin_seen && s.next_seq == s.fin_seq && s.state == StreamState::open)
        stop(s, StreamState::ended);
    return cause;
}

template <class Reader>
BlindCause Assembler::push_buffered(Stream& s, std::size_t ahead, Bytes payload, Reader&& read,
                                    std::uint32_t longest) noexcept {
    if (s.buffer == 0) {
        if (!take(s, 0)) return give_up(s, BlindCause::no_buffer);
    } else {
        touch(s.buffer);
    }
    for (;;) {
        const std::size_t most = capacity(s, longest), front = slack(s.buffer);
        if (s.start > front && s.start + s.fill + ahead + payload.size() > front + most) compact(s);
        const std::size_t at = s.start + s.fill + ahead;
        const std::size_t end = std::min<std::size_t>(s.start, front) + most;
        const std::size_t room = at < end ? end - at : 0;
        // Bytes in order only need some room: each message that they complete makes more.
        if (room < (ahead != 0 ? payload.size() : 1) && longest > most) {
            if (!grow(s)) return give_up(s, BlindCause::no_buffer);
            continue;
        }
        if (ahead != 0) {
            if (payload.size() > room || !store(s, at, payload, kMaxRanges))
                return give_up(s, BlindCause::gap);
            return BlindCause::none;
        }
        if (room == 0) return give_up(s, BlindCause::overflow);
        const std::size_t n = std::min(payload.size(), room);
        store(s, at, payload.first(n), kMaxRanges + 1);  // cannot fail: the list has room for one
        const std::size_t fresh = s.fill;
        absorb(s);
        const std::size_t done = read(Bytes{data(s.buffer) + s.start, s.fill}, fresh);
        if (s.state != StreamState::open) return BlindCause::none;
        s.start = static_cast<std::uint16_t>(s.start + done);
        s.fill = static_cast<std::uint16_t>(s.fill - done);
        // Early bytes may have joined: they count before later copies of them.
        const std::size_t joined = s.fill + done - fresh;
        if (joined >= payload.size()) break;
        payload = payload.subspan(joined);
    }
    if (s.fill == 0 && ranges_[s.buffer].count == 0) release(s);
    return BlindCause::none;
}

}  // namespace postern
