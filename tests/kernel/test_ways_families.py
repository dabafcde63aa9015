# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Families without IP are untouched by every control at once, but that they carry the priority."""

from __future__ import annotations

import contextlib
import functools
import hmac
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel.conftest import Group, groups
from tests.kernel.tasks import SO_MARK, outcome, priority, set_priority

Make = Callable[..., Group]
Ends = tuple[socket.socket, socket.socket]

OURS, OTHER, MINE = 0x10010, 6, 3
EF = 0xB8
EVERYTHING = {
    "priority": "1:10",
    "tos": [],
    "bind_ports": {"tcp": [], "udp": [], "below": 65536},
    "ipv4": "hidden",
    "sockopts": {"deny": ["SOL_SOCKET/SO_MARK"]},
}
CID_LOCAL = 1
PORT = 80
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, RTNLGRP_LINK = 270, 1, 1
RTM_NEWLINK, RTM_GETLINK, REQUEST_DUMP = 16, 18, 0x301
PAIRED = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)


@pytest.fixture(scope="module")
def ours() -> Iterator[Group]:
    with groups() as make:
        yield make("ours", **EVERYTHING)


@contextlib.contextmanager
def _connected(family: int, kind: int, address: Any) -> Iterator[Ends]:
    with socket.socket(family, kind) as listener, socket.socket(family, kind) as here:
        listener.bind(address)
        listener.listen()
        here.connect(address)
        with listener.accept()[0] as there:
            yield here, there


@contextlib.contextmanager
def _datagrams() -> Iterator[Ends]:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there,
    ):
        here.bind("\0here")
        there.bind("\0there")
        here.connect("\0there")
        there.connect("\0here")
        yield here, there


@contextlib.contextmanager
def _pair(kind: int) -> Iterator[Ends]:
    here, there = socket.socketpair(socket.AF_UNIX, kind)
    with here, there:
        yield here, there


part = functools.partial
CONVERSATIONS: dict[str, Callable[[], Any]] = {
    "AF_UNIX, stream": part(_connected, socket.AF_UNIX, socket.SOCK_STREAM, "\0stream"),
    "AF_UNIX, seqpacket": part(_connected, socket.AF_UNIX, socket.SOCK_SEQPACKET, "\0packets"),
    "AF_UNIX, datagrams": _datagrams,
    "AF_UNIX, a pair of stream": part(_pair, socket.SOCK_STREAM),
    "AF_UNIX, a pair of datagrams": part(_pair, socket.SOCK_DGRAM),
    "AF_UNIX, a pair of seqpacket": part(_pair, socket.SOCK_SEQPACKET),
    "AF_VSOCK, stream": part(_connected, socket.AF_VSOCK, socket.SOCK_STREAM, (CID_LOCAL, PORT)),
    "AF_VSOCK, seqpacket": part(
        _connected, socket.AF_VSOCK, socket.SOCK_SEQPACKET, (CID_LOCAL, PORT)
    ),
}


def converse(name: str) -> tuple[list[Any], list[int]]:
    """What calls on both ends return, and the priorities of both."""
    with CONVERSATIONS[name]() as ends:
        found = []
        for one, other in (ends, ends[::-1]):
            found += [one.send(b"x"), other.recv(1)]
            found.append(outcome(one.setsockopt, socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14))
            found.append(outcome(one.setsockopt, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
            found.append(outcome(one.setsockopt, socket.IPPROTO_IP, socket.IP_TOS, EF))
            if one.family == socket.AF_UNIX:
                found.append(outcome(one.setsockopt, socket.SOL_SOCKET, socket.SO_PASSCRED, 1))
        return found, [priority(one) for one in ends]


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_is_as_without_and_both_ends_carry_the_priority(
    ours: Group, name: str
) -> None:
    without, priorities = converse(name)
    assert priorities == [0, 0]
    assert without[:2] == [1, b"x"]
    assert ours.run(lambda: converse(name)) == (without, [OURS, OURS])


def test_priority_and_sockopts_hold_there_too(ours: Group) -> None:
    def work() -> list[Any]:
        found = []
        for name in CONVERSATIONS:
            with CONVERSATIONS[name]() as ends:
                for one in ends:
                    found.append(outcome(set_priority, one, MINE))
                    found.append(outcome(one.setsockopt, socket.SOL_SOCKET, SO_MARK, 1))
        return found

    assert work() == ["ok"] * 4 * len(CONVERSATIONS)
    assert ours.run(work) == ["EPERM"] * 4 * len(CONVERSATIONS)


def test_a_descriptor_and_credentials_are_passed_as_without(ours: Group) -> None:
    def work() -> tuple[bytes, tuple[int, int, int], bytes]:
        here, there = socket.socketpair()
        reader, writer = os.pipe()
        with here, there:
            there.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", writer))
            own = (os.getpid(), os.getuid(), os.getgid())
            me = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("3i", *own))
            here.sendmsg([b"x"], [rights, me])
            data, controls, _flags, _from = there.recvmsg(1, 128)
            told = {name: value for _level, name, value in controls}
            (passed,) = struct.unpack("i", told[socket.SCM_RIGHTS])
            os.write(passed, b"y")
            for fd in (passed, writer):
                os.close(fd)
            got = os.read(reader, 1)
            os.close(reader)
            credentials = struct.unpack("3i", told[socket.SCM_CREDENTIALS])
            assert credentials == own
            return data, (0, *credentials[1:]), got

    assert ours.run(work) == work() == (b"x", (0, 0, 0), b"y")


def test_a_socketpair_of_another_family_is_refused_as_without(ours: Group) -> None:
    """IPv4's by the errno of a family that is not there."""
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_VSOCK)

    def work() -> list[Any]:
        return [outcome(socket.socketpair, family, socket.SOCK_DGRAM) for family in families]

    without = work()
    assert without[:2] == ["ENOTSUP"] * 2
    assert ours.run(work) == ["EAFNOSUPPORT", *without[1:]]


def links() -> tuple[set[int], list[Any], int]:
    """The kinds of messages in a dump of all links, outcomes of options, and the priority."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.bind((0, 0))
        found = [
            outcome(sock.setsockopt, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, RTNLGRP_LINK),
            outcome(sock.setsockopt, socket.IPPROTO_IP, socket.IP_TOS, EF),
        ]
        sock.send(struct.pack("=IHHIIBxHiII", 32, RTM_GETLINK, REQUEST_DUMP, 1, 0, 0, 0, 0, 0, 0))
        answer = sock.recv(1 << 16)
        return {struct.unpack_from("=H", answer, 4)[0]}, found, priority(sock)


def test_netlink_answers_as_without(ours: Group) -> None:
    without = links()
    assert (without[0], without[2]) == ({RTM_NEWLINK}, 0)
    assert ours.run(links) == (*without[:2], OURS)


def digest() -> tuple[list[Any], bytes, list[int]]:
    """What the kernel's crypto makes of a key and of data, and the priorities of its sockets."""
    with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET) as sock:
        sock.bind(("hash", "hmac(sha256)"))
        found = [
            outcome(sock.setsockopt, socket.SOL_ALG, socket.ALG_SET_KEY, b"key"),
            outcome(sock.setsockopt, socket.IPPROTO_IP, socket.IP_TOS, EF),
        ]
        with sock.accept()[0] as made:
            made.sendall(b"x")
            return found, made.recv(64), [priority(sock), priority(made)]


def test_the_kernels_crypto_answers_as_without(ours: Group) -> None:
    known = hmac.digest(b"key", b"x", "sha256")
    without = digest()
    assert (without[0][0], *without[1:]) == ("ok", known, [0, 0])
    assert ours.run(digest) == (without[0], known, [OURS, OURS])


def accepted(family: int, address: Any, server: Group, client: Group) -> list[Any]:
    """Of a socket that one cgroup accepts from another: what options return, and the priority."""

    def connect() -> socket.socket:
        here = socket.socket(family)
        here.connect(address)
        return here

    def serve() -> list[Any]:
        with socket.socket(family) as listener:
            listener.bind(address)
            listener.listen()
            client.run(lambda: connect().close())
            with listener.accept()[0] as there:
                return [
                    priority(there),
                    outcome(set_priority, there, MINE),
                    outcome(there.setsockopt, socket.SOL_SOCKET, SO_MARK, 1),
                ]

    return server.run(serve)


def test_an_accepted_unix_socket_is_held_by_the_cgroup_that_connected_too(
    ours: Group, group: Make
) -> None:
    """The kernel makes it in the call of the task that connects."""
    free, other = group("free"), group("other", priority=OTHER)
    assert accepted(socket.AF_UNIX, "\0free", free, free) == [0, "ok", "ok"]
    assert accepted(socket.AF_UNIX, "\0ours", ours, free) == [OURS, "EPERM", "EPERM"]
    assert accepted(socket.AF_UNIX, "\0theirs", free, ours) == [0, "EPERM", "EPERM"]
    assert accepted(socket.AF_UNIX, "\0both", other, ours) == [OTHER, "EPERM", "EPERM"]


def test_an_accepted_vsock_socket_is_held_by_the_cgroup_that_accepts(
    ours: Group, group: Make
) -> None:
    free, other = group("free"), group("other", priority=OTHER)
    address = (CID_LOCAL, PORT)
    assert accepted(socket.AF_VSOCK, address, free, free) == [0, "ok", "ok"]
    assert accepted(socket.AF_VSOCK, address, ours, free) == [OURS, "EPERM", "EPERM"]
    assert accepted(socket.AF_VSOCK, address, free, ours) == [0, "ok", "ok"]
    assert accepted(socket.AF_VSOCK, address, other, ours) == [OTHER, "EPERM", "ok"]
