// SPDX-License-Identifier: BSD-3-Clause
#include "port/device_rss.h"

#include <algorithm>
#include <bit>
#include <vector>

#include <rte_ethdev.h>

namespace postern {
namespace {

constexpr std::uint64_t kTypes = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;

constexpr struct {
    std::uint64_t type;
    const char* name;
} kPlaced[] = {{RTE_ETH_RSS_NONFRAG_IPV4_TCP, "TCP"},
               {RTE_ETH_RSS_NONFRAG_IPV4_UDP, "UDP"},
               {RTE_ETH_RSS_NONFRAG_IPV6_TCP, "TCP over IPv6"},
               {RTE_ETH_RSS_NONFRAG_IPV6_UDP, "UDP over IPv6"}};

using Table = std::vector<rte_eth_rss_reta_entry64>;

Table empty_table(unsigned entries) {
    Table table((entries + RTE_ETH_RETA_GROUP_SIZE - 1) / RTE_ETH_RETA_GROUP_SIZE);
    for (unsigned i = 0; i < entries; ++i)
        table[i / RTE_ETH_RETA_GROUP_SIZE].mask |= std::uint64_t{1} << i % RTE_ETH_RETA_GROUP_SIZE;
    return table;
}
std::uint16_t& entry(Table& table, unsigned i) {
    return table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
}

}  // namespace

unsigned DeviceRss::table_entries(const rte_eth_dev_info& device) noexcept {
    const bool usable = (device.flow_type_rss_offloads & RTE_ETH_RSS_NONFRAG_IPV4_TCP) != 0 &&
                        device.hash_key_size != 0 &&
                        device.hash_key_size <= SymmetricRss::kKeyBytes;
    // Its queue is that of the hash's low bits only if the size is a power of two.
    return usable && std::has_single_bit(unsigned{device.reta_size}) ? device.reta_size : 0;
}

DeviceRss::DeviceRss(const rte_eth_dev_info& device, unsigned queues, const SymmetricRss& rss)
    : types_(queues > 1 ? device.flow_type_rss_offloads &
                              (kTypes | (rss.sctp_ports ? RTE_ETH_RSS_SCTP : 0))
                        : 0),
      queues_(queues),
      entries_(table_entries(device)),
      key_(rss.key()) {
    if (device.hash_key_size <= key_.size()) key_bytes_ = device.hash_key_size;
}

void DeviceRss::request(rte_eth_conf& conf) noexcept {
    if (types_ == 0) return;
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = types_;
    if (key_bytes_ == 0) return;
    conf.rx_adv_conf.rss_conf.rss_key = key_.data();
    conf.rx_adv_conf.rss_conf.rss_key_len = static_cast<std::uint8_t>(key_bytes_);
}

bool DeviceRss::program(std::uint16_t id, std::span<const std::uint16_t> reta) {
    return types_ != 0 && entries_ != 0 && take_key(id) && take_table(id, reta) &&
           (types_ & RTE_ETH_RSS_NONFRAG_IPV4_TCP) != 0;
}

bool DeviceRss::can_hash_sctp(const rte_eth_dev_info& device) noexcept {
    return (device.flow_type_rss_offloads & RTE_ETH_RSS_SCTP) == RTE_ETH_RSS_SCTP;
}
bool DeviceRss::hashes_sctp() const noexcept {
    return (types_ & RTE_ETH_RSS_SCTP) == RTE_ETH_RSS_SCTP;
}

std::string DeviceRss::without() const {
    std::string names;
    for (const auto& [type, name] : kPlaced)
        if ((types_ & type) == 0) names += (names.empty() ? "" : ", ") + std::string(name);
    return names;
}

/// Whether the device hashes with this key. Its configuration does not show that: some devices
/// silently keep a key of their own.
bool DeviceRss::has_key(std::uint16_t id) {
    std::array<std::uint8_t, SymmetricRss::kKeyBytes> read{};
    // A device that leaves the buffer unchanged has not reported its key.
    for (std::size_t i = 0; i < read.size(); ++i)
        read[i] = static_cast<std::uint8_t>(~key_[i]);
    rte_eth_rss_conf conf{};
    conf.rss_key = read.data();
    conf.rss_key_len = static_cast<std::uint8_t>(key_bytes_);
    if (rte_eth_dev_rss_hash_conf_get(id, &conf) != 0 || conf.rss_hf == 0 ||
        !std::equal(read.begin(), read.begin() + key_bytes_, key_.begin()))
        return false;
    types_ = conf.rss_hf;
    return true;
}

bool DeviceRss::take_key(std::uint16_t id) {
    if (key_bytes_ == 0) return false;
    const std::uint64_t wanted = types_;
    if (has_key(id)) return true;
    // Some accept it only while they run.
    rte_eth_rss_conf conf{};
    conf.rss_key = key_.data();
    conf.rss_key_len = static_cast<std::uint8_t>(key_bytes_);
    conf.rss_hf = wanted;
    return rte_eth_dev_rss_hash_update(id, &conf) == 0 && has_key(id);
}

bool DeviceRss::take_table(std::uint16_t id, std::span<const std::uint16_t> reta) const {
    // A shorter table has fewer bits of the hash: they have to suffice for `reta`.
    for (std::size_t i = entries_; i < reta.size(); ++i)
        if (reta[i] != reta[i % entries_]) return false;
    Table table = empty_table(entries_);
    for (unsigned i = 0; i < entries_; ++i)
        entry(table, i) = static_cast<std::uint16_t>(reta[i % reta.size()] % queues_);
    const auto size = static_cast<std::uint16_t>(entries_);
    if (rte_eth_dev_rss_reta_update(id, table.data(), size) != 0) return false;
    Table read = empty_table(entries_);
    if (rte_eth_dev_rss_reta_query(id, read.data(), size) != 0) return true;  // it cannot be asked
    for (unsigned i = 0; i < entries_; ++i)
        if (entry(read, i) != entry(table, i)) return false;
    return true;
}

}  // namespace postern
