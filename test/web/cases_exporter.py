# SPDX-License-Identifier: BSD-3-Clause
"""/metrics and the JSON API: complete, of their formats, the same as posternctl's."""

import json
import re
import subprocess

import exposition
from bench import POSTERN_WEB, Web, case, equal, eventually, expect, folder
from fake_daemon import FakeDaemon

OPEN = {'Accept': 'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5'}


def sums(rows):
    """{(group, name): sum of values}"""
    found = {}
    for row in rows:
        key = row['group'], row['name']
        found[key] = found.get(key, 0) + row['value']
    return found


@case('metrics/every-metric-of-the-daemon')
def every_metric(shared):
    firewall = shared.firewall
    firewall.transfer()
    answer = firewall.web.get('/metrics', headers=OPEN)
    equal(answer.status, 200, 'status')
    expect(answer.headers['content-type'].startswith('application/openmetrics-text; version=1.0.0'),
           answer.headers['content-type'])
    families = exposition.read(answer.text)
    rows = firewall.middle.ctl('metrics')
    # One family a metric, with its type, its help and as many label sets.
    wanted = {}
    for row in rows:
        wanted.setdefault((row['group'], row['name']), []).append(row)
    daemons = {name: f for name, f in families.items()
               if not name.startswith('postern_web_') and name != 'postern_up'}
    equal(len(daemons), len(wanted), 'families of the daemon')
    series = 0
    for family in daemons.values():
        suffix = {'counter': '_total', 'histogram': '_count', 'gauge': ''}[family.kind]
        series += len(family.values(suffix))
        matching = [key for key, of in wanted.items() if of[0]['help'] == family.help
                    and of[0]['kind'] == family.kind and len(of) == len(family.values(suffix))]
        expect(matching, f'no metric of the daemon is {family.name} ({family.help})')
        unit = wanted[matching[0]][0]['unit']
        if unit != 'events':
            equal(family.unit, {'microseconds': 'seconds'}.get(unit, unit), f'unit of {family.name}')
    equal(series, len(rows), 'label sets')


@case('metrics/values-and-labels')
def values(shared):
    firewall = shared.firewall
    firewall.transfer()
    wanted = sums(firewall.middle.ctl('metrics'))['worker', 'connections_created']
    expect(wanted >= 2, 'a transfer is two connections')

    def scrape():
        found = exposition.read(firewall.web.get('/metrics', headers=OPEN).text)
        created = found['postern_worker_created_connections']
        equal(created.unit, 'connections', 'unit')
        # An answer may be a second old.
        return sum(created.values('_total').values()) == wanted and found
    families = eventually(scrape, f'never {wanted} connections created')
    rules = families['postern_rule_connections'].values('_total')
    expect(rules[('rule', 'ftp-control'),] >= 1, f'no hit of ftp-control: {rules}')
    equal(rules[('rule', firewall.ODD_RULE),], 0, 'a rule without hits')
    equal(families['postern_up'].values(), {(): 1}, 'postern_up')


@case('metrics/both-formats')
def formats(shared):
    firewall = shared.firewall
    for accept in (None, 'text/plain;version=0.0.4', 'text/plain, application/openmetrics-text'):
        answer = firewall.web.get('/metrics', headers={'Accept': accept} if accept else {})
        equal(answer.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8', 'type')
        families = exposition.read(answer.text, open_metrics=False)
        expect('postern_port_rx_packets_total' in families, 'port counters are missing')


@case('metrics/odd-texts-and-histograms')
def odd_texts(_):
    rule = 'a"b\\c\nd{}=,é'
    rows = [{'group': 'rule', 'name': 'rule_packets', 'kind': 'counter', 'unit': 'packets',
             'labels': {'rule': rule}, 'value': 2**64 - 1, 'help': 'of "it"\nand \\'},
            {'group': 'x', 'name': 'wait', 'kind': 'histogram', 'unit': 'microseconds', 'labels': {},
             'value': 5, 'sum': 7_000_000, 'help': 'time',
             'buckets': [{'below': 1, 'count': 1}, {'below': 2, 'count': 3}, {'below': None, 'count': 5}]},
            {'group': 'x', 'name': 'size', 'kind': 'histogram', 'unit': 'bytes', 'labels': {},
             'value': 4, 'sum': 9, 'help': 'size', 'buckets': [{'below': 4, 'count': 3}, {'below': None, 'count': 4}]},
            {'group': 'helper', 'name': 'own', 'kind': 'counter', 'unit': 'events',
             'labels': {'helper': 'a'}, 'value': 1, 'help': 'own of a'},
            {'group': 'helper', 'name': 'own', 'kind': 'gauge', 'unit': 'events',
             'labels': {'helper': 'b'}, 'value': 2, 'help': 'own of b'}]
    with folder() as where:
        daemon = FakeDaemon(where + '/s', {'metrics': rows})
        with Web(where, daemon.path) as web:
            families = exposition.read(web.get('/metrics', headers=OPEN).text)
            exposition.read(web.get('/metrics').text, open_metrics=False)
        daemon.close()
    equal(families['postern_rule_packets'].values('_total'), {(('rule', rule),): float(2**64 - 1)}, 'rule')
    wait = families['postern_x_wait_seconds']
    equal(wait.values('_bucket'), {(('le', '1e-06'),): 1, (('le', '2e-06'),): 3, (('le', '+Inf'),): 5}, 'wait')
    equal(wait.values('_sum'), {(): 7}, 'sum')
    # Whole numbers below 4 are at most 3.
    equal(families['postern_x_size_bytes'].values('_bucket'), {(('le', '3.0'),): 3, (('le', '+Inf'),): 4}, 'size')
    equal(families['postern_helper_own'].kind, 'counter', 'the first of two kinds')
    equal(families['postern_helper_gauge_own'].values(), {(('helper', 'b'),): 2}, 'the second')


@case('metrics/bounded-label-sets')
def bounded(_):
    rows = [{'group': 'rule', 'name': 'rule_packets', 'kind': 'counter', 'unit': 'packets',
             'labels': {'rule': f'r{i}'}, 'value': i, 'help': 'x'} for i in range(10_500)]
    with folder() as where:
        daemon = FakeDaemon(where + '/s', {'metrics': rows})
        with Web(where, daemon.path) as web:
            families = exposition.read(web.get('/metrics', headers=OPEN).text)
        daemon.close()
    equal(len(families['postern_rule_packets'].samples), 10_000, 'label sets')
    equal(families['postern_web_series_left_out'].values(), {(): 500}, 'left out')


@case('api/openapi-describes-every-reading-command')
def described(shared):
    firewall = shared.firewall
    openapi = firewall.web.get('/api/v1/openapi.json').json
    equal(openapi['openapi'], '3.0.3', 'version')
    commands = {row['command']: row for row in firewall.middle.ctl('help')}
    wanted = {name for name, c in commands.items() if c['effect'] == 'read' and not c['endless']
              and c['file'] == 'none' and name not in ('help', 'complete')}
    served = {path.removeprefix('/api/v1/').replace('/', ' ') for path in openapi['paths']}
    equal(served - {'history', 'status', 'expect recent', 'replay'}, wanted, 'commands')
    for name in wanted:
        parameters = openapi['paths'][f'/api/v1/{name.replace(" ", "/")}']['get']['parameters']
        equal({p['name'] for p in parameters} - {'limit'}, {a['name'] for a in commands[name]['args']},
              f'parameters of {name}')
        expect('limit' not in {a['name'] for a in commands[name]['args']}, f'{name} has an argument limit')
    printed = subprocess.run([POSTERN_WEB, '--openapi'], capture_output=True, text=True, check=True)
    equal(json.loads(printed.stdout), openapi, 'what --openapi prints')


ARGUMENTS = {'port show': 'name=in0', 'top': 'period=0', 'set list': None, 'config diff': None}


@case('api/rows-are-those-of-posternctl')
def same_rows(shared):
    jsonschema = __import__('jsonschema')
    firewall = shared.firewall
    firewall.transfer()
    openapi = firewall.web.get('/api/v1/openapi.json').json
    compared = set()
    for path, item in openapi['paths'].items():
        command = path.removeprefix('/api/v1/').replace('/', ' ')
        query = ARGUMENTS.get(command, '')
        if command in ('history', 'status', 'expect recent', 'replay') or query is None:
            continue
        if any(p['required'] for p in item['get']['parameters']) and not query:
            continue
        answer = firewall.web.get(path + (f'?{query}' if query else ''))
        equal(answer.status, 200, f'{command}: {answer.text[:200]}')
        schema = item['get']['responses']['200']['content']['application/json']['schema']
        jsonschema.validate(answer.json, nullable(schema))
        rows = firewall.middle.ctl(*command.split(), *([query] if query else []))
        found = answer.json['rows']
        if found and rows:  # of what comes and goes one may have none
            equal(sorted(found[0]), sorted(rows[0]), f'fields of {command}')
        if command in ('rule list', 'port list', 'config list', 'set count', 'helper list'):
            key = {'rule list': 'rule', 'config list': 'number', 'set count': 'set'}.get(command, 'name')
            equal([row[key] for row in answer.json['rows']], [row[key] for row in rows], command)
        compared.add(command)
    expect({'conntrack list', 'expect list', 'metrics', 'stats', 'worker list', 'top', 'memory'} <= compared,
           f'compared only {sorted(compared)}')


def nullable(schema):
    """OpenAPI 3.0's `nullable` as JSON schema."""
    if isinstance(schema, list):
        return [nullable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: nullable(value) for key, value in schema.items() if key != 'nullable'}
    if schema.get('nullable') and 'type' in schema:
        out['type'] = [schema['type'], 'null']
    return out


@case('api/conditions-limits-and-mistakes')
def conditions(shared):
    web = shared.firewall.web
    client, _ = shared.firewall.announce()
    equal({row['dport'] for row in web.rows('conntrack/list?proto=tcp&dport=ftp')}, {21}, 'ports')
    equal(web.rows('conntrack/list?dport=!1-65535&proto=tcp'), [], 'no port at all')
    answer = web.get('/api/v1/metrics?limit=3').json
    equal((len(answer['rows']), answer['truncated']), (3, True), 'a limit')
    equal(web.get('/api/v1/memory').json['truncated'], False, 'truncated')
    for path, words in (('conntrack/list?prot=tcp', "no argument 'prot'; did you mean|no argument 'prot'"),
                        ('conntrack/list?dport=99999', 'dport'),
                        ('conntrack/list?limit=0', 'limit'), ('conntrack/list?limit=10001', 'limit'),
                        ('conntrack/list?proto=tcp&proto=udp', 'more than once'),
                        ('port/show', 'missing'), ('history?after=x', 'after'),
                        ('history?before=1', 'after')):
        answer = web.get('/api/v1/' + path)
        equal(answer.status, 400, f'status of {path}')
        expect(re.search(words, answer.json['error']['message']), f'{path}: {answer.text}')
    for path in ('conntrack/delete', 'conntrack/save', 'config/show', 'expect/events', 'capture', 'help', 'x'):
        equal(web.get('/api/v1/' + path).status, 404, f'status of {path}')
    client.close()


@case('api/history-grows-and-recent-expectations-come')
def history(shared):
    firewall = shared.firewall
    web = firewall.web
    first = eventually(lambda: (a := web.get('/api/v1/history').json)['points'] and a, 'no point')
    client, port = firewall.announce()
    found = eventually(lambda: [e for e in web.get('/api/v1/expect/recent').json['events']
                                if e.get('event') == 'new' and e.get('dport') == port], 'no event')
    equal((found[0]['helper'], found[0]['master']['dport']), ('ftp', 21), 'helper and master')
    client('connect')
    seq = found[0]['seq']
    later = eventually(lambda: [e for e in web.get(f'/api/v1/expect/recent?after={seq}').json['events']
                                if e.get('event') == 'claim' and e.get('dport') == port], 'no claim')
    equal(later[0]['id'], found[0]['id'], 'the id')
    client.close()
    more = eventually(lambda: (a := web.get(f'/api/v1/history?after={first["next"]}').json)['points'] and a,
                      'no further point')
    expect(all(p['seq'] > first['next'] for p in more['points']), 'old points')
    point = more['points'][-1]
    expect(point['up'] and point['new'] >= 2 and point['expected'] >= 1 and point['rx_bytes'] > 0, str(point))
