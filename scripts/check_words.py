#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Finds the words of scripts/private_words.txt, which have a term of the field instead.

    scripts/check_words.py FILE...          what may not stand in these files
    scripts/check_words.py --look FILE...   what a person may want to look at: ordinary words that
                                            often hide a term, and sentences of documents with more
                                            than 25 words
"""
import os
import re
import sys

LIST = os.path.join(os.path.dirname(os.path.realpath(__file__)), 'private_words.txt')
MOST_WORDS = 25


def words():
    """Two lists of (regular expression, term): the private words, and those to look at."""
    parts = [[], []]
    part = 0
    with open(LIST, encoding='utf-8') as file:
        for line in file:
            line = line.rstrip('\n')
            if line == '-- look':
                part = 1
            elif line and not line.startswith('#'):
                word, term = line.split('\t')
                parts[part].append((re.compile(rf'(?<!\w)(?:{word})(?!\w)', re.IGNORECASE), term))
    return parts


def places(paths, list_of_words):
    for path in paths:
        with open(path, encoding='utf-8', errors='replace') as file:
            for number, line in enumerate(file, 1):
                for word, term in list_of_words:
                    if match := word.search(line):
                        yield f'{path}:{number}: "{match.group()}": {term}'


def sentences(path):
    """(line, words) of each sentence of a document's paragraphs; no tables, no code."""
    paragraph, first, code = [], 0, False
    with open(path, encoding='utf-8') as file:
        lines = [*file, '']
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if line.startswith('```'):
            code = not code
        starts_anew = line.startswith(('* ', '- ', '#', '|')) or re.match(r'\d+\. ', line)
        if code or not line or starts_anew or line.startswith('```'):
            for sentence in re.split(r'(?<=[.!?;:])\s+', ' '.join(paragraph)):
                yield first, sentence.split()
            paragraph, first = [], number
        if line and not code and not line.startswith(('|', '#', '```')):
            paragraph.append(line)
            first = first if len(paragraph) > 1 else number


def main():
    given = sys.argv[1:]
    look = given[:1] == ['--look']
    private, to_look_at = words()
    if not look:
        for place in places(given, private):
            print(place)
        return
    for path in given[1:]:
        if path.startswith('docs/') and path.endswith('.md'):
            for number, sentence in sentences(path):
                if len(sentence) > MOST_WORDS:
                    print(f'{path}:{number}: {len(sentence)} words: {" ".join(sentence[:8])} ...')
    counts = {}
    for place in places(given[1:], to_look_at):
        word = place.split('"')[1].lower()
        counts[word] = counts.get(word, 0) + 1
    for word, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f'"{word}": {count} lines')


if __name__ == '__main__':
    main()
