#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Repeats the tests of test/field.tsv with an older program. scripts/field.sh calls it and describes it."""

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile

import field_tests

os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# What a failure says that comes before the fault: the older program cannot be asked for it.
LACKS = re.compile('unknown key|there is no command|there is none of this name|bad expect|'
                   'neither words nor a directive|found a mapping|'
                   r'conf/\w+\.yaml (?:has no rule|does not say)')


def is_named(test, name):
    """Whether the table's `test` stands for the test `name`."""
    return name.startswith(test) if test[-1] in './' else name == test


def of_failures(names_and_texts):
    """(verdict, first words) of tests that one row stands for: [(name, its failure or None), ...]."""
    failures = [text for _, text in names_and_texts if text is not None]
    if not names_and_texts:
        return 'unknown', 'no such test has run'
    if not failures:
        return 'passes', ''
    for text in failures:
        if not LACKS.search(text):
            return 'fails', text
    return 'lacks', failures[0]


def words_of(text):
    """The line of a failure that says most."""
    lines = [line for line in text.splitlines() if line.strip() and 'logs:' not in line]
    for line in lines:
        if LACKS.search(line):
            return line
    return lines[-1] if lines else 'it fails'


def run_e2e(tree, tests):
    """{test: (verdict, words)}"""
    patterns = [word for test in tests for word in ('-k', test.removeprefix('e2e/'))]
    env = {**os.environ, 'POSTERN_BUILD': os.path.join(tree, 'build'),
           'POSTERN_CONF': os.path.join(tree, 'conf')}
    with tempfile.TemporaryDirectory() as logs:
        done = subprocess.run([sys.executable, 'test/e2e/run.py', '--logs', logs, *patterns], env=env,
                              stdout=subprocess.PIPE, text=True, check=False)
    results, name = {}, None
    for line in done.stdout.splitlines():
        if line.startswith(('ok ', 'not ok ')):
            name = 'e2e/' + line.removeprefix('not ').split()[1]
            results[name] = None if line.startswith('ok') else ''
        elif line.startswith('#') and results.get(name) is not None:
            results[name] += line[1:].strip() + '\n'
    failures = [(name, text if text is None else words_of(text)) for name, text in results.items()]
    return {test: of_failures([row for row in failures if is_named(test, row[0])]) for test in tests}


def run_dialogue(tree, test):
    """(verdict, words). The conversation is read alone: an older reader may not know others' notation."""
    helper, name = re.fullmatch(r'unit/dialogue-(\w+)/\w+?\.(\w+)\..*', test).groups()
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(os.path.join(folder, helper, 'dialogues'))
        shutil.copy(f'helpers/{helper}/dialogues/{name}.txt', os.path.join(folder, helper, 'dialogues'))
        done = subprocess.run([os.path.join(tree, 'build/test/dialogue/dialogue_test'),
                               os.path.join(folder, helper)], capture_output=True, text=True,
                              check=False)
    if done.returncode == 0:
        return 'passes', ''
    text = done.stdout + done.stderr
    unequal = re.search(r'Which is: (.*)', text)
    return of_failures([(test, unequal.group(1) if unequal else words_of(text))])


def run_replay(tree, test):
    """(verdict, words) of one promise of replay."""
    done = subprocess.run([sys.executable, 'test/differential/replay_test.py', '--postern',
                           os.path.join(tree, 'build/app/postern'), '-k', test.split('/')[-1]],
                          capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    return of_failures([(test, None if done.returncode == 0 else words_of(text))])


def main():
    parser = argparse.ArgumentParser(prog='field.sh', description=__doc__.splitlines()[0])
    parser.add_argument('names', metavar='NAME', nargs='*', help="a part of a test's name")
    parser.add_argument('--against', metavar='TREE', required=True,
                        help='a checkout of an older commit, built in TREE/build')
    options = parser.parse_args()
    tree = os.path.abspath(options.against)
    for program in ('app/postern', 'app/posternctl', 'test/dialogue/dialogue_test'):
        if not os.access(os.path.join(tree, 'build', program), os.X_OK):
            print(f'field: {tree}/build/{program} is not built', file=sys.stderr)
            return 1
    tests = [test for _, _, test in field_tests.rows()
             if not options.names or any(name in test for name in options.names)]
    e2e = [test for test in tests if test.startswith('e2e/')]
    results = run_e2e(tree, e2e) if e2e else {}
    counts = collections.Counter()
    for test in tests:
        if test.startswith('unit/dialogue-'):
            results[test] = run_dialogue(tree, test)
        elif test.startswith('differential/replay/'):
            results[test] = run_replay(tree, test)
        verdict, words = results.get(test, ('unknown', ''))
        counts[verdict] += 1
        print(f'{verdict} {test} {words[:160]}'.rstrip(), flush=True)
    print(', '.join(f'{counts[word]} {word}' for word in ('fails', 'lacks', 'passes', 'unknown')))
    return 1 if counts['passes'] else 0


if __name__ == '__main__':
    sys.exit(main())
