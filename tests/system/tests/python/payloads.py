# SPDX-License-Identifier: Apache-2.0 OR MIT
# Prints what UDP packets to port 9 that come in on a device carry.
import socket, struct, sys

sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
sock.bind((sys.argv[1], 0x0800))
print("listens", flush=True)
while True:
    try:
        frame, source = sock.recvfrom(65536)
    except OSError:
        sys.exit("the device has gone")
    if source[2] != socket.PACKET_OUTGOING and len(frame) >= 42 and frame[23] == 17 and frame[36:38] == b"\0\x09":
        length, = struct.unpack_from("!H", frame, 38)
        print(frame[42:34 + length].decode(), flush=True)
