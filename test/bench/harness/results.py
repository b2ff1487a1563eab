# SPDX-License-Identifier: BSD-3-Clause
"""What was measured: rows in sections, and what is said of them.

A Row holds one value for each round. Rounds are interleaved (every contestant of a section is run
once, then all of them again), so value i of one row and value i of its reference were taken within
seconds of each other: the ratio is the median of the ratios of each round, and a machine that drifts
or has other work moves both of its sides.
"""

import dataclasses
import statistics


@dataclasses.dataclass
class Row:
    what: str                   # the load: "memif, 1 queue, 1024 flows"
    who: str = 'Postern'        # who had to carry it
    values: list = dataclasses.field(default_factory=list)  # one a round, in the section's unit
    note: str = ''              # what a reader must know, or why there is no figure
    key: dict = dataclasses.field(default_factory=dict)     # for plots: {'flows': 1000}
    unit: str = ''              # when it is not the section's
    reference: 'Row' = None     # what `ratio` is to; None: to nothing
    higher_is_better: bool = None  # None: as the section says

    def best(self, higher):
        return max(self.values) if higher else min(self.values)

    def median(self):
        return statistics.median(self.values)

    def spread(self):
        """Largest minus smallest, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median() if self.median() else 0.0

    def ratio(self):
        if self.reference is None or not self.values or not self.reference.values:
            return None
        pairs = list(zip(self.values, self.reference.values))
        if len(self.values) != len(self.reference.values) or any(b == 0 for _, b in pairs):
            return self.median() / self.reference.median() if self.reference.median() else None
        return statistics.median(a / b for a, b in pairs)


@dataclasses.dataclass
class Section:
    id: str
    title: str
    about: str                  # what was run, how to repeat it, what the ratio is to
    unit: str
    higher_is_better: bool
    rows: list = dataclasses.field(default_factory=list)

    def row(self, *args, **kwargs):
        row = Row(*args, **kwargs)
        self.rows.append(row)
        return row

    def higher(self, row):
        return self.higher_is_better if row.higher_is_better is None else row.higher_is_better

    def as_json(self):
        rows = []
        for row in self.rows:
            out = {'what': row.what, 'who': row.who, 'unit': row.unit or self.unit, **row.key}
            if row.values:
                out.update(best=row.best(self.higher(row)), median=row.median(),
                           spread=row.spread(), ratio=row.ratio(), values=row.values)
            if row.note:
                out['note'] = row.note
            rows.append(out)
        return {'id': self.id, 'title': self.title, 'about': self.about, 'unit': self.unit,
                'better': 'higher' if self.higher_is_better else 'lower', 'rows': rows}


def figure(value):
    """Four significant digits at most, no exponents."""
    if value == 0:
        return '0'
    if abs(value) >= 1000:
        return f'{value:,.0f}'
    if abs(value) >= 100:
        return f'{value:.0f}'
    return f'{value:.1f}' if abs(value) >= 10 else f'{value:.2f}'


def interleave(contestants, rounds, say):
    """Measures each contestant once a round; the order turns by one from round to round.

    `contestants`: pairs (row, measure); measure() returns a value, or raises. say(text, fraction)
    is told where we are."""
    total = rounds * len(contestants)
    done = 0
    for number in range(rounds):
        turn = number % len(contestants) if contestants else 0
        for row, measure in contestants[turn:] + contestants[:turn]:
            say(f'{row.what}: {row.who}, run {number + 1} of {rounds}', done / total)
            row.values.append(measure())
            done += 1
