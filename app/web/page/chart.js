// SPDX-License-Identifier: BSD-3-Clause
// Charts over time: lines, or areas on top of each other. The arrow keys move along the time, and
// the values there are said as text.
import {clock, h, s} from '/base.js';

const HEIGHT = 160, LEFT = 52, BOTTOM = 18, TOP = 8;

export class Chart {
  /** `format`: a value as text. `stacked`: areas. Series are named at each show(). */
  constructor(title, format, {stacked = false} = {}) {
    this.format = format;
    this.stacked = stacked;
    this.at = null;
    this.svg = s('svg', {'aria-hidden': 'true'});
    this.said = h('output', {'aria-live': 'polite'});
    this.legend = h('ul', {class: 'legend'});
    this.box = h('div', {class: 'chart', tabindex: 0, role: 'group', 'aria-label': title,
      onkeydown: (event) => this.key(event), onpointermove: (event) => this.point(event),
      onpointerleave: () => this.moveTo(null), onblur: () => this.moveTo(null)}, this.svg, this.said);
    this.element = h('section', {class: 'card'}, h('h2', {}, title), this.box, this.legend);
    this.times = [];
    this.series = [];
    new ResizeObserver(() => this.draw()).observe(this.box);
  }
  /** times: ms; series: [{name, values}], a value is null in a gap. */
  show(times, series) {
    this.times = times;
    this.series = series;
    this.legend.replaceChildren(...series.map((one, i) => h('li', {class: `s${i % 8}`}, one.name)));
    this.draw();
  }
  key(event) {
    const last = this.times.length - 1;
    const now = this.at ?? last;
    const to = {ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last}[event.key];
    if (event.key === 'Escape') this.moveTo(null);
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.moveTo(Math.min(last, Math.max(0, to)));
  }
  point(event) {
    const box = this.svg.getBoundingClientRect();
    const part = (event.clientX - box.left - LEFT) / Math.max(1, box.width - LEFT);
    if (this.times.length < 2) return;
    const t = this.times[0] + part * (this.times.at(-1) - this.times[0]);
    let best = 0;
    this.times.forEach((time, i) => {
      if (Math.abs(time - t) < Math.abs(this.times[best] - t)) best = i;
    });
    this.moveTo(best);
  }
  moveTo(i) {
    this.at = i;
    this.draw();
  }
  words(i) {
    const values = this.series.map((one) => `${one.name} ${this.format(one.values[i])}`);
    return `${clock(this.times[i])}: ${values.join(', ') || 'nothing'}`;
  }
  draw() {
    const width = this.box.clientWidth || 600, n = this.times.length;
    this.svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    if (this.at !== null && this.at >= n) this.at = null;
    this.said.textContent = n === 0 ? '' : this.words(this.at ?? n - 1);
    if (n < 2) return this.svg.replaceChildren();
    const sums = this.times.map((_, i) => this.series.reduce((sum, one) => {
      const v = one.values[i] ?? 0;
      return this.stacked ? sum + v : Math.max(sum, v);
    }, 0));
    const top = nice(Math.max(...sums));
    const from = this.times[0], span = Math.max(1, this.times.at(-1) - from);
    const x = (i) => LEFT + (this.times[i] - from) / span * (width - LEFT);
    const y = (v) => TOP + (1 - v / top) * (HEIGHT - TOP - BOTTOM);
    const parts = [0, .5, 1].flatMap((share) => [
      s('line', {class: 'axis', x1: LEFT, x2: width, y1: y(top * share), y2: y(top * share)}),
      s('text', {x: LEFT - 6, y: y(top * share) + 4, 'text-anchor': 'end'}, this.format(top * share))]);
    parts.push(s('text', {x: LEFT, y: HEIGHT - 3}, clock(from)),
      s('text', {x: width, y: HEIGHT - 3, 'text-anchor': 'end'}, clock(this.times.at(-1))));
    const below = this.times.map(() => 0);
    this.series.forEach((one, k) => {
      for (const run of runs(one.values)) {
        const line = run.map((i) => [x(i), y((this.stacked ? below[i] : 0) + one.values[i])]);
        const ground = run.map((i) => [x(i), y(this.stacked ? below[i] : 0)]).reverse();
        parts.push(s('polygon', {class: `${this.stacked ? 'area' : 'under'} s${k % 8}`,
          points: points([...line, ...ground])}));
        if (!this.stacked) parts.push(s('polyline', {class: `line s${k % 8}`, points: points(line)}));
      }
      one.values.forEach((v, i) => { below[i] += v ?? 0; });
    });
    if (this.at !== null)
      parts.push(s('line', {class: 'cursor', x1: x(this.at), x2: x(this.at), y1: TOP, y2: HEIGHT - BOTTOM}));
    this.svg.replaceChildren(...parts);
  }
}

function points(list) {
  return list.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ');
}
/** Parts without a gap: lists of indexes. */
function runs(values) {
  const found = [[]];
  values.forEach((v, i) => {
    if (v === null || v === undefined) found.push([]);
    else found.at(-1).push(i);
  });
  return found.filter((run) => run.length > 0);
}
/** The next 1, 2 or 5 times a power of ten. */
function nice(n) {
  if (!(n > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].find((m) => m * power >= n) * power;
}
