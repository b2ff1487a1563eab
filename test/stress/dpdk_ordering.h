// SPDX-License-Identifier: BSD-3-Clause
// Included before everything else when ThreadSanitizer is built in (meson.build).
//
// On x86 DPDK's rings count on the processor's strong ordering; RTE_USE_C11_MEM_MODEL makes them
// say in C11's words what they need, which the sanitizer understands. One word is missing in 22.11:
// of two producers the later waits for the earlier's tail without acquiring it
// (__rte_ring_update_tail in rte_ring_c11_pvt.h), so the consumer has no edge to what the earlier
// one wrote. No processor that DPDK runs on lets that show here; the waits below acquire, so that
// only races of our own are left.
#pragma once

#include <cstdint>

#define RTE_USE_C11_MEM_MODEL
#define RTE_WAIT_UNTIL_EQUAL_ARCH_DEFINED

extern "C" {
// As generic/rte_pause.h declares them.
static inline __attribute__((always_inline)) void rte_wait_until_equal_16(volatile uint16_t* at,
                                                                          uint16_t expected, int) {
    while (__atomic_load_n(at, __ATOMIC_ACQUIRE) != expected)
        __builtin_ia32_pause();
}
static inline __attribute__((always_inline)) void rte_wait_until_equal_32(volatile uint32_t* at,
                                                                          uint32_t expected, int) {
    while (__atomic_load_n(at, __ATOMIC_ACQUIRE) != expected)
        __builtin_ia32_pause();
}
static inline __attribute__((always_inline)) void rte_wait_until_equal_64(volatile uint64_t* at,
                                                                          uint64_t expected, int) {
    while (__atomic_load_n(at, __ATOMIC_ACQUIRE) != expected)
        __builtin_ia32_pause();
}
}
