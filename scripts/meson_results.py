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


def gtest_cases(folder):
    """{name of the program: [(case, verdict, reason), ...]}"""
    found = {}
    path = os.path.join(folder, 'meson-logs', 'testlog.junit.xml')
    for suite in ElementTree.parse(path).getroot().iter('testsuite'):
        # "postern.net.Cursor" is the suite Cursor of the program net; "postern.net" is a plain one.
        parts = suite.get('name').split('.')
        if len(parts) < 3:
            continue
        for case in suite.iter('testcase'):
            skipped = case.find('skipped')
            if case.find('failure') is not None or case.find('error') is not None:
                verdict, reason = 'not ok', ''
            elif skipped is not None:
                verdict, reason = 'skip', (skipped.get('message') or 'no reason given').strip()
            else:
                verdict, reason = 'ok', ''
            name = f'{".".join(parts[2:])}.{case.get("name")}'
            found.setdefault(parts[1], []).append((name, verdict, reason.splitlines()[:1]))
    return found


def main():
    folder, prefix = sys.argv[1:3]
    cases = gtest_cases(folder)
    with open(os.path.join(folder, 'meson-logs', 'testlog.json'), encoding='utf-8') as log:
        programs = [json.loads(line) for line in log]
    for program in programs:
        # "suite / name" or "project:suite / name" where tests have suites
        name = program['name'].split(' / ')[-1]
        rows = cases.get(name, [])
        for case, verdict, reason in rows:
            print(verdict, f'{prefix}/{name}/{case}', *reason)
        failed = program['result'] not in PASSED | {'SKIP'}
        if failed and not any(verdict == 'not ok' for _, verdict, _ in rows):
            print('not ok', f'{prefix}/{name}', program['result'].lower())
        elif not rows:
            verdict = 'skip' if program['result'] == 'SKIP' else 'ok'
            print(verdict, f'{prefix}/{name}', 'it says so itself' if verdict == 'skip' else '')


main()
