# SPDX-License-Identifier: BSD-3-Clause
"""What an operator says to the daemon: signals, `postern check` before `run`, names in questions."""

import json
import re
import signal

import lab as laboratory
from cases import Case, expect
from cases_operation import left_behind, nothing_new, refuses, variant
from middle import POSTERN, Postern, Setting
from peers import FtpServer, SteppedClient, Transfer

RUNTIME_FAILURE, CONFIG_ERROR = 1, 2
STOP_S = 15


def lives_on(number, answer):
    """A signal that is no order to end: it is answered in the log, and traffic goes on."""
    def check(bench):
        daemon = Postern(Setting()).start(bench.lab)
        daemon.process.signal(number)
        daemon.process.await_output(answer)
        daemon.ctl('conntrack', 'count')
        server = FtpServer(bench.lab)
        problem = Transfer('curl', 'epsv', 4).start(bench.lab, server.port, 20).problem(server)
        expect(problem is None, problem)
        expect(daemon.terminate() == 0, 'it did not end with exit code 0')
    return check


def other_signals(bench):
    """Signals that nobody sends a firewall on purpose do not end it."""
    daemon = Postern(Setting()).start(bench.lab)
    for number in (signal.SIGPIPE, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO,
                   signal.SIGPWR, signal.SIGXCPU, signal.SIGXFSZ):
        daemon.process.signal(number)
    daemon.ctl('conntrack', 'count')
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def quits_clean(bench):
    before = left_behind(bench.lab)
    daemon = Postern(Setting()).start(bench.lab)
    daemon.process.signal(signal.SIGQUIT)
    code = daemon.process.wait(STOP_S)
    expect(code == 0, f'exit code {code}')
    expect('summary' in daemon.process.stdout, 'no summary')
    nothing_new(bench.lab, before)


def check_refuses(change, *words):
    """What `run` refuses, `check` refuses with the same words."""
    def check(bench):
        path = bench.lab.write('refused.yaml', json.dumps(variant(bench.lab, change)))
        done = laboratory.run(POSTERN, 'check', path, check=False)
        expect(done.returncode == RUNTIME_FAILURE, f'check: exit code {done.returncode}')
        for word in words:
            expect(re.search(word, done.stderr), f'no {word!r} in: {done.stderr}')
        refuses(change, RUNTIME_FAILURE, *words)(bench)
    return check


def rules_that_multiply(bench):
    """Long lists in each condition of a rule: check accepts them, and run starts with them."""
    lab = bench.lab

    def wide(config):
        config['policy']['rules'].insert(0, {
            'name': 'wide', 'action': 'drop', 'proto': ['tcp', 'udp'],
            'src': [f'10.{n // 250}.{n % 250}.0/24' for n in range(1000)],
            'dst': [f'11.{n // 250}.{n % 250}.0/24' for n in range(1000)],
            'dport': list(range(1, 2000, 2))})
    config = variant(lab, wide)
    done = laboratory.run(POSTERN, 'check', lab.write('wide.yaml', json.dumps(config)), check=False)
    expect(done.returncode == 0, f'check: exit code {done.returncode}: {done.stderr}')
    bench.middle = Postern(config=config).start(lab)
    server = FtpServer(lab)
    problem = Transfer('curl', 'epsv', 4).start(lab, server.port, 20).problem(server)
    expect(problem is None, problem)


def expectations_without_room(config):
    config['eal']['memory_mb'] = 128
    config['limits']['expectations'] = '1M'


def packets_without_room(config):
    config['eal']['memory_mb'] = 64
    config['limits'].update(fragments='256K', expectations=1024)


def unknown_driver(config):
    config['ports'][0]['device'] = 'net_af_pocket0,iface=pst-in'


def names_like_numbers(bench):
    """Rules, zones and helpers may be called 0, 123 or true, and are found by these names."""
    lab = bench.lab

    def numbered(config):
        text = json.dumps(config)
        for name, number in (('inside', '0'), ('outside', '007'), ('ftp-control', '123'),
                             ('ftp-data', 'true')):
            text = text.replace(f'"{name}"', f'"{number}"')
        config.clear()
        config.update(json.loads(text))
        config['helpers'][0].update(name='42', helper='ftp')
        for rule in config['policy']['rules']:
            if rule.get('helper'):
                rule['helper'] = '42'
            if rule.get('related'):
                rule['related'] = ['42']
    bench.middle = daemon = Postern(config=variant(lab, numbered)).start(lab)
    # Both connections stay as long as they are asked about.
    client = SteppedClient(lab, port=FtpServer(lab).port, name='step-numbers')
    client('announce epsv')
    client('connect')
    for key, value, other in (('rule', '123', 'true'), ('helper', '42', None), ('from', '0', '007'),
                              ('to', '007', '0')):
        expect(daemon.ctl('conntrack', 'list', f'{key}={value}', 'dport=21'),
               f'{key}={value} finds nothing')
        if other:
            expect(not daemon.ctl('conntrack', 'list', f'{key}={other}', 'dport=21'),
                   f'{key}={other} finds the control connection')
    expect(daemon.ctl('conntrack', 'list', 'expected_by=42', 'rule=true'),
           'expected_by=42 rule=true finds nothing')
    client('announce epsv')
    expect(daemon.ctl('expect', 'list', 'helper=42'), 'helper=42 expects nothing')
    [row] = daemon.ctl('helper', 'remove', 'name=42')
    expect(row['removed'] is True, row)
    client.close()


def cases():
    daemon = frozenset({'control-socket'})
    own = (
        ('sigusr1', lives_on(signal.SIGUSR1, r'summary: \d+ packets')),
        ('sigusr2', lives_on(signal.SIGUSR2, 'SIGUSR2 means nothing')),
        ('other-signals', other_signals),
        ('sigquit', quits_clean),
        ('rules-that-multiply', rules_that_multiply),
        ('check-expectations-without-room', check_refuses(
            expectations_without_room, r'no memory for .* expectations \(about \d+ MiB\)',
            r'lower limits.expectations or raise eal\.memory_mb')),
        ('check-packets-without-room', check_refuses(packets_without_room, 'eal.memory_mb')),
        ('check-unknown-driver', check_refuses(unknown_driver, 'net_af_pocket0')),
        ('names-like-numbers', names_like_numbers),
    )
    return [Case(f'control/{name}', None, check, needs=daemon) for name, check in own]
