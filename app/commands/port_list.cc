// SPDX-License-Identifier: BSD-3-Clause
// `port list`.
#include "commands/context.h"
#include "port_watch.h"

namespace postern {

Command command_port_list(const CommandContext& context) {
    return {.name = "port list",
            .help = "List the ports, their links and devices",
            .args = {},
            .handler =
                [watch = context.watch](const Json&) {
                    return Source(rows_of(watch == nullptr ? std::vector<Json>{} : watch->rows()));
                },
            .effect = Effect::read,
            .columns = {{"NAME", {"name"}},
                        {"STATE", {"state"}},
                        ranked(2, number("FOR", "since_s")),
                        {"ZONE", {"zone"}},
                        ranked(4, {"PEER", {"peer"}}),
                        ranked(5, {"DRIVER", {"driver"}}),
                        ranked(3, {"INTERFACE", {"interface"}}),
                        ranked(7, number("MTU", "mtu")),
                        ranked(6, number("MBIT/S", "speed_mbps")),
                        ranked(8, number("LINK_DOWNS", "link_downs")),
                        ranked(9, number("REMOVALS", "removals")),
                        ranked(9, number("ATTACHES", "attaches")),
                        number("RX", "rx_packets"),
                        number("TX", "tx_packets"),
                        ranked(1, number("RX_PPS", "rx_pps")),
                        ranked(1, number("TX_PPS", "tx_pps")),
                        ranked(8, number("PARTIAL_CHECKSUM", "partial_checksum")),
                        ranked(9, {"DEVICE", {"device"}})}};
}

}  // namespace postern
