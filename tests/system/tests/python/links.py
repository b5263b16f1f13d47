# SPDX-License-Identifier: Apache-2.0 OR MIT
# Tunnel devices by rtnetlink, as Open vSwitch 4.0 asks for them, and what is refused; each answer asserted.
#   links.py make NAME...   makes devices and checks what is told of them
#   links.py port NAME      looks what a port is to clients that was made of one
#   links.py good           what else must go right
#   links.py bad            what must fail, with nothing left
import ctypes, errno, os, socket, struct, sys

NEWLINK, DELLINK, GETLINK = 16, 17, 18
REQUEST, ACK, EXCL, CREATE = 1, 4, 0x200, 0x400
IFNAME, MTU, LINKINFO, IFALIAS = 3, 4, 18, 20
OVS = {  # name: kind and data, as lib/dpif-netlink-rtnl.c of Open vSwitch sends and verifies them
    "vxlan_sys_4789": ("vxlan", {7: b"\0", 25: b"\1", 20: b"\1", 15: b"\x12\xb5"}),
    "vxlan_sys_4790": ("vxlan", {7: b"\0", 25: b"\1", 20: b"\1", 23: b"", 15: b"\x12\xb6"}),
    "genev_sys_6081": ("geneve", {6: b"", 10: b"\1", 5: b"\x17\xc1"}),
    "gre_sys": ("gretap", {18: b""}),
}


def attribute(kind, payload):
    data = struct.pack("=HH", 4 + len(payload), kind) + payload
    return data + bytes(-len(data) % 4)


def attributes(data):
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        assert 4 <= length <= len(data) - at, (data, at)
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    assert at >= len(data), data
    return found


class Route(socket.socket):
    def __init__(self):
        super().__init__(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.bind((0, 0))
        self.seq = 0

    def message(self, kind, flags, payload, index=0, change=0):
        self.seq += 1
        body = struct.pack("=BxHiII", 0, 0, index, change, change) + payload
        return struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, self.seq, 0) + body

    def transact(self, *request, **more):
        """The answer's type and payload; an errno is raised."""
        data = self.message(*request, **more)
        assert self.send(data) == len(data)
        reply = self.recv(65536, socket.MSG_DONTWAIT)
        length, kind, flags, seq, pid = struct.unpack_from("=IHHII", reply)
        assert (length, seq, pid) == (len(reply), self.seq, self.getsockname()[0]), reply
        if kind != 2:
            return kind, reply[16:]
        code = -struct.unpack_from("=i", reply, 16)[0]
        # An acknowledgement has the request's header, a refusal all of it.
        assert reply[24:26] == data[4:6] and reply[28:36] == data[8:16], (reply, data)
        assert code == 0 or reply[20 : 20 + len(data)] == data, (reply, data)
        if code:
            raise OSError(code, os.strerror(code))
        return kind, reply[16:]

    def get(self, name=None, index=0):
        kind, reply = self.transact(GETLINK, 0, attribute(IFNAME, name.encode() + b"\0") if name else b"", index=index)
        assert kind == NEWLINK, kind
        return struct.unpack_from("=i", reply, 4)[0], struct.unpack_from("=I", reply, 8)[0], attributes(reply[16:])

    def delete(self, name):
        assert self.transact(DELLINK, ACK, attribute(IFNAME, name.encode() + b"\0"))[0] == 2


def body(name, kind, data, more=b""):
    info = attribute(1, kind.encode() + b"\0")
    if data is not None:
        info += attribute(2, data if isinstance(data, bytes) else b"".join(attribute(*item) for item in data.items()))
    return attribute(IFNAME, name.encode() + b"\0") + more + attribute(LINKINFO, info)


def create(sock, name, flags=EXCL):
    more = attribute(MTU, struct.pack("=I", 65000))
    assert sock.transact(NEWLINK, ACK | CREATE | flags, body(name, *OVS[name], more), change=1)[0] == 2


def verify(sock, name):
    kind, data = OVS[name]
    index, flags, link = sock.get(name)
    info = attributes(link[LINKINFO])
    told = attributes(info[2])
    assert info[1] == kind.encode() + b"\0", info
    assert all(told[key] == value for key, value in data.items()), (told, data)
    assert (23 in told) == (23 in data), told
    assert flags & 1 and link[MTU] == struct.pack("=I", 65000) and IFALIAS not in link, (flags, link)
    return index


def refused(code, call, *arguments, **more):
    try:
        call(*arguments, **more)
    except OSError as error:
        assert error.errno == code, (error, arguments)
    else:
        raise AssertionError(("succeeded", arguments))


def names():
    return sorted(name for _, name in socket.if_nameindex())


def make(wanted):
    sock = Route()
    for name in wanted:
        create(sock, name)
        verify(sock, name)


def port(name):
    """It is a `netdev` with the device's index, without options."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
    ask = lambda kind, head, what: sock.send(struct.pack("=IHHII", 16 + len(head + what), kind, REQUEST, 1, 0) + head + what)
    ask(16, struct.pack("=BBH", 3, 1, 0), attribute(2, b"ovs_vport\0"))
    family = struct.unpack("=H", attributes(sock.recv(65536)[20:])[1])[0]
    ask(family, struct.pack("=BBHi", 3, 1, 0, 0), attribute(3, name.encode() + b"\0"))
    found = attributes(sock.recv(65536)[24:])
    assert found[3] == name.encode() + b"\0" and found[2] == struct.pack("=I", 1) and 4 not in found, found
    assert Route().get(name)[0] == struct.unpack("=I", found[8])[0], found


def good():
    sock, listener, before = Route(), Route(), names()
    listener.setsockopt(270, 1, 1)  # the group of devices
    for name in OVS:
        create(sock, name)
        index = verify(sock, name)
        # By index, and by a dump, and in what listeners are told, it is the same device.
        assert attributes(sock.get(index=index)[2][LINKINFO])[1] == OVS[name][0].encode() + b"\0"
        refused(errno.EEXIST, create, sock, name)
        refused(errno.EOPNOTSUPP, create, sock, name, 0)
        assert verify(sock, name) == index
    sock.send(sock.message(GETLINK, 0x300, b""))
    kinds, done = {}, False
    while not done:
        # As iproute2 does it: first the length, then the datagram.
        length = len(sock.recv(1, socket.MSG_PEEK | socket.MSG_TRUNC)) and sock.recv_into(bytearray(1), 0, socket.MSG_PEEK | socket.MSG_TRUNC)
        data, at = sock.recv(length), 0
        while at < len(data):
            size, kind = struct.unpack_from("=IH", data, at)
            done |= kind == 3
            if kind == NEWLINK:
                link = attributes(data[at + 32 : at + size])
                kinds[link[IFNAME][:-1].decode()] = attributes(link.get(LINKINFO, b"")).get(1, b"\0")[:-1].decode()
            at += (size + 3) & ~3
        assert at == len(data), (at, len(data))
    assert {name: kind for name, kind in kinds.items() if name in OVS} == {name: kind for name, (kind, _) in OVS.items()}, kinds
    told = set()
    while told < set(OVS):
        data = listener.recv(65536)
        link = attributes(data[32:])
        name, kind = link[IFNAME][:-1].decode(), attributes(link.get(LINKINFO, b"")).get(1, b"\0")[:-1].decode()
        # The first that is told of one is that there is a TAP.
        if name in OVS and (kind != "tun" or name in told):
            told.add(name)
            assert kind == OVS[name][0] and IFALIAS not in link, link
    for name in OVS:
        sock.delete(name)
        refused(errno.ENODEV, sock.get, name)
        refused(errno.ENODEV, sock.delete, name)
    # The kernel's own business: several requests in one datagram, of which one is ours.
    batch = sock.message(NEWLINK, ACK | CREATE | EXCL, body("v0", "veth", {}))
    batch += sock.message(NEWLINK, ACK | CREATE | EXCL, body("gre_sys", *OVS["gre_sys"]))
    batch += sock.message(DELLINK, ACK, attribute(IFNAME, b"v0\0"))
    assert sock.send(batch) == len(batch)
    answers = b""
    while len(answers) < 3 * 36:
        answers += sock.recv(65536, socket.MSG_DONTWAIT)
    assert [struct.unpack_from("=i", answers, at + 16)[0] for at in (0, 36, 72)] == [0, 0, 0], answers
    index, flags, link = sock.get("gre_sys")
    assert not flags & 1 and "v0" not in names()
    # Made, deleted and made again in a row, also by the index.
    sock.transact(DELLINK, ACK, b"", index=index)
    for _ in range(10):
        create(sock, "gre_sys")
        sock.delete("gre_sys")
    # Without an acknowledgement nothing is answered.
    sock.send(sock.message(NEWLINK, CREATE | EXCL, body("gre_sys", *OVS["gre_sys"])))
    refused(errno.EAGAIN, sock.recv, 1, socket.MSG_DONTWAIT)
    sock.delete("gre_sys")
    # Under a name that is not Open vSwitch's it is the kernel's own.
    sock.transact(NEWLINK, ACK | CREATE | EXCL, body("v4789", *OVS["vxlan_sys_4789"]))
    assert len(attributes(attributes(sock.get("v4789")[2][LINKINFO])[2])) > 10
    sock.delete("v4789")
    assert names() == before, names()


def bad():
    sock, before = Route(), names()

    def ask(code, name, kind, data, more=b"", flags=ACK | CREATE | EXCL, **rest):
        refused(code, sock.transact, NEWLINK, flags, body(name, kind, data, more), **rest)
        assert names() == before, (names(), name, kind, data)

    vxlan, geneve, gre = (OVS[name][1] for name in ("vxlan_sys_4789", "genev_sys_6081", "gre_sys"))
    ask(errno.EINVAL, "vxlan_sys_1", "vxlan", None)
    ask(errno.EINVAL, "genev_sys_1", "geneve", None)
    ask(errno.EOPNOTSUPP, "gre_sys", "gretap", None)
    ask(errno.EOPNOTSUPP, "vxlan_sys_1", "vxlan", {**vxlan, 25: b"\0"})
    ask(errno.EOPNOTSUPP, "vxlan_sys_1", "vxlan", {**vxlan, 27: b""})
    ask(errno.ERANGE, "vxlan_sys_1", "vxlan", {**vxlan, 1: b"\0\0\0\1"})
    ask(errno.ERANGE, "vxlan_sys_1", "vxlan", {**vxlan, 15: b"\1"})
    ask(errno.ERANGE, "vxlan_sys_1", "vxlan", {**vxlan, 23: b"\1"})
    ask(errno.EOPNOTSUPP, "vxlan_sys_1", "vxlan", struct.pack("=HHH", 60000, 25, 1))
    ask(errno.EINVAL, "genev_sys_1", "geneve", {**geneve, 1: b"\5\0\0\0"})
    ask(errno.EINVAL, "gre_sys", "gretap", {**gre, 2: b"\x40\0"})
    for kind in ("ip6gretap", "erspan", "bareudp", "nonsense", "x" * 200):
        ask(errno.EOPNOTSUPP, "gre_sys", kind, gre)
    ask(errno.EINVAL, "vxlan_sys_%d", "vxlan", vxlan)
    ask(errno.EINVAL, "vxlan_sys_/", "vxlan", vxlan)
    ask(errno.ERANGE, "vxlan_sys_123456789", "vxlan", vxlan)
    for mtu in (67, 65536, 0xFFFFFFFF):
        ask(errno.EINVAL, "vxlan_sys_1", "vxlan", vxlan, attribute(MTU, struct.pack("=I", mtu)))
    ask(errno.EADDRNOTAVAIL, "vxlan_sys_1", "vxlan", vxlan, attribute(1, b"\1\0\0\0\0\0"))
    ask(errno.EINVAL, "vxlan_sys_1", "vxlan", vxlan, attribute(1, b"\2\0"))
    ask(errno.EOPNOTSUPP, "vxlan_sys_1", "vxlan", vxlan, attribute(IFALIAS, b"mine\0"))
    ask(errno.EOPNOTSUPP, "vxlan_sys_1", "vxlan", vxlan, attribute(28, struct.pack("=I", 99)))
    # What is done after the device is there fails, too, and the device goes again: there is no such master.
    ask(errno.EINVAL, "vxlan_sys_1", "vxlan", vxlan, attribute(10, struct.pack("=I", 9999)))
    ask(errno.EOPNOTSUPP, "vxlan_sys_1", "vxlan", vxlan, index=77)
    ask(errno.EINVAL, "vxlan_sys_1", "vxlan", vxlan, index=-1)
    # Somebody has the port.
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with socket.socket(family, socket.SOCK_DGRAM) as taken:
            taken.bind((address, 4789))
            ask(errno.EADDRINUSE, "vxlan_sys_4789", "vxlan", vxlan)
    # Another device has it.
    for first, name, kind, data, code in (
        ("vxlan_sys_4789", "vxlan_sys_1", "vxlan", vxlan, errno.EEXIST),
        ("vxlan_sys_4789", "vxlan_sys_1", "vxlan", {**vxlan, 23: b""}, errno.EADDRINUSE),
        ("vxlan_sys_4789", "genev_sys_1", "geneve", {**geneve, 5: b"\x12\xb5"}, errno.EADDRINUSE),
        ("genev_sys_6081", "genev_sys_1", "geneve", geneve, errno.EBUSY),
        ("gre_sys", "gre_sys_1", "gretap", gre, errno.EEXIST),
    ):
        create(sock, first)
        before.append(first)
        before.sort()
        ask(code, name, kind, data)
        sock.delete(first)
        before.remove(first)
    # Refusals are told with the options of the socket: without the request's payload.
    sock.setsockopt(270, 10, 1)
    sock.send(sock.message(NEWLINK, ACK | CREATE | EXCL, body("vxlan_sys_1", "vxlan", None)))
    reply = sock.recv(65536, socket.MSG_DONTWAIT)
    assert len(reply) == 36 and struct.unpack_from("=i", reply, 16)[0] == -errno.EINVAL, reply
    # More than the library remembers; the last are told rightly.
    for _ in range(100):
        sock.send(sock.message(NEWLINK, CREATE | EXCL, body("vxlan_sys_1", "vxlan", None)))
    codes = [-struct.unpack_from("=i", sock.recv(65536, socket.MSG_DONTWAIT), 16)[0] for _ in range(100)]
    assert codes == [errno.EOPNOTSUPP] * 36 + [errno.EINVAL] * 64, codes
    unprivileged()
    assert names() == before, names()


def unprivileged():
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            refused(errno.EPERM, create, Route(), "vxlan_sys_4789")
            os._exit(0)
        except BaseException as error:
            print(error, flush=True)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


{"make": lambda: make(sys.argv[2:]), "port": lambda: port(sys.argv[2]), "good": good, "bad": bad}[sys.argv[1]]()
print("all well")
