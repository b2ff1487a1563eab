// SPDX-License-Identifier: BSD-3-Clause
#include "port/port_set.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>

#include <net/if.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>

#include "port/device_check.h"
#include "port/device_rss.h"
#include "port/eal.h"
#include "port/frames.h"
#include "port/interface.h"
#include "port/vlan_guard.h"

namespace postern {
namespace {

constexpr std::uint16_t kRxDescriptors = 1024, kTxDescriptors = 1024;
constexpr unsigned kCacheSize = 256;
constexpr unsigned kTxRingSize = 1024;
constexpr unsigned kTxRetries = 4;
constexpr unsigned kFrameHead = 64;  ///< before and behind an IP packet, at most

Error about(const PortConfig& port, const std::string& what, int error) {
    return Error{"port \"" + port.name + "\" (" + port.device + "): " + what +
                 (error != 0 ? ": " + std::string(rte_strerror(error < 0 ? -error : error)) : "")};
}

/// Drivers that unmap, in DPDK's interrupt thread, memory that a worker may be reading.
bool needs_gate(const PortConfig& port) {
    return port.device.starts_with("net_memif");
}

/// Drivers whose queues come in pairs. A queue of tap is one file descriptor; for the others, the
/// neighbour has as many as `queues` in both directions, and packets to further ones are lost.
bool has_queue_pairs(const PortConfig& port) {
    constexpr std::string_view kDrivers[] = {"net_tap", "net_memif", "net_vhost",
                                             "net_virtio_user"};
    return std::ranges::any_of(kDrivers,
                               [&](std::string_view d) { return port.device.starts_with(d); });
}

/// Drivers that create the network interface below them.
bool makes_interface(const PortConfig& port) {
    return port.device.starts_with("net_tap") || port.device.starts_with("net_virtio_user");
}

/// Of packet buffers, with what a pool needs beside them.
std::uint64_t megabytes(std::uint64_t packets, std::uint64_t room) {
    return packets * (std::max<std::uint64_t>(room, 2176) + sizeof(rte_mbuf) + 64) / (1 << 20) + 1;
}

void add_to(PortSet::Stats& sum, const PortSet::Stats& s) {
#define X(name, kind, unit, help) sum.name += s.name;
    POSTERN_PORT_METRICS(X)
#undef X
}

/// On DPDK's interrupt thread. `pulled_out`: Port::pulled_out.
void on_removal_request(const char*, rte_dev_event_type event, void* pulled_out) {
    if (event == RTE_DEV_EVENT_REMOVE)
        static_cast<std::atomic<bool>*>(pulled_out)->store(true, std::memory_order_relaxed);
}

/// Whether a device's counters have restarted: some NICs' do, for example after a reset by their
/// firmware. A single count that falls is only imprecise.
bool began_again(const PortSet::Stats& last, const PortSet::Stats& now) {
    return now.rx_packets <= last.rx_packets && now.rx_bytes <= last.rx_bytes &&
           now.tx_packets <= last.tx_packets && now.tx_bytes <= last.tx_bytes &&
           now.rx_packets + now.tx_packets < last.rx_packets + last.tx_packets;
}

/// Full rings on every queue, a cache a worker, and bursts in transit between workers. On that NUMA
/// node if it has memory.
Result<rte_mempool*> make_pool(const PortSetConfig& config, int node) {
    std::uint32_t largest = 1500 + 64;
    std::size_t queues = 0;
    for (const auto& p : config.ports) {
        auto frames = frames_of(p);
        if (!frames) return about(p, frames.error().message, 0);
        largest = std::max(largest, frames->room);
        queues += p.rx_queues != 0 ? p.rx_queues : config.workers;
    }
    const auto packets = static_cast<unsigned>(
        queues * kRxDescriptors + config.ports.size() * config.workers * kTxDescriptors +
        config.workers * (kCacheSize + 4096) + config.held);
    const unsigned room = RTE_PKTMBUF_HEADROOM + largest;
    const auto create = [&](int where) {
        return rte_pktmbuf_pool_create("packets", packets, kCacheSize, 0,
                                       static_cast<std::uint16_t>(std::max(room, 2176u)), where);
    };
    rte_mempool* pool = create(node);
    if (pool == nullptr && node != SOCKET_ID_ANY) pool = create(SOCKET_ID_ANY);
    if (pool == nullptr)
        return Error{"no memory for " + std::to_string(packets) + " packet buffers of " +
                     std::to_string(room) + " bytes (" + std::to_string(megabytes(packets, room)) +
                     " MiB; DPDK has " + std::to_string(free_memory_mb()) +
                     " left, in pieces): raise eal.memory_mb, or lower workers.count, "
                     "ports[].queues, ports[].mtu or limits.fragments"};
    return pool;
}

}  // namespace

Result<void> PortSet::check(const PortSetConfig& config) {
    if (auto r = check_device_names(config.ports); !r) return r;
    auto pool = make_pool(config, SOCKET_ID_ANY);
    if (!pool) return pool.error();
    rte_mempool_free(*pool);
    return {};
}

Result<std::unique_ptr<PortSet>> PortSet::open(const PortSetConfig& config) {
    if (auto r = check_device_names(config.ports); !r) return r.error();
    std::unique_ptr<PortSet> set(new PortSet(config));
    auto claims = claim_interfaces(config.ports);
    if (!claims) return claims.error();
    set->claims_ = std::move(*claims);
    if (std::any_of(config.ports.begin(), config.ports.end(), needs_gate)) {
        auto gate = ControlGate::create(config.rcu);
        if (!gate) return gate.error();
        set->gate_ = std::move(gate).value();
    }
    for (std::size_t p = 0; p < config.ports.size(); ++p) {
        Port& port = set->ports_[p];
        port.config = config.ports[p];
        port.gated = port.forgets = needs_gate(port.config);
        port.from_kernel = fed_by_kernel(port.config);
        port.seen = std::vector<SeenLine>(config.workers);
        port.own = std::vector<Own>(config.workers);
        if (auto r = set->open_device(PortId::from(p)); !r) return r.error();
    }
    auto pool = make_pool(config, set->node());
    if (!pool) return pool.error();
    set->pool_ = *pool;
    set->fit_rss();
    for (std::size_t p = 0; p < config.ports.size(); ++p)
        if (auto r = set->start_device(PortId::from(p)); !r) return r.error();
    return set;
}

int PortSet::node() const noexcept {
    if (ports_.empty()) return SOCKET_ID_ANY;
    const int first = rte_eth_dev_socket_id(ports_.front().id);
    const bool same = std::ranges::all_of(
        ports_, [first](const Port& p) { return rte_eth_dev_socket_id(p.id) == first; });
    return same ? first : SOCKET_ID_ANY;
}

void PortSet::fit_rss() {
    unsigned entries = static_cast<unsigned>(config_.reta.size());
    for (const Port& port : ports_) {
        rte_eth_dev_info dev{};
        if (rte_eth_dev_info_get(port.id, &dev) != 0) continue;
        const unsigned has = DeviceRss::table_entries(dev);
        if (has == 0) continue;
        // Both directions of a connection have to be hashed by the same.
        if (!DeviceRss::can_hash_sctp(dev)) config_.rss.sctp_ports = false;
        // With fewer, some workers would have no connections.
        if (has >= workers_ && has < entries) entries = has;
    }
    for (std::size_t i = entries; i < config_.reta.size(); ++i)
        config_.reta[i] = config_.reta[i % entries];
}

Result<void> PortSet::attach(PortId p) {
    auto r = open_device(p);
    if (r) r = start_device(p);
    if (!r) close_device(ports_[p.number()], true);
    return r;
}

Result<void> PortSet::start_device(PortId p) {
    Port& port = ports_[p.number()];
    if (auto r = configure(port); !r) return r;
    port.attached = true;
    port.usable.store(kRx | kTx | kUp, std::memory_order_release);
    return {};
}

void PortSet::detach(PortId p) {
    Port& port = ports_[p.number()];
    if (!port.attached) return;
    port.usable.store(0, std::memory_order_release);
    // A worker that has reported since sees the flags cleared; one that has not may still be
    // inside.
    if (config_.rcu != nullptr) rte_rcu_qsbr_synchronize(config_.rcu, RTE_QSBR_THRID_INVALID);
    port.before = device_stats(port);
    port.last = {};
    close_device(port, true);
    port.attached = false;
}

void PortSet::set_link(PortId p, bool up) noexcept {
    Port& port = ports_[p.number()];
    if (!port.attached) return;
    // Packets in the receive queue are still valid. Other drivers keep nothing for a disconnected
    // neighbour, and detect its return sooner.
    const bool keeps = port.config.is_pci || !port.interface.empty();
    const std::uint8_t tx = up || !keeps ? kTx : 0;
    port.usable.store(static_cast<std::uint8_t>(kRx | tx | (up ? kUp : 0)),
                      std::memory_order_release);
}

std::optional<bool> PortSet::link_of_device(PortId p) const {
    rte_eth_link link{};
    if (!ports_[p.number()].attached || rte_eth_link_get_nowait(ports_[p.number()].id, &link) != 0)
        return std::nullopt;
    return link.link_status == RTE_ETH_LINK_UP;
}

Result<void> PortSet::open_device(PortId p) {
    Port& port = ports_[p.number()];
    const PortConfig& config = port.config;
    port.pulled_out.store(false, std::memory_order_relaxed);
    auto frames = frames_of(config);
    if (!frames) return about(config, frames.error().message, 0);
    const std::string name = config.device.substr(0, config.device.find(','));
    std::string full = name;
    if (config.is_pci && std::count(name.begin(), name.end(), ':') == 1) full = "0000:" + name;
    // DPDK's start has found the PCI devices that are there.
    if (!config.is_pci || rte_eth_dev_get_port_by_name(full.c_str(), &port.id) != 0)
        if (const int r = rte_dev_probe(frames->device.c_str()); r != 0)
            return about(config, "no such device, or it could not be opened", r);
    if (const int r = rte_eth_dev_get_port_by_name(full.c_str(), &port.id); r != 0)
        return about(config, "no such device, or no driver for it", r);
    port.open = true;
    if (rte_eth_dev_info dev{}; rte_eth_dev_info_get(port.id, &dev) == 0) port.device = dev.device;
    if (config.device.starts_with("net_af_packet"))
        if (auto r = refuse_foreign_tags(interface_argument(config)); !r)
            return about(config, "cannot refuse foreign VLAN tags: " + r.error().message, 0);
    return {};
}

Result<void> PortSet::configure(Port& port) {
    const PortConfig& config = port.config;
    rte_eth_dev_info dev{};
    if (const int r = rte_eth_dev_info_get(port.id, &dev); r != 0)
        return about(config, "cannot be asked what it can do", r);
    if (config.is_pci && (config.mtu > dev.max_mtu || config.mtu < dev.min_mtu))
        return about(config,
                     "takes an MTU of " + std::to_string(dev.min_mtu) + " to " +
                         std::to_string(dev.max_mtu) + ", not of " + std::to_string(config.mtu) +
                         " (ports[].mtu)",
                     0);
    const unsigned wanted = config.rx_queues != 0 ? config.rx_queues : workers_;
    const auto rx_queues =
        static_cast<std::uint16_t>(std::min<unsigned>({wanted, dev.max_rx_queues, workers_}));
    auto tx_queues = static_cast<std::uint16_t>(std::min<unsigned>(dev.max_tx_queues, workers_));
    if (has_queue_pairs(config)) tx_queues = std::min(tx_queues, rx_queues);
    // By these, workers know which queues they may use.
    if (port.rx_queues != 0 && (rx_queues != port.rx_queues || tx_queues != port.tx_queues))
        return about(config, "it comes back with another number of queues", 0);
    port.rx_queues = rx_queues;
    port.tx_queues = tx_queues;
    char interface[IF_NAMESIZE];
    port.interface =
        dev.if_index != 0 && if_indextoname(dev.if_index, interface) != nullptr ? interface : interface_argument(config);
    if (port.rx_queues < config.rx_queues)
        return about(config,
                     "has " + std::to_string(dev.max_rx_queues) + " receive queues, not " +
                         std::to_string(config.rx_queues),
                     0);

    rte_eth_conf conf{};
    DeviceRss rss(dev, port.rx_queues, config_.rss);
    rss.request(conf);
    // Some NICs take no more than 1,460, so DPDK's default of 1,500 would be refused.
    if (config.is_pci) conf.rxmode.mtu = config.mtu;
    // All or nothing: for virtio, which has only the transport's, requesting it means that packets
    // with unfinished checksums are accepted.
    constexpr std::uint64_t kAll = RTE_ETH_RX_OFFLOAD_CHECKSUM;
    if (config.checksums && (dev.rx_offload_capa & kAll) == kAll) {
        conf.rxmode.offloads = kAll | (dev.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCTP_CKSUM);
    }
    port.checksums = conf.rxmode.offloads != 0;
    const unsigned buffer = rte_pktmbuf_data_room_size(pool_) - RTE_PKTMBUF_HEADROOM;
    if (config.mtu + kFrameHead > buffer)
        conf.rxmode.offloads |= dev.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
    if (chains_) conf.txmode.offloads |= dev.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    if (const int r = rte_eth_dev_configure(port.id, port.rx_queues, port.tx_queues, &conf); r != 0)
        return about(config, "does not take the configuration", r);
    if (config.mtu != 1500)
        if (auto r = set_mtu(port); !r) return r;
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

    if (port.tx_queues < workers_ && port.tx_rings.empty()) {
        for (std::uint16_t q = 0; q < port.tx_queues; ++q) {
            const std::string ring =
                "tx_" + std::to_string(&port - ports_.data()) + "_" + std::to_string(q);
            port.tx_rings.push_back(
                rte_ring_create(ring.c_str(), kTxRingSize, SOCKET_ID_ANY, RING_F_SC_DEQ));
            if (port.tx_rings.back() == nullptr)
                return about(config, "no memory for its transmit ring", rte_errno);
        }
    }
    if (const int r = rte_eth_dev_start(port.id); r != 0) return about(config, "does not start", r);
    port.started = true;
    // A bridge must receive every frame. Devices that always do so refuse the request.
    rte_eth_promiscuous_enable(port.id);
    port.promiscuous = rte_eth_promiscuous_get(port.id) == 1;
    port.rss = rss.program(port.id, config_.reta);
    port.rss_sctp = rss.hashes_sctp();
    port.rss_without = port.rss ? rss.without() : std::string();
    rte_eth_dev_callback_register(
        port.id, RTE_ETH_EVENT_INTR_RMV,
        [](std::uint16_t, rte_eth_event_type, void* of, void*) {
            static_cast<Port*>(of)->pulled_out.store(true, std::memory_order_relaxed);
            return 0;
        },
        &port);
    // Few drivers have that event. But for a device under vfio the kernel, which waits until nobody
    // uses it any more, asks through DPDK's bus.
    if (config.is_pci && port.device != nullptr)
        rte_dev_event_callback_register(rte_dev_name(port.device), on_removal_request,
                                        &port.pulled_out);
    return {};
}

Result<void> PortSet::set_mtu(Port& port) {
    const PortConfig& config = port.config;
    const int r = rte_eth_dev_set_mtu(port.id, config.mtu);
    if (r == 0) return {};
    if (auto frames = frames_of(config); !frames || !frames->takes_any)
        return about(config,
                     "does not take an MTU of " + std::to_string(config.mtu) +
                         " (docs/operation.md says what each device takes)",
                     r);
    if (port.interface.empty()) return {};
    // The kernel sends nothing longer than its own MTU.
    auto interfaces = Interfaces::open();
    if (!interfaces) return interfaces.error();
    if (interfaces->state(port.interface).mtu < config.mtu)
        if (const int e = interfaces->set_mtu(port.interface, config.mtu); e != 0)
            return about(config,
                         "interface " + port.interface + " does not take an MTU of " +
                             std::to_string(config.mtu),
                         e);
    return {};
}

void PortSet::close_device(Port& port, bool remove) {
    if (!port.open) return;
    if (rte_eth_dev_is_valid_port(port.id)) {
        if (port.started) rte_eth_dev_stop(port.id);
        rte_eth_dev_close(port.id);
        if (port.device != nullptr) {
            rte_dev_event_callback_unregister(rte_dev_name(port.device), on_removal_request,
                                              &port.pulled_out);
            if (remove) rte_dev_remove(port.device);
        }
    }
    port.device = nullptr;
    port.started = port.open = false;
}

PortSet::~PortSet() {
    gate_.reset();
    for (auto& p : ports_) {
        close_device(p, !p.config.is_pci);
        for (rte_ring* r : p.tx_rings)
            rte_ring_free(r);
    }
    rte_mempool_free(pool_);
}

unsigned PortSet::receive(PortId p, WorkerId w, rte_mbuf** out, unsigned max) noexcept {
    Port& port = ports_[p.number()];
    if ((port.usable.load(std::memory_order_acquire) & kRx) == 0 || w.number() >= port.rx_queues ||
        shut(port))
        return 0;
    const unsigned n = rte_eth_rx_burst(port.id, w.number(), out, static_cast<std::uint16_t>(max));
    if (port.id != p.number())
        for (unsigned i = 0; i < n; ++i)
            out[i]->port = p.number();
    if (port.forgets && n != 0) {
        std::uint64_t bytes = 0;
        for (unsigned i = 0; i < n; ++i)
            bytes += rte_pktmbuf_pkt_len(out[i]);
        port.own[w.number()].rx_packets.add(n);
        port.own[w.number()].rx_bytes.add(bytes);
    }
    return n;
}

PortSet::Unsent PortSet::transmit(Port& port, WorkerId w, std::uint16_t queue, rte_mbuf** pkts,
                                  unsigned n) noexcept {
    const std::uint8_t usable = port.usable.load(std::memory_order_acquire);
    unsigned sent = 0;
    if ((usable & kTx) != 0) {
        std::uint32_t lengths[kMaxBurst];
        const bool count = port.forgets && n <= kMaxBurst;
        for (unsigned i = 0; count && i < n; ++i)
            lengths[i] = rte_pktmbuf_pkt_len(pkts[i]);
        for (unsigned attempt = 0; sent < n && attempt < kTxRetries && !shut(port); ++attempt)
            sent +=
                rte_eth_tx_burst(port.id, queue, pkts + sent, static_cast<std::uint16_t>(n - sent));
        if (count && sent != 0) {
            std::uint64_t bytes = 0;
            for (unsigned i = 0; i < sent; ++i)
                bytes += lengths[i];
            port.own[w.number()].tx_packets.add(sent);
            port.own[w.number()].tx_bytes.add(bytes);
        }
    }
    if (sent == n) return {};
    rte_pktmbuf_free_bulk(pkts + sent, n - sent);
    return (usable & kUp) != 0 ? Unsent{n - sent, 0} : Unsent{0, n - sent};
}

PortSet::Unsent PortSet::send(PortId p, WorkerId w, rte_mbuf** pkts, unsigned n) noexcept {
    Port& port = ports_[p.number()];
    if (w.number() < port.tx_queues) return transmit(port, w, w.number(), pkts, n);
    rte_ring* ring = port.tx_rings[w.number() % port.tx_queues];
    const unsigned queued =
        rte_ring_mp_enqueue_burst(ring, reinterpret_cast<void**>(pkts), n, nullptr);
    if (queued < n) rte_pktmbuf_free_bulk(pkts + queued, n - queued);
    return {n - queued, 0};
}

unsigned PortSet::send_for_others(PortId p, WorkerId w, Unsent& unsent) noexcept {
    Port& port = ports_[p.number()];
    if (w.number() >= port.tx_rings.size()) return 0;
    rte_mbuf* pkts[kMaxBurst];
    const unsigned n = rte_ring_sc_dequeue_burst(
        port.tx_rings[w.number()], reinterpret_cast<void**>(pkts), kMaxBurst, nullptr);
    if (n != 0) unsent = transmit(port, w, w.number(), pkts, n);
    return n;
}

PortSet::Stats PortSet::device_stats(const Port& port) const {
    rte_eth_stats d{};
    // A device that was pulled out does not answer; what it has reported remains.
    if (rte_eth_dev_is_valid_port(port.id) && rte_eth_stats_get(port.id, &d) == 0) {
        Stats now;
        now.rx_missed = d.imissed;
        now.rx_no_buffer = d.rx_nombuf;
        now.rx_errors = d.ierrors;
        now.tx_errors = d.oerrors;
        if (!port.forgets) {
            now.rx_packets = d.ipackets;
            now.rx_bytes = d.ibytes;
            now.tx_packets = d.opackets;
            now.tx_bytes = d.obytes;
        }
        if (began_again(port.last, now)) add_to(port.before, port.last);
        port.last = now;
    }
    Stats sum = port.before;
    add_to(sum, port.last);
    return sum;
}

PortSet::Stats PortSet::stats(PortId p) const {
    const Port& port = ports_[p.number()];
    Stats s = port.attached ? device_stats(port) : port.before;
    for (unsigned w = 0; w < workers_; ++w) {
        s.partial_checksum += port.seen[w].partial_checksum.get();
        s.cut_frames += port.seen[w].cut_frame.get();
        s.rx_packets += port.own[w].rx_packets.get();
        s.rx_bytes += port.own[w].rx_bytes.get();
        s.tx_packets += port.own[w].tx_packets.get();
        s.tx_bytes += port.own[w].tx_bytes.get();
    }
    return s;
}

PortSet::Info PortSet::info(PortId p) const {
    const Port& port = ports_[p.number()];
    rte_eth_dev_info dev{};
    if (port.attached) rte_eth_dev_info_get(port.id, &dev);
    Info i;
    i.name = port.config.name;
    i.device = port.config.device;
    i.driver = dev.driver_name != nullptr ? dev.driver_name : "-";
    i.ethdev = port.id;
    i.rx_queues = port.rx_queues;
    i.tx_queues = port.tx_queues;
    i.rss = port.rss;
    i.rss_without = port.rss_without;
    i.receives_all = port.promiscuous || !port.config.is_pci;
    i.node = port.attached ? rte_eth_dev_socket_id(port.id) : -1;
    i.checksums = port.checksums;
    rte_ether_addr mac{};
    if (port.attached && rte_eth_macaddr_get(port.id, &mac) == 0) {
        char text[RTE_ETHER_ADDR_FMT_SIZE];
        rte_ether_format_addr(text, sizeof text, &mac);
        i.mac = text;
    }
    rte_eth_link link{};
    if (port.attached && rte_eth_link_get_nowait(port.id, &link) == 0 &&
        link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN)
        i.speed_mbps = link.link_speed;
    i.interface = port.interface;
    i.makes_interface = makes_interface(port.config);
    return i;
}

}  // namespace postern
