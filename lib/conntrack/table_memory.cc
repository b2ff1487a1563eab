// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/table_memory.h"

#include <cstdlib>

#include <rte_eal.h>
#include <rte_malloc.h>
#include <sys/mman.h>

namespace postern {
namespace {
constexpr std::size_t kHugePage = std::size_t{2} << 20;
}

std::pair<void*, FreeTable> take_table_memory(const char* name, std::size_t bytes) noexcept {
    FreeTable free{rte_malloc_socket(name, bytes, 64, SOCKET_ID_ANY)};
    if (free.block == nullptr || bytes < kHugePage || rte_eal_has_hugepages() != 0)
        return {free.block, free};
    const std::size_t whole = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    void* memory = std::aligned_alloc(kHugePage, whole);
    if (memory == nullptr) return {free.block, free};
    (void)madvise(memory, whole, MADV_HUGEPAGE);
    return {memory, free};
}

void FreeTable::operator()(void* memory) const noexcept {
    if (memory != block) std::free(memory);
    rte_free(block);
}

}  // namespace postern
