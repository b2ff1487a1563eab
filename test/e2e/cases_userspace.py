# SPDX-License-Identifier: BSD-3-Clause
"""Helpers in other processes: helpers/userspace/toy.py reads a toy protocol whose server says
`DATA 4321` and serves data on that port. With the process it passes; without it the control
connection goes on, or waits, as the declaration says."""

import contextlib
import os
import signal
import socket
import struct
import sys

import lab as laboratory
from cases import Case, expect
from middle import ROOT, Postern, Setting, configuration

FOLDER = os.path.join(ROOT, 'helpers', 'userspace')
TOY = os.path.join(FOLDER, 'toy.py')
TOY_STREAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'toy_stream.py')
ERROR_RECORD = 3

CONTROL, DATA = 7000, 4321
LONG_ENOUGH_S = 10
SHORT_S = 1.5  # for a SYN that should not come through: one retransmission


class Toy:
    """The daemon with the helper declared, and one end of the protocol on each host."""

    def __init__(self, bench, workers=1, transport='tcp', **declared):
        self.bench, self.lab = bench, bench.lab
        self.socket = self.lab.path('helper-toy.sock')
        self.server = None
        config = configuration(Setting(workers=workers, helper=False), self.lab.path('postern.sock'))
        config['helpers'] = [{
            'name': 'toy', 'ports': [CONTROL],
            'userspace': {'transports': [transport], 'data_len': 4, **declared,
                          'classes': [{'name': 'data', 'proto': 'tcp', 'max': 2,
                                       'timeout': '60s'}]}}]
        config['limits']['stream_buffer'] = 512
        config['policy']['rules'] = [
            {'name': 'control', 'from': 'inside', 'to': 'outside', 'proto': transport,
             'dport': CONTROL, 'action': 'accept', 'helper': 'toy'},
            {'name': 'data', 'ct': ['related'], 'related': ['toy'], 'action': 'accept'}]
        self.daemon = Postern(config=config).start(self.lab)

    def process(self, program=TOY):
        """The helper's process, connected."""
        process = self.lab.start(f'toy-{len(self.lab.processes)}', 'middle', sys.executable, program,
                                 self.socket)
        process.await_output('connected to')
        return process

    def rows(self):
        return self.daemon.ctl('helper', 'list')[0]

    def counter(self, name):
        return self.rows()['counters'][name]

    @contextlib.contextmanager
    def control(self, family=4):
        """A control connection: its client's end and its server's."""
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        self.server = laboratory.OUTSIDE4 if family == 4 else laboratory.OUTSIDE6
        with self.lab.inside_of('outside'):
            listener = socket.create_server((self.server, CONTROL), family=kind)
        with listener:
            with self.lab.inside_of('inside'):
                client = socket.create_connection((self.server, CONTROL), LONG_ENOUGH_S)
            listener.settimeout(LONG_ENOUGH_S)
            server, _ = listener.accept()
        with client, server:
            client.settimeout(LONG_ENOUGH_S)
            server.settimeout(LONG_ENOUGH_S)
            yield client, server

    @contextlib.contextmanager
    def datagrams(self):
        """The same over UDP: the server's end answers the client's first datagram."""
        self.server = laboratory.OUTSIDE4
        with contextlib.ExitStack() as stack:
            ends = []
            for host in ('outside', 'inside'):
                with self.lab.inside_of(host):
                    end = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                end.settimeout(LONG_ENOUGH_S)
                ends.append(end)
            server, client = ends
            server.bind((self.server, CONTROL))
            client.connect((self.server, CONTROL))
            client.send(b'HELLO')
            greeting, peer = server.recvfrom(64)
            expect(greeting == b'HELLO', 'the first datagram has not arrived')
            server.connect(peer)
            yield client, server

    def announce(self, client, server, port=DATA):
        """The client asks, the server announces; whether the client reads it."""
        client.sendall(b'GET\r\n')
        expect(server.recv(64) == b'GET\r\n', 'the request has not arrived')
        said = b'DATA %d\r\n' % port
        server.sendall(said)
        try:
            return client.recv(64) == said
        except TimeoutError:
            return False

    def data(self, port=DATA, wait_s=LONG_ENOUGH_S):
        """Whether a data connection comes through."""
        kind = socket.AF_INET6 if ':' in self.server else socket.AF_INET
        with self.lab.inside_of('outside'):
            listener = socket.create_server((self.server, port), family=kind)
        with listener, self.lab.inside_of('inside'):
            try:
                with socket.create_connection((self.server, port), wait_s):
                    return True
            except OSError:
                return False

    def no_data(self, port=DATA):
        dropped = self.daemon.drops().get('policy', 0)
        expect(not self.data(port, SHORT_S), 'the data connection came through')
        expect(self.daemon.drops().get('policy', 0) > dropped, 'the policy has dropped nothing')


def passes(workers, family):
    """Several announcements: the private state counts them, and goes there and back."""
    def check(bench):
        toy = Toy(bench, workers)
        process = toy.process()
        expect(toy.rows()['process']['connected'], 'it is not shown as connected')
        with toy.control(family) as (client, server):
            for turn in range(3):
                expect(toy.announce(client, server, DATA + turn), 'the announcement is lost')
                expect(toy.data(DATA + turn), 'the data connection did not come through')
        process.await_output(f'on port {DATA + 2} \\(announcement 3\\)')
        process.await_output('has gone')
        row = toy.rows()
        expect(row['expectations'] == 3, f'{row["expectations"]} expectations, not 3')
        expect(row['counters']['userspace_answered'] == 6, str(row['counters']))
        expect('pid' in toy.daemon.text('helper', 'list'), toy.daemon.text('helper', 'list'))
    return check


def over_udp(served):
    """Datagrams are messages; twice, so that the private state goes there and back."""
    def check(bench):
        toy = Toy(bench, 3, 'udp')
        process = toy.process() if served else None
        with toy.datagrams() as (client, server):
            for turn in range(2 if served else 1):
                expect(toy.announce(client, server, DATA + turn), 'the announcement is lost')
                if not served:
                    return toy.no_data()
                expect(toy.data(DATA + turn), 'the data connection did not come through')
        process.await_output(f'on port {DATA + 1} \\(announcement 2\\)')
        return None
    return check


def in_a_stream(served):
    """A message cut in two, and two in one segment."""
    def check(bench):
        toy = Toy(bench, 3, framing='stream', data_len=8, proof=False)
        process = toy.process(TOY_STREAM) if served else None
        said = [b'\3P' + port.to_bytes(2, 'big') for port in (DATA, DATA + 1, DATA + 2)]
        with toy.control(6) as (client, server):
            for part in (said[0][:3], said[0][3:], said[1] + said[2]):
                server.sendall(part)
                expect(client.recv(64) == part, 'the control connection does not go on')
            if not served:
                toy.no_data()
                return
            for turn in range(2):  # the class holds two: the first was pushed out
                expect(toy.data(DATA + 1 + turn), 'the data connection did not come through')
        process.await_output(f'port {DATA}, after 3 bytes kept')
    return check


def absent(workers, family):
    def check(bench):
        toy = Toy(bench, workers)
        with toy.control(family) as (client, server):
            expect(toy.announce(client, server), 'the control connection does not go on')
            toy.no_data()
        expect(toy.counter('userspace_bypassed') == 2, 'two messages should have passed by')
        expect(not toy.rows()['process']['connected'], 'it is shown as connected')
        expect('absent' in toy.daemon.text('helper', 'list'), toy.daemon.text('helper', 'list'))
    return check


def waits(bench):
    """Without bypass nothing passes until somebody answers; TCP tries until then."""
    toy = Toy(bench, bypass=False, wait_ms=50)
    with toy.control() as (client, server):
        client.sendall(b'GET\r\n')
        bench.eventually(lambda: toy.daemon.drops().get('helper_absent', 0) > 0,
                         'nothing was dropped')
        expect(toy.counter('userspace_absent') > 0, 'it was not counted')
        toy.process()
        expect(server.recv(64) == b'GET\r\n', 'the request has not arrived')
        server.sendall(b'DATA %d\r\n' % DATA)
        expect(client.recv(64) == b'DATA %d\r\n' % DATA, 'the announcement has not arrived')
        expect(toy.data(), 'the data connection did not come through')


def killed(bench):
    """kill -9 in the middle: control goes on, and the next process takes over."""
    toy = Toy(bench, 3)
    process = toy.process()
    with toy.control() as (client, server):
        expect(toy.announce(client, server) and toy.data(), 'it does not work at first')
        process.signal(signal.SIGKILL)
        process.wait(LONG_ENOUGH_S)
        bench.eventually(lambda: not toy.rows()['process']['connected'], 'it is still connected')
        expect(toy.announce(client, server, DATA + 1), 'the control connection does not go on')
        toy.no_data(DATA + 1)
        toy.process()
        expect(toy.announce(client, server, DATA + 2), 'the control connection does not go on')
        expect(toy.data(DATA + 2), 'the next process does not do its work')


def several(bench):
    """Three questions about one packet: the private state goes from each to the next."""
    toy = Toy(bench, proof=False)  # its client asks for nothing
    process = toy.process()
    with toy.control() as (client, server):
        said = b'DATA %d\r\n%s\r\nDATA %d\r\n' % (DATA, b'x' * 500, DATA + 1)
        server.sendall(said)
        expect(client.recv(1024) == said, 'the announcements have not arrived in one piece')
        process.await_output(f'on port {DATA + 1} \\(announcement 2\\)')
        expect(toy.data() and toy.data(DATA + 1), 'the data connections did not come through')
    expect(toy.counter('userspace_asked') == 3, str(toy.rows()['counters']))


def unproven(bench):
    """The server announces before the client has asked: nothing opens, and it is counted."""
    toy = Toy(bench)
    process = toy.process()
    with toy.control() as (client, server):
        said = b'DATA %d\r\n' % DATA
        server.sendall(said)
        expect(client.recv(64) == said, 'the announcement has not arrived')
        process.await_output(f'on port {DATA}')
        toy.no_data()
        expect(toy.counter('not_proven') == 1, str(toy.rows()['counters']))
        expect(toy.announce(client, server, DATA + 1) and toy.data(DATA + 1),
               'it does not work after the proof')


def hangs(bench):
    """A process that hangs: the first packet waits for it, no other one does, all pass."""
    toy = Toy(bench)
    process = toy.process()
    with toy.control() as (client, server):
        process.signal(signal.SIGSTOP)
        expect(toy.announce(client, server), 'the control connection does not go on')
        counters = toy.rows()['counters']
        expect(counters['userspace_late'] == 1 and counters['userspace_bypassed'] == 2,
               str(counters))
        toy.no_data()
        process.signal(signal.SIGCONT)
        bench.eventually(lambda: toy.counter('userspace_stale') > 0, 'its answers did not come')
        expect(toy.announce(client, server, DATA + 1) and toy.data(DATA + 1),
               'it does not work again')


def rubbish(bench):
    """Processes that do not keep to the protocol are told why; the next one is served."""
    toy = Toy(bench)

    def refusal(*records):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(LONG_ENOUGH_S)
            s.connect(toy.socket)
            # It may have hung up already, or do so between two records.
            with contextlib.suppress(BrokenPipeError):
                for record in records:
                    s.send(record)
            while True:
                with contextlib.suppress(ConnectionResetError):
                    said = s.recv(65536)
                    if not said or said[0] == ERROR_RECORD:
                        return said[8:].decode()

    hello = struct.pack('<BBHIHH', 1, 0, 0, 12, 1, 0)
    answer = struct.pack('<BBHIHHIIBBH32s', 5, 1, 0, 56, 0, 0, 1, 1, 0, 0, 0, b'')
    wrong = [('not a hello', b'GET / HTTP/1.1\r\n\r\n'), ('shorter', b'\1'),
             ('version is not 1', hello[:8] + struct.pack('<HH', 2, 0)),
             ('not an answer', hello, hello), ('length', hello, answer + b'?'),
             ('verdict', hello, b'\5\7' + answer[2:]), ('longest', hello, bytes(30000)),
             ('worker', hello, answer[:8] + b'\x20' + answer[9:])]
    for words, *records in wrong:
        said = refusal(*records)
        expect(words in said, f'{said!r} does not say {words!r}')
    bad = toy.rows()['process']['bad_records']
    expect(bad == len(wrong), f'{bad} bad records, not {len(wrong)}')
    process = toy.process()
    said = refusal(hello)
    expect(f'pid {process.popen.pid}' in said and 'serves helper toy' in said, said)
    expect(toy.rows()['process']['clients_refused'] == 1, 'the refusal was not counted')
    with toy.control() as (client, server):
        expect(toy.announce(client, server) and toy.data(), 'it does not work afterwards')


def cases():
    found = []
    for workers, family in ((1, 4), (3, 6)):
        prefix = f'userspace/{workers}-workers/ipv{family}'
        found += [Case(f'{prefix}/process', None, passes(workers, family)),
                  Case(f'{prefix}/no-process', None, absent(workers, family))]
    for name, check in (('udp', over_udp), ('stream', in_a_stream)):
        found += [Case(f'userspace/{name}/process', None, check(True)),
                  Case(f'userspace/{name}/no-process', None, check(False))]
    return found + [Case('userspace/no-bypass', None, waits),
                    Case('userspace/killed', None, killed), Case('userspace/hangs', None, hangs),
                    Case('userspace/several-messages', None, several),
                    Case('userspace/not-proven', None, unproven),
                    Case('userspace/rubbish', None, rubbish)]
