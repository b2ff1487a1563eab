# SPDX-License-Identifier: BSD-3-Clause
"""TFTP with real peers: the server answers each request from a port of its own choosing, so where
only the well-known port may be new, a transfer lives by its expectation."""

import contextlib
import functools
import hashlib
import socket
import struct
import threading

import lab as laboratory
from cases import Case, expect, pair
from middle import Setting
from peers import TftpTransfer

ALL = [TftpTransfer(client, family, upload) for client in ('curl', 'tftp') for family in (4, 6)
       for upload in (False, True)]
FEW = [TftpTransfer('tftp', 4), TftpTransfer('curl', 6)]

LONG_ENOUGH_S = 20
SHORT_S = 4


def digest(running, server):
    return hashlib.sha256(running.arrived(server)).hexdigest()


def passes(transfer):
    def check(bench):
        server = bench.server()
        filed = bench.filed_expectations()
        running = transfer.start(bench.lab, server.port, LONG_ENOUGH_S)
        running.finish()
        expect(digest(running, server) == server.digest,
               f'the file that arrived is not the one that was sent: {running.said}')
        if filed is not None:
            now = bench.filed_expectations()
            expect(now == filed + 1, f'one expectation should have been filed, not {now - filed}')
            children = [row for row in bench.middle.connections(proto='udp') if row.get('master')]
            expect(children, 'the transfer has no master')
    return check


def fails(transfer):
    started = {}

    def begin(bench):
        server = bench.server()
        started[bench] = transfer.start(bench.lab, server.port, SHORT_S)

    def check(bench):
        running, server = started.pop(bench), bench.server()
        running.finish()
        expect(bench.captured('outside', f'udp and src port {server.port} or dst port '
                                         f'{server.port}') > 0, 'no request has come to the server')
        expect(digest(running, server) != server.digest,
               'the transfer passed, though nothing expected it')
        if bench.can('control-socket'):
            expect(bench.middle.drops().get('policy', 0) > 0, 'the policy has dropped nothing')
    return begin, check


def pairs(prefix, transfers, **setting):
    found = []
    for transfer in transfers:
        found.append(Case(f'{prefix}/{transfer.name()}/helper',
                          Setting(service='tftp', **setting), passes(transfer),
                          needs=frozenset({'helper'})))
        begin, check = fails(transfer)
        found.append(Case(f'{prefix}/{transfer.name()}/no-helper',
                          Setting(service='tftp', helper=False, **setting), check, begin,
                          frozenset({'no-helper'})))
    return found


READ, DATA, ACK, ERROR, OPTIONS = 1, 3, 4, 5, 6
EVERYBODY, SUBNET = '255.255.255.255', '192.0.2.255'


class Loaders:
    """Servers for boot loaders, by sockets: one that does not have the file and says so first, and one
    that has it. Both answer broadcasts, each from a port of its own."""

    def __init__(self, lab, port):
        self.lab = lab
        for address in ('192.0.2.3', '192.0.2.4'):
            lab.ip('outside', 'addr', 'replace', f'{address}/24', 'dev', 'eth0')
        self.asked = self._socket(('', port))
        self.ended = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _socket(self, address):
        with self.lab.inside_of('outside'):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind(address)
        return made

    def _serve(self):
        without, having = self._socket(('192.0.2.3', 0)), self._socket(('192.0.2.4', 0))
        while True:
            request, peer = self.asked.recvfrom(2048)
            name = request[2:].split(b'\0')[0]
            without.sendto(struct.pack('!HH', ERROR, 1) + b'no such file\0', peer)
            if not name:
                continue
            if b'tsize' in request:
                having.sendto(struct.pack('!H', OPTIONS) + b'tsize\x00600\0', peer)
            else:
                having.sendto(struct.pack('!HH', DATA, 1) + bytes(512), peer)


def boot(destination, name, options, bench, timeout_s):
    """A boot loader that knows no server: it takes the first who has the file."""
    bench.server(Loaders)
    with bench.lab.inside_of('inside'):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    client.bind((laboratory.INSIDE4, 0))
    client.settimeout(timeout_s or LONG_ENOUGH_S)
    client.sendto(struct.pack('!H', READ) + name + b'\0octet\0' + options,
                  (destination, bench.setting.port))

    def problem():
        heard = []
        with contextlib.closing(client):
            try:
                while True:
                    answer, peer = client.recvfrom(2048)
                    heard.append((peer, answer[:4]))
                    kind = struct.unpack_from('!H', answer)[0]
                    if kind == ERROR and not name:
                        return None
                    if kind in (DATA, OPTIONS):
                        client.sendto(struct.pack('!HH', ACK, kind == DATA), peer)
                        return None
            except TimeoutError:
                return f'only these have answered: {heard}'
    return problem


def boot_loaders():
    found = []
    for workers in (1, 3):
        # A network of its own (69 is the usual port): the servers have that port to themselves.
        setting = Setting(service='tftp', workers=workers, control_port=69)
        for name, *how in (('everybody', EVERYBODY, b'network-confg', b''),
                           ('subnet', SUBNET, b'x86pc/undionly.kpxe', b'tsize\x000\0'),
                           ('no-name', '192.0.2.3', b'', b''), ('no-name-everybody', EVERYBODY, b'', b'')):
            found += pair(f'tftp/{workers}-workers/boot-loader/{name}', setting,
                          functools.partial(boot, *how))
    return found


def cases():
    return (pairs('tftp/1-worker', ALL, workers=1) +
            pairs('tftp/3-workers', ALL, workers=3) +
            pairs('tftp/port-6969', FEW, control_port=6969) + boot_loaders())
