# SPDX-License-Identifier: BSD-3-Clause
"""Line plots as SVG, small and without a library: they look the same everywhere and diff as text."""

import html
import math

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 44, 56
# Told apart by people who see few colours, too.
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#999999')


def _steps(low, high):
    """Round numbers for a linear axis."""
    raw = (high - low) / 5 or 1
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * f for f in (1, 2, 5, 10) if unit * f >= raw)
    first = math.ceil(low / step)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low, high):
    return [10 ** k for k in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def short(value):
    for limit, sign in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if abs(value) >= limit:
            return f'{value / limit:g}{sign}'
    return f'{value:g}'


class _Axis:
    def __init__(self, values, log, start, length):
        low, high = min(values), max(values)
        self.log, self.start, self.length = log, start, length
        if log:
            self.marks = _decades(low, high)
            low, high = math.log10(self.marks[0]), math.log10(self.marks[-1])
            if low == high:
                high = low + 1
        else:
            low = min(low, 0)
            high = high * 1.05 or 1
            self.marks = _steps(low, high)
        self.low, self.high = low, high

    def at(self, value):
        value = math.log10(value) if self.log else value
        return self.start + (value - self.low) / (self.high - self.low) * self.length


def plot(title, x_label, y_label, series, log_x=True, log_y=False, x_marks=None):
    """`series`: {name: [(x, y), ...]}. With x_marks ([(x, text), ...]) these stand at the x axis.
    Returns the SVG's text, or None when there is nothing to show."""
    series = {name: sorted(points) for name, points in series.items() if points}
    points = [p for line in series.values() for p in line]
    if not points:
        return None
    x = _Axis([p[0] for p in points], log_x, LEFT, WIDTH - LEFT - RIGHT)
    y = _Axis([p[1] for p in points], log_y, HEIGHT - BOTTOM, -(HEIGHT - TOP - BOTTOM))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           f'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="15">{html.escape(title)}</text>']
    for mark in y.marks:
        at = y.at(mark)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" '
                   f'stroke="#ddd"/><text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">'
                   f'{short(mark)}</text>')
    for mark, text in x_marks or [(m, short(m)) for m in x.marks]:
        at = x.at(mark)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" '
                   f'stroke="#eee"/><text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" '
                   f'text-anchor="middle">{html.escape(text)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 14}" text-anchor="middle">'
               f'{html.escape(x_label)}</text>')
    out.append(f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
               f'text-anchor="middle">{html.escape(y_label)}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        dash = '' if number < len(COLOURS) else ' stroke-dasharray="5 3"'
        way = ' '.join(f'{x.at(a):.1f},{y.at(b):.1f}' for a, b in line)
        out.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        out.extend(f'<circle cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="3" fill="{colour}"/>'
                   for a, b in line)
        at = TOP + 12 + 18 * number
        out.append(f'<line x1="{WIDTH - RIGHT + 12}" x2="{WIDTH - RIGHT + 34}" y1="{at}" y2="{at}" '
                   f'stroke="{colour}" stroke-width="2"{dash}/>'
                   f'<text x="{WIDTH - RIGHT + 40}" y="{at + 4}">{html.escape(name)}</text>')
    out.append('</svg>\n')
    return '\n'.join(out)
