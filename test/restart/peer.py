# SPDX-License-Identifier: BSD-3-Clause
"""One end of many TCP connections and UDP flows, on one host: peer.py server | client

Obeys lines of JSON on stdin and answers each with one line of JSON on stdout:

    {"do": "listen", "host": A, "port": P}             server: accepts TCP connections
    {"do": "open", "flows": {NAME: RATE}, "host": A, "port": P}
                                                        client: opens connections; RATE in bytes a
                                                        second and direction, 0: silent
    {"do": "mark"}                                      {"sent": {NAME: N}}: what the other end has to
                                                        receive for this end to be heard; silent
                                                        connections send a few bytes
    {"do": "reach", "sent": {NAME: N}, "timeout": S}    waits; {"wrong": {NAME: WHY}} of the others
    {"do": "close", "flows": [NAME...]}
    {"do": "udp", "host": A, "ports": [FIRST, N]}       opens N sockets
    {"do": "udp_call", "host": A, "ports": [FIRST, N], "flows": N, "rate": R}
                                                        client: a datagram in each flow, answered;
                                                        {"answered": N}
    {"do": "udp_send", "rate": R, "only": [FLOW...]}    server: a datagram in each flow, or these
    {"do": "udp_forget"}                                client: counts anew ...
    {"do": "udp_missing", "flows": N}                   ... {"missing": [FLOW...]} that heard nothing

Each direction of a connection carries its own pattern without end, and the receiver compares every
byte. A flow's period is a prime, so that a lost, repeated or moved piece is noticed.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import resource
import socket
import sys

PERIOD = 8191
PIECE = 16384      # at most that many bytes at a time
TICK_S = 0.05      # between two pieces of a connection
POKE = 10          # bytes of a silent connection
UDP_TOGETHER = 64  # datagrams, then a look at what has come


def pattern(name, side):
    """One period of the bytes that `side` sends, often enough for a piece at any offset."""
    period = hashlib.shake_128(f'{name}/{side}'.encode()).digest(PERIOD)
    return period * (PIECE // PERIOD + 2)


class Flow:
    """One end of a TCP connection."""

    def __init__(self, name, rate, side, sock):
        self.name, self.rate, self.sock = name, rate, sock
        other = 'client' if side == 'server' else 'server'
        self.mine, self.theirs = pattern(name, side), pattern(name, other)
        self.sent = self.received = 0
        self.wrong = None
        self.changed = asyncio.Event()
        self.poke = asyncio.Event()
        self.tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]

    @property
    def piece(self):
        return min(PIECE, max(1, int(self.rate * TICK_S))) if self.rate else POKE

    def fail(self, why):
        self.wrong = self.wrong or why
        self.changed.set()

    async def _send(self):
        loop = asyncio.get_running_loop()
        try:
            while True:
                if self.rate:
                    await asyncio.sleep(TICK_S)
                else:
                    await self.poke.wait()
                    self.poke.clear()
                at = self.sent % PERIOD
                await loop.sock_sendall(self.sock, self.mine[at:at + self.piece])
                self.sent += self.piece
        except OSError as error:
            self.fail(f'sending: {error.strerror or error}')

    async def _receive(self):
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(self.sock, PIECE):
                at = self.received % PERIOD
                if data != self.theirs[at:at + len(data)]:
                    self.fail(f'other bytes than were sent, after {self.received}')
                    return
                self.received += len(data)
                self.changed.set()
            self.fail('the other end has closed it')
        except OSError as error:
            self.fail(f'receiving: {error.strerror or error}')

    async def reach(self, count, deadline):
        """None once `count` bytes have come, else why they will not."""
        while self.received < count:
            if self.wrong:
                return self.wrong
            self.changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self.changed.wait()
            except TimeoutError:
                return f'hangs: {self.received} bytes came, not {count}'
        return self.wrong

    def close(self):
        for task in self.tasks:
            task.cancel()
        self.sock.close()


class Udp:
    """Flows between N sockets here and N ports there."""

    def __init__(self, side, host, first, count):
        self.side = side
        self.sockets = []
        self.heard = set()    # client: flows that something came in
        self.peers = {}       # server: (socket's number, address) -> number of the flow
        loop = asyncio.get_running_loop()
        for number in range(count):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
            sock.setblocking(False)
            sock.bind((host, first + number))
            self.sockets.append(sock)
            loop.add_reader(sock, self._read, number)

    def _read(self, number):
        sock = self.sockets[number]
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            for _ in range(UDP_TOGETHER):
                data, address = sock.recvfrom(64)
                flow = int(data.split()[1])
                if self.side == 'client':
                    self.heard.add(flow)
                elif data.startswith(b'call'):
                    self.peers[flow] = (number, address)
                    self._send(number, b'answer %d' % flow, address)

    def _send(self, number, data, address):
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError, PermissionError):
            self.sockets[number].sendto(data, address)

    async def _paced(self, messages, rate):
        for count, (number, data, address) in enumerate(messages, 1):
            self._send(number, data, address)
            if count % UDP_TOGETHER == 0:
                await asyncio.sleep(UDP_TOGETHER / rate)

    async def quiet(self):
        """Until nothing more has come for a while."""
        before = -1
        while before != (before := len(self.heard)):
            await asyncio.sleep(0.3)

    async def call(self, host, first, count, flows, rate):
        """A datagram in each flow until each was answered, at most a few times."""
        self.heard.clear()
        for _ in range(5):
            rest = [flow for flow in range(flows) if flow not in self.heard]
            if not rest:
                break
            await self._paced(((flow // count, b'call %d' % flow, (host, first + flow % count))
                               for flow in rest), rate)
            await self.quiet()
        return len(self.heard)

    async def send_to_all(self, rate, only):
        await self._paced(((number, b'news %d' % flow, address)
                           for flow, (number, address) in sorted(self.peers.items())
                           if only is None or flow in only), rate)
        return len(self.peers)


class Peer:
    def __init__(self, side):
        self.side = side
        self.flows = {}
        self.udp_sockets = None
        self.listener = None

    async def listen(self, host, port):
        self.listener = socket.create_server((host, port), backlog=512)
        self.listener.setblocking(False)
        self.accepting = asyncio.create_task(self._accept())
        return {}

    async def _accept(self):
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self.listener)
            asyncio.create_task(self._welcome(sock))

    async def _welcome(self, sock):
        """The first line names the flow."""
        loop = asyncio.get_running_loop()
        line = b''
        with contextlib.suppress(OSError):
            while not line.endswith(b'\n'):
                byte = await loop.sock_recv(sock, 1)
                if not byte:
                    return
                line += byte
            name, rate = line.split()
            self._add(name.decode(), int(rate), sock)

    def _add(self, name, rate, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.flows[name] = Flow(name, rate, self.side, sock)

    async def open(self, flows, host, port):
        loop = asyncio.get_running_loop()
        wrong = {}
        for name, rate in flows.items():
            sock = socket.socket()
            sock.setblocking(False)
            try:
                async with asyncio.timeout(10):
                    await loop.sock_connect(sock, (host, port))
                    await loop.sock_sendall(sock, f'{name} {rate}\n'.encode())
                self._add(name, rate, sock)
            except (OSError, TimeoutError) as error:
                wrong[name] = f'it does not open: {error!r}'
                sock.close()
        return {'wrong': wrong}

    async def mark(self):
        for flow in self.flows.values():
            if not flow.rate:
                flow.poke.set()
        # A piece that is being sent now may have left already; the one after it has not.
        return {'sent': {name: flow.sent + flow.piece * (2 if flow.rate else 1)
                         for name, flow in self.flows.items()}}

    async def reach(self, sent, timeout):
        deadline = asyncio.get_running_loop().time() + timeout
        names = [name for name in sent if name in self.flows]
        wrong = {name: 'this end does not know it' for name in sent if name not in self.flows}
        for name, why in zip(names, await asyncio.gather(
                *(self.flows[name].reach(sent[name], deadline) for name in names))):
            if why:
                wrong[name] = why
        return {'wrong': wrong}

    async def close(self, flows):
        for name in flows:
            if flow := self.flows.pop(name, None):
                flow.close()
        return {}

    async def udp(self, host, ports):
        self.udp_sockets = Udp(self.side, host, *ports)
        return {}

    async def udp_call(self, host, ports, flows, rate):
        return {'answered': await self.udp_sockets.call(host, *ports, flows, rate)}

    async def udp_send(self, rate, only=None):
        only = None if only is None else set(only)
        return {'peers': await self.udp_sockets.send_to_all(rate, only)}

    async def udp_forget(self):
        self.udp_sockets.heard.clear()
        return {}

    async def udp_missing(self, flows):
        """Of the flows 0 to `flows` those in which nothing has come."""
        await self.udp_sockets.quiet()
        return {'missing': [f for f in range(flows) if f not in self.udp_sockets.heard]}


async def main():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    peer = Peer(sys.argv[1])
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), 'rb'))
    while line := await reader.readline():
        order = json.loads(line)
        answer = await getattr(peer, order.pop('do'))(**order)
        print(json.dumps(answer), flush=True)


asyncio.run(main())
