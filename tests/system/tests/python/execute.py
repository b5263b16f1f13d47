# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Has packets executed, as ovs-vswitchd does: many requests in one datagram, none of which asks for an acknowledgement. Arguments: the
datapath. Each line of the input is a port, a word and a number of packets: their payloads are the word with a number. What has come on
the socket after each, and how many packet sockets the process has then, is printed."""

import errno, os, socket, struct, sys

PACKET, FLOW = 0x23, 0x22


def attribute(kind, payload):
    data = struct.pack("=HH", 4 + len(payload), kind) + payload
    return data + bytes(-len(data) % 4)


def message(family, cmd, flags, payload):
    payload = struct.pack("=BBHi", cmd, 1, 0, datapath) + payload
    data = struct.pack("=IHHII", 16 + len(payload), family, flags, 1, 0) + payload
    return data + bytes(-len(data) % 4)


def udp(payload):
    """From port 9 to port 9; of the checksums only that of the IP header matters, to nobody here."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0, bytes(4), bytes(4))
    return bytes.fromhex("02000000000202000000000108 00".replace(" ", "")) + ip + struct.pack("!HHHH", 9, 9, 8 + len(payload), 0) + payload


def execute(port, payload):
    key = attribute(2, bytes(4)) + attribute(15, bytes(4)) + attribute(3, struct.pack("=I", 1))
    actions = attribute(1, struct.pack("=I", port))
    return message(PACKET, 3, 1, attribute(1, udp(payload)) + attribute(2, key) + attribute(3, actions))


def packet_sockets():
    inodes = {line.split()[-1] for line in open("/proc/net/packet")}
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        found += name.startswith("socket:[") and name[8:-1] in inodes
    return found


def answers():
    while True:
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        kind, = struct.unpack_from("=H", data, 4)
        code = struct.unpack_from("=i", data, 16)[0] if kind == 2 else 0
        yield errno.errorcode.get(-code, "message")


datapath = socket.if_nametoindex(sys.argv[1])
sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
sock.bind((0, 0))
sock.setblocking(False)
for line in sys.stdin:
    port, word, count = line.split()
    batch = [execute(int(port), f"{word}{number}".encode()) for number in range(int(count))]
    if word.startswith("flow"):
        # A flow that cannot be made: what is said about it is said although the packets do not go the same way.
        batch.insert(1, message(FLOW, 1, 1, attribute(1, b"")))
    sock.send(b"".join(batch))
    print(packet_sockets(), *answers(), flush=True)
