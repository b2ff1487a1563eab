# SPDX-License-Identifier: BSD-3-Clause
"""The traffic that runs through the firewall while it restarts.

Each kind has begin(): called once; before(round): just before the state is saved; saved(), if it has
one: between the save and a KILL; after(round): returns what did not survive, as sentences. A kind mends itself in after(): the next restart begins
with everything alive again. `round` is a Round of cycle.py.
"""

import hashlib
import json
import os
import subprocess
import sys
import time

import lab as laboratory
import peers
from cases_sip import await_socket, write_media
from cases_sip_calls import flows as capture_flows

HERE = os.path.dirname(os.path.abspath(__file__))
TCP_PORT, UDP_PORT = 7000, 20000
HEARS_S = 25  # until a connection counts as hanging: longer than TCP's pauses between repetitions


class Peer:
    """peer.py on a host."""

    def __init__(self, lab, host, side):
        self.process = lab.start(f'peer-{side}', host, sys.executable, os.path.join(HERE, 'peer.py'),
                                 side, stdin=subprocess.PIPE)
        self.told = 0
        self.asked = 0
        self.file = open(self.process.out_path, 'rb')

    def ask(self, do, **words):
        """Sends an order; answer() waits for what it says."""
        self.process.popen.stdin.write(json.dumps({'do': do, **words}).encode() + b'\n')
        self.process.popen.stdin.flush()

    def answer(self, timeout=120):
        deadline = time.monotonic() + timeout
        line = b''
        while not line.endswith(b'\n'):
            ended = not self.process.running()
            line += self.file.readline()
            if line.endswith(b'\n'):
                break
            if ended or time.monotonic() > deadline:
                raise laboratory.LabError(f'{self.process.name} does not answer: '
                                          f'{self.process.stderr[-2000:]}')
            laboratory.select.select([self.process.pidfd], [], [], 0.01)
        return json.loads(line)

    def __call__(self, do, timeout=120, **words):
        self.ask(do, **words)
        return self.answer(timeout)


class Ends:
    """A peer on each host, for all TCP and UDP."""

    def __init__(self, lab):
        self.server = Peer(lab, 'outside', 'server')
        self.client = Peer(lab, 'inside', 'client')
        self.server('listen', host=laboratory.OUTSIDE4, port=TCP_PORT)
        self.opened = {}

    def open(self, flows):
        self.opened.update(flows)
        return self.client('open', flows=flows, host=laboratory.OUTSIDE4, port=TCP_PORT)['wrong']

    def close(self, names):
        for peer in (self.server, self.client):
            peer('close', flows=list(names))
        for name in names:
            self.opened.pop(name, None)

    def dead(self, names=None, timeout=HEARS_S):
        """{NAME: why} of the connections that do not carry both ways what is sent from now on."""
        names = set(self.opened if names is None else names)
        there, here = (p('mark')['sent'] for p in (self.server, self.client))
        def chosen(sent):
            return {name: sent.get(name, 1) for name in names}
        self.client.ask('reach', sent=chosen(there), timeout=timeout)
        self.server.ask('reach', sent=chosen(here), timeout=timeout)
        wrong = {}
        for host, peer in (('inside', self.client), ('outside', self.server)):
            for name, why in peer.answer(timeout + 30)['wrong'].items():
                wrong[name] = f'{wrong[name]}; ' if name in wrong else ''
                wrong[name] += f'{host}: {why}'
        return wrong


class Tcp:
    """Connections of one kind: {NAME: RATE}."""

    def __init__(self, name, ends, flows):
        self.name, self.ends, self.flows = name, ends, flows

    def begin(self):
        wrong = self.ends.open(self.flows)
        wrong = wrong or self.ends.dead(self.flows)
        if wrong:
            raise laboratory.LabError(f'{self.name} does not begin: {wrong}')

    def before(self, round_):
        pass

    def after(self, round_):
        """All of TCP is looked after together, once (round_.dead)."""
        dead = {name: why for name, why in round_.dead.items() if name in self.flows}
        if dead:
            self.ends.close(dead)
            again = self.ends.open({name: self.flows[name] for name in dead})
            dead.update({name: f'{dead[name]}; nor does it open again: {why}'
                         for name, why in again.items()})
        return [f'{name}: {why}' for name, why in dead.items()]


class UdpFlows:
    """Very many flows. After a restart the server speaks first: nothing but the connection lets it
    in."""
    name = 'udp'

    def __init__(self, ends, flows, rate):
        self.ends, self.flows, self.rate = ends, flows, rate
        self.here = max(1, flows // 250)

    def begin(self):
        self.ends.server('udp', host=laboratory.OUTSIDE4, ports=[UDP_PORT, 250])
        self.ends.client('udp', host=laboratory.INSIDE4, ports=[UDP_PORT, self.here])
        self.call()

    def call(self):
        answered = self.ends.client('udp_call', timeout=600, host=laboratory.OUTSIDE4,
                                    ports=[UDP_PORT, 250], flows=self.flows, rate=self.rate)
        if answered['answered'] != self.flows:
            raise laboratory.LabError(f'{answered} of {self.flows} UDP flows were answered')

    def before(self, round_):
        pass

    def after(self, round_):
        self.ends.client('udp_forget')
        missing = None
        # What a socket's buffer had no room for is sent again; what has no connection never comes.
        for _ in range(4):
            self.ends.server('udp_send', timeout=600, rate=self.rate, only=missing)
            missing = self.ends.client('udp_missing', timeout=600, flows=self.flows)['missing']
            if not missing:
                return []
        self.call()
        return [f'{len(missing)} of {self.flows} flows are lost']


class Ftp:
    """A session of lftp with vsftpd: a slow transfer while the firewall restarts, then another one,
    on the same control connection."""

    def __init__(self, lab, server, name, host, passive):
        self.lab, self.server, self.name = lab, server, name
        self.host, self.passive = host, passive
        self.process = None
        self.count = 0
        self.serial = 0

    def begin(self):
        self.serial += 1
        # A session must not be continued by another connection.
        words = f'''debug 3; set net:max-retries 1; set net:persist-retries 0; set net:timeout {HEARS_S};
            set net:reconnect-interval-base 1; set ftp:passive-mode {"yes" if self.passive else "no"};
            set ftp:prefer-epsv no; set ftp:ssl-allow no; set xfer:clobber yes; set cmd:fail-exit yes;
            set ftp:sync-mode yes; set ftp:use-feat no; set ftp:use-mdtm no; set ftp:use-size no;
            set xfer:disk-full-fatal yes; set bmk:save-passwords no;
            open -p {self.server.port} {self.host}; cd /; echo logged-in'''
        env = {**os.environ, 'HOME': self.lab.path(), 'LFTP_HOME': self.lab.path('lftp'), 'LC_ALL': 'C'}
        self.process = self.lab.start(f'{self.name}-{self.serial}', 'inside', 'lftp',
                                      stdin=subprocess.PIPE, env=env)
        self._say(' '.join(words.split()))
        self.process.await_output('logged-in')

    def _say(self, line):
        self.process.popen.stdin.write(line.encode() + b'\n')
        self.process.popen.stdin.flush()

    def _get(self, rate):
        """Begins a transfer: where the file is going."""
        self.count += 1
        target = self.lab.path(f'{self.name}.{self.count}')
        self._say(f'set net:limit-rate {rate}; set net:limit-max {max(1, rate // 10)}; '
                  f'get /file.bin -o {target}; echo done-{self.count}.')
        return target

    def _finish(self, target):
        self.process.await_output(fr'done-{self.count}\.', HEARS_S + 15)
        with open(target, 'rb') as file:
            same = hashlib.sha256(file.read()).hexdigest() == self.server.digest
        os.remove(target)
        if not same:
            raise laboratory.LabError('the file that arrived is not the one that was sent')

    def before(self, round_):
        self.target = self._get(int(peers.FILE_BYTES / (round_.wait_s + 4)))
        deadline = time.monotonic() + HEARS_S
        while not (os.path.exists(self.target) and os.path.getsize(self.target)):
            if not self.process.running() or time.monotonic() > deadline:
                raise laboratory.LabError(f'{self.name}: no transfer begins: {self.process.stderr[-500:]}')
            laboratory.select.select([self.process.pidfd], [], [], 0.02)

    def under_way(self):
        return f'done-{self.count}.' not in self.process.stdout

    def after(self, round_):
        problem = []
        try:
            what = 'the transfer over the restart'
            self._finish(self.target)
            what = 'the next transfer'
            self._finish(self._get(0))
        except (laboratory.LabError, OSError) as error:
            said = ' | '.join((self.process.stdout + self.process.stderr).splitlines()[-4:])
            problem = [f'{what}: {str(error).splitlines()[0]}: {said}']
            self.process.stop()
            self.begin()
        return problem


class BusyFtp:
    """A session that transfers a file between the save and the KILL: the firewall misses what it said
    meanwhile. Its next transfers succeed, on the same control connection."""
    name = 'ftp-missed'

    def __init__(self, lab, server):
        self.lab, self.server = lab, server
        self.serial = 0

    def begin(self):
        self.serial += 1
        self.client = peers.SteppedClient(self.lab, port=self.server.port, name=f'step-{self.serial}')
        self._transfer('pasv')

    def _transfer(self, how):
        self.client(f'announce {how}')
        self.client('connect')
        got = self.client('fetch file.bin')
        if got['sha256'] != self.server.digest:
            raise peers.StepError('the file that arrived is not the one that was sent')

    def before(self, round_):
        pass

    def saved(self):
        self._transfer('pasv')

    def after(self, round_):
        try:
            for how in ('pasv', 'epsv'):
                self._transfer(how)
        except (peers.StepError, laboratory.LabError) as error:
            self.client.process.stop()
            self.begin()
            return [str(error)]
        return []


class Call:
    """A call by SIPp with audio; after the restart the callee moves its audio to another port."""

    def __init__(self, lab, transport, number):
        self.lab, self.transport = lab, transport
        self.name = f'sip-{transport}'
        self.number = number
        self.calls = 0

    def begin(self):
        write_media(self.lab)

    def _sipp(self, what, host, scenario, turns, *more):
        with open(os.path.join(HERE, 'sipp', scenario), encoding='utf-8') as file:
            text = file.read().replace('MEDIA', self.lab.path('media.pcap')).replace('TURNS', str(turns))
        name = f'{self.name}-{what}-{self.calls}'
        return self.lab.start(name, host, 'sipp', '-sf', self.lab.write(f'{name}.xml', text), '-m', '1',
                              '-nostdin', '-t', f'{self.transport[0]}1', '-trace_msg', '-message_file',
                              self.lab.path(f'{name}.trace'), *more, env={**os.environ, 'TERM': 'dumb'})

    def before(self, round_):
        self.calls += 1
        step = self.calls % 50 * 10
        self.here, self.there = 30000 + 1000 * self.number + step, 40000 + 1000 * self.number + step
        port, own = 5060, 6000 + 100 * self.number + self.calls % 50
        turns = int((round_.wait_s + 6) / 0.5)
        host = f'192.0.2.{10 + self.number}'
        if self.calls == 1:
            self.lab.ip('outside', 'addr', 'add', f'{host}/24', 'dev', 'eth0')
        self.callee = self._sipp('answer', 'outside', 'long_answer.xml', turns, '-i', host, '-p', str(port),
                                 '-mi', host, '-mp', str(self.there), '-rtp_echo')
        await_socket(self.lab, self.callee, 'outside', self.transport, f'{port} and src {host}')
        self.caller = self._sipp('call', 'inside', 'long_call.xml', turns, '-i', laboratory.INSIDE4, '-p',
                                 str(own), '-mi', laboratory.INSIDE4, '-mp', str(self.here), '-s', 'phone',
                                 '-timeout', '60', '-timeout_error', f'{host}:{port}')
        self._await(lambda: self._heard(0) >= 5, 'no audio comes back')

    def _await(self, condition, otherwise):
        deadline = time.monotonic() + HEARS_S
        while not condition():
            if not self.caller.running() or time.monotonic() > deadline:
                raise laboratory.LabError(f'{self.name}: {otherwise}: {self.caller.stdout[-1500:]}'
                                          f'{self.caller.stderr[-500:]}')
            laboratory.select.select([self.caller.pidfd], [], [], 0.02)

    def _heard(self, moved):
        """Packets of audio that have come back to the caller, from the callee's first port or the other."""
        seen = capture_flows(self.lab.path('audio.pcap'))
        return sum(count for key, (count, _) in seen.items()
                   if key[1] == self.there + 2 * moved and key[3] == self.here)

    def under_way(self):
        """Whether the callee has still to move its audio; what is heard until now."""
        self.heard_before = self._heard(0)
        with open(self.lab.path(f'{self.name}-call-{self.calls}.trace'), encoding='utf-8') as file:
            return file.read().count('\nINVITE ') == 1

    def after(self, round_):
        try:
            code = self.caller.wait(HEARS_S + 10)
        except laboratory.LabError:
            code = 'none: it hangs'
        self.caller.stop()
        self.callee.stop()
        if code != 0:
            trace = self.lab.path(f'{self.name}-call-{self.calls}.trace')
            with open(trace, encoding='utf-8') as file:
                said = [line for line in file.read().splitlines() if ' SIP/2.0' in line or
                        line.startswith('SIP/2.0')]
            return [f'the call failed (exit code {code}); the last of {len(said)} messages: {said[-3:]}']
        problems = []
        if self._heard(0) < self.heard_before + 10:
            problems.append(f'{self._heard(0)} packets of audio came back, {self.heard_before} of them '
                            f'before the restart')
        if self._heard(1) < 10:
            problems.append(f'{self._heard(1)} packets of audio came back from the new port')
        return problems
