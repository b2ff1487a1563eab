# SPDX-License-Identifier: BSD-3-Clause
"""Flow records: of an FTP transfer, in a file and at a collector of IPFIX (nfcapd)."""

import json
import os
import shutil

from cases import Case, expect
from cases_seeing import knock, log_lines
from middle import Postern, Setting, configuration
from peers import FtpServer, Transfer

IPFIX_PORT = 4739  # of a namespace of its own


def recording(lab, flows):
    config = configuration(Setting(workers=2), lab.path('postern.sock'))
    config['timeouts']['tcp']['time_wait'] = 1
    config['timeouts']['tcp']['close'] = 1
    config['log'] = {'default': 'yes', 'file': {'path': lab.path('flows.jsonl')},
                     'ipfix': {'collector': f'127.0.0.1:{IPFIX_PORT}', 'templates': '1s'}}
    if flows:
        config['log']['flows'] = 'end'
    return config


def start_collector(bench):
    """nfcapd, when it listens; and its folder."""
    folder = bench.lab.path('nfcapd')
    os.makedirs(folder)
    bench.lab.ip('middle', 'link', 'set', 'lo', 'up')
    process = bench.lab.start('nfcapd', 'middle', shutil.which('nfcapd'), '-b', '127.0.0.1',
                              '-p', str(IPFIX_PORT), '-w', folder, '-t', '3600')
    bench.eventually(lambda: f':{IPFIX_PORT} ' in bench.lab.do('middle', 'ss', '-ulnH').stdout,
                     'nfcapd does not listen')
    return process, folder


def collected(bench, process, folder):
    """Records as nfdump prints them, when nfcapd has written its file."""
    process.stop(timeout=20)  # TERM: it writes its file
    done = bench.lab.do('middle', 'nfdump', '-q', '-R', folder, '-o', 'json')
    # Objects, with commas in between.
    return json.loads(f'[{done.stdout}]')


def transfer(bench):
    server = FtpServer(bench.lab)
    problem = Transfer('curl', 'epsv', 4).start(bench.lab, server.port, 20).problem(server)
    expect(problem is None, problem)
    knock(bench.lab, 4444)
    return server


def flows_are_recorded(bench):
    """The control connection and the data connection, with the same numbers in both places."""
    lab = bench.lab
    process, folder = start_collector(bench)
    daemon = Postern(config=recording(lab, True)).start(lab)
    server = transfer(bench)

    def ended():
        return [row for row in log_lines(lab.path('flows.jsonl')) if row['event'] == 'destroy']
    bench.eventually(lambda: {row['expected_by'] for row in ended()} == {None, 'ftp'},
                     'the connections of a transfer are not recorded')
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')
    control = [row for row in ended() if row['dport'] == server.port]
    data = [row for row in ended() if row['expected_by'] == 'ftp']
    expect(len(control) == 1 and control[0]['helper'] == 'ftp' and
           control[0]['rule'] == 'ftp-control' and control[0]['replied'], f'control: {control}')
    expect(data and all(row['master_id'] == control[0]['id'] and row['from'] == 'inside' and
                        row['start'] <= row['end'] for row in data), f'data: {data}')

    records = collected(bench, process, folder)
    flows = [r for r in records if r.get('proto') == 6]
    for row in control + data:
        same = [r for r in flows if r['src_port'] == row['sport'] and r['dst_port'] == row['dport'] and
                r['in_packets'] == row['packets_original'] and r['in_bytes'] == row['bytes_original']]
        expect(len(same) == 1, f'{row}\nis not once in\n{records}')
    knocks = [r for r in records if r.get('proto') == 17 and r['dst_port'] == 4444]
    expect(len(knocks) == 1 and knocks[0]['in_packets'] == 1, f'the refused packet: {records}')


def no_flows(bench):
    """The same without `flows`: records of packets only."""
    lab = bench.lab
    process, folder = start_collector(bench)
    daemon = Postern(config=recording(lab, False)).start(lab)
    transfer(bench)
    bench.eventually(lambda: not daemon.connections(), 'connections stay')
    expect(daemon.terminate() == 0, 'it did not end with exit code 0')
    expect({row['event'] for row in log_lines(lab.path('flows.jsonl'))} == {'packet'},
           'records of connections')
    records = collected(bench, process, folder)
    expect([r['dst_port'] for r in records] == [4444], f'{records}')


def cases():
    daemon = frozenset({'control-socket', 'helper'})
    return [Case('flows/recorded', None, flows_are_recorded, needs=daemon),
            Case('flows/not-recorded', None, no_flows, needs=daemon)]
