#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What `postern replay` promises of any capture: `ok NAME` or `not ok NAME` for each promise."""

import argparse
import json
import os
import random
import shutil
import string
import struct
import subprocess
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
            # An id says which worker keeps what it names.
            for field in ('worker', 'workers', 'owner', 'id', 'master_id'):
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


def a_capture_a_port_tells_the_sides(program):
    """Captures of two ports, merged by their times, give the answers of one in which the MAC address
    tells the side. Without either the side is inferred, and that is said."""
    inside = bytes.fromhex(captures.INSIDE_MAC.replace(':', ''))
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for port, is_inside in (('in0', True), ('out0', False)):
            own = {n: f for n, f in enumerate(FRAMES) if (f[6:12] == inside) == is_inside}
            names.append(os.path.join(folder, port + '.pcap'))
            with open(names[-1], 'wb') as f:
                f.write(captures.pcap_bytes(own.values(), 1000, places=list(own)))
        rows = postern.rows(postern.run_bare(program, CONFIG, '--json', 'in0=' + names[0],
                                             'out0=' + names[1]))
        check(rows == answers(program), 'other answers than from one capture')
        check(rows[-1]['sides_inferred'] is False, rows[-1])
        rows = postern.rows(postern.run_bare(program, CONFIG, '--json', names[0]))
        check(rows[-1]['sides_inferred'] is True, rows[-1])
        done = postern.run_bare(program, CONFIG, 'in0=' + names[0], 'nowhere=' + names[1])
        check(done.returncode == 1 and b'PORT=FILE' in done.stderr, done.stderr)


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


def comments_hold_the_verdicts(program):
    """tshark opens the annotated capture, and shows of each packet its time, port and verdict."""
    if not shutil.which('tshark'):
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'annotated.pcapng')
        rows = [row for row in answers(program, PCAP, '--annotate', path) if row['type'] == 'packet']
        said = subprocess.run(['tshark', '-r', path, '-T', 'fields', '-e', 'frame.time_epoch', '-e',
                               'frame.interface_name', '-e', 'frame.comment', '-e', 'frame.len'],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
        lines = [line.split('\t') for line in said.stdout.splitlines()]
        check(len(lines) == len(rows), len(lines), len(rows))
        for (seconds, port, comment, length), row in zip(lines, rows):
            verdict = 'accept' if row['verdict'] == 'accept' else ('DROP', 'held')
            check(comment.startswith(verdict), comment, row)
            check((row['reason'] is None) or f'[{row["reason"]}]' in comment, comment, row)
            check(port == row['in'] and int(length) == row['bytes'], port, length, row)
            check(f'{int(seconds.split(".")[1][:6]):06}' == row['time'][-7:-1], seconds, row)
        check(any('helper ftp' in line[2] for line in lines), 'no comment names the helper')
    done = postern.run(program, CONFIG, PCAP, '--annotate', '/nowhere/x.pcapng')
    check(done.returncode == 1 and b'/nowhere' in done.stderr, done.returncode, done.stderr)


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


TWO_BRIDGES = {
    'eal': {'hugepages': 'no', 'memory_mb': 256},
    'zones': ['office', 'wan', 'lab', 'wan2'],
    'ports': [{'name': name, 'device': f'net_null{n}', 'zone': zone} for n, (name, zone) in
              enumerate((('in0', 'office'), ('out0', 'wan'), ('in1', 'lab'), ('out1', 'wan2')))],
    'bridges': [{'ports': ['in0', 'out0'], 'pass': []}, {'ports': ['in1', 'out1'], 'pass': ['arp']}],
    'limits': {'connections': 4096, 'expectations': 1024, 'helped_connections': 256},
    'policy': {'default': 'drop',
               'rules': [{'name': 'lab-out', 'from': 'lab', 'to': 'wan2', 'action': 'accept'}]}}
PREFIXES = {'office': '10.0.0.0/24', 'lab': '10.1.0.0/24'}


def each_packet_is_judged_by_its_own_bridge(program):
    """Of a configuration of several: by captures a port, by zones' prefixes, by MAC address, or all
    by the one that is named. What no bridge is known of is not judged; nothing known is refused."""
    query = struct.pack('!HHHH', 5000, 53, 8, 0)
    peer = '198.51.100.9'
    arp = b'\xff' * 6 + b'\x02\0\0\0\0\x01\x08\x06' + bytes(46)
    stranger = b'\xff' * 6 + b'\x02\0\0\0\0\x77\x08\x06' + bytes(46)
    frames = [captures.frame('10.0.0.5', 17, query, 6, peer),    # office: dropped
              captures.frame('10.1.0.5', 17, query, 6, peer),    # lab: accepted
              arp,                                               # by MAC, lab: passes
              captures.frame(peer, 17, struct.pack('!HHHH', 53, 5000, 8, 0), 6, '10.1.0.5'),
              stranger]
    with_prefixes = json.loads(json.dumps(TWO_BRIDGES))
    with_prefixes['zones'] = [{'name': z, 'prefixes': [PREFIXES[z]]} if z in PREFIXES else z
                              for z in TWO_BRIDGES['zones']]

    def verdicts(done):
        rows = postern.rows(done)
        return [row['verdict'] for row in rows if row['type'] == 'packet'], rows[-1]

    with tempfile.TemporaryDirectory() as folder:
        def file(name, content):
            path = os.path.join(folder, name)
            with open(path, 'wb') as f:
                f.write(content)
            return path
        all_of_it = file('all.pcap', captures.pcap_bytes(frames, 1000))
        bare = file('bare.yaml', json.dumps(TWO_BRIDGES).encode())
        prefixed = file('prefixed.yaml', json.dumps(with_prefixes).encode())
        found, summary = verdicts(postern.run_bare(program, prefixed, '--json', all_of_it))
        check(found == ['drop', 'accept', 'accept', 'accept', 'unknown'], found)
        check(summary['bridge_unknown'] == 1, summary)
        done = postern.run_bare(program, bare, '--json', all_of_it)
        check(done.returncode == 2 and b'2 bridges' in done.stderr, done.returncode, done.stderr)
        found, _ = verdicts(postern.run_bare(program, bare, '--json', '--bridge', 'out1', all_of_it))
        check(found == ['accept'] * 5, found)
        found, _ = verdicts(postern.run_bare(program, bare, '--json', '--bridge', 'in0', all_of_it))
        check(set(found) == {'drop'}, found)
        done = postern.run_bare(program, bare, '--json', '--in-port', 'in1', all_of_it)
        found, summary = verdicts(done)
        packets = [row for row in postern.rows(done) if row['type'] == 'packet']
        check(found == ['accept'] * 3 + ['drop', 'accept'], found)
        check(packets[3]['reason'] == 'wrong_zone' and not summary['sides_inferred'], packets[3])
        row = packets[1]
        check((row['in'], row['proto'], row['src'], row['sport'], row['dst'], row['dport']) ==
              ('in1', 'udp', '10.1.0.5', 5000, peer, 53), row)
        check(row['time'].endswith('Z') and row['at_s'] >= 0, row)
        done = postern.run_bare(program, bare, '--json', '--in-port', 'out1', all_of_it)
        packets = [row for row in postern.rows(done) if row['type'] == 'packet']
        check([row['reason'] for row in packets] == ['default'] * 2 + ['pass', 'default', 'pass'],
              [row['reason'] for row in packets])
        for more in (('--in-port', 'nowhere'), ('--in-port', 'in1', '--bridge', 'in1')):
            done = postern.run_bare(program, bare, '--json', *more, all_of_it)
            check(done.returncode == 2 and b'--in-port' in done.stderr, done.returncode, done.stderr)
        parts = [f'{port}=' + file(f'{port}.pcap', captures.pcap_bytes(
            [frames[n] for n in numbers], 1000, numbers))
                 for port, numbers in (('in0', [0]), ('in1', [1, 2]), ('out1', [3]))]
        found, _ = verdicts(postern.run_bare(program, bare, '--json', *parts))
        check(found == ['drop', 'accept', 'accept', 'accept'], found)
        done = postern.run_bare(program, bare, '--json', '--bridge', 'nowhere', all_of_it)
        check(done.returncode == 2 and b'nowhere' in done.stderr, done.returncode, done.stderr)


CASES = (sample_is_judged_as_it_should_be, any_number_of_workers_gives_the_same_answers,
         repeating_gives_the_same_answers, helpers_in_processes_are_absent, pcapng_is_read_like_pcap,
         a_capture_a_port_tells_the_sides, each_packet_is_judged_by_its_own_bridge,
         out_holds_the_accepted_packets, comments_hold_the_verdicts, text_is_printable, cut_captures_say_so,
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
