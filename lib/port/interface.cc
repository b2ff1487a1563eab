// SPDX-License-Identifier: BSD-3-Clause
#include "port/interface.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <vector>

#include <linux/ethtool.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace postern {
namespace {

/// A request about this interface.
ifreq about(const std::string& name) noexcept {
    ifreq r{};
    name.copy(r.ifr_name, sizeof r.ifr_name - 1);
    return r;
}

}  // namespace

Result<Interfaces> Interfaces::open() {
    UniqueFd ask(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    UniqueFd events(::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK;
    if (!ask || !events ||
        ::bind(events.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return Error{"cannot watch network interfaces: " + std::generic_category().message(errno)};
    return Interfaces(std::move(ask), std::move(events));
}

Interfaces::State Interfaces::state(const std::string& name) const {
    State s;
    ifreq r = about(name);
    if (::ioctl(ask_.get(), SIOCGIFINDEX, &r) != 0) return s;
    s.index = static_cast<unsigned>(r.ifr_ifindex);
    r = about(name);
    if (::ioctl(ask_.get(), SIOCGIFFLAGS, &r) == 0) {
        s.enabled = (r.ifr_flags & IFF_UP) != 0;
        s.running = s.enabled && (r.ifr_flags & IFF_RUNNING) != 0;
    }
    r = about(name);
    if (::ioctl(ask_.get(), SIOCGIFMTU, &r) == 0) s.mtu = static_cast<unsigned>(r.ifr_mtu);
    return s;
}

int Interfaces::set_mtu(const std::string& name, unsigned mtu) const {
    ifreq r = about(name);
    r.ifr_mtu = static_cast<int>(mtu);
    return ::ioctl(ask_.get(), SIOCSIFMTU, &r) == 0 ? 0 : errno;
}

bool Interfaces::holds_tun(const std::string& name) {
    bool deleted = false;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
        if (std::filesystem::read_symlink(entry.path(), error) != "/dev/net/tun") continue;
        std::ifstream info("/proc/self/fdinfo/" + entry.path().filename().string());
        std::string line;
        while (std::getline(info, line)) {
            if (!line.starts_with("iff:")) continue;
            // Empty: the interface of this descriptor no longer exists.
            const auto at = line.find_first_not_of(" \t", 4);
            if (at == line.npos)
                deleted = true;
            else if (line.substr(at) == name)
                return true;
        }
    }
    return !deleted;
}

bool Interfaces::drain() const noexcept {
    char ignored[16384];
    bool any = false;
    // Messages lost by an overrun do not matter: states are queried anew.
    for (;;) {
        const ssize_t n = ::recv(events_.get(), ignored, sizeof ignored, 0);
        if (n <= 0 && errno != ENOBUFS) return any;
        any = true;
    }
}

std::string Interfaces::driver(const std::string& name) const {
    ethtool_drvinfo info{};
    info.cmd = ETHTOOL_GDRVINFO;
    ifreq r = about(name);
    r.ifr_data = reinterpret_cast<char*>(&info);
    if (::ioctl(ask_.get(), SIOCETHTOOL, &r) != 0) return {};
    return {info.driver, strnlen(info.driver, sizeof info.driver)};
}

std::optional<unsigned> Interfaces::peer_index(const std::string& name) const {
    if (driver(name) != "veth") return std::nullopt;
    constexpr std::uint32_t kMost = 4096;  // they depend on the number of queues
    ethtool_drvinfo info{};
    info.cmd = ETHTOOL_GDRVINFO;
    ifreq r = about(name);
    r.ifr_data = reinterpret_cast<char*>(&info);
    if (::ioctl(ask_.get(), SIOCETHTOOL, &r) != 0 || info.n_stats == 0 || info.n_stats > kMost)
        return std::nullopt;
    // The first statistic of a veth is the other end's index.
    std::vector<std::uint64_t> buffer(kMost + 1);
    auto* stats = reinterpret_cast<ethtool_stats*>(buffer.data());
    stats->cmd = ETHTOOL_GSTATS;
    stats->n_stats = info.n_stats;
    r = about(name);
    r.ifr_data = reinterpret_cast<char*>(stats);
    if (::ioctl(ask_.get(), SIOCETHTOOL, &r) != 0 || stats->n_stats == 0) return std::nullopt;
    return static_cast<unsigned>(stats->data[0]);
}

std::optional<std::string> Interfaces::veth_peer(const std::string& name) const {
    const auto index = peer_index(name);
    char other[IF_NAMESIZE];
    if (!index || if_indextoname(*index, other) == nullptr) return std::nullopt;
    // An index of another namespace may be another interface's here.
    const auto back = peer_index(other);
    if (!back || *back != state(name).index) return std::nullopt;
    return other;
}

std::optional<std::uint32_t> Interfaces::flag(const std::string& name,
                                              std::uint32_t command) const {
    ethtool_value value{};
    value.cmd = command;
    ifreq r = about(name);
    r.ifr_data = reinterpret_cast<char*>(&value);
    if (::ioctl(ask_.get(), SIOCETHTOOL, &r) != 0) return std::nullopt;
    return value.data;
}

bool Interfaces::leaves_checksums(const std::string& name) const {
    return flag(name, ETHTOOL_GTXCSUM).value_or(0) != 0;
}

bool Interfaces::merges_received(const std::string& name) const {
    return flag(name, ETHTOOL_GGRO).value_or(0) != 0;
}

std::string checksum_advice(const Interfaces& interfaces, const std::string& interface) {
    if (const auto peer = interfaces.veth_peer(interface))
        return "turn it off there: ethtool -K " + *peer + " tx off tso off gso off (" + *peer +
               " is the other end of " + interface + ")";
    if (interfaces.driver(interface) == "veth")
        return "turn it off at the other end of the veth pair, in its namespace or container, not "
               "at " +
               interface + ": ethtool -K NAME tx off tso off gso off";
    return "turn it off at the interface that sends them, not at " + interface +
           ": ethtool -K NAME tx off tso off gso off";
}

}  // namespace postern
