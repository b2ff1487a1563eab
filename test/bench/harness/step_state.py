# SPDX-License-Identifier: BSD-3-Clause
"""Saving and restoring connections: state_bench, restore_bench, and conntrack-tools with the kernel."""

import ipaddress
import os
import re
import shutil
import time

import bench as b
import results

NAME = 'state'
TITLE = 'saving and restoring connections'

# The last lines of state_bench and restore_bench, by the row that they make.
_SAVED = re.compile(r'^  (\S.*?) +[\d.]+ s +(\d+) a second$', re.M)
_LOADED = re.compile(r'^(udp|tcp), (records|file of \d+ MB), before the worker runs: .*, (\d+) a second$', re.M)
_LIVE = re.compile(r'^(udp|tcp), under traffic: ([\d.]+) s of .*median ([\d.]+), 99 % ([\d.]+), '
                   r'99\.9 % ([\d.]+), longest ([\d.]+)$', re.M)
_KERNEL_MAX = '/proc/sys/net/netfilter/nf_conntrack_max'


def seconds(bench):
    return bench.choose(240, 20, 4)


def sizes(bench):
    return bench.choose((100_000, 1_000_000, 10_000_000), (100_000,), (5_000,))


def _run(bench, name, connections):
    with bench.scope() as scope:
        process = scope.start(name, bench.program('test', 'bench', name), '--connections', str(connections),
                              *(['--file', bench.path('state')] if name == 'state_bench' else []))
        process.wait(600)
        if process.popen.returncode != 0:
            raise b.Impossible(f'{name} with {connections} connections failed: {process.stderr.strip()[-300:]}')
        return process.stdout


class _Rows:
    """Rows by their names; a further value of the same one is added to it."""

    def __init__(self, section):
        self.section, self.rows = section, {}

    def add(self, what, value, who='Postern', **more):
        key = what, who
        if key not in self.rows:
            self.rows[key] = self.section.row(what, who, **more)
        self.rows[key].values.append(value)


def _saves(rows, text, size):
    for udp_or_tcp, part in zip(('UDP', 'TCP'), re.split(r'^\d+ connections of ', text, flags=re.M)[1:]):
        for what, rate in _SAVED.findall(part):
            rows.add(f'{size:,} {udp_or_tcp}: {what}', int(rate))


def _restores(rows, turns, text, size):
    for protocol, source, rate in _LOADED.findall(text):
        source = 'a file' if source.startswith('file') else 'records in memory'
        rows.add(f'{size:,} {protocol.upper()}: {source}, at the start', int(rate))
    for protocol, taken, *share in _LIVE.findall(text):
        what = f'{size:,} {protocol.upper()}: while it forwards a burst of 32 packets a turn'
        rows.add(what, round(size / float(taken)))
        for part, value in zip(('median', '99 %', '99.9 %', 'longest'), share):
            turns.add(f'{what}, {part}', float(value))


class _Kernel:
    """A network namespace with an empty connection table."""

    def __init__(self, scope):
        if shutil.which('conntrack') is None:
            raise b.Impossible('conntrack (of conntrack-tools) is not installed')
        reason = b.lab.why_impossible()
        if reason:
            raise b.Impossible(reason)
        self.lab = b.lab.Lab()
        scope.at_end(self.lab.close)

    def make_room(self, scope, connections):
        """For as long as the scope lasts."""
        with open(_KERNEL_MAX, encoding='ascii') as file:
            before = file.read()
        if int(before) >= connections + connections // 8:
            return

        def write(text):
            with open(_KERNEL_MAX, 'w', encoding='ascii') as file:
                file.write(text)
        write(str(connections + connections // 8))
        scope.at_end(lambda: write(before))

    def tool(self, *argv):
        begun = time.monotonic()
        done = self.lab.do('inside', 'conntrack', *argv, timeout=300)
        return time.monotonic() - begun, done

    def count(self):
        return int(self.tool('-C')[1].stdout)


def _kernel(bench, saves, restores, size):
    """UDP flows only: conntrack-tools restore what they have saved."""
    with bench.scope() as scope:
        kernel = _Kernel(scope)
        kernel.make_room(scope, size)
        flows = bench.path('kernel.flows')
        first = int(ipaddress.IPv4Address('11.0.0.0'))
        with open(flows, 'w', encoding='ascii') as file:
            for i in range(size):
                file.write(f'-A -s {ipaddress.IPv4Address(first + i)} -d 198.18.{i >> 8 & 255}.{i & 255} -p udp '
                           f'--sport {1024 + i % 60000} --dport 53 -t 600 -u SEEN_REPLY\n')
        kernel.tool('-R', flows)
        if kernel.count() != size:
            raise b.Impossible(f'the kernel took {kernel.count()} of {size} connections')
        saved = bench.path('kernel.saved')
        taken, done = kernel.tool('-L', '-o', 'save')
        with open(saved, 'w', encoding='ascii') as file:
            file.write(done.stdout)
        saves.add(f'{size:,} UDP: conntrack -L -o save', round(size / taken), 'kernel')
        kernel.tool('-F')
        taken, _ = kernel.tool('-R', saved)
        if kernel.count() < size * 0.99:
            raise b.Impossible(f'the kernel restored {kernel.count()} of {size} connections')
        restores.add(f'{size:,} UDP: conntrack -R', round(size / taken), 'kernel')
        os.unlink(flows)
        os.unlink(saved)


def run(bench):
    saves = results.Section(
        'save', 'Saving connections',
        'One worker. *Stopped workers\' tables*: as at the stop of the daemon. *In steps of control*: encoded '
        'from a running worker\'s ring. *By a client*: `posternctl conntrack save`, to the disk. The kernel: '
        '`conntrack -L -o save`, into memory. To repeat: `build/test/bench/state_bench`.',
        'connections a second', higher_is_better=True)
    restores = results.Section(
        'restore', 'Restoring connections',
        'One worker. *At the start*: before it runs. *While it forwards*: the worker\'s time, with a burst of '
        '32 packets each turn. The kernel: `conntrack -R` with the file of `conntrack -L -o save`. To repeat: '
        '`build/test/bench/restore_bench`.',
        'connections a second', higher_is_better=True)
    turns = results.Section(
        'restore-turns', 'Restoring connections: share of a turn',
        'How long a worker is away from its packets in a turn. Turns in which the kernel took the processor '
        'away are left out.',
        'us', higher_is_better=False)
    rows = [_Rows(section) for section in (saves, restores, turns)]
    all_sizes = sizes(bench)
    for at, size in enumerate(all_sizes):
        for number in range(1 if size > 1_000_000 else min(bench.rounds, 3)):
            bench.say(f'{size:,} connections, run {number + 1}', at / len(all_sizes))
            _saves(rows[0], _run(bench, 'state_bench', size), size)
            _restores(rows[1], rows[2], _run(bench, 'restore_bench', size), size)
            if size <= 1_000_000:
                try:
                    _kernel(bench, rows[0], rows[1], size)
                except (b.Impossible, b.lab.LabError, OSError) as problem:
                    if number == 0:
                        restores.row(f'{size:,} UDP', 'kernel', note=str(problem))
    return [saves, restores, turns]
