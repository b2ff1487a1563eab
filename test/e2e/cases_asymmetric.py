# SPDX-License-Identifier: BSD-3-Clause
"""Asymmetric paths: one direction goes through the firewall, the other by a cable beside it. Each way
works by a rule with `track: no` and one with `track: sloppy`, and fails without the key."""

import contextlib
import socket

import lab as laboratory
from cases import SHORT_S, Case, expect
from cases_traffic import LONG_ENOUGH_S, make_socket
from middle import Postern, Setting, configuration

PORT = 8000
PAYLOAD = bytes(range(256)) * 400
OTHER = {'inside': 'outside', 'outside': 'inside'}
ADDRESS = {'inside': laboratory.INSIDE4, 'outside': laboratory.OUTSIDE4}


def bypass(lab, host):
    """What this host sends to the other one goes by a cable of its own."""
    lab.ip('inside', 'link', 'add', 'bypass', 'type', 'veth', 'peer', 'name', 'bypass', 'netns',
           lab.names['outside'])
    macs = {}
    for end in OTHER:
        laboratory.offloads_off(lab, end, 'bypass')
        for link in ('all', 'eth0', 'bypass'):
            lab.do(end, 'sysctl', '-qw', f'net.ipv4.conf.{link}.rp_filter=0')
        lab.ip(end, 'link', 'set', 'bypass', 'up')
        macs[end] = lab.do(end, 'cat', '/sys/class/net/bypass/address').stdout.strip()
    to = OTHER[host]
    lab.ip(host, 'neigh', 'replace', ADDRESS[to], 'lladdr', macs[to], 'dev', 'bypass', 'nud',
           'permanent')
    lab.ip(host, 'route', 'add', f'{ADDRESS[to]}/32', 'dev', 'bypass', 'src', ADDRESS[host])


def firewall(bench, track, seen):
    """The daemon, with rules for what passes it: the client's packets or the server's."""
    config = configuration(Setting(policy='none'), bench.lab.path('postern.sock'))
    rule = {'name': 'half', 'proto': 'tcp', 'action': 'accept', **({'track': track} if track else {}),
            **({'from': 'inside', 'dport': PORT} if seen == 'client' else
               {'from': 'outside', 'sport': PORT})}
    config['policy']['rules'] = [rule]
    return Postern(config=config).start(bench.lab)


def transfer(lab, timeout_s):
    """A request, and an answer of many segments; what went wrong, or None."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(make_socket(lab, 'outside', 4, socket.SOCK_STREAM))
        listener.bind((ADDRESS['outside'], PORT))
        listener.listen(1)
        listener.settimeout(timeout_s)
        client = stack.enter_context(make_socket(lab, 'inside', 4, socket.SOCK_STREAM))
        client.settimeout(timeout_s)
        try:
            client.connect((ADDRESS['outside'], PORT))
            peer = stack.enter_context(listener.accept()[0])
            peer.settimeout(timeout_s)
            for sender, receiver in ((client, peer), (peer, client)):
                for at in range(0, len(PAYLOAD), 20480):
                    part = PAYLOAD[at:at + 20480]
                    sender.sendall(part)
                    got = b''
                    while len(got) < len(part):
                        some = receiver.recv(len(part) - len(got))
                        expect(some, f'{len(got)} of {len(part)} bytes came')
                        got += some
                    expect(got == part, 'the bytes are others')
                sender.shutdown(socket.SHUT_WR)
                expect(receiver.recv(1) == b'', 'the end did not arrive')
        except TimeoutError:
            return 'silence'
    return None


def one_way(track, seen):
    def check(bench):
        bypass(bench.lab, 'outside' if seen == 'client' else 'inside')
        daemon = firewall(bench, track, seen)
        went_wrong = transfer(bench.lab, LONG_ENOUGH_S if track else SHORT_S)
        stats = daemon.ctl('stats')
        if track is None:
            expect(went_wrong == 'silence', 'half of a handshake has passed')
            expect(daemon.drops().get('ct_not_first', 0) + daemon.drops().get('tcp_state', 0) > 0,
                   f'drops: {daemon.drops()}')
            return
        expect(went_wrong is None, f'{went_wrong}; drops: {daemon.drops()}')
        counter = 'passed_untracked' if track == 'no' else 'connections_sloppy'
        expect(any(row.get('name') == counter and row.get('value', 0) > 0 or row.get(counter, 0) > 0
                   for row in stats), f'{counter} has counted nothing: {stats}')
        rows = daemon.connections(proto='tcp')
        expect(len(rows) == (0 if track == 'no' else 1), f'connections: {rows}')
    return check


def cases():
    return [Case(f'asymmetric/{seen}-seen/{track or "yes"}', None, one_way(track, seen),
                 needs=frozenset({'control-socket'}))
            for seen in ('client', 'server') for track in ('no', 'sloppy', None)]
