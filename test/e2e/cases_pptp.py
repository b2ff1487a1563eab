# SPDX-License-Identifier: BSD-3-Clause
"""PPTP: pptpd outside, pptp inside. Both carry their GRE packets themselves, so all of it is real but
PPP, which need not be in the kernel: stub_pppd.py says a few words in its place."""

import os
import select
import signal
import socket
import struct
import sys
import time

import lab as laboratory
import stub_pppd
from cases import Case, expect, pair
from middle import Postern, Setting

FOLDER = os.path.dirname(os.path.abspath(__file__))
LONG_ENOUGH_S = 20
PPTP_SOCKETS = '/var/run/pptp'


class Pptpd:
    def __init__(self, lab, port):
        self.said_path = lab.path('pppd.said')
        stub = lab.write('pppd', f'#!/bin/sh\nexec {sys.executable} '
                                 f'{os.path.join(FOLDER, "stub_pppd.py")} "$@"\n')
        os.chmod(stub, 0o755)
        config = lab.write('pptpd.conf', 'localip 10.9.0.1\nremoteip 10.9.0.2-10\n')
        self.process = lab.start('pptpd', 'outside', 'pptpd', '--fg', '--conf', config, '--ppp', stub,
                                 '--pidfile', lab.path('pptpd.pid'),
                                 env={**os.environ, 'STUB_PPPD_SAID': self.said_path})
        for _ in range(250):
            if lab.do('outside', 'ss', '-Hltn', f'sport = :{port}').stdout.strip():
                return
            select.select([self.process.pidfd], [], [], 0.02)
        raise laboratory.LabError('pptpd does not listen')

    def heard(self):
        try:
            with open(self.said_path, 'rb') as file:
                return file.read()
        except FileNotFoundError:
            return b''


class Call:
    """A pptp client inside, and the end of the line that pppd would hold."""

    def __init__(self, bench, name='pptp', server=None):
        self.server = server or bench.server(Pptpd)
        self.line, theirs = socket.socketpair()
        # Clients find the control connection to a server by a socket in PPTP_SOCKETS: each
        # laboratory needs its own.
        sockets = bench.lab.path('pptp-sockets')
        os.makedirs(sockets, exist_ok=True)
        os.makedirs(PPTP_SOCKETS, exist_ok=True)
        self.process = bench.lab.start(
            name, 'inside', 'unshare', '--mount', 'sh', '-c',
            f'mount --bind {sockets} {PPTP_SOCKETS} && exec "$@"', 'sh', 'pptp',
            laboratory.OUTSIDE4, '--nolaunchpppd', '--nohostroute', '--loglevel', '2', stdin=theirs)
        theirs.close()
        self.words = b'\xc0\x21hello from the client ' + name.encode()

    def problem(self, timeout_s):
        """None once both sides have heard each other through the tunnel."""
        deadline = time.monotonic() + timeout_s
        heard = b''
        while time.monotonic() < deadline and self.process.running():
            self.line.send(stub_pppd.framed(self.words))
            if select.select([self.line], [], [], 0.05)[0]:
                heard += self.line.recv(4096)
            if stub_pppd.HELLO[2:] in heard and self.words[2:] in self.server.heard():
                return None
        return (f'the client heard {heard!r}, the server {self.server.heard()!r}; '
                f'{self.process.stderr[-500:]}')

    def hang_up(self):
        """Its control connection is closed by it, too."""
        self.process.stop()
        self.line.close()


def call(bench, timeout_s):
    made = Call(bench)

    def problem():
        try:
            return made.problem(timeout_s or LONG_ENOUGH_S)
        finally:
            made.hang_up()
    return problem


def tunnels(bench):
    return bench.middle.connections(proto='gre')


def await_silence(bench):
    """The case before this one has hung up; its tunnel lives until its control connection ends."""
    bench.eventually(lambda: not tunnels(bench), 'an earlier call lives on')


def send_to_call(bench, call_id):
    """A GRE packet to the server, from the client's host, by nobody who takes part in a call."""
    packet = struct.pack('!BBHHHI', 0x30, 1, 0x880b, 1, call_id, 1 << 30) + b'x'
    with bench.lab.inside_of('inside'):
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, 47) as gre:
            gre.sendto(packet, (laboratory.OUTSIDE4, 0))


def ends_with_control(bench):
    await_silence(bench)
    made = Call(bench)
    problem = made.problem(LONG_ENOUGH_S)
    expect(problem is None, problem)
    rows = tunnels(bench)
    expect(len(rows) == 1, f'one call should have one connection: {rows}')
    row = rows[0]
    expect({row['sport'], row['dport']} != {0}, f'both call ids should be known: {row}')
    call_id = row['dport'] if row['src'] == laboratory.INSIDE4 else row['sport']
    tag = 'proto 47 and ip[28:4] = 0x40000000'
    send_to_call(bench, call_id)
    bench.eventually(lambda: bench.captured('outside', tag) == 1, 'the tunnel does not work')
    made.hang_up()
    bench.eventually(lambda: not tunnels(bench), 'the tunnel lives on')
    # A server that answers the client's goodbye before that hangs up ends the tunnel first.
    bench.eventually(lambda: not bench.middle.connections(proto='tcp', dport=1723),
                     'the control connection lives on')
    dropped = bench.middle.drops().get('policy', 0)
    send_to_call(bench, call_id)
    bench.eventually(lambda: bench.middle.drops().get('policy', 0) > dropped,
                     'the late packet was not dropped')
    expect(bench.captured('outside', tag) == 1, 'the late packet arrived')


def two_calls(bench):
    """A second client on the same host asks for its call in the first one's control connection.
    pptpd promises it and then does not serve it, so only its first direction is heard."""
    await_silence(bench)
    calls = [Call(bench, 'pptp-1')]
    try:
        problem = calls[0].problem(LONG_ENOUGH_S)
        expect(problem is None, problem)
        calls.append(Call(bench, 'pptp-2'))

        def both():
            calls[1].line.send(stub_pppd.framed(calls[1].words))
            return len(tunnels(bench)) == 2
        bench.eventually(both, 'two calls should be two connections')
        rows = tunnels(bench)
        expect(rows[0]['master'] == rows[1]['master'], f'one control connection: {rows}')
        for row in rows:
            call_id = row['dport'] if row['src'] == laboratory.INSIDE4 else row['sport']
            bench.eventually(lambda: bench.captured(
                'outside', f'proto 47 and src {laboratory.INSIDE4} and ip[26:2] = {call_id}') > 0,
                f'nothing came to call {call_id}')
    finally:
        for made in calls:
            made.hang_up()


GRE = struct.Struct('!BBHHHI')


class Ends:
    """Both ends of PPTP, by sockets: what no client and server that exist can be made to do."""

    def __init__(self, bench, port, client='inside', client_address=laboratory.INSIDE4,
                 server='outside', server_address=laboratory.OUTSIDE4):
        self.bench, self.client = bench, client
        self.client_address, self.server_address = client_address, server_address
        with bench.lab.inside_of(server):
            self.listener = socket.create_server(('', port))
            self.server_gre = socket.socket(socket.AF_INET, socket.SOCK_RAW, 47)
        with bench.lab.inside_of(client):
            self.client_gre = socket.socket(socket.AF_INET, socket.SOCK_RAW, 47)
        self.server_gre.bind((server_address, 0))
        self.client_gre.bind((client_address, 0))
        self.port, self.sent = port, 0

    @staticmethod
    def _say(speaker, listener, kind, size, fields):
        message = struct.pack('!HHIHH', size, 1, 0x1a2b3c4d, kind, 0) + fields
        speaker.sendall(message.ljust(size, b'\0'))
        got = b''
        while len(got) < size:
            got += listener.recv(size - len(got))

    def control(self, client_id, server_id):
        """A control connection, its two ends, with a call."""
        with self.bench.lab.inside_of(self.client):
            client = socket.create_connection((self.server_address, self.port), LONG_ENOUGH_S,
                                              (self.client_address, 0))
        server = self.listener.accept()[0]
        server.settimeout(LONG_ENOUGH_S)
        self._say(client, server, 1, 156, bytes.fromhex('0100'))
        self._say(server, client, 2, 156, bytes.fromhex('01000100'))
        self._say(client, server, 7, 168, struct.pack('!H', client_id))
        self._say(server, client, 8, 32, struct.pack('!HHB', server_id, client_id, 1))
        return client, server

    def passes(self, client_id, server_id, timeout_s=2):
        """Whether a packet of the call arrives, each way."""
        for gre, to, there, call_id in (
                (self.client_gre, self.server_address, self.server_gre, server_id),
                (self.server_gre, self.client_address, self.client_gre, client_id)):
            self.sent += 1
            payload = b'%d' % self.sent
            gre.sendto(GRE.pack(0x30, 1, 0x880b, len(payload), call_id, self.sent) + payload, (to, 0))
            deadline = time.monotonic() + timeout_s
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([there], [], [], left)[0]:
                    return False
                if there.recv(2048)[20:].endswith(payload):
                    break
        return True

    def close(self):
        for each in (self.listener, self.server_gre, self.client_gre):
            each.close()


def reset(end):
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    end.close()


def reconnected(same_call):
    """A client begins again before its old control connection is over, which is reset later. With
    the same call its tunnel goes on; with another one the old tunnel is the old connection's."""
    def check(bench):
        await_silence(bench)
        ends = Ends(bench, bench.setting.port)
        try:
            old = ends.control(100, 200)
            expect(ends.passes(100, 200), 'the call does not work')
            second = (100, 200) if same_call else (101, 201)
            new = ends.control(*second)
            expect(ends.passes(*second), 'the second call does not work')
            # As if they had been there for longer than their time.
            bench.middle.text('expect', 'flush')
            reset(old[1])
            bench.eventually(lambda: len(bench.middle.connections(
                proto='tcp', dport=bench.setting.port)) == 1, 'the old connection lives on')
            expect(ends.passes(*second), 'the old control connection has taken the tunnel along')
            if not same_call:
                expect(not ends.passes(100, 200, 0.5), "the old connection's own tunnel lives on")
            reset(new[1])
            bench.eventually(lambda: not tunnels(bench), 'the tunnel lives on')
        finally:
            ends.close()
    return check


def killed_and_restored(restore):
    """A call outlives the firewall, and still ends with its control connection, if connections were
    saved and are restored, and only then."""
    def check(bench):
        lab = bench.lab
        setting = Setting(service='pptp', workers=3)
        first = Postern(setting).start(lab)
        made = Call(bench, server=Pptpd(lab, setting.port))
        try:
            problem = made.problem(LONG_ENOUGH_S)
            expect(problem is None, problem)
            state = lab.path('state.json')
            first.text('conntrack', 'save', state)
            first.process.signal(signal.SIGKILL)
            first.process.wait(LONG_ENOUGH_S)
            second = Postern(setting).start(lab)
            again = b'\xc0\x21and once more'
            if not restore:
                def refused():
                    made.line.send(stub_pppd.framed(again))
                    return second.drops().get('policy', 0) > 0
                bench.eventually(refused, 'the call goes on by itself')
                expect(again[2:] not in made.server.heard(), 'it arrived')
                return
            said = second.text('conntrack', 'restore', state)
            expect('2 connections: restored' in said, said)
            before = second.connections(proto='gre')[0]

            def heard():
                made.line.send(stub_pppd.framed(again))
                row = second.connections(proto='gre')[0]
                return again[2:] in made.server.heard() and all(
                    row[n] > before[n] for n in ('packets_original', 'packets_reply'))
            bench.eventually(heard, 'the call does not go on in both directions')
            made.hang_up()
            bench.eventually(lambda: not second.connections(proto='gre'), 'the tunnel lives on')
        finally:
            made.hang_up()
    return check


def cases():
    found = []
    own = frozenset({'control-socket'})
    for restore, name in ((True, 'restored'), (False, 'not-restored')):
        found.append(Case(f'pptp/killed-and-{name}', None, killed_and_restored(restore), needs=own))
    for workers in (1, 3):
        setting = Setting(service='pptp', workers=workers)
        found += pair(f'pptp/{workers}-workers', setting, call)
        found.append(Case(f'pptp/{workers}-workers/tunnel-ends-with-control', setting,
                          ends_with_control, needs=frozenset({'helper', 'control-socket'})))
    for workers in (1, 3):
        for same_call, name in ((True, 'reconnected'), (False, 'reconnected-with-another-call')):
            # Not where pptpd listens for other cases.
            setting = Setting(service='pptp', workers=workers, control_port=1724)
            found.append(Case(f'pptp/{workers}-workers/{name}', setting, reconnected(same_call),
                              needs=frozenset({'helper', 'control-socket'})))
    found.append(Case('pptp/3-workers/two-calls', Setting(service='pptp', workers=3), two_calls,
                      needs=frozenset({'helper', 'control-socket'})))
    return found
