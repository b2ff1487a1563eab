#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A complete helper in another process, for a protocol that does not exist.

A client connects to the server's control port and asks `GET`; the server says `DATA 4321`, and
serves the data to whoever connects to that port. conf/userspace.yaml has the declaration.

    helpers/userspace/toy.py /run/postern/helper-toy.sock
"""

import re
import struct
import sys

import postern_helper

ANNOUNCEMENT = re.compile(rb'DATA ([1-9][0-9]{0,4})')
ASKED = 1 << 31  # in the private state: the client has said GET


def on_message(question):
    answer = postern_helper.Answer()
    # The private state counts the announcements of this connection.
    (state,) = struct.unpack('<I', question.state[:4])
    asked, announced = state & ASKED, state & ~ASKED
    for line in question.lines():
        if question.from_client:
            asked |= ASKED if line == b'GET' else 0
            continue
        found = ANNOUNCEMENT.fullmatch(line)
        if not found:
            continue
        # Both sides have spoken the protocol, the client first. Nothing opens before that.
        answer.proven = asked != 0
        port = int(found.group(1))
        if port > 65535:
            continue
        # Whether the port may be opened is Postern's to say: see `params` of the declaration.
        answer.expect(dst=question.server, dport=port, src=question.client)
        announced += 1
        print(f'{question.server} serves {question.client} on port {port} '
              f'(announcement {announced})', flush=True)
    answer.state = struct.pack('<I', asked | announced)
    return answer


def on_ended(question):
    print(f'{question.client} has gone', flush=True)


def main():
    if len(sys.argv) != 2:
        sys.exit('usage: toy.py SOCKET')
    postern_helper.serve(sys.argv[1], on_message, on_ended,
                         log=lambda text: print(text, file=sys.stderr, flush=True))


if __name__ == '__main__':
    try:
        main()
    except (KeyboardInterrupt, postern_helper.ProtocolError) as error:
        sys.exit(str(error) or 130)
