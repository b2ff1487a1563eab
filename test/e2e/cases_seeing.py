# SPDX-License-Identifier: BSD-3-Clause
"""What an operator sees of packets and rules: counters of rules, records of packets."""

import copy
import json
import socket
import sys

import lab as laboratory
from cases import Case, expect
from middle import Postern, Setting, configuration
from peers import FtpServer, SteppedClient, Transfer

# A datagram that nobody answers: host, port.
KNOCK = '''
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as knocking:
    knocking.sendto(b'knock', (sys.argv[1], int(sys.argv[2])))
'''


def rules_of(daemon):
    return {row['rule']: row for row in daemon.ctl('rule', 'list')}


def knock(lab, port, count=1, to=laboratory.OUTSIDE4, host='inside'):
    for _ in range(count):
        lab.do(host, sys.executable, '-c', KNOCK, to, str(port))


def rules_count(bench):
    """Each rule has what `conntrack list` shows of its connections; the default what it dropped.
    Another order of the rules under traffic changes nothing of it."""
    lab = bench.lab
    config = configuration(Setting(workers=2), lab.path('postern.sock'))
    # Longer than the slow pass of the counters: what has ended is listed until it has come.
    config['timeouts']['tcp']['time_wait'] = 60
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    problem = Transfer('curl', 'epsv', 4).start(lab, server.port, 20).problem(server)
    expect(problem is None, problem)
    client = SteppedClient(lab, port=server.port)

    def agree():
        rows = daemon.connections(proto='tcp')
        rules = rules_of(daemon)
        return all(rules[rule]['packets'] == sum(row['packets_original'] + row['packets_reply']
                                                 for row in rows if row['rule'] == rule) > 0
                   for rule in ('ftp-control', 'ftp-data'))
    bench.eventually(agree, 'rules and connections count differently')
    before = rules_of(daemon)
    expect(before['ftp-data']['connections'] == 1 and before['ftp-control']['connections'] == 2,
           f'connections of rules: {before}')
    expect(before['ftp-data']['bytes'] > 300_000, f'bytes of data: {before["ftp-data"]}')
    expect(before['ftp-data']['idle_s'] < 60 and before['ftp-data']['last'], f'last: {before}')

    dropped = daemon.drops().get('policy', 0)
    knock(lab, 4444, 3)
    bench.eventually(lambda: daemon.drops().get('policy', 0) >= dropped + 3, 'the knocks passed')
    after = rules_of(daemon)
    expect(after['default']['packets'] == daemon.drops()['policy'], f'default: {after["default"]}')
    expect(after['default']['connections'] == 0 and after['default']['action'] == 'drop',
           f'default: {after["default"]}')

    other = copy.deepcopy(config)
    other['policy']['rules'].reverse()
    daemon.ctl('config', 'load', lab.write('other.yaml', json.dumps(other)))
    loaded = rules_of(daemon)
    expect([rule for rule in loaded if rule != 'default'] ==
           [rule['name'] for rule in other['policy']['rules']], f'the order: {list(loaded)}')
    for rule in ('ftp-control', 'ftp-data'):
        expect(loaded[rule]['packets'] == before[rule]['packets'], f'{rule} after a load: {loaded}')
    client.close()
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def log_lines(path):
    try:
        with open(path, encoding='utf-8') as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        return []


def logging(lab, path, on=True):
    """The usual configuration; with `on` it logs what it drops and the control connections."""
    config = configuration(Setting(workers=2), lab.path('postern.sock'))
    config['log'] = {'file': {'path': path}, 'syslog': lab.path('syslog')}
    if on:
        config['log'].update(default='yes', drops={'ct_not_first': '5/s'})
        for rule in config['policy']['rules']:
            if rule['name'] == 'ftp-control':
                rule['log'] = True
    return config


def log_shows(bench):
    """Records of accepted and of dropped packets, in the file, to syslog, and to a client with a filter."""
    lab = bench.lab
    path = lab.path('packets.jsonl')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(lab.path('syslog'))
        syslog.settimeout(10)
        daemon = Postern(config=logging(lab, path)).start(lab)
        watcher = lab.start('log-watcher', 'middle', *daemon.ctl_argv(
            'log', 'follow', 'rule=default', 'dport=4444', 'count=2'))
        watcher.await_output('listening')
        server = FtpServer(lab)
        client = SteppedClient(lab, port=server.port)
        knock(lab, 4443)
        knock(lab, 4444, 2)
        watcher.wait(10)
        followed = [json.loads(line) for line in watcher.stdout.splitlines()][1:]
        expect([(row['verdict'], row['dport'], row['src']) for row in followed] ==
               [('drop', 4444, laboratory.INSIDE4)] * 2, f'log follow shows {followed}')
        bench.eventually(lambda: len(log_lines(path)) >= 4, 'the file lacks records')
        lines = log_lines(path)
        accepted = [row for row in lines if row['rule'] == 'ftp-control']
        known = daemon.connections(dport=server.port)
        expect(len(accepted) == 1 and accepted[0]['id'] in {row['id'] for row in known} and
               accepted[0]['tcp_flags'] == 'syn' and accepted[0]['verdict'] == 'accept',
               f'records of the control connection: {accepted}, it is {known}')
        dropped = [row for row in lines if row['rule'] == 'default']
        expect([row['dport'] for row in dropped if row['proto'] == 'udp'] == [4443, 4444, 4444] and
               all(row['reason'] == 'policy' and row['from'] == 'inside' and row['in'] == 'in0'
                   for row in dropped if row['proto'] == 'udp'), f'dropped: {dropped}')
        sent = [syslog.recv(4096).decode() for _ in lines]
        expect(any('rule="ftp-control"' in text and text.startswith('<134>1 ') for text in sent) and
               sum('dport="4444"' in text for text in sent) == 2, f'syslog got {sent}')
        client.close()
        expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def log_is_off(bench):
    """The same traffic without `log` makes no record, until a load turns it on."""
    lab = bench.lab
    path = lab.path('packets.jsonl')
    daemon = Postern(config=logging(lab, path, on=False)).start(lab)
    server = FtpServer(lab)
    client = SteppedClient(lab, port=server.port)
    before = daemon.drops().get('policy', 0)
    knock(lab, 4444)
    bench.eventually(lambda: daemon.drops().get('policy', 0) > before, 'the knock passed')
    expect(sum(row['value'] for row in daemon.ctl('stats')
               if row['name'] == 'log_records') == 0, 'records were made')
    expect(log_lines(path) == [], f'records without log: {log_lines(path)}')
    daemon.ctl('config', 'load', lab.write('on.yaml', json.dumps(logging(lab, path))))
    knock(lab, 4445)
    bench.eventually(lambda: [row['dport'] for row in log_lines(path) if row['dport'] in (4444, 4445)]
                     == [4445], 'the load did not turn the log on')
    client.close()
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def cases():
    daemon = frozenset({'control-socket', 'helper'})
    return [
        Case('seeing/rules-count', None, rules_count, needs=daemon),
        Case('seeing/log', None, log_shows, needs=daemon),
        Case('seeing/log-off', None, log_is_off, needs=daemon),
    ]
