// SPDX-License-Identifier: BSD-3-Clause
// Traffic through a NicWorld: connections of each kind, and what it cost to bring them home.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "nic/nic_world.h"
#include "support/frames.h"

namespace postern::nic {

/// Different flows of a family (4 or 6) from inside to outside.
inline std::vector<frames::Flow> flows(unsigned n, int family, unsigned seed) {
    std::mt19937 engine(seed);
    const auto random = [&] { return static_cast<unsigned>(engine()); };
    std::vector<frames::Flow> out;
    std::set<unsigned> ports;
    while (out.size() < n) {
        const unsigned host = random() % 65536, server = random() % 65536,
                       sport = 1024 + random() % 60000, dport = 1024 + random() % 60000;
        if (!ports.insert(sport).second) continue;
        const auto v4 = [](const char* net, unsigned n16) {
            return net + std::to_string(n16 >> 8) + "." + std::to_string(n16 & 255);
        };
        const auto v6 = [](const char* net, unsigned n16) {
            char text[40];
            std::snprintf(text, sizeof text, "%s%x", net, n16);
            return std::string(text);
        };
        out.push_back(
            family == 4
                ? frames::flow(v4("10.1.", host), sport, v4("198.18.", server), dport)
                : frames::flow(v6("2001:db8::", host), sport, v6("2001:db8:1::", server), dport));
    }
    return out;
}

/// Where the packets of a connection arrived.
struct Arrivals {
    std::set<unsigned> queues;
    unsigned lost = 0;  ///< packets that did not leave as they came
};

using Wrap = std::function<Frame(const Frame&)>;
inline Frame as_is(const Frame& f) {
    return f;
}

/// A TCP connection that inside opens; keeps the sequence numbers.
class Talk {
  public:
    Talk(NicWorld& world, frames::Flow flow, Wrap wrap = as_is, bool opens_inside = true)
        : world_(world), flow_(std::move(flow)), wrap_(std::move(wrap)), inside_(opens_inside) {}

    void open() {
        packet(true, 0x02);
        packet(false, 0x12);
        packet(true, 0x10);
    }
    void client(std::string_view text) { packet(true, 0x18, text); }
    void server(std::string_view text) { packet(false, 0x18, text); }
    void packet(bool original, std::uint8_t flags, std::string_view text = {}) {
        frames::TcpFields t;
        t.flags = flags;
        t.seq = seq_[original ? 0 : 1];
        if ((flags & 0x10) != 0) t.ack = seq_[original ? 1 : 0];
        t.payload = text;
        const PortId port = original == inside_ ? NicWorld::kInside : NicWorld::kOutside;
        if (!world_.pass(wrap_(frames::tcp(original ? flow_ : flow_.back(), t)), port))
            ++arrivals.lost;
        arrivals.queues.insert(world_.nic(port).last_queue());
        seq_[original ? 0 : 1] +=
            static_cast<std::uint32_t>(text.size()) + ((flags & 0x03) != 0 ? 1u : 0u);
    }

    Arrivals arrivals;

  private:
    NicWorld& world_;
    frames::Flow flow_;
    Wrap wrap_;
    bool inside_;
    std::uint32_t seq_[2] = {1000, 5000};
};

inline Arrivals talk(NicWorld& world, const frames::Flow& flow, const Wrap& wrap = as_is) {
    Talk t(world, flow, wrap);
    t.open();
    t.client("ask");
    t.server("answer");
    return t.arrivals;
}

/// A question and an answer in frames that `make` makes for each direction.
inline Arrivals ask(NicWorld& world, const frames::Flow& flow,
                    const std::function<Frame(const frames::Flow&, bool original)>& make,
                    const Wrap& wrap = as_is) {
    Arrivals a;
    for (int again = 0; again < 2; ++again)
        for (const bool original : {true, false}) {
            const PortId port = original ? NicWorld::kInside : NicWorld::kOutside;
            if (!world.pass(wrap(make(original ? flow : flow.back(), original)), port)) ++a.lost;
            a.queues.insert(world.nic(port).last_queue());
        }
    return a;
}

inline Frame udp_frame(const frames::Flow& f, bool) {
    return frames::udp(f, "payload");
}
inline Frame echo_frame(const frames::Flow& f, bool original) {
    return frames::echo(f, original, 77);
}
/// GRE of version 0 with an IPv4 packet's type (RFC 2784).
inline Frame gre_frame(const frames::Flow& f, bool) {
    return frames::ip(f.src, f.dst, 47, {0, 0, 8, 0, 1, 2, 3, 4});
}
/// ESP (RFC 4303): an index, a number, data.
inline Frame esp_frame(const frames::Flow& f, bool) {
    return frames::ip(f.src, f.dst, 50, Frame(24, 9));
}
/// UDP-Lite (RFC 3828) that covers its header.
inline Frame udplite_frame(const frames::Flow& f, bool) {
    Frame l4{static_cast<std::uint8_t>(f.sport >> 8),
             static_cast<std::uint8_t>(f.sport),
             static_cast<std::uint8_t>(f.dport >> 8),
             static_cast<std::uint8_t>(f.dport),
             0,
             8,
             0xff,
             0xff,
             'd',
             'a'};
    return frames::ip(f.src, f.dst, 136, l4);
}

inline Frame tagged(const Frame& f) {
    return frames::wrap_vlan(f, 0x2007);
}

/// Totals of a kind of traffic.
struct Cost {
    unsigned lost = 0;
    unsigned split = 0;  ///< connections whose packets arrived at several queues
    std::uint64_t handed_off = 0;
    std::set<unsigned> queues;
};

/// `n` connections of one kind.
inline Cost many(NicWorld& world, unsigned n, int family,
                 const std::function<Arrivals(const frames::Flow&)>& one, unsigned seed = 1) {
    Cost cost;
    const std::uint64_t before = world.handed_off();
    for (const frames::Flow& flow : flows(n, family, seed)) {
        const Arrivals a = one(flow);
        cost.lost += a.lost;
        cost.split += a.queues.size() > 1 ? 1 : 0;
        cost.queues.insert(a.queues.begin(), a.queues.end());
    }
    cost.handed_off = world.handed_off() - before;
    return cost;
}

}  // namespace postern::nic
