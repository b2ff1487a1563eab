#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Finds links of documents that lead nowhere; prints nothing if there are none.

    scripts/check_links.py FILE.md...

A link to a file of this tree has to name one that exists. A link whose text is a function,
[`Class::function()`](path), has to name a file that defines or declares it: for a `.cc` with its
class. A heading after # has to exist.
"""
import os
import re
import sys

LINK = re.compile(r'\[([^\]]*)\]\(([^)\s]+)\)')
FUNCTION = re.compile(r'^`((?:\w+::)*)(\w+)\(\)`$')


def anchors(path):
    """As GitHub makes them of headings."""
    with open(path, encoding='utf-8') as file:
        headings = [line.lstrip('#').strip() for line in file if line.startswith('#')]
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def defines(path, classes, name):
    with open(path, encoding='utf-8') as file:
        text = re.sub(r'//[^\n]*', '', file.read())
    if path.endswith('.cc') and classes:
        return re.search(rf'\b{re.escape(classes)}{name}\(', text)
    # A definition or declaration has a type before its name; a call has not.
    return re.search(rf'^[^\S\n]*(?!(?:return|else|if|case|throw)\b)'
                     rf'(?:[\w:<>,\[\]"()&*]+[ \n&*]+)+(?:\w+::)?{name}\(', text, re.MULTILINE)


def problems(document):
    with open(document, encoding='utf-8') as file:
        text = file.read()
    for match in LINK.finditer(re.sub(r'```.*?```', lambda m: '\n' * m.group().count('\n'), text,
                                      flags=re.DOTALL)):
        words, target = match.groups()
        if re.match(r'\w+:', target):
            continue
        line = text.count('\n', 0, text.find(match.group())) + 1
        path, _, anchor = target.partition('#')
        path = os.path.normpath(os.path.join(os.path.dirname(document), path)) if path else document
        if not os.path.exists(path):
            yield f'{document}:{line}: there is no {path}'
            continue
        if anchor and path.endswith('.md') and anchor not in anchors(path):
            yield f'{document}:{line}: {path} has no heading #{anchor}'
        if (function := FUNCTION.match(words)) and not defines(path, *function.groups()):
            yield f'{document}:{line}: {path} has no function {words}'


def main():
    for document in sys.argv[1:]:
        for problem in problems(document):
            print(problem)


if __name__ == '__main__':
    main()
