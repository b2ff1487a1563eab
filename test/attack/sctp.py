# SPDX-License-Identifier: BSD-3-Clause
"""Who does not know an association's verification tags cannot disturb it."""

import struct

import captures
from kit import INSIDE, OUTSIDE, Trace, attack, configuration

DATA, INIT, INIT_ACK, HEARTBEAT, SHUTDOWN, SHUTDOWN_ACK = 0, 1, 2, 4, 7, 8
COOKIE_ECHO, COOKIE_ACK = 10, 11
TO_CLIENT, TO_SERVER = 0xaaaa0001, 0xbbbb0002


def packet(src, tag, *kinds, its_tag=0):
    """Chunks of these kinds; INIT and INIT ACK ask for `its_tag`."""
    body = b''
    for kind in kinds:
        rest = (struct.pack('!IIHHI', its_tag, 65535, 1, 1, 1) if kind in (INIT, INIT_ACK)
                else b'abcdefgh')
        body += struct.pack('!BBH', kind, 3 if kind == DATA else 0, 4 + len(rest)) + rest
    ports = (5000, 5001) if src == INSIDE else (5001, 5000)
    return captures.frame(src, 132, struct.pack('!HHII', *ports, tag, 0) + body)


def handshake(to_client=TO_CLIENT, to_server=TO_SERVER):
    return (packet(INSIDE, 0, INIT, its_tag=to_client),
            packet(OUTSIDE, to_client, INIT_ACK, its_tag=to_server),
            packet(INSIDE, to_server, COOKIE_ECHO), packet(OUTSIDE, to_client, COOKIE_ACK))


def talk(trace, to_client=TO_CLIENT, to_server=TO_SERVER):
    """Data both ways; the numbers of the packets."""
    return [trace.send(packet(INSIDE, to_server, DATA)), trace.send(packet(OUTSIDE, to_client, DATA))]


@attack(quick=True)
def forged_init(firewall):
    """One INIT, which bears no tag, ends an association until its heartbeats.

    Its tag was believed at once. It must count only after the cookie came back, and does then."""
    opened = []
    for src in (INSIDE, OUTSIDE):
        trace = Trace()
        trace.send(*handshake())
        talk(trace)
        trace.send(packet(src, 0, INIT, its_tag=0xdeadbeef))
        after = talk(trace)
        answers = firewall.replay(configuration(), trace)
        if not all(answers.accepted(number) for number in after):
            opened.append(f'an INIT from {src} ends the association')
    trace = Trace()
    trace.send(*handshake())
    talk(trace)
    trace.send(*handshake(0xaaaa0003, 0xbbbb0004))  # the client was started anew
    talk(trace, 0xaaaa0003, 0xbbbb0004)
    firewall.replay(configuration(), trace).must_pass()
    return opened


@attack(quick=True)
def strange_tag_ends(firewall):
    """SHUTDOWN beside a chunk whose tag is not compared: the association was taken for one that
    ends, and was forgotten after seconds."""
    opened = []
    for first in (HEARTBEAT, SHUTDOWN_ACK):
        trace = Trace()
        trace.send(*handshake())
        talk(trace)
        trace.send(packet(OUTSIDE, 0x66666666, first, SHUTDOWN))
        talk(trace)
        trace.wait(60)
        after = talk(trace)
        answers = firewall.replay(configuration(), trace)
        if not all(answers.accepted(number) for number in after):
            opened.append(f'chunk {first} with SHUTDOWN')
    trace = Trace()
    trace.send(*handshake())
    talk(trace)
    trace.wait(60)
    talk(trace)
    firewall.replay(configuration(), trace).must_pass()
    return opened
