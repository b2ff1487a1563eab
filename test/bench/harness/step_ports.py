# SPDX-License-Identifier: BSD-3-Clause
"""Over ports, testpmd style: testpmd as generator and sink, and in the middle by turns Postern and
testpmd itself, which does nothing but send each frame out of the other port (the ceiling)."""

import os

import bench as b
import middles
import results
import testpmd

NAME = 'ports'
TITLE = 'over memif and vhost-user'


def _wirings(bench):
    """(transport, queues, flows, kind of generator)"""
    return bench.choose(
        [('memif', 1, 1024, FlowGen), ('memif', 1, 1, FlowGen), ('memif', 1, 65536, FlowGen),
         ('memif', 2, 1024, FlowGen), ('memif', 4, 1024, FlowGen), ('memif', 1, 256, TxOnly),
         ('memif', 1, 256, Circle),
         ('vhost-user', 1, 1024, FlowGen), ('vhost-user', 2, 1024, FlowGen),
         ('vhost-user', 4, 1024, FlowGen), ('vhost-user', 1, 256, Circle)],
        [('memif', 1, 1024, FlowGen), ('vhost-user', 1, 1024, FlowGen)],
        [('memif', 1, 1024, FlowGen)])


def seconds(bench):
    return len(_wirings(bench)) * (4 + bench.rounds * 2 * (_window(bench) + 0.5))


def _window(bench):
    return bench.choose(1.2, 0.5, 0.3)


class FlowGen:
    """One testpmd that sends into both ports and counts what comes out of them."""
    WORDS = ''

    def __init__(self, scope, name, devices, queues, flows):
        self.sink = testpmd.Testpmd(
            scope, f'{name}-generator', devices, [min(os.sched_getaffinity(0))],
            ['--forward-mode=flowgen', f'--flowgen-flows={flows}', f'--rxq={queues}',
             f'--txq={queues}', '--burst=64'])
        self.sink.await_neighbours()
        self.sink.start_forwarding()
        self.processes = [self.sink.process]


class TxOnly:
    """One testpmd that sends into the first port (256 source addresses, it has no other number),
    and one that counts at the second; both on one CPU."""
    WORDS = ', txonly one way'

    def __init__(self, scope, name, devices, queues, _flows):
        cpu = [min(os.sched_getaffinity(0))]
        common = [f'--rxq={queues}', f'--txq={queues}', '--burst=64']
        self.sink = testpmd.Testpmd(scope, f'{name}-sink', devices[1:], cpu,
                                    ['--forward-mode=rxonly', *common])
        sender = testpmd.Testpmd(scope, f'{name}-generator', devices[:1], cpu,
                                 ['--forward-mode=txonly', '--txonly-multi-flow', *common])
        for one in (self.sink, sender):
            one.await_neighbours()
            one.start_forwarding()
        self.processes = [self.sink.process, sender.process]


class Circle:
    """One testpmd that sends 8 bursts of txonly's packets into each port once, and from then on what
    comes out of one into the other: as many packets a second as go round."""
    WORDS = ', in a circle'

    def __init__(self, scope, name, devices, queues, _flows):
        self.sink = testpmd.Testpmd(
            scope, f'{name}-generator', devices, [min(os.sched_getaffinity(0))],
            ['--forward-mode=io', '--txonly-multi-flow', f'--rxq={queues}', f'--txq={queues}',
             '--burst=64'])
        self.sink.await_neighbours()
        self.sink.start_forwarding('tx_first 8')
        self.processes = [self.sink.process]


class Wiring:
    """A generator, and one middle between its two ports."""

    def __init__(self, scope, kind, transport, queues, flows, generator):
        name = f'{kind.__name__.lower()}-{os.getpid()}-{transport}-{queues}-{flows}'
        cpus = middles.cpus_for(queues)
        if transport == 'memif':
            servers = [middles.memif('server', side, name, n)
                       for n, side in enumerate(('in', 'out'))]
            clients = [middles.memif('client', side, name, n)
                       for n, side in enumerate(('in', 'out'))]
        else:
            paths = [scope.bench.path(f'{name}-{side}') for side in ('in', 'out')]
            servers = [middles.vhost_server(path, n, queues) for n, path in enumerate(paths)]
            clients = [middles.vhost_client(path, n, queues) for n, path in enumerate(paths)]
        self.middle = kind(scope, f'{name}-middle', servers, cpus, queues=queues)
        self.generator = generator(scope, name, clients, queues, flows)
        b.pause(*self.processes)

    @property
    def processes(self):
        return [*self.generator.processes, *self.middle.processes]

    def measure(self, window):
        """Millions of packets a second that came through, both directions together."""
        b.resume(*self.processes)
        try:
            self.generator.sink.rates(0.2)
            return sum(self.generator.sink.rates(window)) / 1e6
        finally:
            b.pause(*self.processes)


def run(bench):
    section = results.Section(
        'ports', 'Over ports: testpmd, Postern, testpmd',
        'testpmd (`--forward-mode=flowgen`) sends 60-byte UDP frames into both ports on one CPU and '
        'counts what comes back; the middle has the next CPUs. The ratio is to testpmd '
        '`--forward-mode=mac` in the middle over the same kind of port in the same round: what '
        'ports and generator can do without a firewall. With as many queues as there are CPUs or '
        'more, generator and middle share them. *txonly one way*: one testpmd with `txonly '
        '--txonly-multi-flow`, another with `rxonly`; they share the generator\'s CPU by the scheduler\'s time slices, in which '
        'rings fill and run dry, and that is what the row shows. *In a circle*: 1,024 packets of '
        'txonly\'s go round and round. By hand: the lines at the top of '
        '`conf/testpmd.yaml`.',
        'Mpps', higher_is_better=True)
    wirings = _wirings(bench)
    for number, (transport, queues, flows, generator) in enumerate(wirings):
        what = f'{transport}, {queues} queue{"s" if queues > 1 else ""}, {flows:,} flow' \
               f'{"s" if flows > 1 else ""}{generator.WORDS}'

        def say(text, fraction, number=number):
            bench.say(text, (number + fraction) / len(wirings))

        postern = section.row(what, key={'transport': transport, 'queues': queues, 'flows': flows,
                                        'generator': generator.__name__})
        ceiling = section.row(what, middles.Ceiling.WHO)
        postern.reference = ceiling
        try:
            with bench.scope() as scope:
                say(f'{what}: starting', 0)
                pairs = [(row, Wiring(scope, kind, transport, queues, flows, generator))
                         for row, kind in ((ceiling, middles.Ceiling), (postern, middles.Postern))]
                results.interleave(
                    [(row, lambda w=w: w.measure(_window(bench))) for row, w in pairs],
                    bench.rounds, say)
        except (b.Impossible, b.lab.LabError) as problem:
            postern.note = ceiling.note = str(problem)
    return [section]
