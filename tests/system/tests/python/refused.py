# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A thread that is refused something while portwayd is away, and then hears that it has missed something. It says what it waits for."""

import errno, select, socket, struct, threading

SOL_NETLINK, ADD_MEMBERSHIP = 270, 1


def attributes(data):
    while data:
        length, kind = struct.unpack_from("=HH", data)
        yield kind, data[4:length]
        data = data[(length + 3) & ~3 :]


def ask():
    """The reply to what the family of ports is, without its header."""
    name = b"ovs_vport\0"
    asker.send(struct.pack("=IHHIIBBHHH", 20 + 4 + len(name) + 2, 16, 1, 1, 0, 3, 1, 0, 4 + len(name), 2) + name + bytes(2))
    reply = asker.recv(65536)
    if struct.unpack_from("=H", reply, 4)[0] == 2:
        raise OSError(-struct.unpack_from("=i", reply, 16)[0], "refused")
    return reply[20:]


def joined():
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
    sock.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
    sock.setblocking(False)
    return sock


def hears(sock):
    """What is received once there is something."""
    select.select([sock], [], [])
    try:
        return sock.recv(65536)
    except OSError as error:
        return errno.errorcode[error.errno]


asker = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
groups = next(value for kind, value in attributes(ask()) if kind == 7)
only = dict(attributes(next(value for _, value in attributes(groups))))
(group,) = struct.unpack("=I", only[2])
refused, other = joined(), joined()
print("killed", flush=True)
input()
try:
    ask()
    raise AssertionError("nobody is there")
except OSError as error:
    assert error.errno == errno.ENOENT, error
print("started", flush=True)
input()
# Another thread was refused nothing.
thread = threading.Thread(target=lambda: print(hears(other), flush=True))
thread.start()
thread.join()
# Connected again, and nothing to tell yet.
assert hears(refused) == "EAGAIN"
assert not select.select([refused], [], [], 0)[0]
ask()
print(hears(refused))
try:
    print(refused.recv(65536))
except BlockingIOError:
    print("all well")
