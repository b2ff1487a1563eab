// SPDX-License-Identifier: BSD-3-Clause
// What PortSet believes of a device's RSS. The device is DPDK's null one, which takes a key and a
// table when it is told once it runs; here it can be made to lie about its key.
#include "port/port_set.h"

#include <algorithm>
#include <cstring>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <rte_ethdev.h>

#include "port/frames.h"
#include "support/eal.h"

namespace {

enum class Key {
    told,    ///< as it is
    own,     ///< another one than it was given
    silent,  ///< the answer is left as it was
    secret   ///< it cannot be asked
};
Key key_of_device = Key::told;
std::uint8_t size_of_key = 40;

}  // namespace

// Before DPDK's own, for all that is linked into this program.
extern "C" int rte_eth_dev_rss_hash_conf_get(std::uint16_t port, rte_eth_rss_conf* conf) {
    using Get = int (*)(std::uint16_t, rte_eth_rss_conf*);
    static const auto real =
        reinterpret_cast<Get>(dlsym(RTLD_NEXT, "rte_eth_dev_rss_hash_conf_get"));
    if (key_of_device == Key::secret) return -ENOTSUP;
    if (key_of_device == Key::silent) {
        conf->rss_hf = RTE_ETH_RSS_IP;
        return 0;
    }
    const int result = real(port, conf);
    if (key_of_device == Key::own) conf->rss_key[3] ^= 1;
    return result;
}

/// The null device takes 40 bytes and does not say so.
extern "C" int rte_eth_dev_info_get(std::uint16_t port, rte_eth_dev_info* info) {
    using Get = int (*)(std::uint16_t, rte_eth_dev_info*);
    static const auto real = reinterpret_cast<Get>(dlsym(RTLD_NEXT, "rte_eth_dev_info_get"));
    const int result = real(port, info);
    info->hash_key_size = size_of_key;
    return result;
}

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

bool has_rss(Key key, unsigned queues = 2) {
    key_of_device = key;
    PortSetConfig config;
    config.ports.push_back({.name = "in0", .device = "net_null0"});
    config.workers = queues;
    config.rss = SymmetricRss::draw(1);
    for (unsigned i = 0; i < 128; ++i)
        config.reta.push_back(static_cast<std::uint16_t>(i % queues));
    auto ports = PortSet::open(config);
    EXPECT_TRUE(ports.ok()) << ports.error().message;
    if (!ports.ok()) return false;
    EXPECT_EQ((*ports)->any_rss(), (*ports)->info(PortId{0}).rss);
    if ((*ports)->any_rss()) {
        std::array<std::uint8_t, SymmetricRss::kKeyBytes> key_read{};
        rte_eth_rss_conf conf{};
        conf.rss_key = key_read.data();
        conf.rss_key_len = 40;
        EXPECT_EQ(rte_eth_dev_rss_hash_conf_get((*ports)->info(PortId{0}).ethdev, &conf), 0);
        const auto given = config.rss.key();
        EXPECT_TRUE(std::equal(given.begin(), given.begin() + 40, key_read.begin()));
    }
    return (*ports)->any_rss();
}

TEST(PortSetRss, ADeviceThatHashesWithOurKeyHasIt) {
    EXPECT_TRUE(has_rss(Key::told));
    EXPECT_FALSE(has_rss(Key::told, 1));
}

TEST(PortSetRss, ADeviceThatKeepsAKeyOfItsOwnCountsAsWithout) {
    EXPECT_FALSE(has_rss(Key::own));
    EXPECT_FALSE(has_rss(Key::silent));
    EXPECT_FALSE(has_rss(Key::secret));
    size_of_key = 0;
    EXPECT_FALSE(has_rss(Key::told));
    size_of_key = 64;
    EXPECT_FALSE(has_rss(Key::told));
    size_of_key = 40;
}

TEST(PortSetDoors, ADeviceIsTakenAwayAndMadeAgain) {
    key_of_device = Key::told;
    PortSetConfig config;
    config.ports.push_back({.name = "in0", .device = "net_null0"});
    config.reta = {0};
    auto opened = PortSet::open(config);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    PortSet& ports = **opened;
    rte_mbuf* pkts[8];
    const auto receive = [&] { return ports.receive(PortId{0}, WorkerId{0}, pkts, 8); };
    const auto send = [&] { return ports.send(PortId{0}, WorkerId{0}, pkts, 8); };
    ASSERT_EQ(receive(), 8u);
    const auto sent = send();
    EXPECT_EQ(sent.down + sent.full, 0u);

    ports.set_link(PortId{0}, false);
    ASSERT_EQ(receive(), 8u) << "what has come is still good";
    EXPECT_EQ(send().down, 0u) << "a device without an interface knows itself what it takes";
    ports.set_link(PortId{0}, true);
    const auto before = ports.stats(PortId{0});
    EXPECT_EQ(before.rx_packets, 16u);

    ASSERT_EQ(receive(), 8u);
    ports.detach(PortId{0});
    EXPECT_FALSE(ports.attached(PortId{0}));
    EXPECT_EQ(send().down, 8u);
    EXPECT_EQ(receive(), 0u);
    EXPECT_EQ(ports.stats(PortId{0}).rx_packets, 24u) << "counted by a device that is gone";

    ASSERT_TRUE(ports.attach(PortId{0}).ok());
    ASSERT_EQ(receive(), 8u);
    EXPECT_EQ(pkts[0]->port, 0);
    EXPECT_EQ(send().down, 0u);
    EXPECT_EQ(ports.stats(PortId{0}).rx_packets, 32u);
}

TEST(Frames, AfPacketGetsARingWhoseSlotsHoldThem) {
    const auto of = [](std::string device, std::uint16_t mtu) {
        return frames_of({.name = "p", .device = std::move(device), .mtu = mtu});
    };
    EXPECT_EQ(of("net_af_packet0,iface=a", 1500)->device, "net_af_packet0,iface=a");
    EXPECT_LE(of("net_af_packet0,iface=a", 1500)->room, 2048u);
    auto jumbo = of("net_af_packet0,iface=a", 9000);
    EXPECT_EQ(jumbo->device, "net_af_packet0,iface=a,framesz=9216,blocksz=36864");
    EXPECT_GE(jumbo->room, 9000u + 14 + 8);
    EXPECT_EQ(of("net_af_packet0,iface=a,blocksz=73728", 9000)->device,
              "net_af_packet0,iface=a,blocksz=73728,framesz=9216");
    EXPECT_EQ(of("net_af_packet0,iface=a,framesz=16384", 9000)->device,
              "net_af_packet0,iface=a,framesz=16384");
    EXPECT_FALSE(of("net_af_packet0,iface=a,framesz=4096", 9000).ok());
    EXPECT_TRUE(of("net_af_packet0,iface=a,framesz=4096", 4000).ok());
}

TEST(Frames, OthersChainBuffersOrSayWhatTheyTake) {
    for (const char* device : {"net_pcap0,iface=a", "net_memif0", "net_ring0", "net_vhost0"})
        EXPECT_TRUE(frames_of({.name = "p", .device = device, .mtu = 9000})->takes_any) << device;
    EXPECT_FALSE(frames_of({.name = "p", .device = "net_tap0", .mtu = 9000}).ok());
    EXPECT_TRUE(frames_of({.name = "p", .device = "net_tap0", .mtu = 1504}).ok());
    auto nic = frames_of({.name = "p", .device = "0000:03:00.0", .is_pci = true, .mtu = 9000});
    EXPECT_FALSE(nic->takes_any);
    EXPECT_GE(nic->room, 9000u + 14 + 8);
}

}  // namespace
}  // namespace postern
