# SPDX-License-Identifier: BSD-3-Clause
"""Parts, by Google Benchmark: the programs test/bench/*_bench that use it, as they are."""

import json

import bench as b
import results

NAME = 'parts'
TITLE = 'parts, by Google Benchmark'

PROGRAMS = ('parts_bench', 'table_bench', 'policy_bench', 'expect_bench', 'helper_bench')
# What takes long and moves little is left to the full run.
QUICK_FILTER = {'parts_bench': 'parse|/(1000|100000)$', 'policy_bench': 'classify.*/(10|1000)$',
                'expect_bench': '/(0|1000)(/|$)', 'table_bench': '/1000$|advance'}


def seconds(bench):
    return bench.choose(240, 20, 2)


def run(bench):
    section = results.Section(
        'parts', 'Parts',
        'Time of one operation (an item, where the program counts several): CPU time, best and '
        'median of the repetitions. What each is: the comments in `test/bench/*_bench.cc`. To '
        'repeat: `build/test/bench/NAME --benchmark_filter=ROW`.',
        'ns', higher_is_better=False)
    repetitions = bench.choose(5, 5, 1)
    minimum = bench.choose(0.05, 0.01, 0.001)
    programs = bench.choose(PROGRAMS, PROGRAMS, ('parts_bench',))
    rows = {}
    for number, name in enumerate(programs):
        bench.say(name, number / len(programs))
        out = bench.path(f'{name}.json')
        try:
            program = bench.program('test', 'bench', name)
        except b.Impossible as problem:
            section.row('all', name, note=str(problem))
            continue
        arguments = [f'--benchmark_out={out}', '--benchmark_out_format=json',
                     f'--benchmark_repetitions={repetitions}',
                     f'--benchmark_min_time={minimum}',
                     '--benchmark_enable_random_interleaving=true']
        if name == 'expect_bench':  # its fill only grows, so its rows keep their order
            arguments.pop()
        if bench.size != 'full' and name in QUICK_FILTER:
            arguments.append(f'--benchmark_filter={QUICK_FILTER[name]}')
        with bench.scope() as scope:
            process = scope.start(name, program, *arguments)
            try:
                if process.wait(240) != 0:
                    raise b.lab.LabError(process.stderr.strip()[-200:])
            except b.lab.LabError as problem:
                section.row('all', name, note=str(problem))
                continue
        with open(out, encoding='utf-8') as file:
            found = json.load(file)['benchmarks']
        for entry in found:
            if entry.get('run_type') != 'iteration' or entry.get('error_occurred'):
                continue
            key = (name, entry['run_name'])
            if key not in rows:
                rows[key] = section.row(entry['run_name'], name)
            rows[key].values.append(_nanoseconds(entry))
    return [section]


def _nanoseconds(entry):
    """Of one item, in whatever way the program counts them."""
    for counter in ('each', 'per_query'):
        if counter in entry:
            return entry[counter] * 1e9
    if entry.get('items_per_second'):
        return 1e9 / entry['items_per_second']
    scale = {'ns': 1, 'us': 1e3, 'ms': 1e6, 's': 1e9}[entry['time_unit']]
    return entry['cpu_time'] * scale
