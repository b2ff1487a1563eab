# SPDX-License-Identifier: BSD-3-Clause
"""Telephone calls: SIPp on both sides, with media; a phone inside that is called through a registrar
outside (Kamailio); baresip on both sides. Only the SIP port may be new, so media, and calls to the
phone, live by what the helper expects. And SIP inside of what is none."""

import array
import dataclasses
import functools
import math
import os
import socket
import struct
import wave

import lab as laboratory
from cases import Case, expect, pair
from middle import Setting

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'sipp')
LONG_ENOUGH_S = 15
PACKETS = 20  # of media, 20 ms each
# Further addresses of the outside host: the servers of other cases have port 5060, too.
REGISTRAR = {4: '192.0.2.3', 6: '2001:db8::3'}

KAMAILIO = '''
debug=0
log_stderror=yes
children=1
tcp_children=1
listen=udp:{host}:5060
listen=tcp:{host}:5060
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "siputils.so"
loadmodule "textops.so"
request_route {{
    if (is_method("REGISTER")) {{ save("location"); exit; }}
    if (has_totag()) {{ if (loose_route()) t_relay(); exit; }}
    record_route();
    if (!lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
    t_relay();
}}
'''

BARESIP = '''
sip_listen {host}:5060
audio_source aufile,{folder}/says.wav
audio_player aubridge,heard
audio_alert aubridge,alert
snd_path {folder}
rtp_ports {first}-{last}
net_interface {host}
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
'''


def bracketed(host):
    return f'[{host}]' if ':' in host else host


def write_media(lab):
    """A capture of some RTP packets, for SIPp to play."""
    frames = b''
    for i in range(PACKETS):
        rtp = struct.pack('!BBHII', 0x80, 8, i, i * 160, 1) + b'\xd5' * 160
        udp = struct.pack('!HHHH', 6000, 6000, 8 + len(rtp), 0) + rtp
        ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), i, 0, 64, 17, 0, bytes(4), bytes(4))
        frame = b'\2\0\0\0\0\1\2\0\0\0\0\2\x08\0' + ip + udp
        frames += struct.pack('<IIII', 0, i * 20000, len(frame), len(frame)) + frame
    path = lab.path('media.pcap')
    with open(path, 'wb') as file:
        file.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1) + frames)
    return path


@dataclasses.dataclass(frozen=True)
class Line:
    """A way in which SIP goes."""
    family: int
    transport: str

    def name(self):
        return f'{self.transport}/ipv{self.family}'

    def start(self, lab, name, host, address, port, scenario, *more):
        """SIPp. Media come to a port that no other line or host has."""
        with open(os.path.join(FOLDER, scenario), encoding='utf-8') as file:
            text = file.read()
        if 'MEDIA' in text:
            text = text.replace('MEDIA', write_media(lab))
        name = f'sipp-{name}-{self.name().replace("/", "-")}'
        # It looks at the terminal's size.
        return lab.start(name, host, 'sipp', '-sf', lab.write(f'{name}.xml', text), '-m', '1',
                         '-nostdin', '-t', f'{self.transport[0]}1', '-i', bracketed(address),
                         '-p', str(port), *more, env={**os.environ, 'TERM': 'dumb'})

    def answer(self, lab, host, address, port, media):
        process = self.start(lab, 'answer', host, address, port, 'answer.xml', '-mi', address,
                             '-mp', str(media), '-rtp_echo')
        await_socket(lab, process, host, self.transport, port)
        return process

    def call(self, lab, host, address, port, media, callee, timeout_s):
        return self.start(lab, 'call', host, address, port, 'call.xml', '-mi', address, '-mp',
                          str(media), '-s', 'phone', '-timeout', str(timeout_s or LONG_ENOUGH_S),
                          '-timeout_error', f'{bracketed(callee)}:5060')

    def port(self, base):
        return base + (20 if self.family == 6 else 0) + (10 if self.transport == 'tcp' else 0)


def await_socket(lab, process, host, transport, port):
    """SIPp and Kamailio say nothing when they listen: ask the kernel."""
    deadline = laboratory.time.monotonic() + LONG_ENOUGH_S
    while not lab.do(host, 'ss', f'-Hln{transport[0]}', f'sport = :{port}').stdout.strip():
        if not process.running() or laboratory.time.monotonic() > deadline:
            raise laboratory.LabError(f'{process.name} does not listen on port {port}: '
                                      f'{process.stdout}{process.stderr}')
        laboratory.select.select([process.pidfd], [], [], 0.02)


def media_problem(bench, there, here):
    """What is wrong with the media that ran from port `here` to `there` and were echoed."""
    for host, words in (('outside', f'udp and src port {here} and dst port {there}'),
                        ('inside', f'udp and src port {here} and dst port {there}'),
                        ('outside', f'udp and src port {there} and dst port {here}'),
                        ('inside', f'udp and src port {there} and dst port {here}')):
        n = bench.captured(host, words)
        if n < PACKETS:
            return f'{n} of {PACKETS} media packets seen {host}: {words}'
    return None


def outward_call(line, bench, timeout_s):
    """From inside to outside, both SIPp."""
    inside = laboratory.INSIDE4 if line.family == 4 else laboratory.INSIDE6
    outside = laboratory.OUTSIDE4 if line.family == 4 else laboratory.OUTSIDE6
    here, there = line.port(30000), line.port(20000)
    line.answer(bench.lab, 'outside', outside, 5060, there)
    caller = line.call(bench.lab, 'inside', inside, line.port(5070), here, outside, timeout_s)

    def problem():
        code = caller.wait(LONG_ENOUGH_S + 5)
        if code != 0:
            return f'the call failed: {caller.stdout}{caller.stderr}'
        return media_problem(bench, there, here)
    return problem


class Registrar:
    """Kamailio on further addresses of the outside host: registrar and proxy."""

    def __init__(self, lab, port):
        for family, length in ((4, 24), (6, 64)):
            nodad = ['nodad'] if family == 6 else []
            lab.ip('outside', 'addr', 'add', f'{REGISTRAR[family]}/{length}', 'dev', 'eth0', *nodad)
            host = bracketed(REGISTRAR[family])
            run = lab.path(f'kamailio{family}')
            os.makedirs(run)
            config = lab.write(f'kamailio{family}.cfg', KAMAILIO.format(host=host))
            process = lab.start(f'kamailio{family}', 'outside', 'kamailio', '-f', config, '-DD', '-E',
                                '-L', module_folder(), '-w', run, '-Y', run, '-m', '32', '-M', '4')
            await_socket(lab, process, 'outside', 'tcp', f'5060 and src {host}')
            await_socket(lab, process, 'outside', 'udp', f'5060 and src {host}')


def module_folder():
    for folder in os.listdir('/usr/lib'):
        path = os.path.join('/usr/lib', folder, 'kamailio', 'modules')
        if os.path.isdir(path):
            return path
    raise laboratory.LabError('Kamailio has no modules')


def inward_call(line, bench, timeout_s):
    """To a phone inside that has registered its port 508x from another one, through the registrar.
    The proxy calls from a port, and over TCP by a connection, that the phone has not opened."""
    bench.server(Registrar)
    inside = laboratory.INSIDE4 if line.family == 4 else laboratory.INSIDE6
    outside = REGISTRAR[line.family]
    here, there, contact = line.port(32000), line.port(22000), line.port(5080)
    line.answer(bench.lab, 'inside', inside, contact, there)
    line.start(bench.lab, 'register', 'inside', inside, line.port(5075), 'register.xml', '-key',
               'contact', str(contact), f'{bracketed(outside)}:5060')
    bench.eventually(lambda: bench.captured('inside', f'src host {outside} and src port 5060 and '
                                            f'dst port {line.port(5075)} and greater 300') > 0,
                     'the registrar has not answered')
    caller = line.call(bench.lab, 'outside', outside, line.port(5090), here, outside, timeout_s)

    def problem():
        code = caller.wait(LONG_ENOUGH_S + 5)
        if code != 0:
            return f'the call failed: {caller.stdout}{caller.stderr}'
        if bench.can('control-socket'):
            calls = bench.middle.connections(proto=line.transport, dport=contact)
            if not any(row.get('master') for row in calls):
                return f'the call came in without a registration: {calls}'
        return media_problem(bench, there, here)
    return problem


class Telephone:
    """baresip: says one tone, keeps what it hears. It answers by itself."""

    def __init__(self, lab, name, host, address, first_port, says_hz, *more):
        self.folder = lab.path(name)
        os.makedirs(self.folder)
        lab.write(f'{name}/config', BARESIP.format(host=address, folder=self.folder,
                                                   first=first_port, last=first_port + 9))
        lab.write(f'{name}/accounts', f'<sip:{name}@{address}:5060>;regint=0;answermode=auto\n')
        lab.write(f'{name}/contacts', '')
        with wave.open(f'{self.folder}/says.wav', 'wb') as file:
            file.setparams((1, 2, 8000, 0, 'NONE', ''))
            file.writeframes(array.array('h', [
                int(9000 * math.sin(2 * math.pi * says_hz * i / 8000)) for i in range(8000 * 5)]))
        self.process = lab.start(name, host, 'baresip', '-f', self.folder, *more)

    def heard(self):
        """The length in seconds and the pitch in Hz of what came."""
        for name in os.listdir(self.folder):
            if name.endswith('-dec.wav'):
                with wave.open(f'{self.folder}/{name}') as file:
                    samples = array.array('h', file.readframes(file.getnframes()))
                loud = [s for s in samples if abs(s) > 500]
                turns = sum((a < 0) != (b < 0) for a, b in zip(loud, loud[1:]))
                return len(samples) / 8000, turns * 4000 / max(len(samples), 1)
        return 0, 0


def baresip_call(bench, timeout_s):
    lab = bench.lab
    bob = Telephone(lab, 'bob', 'outside', laboratory.OUTSIDE4, 24000, 660, '-t', '5')
    bob.process.await_output('baresip is ready')
    alice = Telephone(lab, 'alice', 'inside', laboratory.INSIDE4, 34000, 440, '-t', '3', '-e',
                      f'/dial sip:bob@{laboratory.OUTSIDE4}')

    def problem():
        for phone in (alice, bob):
            phone.process.wait(LONG_ENOUGH_S)
        for phone, pitch in ((alice, 660), (bob, 440)):
            seconds, heard = phone.heard()
            if seconds < 1 or abs(heard - pitch) > 30:
                return f'{phone.process.name} heard {heard:.0f} Hz for {seconds:.1f} s, not {pitch} Hz'
        return None
    return problem


# ---- SIP inside of what is none --------------------------------------------------------------

def register_text(padding=0):
    return (f'REGISTER sip:{laboratory.OUTSIDE4} SIP/2.0\r\nVia: SIP/2.0/UDP x;rport;branch=z9hG4bK1\r\n'
            f'Subject: {"x" * padding}\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:a@x>\r\nCall-ID: 1\r\n'
            f'CSeq: 1 REGISTER\r\nContact: <sip:a@{laboratory.INSIDE4}:6060>;expires=60\r\n'
            'Content-Length: 0\r\n\r\n').encode()


def helper_counts(bench):
    return bench.middle.ctl('helper', 'list')[0]['counters']


def http_request(bench):
    """A web page makes a browser post this to port 5060. Each of the two parts is a segment."""
    with bench.lab.inside_of('outside'):
        server = socket.create_server((laboratory.OUTSIDE4, 5060))
    with bench.lab.inside_of('inside'):
        client = socket.socket()
    before = helper_counts(bench)
    with server, client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(LONG_ENOUGH_S)
        client.connect((laboratory.OUTSIDE4, 5060))
        peer, _ = server.accept()
        peer.settimeout(LONG_ENOUGH_S)
        with peer:
            for part in (b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n',
                         register_text()):
                client.sendall(part)
                got = b''
                while len(got) < len(part):
                    got += peer.recv(4096)
                expect(got == part, 'the text did not arrive as it was sent')
    now = helper_counts(bench)
    expect(now['expectations'] == before['expectations'], 'a web request opens the firewall')
    expect(now['blind_not_protocol'] == before['blind_not_protocol'] + 1,
           'the helper does not say that it was no SIP')


def fragments(bench):
    """The second fragment begins as a REGISTER does: nothing. A REGISTER in two fragments: opens."""
    with bench.lab.inside_of('outside'):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with bench.lab.inside_of('inside'):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, client:
        server.bind((laboratory.OUTSIDE4, 5060))
        server.settimeout(LONG_ENOUGH_S)
        client.bind((laboratory.INSIDE4, 6001))
        filler = b'\0\3\0\0\x21\x12\xa4\x42'
        first = 1500 - 20 - 8  # bytes of payload in the first fragment
        before = helper_counts(bench)['expectations']
        for text, opens in ((filler + b'x' * (first - len(filler)) + register_text(), 0),
                            (register_text(2000), 1)):
            client.sendto(text, (laboratory.OUTSIDE4, 5060))
            expect(server.recv(65536) == text, 'the datagram did not arrive whole')
            expect(helper_counts(bench)['expectations'] == before + opens,
                   f'{"nothing" if opens else "something"} was opened')
        expect(bench.captured('inside', 'ip[6:2] & 0x1fff > 0 and src host ' + laboratory.INSIDE4) >= 2,
               'the datagrams were not in fragments')


def cases():
    one, three = (Setting(service='sip', workers=n) for n in (1, 3))
    found = []
    for setting, transport, family in ((one, 'udp', 4), (one, 'tcp', 4),
                                       (three, 'udp', 6), (three, 'tcp', 6)):
        line = Line(family, transport)
        where = f'sip/{setting.workers}-workers/{line.name()}'
        found += pair(f'{where}/call', setting, functools.partial(outward_call, line))
    for setting, transport, family in ((one, 'udp', 4), (three, 'tcp', 6)):
        line = Line(family, transport)
        where = f'sip/{setting.workers}-workers/{line.name()}'
        found += pair(f'{where}/registered', setting, functools.partial(inward_call, line))
    found += pair('sip/3-workers/udp/ipv4/baresip', three, baresip_call)
    needs = frozenset({'control-socket'})
    found.append(Case('sip/slipstream/http', one, http_request, needs=needs))
    # (The kernel puts fragments together before it gives them to af_packet.)
    found.append(Case('sip/slipstream/fragments', dataclasses.replace(one, driver='pcap'), fragments,
                      needs=needs))
    return found
