// SPDX-License-Identifier: BSD-3-Clause
// ConnQueries: sends one ConnQuery (list, save, end) to each worker, one worker after the other.
// Control's thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "conn_conditions.h"
#include "conntrack/filter.h"
#include "control/command.h"
#include "firewall.h"

namespace postern {

class ConnQueries;

/// A client that waits for a worker's answer, and the time of its last check.
struct QueryOwner {
    const ConnQueries* query = nullptr;
    std::chrono::steady_clock::time_point looked;
};
/// By worker; one for all commands.
using QueryOwners = std::vector<QueryOwner>;

/// One query to all workers, one worker after the other. The query of a disconnected client is
/// cancelled; until the worker has noticed, the next one waits. A list whose client does not read
/// yields to those that wait, and resumes at its position when its client reads again.
class ConnQueries {
  public:
    ConnQueries(Firewall& fw, std::shared_ptr<QueryOwners> owners, ConnQuery::Action action,
                const ConnFilter& filter)
        : fw_(fw), owners_(std::move(owners)), action_(action), filter_(filter) {}
    ~ConnQueries() {
        for (unsigned w = 0; w < owners_->size(); ++w)
            if ((*owners_)[w].query == this) take_back(w);
    }
    ConnQueries(const ConnQueries&) = delete;
    ConnQueries& operator=(const ConnQueries&) = delete;

    Pull next(ConnQuery::Row& row) {
        for (; worker_ < fw_.workers(); ++worker_) {
            ConnQuery& m = fw_.worker(worker_).requests().conn_query();
            QueryOwner& owner = (*owners_)[worker_];
            const auto now = std::chrono::steady_clock::now();
            if (owner.query != this) {
                if (owner.query != nullptr && owner.query->action_ != ConnQuery::Action::end &&
                    now - owner.looked > kIdleReader)
                    take_back(worker_);
                if (owner.query != nullptr || !give(m)) return Pull::pending;
                owner.query = this;
            }
            owner.looked = now;
            if (m.rows.pop(row)) return found(row);
            // Acquire pairs with the worker's answer, which comes after its last row.
            if (m.state.load(std::memory_order_acquire) == ConnQuery::asked) return Pull::pending;
            if (m.rows.pop(row)) return found(row);
            matched_ += m.matched;
            passed_over_ += m.passed_over;
            m.state.store(ConnQuery::idle, std::memory_order_relaxed);
            owner.query = nullptr;
            resume_ = 1;
        }
        return Pull::done;
    }
    /// Of the last row.
    WorkerId worker() const { return WorkerId::from(worker_); }
    std::uint64_t matched() const { return matched_; }
    /// Moves the helper's state of the last row, which has one.
    void take_helper(HelperImage& out) {
        fw_.worker(worker_).requests().conn_query().helpers.pop(out);
    }
    /// Connections before the last row, or at the end all, that did not match.
    std::uint64_t passed_over() const { return passed_over_; }

  private:
    static constexpr std::chrono::milliseconds kIdleReader{500};

    Pull found(const ConnQuery::Row& row) {
        resume_ = row.slot + 1;
        passed_over_ += row.passed_over;
        return Pull::row;
    }
    void take_back(unsigned w) {
        fw_.worker(w).requests().conn_query().cancelled.store(true, std::memory_order_relaxed);
        (*owners_)[w].query = nullptr;
    }
    /// False: the worker still has a cancelled query.
    bool give(ConnQuery& m) {
        if (m.state.load(std::memory_order_acquire) == ConnQuery::asked) return false;
        while (m.rows.front() != nullptr)
            m.rows.drop_front();
        while (m.helpers.front() != nullptr)
            m.helpers.drop_front();
        m.action = action_;
        m.filter = filter_;
        m.cursor = resume_;
        m.matched = 0;
        m.passed_over = 0;
        m.cancelled.store(false, std::memory_order_relaxed);
        m.state.store(ConnQuery::asked, std::memory_order_release);
        return true;
    }

    Firewall& fw_;
    std::shared_ptr<QueryOwners> owners_;
    ConnQuery::Action action_;
    ConnFilter filter_;
    unsigned worker_ = 0;
    std::uint32_t resume_ = 1;  ///< next slot of this worker
    std::uint64_t matched_ = 0;
    std::uint64_t passed_over_ = 0;
};

/// What a command does with the connections that its arguments mean: Rows is made of the firewall,
/// `owners` and their filter.
template <class Rows>
Result<std::unique_ptr<RowSource>> query_connections(Firewall& fw,
                                                     const std::shared_ptr<QueryOwners>& owners,
                                                     const Json& args) {
    auto filter = read_connection_filter(fw.plan(), args);
    if (!filter) return filter.error();
    return std::unique_ptr<RowSource>(std::make_unique<Rows>(fw, owners, *filter));
}

/// Ends or counts the matching connections, and returns their number.
class EndSource : public RowSource {
  public:
    EndSource(Firewall& fw, std::shared_ptr<QueryOwners> owners, const ConnFilter& filter)
        : queries_(fw, std::move(owners), ConnQuery::Action::end, filter) {}

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        ConnQuery::Row none;
        if (queries_.next(none) != Pull::done) return Pull::pending;
        row["deleted"] = queries_.matched();
        said_ = true;
        return Pull::row;
    }

  private:
    ConnQueries queries_;
    bool said_ = false;
};

}  // namespace postern
