# SPDX-License-Identifier: BSD-3-Clause
"""Nothing that HTTP clients do costs the daemon more than a few connections and one answer a second,
and nothing that the daemon does holds up HTTP clients without end."""

import concurrent.futures
import os
import signal
import socket
import threading
import time

import exposition
from bench import Web, Wrong, case, equal, eventually, expect, folder, laboratory, received
from fake_daemon import FakeDaemon

CLIENTS = 200
MOST = 5  # four questions, and the events of expectations
UP = 'postern_up'


def up_of(web):
    return exposition.read(web.get('/metrics').text, open_metrics=False)[UP].values()[()]


@case('bounds/200-clients-share-answers')
def many_clients(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s')
        with Web(where, daemon.path) as web:
            begin = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
                answers = list(pool.map(lambda i: web.get(('/metrics', '/api/v1/memory', '/')[i % 3]).status,
                                        range(3 * CLIENTS)))
            took = time.monotonic() - begin
            equal(set(answers), {200}, 'statuses')
            # One answer a second is given again; the history asks for the metrics, too.
            for command in ('metrics', 'memory'):
                expect(1 <= daemon.times(command) <= took + 2, f'{command}: {daemon.times(command)} in {took:.1f} s')
            expect(daemon.most_busy <= MOST, f'{daemon.most_busy} questions at once')
        daemon.close()


@case('bounds/200-clients-with-different-questions')
def many_questions(_):
    with folder() as where:
        together = threading.Barrier(4)

        def answer(args):
            together.wait(60)  # it asks as many at once as it may
            return [args]
        daemon = FakeDaemon(where + '/s', {'conntrack list': answer})
        with Web(where, daemon.path) as web:
            with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
                answers = list(pool.map(lambda i: (i, web.get(f'/api/v1/conntrack/list?sport={i}')),
                                        range(CLIENTS)))
            for i, answer in answers:
                equal((answer.status, answer.json['rows']), (200, [{'sport': str(i)}]), f'answer {i}')
            expect(daemon.most_busy <= MOST, f'{daemon.most_busy} questions at once')
        daemon.close()


@case('bounds/a-silent-daemon-holds-up-no-page', quick=False)
def silent(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s', silent=True)
        with Web(where, daemon.path) as web:
            with concurrent.futures.ThreadPoolExecutor(60) as pool:
                slow = [pool.submit(web.get, f'/api/v1/conntrack/list?sport={i}') for i in range(50)]
                eventually(lambda: daemon.times('conntrack list') >= 3, 'nobody asked')
                equal(web.get('/').status, 200, 'the page, meanwhile')
                equal(web.get('/healthz').status, 200, 'health, meanwhile')
                equal({future.result().status for future in slow}, {503}, 'the others')
            equal(up_of(web), 0, 'postern_up')
            expect(daemon.most_busy <= MOST, f'{daemon.most_busy} questions at once')
        daemon.close()


@case('bounds/no-daemon-then-one-then-none')
def comes_and_goes(_):
    with folder() as where:
        path = where + '/s'
        with Web(where, path) as web:
            equal(up_of(web), 0, 'postern_up without a daemon')
            answer = web.get('/api/v1/memory')
            equal((answer.status, answer.json['error']['code']), (503, 'unavailable'), 'an answer')
            expect('no daemon answers' in answer.json['error']['message'], answer.text)
            equal(web.get('/api/v1/status').json['up'], False, 'status')
            daemon = FakeDaemon(path)
            eventually(lambda: up_of(web) == 1, 'it does not find the daemon')
            eventually(lambda: daemon.times('expect events') == 1, 'events are not followed')
            daemon.close()
            eventually(lambda: up_of(web) == 0, 'it does not miss the daemon')
            again = FakeDaemon(path)
            eventually(lambda: again.times('expect events') == 1, 'events of the next are not followed')
            points = eventually(lambda: (p := web.get('/api/v1/history').json['points'])[-1]['up'] and p, 'up')
            expect(not all(p['up'] for p in points), 'the history has no gap')
            again.close()


@case('bounds/a-stopped-daemon', quick=False)
def stopped(shared):
    firewall = shared.firewall
    daemon = eventually(lambda: [int(p) for p in laboratory.run(
        'ip', 'netns', 'pids', firewall.lab.names['middle']).stdout.split()
        if os.path.basename(os.readlink(f'/proc/{p}/exe')) == 'postern'], 'no daemon')[0]
    os.kill(daemon, signal.SIGSTOP)
    try:
        eventually(lambda: up_of(firewall.web) == 0, 'it calls a stopped daemon up')
        equal(firewall.web.get('/').status, 200, 'the page')
    finally:
        os.kill(daemon, signal.SIGCONT)
    eventually(lambda: up_of(firewall.web) == 1, 'it does not come back', timeout=60)


@case('bounds/slow-clients-are-cut-off')
def slow_clients(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s')
        with Web(where, daemon.path) as web:
            ends = [web.connect() for _ in range(150)]
            for i, end in enumerate(ends):
                end.sendall(b'GET /metrics HTTP/1.1\r\nHost: x'[:i % 30])
            equal(web.get('/metrics').status, 200, 'another client, meanwhile')
            said = {received(end)[:12] for end in ends}
            expect(said <= {b'', b'HTTP/1.1 408'}, f'answers to half a request: {said}')
            for end in ends:
                end.close()
        daemon.close()


@case('bounds/a-client-that-does-not-read', quick=False)
def not_reading(_):
    rows = [{'line': 'x' * 1000}] * 9_000
    with folder() as where:
        daemon = FakeDaemon(where + '/s', {'conntrack list': rows})
        with Web(where, daemon.path) as web:
            ends = [web.connect() for _ in range(40)]
            for end in ends:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                end.sendall(b'GET /api/v1/conntrack/list?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n')
            equal(web.get('/metrics').status, 200, 'another client, meanwhile')
            whole = len(web.get('/api/v1/conntrack/list?limit=10000').body)
            expect(whole > 9_000_000, f'{whole} bytes')
            eventually(lambda: len(os.listdir(f'/proc/{web.process.popen.pid}/fd')) < 20,
                       'connections of clients that do not read stay', timeout=60)
            for end in ends:
                end.close()
        daemon.close()


@case('bounds/more-connections-than-are-served', quick=False)
def too_many(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s')
        with Web(where, daemon.path) as web:
            ends, refused = [], 0
            for _ in range(700):
                end = web.connect()
                ends.append(end)
            for end in ends[-50:]:
                if b' 503 ' in received(end)[:20]:
                    refused += 1
            expect(refused > 0, 'nobody was refused')
            for end in ends:
                end.close()
            eventually(lambda: web.get('/healthz').status == 200, 'it does not recover', timeout=40)
        daemon.close()


HEAD = b'GET /metrics HTTP/1.1\r\nHost: localhost\r\n'
HOSTILE = {
    'no request line': (b'\r\n\r\n', 400),
    'binary': (bytes(range(256)) + b'\r\n\r\n', 400),
    'TLS': (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(200) + b'\r\n\r\n', 400),
    'an absolute target': (b'GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n', 400),
    'a long target': (b'GET /' + b'a' * 3000 + b' HTTP/1.1\r\nHost: localhost\r\n\r\n', 414),
    'an endless line': (b'GET /' + b'a' * 100_000, 431),
    'many headers': (HEAD + b'X: y\r\n' * 100 + b'\r\n', 431),
    'endless headers': (HEAD + b'X: y\r\n' * 20_000, 431),
    'a folded header': (HEAD + b'X: y\r\n  z\r\n\r\n', 400),
    'a nameless header': (HEAD + b': y\r\n\r\n', 400),
    'a header with NUL': (HEAD + b'X: \0\r\n\r\n', 400),
    'lines without CR': (b'GET /metrics HTTP/1.1\nHost: localhost\n\n\r\n\r\n', 400),
    'two hosts': (HEAD + b'Host: other\r\n\r\n', 400),
    'no host': (b'GET /metrics HTTP/1.1\r\n\r\n', 400),
    'two lengths': (HEAD + b'Content-Length: 1\r\nContent-Length: 2\r\n\r\nx', 400),
    'a negative length': (HEAD + b'Content-Length: -1\r\n\r\n', 400),
    'chunks': (HEAD + b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 501),
    'another version': (b'GET / HTTP/2.0\r\nHost: localhost\r\n\r\n', 505),
    'DELETE': (b'DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n', 405),
    'TRACE': (b'TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n', 405),
    'POST': (b'POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc', 405),
    'a huge POST': (b'POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\nabc', 405),
    'dots': (b'GET /../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n', 404),
    'encoded dots': (b'GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n', 404),
    'bad escapes': (b'GET /%zz%u00%0 HTTP/1.1\r\nHost: localhost\r\n\r\n', 404),
    'NUL in the path': (b'GET /metrics%00.css HTTP/1.1\r\nHost: localhost\r\n\r\n', 404),
    'a query of rubbish': (b'GET /api/v1/memory?%ff%fe=%00&=&&&a=b=c HTTP/1.1\r\nHost: localhost\r\n\r\n', 400),
    'many ranges': (HEAD + b'Range: bytes=' + b'0-,' * 2000 + b'0-\r\n\r\n', 200),
    'a range of nonsense': (HEAD + b'Range: bytes=99999999999999999999-1\r\n\r\n', 200),
    'an expectation': (HEAD + b'Expect: 100-continue\r\n\r\n', 200),
    'an upgrade': (HEAD + b'Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n', 200),
    'a second request behind': (HEAD + b'\r\n' + HEAD + b'\r\n', 200),
}


@case('bounds/hostile-requests')
def hostile(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s', {'memory': lambda args: 'no such argument' if args else []})
        with Web(where, daemon.path) as web:
            wrong = []
            for name, (request, status) in HOSTILE.items():
                said = web.raw(request)
                if not said.startswith(f'HTTP/1.1 {status} '.encode()) or said.count(b'HTTP/1.1 ') != 1:
                    wrong.append(f'{name}: expected {status}, got {said[:60]!r}')
                if b'root:' in said:
                    wrong.append(f'{name}: a file of this machine')
                if not web.process.running():
                    raise Wrong(f'{name}: postern-web has ended:\n{web.process.stderr[-500:]}')
            expect(not wrong, '\n'.join(wrong))
            equal(web.get('/metrics').status, 200, 'afterwards')
            equal(len(web.get('/metrics', method='HEAD').body), 0, 'the body for HEAD')
            # Not compressed: no client makes it work more than it has to.
            answer = web.get('/metrics', headers={'Accept-Encoding': 'gzip, br'})
            expect('content-encoding' not in answer.headers, str(answer.headers))
        daemon.close()


@case('bounds/rows-and-bytes-of-an-answer')
def large_answers(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s', {'conntrack list': [{'n': n} for n in range(20_000)],
                                           'stats': [{'x': 'y' * 1_000_000}] * 40})
        with Web(where, daemon.path) as web:
            answer = web.get('/api/v1/conntrack/list').json
            equal((len(answer['rows']), answer['truncated']), (1000, True), 'by default')
            answer = web.get('/api/v1/conntrack/list?limit=10000').json
            equal((answer['rows'][-1], answer['truncated']), ({'n': 9999}, True), 'with the highest limit')
            answer = web.get('/api/v1/stats').json
            expect(10 <= len(answer['rows']) <= 17 and answer['truncated'], f'{len(answer["rows"])} rows of 1 MB')
        daemon.close()
