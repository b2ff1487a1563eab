// SPDX-License-Identifier: BSD-3-Clause
// `limits`: limits and table sizes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/types.h"
#include "config/key.h"

namespace postern {

/// Expectations pending at once; 0 = no limit.
struct ExpectationsPerSpec {
    std::uint32_t ct_zone = 0;  ///< of each conntrack zone
    /// Of conntrack zones with a limit of their own.
    std::vector<std::pair<CtZone, std::uint32_t>> of_ct_zones;
    // Of masters; by default shares of LimitsSpec::expectations.
    std::uint32_t source = 0;         ///< that one address (an IPv6 /64) began
    std::uint32_t server = 0;         ///< to one address
    std::uint32_t security_zone = 0;  ///< begun from one zone
    std::uint32_t destination = 64;   ///< for one destination address and port

    /// The defaults. Shares of a small table are not so small that a few messages fill them.
    static constexpr ExpectationsPerSpec shares_of(std::uint32_t expectations) {
        constexpr std::uint32_t kLeast = 64;
        ExpectationsPerSpec per;
        per.source = std::max(kLeast, expectations / 4);
        per.server = std::max(kLeast, expectations / 2);
        per.security_zone = std::max(kLeast, expectations - expectations / 4);
        return per;
    }

    template <class Keys>
    static void describe(Keys& keys) {
        constexpr KeyRange kCount{0, 16u << 20, KeyUnit::size};
        keys.by_hand(
            "ct_zone",
            {.help =
                 "for each conntrack zone; with a mapping, for those that it names. 0 = no limit",
             .range = kCount,
             .form = Form::number,
             .shape = Shape::one_or_by_number,
             .max_key = kCtZones - 1,
             .type = "count, or a mapping of conntrack zones to counts",
             .default_text = "no limit",
             .formerly = "zone"});
        keys.by_hand("source",
                     {.help = "for all masters begun by one address, or one IPv6 /64. 0 = no limit",
                      .range = kCount,
                      .form = Form::number,
                      .default_text = "a quarter of `expectations`, 64 at least"});
        keys.by_hand("server", {.help = "for all masters to one address. It bounds a server that "
                                        "answers forged sources, and so proves them. 0 = no limit",
                                .range = kCount,
                                .form = Form::number,
                                .default_text = "half of `expectations`, 64 at least"});
        keys.by_hand("security_zone",
                     {.help = "for all masters begun from one security zone. 0 = no limit",
                      .range = kCount,
                      .form = Form::number,
                      .default_text = "three quarters of `expectations`, 64 at least"});
        keys("destination", &ExpectationsPerSpec::destination,
             {.help = "for one destination address and port, from different sources",
              .range = {1, 65535, KeyUnit::size},
              .range_text = "1 to 65535"});
    }
};

/// Fixed at start; memory for all of it is allocated. Totals over all workers.
struct LimitsSpec {
    std::uint32_t connections = 262144;        ///< tracked at once
    std::uint32_t expectations = 65536;        ///< pending at once
    std::uint32_t helped_connections = 16384;  ///< connections with a helper at once
    std::uint32_t stream_buffer_bytes = 4096;  ///< a direction of a control stream
    std::uint32_t fragments = 4096;            ///< held for their datagram at once
    /// Of one source (an IPv4 address, an IPv6 /64); 0 = no limit. Connections not yet answered, or
    /// for TCP not confirmed.
    std::uint32_t half_open_per_source = 0;       ///< at once
    std::uint32_t new_per_second_per_source = 0;  ///< begun within a second
    // Answers to rejected packets; 0 = no limit.
    std::uint32_t answers_per_second = 1000;
    std::uint32_t answers_per_second_per_source = 50;
    /// Of one worker; 0 = no limit. Begun within a second.
    std::uint32_t new_per_second_per_worker = 1u << 20;
    ExpectationsPerSpec expectations_per = ExpectationsPerSpec::shares_of(expectations);
    std::vector<std::uint32_t>
        per_zone;  ///< connections begun from a zone, by ZoneId; 0 = no limit

    template <class Keys>
    static void describe(Keys& keys) {
        using L = LimitsSpec;
        constexpr KeyRange kPerSource{0, 60000, KeyUnit::size};
        constexpr KeyRange kConnections{0, 256u << 20, KeyUnit::size};
        keys("connections", &L::connections,
             {.help = "tracked at once. At the limit a new connection displaces the least valuable "
                      "of a small sample: one never answered, else closing, else not yet assured "
                      "(`early_dropped`). Assured ones stay; if all are assured, the new one is "
                      "dropped (`ct_table_full`). 1/64 is reserved for expected ones; expected "
                      "ones beyond it have no precedence. Several workers share the limit; each "
                      "has 1/64 of the whole in addition, since hashing does not spread evenly",
              .range = {64, 256u << 20, KeyUnit::size}});
        keys("expectations", &L::expectations,
             {.help = "pending at once. At the limit the TCP segment that announces a further one "
                      "is dropped (`helper`). Its retransmission passes and opens nothing "
                      "(`announced_unexpected`); a datagram passes at once. Connections not "
                      "answered yet have a pool of their own, 16 expectations each",
              .range = {16, 16u << 20, KeyUnit::size}});
        keys.by_hand(
            "helped_connections",
            {.help =
                 "answered connections with a helper at once. A further one displaces the one that "
                 "was silent for longest (`helper_slots_displaced`). A source that holds an eighth "
                 "of all, or a destination that holds half, displaces one of its own. Unanswered "
                 "connections have a pool of their own: a quarter as many slots, for 32 seconds",
             .range = {16, 16u << 20, KeyUnit::size},
             .form = Form::number,
             .default_text = "16K, or `connections` if that is less",
             .range_text = "16 to 16M, at most `connections`"});
        keys("stream_buffer", &L::stream_buffer_bytes,
             {.help = "bytes buffered for one direction of a control connection. The helper gives "
                      "a direction up at a longer message or gap. SIP (32 KiB), H.323 (16 KiB) and "
                      "IRC (8703 bytes) accept longer messages: these use 64 long buffers a "
                      "worker, which exist only if such a helper does",
              .range = {512, 32768, KeyUnit::size},
              .type = "size"});
        keys("fragments", &L::fragments,
             {.help = "fragments held at once until their datagram is complete; also the limit of "
                      "incomplete datagrams. At the limit a new datagram displaces the oldest "
                      "(`fragment_full`). Each fragment takes a packet buffer of the largest MTU",
              .range = {64, 1u << 20, KeyUnit::size}});
        keys.mapping("expectations_per", of<ExpectationsPerSpec>,
                     {.help = "expectations pending for one conntrack zone, source, server, "
                              "security zone or destination"});
        keys.group("per_source", {.help = "limits of one source", .default_text = "no limits"},
                   [&](auto& of) {
                       of("half_open", &L::half_open_per_source,
                          {.help = "half-open connections at once: not answered, or for TCP not "
                                   "confirmed, yet. A further one is dropped (`source_half_open`)",
                           .range = kPerSource,
                           .default_text = "0 = no limit",
                           .range_text = "0 to 60000"});
                       of("new_per_second", &L::new_per_second_per_source,
                          {.help = "connections begun within a second. A further one is dropped "
                                   "(`source_rate`)",
                           .range = kPerSource,
                           .default_text = "0 = no limit",
                           .range_text = "0 to 60000"});
                   });
        keys.group("answers", {.help = "rate of answers to rejected packets"}, [&](auto& of) {
            of("per_second", &L::answers_per_second,
               {.help = "answers to all senders. 0 = no limit",
                .range = {0, 1u << 20, KeyUnit::size}});
            of("per_source", &L::answers_per_second_per_source,
               {.help = "answers a second to one sender: an IPv4 address, or an IPv6 "
                        "/64. 0 = no limit",
                .range = kPerSource,
                .range_text = "0 to 60000"});
        });
        keys.group("per_worker", {.help = "limits of one worker"}, [&](auto& of) {
            of("new_per_second", &L::new_per_second_per_worker,
               {.help = "connections begun within a second, spread over it. A further one is "
                        "dropped (`worker_rate`). Expected connections are not counted. The limit "
                        "keeps a worker that receives many new connections from spending all of "
                        "its time on them",
                .range = {0, 16u << 20, KeyUnit::size},
                .range_text = "0 to 16M; 0 = no limit"});
        });
        keys.by_hand("per_zone",
                     {.help = "by the name of a security zone: connections at once that were begun "
                              "from it; 0 = no limit. A further one is dropped (`zone_full`)",
                      .range = kConnections,
                      .form = Form::number,
                      .shape = Shape::by_name,
                      .type = "mapping of zones to counts",
                      .default_text = "no limits",
                      .range_text = "0 to 256M each"});
    }
};

}  // namespace postern
