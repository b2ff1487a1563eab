# SPDX-License-Identifier: BSD-3-Clause
"""Reads OpenMetrics 1.0 text, and Prometheus' 0.0.4, strictly: what a conforming reader refuses is an
error here, so that the exporter is not tested by its own idea of the format."""

import math
import re

NAME = r'[a-zA-Z_:][a-zA-Z0-9_:]*'
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
SAMPLE = re.compile(rf'({NAME})(?:\{{(.*)\}})? (\S+)')
KINDS = {'counter', 'gauge', 'histogram', 'unknown', 'info', 'stateset', 'summary', 'gaugehistogram'}
RESERVED = ('_total', '_created', '_count', '_sum', '_bucket', '_gcount', '_gsum', '_info')


class Malformed(Exception):
    """The text is not of the format."""


def check(condition, what):
    if not condition:
        raise Malformed(what)


class Family:
    def __init__(self, name):
        self.name, self.kind, self.help, self.unit = name, None, None, ''
        self.samples = []  # (name, labels, value)

    def values(self, suffix=''):
        """{labels: value} of the samples of this suffix."""
        return {tuple(sorted(labels.items())): value for name, labels, value in self.samples
                if name == self.name + suffix}


def labels_of(text):
    found, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        check(match, f'labels: {text!r}')
        check(match[1] not in found, f'label twice: {text!r}')
        found[match[1]] = re.sub(r'\\(.)', lambda m: '\n' if m[1] == 'n' else m[1], match[2])
        at = match.end()
    return found


def read(text, open_metrics=True):
    """{name: Family}. Raises Malformed."""
    check(text.endswith('\n'), 'the last line has no end')
    lines = text.split('\n')[:-1]
    if open_metrics:
        check(lines[-1] == '# EOF', 'the last line is not # EOF')
        lines = lines[:-1]
    families, family = {}, None
    for line in lines:
        check(line and line == line.strip(), f'an empty line, or blanks: {line!r}')
        if line.startswith('#'):
            words = line.split(' ', 3)
            check(words[0] == '#' and words[1] in ('HELP', 'TYPE', 'UNIT') and len(words) == 4,
                  f'not a description: {line!r}')
            _, what, name, value = words
            check(re.fullmatch(NAME, name), f'not a name: {name!r}')
            if family is None or family.name != name:
                check(name not in families, f'{name} is not in one place')
                family = families[name] = Family(name)
            check(not family.samples, f'{name}: described after its samples')
            field = {'HELP': 'help', 'TYPE': 'kind', 'UNIT': 'unit'}[what]
            check(not getattr(family, field), f'{name}: {what} twice')
            check(what != 'TYPE' or value in KINDS, f'not a type: {line!r}')
            setattr(family, field, value)
            continue
        match = SAMPLE.fullmatch(line)
        check(match, f'not a sample: {line!r}')
        check(family is not None, f'no description: {line!r}')
        family.samples.append((match[1], labels_of(match[2] or ''), float(match[3])))
    for family in families.values():
        check_family(family, open_metrics)
    return families


def check_family(family, open_metrics):
    name = family.name
    check(family.kind and family.help, f'{name}: no type or help')
    check(family.samples, f'{name}: no samples')
    if family.unit:
        check(name.endswith('_' + family.unit), f'{name}: does not end with its unit {family.unit}')
    if open_metrics or family.kind != 'counter':
        check(not name.endswith(RESERVED), f'{name}: a reserved suffix')
    suffixes = {'counter': {'_total' if open_metrics else ''}, 'gauge': {''},
                'histogram': {'_bucket', '_sum', '_count'}}[family.kind]
    if family.kind == 'counter' and not open_metrics:
        check(name.endswith('_total'), f'{name}: a counter without _total')
    seen = set()
    for sample, labels, value in family.samples:
        check(sample.startswith(name) and sample[len(name):] in suffixes, f'{sample}: not of {name}')
        key = (sample, tuple(sorted(labels.items())))
        check(key not in seen, f'twice: {key}')
        seen.add(key)
        check(family.kind == 'gauge' or value >= 0, f'{sample}: below 0')
    if family.kind == 'histogram':
        check_histogram(family)


def check_histogram(family):
    series = {}
    for labels, value in family.values('_bucket').items():
        rest = tuple(pair for pair in labels if pair[0] != 'le')
        series.setdefault(rest, []).append((float(dict(labels)['le']), value))
    counts, sums = family.values('_count'), family.values('_sum')
    check(set(series) == set(counts) == set(sums), f'{family.name}: buckets, counts and sums differ')
    for labels, buckets in series.items():
        buckets.sort()
        check(buckets[-1][0] == math.inf, f'{family.name}: no +Inf')
        check(all(a[1] <= b[1] for a, b in zip(buckets, buckets[1:])),
              f'{family.name}: buckets are not cumulative')
        check(buckets[-1][1] == counts[labels], f'{family.name}: +Inf is not the count')
