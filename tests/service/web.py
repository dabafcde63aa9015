# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that says what its own system calls return.

    web.py serve    answers each connection to the socket with JSON: call -> outcome
    web.py ask      prints what the service answers, which is waited for
    web.py try      prints what the same calls return to the caller itself

An outcome is "ok", the name of an errno, or a priority as tc writes it.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable

SOCKET = "/run/web/socket"
PATIENCE = 60.0
"""Seconds after which a service that does not answer is taken for one that never will."""
IPV6_TCLASS, SO_MARK = 67, 36
AF21, EF = 0x48, 0xB8


def stream(family: int = socket.AF_INET6) -> socket.socket:
    """A TCP socket."""
    return socket.socket(family, socket.SOCK_STREAM)


def setting(level: int, name: int, value: int) -> None:
    """setsockopt() on a new socket."""
    with stream() as sock:
        sock.setsockopt(level, name, value)


def binding(kind: int, port: int) -> None:
    """bind() of a new socket to a port of every address."""
    with socket.socket(socket.AF_INET6, kind) as sock:
        sock.bind(("::", port))


def connecting(address: str) -> None:
    """connect() of UDP, which asks no peer."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 53))


def priority(sock: socket.socket) -> str:
    """SO_PRIORITY, as tc writes a class."""
    value = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY)
    return f"{value >> 16:x}:{value & 0xFFFF:x}"


def born() -> str:
    """The priority of a new socket."""
    with stream() as sock:
        return priority(sock)


def after_tos() -> str:
    """The priority of a socket once IP_TOS is set."""
    with stream() as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, AF21)
        return priority(sock)


def accepted() -> str:
    """The priority of a connection that was accepted."""
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as listener,
        socket.create_connection(listener.getsockname()[:2]),
        listener.accept()[0] as connection,
    ):
        return priority(connection)


CALLS: dict[str, Callable[[], str | None]] = {
    "socket(AF_INET)": lambda: stream(socket.AF_INET).close(),
    "socket(AF_INET6)": lambda: stream().close(),
    "connect(::ffff:127.0.0.1)": lambda: connecting("::ffff:127.0.0.1"),
    "connect(::1)": lambda: connecting("::1"),
    "priority of a new socket": born,
    "priority of an accepted one": accepted,
    "priority after IP_TOS af21": after_tos,
    "setsockopt(SO_PRIORITY, 3)": lambda: setting(socket.SOL_SOCKET, socket.SO_PRIORITY, 3),
    "setsockopt(IPV6_TCLASS, af21)": lambda: setting(socket.IPPROTO_IPV6, IPV6_TCLASS, AF21),
    "setsockopt(IPV6_TCLASS, ef)": lambda: setting(socket.IPPROTO_IPV6, IPV6_TCLASS, EF),
    "setsockopt(SO_MARK)": lambda: setting(socket.SOL_SOCKET, SO_MARK, 7),
    "setsockopt(SO_KEEPALIVE)": lambda: setting(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    "bind(tcp 443)": lambda: binding(socket.SOCK_STREAM, 443),
    "bind(tcp 8080)": lambda: binding(socket.SOCK_STREAM, 8080),
    "bind(tcp 9090)": lambda: binding(socket.SOCK_STREAM, 9090),
    "bind(tcp 0)": lambda: binding(socket.SOCK_STREAM, 0),
    "bind(udp 5353)": lambda: binding(socket.SOCK_DGRAM, 5353),
}


def outcome(call: Callable[[], str | None]) -> str:
    """What a call returned."""
    try:
        return call() or "ok"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0) or repr(error)


def outcomes() -> str:
    """Every call's outcome as JSON."""
    return json.dumps({name: outcome(call) for name, call in CALLS.items()})


def serve() -> None:
    """Answer until the end."""
    aside = f"{SOCKET}.new"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(aside)
        listener.listen()
        os.rename(aside, SOCKET)  # it is there once it answers
        while True:
            with listener.accept()[0] as connection:
                try:
                    answer = outcomes()
                except Exception:  # whoever asks is told, and the service ends by it
                    connection.sendall(traceback.format_exc().encode())
                    raise
                connection.sendall(answer.encode())


def ask() -> str:
    """What the service answers, once it does; it may have been started a moment ago."""
    deadline = time.monotonic() + PATIENCE
    with socket.socket(socket.AF_UNIX) as client:
        early = errno.ENOENT, errno.ECONNREFUSED
        while (failed := client.connect_ex(SOCKET)) in early and time.monotonic() < deadline:
            time.sleep(0.1)
        if failed:
            raise OSError(failed, os.strerror(failed), SOCKET)
        with client.makefile(encoding="utf-8") as answer:
            return answer.read()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    elif sys.argv[1:] == ["ask"]:
        print(ask())
    elif sys.argv[1:] == ["try"]:
        print(outcomes())
    else:
        sys.exit(__doc__)
