# SPDX-License-Identifier: BSD-3-Clause
"""Captures, traces, `top`: what tshark reads of a capture, bounds, ends, who is refused."""

import json
import os
import shutil
import signal
import stat

import lab as laboratory
from cases import Case, expect
from cases_seeing import knock
from middle import Postern, Setting, configuration
from peers import SLOWLY, FtpServer, Transfer

FIELDS = ('frame.comment', 'frame.interface_name', 'frame.packet_flags_direction', 'tcp.dstport',
          'udp.dstport', 'frame.len', 'ip.src')


def tshark(path, *conditions):
    """The packets of a file as tshark reads it, a dictionary each."""
    argv = ['tshark', '-r', path, '-n', '-T', 'fields', '-E', 'separator=/t']
    for field in FIELDS:
        argv += ['-e', field]
    for condition in conditions:
        argv += ['-Y', condition]
    lines = laboratory.run(*argv).stdout.splitlines()
    packets = [dict(zip(FIELDS, line.split('\t'))) for line in lines]
    for packet in packets:
        direction = packet['frame.packet_flags_direction']
        packet['direction'] = int(direction, 0) if direction else 0
    return packets


def capture(daemon, name, path, *words):
    """Starts a capture into a file, and waits until it runs."""
    process = daemon.lab.start(name, 'middle', *daemon.ctl_argv('capture', '-w', path, *words))
    process.await_output('capturing to')
    return process


def totals(process):
    return json.loads(process.stderr.splitlines()[-1])


def stopped(process):
    """Ends a capture as Ctrl-C does; its totals."""
    process.signal(signal.SIGINT)
    expect(process.wait(10) == 0, f'the capture ended with {process.popen.returncode}')
    return totals(process)


def sum_of(daemon, name):
    return sum(row['value'] for row in daemon.ctl('stats', '--all') if row['name'] == name)


def ftp_and_drops(bench):
    """An FTP transfer and what policy drops, in one file: comments, interfaces, counts, payload."""
    if shutil.which('tshark') is None:
        return
    lab = bench.lab
    daemon = Postern(config=configuration(Setting(workers=2), lab.path('postern.sock'))).start(lab)
    server = FtpServer(lab)
    path, drops = lab.path('ftp.pcapng'), lab.path('drops.pcapng')
    whole = capture(daemon, 'capture-ip', path, 'ip and (tcp or udp)')
    dropped = capture(daemon, 'capture-drops', drops, 'reason=policy')
    problem = Transfer('curl', 'epsv', 4).start(lab, server.port, 20).problem(server)
    expect(problem is None, problem)
    knock(lab, 4444, 3)
    bench.eventually(lambda: daemon.drops().get('policy', 0) >= 3, 'the knocks passed')
    mine, theirs = stopped(whole), stopped(dropped)
    expect(stat.S_IMODE(os.stat(path).st_mode) == 0o600, 'others may read the capture')
    packets = tshark(path)
    expect(len(packets) == mine['packets'] and mine['lost'] == 0, f'{len(packets)} of {mine}')
    came = [p for p in packets if p['frame.comment'] and p['direction'] == 1]
    left = [p for p in packets if p['direction'] == 2]
    control = [p['frame.comment'] for p in came if p['tcp.dstport'] == str(server.port)]
    expect(control[0].startswith('accept new [ftp-control] connection ') and
           control[0].endswith(' original syn_sent helper ftp'), f'the first packet: {control[0]}')
    data = [p['frame.comment'] for p in packets if '[ftp-data]' in p['frame.comment']]
    expect(data and data[0].startswith('accept related [ftp-data]') and
           'expected by ftp' in data[0], f'the data connection: {data[:1]}')
    knocks = [p for p in came if p['udp.dstport'] == '4444']
    # At `receive`, and at `drop`.
    expect([p['frame.comment'] for p in knocks] == ['DROP new [policy: default]'] * 6 and
           all(p['frame.interface_name'] == 'in0' for p in knocks), f'dropped: {knocks}')
    expect(not any(p['udp.dstport'] == '4444' for p in left), 'a dropped packet left')
    expect(len(came) - len(knocks) // 2 == len(left) + 3, f'{len(came)} came, {len(left)} left')
    expect({p['frame.interface_name'] for p in left} == {'in0', 'out0'}, 'interfaces of what left')
    only = tshark(drops)
    expect(theirs['packets'] == len(only) >= 3 and
           all(p['frame.comment'].startswith('DROP new [policy: ') for p in only), f'drops: {only}')
    shown = daemon.text('capture', 'arp', 'time=1s')
    expect('the bound of time is reached' in shown, f'as columns: {shown}')
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def bounds(bench):
    """Packets, bytes and time end a capture by themselves; a pipe gets the same bytes."""
    lab = bench.lab
    daemon = Postern(config=configuration(Setting(), lab.path('postern.sock'))).start(lab)
    udp = 'udp dst port 4444'
    by_packets = capture(daemon, 'by-packets', lab.path('p.pcapng'), udp, 'at=receive', 'packets=3')
    by_bytes = capture(daemon, 'by-bytes', lab.path('b.pcapng'), udp, 'at=receive', 'bytes=100')
    by_time = capture(daemon, 'by-time', lab.path('t.pcapng'), udp, 'time=1s')
    piped = lab.start('piped', 'middle', 'sh', '-c', '"$@" | cat > ' + lab.path('pipe.pcapng'), 'sh',
                      *daemon.ctl_argv('capture', '-w', '-', udp, 'at=receive', 'packets=2'))
    piped.await_output('capturing to')
    knock(lab, 4444, 5)
    for process, cause, packets in ((by_packets, 'packets', 3), (by_bytes, 'bytes', 2),
                                    (by_time, 'time', None), (piped, 'packets', 2)):
        expect(process.wait(20) == 0, f'{process.name} ended with {process.popen.returncode}')
        end = totals(process)
        expect(end['cause'] == cause and packets in (None, end['packets']), f'{process.name}: {end}')
    if shutil.which('tshark'):
        expect(len(tshark(lab.path('p.pcapng'))) == 3 and len(tshark(lab.path('b.pcapng'))) == 2 and
               len(tshark(lab.path('pipe.pcapng'))) == 2, 'files and totals differ')
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def killed_clients(bench):
    """A killed or a stopped client stalls nothing and leaves nothing; there are few at once."""
    lab = bench.lab
    daemon = Postern(config=configuration(Setting(), lab.path('postern.sock'))).start(lab)
    clients = [capture(daemon, f'client-{n}', lab.path(f'{n}.pcapng')) for n in range(4)]
    more = lab.do('middle', *daemon.ctl_argv('capture', '-w', lab.path('more.pcapng')), check=False)
    expect(more.returncode == 2 and '4 captures' in more.stderr, f'a fifth one: {more}')
    expect(not os.path.exists(lab.path('more.pcapng')), 'a refused capture made a file')
    expect(sum_of(daemon, 'captures') == 4, 'captures')
    clients[0].signal(signal.SIGSTOP)  # it reads no more
    for client in clients[1:]:
        client.signal(signal.SIGKILL)
    bench.eventually(lambda: sum_of(daemon, 'captures') == 1, 'killed clients capture on')
    before = daemon.drops().get('policy', 0)
    knock(lab, 4444, 5)
    bench.eventually(lambda: daemon.drops().get('policy', 0) >= before + 5, 'the worker stalls')
    clients[0].signal(signal.SIGKILL)
    bench.eventually(lambda: sum_of(daemon, 'captures') + sum_of(daemon, 'captures_ending') == 0,
                     'a capture is left')
    records = sum_of(daemon, 'capture_records')
    knock(lab, 4444)
    bench.eventually(lambda: daemon.drops().get('policy', 0) >= before + 6, 'the knock passed')
    expect(sum_of(daemon, 'capture_records') == records, 'packets are recorded for nobody')
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def refused(bench):
    """The reading socket captures nothing; a wrong filter or bound is an error, and makes no file."""
    lab = bench.lab
    config = configuration(Setting(), lab.path('postern.sock'))
    config['control']['read_socket'] = lab.path('read.sock')
    daemon = Postern(config=config).start(lab)
    path = lab.path('no.pcapng')
    reading = [*daemon.ctl_argv('capture', '-w', path), '-s', lab.path('read.sock')]
    tracing = [*daemon.ctl_argv('trace'), '-s', lab.path('read.sock')]
    for argv, text in ((reading, 'only reads'), (tracing, 'only reads'),
                       (daemon.ctl_argv('capture', '-w', path, 'tcp', 'prot', '21'), 'filter '),
                       (daemon.ctl_argv('capture', '-w', path, 'at=send'), 'at: expected'),
                       (daemon.ctl_argv('capture', '-w', path, 'snap=5'), 'snap: expected'),
                       (daemon.ctl_argv('drops', '-w', path), '-w is for')):
        done = lab.do('middle', *argv, check=False)
        expect(done.returncode == 2 and text in done.stderr, f'{argv}: {done}')
    expect(not os.path.exists(path), 'a refused capture made a file')
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def trace_shows(bench):
    """The way of an FTP session's packets: rule, connection, helper; of a dropped one the reason."""
    lab = bench.lab
    daemon = Postern(config=configuration(Setting(workers=2), lab.path('postern.sock'))).start(lab)
    server = FtpServer(lab)
    tracer = lab.start('tracer', 'middle', *daemon.ctl_argv('trace', f'tcp port {server.port} or udp'))
    tracer.await_output('listening')
    problem = Transfer('curl', 'epsv', 4).start(lab, server.port, 20).problem(server)
    expect(problem is None, problem)
    knock(lab, 4444)

    def rows():
        return [json.loads(line) for line in tracer.stdout.splitlines() if line.endswith('}')]
    bench.eventually(lambda: any(row.get('reason') == 'policy' for row in rows()), 'no trace of the drop')
    tracer.stop()
    packets = {}
    for row in rows():
        packets.setdefault(row.get('packet'), []).append(row)
    ways = [way for number, way in packets.items() if number and way[-1]['event'] == 'verdict']
    ends = [way[-1] for way in ways]
    first = [way for way in ways if way[-1]['rule'] == 'ftp-control' and way[-1]['state'] == 'new']
    expect(len(first) == 1, f'the first packet: {first}')
    texts = {row['stage']: row['text'] for row in first[0]}
    expect(texts['policy'] == 'rule ftp-control: accept' and
           texts['commit'].startswith('accepted, begins connection ') and
           texts['forward'] == 'to port out0', f'its way: {texts}')
    expect(first[0][-1]['helper'] == 'ftp' and first[0][-1]['id'], f'its end: {first[0][-1]}')
    read = [way for way in ways if any('read by helper ftp' in row.get('text', '') for row in way)]
    expect(read and all(way[-1]['verdict'] == 'accept' for way in read), 'no packet was read')
    dropped = [end for end in ends if end['verdict'] == 'drop']
    expect(dropped and all(end['reason'] == 'policy' and end['rule'] == 'default'
                           for end in dropped), f'dropped: {dropped}')
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def top_shows(bench):
    """Who sends, by which rule, how much; and whose packets a limit drops."""
    lab = bench.lab
    config = configuration(Setting(workers=2, policy='inside'), lab.path('postern.sock'))
    config['limits']['per_source'] = {'new_per_second': 1}
    daemon = Postern(config=config).start(lab)
    server = FtpServer(lab)
    running = Transfer('lftp', 'epsv', 4).start(lab, server.port, 60, SLOWLY)
    bench.eventually(lambda: any(row['bytes_reply'] > 0 for row in daemon.connections(rule='ftp-data')),
                     'no data flows')
    by_rule = {row['name']: row for row in daemon.ctl('top', 'rules', 'period=1s')}
    expect(by_rule['ftp-data']['bytes_s'] > 1000 and by_rule['ftp-data']['connections'] == 1,
           f'the data connection: {by_rule}')
    expect(next(iter(by_rule)) == 'ftp-data', f'the first one: {by_rule}')
    sources = daemon.ctl('top', 'period=0', 'by=connections', 'proto=tcp')
    expect([row['name'] for row in sources] == [laboratory.INSIDE4] and
           sources[0]['connections'] == len(daemon.connections(proto='tcp')) and
           sources[0]['bytes_s'] is None, f'sources: {sources}')
    expect(daemon.ctl('top', 'destinations', 'period=0', 'rule=ftp-control')[0]['name'] ==
           laboratory.OUTSIDE4, 'destinations')
    limits = lab.start('limits', 'middle', *daemon.ctl_argv('top', 'limits', 'period=10s'))
    bench.eventually(lambda: sum_of(daemon, 'captures') == 1, 'top limits does not run')
    before = daemon.drops().get('source_rate', 0)
    while daemon.drops().get('source_rate', 0) < before + 2 and limits.running():
        knock(lab, 4444, 3)
    expect(limits.wait(30) == 0, 'top limits failed')
    rows = [json.loads(line) for line in limits.stdout.splitlines()]
    expect(rows and rows[0]['name'] == laboratory.INSIDE4 and rows[0]['reason'] == 'source_rate' and
           rows[0]['dropped'] >= 2, f'limits: {rows}')
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')


def cases():
    daemon = frozenset({'control-socket', 'helper'})
    return [
        Case('capture/ftp', None, ftp_and_drops, needs=daemon),
        Case('capture/bounds', None, bounds, needs=daemon),
        Case('capture/killed', None, killed_clients, needs=daemon),
        Case('capture/refused', None, refused, needs=daemon),
        Case('capture/trace', None, trace_shows, needs=daemon),
        Case('capture/top', None, top_shows, needs=daemon),
    ]
