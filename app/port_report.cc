// SPDX-License-Identifier: BSD-3-Clause
#include "port_report.h"

#include <algorithm>

#include <fmt/format.h>

namespace postern {

PortReport report_port(const PortSet::Info& port, std::span<const int> worker_nodes) {
    PortReport report;
    std::string rss = port.rss ? "symmetric RSS" : "no symmetric RSS";
    if (!port.rss_without.empty())
        rss += " (without " + port.rss_without + ": those packets are handed over)";
    report.line = fmt::format("port {}: {}, {} receive and {} transmit queues, {}{}", port.name,
                              port.driver, port.rx_queues, port.tx_queues, rss,
                              port.checksums ? ", checks checksums" : "");
    if (!port.receives_all)
        report.warnings.push_back(fmt::format(
            "port {}: the device refuses promiscuous mode, so the bridge does not get frames for "
            "other addresses than the device's; a virtual function has to be trusted by its host",
            port.name));
    const auto polls =
        worker_nodes.first(std::min<std::size_t>(worker_nodes.size(), port.rx_queues));
    std::string others;
    for (std::size_t w = 0; w < polls.size(); ++w)
        if (port.node >= 0 && polls[w] != port.node)
            others += (others.empty() ? "" : ", ") + std::to_string(w);
    if (!others.empty())
        report.warnings.push_back(
            fmt::format("port {}: its device is on NUMA node {}, but worker {} on another; choose "
                        "workers.cpus of node {}",
                        port.name, port.node, others, port.node));
    return report;
}

}  // namespace postern
