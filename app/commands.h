// SPDX-License-Identifier: BSD-3-Clause
// What posternctl can ask of the daemon.
#pragma once

#include <functional>

#include "control/server.h"
#include "firewall.h"
#include "letters.h"
#include "port/port_set.h"
#include "userspace/server.h"

namespace postern {

/// All commands; what is given must outlive the server's last poll(). `processes` may be null: no
/// helper lives in another one. `now` is the workers' time.
void register_commands(ControlServer& server, Firewall& firewall, const PortSet& ports,
                       const UserspaceServer* processes, std::function<Tick()> now);
/// Of these, those that list, end and watch connections.
void register_conntrack_commands(ControlServer& server, Firewall& firewall,
                                 std::function<Tick()> now);
/// Of these, the one that puts saved connections back.
void register_restore_command(ControlServer& server, Firewall& firewall, std::function<Tick()> now,
                              const std::shared_ptr<Letters>& expects,
                              const std::shared_ptr<Letters>& restores);
/// Of these, all about expectations, and the removal of a helper.
void register_expect_commands(ControlServer& server, Firewall& firewall, std::function<Tick()> now,
                              const std::shared_ptr<Letters>& letters);

/// One row of `conntrack list`; also used for tests.
Json connection_row(const Plan& plan, WorkerId worker, std::uint32_t slot, const Conn& conn,
                    Tick now);
/// The fields that lists and replay print of an expectation.
Json expectation_row(const Plan& plan, const ExpectInfo& info);

}  // namespace postern
