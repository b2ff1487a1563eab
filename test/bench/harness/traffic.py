# SPDX-License-Identifier: BSD-3-Clause
"""Our own generator (test/bench/traffic.cc): flows that come and go, whole sessions, latency."""

import json
import subprocess
import time

import bench as b


class Traffic:
    def __init__(self, scope, name, devices, cpu, *arguments, prefix=()):
        self.process = scope.start(
            name, *prefix, scope.bench.program('test', 'bench', 'traffic'), '--in', devices[0],
            '--out', devices[1], '--cpu', str(cpu), *(str(a) for a in arguments),
            stdin=subprocess.PIPE)
        self._seen = 0
        if self._line(40) != 'ready':
            raise b.lab.LabError(f'{name} did not start: {self.process.stderr[-300:]}')

    def _line(self, timeout):
        deadline = time.monotonic() + timeout
        while True:
            line, newline, _ = self.process.stdout[self._seen:].partition('\n')
            if newline:
                self._seen += len(line) + 1
                return line
            if not self.process.running():
                raise b.lab.LabError(f'{self.process.name} ended: {self.process.stderr[-300:]}')
            if time.monotonic() > deadline:
                raise b.lab.LabError(f'{self.process.name} did not answer in {timeout} s')
            time.sleep(0.002)

    def ask(self, command, timeout=60):
        self.process.popen.stdin.write(command.encode() + b'\n')
        self.process.popen.stdin.flush()
        return json.loads(self._line(timeout))

    def udp(self, seconds, flows, rate=0, new_permille=0, both_ways=True):
        return self.ask(f'udp {seconds} {rate:.0f} {flows} {new_permille} {int(both_ways)}',
                        seconds + 30)

    def sessions(self, kind, seconds):
        """`kind`: tcp or ftp."""
        return self.ask(f'{kind} {seconds}', seconds + 30)

    def warm(self, flows):
        return self.ask(f'warm {flows}')
