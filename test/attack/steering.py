# SPDX-License-Identifier: BSD-3-Clause
"""Nobody outside chooses which worker gets the work."""

import captures
from kit import INSIDE, OUTSIDE, Trace, attack, configuration, udp

WORKERS = 4


@attack(quick=True)
def equal_folds_on_one_worker(firewall):
    """256 connections whose 16-bit words have the same XOR all fall on one worker of four.

    A symmetric hash of devices is a function of this XOR, under any key. Older versions use it on
    ports without RSS as well. Now a secret hash chooses there, and both directions of each
    connection still meet."""
    trace = Trace()
    there, back = [], []
    for n in range(256):
        client, server = f'10.0.0.{n}', f'192.0.2.{n}'
        there.append(trace.send(udp(client, server, 4000, 5000, b'question')))
        back.append(trace.send(udp(server, client, 5000, 4000, b'answer'), side='outside'))
    answers = firewall.replay(configuration(), trace, '--workers', str(WORKERS))
    answers.must_pass()
    used = [answers.packets[n]['worker'] for n in there]
    apart = sum(answers.packets[a]['worker'] != answers.packets[b]['worker']
                for a, b in zip(there, back))
    busiest = max(used.count(worker) for worker in range(WORKERS))
    # 64 are fair; 110 by chance once in 10^9 runs.
    return [f'{busiest} of 256 connections are on one worker of {WORKERS}' if busiest > 110 else '',
            f'{apart} connections have their directions on two workers' if apart else '']


@attack(quick=True)
def fragments_and_children_under_the_secret(firewall):
    """Fragments and expected connections must find their worker, whatever chooses it.

    Nothing is opened on older versions: this is the honest half of steering by a secret."""
    trace = Trace()
    ftp = captures.Tcp(INSIDE, OUTSIDE, 40000, 21)
    trace.send(*ftp.open())
    trace.lines(ftp, (OUTSIDE, b'220 ready\r\n'), (INSIDE, b'USER a\r\n'), (OUTSIDE, b'230 in\r\n'),
                (INSIDE, b'PASV\r\n'), (OUTSIDE, b'227 ok (192,0,2,9,195,80).\r\n'))
    data = captures.Tcp(INSIDE, OUTSIDE, 40001, 50000)
    trace.send(*data.open())
    whole = udp(INSIDE, OUTSIDE, 4000, 5000, b'f' * 64)[34:]
    for at in (0, 24, 48):
        more = 0x2000 if at != 48 else 0
        trace.send(captures.frame(INSIDE, 17, whole[at:at + 24] if more else whole[at:],
                                  flags=more | at // 8, ident=77))
    answer = trace.send(udp(OUTSIDE, INSIDE, 5000, 4000, b'answer'))
    answers = firewall.replay(configuration(helpers=['ftp'], inside_out=True), trace,
                              '--workers', str(WORKERS))
    answers.must_pass(answer)
    if not any(row.get('event') == 'claim' for row in answers.expectations):
        return 'the data connection did not claim its expectation'
    return None
