// SPDX-License-Identifier: BSD-3-Clause
// A pool of packet buffers whose give and take ThreadSanitizer can see. DPDK's own pools do the
// same inside its shared libraries, which are not instrumented: there each buffer that was freed by
// one thread and taken by another would look like a race.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <vector>

#include <rte_mbuf.h>
#include <rte_mempool.h>

namespace postern {

class LockedPool {
  public:
    /// rte_pktmbuf_pool_create() without a cache; nullptr as that function says. EAL must be up.
    static rte_mempool* create(const char* name, unsigned packets, unsigned room) {
        static const int registered = [] {
            rte_mempool_ops ops{};
            static_assert(sizeof kName <= sizeof ops.name);
            std::copy(kName, kName + sizeof kName, ops.name);
            ops.alloc = alloc;
            ops.free = free;
            ops.enqueue = enqueue;
            ops.dequeue = dequeue;
            ops.get_count = count;
            return rte_mempool_register_ops(&ops);
        }();
        if (registered < 0) return nullptr;
        return rte_pktmbuf_pool_create_by_ops(name, packets, 0, 0, static_cast<std::uint16_t>(room),
                                              SOCKET_ID_ANY, kName);
    }

  private:
    static constexpr char kName[] = "locked";

    static LockedPool& of(const rte_mempool* mp) {
        return *static_cast<LockedPool*>(mp->pool_data);
    }
    static int alloc(rte_mempool* mp) {
        mp->pool_data = new LockedPool;
        return 0;
    }
    static void free(rte_mempool* mp) { delete &of(mp); }
    static int enqueue(rte_mempool* mp, void* const* objects, unsigned n) {
        const std::lock_guard lock(of(mp).mutex_);
        of(mp).free_.insert(of(mp).free_.end(), objects, objects + n);
        return 0;
    }
    static int dequeue(rte_mempool* mp, void** objects, unsigned n) {
        LockedPool& pool = of(mp);
        const std::lock_guard lock(pool.mutex_);
        if (pool.free_.size() < n) return -ENOBUFS;
        std::copy(pool.free_.end() - n, pool.free_.end(), objects);
        pool.free_.resize(pool.free_.size() - n);
        return 0;
    }
    static unsigned count(const rte_mempool* mp) {
        const std::lock_guard lock(of(mp).mutex_);
        return static_cast<unsigned>(of(mp).free_.size());
    }

    std::mutex mutex_;
    std::vector<void*> free_;
};

}  // namespace postern
