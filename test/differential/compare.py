#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares what Postern does with what the Linux kernel did, packet by packet.

The captures and the kernel's recorded answers are found by POSTERN_KERNEL_CAPTURES (default:
shared/kernel next to the repository). Each is replayed by inside.yaml and by control.yaml. Every
difference must belong to a class of DIFFERENCES below, or the capture fails. Says `ok NAME`,
`not ok NAME` or `skip NAME REASON` for each, and how far the two agree in all.

The kernel saw the packets one right after the other, so the clock stands still here too.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import sys

import captures
import postern

HERE = os.path.dirname(os.path.abspath(__file__))
POLICIES = ('inside', 'control')
SHOWN = 5  # unexplained differences of one capture that are printed

# The kernel's names of helpers, where ours is another.
HELPER_NAMES = {'Q.931': 'q931', 'RAS': 'ras', 'H.245': 'h245', 'netbios-ns': 'netbios'}
CONTROL_PORTS = {
    ('tcp', 21): 'ftp', ('tcp', 6667): 'irc', ('tcp', 1723): 'pptp', ('tcp', 1720): 'q931',
    ('udp', 1719): 'ras', ('tcp', 6566): 'sane', ('tcp', 5060): 'sip', ('udp', 5060): 'sip',
    ('udp', 29440): 'sip', ('udp', 69): 'tftp', ('udp', 10080): 'amanda', ('udp', 137): 'netbios',
    ('udp', 161): 'snmp',
}


def rows(path):
    with open(path, encoding='utf-8') as f:
        return [json.loads(line) for line in f]


def helper_name(kernels):
    return HELPER_NAMES.get(kernels, kernels)


# Announcements in these packets are read by Postern and not by Linux.
UNREAD = {
    # Six numbers that name another host, or do not follow each other without blanks.
    'ftp': lambda packet: packet.segment[:4] == b'227 ' and
    b','.join(packet.src.encode().split(b'.')) + b',' not in packet.segment,
    # By IPv6, or with a file's name in quotation marks.
    'irc': lambda packet: b'DCC ' in packet.segment and (':' in packet.src or b'"' in packet.segment),
    # A message (RFC 2126's TPKT) that does not begin with the segment, or goes on in the next.
    'q931': lambda packet: _is_part(packet.segment),
    'h245': lambda packet: _is_part(packet.segment),
}


def _is_part(segment):
    return segment[:2] != b'\x03\0' or int.from_bytes(segment[2:4], 'big') != len(segment)


class Difference:
    """One thing in which the two disagree. `what`: a field of a packet, or `expectation`."""

    def __init__(self, n, what, kernel, ours):
        self.n, self.what, self.kernel, self.ours = n, what, kernel, ours

    def __str__(self):
        return f'packet {self.n}: {self.what}: Linux {self.kernel}, Postern {self.ours}'


class Run:
    """One capture under one policy: what the kernel said, and what Postern says."""

    def __init__(self, folder, policy, program):
        config = os.path.join(HERE, policy + '.yaml')
        with open(config, encoding='utf-8') as f:
            configured = re.search(r'^helpers:\n((?:  .*\n)*)', f.read(), re.MULTILINE)
            self.helpers = set(re.findall(r'\bname: *(\w+)', configured[1]))
        frames = captures.read_pcap(os.path.join(folder, 'capture.pcap'))
        self.packets = [captures.Packet(frame) for frame in frames]
        self.kernel = rows(os.path.join(folder, policy + '.packets.jsonl'))
        self.kernel_events = rows(os.path.join(folder, policy + '.expectations.jsonl'))
        answers = postern.replay(program, config, captures.pcap_bytes(frames))
        self.ours = [row for row in answers if row['type'] == 'packet']
        self.our_events = [row for row in answers if row['type'] == 'expectation']
        if len(self.ours) != len(self.kernel):
            raise postern.Failure(f'{len(self.kernel)} packets became {len(self.ours)}')
        # The kernel's numbers are those of a capture that had non-IP frames too.
        index = {row['n']: i for i, row in enumerate(self.kernel)}
        for row in self.kernel + self.kernel_events:
            row['n'] = index.get(row['n'], -1)
        self._find_missing_helpers()
        self._find_unwelcome(frames)
        self._find_unread()

    def lacks(self, helper):
        return helper_name(helper) not in self.helpers

    def _find_missing_helpers(self):
        """From which packet on a connection is another one for want of a helper here:
        {connection: n}. It was expected there, or its helper there refused a packet of it."""
        self.without_helper = {}
        filed = collections.defaultdict(list)
        for event in self.kernel_events:
            if event['event'] == 'new' and self.lacks(event['helper']):
                filed[event['n']].append(event)
        expected = set()
        for row in self.kernel:
            packet = self.packets[row['n']]
            protocol = captures.PROTOCOLS.get(packet.protocol)
            if row['state'] == 'related' and not packet.error:
                if (protocol, packet.dst, packet.dport) in expected:
                    self.without_helper.setdefault(packet.connection(), row['n'])
            if row['verdict'] == 'drop' and row['state'] in ('new', 'established'):
                for port in (packet.sport, packet.dport):
                    helper = CONTROL_PORTS.get((protocol, port))
                    if helper is not None and self.lacks(helper):
                        self.without_helper.setdefault(packet.connection(), row['n'])
            for event in filed[row['n']]:
                port = None if event['proto'] == 'gre' else event['dport']
                expected.add((event['proto'], event['dst'], port))

    def sip(self, n):
        """The SIP message of a datagram; None when it is none, or not a whole one."""
        return sip_message(self.packets[n].payload)

    def announced(self, event):
        """The number of the packet that made Linux file what this event is about."""
        return max((e['n'] for e in self.kernel_events
                    if e['event'] == 'new' and e['n'] <= event['n'] and
                    all(e[key] == event[key] for key in ('class', 'proto', 'dst', 'dport'))),
                   default=-1)

    def kernels(self, difference):
        """The kernel's events that a difference in expectations is about."""
        return [event for event in self.kernel_events
                if event_key(event) == (difference.n, *(difference.kernel or ()))]

    def _find_unwelcome(self, frames):
        """What IRC clients have announced before the server's welcome: {(dst, dport): n}."""
        self.unwelcome = {}
        for event in self.kernel_events:
            master, n = event['master'], event['n']
            if event['event'] == 'new' and event['helper'] == 'irc' and not any(
                    b' 001 ' in frames[i] for i in range(n)
                    if (self.packets[i].src, self.packets[i].sport) ==
                    (master['dst'], master['dport'])):
                self.unwelcome[event['dst'], event['dport']] = n

    def one_sided(self, event):
        """Whether only one side of the master has said anything before what this event is about."""
        master, n = event['master'], event['n']
        speakers = {(self.packets[i].src, self.packets[i].sport) for i in range(n)
                    if self.packets[i].segment}
        return not {(master['src'], master['sport']),
                    (master['dst'], master['dport'])} <= speakers

    def _find_unread(self):
        """What only Postern expects, since Linux does not read the announcement: {(dst, dport): n}.
        Linux has no helper on such a connection, so what is announced there is unread, too."""
        self.unread = {}
        for event in self.our_events:
            packet = self.packets[event['n']]
            on_such = any(end in self.unread for end in ((packet.src, packet.sport),
                                                         (packet.dst, packet.dport)))
            if event['event'] == 'new' and (on_such or UNREAD.get(event['helper'],
                                                                  lambda _: False)(packet)):
                self.unread.setdefault((event['dst'], event['dport']), event['n'])

    def differences(self):
        """All of them: at most one a packet, and one for each expectation."""
        for theirs, ours in zip(self.kernel, self.ours):
            n = theirs['n']
            for field in ('verdict', 'state', 'direction', 'proto_state', 'timeout_s'):
                # Recordings of the kernel have TCP's state only, by this name.
                want = theirs.get('tcp_state' if field == 'proto_state' else field)
                got = ours[field]
                if want is None or want == got or (got is None and field != 'verdict'):
                    continue
                # The kernel counts in whole seconds, and one may have ended.
                if field != 'timeout_s' or not 0 <= got - want <= 1:
                    yield Difference(n, field, want, got)
                    break
        wanted = collections.Counter(events_of(self.kernel_events))
        filed = collections.Counter(events_of(self.our_events))
        for key in sorted((wanted - filed).elements(), key=str):
            yield Difference(key[0], 'expectation', key[1:], None)
        for key in sorted((filed - wanted).elements(), key=str):
            yield Difference(key[0], 'expectation', None, key[1:])


def events_of(rows):
    """Expectation events as both know them. A claim is a destroy to Linux, unless the expectation is
    permanent: then it is nothing."""
    for event in rows:
        if event['event'] != 'claim' or 'permanent' not in event['flags']:
            yield event_key(event)


def event_key(event):
    """What makes it another one. At the end its time has run down, and it may have been activated."""
    new = event['event'] == 'new'
    terms = (tuple(event['flags']), event['timeout_s']) if new else ()
    return (event['n'], 'new' if new else 'end', helper_name(event['helper']), event['proto'],
            event['src'], event['sport'], event['dst'], event['dport']) + terms


def helper_missing(run, difference):
    if difference.what == 'expectation':
        return difference.kernel is not None and run.lacks(difference.kernel[1])
    if difference.what == 'timeout_s':  # SIP and RAS keep their connections as long as they like
        helper = run.kernel[difference.n]['helper']
        if helper is not None and run.lacks(helper):
            return True
    since = run.without_helper.get(run.packets[difference.n].connection())
    return since is not None and difference.n >= since


def retransmission(run, difference):
    if difference.what != 'expectation' or difference.kernel is None or difference.ours:
        return False
    n, what = difference.n, difference.kernel[1:7]  # without the terms of a new one
    known = [event_key(event)[:8] for event in run.kernel_events]
    return all((n, kind) + what in known for kind in ('new', 'end'))


def sip_message(payload):
    """{'call-id', 'cseq'} of a message that has what RFC 3261 section 8.1.1 asks for, else None."""
    lines = re.split(rb'\r?\n', payload)
    start = re.fullmatch(rb'(?:([\w.!%*+`\'~-]+) [^ ]+ SIP/2\.0|SIP/2\.0 [1-6]\d\d .*)', lines[0])
    if start is None or b'' not in lines:
        return None
    found = {}
    for line in lines[1:lines.index(b'')]:
        if line[:1] in b' \t':
            continue
        field = re.match(rb'([\w.!%*+`\'~-]+)[ \t]*:[ \t]*(.*)', line)
        if field is None:
            return None
        name = {b'i': b'call-id', b'f': b'from', b't': b'to', b'v': b'via'}.get(
            field[1].lower(), field[1].lower())
        found[name.decode('latin1')] = field[2]
    cseq = re.fullmatch(rb'\d+[ \t]+(.+)', found.get('cseq', b''))
    if cseq is None or (start[1] is not None and start[1] != cseq[1]):
        return None
    return found if {'call-id', 'from', 'to', 'via'} <= found.keys() else None


def is_sip(run, difference):
    return CONTROL_PORTS.get(('udp', run.packets[difference.n].dport)) == 'sip' or \
        CONTROL_PORTS.get(('udp', run.packets[difference.n].sport)) == 'sip'


def sip_malformed(run, difference):
    """Linux drops some of what it cannot read, and reads some of what cannot be read."""
    if not is_sip(run, difference):
        return False
    if difference.what == 'expectation':
        return difference.ours is None and any(
            run.sip(run.announced(event)) is None for event in run.kernels(difference))
    return (difference.what in ('verdict', 'timeout_s') and run.sip(difference.n) is None and
            run.kernel[difference.n]['state'] in ('new', 'established'))


def sip_other_call(run, difference):
    """Linux: any new call, end or refusal on a connection ends what all of its calls announced."""
    if difference.what != 'expectation' or difference.ours is not None or not is_sip(run, difference):
        return False
    message = run.sip(difference.n)
    return message is not None and any(
        event['event'] == 'destroy' and
        (run.sip(run.announced(event)) or message)['call-id'] != message['call-id']
        for event in run.kernels(difference))


def sip_via(run, difference):
    """The answer to a request whose Via names another port than it came from."""
    return difference.what == 'expectation' and difference.kernel is None and any(
        event['helper'] == 'sip' and event['class'] == 'signalling' and
        'permanent' not in event['flags'] and
        (event['dst'], event['dport']) == difference.ours[5:7] for event in run.our_events)


def sip_own_end(run, difference):
    """Media that both expect, and end at another packet."""
    if difference.what != 'expectation':
        return False
    kind, helper, *where = (difference.kernel or difference.ours)[:7]
    if (kind, helper) != ('end', 'sip'):
        return False

    def filed(events):
        return any(event['event'] == 'new' and event['n'] <= difference.n and
                   helper_name(event['helper']) == 'sip' and 'permanent' not in event['flags'] and
                   [event['dst'], event['dport']] == where[-2:] for event in events)
    return filed(run.kernel_events) and filed(run.our_events)


def fax_rtcp(run, difference):
    """T.38 has no RTCP."""
    return difference.what == 'expectation' and difference.ours is None and any(
        event['helper'] == 'sip' and event['class'] == 3 and event['dport'] % 2 == 1
        for event in run.kernels(difference))


def not_proven(run, difference):
    if difference.what == 'expectation':
        return difference.ours is None and (
            difference.kernel[5:7] in run.unwelcome or
            any(event['helper'] == 'H.245' and run.one_sided(event)
                for event in run.kernels(difference)))
    packet = run.packets[difference.n]
    return any(end in run.unwelcome for end in ((packet.src, packet.sport),
                                                (packet.dst, packet.dport)))


def call_timeout(run, difference):
    if difference.what != 'timeout_s' or run.packets[difference.n].protocol != 47:
        return False
    return (difference.kernel, difference.ours) in ((30, 600), (180, 18000))


def unread(run, difference):
    if difference.what == 'expectation':
        # Or Linux files later what Postern knows from an earlier announcement.
        announced = (difference.ours or difference.kernel)[5:7]
        return run.unread.get(announced, difference.n + 1) <= difference.n
    packet = run.packets[difference.n]
    return any(run.unread.get(end, difference.n) < difference.n
               for end in ((packet.src, packet.sport), (packet.dst, packet.dport)))


def ftp_unreadable(run, difference):
    """What begins as an announcement and cannot be read to its end Linux drops, each time it comes."""
    packet = run.packets[difference.n]
    return difference.what == 'verdict' and 21 in (packet.sport, packet.dport) and \
        packet.protocol == 6 and run.kernel[difference.n]['verdict'] == 'drop' and \
        re.match(rb'(?i)(?:227|229|PORT|EPRT) ', packet.segment) is not None


def in_long_reply(run, n):
    """Whether a packet of FTP's server lies between the first line of a reply and its last."""
    flow = [getattr(run.packets[n], key) for key in ('src', 'sport', 'dst', 'dport')]
    code = None
    for packet in run.packets[:n]:
        if [getattr(packet, key) for key in ('src', 'sport', 'dst', 'dport')] != flow:
            continue
        for line in packet.segment.splitlines():
            if code is None and re.match(rb'\d{3}-', line):
                code = line[:3]
            elif code is not None and line[:4] == code + b' ':
                code = None
    return code is not None


def ftp_text(run, difference):
    """Linux reads the text of a reply of many lines, where it begins a segment."""
    if difference.what == 'expectation':
        return difference.ours is None and any(
            event['helper'] == 'ftp' and in_long_reply(run, run.announced(event))
            for event in run.kernels(difference))
    packet = run.packets[difference.n]
    return any(event['event'] == 'new' and event['helper'] == 'ftp' and event['n'] < difference.n and
               (event['dst'], event['dport']) in ((packet.src, packet.sport),
                                                  (packet.dst, packet.dport)) and
               in_long_reply(run, event['n']) for event in run.kernel_events)


def long_port(run, difference):
    """amandad numbers streams within its connection from 500000 down; Linux takes five digits."""
    return difference.what == 'expectation' and difference.ours is None and \
        difference.kernel[1] == 'amanda' and \
        re.search(rb' %d\d' % difference.kernel[6], run.packets[difference.n].payload) is not None


def bad_option(run, difference):
    """Linux stops reading at an option that cannot be, and takes the segment without it."""
    if difference.what not in ('verdict', 'state') or run.ours[difference.n]['state'] != 'invalid':
        return False
    sizes = {2: (4,), 3: (3,), 4: (2,), 5: (10, 18, 26, 34), 8: (10,)}
    left = run.packets[difference.n].options
    while left and left[0] != 0:
        if left[0] == 1:
            left = left[1:]
            continue
        if len(left) < 2 or not 2 <= left[1] <= len(left) or \
                left[1] not in sizes.get(left[0], (left[1],)):
            return True
        left = left[left[1]:]
    return False


def short_gre(run, difference):
    """Linux takes the packet for one of all GRE between the two hosts: what follows is not the first."""
    if difference.what not in ('verdict', 'state') or run.packets[difference.n].protocol != 47:
        return False
    return run.ours[difference.n]['state'] == 'invalid' or (
        run.kernel[difference.n]['state'], run.ours[difference.n]['state']) == ('established', 'new')


def sctp_restart(run, difference):
    """Linux takes the tag of any INIT inside an association, and a SHUTDOWN ACK with any tag. What
    becomes of that association afterwards is another story for each."""
    init, shutdown_ack = 1, 8
    packet = run.packets[difference.n]
    if packet.protocol != 132:
        return False
    connection = packet.connection()
    return any(earlier.protocol == 132 and earlier.chunk in (init, shutdown_ack) and
               not earlier.error and earlier.connection() == connection and
               run.kernel[n]['state'] == 'established'
               for n, earlier in enumerate(run.packets[:difference.n + 1]))


def icmp_number(run, difference):
    """Linux takes an ICMP error about TCP or SCTP whatever number or tag it quotes."""
    packet = run.packets[difference.n]
    return packet.error and packet.protocol in (6, 132) and \
        run.ours[difference.n]['reason'] == 'ct_invalid' and \
        run.kernel[difference.n]['state'] == 'related'


def unproven_timeout(run, difference):
    """A helper's own timeout waits until its connection was answered."""
    ours = run.ours[difference.n]
    return difference.what == 'timeout_s' and ours['helper'] is not None and \
        ours['state'] in ('new', 'related') and difference.ours < difference.kernel


def icmp_question(run, difference):
    """Linux knows no answers to extended echo, domain names, home agents and mobile prefixes."""
    packet = run.packets[difference.n]
    pairs = {1: (37, 38, 42, 43), 58: (144, 145, 146, 147, 160, 161)}
    return packet.icmp_type in pairs.get(packet.protocol, ()) and \
        run.ours[difference.n]['state'] in ('new', 'established') and \
        run.kernel[difference.n]['state'] == 'invalid'


def icmp_message(run, difference):
    """A message, or an answer that nobody asked for, is invalid for Linux; Postern asks policy."""
    packet = run.packets[difference.n]
    return packet.protocol in (1, 58) and not packet.error and \
        run.ours[difference.n]['state'] == 'untracked' and \
        run.kernel[difference.n]['state'] == 'invalid'


EVERYBODY = ('192.0.2.255', '255.255.255.255')


def broadcast(run, difference):
    if run.packets[difference.n].dst in EVERYBODY and difference.what == 'verdict':
        return True  # Linux is asked as a router, which passes none on
    asked = [event for event in run.our_events
             if event['event'] == 'new' and event['n'] <= difference.n and (
                 event['helper'] in ('netbios', 'snmp') or
                 (event['helper'] == 'tftp' and 'permanent' in event['flags']))]
    if difference.what == 'expectation':
        if difference.kernel is not None:  # from the broadcast address, of TFTP
            return difference.kernel[1] == 'tftp' and difference.kernel[3] in EVERYBODY
        return any(event_key(event)[2:8] == difference.ours[1:7] for event in asked)
    # An answer to a broadcast, and what follows on it, which for Linux are packets like any other.
    packet = run.packets[difference.n]
    answers = any(event['sport'] == packet.sport if event['sport'] else
                  (event['dst'], event['dport']) in ((packet.dst, packet.dport),
                                                     (packet.src, packet.sport)) for event in asked)
    return answers and run.ours[difference.n]['verdict'] == 'accept'


def call_again(run, difference):
    """Linux files nothing for a PPTP call whose tunnel is there, or expected by another connection."""
    if difference.what != 'expectation' or difference.ours is None or difference.ours[1] != 'pptp':
        return False
    return any(event_key(event)[1:8] == ('new', *difference.ours[1:7]) and event['n'] < difference.n
               for event in run.our_events)


# Every class of differences that are known and explained: {name: (test, reason)}. The reasons of
# those that are wanted are told at length in lib/conntrack/NOTES.md.
DIFFERENCES = {
    'helper-missing': (helper_missing, 'Linux has a helper that Postern has not'),
    'sip-malformed': (sip_malformed, 'what is no SIP message, or lacks what each has: Linux drops '
                                     'some, opens for some, and keeps the connection for an hour'),
    'sip-other-call': (sip_other_call, 'Linux takes the calls of a connection for one'),
    'sip-via': (sip_via, 'a request without rport whose Via names another port than it came from: '
                         'its answer goes there'),
    'sip-own-end': (sip_own_end, 'Linux keeps four media a connection, of one flow each, and ends '
                                 'those before at each INVITE; Postern keeps those of each call, '
                                 'of some flows each, until that call says otherwise'),
    'fax-rtcp': (fax_rtcp, 'Linux opens a second port for T.38, which has but one'),
    'call-timeout': (call_timeout, 'Linux gives an expected tunnel (PPTP) its long timeouts and '
                                   'takes them back with the first packet; Postern does not'),
    'broadcast': (broadcast, 'Linux expects answers only to broadcasts of its own (TFTP: from the '
                             'broadcast address); Postern, which sends none, to those that it passes '
                             'on'),
    'call-again': (call_again, 'a PPTP call announced again by another control connection, which '
                               'becomes its master'),
    'unread': (unread, 'announcements that Linux does not read: in part of a segment (H.323), by '
                       'IPv6 or with a quoted name (IRC), with another address or blanks in a 227 '
                       '(FTP)'),
    'ftp-unreadable': (ftp_unreadable, 'a 227, PORT or EPRT that cannot be read: Linux drops it, '
                                       'also when it is repeated, until both sides give up; '
                                       'Postern passes it, and it opens nothing'),
    'ftp-text': (ftp_text, 'text of a multi-line reply of FTP that looks like an announcement'),
    'long-port': (long_port, "Linux opens port 49999 where Amanda's answer says 499999"),
    'retransmission': (retransmission, 'Linux files an expectation anew for each repetition of '
                                       'the announcement, in other segments or in the same '
                                       'message; Postern files it once'),
    'sctp-restart': (sctp_restart, 'an association after an INIT or SHUTDOWN ACK that did not have '
                                   'to know its tags: Linux believes it at once'),
    'icmp-number': (icmp_number, 'an ICMP error that quotes a number which is not in flight, or '
                                 'another association\'s tag'),
    'unproven-timeout': (unproven_timeout, 'a helper keeps its connection for long only once that '
                                           'was answered; in Linux from the first packet'),
    'icmp-message': (icmp_message, 'an ICMP message that belongs to no connection (router '
                                   'solicitation, an unasked answer): policy judges each by '
                                   'itself'),
    'icmp-question': (icmp_question, 'an ICMP question that its RFC pairs with an answer, and '
                                     'Linux does not'),
    'bad-option': (bad_option, 'a TCP option that cannot be; Postern drops the segment'),
    'short-gre': (short_gre, 'a GRE header that ends early, or that PPTP does not send; Postern drops '
                             'it, Linux takes it for version 0'),
    'not-proven': (not_proven, 'an offer before the IRC server has welcomed the client, or before '
                               'both sides have begun H.245; Postern waits for the protocol to '
                               'prove itself'),
}


def explain(run, difference):
    for name, (test, _) in DIFFERENCES.items():
        if test(run, difference):
            return name
    return None


def compare(folder, policy, program):
    """Returns (packets, expectation events of either, Counter of classes by packets and by
    expectations, what is unexplained)."""
    run = Run(folder, policy, program)
    classes, unexplained = collections.Counter(), []
    for difference in run.differences():
        name = explain(run, difference)
        if name is None:
            unexplained.append(difference)
        kind = 'expectations' if difference.what == 'expectation' else 'packets'
        classes[kind, name or 'unexplained'] += 1
    either = (collections.Counter(map(event_key, run.kernel_events)) |
              collections.Counter(map(event_key, run.our_events)))
    return len(run.kernel), sum(either.values()), classes, unexplained


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument('--postern', default=postern.PROGRAM)
    options.add_argument('-k', default='', help='only captures whose name contains this')
    args = options.parse_args()
    kernel = os.environ.get('POSTERN_KERNEL_CAPTURES',
                            os.path.join(postern.ROOT, '..', 'shared', 'kernel'))
    if not os.path.isdir(kernel):
        print(f'skip differential/linux no recorded answers at {kernel} '
              '(POSTERN_KERNEL_CAPTURES tells where)')
        return 0
    names = [name for name in sorted(os.listdir(kernel))
             if args.k in name and os.path.isdir(os.path.join(kernel, name))]
    failed = False
    packets, events, classes = 0, 0, collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [(name, policy,
                 pool.submit(compare, os.path.join(kernel, name), policy, args.postern))
                for name in names for policy in POLICIES]
        for name, policy, job in jobs:
            case = f'differential/linux/{policy}/{name}'
            try:
                n, n_events, found, unexplained = job.result()
            except postern.Failure as failure:
                print(f'not ok {case}\n#   {failure}')
                failed = True
                continue
            packets, events = packets + n, events + n_events
            classes += found
            print(f'not ok {case}' if unexplained else f'ok {case}')
            for difference in unexplained[:SHOWN]:
                print(f'#   {difference}')
            if len(unexplained) > SHOWN:
                print(f'#   and {len(unexplained) - SHOWN} more')
            failed |= bool(unexplained)
    for kind, total in (('packets', packets), ('expectations', events)):
        differing = sum(n for (k, _), n in classes.items() if k == kind)
        same = 100 * (1 - differing / total) if total else 100
        print(f'# {total} {kind}: {same:.2f} % the same')
        for (k, name), n in classes.most_common():
            if k == kind:
                reason = f': {DIFFERENCES[name][1]}' if name in DIFFERENCES else ''
                print(f'#   {n} {name}{reason}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
