# SPDX-License-Identifier: BSD-3-Clause
"""What an operator can do to expectations and helpers while the daemon runs."""

import json
import subprocess
import sys

import lab as laboratory
from cases import Case, expect
from middle import Setting
from peers import SteppedClient, Transfer


def expectations_by_hand(bench):
    """An operator files, lists and deletes expectations; a watcher sees each step."""
    middle = bench.middle
    watcher = bench.lab.start('watcher', 'middle', *middle.ctl_argv('expect', 'events', 'count=7'))
    watcher.await_output('listening')
    pin_hole = ('proto=tcp', 'dst=' + laboratory.OUTSIDE4, 'no_master=true', 'zone=0')
    first = middle.ctl('expect', 'create', *pin_hole, 'dport=7001', 'timeout=60', 'helper=ftp')
    expect(first[0]['outcome'] == 'created', f'not created: {first}')
    middle.ctl('expect', 'create', *pin_hole, 'dport=7002', 'timeout=60')
    again = middle.ctl('expect', 'create', *pin_hole, 'dport=7002', 'timeout=60')
    expect(again[0]['outcome'] == 'refreshed', f'filed twice: {again}')
    rows = middle.ctl('expect', 'list', 'dport=7001')
    expect([row['flags'] for row in rows] == [['operator']], f'the list has {rows}')
    # A connection takes the first one; nothing but the expectation lets it in.
    server = bench.lab.start('listener', 'outside', sys.executable, '-c',
                             'import socket; s = socket.create_server(("", 7001)); '
                             'print("listening", flush=True); s.accept()[0].sendall(b"x"); input()',
                             stdin=subprocess.PIPE)
    server.await_output('listening')
    bench.lab.do('inside', sys.executable, '-c',
                 f'import socket; s = socket.create_connection(("{laboratory.OUTSIDE4}", 7001), 5);'
                 's.recv(1)')
    deleted = middle.ctl('expect', 'delete', 'dport=7002')
    expect(deleted == [{'deleted': 1}], f'deleted: {deleted}')
    middle.ctl('expect', 'create', *pin_hole, 'dport=7003', 'timeout=60')
    expect(middle.ctl('expect', 'flush') == [{'deleted': 1}], 'flush left something')
    expect(middle.expectations() == [], 'there is something after flush')
    watcher.wait(10)
    seen = [(row['event'], row.get('dport')) for row in map(json.loads, watcher.stdout.splitlines())]
    wanted = [('listening', None), ('new', 7001), ('new', 7002), ('destroy', 7002),
              ('new', 7002), ('claim', 7001), ('destroy', 7002), ('new', 7003)]
    expect(sorted(seen, key=str) == sorted(wanted, key=str), f'the watcher saw {seen}')
    bad = laboratory.run(*middle.ctl_argv('expect', 'create', 'proto=tcp', 'dst=192.0.2.2',
                                          'dport=1'), check=False)
    expect(bad.returncode == 2 and 'no_master' in bad.stderr, f'without a master: {bad}')


def expectation_for_a_master(bench):
    """One more pin-hole for a live FTP connection; it ends with it."""
    middle, server = bench.middle, bench.server()
    client = SteppedClient(bench.lab, port=server.port, name='step-master')
    rows = middle.connections(proto='tcp', sport=client.control['sport'], dport=server.port)
    master = rows[0]['id']
    words = ('expect', 'create', 'proto=udp', 'dst=192.0.2.1', 'dport=5000', f'master={master}')
    made = middle.ctl(*words)
    expect(made[0]['outcome'] == 'created', f'not created: {made}')
    rows = middle.ctl('expect', 'list', f'master={master}')
    expect(len(rows) == 1 and rows[0]['master']['sport'] == client.control['sport'] and
           rows[0]['master_id'] == master,
           f'the list has {rows}')
    client('reset')
    bench.eventually(lambda: not middle.expectations(), 'the pin-hole outlives its master')
    gone = middle.ctl(*words)
    expect(gone[0]['outcome'] == 'master_gone', f'for a dead master: {gone}')


def helper_is_removed(bench):
    """While transfers run: the one under way ends well, the next one finds its data closed."""
    middle, server = bench.middle, bench.server()
    slow = Transfer('lftp', 'epsv', 4).start(bench.lab, server.port, 30, bytes_per_s=100_000)
    bench.eventually(lambda: any(row.get('master') for row in middle.connections(proto='tcp')),
                     'the transfer has not begun')
    done = middle.ctl('helper', 'remove', 'name=ftp')
    expect(done[0]['removed'] and done[0]['connections_detached'] >= 1, f'remove said {done}')
    expect(middle.expectations() == [], 'it left expectations')
    problem = slow.problem(server)
    expect(problem is None, problem)
    late = Transfer('curl', 'epsv', 4).start(bench.lab, server.port, 4)
    expect(late.finish() != 0, 'a transfer passed without the helper')
    expect(late.logged_in(), 'its control connection should still pass')
    wrong = laboratory.run(*middle.ctl_argv('helper', 'remove', 'name=nobody'), check=False)
    expect(wrong.returncode == 2, f'a helper that does not exist: {wrong}')


def cases():
    daemon = frozenset({'control-socket', 'helper'})
    three = Setting(workers=3)
    return [
        Case('expect/by-hand', three, expectations_by_hand, needs=daemon),
        Case('expect/for-a-live-master', three, expectation_for_a_master, needs=daemon),
        # A run of its own: nothing brings the helper back.
        Case('helper/removed-under-traffic', Setting(workers=3, control_port=2122),
             helper_is_removed, needs=daemon),
    ]
