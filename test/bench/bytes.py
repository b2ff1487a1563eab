#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts what a byte of a helped stream costs, and fails where it costs more the more there are.

    test/bench/bytes.py             one line a row of byte_count.cc
    test/bench/bytes.py ROW...      only these, with their figures

Every row is shown to the engine twice, byte by byte where the row does not say otherwise: 1 KB of
it, and 30 KB. Where a byte of the long one costs more than twice what one of the short one costs,
something is read again and again, and a sender can make a worker as slow as it likes. Instructions
are counted under callgrind, those of libraries included (memmove() is one of the suspects).
"""
import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
MOST = 2.0
# Callgrind takes a pattern for one purpose only: the two here have to differ.
COUNTED = 'counted_bytes*'


def count(binary, rows):
    """{row: [(bytes, instructions a byte)], the short one first}"""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, 'out')
        done = subprocess.run(
            ['valgrind', '--tool=callgrind', f'--callgrind-out-file={out}', '--collect-atstart=no',
             f'--toggle-collect=*::{COUNTED}', f'--dump-after=postern::*::{COUNTED}', binary,
             *rows],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=1200)
        said = [line.split() for line in done.stdout.splitlines()]
        if done.returncode != 0 or not said:
            words = [line for line in done.stderr.splitlines() if not line.startswith('==')]
            raise RuntimeError((words or done.stderr.splitlines() or ['no message'])[-1])
        counted = collections.defaultdict(list)
        for number, (row, size) in enumerate(said, 1):
            with open(f'{out}.{number}') as f:
                total = int(re.search(r'^(?:summary|totals): (\d+)', f.read(), re.M).group(1))
            if total == 0:
                raise RuntimeError('nothing was counted: is there still a function counted_bytes()?')
            counted[row].append((int(size), total / int(size)))
        return counted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('rows', nargs='*')
    args = parser.parse_args()
    binary = os.path.join(args.build, 'test/bench/byte_count')
    for needed in ('valgrind', binary):
        if shutil.which(needed) is None:
            print(f'skip bytes no {needed} here')
            return 0
    try:
        counted = count(binary, args.rows or ['all'])
    except (RuntimeError, subprocess.TimeoutExpired) as e:
        print(f'not ok bytes {e}')
        return 1
    failed = False
    for row, ((_, short), (size, long)) in counted.items():
        figures = f'{short:.1f} instructions a byte of 1 KB, {long:.1f} of {size}'
        if long > MOST * short:
            print(f'not ok bytes/{row} {figures}')
            failed = True
        else:
            print(f'ok bytes/{row} {figures}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
