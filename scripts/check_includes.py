#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares which folder includes which with the table of docs/architecture.md; prints what
differs, nothing if they agree.

    scripts/check_includes.py FILE...

The table is below the heading "Which folder may include which": a row `| folder | folders |`. A
folder may include itself and folders of earlier rows only, so there are no cycles. What a row
allows and no file uses is reported, too.
"""
import collections
import re
import sys

DOCUMENT = 'docs/architecture.md'
HEADING = '## Which folder may include which'
ROW = re.compile(r'^\| `([\w/*]+)` \| ([^|]*) \|')
INCLUDE = re.compile(r'^#include "(\w+)/[^"]*"', re.MULTILINE)


def table():
    """{folder: what it may include}, in the order of the document."""
    with open(DOCUMENT, encoding='utf-8') as file:
        section = file.read().partition(HEADING)[2].partition('\n## ')[0]
    rows = {}
    for line in section.splitlines():
        if match := ROW.match(line):
            rows[match.group(1)] = set(re.findall(r'`([\w/*]+)`', match.group(2)))
    return rows


def folder_of(path):
    parts = path.split('/')
    if parts[0] == 'lib':
        return parts[1]
    return {'helpers': 'helpers/*', 'pipelines': 'stages'}.get(parts[0], parts[0])


def includes(paths, names):
    """{(folder, included folder): a place}"""
    found = {}
    for path in paths:
        with open(path, encoding='utf-8') as file:
            text = file.read()
        for match in INCLUDE.finditer(text):
            folder, included = folder_of(path), match.group(1)
            if included in names and included != folder:
                line = text.count('\n', 0, match.start()) + 1
                found.setdefault((folder, included), f'{path}:{line}')
    return found


def helper_includes(paths, helpers):
    """{(helper, another helper it includes): a place}"""
    found = {}
    for helper in helpers:
        of_it = [path for path in paths if path.startswith(f'helpers/{helper}/')]
        for (_, included), place in includes(of_it, helpers - {helper}).items():
            found[helper, included] = place
    return found


def main():
    rows = table()
    if not rows:
        print(f'{DOCUMENT}: there is no table below "{HEADING}"')
        return
    earlier = set()
    for folder, allowed in rows.items():
        for name in sorted(allowed - earlier):
            print(f'{DOCUMENT}: {folder} may include {name}, which is in no earlier row')
        earlier.add(folder)
    paths = [path for path in sys.argv[1:]
             if re.match(r'(app|lib|helpers|pipelines)/.*\.(cc|h)$', path)]
    for name in sorted({folder_of(path) for path in paths} - set(rows)):
        print(f'{DOCUMENT}: there is no row for {name}')
    helpers = {path.split('/')[1] for path in paths if re.match(r'helpers/\w+/', path)}
    for (folder, included), place in sorted(helper_includes(paths, helpers).items()):
        print(f'{place}: helpers/{folder} may not include helpers/{included}')
    found = includes(paths, set(rows))
    for (folder, included), place in sorted(found.items()):
        if included not in rows.get(folder, set()):
            print(f'{place}: {folder} may not include {included}')
    used = collections.defaultdict(set)
    for folder, included in found:
        used[folder].add(included)
    for folder, allowed in rows.items():
        for name in sorted(allowed - used[folder]):
            print(f'{DOCUMENT}: {folder} may include {name}, and does not')


if __name__ == '__main__':
    main()
