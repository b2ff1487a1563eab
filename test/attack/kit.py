# SPDX-License-Identifier: BSD-3-Clause
"""What attacks are made of: traces for `postern replay`, and a firewall between two hosts.

An attack is a function with the decorator `attack`. It gets a Firewall, tries to open something and
returns what it opened: a sentence, a list of sentences, or nothing if the firewall held. Honest
traffic belongs to it: where that does not pass, HonestTrafficDropped says so.
"""

import contextlib
import dataclasses
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import typing

HERE = os.path.dirname(os.path.abspath(__file__))
TEST = os.path.dirname(HERE)
sys.path[1:1] = [os.path.join(TEST, 'differential'), os.path.join(TEST, 'e2e')]

import captures  # noqa: E402
import lab as laboratory  # noqa: E402
import middle  # noqa: E402

INSIDE, OUTSIDE = captures.INSIDE, captures.OUTSIDE
INSIDE6, OUTSIDE6 = captures.INSIDE6, captures.OUTSIDE6
LIVE_INSIDE, LIVE_OUTSIDE = laboratory.INSIDE4, laboratory.OUTSIDE4
LIVE_INSIDE6, LIVE_OUTSIDE6 = laboratory.INSIDE6, laboratory.OUTSIDE6
REPLAY_LIMIT_S = 60
TAP_LIMIT_S = 20


class HonestTrafficDropped(Exception):
    """The firewall refuses what it must let pass."""


class CannotTell(Exception):
    """The attack itself did not work: the program failed, or a configuration is refused."""


class Skipped(Exception):
    """This machine cannot run the attack. The reason is the text."""


@dataclasses.dataclass(frozen=True)
class Attack:
    name: str  # SUBJECT/FUNCTION
    what: str  # the docstring: what it opens on an old version, what must happen now
    function: typing.Callable
    quick: bool
    live: bool


ATTACKS = {}


def attack(quick=False, live=False):
    """Registers the function under SUBJECT/NAME: its module's and its own name.

    `quick`: it belongs to the cut that scripts/test.sh runs. Replays cost a quarter of a second; of
    live attacks choose the few that show most. `live`: it needs network namespaces."""
    def register(function):
        name = f'{function.__module__}/{function.__name__}'
        if not function.__doc__:
            raise ValueError(f'{name} has no docstring that says what it opens')
        ATTACKS[name] = Attack(name, function.__doc__, function, quick, live)
        return function
    return register


# --- configurations ---------------------------------------------------------------------------

# By helper: its control connections' transport and port.
CONTROL = {'ftp': ('tcp', 21), 'irc': ('tcp', 6667), 'sip': ('udp', 5060), 'sip_tcp': ('tcp', 5060),
           'rtsp': ('tcp', 554), 'pptp': ('tcp', 1723), 'sane': ('tcp', 6566),
           'tftp': ('udp', 69), 'amanda': ('udp', 10080), 'q931': ('tcp', 1720),
           'h245': ('tcp', 0), 'ras': ('udp', 1719), 'netbios': ('udp', 137),
           'snmp': ('udp', 161)}


def configuration(helpers=(), rules=(), inside_out=True, **sections):
    """Established and related pass, new from inside passes, all else is dropped.

    `helpers`: names of CONTROL, assigned to connections from inside. `rules` come before the
    others. `sections` replaces whole top-level sections (bridges=..., limits=...)."""
    names = sorted({name.split('_')[0] for name in helpers})
    config = {
        'eal': {'hugepages': 'no', 'memory_mb': 256},
        'workers': {'count': 1, 'idle': {'spins': 100, 'sleep_us': 50}},
        'zones': ['inside', 'outside'],
        'ports': [{'name': 'in0', 'device': 'net_af_packet0,iface=pst-in', 'zone': 'inside',
                   'queues': 1},
                  {'name': 'out0', 'device': 'net_af_packet1,iface=pst-out', 'zone': 'outside',
                   'queues': 1}],
        'bridges': [{'ports': ['in0', 'out0'], 'pass': ['arp']}],
        'limits': {'connections': 16384, 'expectations': 1024, 'helped_connections': 1024},
        'policy': {'default': 'drop', 'rules': [
            *rules,
            {'name': 'related', 'ct': ['related'], 'action': 'accept'},
            *({'name': f'{name}-control', 'from': 'inside', 'proto': CONTROL[name][0],
               'dport': CONTROL[name][1], 'ct': ['new'], 'action': 'accept',
               'helper': name.split('_')[0]} for name in helpers if CONTROL[name][1]),
            *([{'name': 'inside-out', 'from': 'inside', 'ct': ['new'], 'action': 'accept'}]
              if inside_out else []),
        ]},
    }
    if names:
        config['helpers'] = [{'name': name} for name in names]
    config.update(sections)
    return config


# --- by replay --------------------------------------------------------------------------------

def from_side(side, frame):
    """The frame as it comes in on a side ('inside' or 'outside'), whatever its addresses say."""
    macs = [bytes.fromhex(mac.replace(':', ''))
            for mac in (captures.INSIDE_MAC, captures.OUTSIDE_MAC)]
    if side == 'outside':
        macs.reverse()
    return macs[1] + macs[0] + frame[12:]


def udp(src, dst, sport, dport, payload=b''):
    """A datagram between any two addresses, as from inside (Trace and Live say where it comes in)."""
    header = struct.pack('!HHHH', sport, dport, 8 + len(payload), 0)
    return captures.frame(src, 17, header + payload, 6, dst=dst)


class Trace:
    """Frames with their times, in the order in which the firewall sees them."""

    def __init__(self, step_s=0.001):
        self.frames, self.times_us = [], []
        self.now_us, self.step_us = 0, round(step_s * 1e6)

    def wait(self, seconds):
        self.now_us += round(seconds * 1e6)

    def send(self, *frames, side=None):
        """Appends frames; returns the number of the last one. They come from the side that their
        addresses belong to, or from `side`."""
        for frame in frames:
            self.frames.append(from_side(side, frame) if side else frame)
            self.times_us.append(self.now_us)
            self.now_us += self.step_us
        return len(self.frames) - 1

    def lines(self, connection, *lines):
        """Lines of a dialogue, each acknowledged: pairs of a speaker and its bytes. Returns the
        number of the last line's frame."""
        last = None
        for speaker, line in lines:
            last = self.send(connection.segment(speaker, 'PA', line))
            self.send(connection.segment(connection.other[speaker]))
        return last

    def pcap(self):
        out = [struct.pack('<IHHiIII', captures.MAGIC, 2, 4, 0, 0, 262144, 1)]
        for time_us, frame in zip(self.times_us, self.frames):
            out.append(struct.pack('<IIII', *divmod(time_us, 1000000), len(frame), len(frame)))
            out.append(frame)
        return b''.join(out)


class Answers:
    """What replay said: `packets` (one row each, by number), `expectations`, `summary`."""

    def __init__(self, rows):
        self.rows = rows
        self.packets = {row['n']: row for row in rows if row['type'] == 'packet'}
        self.expectations = [row for row in rows if row['type'] == 'expectation']
        self.summary = rows[-1]

    def accepted(self, number):
        return self.packets[number]['verdict'] == 'accept'

    def reason(self, number):
        return self.packets[number].get('reason')

    def must_pass(self, *numbers):
        """All packets, or those with these numbers, are honest."""
        for number in numbers or self.packets:
            if not self.accepted(number):
                raise HonestTrafficDropped(f'packet {number} is dropped ({self.reason(number)})')


# --- live -------------------------------------------------------------------------------------

class Live:
    """The daemon between the hosts `inside` and `outside` of a laboratory."""

    def __init__(self, lab, postern):
        self.lab, self.postern = lab, postern
        self.ctl, self.drops = postern.ctl, postern.drops
        self._macs, self._senders = {}, {}
        for host in ('inside', 'outside'):
            text = lab.do(host, 'cat', '/sys/class/net/eth0/address').stdout.strip()
            self._macs[host] = bytes.fromhex(text.replace(':', ''))

    def _socket(self, host):
        with self.lab.inside_of(host):
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            made.bind(('eth0', 0))
        return made

    def send(self, host, *frames):
        """From a host to the other one; the MAC addresses are theirs."""
        if host not in self._senders:
            self._senders[host] = self._socket(host)
        other = 'outside' if host == 'inside' else 'inside'
        for frame in frames:
            self._senders[host].send(self._macs[other] + self._macs[host] + frame[12:])

    def tap(self, host):
        """Listens on a host from now on."""
        return Tap(self._socket(host), self._macs[host])

    def eventually(self, condition, otherwise, timeout_s=TAP_LIMIT_S):
        """Waits for something that can only be asked for."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise CannotTell(f'{otherwise} (waited {timeout_s} s)')
            time.sleep(0.01)

    def close(self):
        for sender in self._senders.values():
            sender.close()


class Tap:
    """Frames that reach a host. Send an honest frame last and take all `until` it comes: then it
    is known, without waiting for time to pass, that what was sent before it was dropped."""

    def __init__(self, source, own):
        self.source, self.own = source, own

    def until(self, marker, timeout_s=TAP_LIMIT_S):
        """The frames up to the one whose bytes contain `marker`, that one included."""
        deadline, seen = time.monotonic() + timeout_s, []
        while True:
            self.source.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                frame = self.source.recv(65536)
            except TimeoutError:
                raise HonestTrafficDropped(f'{marker!r} does not arrive') from None
            if frame[6:12] == self.own:
                continue  # our own, on its way out
            seen.append(frame)
            if marker in frame:
                self.source.close()
                return seen


# --- the firewall -----------------------------------------------------------------------------

class Firewall:
    """The program under attack."""

    def __init__(self, program):
        self.program = program

    def _config(self, config, folder):
        path = os.path.join(folder, 'attack.yaml')
        with open(path, 'w', encoding='utf-8') as file:
            json.dump(config, file, indent=1)
        return path

    def understands(self, config):
        """Whether `postern check` takes the configuration: older programs lack newer keys."""
        with tempfile.TemporaryDirectory() as folder:
            return subprocess.run([self.program, 'check', self._config(config, folder)],
                                  capture_output=True, timeout=REPLAY_LIMIT_S,
                                  check=False).returncode == 0

    def replay(self, config, trace, *arguments):
        """Answers about a Trace (or bytes of a capture). What has the MAC address
        captures.INSIDE_MAC is inside."""
        with tempfile.TemporaryDirectory() as folder:
            capture = os.path.join(folder, 'attack.pcap')
            with open(capture, 'wb') as file:
                file.write(trace.pcap() if isinstance(trace, Trace) else trace)
            done = self.run('replay', '--json', '-c', self._config(config, folder),
                            '--inside-mac', captures.INSIDE_MAC, *arguments, capture)
        if done.returncode != 0:
            raise CannotTell(f'replay ends with {done.returncode}: {done.stderr.strip()[-300:]}')
        return Answers([json.loads(line) for line in done.stdout.splitlines()])

    def run(self, *arguments):
        """The finished process of the program with these arguments."""
        return subprocess.run([self.program, *arguments], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=REPLAY_LIMIT_S, check=False)

    @contextlib.contextmanager
    def live(self, config=None, setting=None):
        """A Live with this configuration, or one of a middle.Setting; ended and removed after it.
        The configuration's control socket is put where it belongs."""
        reason = laboratory.why_impossible()
        if reason:
            raise Skipped(reason)
        middle.POSTERN = self.program
        middle.POSTERNCTL = os.path.join(os.path.dirname(self.program), 'posternctl')
        if not os.access(middle.POSTERNCTL, os.X_OK):
            raise CannotTell(f'there is no posternctl beside {self.program}')
        with laboratory.Lab() as lab:
            postern = middle.Postern(setting)
            if config is not None:
                config = {**config, 'control': {'socket': lab.path('postern.sock')}}
                postern.config = config
            postern.start(lab)
            live = Live(lab, postern)
            try:
                yield live
                if postern.problems():
                    raise CannotTell('; '.join(postern.problems()))
            finally:
                live.close()
                postern.stop()


def sentences(opened):
    """The result of an attack as a list."""
    if not opened:
        return []
    return [opened] if isinstance(opened, str) else [str(each) for each in opened if each]


def one_line(text):
    return re.sub(r'\s+', ' ', str(text)).strip()
