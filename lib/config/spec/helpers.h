// SPDX-License-Identifier: BSD-3-Clause
// `helpers`: which helpers there are, with which parameters.
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

/// What is declared of a helper whose parser lives in another process.
struct UserspaceSpec {
    struct Class {
        std::string name;
        std::uint8_t protocol = 0;  ///< of what it opens: proto::tcp or proto::udp
        std::uint8_t max = 1;
        std::uint32_t timeout_s = 30;  ///< of one that is not used

        template <class Keys>
        static void describe(Keys& keys) {
            keys.by_hand("name", {.help = "shown in lists",
                                  .form = Form::name,
                                  .required = true,
                                  .expected = "a name of your choice, such as data"});
            keys.by_hand("proto", {.help = "the protocol of what it opens; another one is refused",
                                   .form = Form::choice,
                                   .words = kTransportWords,
                                   .noun = "a protocol it may open",
                                   .required = true,
                                   .expected = "tcp or udp"});
            keys("max", &Class::max,
                 {.help = "pending at once, of one connection; the oldest gives way",
                  .range = {1, 255}});
            keys("timeout", &Class::timeout_s,
                 {.help = "of one that nobody uses", .range = kTimeoutRange});
        }
    };
    std::vector<Class> classes;    ///< 1..4
    bool stream = false;           ///< TCP comes as it arrives, not line by line
    bool proof = true;             ///< opens nothing before the process has said `proven`
    std::uint8_t data_bytes = 32;  ///< private state of a connection
    bool bypass = true;            ///< traffic passes when the process is absent or late
    std::uint32_t wait_ms = 200;
    std::uint32_t queue = 256;
    std::string socket;  ///< empty: helper-NAME.sock beside the control socket

    static constexpr std::string_view kFramingWords[] = {"lines", "stream"};

    template <class Keys>
    static void describe(Keys& keys) {
        using U = UserspaceSpec;
        keys.by_hand("transports", {.help = "what its control connections run over",
                                    .form = Form::choice,
                                    .shape = Shape::one_or_more,
                                    .words = kTransportWords,
                                    .noun = "a transport",
                                    .required = true,
                                    .expected = "[tcp], [udp] or both"});
        keys.by_hand("framing",
                     {.help = "what its process gets of a TCP connection: whole lines, or bytes in "
                              "order as they come. A datagram is a message, always",
                      .form = Form::choice,
                      .words = kFramingWords,
                      .noun = "a framing",
                      .default_text = "`lines`"});
        keys("data_len", &U::data_bytes,
             {.help = "bytes of private state that Postern keeps for each connection",
              .range = {0, 32}});
        keys("proof", &U::proof,
             {.help = "nothing opens before the process has said that both sides speak the "
                      "protocol. `false` is the explicit word that there is no proof"});
        keys("bypass", &U::bypass,
             {.help = "what becomes of packets when the process is absent, late or has too much to "
                      "do: they pass, and announce nothing; with `false` they wait up to "
                      "`wait_ms`, then are dropped (`helper_absent`), and TCP sends them again"});
        keys("wait_ms", &U::wait_ms,
             {.help = "milliseconds that a packet waits for the answer", .range = {1, 60000}});
        keys("queue", &U::queue,
             {.help = "packets that wait at once, on each worker; more are treated as if the "
                      "process were absent",
              .range = {1, 65536, KeyUnit::size}});
        keys("socket", &U::socket,
             {.help = "where its process connects",
              .range = {1, 107},
              .type = "path",
              .default_text = "`helper-NAME.sock` beside the control socket",
              .range_text = "at most 107 bytes"});
        keys.mapping("classes", of<Class>,
                     {.help = "what it may expect",
                      .shape = Shape::list,
                      .required = true,
                      .type = "list of 1 to 4",
                      .expected = "a list of what it expects"});
    }
};

/// A configured helper instance. Its HelperId is its index in Spec::helpers plus 1.
struct HelperSpec {
    std::string name;  ///< unique; rules use it
    std::string kind;  ///< name of the helper in the schema; default: the same
    std::vector<std::uint8_t>
        protocols;  ///< transports that the kind supports: proto::tcp, proto::udp
    std::vector<std::uint16_t> ports;  ///< its usual control ports, host order; default: the kind's
    /// Also watches connections to its ports that a rule accepts without naming a helper.
    bool auto_assign = false;
    std::vector<HelperParam>
        params;  ///< all of the kind's, in the kind's order, defaults filled in
    std::optional<UserspaceSpec> userspace;  ///< its kind is then its own name
    SpecMark where;

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("name",
                     {.help = "what rules call it; also the kind when `helper` is not given",
                      .form = Form::name,
                      .required = true,
                      .expected = "a name of your choice, such as ftp"});
        keys.by_hand("helper", {.help = "which helper it is, so that one kind can be there twice "
                                        "with different parameters",
                                .form = Form::helper_kind,
                                .noun = "a helper",
                                .type = "a kind",
                                .default_text = "`name`"});
        keys.by_hand(
            "ports",
            {.help = "its usual control ports, for advice and `auto_assign`: `check` warns "
                     "of a rule that accepts one of them without the helper. Rules decide",
             .range = {1, 65535},
             .form = Form::number,
             .shape = Shape::one_or_more,
             .type = "one or more ports",
             .default_text = "the kind's"});
        keys(
            "auto_assign", &HelperSpec::auto_assign,
            {.help = "also watch connections to these ports that a rule accepts without `helper:`. "
                     "While false, the first one that would have been watched is said in the log, "
                     "and all are counted (`helpers_not_assigned`)"});
        keys.by_hand("params",
                     {.help = "the kind's parameters; with `userspace`: `loose`, `deny_ports` and "
                              "`deny_services`, as of `ftp`",
                      .form = Form::mapping,
                      .own_table = false});
        keys.mapping(
            "userspace", of<UserspaceSpec>,
            {.help = "its parser is another process, which connects to Postern: see below. "
                     "Excludes `helper`",
             .default_text = "none"});
    }
};

}  // namespace postern
