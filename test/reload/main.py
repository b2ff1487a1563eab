#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Loads other configurations under traffic; says `ok NAME` or `not ok NAME` for each thing to hold.

scripts/reload-cycle.sh calls it. NOTES.md tells what a block is and how to add one.
"""

import copy
import itertools
import json
import os
import select
import shutil
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(HERE), 'restart'))

import blocks               # noqa: E402  (of restarts)
import cycle                # noqa: E402  (restarts: its laboratory and traffic)
import bad_files            # noqa: E402

laboratory, middle, peers, traffic = cycle.laboratory, cycle.middle, cycle.peers, cycle.traffic
STOP_S = 30
BLOCK_LIMIT_S = 240
SETTING = cycle.Block('live', 'drop', 0, (2,))
REFUSED = 2
BAD_BYTES_PER_S = 15_000  # a transfer that lasts longer than all bad files
# A kill comes so long after a load was asked for.
KILLS_MS = (0, 2, 5, 10, 16, 24, 34, 48, 66, 90, 130, 200)


class Wrong(Exception):
    """What had to hold does not."""


def expect(condition, message):
    if not condition:
        raise Wrong(message)


def eventually(condition, message, timeout=20):
    deadline = time.monotonic() + timeout
    while not condition():
        expect(time.monotonic() < deadline, message() if callable(message) else message)
        select.select([], [], [], 0.02)


def same_rules(rows):
    return {row['rule'] for row in rows} - {'default'}


class Bench(cycle.Cycle):
    """A laboratory with a firewall whose configuration changes."""

    def __init__(self, options):
        super().__init__(SETTING, options)
        self.serial = itertools.count(1)
        self.state = self.lab.path('state.bin')

    def configuration(self, workers):
        config = super().configuration(workers)
        config['control']['history'] = self.lab.path('history')
        config['groups'] = {'addresses': {'nobody': [{'file': 'nobody.txt'}]}}
        self.nobody(['203.0.113.1'])
        return config

    def begin(self, with_traffic=True):
        self.capture()
        self.start(2)
        if with_traffic:
            self.begin_traffic()

    def nobody(self, addresses):
        self.lab.write('nobody.txt', '\n'.join(addresses) + '\n')

    @property
    def config(self):
        """A copy of the configuration that the daemon has begun with."""
        return copy.deepcopy(self.firewall.config)

    def written(self, config, name=None):
        return self.lab.write(name or f'next-{next(self.serial)}.yaml', json.dumps(config, indent=2) + '\n')

    def load(self, config, *words):
        return self.load_file(self.written(config), *words)

    def load_file(self, path, *words):
        rows = self.firewall.ctl('config', 'load', path, *words)
        expect(rows[-1]['change'].startswith('in force'), f'config load says {rows}')
        return rows

    def refused(self, *words):
        """The message of a command that must fail."""
        done = laboratory.run(*self.firewall.ctl_argv(*words, as_json=False), check=False)
        expect(done.returncode == REFUSED, f'{" ".join(words)}: exit code {done.returncode}, not '
                                           f'{REFUSED}: {done.stdout}{done.stderr}')
        return done.stderr

    def rules(self):
        """Names of the rules in force."""
        return same_rules(self.firewall.ctl('rule', 'list'))

    def in_force(self):
        """The text of the configuration in force, by `config show`."""
        return ''.join(row['line'] + '\n' for row in self.firewall.ctl('config', 'show'))

    def start_file(self):
        with open(self.firewall.config_path, encoding='utf-8') as file:
            return file.read()

    def drops(self):
        """Packets that were dropped for any other reason than a rule."""
        return {reason: n for reason, n in self.firewall.drops().items() if reason != 'policy'}

    def passes(self, server, timeout=15):
        """None if FTP works now."""
        return peers.Transfer('curl', 'epsv', 4).start(self.lab, server.port, timeout).problem(server)


# --- what a load may change, and nothing that runs is cut ---------------------------------------

def with_rule(config, name, at=0, **keys):
    config['policy']['rules'].insert(at, {'name': name, 'action': 'accept', **keys})
    return config


def renamed(config):
    for rule in config['policy']['rules']:
        if rule['name'].startswith('peers-'):
            rule['name'] = 'other-' + rule['name']
    return config


def reversed_rules(config):
    config['policy']['rules'].reverse()
    return config


def more_rules(config, count=2000):
    config['policy']['rules'] += [
        {'name': f'more-{n}', 'proto': 'tcp', 'src': f'198.51.{100 + n // 250 % 100}.{n % 250}',
         'dport': 1000 + n, 'action': 'accept'} for n in range(count)]
    return config


def other_helper(config):
    config['helpers'][0]['params'] = {'loose': True}
    return config


def other_timeouts(config):
    config['timeouts']['udp'] = {'unreplied': 700, 'stream': 800}
    return config


def rechecked(config):
    config['policy']['on_change'] = 'recheck'
    return with_rule(config, 'again', proto='udp', dport=9)


def logged(config):
    config['log'] = {'default': '5/s', 'drops': {'ct_invalid': True}}
    for rule in config['policy']['rules']:
        rule['log'] = '2/s'
    return config


def with_group(config):
    config['groups']['ports'] = {'odd': [9, '11-13']}
    return with_rule(config, 'bad-ones', src='nobody', proto='udp', dport='odd', action='drop')


def more_zones(config):
    config['zones'] = ['other', *config['zones']]
    return with_rule(config, 'from-other', **{'from': 'other', 'proto': 'udp'})


def disabled(config):
    return with_rule(config, 'off', enabled=False, action='drop')


VARIANTS = (renamed, lambda config: with_rule(config, 'first', proto='udp', dport=9), other_helper, rechecked,
            reversed_rules, other_timeouts, more_rules, logged, with_group, more_zones, disabled,
            lambda config: config)


def one_load(bench, number):
    """Also a reload by SIGHUP, a way back, and a file that is refused."""
    kind = number % (len(VARIANTS) + 3)
    firewall = bench.firewall
    if kind < len(VARIANTS):
        bench.load(VARIANTS[kind](bench.config))
    elif kind == len(VARIANTS):
        numbers = [row['number'] for row in firewall.ctl('config', 'list')]
        bench.nobody([f'203.0.113.{number % 200 + 1}', '203.0.113.250'])
        firewall.process.signal(signal.SIGHUP)
        eventually(lambda: firewall.ctl('config', 'list')[-1]['number'] > numbers[-1], 'SIGHUP loads nothing')
    elif kind == len(VARIANTS) + 1:
        firewall.ctl('config', 'rollback')
    else:
        bench.refused('config', 'load', bench.lab.write('broken.yaml', 'zones: ['))
        bench.load(bench.config)


def loads(bench, report, options):
    """Very many loads, one after the other, under every kind of traffic."""
    bench.begin()
    done = 0
    problems = {each.name: [] for each in bench.traffic}
    for number in range(options.rounds):
        blocks.limit(BLOCK_LIMIT_S + options.udp_flows // 1000)
        round_ = cycle.Round(options.loads * 0.35 + options.udp_flows / 40_000)
        for each in bench.traffic:
            each.before(round_)
        resets, drops = bench.resets(), bench.drops()
        begun = time.monotonic()
        for _ in range(options.loads):
            one_load(bench, done)
            done += 1
        took = time.monotonic() - begun
        lost = {reason: n - drops.get(reason, 0) for reason, n in bench.drops().items()
                if n != drops.get(reason, 0)}
        ended = [each.name for each in bench.traffic
                 if hasattr(each, 'under_way') and not each.under_way()]
        expect(not ended, f'the machine is too slow: {ended} ended before the last load ({took:.1f} s)')
        round_.dead = bench.ends.dead()
        for each in bench.traffic:
            problems[each.name] += [f'round {number + 1}: {problem}' for problem in each.after(round_)]
        resets = bench.resets() - resets
        problems.setdefault('no-packet-dropped', []).extend([f'round {number + 1}: {lost}'] if lost else [])
        problems.setdefault('no-resets', []).extend([f'round {number + 1}: {resets}'] if resets else [])
        bench.notes.append(f'round {number + 1}: {options.loads} loads in {took:.1f} s')
    for name, wrong in problems.items():
        report.line('not ok' if wrong else 'ok', f'loads/{name}', wrong)
    report.line('ok' if done == options.rounds * options.loads else 'not ok', f'loads/{done}-loads')


# --- going back ---------------------------------------------------------------------------------

def timer(bench, report, options):
    """Loads that nobody confirms go back by themselves, under a transfer; those confirmed stay."""
    bench.begin(with_traffic=False)
    server = peers.FtpServer(bench.lab)
    before = bench.rules()
    for number in range(options.trials):
        running = peers.Transfer('lftp', 'epsv', 4).start(bench.lab, server.port, 60, peers.SLOWLY)
        eventually(lambda: [row for row in bench.firewall.connections(proto='tcp') if row.get('master')],
                   'no data connection is seen')
        bench.load(with_rule(bench.config, f'trial-{number}', proto='udp', dport=9), 'confirm=1s')
        expect(bench.rules() == before | {f'trial-{number}'}, 'the trial is not in force')
        numbers = bench.firewall.ctl('config', 'list')
        expect(numbers[-1]['confirmed'] is False and 1 >= numbers[-1]['goes_back_in_s'] >= 0, numbers[-1])
        eventually(lambda: bench.rules() == before, 'it does not go back')
        expect(bench.firewall.ctl('config', 'list')[-1]['by'] == 'no confirmation in time', 'by whom?')
        problem = running.problem(server)
        expect(problem is None, f'the transfer: {problem}')
    report.line('ok', 'timer/goes-back')
    path = bench.written(with_rule(bench.config, 'kept', proto='udp', dport=9))
    bench.load_file(path, 'confirm=60s')
    bench.firewall.ctl('config', 'confirm')
    bench.refused('config', 'confirm')
    expect(bench.rules() == before | {'kept'}, 'what was confirmed is not in force')
    with open(path, encoding='utf-8') as file:
        expect(bench.start_file() == file.read(), 'the next start would run something else')
    report.line('ok', 'timer/a-confirmed-one-stays')
    # A trial of a trial: the last confirmed one comes back.
    bench.load(with_rule(bench.config, 'one', proto='udp', dport=9), 'confirm=60s')
    bench.load(with_rule(bench.config, 'two', proto='udp', dport=9), 'confirm=1s')
    eventually(lambda: bench.rules() == before | {'kept'}, lambda: f'in force are {bench.rules()}')
    report.line('ok', 'timer/the-last-confirmed-one-comes-back')
    first = bench.firewall.ctl('config', 'list')[0]['number']
    bench.firewall.ctl('config', 'rollback', str(first))
    expect(bench.rules() == before, f'rollback {first} brings {bench.rules()}')
    expect('there is no configuration 4711' in bench.refused('config', 'rollback', '4711'), 'it goes to 4711')
    report.line('ok', 'timer/rollback-to-a-number')


# --- bad files ----------------------------------------------------------------------------------

def bad(bench, report, _options):
    """A hundred kinds of files: each is refused, with its cause, and nothing else changes."""
    bench.begin(with_traffic=False)
    server = peers.FtpServer(bench.lab)
    running = peers.Transfer('lftp', 'epsv', 4).start(bench.lab, server.port, 120, BAD_BYTES_PER_S)
    eventually(lambda: [row for row in bench.firewall.connections(proto='tcp') if row.get('master')],
               'no data connection is seen')
    was = bench.in_force(), bench.rules(), bench.start_file(), bench.firewall.ctl('config', 'list')
    config = bench.config
    del config['groups']  # its file is in another folder
    kinds = bad_files.files(bench.lab, config)
    accepted, unclear = [], []
    for name, path, word in kinds:
        for command in ('check', 'load'):
            done = laboratory.run(*bench.firewall.ctl_argv('config', command, path, as_json=False),
                                  check=False)
            if done.returncode != REFUSED:
                accepted.append(f'{name}: config {command}: exit code {done.returncode}: {done.stdout[-300:]}')
            elif not any(part in done.stderr for part in word.split('|')):
                unclear.append(f'{name}: config {command} says {done.stderr[:300]!r}, without {word!r}')
    report.line('not ok' if accepted else 'ok', f'bad/{len(kinds)}-kinds-are-refused', accepted)
    report.line('not ok' if unclear else 'ok', 'bad/each-message-names-its-cause', unclear)
    expect(len(kinds) >= 100, f'{len(kinds)} kinds only')
    now = bench.in_force(), bench.rules(), bench.start_file(), bench.firewall.ctl('config', 'list')
    report.line('ok' if now == was else 'not ok', 'bad/the-configuration-in-force-is-left-alone')
    expect(running.process.running(), 'the transfer had ended before the last file')
    problem = running.problem(server)
    report.line('not ok' if problem else 'ok', 'bad/a-transfer-goes-on', [problem] if problem else [])
    # Each of them may not hide in the next good one.
    bench.load(with_rule(bench.config, 'good', proto='udp', dport=9))
    report.line('ok', 'bad/a-good-file-is-loaded-after-them')


# --- who else, and what else, may come between --------------------------------------------------

def together(bench, report, _options):
    """Requests that meet: one at a time, and each gets an answer; a client that goes away."""
    bench.begin(with_traffic=False)
    big = bench.written(more_rules(bench.config, 20_000))
    clients = [bench.lab.start(f'client-{n}', 'middle', *bench.firewall.ctl_argv('config', 'load', big))
               for n in range(4)]
    # Meanwhile it answers.
    bench.firewall.ctl('stats')
    answered = [(client.wait(120), client.stdout + client.stderr) for client in clients]
    good = [said for code, said in answered if code == 0]
    expect(good and all('in force' in said for said in good), f'the answers: {answered}')
    expect(all(code == 0 or (code == REFUSED and 'another request is in progress' in said)
               for code, said in answered), f'the answers: {answered}')
    expect(len(bench.rules()) > 20_000, 'the rules are not in force')
    report.line('ok', 'together/one-at-a-time', [f'{len(good)} of 4 were first'])
    other = bench.written(more_rules(bench.config, 20_001))
    client = bench.lab.start('dies', 'middle', *bench.firewall.ctl_argv('config', 'load', other))

    def asked():
        said = bench.firewall.process.stderr + bench.firewall.process.stdout
        return said.count('config load by uid')
    eventually(lambda: asked() > len(answered), 'the request does not arrive')
    client.signal(signal.SIGKILL)
    client.wait(STOP_S)
    bench.firewall.process.await_output('cancelled, for nobody waits')
    expect(len(bench.rules()) == len(bench.rules()) and 'more-20000' not in bench.rules(),
           'it came into force though nobody waited')
    report.line('ok', 'together/a-client-that-goes-away-takes-its-load-with-it')
    bench.load(bench.config)


def two_daemons(bench, report, _options):
    """Two daemons with folders of their own load the same file at once; a third one keeps out."""
    bench.begin(with_traffic=False)
    server = peers.FtpServer(bench.lab)
    config = bench.config
    spare = {'control': {'socket': bench.lab.path('second.sock'), 'history': bench.lab.path('second')},
             'ports': [{**port, 'device': f'net_null{number + 7}'}
                       for number, port in enumerate(config['ports'])]}
    second = middle.Postern(config={**config, **spare}, name='second').start(bench.lab)
    files = {1: bench.written(with_rule(bench.config, 'mine', proto='udp', dport=9)),
             2: bench.written({**with_rule(bench.config, 'yours', proto='udp', dport=9), **spare})}
    clients = [bench.lab.start(f'load-{n}', 'middle', *daemon.ctl_argv('config', 'load', files[n]))
               for n, daemon in ((1, bench.firewall), (2, second))]
    expect([client.wait(STOP_S) for client in clients] == [0, 0], [c.stderr for c in clients])
    expect('mine' in bench.rules() and 'yours' in same_rules(second.ctl('rule', 'list')), 'the rules')
    expect('device' in bench.refused('config', 'load', files[2]), "it takes the other one's file")
    report.line('ok', 'two-daemons/each-has-its-own')
    for name, keys in (('socket', {'history': bench.lab.path('third')}),
                       ('history', {'socket': bench.lab.path('third.sock')})):
        third = copy.deepcopy({**config, 'ports': [{**port, 'device': f'net_null{number + 17}'}
                                                   for number, port in enumerate(config['ports'])]})
        third['control'].update(keys)
        refused = middle.Postern(config=third, name=f'third-{name}')
        refused.launch(bench.lab)
        code = refused.process.wait(STOP_S)
        expect(code == 1, f'with the same {name}: exit code {code}: {refused.process.stderr[-500:]}')
    bench.load(with_rule(bench.config, 'more', proto='udp', dport=9))
    problem = bench.passes(server)
    expect(problem is None, f'the first one: {problem}')
    report.line('ok', 'two-daemons/a-third-keeps-out')


def kills(bench, report, options):
    """kill -9 at some time of a load: the next start runs the old configuration or the new one, whole."""
    bench.begin(with_traffic=False)
    seen = {'old': 0, 'new': 0}
    for number, after_ms in enumerate(options.kills):
        trial = number % 3 == 2
        old = bench.start_file()
        path = bench.written(more_rules(with_rule(bench.config, f'kill-{number}', proto='udp', dport=9), 300))
        with open(path, encoding='utf-8') as file:
            new = file.read()
        client = bench.lab.start(f'load-{number}', 'middle', *bench.firewall.ctl_argv(
            'config', 'load', path, *(['confirm=60s'] if trial else [])))
        select.select([client.pidfd], [], [], after_ms / 1000)  # the test's subject
        process = bench.firewall.process
        process.signal(signal.SIGKILL)
        process.wait(STOP_S)
        client.wait(STOP_S)
        text = bench.start_file()
        expect(text in (old, new), f'{after_ms} ms: the file of the start is neither')
        expect(not trial or text == old, 'the next start would run a trial')
        answered = '"in force' in client.stdout
        expect(trial or not answered or text == new, 'it was answered, and is not there after the kill')
        seen['new' if text == new else 'old'] += 1
        left = [name for name in os.listdir(bench.lab.folder) if '.yaml.' in name]
        expect(not left, f'left behind: {left}')
        again = cycle.Firewall(config_path=bench.firewall.config_path, name=f'again-{number}')
        again.config = bench.firewall.config
        bench.firewall = again.start(bench.lab)
        expect(bench.in_force() == text, 'it runs something else')
        listed = again.ctl('config', 'list')
        expect(listed[-1]['confirmed'] is True, listed)
    report.line('ok', f'kill/{sum(seen.values())}-times', [f'{seen}'])
    # The same with the file of the start itself, and its trial.
    text = bench.start_file()
    trial = json.dumps(with_rule(bench.config, 'trial', proto='udp', dport=9))
    bench.lab.write(os.path.basename(bench.firewall.config_path), trial)
    bench.load_file(bench.firewall.config_path, 'confirm=60s')
    bench.firewall.process.signal(signal.SIGKILL)
    bench.firewall.process.wait(STOP_S)
    again = cycle.Firewall(config_path=bench.firewall.config_path, name='after-the-trial')
    again.config = bench.firewall.config
    bench.firewall = again.start(bench.lab)
    expect(bench.in_force() == text, 'it runs the trial')
    report.line('ok', 'kill/a-trial-is-not-started')


def in_daemons_disk(bench, *argv, check=True):
    """Runs a command with the disks that the daemon sees."""
    return laboratory.run('nsenter', '-m', '-t', str(daemon_pid(bench)), *argv, check=check)


def daemon_pid(bench):
    """The daemon's own process: it runs below a shell here."""
    shell = bench.firewall.process.popen.pid
    with open(f'/proc/{shell}/task/{shell}/children', encoding='ascii') as file:
        return int(file.read().split()[0])


def on_own_disk(bench, size):
    """Starts the daemon with its file and its history on a disk of its own."""
    disk = bench.lab.path('disk')
    os.makedirs(disk)
    config = Bench.configuration(bench, 2)
    config['control']['history'] = os.path.join(disk, 'history')
    del config['groups']
    source = bench.written(config, 'source.yaml')
    bench.firewall = cycle.Firewall(config_path=os.path.join(disk, 'start.yaml'), name='own-disk')
    bench.firewall.config = config
    bench.firewall.launch(bench.lab, lambda argv: [
        'unshare', '-m', 'sh', '-c', 'mount --make-rprivate / && mount -t tmpfs -o size=$1 test "$2" && '
        'cp "$3" "$2/start.yaml" && shift 3 && "$@"; exit $?', 'sh', size, disk, source, *argv])
    bench.firewall.process.await_output(r'\bready\b')
    return disk


def full_disk(bench, report, _options):
    """Without room a load is in force nevertheless, and the answer says so; with room again all is well."""
    disk = on_own_disk(bench, '256k')
    server = peers.FtpServer(bench.lab)
    in_daemons_disk(bench, 'sh', '-c', f'cat /dev/zero > {disk}/filler', check=False)
    was = in_daemons_disk(bench, 'cat', f'{disk}/start.yaml').stdout
    said = bench.refused('config', 'load', bench.written(with_rule(bench.config, 'tight', proto='udp', dport=9)))
    expect('is in force, but the next start would run another one' in said and 'No space left' in said,
           f'it says {said!r}')
    expect('tight' in bench.rules(), 'it is not in force')
    expect(in_daemons_disk(bench, 'cat', f'{disk}/start.yaml').stdout == was, 'the file of the start changed')
    listed = bench.firewall.ctl('config', 'list')
    expect(listed[-1]['number'] > listed[0]['number'], f'the history lacks it: {listed}')
    problem = bench.passes(server)
    expect(problem is None, problem)
    report.line('ok', 'full-disk/in-force-and-says-so')
    in_daemons_disk(bench, 'rm', f'{disk}/filler')
    path = bench.written(with_rule(bench.config, 'room', proto='udp', dport=9))
    bench.load_file(path)
    with open(path, encoding='utf-8') as file:
        expect(in_daemons_disk(bench, 'cat', f'{disk}/start.yaml').stdout == file.read(), 'it is not kept')
    left = in_daemons_disk(bench, 'ls', disk).stdout.split()
    expect(left == ['history', 'start.yaml'], f'on the disk are {left}')
    report.line('ok', 'full-disk/with-room-again')


def read_only_disk(bench, report, _options):
    """On a disk that has become read-only nothing changes, and the answer says why; a trial that needs
    the disk is refused, too."""
    disk = on_own_disk(bench, '4m')
    server = peers.FtpServer(bench.lab)
    # The daemon's paths lead to another mount of the same disk from now on.
    in_daemons_disk(bench, 'mount', '--bind', disk, disk)
    in_daemons_disk(bench, 'mount', '-o', 'remount,bind,ro', disk)
    was = bench.rules()
    path = bench.written(with_rule(bench.config, 'never', proto='udp', dport=9))
    for words in ((), ('confirm=60s',)):
        said = bench.refused('config', 'load', path, *words)
        expect('Read-only file system' in said and 'nothing has changed' in said, f'it says {said!r}')
    said = bench.refused('config', 'load', os.path.join(disk, 'start.yaml'), 'confirm=60s')
    expect('Read-only file system' in said, f'it says {said!r}')
    expect(bench.rules() == was, 'something has changed')
    bench.firewall.ctl('config', 'check', path)
    numbers = bench.firewall.ctl('config', 'list')
    os.kill(daemon_pid(bench), signal.SIGHUP)  # nothing to write: the file is the one in force
    eventually(lambda: bench.firewall.ctl('config', 'list')[-1]['number'] > numbers[-1]['number'],
               'SIGHUP loads nothing')
    problem = bench.passes(server)
    expect(problem is None, problem)
    report.line('ok', 'read-only-disk/nothing-changes')
    in_daemons_disk(bench, 'umount', disk)
    bench.load_file(path)
    report.line('ok', 'read-only-disk/writable-again')


def clock_steps(bench, report, options):
    """The wall clock jumps: trials last as long as they were given, connections stay."""
    library, step = bench.lab.path('step_clock.so'), bench.lab.path('step')
    laboratory.run('cc', '-shared', '-fPIC', '-O1', '-o', library, os.path.join(HERE, 'step_clock.c'))
    bench.lab.write('step', '0\n')
    os.environ['LD_PRELOAD'], os.environ['STEP_CLOCK'] = library, step
    try:
        bench.begin(with_traffic=False)
    finally:
        del os.environ['LD_PRELOAD'], os.environ['STEP_CLOCK']
    server = peers.FtpServer(bench.lab)
    before = bench.rules()
    years = set()
    for seconds in (3600, -86400, 10 * 365 * 86400, -20 * 365 * 86400)[:options.steps]:
        running = peers.Transfer('lftp', 'epsv', 4).start(bench.lab, server.port, 60, peers.SLOWLY)
        eventually(lambda: [row for row in bench.firewall.connections(proto='tcp') if row.get('master')],
                   'no data connection is seen')
        begun = time.monotonic()
        bench.load(with_rule(bench.config, 'trial', proto='udp', dport=9), 'confirm=2s')
        bench.lab.write('step', f'{seconds}\n')
        eventually(lambda: bench.rules() == before, f'a step of {seconds} s: it does not go back')
        lasted = time.monotonic() - begun
        expect(lasted >= 2, f'a step of {seconds} s: it went back after {lasted:.2f} s')
        years.add(bench.firewall.ctl('config', 'list')[-1]['since'][:4])
        problem = running.problem(server)
        expect(problem is None, f'a step of {seconds} s: {problem}')
    expect(len(years) > 1 or options.steps < 3, f'the clock did not step: {years}')
    report.line('ok', 'clock/trials-and-connections-do-not-notice')


BLOCKS = {'loads': loads, 'timer': timer, 'bad': bad, 'together': together, 'two-daemons': two_daemons,
          'kill': kills, 'full-disk': full_disk, 'read-only-disk': read_only_disk, 'clock': clock_steps}


def run_block(name, options, report):
    bench = Bench(options)

    def block():
        try:
            BLOCKS[name](bench, report, options)
            code = bench.firewall.process.popen.poll()
            expect(code is None, f'the daemon ended by itself with exit code {code}')
        finally:
            shutil.rmtree(bench.lab.path('bad'), ignore_errors=True)  # its pipes and links are no logs
    blocks.run_block(name, bench, block, options, report, known=(Wrong,), seconds=BLOCK_LIMIT_S)


def main():
    parser = blocks.parser('reload', __doc__.splitlines()[0],
                           '200 loads and 100,000 UDP flows, in place of the cut')
    parser.add_argument('--loads', type=int, help='loads in a round of the first block')
    options = blocks.arguments(parser)
    options.rounds, loads_in_round = (10, 20) if options.full else (1, 30)
    options.loads = loads_in_round if options.loads is None else options.loads
    options.trials = 10 if options.full else 2
    options.kills = KILLS_MS if options.full else KILLS_MS[2::3]
    options.steps = 4 if options.full else 2
    return blocks.run(BLOCKS, options, lambda name, report: run_block(name, options, report))


if __name__ == '__main__':
    blocks.end(main)
