// SPDX-License-Identifier: BSD-3-Clause
// `helpers`: the configured helpers, with their parameters.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/types.h"
#include "config/key.h"
#include "config/spec/mark.h"
#include "config/spec/timeouts.h"

namespace postern {

/// A parameter's value; the alternative is the one that the helper's kind declares.
using ParamValue = std::variant<bool, std::uint64_t, std::string>;
struct HelperParam {
    std::string name;
    ParamValue value;
};

inline constexpr std::string_view kTransportWords[] = {"tcp", "udp"};

/// The declaration of a helper whose parser is another process.
struct UserspaceSpec {
    struct Class {
        std::string name;
        std::uint8_t protocol = 0;  ///< of the expected connections: proto::tcp or proto::udp
        std::uint8_t max = 1;
        std::uint32_t timeout_s = 30;  ///< of one that is not claimed

        template <class Keys>
        static void describe(Keys& keys) {
            keys.by_hand("name", {.help = "shown in lists",
                                  .form = Form::name,
                                  .required = true,
                                  .expected = "a name of your choice, such as data"});
            keys.by_hand("proto",
                         {.help = "protocol of the expected connections; another one is refused",
                          .form = Form::choice,
                          .words = kTransportWords,
                          .noun = "a protocol it may open",
                          .required = true,
                          .expected = "tcp or udp"});
            keys("max", &Class::max,
                 {.help = "pending at once for one connection; a further one displaces the oldest",
                  .range = {1, 255}});
            keys(
                "timeout", &Class::timeout_s,
                {.help = "lifetime of an expectation that is not claimed", .range = kTimeoutRange});
        }
    };
    std::vector<Class> classes;    ///< 1..4
    bool stream = false;           ///< TCP bytes as they arrive, not line by line
    bool proof = true;             ///< nothing opens before the process reports `proven`
    std::uint8_t data_bytes = 32;  ///< private state of a connection
    bool bypass = true;            ///< traffic passes when the process is absent or late
    std::uint32_t wait_ms = 200;
    std::uint32_t queue = 256;
    std::string socket;  ///< empty: helper-NAME.sock beside the control socket

    static constexpr std::string_view kFramingWords[] = {"lines", "stream"};

    template <class Keys>
    static void describe(Keys& keys) {
        using U = UserspaceSpec;
        keys.by_hand("transports", {.help = "transport of its control connections",
                                    .form = Form::choice,
                                    .shape = Shape::one_or_more,
                                    .words = kTransportWords,
                                    .noun = "a transport",
                                    .required = true,
                                    .expected = "[tcp], [udp] or both"});
        keys.by_hand("framing",
                     {.help = "unit in which its process receives a TCP connection: whole lines, "
                              "or bytes in order as they arrive. A datagram is always one message",
                      .form = Form::choice,
                      .words = kFramingWords,
                      .noun = "a framing",
                      .default_text = "`lines`"});
        keys("data_len", &U::data_bytes,
             {.help = "bytes of private state that Postern keeps for each connection",
              .range = {0, 32}});
        keys("proof", &U::proof,
             {.help = "nothing opens before the process has reported that both sides use the "
                      "protocol. `false` states explicitly that there is no proof"});
        keys("bypass", &U::bypass,
             {.help = "fate of packets while the process is absent, late or too busy. `true`: they "
                      "pass and announce nothing. `false`: they wait up to `wait_ms` and are then "
                      "dropped (`helper_absent`); TCP retransmits them"});
        keys(
            "wait_ms", &U::wait_ms,
            {.help = "longest wait of a packet for the answer, milliseconds", .range = {1, 60000}});
        keys("queue", &U::queue,
             {.help = "packets that wait at once, on each worker; further ones are treated as if "
                      "the process were absent",
              .range = {1, 65536, KeyUnit::size}});
        keys("socket", &U::socket,
             {.help = "UNIX socket to which its process connects",
              .range = {1, 107},
              .type = "path",
              .default_text = "`helper-NAME.sock` beside the control socket",
              .range_text = "at most 107 bytes"});
        keys.mapping("classes", of<Class>,
                     {.help = "kinds of connections it may expect",
                      .shape = Shape::list,
                      .required = true,
                      .type = "list of 1 to 4",
                      .expected = "a list of the kinds of connections it expects"});
    }
};

/// A configured helper instance. Its HelperId is its index in Spec::helpers plus 1.
struct HelperSpec {
    std::string name;  ///< unique; rules use it
    std::string kind;  ///< name of the helper in the schema; default: the same
    std::vector<std::uint8_t>
        protocols;  ///< transports that the kind supports: proto::tcp, proto::udp
    std::vector<std::uint16_t> ports;  ///< its usual control ports, host order; default: the kind's
    /// Also assigns it to connections to its ports that a rule accepts without naming a helper.
    bool auto_assign = false;
    std::vector<HelperParam>
        params;  ///< all of the kind's, in the kind's order, defaults filled in
    std::optional<UserspaceSpec> userspace;  ///< its kind is then its own name
    SpecMark where;

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("name", {.help = "rules use it; also the kind when `helper` is not given",
                              .form = Form::name,
                              .required = true,
                              .expected = "a name of your choice, such as ftp"});
        keys.by_hand(
            "helper",
            {.help = "its kind; one kind may be configured several times with different parameters",
             .form = Form::helper_kind,
             .noun = "a helper",
             .type = "a kind",
             .default_text = "`name`"});
        keys.by_hand("ports", {.help = "its usual control ports. Rules decide which connections it "
                                       "reads; the ports are for `auto_assign`, and `check` warns "
                                       "of a rule that accepts one of them without the helper",
                               .range = {1, 65535},
                               .form = Form::number,
                               .shape = Shape::one_or_more,
                               .type = "one or more ports",
                               .default_text = "the kind's"});
        keys("auto_assign", &HelperSpec::auto_assign,
             {.help = "assign it also to connections to these ports that a rule accepts without "
                      "`helper:`. While false, the log names the first such connection, and all "
                      "are counted (`helpers_not_assigned`)"});
        keys.by_hand("params",
                     {.help = "the kind's parameters; with `userspace`: `loose`, `deny_ports` and "
                              "`deny_services`, as of `ftp`",
                      .form = Form::mapping,
                      .own_table = false});
        keys.mapping("userspace", of<UserspaceSpec>,
                     {.help = "its parser is another process, which connects to Postern, see "
                              "below. Excludes `helper`",
                      .default_text = "none"});
    }
};

}  // namespace postern
