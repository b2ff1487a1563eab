# SPDX-License-Identifier: BSD-3-Clause
"""Helpers believe who speaks their protocol. What a browser, or any client of HTTP, can be made to say is
none of it, and what a server of the attacker says proves nothing by itself."""

import captures
from kit import INSIDE, OUTSIDE, HonestTrafficDropped, Trace, attack, configuration

BROWSER_PORT = 13629  # of the client; 53, 61 as PORT has it
DCC_ADDRESS = int.from_bytes(bytes(map(int, INSIDE.split('.'))), 'big')
PORT_LINE = f'PORT {INSIDE.replace(".", ",")},53,61\r\n'.encode()
HEADERS = b'Host: 192.0.2.9\r\nContent-Type: text/plain;charset=UTF-8\r\nAccept: */*\r\n\r\n'


def comes_in(firewall, helper, port, lines, to=BROWSER_PORT):
    """Whether a stranger reaches the client's port `to` after this dialogue, and all the answers."""
    trace, control = Trace(), captures.Tcp(INSIDE, OUTSIDE, 40000, port)
    trace.send(*control.open())
    trace.lines(control, *lines)
    data = trace.send(captures.Tcp(OUTSIDE, INSIDE, 20, to).segment(OUTSIDE, 'S'))
    answers = firewall.replay(configuration(helpers=[helper]), trace)
    return answers.accepted(data), answers


def honest_ftp(firewall, *lines):
    came_in, answers = comes_in(firewall, 'ftp', 21, lines)
    answers.must_pass()
    return came_in


@attack(quick=True)
def ftp_command_as_http_method(firewall):
    """fetch(url, {method: 'USER'}) proves FTP, and PORT in its body opens the browser's port.

    The first line began with a command, which was enough. Now no line before the proof may look like
    HTTP, whatever its first word is; clients that send ahead of the answers still work."""
    opened = []
    for method in (b'USER', b'STOR', b'noop', b'OPTS'):
        head = method + b' /x HTTP/1.1\r\n' + HEADERS
        for lines in (((INSIDE, head), (OUTSIDE, b'220 hi\r\n'), (INSIDE, b'\r\n' + PORT_LINE)),
                      ((OUTSIDE, b'220 hi\r\n'), (INSIDE, head), (OUTSIDE, b'331 go on\r\n'),
                       (INSIDE, PORT_LINE), (OUTSIDE, b'200 ok\r\n'))):
            if comes_in(firewall, 'ftp', 21, lines)[0]:
                opened.append(f'a request with the method {method.decode()} opens the browser')
    honest_ftp(firewall, (OUTSIDE, b'220 hi\r\n'), (INSIDE, b'USER a\r\nPASS b\r\n' + PORT_LINE),
               (OUTSIDE, b'331 go on\r\n230 in\r\n200 ok\r\n'))
    honest_ftp(firewall, (INSIDE, b'USER a\r\n'), (OUTSIDE, b'220 hi\r\n331 go on\r\n'),
               (INSIDE, PORT_LINE))
    return list(dict.fromkeys(opened))


@attack(quick=True)
def ftp_without_an_answer(firewall):
    """A client that sends all its bytes at once, before the server has greeted, opens its port.

    A greeting that comes later was taken for a proof. Now the server has to answer the client's
    commands first."""
    burst = b'USER a\r\nPASS b\r\n' + PORT_LINE * 3
    if comes_in(firewall, 'ftp', 21, ((INSIDE, burst), (OUTSIDE, b'220 hi\r\n'),
                                      (INSIDE, PORT_LINE)))[0]:
        return 'a body without any command that was answered opens the client'
    honest_ftp(firewall, (OUTSIDE, b'220 hi\r\n'), (INSIDE, b'USER a\r\n'), (OUTSIDE, b'230 in\r\n'),
               (INSIDE, PORT_LINE))
    return None


@attack(quick=True)
def irc_command_as_http_method(firewall):
    """fetch(url, {method: 'NICK'}) proves IRC, and an offer in its body opens the browser's port.

    Any 001 of the server was enough after it. Now no line looks like HTTP, and the welcome names the
    nickname asked for, or one that the client then uses."""
    offer = f'PRIVMSG x :\x01DCC SEND f {DCC_ADDRESS} {BROWSER_PORT} 1\x01\r\n'.encode()
    opened = []
    for method in (b'NICK', b'USER', b'CAP', b'quit'):
        came_in, _ = comes_in(firewall, 'irc', 6667, (
            (INSIDE, method + b' /x HTTP/1.1\r\n' + HEADERS), (OUTSIDE, b':s 001 /x :hi\r\n'),
            (INSIDE, offer)))
        if came_in:
            opened.append(f'a request with the method {method.decode()} opens the browser')
    if comes_in(firewall, 'irc', 6667, ((INSIDE, b'CAP LS\r\n'), (OUTSIDE, b':s 001 other :hi\r\n'),
                                        (INSIDE, offer)))[0]:
        opened.append('a welcome to somebody else opens the client')
    for nick in (b'me', b'bouncer'):
        _, answers = comes_in(firewall, 'irc', 6667, (
            (INSIDE, b'NICK me\r\nUSER me 0 * :me\r\n'), (OUTSIDE, b':s 001 ' + nick + b' :hi\r\n'),
            (INSIDE, b'MODE ' + nick + b' +i\r\n'), (INSIDE, offer)))
        answers.must_pass()
    return opened


@attack(quick=True)
def service_of_the_client(firewall):
    """A program that can be made to speak FTP opens the remote desktop of its host.

    What speaks the protocol is believed. But ways towards whoever began the connection do not lead to
    ports of well-known services; all others are opened."""
    def session(port):
        line = f'PORT {INSIDE.replace(".", ",")},{port >> 8},{port & 255}\r\n'.encode()
        return comes_in(firewall, 'ftp', 21, (
            (OUTSIDE, b'220 hi\r\n'), (INSIDE, b'USER a\r\n'), (OUTSIDE, b'230 in\r\n'),
            (INSIDE, line), (OUTSIDE, b'200 ok\r\n')), port)
    session(50000)[1].must_pass()
    return [f'the client\'s port {port} is open'
            for port in (1433, 3306, 3389, 5432, 5900, 5909, 5985, 5986, 6379) if session(port)[0]]


@attack(quick=True)
def sip_server_speaks_first(firewall):
    """A server that says SIP over TCP to a client of something else opens ways to where it likes.

    One message of either side was the proof. Now the client's own first bytes have to be one."""
    def message(by, what, port):
        body = f'v=0\r\nc=IN IP4 {by}\r\nm=audio {port} RTP/AVP 0\r\n'
        return (f'{what} sip:a SIP/2.0\r\nVia: SIP/2.0/TCP x\r\nFrom: a\r\nTo: b\r\nCall-ID: 1\r\n'
                f'CSeq: 1 {what}\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}'
                f'\r\n\r\n{body}').encode()
    opened = []
    for honest in (False, True):
        trace, control = Trace(), captures.Tcp(INSIDE, OUTSIDE, 40000, 5060)
        trace.send(*control.open())
        if honest:
            trace.lines(control, (INSIDE, b'\r\n\r\n' + message(INSIDE, 'INVITE', 16000)))
        trace.lines(control, (OUTSIDE, message(OUTSIDE, 'INVITE', 17000)))
        answers = firewall.replay(configuration(helpers=['sip_tcp'], inside_out=False), trace)
        answers.must_pass()
        if honest and not answers.expectations:
            raise HonestTrafficDropped('a call in a connection that the client began opens nothing')
        if answers.expectations and not honest:
            opened.append('the server\'s word alone opens a way')
    return opened


@attack(quick=True)
def encrypted_range_of_a_finished_session(firewall):
    """The range of an FTPS server stays open to a client whose session is over.

    It lasted until the state of TCP ended, minutes later. Now a FIN that was answered, or an RST,
    closes it; a FIN without an answer does not."""
    config = configuration(helpers=['ftp'], inside_out=False)
    config['helpers'] = [{'name': 'ftp', 'params': {'encrypted_passive': '50000-50003'}}]
    opened = []
    for end in ('fin', 'rst', None):
        trace, control = Trace(), captures.Tcp(INSIDE, OUTSIDE, 40000, 21)
        trace.send(*control.open())
        trace.lines(control, (OUTSIDE, b'220 hi\r\n'), (INSIDE, b'AUTH TLS\r\n'),
                    (OUTSIDE, b'234 go ahead\r\n'))
        first = trace.send(captures.Tcp(INSIDE, OUTSIDE, 41000, 50001).segment(INSIDE, 'S'))
        if end == 'rst':
            trace.send(control.segment(INSIDE, 'RA'))
        else:
            trace.send(control.segment(INSIDE, 'FA'))
        if end == 'fin':
            trace.send(control.segment(OUTSIDE, 'A'))
        later = trace.send(captures.Tcp(INSIDE, OUTSIDE, 41001, 50002).segment(INSIDE, 'S'))
        answers = firewall.replay(config, trace)
        answers.must_pass(first)
        if end is None:
            answers.must_pass(later)
        elif answers.accepted(later):
            opened.append(f'port 50002 is open after the session\'s {end.upper()}')
    return opened
