# SPDX-License-Identifier: BSD-3-Clause
"""Networks that a firewall which knows its zones must not break: hosts and routers that move, two
bridges side by side, answers by another provider, a router on one leg, path MTU and traceroute. What
needs `sides: loose` has a twin without it."""

import contextlib
import socket
import threading

import lab as laboratory
from cases import Case, expect
from cases_traffic import SHORT_S, LONG_ENOUGH_S, make_socket
from middle import Postern, Setting, configuration

PORT = 8000
FAR4, FAR6 = '198.51.100.2', '2001:db8:51::2'
LOOSE = 'loose'


def add_path(lab):
    """A second pair of links beside eth0: inside eth1 - pst-in1, pst-out1 - eth1 outside."""
    for host, port in (('inside', 'pst-in1'), ('outside', 'pst-out1')):
        lab.ip(host, 'link', 'add', 'eth1', 'type', 'veth', 'peer', 'name', port, 'netns',
               lab.names['middle'])
        laboratory.offloads_off(lab, host, 'eth1')
        laboratory.offloads_off(lab, 'middle', port)
        lab.ip('middle', 'link', 'set', port, 'up', 'promisc', 'on')


def two_bridges(lab, zones, second_outside):
    """The usual configuration with a second bridge that shares its conntrack zone."""
    config = configuration(Setting(policy='inside'), lab.path('postern.sock'))
    config['zones'] = zones
    for port, interface, zone in (('in1', 'pst-in1', 'inside'),
                                  ('out1', 'pst-out1', second_outside)):
        config['ports'].append({'name': port, 'zone': zone, 'queues': 1,
                                'device': f'net_af_packet{len(config["ports"])},iface={interface}'})
    config['bridges'][0]['ct_zone'] = 0
    config['bridges'].append({**config['bridges'][0], 'ports': ['in1', 'out1']})
    for rule in config['policy']['rules']:
        rule.pop('to', None)
    return config


@contextlib.contextmanager
def conversation(lab, server='outside', address=laboratory.OUTSIDE4):
    """An established TCP connection from inside: (client, its end at the server)."""
    with make_socket(lab, server, 4, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, PORT))
        listener.listen(1)
        listener.settimeout(LONG_ENOUGH_S)
        with make_socket(lab, 'inside', 4, socket.SOCK_STREAM) as client:
            client.settimeout(LONG_ENOUGH_S)
            client.connect((address, PORT))
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(LONG_ENOUGH_S)
                yield client, peer


def talk(client, peer, word):
    for a, b in ((client, peer), (peer, client)):
        a.sendall(word)
        got = b.recv(len(word), socket.MSG_WAITALL)
        expect(got == word, f'{got!r} arrived of {word!r}')


def host_moves(bench):
    """The inside host moves, with its address and MAC, to the other of two bridges."""
    lab = bench.lab
    add_path(lab)
    lab.ip('outside', 'link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0')
    for link in ('eth0', 'eth1'):
        lab.ip('outside', 'link', 'set', link, 'master', 'br0')
        lab.ip('outside', 'link', 'set', link, 'up')
    lab.ip('outside', 'link', 'set', 'br0', 'up')
    lab.ip('outside', 'addr', 'del', f'{laboratory.OUTSIDE4}/24', 'dev', 'eth0')
    lab.ip('outside', 'addr', 'add', f'{laboratory.OUTSIDE4}/24', 'dev', 'br0')
    daemon = Postern(config=two_bridges(lab, ['inside', 'outside'], 'outside')).start(lab)
    with conversation(lab) as (client, peer):
        talk(client, peer, b'before')
        mac = lab.do('inside', 'cat', '/sys/class/net/eth0/address').stdout.strip()
        lab.ip('inside', 'link', 'set', 'eth0', 'down')
        lab.ip('inside', 'addr', 'del', f'{laboratory.INSIDE4}/24', 'dev', 'eth0')
        lab.ip('inside', 'link', 'set', 'eth1', 'address', mac)
        lab.ip('inside', 'addr', 'add', f'{laboratory.INSIDE4}/24', 'dev', 'eth1')
        lab.ip('inside', 'link', 'set', 'eth1', 'up')
        talk(client, peer, b'after')
    expect(daemon.drops()['wrong_zone'] == 0, f'drops: {daemon.drops()}')


def router_changes(bench):
    """Another router takes over the outside address, as VRRP does: a new MAC address."""
    lab = bench.lab
    daemon = Postern(Setting(policy='inside')).start(lab)
    with conversation(lab) as (client, peer):
        talk(client, peer, b'before')
        lab.ip('outside', 'link', 'set', 'eth0', 'address', '00:00:5e:00:01:07')
        lab.ip('inside', 'neigh', 'flush', 'dev', 'eth0')
        talk(client, peer, b'after')
    expect(daemon.drops()['wrong_zone'] == 0, f'drops: {daemon.drops()}')


def two_providers(sides):
    """What goes out by one provider comes back by the other."""
    def check(bench):
        lab = bench.lab
        add_path(lab)
        zones = ['inside', *({'name': name, 'sides': sides} for name in ('outside', 'isp2'))]
        daemon = Postern(config=two_bridges(lab, zones, 'isp2')).start(lab)
        for host in ('inside', 'outside'):
            lab.do(host, 'sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0',
                   'net.ipv4.conf.eth0.rp_filter=0', 'net.ipv4.conf.eth1.rp_filter=0')
            lab.ip(host, 'link', 'set', 'eth1', 'up')
        mac = lab.do('inside', 'cat', '/sys/class/net/eth1/address').stdout.strip()
        lab.ip('outside', 'route', 'add', f'{laboratory.INSIDE4}/32', 'dev', 'eth1')
        lab.ip('outside', 'neigh', 'replace', laboratory.INSIDE4, 'lladdr', mac, 'dev', 'eth1',
               'nud', 'permanent')
        passes_if_loose(lab, daemon, sides, laboratory.OUTSIDE4, 'outside')
    return check


def one_leg(sides):
    """Two networks inside, and a router between them that has one leg, outside: what goes from one
    to the other crosses the firewall twice."""
    def check(bench):
        lab = bench.lab
        config = configuration(Setting(policy='inside'), lab.path('postern.sock'))
        config['zones'] = [{'name': name, 'sides': sides} for name in ('inside', 'outside')]
        daemon = Postern(config=config).start(lab)
        second = lab.names['inside'].replace('inside', 'probe')
        laboratory.run('ip', 'netns', 'add', second)
        lab.names['second'] = second
        lab.ip('inside', 'link', 'add', 'to-second', 'type', 'veth', 'peer', 'name', 'eth0',
               'netns', second)
        laboratory.offloads_off(lab, 'inside', 'to-second')
        laboratory.offloads_off(lab, 'second', 'eth0')
        lab.ip('inside', 'link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0',
               'forward_delay', '0')
        lab.ip('inside', 'addr', 'del', f'{laboratory.INSIDE4}/24', 'dev', 'eth0')
        for link in ('eth0', 'to-second'):
            lab.ip('inside', 'link', 'set', link, 'master', 'br0')
            lab.ip('inside', 'link', 'set', link, 'up')
        lab.ip('inside', 'link', 'set', 'br0', 'up')
        lab.ip('inside', 'addr', 'add', f'{laboratory.INSIDE4}/24', 'dev', 'br0')
        lab.ip('inside', 'route', 'add', '203.0.113.0/24', 'via', laboratory.OUTSIDE4)
        lab.ip('second', 'link', 'set', 'eth0', 'up')
        lab.ip('second', 'addr', 'add', '203.0.113.1/24', 'dev', 'eth0')
        lab.ip('second', 'route', 'add', 'default', 'via', '203.0.113.2')
        lab.ip('outside', 'addr', 'add', '203.0.113.2/24', 'dev', 'eth0')
        lab.do('outside', 'sysctl', '-qw', 'net.ipv4.ip_forward=1',
               'net.ipv4.conf.all.send_redirects=0', 'net.ipv4.conf.eth0.send_redirects=0')
        passes_if_loose(lab, daemon, sides, '203.0.113.1', 'second')
    return check


def passes_if_loose(lab, daemon, sides, address, server):
    with make_socket(lab, server, 4, socket.SOCK_STREAM) as listener, \
            make_socket(lab, 'inside', 4, socket.SOCK_STREAM) as client:
        listener.bind((address, PORT))
        listener.listen(1)
        client.settimeout(LONG_ENOUGH_S if sides == LOOSE else SHORT_S)
        try:
            client.connect((address, PORT))
            connected = True
        except TimeoutError:
            connected = False
    drops = daemon.drops()
    expect(connected == (sides == LOOSE), f'connected: {connected}; drops: {drops}')
    expect((drops['wrong_zone'] == 0) == (sides == LOOSE), f'drops: {drops}')


def far_network(bench):
    """Behind the outside host, over a link of 1280 bytes: a host that inside can route to."""
    lab = bench.lab
    far = lab.names['outside'].replace('outside', 'probe')
    laboratory.run('ip', 'netns', 'add', far)
    lab.names['far'] = far
    lab.ip('outside', 'link', 'add', 'narrow', 'mtu', '1280', 'type', 'veth', 'peer', 'name',
           'eth0', 'mtu', '1280', 'netns', far)
    laboratory.offloads_off(lab, 'outside', 'narrow')
    laboratory.offloads_off(lab, 'far', 'eth0')
    lab.do('far', 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0')
    lab.do('outside', 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
    for host, link, v4, v6 in (('outside', 'narrow', '198.51.100.1', '2001:db8:51::1'),
                               ('far', 'eth0', FAR4, FAR6)):
        lab.ip(host, 'link', 'set', link, 'up')
        lab.ip(host, 'addr', 'add', f'{v4}/24', 'dev', link)
        lab.ip(host, 'addr', 'add', f'{v6}/64', 'dev', link, 'nodad')
    lab.ip('far', 'route', 'add', 'default', 'via', '198.51.100.1')
    lab.ip('far', '-6', 'route', 'add', 'default', 'via', '2001:db8:51::1')
    lab.ip('inside', 'route', 'add', '198.51.100.0/24', 'via', laboratory.OUTSIDE4)
    lab.ip('inside', '-6', 'route', 'add', '2001:db8:51::/64', 'via', laboratory.OUTSIDE6)
    return lab


def path_mtu(bench):
    """Segments that are too large for a link farther on: its router's ICMP errors come through."""
    lab = far_network(bench)
    daemon = Postern(Setting(policy='inside')).start(lab)
    payload = bytes(range(256)) * 800
    for family, address in ((4, FAR4), (6, FAR6)):
        with make_socket(lab, 'far', family, socket.SOCK_STREAM) as listener, \
                make_socket(lab, 'inside', family, socket.SOCK_STREAM) as client:
            listener.bind((address, PORT))
            # The far end offers more than its link takes: the path has to tell.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
            listener.listen(1)
            listener.settimeout(LONG_ENOUGH_S)
            client.settimeout(LONG_ENOUGH_S)
            client.connect((address, PORT))
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(LONG_ENOUGH_S)
                sender = threading.Thread(target=client.sendall, args=(payload,))
                sender.start()
                got = bytearray()
                while len(got) < len(payload):
                    some = peer.recv(65536)
                    expect(some, f'IPv{family}: {len(got)} bytes came')
                    got += some
                sender.join()
            expect(bytes(got) == payload, f'IPv{family}: the bytes are others')
    expect(daemon.drops()['wrong_zone'] == 0, f'drops: {daemon.drops()}')


def traceroute(bench):
    """The router's answer to a packet whose hops are used up."""
    lab = far_network(bench)
    daemon = Postern(Setting(policy='inside')).start(lab)
    for family, address, router in ((4, FAR4, laboratory.OUTSIDE4), (6, FAR6, laboratory.OUTSIDE6)):
        said = lab.do('inside', 'ping', f'-{family}', '-c', '1', '-t', '1', '-W', str(LONG_ENOUGH_S),
                      address, check=False).stdout
        expect(router in said and 'exceeded' in said, f'IPv{family}: {said}')
    expect(daemon.drops()['wrong_zone'] == 0, f'drops: {daemon.drops()}')


def cases():
    own = [('host-moves', host_moves), ('router-changes', router_changes),
           ('path-mtu', path_mtu), ('traceroute', traceroute)]
    own += [(f'two-providers/{sides}', two_providers(sides)) for sides in (LOOSE, 'strict')]
    own += [(f'one-leg/{sides}', one_leg(sides)) for sides in (LOOSE, 'strict')]
    return [Case(f'zones/{name}', None, check, needs=frozenset({'control-socket'})) for name, check in own]
