// SPDX-License-Identifier: BSD-3-Clause
// Spec: the contents of one configuration file, as plain values. load_spec() fills it and has
// checked all of it: names are resolved to indices, ranges hold, defaults are in place. Users of a
// Spec rely on that and check nothing again. It contains no YAML, no DPDK and no other part of
// Postern.
//
// Each section has a header in spec/, which also describes its keys (config/key.h).
//
// Used by: app, once at start (control thread); workers never read a Spec, only objects built from
// it. Life-cycle: a value. No synchronisation: it is not shared.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/types.h"
#include "config/key.h"
#include "config/spec/eal.h"
#include "config/spec/groups.h"
#include "config/spec/helpers.h"
#include "config/spec/limits.h"
#include "config/spec/log.h"
#include "config/spec/policy.h"
#include "config/spec/sets.h"
#include "config/spec/state.h"
#include "config/spec/timeouts.h"
#include "config/spec/zones.h"

namespace postern {

inline constexpr unsigned kMaxSocketPath = 107;  ///< bytes; sockaddr_un

/// Access to the reading socket.
enum class ReadAccess : std::uint8_t {
    owner,
    group,
    all
};
template <>
inline constexpr auto kWordsOf<ReadAccess> = words<ReadAccess>("who may use the reading socket",
                                                               {{"owner", ReadAccess::owner},
                                                                {"group", ReadAccess::group},
                                                                {"all", ReadAccess::all}});

struct ControlSpec {
    std::string socket = "/run/postern/control.sock";  ///< path of the UNIX socket
    std::string read_socket;                           ///< empty: there is none
    ReadAccess read_access = ReadAccess::group;
    std::string read_group;  ///< a group's name; empty: the process's
    std::string history;     ///< folder of former configurations; empty: they are in memory only

    template <class Keys>
    static void describe(Keys& keys) {
        keys("socket", &ControlSpec::socket,
             {.help = "UNIX socket, mode 0600. Missing folders are made with mode 0700. A folder "
                      "that belongs to another user, or that others may write to, is refused",
              .range = {1, kMaxSocketPath},
              .type = "text, at most 107 bytes"});
        keys("read_socket", &ControlSpec::read_socket,
             {.help = "a second socket for monitoring, which accepts only commands that read. "
                      "Missing folders are made with mode 0711; otherwise as `socket`",
              .range = {1, kMaxSocketPath},
              .type = "text, at most 107 bytes",
              .default_text = "none"});
        keys("read_access", &ControlSpec::read_access,
             {.help = "who may use it: mode 0600, 0660 or 0666"});
        keys("read_group", &ControlSpec::read_group,
             {.help = "group of its file",
              .range = {1, 32},
              .type = "text, at most 32 bytes",
              .default_text = "the daemon's"});
        keys("history", &ControlSpec::history,
             {.help = "folder for the last ten configurations that were in force "
                      "(`posternctl config list`); made with mode 0700. Without it they are lost "
                      "when the daemon ends. Each daemon needs a folder of its own",
              .range = {1, 4096},
              .type = "text, at most 4096 bytes",
              .default_text = "none"});
    }
};

struct Spec {
    EalSpec eal;
    WorkersSpec workers;
    std::vector<ZoneSpec> zones;  ///< a ZoneId is an index; 1..kMaxZones
    std::vector<PortSpec> ports;  ///< a PortId is an index; 1..kMaxPorts
    std::vector<BridgeSpec> bridges;
    std::vector<HelperSpec> helpers;  ///< a HelperId is an index plus 1; at most kMaxHelpers - 1
    std::vector<LiveSetSpec> sets;    ///< at most kMaxSets
    TimeoutSeconds timeouts;
    std::vector<TimeoutProfileSpec> timeout_profiles;  ///< those that rules use
    LimitsSpec limits;
    PolicySpec policy;
    std::vector<std::string> pipeline;  ///< stage names in running order; default: the schema's
    ControlSpec control;
    StateSpec state;
    LogSpec log;
    std::string scanner_cache;  ///< directory of compiled patterns; empty: none are kept

    const HelperSpec& helper(HelperId id) const { return helpers[id - 1u]; }

    template <class Keys>
    static void describe(Keys& keys) {
        keys.mapping("eal", of<EalSpec>, {.help = "set-up of DPDK"});
        keys.mapping("workers", of<WorkersSpec>, {.help = "threads that process packets"});
        keys.mapping("zones", of<ZoneSpec>,
                     {.help = "security zones",
                      .form = Form::name,
                      .shape = Shape::list,
                      .required = true,
                      .type = "list of names or mappings",
                      .expected = "a list of names, such as [inside, outside]"});
        keys.mapping("ports", of<PortSpec>,
                     {.help = "network devices",
                      .shape = Shape::list,
                      .required = true,
                      .type = "list",
                      .expected = "a list of {name, device, zone}"});
        keys.mapping("bridges", of<BridgeSpec>,
                     {.help = "pairs of ports",
                      .shape = Shape::list,
                      .type = "list",
                      .default_text = "none"});
        keys.mapping("helpers", of<HelperSpec>,
                     {.help = "protocol helpers (ALGs): they read control connections and expect "
                              "the announced ones",
                      .shape = Shape::list,
                      .type = "list",
                      .default_text = "none"});
        keys.mapping("groups", of<GroupsSpec>,
                     {.help = "lists of addresses, ports and services with names, for rules",
                      .default_text = "none"});
        keys.mapping("sets", of<LiveSetSpec>,
                     {.help = "sets of addresses that commands change, for rules",
                      .shape = Shape::list,
                      .type = "list, at most 32",
                      .default_text = "none"});
        keys.mapping("timeouts", of<TimeoutsSpec>,
                     {.help = "how long a silent connection is kept", .default_text = "Linux's"});
        keys.mapping("limits", of<LimitsSpec>, {.help = "limits and table sizes"});
        keys.mapping("policy", of<PolicySpec>,
                     {.help = "which connections may begin",
                      .required = true,
                      .expected = "{default, rules}"});
        keys.by_hand("pipeline", {.help = "stages of the packet path, see below",
                                  .form = Form::stage,
                                  .shape = Shape::one_or_more,
                                  .noun = "a stage",
                                  .type = "one or more stages",
                                  .default_text = "all stages"});
        keys.mapping("control", of<ControlSpec>, {.help = "sockets for `posternctl`"});
        keys.mapping("state", of<StateSpec>,
                     {.help = "keeps connections over a restart, see below",
                      .default_text = "nothing is kept"});
        keys.mapping("log", of<LogSpec>,
                     {.help = "records of packets, see below", .default_text = "none"});
        keys.by_hand("scanner_cache",
                     {.help = "directory that keeps the compiled patterns of helpers, see below",
                      .range = {1, 4000},
                      .form = Form::text,
                      .type = "a directory, such as `/var/cache/postern`",
                      .default_text = "none",
                      .range_text = "at most 4000 bytes"});
    }
};

/// A short summary for operators, several lines, each ended by a newline.
std::string describe(const Spec& spec);

}  // namespace postern
