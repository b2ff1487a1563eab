// SPDX-License-Identifier: BSD-3-Clause
// An RCU variable and a table with N owners, for the tests and the stress program. One thread
// may own all owners and interleave them.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>

#include <rte_rcu_qsbr.h>

#include "expect/owner.h"

namespace postern {

/// `readers` registered threads, all online.
class Rcu {
  public:
    explicit Rcu(unsigned readers) : readers_(readers) {
        memory_ = static_cast<rte_rcu_qsbr*>(
            std::aligned_alloc(64, (rte_rcu_qsbr_get_memsize(readers) + 63) / 64 * 64));
        rte_rcu_qsbr_init(memory_, readers);
        for (unsigned i = 0; i < readers; ++i) {
            rte_rcu_qsbr_thread_register(memory_, i);
            online(i);
        }
    }
    ~Rcu() { std::free(memory_); }
    Rcu(const Rcu&) = delete;
    Rcu& operator=(const Rcu&) = delete;

    rte_rcu_qsbr* get() noexcept { return memory_; }
    void online(unsigned i) noexcept { rte_rcu_qsbr_thread_online(memory_, i); }
    void offline(unsigned i) noexcept { rte_rcu_qsbr_thread_offline(memory_, i); }
    void quiescent(unsigned i) noexcept { rte_rcu_qsbr_quiescent(memory_, i); }
    void all_quiescent() noexcept {
        for (unsigned i = 0; i < readers_; ++i)
            quiescent(i);
    }
    void all_offline() noexcept {
        for (unsigned i = 0; i < readers_; ++i)
            offline(i);
    }

  private:
    unsigned readers_;
    rte_rcu_qsbr* memory_;
};

inline std::unique_ptr<ExpectTable> make_table(const ExpectConfig& config) {
    auto table = ExpectTable::create(config);
    if (!table) {
        std::fprintf(stderr, "%s\n", table.error().message.c_str());
        std::exit(1);
    }
    return std::move(table).value();
}

/// Takes what the tuple matches, as the path of packets does; looks again after a lost race.
inline bool claim(ExpectTable& table, ExpectOwner& by, const ExpectProbe& probe, const Tuple& tuple,
                  ExpectTurn turn, ExpectMatch& out) {
    while (table.peek(probe, tuple, turn.now, out) == ExpectAnswer::match)
        if (by.take(out, turn)) return true;
    return false;
}

}  // namespace postern
