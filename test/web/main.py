#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the cases of postern-web; scripts/web-test.sh calls it. NOTES.md tells more."""

import argparse
import os
import sys
import time
import traceback

import bench
import cases_access      # noqa: F401  (they register themselves)
import cases_bounds      # noqa: F401
import cases_exporter    # noqa: F401
import cases_page        # noqa: F401
import cases_prometheus  # noqa: F401
import cases_replay      # noqa: F401


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--quick', action='store_true', help='the cut of scripts/test.sh')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('names', nargs='*', help='beginnings of names')
    options = parser.parse_args()
    chosen = [c for c in bench.CASES if (not options.quick or c.quick) and
              (not options.names or any(c.name.startswith(n) for n in options.names))]
    if options.list:
        print('\n'.join(c.name for c in chosen))
        return 0
    if not os.access(bench.POSTERN_WEB, os.X_OK):
        print('skip web postern-web is not built')
        print('0 passed, 0 failed')
        return 0
    shared = bench.Shared()
    passed = failed = 0
    try:
        for one in chosen:
            began = time.monotonic()
            try:
                one.function(shared)
            except bench.Skip as skip:
                print(f'skip {one.name} {skip}', flush=True)
            except Exception as error:  # pylint: disable=broad-except
                failed += 1
                print(f'not ok {one.name}', flush=True)
                words = str(error) if isinstance(error, bench.Wrong) else traceback.format_exc()
                for line in words.splitlines():
                    print(f'#   {line}', flush=True)
            else:
                passed += 1
                print(f'ok {one.name}', flush=True)
            if os.environ.get('TIMES'):
                print(f'#   {time.monotonic() - began:.1f} s', flush=True)
    finally:
        shared.close()
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
