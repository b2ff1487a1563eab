# SPDX-License-Identifier: BSD-3-Clause
"""Postern helpers in another process: the records of docs/userspace-helpers.md, and a loop.

Python 3 standard library only. A helper is a function that gets a Question and returns an Answer
(or None: let it pass):

    import postern_helper

    def on_message(question):
        answer = postern_helper.Answer()
        for line in question.lines():
            if not question.from_client and line.startswith(b'DATA '):
                answer.expect(dst=question.speaker, dport=int(line[5:]))
        return answer

    postern_helper.serve('/run/postern/helper-toy.sock', on_message)
"""

import contextlib
import dataclasses
import ipaddress
import socket
import struct
import time

VERSION = 1

HELLO, WELCOME, ERROR, QUESTION, ANSWER, ENDED = 1, 2, 3, 4, 5, 6
ACCEPT, DROP = 1, 2
TCP, UDP = 6, 17

_HEAD = struct.Struct('<BBHI')
_WELCOME = struct.Struct('<BBHIHBBIIB3x')
_QUESTION = struct.Struct('<BBHIHHIIBBHHHB11x16s16s32s')
_ANSWER = struct.Struct('<BBHIHHIIBBH32s')
_EXPECT = struct.Struct('<BBBBHHBBHI16s16s')

_CONTINUES = 1
_PROVEN, _GIVE_UP, _STATE = 1, 2, 4
_ANY_SPORT, _PERMANENT, _SKIP_MASTER, _BY_LISTENER = 1, 2, 4, 8
_MAX_EXPECTATIONS = 16


class ProtocolError(Exception):
    """Postern hung up and said why, or sent what this version does not know."""


class Gone(Exception):
    """The other end of the socket is closed."""


@dataclasses.dataclass(frozen=True)
class Welcome:
    """What Postern says of this helper's declaration."""
    data_len: int       # bytes of private state
    classes: int
    message_bytes: int  # of the longest message
    wait_ms: int        # an answer that comes later is to nobody
    bypass: bool


@dataclasses.dataclass
class Question:
    """One message, or that a connection has ended (`message` is then None)."""
    conn: tuple         # (worker, generation, index): names the connection while it lives
    number: int
    from_client: bool   # who said it
    continues: bool     # not the first message of its packet: see Session.questions()
    protocol: int       # TCP or UDP
    zone: int           # conntrack zone
    client: ipaddress._BaseAddress
    server: ipaddress._BaseAddress
    client_port: int
    server_port: int
    state: bytes        # private to the helper, of data_len bytes
    message: bytes

    @property
    def speaker(self):
        return self.client if self.from_client else self.server

    @property
    def listener(self):
        return self.server if self.from_client else self.client

    def lines(self):
        """Lines without their ends. With `framing: lines` a message has one or more of them."""
        return [line.rstrip(b'\r') for line in self.message.split(b'\n') if line]


class Answer:
    """What shall become of the packet, and which connections to expect."""

    def __init__(self):
        self.verdict = ACCEPT
        self.proven = False   # both sides speak the protocol (needed once unless `proof: false`)
        self.give_up = False  # nothing of this connection matters any more
        self.state = None     # new private state; None: as it was
        self._expectations = []

    def drop(self):
        """The packet does not pass; over TCP it comes again, and is asked about again."""
        self.verdict = DROP

    def expect(self, dst, dport, *, class_index=0, protocol=TCP, src=None, sport=None,
               timeout_s=0, permanent=False, skip_master=False, announced_by_listener=False):
        """A connection to `dst` port `dport`. `src` is an address or a network, None is any; so is
        `sport`. timeout_s=0: the class's."""
        dst = ipaddress.ip_address(dst)
        net = None if src is None else ipaddress.ip_network(src)
        flags = ((_ANY_SPORT if sport is None else 0) | (_PERMANENT if permanent else 0) |
                 (_SKIP_MASTER if skip_master else 0) |
                 (_BY_LISTENER if announced_by_listener else 0))
        self._expectations.append(_EXPECT.pack(
            class_index, protocol, flags, dst.version, sport or 0, dport,
            0 if net is None else net.prefixlen, 0, 0, timeout_s,
            bytes(16) if net is None else net.network_address.packed.ljust(16, b'\0'),
            dst.packed.ljust(16, b'\0')))
        if len(self._expectations) > _MAX_EXPECTATIONS:
            raise ValueError(f'more than {_MAX_EXPECTATIONS} expectations in one answer')

    def record(self, question):
        state = b'' if self.state is None else self.state
        flags = ((_PROVEN if self.proven else 0) | (_GIVE_UP if self.give_up else 0) |
                 (0 if self.state is None else _STATE))
        length = _ANSWER.size + len(self._expectations) * _EXPECT.size
        return _ANSWER.pack(ANSWER, self.verdict, flags, length, *question.conn, question.number,
                            len(self._expectations), len(state), 0,
                            state) + b''.join(self._expectations)


def _address(packed, family):
    return ipaddress.ip_address(packed[:4] if family == 4 else packed)


class Session:
    """One connection to Postern."""

    def __init__(self, path, timeout_s=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.socket.settimeout(timeout_s)
            self.socket.connect(path)
            with contextlib.suppress(BrokenPipeError):  # it has said why: that is read next
                self.socket.send(_HEAD.pack(HELLO, 0, 0, 12) + struct.pack('<HH', VERSION, 0))
            self.welcome = self._welcome(self._receive(65536))
            self.socket.settimeout(None)
        except BaseException:
            self.socket.close()
            raise
        self._last = None  # (conn, the state answered last)

    def close(self):
        self.socket.close()

    def fileno(self):
        return self.socket.fileno()

    def _receive(self, room):
        try:
            record = self.socket.recv(room)
        except ConnectionResetError:  # reported before the last words, which are there still
            record = self.socket.recv(room)
        if not record:
            raise Gone('Postern has closed the connection')
        kind, _, _, length = _HEAD.unpack_from(record)
        if length != len(record):
            raise ProtocolError(f'a record of {len(record)} bytes says it has {length}')
        if kind == ERROR:
            raise ProtocolError(record[_HEAD.size:].decode('utf-8', 'replace'))
        return record

    @staticmethod
    def _welcome(record):
        if record[0] != WELCOME or len(record) != _WELCOME.size:
            raise ProtocolError('the first record is not a welcome')
        (_, _, _, _, version, data_len, classes, message_bytes, wait_ms,
         bypass) = _WELCOME.unpack(record)
        if version != VERSION:
            raise ProtocolError(f'Postern speaks version {version}, this library {VERSION}')
        return Welcome(data_len, classes, message_bytes, wait_ms, bool(bypass))

    def receive(self):
        """The next Question; blocks. When several messages came in one packet, the later ones begin
        with the state that the answer to the one before has set."""
        record = self._receive(_QUESTION.size + 65536)
        if record[0] not in (QUESTION, ENDED):
            raise ProtocolError(f'a record of the unknown type {record[0]}')
        (kind, direction, flags, _, worker, generation, index, number, family, protocol, zone,
         sport, dport, data_len, src, dst, state) = _QUESTION.unpack_from(record)
        question = Question(
            conn=(worker, generation, index), number=number, from_client=direction == 0,
            continues=bool(flags & _CONTINUES), protocol=protocol, zone=zone,
            client=_address(src, family), server=_address(dst, family), client_port=sport,
            server_port=dport, state=state[:data_len],
            message=record[_QUESTION.size:] if kind == QUESTION else None)
        if question.continues and self._last and self._last[0] == question.conn:
            question.state = self._last[1]
        return question

    def answer(self, question, answer):
        """Blocks while Postern does not read."""
        if answer.state is not None:
            if len(answer.state) > self.welcome.data_len:
                raise ValueError(f'a state of {len(answer.state)} bytes; {self.welcome.data_len} '
                                 'are declared (data_len)')
            answer.state = answer.state.ljust(self.welcome.data_len, b'\0')
        self._last = (question.conn,
                      question.state if answer.state is None else answer.state)
        self.socket.send(answer.record(question))


def serve(path, on_message, on_ended=None, *, reconnect=True, log=print):
    """Answers questions for ever. Postern need not run yet, and may go and come back.

    on_message(question) returns an Answer or None; on_ended(question) gets connections that are
    over. What they raise is logged, and the packet passes."""
    while True:
        try:
            session = Session(path, timeout_s=10)
        except (OSError, Gone) as error:
            if not reconnect:
                raise
            log(f'{path}: {error}; trying again')
            time.sleep(0.5)
            continue
        log(f'connected to {path}')
        try:
            while True:
                question = session.receive()
                _handle(session, question, on_message, on_ended, log)
        except (OSError, Gone) as error:
            if not reconnect:
                raise
            log(f'{path}: {error}')
        finally:
            session.close()


def _handle(session, question, on_message, on_ended, log):
    if question.message is None:
        if on_ended:
            on_ended(question)
        return
    try:
        answer = on_message(question) or Answer()
    except Exception as error:  # a helper's mistake must not stop traffic
        log(f'on_message: {error!r}')
        answer = Answer()
    session.answer(question, answer)
