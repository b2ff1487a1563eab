# SPDX-License-Identifier: BSD-3-Clause
"""Who may ask: loopback, tokens, certificates, names."""

import os
import ssl
import subprocess

from bench import Web, case, client_context, equal, eventually, expect, folder, refused
from fake_daemon import FakeDaemon

TOKEN = 'correct-horse-battery-staple'


def written(path, text):
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    return path


def certificates(where):
    """An authority, a server's and a client's certificate, and one of another authority."""
    def run(*argv):
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, cwd=where)
    written(where + '/names', 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
    for name in ('ca', 'other'):
        run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
            '-days', '2', '-subj', f'/CN={name}', '-keyout', f'{name}.key', '-out', f'{name}.pem')
    for name, authority in (('server', 'ca'), ('client', 'ca'), ('stranger', 'other')):
        run('openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
            '-subj', f'/CN={name}', '-keyout', f'{name}.key', '-out', f'{name}.csr')
        run('openssl', 'x509', '-req', '-in', f'{name}.csr', '-CA', f'{authority}.pem', '-CAkey',
            f'{authority}.key', '-CAcreateserial', '-days', '2', '-extfile', 'names', '-out', f'{name}.pem')
    return lambda name: f'{where}/{name}'


@case('access/only-loopback-without-a-proof')
def loopback_only(_):
    with folder() as where:
        pem = certificates(where)
        for listen in ('0.0.0.0:0', '[::]:0', '192.0.2.1:0'):
            code, words = refused('--socket', where + '/s', '--listen', listen)
            equal(code, 2, f'exit code for {listen}')
            expect('--token-file' in words and 'listening' not in words, words)
        # A certificate of its own proves nothing about clients.
        code, words = refused('--socket', where + '/s', '--listen', '0.0.0.0:0', '--tls-cert', pem('server.pem'),
                              '--tls-key', pem('server.key'))
        equal(code, 2, 'exit code with a certificate only')
        token = written(where + '/token', TOKEN + '\n')
        with Web(where, where + '/s', '--token-file', token, listen='0.0.0.0:0', token=TOKEN) as web:
            web.host = '127.0.0.1'
            equal(web.get('/metrics').status, 200, 'with a token')
            expect('can be read on their way' in web.process.stderr, web.process.stderr)


@case('access/command-line-mistakes')
def mistakes(_):
    with folder() as where:
        short = written(where + '/short', 'abc\n')
        blank = written(where + '/blank', 'a token with blanks in it\n')
        for options, words in ((['--listen', 'x'], 'ADDRESS:PORT'), (['--listen', '127.0.0.1:99999'], 'ADDRESS:PORT'),
                               (['--listen', '::1:80'], 'ADDRESS:PORT'), (['--listen', 'example.com:80'], 'ADDRESS'),
                               (['--token-file', where + '/none'], 'cannot read'),
                               (['--token-file', short], 'no token'), (['--token-file', blank], 'no token'),
                               (['--tls-cert', short], 'need each other'), (['--client-ca', short], 'needs --tls-cert'),
                               (['--bogus'], 'bogus')):
            code, said = refused('--socket', where + '/s', *options)
            equal(code, 2, f'exit code of {options}')
            expect(words in said, f'{options}: {said}')
        code, said = refused('--listen', '127.0.0.1:0', '--tls-cert', short, '--tls-key', short)
        equal(code, 1, 'exit code of a bad certificate')
        expect('cannot use the certificate' in said, said)
        with Web(where, where + '/s') as web:
            code, said = refused('--listen', f'127.0.0.1:{web.port}')
            equal(code, 1, 'exit code of a port in use')
            expect('cannot listen' in said, said)


@case('access/token')
def token(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s')
        path = written(where + '/token', TOKEN + '\nsecond line\n')
        with Web(where, daemon.path, '--token-file', path) as web:
            for given in (None, 'Bearer', f'Bearer {TOKEN[:-1]}', f'Bearer {TOKEN}x', f'Basic {TOKEN}', TOKEN,
                          'Bearer second line'):
                headers = {'Authorization': given} if given else {}
                for path in ('/metrics', '/api/v1/memory', '/api/v1/history', '/api/v1/openapi.json',
                             '/api/v1/expect/recent', '/api/v1/status', '/nothing'):
                    answer = web.get(path, headers=headers)
                    equal(answer.status, 401, f'{path} with {given!r}')
                    expect('www-authenticate' in answer.headers, str(answer.headers))
            equal(web.get('/metrics', headers={'Authorization': f'bearer {TOKEN}'}).status, 200, 'with the token')
            equal(web.get(f'/metrics?token={TOKEN}').status, 401, 'in the address')
            equal(web.get('/').status, 200, 'the page asks for it')
        daemon.close()


@case('access/tls-and-client-certificates')
def tls(_):
    with folder() as where:
        pem = certificates(where)
        daemon = FakeDaemon(where + '/s')
        trusting = client_context(pem('ca.pem'))
        server = ['--tls-cert', pem('server.pem'), '--tls-key', pem('server.key')]
        with Web(where, daemon.path, *server, tls=trusting) as web:
            equal(web.get('/metrics').status, 200, 'TLS')
            expect(b'HTTP/1.1 200' not in web.raw(b'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n'), 'no TLS')
            old = client_context(pem('ca.pem'))
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            try:
                web.get('/metrics', tls=old)
                raise AssertionError('TLS 1.1 was accepted')
            except ssl.SSLError:
                pass
        with Web(where, daemon.path, *server, '--client-ca', pem('ca.pem'), listen='0.0.0.0:0',
                 tls=client_context(pem('ca.pem'), pem('client.pem'), pem('client.key'))) as web:
            web.host = '127.0.0.1'
            for _ in range(2):  # the second one may resume
                equal(web.get('/metrics').status, 200, 'with a certificate')
            for context in (trusting, client_context(pem('ca.pem'), pem('stranger.pem'), pem('stranger.key'))):
                try:
                    web.get('/metrics', tls=context)
                    raise AssertionError('a client without a certificate of the authority got an answer')
                except (ssl.SSLError, ConnectionError, OSError):
                    pass
        daemon.close()


@case('access/names-of-the-server')
def names(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s')
        with Web(where, daemon.path, '--host', 'fw.example') as web:
            for host, status in (('localhost', 200), ('LOCALHOST:9810', 200), ('127.0.0.1:1', 200),
                                 ('[::1]:80', 200), ('fw.example', 200), ('fw.example:80', 200),
                                 ('evil.example', 421), ('127.0.0.1.evil.example', 421), ('localhost.evil', 421),
                                 ('[evil', 421), ('', 421)):
                equal(web.get('/metrics', headers={'Host': host}).status, status, f'Host: {host}')
                equal(web.get('/', headers={'Host': host}).status, status, f'the page for Host: {host}')
        daemon.close()


@case('access/headers-that-browsers-obey')
def headers(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s')
        with Web(where, daemon.path) as web:
            for path in ('/', '/app.js', '/metrics', '/api/v1/memory', '/nothing'):
                got = web.get(path).headers
                policy = got['content-security-policy']
                expect("default-src 'none'" in policy and "frame-ancestors 'none'" in policy and
                       'unsafe' not in policy and 'http' not in policy, policy)
                equal(got['x-content-type-options'], 'nosniff', path)
                equal(got['cache-control'], 'no-store', path)
                expect('access-control-allow-origin' not in got, 'others may read it')
                expect('set-cookie' not in got, 'a cookie')
        daemon.close()


@case('access/no-privilege')
def no_privilege(_):
    if os.geteuid() != 0:
        return
    with folder() as where:
        os.chmod(where, 0o755)
        daemon = FakeDaemon(where + '/s')
        os.chmod(daemon.path, 0o666)
        with Web(where, daemon.path, '--user', 'nobody') as web:
            with open(f'/proc/{web.process.popen.pid}/status', encoding='utf-8') as file:
                status = dict(line.split(':\t', 1) for line in file.read().splitlines() if ':\t' in line)
            equal(set(status['Uid'].split()), {'65534'}, 'its user')
            equal(int(status['CapEff'], 16), 0, 'its capabilities')
            equal(status['NoNewPrivs'], '1', 'no new privileges')
            eventually(lambda: web.get('/api/v1/memory').status == 200, 'no answer')
        code, said = refused('--socket', daemon.path, '--listen', '127.0.0.1:0', '--user', 'no-such-user')
        equal(code, 1, said)
        daemon.close()
