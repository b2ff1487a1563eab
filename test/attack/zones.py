# SPDX-License-Identifier: BSD-3-Clause
"""A packet belongs to a connection only if it comes from the zone that its direction comes from."""

import captures
from kit import (INSIDE, LIVE_INSIDE, LIVE_OUTSIDE, OUTSIDE, Trace, attack, configuration,
                 udp)


@attack(quick=True)
def forged_ftp_client(firewall):
    """A server forges its client's PORT before the client speaks, and so opens the client's 3389.

    Older versions take the segment for the client's, since its addresses and ports are. Now what
    comes in on the wrong side is dropped, and the client's own segments pass."""
    trace, ftp = Trace(), captures.Tcp(INSIDE, OUTSIDE, 40000, 21)
    trace.send(*ftp.open())
    trace.send(ftp.segment(OUTSIDE, 'PA', b'220 ready\r\n'))
    before = dict(ftp.next)
    forged = trace.send(ftp.segment(INSIDE, 'PA', b'USER a\r\nPORT 10,0,0,5,13,61\r\n'),
                        side='outside')
    trace.send(ftp.segment(OUTSIDE, 'PA', b'331 password\r\n200 PORT\r\n'))
    opened = trace.send(captures.Tcp(OUTSIDE, INSIDE, 20, 3389).segment(OUTSIDE, 'S'))
    ftp.next = before  # the client knows nothing of that
    honest = [trace.send(ftp.segment(INSIDE)),
              trace.lines(ftp, (INSIDE, b'USER b\r\n')),
              trace.lines(ftp, (OUTSIDE, b'331 password\r\n'))]
    answers = firewall.replay(configuration(helpers=['ftp']), trace)
    # Where the forgery was taken, what the client really says does not fit any more.
    if not answers.accepted(forged):
        answers.must_pass(*honest)
    return ['the server speaks for its client' if answers.accepted(forged) else '',
            'a stranger reaches the client\'s port 3389' if answers.accepted(opened) else '']


@attack(quick=True)
def forged_syn_ends_connection(firewall):
    """The client's SYN and the server's reset, both forged outside, end a connection.

    Older versions begin the connection anew with any SYN of the client's tuple. Now the connection
    stays as it was, and both sides go on."""
    trace, web = Trace(), captures.Tcp(INSIDE, OUTSIDE, 40000, 80)
    trace.send(*web.open())
    trace.lines(web, (INSIDE, b'GET / HTTP/1.0\r\n'))
    forger = captures.Tcp(INSIDE, OUTSIDE, 40000, 80)
    forger.next = {INSIDE: 777777, OUTSIDE: 0}
    syn = trace.send(forger.segment(INSIDE, 'S'), side='outside')
    reset = trace.send(forger.segment(OUTSIDE, 'RA'))
    honest = [trace.send(web.segment(OUTSIDE, 'PA', b'HTTP/1.0 200\r\n')),
              trace.send(web.segment(INSIDE)), trace.send(web.segment(INSIDE, 'FA'))]
    answers = firewall.replay(configuration(), trace)
    answers.must_pass(*honest)
    return ['the forged SYN passes' if answers.accepted(syn) else '',
            'the reset that answers it passes' if answers.accepted(reset) else '']


@attack(live=True)
def forged_datagram_reaches_inside(firewall):
    """From outside, a datagram with the inside client's own addresses passes back in.

    It is the original direction of an existing connection, so older versions send it to the other
    end of the bridge as if the client had sent it."""
    with firewall.live(configuration()) as live:
        heard = live.tap('outside')
        live.send('inside', udp(LIVE_INSIDE, LIVE_OUTSIDE, 4000, 5000, b'question'))
        heard.until(b'question')
        heard = live.tap('inside')
        live.send('outside', udp(LIVE_INSIDE, LIVE_OUTSIDE, 4000, 5000, b'forged'),
                  udp(LIVE_OUTSIDE, LIVE_INSIDE, 5000, 4000, b'answer'))
        return 'it does' if any(b'forged' in frame for frame in heard.until(b'answer')) else None


@attack(quick=True)
def forged_sip_phone(firewall):
    """A stranger without any number to guess sends a telephone's INVITE from outside.

    Older versions take it for the telephone's, since a UDP connection to the registrar exists, and
    the answer opens ports of the telephone. Now it is dropped; the telephone's own passes."""
    def message(cseq, method, body=b''):
        head = (f'{method} sip:b@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.5:5060\r\n'
                f'From: <sip:a@r>;tag=1\r\nTo: <sip:b@r>\r\nCall-ID: {method}\r\n'
                f'CSeq: {cseq} {method}\r\nContact: <sip:a@10.0.0.5>\r\n')
        kind = 'Content-Type: application/sdp\r\n' if body else ''
        return (head + kind + f'Content-Length: {len(body)}\r\n\r\n').encode() + body

    media = b'v=0\r\nc=IN IP4 10.0.0.5\r\nm=audio 3390 RTP/AVP 0\r\n'
    trace = Trace()
    trace.send(udp(INSIDE, OUTSIDE, 5060, 5060, message(1, 'OPTIONS')))
    trace.send(udp(OUTSIDE, INSIDE, 5060, 5060, b'SIP/2.0 200 OK\r\n\r\n'))
    forged = trace.send(udp(INSIDE, OUTSIDE, 5060, 5060, message(2, 'INVITE', media)),
                        side='outside')
    way = trace.send(udp(OUTSIDE, INSIDE, 9000, 3390, b'media'))
    honest = trace.send(udp(INSIDE, OUTSIDE, 5060, 5060, message(3, 'OPTIONS')))
    answers = firewall.replay(configuration(helpers=['sip']), trace)
    answers.must_pass(0, 1, honest)
    return ['the stranger speaks for the telephone' if answers.accepted(forged) else '',
            'a stranger reaches the telephone\'s port 3390' if answers.accepted(way) else '']


@attack(quick=True)
def claim_by_the_wrong_side(firewall):
    """An inside host claims, with the server's address, what is expected of the server outside.

    The pin-hole is used up, and the server's data connection fails. Now the forged SYN is dropped
    and the expectation stays."""
    trace, ftp = Trace(), captures.Tcp(INSIDE, OUTSIDE, 40000, 21)
    trace.send(*ftp.open())
    trace.lines(ftp, (OUTSIDE, b'220 ready\r\n'), (INSIDE, b'USER a\r\n'),
                (OUTSIDE, b'331 password\r\n'), (INSIDE, b'PASS b\r\n'), (OUTSIDE, b'230 in\r\n'),
                (INSIDE, b'PORT 10,0,0,5,195,80\r\n'), (OUTSIDE, b'200 done\r\n'))
    data = captures.Tcp(OUTSIDE, INSIDE, 20, 50000)
    syn = data.segment(OUTSIDE, 'S')
    forged = trace.send(syn, side='inside')
    honest = trace.send(syn)
    answers = firewall.replay(configuration(helpers=['ftp']), trace)
    if answers.accepted(forged):
        return 'the inside host takes the server\'s data connection'
    answers.must_pass(honest)
    return None


@attack(quick=True)
def forged_source_uses_up_a_quota(firewall):
    """60 SYNs from outside with an inside host's address take that host's `per_source` quota.

    Older versions count by address alone. Now sources are counted by zone and address."""
    config = configuration(
        rules=[{'name': 'web-in', 'from': 'outside', 'proto': 'tcp', 'dport': 80, 'ct': ['new'],
                'action': 'accept'}],
        limits={'connections': 16384, 'expectations': 1024, 'helped_connections': 1024,
                'per_source': {'half_open': 10}})
    trace = Trace()
    syn = captures.Tcp(OUTSIDE, INSIDE, 1000, 80).segment(OUTSIDE, 'S')[34:]
    for n in range(60):
        trace.send(captures.frame(INSIDE, 6, bytes((0x20, n)) + syn[2:], 16, dst='10.0.0.6'),
                   side='outside')
    honest = trace.send(captures.Tcp(INSIDE, OUTSIDE, 50000, 443).segment(INSIDE, 'S'))
    answers = firewall.replay(config, trace)
    if not answers.accepted(honest):
        return f'the inside host begins no connection any more ({answers.reason(honest)})'
    return None


@attack(quick=True)
def error_from_the_wrong_side(firewall):
    """An ICMP error about a server's answer comes from the server's side, in the client's name.

    Only the side that the answer went to can complain of it. Older versions let it through."""
    trace = Trace()
    trace.send(udp(INSIDE, OUTSIDE, 4000, 5000, b'question'))
    answer = udp(OUTSIDE, INSIDE, 5000, 4000, b'answer')
    trace.send(answer)
    error = captures.icmp_error(INSIDE, answer[14:42])
    forged = trace.send(error, side='outside')
    honest = trace.send(error)
    answers = firewall.replay(configuration(), trace)
    answers.must_pass(0, 1, honest)
    return 'the error passes' if answers.accepted(forged) else None


@attack(quick=True)
def forged_fragments(firewall):
    """A datagram of an existing connection comes in pieces from the wrong side.

    The whole is judged as if it had come in one piece; older versions let it through."""
    def pieces(payload, ident):
        whole = udp(INSIDE, OUTSIDE, 4000, 5000, payload)[34:]
        return [captures.frame(INSIDE, 17, whole[:24], flags=0x2000, ident=ident),
                captures.frame(INSIDE, 17, whole[24:], flags=3, ident=ident)]

    trace = Trace()
    trace.send(udp(INSIDE, OUTSIDE, 4000, 5000, b'question'))
    trace.send(udp(OUTSIDE, INSIDE, 5000, 4000, b'answer'))
    forged = trace.send(*pieces(b'f' * 40, 1), side='outside')
    honest = trace.send(*pieces(b'h' * 40, 2))
    answers = firewall.replay(configuration(), trace)
    answers.must_pass(0, 1, honest)
    return 'they pass' if answers.accepted(forged) else None
