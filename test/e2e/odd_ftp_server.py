# SPDX-License-Identifier: BSD-3-Clause
"""An FTP server with the manners of those that people report: odd_ftp_server.py MANNER PORT ROOT

Manners:
    no-epsv       refuses EPSV ALL and EPSV, and says 200 to TYPE
    glftpd        replies of many lines that end with another number, or not at all
    private, anybody, loopback, other
                  227 names 10.1.2.3, 0.0.0.0, 127.0.0.1 or 203.0.113.9
    vxworks       AUTH TLS is answered by 200; ROOT has tls.key and tls.pem
    brackets      227 with blanks, in brackets that nothing closes
    names         STAT lists two names, `200 a file` and one like a 227 for port 50077, each after
                  another command has come; something listens on that port

Passive ports are 50000 to 50100. It serves ROOT, takes uploads into its folder `incoming`, and prints
each line of the control connections. Anybody may log in.
"""

import contextlib
import os
import socket
import ssl
import sys
import threading

MANNER, PORT, ROOT = sys.argv[1], int(sys.argv[2]), sys.argv[3]
NAMED = {'private': '10,1,2,3', 'anybody': '0,0,0,0', 'loopback': '127,0,0,1',
         'other': '203,0,113,9'}
PORT_OF_A_NAME = 50077


class Session:
    def __init__(self, sock):
        self.sock, self.lines = sock, sock.makefile('rb')
        self.listener = self.peer = None
        self.private = False
        self.early = []  # lines that came inside a list of names

    def say(self, text):
        print(f'< {text}', flush=True)
        self.sock.sendall(text.replace('\n', '\r\n').encode() + b'\r\n')

    def run(self):
        self.say('220-Welcome\n220 ready')
        while line := self.early.pop(0) if self.early else self.lines.readline():
            line = line.decode('latin-1').strip()
            print(f'> {line}', flush=True)
            verb, _, argument = line.partition(' ')
            if verb.upper() == 'QUIT':
                return self.say('221 bye')
            getattr(self, f'on_{verb.lower()}', self.unknown)(argument.strip())

    def unknown(self, _):
        self.say('502 what')

    def on_user(self, _):
        self.say('331 password')

    def on_pass(self, _):
        self.say('230-Welcome\n230-to this server\n230 in' if MANNER != 'glftpd' else '230 in')

    def on_pwd(self, _):
        self.say('257 "/"')

    def on_cwd(self, _):
        self.say('250 ok')

    def on_type(self, _):
        self.say('200 ok')

    def on_size(self, name):
        try:
            self.say(f'213 {os.path.getsize(os.path.join(ROOT, os.path.basename(name)))}')
        except OSError:
            self.say('550 no')

    def on_auth(self, argument):
        if MANNER != 'vxworks' or argument.upper() not in ('TLS', 'SSL'):
            return self.unknown(argument)
        self.say('200 AUTH command ok; starting SSL connection...')
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(os.path.join(ROOT, 'tls.pem'), os.path.join(ROOT, 'tls.key'))
        self.context = context
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.lines = self.sock.makefile('rb')

    def on_pbsz(self, _):
        self.say('200 ok')

    def on_prot(self, argument):
        self.private = argument.upper() == 'P'
        self.say('200 ok')

    def on_stat(self, name):
        if MANNER != 'names' or not name:
            return self.unknown(name)
        own = self.sock.getsockname()[0].removeprefix('::ffff:').replace('.', ',')
        self.say('213-Status follows:')
        for line in ('200 a file', f'227 a file ({own},{PORT_OF_A_NAME >> 8},{PORT_OF_A_NAME & 255})'):
            self.early.append(self.lines.readline())
            self.say(line)
        self.say('213 End of status')

    def listen(self):
        address = self.sock.getsockname()[0]
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        for port in range(50000, 50101):
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address, port))
            except OSError:
                listener.close()
                continue
            listener.listen(1)
            listener.settimeout(10)
            self.listener = listener
            return port
        raise OSError('no passive port is free')

    def on_epsv(self, argument):
        if MANNER == 'no-epsv' or (MANNER in NAMED and not argument):
            return self.unknown(argument)
        if argument.upper() == 'ALL':
            return self.say('200 ok')
        self.say(f'229 Entering Extended Passive Mode (|||{self.listen()}|)')

    def on_pasv(self, _):
        own = self.sock.getsockname()[0].removeprefix('::ffff:').replace('.', ',')
        port = self.listen()
        numbers = f'{NAMED.get(MANNER, own if ":" not in own else "0,0,0,0")},{port >> 8},{port & 255}'
        if MANNER == 'brackets':
            return self.say(f'227 Entering Passive Mode < {numbers.replace(",", " , ")}')
        self.say(f'227 Entering Passive Mode ({numbers}).')

    def data(self):
        with self.listener:
            connection = self.listener.accept()[0]
        self.listener = None
        return self.context.wrap_socket(connection, server_side=True) if self.private else connection

    def on_list(self, _):
        self.say('150 here it comes')
        try:
            with self.data() as connection:
                connection.sendall(b'file.bin\r\n')
            self.say('226 done')
        except OSError as error:
            self.say(f'425 {error}')

    def on_retr(self, name):
        path = os.path.join(ROOT, os.path.basename(name))
        if not os.path.isfile(path):
            self.listener.close()
            return self.say('550 not a file')
        with open(path, 'rb') as file:
            content = file.read()
        if MANNER == 'glftpd':
            self.say('553-\n553- Directory excluded (precheck).')
        self.say('150 here it comes')
        try:
            with self.data() as connection:
                connection.sendall(content)
                if self.private:
                    connection.unwrap()
            self.say('226 done')
        except OSError as error:
            self.say(f'425 {error}')

    def on_stor(self, name):
        if MANNER == 'glftpd':
            self.say('553-\n553- Directory excluded (precheck).')
        self.say('150 send')
        try:
            with self.data() as connection, open(
                    os.path.join(ROOT, 'incoming', os.path.basename(name)), 'wb') as file:
                while chunk := connection.recv(65536):
                    file.write(chunk)
            self.say('226 done')
        except OSError as error:
            self.say(f'425 {error}')


def serve(sock):
    with sock:
        try:
            Session(sock).run()
        except OSError as error:
            print(f'! {error}', flush=True)


def main():
    with contextlib.ExitStack() as stack:
        server, *_ = (stack.enter_context(socket.create_server(
            ('::', port), family=socket.AF_INET6, dualstack_ipv6=True))
            for port in ([PORT, PORT_OF_A_NAME] if MANNER == 'names' else [PORT]))
        print('ready', flush=True)
        while True:
            threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()


main()
