#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A helper in another process for a binary toy protocol (`framing: stream`): the server's messages are
a byte of length and as many bytes of content; `P` and a port announce data on that port. What comes
are bytes in order, however they were cut: the private state keeps the start of a message whose end
has not come.

    toy_stream.py SOCKET"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', '..', 'helpers', 'userspace'))

import postern_helper  # noqa: E402  (found by the line above)


def on_message(question):
    answer = postern_helper.Answer()
    if question.from_client:
        return answer
    kept = question.state[1:1 + question.state[0]]
    waiting = kept + question.message
    while waiting and len(waiting) > waiting[0]:
        content, waiting = waiting[1:1 + waiting[0]], waiting[1 + waiting[0]:]
        if content[:1] == b'P' and len(content) == 3:
            port = int.from_bytes(content[1:], 'big')
            answer.expect(dst=question.server, dport=port, src=question.client)
            print(f'port {port}, after {len(kept)} bytes kept', flush=True)
    if len(waiting) >= len(question.state):
        answer.give_up = True
    else:
        answer.state = bytes([len(waiting)]) + waiting
    return answer


if __name__ == '__main__':
    try:
        postern_helper.serve(sys.argv[1], on_message,
                             log=lambda text: print(text, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        sys.exit(130)
