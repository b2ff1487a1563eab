# SPDX-License-Identifier: BSD-3-Clause
"""The real servers and clients at both ends."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pwd
import re
import select
import shutil
import subprocess
import sys

import lab as laboratory

FOLDER = os.path.dirname(os.path.abspath(__file__))
FILE_BYTES = 300_000
TFTP_BYTES = 60_000  # an acknowledgement for each 512 bytes
PASSIVE_PORTS = '50000-50100'  # of the server that encrypts
SLOWLY = FILE_BYTES // 4  # bytes a second: a transfer that can be watched for some seconds


def unpacked(package, program):
    """Debian's FTP servers exclude each other, so install-deps.sh unpacks these; None: not there."""
    return shutil.which(program, path=f'/usr/sbin:/var/lib/postern-test/{package}/usr/sbin')


FTP_SERVERS = {'vsftpd': shutil.which('vsftpd'), 'vsftpd-tls': shutil.which('vsftpd'),
               'proftpd': unpacked('proftpd-core', 'proftpd'),
               'pure-ftpd': unpacked('pure-ftpd', 'pure-ftpd')}


class FtpServer:
    """An FTP server on the outside host: anonymous, both families on one socket, one file to
    fetch."""

    def __init__(self, lab, port=21, program='vsftpd'):
        self.lab, self.port, self.program = lab, port, program
        self.digest = self._make_tree()
        start = {'vsftpd': self._vsftpd, 'vsftpd-tls': self._vsftpd_tls, 'proftpd': self._proftpd, 'pure-ftpd': self._pure_ftpd}
        self.process = start[program](f'{program}-{port}')
        self._await_listening()

    def _vsftpd_tls(self, name):
        """Nobody gets anything without TLS, data included; data ports are PASSIVE_PORTS."""
        key, certificate = self.lab.path(f'{name}.key'), self.lab.path(f'{name}.pem')
        self.lab.do('outside', 'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days',
                    '2', '-subj', '/CN=ftp.example', '-keyout', key, '-out', certificate)
        first, last = PASSIVE_PORTS.split('-')
        return self._vsftpd(name, {
            'ssl_enable': 'YES', 'allow_anon_ssl': 'YES', 'force_anon_logins_ssl': 'YES',
            'force_anon_data_ssl': 'YES', 'require_ssl_reuse': 'NO', 'ssl_ciphers': 'HIGH',
            'rsa_cert_file': certificate, 'rsa_private_key_file': key,
            'pasv_min_port': first, 'pasv_max_port': last})

    def _vsftpd(self, name, more=()):
        lab, port = self.lab, self.port
        options = {
            'listen': 'NO', 'listen_ipv6': 'YES', 'listen_port': port, 'background': 'NO',
            'anonymous_enable': 'YES', 'local_enable': 'NO', 'anon_root': lab.path('srv'),
            'ftp_username': 'ftp', 'nopriv_user': 'nobody', 'no_anon_password': 'YES',
            'write_enable': 'YES', 'anon_upload_enable': 'YES', 'anon_umask': '022',
            'chown_uploads': 'NO',
            'pasv_enable': 'YES', 'port_enable': 'YES', 'connect_from_port_20': 'YES',
            'ftp_data_port': port - 1,
            'accept_timeout': 5, 'connect_timeout': 5, 'idle_session_timeout': 60,
            'data_connection_timeout': 60,
            'secure_chroot_dir': lab.path('srv', 'empty'), 'pam_service_name': 'vsftpd',
            # Its own sandbox kills the process on kernels that are newer than it.
            'seccomp_sandbox': 'NO', 'isolate': 'NO', 'isolate_network': 'NO',
            'xferlog_enable': 'YES', 'log_ftp_protocol': 'YES', 'dual_log_enable': 'NO',
            'vsftpd_log_file': lab.path(f'{name}.log'), 'xferlog_std_format': 'NO',
            **dict(more),
        }
        config = lab.write(f'{name}.conf', ''.join(f'{k}={v}\n' for k, v in options.items()))
        return lab.start(name, 'outside', 'vsftpd', config)

    def _proftpd(self, name):
        config = self.lab.write(f'{name}.conf', f'''
            ServerType standalone
            DefaultServer on
            ServerName {name}
            Port {self.port}
            UseIPv6 on
            User nobody
            Group nogroup
            PidFile {self.lab.path(name + '.pid')}
            ScoreboardFile none
            SystemLog none
            TransferLog none
            WtmpLog off
            DelayEngine off
            UseReverseDNS off
            RequireValidShell off
            AuthOrder mod_auth_unix.c
            <Anonymous {self.lab.path('srv')}>
              User ftp
              Group nogroup
              UserAlias anonymous ftp
              RequireValidShell off
              <Limit LOGIN>
                AllowAll
              </Limit>
            </Anonymous>
            ''')
        return self.lab.start(name, 'outside', FTP_SERVERS['proftpd'], '-n', '-q', '-c', config)

    def _pure_ftpd(self, name):
        # Anonymous users land in the home of the user ftp: in the server's own mount namespace,
        # which `ip netns exec` makes, our folder lies over it.
        home = pwd.getpwnam('ftp').pw_dir
        command = f'mount --bind {self.lab.path("srv")} {home} && exec "$@"'
        return self.lab.start(name, 'outside', 'sh', '-c', command, 'sh',
                              FTP_SERVERS['pure-ftpd'], '-S', str(self.port), '-e', '-H', '-u', '1')

    def _make_tree(self):
        root = self.lab.path('srv')
        os.makedirs(os.path.join(root, 'empty'), exist_ok=True)
        upload = os.path.join(root, 'incoming')
        os.makedirs(upload, exist_ok=True)
        os.chmod(upload, 0o777)
        os.chmod(root, 0o555)  # vsftpd refuses an anonymous root that can be written
        content = hashlib.shake_256(b'postern').digest(FILE_BYTES)
        with open(os.path.join(root, 'file.bin'), 'wb') as file:
            file.write(content)
        return hashlib.sha256(content).hexdigest()

    def _await_listening(self):
        # The server says nothing when it is ready, so ask the kernel for its listening socket;
        # its process is watched in between.
        for _ in range(250):
            if not self.process.running():
                raise laboratory.LabError(
                    f'{self.program} ended: {self.process.stdout}{self.process.stderr}')
            listening = self.lab.do('outside', 'ss', '-Hltn', f'sport = :{self.port}').stdout
            if listening.strip():
                return
            select.select([self.process.pidfd], [], [], 0.02)
        raise laboratory.LabError(f'{self.program} does not listen')

    def upload_path(self, name):
        return self.lab.path('srv', 'incoming', name)


class TftpServer:
    """tftpd-hpa on the outside host, on both families: one file to fetch, one to overwrite."""

    def __init__(self, lab, port=69):
        self.lab, self.port = lab, port
        root = lab.path('tftp')
        os.makedirs(root)
        content = hashlib.shake_256(b'postern').digest(TFTP_BYTES)
        self.digest = hashlib.sha256(content).hexdigest()
        with open(os.path.join(root, 'file.bin'), 'wb') as file:
            file.write(content)
        self.process = lab.start('in.tftpd', 'outside', 'in.tftpd', '--foreground', '--secure',
                                 '--create', '--permissive', '--user', 'root',
                                 '--address', f':{port}', root)
        for _ in range(250):
            listening = lab.do('outside', 'ss', '-Hlun', f'sport = :{port}').stdout
            if listening.count(f':{port}') >= 2:  # a socket for each family
                return
            if not self.process.running():
                raise laboratory.LabError(
                    f'in.tftpd ended: {self.process.stdout}{self.process.stderr}')
            select.select([self.process.pidfd], [], [], 0.02)
        raise laboratory.LabError('in.tftpd does not listen')

    def upload_path(self, name):
        return self.lab.path('tftp', name)


@dataclasses.dataclass(frozen=True)
class TftpTransfer:
    """One way for a real client to fetch (or send) the file by TFTP."""
    client: str    # curl (asks for options) | tftp (the plain protocol)
    family: int    # 4 | 6
    upload: bool = False

    def name(self):
        return f'{self.client}/ipv{self.family}' + ('/upload' if self.upload else '')

    def start(self, lab, port, timeout_s):
        """Starts the client on the inside host; it gives up after `timeout_s`."""
        host = laboratory.OUTSIDE4 if self.family == 4 else laboratory.OUTSIDE6
        name = f'client-{self.name().replace("/", "-")}'
        source, target = lab.path('tftp', 'file.bin'), lab.path(f'{name}.got')
        with contextlib.suppress(FileNotFoundError):
            os.remove(target)
        if self.client == 'curl':
            url = f'tftp://{host if self.family == 4 else f"[{host}]"}:{port}'
            argv = ['curl', '-v', '--no-progress-meter', '--max-time', str(timeout_s)]
            argv += ['-T', source, f'{url}/{name}'] if self.upload else [
                '-o', target, f'{url}/file.bin']
        else:
            words = ['put', source, name] if self.upload else ['get', 'file.bin', target]
            argv = ['timeout', str(timeout_s), 'tftp', f'-{self.family}', '-v', '-m', 'binary',
                    host, str(port), '-c', *words]
        return Running(self, lab.start(name, 'inside', *argv), target, name, timeout_s)


@dataclasses.dataclass(frozen=True)
class Transfer:
    """One way for a real client to fetch (or send) the file."""
    client: str    # curl | lftp | ftp (inetutils)
    mode: str      # pasv | epsv | port | eprt
    family: int    # 4 | 6
    upload: bool = False
    tls: bool = False  # insists on it for control and data (curl, lftp)

    def name(self):
        return (f'{self.client}/{self.mode}/ipv{self.family}' + ('/upload' if self.upload else '') +
                ('/tls' if self.tls else ''))

    @property
    def active(self):
        return self.mode in ('port', 'eprt')

    def start(self, lab, port, timeout_s, bytes_per_s=0):
        """Starts the client on the inside host; it gives up after `timeout_s`. lftp can be told
        to take its time: `bytes_per_s`."""
        host = laboratory.OUTSIDE4 if self.family == 4 else f'[{laboratory.OUTSIDE6}]'
        name = f'client-{self.name().replace("/", "-")}'
        target = lab.path(f'{name}.got')
        with contextlib.suppress(FileNotFoundError):
            os.remove(target)
        if self.client == 'curl':
            argv = ['curl', '-v', '--no-progress-meter', '--max-time', str(timeout_s)]
            argv += {'pasv': ['--disable-epsv'], 'epsv': [],
                     'port': ['-P', '-', '--disable-eprt'], 'eprt': ['-P', '-']}[self.mode]
            argv += ['--ssl-reqd', '--insecure'] if self.tls else []
            url = f'ftp://{host}:{port}'
            if self.upload:
                argv += ['-T', lab.path('srv', 'file.bin'), f'{url}/incoming/{name}']
            else:
                argv += ['-o', target, f'{url}/file.bin']
        elif self.client == 'ftp':
            words = [f'open {host.strip("[]")} {port}', 'user anonymous nobody@', 'binary',
                     *([] if self.active else ['passive']), f'get file.bin {target}', 'bye']
            # It exits with 0 whatever happens, so what arrives has to tell.
            argv = ['timeout', str(timeout_s), 'sh', '-c',
                    'printf "%s\\n" "$@" | inetutils-ftp -n -v -d', 'sh', *words]
        else:
            passive = 'off' if self.active else 'on'
            argv = ['lftp', '-c', ' '.join(f'''
                debug 9; set net:max-retries 1; set net:timeout {timeout_s};
                set net:persist-retries 0; set ftp:passive-mode {passive}; set ftp:prefer-epsv
                {"yes" if self.mode == "epsv" else "no"}; set ftp:ssl-allow
                {"yes" if self.tls else "no"}; set ftp:ssl-force {"yes" if self.tls else "no"};
                set ftp:ssl-allow-anonymous yes; set ftp:ssl-protect-data yes;
                set ssl:verify-certificate no;
                set net:limit-rate {bytes_per_s}; set net:limit-max {bytes_per_s // 10};
                set xfer:clobber yes; set cmd:fail-exit yes; set xfer:disk-full-fatal yes;
                open -p {port} {host}; get /file.bin -o {target}'''.split())]
        # lftp must not read or write the user's own settings and history.
        env = {**os.environ, 'HOME': lab.path(), 'LFTP_HOME': lab.path('lftp'), 'LC_ALL': 'C'}
        return Running(self, lab.start(name, 'inside', *argv, env=env), target, name, timeout_s)


class Running:
    """A transfer in progress."""

    def __init__(self, transfer, process, target, name, timeout_s):
        self.transfer, self.process = transfer, process
        self.target, self.upload_name, self.timeout_s = target, name, timeout_s

    @property
    def said(self):
        return self.process.stdout + self.process.stderr

    def finish(self):
        """The client's exit code; a client that ignores its own limit is ended."""
        try:
            return self.process.wait(self.timeout_s + 5)
        except laboratory.LabError:
            self.process.stop()
            return -1

    def logged_in(self):
        return bool(re.search(r'(?m)^(?:[<\-]+ )?230[ -]', self.said))

    def asked_for_data(self):
        """True if the client used the command that this transfer is about."""
        return bool(re.search(rf'(?m)^[>\-]+ {self.transfer.mode.upper()}\b', self.said))

    def arrived(self, server):
        """The bytes of the file at the receiving end, b'' if there is none."""
        path = server.upload_path(self.upload_name) if self.transfer.upload else self.target
        try:
            with open(path, 'rb') as file:
                return file.read()
        except FileNotFoundError:
            return b''

    def problem(self, server):
        """None if the whole file came over by the intended way, else what is wrong."""
        code = self.finish()
        if code != 0:
            return f'{self.transfer.name()}: the client failed (exit {code}): {self._last_words()}'
        if not self.asked_for_data():
            return f'{self.transfer.name()}: the client did not use {self.transfer.mode.upper()}'
        if hashlib.sha256(self.arrived(server)).hexdigest() != server.digest:
            return f'{self.transfer.name()}: the file that arrived is not the one that was sent'
        return None

    def _last_words(self):
        lines = [line for line in self.said.splitlines() if line.strip()]
        return ' | '.join(lines[-3:])


class SteppedClient:
    """ftp_step.py on the inside host: a client that waits for us between its steps."""

    def __init__(self, lab, family=4, port=21, name='step'):
        host = laboratory.OUTSIDE4 if family == 4 else laboratory.OUTSIDE6
        self.process = lab.start(name, 'inside', sys.executable,
                                 os.path.join(FOLDER, 'ftp_step.py'), host, str(port),
                                 stdin=subprocess.PIPE)
        self._answers = 0
        self.control = self._answer('login')

    def _answer(self, step, timeout=20):
        self._answers += 1
        self.process.await_output(r'\A(?:.*\n){%d}' % self._answers, timeout)
        answer = json.loads(self.process.stdout.splitlines()[self._answers - 1])
        if 'error' in answer:
            raise StepError(f'{step}: {answer["error"]}')
        return answer

    def __call__(self, step):
        self.process.popen.stdin.write(f'{step}\n'.encode())
        self.process.popen.stdin.flush()
        return self._answer(step)

    def close(self):
        self.process.popen.stdin.close()
        self.process.wait(10)


class StepError(Exception):
    """The server or the network refused a step."""


def vlan_interfaces(lab, vlan):
    """Moves both hosts' addresses to interfaces that speak tagged frames only."""
    for host, v4, v6 in (('inside', laboratory.INSIDE4, laboratory.INSIDE6),
                         ('outside', laboratory.OUTSIDE4, laboratory.OUTSIDE6)):
        tagger = lab.start(f'tagger-{host}', host, sys.executable,
                           os.path.join(FOLDER, 'vlan_tagger.py'), 'eth0', str(vlan), 'tagged0')
        tagger.await_output('ready')
        lab.ip(host, 'addr', 'flush', 'dev', 'eth0')
        lab.ip(host, 'addr', 'add', f'{v4}/24', 'dev', 'tagged0')
        lab.ip(host, 'addr', 'add', f'{v6}/64', 'dev', 'tagged0', 'nodad')
        lab.ip(host, 'link', 'set', 'tagged0', 'up')
