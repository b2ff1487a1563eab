// SPDX-License-Identifier: BSD-3-Clause
// The way of a packet: a capture is sent, and each of its packets gets its verdict and the reason.
import {ask, badge, count, end, h, Refused, seconds, Table, TokenNeeded} from '/base.js';

const TYPE = 'application/vnd.tcpdump.pcap';
const LARGEST = 16 << 20, SHOWN = 1000;

function what(row) {
  if (row.type === 'expectation')
    return `${row.helper ?? 'operator'}: ${row.proto} ${end(row.src, row.sport)} → ${end(row.dst, row.dport)}`;
  return `${row.proto ?? '–'} ${end(row.src, row.sport)} → ${end(row.dst, row.dport)}`;
}
function verdict(row) {
  if (row.type === 'expectation') return badge(`expectation: ${row.event}`, 'wait');
  return badge(row.verdict, row.verdict === 'accept' ? 'good' : row.verdict === 'drop' ? 'bad' : 'old');
}

export function view() {
  let rows = [], sum = '';
  const file = h('input', {type: 'file', id: 'capture', required: true, accept: '.pcap,.pcapng,.cap'});
  const inside = h('input', {id: 'inside', placeholder: '192.0.2.0/24', autocomplete: 'off', spellcheck: 'false'});
  const only = h('select', {id: 'only', onchange: () => show()},
    h('option', {value: 'all'}, 'all'), h('option', {value: 'drop'}, 'dropped'),
    h('option', {value: 'expectation'}, 'expectations'));
  const button = h('button', {type: 'submit'}, 'Replay');
  const said = h('p', {id: 'said', role: 'status', 'aria-live': 'polite'});
  const form = h('form', {class: 'filters', id: 'replay', onsubmit: (event) => {
    event.preventDefault();
    send();
  }}, h('label', {}, 'Capture (pcap or pcapng)', file), h('label', {}, 'Addresses inside', inside), button,
  h('label', {}, 'Show', only));
  const table = new Table('packets', [
    {title: 'Packet', num: true, cell: (r) => r.n, value: (r) => r.n},
    {title: 'Time', num: true, cell: (r) => r.at_s === undefined ? '–' : `${r.at_s.toFixed(6)} s`, value: (r) => r.at_s ?? -1},
    {title: 'Verdict', cell: verdict, value: (r) => r.verdict ?? ''},
    {title: 'Why', cell: (r) => r.reason ?? (r.type === 'expectation' ? `for ${seconds(r.timeout_s)}` : '–')},
    {title: 'What', cell: what, mono: true},
    {title: 'State', cell: (r) => r.proto_state ?? r.state ?? '–'},
    {title: 'Helper', cell: (r) => r.helper ?? '–'},
  ]);
  function show() {
    const chosen = rows.filter((r) => only.value === 'all' || r.verdict === only.value || r.type === only.value);
    table.show(chosen.slice(0, SHOWN), chosen.length > SHOWN ? `the first ${SHOWN} of ${count(chosen.length)}` : sum);
  }
  async function send() {
    const capture = file.files[0];
    if (!capture) return;
    if (capture.size > LARGEST) { said.textContent = 'A capture may have 16 MiB.'; return; }
    button.disabled = true;
    said.textContent = 'It is replayed …';
    try {
      const answer = await ask('replay', {inside: inside.value.trim()}, {body: capture, type: TYPE, timeout: 90000});
      const s = answer.summary;
      rows = answer.rows;
      sum = `${count(rows.length)} lines${answer.left_out ? `, ${count(answer.left_out)} more are left out` : ''}`;
      said.textContent = s === null ? 'It has no packets.'
        : `${count(s.packets)} packets: ${count(s.accepted)} accepted, ${count(s.dropped)} dropped; ` +
          `${count(s.connections)} connections, of which ${count(s.expected_connections)} were expected` +
          (s.sides_inferred ? '. Which side is inside was inferred: give its addresses to be sure.' : '.');
      show();
    } catch (error) {
      said.textContent = error instanceof TokenNeeded ? 'A token is needed: open another view.'
        : error instanceof Refused ? error.message : `No answer: ${error.message}`;
    }
    button.disabled = false;
  }
  return {
    title: 'Replay', every: 60000,
    lead: 'What becomes of the packets of a capture under the configuration of the firewall: the same code, ' +
      'in a process of its own. The firewall itself sees none of them.',
    element: [form, said, h('section', {class: 'card'}, table.element)],
    async update() {
      const {replay} = await ask('status');
      form.hidden = !replay;
      if (!replay) said.textContent = 'Not offered here: postern-web was started without --replay-config.';
    },
  };
}
