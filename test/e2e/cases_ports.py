# SPDX-License-Identifier: BSD-3-Clause
"""Ports whose links go down and come back, whose interfaces vanish and are made again, and whose
packets are not finished when they come."""

import os
import socket
import sys

import lab as laboratory
from cases import SHORT_S, Case, expect
from cases_operation import variant
from middle import Postern, Setting, device_of
from peers import FtpServer, Transfer

INSIDE_OUT = {'name': 'inside-out', 'from': 'inside', 'to': 'outside', 'ct': ['new'],
              'action': 'accept'}
PORT = 7777


def start(bench, change=None, driver='af_packet'):
    """The usual firewall, through which everything from inside passes."""
    def changed(config):
        config['policy']['rules'].append(INSIDE_OUT)
        for number, port in enumerate(config['ports']):
            port['device'] = device_of(Setting(driver=driver), number, ('pst-in', 'pst-out')[number])
        if change:
            change(config)
    bench.middle = Postern(config=variant(bench.lab, changed)).start(bench.lab)
    return bench.middle


def port(daemon, name):
    [row] = [row for row in daemon.ctl('port', 'list') if row['name'] == name]
    return row


def reaches(bench, name, state):
    bench.eventually(lambda: port(bench.middle, name)['state'] == state,
                     f'port {name} is not {state}')


def make_outside(lab):
    """The veth pair of the outside host, as the laboratory made it."""
    lab.ip('outside', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'pst-out', 'netns',
           lab.names['middle'])
    laboratory.offloads_off(lab, 'outside', 'eth0')
    laboratory.offloads_off(lab, 'middle', 'pst-out')
    lab.ip('outside', 'addr', 'add', f'{laboratory.OUTSIDE4}/24', 'brd', '+', 'dev', 'eth0')
    lab.ip('outside', 'addr', 'add', f'{laboratory.OUTSIDE6}/64', 'dev', 'eth0', 'nodad')
    lab.ip('middle', 'link', 'set', 'pst-out', 'up', 'promisc', 'on')
    lab.ip('outside', 'link', 'set', 'eth0', 'up')


class Numbers:
    """Datagrams with numbers from inside to outside, by an address that needs no ARP."""

    def __init__(self, lab):
        [link] = [line.split('link/ether ')[1].split()[0] for line in
                  lab.ip('outside', 'link', 'show', 'eth0').stdout.splitlines()
                  if 'link/ether' in line]
        lab.ip('inside', 'neigh', 'replace', laboratory.OUTSIDE4, 'lladdr', link, 'dev', 'eth0')
        with lab.inside_of('inside'):
            self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with lab.inside_of('outside'):
            self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.bind(('0.0.0.0', PORT))
        self.receiver.settimeout(10)

    def send(self, number):
        self.sender.sendto(str(number).encode(), (laboratory.OUTSIDE4, PORT))

    def next(self):
        return int(self.receiver.recv(100))

    def close(self):
        self.sender.close()
        self.receiver.close()


def transfers(bench, server, name):
    problem = Transfer('curl', 'epsv', 4).start(bench.lab, server.port, 20).problem(server)
    expect(problem is None, f'{name}: {problem}')


def made_again(driver):
    """The interface is deleted under traffic, and another one is made under its name."""
    def check(bench):
        lab = bench.lab
        daemon = start(bench, driver=driver)
        server = FtpServer(lab)
        transfers(bench, server, 'before')
        before = port(daemon, 'out0')
        for turn in range(3):
            lab.ip('middle', 'link', 'del', 'pst-out')
            reaches(bench, 'out0', 'gone')
            with lab.inside_of('inside'):
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            # The switch's table of neighbours still knows where it was.
            lab.ip('inside', 'neigh', 'replace', laboratory.OUTSIDE4, 'lladdr', '02:00:00:00:00:99',
                   'dev', 'eth0')
            with sender:
                def dropped():
                    sender.sendto(b'x', (laboratory.OUTSIDE4, PORT))
                    return daemon.drops()['link_down'] > turn * 5 + 5
                bench.eventually(dropped, f'nothing is dropped as link_down: {daemon.drops()}')
            lab.ip('inside', 'neigh', 'del', laboratory.OUTSIDE4, 'dev', 'eth0')
            make_outside(lab)
            reaches(bench, 'out0', 'up')
            transfers(bench, server, f'made again, {turn + 1}')
        after = port(daemon, 'out0')
        expect(after['removals'] == 3 and after['attaches'] == 3, after)
        expect(after['tx_packets'] > before['tx_packets'], f'counters began anew: {before} {after}')
        expect(daemon.drops()['tx_full'] == 0, 'tx_full is blamed')
        said = daemon.process.stdout + daemon.process.stderr
        for word in ('out0: interface pst-out is gone', 'out0: attached again to pst-out'):
            expect(word in said, f'the log does not say {word!r}:\n{said}')
        expect(daemon.terminate() == 0, 'it did not end with exit code 0')
    return check


def set_down(bench):
    """What was sent while the interface was down does not come when it is up again, late."""
    lab = bench.lab
    daemon = start(bench)
    numbers = Numbers(lab)
    numbers.send(0)
    expect(numbers.next() == 0, 'nothing passes')
    lab.ip('middle', 'link', 'set', 'pst-out', 'down')
    reaches(bench, 'out0', 'down')
    for number in range(1, 60):
        numbers.send(number)
    bench.eventually(lambda: daemon.drops()['link_down'] >= 50,
                     f'nothing is dropped as link_down: {daemon.drops()}')
    lab.ip('middle', 'link', 'set', 'pst-out', 'up')
    reaches(bench, 'out0', 'up')
    numbers.send(1000)
    came = numbers.next()
    expect(came == 1000, f'{came} comes late')
    numbers.close()
    expect(daemon.drops()['tx_full'] == 0, f'tx_full is blamed: {daemon.drops()}')
    row = port(daemon, 'out0')
    expect(row['link_downs'] == 1 and row['removals'] == 0, row)
    said = daemon.process.stdout + daemon.process.stderr
    for word in ('link of pst-out is down', 'link of pst-out is up'):
        expect(word in said, f'the log does not say {word!r}:\n{said}')
    server = FtpServer(lab)
    transfers(bench, server, 'after it')


def loses_carrier(bench):
    """The other end goes down and up: known, counted, and traffic goes on."""
    lab = bench.lab
    daemon = start(bench)
    server = FtpServer(lab)
    transfers(bench, server, 'before')
    lab.ip('outside', 'link', 'set', 'eth0', 'down')
    reaches(bench, 'out0', 'down')
    lab.ip('outside', 'link', 'set', 'eth0', 'up')
    reaches(bench, 'out0', 'up')
    transfers(bench, server, 'after it')
    expect(port(daemon, 'out0')['link_downs'] == 1, port(daemon, 'out0'))
    expect(port(daemon, 'in0')['link_downs'] == 0, port(daemon, 'in0'))


def memif_counts(bench):
    """A memif port's counters go on when its neighbour leaves and another one comes."""
    lab = bench.lab
    name = f'postern-count-{os.getpid()}'

    def memif(config):
        for number, one in enumerate(config['ports']):
            one['device'] = f'net_memif{number},role=server,id=0,socket={name}-{number}'
    bench.middle = daemon = Postern(config=variant(lab, memif)).start(lab)
    program = os.path.join(os.path.dirname(__file__), 'memif_client.py')
    seen = [0]
    for _ in range(3):
        lab.do('middle', sys.executable, program, f'{name}-0', '3', timeout=80)
        bench.eventually(lambda: port(daemon, 'in0')['rx_packets'] > seen[-1],
                         f'the counter does not grow: {seen}')
        bench.eventually(lambda: port(daemon, 'in0')['state'] == 'down', 'the neighbour is there')
        seen.append(port(daemon, 'in0')['rx_packets'])
    [rows] = [row['value'] for row in daemon.ctl('stats')
              if row['worker'] == 'port in0' and row['name'] == 'rx_packets'],
    expect(rows == [seen[-1]], f'stats says {rows}, port list {seen}')
    # They come and go faster than the link is looked at.
    expect(port(daemon, 'in0')['link_downs'] >= 1, port(daemon, 'in0'))


def leaves_checksums(bench):
    """A sender behind a veth pair leaves checksums to a device that is not there: no connection
    comes about, the log says where to turn that off, and turned off there all is well."""
    lab = bench.lab
    daemon = start(bench)
    server = FtpServer(lab)
    lab.do('outside', 'ethtool', '-K', 'eth0', 'tx', 'on')
    problem = Transfer('curl', 'epsv', 4).start(lab, server.port, SHORT_S).problem(server)
    expect(problem is not None, 'its packets are finished all the same')
    bench.eventually(lambda: port(daemon, 'out0')['partial_checksum'] > 0, 'nothing is counted')
    expect(port(daemon, 'in0')['partial_checksum'] == 0, 'the wrong port is blamed')
    daemon.process.await_output('port out0: packets come with unfinished checksums')
    said = daemon.process.stdout + daemon.process.stderr
    expect('at the other end of the veth pair' in said and 'not at pst-out' in said, said)
    # The end that the firewall holds is not the one.
    lab.do('middle', 'ethtool', '-K', 'pst-out', 'tx', 'off', 'rx', 'off', check=False)
    lab.do('outside', 'ethtool', '-K', 'eth0', 'tx', 'off', 'tso', 'off', 'gso', 'off')
    transfers(bench, server, 'turned off there')


def finished_checksums(bench):
    """Nothing is said of senders that finish their packets, helpers or not."""
    daemon = start(bench)
    server = FtpServer(bench.lab)
    for transfer in (Transfer('curl', 'epsv', 4), Transfer('curl', 'eprt', 6)):
        problem = transfer.start(bench.lab, server.port, 20).problem(server)
        expect(problem is None, problem)
    for row in daemon.ctl('port', 'list'):
        expect(row['partial_checksum'] == 0 and row['cut_frames'] == 0, row)
    said = daemon.process.stdout + daemon.process.stderr
    expect('unfinished' not in said, said)


def peer_is_here(bench):
    """Where the other end is in the daemon's own namespace, offloads are found at the start."""
    lab = bench.lab
    for name in ('a', 'b'):
        lab.ip('middle', 'link', 'add', f'own-{name}', 'type', 'veth', 'peer', 'name', f'far-{name}')
        for end in ('own', 'far'):
            lab.ip('middle', 'link', 'set', f'{end}-{name}', 'up')
    laboratory.offloads_off(lab, 'middle', 'far-b')

    def own(config):
        for number, one in enumerate(config['ports']):
            one['device'] = f'net_af_packet{number},iface=own-{"ab"[number]}'
    daemon = Postern(config=variant(lab, own)).start(lab)
    said = daemon.process.stdout + daemon.process.stderr
    expect('ethtool -K far-a tx off' in said, f'far-a is not named:\n{said}')
    expect('far-b' not in said, f'far-b is blamed:\n{said}')


def cases():
    daemon = frozenset({'control-socket'})
    own = (
        ('made-again', made_again('af_packet')),
        ('made-again-pcap', made_again('pcap')),
        ('set-down-and-up', set_down),
        ('loses-carrier', loses_carrier),
        ('memif-counters', memif_counts),
        ('partial-checksums', leaves_checksums),
        ('finished-checksums', finished_checksums),
        ('partial-checksums-at-start', peer_is_here),
    )
    return [Case(f'ports/{name}', None, check, needs=daemon) for name, check in own]
