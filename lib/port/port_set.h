// SPDX-License-Identifier: BSD-3-Clause
// PortSet: the ethdevs of the configuration, and the workers' access to them.
//
// Worker w receives packets from queue w of each port that has one. It sends on its own transmit
// queue if the device has enough; else on a ring to the worker that owns the queue, so that no
// queue ever has two senders and none needs a lock.
//
// A port has flags that control sets and clears: usable for receiving, and for sending. While
// they are cleared, control may detach the device and attach it again under running workers
// (detach(), attach()). A worker checks them once a burst, and control waits until all workers
// have reported since.
//
// Life-cycle: opened by control after the EAL, started, passed to workers by reference; stopped and
// closed by control after they have ended. Control may query and change it; workers only receive
// and send.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/counter.h"
#include "base/drop_reason.h"
#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"
#include "metrics/metric.h"
#include "net/rss.h"
#include "port/control_gate.h"

struct rte_device;
struct rte_mbuf;
struct rte_mempool;
struct rte_rcu_qsbr;
struct rte_ring;

namespace postern {

struct PortConfig {
    std::string name;
    std::string device;  ///< virtual device with arguments, or PCI address
    bool is_pci = false;
    unsigned rx_queues = 0;  ///< 0: one a worker, or as many as the device has
    std::uint16_t mtu = 1500;
    bool checksums = false;  ///< the device shall verify them, if it can
};

struct PortSetConfig {
    std::vector<PortConfig> ports;
    unsigned workers = 1;
    unsigned held = 0;                         ///< packets that workers may hold, all together
    std::vector<std::uint16_t> reta;           ///< worker by the low bits of the symmetric hash
    SymmetricRss rss = SymmetricRss::draw(0);  ///< the symmetric hash
    rte_rcu_qsbr* rcu = nullptr;  ///< where workers report quiescent states, between bursts
};

// X(name, kind, unit, help)
#define POSTERN_PORT_METRICS(X)                                                              \
    X(rx_packets, counter, packets, "frames received by the device")                         \
    X(rx_bytes, counter, bytes, "bytes of those frames")                                     \
    X(rx_missed, counter, packets, "frames lost because the device's receive ring was full") \
    X(rx_no_buffer, counter, packets, "frames lost because no packet buffer was free")       \
    X(rx_errors, counter, packets, "frames received with an error")                          \
    X(tx_packets, counter, packets, "frames sent by the device")                             \
    X(tx_bytes, counter, bytes, "bytes of those frames")                                     \
    X(tx_errors, counter, packets, "frames the device failed to send")                       \
    X(partial_checksum, counter, packets,                                                    \
      "frames with an unfinished checksum, counted on the first of each burst")              \
    X(cut_frames, counter, packets,                                                          \
      "frames longer than the port takes, counted on the first of each burst")

class PortSet {
  public:
    static Result<std::unique_ptr<PortSet>> open(const PortSetConfig& config);
    /// Whether open() can succeed: memory for the packet buffers, and drivers of these names.
    /// Touches no device.
    static Result<void> check(const PortSetConfig& config);
    ~PortSet();
    PortSet(const PortSet&) = delete;
    PortSet& operator=(const PortSet&) = delete;

    /// Whether some device selects queues as the symmetric hash selects workers.
    bool any_rss() const noexcept {
        return std::ranges::any_of(ports_, [](const Port& p) { return p.rss; });
    }
    /// The worker by the low bits of that hash: the configuration's table, repeated sooner if a
    /// device has room for fewer entries.
    const std::vector<std::uint16_t>& reta() const noexcept { return config_.reta; }
    /// Whether those devices hash the ports of SCTP.
    bool sctp_ports() const noexcept {
        return std::ranges::all_of(ports_, [](const Port& p) { return !p.rss || p.rss_sctp; });
    }
    unsigned size() const noexcept { return static_cast<unsigned>(ports_.size()); }

    /// Receives up to `max` packets of port p for worker w; their mbuf->port is p.
    unsigned receive(PortId p, WorkerId w, rte_mbuf** out, unsigned max) noexcept;
    /// Packets freed instead of sent.
    struct Unsent {
        unsigned full = 0;  ///< the queue did not take them
        unsigned down = 0;  ///< the link is down, or the device gone
    };
    /// Sends all, or frees those that the queue does not take.
    Unsent send(PortId p, WorkerId w, rte_mbuf** pkts, unsigned n) noexcept;
    /// Sends packets that workers without a queue of their own at this port left for w. Once a
    /// turn. Returns their number.
    unsigned send_for_others(PortId p, WorkerId w, Unsent& unsent) noexcept;

    /// Whether this port's packets come from this machine's kernel, which may leave checksums and
    /// segmentation to a missing device.
    bool from_kernel(PortId p) const noexcept { return ports_[p.number()].from_kernel; }
    /// Worker w's counts of such packets; it alone writes them.
    struct Seen {
        Counter partial_checksum;  ///< of frames examined
        Counter cut_frame;
    };
    Seen& seen(PortId p, WorkerId w) noexcept { return ports_[p.number()].seen[w.number()]; }

    /// Call it when the workers have ended: from here on nothing uses `rcu`.
    void workers_ended() noexcept { gate_.reset(); }

    // ---- control ----

    /// Detaches the device: workers keep out, packets to it are dropped (`link_down`).
    void detach(PortId p);
    /// Attaches it again, with an empty queue in both directions; its link is up.
    Result<void> attach(PortId p);
    bool attached(PortId p) const noexcept { return ports_[p.number()].attached; }
    /// The link of an attached port. While it is down, packets to it are dropped at once: a driver
    /// that keeps them in its ring would send them late.
    void set_link(PortId p, bool up) noexcept;
    /// The driver's report of the link; nothing if it has none.
    std::optional<bool> link_of_device(PortId p) const;
    /// Whether the driver has reported since that the device was pulled out.
    bool pulled_out(PortId p) const noexcept {
        return ports_[p.number()].pulled_out.load(std::memory_order_relaxed);
    }

    /// Since the start, over all devices of this port.
    struct Stats {
        POSTERN_PLAIN_METRICS(POSTERN_PORT_METRICS)
    };
    Stats stats(PortId p) const;

    struct Info {
        std::string name;
        std::string device;
        std::string driver;
        std::uint16_t ethdev = 0;
        unsigned rx_queues = 0;
        unsigned tx_queues = 0;
        bool rss = false;         ///< it selects queues by the symmetric hash
        std::string rss_without;  ///< protocols that its hash does not place; empty: none
        /// False: a NIC that refuses promiscuous mode, so a bridge gets a part of the frames only.
        bool receives_all = false;
        int node = -1;                 ///< of NUMA; -1: unknown
        bool checksums = false;        ///< the device verifies those of IPv4, TCP and UDP
        std::string mac;               ///< of the device; empty: unknown
        std::uint32_t speed_mbps = 0;  ///< of the link; 0: unknown
        std::string interface;         ///< the network interface below it; empty: none
        bool makes_interface = false;  ///< the driver creates it
    };
    Info info(PortId p) const;

  private:
    static constexpr std::uint8_t kRx = 1, kTx = 2, kUp = 4;

    /// Of one worker, on cache lines of its own.
    struct alignas(64) SeenLine : Seen {};
    /// Of a worker and a port whose driver resets its counters: see Port::forgets.
    struct alignas(64) Own {
        Counter rx_packets, rx_bytes, tx_packets, tx_bytes;
    };

    struct Port {
        // Written by control, read by workers. Release and acquire: with a door open a worker sees
        // everything written while it was closed.
        std::atomic<std::uint8_t> usable{0};  ///< kRx, kTx: for these; kUp: the link is
        std::uint16_t id = 0;
        std::uint16_t rx_queues = 0;
        std::uint16_t tx_queues = 0;
        bool gated = false;    ///< its driver changes it while workers use it: see ControlGate
        bool forgets = false;  ///< its driver's counters restart; `own` are right
        bool from_kernel = false;
        std::vector<SeenLine> seen;  ///< by worker
        std::vector<Own> own;        ///< the same
        /// By owner of a transmit queue: packets of workers without one. Empty if all have one.
        std::vector<rte_ring*> tx_rings;

        // Private to control.
        PortConfig config;
        std::string interface;
        bool rss = false, rss_sctp = false;
        std::string rss_without;
        bool promiscuous = false;
        bool checksums = false;
        bool started = false;
        bool open = false;             ///< there is a device, `id`
        rte_device* device = nullptr;  ///< the same; a removed one might not tell any more
        bool attached = false;
        std::atomic<bool> pulled_out{false};  // DPDK's interrupt thread: w, control: r
        /// Counts of its earlier devices, and of this one before its counters began again; what it
        /// has reported since. Written when they are read.
        mutable Stats before, last;
    };

    explicit PortSet(const PortSetConfig& config)
        : config_(config),
          // NICs are given one buffer a frame. Of long frames some make a chain nevertheless.
          chains_(std::ranges::any_of(config.ports,
                                      [](const auto& p) { return !p.is_pci || p.mtu > 1500; })),
          ports_(config.ports.size()),
          workers_(config.workers) {}
    /// Finds the device.
    Result<void> open_device(PortId p);
    /// Everything up to the first packet, then sets the flags.
    Result<void> start_device(PortId p);
    /// The NUMA node of all devices, or SOCKET_ID_ANY. After open_device() of all.
    int node() const noexcept;
    /// Makes the table suit the device with the fewest entries, and the hash that with the fewest
    /// types. After open_device() of all.
    void fit_rss();
    Result<void> configure(Port& port);
    Result<void> set_mtu(Port& port);
    void close_device(Port& port, bool remove);
    Stats device_stats(const Port& port) const;
    Unsent transmit(Port& port, WorkerId w, std::uint16_t queue, rte_mbuf** pkts,
                    unsigned n) noexcept;

    /// Whether the port is gated, and the gate is closed.
    bool shut(const Port& port) const noexcept { return port.gated && gate_->closed(); }

    PortSetConfig config_;
    std::vector<UniqueFd> claims_;  ///< interfaces that no other Postern may use
    bool chains_;  ///< packets may be chains of buffers, for which sending NICs have to be
                   ///< configured
    std::unique_ptr<ControlGate> gate_;  ///< null if no port needs it
    std::vector<Port> ports_;
    rte_mempool* pool_ = nullptr;
    unsigned workers_ = 1;
};

}  // namespace postern
