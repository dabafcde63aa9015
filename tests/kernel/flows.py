# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conversations over the loopback device, one for each protocol of IP that a task can speak."""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tests.kernel import sctp, tasks
from tests.kernel.sends import IPV6_HDRINCL, V4, V6, receiver, written

Send = Callable[[], Any]
"""Sends over sockets that are open, and waits until it has arrived."""

ANY = {V4: "0.0.0.0", V6: "::"}
MAPPED = "::ffff:127.0.0.1"
ICMP_ECHO, ICMPV6_ECHO = 8, 128
UDP, TCP = 17, 6


def family_of(address: str) -> int:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@contextlib.contextmanager
def _datagrams(address: str, protocol: int = 0, kind: int = socket.SOCK_DGRAM) -> Iterator[Send]:
    family = family_of(address)
    with (
        socket.socket(family, kind, protocol) as there,
        socket.socket(family, kind, protocol) as here,
    ):
        there.bind((address, 0))
        if kind == socket.SOCK_SEQPACKET:
            there.listen()
        yield lambda: (here.sendto(b"x", there.getsockname()), there.recv(1))


@contextlib.contextmanager
def _stream(address: str, protocol: int = 0) -> Iterator[Send]:
    """Both ends; what is sent goes there and back."""
    family = family_of(address)
    with (
        socket.socket(family, socket.SOCK_STREAM, protocol) as listener,
        socket.socket(family, socket.SOCK_STREAM, protocol) as here,
    ):
        listener.bind((address, 0))
        listener.listen()
        here.connect(listener.getsockname())
        there, _peer = listener.accept()
        with there:

            def send() -> None:
                for one, other in ((here, there), (there, here)):
                    one.sendall(b"x")
                    assert other.recv(1) == b"x"

            yield send


@contextlib.contextmanager
def _peeled(address: str) -> Iterator[Send]:
    """Both ends of an association of one-to-many sockets, each as a socket of its own."""
    family = family_of(address)
    with (
        sctp.listening(family, socket.SOCK_SEQPACKET, (address, 0)) as there,
        sctp.opened(family, socket.SOCK_SEQPACKET) as here,
    ):
        here.connect(there.getsockname())
        with sctp.peeled(here) as one, sctp.peeled(there) as other:
            yield lambda: (one.send(b"x"), other.recv(1), other.send(b"y"), one.recv(1))


@contextlib.contextmanager
def _echo(address: str, kind: int) -> Iterator[Send]:
    """An echo request, and the kernel's own reply."""
    family = family_of(address)
    number, code = {
        socket.AF_INET: (socket.IPPROTO_ICMP, ICMP_ECHO),
        socket.AF_INET6: (socket.IPPROTO_ICMPV6, ICMPV6_ECHO),
    }[socket.AddressFamily(family)]
    tasks.let_everyone_ping()
    with socket.socket(family, kind, number) as sock:
        if family == socket.AF_INET:  # the checksum of ICMPv6 is the kernel's to fill in
            request = struct.pack("!BBHHH", code, 0, 0xFFFF - (code << 8), 0, 0)
        else:
            request = struct.pack("!BBHHH", code, 0, 0, 0, 0)
        yield lambda: (sock.sendto(request, (address, 0)), sock.recv(128))


@contextlib.contextmanager
def _written(address: str) -> Iterator[Send]:
    """A whole packet by a raw socket that includes its header."""
    family = family_of(address)
    with receiver(family) as there, socket.socket(family, socket.SOCK_RAW, UDP) as sock:
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        else:
            sock.setsockopt(tasks.SOL_IPV6, IPV6_HDRINCL, 1)

        def send() -> None:
            sock.sendto(written(there.to, 0), (address, 0))
            assert there.got(1) == [0]

        yield send


ONE_TO_MANY = (tasks.IPPROTO_SCTP, socket.SOCK_SEQPACKET)
part = functools.partial
FLOWS: dict[str, tuple[Callable[[], Any], int, int]] = {
    # how to open it, the version of its packets, and the protocol in their headers
    "UDP, IPv4": (part(_datagrams, V4), 4, UDP),
    "UDP, IPv6": (part(_datagrams, V6), 6, UDP),
    "UDP, mapped": (part(_datagrams, MAPPED), 4, UDP),
    "UDP-Lite, IPv4": (part(_datagrams, V4, tasks.IPPROTO_UDPLITE), 4, tasks.IPPROTO_UDPLITE),
    "UDP-Lite, IPv6": (part(_datagrams, V6, tasks.IPPROTO_UDPLITE), 6, tasks.IPPROTO_UDPLITE),
    "TCP, IPv4": (part(_stream, V4), 4, TCP),
    "TCP, IPv6": (part(_stream, V6), 6, TCP),
    "TCP, mapped": (part(_stream, MAPPED), 4, TCP),
    "MPTCP, IPv4": (part(_stream, V4, tasks.IPPROTO_MPTCP), 4, TCP),
    "MPTCP, IPv6": (part(_stream, V6, tasks.IPPROTO_MPTCP), 6, TCP),
    "SCTP, IPv4": (part(_stream, V4, tasks.IPPROTO_SCTP), 4, tasks.IPPROTO_SCTP),
    "SCTP, IPv6": (part(_stream, V6, tasks.IPPROTO_SCTP), 6, tasks.IPPROTO_SCTP),
    "SCTP one-to-many, IPv4": (part(_datagrams, V4, *ONE_TO_MANY), 4, tasks.IPPROTO_SCTP),
    "SCTP one-to-many, IPv6": (part(_datagrams, V6, *ONE_TO_MANY), 6, tasks.IPPROTO_SCTP),
    "SCTP peeled off, IPv4": (part(_peeled, V4), 4, tasks.IPPROTO_SCTP),
    "SCTP peeled off, IPv6": (part(_peeled, V6), 6, tasks.IPPROTO_SCTP),
    "ping, IPv4": (part(_echo, V4, socket.SOCK_DGRAM), 4, socket.IPPROTO_ICMP),
    "ping, IPv6": (part(_echo, V6, socket.SOCK_DGRAM), 6, socket.IPPROTO_ICMPV6),
    "raw, IPv4": (part(_echo, V4, socket.SOCK_RAW), 4, socket.IPPROTO_ICMP),
    "raw, IPv6": (part(_echo, V6, socket.SOCK_RAW), 6, socket.IPPROTO_ICMPV6),
    "raw with its header, IPv4": (part(_written, V4), 4, UDP),
    "raw with its header, IPv6": (part(_written, V6), 6, UDP),
}


def need(flow: str) -> None:
    """Skip where the kernel has not the protocol."""
    if flow.startswith("UDP-Lite") and tasks.release() >= (7, 1):
        tasks.skip("the kernel has no UDP-Lite: it left in 7.1")


def converse(flow: str) -> None:
    """One conversation from its beginning to its end."""
    with FLOWS[flow][0]() as send:
        send()
