# SPDX-License-Identifier: BSD-3-Clause
"""Strangers who forge packets, and peers who want all, leave others their helpers."""

import struct

import captures
from kit import INSIDE, OUTSIDE, Trace, attack, configuration, udp

SLOTS, EXPECTATIONS = 64, 64
LIMITS = {'connections': 65536, 'expectations': EXPECTATIONS, 'helped_connections': SLOTS}
FLOOD = 10 * (SLOTS + 16)
VICTIM = '192.0.2.77'  # an inside host that never answers


def configured(*helpers):
    rules = [{'name': f'{name}-in', 'from': 'outside', 'proto': proto, 'dport': port, 'ct': ['new'],
              'action': 'accept', 'helper': name}
             for name, proto, port in (('sip', 'udp', 5060), ('ftp', 'tcp', 21))]
    return configuration(helpers=['ftp', 'sip', *helpers], rules=rules, inside_out=False,
                         limits=LIMITS)


def nobody(number):
    return f'203.{number >> 8 & 255}.{number & 255}.9'


def sdp(host, port):
    return (f'v=0\r\no=a 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n'
            f'm=audio {port} RTP/AVP 0\r\n')


def sip(start, call, body='', via=INSIDE):
    return (f'{start}\r\nVia: SIP/2.0/UDP {via}:5060;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\n'
            f'To: <sip:b@b>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n'
            + ('Content-Type: application/sdp\r\n' if body else '')
            + f'Content-Length: {len(body)}\r\n\r\n{body}').encode()


def invite(call, host, port):
    return sip('INVITE sip:b@b SIP/2.0', call, sdp(host, port), host)


def ftp_session(trace, sport=40000, repeat=False):
    """An honest session from inside; returns its beginning, the announcement's retransmission and the
    data connection's first segment."""
    ftp = captures.Tcp(INSIDE, OUTSIDE, sport, 21)
    opened = trace.send(*ftp.open())
    trace.lines(ftp, (OUTSIDE, b'220 ready\r\n'), (INSIDE, b'USER a\r\n'), (OUTSIDE, b'331 more\r\n'),
                (INSIDE, b'PASV\r\n'))
    a, b, c, d = OUTSIDE.split('.')
    passive = ftp.segment(OUTSIDE, 'PA', f'227 Entering ({a},{b},{c},{d},200,0)\r\n'.encode())
    trace.send(passive)
    again = trace.send(passive) if repeat else None
    data = trace.send(*captures.Tcp(INSIDE, OUTSIDE, sport + 1, 51200).open()[:1])
    return opened, again, data


def call(trace, sport, flood=lambda: None):
    """An honest call from inside; returns the media's first packets, in both directions."""
    trace.send(udp(INSIDE, OUTSIDE, sport, 5060, invite(f'c{sport}', INSIDE, sport + 1000)))
    flood()
    trace.send(udp(OUTSIDE, INSIDE, 5060, sport,
                   sip('SIP/2.0 200 OK', f'c{sport}', sdp(OUTSIDE, sport + 2000))))
    return (trace.send(udp(OUTSIDE, INSIDE, 9, sport + 1000, b'rtp')),
            trace.send(udp(INSIDE, OUTSIDE, 9, sport + 2000, b'rtp')))


def syns(trace, payload=b''):
    """From addresses of nobody to the victim's port 21."""
    for number in range(FLOOD):
        header = struct.pack('!HHIIBBHHH', 1024 + number, 21, 1000, 0, 5 << 4, 2, 60000, 0, 0)
        trace.send(captures.frame(nobody(number), 6, header + payload, 16, dst=VICTIM),
                   side='outside')


def invites(trace, count, first=0):
    for number in range(first, first + count):
        trace.send(udp(nobody(number), VICTIM, 1024 + number, 5060,
                       invite(f'x{number}', nobody(number), 10000 + 2 * number)), side='outside')


@attack(quick=True)
def forged_invites(firewall):
    """A SIP datagram that nobody answers holds a helper's slot for an hour.

    Five a second, from addresses of nobody, and no connection has a helper any more; what they
    announce fills the expectations, too. Honest FTP and SIP go on, and so does a call in whose
    middle the flood comes."""
    trace = Trace()
    invites(trace, FLOOD)
    media = call(trace, 20000, lambda: invites(trace, 8, FLOOD))
    opened, _, data = ftp_session(trace)
    answers = firewall.replay(configured(), trace)
    answers.must_pass(opened)
    return [what for what, number in (('a call has no media to its caller', media[0]),
                                      ('a call has no media to its callee', media[1]),
                                      ('an FTP transfer is refused', data))
            if not answers.accepted(number)]


@attack(quick=True)
def forged_syns(firewall):
    """SYNs from addresses of nobody hold all slots for two minutes.

    Now they take none: a TCP connection gets its slot with the third segment."""
    trace = Trace(step_s=0.0001)
    syns(trace)
    opened, _, data = ftp_session(trace)
    answers = firewall.replay(configured(), trace)
    answers.must_pass(opened)
    return None if answers.accepted(data) else 'an FTP transfer is refused'


@attack()
def forged_syns_with_payload(firewall):
    """SYNs that carry one byte take all stream buffers.

    A command that comes in two segments needs one: it must still be read."""
    trace = Trace(step_s=0.0001)
    syns(trace, b'x')
    ftp = captures.Tcp(INSIDE, OUTSIDE, 40000, 21)
    opened = trace.send(*ftp.open())
    a, b, c, d = OUTSIDE.split('.')
    trace.lines(ftp, (OUTSIDE, b'220 ready\r\n'), (INSIDE, b'PA'), (INSIDE, b'SV\r\n'),
                (OUTSIDE, b'227 Enter'), (OUTSIDE, f'ing ({a},{b},{c},{d},200,0)\r\n'.encode()))
    data = trace.send(*captures.Tcp(INSIDE, OUTSIDE, 40001, 51200).open()[:1])
    answers = firewall.replay(configured(), trace)
    answers.must_pass(opened)
    return None if answers.accepted(data) else 'an FTP transfer is refused'


@attack(quick=True)
def full_table(firewall):
    """While the table of expectations is full, an honest 227 is dropped for good.

    Its retransmission passes, and opens nothing."""
    trace = Trace()
    for number in range(EXPECTATIONS // 2 + 4):  # of two expectations each
        caller = f'192.0.2.{100 + number}'
        trace.send(udp(caller, OUTSIDE, 5060, 5060, invite(f'f{number}', caller, 10000)),
                   side='inside')
        trace.send(udp(OUTSIDE, caller, 5060, 5060, sip('SIP/2.0 180 Ringing', f'f{number}', '',
                                                        caller)), side='outside')
    opened, again, _ = ftp_session(trace, repeat=True)
    answers = firewall.replay(configured(), trace)
    answers.must_pass(opened)
    return None if answers.accepted(again) else 'an FTP session hangs at its 227'


@attack()
def unanswered_call(firewall):
    """One forged INVITE keeps its connection, and so its slot, for an hour.

    After 40 seconds a later packet of it begins a new connection."""
    trace = Trace()
    first = trace.send(udp(nobody(1), VICTIM, 1024, 5060, invite('x', nobody(1), 10000)),
                       side='outside')
    trace.wait(40)
    later = trace.send(udp(nobody(1), VICTIM, 1024, 5060, invite('x', nobody(1), 10000)),
                       side='outside')
    answers = firewall.replay(configured(), trace)
    answers.must_pass(first, later)
    same = answers.packets[first]['conn'] == answers.packets[later]['conn']
    return 'the connection is still there' if same else None
