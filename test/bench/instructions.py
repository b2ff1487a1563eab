#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts the instructions a packet costs on each path, and compares with the committed baseline.

    test/bench/instructions.py             compare; one line a path, as scripts/test.sh reads them
    test/bench/instructions.py --update    write the baseline anew
    test/bench/instructions.py -v PATH...  show where these paths spend theirs

Counted under callgrind: repeatable to the instruction, whatever else the machine does. Only this
project's own code is counted (inlined headers included), not libraries, which choose their code by
the processor. A path that got more than 1 % dearer fails, and the table shows the source files that
grew; whoever meant it runs --update and commits the baseline, where the diff shows it. The build
that scripts/build.sh makes without options has to be the baseline's kind; any other kind is skipped.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BASELINE = os.path.join(ROOT, 'test/bench/instructions.json')
UPDATE = 'test/bench/instructions.py --update'
TOLERANCE = 0.01
OPTIONS = ('optimization', 'b_ndebug', 'b_lto', 'b_sanitize', 'sanitize', 'cpu')


def kind_of_build(build, binary):
    """What decides which instructions the compiler writes."""
    with open(os.path.join(build, 'meson-info', 'intro-buildoptions.json')) as f:
        options = {o['name']: o['value'] for o in json.load(f) if o['name'] in OPTIONS}
    comment = subprocess.run(['readelf', '-p', '.comment', binary], stdout=subprocess.PIPE,
                             text=True, check=True).stdout
    compilers = sorted(set(re.findall(r'\]\s+(.*\S)', comment)))
    return {'compiler': ', '.join(compilers), 'options': options}


def default_options():
    """As meson.build has them."""
    said = subprocess.run(['meson', 'introspect', '--buildoptions',
                           os.path.join(ROOT, 'meson.build')], stdout=subprocess.PIPE, check=True)
    return {o['name']: o['value'] for o in json.loads(said.stdout) if o['name'] in OPTIONS}


def is_default(build):
    """Whether scripts/build.sh makes this kind of build when it is not told otherwise."""
    return 'clang' not in build['compiler'] and build['options'] == default_options()


def difference(before, now):
    """What two kinds of build differ in, as text."""
    def flat(build):
        return {'compiler': build.get('compiler'), **build.get('options', {})}
    before, now = flat(before), flat(now)
    return '; '.join(f'{name}: {before.get(name)}, now {now.get(name)}'
                     for name in {**before, **now} if before.get(name) != now.get(name))


def source_of(path):
    """The name of a source file as the repository has it; of others, whose it is."""
    path = re.sub(r'.*/include/(\w+)/\1/', r'lib/\1/', path)
    found = re.search(r'(?:^|/)((?:lib|pipelines|app|helpers|test)/[^:]*)$', path)
    if found:
        return found.group(1)
    return 'DPDK headers' if '/rte_' in path or 'dpdk' in path else 'other headers'


def read_profile(path, binary):
    """Instructions by source file, of the code that is in `binary`."""
    names = {}
    counts = collections.Counter()
    where = source = None
    called = False
    with open(path) as lines:
        for line in lines:
            found = re.match(r'(fl|fi|fe|fn|ob|cfi|cfl|cfn|cob)=(?:\((\d+)\))?(?: ?(.*))?$', line)
            if found:
                key, number, name = found.groups()
                table = {'ob': 'ob', 'cob': 'ob', 'fn': 'fn', 'cfn': 'fn'}.get(key, 'fl')
                if name:
                    names[table, number] = name
                name = names.get((table, number), '???')
                if key == 'ob':
                    where = name
                elif key in ('fl', 'fi', 'fe'):
                    source = name
            elif line.startswith('calls='):
                called = True  # the next line is what the callee cost
            elif found := re.match(r'[+\-*\d]\S* (\d+)$', line):
                if not called and os.path.basename(where or '') == os.path.basename(binary):
                    counts[source_of(source)] += int(found.group(1))
                called = False
    return counts


def last_words(code, said, log):
    """Why a program ended: its own last lines, then what valgrind's log says of its end."""
    how = f'exit code {code}' if code >= 0 else f'signal {-code}'
    log = [re.sub(r'^==\d+== *', '', line) for line in log.splitlines()]
    place = next((line for line in log if line.startswith('at 0x')), None)
    ends = [line for line in log
            if re.match(r'vex .*unhandled|valgrind: |Process terminating|Illegal opcode', line)]
    return '; '.join([f'it failed with {how}', *said.strip().splitlines()[-3:], *ends,
                      *([place] if place else [])])


def count(binary, path):
    """{source file: instructions a packet}"""
    with tempfile.TemporaryDirectory() as folder:
        out, log = os.path.join(folder, 'out'), os.path.join(folder, 'log')
        done = subprocess.run(
            ['valgrind', '--tool=callgrind', f'--log-file={log}', f'--callgrind-out-file={out}',
             '--collect-atstart=no', '--toggle-collect=*counted_burst*', binary, path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
        if done.returncode != 0:
            with open(log, errors='replace') as f:
                raise RuntimeError(last_words(done.returncode, done.stderr, f.read()))
        packets = int(done.stdout)
        counts = read_profile(out, binary)
    if not counts:
        raise RuntimeError('nothing was counted: is there still a function counted_burst()?')
    return {name: round(n / packets, 1) for name, n in sorted(counts.items()) if n / packets >= .05}


def total(counts):
    return round(sum(counts.values()), 1)


def table(before, now):
    """The source files whose share changed, most grown first."""
    rows = [(now.get(f, 0) - before.get(f, 0), f) for f in set(before) | set(now)]
    return [f'#   {before.get(f, 0):8.1f} {now.get(f, 0):8.1f} {change:+8.1f}  {f}'
            for change, f in sorted(rows, reverse=True) if abs(change) >= .1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('--baseline', default=BASELINE)
    parser.add_argument('--update', action='store_true', help='write the baseline anew')
    parser.add_argument('-v', '--verbose', action='store_true')
    parser.add_argument('paths', nargs='*')
    args = parser.parse_args()

    def skip(why):
        print(f'skip instructions {why}')
        return 1 if args.update else 0

    binary = os.path.join(args.build, 'test/bench/path_count')
    if shutil.which('valgrind') is None:
        return skip('no valgrind here')
    if not os.path.exists(binary):
        return skip(f'{binary} is not built')
    build = kind_of_build(args.build, binary)
    baseline = {}
    if os.path.exists(args.baseline):
        with open(args.baseline) as f:
            baseline = json.load(f)
    if not args.update and not args.verbose and baseline.get('build') != build:
        differs = difference(baseline.get('build', {}), build)
        kind = baseline.get('build', build)
        if not is_default(build) or kind['compiler'] != build['compiler']:
            return skip(f'the baseline is of another kind of build ({differs})')
        # Skipped, it would guard nothing, and nobody would notice.
        print(f'not ok instructions the baseline is not of the default build ({differs}): {UPDATE}')
        return 1

    paths = args.paths or subprocess.run([binary], stdout=subprocess.PIPE, text=True,
                                         check=True).stdout.split()
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        counting = {path: pool.submit(count, binary, path) for path in paths}
    failed = False
    counted = {}
    for path, future in counting.items():
        try:
            now = counted[path] = future.result()
        except (RuntimeError, subprocess.TimeoutExpired, ValueError) as e:
            print(f'not ok instructions/{path} {e}')
            failed = True
            continue
        before = baseline.get('paths', {}).get(path)
        if args.update or args.verbose:
            print(f'{path}: {total(now)} instructions a packet')
            if args.verbose:
                print('\n'.join(table({}, now)))
        elif before is None:
            print(f'not ok instructions/{path} has no baseline: {UPDATE}')
            failed = True
        elif total(now) > total(before) * (1 + TOLERANCE):
            print(f'not ok instructions/{path} {total(now)} a packet, {total(before)} before '
                  f'({total(now) / total(before) - 1:+.1%}); if that is the price: {UPDATE}')
            print('\n'.join(['#     before      now   change', *table(before, now)]))
            failed = True
        else:
            print(f'ok instructions/{path}')
            if total(now) < total(before) * (1 - TOLERANCE):
                print(f'#   {total(now)} a packet, {total(before)} before: better; {UPDATE} keeps it')
    if args.update and not failed:
        with open(args.baseline, 'w') as f:
            json.dump({'build': build, 'paths': baseline.get('paths', {}) | counted}, f, indent=1)
            f.write('\n')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
