# SPDX-License-Identifier: BSD-3-Clause
"""Strangers flood the pools of the helper framework, ten times what each holds, and go on while real
clients inside fetch a file by FTP, make a SIP call and an H.323 call."""

import json
import os
import sys

import cases_h323
import cases_sip
from cases import Case, expect
from middle import Setting
from peers import FOLDER, Transfer

LONG_ENOUGH_S = 30
VICTIM = '192.0.2.77'  # nobody's
FLOOD = 10 * (1024 + 256)  # of each kind: limits.helped_connections, and those without an answer


def from_outside(helper, proto, port):
    return json.dumps({'name': f'{helper}-in', 'from': 'outside', 'to': 'inside', 'proto': proto,
                       'dport': port, 'ct': ['new'], 'action': 'accept', 'helper': helper})


RULES = (from_outside('sip', 'udp', 5060), from_outside('ftp', 'tcp', 21),
         from_outside('q931', 'tcp', 1720))


def flooded(bench):
    mac = bench.lab.do('inside', 'cat', '/sys/class/net/eth0/address').stdout.strip()
    flood = bench.lab.start('flood', 'outside', sys.executable, os.path.join(FOLDER, 'flood.py'),
                            'eth0', mac, VICTIM, str(FLOOD))
    flood.await_output('flooded', timeout=180)
    server = bench.server()
    problems = {
        'ftp': Transfer('curl', 'pasv', 4).start(bench.lab, server.port, LONG_ENOUGH_S).problem(server),
        'sip': cases_sip.outward_call(cases_sip.Line(4, 'udp'), bench, LONG_ENOUGH_S)(),
        'h323': cases_h323.call('direct', 4)(bench, LONG_ENOUGH_S)(),
    }
    expect(flood.running(), f'the flood has ended by itself: {flood.stderr}')
    flood.stop()
    expect(not any(problems.values()), f'{problems}')
    rows = {row['name']: row for row in bench.middle.ctl('helper', 'list')}
    counters = rows['sip']['counters']
    displaced = sum(n for name, n in counters.items() if name.startswith('displaced'))
    expect(displaced > FLOOD / 2, f'the flood did not fill its pool: {counters}')
    expect(rows['ftp']['unproven']['slots'] <= rows['ftp']['unproven']['max'], f'{rows}')
    bench.note(f'{displaced} forged calls displaced; FTP, SIP and H.323 work')


def cases():
    setting = Setting(service='flooded', control_port=21, rules=RULES)
    return [Case('pools/flooded-by-strangers', setting, flooded, needs=frozenset({'control-socket'}))]
