// SPDX-License-Identifier: BSD-3-Clause
// Conversations: what two hosts send each other by a protocol, packet by packet, chosen by a random
// number. Most packets are honest: the peers of a real network might send them now. Others are not;
// a firewall may refuse them.
//
// For model tests: the conversations know nothing of a firewall. They assume that honest packets
// arrive.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "support/frames.h"

namespace postern::conversations {

/// Numbers of 32 bits, by a seed.
class Random {
  public:
    explicit Random(std::uint32_t seed) : engine_(seed) {}
    std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }
    /// From 0 to n - 1.
    unsigned below(unsigned n) { return (*this)() % n; }
    bool one_in(unsigned n) { return below(n) == 0; }

  private:
    std::mt19937 engine_;
};

struct Packet {
    frames::Frame frame;
    bool from_inside = true;
    bool honest = true;
    /// Begins a connection by what the conversation announced: passes only if the announcement was
    /// read.
    bool announced = false;
    bool announces = false;     ///< the announcement
    bool control = false;       ///< data of a control connection that a helper reads
    bool acknowledges = false;  ///< TCP: bytes that were not acknowledged before
    std::string what;           ///< for messages

    /// Protocol, ends and ports (or what stands for them), the same in both directions.
    std::string connection() const;
};

class Conversation {
  public:
    virtual ~Conversation() = default;
    Conversation() = default;
    Conversation(const Conversation&) = delete;
    Conversation& operator=(const Conversation&) = delete;

    virtual std::string name() const = 0;
    /// What is sent next.
    virtual Packet next(Random& random) = 0;
};

/// `number` makes its addresses and ports different from those of others.
std::unique_ptr<Conversation> tcp(unsigned number, bool v6);
std::unique_ptr<Conversation> udp(unsigned number, bool v6);
std::unique_ptr<Conversation> udplite(unsigned number, bool v6);
std::unique_ptr<Conversation> echo(unsigned number, bool v6);
std::unique_ptr<Conversation> sctp(unsigned number, bool v6);
std::unique_ptr<Conversation> dccp(unsigned number, bool v6);
/// GRE without calls, and a protocol that nothing tracks.
std::unique_ptr<Conversation> gre(unsigned number, bool v6);
std::unique_ptr<Conversation> other(unsigned number, bool v6);
/// FTP logs in, then announces ports and opens data connections to them.
std::unique_ptr<Conversation> ftp(unsigned number, bool v6);
/// TFTP: each answer comes from another port than was asked.
std::unique_ptr<Conversation> tftp(unsigned number, bool v6);
/// A PPTP control connection, which begins calls, and their packets.
std::unique_ptr<Conversation> pptp(unsigned number, bool v6);

}  // namespace postern::conversations
