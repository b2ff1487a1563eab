// SPDX-License-Identifier: BSD-3-Clause
// `eal` and `workers`: the set-up of DPDK, and the threads that process packets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"
#include "config/key.h"

namespace postern {

enum class Hugepages : std::uint8_t {
    automatic,  ///< use them if the machine has some set aside
    yes,
    no
};
// YAML readers differ on whether a bare yes is text or a truth value; both are accepted.
template <>
inline constexpr auto kWordsOf<Hugepages> = words<Hugepages>("a use of hugepages",
                                                             {{"auto", Hugepages::automatic},
                                                              {"yes", Hugepages::yes},
                                                              {"no", Hugepages::no},
                                                              {"true", Hugepages::yes},
                                                              {"false", Hugepages::no}});

struct EalSpec {
    Hugepages hugepages = Hugepages::automatic;
    std::uint32_t memory_mb = 512;  ///< MiB
    std::vector<std::string> args;  ///< except those that Postern sets itself

    template <class Keys>
    static void describe(Keys& keys) {
        keys("hugepages", &EalSpec::hugepages,
             {.help = "`auto`: use them when the machine has free ones; `yes`: do not start "
                      "without them",
              .type = "`auto`, `yes`, `no`"});
        keys("memory_mb", &EalSpec::memory_mb,
             {.help = "MiB that DPDK takes for packet buffers and tables", .range = {64, 1 << 20}});
        keys.by_hand("args", {.help = "further EAL arguments, except those that Postern sets "
                                      "itself (cores, memory, devices, file prefix)",
                              .form = Form::text,
                              .shape = Shape::list,
                              .default_text = "none"});
    }
};

struct IdleSpec {
    std::uint32_t spins = 1000;
    std::uint32_t sleep_us = 50;

    template <class Keys>
    static void describe(Keys& keys) {
        keys("spins", &IdleSpec::spins,
             {.help = "empty polls in a row before the first sleep",
              .range = {0, 1'000'000'000},
              .range_text = "0 to 10^9"});
        keys("sleep_us", &IdleSpec::sleep_us,
             {.help = "length of a sleep, microseconds; 0: never sleep, poll always",
              .range = {0, 10'000}});
    }
};

/// The hash that selects the worker of a connection.
enum class Steer : std::uint8_t {
    automatic,  ///< rss if a device supports it, else keyed
    rss,        ///< the symmetric hash of devices
    keyed       ///< the secret hash; packets that a device gave to another worker are handed over
};
template <>
inline constexpr auto kWordsOf<Steer> = words<Steer>("a way to steer", {{"auto", Steer::automatic},
                                                                        {"rss", Steer::rss},
                                                                        {"keyed", Steer::keyed}});

struct WorkersSpec {
    std::uint8_t count = 1;
    std::vector<std::uint16_t> cpus;  ///< worker i runs on cpus[i % size]; empty = CPU i % all
    std::optional<std::uint16_t> main_cpu;  ///< CPU of the control thread; none = any
    std::uint8_t burst = 32;
    Steer steer = Steer::automatic;
    IdleSpec idle;

    template <class Keys>
    static void describe(Keys& keys) {
        keys("count", &WorkersSpec::count,
             {.help = "workers; each tracks the connections that hash to it",
              .range = {1, kMaxWorkers}});
        keys("cpus", &WorkersSpec::cpus,
             {.help = "worker *i* runs on the *i*th CPU, and from the first again when there are "
                      "fewer; workers may share a CPU",
              .range = {0, 1023},
              .default_text = "the CPUs the process may use, in turn"});
        keys("main_cpu", &WorkersSpec::main_cpu,
             {.help = "CPU of the control thread: `posternctl`, logs",
              .range = {0, 1023},
              .default_text = "any"});
        keys("burst", &WorkersSpec::burst,
             {.help = "packets received from a queue at once", .range = {1, kMaxBurst}});
        keys("steer", &WorkersSpec::steer,
             {.help = "how a connection's worker is chosen, see below"});
        keys("idle", &WorkersSpec::idle,
             {.help = "what a worker does while it receives no packets"});
    }
};

}  // namespace postern
