# SPDX-License-Identifier: BSD-3-Clause
"""Asks the Linux kernel of this machine what its conntrack says of a capture, packet by packet.

      a namespace that sends and receives         a namespace that routes between the two
        inside0 --------------------------------- inside     nftables: log what conntrack
        outside0 -------------------------------- outside    says, then the policy

One thread, on one CPU, sends each frame and after it a marker, which is not tracked and always
passes. When the marker comes out on the other side, the frame before it has come out too, or never
will, and what the kernel logged about it waits in a netlink socket.

The answers are written in the form that compare.py reads (captures.py has the addresses):

  POLICY.packets.jsonl       {n, side, verdict, state, direction}
  POLICY.expectations.jsonl  {n, event: new|destroy, helper, class, proto, src, sport, dst, dport,
                              flags, timeout_s, master}
"""

import contextlib
import ctypes
import ipaddress
import json
import os
import select
import socket
import struct
import subprocess

import captures

# The kernel's helpers, and where compare.py's policies assign them.
HELPERS = (('ftp', 'tcp', 21), ('irc', 'tcp', 6667), ('pptp', 'tcp', 1723), ('Q.931', 'tcp', 1720),
           ('sane', 'tcp', 6566), ('sip', 'tcp', 5060), ('sip', 'udp', 5060), ('tftp', 'udp', 69),
           ('RAS', 'udp', 1719), ('amanda', 'udp', 10080))
MARKER_PORT = 9  # discard: no packet of a capture goes there
LOG_GROUP = 5
WAIT_S = 5

_libc = ctypes.CDLL('libc.so.6', use_errno=True)
_CLONE_NEWNET = 0x40000000
_NETLINK_NETFILTER = 12
_SO_RCVBUFFORCE = 33
_PACKET_IGNORE_OUTGOING = 23
_SOL_PACKET = 263
# Subsystems and messages of nfnetlink (linux/netfilter/nfnetlink*.h).
_ULOG, _EXPECT = 4, 2
_FLAGS = ((1, 'permanent'), (2, 'inactive'))
_EXPECT_GROUPS = 1 << (4 - 1) | 1 << (6 - 1)  # new, destroy


class Unable(Exception):
    """The kernel here cannot be asked; the text says why."""


def _run(*argv, stdin=None):
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise Unable(f'{" ".join(argv)}: {done.stderr.strip()}')
    return done.stdout


@contextlib.contextmanager
def _inside(namespace):
    """This thread is in the namespace for the duration."""
    with open('/proc/thread-self/ns/net', encoding='ascii') as home, \
            open('/run/netns/' + namespace, encoding='ascii') as there:
        if _libc.setns(there.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), 'setns')
        try:
            yield
        finally:
            _libc.setns(home.fileno(), _CLONE_NEWNET)


# --- netlink ---------------------------------------------------------------------------------

def _attribute(kind, value):
    return struct.pack('=HH', 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data):
    out, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from('=HH', data, at)
        if length < 4:
            break
        out[kind & 0x3fff] = data[at + 4:at + length]
        at += (length + 3) & ~3
    return out


class _Netlink:
    def __init__(self, groups=0):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 32 << 20)
        self.socket.bind((0, groups))

    def close(self):
        self.socket.close()

    def ask(self, subsystem, message, number, attributes):
        """Sends a request and waits for its acknowledgement."""
        body = struct.pack('!BBH', 0, 0, number) + attributes
        self.socket.send(struct.pack('=IHHII', 16 + len(body), subsystem << 8 | message, 5, 1, 0)
                         + body)
        error, = struct.unpack_from('=i', self.socket.recv(65536), 16)
        if error != 0:
            raise Unable(f'nfnetlink: {os.strerror(-error)}')

    def pending(self):
        """(subsystem, message, flags, attributes) of all that has come."""
        while select.select([self.socket], [], [], 0)[0]:
            data, at = self.socket.recv(1 << 18), 0
            while at + 16 <= len(data):
                length, kind, flags = struct.unpack_from('=IHH', data, at)
                if length < 20:
                    break
                yield kind >> 8, kind & 0xff, flags, _attributes(data[at + 20:at + length])
                at += (length + 3) & ~3


def _tuple(data):
    """Addresses and ports of a nested tuple, as raw bytes."""
    parts = _attributes(data)
    ends, transport = _attributes(parts.get(1, b'')), _attributes(parts.get(2, b''))
    return (ends.get(1, ends.get(3)), ends.get(2, ends.get(4)), transport.get(1),
            transport.get(2, b'\0\0'), transport.get(3, b'\0\0'))


def _ends(data):
    src, dst, _, sport, dport = _tuple(data)
    return {'src': str(ipaddress.ip_address(src)), 'sport': struct.unpack('!H', sport)[0],
            'dst': str(ipaddress.ip_address(dst)), 'dport': struct.unpack('!H', dport)[0]}


def _expectation(message, attributes):
    src, dst, protocol, sport, dport = _tuple(attributes[2])
    src_mask, _, _, sport_mask, _ = _tuple(attributes[3])
    port = lambda raw: struct.unpack('!H', raw)[0]
    return {'event': 'new' if message == 0 else 'destroy',
            'helper': attributes[6].split(b'\0')[0].decode(),
            'class': int.from_bytes(attributes.get(9, b'\0'), 'big'),
            'proto': captures.PROTOCOLS.get(protocol[0]),
            'src': str(ipaddress.ip_address(src)) if any(src_mask) else None,
            'sport': port(sport) if any(sport_mask) else None,
            'dst': str(ipaddress.ip_address(dst)), 'dport': port(dport),
            'flags': [name for bit, name in _FLAGS
                      if int.from_bytes(attributes.get(8, b'\0'), 'big') & bit],
            'timeout_s': int.from_bytes(attributes.get(4, b'\0'), 'big'),
            'master': _ends(attributes[1])}


# --- the kernel's side -----------------------------------------------------------------------

def _rules(policy):
    by_protocol = {'tcp': [], 'udp': []}
    lines = ['table inet answers {']
    for helper, protocol, port in HELPERS:
        name = f'{helper.replace(".", "").lower()}_{protocol}'
        lines.append(f'ct helper {name} {{ type "{helper}" protocol {protocol}; }}')
        by_protocol[protocol].append((port, name))
    lines += ['chain raw { type filter hook prerouting priority -300;',
              f'udp dport {MARKER_PORT} notrack', '}',
              'chain assign { type filter hook prerouting priority -150;']
    for protocol, entries in by_protocol.items():
        pairs = ', '.join(f'{port} : "{name}"' for port, name in entries)
        lines.append(f'ct state new ct helper set {protocol} dport map {{ {pairs} }}')
    lines += ['}', 'chain judge { type filter hook forward priority 0; policy drop;',
              f'udp dport {MARKER_PORT} accept']
    log = f'log group {LOG_GROUP} queue-threshold 1 prefix'
    for state in ('invalid', 'untracked'):
        lines.append(f'ct state {state} {log} "{state}" drop')
    for direction in ('original', 'reply'):
        for state in ('established', 'related'):
            lines.append(f'ct state {state} ct direction {direction} {log} "{state} {direction}" '
                         'accept')
    if policy == 'inside':
        lines.append(f'iifname "inside" ct state new {log} "new original" accept')
    else:
        for protocol, entries in by_protocol.items():
            ports = ', '.join(str(port) for port, _ in entries)
            lines.append(f'{protocol} dport {{ {ports} }} ct state new {log} "new original" accept')
    lines += [f'ct state new {log} "new"', 'drop', '}', '}']
    return '\n'.join(lines)


def is_inside(frame):
    return frame[6:12] == bytes.fromhex(captures.INSIDE_MAC.replace(':', ''))


def _hosts(frames):
    """The addresses (inside, outside) of whoever speaks or is spoken to."""
    hosts = (set(), set())
    for frame in frames:
        at = {b'\x08\x00': (26, 4), b'\x86\xdd': (22, 16)}.get(frame[12:14])
        if at is None:
            continue
        start, size = at
        side = 0 if is_inside(frame) else 1
        hosts[side].add(frame[start:start + size])
        hosts[1 - side].add(frame[start + size:start + 2 * size])
    return [sorted(str(ipaddress.ip_address(h)) for h in side if len(h) in (4, 16))
            for side in hosts]


class Kernel:
    """The two namespaces, for the hosts of these frames and one policy. A context manager."""

    def __init__(self, frames, policy):
        self.addresses = _hosts(frames)
        self.addresses[0].append(captures.INSIDE)  # the markers'
        self.addresses[1].append(captures.OUTSIDE)
        tag = f'pst-ask-{os.getpid()}'
        self.hosts, self.router = tag + '-hosts', tag + '-router'
        self.stack = contextlib.ExitStack()
        self.policy = policy

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _make(self):
        for name in (self.hosts, self.router):
            _run('ip', 'netns', 'add', name)
            self.stack.callback(_run, 'ip', 'netns', 'del', name)
        _run('ip', 'netns', 'exec', self.router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1',
             'net.ipv6.conf.all.forwarding=1', 'net.ipv4.conf.default.rp_filter=0',
             'net.ipv4.conf.all.rp_filter=0', 'net.ipv6.conf.default.accept_dad=0',
             'net.netfilter.nf_conntrack_checksum=0')
        _run('ip', 'netns', 'exec', self.hosts, 'sysctl', '-qw',
             'net.ipv6.conf.default.disable_ipv6=1')
        for name, mac, addresses in zip(('inside', 'outside'),
                                        (captures.OUTSIDE_MAC, captures.INSIDE_MAC),
                                        self.addresses):
            _run('ip', '-n', self.router, 'link', 'add', name, 'address', mac, 'mtu', '9000',
                 'type', 'veth', 'peer', name + '0', 'netns', self.hosts)
            # Without ARP and neighbour discovery everybody is reached.
            _run('ip', '-n', self.router, 'link', 'set', name, 'arp', 'off', 'up')
            _run('ip', '-n', self.hosts, 'link', 'set', name + '0', 'mtu', '9000', 'up')
            _run('ip', '-n', self.router, '-batch', '-',
                 stdin=''.join(f'route replace {a} dev {name}\n' for a in addresses))
            for namespace, device in ((self.hosts, name + '0'), (self.router, name)):
                _run('ip', 'netns', 'exec', namespace, 'ethtool', '-K', device, 'tx', 'off',
                     'rx', 'off', 'gso', 'off', 'gro', 'off')
        _run('ip', 'netns', 'exec', self.router, 'nft', '-f', '-', stdin=_rules(self.policy))
        with _inside(self.router):
            self.log, self.events = _Netlink(), _Netlink(_EXPECT_GROUPS)
        self.stack.callback(self.log.close)
        self.stack.callback(self.events.close)
        self.log.ask(_ULOG, 1, LOG_GROUP, _attribute(1, b'\1'))                          # bind
        self.log.ask(_ULOG, 1, LOG_GROUP, _attribute(2, struct.pack('!IBB', 0, 1, 0)))  # no data
        with _inside(self.hosts):
            self.ports = [self._port('inside0'), self._port('outside0')]
        cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(cpus)})
        self.stack.callback(os.sched_setaffinity, 0, cpus)

    def _port(self, name):
        port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.stack.callback(port.close)
        port.bind((name, 3))
        port.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        port.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 32 << 20)
        return port

    def ask(self, n, frame):
        """(packet row, expectation rows) of one frame."""
        inside = is_inside(frame)
        out, back = self.ports if inside else reversed(self.ports)
        out.send(frame)
        marker = captures.udp(captures.INSIDE if inside else captures.OUTSIDE, 9, MARKER_PORT,
                              struct.pack('!Q', n))
        out.send(marker)
        passed = False
        while True:
            if not select.select([back], [], [], WAIT_S)[0]:
                raise Unable(f'packet {n}: the marker behind it got lost')
            got = back.recv(1 << 16)
            if got[-8:] == marker[-8:] and got[23:24] == b'\x11' and \
                    got[36:38] == struct.pack('!H', MARKER_PORT):
                break
            # Multicast is the router's own, which asks who else is there.
            passed = passed or (got[12:14] in (b'\x08\x00', b'\x86\xdd') and not got[0] & 1)
        said = [attributes[10].split(b'\0')[0].decode()
                for subsystem, message, _, attributes in self.log.pending()
                if subsystem == _ULOG and message == 0]
        state, _, direction = said[-1].partition(' ') if said else ('', '', '')
        row = {'n': n, 'side': 'inside' if inside else 'outside',
               'verdict': 'accept' if passed else 'drop', 'state': state or None,
               'direction': direction or None}
        return row, [{'n': n, **_expectation(message, attributes)}
                     for subsystem, message, _, attributes in self.events.pending()
                     if subsystem == _EXPECT and message in (0, 2)]


def record(frames, folder, policies):
    """Writes the capture and the kernel's answers under each policy into the folder."""
    with open(os.path.join(folder, 'capture.pcap'), 'wb') as file:
        file.write(captures.pcap_bytes(frames))
    for policy in policies:
        with Kernel(frames, policy) as kernel, \
                open(os.path.join(folder, policy + '.packets.jsonl'), 'w', encoding='ascii') as p, \
                open(os.path.join(folder, policy + '.expectations.jsonl'), 'w',
                     encoding='ascii') as e:
            for n, frame in enumerate(frames):
                row, expectations = kernel.ask(n, frame)
                print(json.dumps(row), file=p)
                for expectation in expectations:
                    print(json.dumps(expectation), file=e)
