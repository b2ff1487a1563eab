// SPDX-License-Identifier: BSD-3-Clause
// Orders: what control wants of every worker's connections (list, save, end), one worker after the
// other. Control's thread only; workers are asked by their mailboxes.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "conntrack/filter.h"
#include "control/command.h"
#include "firewall.h"

namespace postern {

class Orders;

/// Who waits for an answer of a worker, and when it last looked for it.
struct MailOwner {
    const Orders* order = nullptr;
    std::chrono::steady_clock::time_point looked;
};
/// By worker; one for all commands.
using MailOwners = std::vector<MailOwner>;

/// One order to all workers, one worker after the other. An order whose client has gone away is
/// taken back; until the worker has noticed, the next one waits. A list whose client does not read
/// gives way to those that wait, and goes on where it was when its client does.
class Orders {
  public:
    Orders(Firewall& fw, std::shared_ptr<MailOwners> owners, Mailbox::Order order,
           const ConnFilter& filter)
        : fw_(fw), owners_(std::move(owners)), order_(order), filter_(filter) {}
    ~Orders() {
        for (unsigned w = 0; w < owners_->size(); ++w)
            if ((*owners_)[w].order == this) take_back(w);
    }
    Orders(const Orders&) = delete;
    Orders& operator=(const Orders&) = delete;

    Pull next(Mailbox::Row& row) {
        for (; worker_ < fw_.workers(); ++worker_) {
            Mailbox& m = fw_.worker(worker_).requests().mailbox();
            MailOwner& owner = (*owners_)[worker_];
            const auto now = std::chrono::steady_clock::now();
            if (owner.order != this) {
                if (owner.order != nullptr && owner.order->order_ != Mailbox::Order::end &&
                    now - owner.looked > kPatience)
                    take_back(worker_);
                if (owner.order != nullptr || !give(m)) return Pull::pending;
                owner.order = this;
            }
            owner.looked = now;
            if (m.rows.pop(row)) return found(row);
            // Acquire pairs with the worker's answer, which comes after its last row.
            if (m.state.load(std::memory_order_acquire) == Mailbox::asked) return Pull::pending;
            if (m.rows.pop(row)) return found(row);
            ended_ += m.ended;
            m.state.store(Mailbox::idle, std::memory_order_relaxed);
            owner.order = nullptr;
            resume_ = 1;
        }
        return Pull::done;
    }
    /// Of the last row.
    WorkerId worker() const { return static_cast<WorkerId>(worker_); }
    std::uint64_t ended() const { return ended_; }

  private:
    static constexpr std::chrono::milliseconds kPatience{500};

    Pull found(const Mailbox::Row& row) {
        resume_ = row.slot + 1;
        return Pull::row;
    }
    void take_back(unsigned w) {
        fw_.worker(w).requests().mailbox().cancelled.store(true, std::memory_order_relaxed);
        (*owners_)[w].order = nullptr;
    }
    /// False: the worker still has an order that nobody waits for any more.
    bool give(Mailbox& m) {
        if (m.state.load(std::memory_order_acquire) == Mailbox::asked) return false;
        for (Mailbox::Row rest; m.rows.pop(rest);) {
        }
        m.order = order_;
        m.filter = filter_;
        m.cursor = resume_;
        m.ended = 0;
        m.cancelled.store(false, std::memory_order_relaxed);
        m.state.store(Mailbox::asked, std::memory_order_release);
        return true;
    }

    Firewall& fw_;
    std::shared_ptr<MailOwners> owners_;
    Mailbox::Order order_;
    ConnFilter filter_;
    unsigned worker_ = 0;
    std::uint32_t resume_ = 1;  ///< slot of this worker that comes next
    std::uint64_t ended_ = 0;
};

/// Ends the connections that match, and tells how many these were.
class EndSource : public RowSource {
  public:
    EndSource(Firewall& fw, std::shared_ptr<MailOwners> owners, const ConnFilter& filter)
        : orders_(fw, std::move(owners), Mailbox::Order::end, filter) {}

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        Mailbox::Row none;
        if (orders_.next(none) != Pull::done) return Pull::pending;
        row["deleted"] = orders_.ended();
        said_ = true;
        return Pull::row;
    }

  private:
    Orders orders_;
    bool said_ = false;
};

}  // namespace postern
