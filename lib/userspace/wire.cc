// SPDX-License-Identifier: BSD-3-Clause
#include "userspace/wire.h"

#include <algorithm>
#include <cstring>

namespace postern::wire {
namespace {

// Flags of a question and of an answer.
constexpr std::uint16_t kContinues = 1;
constexpr std::uint16_t kProven = 1, kGiveUp = 2, kState = 4;
constexpr std::uint16_t kAnswerFlags = kProven | kGiveUp | kState;
// Flags of an expectation.
constexpr std::uint8_t kAnySport = 1, kPermanent = 2, kSkipMaster = 4, kByListener = 8;
constexpr std::uint8_t kExpectFlags = kAnySport | kPermanent | kSkipMaster | kByListener;
constexpr std::uint8_t kAccept = 1, kDrop = 2;

/// Reads after one length check for the whole record.
class In {
  public:
    explicit In(Bytes b) noexcept : b_(b) {}
    std::uint8_t u8() noexcept { return b_[at_++]; }
    std::uint16_t u16() noexcept {
        const unsigned low = u8();
        return static_cast<std::uint16_t>(low | unsigned{u8()} << 8);
    }
    std::uint32_t u32() noexcept {
        const std::uint32_t low = u16();
        return low | std::uint32_t{u16()} << 16;
    }
    template <std::size_t N>
    void bytes(std::array<std::uint8_t, N>& out) noexcept {
        std::memcpy(out.data(), b_.data() + at_, N);
        at_ += N;
    }

  private:
    Bytes b_;
    std::size_t at_ = 0;
};

class Out {
  public:
    explicit Out(std::span<std::uint8_t> b) noexcept : b_(b) {}
    void u8(unsigned v) noexcept { b_[at_++] = static_cast<std::uint8_t>(v); }
    void u16(unsigned v) noexcept {
        u8(v);
        u8(v >> 8);
    }
    void u32(std::uint32_t v) noexcept {
        u16(v & 0xffff);
        u16(v >> 16);
    }
    void bytes(const void* p, std::size_t n) noexcept {
        std::memcpy(b_.data() + at_, p, n);
        at_ += n;
    }
    void zeros(std::size_t n) noexcept {
        for (; n != 0; --n)
            u8(0);
    }
    void head(Type type, unsigned second, unsigned flags, std::size_t length) noexcept {
        u8(static_cast<unsigned>(type));
        u8(second);
        u16(flags);
        u32(static_cast<std::uint32_t>(length));
    }
    std::size_t size() const noexcept { return at_; }

  private:
    std::span<std::uint8_t> b_;
    std::size_t at_ = 0;
};

const char* address(In& in, Family family, IpAddr& out) noexcept {
    out.family = family;
    in.bytes(out.bytes);
    if (std::any_of(out.bytes.begin() + address_bytes(family), out.bytes.end(),
                    [](std::uint8_t b) { return b != 0; }))
        return "an IPv4 address is followed by other bytes than zeros";
    return nullptr;
}

/// One expectation of kExpectBytes.
const char* decode_expect(In& in, const UserspaceHelper& helper, PinHole& out) noexcept {
    out = PinHole{};
    out.class_index = in.u8();
    out.protocol = in.u8();
    const std::uint8_t flags = in.u8();
    const std::uint8_t family = in.u8();
    const Be16 sport = Be16::from_host(in.u16());
    out.dport = Be16::from_host(in.u16());
    out.src.length = in.u8();
    const unsigned padding = in.u8() | in.u16();
    const std::uint32_t timeout_s = in.u32();
    if (family != 4 && family != 6) return "an expectation's family is neither 4 nor 6";
    if (const char* wrong = address(in, static_cast<Family>(family), out.src.address)) return wrong;
    if (const char* wrong = address(in, static_cast<Family>(family), out.dst)) return wrong;
    if (out.class_index >= helper.class_protocols.size())
        return "an expectation's class is not declared";
    if (out.protocol != helper.class_protocols[out.class_index])
        return "an expectation's protocol is not the one its class is declared for";
    if ((flags & ~kExpectFlags) != 0 || padding != 0)
        return "an expectation has flags or bytes set that mean nothing";
    if (out.src.length > address_bytes(out.dst.family) * 8)
        return "an expectation's source prefix is longer than an address";
    if (timeout_s > kMaxTimeoutS) return "an expectation's timeout is longer than 20 days";
    out.timeout_ms = timeout_s * 1000;
    if (out.dport.raw() == 0) return "an expectation's destination port is 0";
    if ((flags & kAnySport) == 0) out.set_sport(sport);
    if ((flags & kPermanent) != 0) out.flags |= expect_flag::permanent;
    if ((flags & kSkipMaster) != 0) out.flags |= expect_flag::skip_master;
    out.announced_by_listener = (flags & kByListener) != 0;
    return nullptr;
}

/// The head of a record of this type; `length` has to be the record's.
const char* check_head(Bytes record, Type type) noexcept {
    if (record.size() < kHeadBytes) return "a record is shorter than its head of 8 bytes";
    In in(record);
    if (in.u8() != static_cast<std::uint8_t>(type))
        return type == Type::hello ? "the first record is not a hello"
                                   : "a record is not an answer, and nothing else is expected";
    in.u8();
    in.u16();
    if (in.u32() != record.size()) return "a record's length is not the one in its head";
    return nullptr;
}

}  // namespace

const char* check_hello(Bytes record) noexcept {
    if (const char* wrong = check_head(record, Type::hello)) return wrong;
    if (record.size() != kHelloBytes) return "a hello has 12 bytes";
    In in(record.subspan(kHeadBytes));
    if (in.u16() != kVersion) return "the hello's version is not 1, the only one there is";
    return nullptr;
}

const char* decode_answer(Bytes record, const UserspaceHelper& helper, unsigned workers,
                          Answer& out) noexcept {
    if (const char* wrong = check_head(record, Type::answer)) return wrong;
    if (record.size() < kAnswerBytes) return "an answer is shorter than 56 bytes";
    In in(record);
    in.u8();
    const std::uint8_t verdict = in.u8();
    const std::uint16_t flags = in.u16();
    in.u32();
    const std::uint16_t worker = in.u16();
    out.conn.generation = in.u16();
    out.conn.index = in.u32();
    out.number = in.u32();
    out.count = in.u8();
    const std::uint8_t state_bytes = in.u8();
    const std::uint16_t padding = in.u16();
    in.bytes(out.state);
    if (worker >= workers) return "an answer is for a worker that does not exist";
    if (verdict != kAccept && verdict != kDrop)
        return "an answer's verdict is neither 1 (accept) nor 2 (drop)";
    if ((flags & ~kAnswerFlags) != 0 || padding != 0)
        return "an answer has flags or bytes set that mean nothing";
    if (state_bytes > helper.data_bytes) return "an answer's state is longer than declared";
    if (std::any_of(out.state.begin() + state_bytes, out.state.end(),
                    [](std::uint8_t b) { return b != 0; }))
        return "an answer's state is longer than it says";
    if (out.count > Answer::kMaxRequests) return "an answer has more than 16 expectations";
    if (record.size() != kAnswerBytes + std::size_t{out.count} * kExpectBytes)
        return "an answer's length does not fit the number of its expectations";
    out.helper = helper.id;
    out.conn.worker = WorkerId::from(worker);
    out.drop = verdict == kDrop;
    out.proven = (flags & kProven) != 0;
    out.give_up = (flags & kGiveUp) != 0;
    out.has_state = (flags & kState) != 0;
    for (unsigned i = 0; i < out.count; ++i)
        if (const char* wrong = decode_expect(in, helper, out.requests[i])) return wrong;
    return nullptr;
}

std::size_t encode_welcome(const UserspaceHelper& helper, std::uint32_t message_bytes,
                           std::span<std::uint8_t> out) noexcept {
    Out o(out);
    o.head(Type::welcome, 0, 0, kWelcomeBytes);
    o.u16(kVersion);
    o.u8(helper.data_bytes);
    o.u8(static_cast<unsigned>(helper.class_protocols.size()));
    o.u32(message_bytes);
    o.u32(helper.wait_ms);
    o.u8(helper.bypass ? 1 : 0);
    o.zeros(3);
    return o.size();
}

std::size_t encode_error(std::string_view text, std::span<std::uint8_t> out) noexcept {
    text = text.substr(0, std::min<std::size_t>(text.size(), 500));
    Out o(out);
    o.head(Type::error, 0, 0, kHeadBytes + text.size());
    o.bytes(text.data(), text.size());
    return o.size();
}

std::size_t encode_question(const Question& q, const UserspaceHelper& helper,
                            std::span<std::uint8_t> out) noexcept {
    const bool ended = q.kind == Question::Kind::ended;
    Out o(out);
    o.head(ended ? Type::ended : Type::question, index(q.direction), q.continues ? kContinues : 0,
           kQuestionBytes + q.length);
    o.u16(q.conn.worker.number());
    o.u16(q.conn.generation);
    o.u32(q.conn.index);
    o.u32(q.number);
    o.u8(static_cast<unsigned>(q.original.src.family));
    o.u8(q.original.protocol);
    o.u16(q.ct_zone.number());
    o.u16(q.original.sport.host());
    o.u16(q.original.dport.host());
    o.u8(helper.data_bytes);
    o.zeros(11);
    o.bytes(q.original.src.bytes.data(), 16);
    o.bytes(q.original.dst.bytes.data(), 16);
    o.bytes(q.state.data(), q.state.size());
    o.bytes(q.bytes, q.length);
    return o.size();
}

}  // namespace postern::wire
