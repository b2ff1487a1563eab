// SPDX-License-Identifier: BSD-3-Clause
#include "metrics/registry.h"

namespace postern {

std::string_view MetricSample::label(std::string_view name) const noexcept {
    for (const MetricLabel& l : labels)
        if (l.name == name) return l.value;
    return {};
}

void MetricRegistry::Reader::with(MetricLabel label, const MetricDesc& desc,
                                  std::uint64_t value) const {
    MetricLabels all = labels_;
    all.push_back(std::move(label));
    visit_({group_, desc, all, value, nullptr});
}

void MetricRegistry::for_each(const Visit& visit) const {
    for (const Group& g : groups_)
        g.read(Reader(g.name, g.labels, visit));
}

}  // namespace postern
