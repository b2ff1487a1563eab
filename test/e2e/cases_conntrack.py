# SPDX-License-Identifier: BSD-3-Clause
"""What an operator can ask of connections and do to them, and expectations that rules file."""

import json
import subprocess
import sys

import lab as laboratory
from cases import Case, Failed, expect
from middle import Setting
from peers import SteppedClient, Transfer

# Calls back whoever calls it: the expected connection of `expect:` in a rule.
CALLING_BACK = '''
import socket, sys
listener = socket.create_server(('::', 1234), family=socket.AF_INET6, dualstack_ipv6=True)
print('listening', flush=True)
while True:
    call, peer = listener.accept()
    with socket.create_connection((peer[0].removeprefix('::ffff:'), 7001), 4) as back:
        back.sendall(b'hello')
'''
CALLED_BACK = '''
import socket, sys
host = sys.argv[1]
with socket.create_server(('::', 7001), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
    call = socket.create_connection((host, 1234), 4)
    listener.settimeout(4)
    try:
        back, _ = listener.accept()
        print('got', back.recv(5).decode(), flush=True)
        sys.stdin.read()
    except TimeoutError:
        print('nobody called back', flush=True)
'''


def rule(**keys):
    """As Setting.rules takes it."""
    return json.dumps(keys)


def callback_rules(**keys):
    call = {'name': 'call', 'from': 'inside', 'proto': 'tcp', 'dport': 1234, 'ct': ['new'],
            'action': 'accept', **keys}
    return (rule(**call), rule(name='back', ct=['related'], action='accept'))


EXPECTING = Setting(workers=3, rules=callback_rules(
    expect={'proto': 'tcp', 'dport': '7000-7002'}, set={'mark': '0x30/0xf0', 'label': 9}))
NOT_EXPECTING = Setting(workers=2, rules=callback_rules())


def call(bench, family):
    """A client inside that has called; its process says what came of it."""
    if 'calling-back' not in bench.servers:
        server = bench.lab.start('calling-back', 'outside', sys.executable, '-c', CALLING_BACK)
        server.await_output('listening')
        bench.servers['calling-back'] = server
    host = laboratory.OUTSIDE4 if family == 4 else laboratory.OUTSIDE6
    return bench.lab.start(f'called-back-{family}', 'inside', sys.executable, '-c', CALLED_BACK,
                           host, stdin=subprocess.PIPE)


def rule_expects(family):
    def check(bench):
        client = call(bench, family)
        client.await_output('got hello|nobody')
        expect('got hello' in client.stdout, 'the server could not call back')
        middle = bench.middle
        back = middle.ctl('conntrack', 'list', 'dport=7001', 'mark=0x30/0xf0', 'label=9')
        expect(len(back) == 1 and back[0]['rule'] == 'back', f'the call back has {back}')
        master = back[0]['master_id']
        again = middle.ctl('conntrack', 'list', f'master={master}')
        expect(again and again[0]['dport'] == 7001, f'children of {master}: {again}')
        left = middle.ctl('expect', 'list', f'master={master}')
        expect(sorted(row['dport'] for row in left) == [7000, 7002] and
               {row['rule'] for row in left} == {'call'}, f'left to be expected: {left}')
        gone = middle.ctl('expect', 'delete', f'id={left[0]["id"]}')
        expect(gone == [{'deleted': 1}], f'deleted by id: {gone}')
        # Deleting the call takes what it expects, and leaves what came.
        gone = middle.ctl('conntrack', 'delete', 'dport=1234')
        expect(gone == [{'deleted': 1}], f'deleted: {gone}')
        expect(middle.ctl('expect', 'list', f'master={master}') == [], 'expectations are left')
        expect(middle.ctl('conntrack', 'list', 'dport=7001'), 'the call back has gone, too')
        client.popen.stdin.close()
        client.wait(10)
        middle.ctl('conntrack', 'flush')
    return check


def without_expect_nobody_calls_back(bench):
    client = call(bench, 4)
    client.await_output('got hello|nobody')
    expect('nobody called back' in client.stdout, 'the server called back, unexpected')
    expect(bench.middle.drops().get('policy', 0) > 0, 'the policy has dropped nothing')


def connections_are_watched(bench):
    """Events of one FTP session, by filters; then its connections are ended by hand."""
    middle, server = bench.middle, bench.server()
    watcher = bench.lab.start('conn-watcher', 'middle', *middle.ctl_argv(
        'conntrack', 'events', 'proto=tcp', f'dport={server.port}', 'count=4'))
    watcher.await_output('listening')
    client = SteppedClient(bench.lab, port=server.port, name='step-watched')
    rows = middle.ctl('conntrack', 'list', 'helper=ftp', f'sport={client.control["sport"]}',
                      'src=192.0.2.0/24', 'state=established', 'proto_state=established')
    expect(len(rows) == 1, f'the control connection has {rows}')
    row = rows[0]
    expect(row['packets_original'] > 2 and row['bytes_reply'] > 100 and row['rule'] and
           row['assured'] and row['start'] > 1_000_000_000 and row['idle_s'] <= row['age_s'],
           f'its row: {row}')
    expect(middle.ctl('conntrack', 'list', 'state=new', f'dport={server.port}') == [],
           'an established connection is listed as new')
    gone = middle.ctl('conntrack', 'delete', 'helper=ftp',
                      f'sport={client.control["sport"]}')
    expect(gone == [{'deleted': 1}], f'deleted: {gone}')
    watcher.wait(10)
    told = [(row['event'], row.get('proto_state'), row.get('cause'))
            for row in map(json.loads, watcher.stdout.splitlines())][1:]
    expect(told == [('new', 'syn_sent', None), ('update', 'syn_recv', None),
                    ('update', 'established', None), ('destroy', 'established', 'control')],
           f'the watcher was told {told}')
    for words, said in ((('list', 'state=open'), 'expected one of'),
                        (('list', 'state=Establishd'), "did you mean 'established'?"),
                        (('list', 'proto=tcpp'), "did you mean 'tcp'?"),
                        (('delete',), 'which ones'), (('list', 'mark=1/0'), 'mask')):
        bad = laboratory.run(*middle.ctl_argv('conntrack', *words), check=False)
        expect(bad.returncode == 2 and said in bad.stderr, f'{words}: {bad}')


def vlans_have_their_zones(bench):
    """A transfer in VLAN 7 lives in conntrack zone 7."""
    server = bench.server()
    problem = Transfer('curl', 'epsv', 4).start(bench.lab, server.port, 20).problem(server)
    expect(problem is None, problem)
    rows = bench.middle.ctl('conntrack', 'list', 'zone=7', f'dport={server.port}')
    expect(rows and rows[0]['zone'] == 7, f'zone 7 has {rows}')
    others = bench.middle.ctl('conntrack', 'list', 'zone=0', 'proto=tcp')
    if others:
        raise Failed(f'zone 0 has {others}')


def cases():
    daemon = frozenset({'control-socket'})
    with_helper = frozenset({'control-socket', 'helper'})
    return [
        Case('expect/by-rule/ipv4', EXPECTING, rule_expects(4), needs=daemon),
        Case('expect/by-rule/ipv6', EXPECTING, rule_expects(6), needs=daemon),
        Case('expect/by-rule/without', NOT_EXPECTING, without_expect_nobody_calls_back,
             needs=daemon),
        Case('conntrack/watched', Setting(workers=3), connections_are_watched, needs=with_helper),
        Case('conntrack/vlan-zones', Setting(vlan=7), vlans_have_their_zones, needs=with_helper),
    ]
