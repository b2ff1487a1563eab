# SPDX-License-Identifier: BSD-3-Clause
"""Rules by what real hosts send: VLAN, code point, port, limits, hours. A TCP port is open by one condition, and
its neighbour differs from it by the condition alone; a limit and a schedule have a twin without, or after, it."""

import contextlib
import json
import os
import socket

from cases import Case, expect
from cases_traffic import ADDRESS, LONG_ENOUGH_S, SHORT_S, make_socket, tcp_connect, tcp_listener
from middle import Postern, Setting, configuration

EXPEDITED = 46 << 2


def accepted(number, condition):
    return json.dumps({'name': f'port{number}', 'proto': 'tcp', 'dport': number,
                       'action': 'accept', **condition})


def connect_as(lab, traffic_class, port, timeout_s):
    """As tcp_connect(), with this field in the IPv4 header."""
    with make_socket(lab, 'inside', 4, socket.SOCK_STREAM) as client:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, traffic_class)
        client.settimeout(timeout_s)
        return client.connect_ex((ADDRESS['outside', 4], port)) == 0


OPEN, SHUT = 8001, 8002


def condition_of(key, met, not_met, **setting):
    """(Setting, check): one port is open if `key` is `met`, the next if it is `not_met`."""
    def check(bench):
        for family in (4, 6):
            with tcp_listener(bench.lab, 'outside', family, OPEN), \
                    tcp_listener(bench.lab, 'outside', family, SHUT):
                got = tcp_connect(bench.lab, 'inside', family, OPEN, LONG_ENOUGH_S)
                expect(got == 'open', f'IPv{family}, {key}: {met}: {got}')
                got = tcp_connect(bench.lab, 'inside', family, SHUT, SHORT_S)
                expect(got == 'silent', f'IPv{family}, {key}: {not_met}: {got}')
        rows = bench.middle.connections(proto='tcp', dport=OPEN)
        expect(rows and all(row['rule'] == f'port{OPEN}' for row in rows), f'the rule: {rows}')
    rules = (accepted(OPEN, {key: met}), accepted(SHUT, {key: not_met}))
    return Setting(rules=rules, **setting), check


def code_points(bench):
    """The same port, with the code point of the rule and with none."""
    with tcp_listener(bench.lab, 'outside', 4, OPEN):
        expect(connect_as(bench.lab, EXPEDITED, OPEN, LONG_ENOUGH_S), 'ef did not pass')
        expect(not connect_as(bench.lab, 0, OPEN, SHORT_S), 'it passed without a code point')


def limited(limit):
    """So many of ten connections that are begun one after the other, and all kept, succeed."""
    def begin(bench, count):
        opened = []
        with tcp_listener(bench.lab, 'outside', 4, OPEN), contextlib.ExitStack() as kept:
            for _ in range(count):
                client = kept.enter_context(make_socket(bench.lab, 'inside', 4, socket.SOCK_STREAM))
                client.settimeout(LONG_ENOUGH_S if len(opened) < limit else SHORT_S / 3)
                opened += [1] if client.connect_ex((ADDRESS['outside', 4], OPEN)) == 0 else []
        return len(opened)
    return begin


def at_once(bench):
    got = limited(3)(bench, 5)
    expect(got == 3, f'{got} of 5 connections were begun')
    drops = bench.middle.drops()
    expect(drops.get('rule_at_once', 0) > 0, f'drops: {drops}')
    # Those are closed now: their places are free when they have ended.
    bench.middle.ctl('conntrack', 'flush')
    got = limited(3)(bench, 3)
    expect(got == 3, f'{got} of 3 connections were begun after the first ones had ended')


def no_limit(bench):
    got = limited(5)(bench, 5)
    expect(got == 5, f'{got} of 5 connections were begun without a limit')


MONDAY = 1_767_571_200  # 2026-01-05, 00:00 UTC


def schedule(on_change):
    """The clock goes over both edges; at the second a connection goes on, or not."""
    def check(bench):
        lab, hour = bench.lab, 3600
        clock = lab.path('clock')

        def set_clock(at):
            # Replaced as a whole: the daemon reads it at any time.
            with open(f'{clock}.new', 'w', encoding='ascii') as file:
                file.write(f'{at}\n')
            os.replace(f'{clock}.new', clock)

        config = configuration(Setting(helper=False), lab.path('postern.sock'))
        config['policy'] = {'on_change': on_change, 'rules': [
            {'name': 'office', 'proto': 'tcp', 'dport': OPEN, 'action': 'accept',
             'schedule': {'days': 'mon', 'from': '08:00', 'to': '18:00', 'timezone': 'UTC'}}]}
        set_clock(MONDAY + 7 * hour)
        daemon = bench.middle = Postern(config=config, options=('--clock', clock)).start(lab)
        with make_socket(lab, 'outside', 4, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((ADDRESS['outside', 4], OPEN))
            listener.listen(4)
            listener.settimeout(LONG_ENOUGH_S)
            got = tcp_connect(lab, 'inside', 4, OPEN, SHORT_S)
            expect(got == 'silent', f'before the first edge: {got}')
            set_clock(MONDAY + 8 * hour)
            daemon.process.await_output(r'schedule: rule office begins')
            with make_socket(lab, 'inside', 4, socket.SOCK_STREAM) as client:
                client.settimeout(LONG_ENOUGH_S)
                client.connect((ADDRESS['outside', 4], OPEN))
                peer, _ = listener.accept()
                with peer:
                    set_clock(MONDAY + 18 * hour)
                    daemon.process.await_output(r'schedule: rule office ends')
                    got = tcp_connect(lab, 'inside', 4, OPEN, SHORT_S)
                    expect(got == 'silent', f'after the second edge: {got}')
                    peer.settimeout(LONG_ENOUGH_S if on_change == 'keep' else SHORT_S)
                    client.sendall(b'still here')
                    try:
                        heard = peer.recv(64)
                    except TimeoutError:
                        heard = None
                    wanted = b'still here' if on_change == 'keep' else None
                    expect(heard == wanted, f'on_change: {on_change}: the peer got {heard}')
    return check


def cases():
    daemon = frozenset({'control-socket'})
    return [
        Case('rules/vlan', *condition_of('vlan', [7, '10-20'], 'not 7', vlan=7), needs=daemon),
        Case('rules/no-vlan', *condition_of('vlan', 'none', '1-4094'), needs=daemon),
        Case('rules/in-port', *condition_of('in_port', 'in0', 'out0'), needs=daemon),
        Case('rules/out-port', *condition_of('out_port', ['out0'], ['not out0']), needs=daemon),
        Case('rules/limit/at-once', Setting(rules=(accepted(OPEN, {'limit': {'at_once': 3}}),)),
             at_once, needs=daemon),
        Case('rules/limit/without', Setting(rules=(accepted(OPEN, {}),)), no_limit, needs=daemon),
        Case('rules/schedule/keep', None, schedule('keep'), needs=daemon),
        Case('rules/schedule/recheck', None, schedule('recheck'), needs=daemon),
        Case('rules/dscp', Setting(rules=(accepted(OPEN, {'dscp': 'ef'}),)), code_points,
             needs=daemon),
    ]
