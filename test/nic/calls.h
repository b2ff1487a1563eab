// SPDX-License-Identifier: BSD-3-Clause
// Calls: how the functions that the linker puts in DPDK's place (calls.cc) reach the cards.
#pragma once

#include <cstdint>
#include <string_view>

#include <rte_ethdev.h>

#include "nic/nic_model.h"

namespace postern::nic {

struct Calls {
    static Nic* of(std::uint16_t port);
    static Nic* of(std::string_view address);
    static Nic* of(const rte_device* device);
    /// DPDK's own.
    static int real_info(std::uint16_t port, rte_eth_dev_info* info);

    // By card; each returns what DPDK's function of that name returns.
    static int probe(Nic& nic);
    static int remove(Nic& nic);
    static int port_id(const Nic& nic, std::uint16_t* id);
    static int info(const Nic& nic, rte_eth_dev_info* info);
    static int configure(Nic& nic, std::uint16_t rx, std::uint16_t tx, const rte_eth_conf* conf);
    static int set_mtu(Nic& nic, std::uint16_t mtu);
    static int adjust(const Nic& nic, std::uint16_t* rx, std::uint16_t* tx);
    static int rx_setup(Nic& nic, std::uint16_t queue, std::uint16_t descriptors,
                        rte_mempool* pool);
    static void started(Nic& nic, bool yes);
    static void closed(Nic& nic);
    static int hash_get(const Nic& nic, rte_eth_rss_conf* conf);
    static int hash_update(Nic& nic, const rte_eth_rss_conf* conf);
    static int table_update(Nic& nic, const rte_eth_rss_reta_entry64* table, std::uint16_t size);
    static int table_query(const Nic& nic, rte_eth_rss_reta_entry64* table, std::uint16_t size);
    static int link(const Nic& nic, rte_eth_link* link);
    static int stats(const Nic& nic, rte_eth_stats* stats);
    static int set_promiscuous(Nic& nic);
    static int promiscuous(const Nic& nic);
    static int node(const Nic& nic);
    static void on_removal(Nic& nic, rte_eth_dev_cb_fn fn, void* of);
};

}  // namespace postern::nic
