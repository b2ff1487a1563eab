// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/table_memory.h"

#include <cstdlib>

#include <rte_eal.h>
#include <rte_malloc.h>

#include "base/huge_pages.h"

namespace postern {

std::pair<void*, FreeTable> take_table_memory(const char* name, std::size_t bytes) noexcept {
    FreeTable free{rte_malloc_socket(name, bytes, 64, SOCKET_ID_ANY)};
    if (free.block == nullptr || bytes < kHugePageBytes || rte_eal_has_hugepages() != 0)
        return {free.block, free};
    void* memory = allocate_on_huge_pages(bytes);
    return {memory == nullptr ? free.block : memory, free};
}

void FreeTable::operator()(void* memory) const noexcept {
    if (memory != block) std::free(memory);
    rte_free(block);
}

}  // namespace postern
