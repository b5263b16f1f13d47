# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Stops one thread of a process, as a busy machine may do it, until the standard input ends."""

import ctypes, os, sys

SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
thread = int(sys.argv[1])


def ptrace(request):
    if libc.ptrace(ctypes.c_long(request), ctypes.c_long(thread), ctypes.c_void_p(0), ctypes.c_void_p(0)) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


ptrace(SEIZE)
ptrace(INTERRUPT)
os.waitpid(thread, WALL)
print("held", flush=True)
sys.stdin.read()
ptrace(DETACH)
