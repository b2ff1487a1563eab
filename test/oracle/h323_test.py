#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares what the H.323 helpers read in a message with what tshark reads in the same bytes.

Messages are those of samples() below, and those in the captures of recorded traffic where these are
at hand (POSTERN_KERNEL_CAPTURES; default: shared/kernel next to the repository). Says `ok NAME`,
`not ok NAME` or `skip NAME REASON`.
"""

import argparse
import collections
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path += [os.path.join(ROOT, 'test', folder) for folder in ('differential', 'e2e')]

import captures  # noqa: E402
import h323_messages as h323  # noqa: E402

PROGRAM = os.path.join(ROOT, 'build', 'test', 'oracle', 'h323_items')
LIMIT_S = 120
RAS_PORT, Q931_PORT = 1719, 1720

# What both have a word for: messages and marks, by the name that tshark gives their element.
KINDS = {
    'setup', 'callProceeding', 'connect', 'alerting', 'releaseComplete', 'facility', 'progress',
    'callForwarded', 'gatekeeperRequest', 'gatekeeperConfirm', 'registrationRequest',
    'registrationConfirm', 'registrationReject', 'unregistrationRequest', 'unregistrationConfirm',
    'admissionRequest', 'admissionConfirm', 'locationRequest', 'locationConfirm',
    'infoRequestResponse', 'terminalCapabilitySet', 'openLogicalChannel', 'openLogicalChannelAck',
    'openLogicalChannelReject', 'closeLogicalChannel', 'separateLANStack'}
CHOICES = {'t120', 'endSessionCommand'}  # those that are choices themselves
# What these hold is not read.
PASSED_OVER = {'terminalCapabilitySet', 'alternateGatekeeper'}
# Whose address it is, by the element around it. The first ones mean something in RAS only.
RAS_ADDRESSES = {'rasAddress': 'rasAddress', 'replyAddress': 'rasAddress',
                 'callSignalAddress': 'callSignalAddress',
                 'destCallSignalAddress': 'callSignalAddress',
                 'srcCallSignalAddress': 'callSignalAddress'}
ADDRESSES = {name: name for name in ('h245Address', 'alternativeAddress', 'mediaChannel',
                                     'mediaControlChannel', 'localAreaAddress')}


def samples():
    """{name: (type, whole message as it travels)}."""
    found = {}
    inside, outside = ('192.0.2.1', 5000), ('198.51.100.2', 6000)
    inside6, outside6 = ('2001:db8::1', 5002), ('2001:db8:1::2', 1720)
    for family, a, b in (('ipv4', inside, outside), ('ipv6', inside6, outside6),
                         ('mixed', inside, outside6)):
        for full in (False, True):
            def add(kind, name, message, family=family, full=full):
                found[f'{name}/{family}{"/full" if full else ""}'] = (kind, message)

            add('ras', 'grq', h323.gatekeeper_request(a, full=full))
            add('ras', 'gcf', h323.gatekeeper_confirm(b, full=full))
            add('ras', 'rrq', h323.registration_request([a], [a], full=full))
            add('ras', 'rrq-many', h323.registration_request(
                [h323.nsap_address(), h323.source_route(inside), b, a], [b], 300, full=full))
            add('ras', 'rrq-none', h323.registration_request([], [], 1, full=full))
            add('ras', 'rcf', h323.registration_confirm([b], full=full))
            add('ras', 'rcf-ttl', h323.registration_confirm([], 86400 * 40, full=full))
            add('ras', 'urq', h323.unregistration_request([a, b]))
            add('ras', 'ucf', h323.unregistration_confirm())
            add('ras', 'arq', h323.admission_request(b, a, full=full))
            add('ras', 'arq-none', h323.admission_request(full=full))
            add('ras', 'acf', h323.admission_confirm(b, full=full))
            add('ras', 'lrq', h323.location_request(a, full=full))
            add('ras', 'lcf', h323.location_confirm(b, a, full=full))
            add('ras', 'irr', h323.info_request_response(a, [a, b]))
            add('ras', 'grj', h323.gatekeeper_reject())
            add('ras', 'rrj', h323.registration_reject())

            fast = [h323.fast_start(1, control=b, reverse=(a, b), full=full),
                    h323.fast_start(2, h323.audio_g7231, media=a, control=b, full=full),
                    h323.fast_start(3, h323.data_t120, stack=a, none=True)]
            for name, body in (
                    ('setup', h323.setup(full=full)),
                    ('setup-h245', h323.setup(a, destination=b, full=full)),
                    ('setup-nsap', h323.setup(h323.nsap_address(), full=full)),
                    ('setup-fast', h323.setup(a, fast, full=full)),
                    ('proceeding', h323.call_proceeding(b, full=full)),
                    ('proceeding-fast', h323.call_proceeding(None, fast, full=full)),
                    ('alerting', h323.alerting(b, fast, full=full)),
                    ('connect', h323.connect(b, full=full)),
                    ('connect-fast', h323.connect(None, fast, full=full)),
                    ('release', h323.release_complete()),
                    ('information', h323.information()),
                    ('facility-forward', h323.facility('callForwarded', b, full=full)),
                    ('facility-h245', h323.facility('startH245', None, a, fast, full=full)),
                    ('facility-gatekeeper',
                     h323.facility('routeCallToGatekeeper', b, full=full)),
                    ('progress', h323.progress(b)),
                    ('progress-fast', h323.progress(b, fast))):
                add('q931', name, h323.q931(body, full=full))
                add('q931', name + '-tunnels', h323.q931(
                    body, [h323.open_logical_channel(4, media=a), h323.end_session()], full=full))

            controls = {
                'tcs': h323.terminal_capability_set(), 'msd': h323.master_slave_determination(),
                'ack-media': h323.open_logical_channel_ack(4, a, b, full=full),
                'ack-reverse': h323.open_logical_channel_ack(65535, b, None, (a, b), full=full),
                'ack-stack': h323.open_logical_channel_ack(1, stack=b, full=full),
                'ack-multicast': h323.open_logical_channel_ack(
                    1, h323.multicast_transport(a), b, full=full),
                'reject': h323.open_logical_channel_reject(7),
                'close': h323.close_logical_channel(65535),
                'round-trip': h323.round_trip_delay_request(), 'user-input': h323.user_input()}
            for data in (h323.audio_g711, h323.audio_g7231, h323.audio_generic, h323.video_h261,
                         h323.video_h262, h323.video_h263, h323.data_t120, h323.data_h224,
                         h323.null_data, h323.non_standard_data):
                controls['open-' + data.__name__] = h323.open_logical_channel(
                    9, data, control=a, full=full)
                controls['open-both-' + data.__name__] = h323.open_logical_channel(
                    10, data, a, b, (a, None), data, stack=b, full=full)
            for name, message in controls.items():
                # Tunnelled, so that tshark knows what it is.
                add('q931', name, h323.q931(h323.empty(), [message], full=full))
    return found


# --- What tshark says ----------------------------------------------------------------------------

def _name(element):
    return element.get('name', '').split('.')[-1].removesuffix('_element')


def _value(element, word):
    found = re.search(rf'\b{word}: (\S+)', element.get('showname', ''))
    return found and found[1]


def _address(element):
    """host/port of an ipAddress and the like."""
    host = port = None
    for field in element:
        host = host or _value(field, 'ip') or _value(field, 'network')
        port = port or _value(field, 'port') or _value(field, 'tsapIdentifier')
    return f'{host}/{port}'


def _walk(element, above, out):
    name = _name(element)
    if name in CHOICES or name in KINDS and element.get('name', '').endswith('_element'):
        out.append(name)
    elif name == 'timeToLive':
        out.append(f'{name}={_value(element, name)}')
    elif name == 'forwardLogicalChannelNumber':
        out.append(f'{name}={_value(element, name)}')
    elif name in ('ipAddress', 'ip6Address', 'iPAddress', 'iP6Address'):
        known = ADDRESSES | (RAS_ADDRESSES if 'RasMessage' in above else {})
        whose = [known[each] for each in above if each in known]
        if whose and 'multicastAddress' not in above:
            out.append(f'{whose[-1]}={_address(element)}')
    if name in PASSED_OVER:
        return
    for field in element:
        _walk(field, above + [name], out)


def tshark(path):
    """[(frame's number, is malformed, words)] for each frame with H.323 in it."""
    done = subprocess.run(['tshark', '-n', '-r', path, '-T', 'pdml', '-Y', 'h225 or h245'],
                          capture_output=True, timeout=LIMIT_S, check=False)
    found = []
    for packet in ElementTree.fromstring(done.stdout):
        words, number, bad = [], None, False
        for protocol in packet:
            name = protocol.get('name')
            if name == 'frame':
                number = next(int(field.get('show')) - 1 for field in protocol
                              if field.get('name') == 'frame.number')
            elif name in ('h225', 'h245', 'fake-field-wrapper'):
                _walk(protocol, [], words)
            bad = bad or name == '_ws.malformed'
        found.append((number, bad, words))
    return found


# --- What Postern says ---------------------------------------------------------------------------

def user_user(message):
    """What a Q.931 message in its TPKT holds for H.225.0; None: nothing."""
    at = 4 + 1
    at += 1 + message[at] + 1
    while at < len(message):
        element, at = message[at], at + 1
        if element & 0x80:
            continue
        if element == 0x7e:
            size, = struct.unpack_from('!H', message, at)
            return message[at + 3:at + 2 + size]
        at += 1 + message[at]
    return None


def postern(program, messages):
    """Words of each (type, message); a message on a stream has its TPKT around it."""
    lines, places = [], []
    for place, (kind, message) in enumerate(messages):
        data = message if kind == 'ras' else message[4:] if kind == 'h245' else user_user(message)
        if data:
            lines.append(f'{kind} {data.hex()}\n')
            places.append(place)
    done = subprocess.run([program], input=''.join(lines), text=True, capture_output=True,
                          timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    found = [[] for _ in messages]
    for place, line in zip(places, done.stdout.split('\n')):
        found[place] = line.split()
    return found


# --- Comparing -----------------------------------------------------------------------------------

def frame(kind, message, number):
    """`message` in a datagram or segment of a connection of its own."""
    ends = bytes([192, 0, 2, 1]) + bytes([198, 51, 100, 2])
    if kind == 'ras':
        transport = struct.pack('!HHHH', RAS_PORT, RAS_PORT, 8 + len(message), 0) + message
    else:
        transport = struct.pack('!HHIIBBHHH', 20000 + number, Q931_PORT, 1, 1, 0x50, 0x18, 8192, 0,
                                0) + message
    head = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(transport), 0, 0, 64,
                       17 if kind == 'ras' else 6, 0)
    return bytes(12) + b'\x08\x00' + head + ends + transport


def compare_samples(program):
    made = samples()
    frames = [frame(kind, message, n) for n, (kind, message) in enumerate(made.values())]
    with tempfile.NamedTemporaryFile(suffix='.pcap') as file:
        file.write(captures.pcap_bytes(frames))
        file.flush()
        said = {number: (bad, words) for number, bad, words in tshark(file.name)}
    problems = []
    for n, (name, ours) in enumerate(zip(made, postern(program, made.values()))):
        bad, theirs = said.get(n, (True, []))
        if bad:
            problems.append(f'{name}: tshark cannot read the sample')
        elif ours != theirs:
            problems.append(f'{name}: Postern {" ".join(ours)}; tshark {" ".join(theirs)}')
    return len(made), problems


def messages_of(frames, q931_ports, h245_ports):
    """[(type, message)] of a capture for each flow, in order, repetitions left out."""
    flows, done = collections.defaultdict(list), {}
    rest = collections.defaultdict(bytes)
    for raw in frames:
        packet = captures.Packet(raw)
        if packet.protocol not in (6, 17) or raw[12:14] != b'\x08\x00':
            continue
        flow = (packet.src, packet.sport, packet.dst, packet.dport)
        ip = raw[14:14 + struct.unpack_from('!H', raw, 16)[0]]
        segment = ip[(ip[0] & 15) * 4:]
        ports = {packet.sport, packet.dport}
        if packet.protocol == 17:
            if RAS_PORT in ports:
                flows[flow].append(('ras', segment[8:]))
            continue
        kind = 'q931' if ports & q931_ports else 'h245' if ports & h245_ports else None
        seq, = struct.unpack_from('!I', segment, 4)
        data = segment[(segment[12] >> 4) * 4:]
        if kind is None or not data or seq < done.get(flow, 0):
            continue
        done[flow] = seq + len(data)
        stream = rest[flow] + data
        while len(stream) >= 4 and stream[0] == 3:
            size, = struct.unpack_from('!H', stream, 2)
            if size < 4 or len(stream) < size:
                break
            if size > 4:
                flows[flow].append((kind, stream[:size]))
            stream = stream[size:]
        rest[flow] = stream
    return flows


def compare_capture(program, path):
    """(messages, problems) of a capture; tshark finds H.245 connections by what announced them."""
    frames = captures.read_pcap(path)
    said = tshark(path)
    theirs, malformed = collections.defaultdict(list), collections.Counter()
    h245_ports = set()
    for number, bad, words in said:
        packet = captures.Packet(frames[number])
        flow = (packet.src, packet.sport, packet.dst, packet.dport)
        if bad:
            malformed[flow] += 1
        theirs[flow] += words
        h245_ports |= {int(word.split('/')[1]) for word in words
                       if word.startswith('h245Address=')}
    count, problems = 0, []
    flows = messages_of(frames, {Q931_PORT}, h245_ports)
    for flow, messages in flows.items():
        found = postern(program, messages)
        count += len(messages)
        unreadable = sum(words == ['unreadable'] for words in found)
        ours = [word for words in found if words != ['unreadable'] for word in words]
        if ours != theirs[flow] or unreadable > malformed[flow]:
            problems.append(f'{flow}: Postern {" ".join(ours)} and {unreadable} unreadable; tshark '
                            f'{" ".join(theirs[flow])} and {malformed[flow]} malformed')
    return count, problems


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument('--items', default=PROGRAM)
    program = options.parse_args().items
    if not shutil.which('tshark'):
        print('skip oracle/h323 there is no tshark')
        return 0
    failed = False

    def report(name, count, problems):
        nonlocal failed
        failed |= bool(problems) or count == 0
        print(f'{"not ok" if problems or count == 0 else "ok"} oracle/h323/{name}')
        print(f'#   {count} messages')
        for problem in problems[:10]:
            print(f'#   {problem}')

    report('samples', *compare_samples(program))
    folder = os.environ.get('POSTERN_KERNEL_CAPTURES', os.path.join(ROOT, '..', 'shared', 'kernel'))
    if not os.path.isdir(folder):
        print(f'skip oracle/h323/captures none at {folder} (POSTERN_KERNEL_CAPTURES tells where)')
        return int(failed)
    for name in sorted(os.listdir(folder)):
        if 'h323' in name:
            report(name, *compare_capture(program, os.path.join(folder, name, 'capture.pcap')))
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
