#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Restarts the firewall under traffic; says `ok NAME` or `not ok NAME` for each kind of traffic.

scripts/restart-cycle.sh calls it. NOTES.md tells what a block is and how to add traffic.
"""

import collections
import contextlib
import dataclasses
import json
import os
import select
import signal
import time

import blocks   # the laboratory is beside the end-to-end cases, where this one looks
import lab as laboratory
import middle
import peers
import traffic

STOP_S = 30
ROUND_LIMIT_S = 240
YOUNG = 5  # connections that begin between a save and the kill
# Each number of workers comes after each other one, and after itself.
ALL_WORKERS = (1, 1, 2, 2, 3, 3, 1, 3, 2, 1, 2)


@dataclasses.dataclass(frozen=True)
class Block:
    """Restarts of one kind, one after the other, through which the same traffic runs."""
    kind: str       # term: TERM, which saves | kill: KILL after a save | crash: KILL after one of its
                    # own saves | live: restored while it runs
    default: str    # the policy's
    wait_s: int     # kill: from the save to the KILL
    workers: tuple  # before the first restart, and after each

    @property
    def name(self):
        return (f'kill-{self.wait_s}s' if self.kind == 'kill' else self.kind) + f'/{self.default}'


@dataclasses.dataclass
class Round:
    wait_s: float  # from before() to the restart; what has to be under way then lasts longer
    dead: dict = dataclasses.field(default_factory=dict)  # TCP connections that did not survive: why


CUT = [Block('term', 'drop', 0, (2, 3, 1)), Block('term', 'reject', 0, (1, 1, 2)),
       Block('kill', 'drop', 0, (1, 2)), Block('kill', 'reject', 1, (2, 1)),
       Block('kill', 'drop', 3, (3, 2)), Block('crash', 'reject', 0, (3, 1)),
       Block('live', 'drop', 0, (2, 1))]
FULL = [Block(kind, default, wait_s, ALL_WORKERS)
        for kind, wait_s in (('term', 0), ('kill', 0), ('kill', 1), ('kill', 3))
        for default in ('drop', 'reject')] + [
            Block('crash', 'reject', 1, ALL_WORKERS), Block('live', 'drop', 1, ALL_WORKERS)]


def configuration(block, workers, socket_path, state_path, udp_flows):
    """As of the end-to-end cases, with SIP as well and a rule for each kind of traffic."""
    rules = [{'name': 'peers-tcp', 'proto': 'tcp', 'dport': traffic.TCP_PORT},
             {'name': 'peers-udp', 'proto': 'udp', 'dport': '20000-20249'},
             {'name': 'sip-control', 'proto': ['udp', 'tcp'], 'dport': 5060, 'helper': 'sip'}]
    common = {'from': 'inside', 'to': 'outside', 'ct': ['new'], 'action': 'accept'}
    setting = middle.Setting(workers=workers, default=block.default,
                             rules=tuple(json.dumps({**common, **rule}) for rule in rules))
    config = middle.configuration(setting, socket_path)
    config['helpers'].append({'name': 'sip', 'ports': [5060]})
    config['policy']['rules'][-1]['related'].append('sip')
    config['limits']['connections'] = max(65536, 2 * udp_flows)
    # A round may take longer than a flow of one question and one answer lives.
    config['timeouts']['udp'] = {'unreplied': 600, 'stream': 600}
    config['eal']['memory_mb'] = 512 if udp_flows < 30000 else 1024
    if block.kind == 'term':
        config['state'] = {'file': state_path, 'save_on_stop': True}
    if block.kind == 'crash':
        config['state'] = {'file': state_path, 'save_on_stop': False, 'save_every': '1s'}
    return config


class Firewall(middle.Postern):
    """One life of the daemon. All lives have the same control socket."""

    @property
    def socket_path(self):
        return self.config['control']['socket']


class Cycle:
    """A laboratory, the traffic, and the firewall in its present life."""

    def __init__(self, block, options):
        self.block, self.options = block, options
        self.lab = laboratory.Lab()
        self.lives = 0
        self.firewall = None
        self.problems = collections.defaultdict(list)
        self.notes = []
        self.captures = []

    def begin(self):
        self.state = self.lab.path('state.bin')
        self.capture()
        self.start(self.block.workers[0])
        self.begin_traffic()

    def capture(self):
        lab = self.lab
        for host, words, name in (('inside', 'udp and portrange 40000-49999', 'audio'),
                                  ('inside', 'tcp[tcpflags] & tcp-rst != 0', 'resets-inside'),
                                  ('outside', 'tcp[tcpflags] & tcp-rst != 0', 'resets-outside')):
            capture = lab.start(f'tcpdump-{name}', host, 'tcpdump', '-i', 'eth0', '-n', '-s', '96', '-U',
                                '--immediate-mode', '-Z', 'root', '-w', lab.path(f'{name}.pcap'), words)
            capture.await_output('listening on')

    def begin_traffic(self):
        lab = self.lab
        ends = self.ends = traffic.Ends(lab)
        server = peers.FtpServer(lab)
        self.traffic = [
            traffic.Tcp('bulk', ends, {f'bulk-{n}': self.options.bulk_rate for n in range(2)}),
            traffic.Tcp('trickle', ends, {f'trickle-{n}': 200 for n in range(5)}),
            traffic.Tcp('idle', ends, {f'idle-{n}': 0 for n in range(10)}),
            traffic.Ftp(lab, server, 'ftp-passive', laboratory.OUTSIDE4, True),
            traffic.Ftp(lab, server, 'ftp-active', f'[{laboratory.OUTSIDE6}]', False),
            traffic.BusyFtp(lab, server),
            traffic.UdpFlows(ends, self.options.udp_flows, self.options.udp_rate),
            # Their time is limited, so they begin last.
            traffic.Call(lab, 'udp', 0), traffic.Call(lab, 'tcp', 1)]
        for each in self.traffic:
            each.begin()

    def configuration(self, workers):
        return configuration(self.block, workers, self.lab.path('postern.sock'), self.state,
                             self.options.udp_flows)

    def start(self, workers, *options):
        """A new life of the daemon; it has ended its start when this returns."""
        self.lives += 1
        name = f'postern-{self.lives}'
        config = self.configuration(workers)
        self.firewall = Firewall(config=config, name=name, options=options)
        self.firewall.launch(self.lab)
        self.firewall.process.await_output(r'\bready\b', STOP_S)

    def save(self):
        if self.block.kind != 'crash':
            laboratory.run(*self.firewall.ctl_argv('conntrack', 'save', self.state), timeout=120)
            return
        # The save that is under way may have begun earlier, so the one after it.
        for _ in range(2):
            last = self.saved_file()
            deadline = time.monotonic() + STOP_S
            while self.saved_file() == last:
                if time.monotonic() > deadline:
                    raise laboratory.LabError(f'no save in {STOP_S} s: '
                                              f'{self.firewall.process.stderr[-500:]}')
                select.select([self.firewall.process.pidfd], [], [], 0.01)

    def saved_file(self):
        """Which file it is; None: there is none."""
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(self.state)
            return found.st_ino, found.st_mtime_ns
        return None

    def stop(self):
        """Ends this life as the block wants it."""
        process = self.firewall.process
        if self.block.kind != 'term':
            process.signal(signal.SIGKILL)
            process.wait(STOP_S)
            return
        process.signal(signal.SIGTERM)
        code = process.wait(STOP_S)
        if code != 0:
            raise laboratory.LabError(f'after TERM: exit code {code}: {process.stderr[-500:]}')

    def resets(self):
        """Of TCP, sent by whomever."""
        return sum(len(laboratory.run('tcpdump', '-n', '-r', self.lab.path(f'resets-{host}.pcap'),
                                      check=False).stdout.splitlines()) for host in ('inside', 'outside'))

    def restart(self, number):
        block, workers = self.block, self.block.workers
        title = f'restart {number + 1}, {workers[number]} to {workers[number + 1]} workers'
        # Saving takes time, too.
        round_ = Round(block.wait_s + self.options.udp_flows / 40_000 +
                       (3 if block.kind == 'crash' else 0))
        for each in self.traffic:
            each.before(round_)
        resets = self.resets()
        young = {}
        if block.kind != 'term':
            self.save()
            young = {f'young-{self.lives}-{n}': 200 for n in range(YOUNG)}
            self.ends.open(young)
            for each in self.traffic:
                if hasattr(each, 'saved'):
                    each.saved()
            select.select([self.firewall.process.pidfd], [], [], block.wait_s)  # the test's subject
        ended = [each.name for each in self.traffic
                 if hasattr(each, 'under_way') and not each.under_way()]
        if ended:
            raise laboratory.LabError(f'{title}: the machine is too slow: {ended} ended before the restart')
        begun = time.monotonic()
        self.stop()
        stopped = time.monotonic()
        self.start(workers[number + 1], *(['--restore', self.state] if block.kind == 'kill' else []))
        if block.kind == 'live':
            laboratory.run(*self.firewall.ctl_argv('conntrack', 'restore', self.state, as_json=False),
                           timeout=300)
        ready = time.monotonic()
        round_.dead = self.ends.dead([name for name in self.ends.opened if name not in young])
        resets = self.resets() - resets
        for each in self.traffic:
            self.problems[each.name] += [f'{title}: {problem}' for problem in each.after(round_)]
        if block.kind == 'term' and resets:
            self.problems['resets'].append(f'{title}: {resets} resets')
        note = f'{title}: {stopped - begun:.1f} s to its end, {ready - stopped:.1f} s until ready'
        if young:
            lost = self.ends.dead(young, timeout=5)
            self.ends.close(young)
            note += f'; {len(young) - len(lost)} of {len(young)} connections younger than the file went on'
        self.notes.append(note)
        code = self.firewall.process.popen.poll()
        if code is not None:
            raise laboratory.LabError(f'{title}: the daemon ended by itself with exit code {code}')

    def names(self):
        return [each.name for each in self.traffic] + (['resets'] if self.block.kind == 'term' else [])


def run_block(block, options, report):
    cycle = Cycle(block, options)

    def restarts():
        try:
            cycle.begin()
            for number in range(len(block.workers) - 1):
                blocks.limit(ROUND_LIMIT_S + options.udp_flows // 1000)
                cycle.restart(number)
        except Exception as error:
            for problem in [problem for found in cycle.problems.values() for problem in found]:
                error.add_note(problem)
            raise
        for name in cycle.names():
            wrong = cycle.problems[name]
            report.line('not ok' if wrong else 'ok', f'{block.name}/{name}', wrong)
    blocks.run_block(block.name, cycle, restarts, options, report, seconds=ROUND_LIMIT_S)


def main():
    options = blocks.arguments(blocks.parser(
        'restart', __doc__.splitlines()[0],
        '20 restarts of each kind and 100,000 UDP flows, in place of the cut'))
    by_name = {block.name: block for block in (FULL if options.full else CUT)}
    return blocks.run(by_name, options, lambda name, report: run_block(by_name[name], options, report))


if __name__ == '__main__':
    blocks.end(main)
