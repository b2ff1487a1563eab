#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Asks the kernel of this machine and Postern the same, and fails where they differ.

The packets are those of captures.sample(), of captures/ (real peers, as the end-to-end cases had
them; keep_captures.py makes them) and of random hostile walks (walks.py); kernel.py asks
Linux, and compare.py judges: what is not in its table of differences fails. Postern answers on 1, 2
and 4 workers. Says `ok NAME`, `not ok NAME` or `skip NAME REASON` for each, and how far they agree.
"""

import argparse
import collections
import glob
import os
import shutil
import sys
import tempfile

import captures
import compare
import kernel
import postern
import walks

SHOWN = 5
FIELDS = ('verdict', 'state', 'direction', 'proto_state', 'reason')


def why_impossible():
    if os.geteuid() != 0:
        return 'needs root (network namespaces)'
    for program in ('ip', 'nft', 'ethtool'):
        if shutil.which(program) is None:
            return f'needs {program}'
    try:
        with kernel.Kernel([], 'inside'):
            return None
    except (kernel.Unable, OSError) as reason:
        return f'the kernel here lacks a part: {reason}'


def tracked(frames):
    """The whole IP packets: of the rest conntrack never hears."""
    return [frame for frame in frames
            if len(frame) >= 34 and frame[12:14] in (b'\x08\x00', b'\x86\xdd')]


def same_on_all_workers(program, frames):
    """None, or what is not the same."""
    answers = {}
    for workers in (1, 2, 4):
        rows = postern.replay(program, os.path.join(compare.HERE, 'control.yaml'),
                              captures.pcap_bytes(frames), '--workers', str(workers))
        answers[workers] = [[row[field] for field in FIELDS] for row in rows
                            if row['type'] == 'packet']
    for workers in (2, 4):
        for n, (one, many) in enumerate(zip(answers[1], answers[workers])):
            if one != many:
                return f'packet {n}: {one} on one worker, {many} on {workers}'
    return None


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument('--postern', default=postern.PROGRAM)
    options.add_argument('--seeds', type=int, default=4, help='random walks')
    options.add_argument('--first-seed', type=int, default=1)
    options.add_argument('--packets', type=int, default=2000, help='packets of each walk')
    args = options.parse_args()
    reason = why_impossible()
    if reason is not None:
        print(f'skip differential/live {reason}')
        return 0
    sources = [('sample', tracked(captures.sample())), ('short-gre', captures.short_gre())]
    sources += [(os.path.basename(path), captures.read_pcap(path))
                for path in sorted(glob.glob(os.path.join(compare.HERE, 'captures', '*.pcap')))]
    sources += [(f'walk-{seed}', walks.walk(seed, args.packets))
                for seed in range(args.first_seed, args.first_seed + args.seeds)]
    failed, packets, classes = False, 0, collections.Counter()
    for name, frames in sources:
        with tempfile.TemporaryDirectory(prefix='postern-live-') as folder:
            kernel.record(frames, folder, compare.POLICIES)
            for policy in compare.POLICIES:
                n, _, found, unexplained = compare.compare(folder, policy, args.postern)
                packets, classes = packets + n, classes + found
                print(f'{"not ok" if unexplained else "ok"} differential/live/{policy}/{name}')
                for difference in unexplained[:SHOWN]:
                    print(f'#   {difference}')
                failed |= bool(unexplained)
        difference = same_on_all_workers(args.postern, frames)
        print(f'{"not ok" if difference else "ok"} differential/live/workers/{name}')
        if difference:
            print(f'#   {difference}')
            failed = True
    differing = sum(n for (kind, _), n in classes.items() if kind == 'packets')
    print(f'# {packets} packets, judged by Linux {os.uname().release}: '
          f'{100 * (1 - differing / packets):.2f} % the same')
    for (kind, name), n in classes.most_common():
        print(f'#   {n} {kind}: {name}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
