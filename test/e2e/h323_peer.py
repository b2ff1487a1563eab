#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""One end of an H.323 call, with messages of h323_messages.py.

    h323_peer.py answer|call SCENARIO OWN-ADDRESS PEER-ADDRESS whole|cut LONG_ENOUGH-S

The outer end answers, the inner one calls. Scenarios:

  gatekeeper  RAS first: the caller registers, asks where to call, and calls there; then the other
              side calls the registered address. Each call has an H.245 connection
  direct      call signalling to port 1720, an H.245 connection, media channels, T.120
  fast-start  channels proposed in Setup and accepted in Connect
  tunnelled   H.245 messages inside of call signalling

With `cut` each message on a stream is sent in three segments, the first of them of one octet.
Media of both directions is sent from ports of its own, so each needs its own pin-hole: RTP and RTCP
of each direction. Prints `ready`, each step that succeeds, and at the end a line of JSON: these
steps, and why there are no more.
"""

import json
import select
import socket
import struct
import sys
import time

import h323_messages as h323

RAS_PORT, Q931_PORT = 1719, 1720
MEDIA_PERIOD_S = 0.02


class Peer:
    def __init__(self, answers, own, other, cuts, timeout_s):
        self.answers, self.own, self.other, self.cuts = answers, own, other, cuts
        self.family = socket.AF_INET6 if ':' in own else socket.AF_INET
        self.deadline = time.monotonic() + timeout_s
        self.steps = []

    def step(self, name):
        self.steps.append(name)
        print('step', name, flush=True)

    # Sockets ---------------------------------------------------------------------------------

    def socket(self, kind, port=0):
        s = socket.socket(self.family, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((self.own, port))
        return self._timed(s)

    def _timed(self, s):
        s.settimeout(max(0.01, self.deadline - time.monotonic()))
        return s

    def listen(self, port=0):
        s = self.socket(socket.SOCK_STREAM, port)
        s.listen()
        return s

    def connect(self, address):
        s = self._timed(socket.socket(self.family, socket.SOCK_STREAM))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.bind((self.own, 0))
        s.connect(address)
        return Stream(self, s)

    def accept(self, listener):
        return Stream(self, self._timed(listener).accept()[0])

    def here(self, s):
        """What to announce of a socket of ours."""
        return self.own, s.getsockname()[1]

    # Media -----------------------------------------------------------------------------------

    def media_sockets(self):
        """Sockets for RTP and RTCP at an even port and the next one."""
        for port in range(30000, 40000, 2):
            try:
                return [self.socket(socket.SOCK_DGRAM, port),
                        self.socket(socket.SOCK_DGRAM, port + 1)]
            except OSError:
                continue
        raise OSError('no free pair of ports')

    def exchange_media(self, receivers, to):
        """Sends to RTP and RTCP of the other side until both sides have seen both."""
        host, port = to
        sender = self.socket(socket.SOCK_DGRAM)
        seen, told = set(), False
        while not (told and len(seen) == 2):
            if time.monotonic() > self.deadline:
                raise TimeoutError(f'no media: {sorted(seen)} of RTP (0) and RTCP (1) arrived')
            state = b'all' if len(seen) == 2 else b'some'
            for each in (port, port + 1):
                sender.sendto(state, (host, each))
            ready, _, _ = select.select(receivers, [], [], MEDIA_PERIOD_S)
            for s in ready:
                data = s.recv(100)
                seen.add(receivers.index(s))
                told = told or data == b'all'
        for each in (port, port + 1):  # the other side may still wait to be told
            for _ in range(3):
                sender.sendto(b'all', (host, each))
        self.step('media')

    # H.245 -----------------------------------------------------------------------------------

    def channels(self, stream):
        """Each side opens a channel, on an H.245 connection; then media flows."""
        receivers = self.media_sockets()
        rtp, rtcp = (self.here(s) for s in receivers)
        for message in (h323.terminal_capability_set(), h323.master_slave_determination(),
                        h323.open_logical_channel(1, control=rtcp)):
            stream.send(h323.tpkt(message))
        stream.skip(3)
        stream.send(h323.tpkt(h323.open_logical_channel_ack(1, rtp, rtcp)))
        self.exchange_media(receivers, address_of(stream.receive()))

    def separate_stack(self, stream):
        """T.120: the caller connects, several times."""
        if self.answers:
            listener = self.listen()
            stream.send(h323.tpkt(h323.open_logical_channel(
                2, h323.data_t120, stack=self.here(listener), none=True)))
            for _ in range(2):
                self.accept(listener).close()
        else:
            to = address_of(stream.receive())
            for _ in range(2):
                self.connect(to).close()
        self.step('t120')

    def h245_call(self, signalling, port_side):
        """Setup to Connect on a call signalling connection, and H.245 on its own."""
        if port_side:
            signalling.receive()  # Setup
            listener = self.listen()
            signalling.send(h323.q931(h323.call_proceeding(), answers=True))
            signalling.send(h323.q931(h323.connect(self.here(listener)), answers=True))
            stream = self.accept(listener)
        else:
            signalling.send(h323.q931(h323.setup(full=True), full=True))
            signalling.receive()  # CallProceeding
            stream = self.connect(address_of(signalling.receive()))
        self.step('h245')
        self.channels(stream)
        return stream

    # Scenarios -------------------------------------------------------------------------------

    def gatekeeper(self):
        listener = self.listen()
        if self.answers:
            ras = self.socket(socket.SOCK_DGRAM, RAS_PORT)
            print('ready', flush=True)
            request, caller = ras.recvfrom(2000)
            registered = address_of(request)
            ras.sendto(h323.registration_confirm([self.here(listener)], 60), caller)
            ras.recv(2000)  # ARQ
            ras.sendto(h323.admission_confirm(self.here(listener)), caller)
            self.step('ras')
            signalling = self.accept(listener)
        else:
            print('ready', flush=True)
            ras = self.socket(socket.SOCK_DGRAM)
            ras.connect((self.other, RAS_PORT))
            ras.send(h323.registration_request([self.here(listener)], [self.here(ras)]))
            ras.recv(2000)  # RCF
            ras.send(h323.admission_request())
            to = address_of(ras.recv(2000))
            self.step('ras')
            signalling = self.connect(to)
        self.step('signalling')
        self.h245_call(signalling, self.answers)
        # And now the other way round.
        back = self.connect(registered) if self.answers else self.accept(listener)
        self.step('called back')
        self.h245_call(back, not self.answers)

    def direct(self):
        signalling = self.first_signalling()
        self.separate_stack(self.h245_call(signalling, self.answers))
        signalling.send(h323.q931(h323.release_complete(), answers=self.answers))

    def first_signalling(self):
        if self.answers:
            listener = self.listen(Q931_PORT)
            print('ready', flush=True)
            signalling = self.accept(listener)
            listener.close()  # the port is another call's now
        else:
            print('ready', flush=True)
            signalling = self.connect((self.other, Q931_PORT))
        self.step('signalling')
        return signalling

    def fast_start(self):
        signalling = self.first_signalling()
        receivers = self.media_sockets()
        rtp, rtcp = (self.here(s) for s in receivers)
        if self.answers:
            to = address_of(signalling.receive())
            signalling.send(h323.q931(h323.connect(fast=[
                h323.fast_start(1, media=rtp, control=rtcp)]), answers=True))
        else:
            signalling.send(h323.q931(h323.setup(fast=[
                h323.fast_start(2, h323.null_data, reverse=(rtp, rtcp)),
                h323.fast_start(1, control=rtcp)], full=True)))
            to = address_of(signalling.receive())
        self.exchange_media(receivers, to)

    def tunnelled(self):
        signalling = self.first_signalling()
        receivers = self.media_sockets()
        rtp, rtcp = (self.here(s) for s in receivers)
        begin = [h323.terminal_capability_set(), h323.open_logical_channel(1, control=rtcp)]
        if self.answers:
            signalling.receive()
            signalling.send(h323.q931(h323.connect(), begin, answers=True))
        else:
            signalling.send(h323.q931(h323.setup(), begin))
            signalling.receive()
        signalling.send(h323.q931(h323.empty(), [h323.open_logical_channel_ack(1, rtp, rtcp)],
                                  answers=self.answers))
        self.exchange_media(receivers, address_of(signalling.receive()))


class Stream:
    """TPKT messages."""

    def __init__(self, peer, connected):
        self.peer, self.socket = peer, connected
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message):
        half = len(message) // 2
        cut = (message[:1], message[1:half], message[half:])
        for piece in cut if self.peer.cuts else (message,):
            self.socket.sendall(piece)

    def _exactly(self, count):
        data = b''
        while len(data) < count:
            self.peer._timed(self.socket)
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError('the other side has closed')
            data += more
        return data

    def receive(self):
        head = self._exactly(4)
        return head + self._exactly(struct.unpack('!BBH', head)[2] - 4)

    def skip(self, count):
        for _ in range(count):
            self.receive()

    def close(self):
        self.socket.close()


def address_of(message):
    """The first address of the other side in a message: PER aligns it, so its octets stand there,
    and the port after them."""
    packed = socket.inet_pton(PEER.family, PEER.other)
    at = message.index(packed) + len(packed)
    return PEER.other, struct.unpack_from('!H', message, at)[0]


if __name__ == '__main__':
    role, scenario, address, other, how, timeout_s = sys.argv[1:]
    PEER = Peer(role == 'answer', address, other, how == 'cut', float(timeout_s))
    why = None
    try:
        getattr(PEER, scenario.replace('-', '_'))()
    except (OSError, ValueError) as error:
        why = f'{type(error).__name__}: {error}'
    print(json.dumps({'steps': PEER.steps, 'why': why}), flush=True)
