# SPDX-License-Identifier: BSD-3-Clause
"""Headers that hide a packet from the rules, or let one pass that no rule was asked about."""

import socket
import struct

from kit import INSIDE, INSIDE6, OUTSIDE, OUTSIDE6, Trace, attack, configuration, udp

STRANGER = '203.0.113.66'
BRIDGES = '0180c2000000'


def address(text):
    family = socket.AF_INET6 if ':' in text else socket.AF_INET
    return socket.inet_pton(family, text)


def ethernet(ethertype, payload, destination='020000000001'):
    macs = bytes.fromhex(destination) + bytes.fromhex('020000000002')
    return (macs + struct.pack('!H', ethertype) + payload).ljust(60, b'\0')


def llc(header, payload=b'', **to):
    """An 802.3 frame: a length, then the header in hexadecimal."""
    whole = bytes.fromhex(header) + payload
    return ethernet(len(whole), whole, **to)


def checksum(data):
    total = sum(struct.unpack(f'!{(len(data) + 1) // 2}H', data + b'\0' * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return struct.pack('!H', ~total & 0xffff)


def ip4(src, dst, protocol, payload, options=b''):
    header = struct.pack('!BBHHHBBH4s4s', 0x45 + len(options) // 4, 0,
                         20 + len(options) + len(payload), 7, 0, 64, protocol, 0,
                         address(src), address(dst)) + options
    return header[:10] + checksum(header) + header[12:] + payload


def ip6(src, dst, following, payload, hops=64):
    return struct.pack('!IHBB', 6 << 28, len(payload), following, hops) + \
        address(src) + address(dst) + payload


def icmp4(kind, code, rest):
    body = struct.pack('!BBH', kind, code, 0) + rest
    return body[:2] + checksum(body) + body[4:]


def icmp6(src, dst, kind, rest, code=0):
    body = struct.pack('!BBH', kind, code, 0) + rest
    pseudo = address(src) + address(dst) + struct.pack('!II', len(body), 58)
    return body[:2] + checksum(pseudo + body) + body[4:]


def syn(port):
    """A SYN; replay believes its checksum."""
    return struct.pack('!HHIIBBHHH', port, 80, 1, 0, 0x50, 2, 65535, 0, 0)


def bridge(words):
    return [{'ports': ['in0', 'out0'], 'pass': words}]


@attack(quick=True)
def source_route(firewall):
    """A source route leads past a rule that allows one host only.

    LSRR, SSRR and routing headers go by way of the allowed host to another one. They passed. Now
    they are dropped, and plain packets to the allowed host pass."""
    rule = {'name': 'web', 'from': 'outside', 'to': 'inside', 'dst': [INSIDE, INSIDE6],
            'proto': 'tcp', 'dport': 80, 'action': 'accept'}
    trace, routed = Trace(), {}
    for name, kind in (('LSRR', 131), ('SSRR', 137)):
        options = bytes([kind, 7, 4]) + address('192.0.2.99') + b'\0'
        packet = ip4(OUTSIDE, INSIDE, 6, syn(1000 + kind), options)
        routed[name] = trace.send(ethernet(0x0800, packet), side='outside')
    for kind in (0, 1, 2, 3, 4, 253):
        header = bytes([6, 2, kind, 1, 0, 0, 0, 0]) + address('2001:db8::99')
        packet = ip6(OUTSIDE6, INSIDE6, 43, header + syn(2000 + kind))
        routed[f'routing header {kind}'] = trace.send(ethernet(0x86dd, packet), side='outside')
    honest = [
        trace.send(ethernet(0x0800, ip4(OUTSIDE, INSIDE, 6, syn(3000))), side='outside'),
        trace.send(ethernet(0x86dd, ip6(OUTSIDE6, INSIDE6, 6, syn(3001))), side='outside')]
    answers = firewall.replay(configuration(rules=[rule]), trace)
    answers.must_pass(*honest)
    return [f'{name} passes' for name, number in routed.items() if answers.accepted(number)]


@attack(quick=True)
def ip_in_another_wrapping(firewall):
    """IP in SNAP frames, by LLC's own numbers or behind many tags passes every rule.

    `pass: [arp, nd, llc]` let through a SYN and a router advertisement that way, `pass: all` more
    of the kind. Now they are dropped under both, and spanning tree passes."""
    packet = ip4(STRANGER, INSIDE, 6, syn(1000))
    advertisement = icmp6('fe80::66', 'ff02::1', 134, bytes([64, 8, 7, 8]) + bytes(8))
    frames = {
        'a SYN in SNAP': llc('aaaa030000000800', packet),
        'a SYN in IEEE 802.1H': llc('aaaa030000f80800', packet),
        'a router advertisement in SNAP':
            llc('aaaa0300000086dd', ip6('fe80::66', 'ff02::1', 58, advertisement, 255)),
        'ARP in SNAP': llc('aaaa030000000806', bytes(28)),
        'a tag in SNAP': llc('aaaa030000008100' '00050800', packet),
        'a SYN by LLC 06': llc('060603', packet),
        'a SYN behind three tags':
            ethernet(0x8100, bytes.fromhex('00018100' '00028100' '00030800') + packet),
        'a SYN behind TPID 0x9100': ethernet(0x9100, bytes.fromhex('00010800') + packet),
    }
    opened = []
    for words in (['arp', 'nd', 'llc'], 'all'):
        trace = Trace()
        numbers = {name: trace.send(frame) for name, frame in frames.items()}
        honest = trace.send(llc('424203', bytes(35), destination=BRIDGES))
        answers = firewall.replay(configuration(bridges=bridge(words), inside_out=False), trace)
        answers.must_pass(honest)
        opened += [f'{name} passes under {words}' for name, number in numbers.items()
                   if answers.accepted(number)]
    return opened


@attack(quick=True)
def neighbour_discovery_as_a_tunnel(firewall):
    """`pass: nd` carries anything in ICMPv6 130 to 137 and 143, from anywhere.

    Any hop limit, between global addresses, with 1,300 bytes, passed and was not counted. Now it
    is dropped, and what nodes of the link send passes."""
    link, group, target = 'fe80::2', 'ff02::1:ff00:1', address(INSIDE6)
    lifetime = bytes([64, 8, 7, 8]) + bytes(8)
    trace, far = Trace(), {}

    def send(src, dst, kind, rest, hops, code=0):
        packet = ip6(src, dst, 58, icmp6(src, dst, kind, rest, code), hops)
        return trace.send(ethernet(0x86dd, packet), side='outside')
    for kind in (*range(130, 138), 143):
        payload = bytes(4) + (b'any payload ' * 110)[:1300]
        far[f'type {kind}'] = send(OUTSIDE6, INSIDE6, kind, payload, 33, 7)
        far[f'type {kind} from a neighbour'] = send(OUTSIDE6, INSIDE6, kind, payload, 255)
    far['a solicitation through a router'] = send(link, group, 135, bytes(4) + target, 254)
    far['a router of another link'] = send(OUTSIDE6, 'ff02::1', 134, lifetime, 255)
    honest = [send(*message, 255) for message in (
        (link, group, 135, bytes(4) + target + bytes.fromhex('0101020000000002')),
        (OUTSIDE6, INSIDE6, 135, bytes(4) + target),
        ('::', group, 135, bytes(4) + target),
        (link, 'ff02::1', 134, lifetime),
        (link, 'ff02::2', 133, bytes(4)))]
    report = icmp6(link, 'ff02::16', 143,
                   struct.pack('!HHI', 0, 1, 4 << 24) + address('ff02::fb'))
    router_alert = bytes.fromhex('3a00' '05020000' '0100')
    honest.append(trace.send(
        ethernet(0x86dd, ip6(link, 'ff02::16', 0, router_alert + report, 1)), side='outside'))
    answers = firewall.replay(configuration(bridges=bridge(['nd'])), trace)
    answers.must_pass(*honest)
    return [f'{name} passes' for name, number in far.items() if answers.accepted(number)]


@attack(quick=True)
def redirect_about_a_connection(firewall):
    """A redirect or source quench that quotes a known connection's packet passes as related.

    A stranger sends a host's traffic elsewhere that way. Now only a rule that names the type lets
    it pass. Errors about the connection pass, also with a length that a host has altered."""
    question = udp(INSIDE, OUTSIDE, 4000, 53, b'question')
    quoted = question[14:14 + 28]
    trace = Trace()
    honest = [trace.send(question)]

    def send(kind, code, rest):
        packet = ip4(STRANGER, INSIDE, 1, icmp4(kind, code, rest))
        return trace.send(ethernet(0x0800, packet), side='outside')
    bad = {f'ICMP {kind}/{code}': send(kind, code, address(STRANGER) + quoted)
           for kind, code in ((5, 0), (5, 1), (4, 0))}
    for length in (quoted[2:4], b'\0\0', b'\0\1', quoted[3:1:-1]):
        honest.append(send(3, 4, bytes(4) + quoted[:2] + length + quoted[4:]))
    answers = firewall.replay(configuration(), trace)
    opened = [f'{name} passes' for name, number in bad.items() if answers.accepted(number)]
    if not opened:
        answers.must_pass(*honest)
    return opened


@attack(quick=True)
def redirect_by_a_general_rule(firewall):
    """A rule that accepts all from a zone accepts redirects, though nobody thought of them.

    `{from: outside, dst: HOST, action: accept}` let through a redirect to the host. Now a rule has
    to name the type; other ICMP that the general rule accepts passes, each packet by itself."""
    rules = [{'name': 'host', 'from': 'outside', 'dst': INSIDE, 'action': 'accept'}]
    question = udp(INSIDE, OUTSIDE, 4000, 53, b'question')
    trace = Trace()

    def send(kind, rest):
        packet = ip4(STRANGER, INSIDE, 1, icmp4(kind, 0, rest))
        return trace.send(ethernet(0x0800, packet), side='outside')
    trace.send(question)
    bad = send(5, address(STRANGER) + question[14:14 + 28])
    honest = send(9, bytes(12))
    answers = firewall.replay(configuration(rules=rules), trace)
    if answers.accepted(bad):
        return 'a redirect passes by a rule that does not name it'
    answers.must_pass(honest)
    return None
