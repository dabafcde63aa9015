# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets that are handed over: which control follows the socket's maker, and which the task.

`tos`, `bind_ports`, `ipv4` and the priority of packets are those of the cgroup that made
the socket; the refusals of `sockopts` and of SO_PRIORITY are of both, and for a 32-bit
call of the task's alone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks, ways
from tests.kernel.conftest import Group, groups
from tests.kernel.flows import MAPPED
from tests.kernel.packets import Taken, arriving, priorities
from tests.kernel.sends import SENDMSG, V4, V6, Control, made_in, receiver, set_by_32_bit, written
from tests.kernel.tasks import outcome, priority, set_priority, set_tos
from tests.kernel.test_priority_frames import (
    BYPASS,
    LOOPBACK,
    PRIORITY,
    knows_priority,
    on_lo,
)
from tests.kernel.uring import Message, syscall
from tests.kernel.ways import CARRIERS, KINDS, MINE, OURS, POLICY, carried, expected, offered, uses

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]
Two = tuple[Group, Group]

CARRYING = pytest.mark.parametrize("carrier", CARRIERS)
OF_KIND = pytest.mark.parametrize("kind", KINDS, ids=["TCP", "UDP"])
OTHER = 6
EF, OF_EF = 0xB8, 4
"""A TOS, and the priority that the kernel gives a socket with it (rt_tos2priority())."""


@pytest.fixture(scope="module")
def two(outside: Group) -> Iterator[Two]:
    """One under every control, and one under none."""
    with groups() as make:
        yield make("outside/ours", **POLICY), make("outside/free")


def handed(maker: Group, caller: Group, carrier: str, kind: int) -> dict[str, Any]:
    """What a task of a cgroup sees that uses a socket of another."""
    with offered(maker, lambda: ways.made(kind)) as here:

        def work() -> dict[str, Any]:
            with CARRIERS[carrier](here) as sock:
                return uses(sock)

        return caller.run(work)


# Handed over


@OF_KIND
@CARRYING
def test_a_socket_that_stays_among_tasks_of_the_cgroup_is_held(
    two: Two, left: Taken, carrier: str, kind: int
) -> None:
    ours, free = two
    assert handed(free, free, carrier, kind) == expected(False, False, kind)
    assert ways.sent_with(left()) == carried(False, False)
    assert handed(ours, ours, carrier, kind) == expected(True, True, kind)
    assert ways.sent_with(left()) == carried(True, True)


@OF_KIND
@CARRYING
def test_a_socket_that_is_passed_out_is_held_but_for_options_by_32_bit_calls(
    two: Two, left: Taken, carrier: str, kind: int
) -> None:
    """And its packets carry the priority, whatever the socket says."""
    ours, free = two
    assert handed(ours, free, carrier, kind) == expected(True, False, kind)
    assert ways.sent_with(left()) == carried(True, False)


@OF_KIND
@CARRYING
def test_of_a_socket_that_is_handed_in_only_options_are_held(
    two: Two, left: Taken, carrier: str, kind: int
) -> None:
    """Not its class, its port, IPv4, and the priority of its packets."""
    ours, free = two
    assert handed(free, ours, carrier, kind) == expected(False, True, kind)
    assert ways.sent_with(left()) == carried(False, True)


@CARRYING
def test_an_ipv4_socket_that_is_handed_in_reaches_ipv4(two: Two, carrier: str) -> None:
    ours, free = two
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        offered(free, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as here,
    ):
        there.bind((V4, 0))

        def work() -> list[Any]:
            with CARRIERS[carrier](here) as sock:
                made = outcome(socket.socket, socket.AF_INET)
                return [made, outcome(sock.sendto, b"x", there.getsockname())]

        assert ours.run(work) == ["EAFNOSUPPORT", 1]
        assert there.recv(1) == b"x"


@CARRYING
def test_ip_tos_moves_the_priority_of_a_socket_that_is_handed_in(
    two: Two, group: Make, left: Taken, carrier: str
) -> None:
    """While setting that is refused. Of the cgroup's own sockets it stays."""
    _ours, free = two
    plain = group("outside/plain", priority="1:10")

    def work(here: socket.socket) -> list[Any]:
        with CARRIERS[carrier](here) as sock:
            found = [outcome(set_priority, sock, MINE), outcome(set_tos, sock, EF)]
            return [*found, priority(sock), outcome(sock.sendto, b"x", (V4, 9))]

    for maker, value in ((plain, OURS), (free, OF_EF)):
        with offered(maker, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as here:
            assert plain.run(lambda here=here: work(here)) == ["EPERM", "ok", value, 1]
        assert priorities(left()) == [value]


@CARRYING
def test_between_two_cgroups_a_socket_passes_the_lists_of_its_maker_and_both_of_options(
    two: Two, group: Make, left: Taken, carrier: str
) -> None:
    """That hand theirs to each other; `other` allows what `ours` refuses, but for one option."""
    ours, _free = two
    other = group(
        "outside/other", priority=OTHER, tos=["ef"], sockopts={"deny": ["SOL_SOCKET/SO_BROADCAST"]},
        bind_ports={"udp": [ways.UNLISTED]},
    )  # fmt: skip
    broadcast = Control(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    def work(here: socket.socket) -> list[Any]:
        with CARRIERS[carrier](here) as sock:
            return [
                priority(sock),
                outcome(sock.bind, ("::", ways.UNLISTED)),
                outcome(tasks.set_tclass, sock, EF),
                *(outcome(sock.setsockopt, *option) for option in (broadcast, ways.KEEPALIVE)),
                *(set_by_32_bit(sock, option) for option in (broadcast, ways.KEEPALIVE)),
                *(outcome(sock.sendto, b"x", (address, 9)) for address in (V6, MAPPED)),
            ]

    for maker, caller, found in (
        (ours, other, [OURS, "EPERM", "EPERM", *["EPERM"] * 2, "EPERM", "ok", 1, "EAFNOSUPPORT"]),
        (other, ours, [OTHER, "ok", "ok", *["EPERM"] * 2, "ok", "EPERM", 1, 1]),
    ):
        with offered(maker, ways.made) as here:
            assert caller.run(lambda here=here: work(here)) == found, maker.path
        assert ways.sent_with(left()) == {found[0]}


# Copies of a descriptor


def _by_fork(sock: socket.socket) -> dict[str, Any]:
    return tasks.inside("/dev/null", lambda: uses(sock))


def _by_exec(sock: socket.socket) -> dict[str, Any]:
    return ways.executed(ways.use_passed, sock)


def _by_dup(sock: socket.socket) -> dict[str, Any]:
    with sock.dup() as copy:
        return uses(copy)


COPIES = {"dup": _by_dup, "fork": _by_fork, "exec": _by_exec}


@pytest.mark.parametrize("copy", COPIES)
@OF_KIND
def test_a_copy_of_a_descriptor_is_the_same_socket(
    two: Two, left: Taken, copy: str, kind: int
) -> None:
    """Also in another cgroup: one that a task has brought along is its maker's."""
    ours, free = two
    for maker, caller in ((ours, ours), (ours, free), (free, ours), (free, free)):
        (sock,) = made_in(maker, lambda: [ways.made(kind)])
        with sock:
            found = caller.run(lambda sock=sock: COPIES[copy](sock))
        held = maker == ours, caller == ours
        assert found == expected(*held, kind), held
        assert ways.sent_with(left()) == carried(*held), held


# What goes with a socket


def test_unprivileged_goes_with_a_socket_that_is_passed_out(group: Make) -> None:
    """A task outside that has no capability binds the listed port with it, and with its own not."""
    low = group("low", bind_ports={"tcp": [80], "unprivileged": True})
    free = group("free")
    for maker, caller, found in (
        (low, free, ["EPERM", "ok"]),
        (free, low, ["EACCES", "EACCES"]),
        (low, low, ["EPERM", "ok"]),
        (free, free, ["EACCES", "EACCES"]),
    ):
        (sock,) = made_in(maker, lambda: [ways.made(socket.SOCK_STREAM)])

        def work(sock: socket.socket = sock) -> list[Any]:
            os.setuid(tasks.NOBODY)
            return [outcome(sock.bind, ("::", port)) for port in (81, 80)]

        with sock:
            assert caller.run(work) == found, (maker, caller)


def test_a_packet_socket_that_is_passed_out_sends_frames_of_any_priority(
    two: Two, outside: Group
) -> None:
    """Frames carry the socket's priority, which the refusals that guard it are the task's for."""
    ours, free = two
    knows = knows_priority(free)

    def work(sock: socket.socket) -> list[Any]:
        with receiver(socket.AF_INET6) as there:
            frame = LOOPBACK + written(there.to, 0)
            message = Message(frame, on_lo(), PRIORITY.packed())
            found = [
                outcome(sock.sendto, frame, ("lo", 0x86DD)),
                outcome(syscall, SENDMSG, sock.fileno(), message.address, 0),
                outcome(set_priority, sock, MINE),
                set_by_32_bit(sock, ways.PRIORITY),
                outcome(sock.sendto, frame, ("lo", 0x86DD)),
                outcome(sock.setsockopt, *BYPASS),
            ]
            return [*found, len(there.got(found.count(len(frame))))]

    size = len(LOOPBACK + written((V6, 9), 0))
    for caller, found, came_with in (
        (ours, [size, "EPERM" if knows else "EINVAL", "EPERM", "EPERM", size, "EPERM", 2],
         [OURS, OURS]),
        (free, [size, size if knows else "EINVAL", "EPERM", "ok", size, "ok", 2 + knows],
         [OURS, *[OTHER] * knows, MINE]),
    ):  # fmt: skip
        (sock,) = made_in(ours, lambda: [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)])
        with sock, arriving(outside) as came:
            assert caller.run(lambda sock=sock: work(sock)) == found
            assert priorities(came()) == came_with
