# SPDX-License-Identifier: BSD-3-Clause
"""Prometheus itself reads the metrics."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request

from bench import HERE, ROOT, Skip, case, equal, eventually, expect, folder, laboratory, Web
from cases_access import written
from fake_daemon import FakeDaemon

MONITORING = os.path.join(ROOT, 'conf', 'monitoring')
ALERTS = os.path.join(MONITORING, 'alerts.yaml')
METRIC = re.compile(r'\bpostern_\w+')


def tool(name):
    if not shutil.which(name):
        raise Skip(f'{name} is not installed')


@case('prometheus/promtool-finds-nothing')
def promtool(shared):
    tool('promtool')
    shared.firewall.transfer()
    text = shared.firewall.web.get('/metrics').text
    done = subprocess.run(['promtool', 'check', 'metrics'], input=text, capture_output=True, text=True,
                          timeout=60, check=False)
    equal((done.returncode, done.stdout + done.stderr), (0, ''), 'what promtool says')


@contextlib.contextmanager
def prometheus(where, web, rule_files=()):
    """A Prometheus that scrapes every second. Yields a function that asks it."""
    tool('prometheus')
    config = {'global': {'scrape_interval': '1s', 'evaluation_interval': '1s'}, 'rule_files': list(rule_files),
              'scrape_configs': [{'job_name': 'postern',
                                  'static_configs': [{'targets': [f'127.0.0.1:{web.port}']}]}]}
    path = written(where + '/p.yml', json.dumps(config))
    process = laboratory.Process('prometheus', [
        'prometheus', f'--config.file={path}', f'--storage.tsdb.path={where}/data',
        '--web.listen-address=127.0.0.1:0', '--log.level=info'], where)
    try:
        process.await_output(r'Server is ready to receive', timeout=60)
        port = listening_port(process.popen.pid)

        def ask(what, **query):
            url = f'http://127.0.0.1:{port}/api/v1/{what}?' + urllib.parse.urlencode(query)
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)['data']
        yield ask
    finally:
        process.stop()


@case('prometheus/scrapes')
def scrapes(_):
    with folder() as where:
        daemon = FakeDaemon(where + '/s')
        with Web(where, daemon.path) as web, prometheus(where, web) as ask:
            found = eventually(lambda: ask('query', query='postern_worker_rx_packets_total')['result'],
                               'no sample', timeout=40)
            equal((found[0]['metric']['worker'], found[0]['value'][1]), ('0', '7'), 'the sample')
            equal(ask('query', query='postern_up')['result'][0]['value'][1], '1', 'postern_up')
            equal(ask('query', query='up')['result'][0]['value'][1], '1', 'up')
            about = ask('metadata')
            # It asks for OpenMetrics, where the family's name lacks the suffix.
            entry = about['postern_worker_rx_packets'][0]
            equal((entry['type'], entry['help'], entry['unit']), ('counter', 'frames taken from ports', 'packets'),
                  'metadata')
        daemon.close()


@case('prometheus/alert-rules')
def alert_rules(_):
    tool('promtool')
    with open(os.path.join(HERE, 'alerts_test.yaml'), encoding='utf-8') as file:
        text = file.read()
    with folder() as where:
        tests = written(where + '/tests.yaml', text.replace('ALERTS', ALERTS))
        for command in (['check', 'rules', ALERTS], ['test', 'rules', tests]):
            done = subprocess.run(['promtool', *command], capture_output=True, text=True, timeout=60, check=False)
            equal(done.returncode, 0, f'promtool {" ".join(command)}: {done.stdout}{done.stderr}')
    # Each alert of the file has a test in which it fires.
    with open(ALERTS, encoding='utf-8') as file:
        alerts = set(re.findall(r'- alert: (\w+)', file.read()))
    fires = set(re.findall(r'alertname: (\w+)\n\s+exp_alerts:\n', text))
    equal(alerts, fires, 'alerts that a test sees fire')


@case('prometheus/an-alert-fires')
def an_alert(_):
    """The rules as they are, but without the time that a state has to last."""
    with open(ALERTS, encoding='utf-8') as file:
        rules = re.sub(r'for: \w+', 'for: 0s', file.read())
    with folder() as where:
        path = written(where + '/rules.yaml', rules)
        daemon = FakeDaemon(where + '/s')
        with Web(where, daemon.path) as web, prometheus(where, web, [path]) as ask:
            eventually(lambda: ask('query', query='postern_up == 1')['result'], 'it is not up', timeout=40)
            equal([a['labels']['alertname'] for a in ask('alerts')['alerts']], [], 'alerts while all is well')
            daemon.close()
            eventually(lambda: [a for a in ask('alerts')['alerts'] if a['state'] == 'firing'
                                and a['labels']['alertname'] == 'PosternDown'], 'no alert fires', timeout=60)


@case('prometheus/dashboard-and-alerts-name-what-there-is')
def names(shared):
    exported = set()
    for line in shared.firewall.web.get('/metrics').text.splitlines():
        if not line.startswith('#'):
            exported.add(re.match(r'\w+', line)[0])
    with open(os.path.join(MONITORING, 'grafana.json'), encoding='utf-8') as file:
        dashboard = json.load(file)
    with open(ALERTS, encoding='utf-8') as file:
        expressions = {'alerts': re.sub(r'(?m)^\s*#.*$', '', file.read()).replace('postern_alerts', '')}
    for panel in dashboard['panels']:
        for one in panel['targets']:
            expressions[panel['title']] = expressions.get(panel['title'], '') + one['expr'] + '\n'
    expect(len(expressions) > 12, 'panels are missing')
    for title, text in expressions.items():
        unknown = set(METRIC.findall(text)) - exported
        equal(unknown, set(), f'unknown metrics in {title}')
    equal(len({p['id'] for p in dashboard['panels']}), len(dashboard['panels']), 'ids of panels')


@case('prometheus/dashboard-expressions-are-valid')
def expressions_valid(_):
    with open(os.path.join(MONITORING, 'grafana.json'), encoding='utf-8') as file:
        dashboard = json.load(file)
    with folder() as where:
        daemon = FakeDaemon(where + '/s')
        with Web(where, daemon.path) as web, prometheus(where, web) as ask:
            for panel in dashboard['panels']:
                for one in panel['targets']:
                    expression = one['expr'].replace('$__rate_interval', '1m').replace('$instance', '.*')
                    ask('query', query=expression)  # an error has another status
        daemon.close()


def listening_port(pid):
    done = laboratory.run('ss', '-tlnpH')
    for line in done.stdout.splitlines():
        if f'pid={pid},' in line:
            return int(line.split()[3].rpartition(':')[2])
    raise AssertionError(f'process {pid} listens on no port:\n{done.stdout}')
