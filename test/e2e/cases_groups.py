# SPDX-License-Identifier: BSD-3-Clause
"""Rules with groups: each with a group that has what passes, and with one that lacks it. And a rule that
is there, but not enabled."""

import copy
import json
import os
import signal

import lab as laboratory
from cases import SHORT_S, Case, expect
from middle import Postern, Setting, configuration
from peers import SLOWLY, FtpServer, SteppedClient, Transfer

HERE4 = laboratory.INSIDE4
ELSEWHERE = '198.51.100.7'


def with_rule(lab, groups, keys, files=None):
    """The usual configuration; control connections pass by a rule with these keys only."""
    config = configuration(Setting(), lab.path('postern.sock'))
    for name, text in (files or {}).items():
        os.makedirs(os.path.dirname(lab.path(name)), exist_ok=True)
        lab.write(name, text)
    config['groups'] = groups
    [rule] = [rule for rule in config['policy']['rules'] if rule['name'] == 'ftp-control']
    if 'service' in keys:
        # A rule of services of several protocols has no helper.
        for own in ('proto', 'dport', 'helper'):
            del rule[own]
        config['helpers'][0]['auto_assign'] = True
    rule.update(keys)
    return config


def problem_of(lab, config, timeout):
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    return daemon, Transfer('curl', 'epsv', 4).start(lab, server.port, timeout).problem(server)


def passes(groups, keys, files=None):
    def check(bench):
        _, problem = problem_of(bench.lab, with_rule(bench.lab, groups, keys, files), 20)
        expect(problem is None, problem)
    return check


def dropped(groups, keys, files=None):
    def check(bench):
        daemon, problem = problem_of(bench.lab, with_rule(bench.lab, groups, keys, files), SHORT_S)
        expect(problem is not None, 'it passes')
        expect(daemon.drops().get('policy', 0) > 0, 'the policy has dropped nothing')
    return check


def pairs():
    """(name, (groups, keys, files) with which it passes, the same with which it is dropped)"""
    office = {'addresses': {'office': [HERE4, ELSEWHERE]}}
    other = {'addresses': {'office': [ELSEWHERE, '198.51.100.64/26']}}
    yield 'addresses', (office, {'src': 'office'}), (other, {'src': 'office'})

    def nested(inner):
        return {'addresses': {'all': ['outer', '203.0.113.1'], 'outer': ['inner', ELSEWHERE],
                              'inner': inner}}
    yield 'nested', (nested([f'{HERE4}-192.0.2.9']), {'src': 'all'}), (nested(['10.0.0.0/8']), {'src': 'all'})
    yield ('negated', (other, {'src': 'not office'}), (office, {'src': 'not office'}))
    # All of the network without one of its groups.
    wide = ['192.0.2.0/24', 'not office']
    yield 'but-for', (other, {'src': wide}), (office, {'src': wide})
    listed = {'addresses': {'office': [{'file': 'lists/office.txt'}]}}
    yield ('file', (listed, {'src': 'office'}, {'lists/office.txt': f'# ours\n{ELSEWHERE}\n\n{HERE4}  # one\n'}),
           (listed, {'src': 'office'}, {'lists/office.txt': f'# {HERE4}\n{ELSEWHERE}\n'}))
    ports = {'ports': {'control': [9, '20-22']}}
    yield ('ports', (ports, {'dport': 'control'}), ({'ports': {'control': [9, '22-80']}}, {'dport': 'control'}))
    services = {'services': {'files': ['udp/69', 'tcp/21']}}
    yield ('services', (services, {'service': 'files'}),
           ({'services': {'files': ['udp/21', 'tcp/69']}}, {'service': 'files'}))


def file_changes(bench):
    """SIGHUP reads included files, too; `config diff` shows beforehand that one has changed."""
    lab = bench.lab
    config = with_rule(lab, {'addresses': {'office': [{'file': 'lists/office.txt'}]}}, {'src': 'office'},
                       {'lists/office.txt': f'{ELSEWHERE}\n'})
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    transfer = Transfer('curl', 'epsv', 4)
    expect(transfer.start(lab, server.port, SHORT_S).problem(server) is not None, 'it passes without its line')
    lab.write('lists/office.txt', f'{ELSEWHERE}\n{HERE4}\n')
    expect(daemon.ctl('config', 'diff', daemon.config_path) == [
        {'change': 'changed', 'key': 'file lists/office.txt', 'before': '1 entries', 'after': '2 entries'}],
        'config diff does not show the file')
    daemon.process.signal(signal.SIGHUP)
    daemon.process.await_output(r'changed file lists/office\.txt')
    problem = transfer.start(lab, server.port, 20).problem(server)
    expect(problem is None, f'after SIGHUP: {problem}')
    lab.write('lists/office.txt', f'{HERE4}\nnonsense!\n')
    daemon.process.signal(signal.SIGHUP)
    daemon.process.await_output(r'lists/office\.txt:2')
    problem = transfer.start(lab, server.port, 20).problem(server)
    expect(problem is None, f'after a bad line: {problem}')


def not_enabled(on_change):
    """A rule that is switched off is not in the policy; by `recheck` its connections end like those of a
    rule that was removed, and by `keep` they go on."""
    def check(bench):
        lab = bench.lab
        config = configuration(Setting(), lab.path('postern.sock'))
        config['policy']['on_change'] = on_change
        off = copy.deepcopy(config)
        [rule] = [rule for rule in off['policy']['rules'] if rule['name'] == 'ftp-control']
        rule['enabled'] = False
        daemon = Postern(config=config).start(lab)
        server = FtpServer(lab)
        running = Transfer('lftp', 'epsv', 4).start(lab, server.port, 30, SLOWLY)
        bench.eventually(lambda: [row for row in daemon.connections(proto='tcp') if row.get('master')],
                         'no data connection is seen')
        daemon.ctl('config', 'load', lab.write('off.yaml', json.dumps(off)))
        if on_change == 'recheck':
            bench.eventually(lambda: not daemon.connections(proto='tcp'), 'the session goes on')
            running.process.stop()
        else:
            problem = running.problem(server)
            expect(problem is None, f'the session that ran: {problem}')
        transfer = Transfer('curl', 'epsv', 4)
        expect(transfer.start(lab, server.port, SHORT_S).problem(server) is not None,
               'a rule that is not enabled accepts')
        daemon.ctl('config', 'load', lab.write('on.yaml', json.dumps(config)))
        problem = transfer.start(lab, server.port, 20).problem(server)
        expect(problem is None, f'enabled again: {problem}')
    return check


def drops_while_enabled(bench):
    """The same for a rule that drops: enabled it drops, and not enabled it does not."""
    lab = bench.lab
    config = configuration(Setting(), lab.path('postern.sock'))
    config['policy']['rules'].insert(0, {'name': 'closed', 'proto': 'tcp', 'dport': 21, 'action': 'drop',
                                         'enabled': False})
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    client = SteppedClient(lab, port=server.port, name='step-open')
    client('noop')
    config['policy']['rules'][0]['enabled'] = True
    daemon.ctl('config', 'load', lab.write('closed.yaml', json.dumps(config)))
    expect(Transfer('curl', 'epsv', 4).start(lab, server.port, SHORT_S).problem(server) is not None,
           'an enabled rule does not drop')
    client('noop')  # what was accepted goes on
    client.close()


def cases():
    daemon = frozenset({'control-socket'})
    found = []
    for name, good, bad in pairs():
        found += [Case(f'groups/{name}/has-it', None, passes(*good), needs=daemon),
                  Case(f'groups/{name}/lacks-it', None, dropped(*bad), needs=daemon)]
    found += [Case(f'groups/{name}', None, check, needs=daemon) for name, check in (
        ('file-changes', file_changes),
        ('not-enabled/recheck', not_enabled('recheck')),
        ('not-enabled/keep', not_enabled('keep')),
        ('not-enabled/drop', drops_while_enabled))]
    return found
