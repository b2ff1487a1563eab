# SPDX-License-Identifier: BSD-3-Clause
"""Backups: Amanda's amservice inside asks amandad outside (under inetd) for a backup by GNU tar; and
amdump inside saves that host as it would each night: estimate, backup, index, onto a tape in a folder.
Archive, messages and index come by TCP connections to ports that amandad names in its reply: one with
authentication `bsdudp`, one each with `bsd`."""

import functools
import glob
import hashlib
import os
import pwd
import shutil
import subprocess

import lab as laboratory
from cases import pair
from middle import Setting

LONG_ENOUGH_S = 20
# Amanda knows peers by name and reads files of the system: these processes see ours instead.
SEES = ('hosts', 'services', 'amandahosts', 'amanda')
KEEPS = ('lib', 'log')  # its folders below /var
TAPE_LABEL_BYTES = 32768  # in front of each file on a tape

DUMPER_PORTS = '41000-41099'  # that amdump's connections come from

CONFIG = '''
org "e2e"
dumpuser "backup"
inparallel 1
dumpcycle 1 day
tapecycle 2 tapes
tpchanger "chg-disk:{tapes}"
autolabel "E2E-%%" any
tapetype FOLDER
unreserved-tcp-port {ports}
logdir "{run}/log"
infofile "{run}/info"
indexdir "{run}/index"
define tapetype FOLDER {{
    length 100 mbytes
}}
define dumptype PLAIN {{
    auth "bsd"
    program "GNUTAR"
    index yes
    holdingdisk never
    compress none
    record no
}}
'''


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
        lab.write('amanda/hosts', f'127.0.0.1 localhost\n{laboratory.INSIDE4} server.example\n'
                                  f'{laboratory.OUTSIDE4} saved.example\n')
        lab.write('amanda/services', f'amanda {port}/udp\namanda {port}/tcp\n')
        known = lab.write('amanda/amandahosts', 'server.example root\nserver.example backup\n')
        os.chmod(known, 0o600)
        os.chown(known, backup.pw_uid, backup.pw_gid)
        self.request = lab.write('amanda/request', '<dle>\n<program>GNUTAR</program>\n'
                                                   f'<disk>{lab.path("amanda", "data")}</disk>\n'
                                                   '<level>0</level>\n<record>NO</record>\n</dle>\n')
        self.run, self.tapes = lab.path('amanda', 'run'), lab.path('amanda', 'tapes')
        os.makedirs(lab.path('amanda', 'amanda', 'e2e'))  # Amanda locks files there
        os.chown(lab.path('amanda', 'amanda', 'e2e'), backup.pw_uid, backup.pw_gid)
        lab.write('amanda/amanda/e2e/amanda.conf', CONFIG.format(
            run=self.run, tapes=self.tapes, ports=DUMPER_PORTS.replace('-', ',')))
        lab.write('amanda/amanda/e2e/disklist', f'saved.example {lab.path("amanda", "data")} PLAIN\n')
        config = lab.write('amanda/inetd.conf', f'{port} dgram udp4 wait backup '
                           f'/usr/lib/amanda/amandad amandad -auth={auth} amdump\n')
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
                          timeout=LONG_ENOUGH_S, check=False).stdout


def by_amservice(bench, timeout_s):
    lab, saved = bench.lab, ready(bench, 'bsdudp')
    # As long as its input is open it waits for the end of the archive.
    client = lab.start('amservice', 'inside', *in_its_own_system(lab, 'inside', [
        'timeout', '-s', 'KILL', str(timeout_s or LONG_ENOUGH_S), 'amservice',
        '-f', lab.path('amanda', 'request'), '-s', 'saved.example', 'bsdudp', 'sendbackup']),
        stdin=subprocess.PIPE)

    def problem():
        code = client.wait(LONG_ENOUGH_S + 5)
        with open(client.out_path, 'rb') as file:
            if file_in(file.read()) == saved.content:
                return None
        return f'no whole archive came (amservice: exit code {code}): {client.stderr}'
    return problem


def by_amdump(bench, timeout_s):
    lab, saved = bench.lab, ready(bench, 'bsd')
    backup = pwd.getpwnam('backup')
    for path, inside in ((saved.run, ('log', 'info', 'index')), (saved.tapes, ('slot1',))):
        shutil.rmtree(path, ignore_errors=True)
        for folder in (path, *(os.path.join(path, name) for name in inside)):
            os.mkdir(folder)
            os.chown(folder, backup.pw_uid, backup.pw_gid)
    server = lab.start('amdump', 'inside', *in_its_own_system(lab, 'inside', [
        'setpriv', '--reuid=backup', '--regid=backup', '--init-groups', 'amdump', 'e2e']))

    def on_tape():
        for path in glob.glob(os.path.join(saved.tapes, 'slot1', '00001.*')):
            with open(path, 'rb') as file:
                return file_in(file.read()[TAPE_LABEL_BYTES:])
        return b''

    def problem():
        if timeout_s is None:
            code = server.wait(3 * LONG_ENOUGH_S)
        else:  # from where its dumper asks for the first stream
            bench.eventually(lambda: bench.captured(
                'inside', f'src host {laboratory.INSIDE4} and src portrange {DUMPER_PORTS} and '
                'tcp[tcpflags] & tcp-syn != 0') > 0, 'amdump has asked for no stream')
            laboratory.select.select([server.pidfd], [], [], timeout_s)
            server.stop()
            code = 'stopped'
        return None if on_tape() == saved.content else f'not saved (amdump: {code}): {server.stderr}'
    return problem


def cases():
    return (pair('amanda/1-workers/bsdudp', Setting(service='amanda', workers=1), by_amservice) +
            pair('amanda/3-workers/amdump', Setting(service='amanda', workers=3), by_amdump))
