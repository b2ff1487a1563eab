# SPDX-License-Identifier: BSD-3-Clause
"""The results page: latest.md for people, latest.json for programs, plots."""

import json
import os

import machine
import results
import svg


def write(folder, outcome):
    """`outcome`: {'machine', 'options', 'sections', ...}. Writes latest.* as a whole: a reader
    never sees half of a run."""
    os.makedirs(folder, exist_ok=True)
    plots = make_plots(outcome['sections'])
    data = {key: value for key, value in outcome.items() if key != 'sections'}
    data['sections'] = [section.as_json() for section in outcome['sections']]
    _replace(folder, 'latest.json', json.dumps(data, indent=1) + '\n')
    for name in _plot_names():
        if name in plots:
            _replace(folder, name, plots[name])
        elif os.path.exists(os.path.join(folder, name)):
            os.remove(os.path.join(folder, name))  # of an earlier run
    _replace(folder, 'latest.md', page(outcome, plots))


def _replace(folder, name, text):
    path = os.path.join(folder, name)
    with open(path + '.new', 'w', encoding='utf-8') as file:
        file.write(text)
    os.replace(path + '.new', path)


def _table(section):
    lines = [f'| load | who | ratio | best | median | spread | {section.unit} |',
             '|---|---|--:|--:|--:|--:|---|']
    for row in section.rows:
        if not row.values:
            lines.append(f'| {row.what} | {row.who} | - | - | - | - | {_cell(row.note)} |')
            continue
        ratio = row.ratio()
        note = '; '.join(x for x in (row.unit if row.unit != section.unit else '', row.note) if x)
        spread = f'{100 * row.spread():.0f} %' if len(row.values) > 1 else '-'
        lines.append(
            f"| {row.what} | {row.who} | {'-' if ratio is None else f'{ratio:.2f}'} "
            f'| {results.figure(row.best(section.higher(row)))} | {results.figure(row.median())} '
            f'| {spread} | {_cell(note)} |')
    return '\n'.join(lines)


def _cell(text):
    return ' '.join(text.replace('|', '/').split())


def page(outcome, plots):
    m = outcome['machine']
    parts = [
        '# Postern, measured',
        f"`scripts/bench.sh{outcome['options']}` on {outcome['started']}, "
        f"{outcome['seconds'] // 60} min {outcome['seconds'] % 60} s.",
        machine.in_words(m) + '.',
        f"Load: {outcome['load_before']:.1f} before, {outcome['load_after']:.1f} after; CPUs "
        f"busy with anything at all {100 * outcome['busy']:.0f} % of the time"
        + (f", with other programs than ours when we began: {100 * outcome['busy_before']:.0f} %."
           if outcome.get('busy_before') is not None else '.'),
        'Ratios come first: what is compared was run by turns (A B A B), each ratio is the median '
        'of those of the rounds, so other work on the machine moves both sides. *best* and '
        '*median* are of the rounds, *spread* is largest minus smallest as a share of the median. '
        'How each is measured, and what limits it: `docs/performance.md`.',
    ]
    for section in outcome['sections']:
        parts += [f'## {section.title}', section.about, _table(section)]
        parts += [f'![{section.title}]({name})' for name, of in PLOTS_OF.items()
                  if of == section.id and name in plots]
    return '\n\n'.join(parts) + '\n'


# ---- plots -----------------------------------------------------------------------------------

PLOTS_OF = {'cycles.svg': 'path', 'memory.svg': 'memory', 'latency.svg': 'latency'}


def _plot_names():
    return list(PLOTS_OF)


def make_plots(sections):
    by_id = {section.id: section for section in sections}
    plots = {
        'cycles.svg': _cycles(by_id.get('path')),
        'memory.svg': _memory(by_id.get('memory')),
        'latency.svg': _latency(by_id.get('latency')),
    }
    return {name: text for name, text in plots.items() if text}


def _cycles(section):
    series = {}
    for row in section.rows if section else []:
        if row.values and row.key.get('path', '').startswith('established'):
            series.setdefault(row.key['path'], []).append((row.key['flows'], row.median()))
    return svg.plot('Established connections: cycles a packet', 'connections',
                    'cycles a packet (median)', series)


def _memory(section):
    points = [(row.key['flows'], row.values[0] * row.key['flows'] / 2 ** 20)
              for row in (section.rows if section else []) if row.values]
    return svg.plot('Memory taken at start', 'connections', 'MiB', {'Postern': points}, log_y=True)


def _latency(section):
    marks = [(1, 'p50'), (2, 'p99'), (3, 'p99.9'), (4, 'max')]
    series = {}
    for row in section.rows if section else []:
        at = row.key.get('percentile')
        if row.values and at:
            x = next(number for number, text in marks if text == at)
            series.setdefault(f"{row.who}, {row.key['load']}", []).append((x, row.median()))
    return svg.plot('Latency through the loaded path', 'percentile', 'microseconds (median)',
                    series, log_x=False, log_y=True, x_marks=marks)
