// SPDX-License-Identifier: BSD-3-Clause
// A vector in lines of 64 bytes, on huge pages once it is large. Control thread.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

#include "base/huge_pages.h"

namespace postern {

template <class T>
struct HugeAllocator {
    using value_type = T;
    HugeAllocator() = default;
    template <class Other>
    constexpr HugeAllocator(const HugeAllocator<Other>&) noexcept {}

    T* allocate(std::size_t n) {
        void* const memory = allocate_on_huge_pages(n * sizeof(T));
        if (memory == nullptr) throw std::bad_alloc();
        return static_cast<T*>(memory);
    }
    void deallocate(T* memory, std::size_t) noexcept { std::free(memory); }
    friend constexpr bool operator==(HugeAllocator, HugeAllocator) noexcept { return true; }
};

template <class T>
using HugeVector = std::vector<T, HugeAllocator<T>>;

}  // namespace postern
