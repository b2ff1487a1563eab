# SPDX-License-Identifier: BSD-3-Clause
"""What an operator sees of packets and rules: counters of rules."""

import copy
import json
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


def cases():
    daemon = frozenset({'control-socket', 'helper'})
    return [
        Case('seeing/rules-count', None, rules_count, needs=daemon),
    ]
