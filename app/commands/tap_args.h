// SPDX-License-Identifier: BSD-3-Clause
// What `capture` and `trace` have in common: their filter and their bounds.
#pragma once

#include <string>

#include "args.h"
#include "capture/filter.h"
#include "tap_reader.h"

namespace postern {

inline constexpr std::uint32_t kTapSeconds = 3600, kMaxTapSeconds = 7 * 24 * 3600;
inline constexpr std::uint32_t kTapPackets = 1'000'000;

inline ArgSpec filter_arg() {
    return {.name = "filter",
            .type = ArgType::filter,
            .help = "these packets only; without it all",
            .positional = true};
}
inline ArgSpec packets_arg() {
    return {"packets", ArgType::integer, false, "end after this many (default: 1000000)"};
}
inline ArgSpec time_arg() {
    return {"time", ArgType::time, false, "end after this time (default: 1h, at most 7d)"};
}

inline PacketFilter read_filter(Args& args, const Json& json) {
    if (!json.contains("filter")) return {};
    auto filter = PacketFilter::from_program(json["filter"].get_ref<const std::string&>());
    if (filter) return std::move(*filter);
    args.wrong("filter", filter.error().message);
    return {};
}
inline std::uint32_t read_time(Args& args) {
    return args.time("time", kMaxTapSeconds).value_or(kTapSeconds);
}

}  // namespace postern
