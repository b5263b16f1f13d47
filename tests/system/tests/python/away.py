# SPDX-License-Identifier: Apache-2.0 OR MIT
# A socket that joins a group that does not exist while portwayd is away, when nobody can say so. It says what it waits for.
import socket, struct

SOL_NETLINK, ADD_MEMBERSHIP, LIST_MEMBERSHIPS = 270, 1, 9

name = b"ovs_vport\0"
attribute = struct.pack("=HH", 4 + len(name), 2) + name + bytes(-len(name) % 4)
request = struct.pack("=IHHIIBBH", 20 + len(attribute), 16, 1, 7, 0, 3, 1, 0) + attribute

sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
sock.bind((0, 0))
sock.send(request)
assert name in sock.recv(65536)
print("killed", flush=True)
input()
try:
    sock.recv(65536, socket.MSG_DONTWAIT)
    raise AssertionError("nobody is there")
except BlockingIOError:
    pass
sock.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, 9999)
print("started", flush=True)
input()
sock.send(request)
assert name in sock.recv(65536)
assert not any(sock.getsockopt(SOL_NETLINK, LIST_MEMBERSHIPS, 1024))
print("all well")
