#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the conversations of the H.323 helpers, helpers/h323/dialogues/*.txt, and the seeds of
their fuzz targets: both are binary, so they are made of h323_messages.py rather than by hand.

    test/oracle/h323_dialogues.py           writes them
    test/oracle/h323_dialogues.py --check   says `ok` if they are as they would be written
"""

import os
import sys
import textwrap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = os.path.join(ROOT, 'helpers', 'h323')
sys.path.append(os.path.join(ROOT, 'test', 'e2e'))

import h323_messages as h  # noqa: E402

CALL = 1 << 16 | 17  # tag of the client's call with reference 17


class Talk:
    """One conversation of one family, and the seed that goes with it."""

    def __init__(self, helper, version, about):
        self.version = version
        self.client, self.server = (('192.0.2.1', '198.51.100.2') if version == 4 else
                                    ('2001:db8::1', '2001:db8:1::2'))
        self.third = '203.0.113.9' if version == 4 else '2001:db8:2::9'
        self.other_family = '2001:db8::1' if version == 4 else '192.0.2.1'
        self.lines = [f'# {line}' for line in textwrap.wrap(about, 96)]
        self.lines += [f'helper {helper}', f'families ipv{version}']
        self.seed = b'\0' if version == 6 else b''
        self.stream = not helper.startswith('ras')

    def line(self, *lines):
        self.lines += lines
        return self

    def _say(self, who, what, data):
        self.lines.append(f'# {what}')
        hexes = [data[i:i + 40].hex(' ', 2) for i in range(0, len(data), 40)]
        self.lines.append(f'{who}= {hexes[0]}')
        self.lines += [f'= {each}' for each in hexes[1:]]
        for byte in data:  # what has a meaning to the fuzz target is marked as payload
            self.seed += b'\x11' * (byte <= 0x12) + bytes([byte])
        self.seed += b'\x01' if who == 'C' else b'\x02'

    def c(self, what, data):
        self._say('C', what, data)
        return self

    def s(self, what, data):
        self._say('S', what, data)
        return self

    def expects(self, src, dst, port, cls, *words):
        self.lines.append(f'expect {src} -> {dst}:{port} {cls} {" ".join(map(str, words))}'.rstrip())
        return self

    def media(self, src, dst, even, cls, tag):
        for port in (even, even + 1):
            self.expects(src, dst, port, cls, f'tag={tag}', 'skip_master', 'udp')
        return self

    def h245(self, src, dst, port, tag=CALL):
        return self.expects(src, dst, port, 'call', 'child=h245', f'tag={tag}', 'skip_master')

    def signalling(self, src, dst, port, cls, *words):
        return self.expects(src, dst, port, cls, 'child=q931', 'permanent', 'skip_master', 'tcp',
                            *words)

    def count(self, **counters):
        for name, value in counters.items():
            self.lines.append(f'count {name} {value}')
        return self


# --- Call signalling -----------------------------------------------------------------------------

def call_to_answer(v):
    t = Talk('q931', v, 'The called side names its H.245 address, more than once.')
    t.c('Setup', h.q931(h.setup(full=True), full=True))
    t.s('CallProceeding with h245Address',
        h.q931(h.call_proceeding((t.server, 1232)), answers=True)).h245('client', 'server', 1232)
    t.s('Alerting', h.q931(h.alerting(), answers=True))
    t.s('Connect with h245Address',
        h.q931(h.connect((t.server, 1232), full=True), answers=True))
    t.h245('client', 'server', 1232)
    t.c('an empty TPKT keeps the connection alive', h.tpkt())
    t.s('ReleaseComplete', h.q931(h.release_complete(), answers=True))
    t.line(f'remove call {CALL}')
    return t.count(setups=1, call_proceedings=1, alertings=1, connects=1, releases=1)


def call_of_caller(v):
    t = Talk('q931', v, 'The caller names its H.245 address; a second call on the same connection, '
             'set up by the other side.')
    t.c('Setup with h245Address', h.q931(h.setup((t.client, 5000))))
    t.h245('server', 'client', 5000)
    tag = 2 << 16 | 17
    t.s('Setup of a call of its own, with the same reference',
        h.q931(h.setup((t.server, 6000), full=True))).h245('client', 'server', 6000, tag)
    t.c('Progress with h245Address', h.q931(h.progress((t.client, 5001)), answers=True))
    t.h245('server', 'client', 5001, tag)
    t.c('ReleaseComplete of the first', h.q931(h.release_complete()))
    t.line(f'remove call {CALL}')
    return t.count(setups=2, progresses=1, releases=1)


def fast_start(v):
    t = Talk('q931', v, 'Fast start: the caller proposes channels, all with its one media address; '
             'the called side accepts two.')
    own = ((t.client, 5004), (t.client, 5005))
    proposals = [h.fast_start(1, h.audio_g711, None, own[1]),
                 h.fast_start(2, h.audio_g7231, None, own[1], full=True),
                 h.fast_start(3, h.null_data, reverse=own),
                 h.fast_start(4, h.null_data, reverse=((t.client, 5007), None))]
    t.c('Setup', h.q931(h.setup(fast=proposals)))
    t.media('server', 'client', 5004, 'call', CALL).media('server', 'client', 5006, 'call', CALL)
    answers = [h.fast_start(1, h.audio_g711, (t.server, 6000), (t.server, 6001)),
               h.fast_start(3, h.null_data, reverse=(own[0], (t.server, 6001)))]
    # The answer names the caller's own address, too: the same pin-hole, but it is the caller who
    # may announce that.
    t.s('Connect', h.q931(h.connect(fast=answers), answers=True))
    t.media('client', 'server', 6000, 'call', CALL)
    return t.count(setups=1, connects=1, fast_starts=6, third_party_address=2)


def tunnelled(v):
    t = Talk('q931', v, 'H.245 tunnelled in call signalling.')
    t.c('Setup; capabilities', h.q931(h.setup(), [h.terminal_capability_set(),
                                                 h.master_slave_determination()]))
    t.s('Facility that is none; capabilities, a channel',
        h.q931(h.empty(), [h.terminal_capability_set(), h.open_logical_channel(
            1, control=(t.server, 6001))], answers=True))
    t.media('client', 'server', 6000, 'call', CALL)
    t.c('Facility; acknowledges it and proposes one', h.q931(h.facility(), [
        h.open_logical_channel_ack(1, (t.client, 5004), (t.client, 5005)),
        h.open_logical_channel(1, h.video_h263, control=(t.client, 5007))], full=True))
    t.media('server', 'client', 5004, 'call', CALL).media('server', 'client', 5006, 'call', CALL)
    t.s('Connect; acknowledges it; T.120',
        h.q931(h.connect(), [h.open_logical_channel_ack(1, (t.server, 6002), (t.server, 6003)),
                             h.open_logical_channel(2, h.data_t120, stack=(t.server, 1503),
                                                    none=True)], answers=True))
    t.media('client', 'server', 6002, 'call', CALL)
    t.expects('client', 'server', 1503, 'call', 'permanent', 'skip_master', f'tag={CALL}')
    t.c('the end', h.q931(h.release_complete(), [h.end_session()]))
    t.line(f'remove call {CALL}', f'remove call {CALL}')
    return t.count(setups=1, facilities=1, connects=1, releases=1, tunnelled=9)


def facility(v):
    t = Talk('q931', v, 'Facility: H.245 wanted now; the call is forwarded.')
    t.c('Setup', h.q931(h.setup()))
    t.s('Facility, startH245', h.q931(h.facility('startH245', None, (t.server, 1232), full=True),
                                     answers=True)).h245('client', 'server', 1232)
    t.s('Facility, routeCallToGatekeeper: that is for the caller to do',
        h.q931(h.facility('routeCallToGatekeeper', (t.third, 1720)), answers=True))
    t.s('Facility, callForwarded to a third host',
        h.q931(h.facility('callForwarded', (t.third, 1720), full=True), answers=True))
    t.expects('client', t.third, 1720, 'forwarded', 'child=q931', 'skip_master')
    t.s('ReleaseComplete', h.q931(h.release_complete(), answers=True))
    t.line(f'remove call {CALL}')
    return t.count(setups=1, facilities=3, releases=1)


def forward_filter(v):
    inside = '192.0.2.0/24,2001:db8::/48'
    t = Talk(f'q931 callforward_filter={inside}', v,
             'A call forwarded to the side where the caller is does not come by here.')
    near = '192.0.2.77' if v == 4 else '2001:db8::77'
    t.c('Setup', h.q931(h.setup()))
    t.s('callForwarded to the near side',
        h.q931(h.facility('callForwarded', (near, 1720)), answers=True))
    t.s('and to the far one', h.q931(h.facility('callForwarded', (t.third, 1730)), answers=True))
    t.expects('client', t.third, 1730, 'forwarded', 'child=q931', 'skip_master')
    return t.count(setups=1, facilities=2, not_forwarded=1)


def q931_refused(v):
    t = Talk('q931 deny_ports=3306,6000-6063', v, 'What the guards forbid, and counts for each.')
    t.c('Setup: H.245 of a third host', h.q931(h.setup((t.third, 5000))))
    t.s('privileged port', h.q931(h.call_proceeding((t.server, 1023)), answers=True))
    t.s('port 0', h.q931(h.alerting((t.server, 0)), answers=True))
    t.s('denied port', h.q931(h.connect((t.server, 6063)), answers=True))
    t.s('other family', h.q931(h.connect((t.other_family, 5000)), answers=True))
    t.s("the listener's address", h.q931(h.connect((t.client, 5000)), answers=True))
    t.s('fast start: third host, both ports', h.q931(h.connect(fast=[
        h.fast_start(1, media=(t.third, 7000))]), answers=True))
    t.s('forwarded to a privileged port',
        h.q931(h.facility('callForwarded', (t.third, 22)), answers=True))
    t.s('not an IP address', h.q931(h.connect(h.nsap_address()), answers=True))
    return t.count(third_party_address=4, privileged_port=3, denied_port=1, wrong_family=1,
                   fast_starts=1)


def q931_loose(v):
    t = Talk('q931 loose=true', v, 'Third hosts allowed; ports still are not.')
    t.c('Setup: H.245 of a third host', h.q931(h.setup((t.third, 5000))))
    t.h245('server', t.third, 5000)
    t.s('third host, privileged', h.q931(h.connect((t.third, 80)), answers=True))
    return t.count(privileged_port=1)


def unasked(v):
    t = Talk('q931', v, 'An acknowledgement to nothing opens nothing; nor does a second one.')
    t.c('Setup', h.q931(h.setup()))
    ack = h.open_logical_channel_ack(5, (t.server, 6000))
    t.s('unasked', h.q931(h.empty(), [ack], answers=True))
    t.c('asks', h.q931(h.empty(), [h.open_logical_channel(5)]))
    t.s('answers', h.q931(h.empty(), [ack], answers=True))
    t.media('client', 'server', 6000, 'call', CALL)
    t.s('once more', h.q931(h.empty(), [ack], answers=True))
    t.c('asks for another', h.q931(h.empty(), [h.open_logical_channel(6)]))
    t.c('and closes it', h.q931(h.empty(), [h.close_logical_channel(6)]))
    t.s('answers too late', h.q931(h.empty(), [h.open_logical_channel_ack(6, (t.server, 6002))],
                                   answers=True))
    return t.count(unasked_acks=3, tunnelled=7)


def q931_unreadable(v):
    t = Talk('q931', v, 'Broken messages: nothing of them is believed, those after them are.')
    t.c('Setup', h.q931(h.setup()))
    whole = h.q931(h.connect((t.server, 6000)), answers=True)
    data = whole[4:]
    t.s('the last octet of the user-user element is missing',
        h.tpkt(data[:5] + _shorter(data[5:])))
    t.s('an element longer than the message', h.tpkt(data[:-1]))
    t.s('not Q.931', h.tpkt(b'\x09' + data[1:]))
    t.s('a coding of its own', h.tpkt(data[:8] + b'\x04' + data[9:]))
    t.s('tunnelled message cut short; the channel after it counts', h.q931(h.empty(), [
        h.open_logical_channel(1, media=(t.server, 6000))[:-2],
        h.open_logical_channel(2, media=(t.server, 6002))], answers=True))
    t.media('client', 'server', 6002, 'call', CALL)
    t.s('fast start cut short', h.q931(h.connect(fast=[
        h.fast_start(1, media=(t.server, 6004))[:-1]]), answers=True))
    t.s('no user-user element', h.tpkt(data[:5] + bytes([0x28, 1, 0x41])))
    t.s('whole again', whole).h245('client', 'server', 6000)
    return t.count(parse_errors=6)


def _shorter(element):
    """A user-user element that says it is one octet shorter, and is."""
    length = int.from_bytes(element[1:3], 'big') - 1
    return element[:1] + length.to_bytes(2, 'big') + element[3:-1]


def q931_first(v):
    t = Talk('q931', v, 'The first message of the client must be a Setup.')
    t.c('Alerting', h.q931(h.alerting((t.client, 5000))))
    t.c('Setup, too late', h.q931(h.setup((t.client, 5000))))
    return t.count(blind_not_protocol=1)


def q931_other_protocol(v):
    t = Talk('q931', v, 'A Setup whose protocol identifier is not that of H.225.0.')
    t.c('Setup', h.q931(h.setup((t.client, 5000), protocol=bytes([0, 8, 0x91, 0x4b, 0, 7]))))
    return t.count(blind_not_protocol=1)


def q931_server_first(v):
    t = Talk('q931', v, 'Before the Setup the other side can open nothing.')
    t.s('Connect', h.q931(h.connect((t.server, 6000)), answers=True))
    t.c('Setup', h.q931(h.setup()))
    t.s('Connect', h.q931(h.connect((t.server, 6000)), answers=True))
    t.h245('client', 'server', 6000)
    t.line('in order')
    return t.count(not_proven=1)


def slipstream(v):
    t = Talk('q931', v, 'A browser is made to send a Setup as the body of a form, and cut so that it '
             'begins a segment.')
    body = h.q931(h.setup((t.client, 5000)))
    head = f'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
    t.c('the request', head)
    t.c('its body', body)
    return t.count(blind_not_protocol=1)


def slipstream_turn(v):
    t = Talk('q931', v, 'The same with the user name of a TURN client over TCP (WebRTC): the first '
             'octets are not the attacker’s to choose.')
    body = h.q931(h.setup((t.client, 5000)))
    t.c('Allocate request', bytes.fromhex('000300002112a442') + bytes(12))
    t.c('with credentials that look like a Setup', body)
    return t.count(blind_not_protocol=1)


def too_long(v):
    t = Talk('q931', v, 'A message longer than may be: that direction is given up.')
    t.c('Setup', h.q931(h.setup()))
    t.s('a TPKT of 20480', bytes([3, 0, 0x50, 0, 8, 2]))
    t.c('Connect is still read', h.q931(h.connect((t.client, 5000)), answers=True))
    t.h245('server', 'client', 5000, 2 << 16 | 17)
    return t.count(blind_overflow=1)


# --- H.245 ---------------------------------------------------------------------------------------

def begin(t):
    t.s('TerminalCapabilitySet', h.tpkt(h.terminal_capability_set()))
    t.c('TerminalCapabilitySet', h.tpkt(h.terminal_capability_set()))
    t.c('MasterSlaveDetermination', h.tpkt(h.master_slave_determination()))
    return t


def tag(side, number):
    return ('client', 'server').index(side) + 1 << 16 | number


def channels(v):
    t = begin(Talk('h245', v, 'Channels of both sides, acknowledged, closed, and the end.'))
    t.c('OpenLogicalChannel with its RTCP', h.tpkt(h.open_logical_channel(
        1, control=(t.client, 5005), full=True)))
    t.media('server', 'client', 5004, 'media', tag('client', 1))
    t.s('OpenLogicalChannelAck', h.tpkt(h.open_logical_channel_ack(
        1, (t.server, 6000), (t.server, 6001), full=True)))
    t.media('client', 'server', 6000, 'media', tag('client', 1))
    t.s('OpenLogicalChannel', h.tpkt(h.open_logical_channel(
        101, h.video_h261, control=(t.server, 6003))))
    t.media('client', 'server', 6002, 'media', tag('server', 101))
    t.c('OpenLogicalChannelAck', h.tpkt(h.open_logical_channel_ack(101, (t.client, 5006))))
    t.media('server', 'client', 5006, 'media', tag('server', 101))
    t.c('CloseLogicalChannel', h.tpkt(h.close_logical_channel(1)))
    t.line(f'remove media {tag("client", 1)}')
    t.c('OpenLogicalChannel', h.tpkt(h.open_logical_channel(2, control=(t.client, 5009))))
    t.media('server', 'client', 5008, 'media', tag('client', 2))
    t.s('OpenLogicalChannelReject', h.tpkt(h.open_logical_channel_reject(2)))
    t.line(f'remove media {tag("client", 2)}')
    t.s('EndSessionCommand', h.tpkt(h.end_session())).line('remove media 0')
    return t.count(open_channels=3, open_channel_acks=2, open_channel_rejects=1, close_channels=1,
                   end_sessions=1)


def capabilities(v):
    """Every kind of data, so that what stands behind it is found."""
    t = begin(Talk('h245', v, 'What a channel carries is passed over, whatever it is.'))
    kinds = (h.audio_g7231, h.audio_generic, h.video_h261, h.video_h262, h.video_h263, h.data_h224,
             h.null_data, h.non_standard_data)
    for n, data in enumerate(kinds, 1):
        t.s(data.__name__, h.tpkt(h.open_logical_channel(n, data, control=(t.server, 6001 + 2 * n))))
        t.media('client', 'server', 6000 + 2 * n, 'media', tag('server', n))
    return t.count(open_channels=len(kinds))


def bidirectional(v):
    t = begin(Talk('h245', v, 'A bidirectional channel names addresses for its reverse direction; '
                   'T.120 on a separate stack.'))
    t.c('OpenLogicalChannel', h.tpkt(h.open_logical_channel(
        1, control=(t.client, 5001), reverse=((t.client, 5002), (t.client, 5003)))))
    t.media('server', 'client', 5000, 'media', tag('client', 1))
    t.media('server', 'client', 5002, 'media', tag('client', 1))
    t.s('OpenLogicalChannelAck', h.tpkt(h.open_logical_channel_ack(
        1, reverse=((t.server, 6000), (t.server, 6001)))))
    t.media('client', 'server', 6000, 'media', tag('client', 1))
    t.c('T.120, the address in the answer', h.tpkt(h.open_logical_channel(
        2, h.data_t120, none=True, reverse=(None, None), reverse_data=h.data_t120)))
    t.s('there it is', h.tpkt(h.open_logical_channel_ack(2, stack=(t.server, 1503), full=True)))
    t.expects('client', 'server', 1503, 'media', 'permanent', 'skip_master',
              f'tag={tag("client", 2)}')
    t.s('T.120, the address in the request', h.tpkt(h.open_logical_channel(
        3, h.data_t120, stack=(t.server, 1504), none=True)))
    t.expects('client', 'server', 1504, 'media', 'permanent', 'skip_master',
              f'tag={tag("server", 3)}')
    t.s('a separate stack that is not T.120 on a LAN', h.tpkt(h.open_logical_channel(
        4, h.data_h224, stack=(t.server, 1505), none=True)))
    return t.count(open_channels=4, open_channel_acks=2)


def h245_refused(v):
    t = begin(Talk('h245 deny_ports=5060-5061', v, 'What the guards forbid, and what is unasked.'))
    t.c('third host', h.tpkt(h.open_logical_channel(1, control=(t.third, 5001))))
    t.c('privileged', h.tpkt(h.open_logical_channel(2, control=(t.client, 1023))))
    t.c('denied', h.tpkt(h.open_logical_channel(3, control=(t.client, 5061))))
    t.c('other family', h.tpkt(h.open_logical_channel(4, control=(t.other_family, 5001))))
    t.c('a multicast group', h.tpkt(h.open_logical_channel(
        5, media=h.multicast_transport(('239.1.2.3' if v == 4 else 'ff0e::1', 5002)))))
    t.c('acknowledges nothing', h.tpkt(h.open_logical_channel_ack(1, (t.client, 5002))))
    t.s('acknowledges what it may not announce', h.tpkt(h.open_logical_channel_ack(
        1, (t.client, 5002))))
    return t.count(third_party_address=4, privileged_port=2, denied_port=2, wrong_family=2,
                   unasked_acks=1)


def h245_not_proven(v):
    t = Talk('h245', v, 'Nothing opens before both sides have sent their capabilities.')
    t.c('TerminalCapabilitySet', h.tpkt(h.terminal_capability_set()))
    t.c('OpenLogicalChannel', h.tpkt(h.open_logical_channel(1, control=(t.client, 5001))))
    t.s('capabilities of another protocol', h.tpkt(h.terminal_capability_set(
        protocol=bytes([0, 8, 0x81, 0x76, 0, 13]))))
    t.c('OpenLogicalChannel', h.tpkt(h.open_logical_channel(2, control=(t.client, 5003))))
    t.s('TerminalCapabilitySet', h.tpkt(h.terminal_capability_set()))
    t.c('OpenLogicalChannel', h.tpkt(h.open_logical_channel(3, control=(t.client, 5005))))
    t.media('server', 'client', 5004, 'media', tag('client', 3))
    t.line('in order')
    return t.count(not_proven=4, parse_errors=1)


def h245_not_tpkt(v):
    t = begin(Talk('h245', v, 'What is no TPKT ends the reading for good.'))
    t.c('HTTP', b'GET / HTTP/1.0\r\n\r\n')
    t.c('OpenLogicalChannel', h.tpkt(h.open_logical_channel(1, control=(t.client, 5001))))
    return t.count(blind_not_protocol=1)


def h245_unreadable(v):
    t = begin(Talk('h245', v, 'A channel cut short opens nothing; the next one does.'))
    whole = h.open_logical_channel(1, control=(t.client, 5001), reverse=((t.client, 5002), None))
    t.c('cut short', h.tpkt(whole[:-1]))
    t.c('whole', h.tpkt(whole))
    t.media('server', 'client', 5000, 'media', tag('client', 1))
    t.media('server', 'client', 5002, 'media', tag('client', 1))
    return t.count(parse_errors=1)


# --- RAS -----------------------------------------------------------------------------------------

def registration(v):
    t = Talk('ras', v, 'An endpoint finds its gatekeeper, registers, is kept, and leaves.')
    t.c('GRQ', h.gatekeeper_request((t.client, 40000), full=True))
    t.s('GCF: here', h.gatekeeper_confirm((t.server, 1719), full=True))
    t.c('RRQ', h.registration_request([(t.third, 1720), (t.client, 1720)], [(t.client, 40000)], 120,
                                      full=True))
    t.signalling('server', 'client', 1720, 'registered', 'tag=1')
    t.s('RCF with its own time', h.registration_confirm([(t.server, 1720)], 60, full=True))
    t.line('activate registered 1 60', 'min_timeout 60')
    t.c('RRQ to stay', h.registration_request([], [], 90))
    t.s('RCF without one', h.registration_confirm())
    t.line('activate registered 1 90', 'min_timeout 90')
    t.c('URQ', h.unregistration_request([(t.client, 1720)]))
    t.line('remove registered 0', 'remove routed 0', 'min_timeout 0')
    t.s('UCF', h.unregistration_confirm())
    t.s('RCF to nothing', h.registration_confirm(ttl=60))
    return t.count(gatekeeper_requests=1, gatekeeper_confirms=1, registration_requests=2,
                   registration_confirms=3, unregistrations=2, unasked_confirms=1)


def discovery(v):
    t = Talk('ras', v, 'The gatekeeper names another address for RAS.')
    t.s('GCF to nothing', h.gatekeeper_confirm((t.server, 1800)))
    t.c('GRQ', h.gatekeeper_request((t.client, 40000)))
    t.s('GCF: another port', h.gatekeeper_confirm((t.server, 1800)))
    t.expects('client', 'server', 1800, 'routed', 'child=ras', 'skip_master')
    t.s('GCF: another host', h.gatekeeper_confirm((t.third, 1719)))
    t.expects('client', t.third, 1719, 'routed', 'child=ras', 'skip_master')
    t.s('GCF: a privileged port', h.gatekeeper_confirm((t.third, 53)))
    return t.count(unasked_confirms=1, gatekeeper_confirms=4, privileged_port=1)


def registration_params(v):
    t = Talk('ras gkrouted_only=false default_rrq_ttl=0', v,
             'Calls from anywhere; a registration that does not say how long it holds.')
    t.c('RRQ', h.registration_request([(t.client, 1720)], [(t.client, 40000)]))
    t.signalling('any', 'client', 1720, 'registered', 'tag=1')
    t.s('RCF', h.registration_confirm())
    return t.count(registration_requests=1, registration_confirms=1)


def registration_default(v):
    t = Talk('ras', v, 'A registration holds for 300 s unless someone says otherwise; one that is '
             'rejected holds no longer. Either side may register.')
    t.c('RRQ', h.registration_request([(t.client, 1720)], [(t.client, 40000)]))
    t.signalling('server', 'client', 1720, 'registered', 'tag=1')
    t.s('RCF', h.registration_confirm())
    t.line('activate registered 1 300', 'min_timeout 300')
    t.s('RRQ of the other side, for longer than a day', h.registration_request(
        [(t.server, 1721)], [(t.server, 1719)], 4294967295))
    t.signalling('client', 'server', 1721, 'registered', 'tag=2')
    t.c('RCF', h.registration_confirm())
    t.line('activate registered 2 65535', 'min_timeout 65535')
    t.s('RRJ', h.registration_reject())
    t.line('remove registered 1')
    t.s('RCF to nothing', h.registration_confirm())
    return t.count(unasked_confirms=1)


def admission(v):
    t = Talk('ras', v, 'Admission and location: where the one who asked may call.')
    t.c('ARQ', h.admission_request(full=True))
    t.s('ACF: the other endpoint', h.admission_confirm((t.third, 1720), full=True))
    t.signalling('client', t.third, 1720, 'routed')
    t.c('ARQ', h.admission_request((t.third, 1720), (t.client, 1720)))
    t.s('ACF: through the gatekeeper', h.admission_confirm((t.server, 1721)))
    t.signalling('client', 'server', 1721, 'routed')
    t.c('ARQ to answer', h.admission_request((t.client, 1720)))
    t.s('ACF', h.admission_confirm((t.client, 1720)))
    t.c('LRQ', h.location_request((t.client, 40000), full=True))
    t.s('LCF', h.location_confirm((t.third, 1722), (t.server, 1719), full=True))
    t.signalling('client', t.third, 1722, 'routed')
    t.c('IRR', h.info_request_response((t.client, 40000), [(t.client, 1720)]))
    return t.count(admission_requests=3, admission_confirms=3, location_requests=1,
                   location_confirms=1, info_responses=1)


def ras_refused(v):
    t = Talk('ras deny_ports=3306', v, 'What the guards forbid, and what cannot be read.')
    t.c('RRQ with a third host only', h.registration_request([(t.third, 1720)]))
    t.c('RRQ, privileged port', h.registration_request([(t.client, 139)]))
    t.c('RRQ without IP', h.registration_request([h.nsap_address(), h.source_route(
        ('192.0.2.1', 1720))]))
    t.s('ACF, denied port', h.admission_confirm((t.third, 3306)))
    t.s('ACF, other family', h.admission_confirm((t.other_family, 1720)))
    t.s('LCF, privileged port', h.location_confirm((t.third, 0), (t.server, 1719)))
    t.c('RRQ cut short', h.registration_request([(t.client, 1720)])[:-2])
    t.c('not RAS', b'\xff\xff\xff\xff')
    t.s('a message of a later version', bytes([0x83, 4, 1, 2, 3, 4]))
    return t.count(third_party_address=1, privileged_port=2, denied_port=1, wrong_family=1,
                   parse_errors=2)


CONVERSATIONS = {
    'q931': (call_to_answer, call_of_caller, fast_start, tunnelled, facility, forward_filter,
             q931_refused, q931_loose, unasked, q931_unreadable, q931_first, q931_other_protocol,
             q931_server_first, slipstream, slipstream_turn, too_long),
    'h245': (channels, capabilities, bidirectional, h245_refused, h245_not_proven, h245_not_tpkt,
             h245_unreadable),
    'ras': (registration, discovery, registration_params, registration_default, admission,
            ras_refused),
}


def files():
    """{path: bytes} of all that is made here."""
    made = {}
    for helper, conversations in CONVERSATIONS.items():
        for conversation in conversations:
            for version in (4, 6):
                talk = conversation(version)
                name = f'{conversation.__name__.removeprefix(helper + "_")}{version}'
                made[os.path.join(FOLDER, 'dialogues', f'{helper}_{name}.txt')] = (
                    '\n'.join(talk.lines) + '\n').encode()
                made[os.path.join(FOLDER, 'fuzz_seeds', helper, name)] = talk.seed
    return made


def main():
    if sys.argv[1:] == ['--check']:
        for path, data in files().items():
            try:
                with open(path, 'rb') as file:
                    same = file.read() == data
            except FileNotFoundError:
                same = False
            if not same:
                print(f'not ok oracle/h323/dialogues\n#   {path} is not as it would be written')
                return 1
        print('ok oracle/h323/dialogues')
        return 0
    for path, data in files().items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as file:
            file.write(data)
    return 0


if __name__ == '__main__':
    sys.exit(main())
