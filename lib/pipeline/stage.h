// SPDX-License-Identifier: BSD-3-Clause
// Stage: one step of a packet's life, a function over a burst.
//
// A stage is constant data; pipelines/stages has one file each, pipelines/meson.build lists them.
// The order in the configuration is what runs; `needs` and `provides` only validate it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/batch.h"

namespace postern {

class Worker;

/// What stages establish about a packet. A bit each.
namespace fact {
inline constexpr std::uint32_t headers = 0x01,  ///< PacketInfo is filled in
    home = 0x02,                                ///< the packet is on its home worker
    connection = 0x04,                          ///< hits are tracked, misses known
    expectation = 0x08,                         ///< misses know whether they were expected
    verdict = 0x10,                             ///< policy has spoken on misses
    committed = 0x20,                           ///< accepted misses are connections
    announced = 0x40,                           ///< helpers have read what passes
    route = 0x80;                               ///< accepted packets know their output port
}  // namespace fact

struct StageDesc {
    std::string_view name;
    std::string_view help;
    MaskId on;  ///< not called when this mask is empty
    std::uint32_t needs;
    std::uint32_t provides;
    /// What must not be established yet: the stage would come too late.
    std::uint32_t before = 0;
    void (*run)(Worker& worker, Batch& batch) noexcept;
};

/// Why an order of stages does not work, and which of them is to blame (their number: the end).
struct OrderProblem {
    std::size_t at;
    std::string text;
};
/// Nothing when everything that a stage needs is provided before it, and at the end packets know
/// where to go.
std::optional<OrderProblem> order_problem(const std::vector<const StageDesc*>& stages);

}  // namespace postern
