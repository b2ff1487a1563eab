#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What `postern replay` promises of any capture: `ok NAME` or `not ok NAME` for each promise."""

import argparse
import json
import os
import random
import string
import struct
import sys
import tempfile
import traceback

import captures
import postern

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = os.path.join(HERE, 'inside.yaml')
FRAMES = captures.sample()
PCAP = captures.pcap_bytes(FRAMES, 1000)


def check(condition, *what):
    if not condition:
        raise AssertionError(' '.join(map(str, what)))


def answers(program, capture=PCAP, *arguments):
    return postern.replay(program, CONFIG, capture, *arguments)


def sample_is_judged_as_it_should_be(program):
    """The tests below would be worth little if the sample did not get far."""
    rows = answers(program)
    packets = [row for row in rows if row['type'] == 'packet']
    check([row['n'] for row in packets] == list(range(len(FRAMES))), 'packets are missing')
    states = {(row['verdict'], row['state']) for row in packets}
    for wanted in (('accept', 'new'), ('accept', 'established'), ('accept', 'related'),
                   ('drop', 'new'), ('drop', 'invalid')):
        check(wanted in states, wanted, 'not among', states)
    events = [(row['event'], row['dport']) for row in rows if row['type'] == 'expectation']
    check(events == [('new', 20000), ('claim', 20000), ('new', 20001), ('claim', 20001)], events)
    summary = rows[-1]
    check(summary['type'] == 'summary' and summary['packets'] == len(FRAMES), summary)
    check(summary['accepted'] == sum(row['verdict'] == 'accept' for row in packets), summary)
    check(summary['fragments_held'] == 1, summary)  # the sample has a lone one


def any_number_of_workers_gives_the_same_answers(program):
    def without_workers(rows):
        for row in rows:
            # An expectation's id says where its owner keeps it.
            for field in ('worker', 'workers', 'owner', 'id'):
                row.pop(field, None)
        return rows

    folder = os.environ.get('POSTERN_KERNEL_CAPTURES',
                            os.path.join(postern.ROOT, '..', 'shared', 'kernel'))
    inputs = {'the sample': PCAP}
    if os.path.isdir(folder):
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name, 'capture.pcap')
            # Each kind of traffic once is enough; the long ones add little.
            if os.path.isfile(path) and os.path.getsize(path) < 400000:
                with open(path, 'rb') as f:
                    inputs[name] = f.read()
    for name, capture in inputs.items():
        one = without_workers(answers(program, capture))
        for workers in ('2', '4'):
            more = without_workers(answers(program, capture, '--workers', workers))
            different = [pair for pair in zip(one, more) if pair[0] != pair[1]]
            check(one == more, name, 'with', workers, 'workers:', different[:1])


def repeating_gives_the_same_answers(program):
    check(answers(program) == answers(program))


def pcapng_is_read_like_pcap(program):
    check(answers(program, captures.pcapng_bytes(FRAMES, 1000)) == answers(program))


def out_holds_the_accepted_packets(program):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, 'out.pcap')
        rows = answers(program, PCAP, '--out', out)
        with open(out, 'rb') as f:
            written = f.read()
    magic, = struct.unpack_from('<I', written)
    check(magic in (0xa1b2c3d4, 0xa1b23c4d), hex(magic))
    unit = 1 if magic == 0xa1b23c4d else 1000
    found, at = [], 24
    while at < len(written):
        seconds, part, length, _ = struct.unpack_from('<IIII', written, at)
        found.append((seconds * 10**9 + part * unit, written[at + 16:at + 16 + length]))
        at += 16 + length
    wanted = [(row['n'] * 10**6, FRAMES[row['n']]) for row in rows
              if row['type'] == 'packet' and row['verdict'] == 'accept']
    check(found == wanted, f'{len(found)} packets were written, {len(wanted)} accepted')


def text_is_printable(program):
    done = postern.run(program, CONFIG, PCAP)
    check(done.returncode == 0, done.stderr)
    text = done.stdout.decode('ascii')
    strange = set(text) - set(string.printable) | set(text) & set('\x0b\x0c\r\t')
    check(not strange, 'it has', strange)
    for n in range(len(FRAMES)):
        check(any(line.split()[:1] == [str(n)] for line in text.splitlines()), 'no line', n)


def _ends_well(program, capture, what):
    """Exit code 0, or 1 with a message; and JSON so far."""
    done = postern.run(program, CONFIG, capture, '--json')
    check(done.returncode in (0, 1), what, 'exit code', done.returncode, done.stderr[-300:])
    for line in done.stdout.splitlines():
        json.loads(line)
    message = done.stderr.decode()
    check(done.returncode == 0 or (message.strip() and message.isprintable() or '\n' in message),
          what, 'no message')
    return done


def cut_captures_say_so(program):
    """Cut anywhere: what is whole is replayed, and a cut record is reported."""
    for name, capture in (('pcap', PCAP), ('pcapng', captures.pcapng_bytes(FRAMES, 1000))):
        whole = len(answers(program, capture))
        cuts = set(range(0, 64, 3)) | set(range(64, len(capture), len(capture) // 40))
        for cut in sorted(cuts):
            done = _ends_well(program, capture[:cut], f'{name} cut at {cut}:')
            check(len(done.stdout.splitlines()) <= whole, name, cut)
            if cut < 24:
                check(done.returncode == 1, f'{name} cut at {cut} is taken for a capture')


def garbage_is_no_capture(program):
    rng = random.Random(1)
    for n, garbage in enumerate((b'', b'\0' * 1000, b'not a capture\n' * 100, rng.randbytes(5000),
                                 b'\x7fELF' + rng.randbytes(500))):
        done = _ends_well(program, garbage, f'garbage {n}:')
        check(done.returncode == 1, f'garbage {n} is taken for a capture')


def flipped_bytes_never_crash_it(program):
    rng = random.Random(2)
    for name, capture in (('pcap', PCAP), ('pcapng', captures.pcapng_bytes(FRAMES, 1000))):
        for n in range(60):
            bad = bytearray(capture)
            for _ in range(1 << rng.randrange(8)):
                bad[rng.randrange(len(bad))] = rng.randrange(256)
            _ends_well(program, bytes(bad), f'{name} mutation {n}:')


def files_that_cannot_be_opened(program):
    for path in ('/nowhere/x.pcap', HERE):
        done = postern.run_file(program, CONFIG, path)
        check(done.returncode == 1 and done.stderr, path, done.returncode)
    done = postern.run_file(program, '/nowhere/x.yaml', '/nowhere/x.pcap')
    check(done.returncode == 2 and done.stderr, done.returncode)
    done = postern.run(program, CONFIG, PCAP, '--out', '/nowhere/out.pcap')
    check(done.returncode == 1 and done.stderr, done.returncode)


def helpers_in_processes_are_absent(program):
    """... and it is said, how much they would have read."""
    with open(CONFIG, encoding='utf-8') as file:
        text = file.read()
    for old, new in (('  - {name: ftp}\n', '  - {name: toy, userspace: {transports: [tcp], '
                                           'classes: [{name: data, proto: tcp}]}}\n'),
                     ('helper: ftp', 'helper: toy')):
        check(text.count(old) == 1, 'the configuration is another')
        text = text.replace(old, new)
    with tempfile.NamedTemporaryFile('w', suffix='.yaml') as config:
        config.write(text)
        config.flush()
        rows = postern.replay(program, config.name, PCAP)
        said = postern.run(program, config.name, PCAP).stdout.decode()
    unread = rows[-1]['unread_by_absent_processes']
    check(unread.get('toy', 0) > 0, rows[-1])
    check(not any(row['type'] == 'expectation' for row in rows), 'somebody has read FTP')
    check(f'{unread["toy"]} packets were for the process of helper toy' in said, said[-300:])
    check(answers(program)[-1]['unread_by_absent_processes'] == {}, 'there is none')


CASES = (sample_is_judged_as_it_should_be, any_number_of_workers_gives_the_same_answers,
         repeating_gives_the_same_answers, helpers_in_processes_are_absent, pcapng_is_read_like_pcap,
         out_holds_the_accepted_packets, text_is_printable, cut_captures_say_so,
         garbage_is_no_capture, flipped_bytes_never_crash_it, files_that_cannot_be_opened)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument('--postern', default=postern.PROGRAM)
    options.add_argument('-k', default='', help='only promises whose name contains this')
    args = options.parse_args()
    failed = False
    for case in CASES:
        if args.k not in case.__name__:
            continue
        try:
            case(args.postern)
            print('ok', f'differential/replay/{case.__name__}')
        except Exception as error:  # whatever it is, the other promises are still worth a look
            failed = True
            print('not ok', f'differential/replay/{case.__name__}')
            if not isinstance(error, (AssertionError, postern.Failure)):
                traceback.print_exc()
            for line in (str(error) or type(error).__name__).splitlines()[:20]:
                print('#  ', line)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
