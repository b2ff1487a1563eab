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
                        number("FOR", "since_s"),
                        {"ZONE", {"zone"}},
                        {"PEER", {"peer"}},
                        {"DRIVER", {"driver"}},
                        {"INTERFACE", {"interface"}},
                        number("MTU", "mtu"),
                        number("LINK_DOWNS", "link_downs"),
                        number("REMOVALS", "removals"),
                        number("ATTACHES", "attaches"),
                        number("RX", "rx_packets"),
                        number("TX", "tx_packets"),
                        number("PARTIAL_CHECKSUM", "partial_checksum"),
                        {"DEVICE", {"device"}}}};
}

}  // namespace postern
