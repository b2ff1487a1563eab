# SPDX-License-Identifier: BSD-3-Clause
"""Answers to rejected packets, turned on others by forged sources."""

import ipaddress
import struct

import captures
from kit import LIVE_INSIDE, LIVE_OUTSIDE, HonestTrafficDropped, attack, configuration, udp

VICTIM = '192.0.2.77'
FLOOD = 100  # that and as many answers fit the buffers on the way
MANY = 80  # a limit that is on by default has to be below this
REJECT_ALL = {'default': 'reject', 'rules': []}


def reset_of(seq):
    """What is in the reset that answers a SYN with this sequence number, and in no other frame."""
    return struct.pack('!II', 0, seq + 1)


def honest_syn(seq):
    header = struct.pack('!HHIIBBHHH', 40000, 80, seq, 0, 0x50, 2, 65535, 0, 0)
    return captures.frame(LIVE_INSIDE, 6, header, 16, dst=LIVE_OUTSIDE)


def answers_to(frames, destination):
    packed = ipaddress.ip_address(destination).packed
    return sum(frame[12:14] == b'\x08\x00' and frame[30:34] == packed for frame in frames)


@attack(quick=True, live=True)
def reflector(firewall):
    """Datagrams with a forged source, to a rule that rejects, make the firewall flood that source.

    Older versions answered each. Now answers are limited by source and in all, and another host is
    still told."""
    with firewall.live(configuration(policy=REJECT_ALL)) as live:
        tap = live.tap('inside')
        flood = [udp(VICTIM, LIVE_OUTSIDE, 1024 + n, 53, b'x') for n in range(FLOOD)]
        live.send('inside', *flood, honest_syn(4711))
        seen = tap.until(reset_of(4711))
    answered = answers_to(seen, VICTIM)
    if answered == 0:
        raise HonestTrafficDropped('nobody is told at all')
    if answered > MANY:
        return f'{answered} answers go to a host that has sent nothing'
    return None


@attack(quick=True, live=True)
def answers_to_nobody(firewall):
    """Packets from addresses that are not one host's are answered, against RFC 1122 section 3.2.2.

    The answers leave with destinations such as 0.0.0.0 or 127.0.0.1."""
    nobodies = ['0.0.0.0', '127.0.0.1', '240.0.0.1', '255.255.255.255']
    with firewall.live(configuration(policy=REJECT_ALL)) as live:
        tap = live.tap('inside')
        for nobody in nobodies:
            live.send('inside', udp(nobody, LIVE_OUTSIDE, 1024, 53, b'x'))
        live.send('inside', honest_syn(4712))
        seen = tap.until(reset_of(4712))
    return [f'an answer goes to {nobody}' for nobody in nobodies if answers_to(seen, nobody)]
