# SPDX-License-Identifier: BSD-3-Clause
"""The client's end of a memif port, as far as it takes to fill the server's receive ring and go.

    memif_client.py SOCKET TIMES    connects so often, and each time leaves without a word while the
                                    server is reading; prints how often it was let in

Abstract socket, interface 0, one ring in each direction, copies. Message and ring formats: libmemif's
protocol, version 2.0."""

import array
import mmap
import os
import socket
import struct
import sys
import time

ACK, HELLO, INIT, ADD_REGION, ADD_RING, CONNECT, CONNECTED, DISCONNECT = range(1, 9)
VERSION, COOKIE, FLAG_TO_SERVER = 0x0200, 0x3e31f20, 1
MESSAGE_BYTES = 128
LOG2_SLOTS = 10
SLOTS = 1 << LOG2_SLOTS
BUFFER_BYTES = 2048
HEAD, TAIL, DESCRIPTORS, DESCRIPTOR = 6, 64, 128, struct.Struct('<HHIII')
RING_BYTES = DESCRIPTORS + SLOTS * DESCRIPTOR.size
BUFFERS_AT = 2 * RING_BYTES
REGION_BYTES = BUFFERS_AT + 2 * SLOTS * BUFFER_BYTES
FRAME_BYTES = 1500


class Refused(Exception):
    """The server did not (yet) take the connection."""


class Client:
    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(5)
        self.socket.connect(b'\0' + name.encode())
        self.memory = self._region()
        self._expect(HELLO)
        self._ask(INIT, struct.pack('<HIB', VERSION, 0, 0).ljust(31, b'\0') + b'test')
        self._ask(ADD_REGION, struct.pack('<HQ', 0, REGION_BYTES), self.region)
        for ring, flags in ((0, FLAG_TO_SERVER), (1, 0)):
            self._ask(ADD_RING, struct.pack('<HHHIBH', flags, 0, 0, ring * RING_BYTES, LOG2_SLOTS,
                                            0), os.eventfd(0))

    def _region(self):
        """Two rings, then their buffers; the first ring's are for the server to read."""
        self.region = os.memfd_create('memif')
        os.ftruncate(self.region, REGION_BYTES)
        memory = mmap.mmap(self.region, REGION_BYTES)
        for ring in range(2):
            base = ring * RING_BYTES
            struct.pack_into('<I', memory, base, COOKIE)
            for slot in range(SLOTS):
                DESCRIPTOR.pack_into(memory, base + DESCRIPTORS + slot * DESCRIPTOR.size, 0, 0,
                                     FRAME_BYTES, BUFFERS_AT + (ring * SLOTS + slot) * BUFFER_BYTES,
                                     0)
        return memory

    def _expect(self, wanted):
        message = self.socket.recv(MESSAGE_BYTES)
        kind = struct.unpack_from('<H', message)[0] if len(message) >= 2 else DISCONNECT
        if kind != wanted:
            raise Refused(message[6:].rstrip(b'\0').decode(errors='replace'))

    def _send(self, kind, body, fd=None):
        message = (struct.pack('<H', kind) + body).ljust(MESSAGE_BYTES, b'\0')
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd]))] \
            if fd is not None else []
        self.socket.sendmsg([message], rights)

    def _ask(self, kind, body, fd=None):
        self._send(kind, body, fd)
        if kind == ADD_RING:
            os.close(fd)
        self._expect(ACK)

    def connect(self):
        """Fills the ring; returns when the server reads it."""
        self._send(CONNECT, b'test')
        self._expect(CONNECTED)
        struct.pack_into('<H', self.memory, HEAD, SLOTS)
        deadline = time.monotonic() + 5
        while struct.unpack_from('<H', self.memory, TAIL)[0] == 0:
            if time.monotonic() > deadline:
                raise TimeoutError('the server does not read')

    def close(self):
        self.socket.close()
        self.memory.close()
        os.close(self.region)


def main():
    name, times = sys.argv[1], int(sys.argv[2])
    done, deadline = 0, time.monotonic() + 60
    while done < times:
        try:
            client = Client(name)
        except (Refused, OSError):
            # It has not noticed yet that the one before has left.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.001)
            continue
        client.connect()
        client.close()
        done += 1
    print(f'let in {done} times')


if __name__ == '__main__':
    main()
