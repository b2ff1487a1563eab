// SPDX-License-Identifier: BSD-3-Clause
#include "plan/needs_restart.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

namespace postern {
namespace {

class Differences {
  public:
    template <class T>
    void compare(const std::string& key, const T& now, const T& next) {
        if (!(now == next)) add(key + " has changed");
    }
    void add(std::string text) { texts_.push_back(std::move(text)); }
    std::vector<std::string> take() { return std::move(texts_); }

  private:
    std::vector<std::string> texts_;
};

void compare_eal(const EalSpec& now, const EalSpec& next, Differences& out) {
    out.compare("eal.hugepages", now.hugepages, next.hugepages);
    out.compare("eal.memory_mb", now.memory_mb, next.memory_mb);
    out.compare("eal.args", now.args, next.args);
}

void compare_workers(const WorkersSpec& now, const WorkersSpec& next, Differences& out) {
    out.compare("workers.count", now.count, next.count);
    out.compare("workers.cpus", now.cpus, next.cpus);
    out.compare("workers.main_cpu", now.main_cpu, next.main_cpu);
    out.compare("workers.burst", now.burst, next.burst);
    out.compare("workers.steer", now.steer, next.steer);
    out.compare("workers.idle.spins", now.idle.spins, next.idle.spins);
    out.compare("workers.idle.sleep", now.idle.sleep_us, next.idle.sleep_us);
}

/// The devices, in their order: packets contain the number of their port.
void compare_ports(const std::vector<PortSpec>& now, const std::vector<PortSpec>& next,
                   Differences& out) {
    const auto names = [](const std::vector<PortSpec>& ports) {
        std::vector<std::string> all;
        for (const PortSpec& p : ports)
            all.push_back(p.name);
        return all;
    };
    if (names(now) != names(next))
        return out.add("ports were added, removed, renamed or put in another order");
    for (std::size_t i = 0; i < now.size(); ++i) {
        const std::string port = "port " + now[i].name + ": ";
        out.compare(port + "device", now[i].device, next[i].device);
        out.compare(port + "queues", now[i].queues, next[i].queues);
        out.compare(port + "mtu", now[i].mtu, next[i].mtu);
        // nic and full differ in software only.
        if ((now[i].checksums == ChecksumMode::off) != (next[i].checksums == ChecksumMode::off))
            out.add(port + "checksums were turned on or off");
    }
}

/// Limits of zones that have one, by name.
std::map<std::string, std::uint32_t> limits_of_zones(const Spec& spec) {
    std::map<std::string, std::uint32_t> out;
    for (std::size_t z = 0; z < spec.limits.per_zone.size(); ++z)
        if (spec.limits.per_zone[z] != 0) out[spec.zones[z].name] = spec.limits.per_zone[z];
    return out;
}

void compare_limits(const Spec& a, const Spec& b, Differences& out) {
    const LimitsSpec &now = a.limits, &next = b.limits;
    out.compare("limits.connections", now.connections, next.connections);
    out.compare("limits.expectations", now.expectations, next.expectations);
    out.compare("limits.helped_connections", now.helped_connections, next.helped_connections);
    out.compare("limits.stream_buffer", now.stream_buffer_bytes, next.stream_buffer_bytes);
    out.compare("limits.fragments", now.fragments, next.fragments);
    out.compare("limits.half_open_per_source", now.half_open_per_source, next.half_open_per_source);
    out.compare("limits.new_per_second_per_source", now.new_per_second_per_source,
                next.new_per_second_per_source);
    out.compare("limits.answers_per_second", now.answers_per_second, next.answers_per_second);
    out.compare("limits.answers_per_second_per_source", now.answers_per_second_per_source,
                next.answers_per_second_per_source);
    out.compare("limits.new_per_second_per_worker", now.new_per_second_per_worker,
                next.new_per_second_per_worker);
    out.compare("limits.expectations_per.ct_zone", now.expectations_per.ct_zone,
                next.expectations_per.ct_zone);
    out.compare("limits.expectations of conntrack zones", now.expectations_per.of_ct_zones,
                next.expectations_per.of_ct_zones);
    out.compare("limits.expectations_per.source", now.expectations_per.source,
                next.expectations_per.source);
    out.compare("limits.expectations_per.server", now.expectations_per.server,
                next.expectations_per.server);
    out.compare("limits.expectations_per.security_zone", now.expectations_per.security_zone,
                next.expectations_per.security_zone);
    out.compare("limits.expectations_per.destination", now.expectations_per.destination,
                next.expectations_per.destination);
    out.compare("limits.per_zone", limits_of_zones(a), limits_of_zones(b));
}

bool same(const UserspaceSpec& a, const UserspaceSpec& b) {
    const auto same_class = [](const UserspaceSpec::Class& x, const UserspaceSpec::Class& y) {
        return x.name == y.name && x.protocol == y.protocol && x.max == y.max &&
               x.timeout_s == y.timeout_s;
    };
    return std::ranges::equal(a.classes, b.classes, same_class) && a.stream == b.stream &&
           a.proof == b.proof && a.data_bytes == b.data_bytes && a.bypass == b.bypass &&
           a.wait_ms == b.wait_ms && a.queue == b.queue && a.socket == b.socket;
}

/// Their sockets and rings are made at start, by their numbers.
void compare_processes(const Spec& now, const Spec& next, Differences& out) {
    const auto find = [](const Spec& spec, const std::string& name) -> const HelperSpec* {
        for (const HelperSpec& h : spec.helpers)
            if (h.userspace && h.name == name) return &h;
        return nullptr;
    };
    for (const HelperSpec& h : now.helpers) {
        if (!h.userspace) continue;
        const HelperSpec* other = find(next, h.name);
        if (other == nullptr)
            out.add("helper " + h.name + ", whose parser is a process, was removed");
        else if (!same(*h.userspace, *other->userspace) || h.protocols != other->protocols)
            out.add("helper " + h.name + ", whose parser is a process, is declared anew");
    }
    for (const HelperSpec& h : next.helpers)
        if (h.userspace && find(now, h.name) == nullptr)
            out.add("helper " + h.name + ", whose parser is a process, was added");
}

}  // namespace

std::vector<std::string> needs_restart(const Spec& now, const Spec& next) {
    Differences out;
    compare_eal(now.eal, next.eal, out);
    compare_workers(now.workers, next.workers, out);
    compare_ports(now.ports, next.ports, out);
    compare_limits(now, next, out);
    compare_processes(now, next, out);
    out.compare("control.socket", now.control.socket, next.control.socket);
    out.compare("control.read_socket", now.control.read_socket, next.control.read_socket);
    out.compare("control.read_access", now.control.read_access, next.control.read_access);
    out.compare("control.read_group", now.control.read_group, next.control.read_group);
    out.compare("control.history", now.control.history, next.control.history);
    out.compare("state.file", now.state.file, next.state.file);
    out.compare("state.save_on_stop", now.state.save_on_stop, next.state.save_on_stop);
    out.compare("state.save_every", now.state.save_every_s, next.state.save_every_s);
    return out.take();
}

}  // namespace postern
