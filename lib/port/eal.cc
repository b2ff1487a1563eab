// SPDX-License-Identifier: BSD-3-Clause
#include "port/eal.h"

#include <filesystem>
#include <fstream>

#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>

namespace postern {
namespace {

std::uint64_t free_hugepages() {
    std::uint64_t n = 0;
    std::error_code ec;
    for (const auto& dir : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", ec)) {
        std::ifstream in(dir.path() / "free_hugepages");
        std::uint64_t pages = 0;
        if (in >> pages) n += pages;
    }
    return n;
}

std::vector<unsigned> usable_cpus() {
    cpu_set_t set;
    std::vector<unsigned> cpus;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (unsigned i = 0; i < CPU_SETSIZE; ++i)
            if (CPU_ISSET(i, &set)) cpus.push_back(i);
    if (cpus.empty()) cpus.push_back(0);
    return cpus;
}

/// Only if it is empty: another DPDK program may be using it.
void remove_runtime_folder() {
    const std::filesystem::path folder = rte_eal_get_runtime_dir();
    std::error_code ignored;
    if (!folder.empty() && std::filesystem::remove(folder, ignored))
        std::filesystem::remove(folder.parent_path(), ignored);
}

}  // namespace

std::uint64_t available_memory_mb() {
    std::ifstream in("/proc/meminfo");
    std::string word;
    std::uint64_t kb = 0;
    while (in >> word)
        if (word == "MemAvailable:" && in >> kb) return kb / 1024;
    return 0;
}

Result<void> start_eal(const EalConfig& config) {
    const auto all = usable_cpus();
    std::string lcores;
    if (config.main_cpu) {
        lcores = "0@" + std::to_string(*config.main_cpu);
    } else {
        lcores = "0@(";
        for (std::size_t i = 0; i < all.size(); ++i)
            lcores += (i != 0 ? "," : "") + std::to_string(all[i]);
        lcores += ")";
    }
    for (unsigned w = 0; w < config.workers; ++w) {
        const unsigned cpu =
            config.cpus.empty() ? all[w % all.size()] : config.cpus[w % config.cpus.size()];
        lcores += "," + std::to_string(w + 1) + "@" + std::to_string(cpu);
    }

    std::vector<std::string> args{"postern", "--no-telemetry", "--lcores",
                                  lcores,    "--main-lcore",   "0"};
    if (!config.verbose) args.push_back("--log-level=error");
    const bool huge = config.hugepages == EalConfig::Huge::yes ||
                      (config.hugepages == EalConfig::Huge::automatic && free_hugepages() > 0);
    // DPDK itself would crash, or be killed later, under traffic.
    if (const auto free_mb = available_memory_mb();
        !huge && free_mb != 0 && config.memory_mb > free_mb)
        return Error{"eal.memory_mb is " + std::to_string(config.memory_mb) +
                     ", but the machine has only " + std::to_string(free_mb) + " MiB to give"};
    // In both cases no file remains, however the process ends. (DPDK does not accept --in-memory
    // without hugepages.)
    if (huge)
        args.push_back("--in-memory");
    else
        args.insert(args.end(), {"--no-huge", "--no-shconf"});
    args.insert(args.end(), {"-m", std::to_string(config.memory_mb)});
    if (config.pci.empty()) args.push_back("--no-pci");
    for (const auto& device : config.pci)
        args.insert(args.end(), {"-a", device});
    args.insert(args.end(), config.extra.begin(), config.extra.end());

    std::vector<char*> argv;
    for (auto& a : args)
        argv.push_back(a.data());
    if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
        remove_runtime_folder();
        std::string text = "DPDK did not start: " + std::string(rte_strerror(rte_errno)) + " (";
        for (std::size_t i = 1; i < args.size(); ++i)
            text += (i > 1 ? " " : "") + args[i];
        return Error{text +
                     "); is eal.memory_mb within the machine's memory, and do the CPUs exist?"};
    }
    return {};
}

void stop_eal() {
    rte_eal_cleanup();
    remove_runtime_folder();
}

}  // namespace postern
