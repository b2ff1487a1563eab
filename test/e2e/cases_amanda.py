# SPDX-License-Identifier: BSD-3-Clause
"""Backups: Amanda's amservice inside asks amandad outside (under inetd) for a backup by GNU tar. The
archive comes by a TCP connection to a port that amandad names in its reply."""

import hashlib
import os
import pwd
import subprocess

import lab as laboratory
from cases import pair
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
    """amandad on the outside host, with something to be saved."""

    def __init__(self, lab, port):
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
        lab.write('amanda/request', '<dle>\n<program>GNUTAR</program>\n'
                                    f'<disk>{lab.path("amanda", "data")}</disk>\n'
                                    '<level>0</level>\n<record>NO</record>\n</dle>\n')
        config = lab.write('amanda/inetd.conf', f'{port} dgram udp4 wait backup '
                           '/usr/lib/amanda/amandad amandad -auth=bsdudp sendbackup\n')
        lab.start('inetd', 'outside', *in_its_own_system(lab, 'outside', ['inetd', '-i', config]))


def save(bench, patience_s):
    lab, saved = bench.lab, bench.server(Amandad)
    bench.eventually(lambda: lab.do('outside', 'ss', '-Hlun', f'sport = :{bench.setting.port}')
                     .stdout.strip(), 'inetd does not listen')
    # As long as its input is open it waits for the end of the archive.
    client = lab.start('amservice', 'inside', *in_its_own_system(lab, 'inside', [
        'timeout', '-s', 'KILL', str(patience_s or PATIENCE_S), 'amservice',
        '-f', lab.path('amanda', 'request'), '-s', 'saved.example', 'bsdudp', 'sendbackup']),
        stdin=subprocess.PIPE)

    def problem():
        code = client.wait(PATIENCE_S + 5)
        found = subprocess.run(['tar', '-xOf', client.out_path, './file.bin'], capture_output=True,
                               timeout=PATIENCE_S, check=False)
        if found.stdout == saved.content:
            return None
        return f'no whole archive came (amservice: exit code {code}): {client.stderr}'
    return problem


def cases():
    # With `bsd` amservice cannot be brought to open all the streams that amandad then waits for.
    return [case for workers in (1, 3)
            for case in pair(f'amanda/{workers}-workers/bsdudp',
                             Setting(service='amanda', workers=workers), save)]
