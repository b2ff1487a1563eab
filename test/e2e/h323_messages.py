# SPDX-License-Identifier: BSD-3-Clause
"""Writes messages of H.323: RAS and call signalling (ITU-T H.225.0), media control (H.245), in the
packed encoding (ITU-T X.691, aligned). It knows how to say what the tests want to hear, and nothing
of the reader in helpers/h323.

An address is (text, port); a `None` leaves an optional part out.
"""

import ipaddress
import struct

H225_ID = bytes([0x00, 0x08, 0x91, 0x4a, 0x00, 0x07])
H245_ID = bytes([0x00, 0x08, 0x81, 0x75, 0x00, 0x0d])
GUID = bytes(range(16))


class Bits:
    def __init__(self):
        self.data, self.free = bytearray(), 0

    def bits(self, value, count):
        for i in reversed(range(count)):
            if self.free == 0:
                self.data.append(0)
                self.free = 8
            self.free -= 1
            self.data[-1] |= (value >> i & 1) << self.free
        return self

    def flags(self, *values):
        for value in values:
            self.bits(1 if value else 0, 1)
        return self

    def align(self):
        self.free = 0
        return self

    def octets(self, data):
        self.align()
        self.data += data
        return self

    def number(self, value, low, high):
        """A whole number with bounds."""
        value, span = value - low, high - low + 1
        if span <= 255:
            return self.bits(value, (span - 1).bit_length())
        if span <= 65536:
            return self.align().bits(value, 8 if span == 256 else 16)
        most = ((span - 1).bit_length() + 7) // 8
        data = value.to_bytes(max(1, (value.bit_length() + 7) // 8), 'big')
        return self.bits(len(data) - 1, (most - 1).bit_length()).octets(data)

    def length(self, value):
        if value < 128:
            return self.octets(bytes([value]))
        assert value < 16384
        return self.octets(struct.pack('!H', 0x8000 | value))

    def open(self, data):
        """An open type, or an octet string without bounds."""
        return self.length(len(data)).octets(data)

    def pick(self, index, count, extensible=True):
        """An alternative of a choice that is no extension."""
        if extensible:
            self.bits(0, 1)
        return self.bits(index, (count - 1).bit_length())

    def pick_extension(self, index, data):
        return self.bits(1, 1).bits(index, 7).open(data)

    def extensions(self, present):
        """{place: bytes} of a sequence's extensions, as far as the last one."""
        count = max(present) + 1
        self.bits(count - 1, 7)
        for i in range(count):
            self.bits(1 if i in present else 0, 1)
        for i in sorted(present):
            self.open(present[i])
        return self

    def bytes(self):
        return bytes(self.data) or b'\0'


def list_of(items):
    out = Bits().length(len(items))
    for write in items:
        write(out)
    return out.bytes()


def octet_strings(items):
    return list_of([lambda out, item=item: out.open(item) for item in items])


def write_list(out, items):
    out.length(len(items))
    for write in items:
        write(out)


# --- H.225.0: common elements --------------------------------------------------------------------

def transport(address):
    """TransportAddress of H.225.0; an address is written where `out` stands."""
    def write(out):
        host, port = ipaddress.ip_address(address[0]), address[1]
        if host.version == 4:
            out.pick(0, 7)
        else:
            out.pick(3, 7).bits(0, 1)
        out.octets(host.packed).number(port, 0, 65535)
    return write


def transport_bytes(address):
    out = Bits()
    transport(address)(out)
    return out.bytes()


def nsap_address():
    """A TransportAddress that is not IP."""
    return lambda out: out.pick(5, 7).number(3, 1, 20).octets(b'\x47\x00\x05')


def source_route(address):
    """A TransportAddress with a source route."""
    def write(out):
        out.pick(1, 7).bits(0, 1).octets(ipaddress.ip_address(address[0]).packed)
        out.number(address[1], 0, 65535).length(1).octets(bytes([192, 0, 2, 99])).pick(0, 2)
    return write


def digits(text):
    def write(out):
        out.pick(0, 2).number(len(text), 1, 128).align()
        for c in text:
            out.bits('#*,0123456789'.index(c), 4)
    return write


def h323_id(text):
    def write(out):
        out.pick(1, 2).number(len(text), 1, 256).octets(text.encode('utf-16-be'))
    return write


def identifier(out, text):
    out.number(len(text), 1, 128).octets(text.encode('utf-16-be'))


def h221(out):
    out.bits(0, 1).number(181, 0, 255).number(0, 0, 255).number(18, 0, 65535)


def non_standard(out, data=b'any octets'):
    out.pick(1, 2)
    h221(out)
    out.open(data)


def vendor(out):
    out.bits(0, 1).flags(1, 1)
    h221(out)
    for text in (b'Postern test', b'1'):
        out.number(len(text), 1, 256).octets(text)


def endpoint_type(out, gateway=False, extended=False):
    out.flags(extended, False, True, False, gateway, False, not gateway)
    vendor(out)
    if gateway:  # GatewayInfo {protocol {h320 {nonStandardData, supportedPrefixes}}}
        out.flags(0, 1, 0).length(1).pick(2, 9).flags(1, 1)
        non_standard(out)
        out.extensions({1: list_of([])})
    else:
        out.flags(0, 0)
    out.flags(0, 0)
    if extended:
        out.extensions({0: bytes([0, 0, 0, 1]), 1: list_of([]), 3: b'from the future'})


# --- H.225.0: RAS --------------------------------------------------------------------------------

def _ras(index):
    return Bits().pick(index, 25)


def gatekeeper_request(ras, seq=1, full=False):
    out = _ras(0).flags(full, full, full, full, full).number(seq, 1, 65535).open(H225_ID)
    if full:
        non_standard(out)
    transport(ras)(out)
    endpoint_type(out, full, full)
    if full:
        identifier(out, 'gatekeeper')
        out.bits(0, 1).flags(*[1] * 7).bits(0, 1).flags(1, 1)  # callServices
        write_list(out, [digits('5551234'), h323_id('alice')])
        out.extensions({0: list_of([]), 7: b'', 14: b'from the future'})
    return out.bytes()


def gatekeeper_confirm(ras, seq=1, full=False):
    out = _ras(1).flags(full, full, True).number(seq, 1, 65535).open(H225_ID)
    if full:
        non_standard(out)
    identifier(out, 'gatekeeper')
    transport(ras)(out)
    if full:
        out.extensions({0: list_of([]), 4: Bits().open(H225_ID).bytes()})
    return out.bytes()


def gatekeeper_reject(seq=1):
    return _ras(2).flags(0, 0, 0).number(seq, 1, 65535).open(H225_ID).pick(0, 4).bytes()


def registration_request(signals, ras=(), ttl=None, seq=2, full=False):
    """`signals`, `ras`: addresses, or functions that write one."""
    extensions = {}
    if full:
        extensions[0] = list_of([])
    if ttl is not None:
        extensions[1] = Bits().number(ttl, 1, 4294967295).bytes()
    if full:
        extensions |= {5: b'\0', 31: b'from the future'}
    out = _ras(3).flags(extensions, full, full, full).number(seq, 1, 65535).open(H225_ID)
    if full:
        non_standard(out)
    out.bits(1, 1)
    for addresses in (signals, ras):
        write_list(out, [a if callable(a) else transport(a) for a in addresses])
    endpoint_type(out, full, full)
    if full:
        write_list(out, [digits('5551234'), h323_id('alice')])
        identifier(out, 'gatekeeper')
    vendor(out)
    if extensions:
        out.extensions(extensions)
    return out.bytes()


def registration_confirm(signals=(), ttl=None, seq=2, full=False):
    extensions = {} if ttl is None else {1: Bits().number(ttl, 1, 4294967295).bytes()}
    if full:
        extensions |= {0: list_of([]), 5: b'\0', 31: b'from the future'}
    out = _ras(4).flags(extensions, full, full, full).number(seq, 1, 65535).open(H225_ID)
    if full:
        non_standard(out)
    write_list(out, [transport(a) for a in signals])
    if full:
        write_list(out, [h323_id('alice')])
        identifier(out, 'gatekeeper')
    identifier(out, 'endpoint 7')
    if extensions:
        out.extensions(extensions)
    return out.bytes()


def registration_reject(seq=2):
    return _ras(5).flags(0, 0, 0).number(seq, 1, 65535).open(H225_ID).pick(2, 8).bytes()


def unregistration_request(signals, seq=3):
    out = _ras(6).flags(0, 0, 0, 1).number(seq, 1, 65535)
    write_list(out, [transport(a) for a in signals])
    identifier(out, 'endpoint 7')
    return out.bytes()


def unregistration_confirm(seq=3):
    return _ras(7).flags(0, 0).number(seq, 1, 65535).bytes()


def admission_request(destination=None, source=None, seq=4, full=False):
    out = _ras(9).flags(full, full, full, destination, full, source, full, full)
    out.number(seq, 1, 65535).pick(0, 4)
    if full:
        out.pick(1, 2)
    identifier(out, 'endpoint 7')
    if full:
        write_list(out, [digits('5559876')])
    if destination:
        transport(destination)(out)
    if full:
        write_list(out, [h323_id('bob')])
    write_list(out, [h323_id('alice')])
    if source:
        transport(source)(out)
    out.number(1280, 0, 4294967295).number(17, 0, 65535)
    if full:
        non_standard(out)
        out.bits(0, 1).flags(*[0] * 7).bits(0, 1).flags(0, 1)
    out.octets(GUID).flags(0, 0)
    if full:
        out.extensions({0: b'\0', 1: Bits().bits(0, 1).octets(GUID).bytes(), 28: b'from the future'})
    return out.bytes()


def admission_confirm(destination, seq=4, full=False):
    out = _ras(10).flags(full, full, full).number(seq, 1, 65535).number(1280, 0, 4294967295)
    out.pick(0, 2)
    transport(destination)(out)
    if full:
        out.number(120, 1, 65535)
        non_standard(out)
        out.extensions({0: list_of([h323_id('bob')]), 9: b'\0', 31: b'from the future'})
    return out.bytes()


def location_request(reply, seq=5, full=False):
    out = _ras(18).flags(full, full, full).number(seq, 1, 65535)
    if full:
        identifier(out, 'endpoint 7')
    write_list(out, [digits('5559876'), h323_id('bob')])
    if full:
        non_standard(out)
    transport(reply)(out)
    if full:
        out.extensions({1: b'\0', 20: b'from the future'})
    return out.bytes()


def location_confirm(signal, ras, seq=5, full=False):
    out = _ras(19).flags(full, full).number(seq, 1, 65535)
    transport(signal)(out)
    transport(ras)(out)
    if full:
        non_standard(out)
        out.extensions({0: list_of([h323_id('bob')])})
    return out.bytes()


def info_request_response(ras, signals, seq=6):
    out = _ras(22).flags(0, 0, 0, 0).number(seq, 1, 65535)
    endpoint_type(out)
    identifier(out, 'endpoint 7')
    transport(ras)(out)
    write_list(out, [transport(a) for a in signals])
    return out.bytes()


# --- H.245 ---------------------------------------------------------------------------------------

def media_transport(address):
    """TransportAddress of H.245."""
    def write(out):
        host, port = ipaddress.ip_address(address[0]), address[1]
        out.pick(0, 2).pick(0 if host.version == 4 else 2, 5).bits(0, 1)
        out.octets(host.packed).number(port, 0, 65535)
    return write


def multicast_transport(address):
    def write(out):
        host, port = ipaddress.ip_address(address[0]), address[1]
        out.pick(1, 2).pick(0 if host.version == 4 else 1, 2).bits(0, 1)
        out.octets(host.packed).number(port, 0, 65535)
    return write


def _write_media(out, address):
    (address if callable(address) else media_transport(address))(out)


def _plain_non_standard(out):
    out.pick(1, 2, False).number(181, 0, 255).number(0, 0, 255).number(18, 0, 65535)
    out.open(b'any octets')


def audio_g711(out):
    out.pick(3, 6).pick(1, 14).number(20, 1, 256)


def audio_g7231(out):
    out.pick(3, 6).pick(8, 14).number(4, 1, 256).bits(1, 1)


def audio_generic(out):
    """genericAudioCapability, an extension that is not read."""
    out.pick(3, 6).pick_extension(6, Bits().bits(0, 1).bits(0, 5).pick(0, 4).open(H245_ID).bytes())


def video_h261(out):
    out.pick(2, 6).pick(1, 5).flags(0, 1, 1).number(2, 1, 4).number(2, 1, 4).flags(0)
    out.number(3840, 1, 19200).flags(0)


def video_h263(out, extended=True):
    """With an extension (errorCompensation)."""
    out.pick(2, 6).pick(3, 5).flags(extended, 0, 1, 1, 0, 0, 1, 1).number(2, 1, 32).number(1, 1, 32)
    out.number(192400, 1, 192400).flags(1, 0, 0, 0, 1).number(524287, 0, 524287)
    out.number(64, 0, 65535)
    if extended:
        out.extensions({5: b'\0'})


def video_h262(out):
    out.pick(2, 6).pick(2, 5).bits(0, 1).flags(1, 0, 0, 0, 0, 1).flags(*[0] * 10, 1)
    out.number(9000, 0, 1073741823).number(25000000, 0, 4294967295)


def data_t120(out, separate_lan_stack=True):
    out.pick(4, 6).bits(0, 1).pick(1, 10)
    if separate_lan_stack:
        out.pick_extension(3, b'\0')
    else:
        out.pick(6, 7)
    out.number(6200, 0, 4294967295)


def data_h224(out):
    out.pick(4, 6).bits(0, 1).pick(6, 10).pick(3, 7).number(48, 0, 4294967295)


def null_data(out):
    out.pick(1, 6)


def non_standard_data(out):
    out.pick(0, 6)
    _plain_non_standard(out)


def h2250_parameters(media=None, control=None, full=False):
    out = Bits().flags(full, full, 0, media, full, control, full, full, full, full, full)
    if full:
        out.length(1)
        _plain_non_standard(out)
    out.number(1, 0, 255)
    if media:
        _write_media(out, media)
    if full:
        out.bits(0, 1)
    if control:
        _write_media(out, control)
    if full:
        out.flags(0, 1).bits(0, 1).number(3, 0, 192).number(4, 0, 192).number(101, 96, 127)
        packing = Bits().flags(0, 1).pick(1, 3).bits(0, 1).number(2429, 1, 32768).number(34, 0, 127)
        source = Bits().bits(0, 1).number(3, 0, 192).number(4, 0, 192)
        out.pick_extension(0, packing.bytes())
        out.extensions({2: source.bytes(), 5: b'from the future'})
    return out.bytes()


def _channel_number(out, number):
    return out.number(number, 1, 65535)


def channel(number=1, data=audio_g711, media=None, control=None, reverse=None,
            reverse_data=audio_g711, stack=None, full=False, none=False):
    """An OpenLogicalChannel. `reverse`: (media, control) of a reverse channel; `stack`: address of a
    separate one; `none`: no multiplex parameters, as goes with that."""
    def write(out):
        extended = stack is not None or full
        out.flags(extended, reverse is not None).number(number, 1, 65535)
        out.flags(full, full)  # forwardLogicalChannelParameters
        if full:
            out.number(4711, 0, 65535)
        data(out)
        if none:
            out.pick_extension(1, b'\0')
        else:
            out.pick_extension(0, h2250_parameters(media, control, full))
        if full:
            out.extensions({0: Bits().number(3, 1, 65535).bytes()})
        if reverse is not None:
            out.flags(0, 1)
            reverse_data(out)
            out.pick_extension(0, h2250_parameters(*reverse, full))
        if extended:
            parts = {} if stack is None else {0: network_access(stack, full)}
            if full:
                parts[2] = list_of([])
            out.extensions(parts)
    return write


def network_access(address, full=False):
    out = Bits().flags(full, full, full)
    if full:
        out.pick(0, 2)
    out.pick(2, 3)
    _write_media(out, address)
    out.bits(1, 1)
    if full:
        out.number(4, 1, 255).octets(b'T120').extensions({0: Bits().pick(0, 3).bytes()})
    return out.bytes()


def _message(kind, index, alternatives, write):
    out = Bits().pick(kind, 4).pick(index, alternatives)
    write(out)
    return out.bytes()


def fast_start(*args, **kwargs):
    """An element of fastStart; parameters of channel()."""
    out = Bits()
    channel(*args, **kwargs)(out)
    return out.bytes()


def open_logical_channel(*args, **kwargs):
    return _message(0, 3, 11, channel(*args, **kwargs))


def open_logical_channel_ack(number=1, media=None, control=None, reverse=None, stack=None,
                             full=False):
    def write(out):
        answers = media is not None or control is not None
        out.flags(answers or stack is not None, reverse is not None).number(number, 1, 65535)
        if reverse is not None:
            out.flags(full, full, 1).number(7, 1, 65535)
            if full:
                out.number(4711, 0, 65535)
            out.pick_extension(0, h2250_parameters(*reverse, full))
            if full:
                out.extensions({0: Bits().number(3, 1, 65535).bytes()})
        parts = {} if stack is None else {0: network_access(stack, full)}
        if answers:
            parameters = Bits().pick(0, 1).flags(full, 0, 1, media, control, full)
            parameters.number(1, 1, 255)
            for address in (media, control):
                if address:
                    _write_media(parameters, address)
            if full:
                parameters.number(101, 96, 127).extensions({0: b'\0', 3: b'future'})
            parts[1] = parameters.bytes()
        if parts:
            out.extensions(parts)
    return _message(1, 5, 19, write)


def open_logical_channel_reject(number=1):
    return _message(1, 6, 19, lambda out: out.bits(0, 1).number(number, 1, 65535).pick(2, 6))


def close_logical_channel(number=1):
    return _message(0, 4, 11, lambda out: out.bits(0, 1).number(number, 1, 65535).bits(0, 1))


def end_session():
    return _message(2, 5, 7, lambda out: out.pick(1, 3))  # disconnect


def round_trip_delay_request():
    return _message(0, 9, 11, lambda out: out.bits(0, 1).number(1, 0, 255))


def user_input():
    return _message(3, 13, 14, lambda out: out.pick(1, 2).open(b'5'))


def terminal_capability_set(seq=1, protocol=H245_ID):
    """An empty one, with which both sides begin."""
    return _message(0, 2, 11, lambda out: out.flags(0, 0, 0, 0).number(seq, 0, 255).open(protocol))


def master_slave_determination():
    return _message(0, 1, 11, lambda out: out.bits(0, 1).number(50, 0, 255)
                    .number(123456, 0, 16777215))


# --- H.225.0: call signalling --------------------------------------------------------------------
# Each is (name, Q.931 message type, function that writes the body).

def setup(h245=None, fast=None, destination=None, full=False, protocol=H225_ID):
    """`fast`: elements of fastStart."""
    extensions = {}
    if full:
        extensions |= {0: _bytes_of(transport(('192.0.2.77', 1720))), 2: _call_identifier(),
                       7: b'\0', 8: b'\0', 24: octet_strings([]), 26: Bits().number(3, 1, 31).bytes()}
    if fast is not None:
        extensions[6] = octet_strings(fast)

    def write(out):
        out.flags(extensions, h245, full, full, destination, full, full, full).open(protocol)
        _optional(out, h245)
        if full:
            write_list(out, [h323_id('alice'), digits('5551234')])
        endpoint_type(out, full, full)
        if full:
            write_list(out, [h323_id('bob')])
        _optional(out, destination)
        if full:
            write_list(out, [digits('1')])
            out.length(2).number(1, 0, 65535).number(2, 0, 65535)
        out.flags(0).octets(GUID).pick(0, 3)
        if full:
            out.bits(0, 1).flags(*[0] * 7).bits(0, 1).flags(0, 0)
        out.pick(0, 4)
        if extensions:
            out.extensions(extensions)
    return 'setup', 0x05, write


def _answer(h245, fast, full, is_connect=False):
    extensions = {}
    if full:
        extensions |= {0: _call_identifier(), 5: b'\0', 6: b'\0', 25: b'from the future'}
    if fast is not None:
        extensions[4] = octet_strings(fast)

    def write(out):
        out.flags(extensions, h245).open(H225_ID)
        if is_connect:
            _optional(out, h245)
            endpoint_type(out, full, full)
            out.octets(GUID)
        else:
            endpoint_type(out, full, full)
            _optional(out, h245)
        if extensions:
            out.extensions(extensions)
    return write


def call_proceeding(h245=None, fast=None, full=False):
    return 'callProceeding', 0x02, _answer(h245, fast, full)


def alerting(h245=None, fast=None, full=False):
    return 'alerting', 0x01, _answer(h245, fast, full)


def connect(h245=None, fast=None, full=False):
    return 'connect', 0x07, _answer(h245, fast, full, is_connect=True)


def release_complete():
    return 'releaseComplete', 0x5a, lambda out: out.flags(0, 1).open(H225_ID).pick(3, 12)


def information():
    return 'information', 0x7b, lambda out: out.flags(0).open(H225_ID)


REASONS = ('routeCallToGatekeeper', 'callForwarded', 'routeCallToMC', 'undefinedReason')


def facility(reason='undefinedReason', alternative=None, h245=None, fast=None, full=False):
    extensions = {}
    if full:
        extensions |= {0: _call_identifier(), 8: b'\0', 20: b'from the future'}
    if h245 is not None:
        extensions[6] = _bytes_of(transport(h245))
    if fast is not None:
        extensions[7] = octet_strings(fast)

    def write(out):
        out.flags(extensions, alternative, full, full).open(H225_ID)
        _optional(out, alternative)
        if full:
            write_list(out, [h323_id('bob')])
            out.octets(GUID)
        if reason in REASONS:
            out.pick(REASONS.index(reason), len(REASONS))
        else:
            out.pick_extension(('conferenceListChoice', 'startH245').index(reason), b'\0')
        if extensions:
            out.extensions(extensions)
    return 'facility', 0x62, write


def progress(h245=None, fast=None, tokens=False):
    def write(out):
        out.flags(0, h245, 0, tokens, 0, fast is not None).open(H225_ID)
        endpoint_type(out)
        _optional(out, h245)
        out.bits(0, 1).octets(GUID)
        if tokens:  # a ClearToken with nothing but its identifier
            out.length(1).flags(0, *[0] * 8).open(b'\x2a\x03')
        if fast is not None:
            write_list(out, [lambda o, item=item: o.open(item) for item in fast])
    return 'progress', 0x03, write


def empty():
    return 'empty', 0x62, lambda out: None


def _optional(out, address):
    if address is not None:
        (address if callable(address) else transport(address))(out)


def _bytes_of(write):
    out = Bits()
    write(out)
    return out.bytes()


def _call_identifier():
    return Bits().bits(0, 1).octets(GUID).bytes()


ROOT_BODIES = ('setup', 'callProceeding', 'connect', 'alerting', 'information', 'releaseComplete',
               'facility')
MORE_BODIES = ('progress', 'empty')


def q931(body, tunnelled=None, reference=17, answers=False, full=False):
    """A whole message on the stream. `tunnelled`: H.245 messages; `answers`: said by who was
    called; `full`: with other elements of Q.931 and all that may stand around."""
    name, kind, write = body
    extensions = {} if tunnelled is None else {1: b'\x80', 2: octet_strings(tunnelled)}
    if full:
        extensions |= {0: octet_strings([]), 9: b'from the future'}
    out = Bits().flags(0, full)  # H323-UserInformation
    out.flags(extensions, full)
    if name in ROOT_BODIES:
        out.pick(ROOT_BODIES.index(name), len(ROOT_BODIES))
        write(out)
    else:
        out.pick_extension(MORE_BODIES.index(name), _bytes_of(write))
    if full:
        non_standard(out)
    if extensions:
        out.extensions(extensions)
    if full:
        out.bits(0, 1).number(4, 0, 255).number(3, 1, 131).octets(b'abc')
    user_user = b'\x05' + out.bytes()
    elements = b''
    if full:  # bearer capability, sending complete, display
        elements = bytes([0x04, 3, 0x88, 0x93, 0xa5, 0xa1, 0x28, 6]) + b'alice\0'
    elements += b'\x7e' + struct.pack('!H', len(user_user)) + user_user
    reference |= 0x8000 if answers else 0
    return tpkt(struct.pack('!BBHB', 8, 2, reference, kind) + elements)


def tpkt(data=b''):
    """Without data: it only keeps the connection alive."""
    return struct.pack('!BBH', 3, 0, len(data) + 4) + data
