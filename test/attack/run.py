#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Attacks Postern; says `ok NAME`, `not ok NAME WHAT WAS OPENED` or `skip NAME REASON` for each.

scripts/attack.sh calls it. NOTES.md tells how to add an attack.
"""

import argparse
import collections
import glob
import importlib
import multiprocessing
import os
import signal
import sys
import traceback

import kit

LIMIT_S = 120


class TimeIsUp(Exception):
    """An attack took longer than LIMIT_S."""


def load():
    """Imports every module beside this one; each registers its attacks."""
    for path in sorted(glob.glob(os.path.join(kit.HERE, '*.py'))):
        name = os.path.basename(path)[:-3]
        if name not in ('run', 'kit'):
            importlib.import_module(name)


def choose(patterns, quick):
    """The attacks of these names or subjects, in order; a ValueError names what is unknown."""
    chosen = []
    for pattern in patterns or ['']:
        found = [attack for name, attack in kit.ATTACKS.items()
                 if not pattern or name == pattern or name.startswith(pattern.rstrip('/') + '/')
                 or pattern == name.split('/')[1]]
        if pattern and not found:
            raise ValueError(f'no attack and no subject is called "{pattern}" (--list shows them)')
        chosen += found
    return [attack for attack in dict.fromkeys(chosen) if attack.quick or not quick]


def carry_out(task):
    """(verdict, name, what) of one attack, in a process of the pool."""
    name, program = task

    def ring(*_):
        raise TimeIsUp(f'not done after {LIMIT_S} s')
    signal.signal(signal.SIGALRM, ring)
    # A TERM unwinds, so that the laboratory is removed.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    signal.alarm(LIMIT_S)
    try:
        opened = kit.sentences(kit.ATTACKS[name].function(kit.Firewall(program)))
    except kit.Skipped as reason:
        return 'skip', name, kit.one_line(reason)
    except kit.HonestTrafficDropped as error:
        opened = [f'honest traffic does not pass: {error}']
    except (kit.CannotTell, kit.laboratory.LabError, TimeIsUp) as error:
        opened = [f'cannot tell: {error}']
    except Exception:
        print(traceback.format_exc(), file=sys.stderr, flush=True)
        opened = ['cannot tell: the attack itself failed (traceback on stderr)']
    finally:
        signal.alarm(0)
    return 'not ok' if opened else 'ok', name, kit.one_line('; '.join(opened))


def main():
    parser = argparse.ArgumentParser(prog='attack.sh', description=__doc__.splitlines()[0])
    parser.add_argument('names', metavar='NAME', nargs='*',
                        help='an attack (SUBJECT/NAME or NAME) or a subject; without any, all')
    parser.add_argument('--against', metavar='POSTERN', default=kit.middle.POSTERN,
                        help='the program to attack (%(default)s); posternctl is beside it')
    parser.add_argument('--quick', action='store_true', help='only the cut that the tests run')
    parser.add_argument('-l', '--list', action='store_true', help='list the attacks')
    parser.add_argument('-j', '--jobs', type=int, default=min(4, (os.cpu_count() or 1) + 1),
                        help='how many at a time (%(default)s)')
    options = parser.parse_args()
    load()
    try:
        chosen = choose(options.names, options.quick)
    except ValueError as error:
        print(f'attack: {error}', file=sys.stderr)
        return 2
    if options.list:
        for attack in chosen:
            words = [attack.name, *(['(live)'] if attack.live else []),
                     kit.one_line(attack.what.split('\n\n')[0])]
            print(' '.join(words))
        return 0
    program = os.path.abspath(options.against)
    if not os.access(program, os.X_OK):
        print(f'attack: {options.against} cannot be executed', file=sys.stderr)
        return 2
    counts = collections.Counter()
    with multiprocessing.get_context('fork').Pool(options.jobs) as pool:
        tasks = [(attack.name, program) for attack in chosen]
        for verdict, name, what in pool.imap(carry_out, tasks):
            counts[verdict] += 1
            print(f'{verdict} {name}{" " + what if what else ""}', flush=True)
        pool.close()
        pool.join()
    print(f'{counts["ok"]} passed, {counts["not ok"]} failed'
          + (f', {counts["skip"]} skipped' if counts['skip'] else ''))
    return 1 if counts['not ok'] else 0


if __name__ == '__main__':
    sys.exit(main())
