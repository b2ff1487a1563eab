# SPDX-License-Identifier: BSD-3-Clause
"""Captures that clients send: the verdicts of `postern replay`, by a process that can do nothing else."""

import concurrent.futures
import json
import os
import subprocess

from bench import ROOT, Skip, Web, case, equal, eventually, expect, folder, middle, refused
from cases_access import TOKEN, written
from cases_page import nothing_wrong, opened, picture, view
from fake_daemon import FakeDaemon

TYPE = {'Content-Type': 'application/vnd.tcpdump.pcap'}
CAPTURE = os.path.join(ROOT, 'test', 'differential', 'captures', 'ftp-1.pcap')
CONFIG = os.path.join(ROOT, 'conf', 'demo.yaml')
PATH = '/api/v1/replay'


def content():
    with open(CAPTURE, 'rb') as file:
        return file.read()


def options(*more, config=CONFIG):
    if middle.Postern.missing():
        raise Skip(middle.Postern.missing())
    return ['--replay-config', config, '--postern', middle.POSTERN, *more]


def program(where, text):
    """A program in the place of postern."""
    path = written(where + '/program', '#!/bin/sh\n' + text)
    os.chmod(path, 0o755)
    config = where + '/conf'
    os.makedirs(config, exist_ok=True)
    return ['--replay-config', written(config + '/c.yaml', 'x'), '--postern', path]


@case('replay/the-verdicts-of-postern-replay')
def verdicts(_):
    with folder() as where, Web(where, where + '/none', *options()) as web:
        answer = web.get(PATH + '?inside=192.0.2.1/32', 'POST', headers=TYPE, body=content())
        equal(answer.status, 200, answer.text[:300])
        done = subprocess.run([middle.POSTERN, 'replay', '--json', '-c', CONFIG, '--inside=192.0.2.1/32', CAPTURE],
                              capture_output=True, text=True, check=True)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        equal(answer.json['rows'], [r for r in lines if r['type'] != 'summary'], 'rows')
        equal(answer.json['summary'], lines[-1], 'the summary')
        expect(lines[-1]['expected_connections'] > 0, 'the capture has no expected connection')
        equal(answer.json['left_out'], 0, 'left out')
        equal(web.get('/api/v1/status').json['replay'], True, 'status')
        left = [n for n in os.listdir('/tmp') if n.startswith('postern-replay-')]
        equal(left, [], 'folders that stay')


@case('replay/mistakes-get-a-reason')
def mistakes(_):
    with folder() as where, Web(where, where + '/none', *options()) as web:
        for path, headers, body, status, words in (
                (PATH, {}, b'x', 415, 'vnd.tcpdump.pcap'),
                (PATH, {'Content-Type': 'text/plain'}, b'x', 415, 'vnd.tcpdump.pcap'),
                (PATH, {'Content-Type': 'application/x-www-form-urlencoded'}, b'x', 415, 'vnd.tcpdump.pcap'),
                (PATH, TYPE, b'no capture at all', 422, 'captur'),
                (PATH, TYPE, b'', 422, ''),
                (PATH, TYPE, content()[:100], 422, ''),
                (PATH + '?inside=x', TYPE, content(), 422, 'inside'),
                (PATH + '?inside=--out=/tmp/x;rm', TYPE, content(), 400, 'inside'),
                (PATH + '?inside=', TYPE, content(), 400, 'inside'),
                (PATH + '?out=/tmp/x', TYPE, content(), 400, 'inside'),
                (PATH, TYPE, bytes((16 << 20) + 1), 413, '16 MiB')):
            answer = web.get(path, 'POST', headers=headers, body=body)
            if path == PATH and body == content()[:100] and answer.status == 200:
                continue  # a capture that was cut is replayed as far as it goes
            equal(answer.status, status, f'{path} {headers} {body[:20]} {answer.text[:200]}')
            expect(words in answer.json['error']['message'], f'{path}: {answer.text}')
        equal(web.get(PATH).status, 405, 'GET')
        code, said = refused('--listen', '127.0.0.1:0', '--replay-config', where + '/none.yaml')
        equal(code, 2, said)
    with folder() as where, Web(where, where + '/none') as web:
        equal(web.get(PATH, 'POST', headers=TYPE, body=content()).status, 404, 'without --replay-config')
        equal(web.get('/api/v1/status').json['replay'], False, 'status')
    with folder() as where:
        token = written(where + '/token', TOKEN)
        with Web(where, where + '/none', *options(), '--token-file', token) as web:
            equal(web.get(PATH, 'POST', headers=TYPE, body=content()).status, 401, 'without the token')


def tried(what):
    """A line of sh that says as an object whether a command succeeded."""
    return f'if ({what}) >/dev/null 2>&1; then echo \'{{"type":"packet","did":true}}\'; ' \
           f'else echo \'{{"type":"packet","did":false}}\'; fi\n'


@case('replay/the-process-is-confined')
def confined(_):
    with folder() as where:
        secret = written(where + '/secret', 'x')
        # What it may do shows that the attempts themselves work.
        may = ['true', 'cat "$6"', 'cat /usr/bin/env', 'ls /proc/self', 'python3 -c "import socket"']
        may_not = [f'cat {secret}', f'echo x > {where}/written', 'cat /etc/shadow', 'cat /etc/passwd', 'ls /',
                   f'ls {where}', 'echo x > /tmp/postern-replay-test', 'cat /root/.profile', 'cat /proc/1/environ',
                   'python3 -c "import socket; socket.create_connection((\'127.0.0.1\', %d), 5)"',
                   'echo x > "$TMPDIR/y"']
        with FakePort() as port:
            text = ''.join(tried(t) for t in may) + ''.join(tried(t % port if '%d' in t else t) for t in may_not)
            with Web(where, where + '/none', *program(where, text)) as web:
                answer = web.get(PATH, 'POST', headers=TYPE, body=b'capture')
        equal(answer.status, 200, answer.text)
        did = [row['did'] for row in answer.json['rows']]
        equal(dict(zip(may + may_not, did)), {**dict.fromkeys(may, True), **dict.fromkeys(may_not, False)}, 'what it did')
        expect(not os.path.exists(where + '/written'), 'it wrote outside')


class FakePort:
    """A port of this host that accepts."""

    def __enter__(self):
        import socket  # pylint: disable=import-outside-toplevel
        self.end = socket.create_server(('127.0.0.1', 0))
        return self.end.getsockname()[1]

    def __exit__(self, *_):
        self.end.close()


@case('replay/one-at-a-time-and-bounded')
def bounded(_):
    with folder() as where:
        # It goes on until a file appears in the folder of its configuration, which it may read.
        proceed = where + '/conf/go'
        text = f'until test -e {proceed}; do :; done\necho \'{{"type":"summary"}}\'\n'
        with Web(where, where + '/none', *program(where, text)) as web:
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                both = [pool.submit(web.get, PATH, 'POST', 60, TYPE, b'x') for _ in range(2)]
                eventually(lambda: any(one.done() for one in both), 'nobody is refused')
                first, refused_one = sorted(both, key=lambda one: one.done())
                equal(refused_one.result().status, 429, 'the other one')
                expect(not first.done(), 'the first one has ended')
                equal(web.get('/metrics').status, 200, 'another question, meanwhile')
                written(proceed, '')
                equal(first.result().json['summary'], {'type': 'summary'}, 'the first one')
            equal(web.get(PATH, 'POST', headers=TYPE, body=b'x').status, 200, 'the next one')
    with folder() as where:
        rows = 'i=0; while [ $i -lt 6000 ]; do echo \'{"type":"packet"}\'; i=$((i+1)); done\n' \
               'echo rubbish; echo \'{"type":"summary","n":1}\'\n'
        with Web(where, where + '/none', *program(where, rows)) as web:
            answer = web.get(PATH, 'POST', headers=TYPE, body=b'x').json
            equal((len(answer['rows']), answer['left_out'], answer['summary']['n']), (5000, 1000, 1), 'rows')
    with folder() as where:
        with Web(where, where + '/none', *program(where, 'echo no memory >&2; exit 3\n')) as web:
            answer = web.get(PATH, 'POST', headers=TYPE, body=b'x')
            equal((answer.status, answer.json['error']['message']), (422, 'no memory'), 'a failure')


@case('replay/one-that-does-not-end', quick=False)
def endless(_):
    for text in ('while :; do :; done\n', 'yes\n', 'sleep 1000 & sleep 1000\n'):
        with folder() as where, Web(where, where + '/none', *program(where, text)) as web:
            answer = web.get(PATH, 'POST', headers=TYPE, body=b'x', timeout=90)
            equal(answer.status, 422, f'{text!r}: {answer.text}')
            equal(web.get('/healthz').status, 200, 'afterwards')


@case('replay/the-page-shows-the-way-of-packets')
def on_the_page(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s')
        with Web(where, daemon.path, *options()) as web, opened(where, web.url) as page:
            view(page, 'replay')
            root = page.call('DOM.getDocument')['root']['nodeId']
            node = page.call('DOM.querySelector', nodeId=root, selector='#capture')['nodeId']
            page.call('DOM.setFileInputFiles', files=[CAPTURE], nodeId=node)
            page.value("document.getElementById('inside').value = '192.0.2.1,2001:db8::1'")
            page.value("document.getElementById('replay').requestSubmit()")
            page.until("document.getElementById('said').innerText.includes('accepted')", 'the summary')
            expect('were expected' in page.text('#said'), page.text('#said'))
            first = page.value("[...document.querySelectorAll('main tbody tr')].map(r => r.innerText)")
            expect(any('accept' in r and 'ftp-control' in r for r in first), str(first[:5]))
            expect(any('expectation: new' in r for r in first), 'no expectation')
            picture(page, 'replay')
            for chosen, words in (('expectation', 'expectation:'), ('drop', 'drop')):
                page.value(f"document.getElementById('only').value = '{chosen}'; "
                           "document.getElementById('only').dispatchEvent(new Event('change'))")
                shown = page.value("[...document.querySelectorAll('main tbody tr')].map(r => r.innerText)")
                expect(shown and all(words in r for r in shown), f'{chosen}: {shown[:3]}')
            nothing_wrong(page, web.url)
        with Web(where, daemon.path) as web, opened(where, web.url + '#replay') as page:
            page.until("document.getElementById('said')?.innerText.includes('--replay-config')", 'why it is not there')
            equal(page.value("document.getElementById('replay').hidden"), True, 'the form')
        daemon.close()
