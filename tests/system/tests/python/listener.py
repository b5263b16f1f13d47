# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Listens to the ports' group in three ways at once, asks nothing after that, and prints what each is told."""

import errno, os, socket, struct, select, threading

s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
name = b"ovs_vport\0"
s.send(struct.pack("=IHHIIBBHHH", 20 + 4 + len(name) + 2, 16, 1, 1, 0, 3, 1, 0, 4 + len(name), 2) + name + bytes(2))
data, group = s.recv(65536)[20:], None
while data:
    length, kind = struct.unpack_from("=HH", data)
    if kind == 7:
        # The only group's name, then its number, or the other way round.
        nested = data[8:length]
        while nested:
            inner, kind = struct.unpack_from("=HH", nested)
            if kind == 2:
                group, = struct.unpack_from("=I", nested, 4)
            nested = nested[(inner + 3) & ~3:]
    data = data[(length + 3) & ~3:]


def say(*words):
    # Whole lines, whichever thread.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def listen(way, receive):
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
    sock.setsockopt(270, 1, group)
    say(way, "ready")
    while True:
        try:
            message = receive(sock)
        except BlockingIOError:
            continue
        except OSError as error:
            say(way, errno.errorcode[error.errno])
            continue
        say(way, "told", message[16])


def polled(sock):
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.poll()
    return sock.recv(65536, socket.MSG_DONTWAIT)


def selected(sock):
    sock.setblocking(False)
    select.select([sock], [], [])
    return sock.recv(65536)


for way, receive in (("waits", lambda sock: sock.recv(65536)), ("polls", polled), ("selects", selected)):
    threading.Thread(target=listen, args=(way, receive)).start()
