# SPDX-License-Identifier: BSD-3-Clause
"""What an operator meets: mistakes in devices and CPUs, the shape of each command's answer."""

import json
import os
import re

import lab as laboratory
from cases import Case, expect
from cases_control import check_refuses
from cases_operation import refuses, variant
from cases_seeing import knock
from middle import POSTERN, POSTERNCTL, Postern, Setting
from peers import FtpServer, SteppedClient

RUNTIME_FAILURE = 1
WIDTH = 80


def device(name, number=0):
    def change(config):
        config['ports'][number]['device'] = name
    return change


def same_interface(config):
    config['ports'][1]['device'] = 'net_af_packet1,iface=pst-in'


def no_such_cpu(config):
    config['workers']['cpus'] = [999]


def no_such_main_cpu(config):
    config['workers']['main_cpu'] = 998


def huge_pages(config):
    # More than the machine can have reserved.
    config['eal'] = {'hugepages': 'yes', 'memory_mb': 1048576}


def wrong_eal_argument(config):
    config['eal']['args'] = ['--no-such-option']


def brief(change, *words):
    """The daemon does not start, and says why in a few lines, without DPDK's usage."""
    def check(bench):
        refuses(change, RUNTIME_FAILURE, *words)(bench)
        path = bench.lab.write('brief.yaml', json.dumps(variant(bench.lab, change)))
        done = bench.lab.do('middle', POSTERN, 'run', path, check=False)
        said = done.stdout + done.stderr
        expect(len(said.splitlines()) < 10, f'{len(said.splitlines())} lines:\n{said}')
        expect('EAL common options' not in said, said)
    return check


def two_daemons(bench):
    """A second daemon on an interface of the first one does not start, and names the first."""
    first = bench.middle = Postern(Setting()).start(bench.lab)
    config = variant(bench.lab, lambda config: None, name='second')
    path = bench.lab.write('second.yaml', json.dumps(config))
    done = bench.lab.do('middle', POSTERN, 'run', path, check=False)
    expect(done.returncode == RUNTIME_FAILURE, f'exit code {done.returncode}')
    expect(re.search(rf'another postern \(pid {first.process.popen.pid}\) uses the interface pst-in',
                     done.stdout + done.stderr), done.stdout + done.stderr)
    # Killed, it lets go of them.
    first.process.stop()
    Postern(config=config, name='second').start(bench.lab).terminate()


def text_of(daemon, *words):
    done = laboratory.run(*daemon.ctl_argv(*words, as_json=False), check=False)
    expect(done.returncode == 0, f'{words}: {done.stderr}')
    return done.stdout.splitlines()


# Columns that only some rows fill.
SOMETIMES = {'PROCESS', 'GOES_BACK_IN_S'}
# Commands that cannot be run without more: what follows them.
ARGUMENTS = {'port show': ['in0'], 'complete': ['command=conntrack list', 'argument=state']}


def shapes(bench):
    """Each command that reads is run: its titles are those it describes, its lines fit."""
    daemon = bench.middle
    client = SteppedClient(bench.lab, port=bench.server().port, name='step-shapes')
    client('announce epsv')
    seen = 0
    for command in daemon.ctl('help'):
        name = command['command']
        if (command['effect'] != 'read' or command['endless'] or command['file'] != 'none' or
                name == 'help'):  # its text is another one
            continue
        words = name.split() + ARGUMENTS.get(name, [])
        rows = daemon.ctl(*words)
        lines = text_of(daemon, *words)
        seen += 1
        if not rows:
            expect(lines == [], f'{name}: titles without rows: {lines}')
            continue
        described = [column['title'] for column in command['columns']]
        shown = lines[0].split() if lines else described
        expect(shown == [title for title in described if title in shown],
               f'{name}: {shown} of {described}')
        for line in lines:
            # A path at its end is not broken.
            expect(len(line) <= WIDTH or len(line.split()[-1]) > WIDTH // 3,
                   f'{name}: {len(line)} columns: {line}')
        wide = text_of(daemon, '--wide', '--all', *words)
        expect(wide[0].split() == described, f'{name} --wide: {wide[0]}')
        expect(len(wide) == len(rows) + 1, f'{name}: {len(wide)} lines, {len(rows)} rows')
        for column in command['columns']:
            known = any(field.split('.')[0] in row for row in rows for field in column['fields'])
            expect(known or column['title'] in SOMETIMES, f'{name}: no row fills {column}')
        text = '\n'.join(text_of(daemon, *words, '--help'))
        expect(max(map(len, text.splitlines())) <= WIDTH, text)
    expect(seen > 12, f'{seen} commands')
    client.close()


def numbers_of_devices(bench):
    """Ports, workers and memory tell what they do."""
    daemon = bench.middle
    client = SteppedClient(bench.lab, port=bench.server().port, name='step-devices')
    client('announce epsv')
    ports = daemon.ctl('port', 'list')
    expect(all(re.fullmatch('([0-9A-F]{2}:){5}[0-9A-F]{2}', row['mac']) for row in ports), ports)
    fields = {row['field']: row['value'] for row in daemon.ctl('port', 'show', 'IN0')}
    expect(fields['rx_packets'] > 0 and fields['rx_bytes'] > 60, fields)

    def drops_at(name):
        return {row['field']: row['value'] for row in daemon.ctl('port', 'show', name)}.get(
            'drops_policy', 0)
    # Other cases use this firewall, too, and some of their packets come late.
    before = {row['name']: drops_at(row['name']) for row in ports}
    knock(bench.lab, 9, count=3)
    bench.eventually(lambda: drops_at('in0') >= before['in0'] + 3,
                     'three knocks, and no three drops of in0')
    expect(all(drops_at(name) < drops + 3 for name, drops in before.items() if name != 'in0'),
           before)
    done = laboratory.run(*daemon.ctl_argv('port', 'show', 'in1'), check=False)
    expect(done.returncode == 2 and "did you mean 'in0'" in done.stderr, done.stderr)
    workers = daemon.ctl('worker', 'list')
    expect(sum(row['packets'] for row in workers) > 5, workers)
    expect(all(0 <= row['busy_percent'] <= 100 for row in workers), workers)
    expect(any(row['longest_turn_us'] > 0 for row in workers), workers)
    latency = daemon.ctl('latency')
    expect(sum(row['packets'] for row in latency) > 5 and latency[-1]['up_to_percent'] == 100,
           latency)
    expect(latency[0]['packets'] == 0, f'packets that took no time: {latency[0]}')
    memory = {row['part']: row for row in daemon.ctl('memory')}
    expect(memory['connections']['used'] >= 1, memory)
    expect(memory['expectations']['used'] >= 1 and memory['expectations']['max'] > 1, memory)
    expect(memory['packet buffers']['mb'] > 0, memory)
    expect(0 < memory["DPDK's memory, in MiB"]['used'] <= memory["DPDK's memory, in MiB"]['max'],
           memory)
    client.close()


def support(bench):
    """One archive for a bug report, without addresses of connections."""
    client = SteppedClient(bench.lab, port=bench.server().port, name='step-support')
    client('announce epsv')
    path = bench.lab.path('report.tar')
    laboratory.run(POSTERNCTL, '-s', bench.middle.socket_path, 'support', path)
    names = laboratory.run('tar', 'tf', path).stdout.split()
    for name in ('machine.txt', 'stats.json', 'drops.json', 'port-list.json', 'config-show.json'):
        expect(f'postern-support/{name}' in names, names)
    expect('postern-support/set-list.json' not in names, 'the addresses of sets')
    content = laboratory.run('tar', 'xOf', path).stdout
    for address in (laboratory.INSIDE4, laboratory.OUTSIDE4):
        expect(address not in content, f'{address} is in the archive: ' + next(
               (line for line in content.splitlines() if address in line), ''))
    expect(os.stat(path).st_mode & 0o777 == 0o600, 'others may read it')
    client.close()


def helper_goes_and_comes(bench):
    """A helper that was removed is listed as such, and a load brings it back."""
    daemon = bench.middle = Postern(Setting()).start(bench.lab)
    expect([row['state'] for row in daemon.ctl('helper', 'list')] == ['active'], 'at the start')
    daemon.ctl('helper', 'remove', 'ftp')
    expect([row['state'] for row in daemon.ctl('helper', 'list')] == ['removed'], 'removed')
    expect('removed' in daemon.text('helper', 'list'), daemon.text('helper', 'list'))
    daemon.ctl('config', 'load', daemon.config_path)
    expect([row['state'] for row in daemon.ctl('helper', 'list')] == ['active'], 'loaded again')
    server = FtpServer(bench.lab)
    client = SteppedClient(bench.lab, port=server.port, name='step-back')
    client('announce epsv')
    expect(len(daemon.expectations()) == 1, 'it expects nothing')
    client.close()


def cases():
    daemon = frozenset({'control-socket'})
    own = (
        ('interface-for-a-device', check_refuses(device('pst-in'),
                                                 'net_af_packet0,iface=pst-in')),
        ('no-driver', check_refuses(device('net_nothing0', 1), 'no driver', 'out0')),
        ('one-interface-twice', check_refuses(same_interface, 'uses the interface pst-in, too')),
        ('no-such-interface', brief(device('net_af_packet0,iface=eth7'),
                                    r'in0.*there is no interface eth7 here.*pst-in')),
        ('no-such-cpu', brief(no_such_cpu, 'workers.cpus: there is no CPU 999')),
        ('no-such-main-cpu', brief(no_such_main_cpu, 'workers.main_cpu: there is no CPU 998')),
        ('no-huge-pages', brief(huge_pages, 'eal.memory_mb is 1048576.*huge pages.*nr_hugepages')),
        ('wrong-eal-argument', brief(wrong_eal_argument, 'DPDK did not start.*--no-such-option')),
        ('two-daemons-one-interface', two_daemons),
        ('helper-goes-and-comes', helper_goes_and_comes),
    )
    found = [Case(f'operator/{name}', None, check, needs=daemon) for name, check in own]
    for name, check in (('shapes', shapes), ('numbers-of-devices', numbers_of_devices),
                        ('support', support)):
        found.append(Case(f'operator/{name}', Setting(), check, needs=daemon))
    return found
