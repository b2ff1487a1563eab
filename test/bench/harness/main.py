# SPDX-License-Identifier: BSD-3-Clause
"""Runs the steps and writes the results page. Started by scripts/bench.sh, which builds first."""

import argparse
import datetime
import os
import signal
import sys
import time

import against
import bench as b
import machine
import report
import results
import step_mix
import step_parts
import step_path
import step_peers
import step_ports
import step_state

STEPS = [step_parts, step_path, step_mix, step_state, step_ports, step_peers]


def arguments():
    names = ', '.join(step.NAME for step in STEPS)
    parser = argparse.ArgumentParser(
        prog='scripts/bench.sh',
        description='Measures Postern on this machine; the results page is '
                    'bench/results/latest.md. Needs root for what uses ports.')
    parser.add_argument('--quick', action='store_true', help='in under 3 minutes, with fewer rows')
    parser.add_argument('--tiny', action='store_true',
                        help='in seconds: only whether it works, the figures mean nothing')
    parser.add_argument('--only', metavar='STEPS', help=f'only some of: {names}')
    parser.add_argument('--rounds', type=int, help='runs of each figure (5 or more mean something)')
    parser.add_argument('--output', metavar='FOLDER',
                        default=os.path.join(machine.ROOT, 'bench', 'results'),
                        help='where the results go (bench/results)')
    given = parser.parse_args()
    if given.only:
        wanted = given.only.split(',')
        for name in wanted:
            if name not in [step.NAME for step in STEPS]:
                parser.error(f'{name}: not a step; expected some of: {names}')
        given.steps = [step for step in STEPS if step.NAME in wanted]
    else:
        given.steps = STEPS
    return given


def main():
    if any(word.split('=')[0] == '--against' for word in sys.argv[1:]):
        return against.main(sys.argv[1:])
    given = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    bench = b.Bench('tiny' if given.tiny else 'quick' if given.quick else 'full', given.steps)
    if given.rounds:
        bench.rounds = given.rounds
    interrupted = False
    try:
        outcome = measure(bench)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        bench.close()
    if interrupted:
        print('bench: interrupted; everything it started has ended, nothing was written',
              file=sys.stderr)
        return 130
    outcome['options'] = ''.join(' ' + word for word in sys.argv[1:])
    report.write(given.output, outcome)
    page = os.path.join(given.output, 'latest.md')
    print(f'bench: done in {outcome["seconds"]} s; {os.path.relpath(page)}', file=sys.stderr)
    return 0


def measure(bench):
    began = time.monotonic()
    before, load_before = machine.busy_jiffies(), machine.load()
    outcome = {'started': datetime.datetime.now().astimezone().isoformat(' ', 'seconds'),
               'machine': machine.describe(), 'sections': [], 'load_before': load_before}
    time.sleep(0.5)
    outcome['busy_before'] = _busy(before)
    for step in bench.steps:
        bench.begin(step)
        try:
            outcome['sections'] += step.run(bench)
        except (b.Impossible, b.lab.LabError) as problem:
            outcome['sections'].append(results.Section(
                step.NAME, step.TITLE, 'Not run.', '', True, [results.Row('-', '-', note=str(problem))]))
        bench.end()
    outcome['busy'] = _busy(before)
    outcome['load_after'] = machine.load()
    outcome['seconds'] = round(time.monotonic() - began)
    return outcome


def _busy(before):
    busy, total = machine.busy_jiffies()
    return (busy - before[0]) / max(total - before[1], 1)


if __name__ == '__main__':
    sys.exit(main())
