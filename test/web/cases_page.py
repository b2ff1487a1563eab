# SPDX-License-Identifier: BSD-3-Clause
"""The page, in Chromium: each view shows what the firewall has, with the traffic that belongs to it."""

import contextlib
import os

import browser
from bench import PICTURES, Skip, Web, case, equal, expect, folder
from cases_access import TOKEN, written
from fake_daemon import FakeDaemon

CARD = "[...document.querySelectorAll('#pending .pinhole')]"
VIEWS = ('overview', 'expectations', 'connections', 'helpers', 'workers', 'ports', 'rules', 'drops', 'top',
         'memory', 'configuration')  # and replay


@contextlib.contextmanager
def opened(where, url, **size):
    why = browser.why_impossible()
    if why:
        raise Skip(why)
    with browser.Browser(where) as chromium:
        page = chromium.page(**size)
        page.go(url)
        page.until("document.readyState === 'complete' && !!document.querySelector('nav a')", 'the page')
        yield page


def view(page, name):
    """Goes to a view by its link and waits until it has been brought up to date."""
    before = page.value("Number(document.getElementById('main').dataset.updates ?? 0)")
    page.value(f"document.querySelector('nav a[href=\"#{name}\"]').click()")
    page.until(f"document.getElementById('main').dataset.view === '{name}'", f'the view {name}')
    page.until(f"Number(document.getElementById('main').dataset.updates ?? 0) > {before}", f'figures of {name}')
    equal(page.value("document.querySelector('nav a[aria-current]').getAttribute('href')"), f'#{name}', 'the tab')


def picture(page, name):
    os.makedirs(PICTURES, exist_ok=True)
    page.picture(os.path.join(PICTURES, name + '.png'))


def rows(page):
    """Texts of the table's cells, a list a row."""
    return page.value("[...document.querySelectorAll('main tbody tr')].map(r => [...r.children].map(c => c.innerText))")


def row(page, first):
    found = [r for r in rows(page) if r[0] == first]
    expect(found, f'no row {first!r} in {rows(page)[:20]}')
    return found[0]


def nothing_wrong(page, url, refused=0):
    """`refused`: questions that the daemon had to refuse, which the browser reports."""
    complaints = page.complaints()
    equal(len([c for c in complaints if '400 (Bad Request)' in c]), refused, 'refused questions')
    equal([c for c in complaints if '400 (Bad Request)' not in c], [], 'complaints of the browser')
    foreign = [u for u in page.requests() if not u.startswith((url, 'about:', 'chrome', 'data:'))]
    equal(foreign, [], 'requests to somewhere else')


@case('page/each-view-shows-what-is')
def views(shared):
    firewall = shared.firewall
    firewall.transfer()
    # One that stays: those of the transfer end soon.
    client, _ = firewall.announce()
    client('connect')
    with folder() as where, opened(where, firewall.web.url) as page:
        view(page, 'overview')
        page.until("document.querySelectorAll('.chart polyline').length >= 4", 'lines of charts')
        page.until("/^[1-9]/.test(document.getElementById('tile-connections').innerText)", 'connections')
        expect('bit/s' in page.text('#tile-throughput'), page.text('#tile-throughput'))
        equal(page.text('#status'), 'live', 'the status')
        picture(page, 'overview')

        view(page, 'connections')
        page.until("document.querySelector('main tbody').innerText.includes(':21')", 'the control connection')
        page.value("document.getElementById('f-dport').value = '!21'")
        page.value("document.getElementById('filters').requestSubmit()")
        page.until("!document.querySelector('main tbody').innerText.includes(':21')", 'filtered ones')
        page.value("document.getElementById('f-dport').value = '99999'")
        page.value("document.getElementById('filters').requestSubmit()")
        page.until("document.getElementById('wrong').innerText.includes('dport')", 'the mistake in a condition')
        picture(page, 'connections')

        view(page, 'helpers')
        ftp = row(page, 'ftp')
        equal(ftp[1], 'active', 'state of ftp')
        expect(int(ftp[4]) >= 1 and int(ftp[6]) >= 1, f'counters of ftp: {ftp}')

        view(page, 'workers')
        equal([r[0] for r in rows(page)], ['0', '1'], 'workers')
        expect('%' in rows(page)[0][2] and 'µs' in rows(page)[0][5], str(rows(page)[0]))

        view(page, 'ports')
        equal([(r[0], r[1], r[3]) for r in rows(page)], [('in0', 'up', 'inside'), ('out0', 'up', 'outside')], 'ports')

        view(page, 'rules')
        equal(row(page, 'ftp-control')[1], 'accept', 'its action')
        expect(int(row(page, 'ftp-control')[3]) >= 1, f'hits: {row(page, "ftp-control")}')
        equal(row(page, 'default')[1], 'drop', 'the default')

        view(page, 'drops')
        expect(all(int(r[1].replace(',', '')) > 0 and r[2] for r in rows(page) if r != ['none']), str(rows(page)))

        view(page, 'top')
        page.until("document.querySelector('main tbody').innerText.includes('192.0.2.')", 'a source')
        page.value("document.getElementById('of').value = 'rules'; "
                   "document.getElementById('of').dispatchEvent(new Event('change'))")
        page.until("document.querySelector('main tbody').innerText.includes('ftp-')", 'a rule')

        view(page, 'memory')
        equal(row(page, 'connections')[5], 'limits.connections', 'the key')
        expect(page.value("document.querySelectorAll('main meter').length") >= 3, 'meters')

        view(page, 'configuration')
        equal(len(rows(page)), 1, 'configurations')
        equal(rows(page)[0][2], 'in force', 'its state')
        expect(rows(page)[0][4].endswith('postern.yaml'), str(rows(page)))
        nothing_wrong(page, firewall.web.url, refused=1)
    client.close()


@case('page/an-expectation-opens-and-is-used')
def expectation(shared):
    firewall = shared.firewall
    with folder() as where, opened(where, firewall.web.url + '#expectations') as page:
        client, port = firewall.announce()
        control = client.control
        page.until(f"{CARD}.some(c => c.innerText.includes('192.0.2.2:{port}'))", 'the pin-hole')
        text = page.value(f"{CARD}.find(c => c.innerText.includes('192.0.2.2:{port}')).innerText")
        # Who asked, for whom, until when.
        expect(f'{control["src"]}:{control["sport"]} → {control["dst"]}:21' in text, text)
        expect('tcp 192.0.2.1:* →' in text and 'ftp · data' in text and 'left' in text, text)
        expect(page.value("document.querySelectorAll('.timeline rect.waiting').length") >= 1, 'no bar waits')
        picture(page, 'expectations-waiting')
        client('connect')
        page.until(f"!{CARD}.some(c => c.innerText.includes('192.0.2.2:{port}'))", 'its end')
        used = page.until("[...document.querySelectorAll('#past tbody tr')].map(r => r.innerText)"
                          f".find(t => t.includes('192.0.2.2:{port}'))", 'the row of the used one')
        expect('used' in used and 'ftp' in used, used)
        expect(page.value("document.querySelectorAll('.timeline rect.used').length") >= 1, 'no bar is used')
        label = page.value("document.querySelector('.timeline svg').getAttribute('aria-label')")
        expect(' used' in label, label)
        picture(page, 'expectations-used')
        # One whose time passes, and one that an operator takes back.
        for dport, how in ((50001, 'expired'), (50002, 'removed')):
            firewall.middle.ctl('expect', 'create', 'proto=tcp', 'dst=192.0.2.9', f'dport={dport}',
                                'no_master=true', 'zone=0', f'timeout={2 if how == "expired" else 60}')
            page.until(f"{CARD}.some(c => c.innerText.includes('192.0.2.9:{dport}') && "
                       "c.innerText.includes('an operator'))", f'the one to be {how}')
            if how == 'removed':
                firewall.middle.ctl('expect', 'delete', f'dport={dport}')
            page.until("[...document.querySelectorAll('#past tbody tr')].some(r => "
                       f"r.innerText.includes('192.0.2.9:{dport}') && r.innerText.includes('{how}'))", how)
        client.close()
        nothing_wrong(page, firewall.web.url)


EVIL = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>"\'&amp;'


def evil_answers():
    master = {'src': EVIL, 'sport': 1, 'dst': EVIL, 'dport': 2, 'proto': EVIL}
    expected = {'id': EVIL, 'helper': EVIL, 'class': EVIL, 'proto': EVIL, 'src': EVIL, 'sport': None,
                'dst': EVIL, 'dport': 5, 'timeout_s': 60, 'flags': [], 'master': master}
    return {
        'expect list': [expected],
        'expect events': [{'time': '2026-11-30T01:00:00.000+0000', 'event': 'new', **expected}],
        'conntrack list': [{'proto': EVIL, 'src': EVIL, 'sport': 1, 'dst': EVIL, 'dport': 2, 'state': EVIL,
                            'rule': EVIL, 'helper': EVIL, 'packets_original': 1, 'packets_reply': 1,
                            'bytes_original': 1, 'bytes_reply': 1, 'idle_s': 1, 'timeout_s': 1}],
        'conntrack count': [{'connections': 1}],
        'helper list': [{'name': EVIL, 'kind': EVIL, 'proto': EVIL, 'state': EVIL, 'removed': False,
                         'attached': 1, 'messages': 1, 'expectations': 1, 'counters': {EVIL: 3},
                         'process': {'state': EVIL, 'connected': True}}],
        'worker list': [{'worker': EVIL, 'cpu': 0, 'busy_percent': 1.5, 'packets_per_s': 1, 'longest_turn_us': 2}],
        'port list': [{'name': EVIL, 'state': EVIL, 'since_s': 1, 'zone': EVIL, 'peer': EVIL, 'interface': EVIL}],
        'rule list': [{'rule': EVIL, 'action': EVIL, 'in_force': True, 'connections': 1, 'packets': 1,
                       'bytes': 1, 'last': None, 'idle_s': None}],
        'drops': [{'reason': EVIL, 'packets': 1, 'help': EVIL}],
        'top': [{'name': EVIL, 'bytes_s': 1.0, 'packets_s': 1.0, 'connections': 1, 'new_s': 0.0,
                 'dropped': None, 'reason': None}],
        'memory': [{'part': EVIL, 'used': 1, 'max': 2, 'used_percent': 50, 'mb': 1, 'key': EVIL}],
        'config list': [{'number': 1, 'since': EVIL, 'by': EVIL, 'confirmed': True, 'file': EVIL}],
        'metrics': [{'group': 'drops', 'name': 'drops', 'kind': 'counter', 'unit': 'packets',
                     'labels': {'worker': '0', 'reason': EVIL}, 'value': 3, 'help': EVIL}],
    }


@case('page/names-never-become-markup')
def markup(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s', evil_answers())
        with Web(where, daemon.path) as web, opened(where, web.url) as page:
            for name in VIEWS:
                view(page, name)
                if name != 'overview':
                    page.until("document.getElementById('main').innerText.includes('onerror=')", f'the name in {name}')
                equal(page.value("document.querySelectorAll('main img, main script').length"), 0, f'elements in {name}')
                equal(page.value('window.hurt'), None, f'what ran in {name}')
            # Nor could it: the policy holds even if the page did it.
            said = page.value("(() => { try { document.body.innerHTML = '<b>x</b>'; return 'done' } "
                              "catch (e) { return e.name } })()")
            equal(said, 'TypeError', 'assigning markup')
        daemon.close()


@case('page/says-when-there-is-no-daemon-and-comes-back')
def no_daemon(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s')
        with Web(where, daemon.path) as web, opened(where, web.url + '#memory') as page:
            page.until("document.querySelector('main tbody').innerText.includes('limits.connections')", 'figures')
            daemon.close()
            page.until("!document.getElementById('trouble').hidden", 'the trouble')
            expect('no daemon answers' in page.text('#trouble'), page.text('#trouble'))
            expect('limits.connections' in page.text('main'), 'the last figures are away')
            equal(page.value("document.getElementById('main').classList.contains('stale')"), True, 'stale')
            picture(page, 'no-daemon')
            again = FakeDaemon(where + '/s')
            page.until("document.getElementById('trouble').hidden", 'the end of the trouble')
            equal(page.text('#status'), 'live', 'the status')
            again.close()


@case('page/token')
def token(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s')
        path = written(where + '/token', TOKEN + '\n')
        with Web(where, daemon.path, '--token-file', path) as web, opened(where, web.url + '#memory') as page:
            for given in ('wrong-wrong-wrong-wrong', TOKEN):
                page.until("!document.getElementById('login').hidden", 'the question for a token')
                page.value(f"document.getElementById('token').value = '{given}'")
                page.value("document.getElementById('login').requestSubmit()")
            page.until("document.querySelector('main tbody')?.innerText.includes('limits.connections')", 'figures')
            equal(page.value("document.getElementById('login').hidden"), True, 'the question')
            equal(page.value('localStorage.getItem("token")'), None, 'kept beyond the tab')
        daemon.close()


@case('page/keyboard-and-screen-reader')
def keyboard(shared):
    firewall = shared.firewall
    with folder() as where, opened(where, firewall.web.url) as page:
        page.until("document.querySelectorAll('.chart polyline').length >= 2", 'charts', timeout=60)
        page.press('Tab', number=9)
        equal(page.value('document.activeElement.className'), 'skip', 'the first stop')
        seen = []
        for _ in range(24):
            page.press('Tab', number=9)
            seen.append(page.value('document.activeElement.innerText'))
        expect('Rules' in seen and 'Configuration' in seen, f'stops: {seen}')
        # A chart says its values.
        page.value("document.querySelector('.chart').focus()")
        page.press('Home', number=36)
        said = page.until("document.querySelector('.chart output').innerText", 'the words of a chart')
        expect('received' in said and 'bit/s' in said or '–' in said, said)
        # Choosing a view by the keyboard puts the focus into it.
        page.value("document.querySelector('nav a[href=\"#rules\"]').focus()")
        page.press('Enter', number=13)
        page.value("document.activeElement.click()")
        page.until("document.getElementById('main').dataset.view === 'rules' && "
                   "document.activeElement.id === 'main'", 'the focus in the view')
        page.until("document.querySelectorAll('main tbody tr').length > 2", 'rules')
        # Sorting by a button in the head, said by aria-sort.
        page.value("document.querySelectorAll('main thead button')[4].click()")
        equal(page.value("document.querySelectorAll('main thead th')[4].getAttribute('aria-sort')"), 'descending', 'sort')
        tree = page.call('Accessibility.getFullAXTree')['nodes']
        roles = {(n['role']['value'], n.get('name', {}).get('value', '')) for n in tree if 'role' in n and not n.get('ignored')}
        for wanted in (('navigation', 'Views'), ('main', ''), ('heading', 'Rules'), ('link', 'Expectations')):
            expect(any(r == wanted[0] and wanted[1] in n for r, n in roles), f'no {wanted}')
        nameless = [r for r, n in roles if r in ('button', 'link', 'textbox', 'combobox') and not n]
        equal(nameless, [], 'controls without a name')
        view(page, 'connections')
        unlabelled = page.value("[...document.querySelectorAll('input, select')].filter(i => !i.labels.length).length")
        equal(unlabelled, 0, 'inputs without a label')
        nothing_wrong(page, firewall.web.url)


CONTRAST = '''(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (c) => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                         return .2126 * r + .7152 * g + .0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
                          if (!/rgba\\(.*, 0\\)/.test(c) && c !== 'transparent') return rgb(c); } return [255, 255, 255]; };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length) continue;
    if (e.closest('svg') || e.closest('.stale')) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push(`${e.tagName} ${e.className} ${e.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
  }
  return bad;
})()'''


@case('page/light-dark-and-phone')
def looks(shared):
    firewall = shared.firewall
    client, _ = firewall.announce()
    with folder() as where, opened(where, firewall.web.url + '#expectations', width=390, height=844) as page:
        page.until(f'{CARD}.length > 0', 'a pin-hole')
        for scheme in ('light', 'dark'):
            page.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
            for name in ('expectations', 'rules', 'workers', 'connections'):
                view(page, name)
                expect(page.value('document.documentElement.scrollWidth') <= 390,
                       f'{name} is wider than a phone: {page.value("document.documentElement.scrollWidth")}')
                equal(page.value(CONTRAST), [], f'texts hard to read in {name}, {scheme}')
                picture(page, f'phone-{scheme}-{name}')
        ground = page.value('getComputedStyle(document.body).backgroundColor')
        while 'light' not in page.text('#theme'):
            page.value("document.getElementById('theme').click()")
        expect(page.value('getComputedStyle(document.body).backgroundColor') != ground, 'the button changes nothing')
        equal(page.value('localStorage.getItem("theme")'), 'light', 'kept')
    client.close()
