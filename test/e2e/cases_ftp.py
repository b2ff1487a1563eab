# SPDX-License-Identifier: BSD-3-Clause
"""FTP with real clients: through a firewall that lets only control ports be new, each transfer
lives by one expectation; take the helper away and it dies."""

import time

from cases import Case, Failed, expect
from middle import Setting
from peers import FILE_BYTES, PASSIVE_PORTS, SteppedClient, StepError, Transfer

ALL = ([Transfer('curl', mode, 4) for mode in ('pasv', 'epsv', 'port', 'eprt')] +
       [Transfer('curl', mode, 6) for mode in ('epsv', 'eprt')] +
       [Transfer('lftp', mode, 4) for mode in ('pasv', 'epsv', 'port')] +
       [Transfer('lftp', mode, 6) for mode in ('epsv', 'eprt')] +
       [Transfer('curl', 'epsv', 4, upload=True), Transfer('curl', 'port', 4, upload=True)])
FEW = [Transfer('curl', 'pasv', 4), Transfer('curl', 'port', 4), Transfer('curl', 'epsv', 6),
       Transfer('curl', 'eprt', 6)]

LONG_ENOUGH_S = 20      # a transfer that should pass; it takes well under a second
SHORT_S = 4     # a transfer that should fail; long enough for two retransmitted SYNs


def passes(transfer):
    def check(bench):
        server = bench.server()
        filed = bench.filed_expectations()
        running = transfer.start(bench.lab, server.port, LONG_ENOUGH_S)
        problem = running.problem(server)
        expect(problem is None, problem)
        if filed is not None:
            now = bench.filed_expectations()
            wanted = 1 if bench.setting.helper else 0
            expect(now - filed == wanted,
                   f'{now - filed} expectations were filed, it should have been {wanted}')
    return check


def fails(transfer):
    started = {}

    def begin(bench):
        server = bench.server()
        started[bench] = transfer.start(bench.lab, server.port, SHORT_S)

    def check(bench):
        running = started.pop(bench)
        code = running.finish()
        expect(running.logged_in(), f'the control connection did not work:\n{running.said}')
        expect(running.asked_for_data(), f'the client did not use {transfer.mode.upper()}')
        expect(code != 0, 'the transfer passed, though nothing expected its data connection')
        expect(not running.arrived(bench.server()),
               'data came over, though nothing expected its connection')
        if bench.can('control-socket'):
            expect(not bench.middle.expectations(), 'there is an expectation without a helper')
            dropped = bench.middle.drops().get('policy', 0)
            expect(dropped > 0, 'the policy has dropped nothing')
    return begin, check


def different_workers(mode):
    """Control and data connection on different workers; which one a connection lives on follows
    from its addresses and ports, so repeat the transfer until they differ."""
    def check(bench):
        middle, server = bench.middle, bench.server()
        client = SteppedClient(bench.lab, port=server.port, name=f'step-{mode}')
        control = client.control
        rows = middle.connections(proto='tcp', sport=control['sport'], dport=control['dport'])
        expect(len(rows) == 1, f'the control connection has {len(rows)} rows: {rows}')
        control_worker = rows[0]['worker']
        for _ in range(32):
            if mode == 'passive':
                announced = client('announce epsv')
                wanted = {'dport': announced['port']}
                client('connect')
                data_worker = worker_of_child(middle, wanted)
                got = client('fetch file.bin')
            else:
                announced = client('listen eprt')
                wanted = {'dport': announced['port']}
                got = client('fetch file.bin')
                data_worker = worker_of_child(middle, wanted)
            expect(got['bytes'] == FILE_BYTES and got['sha256'] == server.digest,
                   f'the file that arrived is not the one that was sent: {got}')
            if data_worker != control_worker:
                bench.note(f'control connection on worker {control_worker}, '
                           f'data connection on worker {data_worker}')
                client.close()
                return
        raise Failed(f'32 data connections, all on worker {control_worker} like their control '
                     'connection')
    return check


def worker_of_child(middle, wanted):
    rows = middle.connections(proto='tcp', **wanted)
    expect(len(rows) == 1, f'the data connection {wanted} has {len(rows)} rows: {rows}')
    expect(rows[0].get('master'), f'the data connection has no master: {rows[0]}')
    return rows[0]['worker']


def expectation_is_seen(family, announce):
    """Between the announcement and the data connection the table shows exactly that pin-hole."""
    def check(bench):
        middle, server = bench.middle, bench.server()
        client = SteppedClient(bench.lab, family, server.port, f'step-{family}-{announce}')
        announced = client(f'announce {announce}')
        rows = [row for row in middle.expectations() if row['dport'] == announced['port']]
        expect(len(rows) == 1, f'{announced} announced; the table has {middle.expectations()}')
        row, control = rows[0], client.control
        shown = {key: row[key] for key in ('helper', 'proto', 'src', 'dst', 'sport')}
        wanted = {'helper': 'ftp', 'proto': 'tcp', 'src': control['src'], 'dst': control['dst'],
                  'sport': None}
        expect(shown == wanted, f'the expectation is {shown}, not {wanted}')
        master = {key: row['master'][key] for key in ('src', 'sport', 'dst', 'dport')}
        expect(master == control, f'its master is {master}, not {control}')
        client('connect')
        left = [row for row in middle.expectations() if row['dport'] == announced['port']]
        expect(not left, f'a claimed expectation is still there: {left}')
        child = middle.connections(proto='tcp', dport=announced['port'])
        expect(len(child) == 1 and child[0].get('master'), f'the child connection: {child}')
        client('fetch file.bin')
        client.close()
    return check


def expectation_is_used_once(bench):
    """A second connection to the announced port finds the pin-hole closed."""
    middle, server = bench.middle, bench.server()
    client = SteppedClient(bench.lab, port=server.port, name='step-once')
    client('announce epsv')
    first = client('connect')
    before = middle.drops().get('policy', 0)
    try:
        client('connect_again')
        raise Failed('a second connection came through the same pin-hole')
    except StepError:
        pass
    expect(middle.drops().get('policy', 0) > before, 'the policy has dropped nothing')
    expect(first['sport'] != 0, 'no first connection')


def expectation_ends_with_its_master(bench):
    """The client says goodbye after an announcement: nobody may use the pin-hole any more."""
    middle, server = bench.middle, bench.server()
    client = SteppedClient(bench.lab, port=server.port, name='step-gone')
    announced = client('announce epsv')
    expect(any(row['dport'] == announced['port'] for row in middle.expectations()),
           'the announcement was not seen')
    client('reset')
    bench.eventually(
        lambda: not any(row['dport'] == announced['port'] for row in middle.expectations()),
        'the expectation outlives its master')


def long_transfer(transfer):
    """The control connection is silent for longer than it may be; its child keeps it alive."""
    def check(bench):
        server, idle_s = bench.server(), bench.setting.idle_s
        begun = time.monotonic()
        running = transfer.start(bench.lab, server.port, LONG_ENOUGH_S,
                                 bytes_per_s=FILE_BYTES // (4 * idle_s))
        problem = running.problem(server)
        took_s = time.monotonic() - begun
        expect(problem is None, problem)
        expect(took_s > 2 * idle_s, f'the transfer took only {took_s:.1f} s')
        kept = sum(row['value'] for row in bench.middle.ctl('stats')
                   if row['name'] == 'masters_kept')
        expect(kept > 0, 'no activity was told to the master')
        bench.note(f'{took_s:.1f} s with a timeout of {idle_s} s; told the master {kept} times')
    return check


def encrypted_passes(transfer):
    """What is announced nobody could read; it lies in the range, which ends with its session."""
    def check(bench):
        server, middle = bench.server(), bench.middle
        blind = helper_counter(middle, 'blind_encrypted')
        for _ in range(2):  # a second session does not fall over the first one's range
            problem = transfer.start(bench.lab, server.port, LONG_ENOUGH_S).problem(server)
            expect(problem is None, problem)
        expect(helper_counter(middle, 'blind_encrypted') == blind + 2, 'a session was not encrypted')
        expect(helper_counter(middle, 'encrypted_ranges') >= 2, 'no range was opened')
        bench.eventually(lambda: not middle.expectations(), 'a range outlives its session')
    return check


def encrypted_fails(transfer):
    started = {}

    def begin(bench):
        started[bench] = transfer.start(bench.lab, bench.server().port, SHORT_S)

    def check(bench):
        running = started.pop(bench)
        expect(running.finish() != 0, 'the transfer passed, though nothing expected its data')
        expect(running.asked_for_data(), f'the client did not use {transfer.mode.upper()}')
        expect(helper_counter(bench.middle, 'blind_encrypted') > 0, 'it was not encrypted')
        expect(not bench.middle.expectations(), 'there is an expectation that nobody announced')
    return begin, check


def helper_counter(middle, name):
    return middle.ctl('helper', 'list')[0]['counters'][name]


def encrypted():
    transfers = [Transfer('curl', 'epsv', 4, tls=True), Transfer('lftp', 'epsv', 6, tls=True)]
    ranged = Setting(workers=3, server='vsftpd-tls', params=(('encrypted_passive', PASSIVE_PORTS),))
    plain = Setting(workers=1, server='vsftpd-tls')
    needs = frozenset({'helper', 'control-socket'})
    for transfer in transfers:
        begin, check = encrypted_fails(transfer)
        yield Case(f'ftp/{transfer.name()}/range', ranged, encrypted_passes(transfer), needs=needs)
        yield Case(f'ftp/{transfer.name()}/no-range', plain, check, begin, needs)


def transfer_of(words):
    client, mode, family = words.split('/')
    return Transfer(client, mode, int(family))


def pairs(prefix, transfers, **setting):
    """Each transfer twice: it passes with the helper, it fails without."""
    found = []
    for transfer in transfers:
        with_helper = Setting(helper=True, **setting)
        found.append(Case(f'{prefix}/{transfer.name()}/helper', with_helper, passes(transfer),
                          needs=frozenset({'helper'})))
        without = Setting(helper=False, **setting)
        if setting.get('policy') == 'inside' and not transfer.active:
            # Its data connection comes from inside, where everything may be new.
            found.append(Case(f'{prefix}/{transfer.name()}/no-helper-needed', without,
                              passes(transfer), needs=frozenset({'no-helper'})))
            continue
        begin, check = fails(transfer)
        found.append(Case(f'{prefix}/{transfer.name()}/no-helper', without, check, begin,
                          frozenset({'no-helper'})))
    return found


def cases():
    found = pairs('ftp/1-worker', ALL, workers=1)
    found += pairs('ftp/3-workers', ALL, workers=3)
    found += pairs('ftp/inside-may-be-new', ALL, workers=2, policy='inside')
    found += pairs('ftp/port-2121', FEW, control_port=2121)
    found += pairs('ftp/vlan', FEW, vlan=7)
    for server, with_helper, without in (
            ('vsftpd', ('ftp/pasv/4', 'ftp/port/4', 'ftp/eprt/6'), ()),
            ('proftpd', ('ftp/pasv/4', 'ftp/eprt/6', 'curl/port/4', 'lftp/epsv/6'),
             ('curl/epsv/4', 'ftp/port/4')),
            ('pure-ftpd', ('ftp/epsv/6', 'ftp/port/4', 'curl/pasv/4', 'lftp/eprt/6'),
             ('ftp/pasv/4', 'curl/eprt/6'))):
        setting = {'workers': 3} if server == 'vsftpd' else {'workers': 2, 'server': server}
        passing = [transfer_of(words) for words in with_helper]
        failing = [transfer_of(words) for words in without]
        found += [case for case in pairs(f'ftp/{server}', passing, **setting)
                  if case.setting.helper or not failing]
        found += [case for case in pairs(f'ftp/{server}', failing, **setting)
                  if not case.setting.helper]
    with_tables = frozenset({'control-socket'})
    three = Setting(workers=3)
    for mode in ('passive', 'active'):
        found.append(Case(f'ftp/different-workers/{mode}', three, different_workers(mode),
                          needs=with_tables))
    for family, announce in ((4, 'pasv'), (4, 'epsv'), (6, 'epsv')):
        found.append(Case(f'ftp/expectation-is-seen/{announce}/ipv{family}', three,
                          expectation_is_seen(family, announce), needs=with_tables))
    found.append(Case('ftp/expectation-is-used-once', three, expectation_is_used_once,
                      needs=with_tables))
    found.append(Case('ftp/expectation-ends-with-its-master', three,
                      expectation_ends_with_its_master, needs=with_tables))
    for transfer in (Transfer('lftp', 'epsv', 4), Transfer('lftp', 'port', 4),
                     Transfer('lftp', 'epsv', 6)):
        found.append(Case(f'ftp/long-transfer/{transfer.name()}', Setting(workers=3, idle_s=2),
                          long_transfer(transfer), needs=with_tables))
    found += encrypted()
    return found
