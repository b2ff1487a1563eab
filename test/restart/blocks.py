# SPDX-License-Identifier: BSD-3-Clause
"""What restart-cycle.sh and reload-cycle.sh have in common: the command line, the report, and what is
around each block: its time limit, its logs, the removal of its laboratory."""

import argparse
import collections
import os
import shutil
import signal
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'e2e'))

import lab as laboratory  # noqa: E402  (beside the end-to-end cases)
import middle             # noqa: E402


class TimeIsUp(Exception):
    """A block, or a part of it, took too long."""


class Report:
    def __init__(self):
        self.counts = collections.Counter()

    def line(self, verdict, name, notes=()):
        self.counts[verdict] += 1
        print(f'{verdict} {name}', flush=True)
        self.notes(notes)

    @staticmethod
    def notes(notes):
        for note in notes:
            for text in note.rstrip().splitlines():
                print(f'#   {text}', flush=True)


def limit(seconds):
    """TimeIsUp is raised so long from now; 0: no more."""
    def ring(*_):
        raise TimeIsUp(f'not done after {seconds} s')
    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)


def run_block(name, bench, block, options, report, known=(), seconds=240):
    """`block()` runs with the laboratory and the notes of `bench` and reports by itself; what it raises
    is reported here. Exceptions of the kinds `known` need no trace."""
    logs = os.path.join(options.logs, name.replace('/', '-'))
    shutil.rmtree(logs, ignore_errors=True)
    failures = report.counts['not ok']
    try:
        limit(seconds)
        block()
    except Exception as error:  # pylint: disable=broad-except
        plain = isinstance(error, (laboratory.LabError, TimeIsUp, *known))
        said = str(error) if plain else traceback.format_exc()
        report.line('not ok', f'{name}/all', [said, *getattr(error, '__notes__', [])])
    finally:
        limit(0)
        failed = report.counts['not ok'] > failures
        bench.lab.close(logs_to=logs if failed else None)
    report.notes(bench.notes + ([f'logs: {logs}'] if failed else []))


def parser(program, description, full):
    found = argparse.ArgumentParser(prog=f'{program}-cycle.sh', description=description)
    found.add_argument('names', metavar='NAME', nargs='*',
                       help='a block, or the beginning of its name; without any, all')
    found.add_argument('--full', action='store_true', help=full)
    found.add_argument('-l', '--list', action='store_true', help='list the blocks')
    found.add_argument('--logs', default=os.path.join(middle.BUILD, f'{program}-logs'),
                       help='where the logs of failed blocks go (%(default)s)')
    return found


def arguments(from_parser):
    options = from_parser.parse_args()
    options.udp_flows = 100_000 if options.full else 2000
    options.udp_rate = 15_000    # datagrams a second
    options.bulk_rate = 400_000  # bytes a second, connection and direction
    return options


def run(names, options, run_one):
    """Runs those of the blocks that `options` select, by run_one(name, report). Returns the exit code."""
    chosen = [name for name in names
              if not options.names or any(name.startswith(wanted) for wanted in options.names)]
    if options.list or not chosen:
        print('\n'.join(names))
        return 0 if options.list else 2
    # A TERM unwinds like Ctrl-C does, so that the laboratory is removed.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    report = Report()
    impossible = laboratory.why_impossible() or middle.Postern.missing()
    for name in chosen:
        if impossible:
            report.counts['skip'] += 1
            print(f'skip {name} {impossible}')
        else:
            run_one(name, report)
    skipped = report.counts['skip']
    print(f'{report.counts["ok"]} passed, {report.counts["not ok"]} failed'
          + (f', {skipped} skipped' if skipped else ''))
    return 1 if report.counts['not ok'] else 0


def end(main):
    """Ends the process with the exit code of main()."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
