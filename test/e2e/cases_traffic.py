# SPDX-License-Identifier: BSD-3-Clause
"""What passes and what does not, beside FTP: the pass list, the policy's sides, rejects, tags."""

import contextlib
import errno
import select
import socket
import struct

import lab as laboratory
from cases import Case, expect
from middle import Setting

LONG_ENOUGH_S = 10
SHORT_S = 3
LLDP_GROUP = bytes.fromhex('0180c200000e')
BROADCAST = b'\xff' * 6
ETH_LLDP, ETH_ARP = 0x88CC, 0x0806
ADDRESS = {('inside', 4): laboratory.INSIDE4, ('outside', 4): laboratory.OUTSIDE4,
           ('inside', 6): laboratory.INSIDE6, ('outside', 6): laboratory.OUTSIDE6}
OTHER = {'inside': 'outside', 'outside': 'inside'}


def make_socket(lab, host, family, kind):
    with lab.inside_of(host):
        return socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind)


def tcp_connect(lab, source, family, port, timeout_s):
    """'open', 'refused' or 'silent': what a connection from this host to the other one gets."""
    with make_socket(lab, source, family, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        code = client.connect_ex((ADDRESS[OTHER[source], family], port))
    if code in (errno.EAGAIN, errno.ETIMEDOUT, errno.EHOSTUNREACH):
        return 'silent'
    return {0: 'open', errno.ECONNREFUSED: 'refused'}.get(code, errno.errorcode.get(code))


@contextlib.contextmanager
def tcp_listener(lab, host, family, port):
    with make_socket(lab, host, family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS[host, family], port))
        listener.listen(8)
        yield


def ping(lab, source, family, timeout_s):
    done = lab.do(source, 'ping', f'-{family}', '-c', '1', '-W', str(timeout_s),
                  ADDRESS[OTHER[source], family], check=False)
    return done.returncode == 0


def pass_list(passes):
    """The control port is open for both families; who can resolve the other's address gets there."""
    def check(bench):
        for family, needed in ((4, 'arp'), (6, 'nd')):
            allowed = needed in passes
            with tcp_listener(bench.lab, 'outside', family, 21):
                got = tcp_connect(bench.lab, 'inside', family, 21,
                                  LONG_ENOUGH_S if allowed else SHORT_S)
            expect(got == ('open' if allowed else 'silent'),
                   f'IPv{family} with {passes} on the pass list: {got}')
    return check


def lldp(allowed):
    """An LLDP frame arrives if it is on the pass list. An ARP frame sent after it shows that it is
    not merely late."""
    def check(bench):
        lab = bench.lab
        with contextlib.ExitStack() as stack:
            with lab.inside_of('outside'):
                receiver = stack.enter_context(socket.socket(
                    socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
                receiver.bind(('eth0', 3))
            with lab.inside_of('inside'):
                sender = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
                sender.bind(('eth0', 0))
            mac = sender.getsockname()[4]
            sender.send(LLDP_GROUP + mac + struct.pack('!H', ETH_LLDP) + b'postern'.ljust(46, b'\0'))
            sender.send(BROADCAST + mac + struct.pack('!H', ETH_ARP) + b'sentinel'.ljust(46, b'\0'))
            seen = False
            while True:
                expect(select.select([receiver], [], [], LONG_ENOUGH_S)[0], 'no sentinel frame came')
                frame = receiver.recv(2048)
                seen = seen or frame[14:21] == b'postern'
                if frame[14:22] == b'sentinel':
                    break
        expect(seen == allowed, f'the LLDP frame was {"passed" if seen else "dropped"}')
        if not allowed:
            expect(bench.middle.drops().get('non_ip', 0) > 0, 'no drop is counted as non_ip')
    return check


def provider_tag(bench):
    """A tag of type 0x88a8 leaves as it came, or not at all; one of type 0x8100 leaves. A frame sent
    after both shows that none is merely late."""
    lab = bench.lab
    with contextlib.ExitStack() as stack:
        with lab.inside_of('outside'):
            receiver = stack.enter_context(socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
            receiver.bind(('eth0', 3))
            receiver.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
        with lab.inside_of('inside'):
            sender = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
            sender.bind(('eth0', 0))
        ends = BROADCAST + sender.getsockname()[4]
        for tag in (struct.pack('!HH', 0x88a8, 5), struct.pack('!HH', 0x8100, 6), b''):
            sender.send(ends + tag + struct.pack('!H', ETH_ARP) + b'tagged'.ljust(46, b'\0'))
        tags = []
        while not tags or tags[-1] is not None:
            expect(select.select([receiver], [], [], LONG_ENOUGH_S)[0], f'only these came: {tags}')
            frame, auxiliary, _, _ = receiver.recvmsg(2048, 64)
            if b'tagged' not in frame[:24]:
                continue
            tag = None
            for _, _, data in auxiliary:
                # struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid
                status, *_, tci, kind = struct.unpack('=IIIHHHH', data[:20])
                if status & 0x10:
                    tag = kind, tci
            tags.append(tag)
    expect((0x8100, 5) not in tags, f'the tag has another type: {tags}')
    expect((0x8100, 6) in tags, f'an ordinary tag did not pass: {tags}')
    if bench.setting.driver == 'af_packet':
        expect('0x88a8' in bench.middle.process.stdout + bench.middle.process.stderr,
               'nothing was said about it at start')


def ping_passes(bench):
    for family in (4, 6):
        expect(ping(bench.lab, 'inside', family, LONG_ENOUGH_S),
               f'an IPv{family} echo from inside had no answer')


def ping_stays_out(bench):
    for family in (4, 6):
        expect(not ping(bench.lab, 'outside', family, 1),
               f'an IPv{family} echo from outside was answered')


def udp_both_ways(bench):
    """A reply passes because it was asked for; the same packet unasked does not."""
    for family in (4, 6):
        with contextlib.ExitStack() as stack:
            ends = {}
            for host, port in (('inside', 40000), ('outside', 40001)):
                ends[host] = stack.enter_context(
                    make_socket(bench.lab, host, family, socket.SOCK_DGRAM))
                ends[host].bind((ADDRESS[host, family], port))
            ask = (ADDRESS['outside', family], 40001)
            answer = (ADDRESS['inside', family], 40000)

            def arrives(host, timeout_s, ends=ends):
                return bool(select.select([ends[host]], [], [], timeout_s)[0])

            before = bench.middle.drops().get('policy', 0)
            ends['outside'].sendto(b'unasked', answer)
            bench.eventually(lambda b=before: bench.middle.drops().get('policy', 0) > b,
                             'the policy has not dropped an unasked packet')
            expect(not arrives('inside', 0), f'IPv{family}: an unasked packet came in')
            ends['inside'].sendto(b'ask', ask)
            expect(arrives('outside', LONG_ENOUGH_S), f'IPv{family}: the question did not arrive')
            ends['outside'].sendto(b'answer', answer)
            expect(arrives('inside', LONG_ENOUGH_S), f'IPv{family}: the answer did not arrive')


def closed_from_outside(bench):
    for family in (4, 6):
        with tcp_listener(bench.lab, 'inside', family, 2222):
            got = tcp_connect(bench.lab, 'outside', family, 2222, SHORT_S)
        expect(got == 'silent', f'IPv{family}: a connection from outside: {got}')


def default_action(wanted):
    """To a port that no rule opens and where someone listens: silence, or a reset."""
    def check(bench):
        for family in (4, 6):
            with tcp_listener(bench.lab, 'outside', family, 2222):
                got = tcp_connect(bench.lab, 'inside', family, 2222,
                                  LONG_ENOUGH_S if wanted == 'refused' else SHORT_S)
            expect(got == wanted, f'IPv{family}: {got}, not {wanted}')
    return check


def udp_is_rejected(bench):
    """The sender is told by an ICMP error, which its socket reports."""
    for family in (4, 6):
        with make_socket(bench.lab, 'inside', family, socket.SOCK_DGRAM) as client:
            client.connect((ADDRESS['outside', family], 2222))
            client.send(b'hello')
            poller = select.poll()
            poller.register(client, select.POLLERR)
            expect(poller.poll(LONG_ENOUGH_S * 1000), f'IPv{family}: no ICMP error came')


def ping_large(lab, source, family, timeout_s):
    done = lab.do(source, 'ping', f'-{family}', '-c', '1', '-s', '4000', '-W', str(timeout_s),
                  ADDRESS[OTHER[source], family], check=False)
    return done.returncode == 0


def fragments_pass(bench):
    """Pings and datagrams too large for one frame, and their answers, arrive as they were sent; what
    left the middle was fragments."""
    payload = bytes(i * 7 % 251 for i in range(5000))
    for family in (4, 6):
        expect(ping_large(bench.lab, 'inside', family, LONG_ENOUGH_S), f'IPv{family}: no answer to ping')
        with make_socket(bench.lab, 'outside', family, socket.SOCK_DGRAM) as server, \
                make_socket(bench.lab, 'inside', family, socket.SOCK_DGRAM) as client:
            server.bind((ADDRESS['outside', family], 5000))
            server.settimeout(LONG_ENOUGH_S)
            client.settimeout(LONG_ENOUGH_S)
            client.sendto(payload, (ADDRESS['outside', family], 5000))
            got, sender = server.recvfrom(65535)
            expect(got == payload, f'IPv{family}: {len(got)} bytes arrived of {len(payload)}')
            server.sendto(payload[::-1], sender)
            got, _ = client.recvfrom(65535)
            expect(got == payload[::-1], f'IPv{family}: {len(got)} bytes came back')
    for host in ('inside', 'outside'):
        for words in ('ip[6:2] & 0x3fff != 0', 'ip6[6] == 44'):
            expect(bench.captured(host, words) > 0, f'no fragment was seen {host}: {words}')


def fragments_stay_out(bench):
    """The pair: from outside, policy drops the whole datagram."""
    for family in (4, 6):
        expect(not ping_large(bench.lab, 'outside', family, SHORT_S),
               f'IPv{family}: a large ping from outside was answered')
    drops = bench.middle.drops()
    expect(drops.get('policy', 0) >= 6, f'drops: {drops}')


def frames_are_tagged(bench):
    """The pair to the transfers through a VLAN: what crossed the middle was tagged indeed."""
    got = tcp_connect(bench.lab, 'inside', 4, bench.server().port, LONG_ENOUGH_S)
    expect(got == 'open', f'the tagged connection: {got}')
    for host in ('inside', 'outside'):
        counts = [bench.captured(host, words) for words in ('vlan 7 and tcp', 'tcp')]
        expect(counts[0] > 0, f'no tagged TCP frame was seen {host}')
        expect(counts[1] == 0, f'{counts[1]} untagged TCP frames were seen {host}')


def cases():
    policy = frozenset({'control-socket'})
    inside = Setting(policy='inside')
    fragmented = Setting(policy='inside', workers=3, driver='pcap')
    found = [Case(f'pass-list/{"-".join(passes) or "none"}', Setting(passes=passes),
                  pass_list(passes), needs=frozenset({'pass-list'}))
             for passes in (('arp', 'nd'), ('arp',), ('nd',), ())]
    found += [
        Case('pass-list/lldp/on', Setting(passes=('arp', 'nd', 'lldp')), lldp(True),
             needs=frozenset({'pass-list'})),
        Case('pass-list/lldp/off', Setting(), lldp(False), needs=frozenset({'pass-list'})),
        Case('link/provider-tag', Setting(passes=('all',)), provider_tag,
             needs=frozenset({'pass-list'})),
        Case('policy/ping-from-inside', inside, ping_passes),
        Case('policy/ping-from-outside', inside, ping_stays_out, needs=policy),
        Case('policy/udp', inside, udp_both_ways, needs=policy),
        # Not on af_packet: there the kernel puts IPv4 fragments together before the device sees them.
        Case('fragments/from-inside', fragmented, fragments_pass),
        Case('fragments/from-outside', fragmented, fragments_stay_out,
             needs=policy),
        Case('policy/tcp-from-outside', inside, closed_from_outside, needs=policy),
        Case('policy/default-drop', Setting(), default_action('silent'), needs=policy),
        Case('policy/default-reject', Setting(default='reject'), default_action('refused'),
             needs=policy),
        Case('policy/default-reject-udp', Setting(default='reject'), udp_is_rejected,
             needs=policy),
        Case('ftp/vlan/frames-are-tagged', Setting(vlan=7), frames_are_tagged),
    ]
    return found
