# SPDX-License-Identifier: BSD-3-Clause
"""FTP with servers and clients that do it their own way, as people have reported them: each passes with
the helper, and fails without it."""

import contextlib
import functools
import hashlib
import os
import sys

import lab as laboratory
from cases import pair
from middle import Setting
from peers import FILE_BYTES, PASSIVE_PORTS, StepError

FOLDER = os.path.dirname(os.path.abspath(__file__))
LONG_S = 40  # a Java machine starts and compiles first
HOSTS = {4: laboratory.OUTSIDE4, 6: f'[{laboratory.OUTSIDE6}]'}


class OddServer:
    """odd_ftp_server.py on the outside host."""

    def __init__(self, lab, port, manner):
        self.lab = lab
        root = lab.path('odd')
        os.makedirs(os.path.join(root, 'incoming'))
        content = hashlib.shake_256(b'postern').digest(FILE_BYTES)
        # The folder is listed by its one name; Java's client ends lines as text has it.
        self.digests = {'file.bin': hashlib.sha256(content).hexdigest(),
                        'incoming': hashlib.sha256(b'file.bin\n').hexdigest()}
        with open(os.path.join(root, 'file.bin'), 'wb') as file:
            file.write(content)
        if manner == 'vxworks':
            lab.do('outside', 'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
                   '-subj', '/CN=ftp.example', '-keyout', os.path.join(root, 'tls.key'), '-out',
                   os.path.join(root, 'tls.pem'))
        self.process = lab.start(f'odd-{manner}', 'outside', sys.executable,
                                 os.path.join(FOLDER, 'odd_ftp_server.py'), manner, str(port), root)
        self.process.await_output('ready')

    def path(self, *parts):
        return self.lab.path('odd', *parts)


def curl(host, port, path, target, words):
    return ['curl', '-v', '--no-progress-meter', *words, '-o', target, f'ftp://{host}:{port}/{path}']


def lftp(host, port, path, target, words):
    return ['lftp', '-c', f'set net:max-retries 1; set net:persist-retries 0; set ftp:ssl-allow '
            f'{"yes" if "tls" in words else "no"}; set ftp:ssl-force {"yes" if "tls" in words else "no"}; '
            'set ssl:verify-certificate no; set ftp:ssl-allow-anonymous yes; set cmd:fail-exit yes; '
            f'set xfer:clobber yes; open -p {port} {host}; get /{path} -o {target}']


def java(host, port, path, target, words):
    return ['java', os.path.join(FOLDER, 'Fetch.java'), f'ftp://{host}:{port}/{path}', target]


def python(host, port, path, target, words):
    return [sys.executable, os.path.join(FOLDER, 'odd_ftp_client.py'), host.strip('[]'), str(port),
            target, *words]


@functools.cache
def server_of(manner):
    """For Bench.server(), which keeps one of each kind."""
    return lambda lab, port: OddServer(lab, port, manner)


def fetch(manner, client, family=4, words=(), path='file.bin'):
    """For pair(): the file, or the list of a folder, by this client from this server."""
    def begin(bench, timeout_s):
        server = bench.server(server_of(manner))
        lab = bench.lab
        name = f'client-{client.__name__}-{family}-{path}-{"-".join(words) or "plain"}'
        target = lab.path(f'{name}.got')
        with contextlib.suppress(FileNotFoundError):
            os.remove(target)
        env = {**os.environ, 'HOME': lab.path(), 'LFTP_HOME': lab.path('lftp'), 'LC_ALL': 'C'}
        argv = client(HOSTS[family], bench.setting.port, path, target, words)
        # Without the helper a client waits for its data for long: what counts begins at the log-in.
        process = lab.start(name, 'inside', 'timeout', str(LONG_S if timeout_s is None else
                                                           timeout_s + 6), *argv, env=env)

        def problem():
            code = process.wait(LONG_S + 5)
            try:
                with open(target, 'rb') as file:
                    got = hashlib.sha256(file.read()).hexdigest()
            except FileNotFoundError:
                got = None
            if code == 0 and got == server.digests[path]:
                return None
            if not server.process.stdout:
                raise StepError('the control connection did not work')
            return (f'{name}: exit {code}, {"another" if got else "no"} file: '
                    f'{(process.stdout + process.stderr)[-300:]}')
        return problem
    return begin


# Java's client says EPSV ALL before each transfer, and PASV when that is refused. A folder costs it
# two: it tries to fetch it first, then says TYPE A, whose 200 is not EPSV ALL's.
FETCHES = [
    ('no-epsv', java, 4, ()), ('no-epsv', curl, 4, ()), ('no-epsv', python, 6, ('pasv',)),
    ('private', curl, 4, ('--disable-epsv',)), ('private', lftp, 4, ()),
    ('private', python, 4, ('ftplib',)),
    ('anybody', curl, 4, ('--disable-epsv',)), ('anybody', python, 4, ('ftplib',)),
    ('loopback', curl, 4, ('--disable-epsv',)), ('loopback', lftp, 4, ()),
    ('other', curl, 4, ('--disable-epsv',)),
    ('brackets', python, 4, ('pasv',)),
    ('glftpd', python, 4, ('twice',)), ('glftpd', python, 6, ('twice',)),
    ('names', python, 4, ('names',)),
]


def cases():
    found = []
    for manner, client, family, words in FETCHES:
        setting = Setting(workers=2, server=f'odd-{manner}')
        found += pair(f'ftp/{manner}/{client.__name__}/ipv{family}', setting,
                      fetch(manner, client, family, words))
    found += pair('ftp/no-epsv/java/ipv4/folder', Setting(workers=2, server='odd-no-epsv'),
                  fetch('no-epsv', java, path='incoming'))
    ranged = Setting(workers=2, server='odd-vxworks', params=(('encrypted_passive', PASSIVE_PORTS),))
    for client, words in ((python, ('tls',)), (lftp, ('tls',))):
        found += pair(f'ftp/vxworks/{client.__name__}/ipv4', ranged,
                      fetch('vxworks', client, 4, words))
    return found
