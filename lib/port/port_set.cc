// SPDX-License-Identifier: BSD-3-Clause
#include "port/port_set.h"

#include <algorithm>
#include <memory>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "net/rss.h"

namespace postern {
namespace {

constexpr std::uint16_t kRxDescriptors = 1024, kTxDescriptors = 1024;
constexpr unsigned kCacheSize = 256;
constexpr unsigned kTxRingSize = 1024;
constexpr unsigned kTxRetries = 4;
constexpr std::uint64_t kRssTypes =
    RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP;

Error about(const PortConfig& port, const std::string& what, int error) {
    return Error{"port \"" + port.name + "\" (" + port.device + "): " + what +
                 (error != 0 ? ": " + std::string(rte_strerror(error < 0 ? -error : error)) : "")};
}

/// Whose driver unmaps, in DPDK's interrupt thread, what a worker may be reading.
bool needs_gate(const PortConfig& port) {
    return port.device.starts_with("net_memif");
}

bool program_reta(std::uint16_t id, unsigned size, unsigned queues,
                  const std::vector<std::uint16_t>& reta) {
    if (size == 0) return false;
    std::vector<rte_eth_rss_reta_entry64> table((size + 63) / 64);
    for (unsigned i = 0; i < size; ++i) {
        table[i / 64].mask |= std::uint64_t{1} << (i % 64);
        table[i / 64].reta[i % 64] = static_cast<std::uint16_t>(reta[i % reta.size()] % queues);
    }
    return rte_eth_dev_rss_reta_update(id, table.data(), static_cast<std::uint16_t>(size)) == 0;
}

}  // namespace

Result<std::unique_ptr<PortSet>> PortSet::open(const PortSetConfig& config) {
    std::unique_ptr<PortSet> set(new PortSet);
    set->workers_ = config.workers;
    std::uint32_t largest_mtu = 1500;
    std::size_t queues = 0;
    for (const auto& p : config.ports) {
        largest_mtu = std::max<std::uint32_t>(largest_mtu, p.mtu);
        queues += p.rx_queues != 0 ? p.rx_queues : config.workers;
    }
    // Full rings on every queue, a cache a worker, and bursts on their way between workers.
    const auto packets = static_cast<unsigned>(
        queues * kRxDescriptors + config.ports.size() * config.workers * kTxDescriptors +
        config.workers * (kCacheSize + 4096) + config.held);
    const unsigned room = RTE_PKTMBUF_HEADROOM + largest_mtu + 64;
    set->pool_ =
        rte_pktmbuf_pool_create("packets", packets, kCacheSize, 0,
                                static_cast<std::uint16_t>(std::max(room, 2176u)), SOCKET_ID_ANY);
    if (set->pool_ == nullptr)
        return Error{"no memory for " + std::to_string(packets) + " packet buffers of " +
                     std::to_string(room) + " bytes: raise eal.memory_mb"};
    if (std::any_of(config.ports.begin(), config.ports.end(), needs_gate)) {
        auto gate = ControlGate::create(config.rcu);
        if (!gate) return gate.error();
        set->gate_ = std::move(gate).value();
    }
    for (const auto& p : config.ports) {
        if (auto r = set->open_port(p, config); !r) return r.error();
    }
    return set;
}

Result<void> PortSet::open_port(const PortConfig& config, const PortSetConfig& all) {
    Port port;
    port.name = config.name;
    port.gated = needs_gate(config);
    if (!config.is_pci) {
        if (const int r = rte_dev_probe(config.device.c_str()); r != 0)
            return about(config, "no such device, or it could not be opened", r);
        port.created = true;
    }
    const std::string name = config.device.substr(0, config.device.find(','));
    std::string full = name;
    if (config.is_pci && std::count(name.begin(), name.end(), ':') == 1) full = "0000:" + name;
    if (const int r = rte_eth_dev_get_port_by_name(full.c_str(), &port.id); r != 0)
        return about(config, "no such device, or no driver for it", r);

    rte_eth_dev_info dev{};
    if (const int r = rte_eth_dev_info_get(port.id, &dev); r != 0)
        return about(config, "cannot be asked what it can do", r);
    const unsigned wanted = config.rx_queues != 0 ? config.rx_queues : all.workers;
    port.rx_queues =
        static_cast<std::uint16_t>(std::min<unsigned>({wanted, dev.max_rx_queues, all.workers}));
    port.tx_queues = static_cast<std::uint16_t>(std::min<unsigned>(dev.max_tx_queues, all.workers));
    if (port.rx_queues < config.rx_queues)
        return about(config,
                     "has " + std::to_string(dev.max_rx_queues) + " receive queues, not " +
                         std::to_string(config.rx_queues),
                     0);

    rte_eth_conf conf{};
    auto key = kSymmetricRssKey;
    const std::uint64_t types = dev.flow_type_rss_offloads & kRssTypes;
    if (port.rx_queues > 1 && types != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = types;
        if (dev.hash_key_size != 0 && dev.hash_key_size <= key.size()) {
            conf.rx_adv_conf.rss_conf.rss_key = key.data();
            conf.rx_adv_conf.rss_conf.rss_key_len = dev.hash_key_size;
        }
    }
    // All or nothing: to virtio, which has only the transport's, asking for it means that packets
    // whose checksum was never filled in are welcome.
    constexpr std::uint64_t kAll = RTE_ETH_RX_OFFLOAD_CHECKSUM;
    if (config.checksums && (dev.rx_offload_capa & kAll) == kAll) {
        conf.rxmode.offloads = kAll | (dev.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCTP_CKSUM);
        port.checksums = true;
    }
    if (const int r = rte_eth_dev_configure(port.id, port.rx_queues, port.tx_queues, &conf); r != 0)
        return about(config, "does not take the configuration", r);
    // Many virtual devices cannot change it, and need not.
    if (config.mtu != 1500) {
        if (const int r = rte_eth_dev_set_mtu(port.id, config.mtu); r != 0)
            return about(config, "does not take an MTU of " + std::to_string(config.mtu), r);
    }
    std::uint16_t rxd = kRxDescriptors, txd = kTxDescriptors;
    if (const int r = rte_eth_dev_adjust_nb_rx_tx_desc(port.id, &rxd, &txd); r != 0)
        return about(config, "has no queue size that would do", r);
    const int node = rte_eth_dev_socket_id(port.id);
    for (std::uint16_t q = 0; q < port.rx_queues; ++q)
        if (const int r = rte_eth_rx_queue_setup(port.id, q, rxd, static_cast<unsigned>(node),
                                                 nullptr, pool_);
            r != 0)
            return about(config, "receive queue " + std::to_string(q), r);
    for (std::uint16_t q = 0; q < port.tx_queues; ++q)
        if (const int r =
                rte_eth_tx_queue_setup(port.id, q, txd, static_cast<unsigned>(node), nullptr);
            r != 0)
            return about(config, "transmit queue " + std::to_string(q), r);

    if (port.tx_queues < all.workers) {
        for (std::uint16_t q = 0; q < port.tx_queues; ++q) {
            const std::string ring =
                "tx_" + std::to_string(ports_.size()) + "_" + std::to_string(q);
            port.tx_rings.push_back(
                rte_ring_create(ring.c_str(), kTxRingSize, SOCKET_ID_ANY, RING_F_SC_DEQ));
            if (port.tx_rings.back() == nullptr)
                return about(config, "no memory for its transmit ring", rte_errno);
        }
    }
    if (const int r = rte_eth_dev_start(port.id); r != 0) return about(config, "does not start", r);
    port.started = true;
    // A bridge must see everything. Devices that always do so refuse the question.
    rte_eth_promiscuous_enable(port.id);
    if (port.rx_queues > 1 && types != 0)
        port.rss = program_reta(port.id, dev.reta_size, port.rx_queues, all.reta);
    ports_.push_back(std::move(port));
    return {};
}

PortSet::~PortSet() {
    gate_.reset();
    for (auto& p : ports_) {
        if (p.started) rte_eth_dev_stop(p.id);
        rte_device* device = nullptr;
        rte_eth_dev_info info{};
        if (p.created && rte_eth_dev_info_get(p.id, &info) == 0) device = info.device;
        rte_eth_dev_close(p.id);
        if (device != nullptr) rte_dev_remove(device);
        for (rte_ring* r : p.tx_rings)
            rte_ring_free(r);
    }
    rte_mempool_free(pool_);
}

unsigned PortSet::receive(PortIndex p, WorkerId w, rte_mbuf** out, unsigned max) noexcept {
    const Port& port = ports_[p];
    if (w >= port.rx_queues || shut(port)) return 0;
    const unsigned n = rte_eth_rx_burst(port.id, w, out, static_cast<std::uint16_t>(max));
    if (port.id != p)
        for (unsigned i = 0; i < n; ++i)
            out[i]->port = p;
    return n;
}

unsigned PortSet::transmit(const Port& port, std::uint16_t queue, rte_mbuf** pkts,
                           unsigned n) noexcept {
    unsigned sent = 0;
    for (unsigned attempt = 0; sent < n && attempt < kTxRetries && !shut(port); ++attempt)
        sent += rte_eth_tx_burst(port.id, queue, pkts + sent, static_cast<std::uint16_t>(n - sent));
    if (sent < n) rte_pktmbuf_free_bulk(pkts + sent, n - sent);
    return n - sent;
}

unsigned PortSet::send(PortIndex p, WorkerId w, rte_mbuf** pkts, unsigned n) noexcept {
    const Port& port = ports_[p];
    if (w < port.tx_queues) return transmit(port, w, pkts, n);
    rte_ring* ring = port.tx_rings[w % port.tx_queues];
    const unsigned queued =
        rte_ring_mp_enqueue_burst(ring, reinterpret_cast<void**>(pkts), n, nullptr);
    if (queued < n) rte_pktmbuf_free_bulk(pkts + queued, n - queued);
    return n - queued;
}

unsigned PortSet::send_for_others(WorkerId w, unsigned& freed) noexcept {
    unsigned found = 0;
    for (const Port& port : ports_) {
        if (w >= port.tx_rings.size()) continue;
        rte_mbuf* pkts[kMaxBurst];
        const unsigned n = rte_ring_sc_dequeue_burst(
            port.tx_rings[w], reinterpret_cast<void**>(pkts), kMaxBurst, nullptr);
        if (n == 0) continue;
        found += n;
        freed += transmit(port, w, pkts, n);
    }
    return found;
}

PortSet::Info PortSet::info(PortIndex p) const {
    const Port& port = ports_[p];
    rte_eth_dev_info dev{};
    rte_eth_dev_info_get(port.id, &dev);
    return {port.name,      dev.driver_name != nullptr ? dev.driver_name : "?",
            port.id,        port.rx_queues,
            port.tx_queues, port.rss,
            port.checksums};
}

}  // namespace postern
