// SPDX-License-Identifier: BSD-3-Clause
#include "port/control_gate.h"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <poll.h>
#include <rte_errno.h>
#include <rte_interrupts.h>
#include <rte_rcu_qsbr.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace postern {
namespace {

constexpr int kBlindWaitMs = 5;      ///< a sleep if the thread's epoll instance is not found
constexpr int kRebuildWaitMs = 500;  ///< a sleep if it is: only in case DPDK made a new one

/// The epoll instance that waits for `fd`, or -1. Linux lists in /proc what an instance waits for.
int epoll_that_waits_for(int fd) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
        if (std::filesystem::read_symlink(entry.path(), error) != "anon_inode:[eventpoll]")
            continue;
        const std::string number = entry.path().filename();
        std::ifstream info("/proc/self/fdinfo/" + number);
        std::string word;
        int target = -1;
        while (info >> word)
            if (word == "tfd:" && info >> target && target == fd) return std::stoi(number);
    }
    return -1;
}

void signal_fd(int fd) noexcept {
    eventfd_write(fd, 1);
}

}  // namespace

Result<std::unique_ptr<ControlGate>> ControlGate::create(rte_rcu_qsbr* rcu) {
    std::unique_ptr<ControlGate> gate(new ControlGate);
    gate->rcu_ = rcu;
    gate->again_ = UniqueFd(eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC));
    gate->wake_ = UniqueFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    gate->handle_ = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
    if (!gate->again_ || !gate->wake_ || gate->handle_ == nullptr)
        return Error{"no file descriptors to watch the ports' neighbours with"};
    rte_intr_fd_set(gate->handle_, gate->again_.get());
    rte_intr_type_set(gate->handle_, RTE_INTR_HANDLE_EXT);
    if (const int r = rte_intr_callback_register(gate->handle_, on_interrupt, gate.get()); r < 0) {
        rte_intr_instance_free(gate->handle_);
        gate->handle_ = nullptr;
        return Error{"DPDK's interrupt thread takes no handler: " + std::string(rte_strerror(-r))};
    }
    // Before a port is opened, the gate has the thread.
    while (!gate->at_work_.load(std::memory_order_acquire))
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    return gate;
}

ControlGate::~ControlGate() {
    if (handle_ != nullptr) {
        stop_.store(true, std::memory_order_release);
        signal_fd(wake_.get());
        while (rte_intr_callback_unregister(handle_, on_interrupt, this) == -EAGAIN)
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        rte_intr_instance_free(handle_);
    }
}

void ControlGate::on_interrupt(void* self) {
    static_cast<ControlGate*>(self)->turn();
}

void ControlGate::turn() noexcept {
    eventfd_t ignored;
    eventfd_read(again_.get(), &ignored);
    closed_.store(false, std::memory_order_release);
    at_work_.store(true, std::memory_order_release);
    if (stop_.load(std::memory_order_acquire)) return;
    wait_for_others();
    closed_.store(true, std::memory_order_release);
    // Pairs with the workers' rte_rcu_qsbr_quiescent(): a worker that has reported since sees the
    // gate closed; one that has not may still be inside.
    rte_rcu_qsbr_synchronize(rcu_, RTE_QSBR_THRID_INVALID);
    // Runs the others' handlers, then this one again. If this one runs first, theirs are still
    // pending: it then returns at once, with the gate closed.
    signal_fd(again_.get());
}

void ControlGate::wait_for_others() noexcept {
    // Anew each time: DPDK makes a new instance whenever a handler is added or removed.
    const int others = epoll_that_waits_for(again_.get());
    pollfd fds[2] = {{wake_.get(), POLLIN, 0}, {others, POLLIN, 0}};
    poll(fds, 2, others >= 0 ? kRebuildWaitMs : kBlindWaitMs);
}

}  // namespace postern
