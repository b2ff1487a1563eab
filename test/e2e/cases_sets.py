# SPDX-License-Identifier: BSD-3-Clause
"""Rules with sets, which commands change while the daemon runs."""

import json

import lab as laboratory
from cases import SHORT_S, Case, expect
from middle import Postern, Setting, configuration
from peers import SLOWLY, FtpServer, SteppedClient, Transfer

HERE4 = laboratory.INSIDE4
ELSEWHERE = '198.51.100.7'


def with_set(lab, entries=(), **keys):
    """The usual configuration; control connections pass from the addresses of a set."""
    config = configuration(Setting(), lab.path('postern.sock'))
    config['sets'] = [{'name': 'guests', 'entries': [*entries], **keys}]
    [rule] = [rule for rule in config['policy']['rules'] if rule['name'] == 'ftp-control']
    rule['src'] = 'guests'
    return config


def passes(lab, server):
    problem = Transfer('curl', 'epsv', 4).start(lab, server.port, 20).problem(server)
    expect(problem is None, problem)


def fails(lab, server, daemon, why):
    before = daemon.drops().get('policy', 0)
    problem = Transfer('curl', 'epsv', 4).start(lab, server.port, SHORT_S).problem(server)
    expect(problem is not None, why)
    expect(daemon.drops().get('policy', 0) > before, 'the policy has dropped nothing')


def added(bench):
    """An address that is added passes, and deleted it passes no more."""
    lab = bench.lab
    daemon = Postern(config=with_set(lab, [ELSEWHERE])).start(lab)
    server = FtpServer(lab)
    [row] = daemon.ctl('set', 'add', 'guests', HERE4, '2001:db8::/32', 'timeout=1h')
    expect((row['added'], row['entries']) == (2, 3), row)
    passes(lab, server)
    expect({(row['entry'], (row['timeout_s'] or 0) > 3500) for row in daemon.ctl('set', 'list', 'guests')} ==
           {(ELSEWHERE, False), (HERE4, True), ('2001:db8::/32', True)}, 'set list shows other entries')
    [row] = daemon.ctl('set', 'delete', 'guests', HERE4)
    expect(row['deleted'] == 1, row)
    fails(lab, server, daemon, 'a deleted address passes')


def not_added(bench):
    lab = bench.lab
    daemon = Postern(config=with_set(lab, [ELSEWHERE])).start(lab)
    server = FtpServer(lab)
    [row] = daemon.ctl('set', 'add', 'guests', '192.0.2.250')
    expect(row['added'] == 1, row)
    fails(lab, server, daemon, 'it passes without its address')


def deleted(recheck):
    """A connection goes on if its address is deleted; with `recheck` it ends."""
    def check(bench):
        lab = bench.lab
        daemon = Postern(config=with_set(lab, [HERE4])).start(lab)
        server = FtpServer(lab)
        running = Transfer('lftp', 'epsv', 4).start(lab, server.port, 8 if recheck else 30, SLOWLY)
        bench.eventually(lambda: [row for row in daemon.connections(proto='tcp') if row.get('master')],
                         'no data connection is seen')
        daemon.ctl('set', 'delete', 'guests', HERE4, *(['recheck=true'] if recheck else []))
        if recheck:
            bench.eventually(lambda: not daemon.connections(proto='tcp'), 'the session goes on')
            expect(running.problem(server) is not None, 'the transfer came to its end')
        else:
            problem = running.problem(server)
            expect(problem is None, f'the session that ran: {problem}')
        fails(lab, server, daemon, 'a deleted address passes')
    return check


def stays(bench):
    """A set keeps its contents over a load; it is forgotten with a confirmed configuration without it."""
    lab = bench.lab
    config = with_set(lab)
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    lab.write('guests.txt', f'# ours\n{ELSEWHERE}\n{HERE4} timeout 1h\n')
    [row] = daemon.ctl('set', 'load', 'guests', lab.path('guests.txt'))
    expect(row['entries'] == 2, row)
    file = lab.write('next.yaml', json.dumps({**config, 'timeouts': {'udp': {'stream': 100}}}))
    daemon.ctl('config', 'load', file)
    passes(lab, server)
    bare = configuration(Setting(), lab.path('postern.sock'))
    daemon.ctl('config', 'load', lab.write('bare.yaml', json.dumps(bare)), 'confirm=1s')
    bench.eventually(lambda: daemon.ctl('set', 'count'), 'it does not go back')
    client = SteppedClient(lab, port=server.port, name='step-back')
    client('noop')
    client.close()
    daemon.ctl('config', 'load', lab.write('bare.yaml', json.dumps(bare)))
    daemon.ctl('config', 'load', file)
    fails(lab, server, daemon, 'a forgotten set has its contents')


def cases():
    daemon = frozenset({'control-socket'})
    return [Case(f'sets/{name}', None, check, needs=daemon) for name, check in (
        ('added', added),
        ('not-added', not_added),
        ('deleted/keep', deleted(False)),
        ('deleted/recheck', deleted(True)),
        ('stays', stays))]
