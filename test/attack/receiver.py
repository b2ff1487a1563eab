# SPDX-License-Identifier: BSD-3-Clause
"""Segments that their receiver throws away do not speak to a helper, blind it or end it."""

import struct

import captures
from kit import INSIDE, OUTSIDE, Trace, attack, configuration

FTP = configuration(helpers=['ftp'])
BITS = {'F': 1, 'S': 2, 'R': 4, 'P': 8, 'A': 16}
PORT_51201 = b'PORT 10,0,0,5,200,1\r\n'
PORT_8443 = b'PORT 10,0,0,5,32,251\r\n'


def tcp(src, dst, sport, dport, flags, seq, ack=0, payload=b'', window=60000, checksum=True):
    """A segment with any numbers. Without `checksum` its sum is of the pseudo header only, as a
    host leaves it to its device."""
    header = struct.pack('!HHIIBBHHH', sport, dport, seq & 0xffffffff, ack & 0xffffffff, 5 << 4,
                         sum(BITS[flag] for flag in flags), window, 0, 0)
    l4 = header + payload
    if checksum:
        return captures.frame(src, 6, l4, 16, dst=dst)
    ends = captures.ipaddress.ip_address(src).packed + captures.ipaddress.ip_address(dst).packed
    words = struct.unpack('!6H', ends + struct.pack('!HH', 6, len(l4)))
    total = sum(words)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return captures.frame(src, 6, l4[:16] + struct.pack('!H', total) + l4[18:], dst=dst)


class Session:
    """An FTP client's control connection, up to where it may say PORT."""

    def __init__(self, trace=None):
        self.trace, self.ftp = trace or Trace(), captures.Tcp(INSIDE, OUTSIDE, 40000, 21)
        if trace is None:
            self.trace.send(*self.ftp.open())
        self.trace.lines(self.ftp, (OUTSIDE, b'220 ready\r\n'), (INSIDE, b'USER a\r\n'),
                         (OUTSIDE, b'331 password\r\n'))

    def forge(self, src, flags, ahead, payload=b'', **fields):
        """A segment `ahead` of where its side is."""
        dst = self.ftp.other[src]
        return self.trace.send(tcp(src, dst, self.ftp.port[src], self.ftp.port[dst], flags,
                                   self.ftp.next[src] + ahead,
                                   self.ftp.next[dst] if 'A' in flags else 0, payload, **fields))

    def say(self, src, line):
        return self.trace.lines(self.ftp, (src, line))

    def data(self, port):
        """The server connects to the client's port; the number of that packet."""
        return self.trace.send(captures.Tcp(OUTSIDE, INSIDE, 20, port).segment(OUTSIDE, 'S'))


def honest_port_after(firewall, forge):
    """Whether a PORT that the client means still opens its port, after `forge` did its worst."""
    session = Session()
    forge(session)
    said = session.say(INSIDE, PORT_51201)
    data = session.data(51201)
    answers = firewall.replay(FTP, session.trace)
    answers.must_pass(said)
    return answers.accepted(data)


@attack(quick=True)
def payload_of_a_syn(firewall):
    """A SYN inside a connection carries a command, whose place the real bytes then take.

    Its receiver takes nothing of it, so the helper must not either: it opened port 8443 once."""
    session = Session()
    session.forge(INSIDE, 'S', -1, PORT_8443)
    session.say(INSIDE, b'PASS ' + b'x' * (len(PORT_8443) - 7) + b'\r\n')
    stolen = session.data(8443)
    session.say(INSIDE, PORT_51201)
    honest = session.data(51201)
    answers = firewall.replay(FTP, session.trace)
    if answers.accepted(stolen):
        return 'what its receiver never took opens port 8443'
    answers.must_pass(honest)
    return None


@attack(quick=True)
def payload_of_the_first_syn(firewall):
    """The SYN that opens the connection carries another protocol's words, which the server does not
    take. They blinded the helper."""
    trace = Trace()
    trace.send(tcp(INSIDE, OUTSIDE, 40000, 21, 'S', 1000, payload=b'GET / HTTP/1.1\r\n'))
    ftp = captures.Tcp(INSIDE, OUTSIDE, 40000, 21)
    ftp.segment(INSIDE, 'S')
    trace.send(ftp.segment(OUTSIDE, 'SA'), ftp.segment(INSIDE))
    session = Session.__new__(Session)
    session.trace, session.ftp = trace, ftp
    trace.lines(ftp, (OUTSIDE, b'220 ready\r\n'), (INSIDE, b'USER a\r\n'),
                (OUTSIDE, b'331 password\r\n'))
    said = session.say(INSIDE, PORT_51201)
    data = session.data(51201)
    answers = firewall.replay(FTP, trace)
    answers.must_pass(said)
    return None if answers.accepted(data) else 'the helper is blind for the connection'


@attack(quick=True)
def syn_blinds(firewall):
    """One SYN, or SYN+ACK, with any number and a byte of payload blinds the helper for good."""
    return [f'{flags} from {src}, {ahead} ahead'
            for flags in ('S', 'SA') for src in (INSIDE, OUTSIDE) for ahead in (50, 100_000_000)
            if not honest_port_after(firewall, lambda s: s.forge(src, flags, ahead, b'x'))]


@attack(quick=True)
def reset_not_exact(firewall):
    """An RST anywhere in the window ends the helper, while its receiver answers by an
    acknowledgement (RFC 5961 section 3.2)."""
    return [f'RST from {src}, {ahead} ahead' for src in (INSIDE, OUTSIDE) for ahead in (1, 3000)
            if not honest_port_after(firewall, lambda s: s.forge(src, 'RA', ahead))]


@attack(quick=True)
def beyond_the_window(firewall):
    """A segment that begins beyond the receiver's window, but not far, blinds the helper."""
    return None if honest_port_after(
        firewall, lambda s: s.forge(INSIDE, 'A', 61000, b'x')) else 'a segment beyond the window'


@attack(quick=True)
def syn_with_a_new_number(firewall):
    """A SYN without an answer, then one with another number: the helper waited for the first."""
    trace = Trace()
    trace.send(tcp(INSIDE, OUTSIDE, 40000, 21, 'S', 77))
    ftp = captures.Tcp(INSIDE, OUTSIDE, 40000, 21)
    ftp.next[INSIDE] = 900000
    trace.send(*ftp.open())
    session = Session.__new__(Session)
    session.trace, session.ftp = trace, ftp
    trace.lines(ftp, (OUTSIDE, b'220 ready\r\n'), (INSIDE, b'USER a\r\n'),
                (OUTSIDE, b'331 password\r\n'))
    said = session.say(INSIDE, PORT_51201)
    data = session.data(51201)
    answers = firewall.replay(FTP, trace)
    answers.must_pass(said)
    return None if answers.accepted(data) else 'the helper is blind for the connection'


@attack(quick=True)
def wrong_checksum(firewall):
    """A command in a segment whose checksum is wrong, or left to a device that never saw it.

    Its receiver drops it, so the helper must not read it; the real bytes at this place are read."""
    compare = ('--checksums',) if '--checksums' in firewall.run('replay', '--help').stdout else ()
    opened = []
    for kind in ('wrong', 'unfinished'):
        session = Session()
        session.forge(INSIDE, 'PA', 0, PORT_8443, checksum=False)
        if kind == 'wrong':
            frame = bytearray(session.trace.frames[-1])
            frame[50] ^= 1  # of the checksum
            session.trace.frames[-1] = bytes(frame)
        said = session.say(INSIDE, b'PASS ' + b'x' * (len(PORT_8443) - 7) + b'\r\n')
        stolen = session.data(8443)
        session.say(INSIDE, PORT_51201)
        honest = session.data(51201)
        answers = firewall.replay(FTP, session.trace, *compare)
        answers.must_pass(said)
        if answers.accepted(stolen):
            opened.append(f'a segment with a {kind} checksum opens port 8443')
        else:
            answers.must_pass(honest)
    return opened
