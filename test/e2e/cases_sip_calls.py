# SPDX-License-Identifier: BSD-3-Clause
"""Calls as trunks, forking proxies and old telephones make them: many SIPp calls of one connection, each
with early media and media of its own; a call that Kamailio forks to three telephones, two of which ring
with early media before the third answers; a telephone that sends from a high port without `rport` and
listens on the port that its Via names."""

import collections
import functools
import os
import shutil
import socket
import struct
import threading

import lab as laboratory
from cases import Case, expect, pair
from cases_sip import (FOLDER, KAMAILIO, LONG_ENOUGH_S, await_socket, module_folder, write_media)
from middle import Setting

# Further addresses: other cases have servers at port 5060, too.
FORKER = '192.0.2.4'  # outside: a proxy and the telephones behind it
EXCHANGE, REGISTRAR = '192.0.2.5', '192.0.2.6'  # outside
TELEPHONE = '192.0.2.7'  # inside
FORK_CONTACTS = (5091, 5092, 5093)


def start_sipp(lab, name, host, scenario, words, **replaced):
    with open(os.path.join(FOLDER, scenario), encoding='utf-8') as file:
        text = file.read().replace('MEDIA', write_media(lab))
    for key, value in replaced.items():
        text = text.replace(key, str(value))
    return lab.start(name, host, 'sipp', '-sf', lab.write(f'{name}.xml', text), '-nostdin', '-t', 'u1',
                     *words, env={**os.environ, 'TERM': 'dumb'})


def flows(path):
    """[(number of packets of UDP, number of the first)] by (source, its port, destination, its port)
    of a capture."""
    seen = collections.defaultdict(lambda: [0, None])
    with open(path, 'rb') as file:
        data = file.read()
    order = '<' if data[:4] in (b'\xd4\xc3\xb2\xa1', b'\x4d\x3c\xb2\xa1') else '>'
    at, number = 24, 0
    while at + 16 <= len(data):
        length, = struct.unpack_from(f'{order}I', data, at + 8)
        frame = data[at + 16:at + 16 + length]
        at += 16 + length
        number += 1
        if len(frame) < 42 or frame[12:14] != b'\x08\0' or frame[23] != 17:
            continue
        source, there = struct.unpack_from('!HH', frame, 14 + (frame[14] & 15) * 4)
        key = (socket.inet_ntoa(frame[26:30]), source, socket.inet_ntoa(frame[30:34]), there)
        seen[key][0] += 1
        seen[key][1] = seen[key][1] or number
    return seen


def ports(seen, source, destination, first, last):
    """How many source ports of that range have sent from there to where."""
    return len({key[1] for key in seen if key[0] == source and key[2] == destination and
                first <= key[1] <= last})


def exchange(lab, _port):
    lab.ip('outside', 'addr', 'add', f'{EXCHANGE}/24', 'dev', 'eth0')


def telephone_and_registrar(lab, _port):
    lab.ip('outside', 'addr', 'add', f'{REGISTRAR}/24', 'dev', 'eth0')
    lab.ip('inside', 'addr', 'add', f'{TELEPHONE}/24', 'dev', 'eth0')


def trunk(calls, rate, bench, timeout_s):
    """So many calls between two exchanges, all from one port to one port. All ring at once."""
    here, there = 30000, 20000
    inside, outside = laboratory.INSIDE4, EXCHANGE
    bench.server(exchange)
    answer = start_sipp(bench.lab, 'trunk-answer', 'outside', 'trunk_answer.xml',
                        ['-m', str(calls), '-i', outside, '-p', '5060', '-mi', outside, '-mp',
                         str(there)],
                        RINGING=2000 if timeout_s else 1000 * calls // rate + 1500)
    await_socket(bench.lab, answer, 'outside', 'udp', f'5060 and src {outside}')
    call = start_sipp(bench.lab, 'trunk-call', 'inside', 'trunk_call.xml',
                      ['-m', str(calls), '-r', str(rate), '-l', str(calls), '-i', inside, '-p', '5070',
                       '-mi', inside, '-mp', str(here), '-s', 'phone', '-timeout', str(timeout_s or 90),
                       '-timeout_error', f'{outside}:5060'])
    most = set()

    def problem():
        listed = bench.can('control-socket') and not timeout_s
        while listed and call.running() and len(most) < 20:
            rows = bench.middle.ctl('expect', 'list')
            most.update(row['call'] for row in rows if row.get('call'))
            laboratory.select.select([call.pidfd], [], [], 0.1)
        code = call.wait((timeout_s or 90) + 5)
        if timeout_s is None and code != 0:
            return f'a call failed: {call.stdout[-2000:]}{call.stderr}'
        heard, sent = (flows(bench.lab.path(f'{host}.pcap')) for host in ('inside', 'outside'))
        for what, got in (('early media or media of callees', ports(heard, outside, inside, there, there + 9999)),
                          ('media of callers', ports(sent, inside, outside, here, here + 9999))):
            if got != calls:
                return f'of {calls} calls {got} have {what}'
        early = sum(1 for key in heard if key[:3:2] == (outside, inside) and
                    there <= key[1] <= there + 9999 and
                    heard[key][1] < heard.get((inside, key[3], outside, key[1]), (0, 1 << 60))[1])
        if early != calls:
            return f'{early} of {calls} calls have early media'
        return f'the list shows {len(most)} calls' if listed and len(most) < 20 else None
    return problem


class ForkingProxy:
    """Kamailio on an address of the outside host, and three telephones behind it."""

    def __init__(self, lab, _port):
        lab.ip('outside', 'addr', 'add', f'{FORKER}/24', 'dev', 'eth0')
        run = lab.path('kamailio-fork')
        os.makedirs(run)
        config = KAMAILIO.format(host=FORKER)
        process = lab.start('kamailio-fork', 'outside', 'kamailio', '-f',
                            lab.write('kamailio-fork.cfg', config), '-DD', '-E', '-L', module_folder(),
                            '-w', run, '-Y', run, '-m', '32', '-M', '4')
        await_socket(lab, process, 'outside', 'udp', f'5060 and src {FORKER}')
        with lab.inside_of('outside'):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with client:
            client.bind((FORKER, 5099))
            client.settimeout(LONG_ENOUGH_S)
            for port in FORK_CONTACTS:
                client.sendto(
                    f'REGISTER sip:{FORKER} SIP/2.0\r\nVia: SIP/2.0/UDP {FORKER}:5099;branch=z9hG4bK{port}'
                    f'\r\nFrom: <sip:fork@{FORKER}>;tag={port}\r\nTo: <sip:fork@{FORKER}>\r\n'
                    f'Call-ID: {port}\r\nCSeq: 1 REGISTER\r\nContact: <sip:fork@{FORKER}:{port}>\r\n'
                    f'Expires: 3600\r\nContent-Length: 0\r\n\r\n'.encode(), (FORKER, 5060))
                answer = client.recv(4096)
                if not answer.startswith(b'SIP/2.0 200'):
                    raise laboratory.LabError(f'the proxy says {answer!r}')


def forked_call(bench, timeout_s):
    """From inside to a user with three telephones outside: two ring with early media, one answers."""
    bench.server(ForkingProxy)
    here, media = 34000, (26000, 26100, 26200)
    for number, (port, first) in enumerate(zip(FORK_CONTACTS, media)):
        phone = start_sipp(bench.lab, f'fork-{number}', 'outside',
                           'fork_answer.xml' if number == 2 else 'fork_ring.xml',
                           ['-m', '1', '-i', FORKER, '-p', str(port), '-mi', FORKER, '-mp', str(first)])
        await_socket(bench.lab, phone, 'outside', 'udp', f'{port} and src {FORKER}')
    call = start_sipp(bench.lab, 'fork-call', 'inside', 'trunk_call.xml',
                      ['-m', '1', '-i', laboratory.INSIDE4, '-p', '5071', '-mi', laboratory.INSIDE4,
                       '-mp', str(here), '-s', 'fork', '-timeout', str(timeout_s or LONG_ENOUGH_S),
                       '-timeout_error', f'{FORKER}:5060'])

    def problem():
        code = call.wait((timeout_s or LONG_ENOUGH_S) + 5)
        if timeout_s is None and code != 0:
            return f'the call failed: {call.stdout[-2000:]}{call.stderr}'
        heard, sent = (flows(bench.lab.path(f'{host}.pcap')) for host in ('inside', 'outside'))
        to_caller = {key[1] for key in heard if key[0] == FORKER and key[2:] == (laboratory.INSIDE4, here)}
        if not set(media[:2]) <= to_caller:
            return f'no early media of both telephones that ring: {to_caller}'
        if media[2] not in to_caller:
            return f'no media of the telephone that has answered: {to_caller}'
        if (laboratory.INSIDE4, here, FORKER, media[2]) not in sent:
            return 'no media of the caller'
        return None
    return problem


# ---- a telephone that sends from a high port without rport ---------------------------------------

def old_telephone(bench, timeout_s):
    """It registers, is challenged, registers again, and is called from another port of the registrar.
    Written out: no client at hand does this any more."""
    bench.server(telephone_and_registrar)
    phone, registrar = TELEPHONE, REGISTRAR
    with bench.lab.inside_of('inside'):
        sends, hears, rings = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
    with bench.lab.inside_of('outside'):
        server, caller = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    sends.bind((phone, 50933))
    hears.bind((phone, 5060))
    rings.bind((phone, 5064))
    server.bind((registrar, 5060))
    caller.bind((registrar, 5090))
    for each in (sends, hears, rings, server, caller):
        each.settimeout(timeout_s or LONG_ENOUGH_S)
    said = []

    def fields(cseq):
        return (f'Via: SIP/2.0/UDP {phone}:5060;branch=z9hG4bK{cseq}\r\nFrom: <sip:2010@{registrar}>;'
                f'tag=1\r\nTo: <sip:2010@{registrar}>\r\nCall-ID: r@{phone}\r\nCSeq: {cseq} REGISTER\r\n'
                'Content-Length: 0\r\n')

    def register(cseq, *answers):
        sends.sendto(f'REGISTER sip:{registrar} SIP/2.0\r\n{fields(cseq)}Contact: <sip:2010@{phone}:5064;'
                     'transport=udp>\r\nExpires: 3600\r\n\r\n'.encode(), (registrar, 5060))
        server.recv(4096)
        for answer in answers:
            more = f'Contact: <sip:2010@{phone}:5064;transport=udp>;expires=3600\r\n' if '200' in answer else ''
            server.sendto(f'SIP/2.0 {answer}\r\n{fields(cseq)}{more}\r\n'.encode(), (phone, 5060))
            hears.recv(4096)

    def talk():
        try:
            with sends, hears, rings, server, caller:
                register(1, '100 Trying', '401 Unauthorized')
                register(2, '100 Trying', '200 OK')
                caller.sendto(f'INVITE sip:2010@{phone} SIP/2.0\r\nVia: SIP/2.0/UDP {registrar}:5090;'
                              f'branch=z9hG4bKi\r\nFrom: <sip:x@{registrar}>;tag=2\r\nTo: <sip:2010@{phone}>'
                              f'\r\nCall-ID: i\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n'.encode(),
                              (phone, 5064))
                rings.recv(4096)
                register(3, '503 Service Unavailable')
                caller.sendto(b'INVITE again', (phone, 5064))
                rings.recv(4096)
        except OSError as error:
            said.append(f'the telephone hears nothing: {error}')

    thread = threading.Thread(target=talk)
    thread.start()

    def problem():
        thread.join()
        return said[0] if said else None
    return problem


def kamailio_is_missing(_bench):
    expect(False, 'Kamailio is not installed (scripts/install-deps.sh test)')


def cases():
    one, three = (Setting(service='sip', workers=n) for n in (1, 3))
    found = pair('sip/trunk/30-calls', three, functools.partial(trunk, 30, 15))
    found += pair('sip/trunk/200-calls', one, functools.partial(trunk, 200, 25))
    found += pair('sip/old-telephone', three, old_telephone)
    if shutil.which('kamailio'):
        found += pair('sip/forking', one, forked_call)
    else:
        found.append(Case('sip/forking', one, kamailio_is_missing, needs=frozenset({'kamailio'})))
    return found
