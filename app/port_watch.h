// SPDX-License-Identifier: BSD-3-Clause
// PortWatch: the state of ports while the daemon runs. It is notified of links that go down and
// come back and of interfaces that vanish, detaches dead devices, attaches them again when their
// interface is back, and logs this.
//
// Called by control only: turn() after each poll, and at once when Linux reports a change.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/spec.h"
#include "control/command.h"
#include "metrics/metric.h"
#include "port/interface.h"
#include "port/port_set.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_PORT_WATCH_METRICS(X)                                          \
    X(link_downs, counter, events, "times the link went down")                 \
    X(removals, counter, events, "times the device or its interface was lost") \
    X(attaches, counter, events, "times it was attached again")                \
    X(attach_failures, counter, events, "times that failed")

class PortWatch {
  public:
    /// Checks each port for the first time; reports offloads that can be detected now.
    static Result<PortWatch> create(PortSet& ports, const Spec& spec);

    /// Readable if turn() has work.
    int fd() const noexcept { return interfaces_.fd(); }
    void turn();

    /// `port list`.
    std::vector<Json> rows() const;

    struct Counters {
        POSTERN_PLAIN_METRICS(POSTERN_PORT_WATCH_METRICS)
    };
    const Counters& counters(PortId p) const { return watched_[p.number()].counters; }

  private:
    enum class State {
        up,
        down,
        gone
    };
    /// Of about the last second.
    struct Rates {
        std::uint64_t rx_pps = 0, tx_pps = 0, rx_bps = 0, tx_bps = 0;
        PortSet::Stats last;  ///< at `since`
        std::chrono::steady_clock::time_point since;
        bool known = false;  ///< `last` is

        void turn(std::chrono::steady_clock::time_point now, const PortSet::Stats& s);
    };
    struct Watched {
        std::string name, zone, bridge;
        std::string interface;  ///< its name when the port was opened; empty: none
        bool makes_interface = false;
        unsigned mtu = 0;
        State state = State::up;
        unsigned index = 0;   ///< of the interface below the device
        bool enabled = true;  ///< the interface was set up
        bool warned_sums = false, warned_cut = false;
        std::string last_failure;
        std::chrono::steady_clock::time_point since, tried;
        Counters counters;
        Rates rates;
    };

    PortWatch(PortSet& ports, Interfaces interfaces)
        : ports_(&ports), interfaces_(std::move(interfaces)) {}
    void look(PortId p);
    void look_at_interface(PortId p, Watched& w);
    void enter(Watched& w, State state);
    void lost(PortId p, Watched& w, const std::string& why);
    void try_again(PortId p, Watched& w);
    void warn_of_unfinished(PortId p, Watched& w);
    void advise(const Watched& w) const;

    PortSet* ports_;
    Interfaces interfaces_;
    std::vector<Watched> watched_;
    std::chrono::steady_clock::time_point looked_;
};

}  // namespace postern
