#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the end-to-end cases; says `ok NAME`, `not ok NAME` or `skip NAME REASON` for each.

Needs root and the programs that scripts/install-deps.sh test installs. NOTES.md tells more.
"""

import argparse
import collections
import contextlib
import os
import select
import shutil
import signal
import sys
import time
import traceback

import cases
import lab as laboratory
import middle
import peers

CASE_LIMIT_S = 120


class TimeIsUp(Exception):
    """A case took longer than CASE_LIMIT_S."""


class Bench:
    """One Setting brought up: the laboratory, the middle, and the servers that cases ask for."""

    def __init__(self, setting, kind, options, logs):
        self.setting = setting
        self.record = options.record
        self.kind = kind
        self.notes = []
        self.middle = None
        self.servers = {}
        self.captures = {}
        self.lab = laboratory.Lab(options.keep)
        try:
            if shutil.which('tcpdump'):
                for host in ('inside', 'outside'):
                    self.captures[host] = self._capture(host)
            if setting is not None:
                self.middle = kind(setting).start(self.lab)
                if setting.vlan:
                    peers.vlan_interfaces(self.lab, setting.vlan)
        except BaseException:
            self.lab.close(logs_to=logs)
            raise

    def _capture(self, host):
        name = f'tcpdump-{host}'
        process = self.lab.start(name, host, 'tcpdump', '-i', 'eth0', '-n', '-s', '0' if self.record else '160', '-U',
                                 '--immediate-mode', '-Z', 'root',
                                 '-w', self.lab.path(f'{host}.pcap'))
        process.await_output('listening on')
        return process

    def captured(self, host, words):
        """How many frames seen at this host's interface match a tcpdump filter."""
        done = laboratory.run('tcpdump', '-n', '-r', self.lab.path(f'{host}.pcap'),
                              *words.split(), check=False)
        return len(done.stdout.splitlines())

    def can(self, what):
        return what in self.kind.CAPABLE

    def server(self, kind=None):
        """The server on the port that the Setting names, made by `kind` when first asked for."""
        key = kind or self.setting.service
        if key not in self.servers:
            port = self.setting.port
            self.servers[key] = (
                kind(self.lab, port) if kind else
                peers.TftpServer(self.lab, port) if key == 'tftp' else
                peers.FtpServer(self.lab, port, self.setting.server))
        return self.servers[key]

    def filed_expectations(self):
        """How many expectations the helper has filed so far; None if that cannot be asked."""
        if not self.can('control-socket'):
            return None
        return sum(row['expectations'] for row in self.middle.ctl('helper', 'list'))

    def note(self, text):
        """Something the reader of the results should know."""
        self.notes.append(text)

    def eventually(self, condition, otherwise, timeout_s=20):
        """Waits for something that can only be asked for, not be announced to us."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise cases.Failed(f'{otherwise} (waited {timeout_s} s)')
            select.select([], [], [], 0.01)

    def close(self, logs_to=None):
        if self.middle is not None:
            self.middle.stop()
        if self.record and self.setting is not None and 'inside' in self.captures:
            self.captures['inside'].stop()
            os.makedirs(self.record, exist_ok=True)
            shutil.copy(self.lab.path('inside.pcap'),
                        os.path.join(self.record, self.setting.name() + '.pcap'))
        self.lab.close(logs_to)


class Report:
    def __init__(self):
        self.counts = collections.Counter()

    def line(self, verdict, name, more='', notes=()):
        self.counts[verdict] += 1
        print(f'{verdict} {name}{" " + more if more else ""}', flush=True)
        for note in notes:
            for text in note.rstrip().splitlines():
                print(f'#   {text}', flush=True)

    def summary(self):
        text = f'{self.counts["ok"]} passed, {self.counts["not ok"]} failed'
        if self.counts['skip']:
            text += f', {self.counts["skip"]} skipped'
        print(text, flush=True)


@contextlib.contextmanager
def time_limit(seconds):
    def ring(*_):
        raise TimeIsUp(f'not done after {seconds} s')
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def what_went_wrong(error):
    known = (cases.Failed, laboratory.LabError, peers.StepError, TimeIsUp)
    return [str(error)] if isinstance(error, known) else [traceback.format_exc()]


def run_group(group, setting, options, report):
    """Runs the cases of one Setting on one bench."""
    kind = middle.KINDS[options.middle]
    title = setting.name() if setting else group[0].name.replace('/', '-')
    logs = os.path.join(options.logs, title)
    shutil.rmtree(logs, ignore_errors=True)
    try:
        with time_limit(CASE_LIMIT_S):
            bench = Bench(setting, kind, options, logs)
    except Exception as error:  # any failure to set up is the result of these cases
        for case in group:
            report.line('not ok', case.name, notes=what_went_wrong(error) + [f'logs: {logs}'])
        return
    failed = False
    try:
        begun = {}
        for case in group:
            if case.begin:
                try:
                    case.begin(bench)
                except Exception as error:
                    begun[case] = what_went_wrong(error)
        for case in group:
            bench.notes.clear()
            wrong = begun.get(case)
            if wrong is None:
                try:
                    with time_limit(CASE_LIMIT_S):
                        case.check(bench)
                except Exception as error:
                    wrong = what_went_wrong(error)
            if wrong is None and setting is not None and bench.middle.problems():
                wrong = bench.middle.problems()
            if wrong is not None:
                failed = True
                wrong = wrong + [f'logs: {logs}']
            report.line('ok' if wrong is None else 'not ok', case.name,
                        notes=(wrong or []) + bench.notes)
    finally:
        bench.close(logs_to=logs if failed else None)
        if options.keep:
            print(f'# kept: {" ".join(bench.lab.names.values())}; files in {bench.lab.folder}')


def run_all(groups, options, report):
    """Each group in a process of its own, `options.jobs` at a time: most of their time is waiting.
    What a group says comes out in one piece, when it has ended."""
    waiting = groups[::-1]
    running = {}  # the pipe from it -> its process and what it said so far
    try:
        while waiting or running:
            while waiting and len(running) < options.jobs:
                group = waiting.pop()
                source, pid = start_group(group, options)
                running[source] = (pid, group, bytearray())
            for source in select.select(list(running), [], [])[0]:
                pid, group, said = running[source]
                more = os.read(source, 65536)
                if more:
                    said += more
                    continue
                del running[source]
                os.close(source)
                finish_group(group, os.waitpid(pid, 0)[1], said.decode(errors='replace'), report)
    finally:
        for pid, _, _ in running.values():
            os.kill(pid, signal.SIGTERM)
        for pid, _, _ in running.values():
            os.waitpid(pid, 0)


def start_group(group, options):
    """A process that runs the group: the end to read its lines from, and its id."""
    source, sink = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid != 0:
        os.close(sink)
        return source, pid
    code = 1
    try:
        os.dup2(sink, 1)
        os.close(source)
        os.close(sink)
        run_group(group, group[0].setting, options, Report())
        sys.stdout.flush()
        code = 0
    finally:
        os._exit(code)


def finish_group(group, status, said, report):
    """Its lines, and `not ok` for cases of which it said nothing."""
    told = set()
    for line in said.splitlines():
        print(line, flush=True)
        for verdict in ('ok', 'not ok'):
            if line.startswith(verdict + ' '):
                told.add(line[len(verdict) + 1:].split()[0])
                report.counts[verdict] += 1
    for case in group:
        if case.name not in told:
            report.line('not ok', case.name, notes=[f'the runner ended with status {status}'])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('-k', metavar='PATTERN', action='append', default=[],
                        help='only cases whose name contains PATTERN (may be repeated)')
    parser.add_argument('-l', '--list', action='store_true', help='list the cases')
    parser.add_argument('--keep', action='store_true',
                        help='leave namespaces and files for inspection (processes are ended)')
    parser.add_argument('-j', '--jobs', type=int, default=min(4, (os.cpu_count() or 1) + 1),
                        help='how many middles at a time (%(default)s)')
    parser.add_argument('--record', metavar='FOLDER',
                        help='keep what each inside host sent and heard, one pcap for each setting')
    parser.add_argument('--middle', choices=sorted(middle.KINDS), default='postern',
                        help='what stands between the hosts: postern, or to compare, linux (its '
                             'own bridge and helpers) or wire (testpmd)')
    parser.add_argument('--logs', default=os.path.join(middle.BUILD, 'e2e-logs'),
                        help='where logs and captures of failed cases go (%(default)s)')
    options = parser.parse_args()
    chosen = [case for case in cases.all_cases()
              if not options.k or any(pattern in case.name for pattern in options.k)]
    if options.list:
        print('\n'.join(case.name for case in chosen))
        return 0
    # A TERM unwinds like Ctrl-C does, so that the laboratory is removed.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))

    report = Report()
    kind = middle.KINDS[options.middle]
    impossible = laboratory.why_impossible() or kind.missing()
    groups = collections.defaultdict(list)
    for case in chosen:
        lacking = sorted(case.needs - kind.CAPABLE)
        server = case.setting and case.setting.service == 'ftp' and case.setting.server
        if server and not peers.FTP_SERVERS.get(server, server):
            report.line('skip', case.name, f'{server} is not here (scripts/install-deps.sh test)')
        elif impossible or lacking:
            report.line('skip', case.name,
                        impossible or f'a {options.middle} has no {", ".join(lacking)}')
        else:
            groups[case.setting if case.setting else case].append(case)
    run_all(list(groups.values()), options, report)
    report.summary()
    return 1 if report.counts['not ok'] else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
