# SPDX-License-Identifier: BSD-3-Clause
"""How the daemon starts, ends and survives: messages, exit codes, and what is left behind."""

import json
import os
import re
import signal
import socket
import sys

import lab as laboratory
from cases import Case, Failed, expect
from middle import POSTERN, POSTERNCTL, ROOT, Postern, Setting, configuration
from peers import SLOWLY, FtpServer, SteppedClient, StepError, Transfer

CONFIG_ERROR, RUNTIME_FAILURE = 2, 1
FTP_PROOF_GIVEN = 5  # helpers/ftp/ftp.cc: Proof::given
START_S, STOP_S = 30, 15
CRASHED = re.compile(r'terminate called|Segmentation|Assertion|AddressSanitizer|panic', re.I)


def variant(lab, change, name='postern'):
    """The usual configuration after `change(config)`."""
    config = configuration(Setting(), lab.path(f'{name}.sock'))
    change(config)
    return config


def refuses(change, code, *words):
    """The daemon does not start with this configuration: exit code, words of its message."""
    def check(bench):
        lab = bench.lab
        before = left_behind(lab)
        daemon = Postern(config=variant(lab, change)).launch(lab)
        ended = daemon.process.wait(START_S)
        said = daemon.process.stdout + daemon.process.stderr
        expect(ended == code, f'exit code {ended}, not {code}:\n{said}')
        expect('ready' not in daemon.process.stdout, 'it said ready')
        expect(not CRASHED.search(said), f'it crashed:\n{said}')
        for word in words:
            expect(re.search(word, said), f'its message does not say {word!r}:\n{said}')
        nothing_new(lab, before)
    return check


def left_behind(lab):
    """What a daemon could leave on the machine."""
    found = set()
    for folder in (lab.path('run'), '/dev/hugepages', '/dev/shm', '/run/postern', '/tmp'):
        try:
            found.update(os.path.join(folder, name) for name in os.listdir(folder))
        except FileNotFoundError:
            pass
    found.update(path for path in (lab.path(name) for name in os.listdir(lab.path()))
                 if path.endswith('.sock'))
    return found


def nothing_new(lab, before):
    # Other programs, and other laboratories, come and go at the same time.
    mine = re.compile(r'(?!.*/postern-e2e-)(.*postern|.*rte|.*dpdk)|' + re.escape(lab.path()))
    new = sorted(path for path in left_behind(lab) - before if mine.match(path))
    expect(not new, f'left behind: {", ".join(new)}')
    pids = run_pids(lab)
    expect(not pids, f'processes left in the middle: {pids}')


def run_pids(lab):
    """Processes of the daemon's program that run on the middle host."""
    found = []
    for pid in laboratory.run('ip', 'netns', 'pids', lab.names['middle']).stdout.split():
        try:
            if os.path.samefile(f'/proc/{pid}/exe', POSTERN):
                found.append(int(pid))
        except OSError:
            pass
    return found


def ends_clean(number):
    """A signal in the middle of a transfer: drain, summary, exit code 0, nothing left behind."""
    def check(bench):
        lab = bench.lab
        before = left_behind(lab)
        daemon = Postern(Setting()).start(lab)
        server = FtpServer(lab)
        running = Transfer('lftp', 'epsv', 4).start(lab, server.port, 60, SLOWLY)
        bench.eventually(lambda: [row for row in daemon.connections(proto='tcp')
                                  if row.get('master')], 'no data connection is seen')
        expect(running.process.running(), 'the transfer had ended before the signal')
        daemon.process.signal(number)
        code = daemon.process.wait(STOP_S)
        said = daemon.process.stdout + daemon.process.stderr
        expect(code == 0, f'exit code {code}:\n{said}')
        summary = said.split('ready', 1)[-1]
        expect(re.search(r'connections', summary) and re.search(r'packets', summary),
               f'no summary:\n{said}')
        nothing_new(lab, before)
    return check


def second_daemon(bench):
    """Two daemons with one socket path: the second is told so, the first does not notice."""
    lab = bench.lab
    first = Postern(Setting()).start(lab)

    def same_socket(config):
        config['control']['socket'] = first.socket_path
    # Ports of its own, so that the socket is all they have in common.
    lab.ip('middle', 'link', 'add', 'spare-a', 'type', 'veth', 'peer', 'name', 'spare-b')

    def spare_ports(config):
        same_socket(config)
        for port, device in zip(config['ports'], ('spare-a', 'spare-b')):
            port['device'] = f'net_af_packet0,iface={device}' if device == 'spare-a' else \
                f'net_af_packet1,iface={device}'
            lab.ip('middle', 'link', 'set', device, 'up')
    second = Postern(config=variant(lab, spare_ports), name='second').launch(lab)
    code = second.process.wait(START_S)
    said = second.process.stdout + second.process.stderr
    expect(code == RUNTIME_FAILURE, f'exit code {code}:\n{said}')
    expect(first.socket_path in said, f'the message does not name the socket:\n{said}')
    expect(not CRASHED.search(said), f'it crashed:\n{said}')
    expect(first.process.running(), 'the first daemon has ended')
    first.ctl('conntrack', 'count')
    server = FtpServer(lab)
    problem = Transfer('curl', 'epsv', 4).start(lab, server.port, 20).problem(server)
    expect(problem is None, problem)


def killed_and_started_again(bench):
    """kill -9 leaves a socket file; the next daemon replaces it and works."""
    lab = bench.lab
    first = Postern(Setting()).start(lab)
    first.process.signal(signal.SIGKILL)
    first.process.wait(STOP_S)
    second = Postern(Setting()).start(lab)
    second.ctl('conntrack', 'count')
    server = FtpServer(lab)
    problem = Transfer('curl', 'epsv', 4).start(lab, server.port, 20).problem(server)
    expect(problem is None, problem)


def fill_table(bench, flows):
    """Opens UDP flows from inside until the daemon's table has that many."""
    lab = bench.lab
    with lab.inside_of('inside'):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        def more(sent=[0]):
            for _ in range(200):
                if sent[0] < flows * 2:
                    sender.sendto(b'x', (laboratory.OUTSIDE4, 1024 + sent[0] % 60000))
                    sent[0] += 1
            return count(bench.middle) >= flows
        bench.eventually(more, f'the table did not fill to {flows}', 60)


def count(middle):
    """Connections in the table."""
    [row] = middle.ctl('conntrack', 'count')
    return row['connections']


def client_dies_in_mid_list(number):
    """posternctl is killed, or stopped, while a long list is on its way to it."""
    def check(bench):
        middle, server = bench.middle, bench.server()
        fill_table(bench, 20000)
        # Its output is a pipe that nobody empties: it is stuck in mid-list when it gets there.
        reader, writer = os.pipe()
        client = laboratory.subprocess.Popen(middle.ctl_argv('conntrack', 'list'), stdout=writer)
        os.close(writer)
        try:
            expect(os.read(reader, 1) == b'{', 'the list does not begin with a row')
            client.send_signal(number)
            middle.ctl('conntrack', 'count')
            problem = Transfer('curl', 'epsv', 4).start(bench.lab, server.port, 20).problem(server)
            expect(problem is None, problem)
            rows = len(middle.ctl('conntrack', 'list'))
            expect(rows >= 20000, f'a second client gets {rows} rows')
        finally:
            client.kill()
            client.wait()
            os.close(reader)
    return check


def table_full(bench):
    """More flows than the table holds: unanswered ones give way and are counted, a transfer with
    its helper still finds room, and the daemon ends as it should."""
    lab = bench.lab

    def small(config):
        config['limits'].update(connections=256, helped_connections=64)
        config['policy']['rules'].append({'name': 'inside-out', 'from': 'inside', 'to': 'outside',
                                          'ct': ['new'], 'action': 'accept'})
    bench.middle = middle = Postern(config=variant(lab, small)).start(lab)
    server = FtpServer(lab)
    with lab.inside_of('inside'):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        def full(port=[1024]):
            for _ in range(200):
                sender.sendto(b'x', (laboratory.OUTSIDE4, port[0]))
                port[0] = 1024 + (port[0] - 1023) % 60000
            ended = sum(row['value'] for row in middle.ctl('stats')
                        if row['name'] == 'early_dropped')
            return ended > 0 and count(middle) >= 256
        bench.eventually(full, 'it did not fill, or nothing is counted as early_dropped', 30)
    [row] = middle.ctl('conntrack', 'count')
    expect(256 <= row['max'] < 512, f'256 connections configured, room for {row["max"]}')
    expect(row['connections'] <= row['max'], f'more than there is room for: {row}')
    for transfer in (Transfer('curl', 'epsv', 4), Transfer('curl', 'eprt', 6)):
        problem = transfer.start(lab, server.port, 20).problem(server)
        expect(problem is None, problem)
    expect(middle.terminate() == 0, 'it did not end with exit code 0')


def memif_neighbour_dies(bench):
    """Who is at the other end of a memif port leaves while its packets are being read, again and
    again: the daemon lives, and lets the next one in."""
    lab = bench.lab
    name = f'postern-{os.getpid()}'

    def memif(config):
        for number, port in enumerate(config['ports']):
            port['device'] = f'net_memif{number},role=server,id=0,socket={name}-{number}'
        config['policy']['rules'] = [{'name': 'all', 'from': 'inside', 'to': 'outside',
                                      'action': 'accept'}]
    bench.middle = middle = Postern(config=variant(lab, memif)).start(lab)
    program = os.path.join(os.path.dirname(__file__), 'memif_client.py')
    client = lab.do('middle', sys.executable, program, f'{name}-0', '200', check=False, timeout=80)
    expect(middle.process.running(), 'the daemon died with its neighbour')
    expect(client.returncode == 0, f'a neighbour was not let in: {client.stderr}')
    received = sum(row['value'] for row in middle.ctl('stats') if row['name'] == 'rx_packets')
    expect(received > 100, 'the daemon has read nothing of what they sent')
    expect(middle.terminate() == 0, 'it did not end with exit code 0')


def check_command(bench):
    """`postern check` on every file that comes with Postern, and on a broken one."""
    folder = os.path.join(ROOT, 'conf')
    files = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith('.yaml')]
    expect(files, 'no files in conf/')
    for path in files:
        done = laboratory.run(POSTERN, 'check', path, check=False)
        expect(done.returncode == 0, f'{path}: exit code {done.returncode}: {done.stderr}')
    broken = bench.lab.write('broken.yaml', 'zones: [inside]\nports:\n  - {name: in0, speed: 3}\n')
    for command in ('check', 'run'):
        done = laboratory.run(POSTERN, command, broken, check=False)
        expect(done.returncode == CONFIG_ERROR, f'{command}: exit code {done.returncode}')
        expect(re.search(r'broken\.yaml:3:\d+: .*speed', done.stdout + done.stderr),
               f'{command}: no file:line:column: {done.stdout}{done.stderr}')


STEPS = {'configuration', 'DPDK', 'patterns of helpers', 'policy', 'sets', 'tables', 'packet buffers',
         'ports', 'saved connections', 'the rest'}


def steps_of(text):
    """A text that names steps of a start: {step: seconds}."""
    found = {step: float(seconds) for seconds, step in re.findall(r'([\d.]+) s for ([A-Za-z ]+)', text)}
    expect(found and set(found) <= STEPS, f'which steps? {text}')
    return found


def start_time(bench):
    """`postern check` estimates how long a start takes, and the daemon logs how long it took."""
    lab = bench.lab
    state = lab.write('saved', 'no such form\n')
    os.chmod(state, 0o666)

    def large(config):
        config['limits']['connections'] = 500_000
        config['eal']['memory_mb'] = 1024
        config['state'] = {'file': state, 'save_on_stop': False}
    config = variant(lab, large)
    path = lab.write('large.yaml', json.dumps(config))

    def estimate():
        said = laboratory.run(POSTERN, 'check', path).stdout
        found = re.search(r'^start: about ([\d.]+) s to ([\d.]+) s on this machine(?: with huge pages)?, '
                          r'of which (.*); without its devices(.*)$', said, re.M)
        expect(found, f'no line about the start: {said}')
        expect(0 < float(found[1]) <= float(found[2]), found[0])
        expect('tables' in steps_of(found[3]), found[0])
        return found[4]
    lacks = estimate()
    expect(re.match(r' and saved connections \(.*can be written to by others', lacks), lacks)
    os.chmod(state, 0o600)
    expect(estimate() == '', 'it may be read')
    with open(state, encoding='utf-8') as file:
        expect(file.read() == 'no such form\n', 'check has moved it')
    config['eal']['hugepages'] = 'yes'
    said = laboratory.run(POSTERN, 'check', lab.write('huge.yaml', json.dumps(config))).stdout
    expect('on this machine with huge pages, of which' in said, said)
    config['eal']['hugepages'] = 'auto'
    daemon = bench.middle = Postern(config=config).start(lab)
    said = daemon.process.stderr + daemon.process.stdout
    found = re.search(r'started in ([\d.]+) s, of which (.*)', said)
    expect(found and 'tables' in steps_of(found[2]), f'no line about the start: {said}')
    expect(float(found[1]) >= max(steps_of(found[2]).values()), found[0])


def described_commands(bench):
    """posternctl knows what its daemon describes, and the reading socket takes what reads."""
    lab = bench.lab

    def with_reading(config):
        config['control']['read_socket'] = lab.path('reading', 'read.sock')
        config['control']['read_access'] = 'all'
    bench.middle = daemon = Postern(config=variant(lab, with_reading)).start(lab)
    done = laboratory.run(*daemon.ctl_argv('no-such-command'), check=False)
    expect(done.returncode == 2, f'an unknown command: exit code {done.returncode}')
    commands = daemon.ctl('help')
    expect(len(commands) > 15, f'help: {commands}')
    refused = 0
    for command in commands:
        help_text = daemon.text(*command['command'].split(), '--help')
        for arg in command['args']:
            expect(command['file'] != 'none' or f'{arg["name"]}=' in help_text, help_text)
        argv = [POSTERNCTL, '-s', lab.path('reading', 'read.sock'), '--json',
                *command['command'].split()]
        if command['effect'] == 'read' and not command['endless'] and not any(
                arg['required'] for arg in command['args']):
            laboratory.run(*argv)
        elif command['effect'] == 'write' and command['file'] == 'none':
            argv += [f'{arg["name"]}=1' for arg in command['args'] if arg['required']]
            done = laboratory.run(*argv, check=False)
            refused += 1
            expect(done.returncode == 2 and 'only reads' in done.stderr, f'{argv}: {done}')
    counted = {row['name']: row['value'] for row in daemon.ctl('stats')}
    expect(counted['control_writes_refused'] == refused > 4, f'{refused} refused: {counted}')


def lists_for_people(bench):
    """The columns of posternctl's text are filled from the daemon's rows."""
    client = SteppedClient(bench.lab, port=bench.server().port, name='step-lists')
    client('announce epsv')
    for words, wanted in ((('helper', 'list'), {'NAME': 'ftp', 'KIND': 'ftp', 'PORTS': '21'}),
                          (('conntrack', 'list'), {'RULE': 'ftp-control', 'HELPER': 'ftp'}),
                          (('expect', 'list'), {'HELPER': 'ftp', 'PROTO': 'tcp'})):
        lines = bench.middle.text('--wide', *words).splitlines()
        titles = lines[0].split()
        rows = [dict(zip(titles, line.split())) for line in lines[1:]]
        expect(any(wanted.items() <= row.items() for row in rows),
               f'{" ".join(words)}: no row with {wanted}:\n' + '\n'.join(lines))
    client.close()


def client_without_daemon(bench):
    done = laboratory.run(POSTERNCTL, '-s', bench.lab.path('nobody.sock'), 'stats', check=False)
    expect(done.returncode == 1, f'exit code {done.returncode}')
    expect('nobody.sock' in done.stderr, f'the message does not name the socket: {done.stderr}')
    done = laboratory.run(POSTERNCTL, '--no-such-option', check=False)
    expect(done.returncode == 2, f'an unknown option: exit code {done.returncode}')
    for program in (POSTERN, POSTERNCTL):
        said = laboratory.run(program, '--version').stdout
        expect(re.fullmatch(r'postern(ctl)? \d+\.\d+\.\d+\n', said), f'--version: {said!r}')


def no_such_device(config):
    config['ports'][1]['device'] = 'net_af_packet1,iface=pst-nowhere'


def no_such_port(config):
    config['bridges'][0]['ports'] = ['in0', 'out7']


def no_memory(config):
    config['limits']['connections'] = 50_000_000


def no_memory_for_eal(config):
    config['eal']['memory_mb'] = 1024 * 1024


def unknown_key(config):
    config['limits']['conections'] = 5


def wrong_type(config):
    config['workers']['count'] = 'many'


def fetches(client, server, step):
    client('connect')
    got = client('fetch file.bin')
    expect(got['sha256'] == server.digest, f'{step}: the file that arrived is another: {got}')


def killed_and_restored(restore, missed=0):
    """A logged-in FTP client outlives the firewall: what it has announced and what it will announce
    opens, if connections were saved and are restored, and only then. `missed`: commands between the
    save and the end of the daemon."""
    def check(bench):
        lab = bench.lab
        setting = Setting(workers=3)
        first = Postern(setting).start(lab)
        server = FtpServer(lab)
        client = SteppedClient(lab, port=server.port)
        client('announce epsv')
        state = lab.path('state.json')
        said = first.text('conntrack', 'save', state, 'form=json')
        expect('1 expectations' in said, said)
        records = [json.loads(line) for line in open(state, encoding='utf-8')]
        saved = next(r['connection'] for r in records if r.get('connection', {}).get('helper'))
        expect(saved['private']['proven'] and
               saved['private']['state']['proof'] == FTP_PROOF_GIVEN, f'the state of FTP: {saved}')
        client(f'noop {missed}')
        first.process.signal(signal.SIGKILL)
        first.process.wait(STOP_S)
        second = Postern(setting).start(lab)
        if not restore:
            for announced in ('before', 'after'):
                try:
                    client('connect_again')
                    raise Failed(f'what was announced {announced} the restart opens by itself')
                except StepError:
                    pass
                client('announce epsv')
            counters = second.ctl('helper', 'list')[0]['counters']
            expect(counters['blind_midstream'] > 0, f'the helper is not blind: {counters}')
            return
        said = second.text('conntrack', 'restore', state)
        expect('1 expectations: restored' in said, said)
        fetches(client, server, 'announced before the restart')
        for how in ('pasv', 'epsv'):
            client(f'announce {how}')
            fetches(client, server, f'announced after it by {how}')
        control = second.connections(helper='ftp')
        expect(len(control) == 1 and control[0]['proto_state'] == 'established', f'{control}')
        children = second.connections(expected_by='ftp')
        expect(children and all(c['master']['index'] == control[0]['index'] for c in children),
               f'{children} are not of {control}')
        again = second.text('conntrack', 'restore', state)
        expect('connections: exists' in again, again)
        bad_files(lab, second, records)
    return check


def bad_files(lab, daemon, records):
    """Clear words for each; what is sound of it is there already."""
    def refused(lines, *words):
        path = lab.write('bad.json', ''.join(f'{line}\n' for line in lines))
        done = laboratory.run(*daemon.ctl_argv('conntrack', 'restore', path, as_json=False),
                              check=False)
        for word in words:
            expect(word in done.stdout + done.stderr,
                   f'{word!r} is not said: {done.stdout}{done.stderr}')
        return done.returncode
    lines = [json.dumps(r) for r in records]
    expect(refused([], 'is empty') == CONFIG_ERROR, 'an empty file')
    expect(refused(lines[:-1], 'is cut short') == CONFIG_ERROR, 'a part of a file')
    expect(refused(['{"a": 1}'], 'bad.json: line 1: ') == CONFIG_ERROR, 'another file')
    expect(refused([lines[0].replace('"version": 1', '"version": 9'), *lines[1:]],
                   'bad.json: line 1: version 9') == CONFIG_ERROR, 'another version')
    expect(refused([lines[0], 'nonsense', *lines[1:]], '1 records: damaged', 'line 2: ') == CONFIG_ERROR,
           'no JSON')
    for key, value, words in (('sport', 'x', 'connection.sport: expected a number'),
                              ('src', '1.2.3', 'connection.src: expected an IP address'),
                              ('state', 'odd', 'connection.state: '),
                              ('from', 'nowhere', 'connection.from: '),
                              ('tcp', [], 'connection.tcp: expected a list of two'),
                              ('private', None, 'connection.private: expected an object')):
        wrong = [{'connection': {**r['connection'], key: value}} if r.get('connection', {}).get(
            'helper') else r for r in records]
        refused(map(json.dumps, wrong), words, 'restored')


def cases():
    daemon = frozenset({'control-socket'})
    inside = Setting(policy='inside', helper=True)
    own = [
        ('no-such-device', refuses(no_such_device, RUNTIME_FAILURE, 'out0', 'pst-nowhere')),
        ('no-such-port', refuses(no_such_port, CONFIG_ERROR, r'postern\.yaml:\d+:\d+:', 'out7')),
        ('no-memory-for-tables', refuses(no_memory, RUNTIME_FAILURE, r'memory')),
        ('no-memory-for-eal', refuses(no_memory_for_eal, RUNTIME_FAILURE, r'memory')),
        ('unknown-key', refuses(unknown_key, CONFIG_ERROR, r'postern\.yaml:\d+:\d+:',
                                'conections', 'connections')),
        ('wrong-type', refuses(wrong_type, CONFIG_ERROR, r'postern\.yaml:\d+:\d+:', 'count')),
        ('sigterm-under-traffic', ends_clean(signal.SIGTERM)),
        ('sigint-under-traffic', ends_clean(signal.SIGINT)),
        ('second-daemon-on-one-socket', second_daemon),
        ('killed-and-started-again', killed_and_started_again),
        ('killed-and-restored', killed_and_restored(True)),
        ('killed-and-restored-later', killed_and_restored(True, missed=500)),
        ('killed-and-not-restored', killed_and_restored(False)),
        ('table-full', table_full),
        ('memif-neighbour-dies', memif_neighbour_dies),
        ('check-command', check_command),
        ('start-time', start_time),
        ('posternctl-without-daemon', client_without_daemon),
        ('described-commands', described_commands),
    ]
    found = [Case(f'operation/{name}', None, check, needs=daemon) for name, check in own]
    found += [
        Case('operation/posternctl-killed-in-mid-list', inside,
             client_dies_in_mid_list(signal.SIGKILL), needs=daemon),
        Case('operation/posternctl-stopped-in-mid-list', inside,
             client_dies_in_mid_list(signal.SIGSTOP), needs=daemon),
        Case('operation/lists-for-people', Setting(workers=3), lists_for_people, needs=daemon),
    ]
    return found
