# SPDX-License-Identifier: BSD-3-Clause
"""A program inside that speaks another protocol does not open ways by what it is made to say."""

import captures
from kit import INSIDE, OUTSIDE, Trace, attack, configuration


@attack(quick=True)
def ftp_port_in_a_posted_form(firewall):
    """A web page makes a browser post `PORT 10,0,0,5,13,71` to a host's port 21, in a body.

    A helper that looks into single segments opens the browser's port 3399. Here it must not open,
    while the same command of an FTP client opens the port that it names."""
    server = [b'220 ready\r\n', b'331 password\r\n', b'230 welcome\r\n', b'200 done\r\n']
    form = [b'POST / HTTP/1.1\r\nHost: example\r\nContent-Length: 29\r\n\r\n',
            b'USER a\r\n', b'PASS a\r\n', b'PORT 10,0,0,5,13,71\r\n']
    client = [b'', *form[1:]]
    for lines, honest in ((form, False), (client, True)):
        trace, ftp = Trace(), captures.Tcp(INSIDE, OUTSIDE, 40000, 21)
        trace.send(*ftp.open())
        if not honest:
            trace.lines(ftp, (INSIDE, lines[0]))
        trace.lines(ftp, (OUTSIDE, server[0]))
        for command, answer in zip(lines[1:], server[1:]):
            trace.lines(ftp, (INSIDE, command), (OUTSIDE, answer))
        data = trace.send(captures.Tcp(OUTSIDE, INSIDE, 20, 3399).segment(OUTSIDE, 'S'))
        answers = firewall.replay(configuration(helpers=['ftp']), trace)
        if honest:
            answers.must_pass()
        elif answers.accepted(data):
            return 'a stranger reaches the browser\'s port 3399'
    return None
