// SPDX-License-Identifier: BSD-3-Clause
#include "port/frames.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <string_view>

#include "port/port_set.h"

namespace postern {
namespace {

constexpr std::uint32_t kLinkHeaders = 14 + 2 * 4;  ///< Ethernet, and two VLAN tags
constexpr std::uint32_t kPage = 4096;
constexpr std::uint32_t kNicHead = 64, kNicUnit = 1024;
constexpr std::uint32_t kTapMtu = 1504;  ///< its longest frame is a constant
// af_packet: what the kernel puts before a frame in the ring's slot, and the bytes that the driver
// counts.
constexpr std::uint32_t kSlotHead = 66, kDriverHead = 32, kDefaultSlot = 2048, kStep = 1024;

/// The value of a number among a virtual device's arguments; nothing if it is absent.
std::optional<std::uint32_t> argument(std::string_view device, std::string_view key) {
    const std::string wanted = "," + std::string(key) + "=";
    const auto at = device.find(wanted);
    if (at == device.npos) return std::nullopt;
    const auto text = device.substr(at + wanted.size());
    std::uint32_t n = 0;
    std::from_chars(text.data(), text.data() + text.size(), n);
    return n;
}

/// A slot of its ring has to hold the whole frame, one packet buffer the whole slot.
Result<Frames> af_packet(const PortConfig& port) {
    Frames f{port.device, 0, true};
    const std::uint32_t needed = port.mtu + kLinkHeaders + kSlotHead;
    auto slot = argument(port.device, "framesz");
    if (slot && *slot < needed)
        return Error{"framesz=" + std::to_string(*slot) + " is too small for an MTU of " +
                     std::to_string(port.mtu) + ", it takes " + std::to_string(needed) +
                     " (without framesz and blocksz Postern chooses)"};
    if (!slot && needed > kDefaultSlot) {
        slot = (needed + kStep - 1) / kStep * kStep;
        f.device += ",framesz=" + std::to_string(*slot);
        // The driver requires contiguous slots, across blocks of whole pages.
        if (!argument(port.device, "blocksz"))
            f.device += ",blocksz=" + std::to_string(std::lcm(*slot, kPage));
    }
    f.room = slot.value_or(kDefaultSlot) - kDriverHead;
    return f;
}

}  // namespace

Result<Frames> frames_of(const PortConfig& port) {
    const auto is = [&](std::string_view driver) { return port.device.starts_with(driver); };
    if (is("net_af_packet")) return af_packet(port);
    // These use a chain of packet buffers for a frame that is longer than one.
    if (is("net_pcap") || is("net_memif") || is("net_ring") || is("net_vhost"))
        return Frames{port.device, 0, true};
    if (is("net_tap") && port.mtu > kTapMtu)
        return Error{"DPDK's tap driver takes an MTU of " + std::to_string(kTapMtu) +
                     " at most, not of " + std::to_string(port.mtu)};
    if (is("net_tap") || is("net_virtio_user") || is("net_null"))
        return Frames{port.device, 0, false};
    // NICs: one buffer a frame, which is faster. Some (ixgbe, igb) use a multiple of 1 KiB only,
    // and would put the rest of a long frame into a second buffer.
    return Frames{port.device, (port.mtu + kNicHead + kNicUnit - 1) / kNicUnit * kNicUnit, false};
}

}  // namespace postern
