// SPDX-License-Identifier: BSD-3-Clause
// Memory for tables that packets meet at random.
//
// On small pages nearly every look-up in a large table also walks the page table. With hugepages
// EAL's heap is the place. Without, its heap is shared memory, which Linux keeps on small pages; so
// the table gets memory of its own, and the kernel is asked for huge pages there (which it may
// refuse: then it is as slow as it would have been). An untouched block in EAL's heap stands for it
// all the same, so that eal.memory_mb bounds what Postern takes, whichever memory it is.
//
// Control takes and frees it; not for workers.
#pragma once

#include <cstddef>
#include <utility>

namespace postern {

/// Frees what take_table_memory() gave.
struct FreeTable {
    void* block = nullptr;  ///< in EAL's heap; the table itself, or what stands for it

    void operator()(void* memory) const noexcept;
};

/// `bytes` of memory, aligned to a cache line, not cleared; null when there is none.
std::pair<void*, FreeTable> take_table_memory(const char* name, std::size_t bytes) noexcept;

}  // namespace postern
