#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Makes short captures for captures/ from what the end-to-end cases recorded.

      test/e2e/run.py --record FOLDER -k ... && test/differential/keep_captures.py FOLDER

Of each file NW-POLICY-SERVICE-helper.pcap: the IP packets in their order, without those that find
neighbours; of each connection the first 40, and of those that carry much the first 3. Hosts become
the MAC addresses that say which side a packet came from (captures.py).
"""

import collections
import glob
import ipaddress
import os
import re
import sys

import captures

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'captures')
INSIDE = [ipaddress.ip_address(a).packed for a in ('192.0.2.1', '2001:db8::1')]  # of the e2e laboratory
MOST, MOST_LONG, LONG = 40, 3, 500
NEIGHBOURS = range(133, 138)  # ICMPv6 types of RFC 4861


def reframed(frame):
    """The frame with the MAC addresses of its side, or None if it is not to be kept."""
    kind, ip = frame[12:14], frame[14:]
    if kind == b'\x08\x00':
        source = ip[12:16]
    elif kind == b'\x86\xdd' and not (ip[6] == 58 and ip[40] in NEIGHBOURS) and ip[6] != 0:
        source = ip[8:24]
    else:
        return None
    macs = [bytes.fromhex(mac.replace(':', '')) for mac in (captures.OUTSIDE_MAC, captures.INSIDE_MAC)]
    if source not in INSIDE:
        macs.reverse()
    return macs[0] + macs[1] + frame[12:]


def shortened(frames):
    packets, long_ones = collections.Counter(), collections.Counter()
    for frame in filter(None, map(reframed, frames)):
        connection = captures.Packet(frame).connection()
        packets[connection] += 1
        long_ones[connection] += len(frame) > LONG
        if packets[connection] <= MOST and (len(frame) <= LONG or
                                            long_ones[connection] <= MOST_LONG):
            yield frame


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    os.makedirs(HERE, exist_ok=True)
    for path in sorted(glob.glob(os.path.join(sys.argv[1], '*-helper.pcap'))):
        name = os.path.basename(path).removesuffix('-helper.pcap')
        if name.endswith('-no'):
            continue
        workers, service = re.fullmatch(r'(\d+)w-control-?(.*)', name).groups()
        frames = list(shortened(captures.read_pcap(path)))
        out = os.path.join(HERE, f'{service or "ftp"}-{workers}.pcap')
        with open(out, 'wb') as file:
            file.write(captures.pcap_bytes(frames))
        print(f'{os.path.relpath(out)}: {len(frames)} packets, {os.path.getsize(out)} bytes')


if __name__ == '__main__':
    main()
