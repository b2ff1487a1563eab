# SPDX-License-Identifier: BSD-3-Clause
"""Another configuration while the daemon runs: loading, refusing, going back, and the next start."""

import copy
import json
import os
import signal

import lab as laboratory
from cases import Case, expect
from middle import Postern, Setting, configuration
from peers import SLOWLY, FtpServer, Transfer

REFUSED = 2
STOP_S = 15


def usual(lab, history=True):
    config = configuration(Setting(), lab.path('postern.sock'))
    if history:
        config['control']['history'] = lab.path('history')
    return config


def written(lab, name, config):
    return lab.write(name, json.dumps(config, indent=2) + '\n')


def without_ftp(config):
    """The same, but nothing to port 21 begins."""
    changed = copy.deepcopy(config)
    rules = changed['policy']['rules']
    changed['policy']['rules'] = [rule for rule in rules if rule['name'] != 'ftp-control']
    return changed


def refused(daemon, *words):
    """The message of a command that must fail."""
    done = laboratory.run(*daemon.ctl_argv(*words, as_json=False), check=False)
    expect(done.returncode == REFUSED, f'{" ".join(words)}: exit code {done.returncode}')
    return done.stderr


def ftp_problem(lab, server, timeout=20):
    return Transfer('curl', 'epsv', 4).start(lab, server.port, timeout).problem(server)


def texts(daemon):
    return [row['number'] for row in daemon.ctl('config', 'list')]


def load_under_a_transfer(bench):
    """A load keeps the transfer that runs; what comes later is judged by the new rules; the next
    start runs them."""
    lab = bench.lab
    config = usual(lab)
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    running = Transfer('lftp', 'epsv', 4).start(lab, server.port, 60, SLOWLY)
    bench.eventually(lambda: [row for row in daemon.connections(proto='tcp') if row.get('master')],
                     'no data connection is seen')
    other = written(lab, 'other.yaml', without_ftp(config))
    seen = {(row['change'], row['key']) for row in daemon.ctl('config', 'diff', other)}
    expect(seen == {('removed', 'policy.rules[ftp-control]')}, f'config diff shows {seen}')
    rows = daemon.ctl('config', 'load', other)
    expect(rows[-1]['change'] == 'in force', f'config load says {rows}')
    expect(running.process.running(), 'the transfer had ended before the load')
    problem = running.problem(server)
    expect(problem is None, f'the transfer that ran: {problem}')
    expect(ftp_problem(lab, server, 4) is not None, 'a new session passes without its rule')
    daemon.process.await_output(r'removed policy\.rules\[ftp-control\]')
    daemon.process.await_output(r'config load by uid \d+, pid \d+')
    expect(len(texts(daemon)) == 2, f'config list: {daemon.ctl("config", "list")}')
    with open(daemon.config_path, encoding='utf-8') as file:
        expect(json.load(file) == without_ftp(config), 'the next start would run something else')
    daemon.ctl('config', 'rollback')
    problem = ftp_problem(lab, server)
    expect(problem is None, f'after the rollback: {problem}')
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def bad_files_change_nothing(bench):
    lab = bench.lab
    config = usual(lab)
    daemon = Postern(config=config).start(lab)

    def change(edit):
        other = copy.deepcopy(config)
        edit(other)
        return json.dumps(other, indent=2)
    bad = {
        'broken': ('zones: [', 'not valid YAML'),
        'tab': ('zones:\n\t- inside\n', 'indented with a tab'),
        'unknown-key': (change(lambda c: c.update(polices={})), 'polices'),
        'no-such-zone': (change(lambda c: c['policy']['rules'][0].update({'from': 'moon'})),
                         'moon'),
        'workers': (change(lambda c: c['workers'].update(count=4)), 'workers.count'),
        'tables': (change(lambda c: c['limits'].update(connections=1024)), 'limits.connections'),
        'device': (change(lambda c: c['ports'][0].update(device='net_null9')), 'device'),
        'another-socket': (change(lambda c: c['control'].update(socket='/run/other.sock')),
                           'control.socket'),
        'empty': ('', 'empty'),
    }
    for name, (text, word) in bad.items():
        path = lab.write(f'{name}.yaml', text)
        for command in ('check', 'load'):
            said = refused(daemon, 'config', command, path)
            expect(word in said, f'config {command} of {name} says {said!r}')
    expect('cannot be opened' in refused(daemon, 'config', 'load', lab.path('missing.yaml')),
           'a missing file is not named')
    pipe = lab.path('pipe.yaml')
    os.mkfifo(pipe)
    expect('regular file' in refused(daemon, 'config', 'load', pipe), 'a pipe is read')
    expect('no earlier' in refused(daemon, 'config', 'rollback'), 'it went back to nothing')
    expect('77' in refused(daemon, 'config', 'rollback', '77'), 'it went back to nothing')
    refused(daemon, 'config', 'confirm')
    expect(len(texts(daemon)) == 1, 'something was put into force')
    problem = ftp_problem(lab, FtpServer(lab))
    expect(problem is None, problem)


def goes_back_by_itself(bench):
    """Without a confirmation in time the former configuration comes back; with one it stays."""
    lab = bench.lab
    config = usual(lab)
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    other = written(lab, 'other.yaml', without_ftp(config))
    daemon.ctl('config', 'load', other, 'confirm=1s')
    expect('goes_back_in_s' in daemon.ctl('config', 'list')[-1], 'no time is shown')
    daemon.process.await_output('loaded by no confirmation in time')
    problem = ftp_problem(lab, server)
    expect(problem is None, f'after it went back: {problem}')
    with open(daemon.config_path, encoding='utf-8') as file:
        expect(json.load(file) == config, 'the next start would run what was not confirmed')
    daemon.ctl('config', 'load', other, 'confirm=60s')
    daemon.ctl('config', 'confirm')
    expect(ftp_problem(lab, server, 4) is not None, 'the confirmed one is not in force')
    with open(daemon.config_path, encoding='utf-8') as file:
        expect(json.load(file) == without_ftp(config), 'the next start would not run it')


def unconfirmed_is_not_started(bench):
    """kill -9 while the file of the start holds a trial: the next start runs what was confirmed."""
    lab = bench.lab
    config = usual(lab)
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    written(lab, 'postern.yaml', without_ftp(config))
    daemon.ctl('config', 'load', daemon.config_path, 'confirm=60s')
    expect(ftp_problem(lab, server, 4) is not None, 'the trial is not in force')
    daemon.process.signal(signal.SIGKILL)
    daemon.process.wait(STOP_S)
    again = Postern(config_path=daemon.config_path).start(lab)
    again.process.await_output('was loaded for a trial and not confirmed')
    problem = ftp_problem(lab, server)
    expect(problem is None, f'after the restart: {problem}')


def sighup(bench):
    """The file of the start is read again; a bad one is refused, and named in the log."""
    lab = bench.lab
    config = usual(lab, history=False)
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    written(lab, 'postern.yaml', without_ftp(config))
    daemon.process.signal(signal.SIGHUP)
    daemon.process.await_output('is in force: .* loaded by SIGHUP')
    expect(ftp_problem(lab, server, 4) is not None, 'the new rules are not in force')
    lab.write('postern.yaml', 'zones: [')
    daemon.process.signal(signal.SIGHUP)
    daemon.process.await_output('SIGHUP: .*not valid YAML')
    written(lab, 'postern.yaml', config)
    daemon.process.signal(signal.SIGHUP)
    bench.eventually(lambda: len(texts(daemon)) == 3, 'the third load is not in force')
    problem = ftp_problem(lab, server)
    expect(problem is None, problem)
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def helper_comes_and_goes(bench):
    """A load takes a helper out of service, and another brings it back."""
    lab = bench.lab
    config = usual(lab)
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    bare = copy.deepcopy(config)
    del bare['helpers']
    for rule in bare['policy']['rules']:
        rule.pop('helper', None)
    bare['policy']['rules'] = [rule for rule in bare['policy']['rules'] if 'related' not in rule]
    daemon.ctl('config', 'load', written(lab, 'bare.yaml', bare))
    expect(ftp_problem(lab, server, 4) is not None, 'a transfer passes without the helper')
    daemon.ctl('config', 'load', written(lab, 'full.yaml', config))
    problem = ftp_problem(lab, server)
    expect(problem is None, f'with the helper again: {problem}')


def recheck_ends_what_is_refused(bench):
    """`on_change: recheck`: a session whose rule is gone ends, with its transfer."""
    lab = bench.lab
    config = usual(lab)
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    running = Transfer('lftp', 'epsv', 4).start(lab, server.port, 8, SLOWLY)
    bench.eventually(lambda: [row for row in daemon.connections(proto='tcp') if row.get('master')],
                     'no data connection is seen')
    strict = without_ftp(config)
    strict['policy']['on_change'] = 'recheck'
    daemon.ctl('config', 'load', written(lab, 'strict.yaml', strict))
    bench.eventually(lambda: not daemon.connections(proto='tcp'), 'the session goes on')
    expect(running.problem(server) is not None, 'the transfer came to its end')


def cases():
    daemon = frozenset({'control-socket'})
    own = (
        ('load-under-a-transfer', load_under_a_transfer),
        ('bad-files-change-nothing', bad_files_change_nothing),
        ('goes-back-by-itself', goes_back_by_itself),
        ('unconfirmed-is-not-started', unconfirmed_is_not_started),
        ('sighup', sighup),
        ('helper-comes-and-goes', helper_comes_and_goes),
        ('recheck-ends-what-is-refused', recheck_ends_what_is_refused),
    )
    return [Case(f'config/{name}', None, check, needs=daemon) for name, check in own]
