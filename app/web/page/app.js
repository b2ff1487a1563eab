// SPDX-License-Identifier: BSD-3-Clause
// Chooses the view by the address's fragment, and brings it up to date while it can be seen.
import {ask, clock, h, TokenNeeded, useToken} from '/base.js';
import {VIEWS} from '/views.js';

const $ = (id) => document.getElementById(id);
const main = $('main'), trouble = $('trouble'), state = $('status'), login = $('login');
const made = {};  // views, by name; they keep what they know
let shown = null;

// ---- light and dark ---------------------------------------------------------------------------

const THEMES = ['automatic', 'light', 'dark'];
function useTheme(theme) {
  if (theme === 'automatic') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $('theme').textContent = `Colours: ${theme}`;
  localStorage.setItem('theme', theme);
}
const stored = localStorage.getItem('theme');
useTheme(THEMES.includes(stored) ? stored : 'automatic');
$('theme').addEventListener('click', () => {
  const now = THEMES.indexOf(localStorage.getItem('theme'));
  useTheme(THEMES[(now + 1) % THEMES.length]);
});

// ---- views --------------------------------------------------------------------------------------

const links = Object.fromEntries(Object.keys(VIEWS).map((name) => {
  made[name] = VIEWS[name]();
  return [name, h('a', {href: `#${name}`}, made[name].title)];
}));
$('views').append(...Object.values(links).map((link) => h('li', {}, link)));

function say(kind, text) {
  if (state.textContent !== text) state.textContent = text;
  state.className = `status ${kind}`;
}
function choose() {
  const name = VIEWS[location.hash.slice(1)] ? location.hash.slice(1) : 'overview';
  for (const [other, link] of Object.entries(links)) {
    if (other === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const view = made[name];
  document.title = `${view.title} – Postern`;
  const first = shown === null;
  shown = view;
  main.dataset.view = name;
  main.replaceChildren(h('h1', {}, view.title), h('p', {class: 'lead'}, view.lead), ...view.element);
  if (!first) main.focus();
  refresh();
}

let timer = null, running = false, again = false;
async function refresh() {
  clearTimeout(timer);
  if (running) { again = true; return; }
  running = true;
  const view = shown;
  try {
    await view.update();
    trouble.hidden = true;
    main.classList.remove('stale');
    main.dataset.updates = Number(main.dataset.updates ?? 0) + 1;
    say('up', 'live');
  } catch (error) {
    if (error instanceof TokenNeeded) {
      askForToken();
      running = false;
      return;
    }
    main.classList.add('stale');
    trouble.textContent = error.name === 'TypeError' ? 'postern-web does not answer.'
      : `No current figures: ${error.message}`;
    trouble.hidden = false;
    say('down', `since ${since()} no answer`);
  }
  running = false;
  if (trouble.hidden) lost = null;
  if (again || view !== shown) { again = false; refresh(); return; }
  timer = setTimeout(() => { if (!document.hidden) refresh(); }, view.every);
}
let lost = null;
function since() {
  lost ??= Date.now();
  return clock(lost);
}
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
window.addEventListener('hashchange', choose);

// ---- the token ----------------------------------------------------------------------------------

function askForToken() {
  say('down', 'a token is needed');
  main.hidden = true;
  login.hidden = false;
  $('token').focus();
}
login.addEventListener('submit', (event) => {
  event.preventDefault();
  useToken($('token').value.trim());
  $('token').value = '';
  login.hidden = true;
  main.hidden = false;
  begin();
});

async function begin() {
  choose();
  try {
    $('version').textContent = `Postern ${(await ask('status')).version}`;
  } catch (error) { /* the view says it */ }
}
begin();
