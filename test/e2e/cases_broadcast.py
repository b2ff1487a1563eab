# SPDX-License-Identifier: BSD-3-Clause
"""Names and agents found by asking the whole subnet: nmbd and snmpd outside, nmblookup and snmpget
inside. snmpget itself does not broadcast: a relay on its own host does that for it."""

import functools
import select
import socket
import threading

import lab as laboratory
from cases import pair
from middle import Setting

LONG_ENOUGH_S = 20
SUBNET, EVERYBODY = '192.0.2.255', '255.255.255.255'
NAME = 'POSTERN'


class Nmbd:
    def __init__(self, lab, _port):
        folders = ''.join(f'{what} = {lab.path()}\n' for what in (
            'lock directory', 'state directory', 'cache directory', 'pid directory', 'private dir',
            'ncalrpc dir'))
        self.config = lab.write('smb.conf', f'[global]\nnetbios name = {NAME}\nworkgroup = LAB\n'
                                            f'interfaces = eth0\nlog file = {lab.path("nmbd.log")}\n'
                                            f'local master = no\npreferred master = no\n{folders}')
        self.process = lab.start('nmbd', 'outside', 'nmbd', '-F', '--no-process-group', '-s',
                                 self.config, '--debug-stdout')
        # It says nothing when it has its name and answers to it, so ask for that.
        for _ in range(100):
            if lab.do('outside', 'nmblookup', '-s', self.config, '-B', SUBNET, NAME,
                      check=False).returncode == 0:
                return
            select.select([self.process.pidfd], [], [], 0.1)
        raise laboratory.LabError('nmbd does not answer')


def look_up(address, bench, timeout_s):
    server = bench.server(Nmbd)
    client = bench.lab.start(f'nmblookup-{address}', 'inside', 'timeout',
                             str(timeout_s or LONG_ENOUGH_S), 'nmblookup', '-s', server.config, '-B',
                             address, NAME)

    def problem():
        client.wait(LONG_ENOUGH_S + 5)
        if f'{laboratory.OUTSIDE4} {NAME}' in client.stdout:
            return None
        return f'nmblookup said: {client.stdout}{client.stderr}'
    return problem


class Snmpd:
    NAME = 'postern-agent'

    def __init__(self, lab, port):
        config = lab.write('snmpd.conf', f'rocommunity public\nsysName {self.NAME}\n')
        self.process = lab.start('snmpd', 'outside', 'snmpd', '-f', '-Lo', '-C', '-c', config,
                                 f'udp:{port}')
        self.process.await_output('NET-SNMP version')


class Relay(threading.Thread):
    """Takes datagrams on the inside host's loopback, sends them to everybody, brings back answers."""

    def __init__(self, lab, address, port):
        super().__init__(daemon=True)
        self.to = address, port
        with lab.inside_of('inside'):
            self.near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.near.bind(('127.0.0.1', 0))
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.far.bind((laboratory.INSIDE4, 0))
        self.wake, self.end = socket.socketpair()
        self.start()

    def run(self):
        client = None
        while True:
            ready = select.select([self.near, self.far, self.wake], [], [])[0]
            if self.wake in ready:
                return
            if self.near in ready:
                asked, client = self.near.recvfrom(65536)
                self.far.sendto(asked, self.to)
            if self.far in ready and client is not None:
                self.near.sendto(self.far.recv(65536), client)

    def stop(self):
        self.end.close()
        self.join()
        for each in (self.near, self.far, self.wake):
            each.close()


def get(address, bench, timeout_s):
    bench.server(Snmpd)
    relay = Relay(bench.lab, address, bench.setting.port)
    port = relay.near.getsockname()[1]
    client = bench.lab.start(f'snmpget-{address}', 'inside', 'snmpget', '-v2c', '-c', 'public',
                             '-r', '0', '-t', str(timeout_s or LONG_ENOUGH_S), '-OQv',
                             f'udp:127.0.0.1:{port}', '1.3.6.1.2.1.1.5.0')

    def problem():
        client.wait(LONG_ENOUGH_S + 5)
        relay.stop()
        if Snmpd.NAME in client.stdout:
            return None
        return f'snmpget said: {client.stdout}{client.stderr}'
    return problem


def cases():
    # nmbd does not hear 255.255.255.255, and snmpd would answer 192.0.2.255 from that very address.
    return [case for workers in (1, 3)
            for service, begin in (('netbios', functools.partial(look_up, SUBNET)),
                                   ('snmp', functools.partial(get, EVERYBODY)))
            for case in pair(f'{service}/{workers}-workers',
                             Setting(service=service, workers=workers), begin)]
