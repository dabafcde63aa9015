# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process with sockets that are hard to find: tests start it with one of the shapes below.

It tells in a line of JSON what it holds, does what each line of its input says, and ends with it.
A TCP socket can be mapped by anyone; its memory is listed as that of a ring is.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

CLONE_FILES = 0x400  # linux/sched.h
PROT_READ, MAP_SHARED = 1, 1

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)


def mapped() -> socket.socket:
    """A socket that is mapped."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if libc.mmap(None, 4096, PROT_READ, MAP_SHARED, made.fileno(), 0) == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return made


def serve(held: socket.socket) -> None:
    """Tell what is held, and wait for the end. The calling thread is one that has it."""
    inode = os.fstat(held.fileno()).st_ino
    thread = threading.get_native_id()
    print(json.dumps([os.getpid(), thread, held.fileno(), inode]), flush=True)
    for _line in sys.stdin:
        held.close()
        print("closed", flush=True)
    os._exit(0)


def alone() -> None:
    """A thread has a socket in a table of descriptors of its own."""

    def thread() -> None:
        if libc.unshare(CLONE_FILES):
            raise OSError(ctypes.get_errno(), "unshare")
        serve(socket.socket())

    threading.Thread(target=thread).start()


def together() -> None:
    """Two threads have the same table of descriptors."""
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    serve(socket.socket())


def outlive(held: socket.socket) -> None:
    """Another thread has the socket, and the first one ends."""
    state = Path(f"/proc/self/task/{os.getpid()}/stat")

    def thread() -> None:
        while ") Z " not in state.read_text():
            os.sched_yield()
        serve(held)

    threading.Thread(target=thread).start()
    libc.pthread_exit(None)


def ended() -> None:
    """The first thread has ended; another one lives."""
    outlive(socket.socket())


def ended_remains() -> None:
    """The same, where the socket is mapped."""
    outlive(mapped())


def remains() -> None:
    """A socket is mapped, and its descriptor is closed by the first line of the input."""
    serve(mapped())


SHAPES: dict[str, Callable[[], None]] = {
    shape.__name__: shape for shape in (alone, together, ended, ended_remains, remains)
}

if __name__ == "__main__":
    SHAPES[sys.argv[1]]()
