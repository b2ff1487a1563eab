// SPDX-License-Identifier: BSD-3-Clause
// Stage: one step of the packet path, a function over a burst.
//
// A stage is constant data; pipelines/stages has one file each, pipelines/meson.build lists them.
// They run in the order of the configuration; `needs` and `provides` only validate it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/batch.h"

namespace postern {

class Worker;

/// Facts that stages establish about a packet. A bit each.
namespace fact {
inline constexpr std::uint32_t headers = 0x01,  ///< PacketInfo is filled in
    home = 0x02,                                ///< the packet is on its home worker
    connection = 0x04,                          ///< hits are tracked, misses are known
    expectation = 0x08,                         ///< misses are looked up in the expectations
    verdict = 0x10,                             ///< misses have a policy verdict
    committed = 0x20,                           ///< accepted misses are connections
    announced = 0x40,                           ///< helpers have read the packets that pass
    route = 0x80;                               ///< accepted packets know their output port
}  // namespace fact

struct StageDesc {
    std::string_view name;
    std::string_view help;
    MaskId on;  ///< not called when this mask is empty
    std::uint32_t needs;
    std::uint32_t provides;
    /// Facts that must not be established yet: the stage would come too late.
    std::uint32_t before = 0;
    void (*run)(Worker& worker, Batch& batch) noexcept;
};

/// The error of an order of stages, and the stage that causes it (their number: the end).
struct OrderProblem {
    std::size_t at;
    std::string text;
};
/// Returns nothing if every stage's needs are provided before it, and packets have an output port
/// at the end.
std::optional<OrderProblem> order_problem(const std::vector<const StageDesc*>& stages);

}  // namespace postern
