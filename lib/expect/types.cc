// SPDX-License-Identifier: BSD-3-Clause
#include "expect/types.h"

namespace postern {
namespace {

struct Text {
    std::string_view name;
    std::string_view help;
};
#define X(name, help) {#name, help},
constexpr Text kOutcomes[] = {POSTERN_INSERT_OUTCOMES(X)};
constexpr Text kEnds[] = {POSTERN_EXPECT_ENDS(X)};
#undef X
#define X(name, help) {"expectations_" #name, help, Unit::expectations},
constexpr MetricDesc kOutcomeMetrics[] = {POSTERN_INSERT_OUTCOMES(X)};
#undef X
#define X(name, help) {"expectations_ended_" #name, help, Unit::expectations},
constexpr MetricDesc kEndMetrics[] = {POSTERN_EXPECT_ENDS(X)};
#undef X
static_assert(std::size(kOutcomes) == kInsertOutcomes && std::size(kEnds) == kExpectEnds);

}  // namespace

std::string_view to_string(InsertOutcome o) noexcept {
    return kOutcomes[static_cast<unsigned>(o)].name;
}
std::string_view help_text(InsertOutcome o) noexcept {
    return kOutcomes[static_cast<unsigned>(o)].help;
}
std::string_view to_string(ExpectEnd e) noexcept {
    return kEnds[static_cast<unsigned>(e)].name;
}
std::string_view help_text(ExpectEnd e) noexcept {
    return kEnds[static_cast<unsigned>(e)].help;
}
const MetricDesc& metric_of(InsertOutcome o) noexcept {
    return kOutcomeMetrics[static_cast<unsigned>(o)];
}
const MetricDesc& metric_of(ExpectEnd e) noexcept {
    return kEndMetrics[static_cast<unsigned>(e)];
}
std::string_view to_string(ExpectEventType t) noexcept {
    constexpr std::string_view kNames[] = {"new", "claim", "expire", "destroy"};
    return kNames[static_cast<unsigned>(t)];
}

}  // namespace postern
