# SPDX-License-Identifier: BSD-3-Clause
"""What the cases share: postern-web as a child, questions to it, a firewall with traffic, a list of
cases."""

import contextlib
import dataclasses
import http.client
import json
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.append(os.path.join(ROOT, 'test', 'e2e'))

import lab as laboratory  # noqa: E402
import middle             # noqa: E402
import peers              # noqa: E402

POSTERN_WEB = os.path.join(middle.BUILD, 'app', 'web', 'postern-web')
PICTURES = os.path.join(middle.BUILD, 'web-pictures')
CASES = []


class Wrong(Exception):
    """What had to hold does not."""


class Skip(Exception):
    """A case cannot run here."""


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    function: object
    quick: bool


def case(name, quick=True):
    """Registers a function as a case. Not `quick`: of the full run only."""
    def register(function):
        CASES.append(Case(name, function, quick))
        return function
    return register


def expect(condition, message):
    if not condition:
        raise Wrong(message() if callable(message) else message)


def equal(found, wanted, what):
    expect(found == wanted, f'{what}: {found!r}, expected {wanted!r}')


def eventually(condition, message, timeout=20):
    """Waits for something that can only be asked for."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        expect(time.monotonic() < deadline, message)
        select.select([], [], [], 0.02)


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix='postern-web-test-', ignore_cleanup_errors=True) as path:
        yield path


class Web:
    """postern-web on a free port of this host."""

    def __init__(self, where, socket_path, *options, listen='127.0.0.1:0', tls=None, token=None):
        self.tls, self.token = tls, token
        self.process = laboratory.Process('postern-web', [POSTERN_WEB, '--socket', socket_path, '--listen', listen,
                                                          *options], where)
        self.process.await_output(r'listening on \S+')
        self.url = re.search(r'listening on (\S+?),', self.process.stdout)[1]
        parts = urllib.parse.urlsplit(self.url)
        self.host, self.port = parts.hostname, parts.port

    def get(self, path, method='GET', timeout=40, headers=None, body=None, tls=None):
        headers = dict(headers or {})
        if self.token:
            headers.setdefault('Authorization', f'Bearer {self.token}')
        if self.tls or tls:
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout,
                                                     context=tls or self.tls)
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers, body=body)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def rows(self, path):
        answer = self.get('/api/v1/' + path)
        equal(answer.status, 200, f'the status of {path} ({answer.text[:200]})')
        return answer.json['rows']

    def connect(self, timeout=40):
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def raw(self, data, timeout=40):
        """What comes back for these bytes, until the server closes."""
        with self.connect(timeout) as end:
            with contextlib.suppress(OSError):
                end.sendall(data)
            return received(end)

    def stop(self):
        return self.process.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def received(end):
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := end.recv(1 << 16):
            parts.append(part)
    return b''.join(parts)


def refused(*options):
    """Exit code and words of a postern-web that must not begin."""
    done = subprocess.run([POSTERN_WEB, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=20, check=False)
    return done.returncode, done.stdout + done.stderr


def client_context(authority, certificate=None, key=None):
    context = ssl.create_default_context(cafile=authority)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


class Firewall:
    """A laboratory with Postern and an FTP server, and postern-web on the reading socket."""

    ODD_RULE = 'an-odd.rule_1'

    def __init__(self):
        why = laboratory.why_impossible() or middle.Postern.missing()
        if why:
            raise Skip(why)
        self.lab = laboratory.Lab()
        try:
            self.read_socket = self.lab.path('read', 'read.sock')
            setting = middle.Setting()
            config = middle.configuration(setting, self.lab.path('postern.sock'))
            config['control'].update(read_socket=self.read_socket, read_access='all')
            config['policy']['rules'].insert(0, {
                'name': self.ODD_RULE, 'from': 'outside', 'proto': 'udp', 'dport': 9, 'action': 'drop'})
            self.middle = middle.Postern(config=config).start(self.lab)
            self.server = peers.FtpServer(self.lab)
            self.web = Web(self.lab.folder, self.read_socket)
        except BaseException:
            self.lab.close()
            raise

    def announce(self):
        """A client whose data connection is expected: (client, port)."""
        client = peers.SteppedClient(self.lab, name=f'step{time.monotonic_ns()}')
        return client, client('announce epsv')['port']

    def transfer(self):
        done = peers.Transfer('curl', 'epsv', 4).start(self.lab, 21, 20)
        done.finish()
        return done

    def close(self):
        self.web.stop()
        self.middle.stop()
        self.lab.close()


class Shared:
    """Made when a case first asks, and closed at the end."""

    def __init__(self):
        self._firewall = self._why = None

    @property
    def firewall(self):
        if self._why:
            raise Skip(self._why)
        if self._firewall is None:
            try:
                self._firewall = Firewall()
            except Skip as skip:
                self._why = str(skip)
                raise
        return self._firewall

    def close(self):
        if self._firewall:
            self._firewall.close()
