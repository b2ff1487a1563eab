# SPDX-License-Identifier: BSD-3-Clause
"""An FTP client that does one step when told: ftp_step.py HOST PORT

Logs in, then obeys lines on stdin and answers each with one line of JSON on stdout, so that a test
can look at the tables between any two steps of a transfer:

    announce pasv|epsv         asks where to fetch the file   {"host":..., "port":...}
    listen port|eprt           tells where to bring it        {"host":..., "port":...}
    connect [LOCAL_PORT]       opens the data connection      {"sport":...}
    connect_again              a second one, to the same port {"sport":...}
    fetch FILE                 RETR until the file has ended  {"bytes":..., "sha256":...}
    noop [TIMES]               commands without an effect     {}
    reset                      breaks the control connection  {}

A step that fails answers {"error":...}.
"""

import ftplib
import hashlib
import json
import socket
import struct
import sys

TIMEOUT_S = 10      # a step that should succeed
SHORT_S = 3    # one that should not


class Client:
    def __init__(self, host, port):
        self.ftp = ftplib.FTP()
        self.ftp.connect(host, port, timeout=TIMEOUT_S)
        self.ftp.login()
        self.ftp.voidcmd('TYPE I')
        self.announced = None
        self.listener = None
        self.data = None

    def hello(self):
        local, remote = self.ftp.sock.getsockname(), self.ftp.sock.getpeername()
        return {'src': local[0], 'sport': local[1], 'dst': remote[0], 'dport': remote[1]}

    def announce(self, how):
        if how == 'pasv':
            host, port = ftplib.parse227(self.ftp.sendcmd('PASV'))
        else:
            host, port = ftplib.parse229(self.ftp.sendcmd('EPSV'), self.ftp.sock.getpeername())
        self.announced = (host, port)
        return {'host': host, 'port': port}

    def listen(self, how):
        self.listener = socket.create_server((self.ftp.sock.getsockname()[0], 0),
                                             family=self.ftp.af, backlog=1)
        self.listener.settimeout(TIMEOUT_S)
        host, port = self.listener.getsockname()[:2]
        if how == 'port':
            self.ftp.sendport(host, port)
        else:
            self.ftp.sendeprt(host, port)
        return {'host': host, 'port': port}

    def connect(self, local_port='0'):
        self.data = socket.create_connection(
            self.announced, timeout=TIMEOUT_S,
            source_address=(self.ftp.sock.getsockname()[0], int(local_port)))
        return {'sport': self.data.getsockname()[1]}

    def connect_again(self):
        with socket.create_connection(self.announced, timeout=SHORT_S) as second:
            return {'sport': second.getsockname()[1]}

    def fetch(self, name):
        self.ftp.putcmd(f'RETR {name}')
        if self.listener is not None:
            self.data = self.listener.accept()[0]
            self.data.settimeout(TIMEOUT_S)
            self.listener.close()
            self.listener = None
        reply = self.ftp.getresp()
        if not reply.startswith('1'):
            raise ftplib.error_reply(reply)
        digest, count = hashlib.sha256(), 0
        while chunk := self.data.recv(65536):
            digest.update(chunk)
            count += len(chunk)
        self.data.close()
        self.ftp.voidresp()
        return {'bytes': count, 'sha256': digest.hexdigest()}

    def noop(self, times=1):
        for _ in range(int(times)):
            self.ftp.voidcmd('NOOP')
        return {}

    def reset(self):
        self.ftp.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.ftp.file.close()
        self.ftp.sock.close()
        return {}


def say(answer):
    print(json.dumps(answer), flush=True)


def main():
    try:
        client = Client(sys.argv[1], int(sys.argv[2]))
    except (OSError, EOFError, ftplib.Error) as error:
        say({'error': str(error)})
        return
    say(client.hello())
    for line in sys.stdin:
        verb, *words = line.split()
        try:
            say(getattr(client, verb)(*words))
        except (OSError, EOFError, ftplib.Error) as error:
            say({'error': f'{type(error).__name__}: {error}'})


main()
