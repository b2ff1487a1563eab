# SPDX-License-Identifier: BSD-3-Clause
"""The whole path of one worker, fed from memory: path_bench, as it is, and its rows."""

import json
import subprocess

import bench as b
import results

NAME = 'path'
TITLE = 'whole path of a worker, in memory'


def _sizes(bench):
    return bench.choose([1, 1_000, 100_000, 1_000_000], [1_000, 100_000], [1_000])


def seconds(bench):
    return bench.choose(280, 20, 3)


def _run(bench, *arguments):
    """One run of path_bench; its rows."""
    out = bench.path('path_bench.json')
    with bench.scope() as scope:
        process = scope.start('path_bench', bench.program('test', 'bench', 'path_bench'),
                              '--json', out, *arguments)
        process.wait(600)
        if process.popen.returncode != 0:
            raise b.Impossible(f'path_bench failed: {process.stderr.strip()[-300:]}')
    with open(out, encoding='utf-8') as file:
        return json.load(file)['rows']


def run(bench):
    section = results.Section(
        'path', 'In memory: the whole path of one worker',
        'A burst of 32 packets through all stages of one worker, as the daemon runs them, without '
        'a driver; 64-byte frames of random connections, both directions. The ratio is to UDP over '
        'IPv4 with 1,000 connections in the same round; of *all helpers* to the row above it: the '
        'same packets of connections without a helper, while every helper is configured and 512 '
        'other connections have one. To repeat: '
        '`build/test/bench/path_bench`, rows explained in `test/bench/NOTES.md`.',
        'cycles/packet', higher_is_better=False)
    sizes = ','.join(str(n) for n in _sizes(bench))
    rows = {}
    for number in range(bench.rounds):
        bench.say(f'path_bench, run {number + 1} of {bench.rounds}', 0.8 * number / bench.rounds)
        _collect(section, rows, _run(bench, *(['--quick'] if bench.size == 'tiny' else
                                             ['--flows', sizes, '--runs', '1'])))
    large = bench.choose(10_000_000, None, None)
    if large:
        bench.say('path_bench with 10,000,000 connections', 0.8)
        try:
            _collect(section, rows, _run(bench, '--flows', str(large), '--runs', '5',
                                         '--only', 'established'))
        except b.Impossible as problem:
            section.row(f'{large:,} connections', note=str(problem))
    reference = rows.get(('established udp4', 1_000))
    for (name, flows), row in rows.items():
        if row.unit.startswith('cycles') and row is not reference:
            # Measured by turns with it, and to be compared with nothing else.
            row.reference = rows.get((name.removesuffix(', all helpers'), flows)) if name.endswith(
                ', all helpers') else reference
    return [section, _memory(bench)]


def _collect(section, rows, found):
    for r in found:
        if r['unit'] == 'ratio':
            continue  # the page has its own
        key = (r['name'], r['flows'])
        if key not in rows:
            what = f"{r['name']}, {r['flows']:,} connections"
            rows[key] = section.row(what, unit=r['unit'], key={'path': r['name'],
                                                              'flows': r['flows']})
        rows[key].values.extend(r['values'])


def _memory(bench):
    section = results.Section(
        'memory', 'Memory',
        'All that a firewall with this many connections takes at start, its share of expectation '
        'table, helpers and rings included; nothing is taken later. To repeat: '
        '`build/test/bench/path_bench --only memory --flows N`.',
        'bytes/connection', higher_is_better=False)
    for n in bench.choose([1_000, 10_000, 100_000, 1_000_000, 10_000_000],
                          [1_000, 10_000, 100_000, 1_000_000], [1_000]):
        try:
            for r in _run(bench, '--flows', str(n), '--runs', '1', '--only', 'memory'):
                section.row(f'{n:,} connections', values=r['values'], key={'flows': n})
        except (b.Impossible, subprocess.SubprocessError) as problem:
            section.row(f'{n:,} connections', note=str(problem))
    return section
