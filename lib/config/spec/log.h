// SPDX-License-Identifier: BSD-3-Clause
// `log`: records of packets, and where they go.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/drop_reason.h"
#include "base/log_rate.h"
#include "config/key.h"

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

struct LogSpec {
    LogRate of_default;
    std::array<LogRate, kDropReasons> of_reasons{};
    LogFileSpec file;
    std::string syslog;   ///< a UNIX socket; empty: none
    std::string journal;  ///< the same

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
    }
};

}  // namespace postern
