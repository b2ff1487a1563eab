// SPDX-License-Identifier: BSD-3-Clause
// Nic: a model of a network card, in process, below DPDK's API.
//
// Frames that the test lets arrive are hashed, spread over receive queues and put into buffers of
// the firewall's pool, as the card's abilities and the firewall's own settings demand. The ports
// are DPDK's ring ports, so bursts are DPDK's. All that control asks (device information,
// configuration, RSS, link, counters, removal) is answered here: the linker replaces those
// functions (`--wrap`, meson.build), for ports of a Nic only.
//
// The model shares no code with lib/net or lib/port. It reads frames by itself, and computes the
// Toeplitz hash bit by bit, as Microsoft's "RSS Hashing Functions" defines it.
//
// Used by tests, on one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <rte_ethdev.h>

namespace postern::nic {

using Frame = std::vector<std::uint8_t>;

/// The Toeplitz hash of `input` under `key`. Bits beyond the key are 0.
std::uint32_t toeplitz(std::span<const std::uint8_t> key, std::span<const std::uint8_t> input);

/// What a card is able to do. The defaults are those of a card that can do everything.
struct Abilities {
    std::string driver = "net_model";
    std::uint16_t rx_queues = 16, tx_queues = 16;

    std::uint64_t hash_types = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP |
                               RTE_ETH_RSS_SCTP;  ///< as dev_info has them
    std::uint8_t key_bytes = 40;
    std::uint16_t table_entries = 128;  ///< 0: none that can be written
    enum class Key {
        taken,
        taken_running,  ///< only by rss_hash_update(), after the start
        kept,           ///< it answers "done", and keeps its own
        unreadable
    } key = Key::taken;
    enum class Table {
        taken,
        kept,  ///< it answers "done", and keeps its own
        refused,
        unreadable
    } table = Table::taken;
    /// Types that it drops from what it was told, without an error.
    std::uint64_t types_dropped = 0;
    bool hashes_tagged = true;  ///< frames with a VLAN tag, too
    /// The hash that packets carry: that of the queue, none, or another one.
    enum class Reported {
        right,
        none,
        wrong
    } reported = Reported::right;

    enum class Strip {
        never,
        always  ///< although it was not told to
    } strip = Strip::never;
    std::uint64_t rx_offloads =
        RTE_ETH_RX_OFFLOAD_CHECKSUM | RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
    std::uint64_t tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    std::uint16_t descriptors = 1024;  ///< of a queue, at most
    std::uint32_t buffer_unit = 1;     ///< the part of a buffer that it uses is a multiple of it
    std::uint32_t piece = 0;           ///< it puts at most so many bytes into a buffer; 0: all
    bool chains = false;               ///< without being told to
    std::uint16_t min_mtu = 68, max_mtu = 9600;
    bool promiscuous = true;
    bool information_after_removal = true;
    int node = SOCKET_ID_ANY;
};

/// The card's findings about a packet's checksums, as the mbuf flags name them.
enum class Finding : std::uint8_t {
    unknown,
    good,
    bad,
    none  ///< the packet's bytes are right, its field is not filled in
};
struct Findings {
    Finding ip = Finding::unknown, transport = Finding::unknown;
};

struct Sent {
    Frame frame;
    unsigned queue = 0;
    bool torn = false;  ///< its buffers were a chain, and the card was not told to expect one
};

class Nic {
  public:
    /// A card in the slot `address`, which DPDK's start has found.
    Nic(std::string address, Abilities abilities);
    ~Nic();
    Nic(const Nic&) = delete;
    Nic& operator=(const Nic&) = delete;

    // ---- its wire ----

    /// Lets a frame arrive. False if the card lost it, which its counters tell.
    bool arrive(const Frame& frame, Findings findings = {});
    /// Where the last frame went; its hash, 0 if the card computed none.
    unsigned last_queue() const { return last_queue_; }
    std::uint32_t last_hash() const { return last_hash_; }
    /// The frames that left since the last call. None while the link is down: they wait.
    std::vector<Sent> sent();

    // ---- what happens to it ----

    void set_link(bool up) { link_ = up; }
    /// Takes it out of its slot. DPDK reports that: by an event of the card's driver, or because
    /// the kernel asks for the device (vfio).
    enum class Report {
        by_driver,
        by_bus
    };
    void pull_out(Report report = Report::by_driver);
    void put_back() { present_ = true; }
    /// Its counters begin at 0 again.
    void reset_counters() { counters_ = {}; }

    // ---- what it was told ----

    std::uint64_t types() const { return types_; }
    std::span<const std::uint8_t> key() const { return key_; }
    const std::vector<std::uint16_t>& table() const { return table_; }
    const rte_eth_conf& conf() const { return conf_; }
    std::uint16_t mtu() const { return mtu_; }
    bool exists() const { return port_ >= 0; }
    /// Frames that it put into more than one buffer.
    unsigned chained() const { return chained_; }

    Abilities can;  ///< may be changed before the firewall opens it

  private:
    friend struct Calls;
    struct RxQueue {
        rte_ring* ring = nullptr;
        rte_mempool* pool = nullptr;
        std::uint16_t descriptors = 0;
    };

    void make_port();
    void unmake_port();
    /// Those of its rings, as drivers do when they stop.
    void free_packets();
    bool strips() const;
    /// Queue of a frame; sets last_hash_.
    unsigned place(const Frame& frame);
    /// The frame in buffers of the queue's pool; null: none are left.
    static rte_mbuf* buffers(const RxQueue& queue, const Frame& frame, std::uint32_t room);

    std::string address_;
    std::string vdev_;
    rte_device* device_ = nullptr;
    int port_ = -1;  ///< of ethdev; -1: closed, or none
    bool present_ = true, started_ = false, link_ = true, promiscuous_ = false;
    std::vector<RxQueue> rx_;
    std::vector<rte_ring*> tx_;
    unsigned rx_used_ = 0;
    std::vector<std::uint8_t> key_;
    std::uint64_t types_ = 0;
    std::vector<std::uint16_t> table_;
    rte_eth_conf conf_{};
    std::uint16_t mtu_ = 1500;
    rte_eth_stats counters_{};
    unsigned last_queue_ = 0, chained_ = 0;
    std::uint32_t last_hash_ = 0;
    rte_eth_dev_cb_fn removed_ = nullptr;
    void* removed_for_ = nullptr;
};

}  // namespace postern::nic
