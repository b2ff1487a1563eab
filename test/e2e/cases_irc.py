# SPDX-License-Identifier: BSD-3-Clause
"""Direct connections between IRC clients: ngircd and bob outside, alice inside
(scripts, and WeeChat once). Who offers listens, who accepts connects: to alice by the helper, to bob
only if it is told to let clients do that."""

import functools
import hashlib
import ipaddress
import os
import re
import select
import socket

import lab as laboratory
from cases import Case, Failed, expect, pair
from middle import Setting

LONG_ENOUGH_S = 20
CONTENT = hashlib.shake_256(b'postern').digest(100_000)
HOSTS = {('inside', 4): laboratory.INSIDE4, ('inside', 6): laboratory.INSIDE6,
         ('outside', 4): laboratory.OUTSIDE4, ('outside', 6): laboratory.OUTSIDE6}


class Ngircd:
    def __init__(self, lab, port):
        config = lab.write('ngircd.conf', f'''
[Global]
Name = irc.example
Info = test
Ports = {port}
Listen = {laboratory.OUTSIDE4},{laboratory.OUTSIDE6}
MotdPhrase = hello
ServerUID = nobody
ServerGID = nogroup
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
[Options]
DNS = no
Ident = no
PAM = no
''')
        process = lab.start('ngircd', 'outside', 'ngircd', '--nodaemon', '--config', config)
        process.await_output(r'Now listening on.*(?s:.*)Now listening on')


class Client:
    """An IRC client that does what it is told."""

    def __init__(self, lab, host, family, port, nick):
        self.nick, self.said = nick, ''
        with lab.inside_of(host):
            self.socket = socket.create_connection((HOSTS['outside', family], port), LONG_ENOUGH_S)
        self.say(f'NICK {nick}')
        self.say(f'USER {nick} 0 * :{nick}')
        self.hear(r' 001 ')

    def say(self, line):
        self.socket.sendall(line.encode('latin-1') + b'\r\n')

    def hear(self, pattern):
        """Waits for a line; the match."""
        while True:
            for line in self.said.splitlines():
                found = re.search(pattern, line)
                if found:
                    return found
            got = self.socket.recv(4096)
            if not got:
                raise Failed(f'{self.nick} lost the server: {self.said}')
            self.said += got.decode('latin-1')
            if '\r\nPING ' in self.said:
                self.say('PONG :x')


def transfer(kind, by, family, bench, timeout_s):
    """`by` (a host) offers, the client on the other one takes it."""
    bench.server(Ngircd)
    lab, port = bench.lab, bench.setting.port
    to = 'outside' if by == 'inside' else 'inside'
    tag = f'{by[0]}{family}'
    giver = Client(lab, by, family, port, f'giver{tag}')
    taker = Client(lab, to, family, port, f'taker{tag}')
    with lab.inside_of(by):
        listener = socket.create_server((HOSTS[by, family], 0),
                                        family=socket.AF_INET if family == 4 else socket.AF_INET6)
    listener.settimeout(timeout_s or LONG_ENOUGH_S)
    address = HOSTS[by, family]
    number = int(ipaddress.ip_address(address)) if family == 4 else address
    words = {'send': f'SEND "a file.bin" {number} {listener.getsockname()[1]} {len(CONTENT)}',
             'chat': f'CHAT chat {number} {listener.getsockname()[1]}'}[kind]
    giver.say(f'PRIVMSG {taker.nick} :\x01DCC {words}\x01')
    offered = taker.hear(f'PRIVMSG {taker.nick} :\x01DCC {kind.upper()} .* {number} ([0-9]+)')
    with lab.inside_of(to):
        direct = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
    direct.setblocking(False)
    direct.connect_ex((address, int(offered[1])))

    def problem():
        direct.settimeout(LONG_ENOUGH_S)
        try:
            with listener, listener.accept()[0] as given, direct:
                given.settimeout(LONG_ENOUGH_S)
                given.sendall(CONTENT)
                given.shutdown(socket.SHUT_WR)
                got = b''.join(iter(functools.partial(direct.recv, 65536), b''))
        except TimeoutError:
            return 'the direct connection did not come about'
        finally:
            giver.socket.close()
            taker.socket.close()
        return None if got == CONTENT else f'{len(got)} bytes came'
    return problem


def weechat_sends(bench, timeout_s):
    """The offer and the listening are a real client's: WeeChat inside."""
    bench.server(Ngircd)
    lab, port = bench.lab, bench.setting.port
    taker = Client(lab, 'outside', 4, port, 'taker')
    os.makedirs(lab.path('weechat'), exist_ok=True)
    with open(lab.path('weechat', 'file.bin'), 'wb') as file:
        file.write(CONTENT)
    weechat = lab.start('weechat', 'inside', 'weechat-headless', '-d', lab.path('weechat'),
                        '-r', f'/server add lab {laboratory.OUTSIDE4}/{port} -nicks=giver',
                        '-r', '/set irc.server.lab.command '
                              f'/dcc send taker {lab.path("weechat", "file.bin")}',
                        '-r', '/connect lab')
    offered = taker.hear(r'PRIVMSG taker :\x01DCC SEND "?file.bin"? ([0-9]+) ([0-9]+) ([0-9]+)')
    with lab.inside_of('outside'):
        direct = socket.socket()
    direct.setblocking(False)
    direct.connect_ex((str(ipaddress.ip_address(int(offered[1]))), int(offered[2])))

    def problem():
        direct.settimeout(timeout_s or LONG_ENOUGH_S)
        got = b''
        try:
            # A socket that is not yet connected has nobody at its other end.
            if not select.select([], [direct], [], direct.gettimeout())[1] or \
                    direct.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return 'the direct connection did not come about'
            while len(got) < len(CONTENT):
                some = direct.recv(65536)
                if not some:
                    break
                got += some
        finally:
            direct.close()
            taker.socket.close()
            weechat.stop()
        return None if got == CONTENT else f'{len(got)} bytes came'
    return problem


def offers_of_others_do_not_count(bench):
    wait = transfer('send', 'outside', 4, bench, 4)
    expect(wait() is not None, 'an offer of another user has opened a way')
    expect(bench.filed_expectations() in (None, 0), 'there was an expectation')


def cases():
    def setting(workers, **more):
        return Setting(service='irc', workers=workers, **more)
    found = []
    for workers, kind, family in ((1, 'send', 4), (1, 'chat', 6), (3, 'send', 6), (3, 'chat', 4)):
        found += pair(f'irc/{workers}-workers/{kind}/ipv{family}', setting(workers),
                      functools.partial(transfer, kind, 'inside', family))
    found += pair('irc/1-workers/weechat/ipv4', setting(1), weechat_sends)
    found += pair('irc/offer-of-another/ipv4', setting(3, params=(('offers', True),)),
                  functools.partial(transfer, 'send', 'outside', 4))
    found.append(Case('irc/offer-of-another/does-not-count', setting(2),
                      offers_of_others_do_not_count, needs=frozenset({'control-socket'})))
    return found
