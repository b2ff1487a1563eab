// SPDX-License-Identifier: BSD-3-Clause
#include "port_watch.h"

#include <spdlog/spdlog.h>

namespace postern {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kRetry{1};
// Some NICs answer slowly, and a long list takes many turns.
constexpr std::chrono::milliseconds kLook{100};

const char* text(bool up) {
    return up ? "up" : "down";
}

}  // namespace

Result<PortWatch> PortWatch::create(PortSet& ports, const Spec& spec) {
    auto interfaces = Interfaces::open();
    if (!interfaces) return interfaces.error();
    PortWatch watch(ports, std::move(*interfaces));
    for (unsigned p = 0; p < ports.size(); ++p) {
        const auto info = ports.info(PortId::from(p));
        Watched& w = watch.watched_.emplace_back();
        w.name = info.name;
        w.zone = spec.zones[spec.ports[p].zone.number()].name;
        for (const BridgeSpec& b : spec.bridges)
            if (b.ports[0].number() == p || b.ports[1].number() == p)
                w.bridge = spec.ports[b.ports[b.ports[0].number() == p ? 1 : 0].number()].name;
        w.interface = info.interface;
        w.mtu = spec.ports[p].mtu;
        w.makes_interface = info.makes_interface;
        w.index = w.interface.empty() ? 0 : watch.interfaces_.state(w.interface).index;
        w.since = Clock::now();
        if (ports.from_kernel(PortId::from(p)) && !w.interface.empty() && !w.makes_interface)
            watch.advise(w);
        watch.look(PortId::from(p));
    }
    return watch;
}

void PortWatch::advise(const Watched& w) const {
    if (const auto peer = interfaces_.veth_peer(w.interface)) {
        if (interfaces_.leaves_checksums(*peer))
            spdlog::warn(
                "port {}: packets will come with unfinished checksums, which their receivers drop: "
                "{} has transmit checksum offload on; {}",
                w.name, *peer, checksum_advice(interfaces_, w.interface));
    } else if (interfaces_.driver(w.interface) == "veth") {
        spdlog::info(
            "port {}: {} is one end of a veth pair; transmit checksum offload has to be off at the "
            "other end (ethtool -K NAME tx off, in its namespace or container)",
            w.name, w.interface);
    }
    if (interfaces_.merges_received(w.interface))
        spdlog::warn(
            "port {}: {} merges received frames (generic receive offload), so some will be longer "
            "than the port takes; turn it off there: ethtool -K {} gro off lro off",
            w.name, w.interface, w.interface);
}

void PortWatch::turn() {
    const bool changed = interfaces_.drain();
    if (!changed && Clock::now() - looked_ < kLook) return;
    looked_ = Clock::now();
    for (unsigned p = 0; p < watched_.size(); ++p) {
        look(PortId::from(p));
        watched_[p].rates.turn(looked_, ports_->stats(PortId::from(p)));
        warn_of_unfinished(PortId::from(p), watched_[p]);
    }
}

void PortWatch::Rates::turn(std::chrono::steady_clock::time_point now, const PortSet::Stats& s) {
    const double seconds = std::chrono::duration<double>(now - since).count();
    if (seconds < 1) return;
    const auto rate = [seconds](std::uint64_t is, std::uint64_t was) {
        return is < was ? 0 : static_cast<std::uint64_t>(static_cast<double>(is - was) / seconds);
    };
    if (known) {
        rx_pps = rate(s.rx_packets, last.rx_packets);
        tx_pps = rate(s.tx_packets, last.tx_packets);
        rx_bps = rate(s.rx_bytes, last.rx_bytes) * 8;
        tx_bps = rate(s.tx_bytes, last.tx_bytes) * 8;
    }
    known = true;
    since = now;
    last = s;
}

void PortWatch::enter(Watched& w, State state) {
    if (state == w.state) return;
    w.state = state;
    w.since = Clock::now();
}

void PortWatch::look(PortId p) {
    Watched& w = watched_[p.number()];
    if (w.state == State::gone) return try_again(p, w);
    if (ports_->pulled_out(p)) return lost(p, w, "the device was pulled out");
    if (!w.interface.empty()) return look_at_interface(p, w);
    const auto up = ports_->link_of_device(p);
    if (!up || *up == (w.state == State::up)) return;
    ports_->set_link(p, *up);
    enter(w, *up ? State::up : State::down);
    w.counters.link_downs += *up ? 0 : 1;
    spdlog::log(*up ? spdlog::level::info : spdlog::level::warn, "port {}: link is {}", w.name,
                text(*up));
}

void PortWatch::look_at_interface(PortId p, Watched& w) {
    const auto now = interfaces_.state(w.interface);
    // A tap interface that was moved into a container is still this port's.
    if (now.index != w.index && w.makes_interface && Interfaces::holds_tun(w.interface)) return;
    if (now.index != w.index)
        return lost(p, w,
                    "interface " + w.interface +
                        (now.index == 0 ? " is gone" : " is another one of that name"));
    if (now.running != (w.state == State::up)) {
        // Packets that the driver's ring accepted while the interface was down would be sent now,
        // late.
        if (now.running && !w.enabled && !w.makes_interface) {
            ports_->detach(p);
            if (auto r = ports_->attach(p); !r) return lost(p, w, r.error().message);
        }
        ports_->set_link(p, now.running);
        enter(w, now.running ? State::up : State::down);
        w.counters.link_downs += now.running ? 0 : 1;
        spdlog::log(now.running ? spdlog::level::info : spdlog::level::warn,
                    "port {}: link of {} is {}{}", w.name, w.interface, text(now.running),
                    now.enabled ? "" : " (the interface was set down)");
    }
    w.enabled = now.enabled;
}

void PortWatch::lost(PortId p, Watched& w, const std::string& why) {
    ports_->detach(p);
    enter(w, State::gone);
    ++w.counters.removals;
    w.last_failure.clear();
    w.tried = {};
    spdlog::warn("port {}: {}; packets to it are dropped until it is back (link_down)", w.name,
                 why);
    try_again(p, w);
}

void PortWatch::try_again(PortId p, Watched& w) {
    Interfaces::State now;
    if (!w.interface.empty() && !w.makes_interface) {
        now = interfaces_.state(w.interface);
        // It is created first and set up then; a socket on an interface that is down gets no notice
        // of that.
        if (!now.enabled) return;
    }
    if (Clock::now() - w.tried < kRetry) return;
    w.tried = Clock::now();
    if (auto r = ports_->attach(p); !r) {
        ++w.counters.attach_failures;
        if (w.last_failure != r.error().message) spdlog::warn("{}", r.error().message);
        w.last_failure = r.error().message;
        return;
    }
    ++w.counters.attaches;
    if (!w.interface.empty()) w.index = interfaces_.state(w.interface).index;
    w.enabled = true;
    w.warned_sums = w.warned_cut = false;
    enter(w, State::up);
    spdlog::info("port {}: attached again{}{}", w.name, w.interface.empty() ? "" : " to ",
                 w.interface);
    look(p);
}

void PortWatch::warn_of_unfinished(PortId p, Watched& w) {
    if (!ports_->from_kernel(p) || (w.warned_sums && w.warned_cut)) return;
    const auto stats = ports_->stats(p);
    if (stats.partial_checksum != 0 && !w.warned_sums) {
        w.warned_sums = true;
        spdlog::warn(
            "port {}: packets come with unfinished checksums, so their receivers drop them: their "
            "sender leaves checksums to its device (transmit checksum offload); {} (counter "
            "partial_checksum)",
            w.name, checksum_advice(interfaces_, w.interface));
    }
    if (stats.cut_frames != 0 && !w.warned_cut) {
        w.warned_cut = true;
        spdlog::warn(
            "port {}: frames come that are longer than it takes: their sender leaves segmentation "
            "to its device, or {} merges them (ethtool -K {} gro off lro off), or `mtu` is too "
            "small; as to the sender: {} (counter cut_frames)",
            w.name, w.interface, w.interface, checksum_advice(interfaces_, w.interface));
    }
}

std::vector<Json> PortWatch::rows() const {
    constexpr const char* kStates[] = {"up", "down", "gone"};
    std::vector<Json> rows;
    for (unsigned p = 0; p < watched_.size(); ++p) {
        const Watched& w = watched_[p];
        const auto i = ports_->info(PortId::from(p));
        const auto s = ports_->stats(PortId::from(p));
        const auto age =
            std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - w.since).count();
        rows.push_back({{"name", w.name},
                        {"state", kStates[static_cast<unsigned>(w.state)]},
                        {"since_s", age},
                        {"zone", w.zone},
                        {"peer", w.bridge.empty() ? Json(nullptr) : Json(w.bridge)},
                        {"device", i.device},
                        {"driver", i.driver},
                        {"interface", w.interface.empty() ? Json(nullptr) : Json(w.interface)},
                        {"mtu", w.mtu},
                        {"mac", i.mac.empty() ? Json(nullptr) : Json(i.mac)},
                        {"speed_mbps", i.speed_mbps == 0 ? Json(nullptr) : Json(i.speed_mbps)},
                        {"rss", i.rss},
                        {"checksums", i.checksums},
                        {"rx_pps", w.rates.rx_pps},
                        {"tx_pps", w.rates.tx_pps},
                        {"rx_bps", w.rates.rx_bps},
                        {"tx_bps", w.rates.tx_bps},
                        {"rx_queues", i.rx_queues},
                        {"tx_queues", i.tx_queues},
                        {"link_downs", w.counters.link_downs},
                        {"removals", w.counters.removals},
                        {"attaches", w.counters.attaches},
                        {"attach_failures", w.counters.attach_failures},
                        {"rx_packets", s.rx_packets},
                        {"tx_packets", s.tx_packets},
                        {"rx_bytes", s.rx_bytes},
                        {"tx_bytes", s.tx_bytes},
                        {"rx_missed", s.rx_missed},
                        {"rx_no_buffer", s.rx_no_buffer},
                        {"rx_errors", s.rx_errors},
                        {"tx_errors", s.tx_errors},
                        {"partial_checksum", s.partial_checksum},
                        {"cut_frames", s.cut_frames}});
    }
    return rows;
}

}  // namespace postern
