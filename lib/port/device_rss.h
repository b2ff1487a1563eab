// SPDX-License-Identifier: BSD-3-Clause
// DeviceRss: gives a device the key and the redirection table of the symmetric hash, and finds out
// what it has taken. Devices may keep a key or a table of their own and report success, so both are
// read back.
//
// Called by PortSet when it configures a device, before and after the device's start. Control only.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "net/rss.h"

struct rte_eth_conf;
struct rte_eth_dev_info;

namespace postern {

class DeviceRss {
  public:
    /// `queues`: those that the port is going to have.
    DeviceRss(const rte_eth_dev_info& device, unsigned queues, const SymmetricRss& rss);

    /// Entries of the device's table if it can select queues by the symmetric hash, else 0.
    static unsigned table_entries(const rte_eth_dev_info& device) noexcept;
    /// Whether it can hash the ports of SCTP, too.
    static bool can_hash_sctp(const rte_eth_dev_info& device) noexcept;

    /// Writes the wish into the configuration, which keeps a pointer into this object.
    void request(rte_eth_conf& conf) noexcept;
    /// Once the device runs. `reta`: the queue by the low bits of the hash. True if the device
    /// selects queues so, at least for TCP over IPv4.
    bool program(std::uint16_t id, std::span<const std::uint16_t> reta);
    /// Whether it hashes the ports of SCTP. After program().
    bool hashes_sctp() const noexcept;
    /// The protocols whose packets it does not place by their ports although the symmetric hash
    /// does, for a log line; empty: none. After program().
    std::string without() const;

  private:
    bool has_key(std::uint16_t id);
    bool take_key(std::uint16_t id);
    bool take_table(std::uint16_t id, std::span<const std::uint16_t> reta) const;

    std::uint64_t types_ = 0;  ///< requested; after program(): in force
    unsigned queues_ = 0;
    unsigned entries_ = 0;
    std::array<std::uint8_t, SymmetricRss::kKeyBytes> key_{};
    unsigned key_bytes_ = 0;  ///< 0: it has a key of its own
};

}  // namespace postern
