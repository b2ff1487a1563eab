# SPDX-License-Identifier: BSD-3-Clause
"""Compares this tree with an older one: the whole path in memory, by turns, and the ratios.

    scripts/bench.sh --against COMMIT [--rounds N] [--only WORDS] [--flows N,N]

The older tree is taken from git and built once, into build-against/. Each round runs both, the
first of a round changes. `before` and `now` are the best of all rounds, since what a shared machine
adds is never negative; `best` is their ratio, `median` that of the ratios of each round. Where the
two disagree the machine was too busy to tell.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

import machine

PROGRAMS = ('path_bench', 'mix_bench')


def arguments(words):
    parser = argparse.ArgumentParser(prog='scripts/bench.sh',
                                     description='Measures this tree and COMMIT by turns.')
    parser.add_argument('--against', metavar='COMMIT', required=True)
    parser.add_argument('--rounds', type=int, default=7, help='of each program and tree (7)')
    parser.add_argument('--only', default='', help='rows whose name has this in it')
    parser.add_argument('--flows', default='1000,100000', help='connections, of path_bench')
    parser.add_argument('--program', choices=PROGRAMS, action='append',
                        help='only this one (both)')
    given = parser.parse_args(words)
    if given.rounds < 1:
        parser.error('--rounds: expected 1 or more')
    return given


def git(*words, **more):
    return subprocess.run(['git', '-C', machine.ROOT, *words], check=True, stdout=subprocess.PIPE,
                          **more).stdout


def older_tree(commit):
    """The folder that holds the sources of a commit, built."""
    try:
        name = git('rev-parse', '--verify', '--quiet', f'{commit}^{{commit}}', text=True).strip()
    except subprocess.CalledProcessError:
        sys.exit(f'bench: --against {commit}: git knows no such commit')
    folder = os.path.join(machine.ROOT, 'build-against', name[:12])
    if not os.path.isdir(folder):
        os.makedirs(folder)
        subprocess.run(['tar', '-x', '-C', folder], input=git('archive', name), check=True)
    return folder


def build(folder):
    targets = [f'test/bench/{program}' for program in PROGRAMS]
    subprocess.run(['scripts/build.sh', '-D', 'tests=true', *targets], cwd=folder, check=True)


def rows_of(folder, program, given):
    """{(name, flows): best value} of one run. A row's name tells the same thing in both trees."""
    out = os.path.join(folder, 'build', 'against.json')
    words = ['--runs', '3', '--json', out] + (['--only', given.only] if given.only else [])
    if program == 'path_bench':
        words += ['--flows', given.flows]
    command = [os.path.join(folder, 'build', 'test', 'bench', program), *words]
    # Above what else runs here, where that is allowed. Not by a real-time class: threads that DPDK
    # waits for may never get this CPU then, and the program stands still.
    if os.geteuid() == 0:
        command = ['nice', '-n', '-20', *command]
    run = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                         check=False)
    if run.returncode != 0:
        sys.exit(f'bench: {program} of {folder} failed: {run.stderr.strip()[-300:]}')
    with open(out, encoding='utf-8') as file:
        rows = json.load(file)['rows']
    return {(r['name'], r.get('flows', 0)): min(r['values']) for r in rows if r['values']}


def ratio(before, now):
    """None where there is none: a value of 0 before, as of packets lost."""
    return now / before if before else None


def compared(found, older, newer):
    """The lines of the table. `found`: {(program, row): {folder: [best of each round]}}."""
    def cell(value):
        return f'{"-":>8}' if value is None else f'{value:8.3f}'
    if not found:
        return ['no program has such a row']
    lines = [f'{"":46}{"flows":>8}{"before":>9}{"now":>9}{"best":>8}{"median":>8}']
    for (_, (name, flows)), values in found.items():
        if len(values) != 2:
            lines.append(f'{name:46}{flows or "":>8}   only in one of the two')
            continue
        before, now = min(values[older]), min(values[newer])
        ratios = [ratio(a, b) for a, b in zip(values[older], values[newer])]
        median = None if None in ratios else statistics.median(ratios)
        lines.append(f'{name:46}{flows or "":>8}{before:9.1f}{now:9.1f}{cell(ratio(before, now))}'
                     f'{cell(median)}')
    return lines


def main(words):
    given = arguments(words)
    older = older_tree(given.against)
    for folder in (older, machine.ROOT):
        build(folder)
    programs = given.program or PROGRAMS
    found = {}  # (program, row) -> {folder: [best of each round]}
    for number in range(given.rounds):
        order = (older, machine.ROOT) if number % 2 == 0 else (machine.ROOT, older)
        for program in programs:
            for folder in order:
                print(f'bench: round {number + 1} of {given.rounds}, {program}', file=sys.stderr)
                for row, value in rows_of(folder, program, given).items():
                    found.setdefault((program, row), {}).setdefault(folder, []).append(value)
    print('\n'.join(compared(found, older, machine.ROOT)))
    return 0
