# SPDX-License-Identifier: BSD-3-Clause
"""What the figures were taken on."""

import os
import platform
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def _read(path, default=''):
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read().strip()
    except OSError:
        return default


def _said(*argv, cwd=None):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False, cwd=cwd)
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return done.stdout.strip() if done.returncode == 0 else ''


def load():
    """Processes that wanted to run in the last minute, on average."""
    return os.getloadavg()[0]


def busy_jiffies():
    """Time all CPUs together have spent on anything, and in all; units of the kernel's."""
    times = [int(x) for x in _read('/proc/stat').splitlines()[0].split()[1:9]]
    return sum(times) - times[3] - times[4], sum(times)


def describe():
    info = _read('/proc/cpuinfo')
    model = re.search(r'model name\s*: (.*)', info)
    mhz = re.search(r'cpu MHz\s*: ([\d.]+)', info)
    caches = []
    folder = '/sys/devices/system/cpu/cpu0/cache'
    for index in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if _read(f'{folder}/{index}/type') in ('Data', 'Unified'):
            caches.append(f"L{_read(f'{folder}/{index}/level')} {_read(f'{folder}/{index}/size')}")
    memory = re.search(r'MemTotal:\s*(\d+)', _read('/proc/meminfo'))
    pages = _read('/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', '0')
    commit = _said('git', 'rev-parse', '--short=12', 'HEAD', cwd=ROOT)
    changed = _said('git', 'status', '--porcelain', '--untracked-files=no', cwd=ROOT)
    return {
        'cpu': model[1] if model else platform.processor() or 'unknown',
        'cpus': len(os.sched_getaffinity(0)),
        'mhz': float(mhz[1]) if mhz else None,
        'governor': _read('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor') or None,
        'caches': caches,
        'memory_mb': int(memory[1]) // 1024 if memory else None,
        'hugepages_2m': int(pages or 0),
        'isolated_cpus': _read('/sys/devices/system/cpu/isolated') or None,
        'virtual': _said('systemd-detect-virt') or
                   ('yes' if re.search(r'\bhypervisor\b', info) else 'no'),
        'kernel': platform.release(),
        'distribution': platform.freedesktop_os_release().get('PRETTY_NAME', 'unknown'),
        'compiler': _said('g++', '--version').split('\n')[0],
        'dpdk': _said('pkg-config', '--modversion', 'libdpdk') or None,
        'ovs': next(iter(_said('ovs-vswitchd', '--version').splitlines()), None),
        'nftables': _said('nft', '--version') or None,
        'commit': (commit or 'unknown') + (' with changes' if changed else ''),
    }


def in_words(m):
    """One line for a reader."""
    clock = f", {m['mhz'] / 1000:.2f} GHz" if m['mhz'] else ''
    pages = (f"{m['hugepages_2m']} hugepages of 2 MiB" if m['hugepages_2m'] else 'no hugepages')
    return (f"{m['cpu']}{clock}, {m['cpus']} CPUs, {' '.join(m['caches'])}, "
            f"{(m['memory_mb'] or 0) // 1024} GiB, {pages}, "
            f"{'virtual machine' if m['virtual'] not in ('no', 'none') else 'bare metal'}; "
            f"{m['distribution']}, Linux {m['kernel']}, DPDK {m['dpdk']}, {m['compiler']}; "
            f"Postern {m['commit']}")
