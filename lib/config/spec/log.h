// SPDX-License-Identifier: BSD-3-Clause
// `log`: records of packets and connections, and where they go.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/drop_reason.h"
#include "base/log_rate.h"
#include "config/key.h"
#include "net/addr.h"

namespace postern {

inline constexpr std::string_view kLogRateType = "`yes`, `no`, or a number a second: `10/s`";

/// Lines of JSON.
struct LogFileSpec {
    std::string path;  ///< from the root; empty: there is none
    std::uint64_t max_bytes = std::uint64_t{64} << 20;
    std::uint32_t keep = 4;  ///< former files

    friend bool operator==(const LogFileSpec&, const LogFileSpec&) = default;

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("path", {.help = "a line of JSON a record. Its folder has to exist. New files "
                                      "have mode 0640",
                              .range = {1, 4000},
                              .form = Form::text,
                              .required = true,
                              .type = "a path, such as `/var/log/postern/packets.jsonl`",
                              .range_text = "at most 4000 bytes",
                              .expected = "a path, such as /var/log/postern/packets.jsonl"});
        keys("max", &LogFileSpec::max_bytes,
             {.help = "a file that would grow beyond this becomes `path.1`, that one `path.2`, ...",
              .range = {64 << 10, std::uint64_t{64} << 30, KeyUnit::size},
              .type = "size"});
        keys("keep", &LogFileSpec::keep,
             {.help = "former files; the oldest is removed", .range = {1, 1000}});
    }
};

/// A collector (RFC 7011), over UDP.
struct IpfixSpec {
    IpAddr collector;
    std::uint16_t port = 0;  ///< 0: there is none
    std::uint32_t domain = 1;
    std::uint32_t templates_s = 60;

    friend bool operator==(const IpfixSpec&, const IpfixSpec&) = default;

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("collector", {.help = "where messages go, over UDP. Port 4739 unless given",
                                   .range = {1, 64},
                                   .form = Form::text,
                                   .required = true,
                                   .type = "an address, perhaps with a port: `192.0.2.9:4739`, "
                                           "`[2001:db8::9]:4739`",
                                   .range_text = "at most 64 bytes",
                                   .expected = "an address with a port, such as 192.0.2.9:4739"});
        keys("domain", &IpfixSpec::domain,
             {.help = "observation domain id, which tells exporters of one address apart",
              .range = {0, UINT32_MAX}});
        keys("templates", &IpfixSpec::templates_s,
             {.help = "templates are sent again so often: a collector that was restarted reads "
                      "nothing before the next ones",
              .range = {1, 86400, KeyUnit::seconds}});
    }
};

/// Which events of connections make a flow record.
enum class FlowRecords : std::uint8_t {
    none,
    end,
    all
};
template <>
inline constexpr auto kWordsOf<FlowRecords> = words<FlowRecords>("a choice of flow records",
                                                                 {{"none", FlowRecords::none},
                                                                  {"end", FlowRecords::end},
                                                                  {"all", FlowRecords::all}});

struct LogSpec {
    LogRate of_default;
    std::array<LogRate, kDropReasons> of_reasons{};
    LogFileSpec file;
    std::string syslog;   ///< a UNIX socket; empty: none
    std::string journal;  ///< the same
    IpfixSpec ipfix;
    FlowRecords flows = FlowRecords::none;

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("default", {.help = "packets that match no rule",
                                 .form = Form::log_rate,
                                 .type = kLogRateType,
                                 .default_text = "`no`"});
        keys.by_hand("drops",
                     {.help = "packets dropped for these reasons (`posternctl drops` lists "
                              "them). A rule's own `log` is preferred to that of `policy` "
                              "and `reject`",
                      .form = Form::log_rate,
                      .shape = Shape::by_name,
                      .type = "reasons, each with `yes`, `no` or `10/s`",
                      .default_text = "none"});
        keys("flows", &LogSpec::flows,
             {.help = "flow records: `end`, of each connection when it ends, with its packets and "
                      "bytes; `all`, also when it begins"});
        keys.mapping("file", of<LogFileSpec>,
                     {.help = "a file of records", .default_text = "none"});
        keys("syslog", &LogSpec::syslog,
             {.help = "socket of a syslog daemon, such as `/dev/log`: RFC 5424, with the fields as "
                      "structured data",
              .range = {1, 107},
              .type = "text, at most 107 bytes",
              .default_text = "none"});
        keys("journal", &LogSpec::journal,
             {.help = "socket of systemd's journal, `/run/systemd/journal/socket`: each field with "
                      "its name (`POSTERN_RULE`)",
              .range = {1, 107},
              .type = "text, at most 107 bytes",
              .default_text = "none"});
        keys.mapping("ipfix", of<IpfixSpec>,
                     {.help = "a collector of IPFIX (RFC 7011)", .default_text = "none"});
    }
};

}  // namespace postern
