# SPDX-License-Identifier: BSD-3-Clause
"""Random hostile walks: packets of many connections, interleaved, most of them as a stack would send
them and the rest as it would not. The same seed gives the same frames.

Only what conntrack is to judge: headers and checksums are right, and no packet is late enough for a
timeout.
"""

import random
import struct

import captures

_ENDS = ((captures.INSIDE, captures.OUTSIDE), (captures.OUTSIDE, captures.INSIDE),
         (captures.INSIDE6, captures.OUTSIDE6), (captures.OUTSIDE6, captures.INSIDE6))
_OFFSETS = (-1, 1, 2, -1000, 1000, -70000, 70000, 1 << 31)


class _Conversation:
    """Two ends and their ports; next() makes a frame of one of them."""

    def __init__(self, rng, n):
        self.rng = rng
        self.client, self.server = rng.choice(_ENDS)
        self.ports = {self.client: 1024 + n, self.server: rng.choice((80, 5060, 7777, 2000 + n))}
        self.v6 = ':' in self.client

    def other(self, end):
        return self.server if end == self.client else self.client

    def either(self):
        return self.rng.choice((self.client, self.server))

    def frame(self, end, protocol, rest, checksum_at=None):
        ports = struct.pack('!HH', self.ports[end], self.ports[self.other(end)])
        return captures.frame(end, protocol, ports + rest, checksum_at)


class _Udp(_Conversation):
    protocol = 17

    def next(self):
        payload = b'x' * self.rng.randrange(20)
        return self.frame(self.either(), self.protocol,
                          struct.pack('!HH', 8 + len(payload), 0) + payload, 6)


class _UdpLite(_Udp):
    protocol = 136


class _Fragments(_Conversation):
    """UDP datagrams by IPv4 in pieces, in any order; some never become whole."""

    def __init__(self, rng, n):
        super().__init__(rng, n)
        self.client, self.server = _ENDS[rng.randrange(2)]
        self.ports = {self.client: 1024 + n, self.server: 3000 + n}
        self.waiting, self.id = [], n << 8

    def next(self):
        if not self.waiting:
            end, self.id = self.either(), self.id + 1
            size = self.rng.randrange(40, 400)
            whole = captures.udp(end, self.ports[end], self.ports[self.other(end)],
                                 b'f' * size)[34:]
            step = 8 * self.rng.randrange(2, 20)
            for at in range(0, len(whole), step):
                more = 0x2000 if at + step < len(whole) else 0
                self.waiting.append(captures.frame(end, 17, whole[at:at + step],
                                                   flags=more | at // 8, ident=self.id & 0xffff))
            self.rng.shuffle(self.waiting)
            if self.rng.random() < 0.1:
                self.waiting.pop()
                if not self.waiting:
                    return self.next()
        return self.waiting.pop()


class _Ping(_Conversation):
    def next(self):
        end = self.either()
        return captures.ping(end, (end == self.client) == (self.rng.random() < 0.9),
                             self.ports[self.client])


class _Other(_Conversation):
    """A protocol of which conntrack knows the addresses only."""

    def next(self):
        return captures.frame(self.either(), 99, b'whatever')


class _Tcp(_Conversation):
    """Both sides keep an honest account of what they sent and got; a lie is told on top of it."""

    FLAGS = {'S': 2, 'SA': 18, 'A': 16, 'PA': 24, 'F': 17, 'R': 4, 'RA': 20}

    def __init__(self, rng, n):
        super().__init__(rng, n)
        self.restart()

    def restart(self):
        self.seq = {self.client: self.rng.getrandbits(32), self.server: self.rng.getrandbits(32)}
        self.script = [(self.client, 'S'), (self.server, 'SA'), (self.client, 'A')]
        for _ in range(self.rng.randrange(6)):
            self.script += [(self.either(), self.rng.choice(('A', 'PA')))]
        last = self.either()
        self.script += self.rng.choice(([(last, 'R')], [(last, 'RA')], [
            (last, 'F'), (self.other(last), 'A'), (self.other(last), 'F'), (last, 'A')]))
        if self.rng.random() < 0.1:
            self.script.insert(1, (self.server, 'S'))  # simultaneous open
        self.window = self.rng.choice((0, 500, 65535))
        self.options = self.rng.choice((b'', bytes((2, 4, 5, 180, 3, 3, 7, 1, 4, 2, 1, 1)),
                                        bytes((2, 4, 5, 180, 4, 2, 1, 1))))

    def segment(self, end, kind, size=0, seq_by=0, ack_by=0):
        peer = self.other(end)
        bits = self.FLAGS[kind]
        options = self.options if 'S' in kind else b''
        header = struct.pack('!IIBBHHH', (self.seq[end] + seq_by) & 0xffffffff,
                             (self.seq[peer] + ack_by) & 0xffffffff if bits & 16 else 0,
                             (20 + len(options)) << 2, bits, self.window, 0, 0)
        return self.frame(end, 6, header + options + b'd' * size, 16)

    def next(self):
        if not self.script:
            self.restart()
        if self.rng.random() < 0.25:  # a lie, or a repetition
            end, kind = self.either(), self.rng.choice(tuple(self.FLAGS))
            by = self.rng.choice((0, 0) + _OFFSETS)
            return self.segment(end, kind, self.rng.choice((0, 1, 900)), by,
                                self.rng.choice((0, 0) + _OFFSETS))
        end, kind = self.script.pop(0)
        size = self.rng.randrange(1, 1000) if kind == 'PA' else 0
        frame = self.segment(end, kind, size)
        self.seq[end] = (self.seq[end] + size + ('S' in kind) + ('F' in kind)) & 0xffffffff
        return frame


class _Sctp(_Conversation):
    DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT = 0, 1, 2, 3, 4, 5, 6
    SHUTDOWN, SHUTDOWN_ACK, ERROR, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE = 7, 8, 9, 10, 11, 14
    ALL = (DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK,
           ERROR, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE, 192)

    def __init__(self, rng, n):
        super().__init__(rng, n)
        self.restart()

    def restart(self):
        c, s = self.client, self.server
        self.tag = {c: self.rng.getrandbits(32) | 1, s: self.rng.getrandbits(32) | 1}
        opening = [(c, [self.INIT]), (s, [self.INIT_ACK]), (c, [self.COOKIE_ECHO]),
                   (s, [self.COOKIE_ACK])]
        path = [(c, [self.HEARTBEAT]), (s, [self.HEARTBEAT_ACK])]
        if self.rng.random() < 0.2:
            opening.insert(1, (s, [self.INIT]))  # both at once
        middle = [(self.either(), self.rng.choice(([self.DATA], [self.SACK, self.DATA],
                                                   [self.HEARTBEAT], [self.HEARTBEAT_ACK])))
                  for _ in range(self.rng.randrange(5))]
        last = self.either()
        end = [(last, [self.SHUTDOWN]), (self.other(last), [self.SHUTDOWN_ACK]),
               (last, [self.SHUTDOWN_COMPLETE])]
        self.script = self.rng.choice((opening, opening, path)) + middle
        self.script += self.rng.choice((end, end, [(last, [self.ABORT])], []))

    def packet(self, end, kinds, tag, flags=0):
        body = b''
        for kind in kinds:
            rest = (struct.pack('!IIHHI', self.tag[end], 1500, 1, 1, 1)
                    if kind in (self.INIT, self.INIT_ACK) else b'abc')
            body += struct.pack('!BBH', kind, flags, 4 + len(rest)) + rest + bytes(-len(rest) % 4)
        return self.frame(end, 132, struct.pack('!II', tag, 0) + body)

    def next(self):
        if not self.script:
            self.restart()
        if self.rng.random() < 0.2:
            end = self.either()
            kinds = [self.rng.choice(self.ALL) for _ in range(self.rng.choice((1, 1, 2)))]
            # One bad chunk after a good one: Linux keeps what the good one did.
            if len(kinds) > 1 and not set(kinds) <= {self.DATA, self.SACK, 192}:
                kinds = kinds[:1]
            tag = self.rng.choice((self.tag[self.other(end)], self.tag[end], 0,
                                   self.rng.getrandbits(32)))
            return self.packet(end, kinds, tag, self.rng.choice((0, 1)))
        end, kinds = self.script.pop(0)
        return self.packet(end, kinds, 0 if kinds[0] == self.INIT else self.tag[self.other(end)])


def _error_about(rng, frame):
    """Its receiver, or the sender itself, says that it could not be delivered."""
    data = frame[14:]
    v6 = data[0] >> 4 == 6
    src, dst = ((data[8:24], data[24:40]) if v6 else (data[12:16], data[16:20]))
    ends = {captures.ipaddress.ip_address(end).packed: end
            for pair in _ENDS for end in pair}
    speaker = ends[dst] if rng.random() < 0.8 else ends[src]
    head = data[:rng.choice((28, 48, 68, 200))] if not v6 else data[:rng.choice((48, 60, 200))]
    return captures.icmp_error(speaker, head)


def walk(seed, packets):
    """That many frames."""
    rng = random.Random(seed)
    kinds = (_Tcp, _Tcp, _Tcp, _Sctp, _Sctp, _Udp, _UdpLite, _Fragments, _Ping, _Other)
    live = [rng.choice(kinds)(rng, n) for n in range(12)]
    frames, made = [], len(live)
    while len(frames) < packets:
        if rng.random() < 0.03:
            live[rng.randrange(len(live))] = rng.choice(kinds)(rng, made)
            made += 1
        frame = rng.choice(live).next()
        if frames and rng.random() < 0.04:
            about = rng.choice(frames[-20:])
            if captures.Packet(about).later_fragment:
                continue
            frame = _error_about(rng, about)
        frames.append(frame)
        # As if the network had doubled it. (Of a fragment Postern says so, Linux does not.)
        if rng.random() < 0.02 and not captures.Packet(frames[-1]).fragment:
            frames.append(frames[-1])
    return frames
