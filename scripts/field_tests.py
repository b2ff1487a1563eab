#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Says whether each test that test/field.tsv names has run: field_tests.py RESULTS [STEP]...

RESULTS holds lines `ok NAME`, `not ok NAME ...`, `skip NAME REASON`. A name is looked for only if
its step has run: the word before its first slash. A name that ends in `/` or `.` stands for all
tests that begin so; at least one must be there.
"""

import sys

TABLE = 'test/field.tsv'
# The steps of scripts/test.sh whose results do not begin with the step's own name.
STEPS = {'oracle': 'differential'}


def rows():
    """[(line number, what is reported, test), ...]; a malformed row has no test."""
    found = []
    with open(TABLE, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            if line.strip() and line[0] != '#':
                report, _, test = line.rstrip('\n').partition('\t')
                found.append((number, report, test))
    return found


def main():
    results, steps = sys.argv[1], set(sys.argv[2:])
    names = set()
    with open(results, encoding='utf-8') as file:
        for line in file:
            words = line.removeprefix('not ').split(maxsplit=2)
            if len(words) > 1:
                names.add(words[1])
    missing = []
    for number, report, test in rows():
        step = test.split('/')[0]
        if not report or '/' not in test:
            missing.append(f'{TABLE}:{number}: expected a report, a tab and STEP/NAME')
        elif STEPS.get(step, step) in steps:
            if test[-1] in './':
                there = any(name.startswith(test) for name in names)
            else:
                there = test in names
            if not there:
                missing.append(f'{TABLE}:{number}: {test} has not run')
    print('not ok field/named-tests' if missing else 'ok field/named-tests')
    for text in missing:
        print(f'#   {text}')


if __name__ == '__main__':
    main()
