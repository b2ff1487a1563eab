# SPDX-License-Identifier: BSD-3-Clause
"""Debian's dpdk-testpmd, as a generator and sink, and as the ceiling: ports without a firewall."""

import re
import shutil
import subprocess
import time

import bench as b


def need():
    if shutil.which('dpdk-testpmd') is None:
        raise b.Impossible('dpdk-testpmd (package dpdk-dev) is not installed')


def argv(devices, cpus, arguments, memory_mb=512):
    """testpmd with these virtual devices: its main thread and one forwarding thread for each of
    `cpus`. Without hugepages, so that it takes nothing from a machine that has none."""
    need()
    lcores = ','.join([f'0@{cpus[0]}'] + [f'{i + 1}@{cpu}' for i, cpu in enumerate(cpus)])
    eal = ['--no-huge', '--no-shconf', '--no-pci', '--no-telemetry', '--log-level=error',
           '-m', str(memory_mb), '--lcores', lcores]
    for device in devices:
        eal += ['--vdev', device]
    return ['stdbuf', '-oL', 'dpdk-testpmd', *eal, '--', '--interactive', '--total-num-mbufs=32768',
            f'--nb-cores={len(cpus)}', *arguments]


class Testpmd:
    """A testpmd under command."""

    def __init__(self, scope, name, devices, cpus, arguments, prefix=()):
        self.process = scope.start(name, *prefix, *argv(devices, cpus, arguments), stdin=subprocess.PIPE)
        self._seen = 0
        self._await(r'testpmd> ', 30)
        self.ports = len(devices)

    def _await(self, pattern, timeout):
        """Waits for `pattern` in what it has said since the last time; returns that text."""
        deadline = time.monotonic() + timeout
        while True:
            text = self.process.stdout[self._seen:]
            found = re.search(pattern, text)
            if found:
                self._seen += found.end()
                return text[:found.end()]
            if not self.process.running():
                raise b.lab.LabError(f'{self.process.name} ended: '
                                     f'{(text + self.process.stderr)[-500:]}')
            if time.monotonic() > deadline:
                raise b.lab.LabError(f'{self.process.name} did not answer {pattern!r}: '
                                     f'{text[-300:]}')
            time.sleep(0.005)

    def command(self, text, answer=r'testpmd> ', timeout=10):
        self.process.popen.stdin.write(text.encode() + b'\n')
        self.process.popen.stdin.flush()
        return self._await(answer, timeout)

    def start_forwarding(self, how=''):
        self.command(f'start {how}'.rstrip())

    def await_neighbours(self):
        """Returns once each port has somebody at its other end."""
        deadline = time.monotonic() + 10
        while (up := self._ports_up()) != self.ports:
            if time.monotonic() > deadline:
                raise b.lab.LabError(f'{self.process.name}: {up} of its {self.ports} ports are up')
            time.sleep(0.02)

    def _ports_up(self):
        text = self.command('show port summary all', rf'\n{self.ports - 1} +[^\n]*(?:up|down)[^\n]*\n')
        return len(re.findall(r'^\d+ .*\bup\b', text, re.MULTILINE | re.IGNORECASE))

    def rates(self, seconds):
        """Packets a second that each port received in this time, by testpmd's own clock."""
        self._show()
        time.sleep(seconds)
        text = self._show()
        return [int(rate) for rate in re.findall(r'Rx-pps:\s+(\d+)', text)]

    def _show(self):
        # The last port's last line, not the prompt: that may come before the text.
        last = self.ports - 1
        return self.command('show port stats all',
                            rf'NIC statistics for port {last} [\s\S]*?Tx-bps:[^\n]*\n[^\n]*\n')
