// SPDX-License-Identifier: BSD-3-Clause
// MetricRegistry: all metrics of a running program, for views.
//
// What: owners' metrics by group, each with labels; a view iterates over them and prints its
// selection.
// Used by: the control thread, which fills it at start and reads it for views. Life-cycle:
// everything that a group reads must outlive the registry's last use. Cost: nothing without a view.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/counter.h"
#include "metrics/histogram.h"
#include "metrics/metric.h"

namespace postern {

struct MetricLabel {
    std::string_view name;
    std::string value;
};
using MetricLabels = std::vector<MetricLabel>;

/// One number and its description; valid during the call that shows it.
struct MetricSample {
    std::string_view group;
    const MetricDesc& desc;
    const MetricLabels& labels;
    std::uint64_t value;         ///< of a histogram: the number of values
    const Histogram* histogram;  ///< null: it is not a histogram

    /// Empty: it has no such label.
    std::string_view label(std::string_view name) const noexcept;
};

class MetricRegistry {
  public:
    using Visit = std::function<void(const MetricSample&)>;

    /// Receives the numbers of one group while a view iterates.
    class Reader {
      public:
        Reader(std::string_view group, const MetricLabels& labels, const Visit& visit)
            : group_(group), labels_(labels), visit_(visit) {}
        void operator()(const MetricDesc& desc, std::uint64_t value) const {
            visit_({group_, desc, labels_, value, nullptr});
        }
        void operator()(const MetricDesc& desc, const Counter& c) const { (*this)(desc, c.get()); }
        void operator()(const MetricDesc& desc, const Histogram& h) const {
            visit_({group_, desc, labels_, h.count(), &h});
        }
        /// With one more label than the group has.
        void with(MetricLabel label, const MetricDesc& desc, std::uint64_t value) const;

      private:
        std::string_view group_;
        const MetricLabels& labels_;
        const Visit& visit_;
    };

    /// `group` names the owner ("worker", "port"); `read` passes each metric to the reader.
    void add(std::string_view group, MetricLabels labels, std::function<void(const Reader&)> read) {
        groups_.push_back({group, std::move(labels), std::move(read)});
    }
    /// The metrics of a struct made by POSTERN_METRICS.
    template <class Set>
    void add_set(std::string_view group, MetricLabels labels, const Set& set) {
        add(group, std::move(labels), [&set](const Reader& reader) { set.each(reader); });
    }
    /// Every sample, in the order in which groups were added.
    void for_each(const Visit& visit) const;

  private:
    struct Group {
        std::string_view name;
        MetricLabels labels;
        std::function<void(const Reader&)> read;
    };
    std::vector<Group> groups_;
};

}  // namespace postern
