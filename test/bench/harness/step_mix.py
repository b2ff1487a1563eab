# SPDX-License-Identifier: BSD-3-Clause
"""Mixed loads, whole sessions and several workers, in memory: mix_bench and its rows."""

import json

import bench as b
import results

NAME = 'mix'
TITLE = 'mixes and whole sessions, in memory'


def seconds(bench):
    return bench.choose(190, 10, 2)


def _run(bench, *arguments):
    """One run of mix_bench, each row once."""
    out = bench.path('mix_bench.json')
    with bench.scope() as scope:
        process = scope.start('mix_bench', bench.program('test', 'bench', 'mix_bench'),
                              '--json', out, '--runs', '1', *arguments)
        process.wait(300)
        if process.popen.returncode != 0:
            raise b.Impossible(f'mix_bench failed: {process.stderr.strip()[-300:]}')
    with open(out, encoding='utf-8') as file:
        return json.load(file)


def _many(bench):
    """Rows for which the number of connections matters, with a million of them."""
    rows = {}
    rounds = min(bench.rounds, 5)
    for number in range(rounds):
        bench.say(f'mix_bench with 1,000,000 connections, run {number + 1}',
                  0.6 + 0.4 * number / rounds)
        for only in ('uniform', 'Zipf'):
            for r in _run(bench, '--flows', '1000000', '--only', only)['rows']:
                rows.setdefault((f"{r['name']}, 1,000,000 connections", r['unit']),
                                []).extend(r['values'])
    return rows


def run(bench):
    mixes = results.Section(
        'mix', 'In memory: mixes, and two workers',
        '100,000 connections unless the row says otherwise (`--quick`: 10,000), both directions; cycles are the sum over the '
        'workers. *Zipf*: the k-th most popular connection is drawn 1/k times as often as '
        'the first. *IMIX*: 7 : 4 : 1 of 64, 594 and 1518 bytes; the path does not touch payload. '
        '*Handed over*: each packet arrives at the wrong worker, as with ports without RSS, and goes '
        'over a ring. *At once*: each worker on a CPU of its own, at the same time; elsewhere one '
        'CPU plays all of them by turns. The ratio is to the first row, or the first *at once*. To '
        'repeat: `build/test/bench/mix_bench`.',
        'cycles/packet', higher_is_better=False)
    sessions = results.Section(
        'sessions', 'In memory: whole TCP and FTP sessions',
        'Both ends of each session, packet by packet (`test/bench/sessions.h`): TCP opens, asks, is '
        'answered 1,000 bytes, closes (9 packets); FTP logs in, asks PASV and gets a file twice, '
        'quits (41 packets, 3 connections, 2 of them expected). With 2 workers, control and data '
        'connection of a session live on the worker that RSS says, so half of the time on different '
        'ones. What a worker does in a second is its clock over these cycles. To repeat: '
        '`build/test/bench/mix_bench --only sessions`.',
        'cycles', higher_is_better=False)
    arguments = bench.choose([], ['--flows', '10000', '--packets', '131072', '--sessions', '4000'],
                             ['--flows', '1000', '--packets', '4000', '--sessions', '600'])
    rows = {}
    ghz = None
    for number in range(min(bench.rounds, 5)):
        bench.say(f'mix_bench, run {number + 1}', 0.6 * number / min(bench.rounds, 5))
        data = _run(bench, *arguments)
        ghz = data['ghz']
        for r in data['rows']:
            section = sessions if 'sessions' in r['name'] else mixes
            if r['name'] not in rows:
                rows[r['name']] = section.row(r['name'], unit=r['unit'])
            rows[r['name']].values.extend(r['values'])
    for (name, unit), values in (_many(bench) if bench.choose(True, False, False) else {}).items():
        mixes.row(name, values=values, unit=unit)
    for at_once in (True, False):
        kind = [row for row in mixes.rows if ('at once' in row.what) == at_once]
        for row in kind[1:]:
            row.reference = kind[0]
    for row in sessions.rows:
        row.note = f'{ghz * 1e6 / row.median():,.0f} thousand a second and worker'
        one = rows.get(row.what.replace('2 workers', '1 worker'))
        row.reference = one if one is not row else None
    return [mixes, sessions]
