# SPDX-License-Identifier: BSD-3-Clause
"""A client that chooses lines of a server's text opens no port of the server by them."""

import captures
from kit import INSIDE, OUTSIDE, Trace, attack, configuration

NAMED, REAL = 50080, 50081  # ports: of the text, of the server's own reply
LOGIN = ((OUTSIDE, '220 ready'), (INSIDE, 'USER a'), (OUTSIDE, '331 password'),
         (INSIDE, 'PASS a'), (OUTSIDE, '230 in'))


def passive(port):
    """A 227, or the name of a file that looks like one."""
    return f'227 Entering Passive Mode ({OUTSIDE.replace(".", ",")},{port >> 8},{port & 255})'


def session(firewall, dialogue):
    """Replays a log-in and then the dialogue: lines with their speakers, and numbers of ports that the
    client connects to. Answers, and by port the number of the packet that connects."""
    trace, ftp = Trace(), captures.Tcp(INSIDE, OUTSIDE, 40000, 21)
    trace.send(*ftp.open())
    tries = {}
    for step in (*LOGIN, *dialogue):
        if isinstance(step, int):
            syn = captures.Tcp(INSIDE, OUTSIDE, 41000 + len(tries), step).segment(INSIDE, 'S')
            tries[step] = trace.send(syn)
        else:
            trace.lines(ftp, (step[0], step[1].encode() + b'\r\n'))
    answers = firewall.replay(configuration(helpers=['ftp'], inside_out=False), trace)
    answers.must_pass(*set(answers.packets) - set(tries.values()))
    return answers, tries


def attempt(firewall, request, text, end):
    """The client asks for a text, and goes on inside of it, with a command before each line that
    looks like its answer. Then the text ends, and the commands get their own answers. Returns whether
    the text has opened the port that it names."""
    late = [(OUTSIDE, '200 ok') for line in text if line == (INSIDE, 'TYPE I')]
    answers, tries = session(firewall, [
        (INSIDE, request), *text, NAMED, (OUTSIDE, end), *late, (OUTSIDE, passive(REAL)), REAL])
    if answers.accepted(tries[NAMED]):
        return True
    answers.must_pass(tries[REAL])
    return False


# What a client says and reads inside the text. A matching answer, or another reply's last line, made
# the helper take the text for ended.
ANSWERED = ((INSIDE, 'TYPE I'), (OUTSIDE, '200 a file'), (INSIDE, 'PASV'), (OUTSIDE, passive(NAMED)))
ENDED = ((OUTSIDE, '200 a file'), (INSIDE, 'PASV'), (OUTSIDE, passive(NAMED)))
WORD = ((OUTSIDE, '211-End'), (INSIDE, 'PASV'), (OUTSIDE, passive(NAMED)))


@attack(quick=True)
def ftp_reply_in_a_list_of_names(firewall):
    """Files have names like replies, and the client sends a request between two of them.

    A helper that knows servers whose replies never end took the names for such replies, and opened the
    port that one of them gives. Nothing may open by them, whatever asks for the names; the server's own
    227 opens its port, before and after."""
    opened = []
    for request, first, end in (('STAT up', '213-Status follows:', '213 End of status'),
                                ('STAT up', '211-Status', '211 End'),
                                ('MLST x', '250-Listing', '250 End'),
                                ('SITE LS', '214-Names', '214 End')):
        for how, text in (('answered', ANSWERED), ('ended', ENDED)):
            if attempt(firewall, request, [(OUTSIDE, first), *text], end):
                opened.append(f'{request}: a name opens the port that it gives ({how})')
    if attempt(firewall, 'STAT up', [(OUTSIDE, '211-Status'), *WORD], '211 End'):
        opened.append('STAT up: a name opens the port that it gives (211-End)')
    return opened


@attack(quick=True)
def ftp_reply_in_a_message(firewall):
    """A message of a folder has such lines. The server writes it without its code before each line.

    The same as with names. A server that writes the code before each line is believed."""
    opened = []
    for how, text in (('answered', ANSWERED), ('ended', ENDED)):
        lines = [(OUTSIDE, '250-Please read'), (OUTSIDE, 'this file:'), *text]
        if attempt(firewall, 'CWD up', lines, '250 ok'):
            opened.append(f'CWD up: a message opens the port that it gives ({how})')
    return opened


@attack(quick=True)
def ftp_reply_in_a_status(firewall):
    """The same with STAT alone, of whose lines only `211-End` shows an end."""
    opened = []
    for how, text in (('answered', ANSWERED), ('ended', ENDED)):
        if attempt(firewall, 'STAT', [(OUTSIDE, '211-Status'), *text], '211 end'):
            opened.append(f'STAT: a line of a status opens the port that it gives ({how})')
    return opened


@attack(quick=True)
def ftp_reply_in_names_of_a_known_server(firewall):
    """The server is known for a reply that it never ended. Its list of names ends."""
    answers, tries = session(firewall, [
        (INSIDE, 'CWD a'), (OUTSIDE, '250-Welcome'), (INSIDE, 'TYPE I'), (OUTSIDE, '200 ok'),
        (INSIDE, 'PASV'), (OUTSIDE, passive(50100)), 50100,
        (INSIDE, 'STAT up'), (OUTSIDE, '213-Status follows:'), (INSIDE, 'PASV'),
        (OUTSIDE, passive(NAMED)), NAMED, (OUTSIDE, '213 End of status'),
        (OUTSIDE, passive(REAL)), REAL])
    if answers.accepted(tries[NAMED]):
        return 'a name opens the port that it gives'
    answers.must_pass(tries[50100], tries[REAL])
    return None


@attack(quick=True)
def ftp_servers_that_never_end(firewall):
    """Honest: servers whose replies never end as they began, also after lists of names that do. Their
    clients go on, and reach the port of the next 227."""
    precheck = [(INSIDE, 'STOR x'), (OUTSIDE, '553-'), (OUTSIDE, '553- Directory excluded.'),
                (OUTSIDE, '150 Opening BINARY mode data connection.'), (OUTSIDE, '226 done')]
    status = [(INSIDE, 'STAT -l'), (OUTSIDE, '213-status of -l:'), (OUTSIDE, 'total 1'),
              (OUTSIDE, '-rw-r--r-- 1 u g 0 Jan 1 2000 a'), (OUTSIDE, '213 End of Status')]
    asked = [(INSIDE, 'PASV'), (OUTSIDE, passive(REAL)), REAL]
    for dialogue in (
            [(INSIDE, 'CWD a'), (OUTSIDE, '250-Welcome'), (INSIDE, 'TYPE I'), (OUTSIDE, '200 ok')],
            [(INSIDE, 'FEAT'), (OUTSIDE, '211-Features'), (OUTSIDE, ' UTF8'), (OUTSIDE, '211-End')],
            precheck, [*status, *precheck], [*precheck, *status]):
        answers, tries = session(firewall, [*dialogue, *asked])
        answers.must_pass(tries[REAL])
    return None
