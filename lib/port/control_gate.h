// SPDX-License-Identifier: BSD-3-Clause
// ControlGate: keeps workers out of a device while its driver changes it.
//
// Why: when the neighbour of a memif port disconnects, DPDK's interrupt thread is notified, and the
// driver (22.11) at once unmaps the memory from which a worker may be reading packets. That would
// crash the worker, and with it the firewall. So while any interrupt handler runs, workers must not
// be inside such a device.
//
// How: the gate's own interrupt handler occupies DPDK's interrupt thread. It sleeps there until
// another handler has work, closes the gate, waits until every worker has passed a quiescent state
// (from there on they see the gate closed), and only then lets the thread run the other handlers.
// The thread returns to this handler afterwards, which opens the gate. It uses DPDK's public
// interface only. That pending work is visible from outside is a property of Linux: the thread's
// epoll instance is itself a file that can be polled. If it cannot be found, the handler lets the
// thread continue every few milliseconds.
//
// Used by: control creates and destroys it; workers call closed() once a burst. Cost: one load of a
// line that changes only when a neighbour connects or disconnects.
#pragma once

#include <atomic>
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"

struct rte_intr_handle;
struct rte_rcu_qsbr;

namespace postern {

class ControlGate {
  public:
    /// `rcu`: where the workers report their quiescent states, outside of any device; has to
    /// outlive the gate. Returns when the gate is in operation.
    static Result<std::unique_ptr<ControlGate>> create(rte_rcu_qsbr* rcu);
    ~ControlGate();
    ControlGate(const ControlGate&) = delete;
    ControlGate& operator=(const ControlGate&) = delete;

    /// Whether the gate is closed: a worker keeps out of gated devices until it opens again.
    /// Relaxed: the quiescent state that the closing thread waits for orders it.
    bool closed() const noexcept { return closed_.load(std::memory_order_relaxed); }

  private:
    ControlGate() = default;
    static void on_interrupt(void* self);
    void turn() noexcept;
    /// Sleeps until another handler of this thread has work, or stop_ is set.
    void wait_for_others() noexcept;

    std::atomic<bool> closed_{false};   // interrupt thread: w, workers: r
    std::atomic<bool> stop_{false};     // control: w, interrupt thread: r
    std::atomic<bool> at_work_{false};  // interrupt thread: w, control: r
    rte_rcu_qsbr* rcu_ = nullptr;
    UniqueFd again_;  ///< readable: the thread shall call the gate's handler
    UniqueFd wake_;   ///< readable: stop_ is set
    rte_intr_handle* handle_ = nullptr;
};

}  // namespace postern
