# SPDX-License-Identifier: BSD-3-Clause
"""Captures for the tests here: read, write, cut; and who speaks to whom in a frame."""

import ipaddress
import struct

MAGIC = 0xa1b2c3d4
PROTOCOLS = {1: 'icmp', 6: 'tcp', 17: 'udp', 33: 'dccp', 47: 'gre', 58: 'icmpv6', 132: 'sctp',
             136: 'udplite'}
INSIDE_MAC, OUTSIDE_MAC = '02:00:00:00:00:01', '02:00:00:00:00:02'


def read_pcap(path):
    """Frames of a little-endian microsecond pcap."""
    with open(path, 'rb') as f:
        data = f.read()
    magic, = struct.unpack_from('<I', data)
    assert magic == MAGIC, f'{path}: not a little-endian pcap'
    frames, at = [], 24
    while at + 16 <= len(data):
        _, _, length, _ = struct.unpack_from('<IIII', data, at)
        frames.append(data[at + 16:at + 16 + length])
        at += 16 + length
    return frames


def pcap_bytes(frames, step_us=1, places=None):
    """A pcap of the frames, `step_us` apart: so little that no timeout passes. `places` are their
    numbers when they are not all there are."""
    out = [struct.pack('<IHHiIII', MAGIC, 2, 4, 0, 0, 262144, 1)]
    for n, frame in enumerate(frames):
        seconds, micros = divmod((places[n] if places else n) * step_us, 1000000)
        out.append(struct.pack('<IIII', seconds, micros, len(frame), len(frame)) + frame)
    return b''.join(out)


def pcapng_bytes(frames, step_us=1):
    """The same as pcapng: a section header, one interface, enhanced packet blocks."""
    def block(kind, body):
        body += bytes(-len(body) % 4)
        size = struct.pack('<I', len(body) + 12)
        return struct.pack('<I', kind) + size + body + size

    out = [block(0x0a0d0d0a, struct.pack('<IHHq', 0x1a2b3c4d, 1, 0, -1)),
           block(1, struct.pack('<HHI', 1, 0, 0))]
    for n, frame in enumerate(frames):
        time = n * step_us
        out.append(block(6, struct.pack('<IIIII', 0, time >> 32, time & 0xffffffff, len(frame),
                                        len(frame)) + frame))
    return b''.join(out)


class Packet:
    """Ends, protocol and kind of the IP packet in an untagged frame; of an ICMP error, those of
    the packet it speaks of."""

    def __init__(self, frame):
        self.src = self.dst = self.sport = self.dport = self.protocol = None
        self.fragment = self.later_fragment = self.error = False
        self.payload = b''  # of UDP
        self.segment = b''  # payload of TCP
        self.options = b''  # of TCP
        self.chunk = None  # of SCTP: the first one's type
        self.icmp_type = None
        kind, = struct.unpack_from('!H', frame, 12)
        try:
            if kind in (0x0800, 0x86dd):
                self._ip(frame[14:])
        except (struct.error, IndexError):
            pass

    def _ip(self, data):
        if data[0] >> 4 == 4:
            at = (data[0] & 15) * 4
            flags, = struct.unpack_from('!H', data, 6)
            self.fragment = bool(flags & 0x3fff)
            self.later_fragment = bool(flags & 0x1fff)
            self.protocol, ends = data[9], (data[12:16], data[16:20])
        else:
            at, following, ends = 40, data[6], (data[8:24], data[24:40])
            while following in (0, 43, 44, 51, 60):
                size = (data[at + 1] + 1) * 8
                if following == 44:
                    self.fragment, size = True, 8
                    self.later_fragment = bool(struct.unpack_from('!H', data, at + 2)[0] & 0xfff8)
                elif following == 51:
                    size = (data[at + 1] + 2) * 4
                following, at = data[at], at + size
            self.protocol = following
        self.src, self.dst = (str(ipaddress.ip_address(end)) for end in ends)
        if self.later_fragment:
            return
        if self.protocol in (6, 17, 33, 132, 136):
            self.sport, self.dport = struct.unpack_from('!HH', data, at)
            if self.protocol == 17:
                self.payload = data[at + 8:at + struct.unpack_from('!H', data, at + 4)[0]]
            elif self.protocol == 132 and len(data) > at + 12:
                self.chunk = data[at + 12]
            elif self.protocol == 6:
                end = at + (data[at + 12] >> 4) * 4
                self.options, self.segment = data[at + 20:end], data[end:]
        elif not self.error and self.protocol in (1, 58):
            self.icmp_type = data[at]
        if (self.protocol, data[at]) in ((1, 3), (1, 4), (1, 5), (1, 11), (1, 12),
                                           (58, 1), (58, 2), (58, 3), (58, 4)) and not self.error:
            self.error = True
            self._ip(data[at + 8:])

    def connection(self):
        """The same value for both directions."""
        ends = sorted([(self.src or '', self.sport or 0), (self.dst or '', self.dport or 0)])
        return self.protocol, tuple(ends)


# --- frames of our own -----------------------------------------------------------------------

INSIDE, OUTSIDE = '10.0.0.5', '192.0.2.9'
INSIDE6, OUTSIDE6 = '2001:db8::5', '2001:db8:1::9'


def _checksum(data):
    if len(data) % 2:
        data += b'\0'
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def frame(src, protocol, l4, checksum_at=None, dst=None, flags=0, ident=1):
    """From src to its counterpart on the other side. `checksum_at`: where in l4 the transport
    checksum goes; `flags`: the IPv4 flags and fragment offset; `ident`: its identification."""
    others = {INSIDE: OUTSIDE, OUTSIDE: INSIDE, INSIDE6: OUTSIDE6, OUTSIDE6: INSIDE6}
    a = ipaddress.ip_address(src).packed
    b = ipaddress.ip_address(dst or others[src]).packed
    l4 = bytearray(l4)
    if checksum_at is not None:
        pseudo = a + b + struct.pack('!II', len(l4), protocol)
        struct.pack_into('!H', l4, checksum_at, _checksum(pseudo + bytes(l4)))
    if len(a) == 4:
        head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(l4), ident, flags, 64, protocol, 0, a, b)
        head = head[:10] + struct.pack('!H', _checksum(head)) + head[12:]
    else:
        head = struct.pack('!IHBB16s16s', 6 << 28, len(l4), protocol, 64, a, b)
    macs = [b'\x02\0\0\0\0\x01', b'\x02\0\0\0\0\x02']
    if src in (OUTSIDE, OUTSIDE6):
        macs.reverse()
    return macs[1] + macs[0] + (b'\x08\x00' if len(a) == 4 else b'\x86\xdd') + head + bytes(l4)


def udp(src, sport, dport, payload=b''):
    return frame(src, 17, struct.pack('!HHHH', sport, dport, 8 + len(payload), 0) + payload, 6)


def ping(src, request, number):
    kind = (8 if request else 0) if '.' in src else (128 if request else 129)
    l4 = struct.pack('!BBHHH', kind, 0, 0, number, 1)
    if '.' in src:
        return frame(src, 1, l4[:2] + struct.pack('!H', _checksum(l4)) + l4[4:])
    return frame(src, 58, l4, 2)


def icmp_error(src, head):
    """Port unreachable, about the packet of which this is the head."""
    if '.' in src:
        l4 = bytes((3, 3, 0, 0, 0, 0, 0, 0)) + head
        return frame(src, 1, l4[:2] + struct.pack('!H', _checksum(l4)) + l4[4:])
    return frame(src, 58, bytes((1, 4, 0, 0, 0, 0, 0, 0)) + head, 2)


def short_gre():
    """GRE of versions 0 and 1 that ends anywhere up to the length that its flags announce, in both
    directions. Each length names another call."""
    frames = []
    for version, kind in ((0, b'\x08\x00'), (1, b'\x88\x0b')):
        for length in range(17):
            whole = bytes((0x30, version)) + kind + struct.pack('!HHI', 4, 100 + length, 1) + b'data'
            frames += [frame(INSIDE, 47, whole[:length]), frame(OUTSIDE, 47, whole[:length])]
    return frames


class Tcp:
    """One connection; each call makes the next segment of a side."""

    def __init__(self, client, server, sport, dport):
        self.port = {client: sport, server: dport}
        self.other = {client: server, server: client}
        self.next = {client: 1000, server: 500000}

    def segment(self, src, flags='A', payload=b''):
        bits = sum(b for f, b in zip('FSRPA', (1, 2, 4, 8, 16)) if f in flags)
        peer = self.other[src]
        l4 = struct.pack('!HHIIBBHHH', self.port[src], self.port[peer], self.next[src],
                         self.next[peer] if 'A' in flags else 0, 5 << 4, bits, 60000, 0, 0)
        self.next[src] += len(payload) + ('S' in flags) + ('F' in flags)
        return frame(src, 6, l4 + payload, 16)

    def open(self):
        client, server = self.port
        return [self.segment(client, 'S'), self.segment(server, 'SA'), self.segment(client)]


def sample():
    """A bit of everything: two FTP transfers, by IPv4 and IPv6, DNS, ping, ARP, an answer that
    nobody asked for, a new connection from outside, a lone later fragment, broken frames."""
    frames = []
    for client, server, command, reply in (
            (INSIDE, OUTSIDE, b'PASV\r\n', b'227 Entering (192,0,2,9,78,32).\r\n'),
            (INSIDE6, OUTSIDE6, b'EPSV\r\n', b'229 Entering (|||20001|)\r\n')):
        control = Tcp(client, server, 40000, 21)
        frames += control.open()
        for speaker, line in ((server, b'220 ready\r\n'), (client, b'USER x\r\n'),
                              (server, b'331 password\r\n'), (client, command), (server, reply)):
            frames += [control.segment(speaker, 'PA', line),
                       control.segment(control.other[speaker])]
        data = Tcp(client, server, 40001, 20000 if b'227' in reply else 20001)
        frames += data.open() + [data.segment(server, 'PA', b'x' * 1000), data.segment(client),
                                 data.segment(server, 'FA'), data.segment(client, 'FA'),
                                 data.segment(server), control.segment(client, 'RA')]
        frames += [udp(client, 5353, 53, b'question'), udp(server, 53, 5353, b'answer'),
                   udp(server, 53, 5354, b'nobody asked'), ping(client, True, 7),
                   ping(server, False, 7), ping(server, False, 8),
                   Tcp(server, client, 50000, 21).segment(server, 'S')]
    frames.append(frame(INSIDE, 17, b'the rest', flags=100))
    frames.append(b'\xff' * 6 + frames[0][6:12] + b'\x08\x06' + bytes(28))
    frames += [frames[0][:20], frames[0][:40], frames[0][:14] + b'\x4f' + frames[0][15:], b'']
    return frames
