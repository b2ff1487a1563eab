// SPDX-License-Identifier: BSD-3-Clause
// Memory on huge pages, for arrays that packets access at random: on small pages nearly every
// access to a large array also walks the page table.
//
// Control allocates and frees it; not for workers.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

#include <sys/mman.h>

namespace postern {

inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

/// Allocates `bytes`, uninitialised. Requests huge pages from the kernel for arrays that fill one;
/// the kernel may refuse. Free with std::free(); null if there is no memory.
inline void* allocate_on_huge_pages(std::size_t bytes) noexcept {
    const std::size_t unit = bytes < kHugePageBytes ? 64 : kHugePageBytes;
    const std::size_t whole = (bytes + unit - 1) / unit * unit;
    void* memory = std::aligned_alloc(unit, whole);
    if (memory != nullptr && unit == kHugePageBytes) (void)madvise(memory, whole, MADV_HUGEPAGE);
    return memory;
}

struct FreeHugeArray {
    void operator()(void* memory) const noexcept { std::free(memory); }
};
/// Of objects that need no destructor.
template <class T>
using HugeArray = std::unique_ptr<T[], FreeHugeArray>;

/// `n` objects constructed by T's constructor, so that every page is touched now.
template <class T>
HugeArray<T> make_huge_array(std::size_t n) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 64);
    void* memory = allocate_on_huge_pages(n * sizeof(T));
    if (memory == nullptr) throw std::bad_alloc();
    std::uninitialized_value_construct_n(static_cast<T*>(memory), n);
    return HugeArray<T>(static_cast<T*>(memory));
}

}  // namespace postern
