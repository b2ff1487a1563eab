// SPDX-License-Identifier: BSD-3-Clause
// Memory for tables that packets access at random.
//
// On small pages nearly every look-up in a large table also walks the page table. With hugepages
// the memory is from EAL's heap. Without, that heap is shared memory, which Linux keeps on small
// pages; so the table gets memory of its own, for which huge pages are requested from the kernel
// (which may refuse). An untouched block of the same size is allocated in EAL's heap all the same,
// so that eal.memory_mb bounds Postern's memory in both cases.
//
// Control allocates and frees it; not for workers.
#pragma once

#include <cstddef>
#include <utility>

namespace postern {

/// Frees the result of take_table_memory().
struct FreeTable {
    void* block = nullptr;  ///< in EAL's heap; the table itself, or what keeps its place

    void operator()(void* memory) const noexcept;
};

/// Allocates `bytes` of memory, aligned to a cache line, uninitialised; null if there is none.
std::pair<void*, FreeTable> take_table_memory(const char* name, std::size_t bytes) noexcept;

}  // namespace postern
