# SPDX-License-Identifier: Apache-2.0 OR MIT
# Runs a program for which the kernel refuses BPF maps, and nothing else (seccomp): its words are the arguments.
import ctypes, os, platform, struct, sys

BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
BPF_MAP_CREATE, EPERM = 0, 1
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16

program = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, 3, BPF),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUAL, 0, 1, BPF_MAP_CREATE),
        (RETURN, 0, 0, 0x0005_0000 | EPERM),
        (RETURN, 0, 0, 0x7FFF_0000),
    )
)


class Filter(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


libc = ctypes.CDLL(None, use_errno=True)
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER = 22, 38, 2
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
whole = Filter(len(program) // 8, program)
assert libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(whole), 0, 0) == 0, ctypes.get_errno()
os.execvp(sys.argv[1], sys.argv[1:])
