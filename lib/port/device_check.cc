// SPDX-License-Identifier: BSD-3-Clause
#include "port/device_check.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <map>
#include <string_view>
#include <system_error>

#include <net/if.h>
#include <rte_devargs.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "port/port_set.h"

namespace postern {
namespace {

Error about(const PortConfig& port, const std::string& what) {
    return Error{"port \"" + port.name + "\" (" + port.device + "): " + what};
}

std::string join(const std::vector<std::string>& words) {
    std::string all;
    for (const std::string& word : words)
        all += (all.empty() ? "" : ", ") + word;
    return all;
}

/// Linux's interfaces in this network namespace, without the loopback.
std::vector<std::string> interfaces_here() {
    std::vector<std::string> names;
    struct if_nameindex* const all = ::if_nameindex();
    if (all == nullptr) return names;
    for (const auto* i = all; i->if_index != 0; ++i)
        if (std::string_view(i->if_name) != "lo") names.emplace_back(i->if_name);
    ::if_freenameindex(all);
    return names;
}

bool has_driver(const std::string& device) {
    rte_devargs parsed{};
    const bool known = rte_devargs_parse(&parsed, device.c_str()) == 0;
    rte_devargs_reset(&parsed);
    return known;
}

/// Whether the text may be the name of an interface: eth1, ens3f0np0, br-lan, eth0.100.
bool like_interface(const std::string& device) {
    return device.size() < IF_NAMESIZE && !device.starts_with("net_") &&
           device.find_first_of(":,/=") == std::string::npos;
}

Error unknown_device(const PortConfig& port, std::size_t number) {
    if (like_interface(port.device)) {
        const auto here = interfaces_here();
        const bool exists = std::ranges::find(here, port.device) != here.end();
        return about(port, std::string(exists ? "this is a network interface of Linux"
                                              : "DPDK has no driver for a device of this name") +
                               (exists ? "" : "; if it is a network interface of Linux") +
                               ", write device: \"net_af_packet" + std::to_string(number) +
                               ",iface=" + port.device + "\"");
    }
    return about(port,
                 "DPDK has no driver for a device of this name; expected a PCI address "
                 "(0000:03:00.0) or a virtual device (net_af_packet" +
                     std::to_string(number) + ",iface=eth1)");
}

/// An abstract socket of a name that belongs to the interface in its network namespace. It vanishes
/// with the process that holds it, however that ends.
sockaddr_un claim_address(const std::string& interface, socklen_t& length) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = "postern/interface/" + interface;
    name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    return address;
}

/// " (pid 1234)", if the kernel says who holds the claim.
std::string holder(const sockaddr_un& address, socklen_t length) {
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ucred who{};
    socklen_t bytes = sizeof who;
    if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
        ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &bytes) != 0)
        return {};
    return " (pid " + std::to_string(who.pid) + ")";
}

Result<UniqueFd> claim(const PortConfig& port, const std::string& interface) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    socklen_t length = 0;
    const sockaddr_un address = claim_address(interface, length);
    if (fd && ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0 &&
        ::listen(fd.get(), 1) == 0)
        return fd;
    if (errno == EADDRINUSE)
        return about(port, "another postern" + holder(address, length) + " uses the interface " +
                               interface + "; end it, or give this port another interface");
    return about(port, "cannot claim " + interface + ": " + std::generic_category().message(errno));
}

}  // namespace

bool fed_by_kernel(const PortConfig& port) {
    constexpr std::string_view kDrivers[] = {"net_af_packet", "net_af_xdp", "net_pcap", "net_tap",
                                             "net_virtio_user"};
    return std::ranges::any_of(kDrivers,
                               [&](std::string_view d) { return port.device.starts_with(d); });
}

std::string interface_argument(const PortConfig& port) {
    if (!fed_by_kernel(port)) return {};
    for (const std::string_view key : {",iface=", ",rx_iface=", ",rx_iface_in=", ",tx_iface="})
        if (const auto at = port.device.find(key); at != std::string::npos) {
            const auto begin = at + key.size();
            return port.device.substr(begin, port.device.find(',', begin) - begin);
        }
    return {};
}

Result<void> check_device_names(std::span<const PortConfig> ports) {
    std::map<std::string, std::string> users;
    for (std::size_t i = 0; i < ports.size(); ++i) {
        const PortConfig& port = ports[i];
        if (!has_driver(port.device)) return unknown_device(port, i);
        const std::string interface = interface_argument(port);
        if (interface.empty()) continue;
        const auto [it, first] = users.emplace(interface, port.name);
        if (!first)
            return about(port,
                         "port \"" + it->second + "\" uses the interface " + interface + ", too");
    }
    return {};
}

Result<std::vector<UniqueFd>> claim_interfaces(std::span<const PortConfig> ports) {
    std::vector<UniqueFd> claims;
    for (const PortConfig& port : ports) {
        const std::string interface = interface_argument(port);
        // The driver creates these.
        if (interface.empty() || port.device.starts_with("net_tap") ||
            port.device.starts_with("net_virtio_user"))
            continue;
        if (::if_nametoindex(interface.c_str()) == 0) {
            const auto here = interfaces_here();
            return about(port, "there is no interface " + interface + " here" +
                                   (here.empty() ? "" : " (there are " + join(here) + ")"));
        }
        auto fd = claim(port, interface);
        if (!fd) return fd.error();
        claims.push_back(std::move(*fd));
    }
    return claims;
}

Result<void> check_cpus(const char* key, std::span<const std::uint16_t> cpus) {
    cpu_set_t usable;
    if (::sched_getaffinity(0, sizeof usable, &usable) != 0) return {};
    for (const unsigned cpu : cpus) {
        if (cpu < CPU_SETSIZE && CPU_ISSET(cpu, &usable)) continue;
        std::vector<std::string> all;
        for (unsigned i = 0; i < CPU_SETSIZE; ++i)
            if (CPU_ISSET(i, &usable)) all.push_back(std::to_string(i));
        return Error{std::string(key) + ": there is no CPU " + std::to_string(cpu) +
                     " that this process may use; it may use " + join(all)};
    }
    return {};
}

}  // namespace postern
