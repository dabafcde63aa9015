# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SO_REUSEPORT: in a group of sockets of several cgroups each keeps to its own policy."""

from __future__ import annotations

import ctypes
import functools
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.classes import AF21, EF
from tests.kernel.conftest import Group, groups
from tests.kernel.flows import MAPPED, family_of
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import V4, V6, made_in, mark
from tests.kernel.tasks import outcome, priority

pytestmark = pytest.mark.usefixtures("outside")

OURS, OTHER = 0x10010, 6
PORT = 8443
ATTACH_REUSEPORT_CBPF = 51
RETURN = 0x06
"""A classic BPF program's BPF_RET | BPF_K."""
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
KINDS = pytest.mark.parametrize("kind", [TCP, UDP])
BOTH = pytest.mark.parametrize("address", [V4, V6])


@pytest.fixture(scope="module")
def two(outside: Group) -> Iterator[tuple[Group, Group]]:
    """Two that may both bind the port."""
    ports = {"tcp": [PORT], "udp": [PORT]}
    with groups() as make:
        yield (
            make("outside/ours", priority=OURS, tos=["af21"], bind_ports=ports),
            make("outside/other", priority=OTHER, tos=["ef"], bind_ports=ports),
        )


@pytest.fixture(scope="module")
def stranger(outside: Group) -> Iterator[Group]:
    """One that may bind no port."""
    with groups() as make:
        yield make("outside/stranger", bind_ports={"tcp": [], "udp": []})


def new(kind: int, address: str, option: int = socket.SO_REUSEPORT) -> socket.socket:
    """A socket that may share its port."""
    sock = socket.socket(family_of(address), kind)
    sock.setsockopt(socket.SOL_SOCKET, option, 1)
    return sock


def member(kind: int, address: str, option: int = socket.SO_REUSEPORT) -> socket.socket:
    """One of the group of a port."""
    sock = new(kind, address, option)
    try:
        sock.bind((address, PORT))
        if kind == TCP:
            sock.listen()
    except OSError:
        sock.close()
        raise
    return sock


def members(kind: int, address: str, *cgroups: Group) -> list[socket.socket]:
    """One of each cgroup, in their order."""
    return [made_in(each, lambda: [member(kind, address)])[0] for each in cgroups]


def steer(sock: socket.socket, index: int) -> None:
    """Let a group give everything to the socket that joined it as this one."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", RETURN, 0, 0, index), 8)
    program = struct.pack("H6xQ", 1, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, ATTACH_REUSEPORT_CBPF, program)


# Joining


@KINDS
@BOTH
def test_a_task_that_may_not_bind_the_port_does_not_join(
    two: tuple[Group, Group], outside: Group, stranger: Group, kind: int, address: str
) -> None:
    """By its address or by all of them, sharing it in either way."""
    everywhere = ("::", MAPPED, V6) if address == V6 else ("0.0.0.0", V4)

    def work(*options: int) -> list[Any]:
        return [outcome(member, kind, each, o) for o in options for each in everywhere]

    both = (socket.SO_REUSEPORT, socket.SO_REUSEADDR)
    ours, other = two
    (sock,) = members(kind, address, ours)
    with sock:
        for where in (other, outside):
            assert where.run(lambda: work(both[0])) == ["ok"] * len(everywhere)
        assert stranger.run(lambda: work(*both)) == ["EPERM"] * 2 * len(everywhere)


@KINDS
def test_the_list_that_counts_is_that_of_the_sockets_cgroup(
    two: tuple[Group, Group], stranger: Group, kind: int
) -> None:
    """Not of the task that binds: a socket that is handed on takes its right to join along."""
    ours, _other = two
    (sock,) = members(kind, V4, ours)
    with sock:
        for maker, binder, expected in ((stranger, ours, "EPERM"), (ours, stranger, "ok")):
            (handed,) = made_in(maker, lambda: [new(kind, V4)])
            with handed:
                assert binder.run(functools.partial(outcome, handed.bind, (V4, PORT))) == expected


@KINDS
def test_a_task_of_another_user_does_not_join(two: tuple[Group, Group], kind: int) -> None:
    """The kernel's own rule, in the same cgroup too."""
    ours, _other = two

    def work() -> Any:
        tasks.become_nobody()
        return outcome(member, kind, V4)

    (sock,) = members(kind, V4, ours)
    with sock:
        assert ours.run(work) == "EADDRINUSE"
    assert ours.run(work) == "ok"


# What comes


@BOTH
@pytest.mark.parametrize("index", [0, 1])
def test_an_accepted_socket_is_of_the_cgroup_of_the_listener_that_got_it(
    two: tuple[Group, Group], left: Taken, address: str, index: int
) -> None:
    level, name, _value = mark(family_of(address), 0)
    listeners = members(TCP, address, *two)
    with listeners[0], listeners[1]:
        steer(listeners[1 - index], index)  # any of them sets it for all
        left()
        with (
            socket.create_connection((address, PORT)) as client,
            listeners[index].accept()[0] as there,
        ):
            found = [priority(there)]
            found += [outcome(there.setsockopt, level, name, tos) for tos in (AF21, EF)]
            there.sendall(b"x")
            assert client.recv(1) == b"x"
        sent = set(priorities(left()))
    expected = (OURS, "ok", "EPERM") if index == 0 else (OTHER, "EPERM", "ok")
    assert (found, sent) == ([*expected], {expected[0]})


@BOTH
@pytest.mark.parametrize("index", [0, 1])
def test_an_answer_by_a_socket_of_a_group_is_held_by_its_own_policy(
    two: tuple[Group, Group], left: Taken, address: str, index: int
) -> None:
    socks = members(UDP, address, *two)
    family = family_of(address)
    with socks[0], socks[1], socket.socket(family, UDP) as client:
        steer(socks[1 - index], index)
        client.sendto(b"x", (address, PORT))
        socks[index].settimeout(tasks.PATIENCE)
        _data, back = socks[index].recvfrom(1)
        found = [
            outcome(socks[index].sendmsg, [b"x"], [mark(family, tos).carried()], 0, back)
            for tos in (0, AF21, EF)
        ]
        carried = [(packet.priority, packet.tos) for packet in left()]
    if index == 0:
        assert (found, carried[:2]) == ([1, 1, "EPERM"], [(OURS, 0), (OURS, AF21)])
    else:
        assert (found, carried[::2]) == ([1, "EPERM", 1], [(OTHER, 0), (OTHER, EF)])


@BOTH
def test_a_connection_that_moves_on_stays_of_the_listener_that_made_it(
    two: tuple[Group, Group], left: Taken, address: str
) -> None:
    """A listener that closes leaves those that wait to its group (tcp_migrate_req, since 5.14)."""
    level, name, _value = mark(family_of(address), 0)
    ours, other = members(TCP, address, *two)
    _cgroup, theirs = two
    with tasks.sysctl("net/ipv4/tcp_migrate_req", "1"), ours, other:
        steer(ours, 0)
        with socket.create_connection((address, PORT)) as client:
            ours.close()
            left()

            def work() -> list[Any]:
                with other.accept()[0] as there:
                    found = [priority(there)]
                    found += [outcome(there.setsockopt, level, name, tos) for tos in (AF21, EF)]
                    there.sendall(b"x")
                    return found

            assert theirs.run(work) == [OURS, "ok", "EPERM"]
            assert client.recv(1) == b"x"
    assert set(priorities(left())) == {OURS}
