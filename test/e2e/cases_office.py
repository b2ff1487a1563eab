# SPDX-License-Identifier: BSD-3-Clause
"""The configurations in conf/ as they are, with a small office inside and its router, services and the
rest of the world outside. Only what has to be another one here is changed: devices, memory, the socket.
Each case has a twin that lacks the lines which it is about."""

import hashlib
import os
import re
import socket
import struct
import subprocess
import time

from cases import Case, Failed, expect
from cases_pptp import Ends
from cases_sane import SCAN, Saned
from middle import ROOT, Postern
from peers import FtpServer

LONG_ENOUGH_S = 20
SHORT_S = 4
ROUTER4, ROUTER6 = '192.0.2.1', '2001:db8:1::1'
HOST4, HOST6 = '192.0.2.20', '2001:db8:1::20'
CONF = os.environ.get('POSTERN_CONF', os.path.join(ROOT, 'conf'))
WORLD4 = '198.51.100.60'  # of which conf/sip.yaml says that it is the proxy
IGMP = 2
REPLACED = (
    (r'device: "[^"]*"(.*zone: (?:lan|office|inside|phones))', r'device: "net_af_packet0,iface=pst-in"\1'),
    (r'device: "[^"]*"(.*zone: (?:wan|house|outside|world))', r'device: "net_af_packet1,iface=pst-out"\1'),
    (r'device: "0000:03:00.0"', 'device: "net_af_packet0,iface=pst-in"'),
    (r'device: "0000:03:00.1"', 'device: "net_af_packet1,iface=pst-out"'),
    (r'hugepages: \w+', 'hugepages: no'), (r'memory_mb: \d+', 'memory_mb: 512'),
    (r'\n  (?:cpus|main_cpu): [^\n]*', ''), (r'sleep_us: 0', 'sleep_us: 50'),
    (r'connections: 1M', 'connections: 64K'), (r'/run/postern/control.sock', '{socket}'),
)
ADDED = {'eal': 'eal: {hugepages: no, memory_mb: 512}', 'control': 'control: {socket: "{socket}"}',
         'limits': 'limits: {connections: 64K, expectations: 4K, helped_connections: 1K}'}


def shipped(bench, name, without=(), change=()):
    """The daemon with conf/NAME.yaml, without the rules of these names."""
    with open(os.path.join(CONF, f'{name}.yaml'), encoding='utf-8') as file:
        text = file.read()
    for rule in without:
        text, n = re.subn(rf'\n    - {{name: {rule},[^\n]*', '', text)
        expect(n == 1, f'conf/{name}.yaml has no rule {rule} on a line of its own')
    for old, new in change:
        expect(old in text, f'conf/{name}.yaml does not say {old!r}')
        text = text.replace(old, new)
    for old, new in REPLACED:
        text = re.sub(old, new, text)
    for section, line in ADDED.items():
        if not re.search(rf'^{section}:', text, re.MULTILINE):
            text += f'{line}\n'
    path = bench.lab.path('postern.yaml')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text.replace('{socket}', bench.lab.path('postern.sock')))
    bench.middle = Postern(config_path=path).start(bench.lab)
    return bench.middle


class Network:
    """The office's network: outside its router, which has other addresses of the world, too."""

    def __init__(self, bench, with_host=True):
        self.lab = lab = bench.lab
        for host in ('inside', 'outside'):
            for family in ('-4', '-6'):
                lab.do(host, 'ip', family, 'addr', 'flush', 'dev', 'eth0', 'scope', 'global')
        for address in (f'{ROUTER4}/24', f'{WORLD4}/32', f'{ROUTER6}/64'):
            lab.ip('outside', 'addr', 'add', address, 'dev', 'eth0')
        if with_host:
            for address in (f'{HOST4}/24', f'{HOST6}/64'):
                lab.ip('inside', 'addr', 'add', address, 'dev', 'eth0')
            lab.ip('inside', 'route', 'add', 'default', 'via', ROUTER4)

    def dnsmasq(self):
        """Addresses of both families, router advertisements, and names."""
        lab = self.lab
        process = lab.start(
            'dnsmasq', 'outside', 'dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--no-hosts',
            '--no-resolv', '--user=root', '--interface=eth0', '--bind-interfaces', '--log-facility=-',
            '--log-dhcp', f'--pid-file={lab.path("dnsmasq.pid")}',
            f'--dhcp-leasefile={lab.path("dnsmasq.leases")}', '--dhcp-authoritative', '--no-ping',
            '--enable-ra', '--ra-param=eth0,4,60', '--dhcp-range=192.0.2.100,192.0.2.199,1h',
            '--dhcp-range=2001:db8:1::100,2001:db8:1::1ff,slaac,64,1h',
            '--address=/printer.example/192.0.2.9')
        process.await_output('started, version')
        return process

    def ask_for_address(self, family, timeout_s):
        """dhclient's exit code: 0 when it was given an address, which the host has then."""
        lab, length = self.lab, {4: 24, 6: 128}[family]
        script = lab.write('dhclient-script', '#!/bin/sh\n'
                           f'[ -z "$new_ip_address" ] || ip addr replace $new_ip_address/{length} dev eth0\n'
                           '[ -z "$new_ip6_address" ] || ip addr replace $new_ip6_address/128 dev eth0\n'
                           'exit 0\n')
        os.chmod(script, 0o755)
        client = lab.start(f'dhclient-{family}', 'inside', 'timeout', '-s', 'KILL', str(timeout_s),
                           'dhclient', f'-{family}', '-1', '-d', '-sf', script, '-lf', lab.path(f'lease-{family}'),
                           '-pf', lab.path(f'dhclient-{family}.pid'), '-cf', '/dev/null', 'eth0')
        wanted = r'192\.0\.2\.1\d\d' if family == 4 else r'2001:db8:1::1[0-9a-f]{2}'
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and client.running():
            if re.search(wanted, lab.ip('inside', 'addr', 'show', 'dev', 'eth0').stdout):
                client.stop()
                return None
            time.sleep(0.05)
        client.stop()
        return f'no address from dhclient -{family}: {client.stderr[-400:]}'

    def raw(self, host, protocol, source, destination, payload, options=b'', hops=64):
        """Sends an IPv4 packet of any source, in a frame to everybody."""
        words = (20 + len(options)) // 4
        header = struct.pack('!BBHHHBBH', 0x40 | words, 0xc0 if protocol == IGMP else 0,
                             words * 4 + len(payload), 1, 0, hops, protocol, 0)
        header += socket.inet_aton(source) + socket.inet_aton(destination) + options
        to = b'\xff' * 6
        if destination == HOST4:
            to = bytes.fromhex(re.search(r'link/ether (\S+)', self.lab.ip('inside', 'link', 'show', 'dev',
                                                                          'eth0').stdout)[1].replace(':', ''))
        with self.lab.inside_of(host):
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
                raw.bind(('eth0', 0x0800))
                raw.send(to + b'\x02\0\0\0\0\x99\x08\0' + summed(header, 10) + payload)

    def socket(self, host, address=('', 0), group=None):
        with self.lab.inside_of(host):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            made.settimeout(LONG_ENOUGH_S)
            made.bind(address)
            if group:
                own = socket.inet_aton(HOST4 if host == 'inside' else ROUTER4)
                made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + own)
                made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        return made


def checksum(data):
    data += b'\0' * (len(data) % 2)
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def summed(data, at):
    return data[:at] + struct.pack('!H', checksum(data)) + data[at + 2:]


def arrives(receiver, word, timeout_s):
    receiver.settimeout(timeout_s)
    deadline = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            if receiver.recvfrom(2048)[0] == word:
                return True
    except TimeoutError:
        pass
    return False


# ---- what an office needs: each says what is wrong, or None -------------------------------------

def dhcp(bench, network, timeout_s):
    network.dnsmasq()
    return network.ask_for_address(4, timeout_s)


def dhcpv6(bench, network, timeout_s):
    network.dnsmasq()
    return network.ask_for_address(6, timeout_s)


def slaac(bench, network, timeout_s):
    network.dnsmasq()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if '2001:db8:1:0:' in network.lab.ip('inside', 'addr', 'show', 'dev', 'eth0', 'dynamic').stdout:
            return None
        time.sleep(0.05)
    return 'no router advertisement has made an address'


def igmp(bench, network, timeout_s):
    """The router asks, by its address and by none; a host that has joined a group tells it."""
    group = '239.1.2.3'
    query = summed(struct.pack('!BBHI', 0x11, 100, 0, 0), 2)
    member = network.socket('inside', group=group)
    alert = bytes([0x94, 4, 0, 0])
    try:
        for source in (ROUTER4, '0.0.0.0'):
            network.raw('outside', IGMP, source, '224.0.0.1', query, alert, 1)
            deadline = time.monotonic() + timeout_s
            while bench.captured('inside', f'igmp and src {source}') == 0:
                if time.monotonic() > deadline:
                    return f"the querier's question from {source} has not arrived"
                time.sleep(0.05)
        bench.eventually(lambda: bench.captured('outside', f'igmp and src {HOST4}') > 0,
                         'no report has come to the querier')
    finally:
        member.close()
    return None


def mdns(bench, network, timeout_s):
    group = '224.0.0.251'
    inside, outside = (network.socket(host, ('', 5353), group) for host in ('inside', 'outside'))
    try:
        inside.sendto(b'a question', (group, 5353))
        if not arrives(outside, b'a question', timeout_s):
            return 'a question has not arrived'
        outside.sendto(b'an answer', (group, 5353))
        return None if arrives(inside, b'an answer', timeout_s) else 'an answer has not arrived'
    finally:
        inside.close()
        outside.close()


def dns(bench, network, timeout_s):
    network.dnsmasq()
    question = struct.pack('!HHHHHH', 77, 0x100, 1, 0, 0, 0) + b'\x07printer\x07example\0\0\x01\0\x01'
    with network.socket('inside') as client:
        client.settimeout(timeout_s)
        client.sendto(question, (ROUTER4, 53))
        try:
            answer = client.recv(512)
        except TimeoutError:
            return 'a name was not answered'
    return None if socket.inet_aton('192.0.2.9') in answer else f'the answer is {answer!r}'


def ntp(bench, network, timeout_s):
    with network.socket('outside', (WORLD4, 123)) as server, network.socket('inside') as client:
        client.sendto(b'\x23' + bytes(47), (WORLD4, 123))
        try:
            server.settimeout(timeout_s)
            _, peer = server.recvfrom(512)
            server.sendto(b'\x24' + bytes(47), peer)
            client.settimeout(timeout_s)
            return None if client.recv(512)[0] == 0x24 else 'no answer'
        except TimeoutError:
            return 'the time was not told'


def pmtu(bench, network, timeout_s):
    """The router says that a packet is too big for what lies behind it."""
    ip_mtu_discover, do, ip_mtu = 10, 2, 14
    with network.socket('outside', (WORLD4, 7000)) as server, \
            network.socket('inside', (HOST4, 0)) as client:
        client.setsockopt(socket.IPPROTO_IP, ip_mtu_discover, do)
        client.connect((WORLD4, 7000))
        client.send(b'x' * 1400)
        server.settimeout(timeout_s)
        try:
            server.recvfrom(2048)
        except TimeoutError:
            return 'the packet has not arrived'
        quoted = struct.pack('!BBHHHBBH', 0x45, 0, 1428, 1, 0x4000, 63, 17, 0) + socket.inet_aton(
            HOST4) + socket.inet_aton(WORLD4)
        quoted = summed(quoted, 10) + struct.pack('!HHHH', client.getsockname()[1], 7000, 1408, 0)
        network.raw('outside', 1, ROUTER4, HOST4,
                    summed(struct.pack('!BBHHH', 3, 4, 0, 0, 1280) + quoted, 2))
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if client.getsockopt(socket.IPPROTO_IP, ip_mtu) == 1280:
                return None
            time.sleep(0.05)
    return 'the host has not learned of the smaller packets'


def transfer(bench, network, timeout_s):
    """Active: the server connects to the client."""
    server = FtpServer(network.lab, 21)
    target = network.lab.path('fetched')
    done = network.lab.do('inside', 'curl', '-sS', '--max-time', str(timeout_s), '-P', '-', '-o', target,
                          f'ftp://{WORLD4}/file.bin', check=False, timeout=timeout_s + 10)
    if done.returncode != 0:
        return f'curl: {done.returncode} {done.stderr}'
    with open(target, 'rb') as file:
        same = hashlib.sha256(file.read()).hexdigest() == server.digest
    return None if same else 'the file is another one'


def call(bench, network, timeout_s):
    """A telephone calls through its proxy, and both hear each other."""
    with network.socket('inside', (HOST4, 5060)) as phone, \
            network.socket('outside', (WORLD4, 5060)) as proxy, \
            network.socket('inside', (HOST4, 30000)) as ear, \
            network.socket('outside', (WORLD4, 40000)) as mouth:
        def message(first, media, more=''):
            host, port = media
            body = (f'v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n'
                    f'm=audio {port} RTP/AVP 0\r\n')
            return (f'{first}\r\nVia: SIP/2.0/UDP {HOST4}:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n'
                    f'From: <sip:a@example.net>;tag=1\r\nTo: <sip:b@example.net>{more}\r\n'
                    f'Call-ID: office\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{host}:5060>\r\n'
                    f'Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}').encode()
        phone.sendto(message('INVITE sip:b@example.net SIP/2.0', (HOST4, 30000)), (WORLD4, 5060))
        proxy.settimeout(timeout_s)
        try:
            proxy.recvfrom(4096)
        except TimeoutError:
            return 'the call has not arrived'
        proxy.sendto(message('SIP/2.0 200 OK', (WORLD4, 40000), ';tag=2'), (HOST4, 5060))
        phone.settimeout(timeout_s)
        phone.recvfrom(4096)
        mouth.sendto(b'from outside', (HOST4, 30000))
        if not arrives(ear, b'from outside', timeout_s):
            return 'the caller hears nothing'
        ear.sendto(b'from inside', (WORLD4, 40000))
        return None if arrives(mouth, b'from inside', timeout_s) else 'the other hears nothing'


def scan(bench, network, timeout_s):
    """Of saned, whose test device draws a picture."""
    lab = network.lab
    server = Saned(lab, 6566)
    with open(lab.path('saned', 'saned.conf'), 'a', encoding='utf-8') as file:
        file.write(f'{HOST4}\n')
    target = lab.path('scanned.pnm')
    done = subprocess.run(
        lab.on('inside', 'timeout', '-s', 'KILL', str(timeout_s), 'scanimage', '-d',
               f'net:{WORLD4}:test:0', *SCAN, '-o', target),
        env={**os.environ, 'SANE_CONFIG_DIR': lab.path('scanimage')}, capture_output=True,
        text=True, timeout=timeout_s + 10, check=False)
    if done.returncode != 0:
        return f'scanimage ended with {done.returncode}: {done.stderr}'
    with open(target, 'rb') as file:
        return None if file.read() == server.picture else 'the picture is another one'


def dial_in(bench, network, timeout_s):
    """A PPTP client in the world calls the access server inside."""
    access = '192.0.2.23'
    network.lab.ip('inside', 'addr', 'add', f'{access}/24', 'dev', 'eth0')
    ends = Ends(bench, 1723, 'outside', WORLD4, 'inside', access)
    try:
        ends.control(100, 200)
        return None if ends.passes(100, 200, timeout_s) else 'the tunnel does not work'
    finally:
        ends.close()


NO_HOST = {dhcp, dhcpv6, slaac}


def works(name, what):
    def check(bench):
        network = Network(bench, what not in NO_HOST)
        shipped(bench, name)
        problem = what(bench, network, LONG_ENOUGH_S)
        expect(problem is None, problem)
    return check


def fails(name, what, without, change):
    def check(bench):
        network = Network(bench, what not in NO_HOST)
        shipped(bench, name, without, change)
        try:
            problem = what(bench, network, SHORT_S)
        except Failed as failed:
            problem = str(failed)
        expect(problem is not None, 'it works without these lines, too')
    return check


def forged(bench):
    """An office's address from outside, other than the router's: not even to a service that is open."""
    network = Network(bench)
    middle = shipped(bench, 'bridge')
    request = summed(struct.pack('!BBHHH', 8, 0, 0, 1, 1) + b'ping', 2)
    network.raw('outside', 1, '192.0.2.77', HOST4, request)
    bench.eventually(lambda: middle.drops().get('spoofed', 0) > 0, 'nothing was dropped as spoofed')
    network.raw('outside', 1, ROUTER4, HOST4, request)
    bench.eventually(lambda: bench.captured('inside', f'icmp and src {ROUTER4}') > 0,
                     "the router's own ping has not arrived")
    expect(bench.captured('inside', 'icmp and src 192.0.2.77') == 0, 'the forged ping has arrived')


# With the router's own address among those that cannot come from outside.
FORGED = (('  - {name: wan, prefixes: [192.0.2.1/32, "2001:db8:1::1/128"]}', '  - {name: wan}'),)
# By configuration: what works, and what it does not work without: rules, or these changes.
OFFICE = {
    'bridge': ((dhcp, ['dhcp'], ()), (dhcp, [], FORGED), (dhcpv6, ['dhcpv6'], ()),
               (slaac, [], (('pass: [arp, nd, llc]', 'pass: [arp, llc]'),)),
               (igmp, ['igmp'], ()), (igmp, [], FORGED), (mdns, ['mdns'], ()), (mdns, [], FORGED),
               (dns, ['out'], ()), (ntp, ['out'], ()), (pmtu, [], FORGED), (transfer, ['ftp-data'], ())),
    'office': ((dhcp, ['dhcp'], ()), (dhcpv6, ['dhcpv6'], ()), (igmp, ['igmp'], ()), (mdns, ['mdns'], ()),
               (dns, ['basics'], ()), (ntp, ['basics'], ()), (scan, ['scan-data'], ())),
    'sip': ((dhcp, ['dhcp'], ()), (dhcpv6, ['dhcpv6'], ()), (dns, ['basics'], ()), (ntp, ['basics'], ()),
            (call, ['sip-related'], ())),
    'pptp': ((dial_in, ['tunnels'], ()),),
    'h323': ((dhcp, ['dhcp'], ()), (dns, ['basics'], ())),
}


def cases():
    own = frozenset({'control-socket'})
    found = [Case('office/bridge/forged', None, forged, needs=own)]
    for name, needs in OFFICE.items():
        def title(what, conf=name):
            return f'office/{conf}/{what.__name__.replace("_", "-")}'
        for what in dict.fromkeys(what for what, _, _ in needs):
            found.append(Case(title(what), None, works(name, what), needs=own))
        for what, without, change in needs:
            twin = 'without-' + '-'.join(without) if without else 'without-its-line'
            found.append(Case(f'{title(what)}/{twin}', None, fails(name, what, without, change),
                              needs=own))
    return found
