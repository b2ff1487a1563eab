// SPDX-License-Identifier: BSD-3-Clause
#include "port/eal.h"

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <sched.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "port/device_check.h"

namespace postern {
namespace {

/// Free huge pages of all sizes.
struct HugePages {
    std::uint64_t pages = 0, mb = 0;
};
HugePages free_hugepages() {
    HugePages sum;
    std::error_code ec;
    for (const auto& dir : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", ec)) {
        std::ifstream in(dir.path() / "free_hugepages");
        std::uint64_t pages = 0, kb = 0;
        // hugepages-2048kB
        const std::string name = dir.path().filename();
        const auto digits = name.find_first_of("0123456789");
        if (digits == name.npos || !(in >> pages)) continue;
        std::from_chars(name.data() + digits, name.data() + name.size(), kb);
        sum.pages += pages;
        sum.mb += pages * kb / 1024;
    }
    return sum;
}

/// Standard output goes nowhere meanwhile: DPDK prints 90 lines of usage there if it dislikes an
/// argument.
class QuietOutput {
  public:
    explicit QuietOutput(bool quiet) {
        const UniqueFd nowhere(quiet ? ::open("/dev/null", O_WRONLY | O_CLOEXEC) : -1);
        if (!nowhere) return;
        std::fflush(stdout);
        kept_ = UniqueFd(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
        if (kept_) ::dup2(nowhere.get(), STDOUT_FILENO);
    }
    ~QuietOutput() {
        if (!kept_) return;
        std::fflush(stdout);
        ::dup2(kept_.get(), STDOUT_FILENO);
    }
    QuietOutput(const QuietOutput&) = delete;
    QuietOutput& operator=(const QuietOutput&) = delete;

  private:
    UniqueFd kept_;
};

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

bool takes_huge_pages(EalConfig::Huge huge) {
    return huge == EalConfig::Huge::yes ||
           (huge == EalConfig::Huge::automatic && free_hugepages().pages > 0);
}

std::uint64_t available_memory_mb() {
    std::ifstream in("/proc/meminfo");
    std::string word;
    std::uint64_t kb = 0;
    while (in >> word)
        if (word == "MemAvailable:" && in >> kb) return kb / 1024;
    return 0;
}

namespace {

/// Sums over DPDK's heaps of all sockets.
struct HeapBytes {
    std::uint64_t total = 0, free = 0;
};
HeapBytes heap_bytes() {
    HeapBytes sum;
    for (unsigned i = 0; i < rte_socket_count(); ++i) {
        rte_malloc_socket_stats stats{};
        const int id = rte_socket_id_by_idx(i);
        if (id < 0 || rte_malloc_get_socket_stats(id, &stats) != 0) continue;
        sum.total += stats.heap_totalsz_bytes;
        sum.free += stats.heap_freesz_bytes;
    }
    return sum;
}

}  // namespace

std::uint64_t total_memory_mb() {
    return heap_bytes().total >> 20;
}

std::uint64_t free_memory_mb() {
    return heap_bytes().free >> 20;
}

namespace {

/// What DPDK would say in other words, or not at all.
Result<void> check_start(const EalConfig& config, bool huge) {
    if (auto r = check_cpus("workers.cpus", config.cpus); !r) return r;
    if (config.main_cpu)
        if (auto r = check_cpus("workers.main_cpu", {&*config.main_cpu, 1}); !r) return r;
    const HugePages free = free_hugepages();
    const std::string wanted = "eal.memory_mb is " + std::to_string(config.memory_mb);
    if (huge && free.mb < config.memory_mb)
        return Error{
            wanted + ", and the machine has " +
            (free.pages == 0 ? "no free huge pages"
                             : "only " + std::to_string(free.mb) + " MiB of free huge pages") +
            ": reserve them (sysctl vm.nr_hugepages=" + std::to_string((config.memory_mb + 1) / 2) +
            " for pages of 2 MiB), lower eal.memory_mb, or set eal.hugepages: no"};
    // DPDK itself would crash, or be killed later, under traffic.
    if (const auto free_mb = available_memory_mb();
        !huge && free_mb != 0 && config.memory_mb > free_mb)
        return Error{wanted + ", but the machine has only " + std::to_string(free_mb) +
                     " MiB to give"};
    return {};
}

}  // namespace

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
    const bool huge = takes_huge_pages(config.hugepages);
    if (auto r = check_start(config, huge); !r) return r;
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
    int started = 0;
    {
        const QuietOutput quiet(!config.verbose);
        started = rte_eal_init(static_cast<int>(argv.size()), argv.data());
    }
    if (started < 0) {
        remove_runtime_folder();
        std::string text =
            "DPDK did not start: " + std::string(rte_strerror(rte_errno)) + "; its arguments were";
        for (std::size_t i = 1; i < args.size(); ++i)
            text += " " + args[i];
        return Error{text + (config.extra.empty() ? "" : " (the last ones are eal.args)") +
                     "; `postern run --verbose` shows its own messages"};
    }
    return {};
}

void stop_eal() {
    rte_eal_cleanup();
    remove_runtime_folder();
}

}  // namespace postern
