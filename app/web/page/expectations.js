// SPDX-License-Identifier: BSD-3-Clause
// Expectations: pin-holes as they open and are used. What is pending comes from the list, what was
// from the recent events.
import {ask, badge, clock, end, h, s, seconds, Table} from '/base.js';

const SHOWN_MS = 120_000, BARS = 24, BAR = 20, LEFT = 210;
const STATES = {waiting: ['waiting', 'wait'], used: ['used', 'good'], expired: ['expired', 'bad'],
  removed: ['removed', 'old']};

/** What became of expectations, from events in their order. */
export class Ledger {
  constructor(kept = 300) {
    this.kept = kept;
    this.all = new Map();  // by id
    this.gap = null;
  }
  event(row) {
    if (row.event === 'listening') { this.gap = null; return; }
    if (row.event === 'lost') {
      this.gap = row.why ?? `${row.events} events were lost`;
      return;
    }
    const at = Date.parse(row.time);
    if (row.event === 'new') {
      this.all.delete(row.id);
      this.all.set(row.id, {row, state: 'waiting', opened: at, until: at + row.timeout_s * 1000,
        ended: null, uses: 0, cause: null});
    } else {
      const one = this.all.get(row.id) ?? {row, state: 'waiting', opened: null,
        until: null, ended: null, uses: 0, cause: null};
      this.all.set(row.id, one);
      if (row.event === 'claim') {
        ++one.uses;
        one.last = at;
        if (row.flags?.includes('permanent')) return;
      }
      one.state = {claim: 'used', expire: 'expired'}[row.event] ??
        (one.uses > 0 ? 'used' : 'removed');
      one.cause = row.cause;
      one.ended ??= at;
    }
    while (this.all.size > this.kept) this.all.delete(this.all.keys().next().value);
  }
  /** Puts in what the list has and events did not bring, and ends what it lacks. */
  list(rows, now) {
    const there = new Set(rows.map((row) => row.id));
    for (const row of rows) {
      const one = this.all.get(row.id);
      if (one && one.state === 'waiting') one.until = now + row.timeout_s * 1000;
      else if (!one) this.all.set(row.id, {row, state: 'waiting', opened: null,
        until: now + row.timeout_s * 1000, ended: null, uses: 0, cause: null});
    }
    for (const one of this.all.values())
      if (one.state === 'waiting' && !there.has(one.row.id) && (one.opened ?? 0) < now - 4000) {
        one.state = 'removed';
        one.ended = now;
      }
  }
  ordered() {
    return [...this.all.values()].sort((a, b) => (b.opened ?? b.until) - (a.opened ?? a.until));
  }
}

export function opens({row}) {
  return `${row.proto} ${end(row.src, row.sport, row.src_prefix)} → ${end(row.dst, row.dport)}`;
}
export function askedBy({row}) {
  const m = row.master;
  return m ? `${m.proto} ${end(m.src, m.sport)} → ${end(m.dst, m.dport)}` : 'an operator';
}
function helperOf({row}) {
  return row.helper ? row.helper + (row.class ? ` · ${row.class}` : '') : 'operator';
}
function stateOf(one) {
  const [text, kind] = STATES[one.state];
  const more = one.cause && one.cause !== text ? ` (${one.cause})` : '';
  return badge(text + more, kind);
}

class Timeline {
  constructor() {
    this.svg = s('svg', {role: 'img'});
    this.element = h('section', {class: 'card timeline'}, h('h2', {}, 'The last two minutes'), this.svg,
      h('ul', {class: 'keys'}, ...Object.keys(STATES).map((k) => h('li', {class: k}, STATES[k][0]))));
  }
  show(all, now) {
    const rows = all.filter((one) => (one.ended ?? now) > now - SHOWN_MS).slice(0, BARS);
    const width = this.svg.clientWidth || 600, left = Math.min(LEFT, width * .4);
    const height = Math.max(1, rows.length) * BAR + 20;
    const x = (t) => left + (1 - Math.min(1, Math.max(0, (now - t) / SHOWN_MS))) * (width - left);
    const parts = rows.flatMap((one, i) => {
      const from = x(one.opened ?? now - SHOWN_MS), to = x(one.ended ?? now), y = i * BAR;
      return [s('text', {x: 0, y: y + 14},
        cut(`${one.row.helper ?? 'operator'} → ${end(one.row.dst, one.row.dport)}`, left)),
      s('rect', {class: one.state, x: from, y: y + 3, width: Math.max(4, to - from), height: BAR - 6,
        rx: 3}, s('title', {}, `${opens(one)}: ${STATES[one.state][0]}`))];
    });
    const bottom = height - 20;
    parts.push(s('line', {class: 'axis', x1: left, x2: width, y1: bottom, y2: bottom}));
    for (const ago of width < 500 ? [120, 60, 0] : [120, 90, 60, 30, 0])
      parts.push(s('text', {class: 'tick', x: x(now - ago * 1000), y: height - 4,
        'text-anchor': ago === 120 ? 'start' : ago === 0 ? 'end' : 'middle'}, ago ? `−${ago} s` : 'now'));
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.svg.setAttribute('height', height);
    const n = (state) => rows.filter((one) => one.state === state).length;
    this.svg.setAttribute('aria-label', `${n('waiting')} waiting, ${n('used')} used, ` +
      `${n('expired')} expired, ${n('removed')} removed; the tables have the details`);
    this.svg.replaceChildren(...parts);
  }
}
function cut(text, pixels) {
  const room = Math.floor(pixels / 6.6);
  return text.length > room ? `${text.slice(0, room - 1)}…` : text;
}

function pinhole(one, now) {
  const left = one.until === null ? null : Math.max(0, (one.until - now) / 1000);
  const whole = Math.max(1, one.row.timeout_s, left ?? 0);
  return h('li', {class: 'pinhole'},
    h('h3', {}, helperOf(one), badge('waiting', 'wait')),
    h('dl', {},
      h('dt', {}, 'opens'), h('dd', {class: 'mono'}, opens(one)),
      h('dt', {}, 'asked by'), h('dd', {class: 'mono'}, askedBy(one)),
      h('dt', {}, 'until'), h('dd', {}, one.until === null ? '–'
        : `${clock(one.until)}, ${seconds(left)} left`)),
    h('progress', {max: whole, value: left ?? whole, 'aria-label': 'time left'}));
}

export function view() {
  const ledger = new Ledger();
  let after = 0;
  const timeline = new Timeline();
  const pending = h('ul', {class: 'pinholes', id: 'pending'});
  const title = h('h2', {}, 'Waiting');
  const note = h('p', {class: 'lead'});
  const past = new Table('what became of them, the latest first', [
    {title: 'Ended', cell: (one) => one.ended ? clock(one.ended) : '–', value: (one) => one.ended ?? 0},
    {title: 'State', cell: stateOf, value: (one) => one.state},
    {title: 'Helper', cell: helperOf},
    {title: 'Opened', cell: opens, mono: true},
    {title: 'Asked by', cell: askedBy, mono: true},
    {title: 'Waited', num: true, value: (one) => one.opened ? one.ended - one.opened : -1,
      cell: (one) => one.opened ? `${((one.ended - one.opened) / 1000).toFixed(1)} s` : '–'},
  ]);
  return {
    title: 'Expectations', every: 1000,
    lead: 'A protocol helper reads that a connection will come, and opens a pin-hole for exactly that ' +
      'connection, once, for a short time.',
    element: [title, pending, note, timeline.element,
      h('section', {class: 'card', id: 'past'}, h('h2', {}, 'Used and ended'), past.element)],
    async update() {
      const recent = await ask('expect/recent', {after});
      const list = await ask('expect/list', {limit: 500});
      const now = recent.now;
      after = recent.next;
      recent.events.forEach((row) => ledger.event(row));
      ledger.list(list.rows, now);
      const all = ledger.ordered();
      const waiting = all.filter((one) => one.state === 'waiting');
      title.textContent = `Waiting: ${list.truncated ? 'more than ' : ''}${waiting.length}`;
      pending.replaceChildren(...waiting.slice(0, 60).map((one) => pinhole(one, now)));
      note.textContent = ledger.gap ? `Events are missing: ${ledger.gap}`
        : waiting.length ? '' : 'No pin-hole is open: nothing has been announced, or all came.';
      timeline.show(all, now);
      past.show(all.filter((one) => one.state !== 'waiting')
        .sort((a, b) => b.ended - a.ended).slice(0, 100));
    },
  };
}
