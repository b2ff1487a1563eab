# SPDX-License-Identifier: BSD-3-Clause
"""TFTP with real peers: the server answers each request from a port of its own choosing, so where
only the well-known port may be new, a transfer lives by its expectation."""

import hashlib

from cases import Case, expect
from middle import Setting
from peers import TftpTransfer

ALL = [TftpTransfer(client, family, upload) for client in ('curl', 'tftp') for family in (4, 6)
       for upload in (False, True)]
FEW = [TftpTransfer('tftp', 4), TftpTransfer('curl', 6)]

PATIENCE_S = 20
IMPATIENCE_S = 4


def digest(running, server):
    return hashlib.sha256(running.arrived(server)).hexdigest()


def passes(transfer):
    def check(bench):
        server = bench.server()
        filed = bench.filed_expectations()
        running = transfer.start(bench.lab, server.port, PATIENCE_S)
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
        started[bench] = transfer.start(bench.lab, server.port, IMPATIENCE_S)

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


def cases():
    return (pairs('tftp/1-worker', ALL, workers=1) +
            pairs('tftp/3-workers', ALL, workers=3) +
            pairs('tftp/port-6969', FEW, control_port=6969))
