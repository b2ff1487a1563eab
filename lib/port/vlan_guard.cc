// SPDX-License-Identifier: BSD-3-Clause
#include "port/vlan_guard.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <string_view>

#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

namespace postern {
namespace {

bool is_bound_to(int fd, unsigned interface) noexcept {
    int domain = 0;
    socklen_t size = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_PACKET)
        return false;
    sockaddr_ll address{};
    size = sizeof address;
    return getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
           address.sll_ifindex == static_cast<int>(interface);
}

bool refuse_on(int fd) noexcept {
    constexpr auto kAncillary = static_cast<std::uint32_t>(SKF_AD_OFF);
    constexpr std::uint32_t kAll = 0x40000;  // bytes of a frame that are let through
    std::array<sock_filter, 6> program = {
        sock_filter{BPF_LD | BPF_B | BPF_ABS, 0, 0, kAncillary + SKF_AD_VLAN_TAG_PRESENT},
        sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 0},
        sock_filter{BPF_LD | BPF_H | BPF_ABS, 0, 0, kAncillary + SKF_AD_VLAN_TPID},
        sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0x8100},
        sock_filter{BPF_RET | BPF_K, 0, 0, kAll},
        sock_filter{BPF_RET | BPF_K, 0, 0, 0},
    };
    const sock_fprog filter{program.size(), program.data()};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0;
}

}  // namespace

Result<void> refuse_foreign_tags(const std::string& interface) {
    const unsigned index = if_nametoindex(interface.c_str());
    if (index == 0) return Error{"there is no interface " + interface};
    bool any = false;
    std::error_code unreadable;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", unreadable)) {
        const std::string name = entry.path().filename().string();
        int fd = -1;
        std::from_chars(name.data(), name.data() + name.size(), fd);
        if (fd < 0 || !is_bound_to(fd, index)) continue;
        if (!refuse_on(fd))
            return Error{"its socket takes no filter: " + std::string(std::strerror(errno))};
        any = true;
    }
    if (!any) return Error{"no socket of the driver is bound to " + interface};
    return {};
}

}  // namespace postern
