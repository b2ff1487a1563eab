// SPDX-License-Identifier: BSD-3-Clause
// Control as a reader and owner of the expectation table.
#pragma once

#include <rte_rcu_qsbr.h>

#include "firewall.h"

namespace postern {

/// Control is an RCU reader while one of these exists; it may not wait meanwhile.
class Online {
  public:
    explicit Online(Firewall& fw) : fw_(fw) {
        rte_rcu_qsbr_thread_online(fw_.rcu(), fw_.control_reader());
    }
    ~Online() { rte_rcu_qsbr_thread_offline(fw_.rcu(), fw_.control_reader()); }
    Online(const Online&) = delete;
    Online& operator=(const Online&) = delete;

  private:
    Firewall& fw_;
};

inline ExpectOwner& control_owner(Firewall& fw) {
    return fw.expectations().owner(static_cast<OwnerId>(fw.workers()));
}

}  // namespace postern
