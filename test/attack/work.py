# SPDX-License-Identifier: BSD-3-Clause
"""Streams that make a worker slow: little for their sender, much for the firewall."""

import copy
import os
import re
import shutil
import subprocess
import tempfile

import captures
from kit import INSIDE, OUTSIDE, CannotTell, Skipped, Trace, attack, configuration

LIMIT_S = 600
FIELDS = (b'INVITE sip:b@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.5;branch=z9hG4bK1\r\n'
          b'From: <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>\r\n'
          b'Call-ID: 1@10.0.0.5\r\nCSeq: 1 INVITE\r\n')


def instructions(firewall, config, trace):
    """What the replay of a trace costs, its start included."""
    with tempfile.TemporaryDirectory() as folder:
        out, capture = os.path.join(folder, 'out'), os.path.join(folder, 'attack.pcap')
        with open(capture, 'wb') as file:
            file.write(trace.pcap())
        done = subprocess.run(
            ['valgrind', '--tool=callgrind', f'--callgrind-out-file={out}', firewall.program,
             'replay', '-c', firewall._config(config, folder), '--inside-mac', captures.INSIDE_MAC,
             capture],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if done.returncode != 0:
            raise CannotTell(f'replay ends with {done.returncode}: {done.stderr.strip()[-300:]}')
        with open(out, encoding='utf-8') as file:
            return int(re.search(r'^(?:summary|totals): (\d+)', file.read(), re.M).group(1))


def dearness(firewall, config, none, cheap, dear):
    """How many times what `cheap` has beyond `none` the trace `dear` costs beyond it."""
    if shutil.which('valgrind') is None:
        raise Skipped('no valgrind here')
    start, few, many = (instructions(firewall, config, trace) for trace in (none, cheap, dear))
    return (many - start) / (few - start)


@attack()
def folded_header_byte_by_byte(firewall):
    """A folded SIP header in one-byte segments makes each byte dearer than the one before.

    With each segment the header was read again from its first line: 2.4 Mbit/s of one client filled
    a worker, and all others' packets were lost. Now each segment costs the same. The message itself
    is read: once it has ended, what it announces may come in."""
    config = configuration(helpers=['sip_tcp'])

    def bytes_of(length):
        trace, sip = Trace(), captures.Tcp(INSIDE, OUTSIDE, 40000, 5060)
        trace.send(*sip.open())
        trace.send(sip.segment(INSIDE, 'PA', FIELDS + b'Subject: a\r\n'))
        for byte in (b' b\r\n' * (length // 4)):
            trace.send(sip.segment(INSIDE, 'PA', bytes([byte])))
        return trace

    firewall.replay(config, bytes_of(100)).must_pass()
    ratio = dearness(firewall, config, bytes_of(0), bytes_of(2000), bytes_of(4000)) / 2
    return f'twice the bytes cost {2 * ratio:.1f} times as much' if ratio > 1.2 else None


@attack()
def short_lines_in_front_of_early_bytes(firewall):
    """Each two-byte line makes the firewall move all bytes that came too early.

    The client sends a segment from the end of its window first, then lines of two bytes. With each
    of them the whole buffer was moved, up to 32 KB. Now what was read is left where it is, until
    there is enough of it to be worth moving the rest."""
    config = configuration(helpers=['ftp'], limits={'stream_buffer': '32K', 'connections': 16384,
                                                    'expectations': 1024,
                                                    'helped_connections': 1024})

    def lines(ahead):
        def make(count):
            trace, ftp = Trace(), captures.Tcp(INSIDE, OUTSIDE, 40000, 21)
            trace.send(*ftp.open())
            trace.lines(ftp, (OUTSIDE, b'220 ready\r\n'), (INSIDE, b'USER a\r\n'),
                        (OUTSIDE, b'331 password\r\n'))
            early = copy.deepcopy(ftp)
            early.next[INSIDE] += ahead
            trace.send(early.segment(INSIDE, 'PA', b'x'))
            for _ in range(count):
                trace.send(ftp.segment(INSIDE, 'PA', b'A\n'))
            return trace
        return make

    firewall.replay(config, lines(3000)(100)).must_pass()
    ratio = dearness(firewall, config, lines(3000)(0), lines(3000)(400), lines(30000)(400))
    return f'{ratio:.1f} times the work for the same lines' if ratio > 1.5 else None
