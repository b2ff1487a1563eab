// SPDX-License-Identifier: BSD-3-Clause
// Elements, formats, questions to the server. Texts of the firewall (names of rules, of users)
// become text nodes only; nothing here or elsewhere parses markup.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== '')
    .map((c) => c instanceof Node ? c : document.createTextNode(String(c))));
  return element;
}
/** An element with attributes (`onNAME` are listeners) and children: nodes or texts. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

// ---- formats --------------------------------------------------------------------------------

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', {maximumSignificantDigits: 3});

export function count(n) {
  return n === null || n === undefined ? '–' : whole.format(n);
}
/** With a prefix of the SI: 12.3 M. */
export function scaled(n, unit = '') {
  if (n === null || n === undefined || Number.isNaN(n)) return '–';
  const prefixes = ['', 'k', 'M', 'G', 'T', 'P'];
  let i = 0;
  while (Math.abs(n) >= 1000 && i < prefixes.length - 1) { n /= 1000; ++i; }
  return `${short.format(n)} ${prefixes[i]}${unit}`.trim();
}
export function seconds(n) {
  if (n === null || n === undefined) return '–';
  n = Math.max(0, Math.round(n));
  if (n < 60) return `${n} s`;
  if (n < 3600) return `${Math.floor(n / 60)} min ${n % 60} s`;
  if (n < 86400) return `${Math.floor(n / 3600)} h ${Math.floor(n % 3600 / 60)} min`;
  return `${Math.floor(n / 86400)} d ${Math.floor(n % 86400 / 3600)} h`;
}
export function clock(ms) {
  return new Date(ms).toLocaleTimeString('en-GB');
}
/** ADDRESS:PORT, as posternctl writes it; no port: any. */
export function end(address, port, bits) {
  let text = address ?? 'any';
  if (bits !== undefined && bits !== null) text += `/${bits}`;
  if (text.includes(':')) text = `[${text}]`;
  return `${text}:${port ?? '*'}`;
}

// ---- the server -----------------------------------------------------------------------------

export class TokenNeeded extends Error {}
export class Refused extends Error {}

let token = sessionStorage.getItem('token');
export function useToken(text) {
  token = text;
  if (text) sessionStorage.setItem('token', text);
  else sessionStorage.removeItem('token');
}

/** The answer of /api/v1/PATH; `body` is posted. Refused: the question is wrong; Error: no answer. */
export async function ask(path, query = {}, {body = null, type = null, timeout = 20000} = {}) {
  const words = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== '' && v !== null));
  const headers = token ? {Authorization: `Bearer ${token}`} : {};
  if (type) headers['Content-Type'] = type;
  const response = await fetch(`/api/v1/${path}${words.size ? `?${words}` : ''}`,
    {method: body ? 'POST' : 'GET', body, headers, signal: AbortSignal.timeout(timeout), credentials: 'omit'});
  if (response.status === 401) throw new TokenNeeded();
  const answer = await response.json();
  if ([400, 413, 422, 429].includes(response.status)) throw new Refused(answer.error.message);
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}

// ---- tables ---------------------------------------------------------------------------------

/**
 * A table that rows are put into again and again. Columns: {title, cell(row) -> text or node,
 * value(row) -> what is sorted by, num, mono}. The first one is the heading of its row.
 */
export class Table {
  constructor(caption, columns, {sort = null, descending = true} = {}) {
    this.columns = columns;
    this.sort = sort;
    this.descending = descending;
    this.rows = [];
    this.body = h('tbody');
    this.caption = h('caption', {}, caption);
    this.heads = columns.map((column, i) => h('th', {scope: 'col', class: column.num ? 'num' : null},
      h('button', {type: 'button', onclick: () => this.sortBy(i)}, column.title)));
    this.element = h('div', {class: 'scroll'}, h('table', {class: 'cards'}, this.caption,
      h('thead', {}, h('tr', {}, ...this.heads)), this.body));
    this.mark();
  }
  sortBy(i) {
    this.descending = this.sort === i ? !this.descending : Boolean(this.columns[i].num);
    this.sort = i;
    this.mark();
    this.show(this.rows);
  }
  mark() {
    this.heads.forEach((head, i) => {
      if (i === this.sort) head.setAttribute('aria-sort', this.descending ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    });
  }
  show(rows, caption) {
    this.rows = rows;
    if (caption !== undefined) this.caption.textContent = caption;
    let shown = rows;
    if (this.sort !== null) {
      const {value, cell} = this.columns[this.sort];
      const key = value ?? cell;
      const sign = this.descending ? -1 : 1;
      shown = [...rows].sort((a, b) => {
        const x = key(a) ?? '', y = key(b) ?? '';
        return sign * (typeof x === 'number' && typeof y === 'number' ? x - y
          : String(x).localeCompare(String(y), 'en', {numeric: true}));
      });
    }
    this.body.replaceChildren(...(shown.length ? shown.map((row) => this.row(row))
      : [h('tr', {}, h('td', {colspan: this.columns.length, class: 'dim'}, 'none'))]));
  }
  row(row) {
    return h('tr', {}, ...this.columns.map((column, i) => h(i === 0 ? 'th' : 'td', {
      scope: i === 0 ? 'row' : null, 'data-title': column.title,
      class: [column.num && 'num', column.mono && 'mono'].filter(Boolean).join(' ') || null,
    }, column.cell(row))));
  }
}

export function badge(text, kind) {
  return h('span', {class: `badge ${kind}`}, text);
}
export function share(percent, label) {
  if (percent === null || percent === undefined) return '–';
  return h('span', {}, h('meter', {min: 0, max: 100, high: 80, optimum: 0, value: percent,
    'aria-label': label}), ` ${percent} %`);
}
