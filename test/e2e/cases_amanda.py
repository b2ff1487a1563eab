# SPDX-License-Identifier: BSD-3-Clause
"""Backups: Amanda's amservice inside asks amandad outside (under inetd) for a backup by GNU tar. The
archive comes by a TCP connection to a port that amandad names in its reply. With authentication `bsd`
there is a port for each stream; amservice cannot be brought to open all of them, so a script does."""

import functools
import hashlib
import os
import pwd
import re
import socket
import subprocess

import lab as laboratory
from cases import expect, pair
from middle import Setting

PATIENCE_S = 20
# Amanda knows peers by name and reads files of the system: these processes see ours instead.
SEES = ('hosts', 'services', 'amandahosts')
KEEPS = ('lib', 'log')  # its folders below /var


def in_its_own_system(lab, host, argv):
    """The argument list that runs `argv` with our files in place of the system's. `ip netns exec`
    gives each program mounts of its own."""
    mounts = [f'mount --bind {lab.path("amanda", name)} /etc/{name}' for name in SEES]
    mounts += [f'mount --bind {lab.path("amanda", host, name)} /var/{name}/amanda'
               for name in KEEPS]
    return ['sh', '-ec', '; '.join(mounts) + '; exec "$@"', 'sh', *argv]


class Amandad:
    """amandad on the outside host, with something to be saved. `auth`: how it knows who asks."""

    def __init__(self, lab, port, auth):
        backup = pwd.getpwnam('backup')
        for host in ('inside', 'outside'):
            for name in KEEPS:
                os.makedirs(lab.path('amanda', host, name, 'gnutar-lists'))
                for folder in ((name,), (name, 'gnutar-lists')):
                    os.chown(lab.path('amanda', host, *folder), backup.pw_uid, backup.pw_gid)
        self.content = hashlib.shake_256(b'postern').digest(200_000)
        os.mkdir(lab.path('amanda', 'data'))
        with open(lab.path('amanda', 'data', 'file.bin'), 'wb') as file:
            file.write(self.content)
        lab.write('amanda/hosts', f'{laboratory.INSIDE4} server.example\n'
                                  f'{laboratory.OUTSIDE4} saved.example\n')
        lab.write('amanda/services', f'amanda {port}/udp\namanda {port}/tcp\n')
        known = lab.write('amanda/amandahosts', 'server.example root\n')
        os.chmod(known, 0o600)
        os.chown(known, backup.pw_uid, backup.pw_gid)
        self.request = lab.write('amanda/request', '<dle>\n<program>GNUTAR</program>\n'
                                                   f'<disk>{lab.path("amanda", "data")}</disk>\n'
                                                   '<level>0</level>\n<record>NO</record>\n</dle>\n')
        config = lab.write('amanda/inetd.conf', f'{port} dgram udp4 wait backup '
                           f'/usr/lib/amanda/amandad amandad -auth={auth} sendbackup\n')
        lab.start('inetd', 'outside', *in_its_own_system(lab, 'outside', ['inetd', '-i', config]))


SAVED = {auth: functools.partial(Amandad, auth=auth) for auth in ('bsd', 'bsdudp')}


def ready(bench, auth):
    saved = bench.server(SAVED[auth])
    socket_there = ('ss', '-Hlun', f'sport = :{bench.setting.port}')
    bench.eventually(lambda: bench.lab.do('outside', *socket_there).stdout.strip(),
                     'inetd does not listen')
    return saved


def file_in(archive):
    return subprocess.run(['tar', '-xO', './file.bin'], input=archive, capture_output=True,
                          timeout=PATIENCE_S, check=False).stdout


def by_amservice(bench, patience_s):
    lab, saved = bench.lab, ready(bench, 'bsdudp')
    # As long as its input is open it waits for the end of the archive.
    client = lab.start('amservice', 'inside', *in_its_own_system(lab, 'inside', [
        'timeout', '-s', 'KILL', str(patience_s or PATIENCE_S), 'amservice',
        '-f', lab.path('amanda', 'request'), '-s', 'saved.example', 'bsdudp', 'sendbackup']),
        stdin=subprocess.PIPE)

    def problem():
        code = client.wait(PATIENCE_S + 5)
        with open(client.out_path, 'rb') as file:
            if file_in(file.read()) == saved.content:
                return None
        return f'no whole archive came (amservice: exit code {code}): {client.stderr}'
    return problem


def by_script(bench, patience_s):
    """Asks as amservice does, and opens each stream that is named in the reply."""
    lab, saved = bench.lab, ready(bench, 'bsd')
    with lab.inside_of('inside'):
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        control.bind((laboratory.INSIDE4, 700))  # a port that only root has: that is the proof
    control.settimeout(PATIENCE_S)
    control.connect((laboratory.OUTSIDE4, bench.setting.port))
    name = 'HANDLE 000-00000000 SEQ 1700000000\n'
    with open(saved.request, encoding='ascii') as file:
        control.send(f'Amanda 3.5 REQ {name}SECURITY USER root\nSERVICE sendbackup\n'
                     'OPTIONS features=ffffffff9efefbfffffffffffffff3fffbf71f;'
                     f'hostname=saved.example;\n{file.read()}'.encode())
    while True:
        reply = control.recv(65536).decode()
        if reply.startswith('Amanda 3.5 REP '):
            break
    control.send(f'Amanda 3.5 ACK {name}'.encode())
    ports = dict(re.findall(r'(DATA|MESG|INDEX|STATE) ([0-9]+)', reply))
    expect(len(ports) >= 2, f'amandad has named but {ports}: {reply}')
    streams = {}
    for stream, port in ports.items():
        with lab.inside_of('inside'):
            streams[stream] = socket.socket()
        streams[stream].setblocking(False)
        streams[stream].connect_ex((laboratory.OUTSIDE4, int(port)))

    def problem():
        streams['DATA'].settimeout(patience_s or PATIENCE_S)
        try:
            archive = b''.join(iter(functools.partial(streams['DATA'].recv, 65536), b''))
        except OSError as error:
            return f'the archive did not come: {error}'
        finally:
            for each in (control, *streams.values()):
                each.close()
        return None if file_in(archive) == saved.content else 'no whole archive came'
    return problem


def cases():
    return (pair('amanda/1-workers/bsdudp', Setting(service='amanda', workers=1), by_amservice) +
            pair('amanda/3-workers/bsd', Setting(service='amanda', workers=3), by_script))
