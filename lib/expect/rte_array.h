// SPDX-License-Identifier: BSD-3-Clause
// Arrays in DPDK's heap; private to lib/expect.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>

namespace postern {

struct RteFree {
    void operator()(void* p) const noexcept;
};
template <class T>
using RteArray = std::unique_ptr<T[], RteFree>;

/// Aligned to a cache line; null when the heap is full. `socket` -1: any NUMA node.
void* take_rte_memory(std::size_t bytes, int socket) noexcept;

template <class T>
RteArray<T> make_rte_array(std::size_t n, int socket) {
    static_assert(std::is_trivially_destructible_v<T>);
    auto* first = static_cast<T*>(take_rte_memory(n * sizeof(T), socket));
    if (first == nullptr) return nullptr;
    for (std::size_t i = 0; i < n; ++i)
        new (first + i) T();  // also touches every page now instead of under traffic
    return RteArray<T>(first);
}

}  // namespace postern
