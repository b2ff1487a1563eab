// SPDX-License-Identifier: BSD-3-Clause
#include "state/saved.h"

#include <algorithm>
#include <ctime>
#include <fstream>

#include <unistd.h>

#include "base/wall_clock.h"
#include "state/layout.h"
#include "state/saved_checks.h"

namespace postern {
namespace {

/// The states of a protocol with a state machine of its own; 0: it has none.
unsigned states_of(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case proto::tcp: return kTcpStates;
        case proto::sctp: return kSctpStates;
        case proto::dccp: return kDccpStates;
        default: return 0;
    }
}

bool is_icmp(std::uint8_t protocol) noexcept {
    return protocol == proto::icmp || protocol == proto::icmpv6;
}

}  // namespace

const char* to_string(RecordFault fault) noexcept {
    constexpr const char* kNames[kRecordFaults] = {"none", "damaged", "no_zone", "no_helper"};
    return kNames[static_cast<unsigned>(fault)];
}

WorkerId home_of(const Steering& steering, const Conn& conn) noexcept {
    return steering.home_of(conn.tuple(), conn.ct_zone(), conn.key_class);
}

std::uint64_t digest_of(const Plan& plan, const HelperSet& helpers) {
    Digest d;
    for (const std::string& rule : plan.rules)
        d.add(rule);
    for (const std::string& name : plan.timeout_names)
        d.add(name);
    for (std::size_t i = 0; i < plan.edges.size(); ++i) {
        const auto& edge = plan.edges[EdgeId::from(i)];
        if (edge.in_use) d.add(edge.name);
    }
    for (std::size_t i = 0; i < plan.helpers.size(); ++i) {
        d.add(plan.helpers[i].name);
        const HelperInstance* helper = helpers.find(static_cast<HelperId>(i + 1));
        if (helper != nullptr) d.add(version_of(*helper->desc));
    }
    return d.value() == 0 ? 1 : d.value();
}

StateHeader present_times() {
    StateHeader out;
    out.saved_ms = wall_ms();
    timespec since_boot{};
    if (std::ifstream("/proc/sys/kernel/random/boot_id") >> out.boot_id &&
        ::clock_gettime(CLOCK_BOOTTIME, &since_boot) == 0)
        out.boot_ms = std::int64_t{since_boot.tv_sec} * 1000 + since_boot.tv_nsec / 1'000'000;
    else
        out.boot_id.clear();
    return out;
}

std::uint32_t elapsed_between(const StateHeader& saved, const StateHeader& now) noexcept {
    // All are within 2^52, or the header would have been refused.
    const bool same_boot = !saved.boot_id.empty() && saved.boot_id == now.boot_id;
    const std::int64_t elapsed =
        same_boot ? now.boot_ms - saved.boot_ms : now.saved_ms - saved.saved_ms;
    return static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(elapsed, 0, same_boot ? kMaxSinceSaveMs : kMaxByWallClockMs));
}

StateHeader header_now(const Plan& plan, const HelperSet& helpers) {
    StateHeader out = present_times();
    char host[256] = {};
    if (::gethostname(host, sizeof host - 1) == 0) out.host = host;
    out.plan_digest = digest_of(plan, helpers);
    return out;
}

void set_ends(Conn& conn, const Tuple& ends) noexcept {
    std::copy(ends.src.bytes.begin(), ends.src.bytes.end(), conn.src);
    std::copy(ends.dst.bytes.begin(), ends.dst.bytes.end(), conn.dst);
    conn.sport = ends.sport;
    conn.dport = ends.dport;
    conn.key.protocol = ends.protocol;
    conn.key.family = static_cast<std::uint8_t>(ends.src.family);
}

unsigned max_key_class(std::uint8_t protocol) noexcept {
    return is_icmp(protocol) ? kIcmpQueries : protocol == proto::gre ? kGreCall : 0;
}

Misfit set_key_class(Conn& c, const Tuple& t, unsigned key_class, bool both_calls_known) {
    const bool icmp = is_icmp(t.protocol);
    c.key_class = key_class & 0x0f;
    if (icmp && (c.key_class == 0 || t.sport != t.dport))
        return {"key_class", "expected a query's, with one id"};
    if (!icmp && c.key_class == 0 && !has_ports(t.protocol) &&
        (t.sport.raw() != 0 || t.dport.raw() != 0))
        return {"dport", "this protocol has no ports"};
    if (t.protocol != proto::gre) return {};
    c.gre = {both_calls_known ? 1u : 0u};
    if (both_calls_known && c.key_class != kGreCall) return {"both_calls_known", "is no call"};
    return {};
}

Misfit set_zones(Conn& c, const Plan& plan, std::optional<EdgeId> from, std::optional<EdgeId> to) {
    constexpr const char* kNone = "there is no zone of this name";
    if (!from) return {"from", kNone, RecordFault::no_zone};
    if (!to) return {"to", kNone, RecordFault::no_zone};
    if (!plan.edges.joined(*from, *to))
        return {"to", "no bridge leads there from where it comes in", RecordFault::no_zone};
    c.set_edges(plan.edges.pair(*from, *to));
    return {};
}

void set_first_link(Conn& c, const Plan& plan, std::uint64_t vlan, std::uint64_t dscp,
                    std::string_view in_port) noexcept {
    if (c.has(conn_flag::expected)) return;
    c.first = {.vlan = static_cast<std::uint32_t>(vlan & 0xfff),
               .dscp = static_cast<std::uint32_t>(dscp & 0x3f),
               .in_port = 0,
               .limited = 0};
    for (std::uint32_t p = 0; p < plan.ports.size() && !in_port.empty(); ++p)
        if (plan.ports[p].name == in_port) c.first.in_port = (p + 1) & 0xff;
}

bool has_state_names(std::uint8_t protocol) noexcept {
    return states_of(protocol) != 0;
}

bool set_state(Conn& c, std::string_view name) noexcept {
    const unsigned states = states_of(c.protocol());
    for (unsigned state = 0; state < states; ++state) {
        c.set_state(state);
        if (name == c.state_name()) return true;
    }
    c.set_state(0);
    return false;
}

bool is_silent(const Conn& c) noexcept {
    return c.protocol() != proto::tcp || c.tcp_state() == TcpState::syn_sent ||
           c.tcp_state() == TcpState::syn_recv;
}

void set_limits(const Plan& plan, ExpectRequest& r) noexcept {
    r.flags |= expect_flag::beside;
    if (r.helper == kNoHelper) return;
    const HelperPlan& helper = plan.helpers[r.helper - 1u];
    if (r.class_index < helper.classes.size())
        r.class_max = r.call != 0 ? helper.classes[r.class_index].max_per_call
                                  : helper.classes[r.class_index].max_expected;
    r.master_max = helper.max_pending;
}

}  // namespace postern
