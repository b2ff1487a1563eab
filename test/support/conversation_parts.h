// SPDX-License-Identifier: BSD-3-Clause
// Parts of conversations: one TCP connection, and what makes packets.
#pragma once

#include <string>
#include <utility>

#include "conntrack/tcp.h"
#include "support/conversations.h"

namespace postern::conversations {

using frames::Flow;
using frames::Frame;

/// The ends of conversation `number`: a client inside, a server outside.
inline Flow ends(unsigned number, bool v6, unsigned sport, unsigned dport) {
    const std::string n = std::to_string(1 + number);
    return v6 ? frames::flow("2001:db8::" + n, sport, "2001:db8:1::" + n, dport)
              : frames::flow("10.0.0." + n, sport, "192.0.2." + n, dport);
}
inline Packet honest(Frame frame, bool from_inside, std::string what) {
    return {std::move(frame), from_inside, true, false, false, false, false, std::move(what)};
}
inline Packet mischief(Frame frame, bool from_inside, std::string what) {
    return {std::move(frame), from_inside, false, false, false, false, false, std::move(what)};
}

/// One TCP connection; `side` 0 is its client.
class Tcp {
  public:
    enum class Phase {
        syn,
        syn_ack,
        ack,
        open,
        closing,
        closed
    };

    void begin(Flow flow, bool client_inside, Random& random) {
        flow_ = flow;
        client_inside_ = client_inside;
        phase_ = Phase::syn;
        for (unsigned side : {0u, 1u}) {
            seq_[side] = acked_[side] = random();
            fin_[side] = false;
        }
        scale_ = random.one_in(3) ? 0 : 7;
    }
    Phase phase() const { return phase_; }

    /// The next packet of the handshake.
    Packet handshake() {
        const Phase now = phase_;
        phase_ = static_cast<Phase>(static_cast<int>(now) + 1);
        if (now == Phase::syn) return segment(0, tcp_flag::syn, {}, "SYN");
        if (now == Phase::syn_ack)
            return segment(1, tcp_flag::syn | tcp_flag::ack, {}, "SYN and ACK");
        return segment(0, tcp_flag::ack, {}, "ACK of the handshake");
    }
    Packet say(unsigned side, std::string_view text) {
        return segment(side, tcp_flag::ack | tcp_flag::psh, text, "data");
    }
    Packet acknowledge(unsigned side) { return segment(side, tcp_flag::ack, {}, "ACK"); }
    bool has_room(unsigned side, std::size_t bytes) const {
        return seq_[side] - acked_[side] + bytes < kWindow && !fin_[side];
    }
    Packet finish(unsigned side) {
        phase_ = Phase::closing;
        fin_[side] = true;
        return segment(side, tcp_flag::fin | tcp_flag::ack, {}, "FIN");
    }
    Packet reset(unsigned side) {
        phase_ = Phase::closed;
        return segment(side, tcp_flag::rst | tcp_flag::ack, {}, "RST");
    }
    /// Any packet that fits.
    Packet any(Random& random) {
        if (phase_ < Phase::open) return handshake();
        const unsigned side = random.below(2);
        if (phase_ == Phase::closing) {
            if (fin_[0] && fin_[1]) {
                const unsigned waits = seq_[0] != acked_[0] ? 1 : 0;
                if (seq_[1 - waits] == acked_[1 - waits] || random.one_in(2))
                    phase_ = Phase::closed;
                return acknowledge(waits);
            }
            return random.one_in(3) ? finish(fin_[0] ? 1 : 0) : acknowledge(fin_[0] ? 1 : 0);
        }
        const std::size_t bytes = 1 + random.below(1200);
        if (random.below(3) != 0 && has_room(side, bytes))
            return say(side, std::string(bytes, 'x'));
        if (random.one_in(60)) return finish(side);
        if (random.one_in(200)) return reset(side);
        return acknowledge(side);
    }
    /// What does not belong to it.
    Packet wrong(Random& random) {
        const unsigned side = random.below(2);
        const std::uint32_t far = 0x20000000 + (random() & 0x0fffffff);
        frames::TcpFields t = fields(side, tcp_flag::ack);
        std::string what;
        switch (random.below(5)) {
            case 0: t.seq += far, what = "data far beyond the window", t.payload = "beyond"; break;
            case 1: t.ack += far, what = "ACK of what was not sent"; break;
            case 2: t.seq += far, t.flags = tcp_flag::rst, what = "RST beyond the window"; break;
            case 3:
                t.flags = tcp_flag::syn, t.ack = 0, t.seq += far, what = "SYN in between";
                break;
            default:
                t.flags = tcp_flag::syn | tcp_flag::ack, what = "SYN and ACK in between";
                break;
        }
        return mischief(frames::tcp(side == 0 ? flow_ : flow_.back(), t), inside(side), what);
    }
    const Flow& flow() const { return flow_; }
    bool inside(unsigned side) const { return (side == 0) == client_inside_; }

  private:
    // Smaller than a window of 500 with the scale, larger than one without.
    static constexpr std::uint32_t kWindow = 60'000;

    frames::TcpFields fields(unsigned side, std::uint8_t flags) const {
        frames::TcpFields t;
        t.flags = flags;
        t.seq = seq_[side];
        if ((flags & tcp_flag::ack) != 0) t.ack = seq_[1 - side];
        t.win = (flags & tcp_flag::syn) != 0 || scale_ == 0 ? 65000 : 500;
        if ((flags & tcp_flag::syn) != 0 && scale_ != 0) t.options = {3, 3, scale_, 1};
        return t;
    }
    Packet segment(unsigned side, std::uint8_t flags, std::string_view text, std::string what) {
        frames::TcpFields t = fields(side, flags);
        t.payload = text;
        const bool news = (flags & tcp_flag::ack) != 0 && acked_[1 - side] != seq_[1 - side];
        if (news) acked_[1 - side] = seq_[1 - side];
        seq_[side] += static_cast<std::uint32_t>(text.size()) +
                      ((flags & (tcp_flag::syn | tcp_flag::fin)) != 0 ? 1u : 0u);
        what += side == 0 ? " of the client" : " of the server";
        Packet p = honest(frames::tcp(side == 0 ? flow_ : flow_.back(), t), inside(side), what);
        p.acknowledges = news;
        return p;
    }

    Flow flow_;
    bool client_inside_ = true;
    Phase phase_ = Phase::closed;
    std::uint8_t scale_ = 0;
    std::uint32_t seq_[2] = {}, acked_[2] = {};
    bool fin_[2] = {};
};

}  // namespace postern::conversations
