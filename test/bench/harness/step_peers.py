# SPDX-License-Identifier: BSD-3-Clause
"""The same loads through Postern and its peers, by turns: Open vSwitch on DPDK over memif, the
kernel over veth. All have the same policy: UDP and port 80 from inside, FTP with its helper, what is
established or related; nothing else."""

import statistics

import bench as b
import middles
import results
import traffic

NAME = 'peers'
TITLE = 'beside Open vSwitch and the kernel'

FLOWS = 1_000
MANY_FLOWS = 100_000


def _window(bench):
    return bench.choose(1.0, 0.4, 0.3)


def _rounds(bench):
    return min(bench.rounds, bench.choose(5, 5, 1))


def _loads(bench):
    """{name: (unit, measure(generator, seconds))}"""
    def udp(flows, **more):
        return lambda g, s: g.udp(s, flows, **more)['pps'] / 1e3

    def rate(kind, counter):
        def measure(generator, seconds):
            found = generator.sessions(kind, seconds)
            return found[counter] / found['seconds'] / 1e3
        return measure
    all_loads = {
        'UDP, 1,000 flows': ('k packets/s', udp(FLOWS)),
        'UDP, 100,000 flows': ('k packets/s', udp(MANY_FLOWS)),
        'UDP, 10 % of packets new flows': ('k packets/s',
                                           udp(FLOWS, new_permille=100, both_ways=False)),
        'UDP, each packet a new flow': ('k packets/s',
                                        udp(FLOWS, new_permille=1000, both_ways=False)),
        'TCP open, ask, answer, close': ('k connections/s', rate('tcp', 'connections')),
        'FTP sessions with 2 transfers': ('k expected connections/s', rate('ftp', 'announced')),
    }
    few = ['UDP, 1,000 flows', 'TCP open, ask, answer, close', 'FTP sessions with 2 transfers']
    return bench.choose(all_loads, {name: all_loads[name] for name in few},
                        {name: all_loads[name] for name in few[::2]})


def _contestants(bench):
    return {'memif': 3, 'veth': bench.choose(3, 2, 3)}


def seconds(bench):
    starts = bench.choose(30, 20, 8)
    each = _rounds(bench) * len(_loads(bench)) * (_window(bench) + 0.2)
    latency = _rounds(bench) * 3 * len(_load_shares(bench)) * (_window(bench) + 0.2)
    return starts + each * sum(_contestants(bench).values()) + latency


def _load_shares(bench):
    shares = [(0.5, 'half load'), (0.9, '9/10 load')]
    return bench.choose(shares, shares[:1], shares[:1])


class Wiring:
    """A middle, and a generator at its two ports. Paused but when it is measured."""

    def __init__(self, middle, generator, who):
        self.middle, self.generator, self.who = middle, generator, who
        self.processes = [generator.process, *middle.processes]

    def warm(self, flows):
        b.resume(*self.processes)
        try:
            self.generator.warm(flows)
        finally:
            b.pause(*self.processes)

    def measure(self, function, window):
        b.resume(*self.processes)
        try:
            # What began before the pause ends first.
            function(self.generator, 0.1)
            return function(self.generator, window)
        finally:
            b.pause(*self.processes)


def _generator_options(bench):
    return ['--sessions', bench.choose(1024, 512, 64), '--transfers', 2, '--bytes', 1000]


def _over_memif(scope, kind):
    bench = scope.bench
    name = f'{kind.__name__.lower()}-peer'
    # OVS makes interfaces of its own: in a namespace, where its sockets' names are then, too.
    prefix = middles.in_namespace(middles.namespace(scope, 'middle'))
    servers = [middles.memif('server', side, name, n) for n, side in enumerate(('in', 'out'))]
    clients = [middles.memif('client', side, name, n) for n, side in enumerate(('in', 'out'))]
    more = {'helper': True} if kind is middles.Postern else {}
    middle = kind(scope, name, servers, middles.cpus_for(1), prefix=prefix, **more)
    generator = traffic.Traffic(scope, f'{name}-traffic', clients, 0, *_generator_options(bench),
                                '--receive-queues', kind.TRANSMIT_QUEUES, prefix=prefix)
    return Wiring(middle, generator, kind.WHO)


def _over_veth(scope, who, driver):
    """`driver`: of Postern's ports, or None for the kernel itself."""
    bench = scope.bench
    wire = middles.Veth(scope)
    name = f'veth-{driver or "kernel"}'
    inside, outside = (middles.in_namespace(n) for n in wire.names)
    macs = []
    if driver is None:
        middle = middles.KernelRouter(scope, wire, middles.cpus_for(1))
        macs = ['--to-server-mac', wire.mac('m0'), '--to-client-mac', wire.mac('m1')]
    else:
        devices = [f'net_{driver}{n},iface=m{n}' for n in range(2)]
        middle = middles.Postern(scope, name, devices, middles.cpus_for(1), prefix=outside,
                                 helper=True)
    generator = traffic.Traffic(scope, f'{name}-traffic',
                                [f'net_af_packet{n},iface=g{n}' for n in range(2)], 0,
                                *_generator_options(bench), *macs, prefix=inside)
    return Wiring(middle, generator, who)


def _run_all(bench, section, makers, reference, say, after=None):
    """Every load through every contestant. `makers`: {who: function(scope) -> Wiring}."""
    rows = {(load, who): section.row(load, who, unit=unit, key={'load': load})
            for load, (unit, _) in _loads(bench).items() for who in makers}
    for (load, who), row in rows.items():
        if who != reference:
            row.reference = rows[load, reference]
    with bench.scope() as scope:
        wirings = []
        for who, make in makers.items():
            say(f'{section.title}: starting {who}', 0)
            before = len(scope.processes)
            try:
                wiring = make(scope)
                b.pause(*wiring.processes)
                wirings.append(wiring)
            except (b.Impossible, b.lab.LabError) as problem:
                scope.stop(before)  # or half of it would poll beside the others
                for (_, whose), row in rows.items():
                    if whose == who:
                        row.note = str(problem)
        loads = list(_loads(bench).items())
        for number, (load, (_, function)) in enumerate(loads):
            if load.endswith('flows') and load.startswith('UDP, 1'):
                for wiring in wirings:
                    wiring.warm(MANY_FLOWS if '100,000' in load else FLOWS)
            results.interleave(
                [(rows[load, w.who], lambda w=w, f=function: w.measure(f, _window(bench)))
                 for w in wirings],
                _rounds(bench),
                lambda text, fraction, n=number: say(text, (n + fraction) / len(loads)))
        for row in rows.values():
            if row.values and max(row.values) == 0:
                row.note = 'none came through'
        return after(wirings) if after else None


def _cannot():
    """What the peers have no figure for, and why; what their own programs say of it where they can."""
    section = results.Section(
        'cannot', 'What the peers cannot',
        'Loads that Postern has a helper, ports or a row for above, and a peer has none.',
        '', higher_is_better=True)
    refused = middles.OvsDpdk.refused_helpers(
        ('ftp', 'tftp', 'sip', 'irc', 'pptp', 'h323', 'amanda', 'sane', 'netbios', 'snmp', 'rtsp'))
    section.row('sessions of other helpers', middles.OvsDpdk.WHO,
                note=f'`ct(commit,alg=...)` refuses {", ".join(refused)}' if refused else
                     'not installed')
    section.row('over memif and vhost-user', middles.KernelRouter.WHO,
                note='the kernel has no such ports; see veth')
    section.row('over veth', middles.OvsDpdk.WHO,
                note='only by the same af_packet and AF_XDP drivers as Postern; its figures are '
                     'over memif')
    section.row('RTSP sessions', middles.KernelRouter.WHO, note='has no helper for it')
    section.row('all', 'VPP', note='not in Debian 12, so not installed by scripts/install-deps.sh')
    return section


def run(bench):
    memif = results.Section(
        'peers-memif', 'Beside Open vSwitch on DPDK, over memif',
        'Our generator (`test/bench/traffic.cc`) on one CPU, the middle on the other, each with one '
        'worker (or PMD thread), 1 queue. The same policy in all: UDP and port 80 from inside, FTP '
        'with its helper (OVS: `ct(commit,alg=ftp)`), established and related. Sessions are whole, '
        'both ends of them, one packet of each on its way at a time; what is lost is repeated after '
        '200 ms. The ratio is to testpmd `--forward-mode=mac` in the middle, in the same round.',
        'k/s', higher_is_better=True)
    veth = results.Section(
        'peers-veth', 'Beside the kernel, over veth',
        'The same generator (af_packet) over veth pairs; in the middle the kernel\'s router with '
        'nftables and its FTP helper (on the other CPU, by receive packet steering), or Postern on '
        'the same veth by af_packet or AF_XDP. The ratio is to the kernel in the same round. Ports '
        'like these cost more than the firewall behind them.',
        'k/s', higher_is_better=True)
    latency = results.Section(
        'latency', 'Latency through the loaded path',
        'Every packet carries the time it was sent; from generator to generator, ports included, '
        'over memif, 1,000 UDP flows, at half and at nine tenths of what each middle carried at most '
        '(above). On a machine whose CPUs are shared, p99.9 and max are the scheduler\'s.',
        'us', higher_is_better=False)
    share = _contestants(bench)['memif'] / sum(_contestants(bench).values())

    def measure_latency(wirings):
        _latency(bench, memif, latency, wirings, lambda t, f: bench.say(t, share * (0.8 + 0.2 * f)))
    kinds = (middles.Ceiling, middles.Postern, middles.OvsDpdk)
    _run_all(bench, memif,
             {kind.WHO: lambda scope, kind=kind: _over_memif(scope, kind) for kind in kinds},
             middles.Ceiling.WHO, lambda t, f: bench.say(t, share * 0.8 * f), measure_latency)
    drivers = {middles.KernelRouter.WHO: None, 'Postern on af_packet': 'af_packet',
               'Postern on AF_XDP': 'af_xdp'}
    if bench.size == 'quick':
        del drivers['Postern on AF_XDP']
    _run_all(bench, veth,
             {who: lambda scope, who=who, driver=driver: _over_veth(scope, who, driver)
              for who, driver in drivers.items()},
             middles.KernelRouter.WHO, lambda t, f: bench.say(t, share + (1 - share) * f))
    return [memif, veth, latency, _cannot()]


def _latency(bench, throughput, section, wirings, say):
    percentiles = ('p50', 'p99', 'p99.9', 'max')
    most = {row.who: statistics.median(row.values) * 1e3 for row in throughput.rows
            if row.values and row.what == 'UDP, 1,000 flows'}
    shares = _load_shares(bench)
    wirings = [w for w in wirings if most.get(w.who)]
    rows = {(w.who, load, p): section.row(f'{load}, {p}', w.who,
                                          key={'load': load, 'percentile': p})
            for _, load in shares for p in percentiles for w in wirings}
    for wiring in wirings:
        wiring.warm(FLOWS)
    total = _rounds(bench) * len(shares) * len(wirings)
    done = 0
    for _ in range(_rounds(bench)):
        for share, load in shares:
            for w in wirings:
                say(f'latency: {w.who}, {load}', done / max(total, 1))
                done += 1
                found = w.measure(
                    lambda g, s, w=w, share=share: g.udp(s, FLOWS, rate=share * most[w.who]),
                    _window(bench))
                for p in percentiles:
                    if 'latency_us' in found:
                        rows[w.who, load, p].values.append(found['latency_us'][p])
    for row in rows.values():
        ceiling = rows.get((middles.Ceiling.WHO, row.key['load'], row.key['percentile']))
        if ceiling is not row:
            row.reference = ceiling
        if not row.values:
            row.note = 'nothing came through'
