#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints files that are too long and classes that have too many public methods; nothing if there
are none.

    scripts/source_sizes.py FILE...

A file may have 600 lines. A class may have 25 public methods (overloads count, constructors,
destructors and what is deleted do not), or says above its name why it has more:

    // Many methods: REASON
"""
import re
import sys

MOST_LINES = 600
MOST_METHODS = 25
REASON = 'Many methods: '

STRIPPED = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)
CLASS = re.compile(r'\b(class|struct)\s+(?:alignas\([^)]*\)\s*|\[\[[^\]]*\]\]\s*)*(\w+)'
                   r'(?:\s+final)?(?:\s*:[^;{}()]*)?\s*\{')
ACCESS = re.compile(r'\b(public|private|protected)\s*:(?!:)')
KEYWORDS = {'if', 'for', 'while', 'switch', 'return', 'sizeof', 'alignof', 'decltype', 'noexcept',
            'static_assert', 'alignas', 'requires', 'asm', 'catch', 'operator'}


def blank(match):
    """As long as what it replaces, so that places stay what they are."""
    return re.sub(r'[^\n]', ' ', match.group())


def end_of(text, opening):
    """The place after the brace or parenthesis that closes the one at `opening`."""
    pairs = {'{': '}', '(': ')'}
    depth, closing = 0, pairs[text[opening]]
    for at in range(opening, len(text)):
        if text[at] == text[opening]:
            depth += 1
        elif text[at] == closing:
            depth -= 1
            if depth == 0:
                return at + 1
    return len(text)


def members(body):
    """The declarations of a class body, bodies of functions and nested classes left out, with
    their access: (access or None, text)."""
    found, access, start, at = [], None, 0, 0
    while at < len(body):
        if body[at] == '(':
            at = end_of(body, at)
            continue
        if body[at] == '{':
            found.append((access, body[start:at]))
            at = start = end_of(body, at)
            continue
        if body[at] == ';':
            found.append((access, body[start:at]))
            start = at + 1
        elif match := ACCESS.match(body, at):
            access, at = match.group(1), match.end()
            start = at
            continue
        at += 1
    return found


def is_method(text, name):
    text = re.sub(r'\[\[.*?\]\]', ' ', text, flags=re.DOTALL)
    if re.search(r'=\s*delete\b', text) or re.search(r'\b(using|typedef|friend|static_assert)\b',
                                                     text):
        return False
    if re.search(r'\boperator\b', text):
        return True
    before = text.split('(')[0]
    if '(' not in text or '=' in before:
        return False
    words = re.findall(r'~?\w+', before)
    return bool(words) and words[-1] not in KEYWORDS | {name, f'~{name}'}


def methods_of(text):
    """(place, name, number of public methods) of each class."""
    bare = STRIPPED.sub(blank, text)
    for match in CLASS.finditer(bare):
        body = bare[match.end():end_of(bare, match.end() - 1) - 1]
        default = 'private' if match.group(1) == 'class' else 'public'
        yield match.start(), match.group(2), sum(
            (access or default) == 'public' and is_method(member, match.group(2))
            for access, member in members(body))


def problems(path):
    with open(path, encoding='utf-8') as file:
        text = file.read()
    lines = text.count('\n')
    if lines > MOST_LINES:
        yield f'{path}: {lines} lines, at most {MOST_LINES}'
    for place, name, methods in methods_of(text):
        number = text.count('\n', 0, place)
        above = []
        for line in reversed(text.split('\n')[:number]):
            if not line.strip().startswith('//'):
                break
            above.append(line)
        if methods > MOST_METHODS and not any(REASON in line for line in above):
            yield (f'{path}:{number + 1}: {name} has {methods} public methods, at most '
                   f'{MOST_METHODS} without a comment "{REASON}..." above it')


def main():
    for path in sys.argv[1:]:
        for problem in problems(path):
            print(problem)


if __name__ == '__main__':
    main()
