# SPDX-License-Identifier: Apache-2.0 OR MIT
# Netlink sockets of Python's socket module on Portway: each thing that a kernel's socket does, asserted.
import ctypes, errno, os, platform, select, socket, struct, subprocess, threading

GENERIC, SOL_NETLINK = 16, 270


def attribute(kind, payload):
    data = struct.pack("=HH", 4 + len(payload), kind) + payload
    return data + bytes(-len(data) % 4)


def message(kind, flags, seq, payload):
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, seq, 0) + payload


def get_family(name, seq=1):
    return message(16, 1, seq, struct.pack("=BBH", 3, 1, 0) + attribute(2, name.encode() + b"\0"))


def header(data):
    return struct.unpack_from("=IHHII", data)


def family(sock, name):
    sock.send(get_family(name))
    data, at = sock.recv(65536), 20
    while at < len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if kind == 1:
            return struct.unpack_from("=H", data, at + 4)[0]
        at += (length + 3) & ~3
    raise AssertionError(data)


def open_socket():
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC)
    sock.bind((0, 0))
    return sock


# Names and options.
fds = len(os.listdir("/proc/self/fd"))
a, b = open_socket(), open_socket()
assert (a.family, a.type, a.proto) == (socket.AF_NETLINK, socket.SOCK_RAW, GENERIC), a
assert 0 != a.getsockname()[0] != b.getsockname()[0] != 0
assert a.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_NETLINK
assert not os.get_inheritable(a.fileno())
a.setsockopt(SOL_NETLINK, 11, 1)
assert a.getsockopt(SOL_NETLINK, 11) == 1
try:
    a.setsockopt(SOL_NETLINK, 99, 1)
    raise AssertionError("an option that does not exist")
except OSError as error:
    assert error.errno == errno.ENOPROTOOPT, error

# A request is complete when send returns; peeking, truncation, nothing more.
a.send(get_family("ovs_datapath"))
assert select.select([a], [], [], 0)[0] == [a]
one = bytearray(1)
whole = a.recv_into(one, 1, socket.MSG_TRUNC | socket.MSG_PEEK | socket.MSG_DONTWAIT)
assert whole > 60, whole
data, ancillary, flags, source = a.recvmsg(10, 0, socket.MSG_PEEK)
assert (len(data), ancillary, flags, source) == (10, [], socket.MSG_TRUNC, (0, 0))
assert a.recv_into(one, 1, socket.MSG_TRUNC | socket.MSG_DONTWAIT) == whole
try:
    a.recv(1, socket.MSG_DONTWAIT)
    raise AssertionError("there was more")
except BlockingIOError:
    pass

# Several requests in a datagram, in pieces; an unknown family.
a.sendmsg([get_family("ovs_flow", 7)[:9], get_family("ovs_flow", 7)[9:], get_family("ovs_none", 8)])
assert header(a.recv(65536))[1:4:2] == (16, 7)
refused = a.recv(65536)
assert header(refused)[1:4:2] == (2, 8) and struct.unpack_from("=i", refused, 16)[0] == -errno.ENOENT

# Epoll sees it, dup shares it, both directions work over fork, and a thread may wait for what another asks.
poll = select.epoll()
poll.register(a.fileno(), select.EPOLLIN)
copy = a.dup()
copy.send(get_family("ovs_vport", 9))
assert poll.poll(0) == [(a.fileno(), select.EPOLLIN)]
assert header(a.recv(65536))[3] == 9
copy.close()
child = os.fork()
if child == 0:
    a.send(get_family("ovs_packet", 10))
    os._exit(0 if header(a.recv(65536, socket.MSG_DONTWAIT))[3] == 10 else 1)
assert os.waitpid(child, 0)[1] == 0
got = []
waiter = threading.Thread(target=lambda: got.append(a.recv(65536)))
waiter.start()
a.send(get_family("ovs_meter", 11))
waiter.join()
assert header(got[0])[3] == 11

# Other programs are run beside it: the child, which has the parent's memory for a moment, closes what it does not need.
assert subprocess.run(["true"], close_fds=True).returncode == 0
a.send(get_family("ovs_flow", 12))
assert header(a.recv(65536))[3] == 12 and a.getsockname()[0] != 0

# A dump of many parts is never interrupted by EAGAIN. A hundred datapaths are more than a datagram holds.
kind = family(a, "ovs_datapath")
for number in range(100):
    name = b"dp%d\0" % number
    payload = struct.pack("=BBHi", 1, 2, 0, 0) + attribute(1, name) + attribute(2, bytes(4)) + attribute(5, bytes(4))
    a.send(message(kind, 5, 100 + number, payload))
    reply = a.recv(65536, socket.MSG_DONTWAIT)
    assert struct.unpack_from("=i", reply, 16)[0] == 0, reply
a.send(message(kind, 0x301, 12, struct.pack("=BBHi", 3, 2, 0, 0)))
count = parts = 0
done = False
while not done:
    data, at = a.recv(65536, socket.MSG_DONTWAIT), 0
    parts += 1
    while at < len(data):
        length, what, _, seq, _ = struct.unpack_from("=IHHII", data, at)
        assert seq == 12
        done = done or what == 3
        count += what == kind
        at += (length + 3) & ~3
assert count == 100 and parts > 1, (count, parts)

# Many requests in one datagram are answered one by one; what is left can be seen by poll, peeked at, read by a child and by a copy.
many = b"".join(get_family("ovs_flow", 1000 + number) for number in range(40))


def next_is(sock, seq, flags=socket.MSG_DONTWAIT):
    assert select.select([sock], [], [], 0)[0] == [sock], seq
    data = sock.recv(65536, flags)
    assert header(data)[0] == len(data) and header(data)[3] == seq, (header(data), seq)


# One has been there for a fork, which makes a difference.
fresh = open_socket()
for sock in [a, fresh, a, fresh]:
    sock.send(many)
    for number in range(40):
        next_is(sock, 1000 + number, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        next_is(sock, 1000 + number)
    assert select.select([a, fresh], [], [], 0)[0] == []
fresh.close()
a.send(many)
copy = a.dup()
for number in range(40):
    next_is(copy if number % 2 else a, 1000 + number)
copy.close()
a.send(many)
next_is(a, 1000)
child = os.fork()
if child == 0:
    for number in range(1, 40):
        next_is(a, 1000 + number)
    os._exit(0 if poll.poll(0) == [] else 1)
assert os.waitpid(child, 0)[1] == 0
assert poll.poll(0) == []
a.send(many)
next_is(a, 1000)
child = os.fork()
if child == 0:
    for number in range(1, 40):
        next_is(a, 1000 + number)
    a.send(get_family("ovs_flow", 1200))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
next_is(a, 1200)
assert poll.poll(0) == []

# Multicast: another's change is told to members; a wrong port id and an empty request are refused.
b.setsockopt(SOL_NETLINK, 1, 10)
try:
    a.sendto(get_family("ovs_flow"), (4711, 0))
    raise AssertionError("nobody has that port id")
except ConnectionRefusedError:
    pass

# A family of the kernel's: the socket becomes the kernel's and keeps its port id.
own, groups = b.getsockname()
assert groups == 1 << 9, groups
b.setsockopt(SOL_NETLINK, 2, 10)
b.send(get_family("ethtool", 13))
answer = b.recv(65536)
assert header(answer)[1:4:2] == (16, 13) and b.getsockname() == (own, 0), (answer, own)

# NETLINK_ROUTE is the kernel's, but for the tunnel devices of Open vSwitch.
route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
for name, result in ((b"vxlan_sys_4789\0", -errno.EOPNOTSUPP), (b"other\0", 0)):
    link = attribute(3, name) + attribute(18, attribute(1, b"veth\0"))
    route.send(message(16, 0x605, 14, bytes(16) + link))
    assert struct.unpack_from("=i", route.recv(65536), 16)[0] == result, name

a.close(), b.close(), route.close(), poll.close()
# Two are left for the next socket: the namespace, and what proves who opens it.
assert len(os.listdir("/proc/self/fd")) == fds + 2
# Plain reads and writes are requests and answers, too.
c = open_socket()
assert os.write(c.fileno(), get_family("ovs_vport")) == len(get_family("ovs_vport"))
os.set_blocking(c.fileno(), False)
assert b"ovs_vport" in os.read(c.fileno(), 65536)
try:
    os.read(c.fileno(), 1)
    raise AssertionError("nothing more")
except BlockingIOError:
    pass
os.writev(c.fileno(), [get_family("ovs_flow")[:10], get_family("ovs_flow")[10:]])
room = [bytearray(20), bytearray(65536)]
assert os.readv(c.fileno(), room) > 20 and b"ovs_flow" in room[1]
c.close()

# A child that borrows this process's memory (vfork) closes what it got, and this process still has it.
c = open_socket()
own = c.getsockname()
subprocess.run(["true"], check=True)
assert c.getsockname() == own
c.send(get_family("ovs_vport"))
assert b"ovs_vport" in c.recv(65536)

# What takes a socket's number behind the library's back is what it is, also where bundles came before.
libc, dup3 = ctypes.CDLL(None, use_errno=True), {"x86_64": 292, "aarch64": 24}[platform.machine()]
for receive in (lambda sock: sock.recvfrom(65536), lambda sock: sock.recvmsg(65536)[::3]):
    c = open_socket()
    c.send(many)
    for number in range(40):
        next_is(c, 1000 + number)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.send(b"not from netlink"), ours.send(b"second")
    assert libc.syscall(dup3, theirs.fileno(), c.fileno(), 0) == c.fileno(), ctypes.get_errno()
    # A netlink socket would say (0, 0).
    assert (receive(c), receive(c)) == ((b"not from netlink", None), (b"second", None))
    assert c.getsockname() == "", "a Unix socket's"
    c.close(), ours.close(), theirs.close()

# What is put in the place of the library's own file descriptors is not closed with them.
hidden = [int(number) for number in os.listdir("/proc/self/fd") if int(number) >= 500]
assert len(hidden) >= 2, hidden
null = os.open("/dev/null", os.O_RDONLY)
for number in hidden:
    os.dup2(null, number)
c.close()
for number in hidden:
    assert os.fstat(number).st_rdev == os.fstat(null).st_rdev
c = open_socket()
c.send(get_family("ovs_vport"))
assert b"ovs_vport" in c.recv(65536)
c.close()

print("all well")
