# SPDX-License-Identifier: BSD-3-Clause
"""A browser inside opens an attacker's page. The page makes it say what a browser can be made to say, to
control ports whose server is the attacker's, too, and answers as the protocol does: Chromium's own
bytes open nothing.

Chromium refuses these ports by itself; --explicitly-allowed-ports takes that away, since the firewall
is to hold for programs that do not refuse."""

import base64
import contextlib
import hashlib
import json
import re
import shutil
import socket
import struct
import threading

import lab as laboratory
from cases import Case, expect
from middle import Postern, Setting, configuration

WEB = 8000
CLIENT, SERVER = laboratory.INSIDE4, laboratory.OUTSIDE4
PORT = 13629  # of the client, which the attacker wants to reach
# Control ports and their helpers. Chromium's TURN client takes none below 1024 but 53, 80 and 443.
TCP = {21: 'ftp', 2121: 'ftp', 6667: 'irc', 5060: 'sip', 554: 'rtsp', 1720: 'q931', 1723: 'pptp',
       6566: 'sane'}
UDP = {5060: 'sip', 1719: 'ras', 10080: 'amanda'}
CHROMIUM = ('chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
            '--no-first-run', '--disable-background-networking', '--disable-component-update',
            '--disable-sync', '--disable-features=HttpsUpgrades,HttpsFirstBalancedMode')
LONG_ENOUGH_S = 50

METHODS = {
    21: 'ABOR ACCT ALLO APPE AUTH CDUP CLNT CWD DELE EPRT EPSV FEAT HELP HOST LIST LPRT MDTM MKD MLSD '
        'MODE NLST NOOP OPTS PASS PASV PBSZ PORT PROT PWD QUIT REIN REST RETR RMD RNFR RNTO SITE SIZE '
        'STAT STOR STOU STRU SYST TYPE USER XPWD user Stor POST PUT PATCH DELETE'.split(),
    6667: 'CAP PASS NICK USER PING AUTHENTICATE PROTOCTL QUIT PONG STARTTLS WEBIRC PRIVMSG JOIN nick '
          'POST PUT'.split(),
    5060: 'INVITE UPDATE ACK PRACK BYE CANCEL REGISTER OPTIONS MESSAGE POST'.split(),
    554: 'SETUP PLAY RECORD OPTIONS DESCRIBE ANNOUNCE TEARDOWN POST'.split(),
    6566: ['POST'], 1720: ['POST'], 1723: ['POST'],
}
_NUMBERS = CLIENT.replace('.', ',') + f',{PORT >> 8},{PORT & 255}'
_DCC = int.from_bytes(socket.inet_aton(CLIENT), 'big')
_SIP = ('SIP/2.0\r\nVia: SIP/2.0/TCP x\r\nFrom: a\r\nTo: b\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n'
        f'Contact: <sip:a@{CLIENT}:{PORT}>;expires=60\r\nContent-Length: 0\r\n\r\n')
# What the attacker wants a helper to read, and what its server says to that.
WORDS = {
    'ftp': f'PORT {_NUMBERS}\r\n',
    'irc': f'NICK me\r\nUSER me 0 * :me\r\nPRIVMSG x :\x01DCC SEND f {_DCC} {PORT} 1\x01\r\n',
    'sip': 'REGISTER sip:r ' + _SIP,
    'rtsp': 'SETUP rtsp://x RTSP/1.0\r\nCSeq: 1\r\n'
            f'Transport: RTP/AVP;unicast;client_port={PORT}\r\n\r\n',
    'amanda': 'Amanda 3.5 REQ HANDLE 1 SEQ 1\nSERVICE sendbackup\n',
}
WORDS.update(dict.fromkeys(('q931', 'pptp', 'sane', 'ras'), 'x\r\n'))
ANSWERS = {
    'ftp': ('220 ready\r\n331 password?\r\n', '200 ok\r\n'),
    'irc': (':s NOTICE * :hi\r\n', ':s 001 me :hi\r\n:s 001 /x :hi\r\n'),
    'sip': ('', 'SIP/2.0 200 OK\r\n' + _SIP.split('\r\n', 1)[1]),
    'rtsp': ('', 'RTSP/1.0 200 OK\r\nCSeq: 1\r\n'
                 f'Transport: RTP/AVP;unicast;client_port={PORT};server_port=6000\r\n\r\n'),
}
BODY_BYTES = 70_000  # more than the server's window: the rest is sent when it has greeted

SCRIPT = '''
const form = (url, type, words) => new Promise(done => {
  const frame = document.createElement('iframe');
  frame.name = 'f' + Math.random();
  document.body.append(frame);
  const form = document.createElement('form');
  Object.assign(form, {method: 'POST', action: url, enctype: type, target: frame.name});
  const field = document.createElement('textarea');
  field.name = words; field.value = words;
  form.append(field); document.body.append(form);
  frame.onload = done;
  form.submit();
});
const socket = (url, words) => new Promise(done => {
  const s = new WebSocket(url);
  s.onopen = () => s.send(words);
  s.onerror = s.onclose = done;
});
const turn = iceServers => new Promise(done => {
  const c = new RTCPeerConnection({iceServers});
  c.createDataChannel('x');
  c.onicegatheringstatechange = () => c.iceGatheringState === 'complete' && done();
  c.createOffer().then(offer => c.setLocalDescription(offer));
});
const kinds = {
  fetch: s => fetch(s.url, {method: s.method, body: s.body}).then(r => r.text()),
  form: s => form(s.url, s.type, s.words),
  socket: s => socket(s.url, s.words),
  turn: s => turn(s.servers),
};
(async () => {
  for (const step of steps) { try { await kinds[step.kind](step); } catch (error) { } }
  if (next) location = next;
  else fetch(done, {mode: 'no-cors', method: 'POST', body: 'x'});
})();
'''


def stun_answer(request):
    """Tells a STUN client its address; refuses a TURN client, at first with a realm and a nonce, so
    that it says its name the next time (RFC 8489, RFC 8656)."""
    def attribute(kind, value):
        return struct.pack('!HH', kind, len(value)) + value + bytes(-len(value) % 4)
    kind, = struct.unpack('!H', request[:2])
    if kind == 0x0001:
        body = attribute(0x0001, struct.pack('!HH4s', 1, PORT, socket.inet_aton(CLIENT)))
        return struct.pack('!HH', kind | 0x0100, len(body)) + request[4:20] + body
    code = 403 if b'USER' in request else 401
    body = (attribute(0x0009, struct.pack('!HBB', 0, code // 100, code % 100)) +
            attribute(0x0014, b'\r\nUSER x\r\n') + attribute(0x0015, b'nonce'))
    return struct.pack('!HH', kind | 0x0110, len(body)) + request[4:20] + body


class Attacker:
    """The attacker's host: its pages, and a server for each control port."""

    def __init__(self, lab, stack):
        self.lab, self.pages, self.said = lab, {}, []
        self.done, self.closing = threading.Event(), False
        with lab.inside_of('outside'):
            for port in (WEB, *TCP):
                listener = stack.enter_context(socket.create_server((SERVER, port)))
                self._thread(self._accept, listener, port)
            for port in UDP:
                end = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                end.bind((SERVER, port))
                self._thread(self._datagrams, end, port)

    @staticmethod
    def _thread(function, *arguments):
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def _accept(self, listener, port):
        with contextlib.suppress(OSError):
            while True:
                self._thread(self._serve, listener.accept()[0], port)

    def _serve(self, connection, port):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(LONG_ENOUGH_S)
            head = connection.recv(4096)
            while head and not self._answer(connection, port, head):
                head = connection.recv(4096)

    def _answer(self, connection, port, head):
        """One request; whether the connection is done with."""
        self.said.append((port, head))
        if head[:1] in (b'\x00', b'\x01'):
            connection.sendall(stun_answer(head))
            return False
        if head.startswith(b'GET '):
            path = head.split()[1].decode()
            key = re.search(rb'Sec-WebSocket-Key: *(\S+)', head, re.IGNORECASE)
            if key:
                return self._web_socket(connection, port, key[1])
            page = self.pages.get((port, path))
            body = (page or '').encode()
            status = '200 OK' if page else '404 Not Found'
            connection.sendall(f'HTTP/1.1 {status}\r\nContent-Type: text/html\r\n'
                               f'Content-Length: {len(body)}\r\n\r\n'.encode() + body)
            return False
        if port == WEB:
            self.done.set()
            connection.sendall(b'HTTP/1.1 204 No Content\r\n\r\n')
            return True
        return self._speak(connection, port, head)

    def _speak(self, connection, port, head):
        """Reads a request to its end, and answers as the protocol does."""
        greeting, answer = ANSWERS.get(TCP[port], ('', 'x\r\n'))
        connection.sendall(greeting.encode())
        length = re.search(rb'Content-Length: *([0-9]+)', head, re.IGNORECASE)
        end = head.find(b'\r\n\r\n')
        left = (int(length[1]) if length else 0) - (len(head) - end - 4)
        connection.sendall(answer.encode() * 3)
        while end >= 0 and left > 0:
            got = connection.recv(16384)
            if not got:
                break
            left -= len(got)
            connection.sendall(answer.encode())
        return True

    def _web_socket(self, connection, port, key):
        accept = base64.b64encode(hashlib.sha1(
            key + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest()).decode()
        connection.sendall('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n'
                           f'Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n'.encode())
        greeting, answer = ANSWERS.get(TCP[port], ('', 'x\r\n'))
        for words in (greeting, answer):
            connection.sendall(bytes([0x81, len(words)]) + words.encode()
                               if len(words) < 126 else b'')
        connection.recv(65536)
        connection.sendall(answer.encode())
        return True

    def _datagrams(self, end, port):
        with contextlib.suppress(OSError):
            while True:
                got, peer = end.recvfrom(4096)
                self.said.append((port, got))
                if len(got) >= 20:
                    end.sendto(stun_answer(got), peer)

    def page(self, port, path, steps, following=None):
        done = f'http://{SERVER}:{WEB}/done'
        self.pages[port, path] = (
            f'<body><script>const steps = {json.dumps(steps)}, next = {json.dumps(following)}, '
            f'done = {json.dumps(done)};{SCRIPT}</script>')
        return f'http://{SERVER}:{port}{path}'


def long_body(helper):
    return WORDS[helper] * (BODY_BYTES // len(WORDS[helper]))


def every_method(attacker):
    """Same origin, so that no preflight is in the way: the page comes from the control port."""
    url = None
    for port, methods in reversed(METHODS.items()):
        steps = [{'kind': 'fetch', 'url': '/x', 'method': method,
                  'body': long_body(TCP[port]) if method in ('USER', 'NICK', 'INVITE', 'SETUP')
                  else WORDS[TCP[port]] * 3} for method in methods]
        url = attacker.page(port, '/page', steps, url)
    return url, [(port, f'{method} '.encode()) for port, methods in METHODS.items()
                 for method in methods]


def forms(attacker):
    types = ('text/plain', 'multipart/form-data', 'application/x-www-form-urlencoded')
    steps = [{'kind': 'form', 'url': f'http://{SERVER}:{port}/', 'type': kind,
              'words': WORDS[helper] * 2} for port, helper in TCP.items() for kind in types]
    return attacker.page(WEB, '/page', steps), [(port, b'POST ') for port in TCP]


def web_sockets(attacker):
    steps = [{'kind': 'socket', 'url': f'ws://{SERVER}:{port}/USER',
              'words': WORDS[helper] * 3} for port, helper in TCP.items()]
    return attacker.page(WEB, '/page', steps), [(port, b'GET ') for port in TCP]


def keep_alive(attacker):
    """Several requests of one connection, of which only the last ones look like the protocol."""
    url = None
    for port in (21, 6667, 554):
        steps = [{'kind': 'fetch', 'url': '/page', 'method': 'GET'}] * 2 + [
            {'kind': 'fetch', 'url': '/x', 'method': method, 'body': WORDS[TCP[port]] * 5}
            for method in METHODS[port][-3:]]
        url = attacker.page(port, '/page', steps, url)
    return url, [(port, b'GET ') for port in (21, 6667, 554)]


def turn(transport):
    def steps_of(attacker):
        ports = UDP if transport == 'udp' else {p: h for p, h in TCP.items() if p > 1024}
        servers = [{'urls': f'turn:{SERVER}:{port}?transport={transport}', 'credential': 'x',
                    'username': ('x\r\nUSER x\r\n' + WORDS[helper])[:500]}
                   for port, helper in ports.items()]
        steps = [{'kind': 'turn', 'servers': servers}]
        return attacker.page(WEB, '/page', steps), [
            (port, WORDS[helper].encode()[:20]) for port, helper in ports.items()]
    return steps_of


def firewall():
    config = configuration(Setting(workers=1), None)
    config['helpers'] = [{'name': helper} for helper in dict.fromkeys([*TCP.values(), *UDP.values()])]
    config['policy']['rules'] = [
        {'name': 'web', 'from': 'inside', 'to': 'outside', 'proto': 'tcp', 'dport': WEB, 'ct': ['new'],
         'action': 'accept'},
        *({'name': f'{helper}-{proto}-{port}', 'from': 'inside', 'to': 'outside', 'proto': proto,
           'dport': port, 'ct': ['new'], 'action': 'accept', 'helper': helper}
          for proto, ports in (('tcp', TCP), ('udp', UDP)) for port, helper in ports.items()),
        {'name': 'related', 'ct': ['related'], 'action': 'accept'}]
    return config


def opens_nothing(plan):
    def check(bench):
        if not shutil.which('chromium'):
            return bench.note('not run: chromium is not here (scripts/install-deps.sh test)')
        lab, config = bench.lab, firewall()
        config['control']['socket'] = lab.path('postern.sock')
        daemon = Postern(config=config).start(lab)
        with contextlib.ExitStack() as stack:
            attacker = Attacker(lab, stack)
            url, wanted = plan(attacker)
            ports = ','.join(map(str, {**TCP, **UDP}))
            browser = lab.start('chromium', 'inside', *CHROMIUM,
                                f'--user-data-dir={lab.path("profile")}',
                                f'--explicitly-allowed-ports={ports}', url)
            finished = attacker.done.wait(LONG_ENOUGH_S)
            said = list(attacker.said)
            browser.stop()
        expect(finished, f'the page has not come to its end; the last words were {said[-1:]}')
        missing = [(port, words) for port, words in wanted
                   if not any(p == port and (head.startswith(words) or
                                             (head[0] < 2 and words in head)) for p, head in said)]
        expect(not missing, f'the browser has not said {missing}')
        helped = {row['name']: row['counters'] for row in daemon.ctl('helper', 'list')}
        opened = {name: c['expectations'] for name, c in helped.items() if c['expectations']}
        expect(not opened, f'expectations were asked for: {opened}')
        expect(not daemon.expectations(), f'there are expectations: {daemon.expectations()}')
        read = {name: c['blind_not_protocol'] for name, c in helped.items()
                if c['blind_not_protocol']}
        bench.note(f'{len(said)} requests; given up: {read}')
    return check


def cases():
    kinds = {'every-method': every_method, 'forms': forms, 'web-sockets': web_sockets,
             'keep-alive': keep_alive, 'turn-tcp': turn('tcp'), 'turn-udp': turn('udp')}
    return [Case(f'browser/{name}', None, opens_nothing(plan)) for name, plan in kinds.items()]
