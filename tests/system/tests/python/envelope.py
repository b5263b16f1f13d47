# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What a netlink socket says beside its messages: source addresses, losses, permissions. What it prints on the kernel's
module is in golden/, beside envelope.sh, which made it. Portway must print the same."""

import errno, os, select, socket, struct, subprocess, sys

GENERIC, SOL_NETLINK = 16, 270
ADD_MEMBERSHIP, PKTINFO, NO_ENOBUFS = 1, 3, 5
REQUEST, ACK, ECHO, DUMP = 1, 4, 8, 0x300


def attribute(kind, payload):
    data = struct.pack("=HH", 4 + len(payload), kind) + payload
    return data + bytes(-len(data) % 4)


def attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3fff] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found


def open_socket():
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC)
    sock.bind((0, 0))
    sock.settimeout(20)
    return sock


def request(sock, family, cmd, attrs=b"", flags=REQUEST | ACK, ifindex=0, header=True):
    payload = struct.pack("=BBH", cmd, 1, 0) + (struct.pack("=i", ifindex) if header else b"") + attrs
    sock.send(struct.pack("=IHHII", 16 + len(payload), family, flags, 1, 0) + payload)


def family(sock, name):
    """Its number and its groups; the socket may be any."""
    request(sock, 16, 3, attribute(2, name.encode() + b"\0"), REQUEST, header=False)
    reply = sock.recv(65536)
    if struct.unpack_from("=H", reply, 4)[0] == 2:
        raise OSError(-struct.unpack_from("=i", reply, 16)[0], name)
    found = attributes(reply[20:])
    groups = {}
    for group in attributes(found.get(7, b"")).values():
        group = attributes(group)
        groups[group[1].rstrip(b"\0").decode()] = struct.unpack("=I", group[2])[0]
    return struct.unpack_from("=H", found[1])[0], groups


def outcome(sock):
    """The errno of the acknowledgement, by name."""
    while True:
        reply = sock.recv(65536)
        while reply:
            length, kind = struct.unpack_from("=IH", reply)
            if kind in (2, 3):
                return errno.errorcode.get(-struct.unpack_from("=i", reply, 16)[0], "ok")
            reply = reply[(length + 3) & ~3:]


def name(text):
    return text.encode() + b"\0"


def u32(number):
    return struct.pack("=I", number)


class World:
    def __init__(self, sock):
        self.groups = {}
        for what in ("datapath", "vport", "flow", "packet", "meter", "ct_limit"):
            number, groups = family(sock, "ovs_" + what)
            setattr(self, what, number)
            self.groups.update(groups)

    def add_datapath(self, sock, dp, pid=0, flags=REQUEST | ACK):
        request(sock, self.datapath, 1, attribute(1, name(dp)) + attribute(2, u32(pid)) + attribute(5, u32(0)), flags)

    def add_port(self, sock, dp, port, kind=2, pid=0, flags=REQUEST | ACK):
        attrs = attribute(3, name(port)) + attribute(2, u32(kind)) + attribute(5, u32(pid))
        request(sock, self.vport, 1, attrs, flags, socket.if_nametoindex(dp))

    def told(self, sock, room=200):
        """A message's kind, and what is said beside it. Numbers of groups are the system's own: they are named here."""
        data, ancillary, flags, source = sock.recvmsg(65536, room)
        kind, = struct.unpack_from("=H", data, 4)
        names = {getattr(self, n): n for n in ("datapath", "vport", "flow", "packet", "meter", "ct_limit")}
        what = {2: "acknowledgement", 3: "end of dump", 16: "family"}.get(kind) or names[kind]
        masks = {1 << group - 1: n for n, group in self.groups.items() if group <= 32}
        groups = {group: n for n, group in self.groups.items()}
        mask = masks.get(source[1], source[1])
        info = [(level, kind, groups.get(struct.unpack("=I", data)[0], data.hex()) if len(data) == 4 else data.hex())
                for level, kind, data in ancillary]
        return f"{what}: from {source[0]}, groups {mask}, ancillary {info}, flags {flags}"

    def parts(self, sock):
        """What is said beside the parts of a dump, whose number is the system's own, to its end."""
        said, kind = set(), 0
        while kind != 3:
            data, ancillary, flags, source = sock.recvmsg(65536, 200)
            said.add((source, *ancillary, flags))
            while data:
                length, kind = struct.unpack_from("=IH", data)
                data = data[(length + 3) & ~3:]
        return sorted(said)


def addresses():
    a, b, c = open_socket(), open_socket(), open_socket()
    world = World(a)
    print("groups have masks:", all(group <= 32 for group in world.groups.values()))
    for group in ("ovs_datapath", "ovs_vport", "ovs_flow"):
        b.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, world.groups[group])
    b.setsockopt(SOL_NETLINK, PKTINFO, 1)
    request(a, 16, 3, attribute(2, name("ovs_flow")), header=False)
    print("reply,", world.told(a))
    print("its ACK,", world.told(a))
    world.add_datapath(a, "dp0", flags=REQUEST | ACK | ECHO)
    print("echo,", world.told(a))
    print("its ACK,", world.told(a))
    print("told,", world.told(b))
    world.add_port(a, "dp0", "int0", pid=7)
    print("ACK,", world.told(a))
    print("told,", world.told(b))
    # A member that asks itself gets the echo instead.
    world.add_port(b, "dp0", "int1", flags=REQUEST | ACK | ECHO)
    print("member's echo,", world.told(b))
    print("its ACK,", world.told(b))
    world.add_port(b, "dp0", "int2", flags=REQUEST | ACK)
    print("member told of its own,", world.told(b))
    print("its ACK,", world.told(b))
    request(b, world.vport, 3, attribute(3, name("int0")), REQUEST | ACK)
    print("member's reply,", world.told(b))
    print("its ACK,", world.told(b))
    request(b, world.vport, 3, flags=REQUEST | DUMP, ifindex=socket.if_nametoindex("dp0"))
    print("a dump's parts,", world.parts(b))
    # Room for what is beside the message, or not.
    for room in (0, 8, 16, 18, 20, 24):
        request(b, world.vport, 3, attribute(3, name("int0")), REQUEST)
        print("room for", room, world.told(b, room))
    # Looked at, then taken.
    world.add_port(a, "dp0", "int3")
    world.told(a)
    data, _, _, source = b.recvmsg(10, 0, socket.MSG_PEEK)
    print("looked at:", len(data), source[0], source[1] == 1 << world.groups["ovs_vport"] - 1)
    print("taken,", world.told(b))
    # By device: nobody asked.
    subprocess.run("ip link add v0 type veth peer name v1", shell=True, check=True)
    world.add_port(a, "dp0", "v0", kind=1)
    world.told(a), world.told(b)
    subprocess.run("ip link del v0", shell=True, check=True)
    print("a device went,", world.told(b))
    # One that said nothing of itself: not bound, nothing joined.
    c = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC)
    c.settimeout(20)
    c.connect((0, 0))
    world.add_port(c, "dp0", "int4", flags=REQUEST | ACK)
    print("ACK,", world.told(c))
    world.add_port(c, "dp0", "int5", flags=REQUEST | ACK | ECHO)
    print("echo,", world.told(c))
    print("its ACK,", world.told(c))
    # A packet for user space.
    world.add_port(a, "dp0", "int6", pid=c.getsockname()[0])
    world.told(a)
    subprocess.run("ip link set int6 up", shell=True, check=True)
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    packets.bind(("int6", 0))
    packets.send(bytes.fromhex("ffffffffffff020000000001") + b"\x12\x34" + bytes(50))
    print("packet,", world.told(c))
    request(a, world.datapath, 2, attribute(1, name("dp0")), REQUEST | ACK)
    world.told(a)


def drained(sock):
    """What reads give until there is nothing: kinds, and errors."""
    said = []
    sock.setblocking(False)
    while True:
        try:
            data = sock.recv(65536)
            what = "family" if struct.unpack_from("=H", data, 4)[0] == 16 else "message"
        except BlockingIOError:
            sock.settimeout(20)
            return said
        except OSError as error:
            what = errno.errorcode[error.errno]
        if said[-1:] != [what]:
            said.append(what)


def fill(sock, count=2000):
    for _ in range(count):
        request(sock, 16, 3, attribute(2, name("ovs_flow")), REQUEST, header=False)


def losses():
    a, b = open_socket(), open_socket()
    world = World(a)
    world.add_datapath(a, "dp0")
    print("datapath:", outcome(a))
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
    print("room:", b.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
    fill(b)
    print("readable:", select.select([b], [], [], 0)[0] == [b])
    print("a full socket says", drained(b))
    print("then", drained(b))
    fill(b, 1)
    print("and is served again", drained(b))
    # What is asked of a full socket is done.
    fill(b)
    world.add_port(b, "dp0", "int0", flags=REQUEST | ACK | ECHO)
    request(a, world.vport, 3, attribute(3, name("int0")))
    print("asked when full:", outcome(a))
    print("its answers are lost", drained(b))
    # Also a refusal.
    fill(b)
    world.add_port(b, "dp0", "int0", flags=REQUEST | ACK | ECHO)
    print("and its refusals", drained(b))
    # Who wants to know nothing is told nothing.
    b.setsockopt(SOL_NETLINK, NO_ENOBUFS, 1)
    fill(b)
    print("without ENOBUFS", drained(b))
    request(a, world.datapath, 2, attribute(1, name("dp0")))
    print("datapath:", outcome(a))


def permissions():
    a = open_socket()
    try:
        world = World(a)
    except OSError as error:
        print("nobody there:", errno.errorcode[error.errno])
        return
    pid = a.getsockname()[0]
    index = lambda: socket.if_nametoindex("dp0") if os.path.exists("/proc/net/dev") and "dp0:" in open("/proc/net/dev").read() else 1

    def say(what, *arguments, **named):
        request(a, *arguments, **named)
        print(what, outcome(a))

    world.add_datapath(a, "dp0", pid)
    print("dp new", outcome(a))
    say("dp get", world.datapath, 3, attribute(1, name("dp0")))
    say("dp set", world.datapath, 4, attribute(1, name("dp0")))
    say("dp dump", world.datapath, 3, flags=REQUEST | DUMP)
    attrs = attribute(3, name("int0")) + attribute(2, u32(2)) + attribute(5, u32(pid))
    say("vport new", world.vport, 1, attrs, ifindex=index())
    say("vport get", world.vport, 3, attribute(3, name("int0")))
    say("vport set", world.vport, 4, attribute(3, name("int0")))
    for what, number, cmds in (("flow", world.flow, (1, 2, 3, 4)), ("packet", world.packet, (3,)),
                               ("meter", world.meter, (1, 2, 3, 4)), ("ct_limit", world.ct_limit, (1, 2, 3))):
        for cmd in cmds:
            say(f"{what} {cmd}", number, cmd, ifindex=index())
    say("unknown command", world.flow, 99)
    for group in ("ovs_datapath", "ovs_vport", "ovs_flow", "ovs_meter", "ovs_ct_limit"):
        try:
            a.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, world.groups[group])
            print("join", group, "ok")
        except OSError as error:
            print("join", group, errno.errorcode[error.errno])
    try:
        _, groups = family(a, "psample")
        for group, number in sorted(groups.items()):
            try:
                a.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, number)
                print("join psample", group, "ok")
            except OSError as error:
                print("join psample", group, errno.errorcode[error.errno])
    except OSError as error:
        print("psample", errno.errorcode[error.errno])
    say("vport del", world.vport, 2, attribute(3, name("int0")))
    say("dp del", world.datapath, 2, attribute(1, name("dp0")))


if __name__ == "__main__":
    {"addresses": addresses, "losses": losses, "permissions": permissions}[sys.argv[1]]()
