// SPDX-License-Identifier: BSD-3-Clause
#include "support/conversations.h"

#include <rte_hash_crc.h>

#include "base/types.h"
#include "support/conversation_parts.h"

namespace postern::conversations {
namespace {

class TcpTalk final : public Conversation {
  public:
    TcpTalk(unsigned number, bool v6) : number_(number), v6_(v6) {}
    std::string name() const override { return "tcp " + std::to_string(number_); }
    Packet next(Random& random) override {
        if (tcp_.phase() == Tcp::Phase::closed) {
            ++connection_;
            tcp_.begin(ends(number_, v6_, 30000 + connection_, 80), true, random);
        }
        if (tcp_.phase() == Tcp::Phase::open && random.one_in(12)) return tcp_.wrong(random);
        return tcp_.any(random);
    }

  private:
    unsigned number_;
    unsigned connection_ = 0;
    bool v6_;
    Tcp tcp_;
};

// ---- datagrams ----

class Datagrams final : public Conversation {
  public:
    Datagrams(std::string kind, unsigned number, bool v6, std::uint8_t protocol)
        : kind_(std::move(kind)), number_(number), v6_(v6), protocol_(protocol) {}
    std::string name() const override { return kind_ + " " + std::to_string(number_); }
    Packet next(Random& random) override {
        if (connection_ == 0 || random.one_in(100)) {
            ++connection_;
            return packet(true, "the first datagram");
        }
        if (random.one_in(15)) {
            Packet p = packet(false, "a datagram from another port");
            Flow f = flow().back();
            ++f.sport;
            return mischief(frame(f), false, p.what);
        }
        // A server may only answer; some clients never get one.
        return packet(number_ % 3 == 0 || random.one_in(2), "a datagram");
    }

  private:
    Flow flow() const { return ends(number_, v6_, 31000 + connection_, 4000); }
    Frame frame(const Flow& f) const {
        if (protocol_ == proto::udp) return frames::udp(f, "datagram");
        Frame l4(16);
        l4[0] = static_cast<std::uint8_t>(f.sport >> 8), l4[1] = static_cast<std::uint8_t>(f.sport);
        l4[2] = static_cast<std::uint8_t>(f.dport >> 8), l4[3] = static_cast<std::uint8_t>(f.dport);
        l4[5] = 0;  // all of it is covered (RFC 3828 section 3.1)
        const std::uint16_t sum = frames::l4_sum(f.src, f.dst, protocol_, l4.data(), l4.size());
        l4[6] = static_cast<std::uint8_t>(sum >> 8), l4[7] = static_cast<std::uint8_t>(sum);
        return frames::ip(f.src, f.dst, protocol_, l4);
    }
    Packet packet(bool from_inside, std::string what) {
        return honest(frame(from_inside ? flow() : flow().back()), from_inside, std::move(what));
    }

    std::string kind_;
    unsigned number_;
    unsigned connection_ = 0;
    bool v6_;
    std::uint8_t protocol_;
};

class Echo : public Conversation {
  public:
    Echo(unsigned number, bool v6) : number_(number), v6_(v6) {}
    std::string name() const override { return "echo " + std::to_string(number_); }
    Packet next(Random& random) override {
        const Flow f = ends(number_, v6_, 0, 0);
        if (connection_ == 0 || random.one_in(50)) {
            ++connection_;
            asked_ = 0;
        }
        const auto id = static_cast<std::uint16_t>(connection_);
        if (random.one_in(15))
            return mischief(frames::echo(f.back(), false, static_cast<std::uint16_t>(id + 1000)),
                            false, "an answer to no question");
        const bool ask = asked_ == 0 || random.one_in(2);
        asked_ += ask ? 1 : 0;
        asked_ -= ask ? 0 : 1;
        return honest(frames::echo(ask ? f : f.back(), ask, id), ask, ask ? "ping" : "pong");
    }

  private:
    unsigned number_;
    unsigned connection_ = 0;
    bool v6_;
    unsigned asked_ = 0;
};

/// Protocols without ports: by addresses.
class Raw : public Conversation {
  public:
    Raw(std::string kind, unsigned number, bool v6, std::uint8_t protocol, Frame payload)
        : kind_(std::move(kind)),
          number_(number),
          v6_(v6),
          protocol_(protocol),
          payload_(std::move(payload)) {}
    std::string name() const override { return kind_ + " " + std::to_string(number_); }
    Packet next(Random& random) override {
        const Flow f = ends(number_, v6_, 0, 0);
        const bool there = connection_ == 0 || random.one_in(2);
        if (connection_ != 0 && random.one_in(15))
            return mischief(
                frames::ip(f.dst, f.src, static_cast<std::uint8_t>(protocol_ + 50), payload_),
                false, "another protocol from outside");
        connection_ = 1;
        return honest(frames::ip(there ? f.src : f.dst, there ? f.dst : f.src, protocol_, payload_),
                      there, "a packet");
    }

  private:
    std::string kind_;
    unsigned number_;
    unsigned connection_ = 0;
    bool v6_;
    std::uint8_t protocol_;
    Frame payload_;
};

// ---- SCTP (RFC 9260) ----

class Sctp : public Conversation {
  public:
    Sctp(unsigned number, bool v6) : number_(number), v6_(v6) {}
    std::string name() const override { return "sctp " + std::to_string(number_); }
    Packet next(Random& random) override {
        if (step_ == kEnd) {
            step_ = 0;
            ++connection_;
            tag_[0] = random() | 1;
            tag_[1] = random() | 2;
        }
        switch (step_) {
            case 0: ++step_; return chunk(0, kInit, 0, "INIT");
            case 1: ++step_; return chunk(1, kInitAck, tag_[0], "INIT ACK");
            case 2: ++step_; return chunk(0, kCookieEcho, tag_[1], "COOKIE ECHO");
            case 3: ++step_; return chunk(1, kCookieAck, tag_[0], "COOKIE ACK");
            case kShutdown: ++step_; return chunk(1, kShutdownAck, tag_[0], "SHUTDOWN ACK");
            case kShutdown + 1:
                step_ = kEnd;
                return chunk(0, kShutdownComplete, tag_[1], "SHUTDOWN COMPLETE");
            default: break;
        }
        const unsigned side = random.below(2);
        if (random.one_in(12)) {
            Packet p = chunk(side, kData, tag_[1 - side] ^ 0x5555, "DATA with another tag");
            p.honest = false;
            return p;
        }
        if (random.one_in(60)) {
            step_ = kShutdown;
            return chunk(0, kShutdownChunk, tag_[1], "SHUTDOWN");
        }
        return random.one_in(2) ? chunk(side, kData, tag_[1 - side], "DATA")
                                : chunk(side, kSack, tag_[1 - side], "SACK");
    }

  private:
    static constexpr unsigned kShutdown = 10, kEnd = 20;
    static constexpr std::uint8_t kData = 0, kInit = 1, kInitAck = 2, kSack = 3, kShutdownChunk = 7,
                                  kShutdownAck = 8, kCookieEcho = 10, kCookieAck = 11,
                                  kShutdownComplete = 14;

    Packet chunk(unsigned side, std::uint8_t kind, std::uint32_t tag, std::string what) const {
        const Flow flow = ends(number_, v6_, 32000 + connection_, 5000);
        const Flow f = side == 0 ? flow : flow.back();
        const bool opens = kind == kInit || kind == kInitAck;
        const std::size_t length = opens ? 20 : 16;
        Frame l4(12 + length);
        const auto put = [&l4](std::size_t at, std::uint32_t v, unsigned bytes) {
            for (unsigned i = 0; i < bytes; ++i)
                l4[at + i] = static_cast<std::uint8_t>(v >> (8 * (bytes - 1 - i)));
        };
        put(0, f.sport, 2), put(2, f.dport, 2), put(4, tag, 4);
        l4[12] = kind;
        put(14, static_cast<std::uint32_t>(length), 2);
        if (opens) put(16, tag_[side], 4);
        const std::uint32_t crc =
            ~rte_hash_crc(l4.data(), static_cast<unsigned>(l4.size()), 0xffffffff);
        for (unsigned i = 0; i < 4; ++i)
            l4[8 + i] = static_cast<std::uint8_t>(crc >> 8 * i);
        return honest(frames::ip(f.src, f.dst, proto::sctp, l4), side == 0, std::move(what));
    }

    unsigned number_;
    unsigned connection_ = 0;
    bool v6_;
    unsigned step_ = kEnd;
    std::uint32_t tag_[2] = {};  ///< that each end wants to see
};

// ---- DCCP (RFC 4340) ----

class Dccp : public Conversation {
  public:
    Dccp(unsigned number, bool v6) : number_(number), v6_(v6) {}
    std::string name() const override { return "dccp " + std::to_string(number_); }
    Packet next(Random& random) override {
        if (step_ == kEnd) {
            step_ = 0;
            ++connection_;
            seq_[0] = random(), seq_[1] = random();
        }
        switch (step_) {
            case 0: ++step_; return packet(0, kRequest, "Request");
            case 1: ++step_; return packet(1, kResponse, "Response");
            case 2: ++step_; return packet(0, kAck, "Ack");
            case 3: ++step_; return packet(1, kDataAck, "DataAck");
            case kClosing: step_ = kEnd; return packet(1, kReset, "Reset");
            default: break;
        }
        if (random.one_in(60)) {
            step_ = kClosing;
            return packet(0, kClose, "Close");
        }
        if (random.one_in(12)) {
            Packet p = packet(0, kCloseReq, "a client's CloseReq");
            p.honest = false;
            return p;
        }
        const unsigned side = random.below(2);
        return packet(side, random.one_in(2) ? kDataAck : kAck, "DataAck or Ack");
    }

  private:
    static constexpr unsigned kClosing = 10, kEnd = 20;
    static constexpr std::uint8_t kRequest = 0, kResponse = 1, kAck = 3, kDataAck = 4,
                                  kCloseReq = 5, kClose = 6, kReset = 7;

    Packet packet(unsigned side, std::uint8_t type, std::string what) {
        const Flow flow = ends(number_, v6_, 33000 + connection_, 6000);
        const Flow f = side == 0 ? flow : flow.back();
        Frame l4(28);
        const auto put = [&l4](std::size_t at, std::uint64_t v, unsigned bytes) {
            for (unsigned i = 0; i < bytes; ++i)
                l4[at + i] = static_cast<std::uint8_t>(v >> (8 * (bytes - 1 - i)));
        };
        put(0, f.sport, 2), put(2, f.dport, 2);
        l4[4] = 7;                                         // data offset in words
        l4[8] = static_cast<std::uint8_t>(type << 1 | 1);  // with numbers of 48 bits
        put(10, ++seq_[side], 6);
        put(18, type == kRequest ? 0 : seq_[1 - side], 6);
        const std::uint16_t sum = frames::l4_sum(f.src, f.dst, proto::dccp, l4.data(), l4.size());
        put(6, sum, 2);
        return honest(frames::ip(f.src, f.dst, proto::dccp, l4), side == 0, std::move(what));
    }

    unsigned number_;
    unsigned connection_ = 0;
    bool v6_;
    unsigned step_ = kEnd;
    std::uint64_t seq_[2] = {};
};

}  // namespace

std::string Packet::connection() const {
    const bool v6 = frame[12] == 0x86;
    const std::uint8_t protocol = frame[v6 ? 20 : 23];
    const unsigned addresses = v6 ? 22 : 26, bytes = v6 ? 16 : 4, l4 = addresses + 2 * bytes;
    const auto piece = [this](unsigned at, unsigned n) {
        return std::string(frame.begin() + at, frame.begin() + at + n);
    };
    std::string ends[2] = {piece(addresses, bytes), piece(addresses + bytes, bytes)};
    std::string more;
    if (protocol == proto::icmp || protocol == proto::icmpv6) {
        more = piece(l4 + 4, 2);  // the identifier
    } else if (protocol == proto::gre) {
        if (frame[l4 + 1] != 0) more = piece(l4 + 7, 1);  // of a call, but for its direction
    } else if (protocol != 99) {
        ends[0] += piece(l4, 2);
        ends[1] += piece(l4 + 2, 2);
    }
    if (ends[1] < ends[0]) std::swap(ends[0], ends[1]);
    return std::to_string(protocol) + ' ' + ends[0] + ends[1] + more;
}

std::unique_ptr<Conversation> tcp(unsigned number, bool v6) {
    return std::make_unique<TcpTalk>(number, v6);
}
std::unique_ptr<Conversation> udp(unsigned number, bool v6) {
    return std::make_unique<Datagrams>("udp", number, v6, proto::udp);
}
std::unique_ptr<Conversation> udplite(unsigned number, bool v6) {
    return std::make_unique<Datagrams>("udplite", number, v6, proto::udplite);
}
std::unique_ptr<Conversation> echo(unsigned number, bool v6) {
    return std::make_unique<Echo>(number, v6);
}
std::unique_ptr<Conversation> sctp(unsigned number, bool v6) {
    return std::make_unique<Sctp>(number, v6);
}
std::unique_ptr<Conversation> dccp(unsigned number, bool v6) {
    return std::make_unique<Dccp>(number, v6);
}
std::unique_ptr<Conversation> gre(unsigned number, bool v6) {
    return std::make_unique<Raw>("gre", number, v6, proto::gre, Frame{0, 0, 8, 0, 1, 2, 3, 4});
}
std::unique_ptr<Conversation> other(unsigned number, bool v6) {
    return std::make_unique<Raw>("protocol 99", number, v6, std::uint8_t{99}, Frame(16));
}

}  // namespace postern::conversations
