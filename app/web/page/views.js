// SPDX-License-Identifier: BSD-3-Clause
// The views. Each has a title, its elements, how often it is brought up to date (ms), and update().
import {ask, badge, count, end, h, Refused, scaled, seconds, share, Table} from '/base.js';
import {Chart} from '/chart.js';
import {view as expectations} from '/expectations.js';
import {view as replay} from '/replay.js';

function card(title, ...children) {
  return h('section', {class: 'card'}, title ? h('h2', {}, title) : null, ...children);
}

// ---- overview -------------------------------------------------------------------------------

/** Points of the history; rates between them, null where the daemon was away or began anew. */
export class Points {
  constructor(kept = 450) {
    this.kept = kept;
    this.all = [];
    this.next = 0;
  }
  async read() {
    const answer = await ask('history', {after: this.next});
    if (answer.next < this.next) this.all = [];
    this.next = answer.next;
    this.all = [...this.all, ...answer.points].slice(-this.kept);
  }
  get times() {
    return this.all.slice(1).map((point) => point.t);
  }
  /** `of`: the sum that grows, in a point. */
  rates(of) {
    return this.all.slice(1).map((point, i) => {
      const before = this.all[i];
      if (!point.up || !before.up) return null;
      const grown = of(point) - of(before);
      return grown < 0 ? null : grown * 1000 / Math.max(1, point.t - before.t);
    });
  }
}
function lastOf(values) {
  return values.at(-1) ?? null;
}

function overview() {
  const points = new Points();
  const tiles = {};
  const tile = (key, title) => {
    tiles[key] = h('dd', {id: `tile-${key}`}, '–');
    return h('div', {class: 'tile'}, h('dt', {}, title), tiles[key]);
  };
  const bits = (n) => scaled(n, 'bit/s'), each = (n) => scaled(n, '/s');
  const throughput = new Chart('Throughput', bits), packets = new Chart('Packets', each);
  const fresh = new Chart('New connections', each);
  const drops = new Chart('Dropped packets, by reason', each, {stacked: true});
  return {
    title: 'Overview', every: 2000,
    lead: 'The last quarter of an hour. Choose a chart and use the arrow keys to read its values.',
    element: [h('dl', {class: 'tiles'}, tile('throughput', 'Throughput'), tile('packets', 'Packets'),
      tile('new', 'New connections'), tile('connections', 'Connections'),
      tile('expectations', 'Pin-holes open'), tile('drops', 'Dropped')),
    h('div', {class: 'grid'}, throughput.element, packets.element, fresh.element, drops.element)],
    async update() {
      await points.read();
      const times = points.times, now = points.all.at(-1);
      const rx = points.rates((p) => p.rx_bytes * 8), tx = points.rates((p) => p.tx_bytes * 8);
      const rxp = points.rates((p) => p.rx_packets), txp = points.rates((p) => p.tx_packets);
      const created = points.rates((p) => p.new), expected = points.rates((p) => p.expected);
      const sum = (p) => Object.values(p.drops).reduce((a, b) => a + b, 0);
      throughput.show(times, [{name: 'received', values: rx}, {name: 'sent', values: tx}]);
      packets.show(times, [{name: 'received', values: rxp}, {name: 'sent', values: txp}]);
      fresh.show(times, [{name: 'all', values: created}, {name: 'expected', values: expected}]);
      drops.show(times, dropSeries(points));
      const good = now?.up;
      tiles.throughput.textContent = bits(good ? lastOf(tx) : null);
      tiles.packets.textContent = each(good ? lastOf(rxp) : null);
      tiles.new.textContent = each(good ? lastOf(created) : null);
      tiles.connections.textContent = good ? count(now.connections) : '–';
      tiles.expectations.textContent = good ? count(now.expectations) : '–';
      tiles.drops.textContent = each(good ? lastOf(points.rates(sum)) : null);
    },
  };
}
/** The seven reasons with the most packets, and the others. */
function dropSeries(points) {
  const rates = new Map();
  for (const reason of new Set(points.all.flatMap((p) => Object.keys(p.drops ?? {}))))
    rates.set(reason, points.rates((p) => p.drops[reason] ?? 0));
  const total = (values) => values.reduce((a, b) => a + (b ?? 0), 0);
  const sorted = [...rates].map(([name, values]) => ({name, values}))
    .filter((one) => total(one.values) > 0).sort((a, b) => total(b.values) - total(a.values));
  if (sorted.length <= 8) return sorted;
  const rest = sorted.slice(7);
  return [...sorted.slice(0, 7), {name: `${rest.length} others`,
    values: rest[0].values.map((v, i) => v === null ? null : rest.reduce((a, r) => a + r.values[i], 0))}];
}

// ---- connections ----------------------------------------------------------------------------

const FILTERS = [['proto', 'Protocol', 'tcp'], ['src', 'Source', '192.0.2.0/24'],
  ['dst', 'Destination', '2001:db8::/32'], ['dport', 'Port', '21, 8000-8100, !22'],
  ['state', 'State', 'established'], ['helper', 'Helper', 'ftp'], ['rule', 'Rule', ''],
  ['idle', 'Idle', '10m-'], ['bytes', 'Bytes', '1M-']];
const LISTED = 200;

function connections() {
  let wanted = {};
  const inputs = FILTERS.map(([name, , example]) => h('input', {id: `f-${name}`, name,
    placeholder: example, autocomplete: 'off', spellcheck: 'false'}));
  const wrong = h('p', {class: 'dim', role: 'alert', id: 'wrong'});
  const form = h('form', {class: 'filters', id: 'filters', onsubmit: (event) => {
    event.preventDefault();
    wanted = Object.fromEntries(inputs.map((i) => [i.name, i.value.trim()]).filter(([, v]) => v));
    self.update();
  }}, ...FILTERS.map(([, title], i) => h('label', {}, title, inputs[i])),
  h('button', {type: 'submit'}, 'Filter'),
  h('button', {type: 'button', class: 'quiet', onclick: () => {
    form.reset();
    form.requestSubmit();
  }}, 'All'));
  const table = new Table('connections', [
    {title: 'Protocol', cell: (r) => r.proto},
    {title: 'Source', cell: (r) => end(r.src, r.sport), mono: true},
    {title: 'Destination', cell: (r) => end(r.dst, r.dport), mono: true},
    {title: 'State', cell: (r) => r.proto_state ?? r.state},
    {title: 'Rule', cell: (r) => r.rule ?? '–'},
    {title: 'Helper', cell: (r) => r.helper ?? (r.expected_by ? `by ${r.expected_by}` : '–')},
    {title: 'Packets', num: true, cell: (r) => count(r.packets_original + r.packets_reply),
      value: (r) => r.packets_original + r.packets_reply},
    {title: 'Bytes', num: true, cell: (r) => scaled(r.bytes_original + r.bytes_reply, 'B'),
      value: (r) => r.bytes_original + r.bytes_reply},
    {title: 'Idle', num: true, cell: (r) => seconds(r.idle_s), value: (r) => r.idle_s},
    {title: 'Ends in', num: true, cell: (r) => seconds(r.timeout_s), value: (r) => r.timeout_s},
  ]);
  const self = {
    title: 'Connections', every: 3000,
    lead: 'Conditions are those of posternctl conntrack list: ranges, names, and ! for the contrary.',
    element: [form, wrong, card(null, table.element)],
    async update() {
      try {
        const [list, all] = [await ask('conntrack/list', {...wanted, limit: LISTED}),
          await ask('conntrack/count', wanted)];
        const total = Object.values(all.rows[0] ?? {}).find((v) => typeof v === 'number');
        wrong.textContent = '';
        table.show(list.rows, list.truncated ? `the first ${LISTED} of ${count(total)} connections`
          : `${count(list.rows.length)} connections`);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        wrong.textContent = error.message;
        table.show([], 'no answer');
      }
    },
  };
  return self;
}

// ---- lists ----------------------------------------------------------------------------------

/** A view of one table with the rows of a command. */
function listOf(title, lead, path, every, table, more = () => ({})) {
  return {
    title, lead, every, element: [card(null, table.element)],
    async update() {
      const answer = await ask(path, {...more(), limit: 2000});
      table.show(answer.rows, answer.truncated ? 'the first 2000' : `${answer.rows.length} rows`);
    },
  };
}

const HELPER_COLUMNS = ['attached', 'messages', 'expectations'];
function helpers() {
  return listOf('Helpers', 'The protocol helpers in service, and what they read and refused.',
    'helper/list', 2000, new Table('helpers', [
      {title: 'Name', cell: (r) => r.name},
      {title: 'State', cell: (r) => badge(r.state, r.removed ? 'bad' : 'good'), value: (r) => r.state},
      {title: 'Protocol', cell: (r) => `${r.kind}, ${r.proto}`},
      {title: 'Process', cell: (r) => r.process ? badge(r.process.state, r.process.connected ? 'good' : 'bad') : '–'},
      {title: 'Connections', num: true, cell: (r) => count(r.attached), value: (r) => r.attached},
      {title: 'Messages', num: true, cell: (r) => count(r.messages), value: (r) => r.messages},
      {title: 'Expectations', num: true, cell: (r) => count(r.expectations), value: (r) => r.expectations},
      {title: 'Other counters', cell: (r) => Object.entries(r.counters ?? {})
        .filter(([name, n]) => n !== 0 && !HELPER_COLUMNS.includes(name))
        .map(([name, n]) => `${name} ${count(n)}`).join(', ') || '–'},
    ]));
}
function workers() {
  return listOf('Workers', 'Rates are those of the 0.3 seconds before; the longest turn counts from the start.',
    'worker/list', 2000, new Table('workers', [
      {title: 'Worker', cell: (r) => r.worker},
      {title: 'CPU', num: true, cell: (r) => r.cpu, value: (r) => r.cpu},
      {title: 'Busy', num: true, cell: (r) => share(r.busy_percent, `busy share of worker ${r.worker}`),
        value: (r) => r.busy_percent},
      {title: 'Packets', num: true, cell: (r) => scaled(r.packets_per_s, '/s'), value: (r) => r.packets_per_s},
      {title: 'Cycles a packet', num: true, cell: (r) => count(r.cycles_per_packet), value: (r) => r.cycles_per_packet},
      {title: 'Longest turn', num: true, cell: (r) => `${count(r.longest_turn_us)} µs`, value: (r) => r.longest_turn_us},
      {title: 'Connections', num: true, cell: (r) => count(r.connections), value: (r) => r.connections},
      {title: 'Handed over', num: true, cell: (r) => count(r.handed_off), value: (r) => r.handed_off},
      {title: 'Ring', num: true, cell: (r) => share(r.ring_percent, `ring of worker ${r.worker}`),
        value: (r) => r.ring_percent},
    ]));
}
function ports() {
  const kinds = {up: 'good', down: 'bad', gone: 'bad'};
  return listOf('Ports', 'Links and devices.', 'port/list', 2000, new Table('ports', [
    {title: 'Port', cell: (r) => r.name},
    {title: 'State', cell: (r) => badge(r.state, kinds[r.state] ?? 'old'), value: (r) => r.state},
    {title: 'For', num: true, cell: (r) => seconds(r.since_s), value: (r) => r.since_s},
    {title: 'Zone', cell: (r) => r.zone}, {title: 'Peer', cell: (r) => r.peer ?? '–'},
    {title: 'Device', cell: (r) => r.interface ?? r.driver},
    {title: 'Received', num: true, cell: (r) => scaled(r.rx_pps, 'p/s'), value: (r) => r.rx_pps},
    {title: 'Sent', num: true, cell: (r) => scaled(r.tx_pps, 'p/s'), value: (r) => r.tx_pps},
    {title: 'In', num: true, cell: (r) => scaled(r.rx_bps, 'bit/s'), value: (r) => r.rx_bps},
    {title: 'Out', num: true, cell: (r) => scaled(r.tx_bps, 'bit/s'), value: (r) => r.tx_bps},
    {title: 'Lost', num: true, value: (r) => r.rx_missed + r.rx_no_buffer + r.rx_errors + r.tx_errors,
      cell: (r) => count(r.rx_missed + r.rx_no_buffer + r.rx_errors + r.tx_errors)},
    {title: 'Link downs', num: true, cell: (r) => count(r.link_downs), value: (r) => r.link_downs},
  ]));
}
function rules() {
  const kinds = {accept: 'good', drop: 'bad', reject: 'bad'};
  return listOf('Rules', 'In their order, with what they decided. `default` is what no rule matches.',
    'rule/list', 2000, new Table('rules', [
      {title: 'Rule', cell: (r) => r.rule},
      {title: 'Action', cell: (r) => badge(r.action, kinds[r.action] ?? 'old'), value: (r) => r.action},
      {title: 'In force', cell: (r) => r.in_force ? 'yes' : 'not now'},
      {title: 'Connections', num: true, cell: (r) => count(r.connections), value: (r) => r.connections},
      {title: 'Packets', num: true, cell: (r) => count(r.packets), value: (r) => r.packets},
      {title: 'Bytes', num: true, cell: (r) => scaled(r.bytes, 'B'), value: (r) => r.bytes},
      {title: 'Last', num: true, cell: (r) => r.last === null ? 'never' : `${seconds(r.idle_s)} ago`,
        value: (r) => r.idle_s ?? Infinity},
    ]));
}
function drops() {
  const table = new Table('drops', [
    {title: 'Reason', cell: (r) => r.reason, mono: true},
    {title: 'Packets', num: true, cell: (r) => count(r.packets), value: (r) => r.packets},
    {title: 'Meaning', cell: (r) => r.help},
  ], {sort: 1});
  return {
    title: 'Drops', lead: 'Packets that were not forwarded since the start, by reason.', every: 2000,
    element: [card(null, table.element)],
    async update() {
      const rows = (await ask('drops')).rows.filter((r) => r.packets > 0);
      table.show(rows, `${rows.length} reasons have happened`);
    },
  };
}
function memory() {
  return listOf('Memory', 'How full tables and pools are, and the key of the configuration that sets each.',
    'memory', 3000, new Table('memory', [
      {title: 'Part', cell: (r) => r.part},
      {title: 'Used', num: true, cell: (r) => count(r.used), value: (r) => r.used},
      {title: 'Most', num: true, cell: (r) => count(r.max), value: (r) => r.max},
      {title: 'Share', cell: (r) => share(r.used_percent, `share of ${r.part}`), value: (r) => r.used_percent ?? -1},
      {title: 'MiB', num: true, cell: (r) => count(r.mb), value: (r) => r.mb ?? -1},
      {title: 'Key', cell: (r) => r.key, mono: true},
    ]));
}
function top() {
  const choice = (id, values) => h('select', {id, name: id, onchange: () => self.update()},
    ...values.map((v) => h('option', {value: v}, v)));
  const of = choice('of', ['sources', 'destinations', 'rules', 'limits']);
  const by = choice('by', ['bytes', 'packets', 'connections', 'new']);
  const table = new Table('top talkers', [
    {title: 'Name', cell: (r) => r.name},
    {title: 'Throughput', num: true, cell: (r) => r.bytes_s === null ? '–' : scaled(r.bytes_s * 8, 'bit/s'), value: (r) => r.bytes_s},
    {title: 'Packets', num: true, cell: (r) => scaled(r.packets_s, '/s'), value: (r) => r.packets_s},
    {title: 'Connections', num: true, cell: (r) => count(r.connections), value: (r) => r.connections},
    {title: 'New', num: true, cell: (r) => scaled(r.new_s, '/s'), value: (r) => r.new_s},
    {title: 'Dropped', num: true, cell: (r) => r.dropped === null ? '–' : `${count(r.dropped)}: ${r.reason}`, value: (r) => r.dropped},
  ]);
  const self = {
    title: 'Top', every: 5000,
    lead: 'Who moves most, over two seconds; or, with limits, whose packets the limits drop.',
    element: [h('div', {class: 'filters'}, h('label', {}, 'Of', of), h('label', {}, 'By', by)),
      card(null, table.element)],
    async update() {
      const answer = await ask('top', {of: of.value, by: by.value, period: '2s', count: 50});
      table.show(answer.rows, `${answer.rows.length} ${of.value}`);
    },
  };
  return self;
}
function configuration() {
  const table = new Table('configurations', [
    {title: 'Number', num: true, cell: (r) => r.number, value: (r) => r.number},
    {title: 'Since', cell: (r) => r.since},
    {title: 'State', value: (r) => r.state, cell: (r) => badge(r.state, r.kind)},
    {title: 'By', cell: (r) => r.by}, {title: 'File', cell: (r) => r.file, mono: true},
  ]);
  return {
    title: 'Configuration', every: 5000,
    lead: 'The configuration in force and those before it. Its text may hold passwords: only ' +
      'posternctl config show on the control socket has it.',
    element: [card(null, table.element)],
    async update() {
      const rows = (await ask('config/list')).rows.reverse();
      rows.forEach((row, i) => {
        const wait = row.goes_back_in_s;
        row.state = i > 0 ? 'earlier' : wait === undefined ? 'in force'
          : `on trial, goes back in ${seconds(wait)}`;
        row.kind = i > 0 ? 'old' : wait === undefined ? 'good' : 'wait';
      });
      table.show(rows, 'the latest first');
    },
  };
}

export const VIEWS = {overview, expectations, connections, helpers, workers, ports, rules, drops, top,
  memory, configuration, replay};
