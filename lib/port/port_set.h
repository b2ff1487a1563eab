// SPDX-License-Identifier: BSD-3-Clause
// PortSet: the ethdevs of the configuration, and how workers reach them.
//
// Worker w takes packets from queue w of each port that has one. It sends on its own transmit queue
// where the device has enough; else on a ring to the worker that owns the queue, so that no queue
// ever has two senders and none needs a lock.
//
// Life-cycle: opened by control after the EAL, started, handed to workers by reference; stopped and
// closed by control after they have ended.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/counter.h"
#include "base/result.h"
#include "base/types.h"
#include "port/control_gate.h"

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
    bool checksums = false;  ///< the device is to check them, if it can
};

struct PortSetConfig {
    std::vector<PortConfig> ports;
    unsigned workers = 1;
    unsigned held = 0;                ///< packets that workers may keep for later, all together
    std::vector<std::uint16_t> reta;  ///< worker by the low bits of the symmetric hash
    rte_rcu_qsbr* rcu = nullptr;      ///< where workers report, between bursts
};

class PortSet {
  public:
    static Result<std::unique_ptr<PortSet>> open(const PortSetConfig& config);
    ~PortSet();
    PortSet(const PortSet&) = delete;
    PortSet& operator=(const PortSet&) = delete;

    unsigned size() const noexcept { return static_cast<unsigned>(ports_.size()); }

    /// Up to `max` packets of port p for worker w; their mbuf->port is p.
    unsigned receive(PortIndex p, WorkerId w, rte_mbuf** out, unsigned max) noexcept;
    /// Sends all, or frees what the queue does not take; returns how many were freed.
    unsigned send(PortIndex p, WorkerId w, rte_mbuf** pkts, unsigned n) noexcept;
    /// Sends what workers without a queue of their own left for w. Once a turn. Returns how many
    /// packets it found.
    unsigned send_for_others(WorkerId w, unsigned& freed) noexcept;

    /// To be called when the workers have ended: from here on nothing uses `rcu`.
    void workers_ended() noexcept { gate_.reset(); }

    struct Info {
        std::string name;
        std::string driver;
        std::uint16_t ethdev = 0;
        unsigned rx_queues = 0;
        unsigned tx_queues = 0;
        bool rss = false;
        bool checksums = false;  ///< the device checks those of IPv4, TCP and UDP
    };
    Info info(PortIndex p) const;

  private:
    struct Port {
        std::string name;
        std::uint16_t id = 0;
        std::uint16_t rx_queues = 0;
        std::uint16_t tx_queues = 0;
        bool rss = false;
        bool checksums = false;
        bool started = false;
        bool created = false;  ///< a virtual device that we made
        bool gated = false;    ///< its driver changes it while workers use it: see ControlGate
        /// By owner of a transmit queue: from workers without one. Null when all have one.
        std::vector<rte_ring*> tx_rings;
    };

    PortSet() = default;
    Result<void> open_port(const PortConfig& config, const PortSetConfig& all);
    unsigned transmit(const Port& port, std::uint16_t queue, rte_mbuf** pkts, unsigned n) noexcept;

    /// Whether the port is behind the gate, and the gate is closed.
    bool shut(const Port& port) const noexcept { return port.gated && gate_->closed(); }

    std::unique_ptr<ControlGate> gate_;  ///< null when no port needs it
    std::vector<Port> ports_;
    rte_mempool* pool_ = nullptr;
    unsigned workers_ = 1;
};

}  // namespace postern
