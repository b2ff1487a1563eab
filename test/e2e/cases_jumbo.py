# SPDX-License-Identifier: BSD-3-Clause
"""Frames of 9,000 bytes and more over each device that takes them: pings that may not be cut, and
real transfers. The table in docs/operation.md says what is tried here."""

import json
import os
import shutil
import subprocess

import lab as laboratory
from cases import Case, Failed, expect
from cases_operation import variant
from cases_ports import INSIDE_OUT, port
from middle import POSTERN, Postern, Setting, device_of
from peers import FtpServer, Transfer

JUMBO = 9000
HEADERS = 28  # of IPv4 and ICMP


def start(bench, devices, mtu):
    def change(config):
        config['policy']['rules'].append(INSIDE_OUT)
        for one, device in zip(config['ports'], devices):
            one['device'] = device
            if mtu:
                one['mtu'] = mtu
    bench.middle = Postern(config=variant(bench.lab, change)).start(bench.lab)
    return bench.middle


def mtus(lab, mtu, *interfaces):
    for host, name in interfaces:
        lab.ip(host, 'link', 'set', name, 'mtu', str(mtu))


VETHS = (('inside', 'eth0'), ('outside', 'eth0'), ('middle', 'pst-in'), ('middle', 'pst-out'))


def ping(lab, size):
    """Whether an IP packet of `size` bytes that may not be cut comes back."""
    done = lab.do('inside', 'ping', '-c', '1', '-W', '2', '-M', 'do', '-s', str(size - HEADERS),
                  laboratory.OUTSIDE4, check=False)
    return done.returncode == 0


def passes(bench, *sizes):
    for size in sizes:
        # The first one may wait for ARP.
        expect(ping(bench.lab, size) or ping(bench.lab, size),
               f'{size} bytes do not pass: {bench.middle.drops()}')


def transfers(bench):
    server = FtpServer(bench.lab)
    for transfer in (Transfer('curl', 'epsv', 4), Transfer('curl', 'eprt', 6)):
        problem = transfer.start(bench.lab, server.port, 20).problem(server)
        expect(problem is None, problem)
    # Its segments were long ones.
    expect(bench.captured('inside', 'tcp and greater 5000') > 20, 'no long segments')


def over_interfaces(driver, mtu=JUMBO):
    """With the key; it also sets the interface's own MTU."""
    def check(bench):
        mtus(bench.lab, mtu, ('inside', 'eth0'), ('outside', 'eth0'))
        devices = [device_of(Setting(driver=driver), n, name)
                   for n, name in enumerate(('pst-in', 'pst-out'))]
        daemon = start(bench, devices, mtu)
        for name in ('pst-in', 'pst-out'):
            said = bench.lab.ip('middle', 'link', 'show', name).stdout
            expect(f'mtu {mtu} ' in said, f'its MTU was not set: {said}')
        passes(bench, 1500, 2000, 4000, mtu)
        transfers(bench)
        for row in daemon.ctl('port', 'list'):
            expect(row['mtu'] == mtu and row['cut_frames'] == 0, row)
    return check


def af_packet_without_the_key(bench):
    """Its ring cuts what is longer than a slot; that is counted and said."""
    mtus(bench.lab, JUMBO, *VETHS)
    devices = [device_of(Setting(), n, name) for n, name in enumerate(('pst-in', 'pst-out'))]
    daemon = start(bench, devices, 0)
    passes(bench, 1500, 1900)
    expect(not ping(bench.lab, JUMBO), 'it passes')
    bench.eventually(lambda: port(daemon, 'in0')['cut_frames'] > 0, 'nothing is counted')
    daemon.process.await_output('port in0: frames come that are longer than it takes')


def pcap_without_the_key(bench):
    mtus(bench.lab, JUMBO, *VETHS)
    devices = [device_of(Setting(driver='pcap'), n, name)
               for n, name in enumerate(('pst-in', 'pst-out'))]
    start(bench, devices, 0)
    passes(bench, 1500, 4000, JUMBO)


def refused(device, words):
    """What a device cannot take is refused by `check` and by `run`, with the reason."""
    def check(bench):
        def change(config):
            config['ports'][0].update(mtu=JUMBO, device=device)
        path = bench.lab.write('refused.yaml', json.dumps(variant(bench.lab, change), indent=2) + '\n')
        done = laboratory.run(POSTERN, 'check', path, check=False)
        expect(done.returncode == 1 and words in done.stderr,
               f'check: exit code {done.returncode} {done.stderr}')
        daemon = Postern(config_path=path).launch(bench.lab)
        expect(daemon.process.wait(30) == 1, 'it starts')
        said = daemon.process.stdout + daemon.process.stderr
        expect(words in said, said)
    return check


def over_tap(bench):
    """The driver's interface, moved to the inside host as into a container; deleted, it is made
    again."""
    lab = bench.lab
    daemon = start(bench, ['net_tap0,iface=pst-tap', 'net_af_packet1,iface=pst-out'], 0)
    lab.ip('inside', 'link', 'set', 'eth0', 'down')
    lab.ip('inside', 'addr', 'flush', 'dev', 'eth0')
    lab.ip('middle', 'link', 'set', 'pst-tap', 'netns', lab.names['inside'])
    lab.ip('inside', 'addr', 'add', f'{laboratory.INSIDE4}/24', 'dev', 'pst-tap')
    lab.ip('inside', 'addr', 'add', f'{laboratory.INSIDE6}/64', 'dev', 'pst-tap', 'nodad')
    lab.ip('inside', 'link', 'set', 'pst-tap', 'up')
    passes(bench, 1500)
    server = FtpServer(lab)
    for transfer in (Transfer('curl', 'epsv', 4), Transfer('curl', 'eprt', 6)):
        problem = transfer.start(lab, server.port, 20).problem(server)
        expect(problem is None, problem)
    expect(port(daemon, 'in0')['removals'] == 0, port(daemon, 'in0'))
    # Deleted, it is made again, in the daemon's own namespace.
    lab.ip('inside', 'link', 'del', 'pst-tap')
    bench.eventually(lambda: port(daemon, 'in0')['attaches'] == 1, port(daemon, 'in0'))
    lab.ip('middle', 'link', 'show', 'pst-tap')


def between_programs(ours, theirs):
    """The ports are another program's, which copies from and to the hosts' interfaces."""
    def check(bench):
        lab = bench.lab
        if not shutil.which('dpdk-testpmd'):
            raise Failed('dpdk-testpmd (dpdk-dev) is not installed')
        mtus(lab, JUMBO, *VETHS)
        folder = lab.path('run')
        ours_at = [ours.format(n=n, folder=lab.folder, pid=os.getpid()) for n in range(2)]
        theirs_at = [theirs.format(n=n, folder=lab.folder, pid=os.getpid()) for n in range(2)]
        daemon = start(bench, ours_at, JUMBO)
        ring = 'framesz=10240,blocksz=20480'
        lab.start('testpmd', 'middle', 'stdbuf', '-oL', 'dpdk-testpmd', '--no-huge', '--no-shconf',
                  '--no-pci', '--no-telemetry', '-m', '512', '--lcores', '0@0,1@0',
                  '--vdev', f'net_af_packet0,iface=pst-in,{ring}', '--vdev', theirs_at[0],
                  '--vdev', f'net_af_packet1,iface=pst-out,{ring}', '--vdev', theirs_at[1],
                  '--', '--forward-mode=io', '--total-num-mbufs=8192', '--mbuf-size=10496',
                  stdin=subprocess.PIPE,
                  env={**os.environ, 'RUNTIME_DIRECTORY': folder}).await_output('Press enter')
        for name in ('in0', 'out0'):
            bench.eventually(lambda one=name: port(daemon, one)['state'] == 'up', f'{name} is down')
        passes(bench, 1500, 2000, 4000, JUMBO)
        transfers(bench)
    return check


def cases():
    daemon = frozenset({'control-socket'})
    own = (
        ('af_packet', over_interfaces('af_packet')),
        ('af_packet-9600', over_interfaces('af_packet', 9600)),
        ('af_packet-without-the-key', af_packet_without_the_key),
        ('af_packet-small-ring', refused('net_af_packet0,iface=pst-in,framesz=4096',
                                         'framesz=4096 is too small for an MTU of 9000')),
        ('pcap', over_interfaces('pcap')),
        ('pcap-without-the-key', pcap_without_the_key),
        ('tap', over_tap),
        ('tap-refused', refused('net_tap0,iface=pst-tap', 'takes an MTU of 1504 at most')),
        ('memif', between_programs('net_memif{n},role=server,id={n},socket=pst-jumbo-{pid}',
                                   'net_memif{n},role=client,id={n},socket=pst-jumbo-{pid}')),
        ('vhost', between_programs('net_vhost{n},iface={folder}/vhost{n}',
                                   'net_virtio_user{n},path={folder}/vhost{n}')),
    )
    return [Case(f'jumbo/{name}', None, check, needs=daemon) for name, check in own]
