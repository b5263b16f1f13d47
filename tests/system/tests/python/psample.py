# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Listens to the psample group and prints the first sample."""

import socket
import struct


def attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found


s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
s.bind((0, 0))
s.settimeout(60)
s.setsockopt(270, 8, 1)  # NETLINK_LISTEN_ALL_NSID
name = b"psample\0"
s.send(struct.pack("=IHHIIBBHHH", 20 + 4 + len(name), 16, 1, 1, 0, 3, 1, 0, 4 + len(name), 2) + name)
family = attributes(s.recv(65536)[20:])
for group in attributes(family[7]).values():
    group = attributes(group)
    if group[1] == b"packets\0":
        s.setsockopt(270, 1, struct.unpack("=I", group[2])[0])  # NETLINK_ADD_MEMBERSHIP
print("ready", flush=True)
message = s.recv(65536)
assert struct.unpack_from("=H", message, 4)[0] == struct.unpack("=H", family[1])[0]
assert message[16] == 0, "PSAMPLE_CMD_SAMPLE"
sample = attributes(message[20:])
number = lambda kind: struct.unpack("=I", sample[kind])[0]
short = lambda kind: struct.unpack("=H", sample[kind])[0]
assert struct.unpack("=Q", sample[13])[0] > 1_600_000_000 * 10**9, "a time of day"
assert number(4) == 0 and sample[16] == b""
print("in", short(0), "group", number(3), "rate", number(5), "size", number(2), "proto", "%04x" % short(14),
      "cookie", sample[15].hex(), "data", len(sample[6]), sample[6][:6].hex())
