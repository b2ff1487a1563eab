#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The show of scripts/demo.sh, which has built what it needs. Uses the end-to-end laboratory."""

import os
import re
import signal
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, 'test', 'e2e'))

import lab as laboratory  # noqa: E402
from middle import Postern  # noqa: E402
from peers import (  # noqa: E402
    FILE_BYTES, SLOWLY, FtpServer, SteppedClient, StepError, Transfer)

TRANSFERS = (
    ('passive, IPv4, curl', Transfer('curl', 'pasv', 4)),
    ('passive, IPv6, curl', Transfer('curl', 'epsv', 6)),
    ('active,  IPv4, lftp', Transfer('lftp', 'port', 4)),
    ('active,  IPv6, curl', Transfer('curl', 'eprt', 6)),
)
LONG_ENOUGH_S = 20
SHORT_S = 4
MAX_LINES = 12


class Show:
    def __init__(self):
        self.ok = True
        self.colour = sys.stdout.isatty()

    def headline(self, text):
        print(f'\n\033[1m{text}\033[0m' if self.colour else f'\n{text}')

    def say(self, text=''):
        print(f'  {text}'.rstrip())

    def verdict(self, holds, text):
        """One step that behaved as it should, or not."""
        self.ok = self.ok and bool(holds)
        sign = '\u2714' if holds else '\u2718'
        if self.colour:
            sign = f'\033[{32 if holds else 31}m{sign}\033[0m'
        print(f'  {sign} {text}')
        return holds

    def command(self, daemon, *words):
        """What an operator would type, and what is answered."""
        self.say(f'$ posternctl {" ".join(words)}')
        lines = daemon.text(*words).splitlines()
        for line in lines[:MAX_LINES]:
            self.say(f'  {line}')
        if len(lines) > MAX_LINES:
            self.say(f'  ... {len(lines) - MAX_LINES} more lines')


def start(lab, config):
    """Postern with a file of conf/, only its socket moved so that two demos do not meet."""
    name = f'postern-{os.path.splitext(config)[0]}'
    daemon = Postern(name=name)
    with open(os.path.join(ROOT, 'conf', config), encoding='utf-8') as file:
        text, moved = re.subn(r'(?m)(\bsocket:\s*)[^\s#}]+', rf'\g<1>{lab.path(name)}.sock',
                              file.read())
    if moved != 1:
        raise laboratory.LabError(f'conf/{config} does not name its socket')
    daemon.config_path = lab.write(f'{name}.yaml', text)
    return daemon.start(lab)


def rules_of(config):
    """The lines of the policy's rules, as they stand in the file."""
    with open(os.path.join(ROOT, 'conf', config), encoding='utf-8') as file:
        return re.findall(r'(?m)^\s*- (\{name: .*\baction: .*\})', file.read())


def with_helper(show, lab, server):
    show.headline('1. The FTP helper is in the policy (conf/demo.yaml)')
    for rule in rules_of('demo.yaml'):
        show.say(rule)
    daemon = start(lab, 'demo.yaml')
    for title, transfer in TRANSFERS:
        problem = transfer.start(lab, server.port, LONG_ENOUGH_S).problem(server)
        show.verdict(problem is None, f'{title}: {FILE_BYTES} bytes came over' if not problem
                     else f'{title}: {problem}')

    show.headline('   A client has asked where to fetch its file, and waits')
    client = SteppedClient(lab, 4, server.port)
    announced = client('announce pasv')
    show.say(f'the server answered: at {announced["host"]} port {announced["port"]}')
    show.command(daemon, 'expect', 'list', '--wide')
    rows = [row for row in daemon.expectations() if row['dport'] == announced['port']]
    show.verdict(len(rows) == 1, f'port {announced["port"]} is expected: a pin-hole for exactly '
                 'this connection, once')
    try:
        client('connect')
        left = [row for row in daemon.expectations() if row['dport'] == announced['port']]
        show.verdict(not left, 'the client has connected: the pin-hole is used up')
        got = client('fetch file.bin')
        show.verdict(got['sha256'] == server.digest, f'{got["bytes"]} bytes came over')
    except StepError as error:
        show.verdict(False, str(error))
    client.close()

    show.headline('   While a (slow) transfer runs')
    running = Transfer('lftp', 'epsv', 4).start(lab, server.port, LONG_ENOUGH_S, SLOWLY)
    related = []
    while not related and running.process.running():
        related = [row for row in daemon.connections(proto='tcp') if row.get('master')
                   and row.get('proto_state') == 'established']
    show.command(daemon, 'conntrack', 'list', 'proto_state=established', '--wide')
    show.verdict(related, 'its data connection is known; its MASTER is the ID of its control connection'
                 if related else 'no data connection was seen')
    problem = running.problem(server)
    show.verdict(problem is None, problem or f'{FILE_BYTES} bytes came over')

    show.headline('   Counters')
    show.command(daemon, 'helper', 'list')
    show.command(daemon, 'conntrack', 'count')
    show.command(daemon, 'drops')
    code = daemon.terminate()
    show.verdict(code == 0, f'SIGTERM: drained and ended with exit code {code}')


def without_helper(show, lab, server):
    show.headline('2. The same firewall without the helper (conf/demo-no-helper.yaml)')
    for rule in rules_of('demo-no-helper.yaml'):
        show.say(rule)
    daemon = start(lab, 'demo-no-helper.yaml')
    clients = [(title, transfer.start(lab, server.port, SHORT_S))
               for title, transfer in TRANSFERS]
    for title, client in clients:
        failed = client.finish() != 0
        data = client.arrived(server)
        show.verdict(failed and not data and client.logged_in(),
                     f'{title}: logged in, and then its data connection was dropped'
                     if client.logged_in() and failed and not data else
                     f'{title}: {"no login" if not client.logged_in() else "data came over"}')
    show.headline('   Counters')
    show.command(daemon, 'drops')
    show.verdict(daemon.drops().get('policy', 0) > 0, 'it was the policy that dropped them')
    show.verdict(not daemon.expectations(), 'nothing was expected')
    code = daemon.terminate()
    show.verdict(code == 0, f'SIGTERM: drained and ended with exit code {code}')


def demo():
    began = time.monotonic()
    impossible = laboratory.why_impossible() or Postern.missing()
    if impossible:
        print(f'demo: {impossible}', file=sys.stderr)
        return 1
    show = Show()
    with laboratory.Lab() as lab:
        show.headline('Two hosts, joined only by Postern')
        show.say(f'inside {laboratory.INSIDE4}                          '
                 f'outside {laboratory.OUTSIDE4}')
        show.say('curl, lftp  -----[ in0  postern  out0 ]-----  vsftpd')
        server = FtpServer(lab)
        with_helper(show, lab, server)
        without_helper(show, lab, server)
    show.headline('All as it should be' if show.ok else 'Something did not behave as it should')
    show.say(f'{time.monotonic() - began:.0f} s; namespaces, server and clients are removed')
    return 0 if show.ok else 1


def main():
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        return demo()
    except laboratory.LabError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print('\ndemo: interrupted; namespaces, server and clients are removed', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
