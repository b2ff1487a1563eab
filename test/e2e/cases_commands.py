# SPDX-License-Identifier: BSD-3-Clause
"""Each command of the manual is run, and its output compared in shape: rows with the fields that its
columns show, and a text with the columns that it describes.

A command that only reads, and needs no argument, is run without any. Each other one has an entry in
ENTRIES; a new command without one fails here."""

import json
import os
import re

import lab as laboratory
from cases import Case, expect
from cases_operator import SOMETIMES, text_of
from middle import POSTERN, POSTERNCTL, Postern, ROOT, Setting, configuration
from peers import FtpServer, SteppedClient

MANUAL = os.path.join(ROOT, 'docs', 'man', 'posternctl.8')
WAIT_S = 20


class Scene:
    """A daemon with a history, connections and an expectation."""

    def __init__(self, bench, more=lambda config: None):
        """`more` changes the configuration."""
        self.lab = bench.lab
        self.config = configuration(Setting(), self.lab.path('postern.sock'))
        self.config['control']['history'] = self.lab.path('history')
        self.config['log'] = {'default': True}
        self.config['timeouts']['udp'] = {'stream': 100}
        self.config['sets'] = [{'name': 'some', 'entries': ['192.0.2.66']}]
        more(self.config)
        bench.middle = self.daemon = Postern(config=self.config).start(self.lab)
        self.server = FtpServer(self.lab)
        self.clients = 0
        self.file = self.lab.write('same.yaml', json.dumps(self.config))
        self.session()

    def session(self):
        """A control connection that expects another one."""
        self.clients += 1
        client = SteppedClient(self.lab, port=self.server.port, name=f'step-command-{self.clients}')
        client('announce epsv')

    def other(self):
        """A file that differs from the last one: something is new, and something has another value."""
        self.clients += 1
        rule = {'name': f'rule-{self.clients}', 'proto': 'udp', 'dport': 9, 'action': 'accept'}
        self.config['policy']['rules'].insert(0, rule)
        self.config['timeouts']['udp'] = {'stream': 100 + self.clients}
        return self.lab.write('other.yaml', json.dumps(self.config))

    def expected(self):
        """An expectation of the operator's own; its id."""
        self.clients += 1
        [row] = self.daemon.ctl('expect', 'create', 'proto=tcp', f'dst={laboratory.OUTSIDE4}',
                                f'dport={20000 + self.clients}', 'no_master=true', 'zone=0', 'timeout=60')
        return row['id']


def load(scene):
    return [scene.other(), 'confirm=60s']


def confirm(scene):
    scene.daemon.ctl('config', 'load', scene.other(), 'confirm=60s')
    return []


def rollback(scene):
    scene.daemon.ctl('config', 'load', scene.other())
    return []


def delete(scene):
    scene.session()
    return ['dport=21']


def flush(scene):
    scene.session()
    return []


def create(scene):
    scene.clients += 1
    return ['proto=tcp', f'dst={laboratory.OUTSIDE4}', f'dport={20000 + scene.clients}', 'no_master=true',
            'zone=0', 'timeout=60']


def remove(scene):
    scene.daemon.ctl('config', 'load', scene.other())
    return ['ftp']


# What follows a command's words, made before each run. The order is that of the runs.
ENTRIES = {
    'port show': lambda scene: ['in0'],
    'complete': lambda scene: ['command=conntrack list', 'argument=state'],
    'config check': lambda scene: [scene.other()],
    'config diff': lambda scene: [scene.other()],
    'config load': load,
    'config confirm': confirm,
    'config rollback': rollback,
    'config show': lambda scene: [],
    'expect create': create,
    'expect delete': lambda scene: [f'id={scene.expected()}'],
    'expect flush': flush,
    'conntrack delete': delete,
    'conntrack flush': flush,
    'helper remove': remove,
    'set add': lambda scene: ['some', '192.0.2.66', '2001:db8::/32 timeout 1h', 'timeout=5m'],
    'set delete': lambda scene: ['some', '192.0.2.66'],
    'set flush': lambda scene: ['some'],
    'set load': lambda scene: ['some', 'entries=192.0.2.66,192.0.2.67'],
}


def check_shape(scene, command):
    """Once as JSON and once as text."""
    name, daemon = command['command'], scene.daemon
    entry = ENTRIES.get(name, lambda scene: [])
    rows = daemon.ctl(*name.split(), *entry(scene))
    expect(rows, f'{name}: no row')
    columns = command['columns']
    for column in columns:
        known = any(field.split('.')[0] in row for row in rows for field in column['fields'])
        expect(known or column['title'] in SOMETIMES, f'{name}: no row fills {column}: {rows[:3]}')
    if name == 'help':  # its text is another one
        return
    lines = text_of(daemon, '--wide', '--all', *name.split(), *entry(scene))
    titles = [column['title'] for column in columns] or list(rows[0])
    expect(lines and lines[0].split() == titles, f'{name}: its titles are {lines[:1]}, not {titles}')
    expect(len(lines) > 1, f'{name}: titles without rows')


def check_events(scene, command):
    """It says that it listens, and then what happens."""
    name, daemon, lab = command['command'], scene.daemon, scene.lab
    file = name.replace(' ', '-')
    for words, word in (([], command['columns'][0]['title']), (['--json'], '"listening"')):
        process = lab.start(f'{file}{len(words)}', 'middle', POSTERNCTL, '-s', daemon.socket_path, *words,
                            *name.split())
        process.await_output(re.escape(word) if words else 'listening|' + word, WAIT_S)
        # Something happens to connections, to expectations, and to a packet that is dropped.
        scene.session()
        lab.do('inside', 'ping', '-c', '1', '-W', '1', laboratory.OUTSIDE4, check=False)
        process.await_output(r'(?s)\n.*\n' if words else re.escape(word), WAIT_S)
        expect(process.running(), f'{name} ended by itself')
        process.stop()


def check_files(scene, commands):
    """`conntrack save` and `restore`."""
    daemon, path = scene.daemon, scene.lab.path('connections')
    expect(set(commands) == {'conntrack save', 'conntrack restore'}, f'these use files, too: {commands}')
    said = daemon.text('conntrack', 'save', path)
    expect(re.search(r'saved \d+ connections and \d+ expectations', said), said)
    [row] = daemon.ctl('conntrack', 'restore', path)
    expect(row['records'] > 0 and row['connections'], row)
    expect('restored' in daemon.text('conntrack', 'restore', path), 'restore says nothing')


def each_command(bench):
    scene = Scene(bench)
    commands = {command['command']: command for command in scene.daemon.ctl('help')}
    with open(MANUAL, encoding='utf-8') as file:
        manual = [line[4:].strip() for line in file if line.startswith('.SS ')]
    for title in manual:
        expect(any(title == name or title.startswith(f'{name} ')
                   for name in [*commands, 'support', 'help']), f'no daemon has {title!r} of the manual')
    for name in commands:
        expect(name == 'complete' or any(title == name or title.startswith(f'{name} ') for title in manual),
               f'{name} is not in the manual')
    endless = [name for name in commands if commands[name]['endless']]
    for name in endless:
        check_events(scene, commands[name])
    files = [name for name in commands if commands[name]['file'] != 'none' and name not in endless]
    check_files(scene, files)
    rest = [name for name in commands if name not in (*endless, *files)]
    for name in rest:
        command = commands[name]
        expect(name in ENTRIES or (command['effect'] == 'read' and
                                   not any(arg['required'] for arg in command['args'])),
               f'{name} needs an entry in ENTRIES of test/e2e/cases_commands.py')
    for name in [name for name in rest if name not in ENTRIES] + list(ENTRIES):
        check_shape(scene, commands[name])


def programs(bench):
    """The subcommands of `postern`, and what posternctl does without a daemon."""
    lab = bench.lab
    config = configuration(Setting(), lab.path('postern.sock'))
    path = lab.write('program.yaml', json.dumps(config))
    for argv, word in (((POSTERN, '--help'), 'check'), ((POSTERN, '--version'), r'postern \d'),
                       ((POSTERN, 'check', path), r'rules, first to last:\n.*ftp-control.*policy: '),
                       ((POSTERN, 'schema'), '"policy"'), ((POSTERN, 'commands'), 'config load'),
                       ((POSTERNCTL, '--help'), 'conntrack'), ((POSTERNCTL, '--version'), r'posternctl \d'),
                       ((POSTERNCTL, 'conntrack', 'list', '--help'), 'proto='),
                       ((POSTERNCTL, '--bash-completion'), 'complete'),
                       ((POSTERNCTL, '--zsh-completion'), '#compdef')):
        done = laboratory.run(*argv, check=False)
        expect(done.returncode == 0, f'{argv}: exit code {done.returncode}: {done.stderr}')
        expect(re.search(word, done.stdout, re.DOTALL), f'{argv}: without {word!r}: {done.stdout[:500]}')


def cases():
    daemon = frozenset({'control-socket'})
    return [Case('commands/each-one-of-the-manual', None, each_command, needs=daemon),
            Case('commands/programs', None, programs, needs=daemon)]
