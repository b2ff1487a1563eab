// SPDX-License-Identifier: BSD-3-Clause
#include "port_config.h"

namespace postern {

EalConfig eal_config(const Spec& spec, bool verbose) {
    EalConfig c;
    c.hugepages = spec.eal.hugepages == Hugepages::yes  ? EalConfig::Huge::yes
                  : spec.eal.hugepages == Hugepages::no ? EalConfig::Huge::no
                                                        : EalConfig::Huge::automatic;
    c.memory_mb = spec.eal.memory_mb;
    c.workers = spec.workers.count;
    c.cpus = spec.workers.cpus;
    c.main_cpu = spec.workers.main_cpu;
    for (const auto& p : spec.ports)
        if (p.is_pci()) c.pci.push_back(p.device);
    c.extra = spec.eal.args;
    c.verbose = verbose;
    return c;
}

PortSetConfig port_config(const Spec& spec, Firewall& fw) {
    PortSetConfig c;
    c.rcu = fw.rcu();
    c.workers = spec.workers.count;
    c.held = spec.limits.fragments + spec.workers.count;
    for (const auto& h : spec.helpers)
        if (h.userspace) c.held += h.userspace->queue * spec.workers.count;
    for (const WorkerId w : fw.steering().reta)
        c.reta.push_back(w.number());
    c.rss = fw.steering().rss;
    for (const auto& p : spec.ports)
        c.ports.push_back(
            {p.name, p.device, p.is_pci(), p.queues, p.mtu, p.checksums != ChecksumMode::off});
    return c;
}

}  // namespace postern
