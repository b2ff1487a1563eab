# SPDX-License-Identifier: BSD-3-Clause
"""A VLAN interface in user space: vlan_tagger.py DEVICE VLAN_ID TAP

Makes the interface TAP on this host. Frames sent through it leave by DEVICE with an 802.1Q tag of
that VLAN, tagged frames that arrive on DEVICE come out of it without the tag. It does what
`ip link add link DEVICE type vlan` does, on every kernel: many small ones are built without 8021q.
Says `ready` when the interface exists, runs until it is killed.
"""

import contextlib
import fcntl
import select
import socket
import struct
import sys

ETH_P_ALL, ETH_P_8021Q = 0x0003, 0x8100
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
SOL_PACKET, PACKET_AUXDATA = 263, 8
TP_STATUS_VLAN_VALID = 1 << 4
AUXDATA = struct.Struct('IIIHHHH')  # struct tpacket_auxdata


def untagged(wire, vlan):
    """The next frame of `wire` without its tag; None if it is not of this VLAN or our own."""
    frame, ancillary, _, address = wire.recvmsg(65536, socket.CMSG_SPACE(AUXDATA.size))
    if address[2] == socket.PACKET_OUTGOING:
        return None
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = AUXDATA.unpack(data[:AUXDATA.size])
            if status & TP_STATUS_VLAN_VALID:  # the kernel took the tag out of the frame
                return frame if tci & 0xFFF == vlan else None
    tag_type, tci = struct.unpack_from('!HH', frame, 12)
    if tag_type == ETH_P_8021Q and tci & 0xFFF == vlan:
        return frame[:12] + frame[16:]
    return None


def main():
    device, vlan, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    tap = open('/dev/net/tun', 'r+b', buffering=0)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack('16sH22x', name.encode(), IFF_TAP | IFF_NO_PI))
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    wire.bind((device, ETH_P_ALL))
    tag = struct.pack('!HH', ETH_P_8021Q, vlan)
    print('ready', flush=True)
    while True:
        for source in select.select([tap, wire], [], [])[0]:
            if source is tap:
                frame = tap.read(65536)
                wire.send(frame[:12] + tag + frame[12:])
            else:
                frame = untagged(wire, vlan)
                if frame is not None:
                    with contextlib.suppress(OSError):  # an interface that is down takes none
                        tap.write(frame)


main()
