// SPDX-License-Identifier: BSD-3-Clause
// SaveStream: the connections and expectations of a running firewall in the binary form
// (state/record_writer.h), made in bounded steps. It asks each worker for its connections, then
// iterates over the expectation table. It is not a snapshot of one moment.
//
// Used by control's thread: by `conntrack save`, and by StateSaver. Memory: a few blocks, and with
// conditions the ids of the helped connections that were saved.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "conn_queries.h"
#include "state/record_writer.h"

namespace postern {

class SaveStream {
  public:
    /// `filter`: connections that do not match are left out, and so are the expectations of
    /// masters that were left out. `all`: nothing is left out, whatever the filter.
    SaveStream(Firewall& fw, std::shared_ptr<QueryOwners> owners, const ConnFilter& filter,
               bool all, std::function<Tick()> now);

    /// Appends what is ready to `out`, by visiting at most `most` connections or expectations.
    /// `row`: something was visited. `pending`: a worker has not answered. `done`: all is in `out`.
    Pull step(std::string& out, std::uint32_t most);

    const StateTotals& totals() const noexcept { return writer_.totals(); }

  private:
    void use_current_plan();
    Pull connections(std::uint32_t most);
    bool expectations(std::uint32_t most);

    Firewall& fw_;
    ConnQueries queries_;
    bool all_;
    std::function<Tick()> now_;
    RecordWriter writer_;
    std::optional<std::uint64_t> version_;  ///< of the writer's plan
    enum class Step {
        connections,
        expectations,
        done
    } step_ = Step::connections;
    ConnQuery::Row row_;
    HelperImage image_;
    std::unordered_set<std::uint64_t> masters_;  ///< with conditions: helped ones that were saved
    std::uint64_t filtered_ = 0;
    std::uint32_t cursor_ = 0;
};

/// Saves everything into `path` at once, from the tables of workers that do not run any more (or
/// not yet). `now`: their time.
Result<StateTotals> save_stopped(Firewall& fw, Tick now, const std::string& path);

}  // namespace postern
