// SPDX-License-Identifier: BSD-3-Clause
// DPDK's control functions, for ports that are cards of the model; all others reach DPDK.
#include "nic/calls.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <rte_dev.h>
#include <rte_ring.h>

using postern::nic::Calls;
using postern::nic::Nic;

// The linker's names: a call of f reaches __wrap_f, and __real_f is DPDK's.
#define WRAP(result, name, parameters)          \
    extern "C" result __real_##name parameters; \
    extern "C" result __wrap_##name parameters; \
    extern "C" result __wrap_##name parameters

WRAP(int, rte_dev_probe, (const char* devargs)) {
    Nic* const nic = Calls::of(std::string_view(devargs));
    return nic != nullptr ? Calls::probe(*nic) : __real_rte_dev_probe(devargs);
}
WRAP(int, rte_dev_remove, (rte_device * device)) {
    Nic* const nic = Calls::of(device);
    return nic != nullptr ? Calls::remove(*nic) : __real_rte_dev_remove(device);
}
WRAP(int, rte_eth_dev_get_port_by_name, (const char* name, std::uint16_t* id)) {
    const Nic* const nic = Calls::of(std::string_view(name));
    return nic != nullptr ? Calls::port_id(*nic, id)
                          : __real_rte_eth_dev_get_port_by_name(name, id);
}
WRAP(int, rte_eth_dev_info_get, (std::uint16_t port, rte_eth_dev_info* info)) {
    const Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::info(*nic, info) : __real_rte_eth_dev_info_get(port, info);
}
WRAP(int, rte_eth_dev_configure,
     (std::uint16_t port, std::uint16_t rx, std::uint16_t tx, const rte_eth_conf* conf)) {
    Nic* const nic = Calls::of(port);
    if (nic == nullptr) return __real_rte_eth_dev_configure(port, rx, tx, conf);
    if (const int r = Calls::configure(*nic, rx, tx, conf); r != 0) return r;
    const rte_eth_conf plain{};
    return __real_rte_eth_dev_configure(port, rx, tx, &plain);
}
WRAP(int, rte_eth_dev_set_mtu, (std::uint16_t port, std::uint16_t mtu)) {
    Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::set_mtu(*nic, mtu) : __real_rte_eth_dev_set_mtu(port, mtu);
}
WRAP(int, rte_eth_dev_adjust_nb_rx_tx_desc,
     (std::uint16_t port, std::uint16_t* rx, std::uint16_t* tx)) {
    const Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::adjust(*nic, rx, tx)
                          : __real_rte_eth_dev_adjust_nb_rx_tx_desc(port, rx, tx);
}
WRAP(int, rte_eth_rx_queue_setup,
     (std::uint16_t port, std::uint16_t queue, std::uint16_t descriptors, unsigned node,
      const rte_eth_rxconf* conf, rte_mempool* pool)) {
    Nic* const nic = Calls::of(port);
    if (nic != nullptr)
        if (const int r = Calls::rx_setup(*nic, queue, descriptors, pool); r != 0) return r;
    return __real_rte_eth_rx_queue_setup(port, queue, descriptors, node, conf, pool);
}
WRAP(int, rte_eth_dev_start, (std::uint16_t port)) {
    const int r = __real_rte_eth_dev_start(port);
    if (Nic* const nic = Calls::of(port); nic != nullptr && r == 0) Calls::started(*nic, true);
    return r;
}
WRAP(int, rte_eth_dev_stop, (std::uint16_t port)) {
    if (Nic* const nic = Calls::of(port); nic != nullptr) Calls::started(*nic, false);
    return __real_rte_eth_dev_stop(port);
}
WRAP(int, rte_eth_dev_close, (std::uint16_t port)) {
    Nic* const nic = Calls::of(port);
    const int r = __real_rte_eth_dev_close(port);
    if (nic != nullptr) Calls::closed(*nic);
    return r;
}
WRAP(int, rte_eth_dev_rss_hash_conf_get, (std::uint16_t port, rte_eth_rss_conf* conf)) {
    const Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::hash_get(*nic, conf)
                          : __real_rte_eth_dev_rss_hash_conf_get(port, conf);
}
WRAP(int, rte_eth_dev_rss_hash_update, (std::uint16_t port, rte_eth_rss_conf* conf)) {
    Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::hash_update(*nic, conf)
                          : __real_rte_eth_dev_rss_hash_update(port, conf);
}
WRAP(int, rte_eth_dev_rss_reta_update,
     (std::uint16_t port, rte_eth_rss_reta_entry64* table, std::uint16_t size)) {
    Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::table_update(*nic, table, size)
                          : __real_rte_eth_dev_rss_reta_update(port, table, size);
}
WRAP(int, rte_eth_dev_rss_reta_query,
     (std::uint16_t port, rte_eth_rss_reta_entry64* table, std::uint16_t size)) {
    const Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::table_query(*nic, table, size)
                          : __real_rte_eth_dev_rss_reta_query(port, table, size);
}
WRAP(int, rte_eth_link_get_nowait, (std::uint16_t port, rte_eth_link* link)) {
    const Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::link(*nic, link) : __real_rte_eth_link_get_nowait(port, link);
}
WRAP(int, rte_eth_stats_get, (std::uint16_t port, rte_eth_stats* stats)) {
    const Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::stats(*nic, stats) : __real_rte_eth_stats_get(port, stats);
}
WRAP(int, rte_eth_promiscuous_enable, (std::uint16_t port)) {
    Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::set_promiscuous(*nic) : __real_rte_eth_promiscuous_enable(port);
}
WRAP(int, rte_eth_promiscuous_get, (std::uint16_t port)) {
    const Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::promiscuous(*nic) : __real_rte_eth_promiscuous_get(port);
}
WRAP(int, rte_eth_dev_socket_id, (std::uint16_t port)) {
    const Nic* const nic = Calls::of(port);
    return nic != nullptr ? Calls::node(*nic) : __real_rte_eth_dev_socket_id(port);
}
WRAP(int, rte_eth_dev_callback_register,
     (std::uint16_t port, rte_eth_event_type event, rte_eth_dev_cb_fn fn, void* of)) {
    if (Nic* const nic = Calls::of(port); nic != nullptr && event == RTE_ETH_EVENT_INTR_RMV)
        Calls::on_removal(*nic, fn, of);
    return __real_rte_eth_dev_callback_register(port, event, fn, of);
}

namespace postern::nic {
namespace {

using Key = Abilities::Key;
using Table = Abilities::Table;

/// Answers of a card that is not in its slot.
constexpr int kGone = -EIO;

}  // namespace

int Calls::real_info(std::uint16_t port, rte_eth_dev_info* info) {
    return __real_rte_eth_dev_info_get(port, info);
}

int Calls::probe(Nic& nic) {
    if (!nic.present_) return -ENODEV;
    // DPDK knows it by its slot until it was removed.
    if (nic.device_ != nullptr) return -EEXIST;
    nic.make_port();
    return 0;
}
int Calls::remove(Nic& nic) {
    nic.unmake_port();
    return 0;
}
int Calls::port_id(const Nic& nic, std::uint16_t* id) {
    if (nic.port_ < 0) return -ENODEV;
    *id = static_cast<std::uint16_t>(nic.port_);
    return 0;
}

int Calls::info(const Nic& nic, rte_eth_dev_info* info) {
    *info = {};
    if (!nic.present_ && !nic.can.information_after_removal) return kGone;
    info->device = nic.device_;
    info->driver_name = nic.can.driver.c_str();
    info->min_mtu = nic.can.min_mtu;
    info->max_mtu = nic.can.max_mtu;
    info->max_rx_pktlen = nic.can.max_mtu + 26u;
    info->max_rx_queues = nic.can.rx_queues;
    info->max_tx_queues = nic.can.tx_queues;
    info->flow_type_rss_offloads = nic.can.hash_types;
    info->hash_key_size = nic.can.key_bytes;
    info->reta_size = nic.can.table_entries;
    info->rx_offload_capa = nic.can.rx_offloads;
    info->tx_offload_capa = nic.can.tx_offloads;
    info->rx_desc_lim.nb_max = info->tx_desc_lim.nb_max = nic.can.descriptors;
    info->nb_rx_queues = static_cast<std::uint16_t>(nic.rx_used_);
    return 0;
}

int Calls::configure(Nic& nic, std::uint16_t rx, std::uint16_t tx, const rte_eth_conf* conf) {
    if (!nic.present_) return kGone;
    const Abilities& can = nic.can;
    const std::uint32_t mtu = conf->rxmode.mtu != 0 ? conf->rxmode.mtu : RTE_ETHER_MTU;
    if (rx > can.rx_queues || tx > can.tx_queues || nic.started_) return -EINVAL;
    if (mtu < can.min_mtu || mtu > can.max_mtu) return -EINVAL;
    if ((conf->rxmode.offloads & ~can.rx_offloads) != 0 ||
        (conf->txmode.offloads & ~can.tx_offloads) != 0)
        return -EINVAL;
    const rte_eth_rss_conf& rss = conf->rx_adv_conf.rss_conf;
    if ((rss.rss_hf & ~can.hash_types) != 0) return -EINVAL;
    nic.conf_ = *conf;
    nic.mtu_ = static_cast<std::uint16_t>(mtu);
    nic.rx_used_ = rx;
    nic.types_ = 0;
    if (conf->rxmode.mq_mode == RTE_ETH_MQ_RX_RSS) {
        nic.types_ = rss.rss_hf & ~can.types_dropped;
        if (rss.rss_key != nullptr && rss.rss_key_len == nic.key_.size() &&
            (can.key == Key::taken || can.key == Key::unreadable))
            nic.key_.assign(rss.rss_key, rss.rss_key + rss.rss_key_len);
    }
    nic.conf_.rx_adv_conf.rss_conf.rss_key = nullptr;
    for (std::size_t i = 0; i < nic.table_.size(); ++i)
        nic.table_[i] = static_cast<std::uint16_t>(nic.types_ != 0 ? (i / 2) % rx : 0);
    return 0;
}

int Calls::set_mtu(Nic& nic, std::uint16_t mtu) {
    if (!nic.present_) return kGone;
    if (mtu < nic.can.min_mtu || mtu > nic.can.max_mtu) return -EINVAL;
    nic.mtu_ = mtu;
    return 0;
}

int Calls::adjust(const Nic& nic, std::uint16_t* rx, std::uint16_t* tx) {
    *rx = std::min(*rx, nic.can.descriptors);
    *tx = std::min(*tx, nic.can.descriptors);
    return 0;
}

int Calls::rx_setup(Nic& nic, std::uint16_t queue, std::uint16_t descriptors, rte_mempool* pool) {
    if (!nic.present_) return kGone;
    if (queue >= nic.rx_used_ || descriptors > nic.can.descriptors) return -EINVAL;
    nic.rx_[queue].pool = pool;
    nic.rx_[queue].descriptors = descriptors;
    return 0;
}

void Calls::started(Nic& nic, bool yes) {
    nic.started_ = yes;
    if (!yes) nic.free_packets();
}
void Calls::closed(Nic& nic) {
    nic.port_ = -1;
    nic.started_ = false;
    nic.removed_ = nullptr;
}

int Calls::hash_get(const Nic& nic, rte_eth_rss_conf* conf) {
    if (!nic.present_) return kGone;
    if (nic.can.key == Key::unreadable) return -ENOTSUP;
    conf->rss_hf = nic.types_;
    if (conf->rss_key != nullptr && conf->rss_key_len >= nic.key_.size()) {
        std::ranges::copy(nic.key_, conf->rss_key);
        conf->rss_key_len = static_cast<std::uint8_t>(nic.key_.size());
    }
    return 0;
}

int Calls::hash_update(Nic& nic, const rte_eth_rss_conf* conf) {
    if (!nic.present_) return kGone;
    if ((conf->rss_hf & ~nic.can.hash_types) != 0) return -EINVAL;
    nic.types_ = conf->rss_hf & ~nic.can.types_dropped;
    if (conf->rss_key == nullptr || nic.can.key == Key::kept) return 0;
    if (conf->rss_key_len != nic.key_.size()) return -EINVAL;
    nic.key_.assign(conf->rss_key, conf->rss_key + conf->rss_key_len);
    return 0;
}

int Calls::table_update(Nic& nic, const rte_eth_rss_reta_entry64* table, std::uint16_t size) {
    if (!nic.present_) return kGone;
    if (nic.can.table == Table::refused || nic.can.table_entries == 0) return -ENOTSUP;
    if (size != nic.table_.size()) return -EINVAL;
    for (unsigned i = 0; i < size; ++i)
        if ((table[i / 64].mask >> i % 64 & 1) != 0 && table[i / 64].reta[i % 64] >= nic.rx_used_)
            return -EINVAL;
    if (nic.can.table == Table::kept) return 0;
    for (unsigned i = 0; i < size; ++i)
        if ((table[i / 64].mask >> i % 64 & 1) != 0) nic.table_[i] = table[i / 64].reta[i % 64];
    return 0;
}

int Calls::table_query(const Nic& nic, rte_eth_rss_reta_entry64* table, std::uint16_t size) {
    if (!nic.present_) return kGone;
    if (nic.can.table == Table::unreadable) return -ENOTSUP;
    if (size != nic.table_.size()) return -EINVAL;
    for (unsigned i = 0; i < size; ++i)
        if ((table[i / 64].mask >> i % 64 & 1) != 0) table[i / 64].reta[i % 64] = nic.table_[i];
    return 0;
}

int Calls::link(const Nic& nic, rte_eth_link* link) {
    if (!nic.present_) return kGone;
    *link = {};
    link->link_status = nic.link_ && nic.started_ ? RTE_ETH_LINK_UP : RTE_ETH_LINK_DOWN;
    link->link_speed = nic.link_ ? RTE_ETH_SPEED_NUM_25G : RTE_ETH_SPEED_NUM_UNKNOWN;
    return 0;
}

int Calls::stats(const Nic& nic, rte_eth_stats* stats) {
    *stats = {};
    if (!nic.present_) return kGone;
    *stats = nic.counters_;
    return 0;
}

int Calls::set_promiscuous(Nic& nic) {
    if (!nic.can.promiscuous) return -EPERM;
    nic.promiscuous_ = true;
    return 0;
}
int Calls::promiscuous(const Nic& nic) {
    return nic.promiscuous_ ? 1 : 0;
}

int Calls::node(const Nic& nic) {
    return nic.can.node;
}

void Calls::on_removal(Nic& nic, rte_eth_dev_cb_fn fn, void* of) {
    nic.removed_ = fn;
    nic.removed_for_ = of;
}

}  // namespace postern::nic
