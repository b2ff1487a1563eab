#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Says what the last `meson test` did, a line for each test case: meson_results.py FOLDER PREFIX

GoogleTest programs report their cases one by one; any other test program is one case. A program
that failed without a failed case (it crashed, hung or was killed) is itself a failed case.
"""

import json
import os
import sys
import xml.etree.ElementTree as ElementTree

PASSED = {'OK', 'EXPECTEDFAIL'}


def gtest_suites(folder):
    """[(name, element)] of all suites that GoogleTest programs have reported."""
    path = os.path.join(folder, 'meson-logs', 'testlog.junit.xml')
    return [(suite.get('name'), suite)
            for suite in ElementTree.parse(path).getroot().iter('testsuite')]


def cases_of(program, suites):
    """[(case, verdict, reason), ...] of a program; none if it is not a GoogleTest program."""
    found = []
    for name, suite in suites:
        # "postern.PROGRAM.SUITE", where PROGRAM is as meson prints it: "postern / net"
        _, _, gtest_suite = name.partition(f'.{program["name"]}.')
        if not gtest_suite:
            continue
        for case in suite.iter('testcase'):
            skipped = case.find('skipped')
            reason = ''
            if case.find('failure') is not None or case.find('error') is not None:
                verdict = 'not ok'
            elif skipped is not None:
                verdict = 'skip'
                reason = ' '.join((skipped.get('message') or 'gives no reason').split())
            else:
                verdict = 'ok'
            found.append((f'{gtest_suite}.{case.get("name")}', verdict, reason))
    return found


def main():
    folder, prefix = sys.argv[1:3]
    suites = gtest_suites(folder)
    with open(os.path.join(folder, 'meson-logs', 'testlog.json'), encoding='utf-8') as log:
        programs = [json.loads(line) for line in log]
    for program in programs:
        # A result's name is one word.
        name = program['name'].split(' / ')[-1].replace(' ', '-')
        rows = cases_of(program, suites)
        for case, verdict, reason in rows:
            print(verdict, f'{prefix}/{name}/{case}', reason)
        result = program['result']
        if result not in PASSED | {'SKIP'}:
            if not any(verdict == 'not ok' for _, verdict, _ in rows):
                print('not ok', f'{prefix}/{name}', result.lower())
        elif not rows and '[==========]' in program.get('stdout', ''):
            print('not ok', f'{prefix}/{name}', 'its cases are missing in the log')
        elif not rows:
            verdict = 'skip' if result == 'SKIP' else 'ok'
            print(verdict, f'{prefix}/{name}', 'it says so itself' if verdict == 'skip' else '')


main()
