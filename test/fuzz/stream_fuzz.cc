// SPDX-License-Identifier: BSD-3-Clause
// The stream assembler against the rule itself: what is delivered is the first copy of each byte,
// contiguous from the first, up to the last message's end; nothing else, nothing twice.
//
// Input: segments of {flags, where, length, bytes}; `where` is signed and counts from the next byte
// in order. flags: bit 0 FIN, bit 1 take a snapshot and put it back (undo), bit 2 far away.
#include <cstdint>
#include <vector>

#include "helper/stream.h"
#include "require.h"

namespace {

using namespace postern;

constexpr std::uint32_t kIsn = 0xffffff80;  // so that it wraps early

struct Reader {
    std::vector<std::uint8_t>& got;
    Stream& stream;
    std::size_t operator()(Bytes run, std::size_t fresh) {
        require(fresh <= run.size(), "fresh beyond the run");
        std::size_t done = 0;
        for (std::size_t i = 0; i < run.size(); ++i) {
            if (run[i] != '\n') continue;
            require(i >= fresh, "a message was shown before it was read");
            done = i + 1;
        }
        got.insert(got.end(), run.begin(), run.begin() + static_cast<std::ptrdiff_t>(done));
        return done;
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint32_t kLong = 300;
    Assembler assembler(1, 128, 1, kLong);
    const std::uint32_t longest = size % 2 == 0 ? 0 : kLong;
    Stream s;
    assembler.start(s, kIsn);
    std::vector<std::uint8_t> got;
    std::vector<int> model(size + 1024, -1);
    std::size_t next = 0;
    std::size_t end = SIZE_MAX;  // where the FIN is
    Cursor in{Bytes{data, size}};
    while (in.remaining() >= 3 && s.state == StreamState::open) {
        const std::uint8_t kind = *in.u8();
        const int where = static_cast<std::int8_t>(*in.u8());
        const Bytes payload = *in.take(std::min<std::size_t>(*in.u8(), in.remaining()));
        const std::int64_t at = static_cast<std::int64_t>(next) + where;
        if (at < 0) continue;
        const auto first = static_cast<std::size_t>(at);
        if (first + payload.size() >= model.size()) break;
        std::uint32_t seq = kIsn + 1 + static_cast<std::uint32_t>(first);
        const std::uint8_t flags = (kind & 1) != 0 ? stream_flag::fin : std::uint8_t{0};
        if ((kind & 4) != 0) seq += 0x80000000u + 4096;  // long ago

        assembler.recycle(s);
        const Stream saved = s;
        const auto ranges = s.buffer != 0 ? assembler.ranges(s.buffer) : Assembler::Ranges{};
        const std::size_t had = got.size();
        Reader reader{got, s};
        assembler.push(s, seq, flags, payload, reader, longest);
        if ((kind & 2) != 0 && !assembler.moved()) {
            const std::vector<std::uint8_t> once = got;
            const Stream after = s;
            if (s.buffer != 0 && s.buffer != saved.buffer) assembler.give(s.buffer);
            assembler.take_back(saved.buffer, 0);
            s = saved;
            if (s.buffer != 0) assembler.ranges(s.buffer) = ranges;
            got.resize(had);
            assembler.push(s, seq, flags, payload, reader, longest);
            require(got == once && s.state == after.state && s.next_seq == after.next_seq,
                    "an undone push reads something else the second time");
        }
        if ((kind & 4) == 0 && s.state != StreamState::blind) {
            const std::size_t stop = first + payload.size();
            if ((kind & 1) != 0 && end == SIZE_MAX && stop >= next) end = stop;
            for (std::size_t i = 0; i < payload.size() && first + i < end; ++i)
                if (model[first + i] < 0) model[first + i] = payload[i];
            while (next < end && model[next] >= 0)
                ++next;
            require(s.next_seq == kIsn + 1 + static_cast<std::uint32_t>(next), "next_seq is off");
        }
        std::size_t whole = next;
        while (whole > 0 && model[whole - 1] != '\n')
            --whole;
        require(s.state == StreamState::blind || got.size() == whole, "not all that is in order");
        for (std::size_t i = 0; i < got.size(); ++i)
            require(got[i] == model[i] || i >= next, "another byte than the first copy");
    }
    assembler.stop(s, StreamState::ended);
    assembler.recycle(s);
    require(assembler.buffers_free() == 2, "a buffer was lost");
    return 0;
}
