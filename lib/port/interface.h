// SPDX-License-Identifier: BSD-3-Clause
// Interface: Linux's state of a network interface below a port, in this process's network
// namespace. Control only: every query is a system call.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace postern {

class Interfaces {
  public:
    static Result<Interfaces> open();

    struct State {
        unsigned index = 0;    ///< 0: no interface of this name
        bool enabled = false;  ///< set up
        bool running = false;  ///< and has a carrier
        unsigned mtu = 0;
    };
    State state(const std::string& name) const;

    /// 0, or errno.
    int set_mtu(const std::string& name, unsigned mtu) const;
    /// Whether this process holds a tun or tap interface of this name, in any namespace; or, for a
    /// name that it does not hold, whether none of its interfaces was deleted.
    static bool holds_tun(const std::string& name);

    /// Readable after some interface appeared, vanished or changed; drain() resets it, and returns
    /// whether any had.
    int fd() const noexcept { return events_.get(); }
    bool drain() const noexcept;

    /// The kernel driver: "veth", "ixgbe"; empty if unknown.
    std::string driver(const std::string& name) const;
    /// The other end of a veth pair, if it is in this namespace.
    std::optional<std::string> veth_peer(const std::string& name) const;
    /// Whether senders on this interface leave checksums to the device.
    bool leaves_checksums(const std::string& name) const;
    /// Whether it merges received frames (generic receive offload).
    bool merges_received(const std::string& name) const;

  private:
    Interfaces(UniqueFd ask, UniqueFd events) : ask_(std::move(ask)), events_(std::move(events)) {}
    std::optional<std::uint32_t> flag(const std::string& name, std::uint32_t command) const;
    /// The index of the other end of a veth pair, in its namespace.
    std::optional<unsigned> peer_index(const std::string& name) const;

    UniqueFd ask_;     ///< for ioctls
    UniqueFd events_;  ///< netlink
};

/// The offload to turn off, and the end, so that packets arrive with finished checksums.
std::string checksum_advice(const Interfaces& interfaces, const std::string& interface);

}  // namespace postern
