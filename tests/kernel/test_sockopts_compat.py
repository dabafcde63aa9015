# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sockopts: the lists hold for the calls that cgroup/setsockopt does not see."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import uring
from tests.kernel.compat import Low, SocketCall, socketcall
from tests.kernel.conftest import Group, groups
from tests.kernel.sends import Control, made_in, set_by_32_bit
from tests.kernel.tasks import SO_MARK, outcome
from tests.kernel.uring import Sqe

Make = Callable[..., Group]
Two = tuple[Group, Group]

SOL = socket.SOL_SOCKET
MARK, KEEPALIVE = (SOL, SO_MARK), (SOL, socket.SO_KEEPALIVE)
NODELAY, TTL = (socket.IPPROTO_TCP, 1), (socket.IPPROTO_IP, socket.IP_TTL)
OPTIONS = (MARK, KEEPALIVE, NODELAY, TTL)
NAMES = ["SOL_SOCKET/SO_MARK", "6/1"]


def _socketcall(sock: socket.socket, option: Control) -> Any:
    words = (option.level, option.name, Low(option.value.to_bytes(4, "little")), 4)
    return outcome(socketcall, SocketCall.SETSOCKOPT, sock.fileno(), *words)


CALLS = pytest.mark.parametrize("call", [set_by_32_bit, _socketcall], ids=["int80", "socketcall"])


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    """One that denies the options of NAMES, and one that allows no others."""
    with groups() as make:
        yield make("deny", sockopts={"deny": NAMES}), make("allow", sockopts={"allow": NAMES})


@CALLS
def test_the_lists_hold(two: Two, call: Callable[..., Any]) -> None:
    def work() -> list[Any]:
        with socket.socket() as sock:
            found = [call(sock, Control(*option, 1)) for option in OPTIONS]
            return [*found, *(sock.getsockopt(*option) for option in OPTIONS)]

    deny, allow = two
    ok = 0 if call is _socketcall else "ok"
    with socket.socket() as fresh:
        ttl = fresh.getsockopt(*TTL)
    assert work() == [ok] * 4 + [1] * 4
    assert deny.run(work) == ["EPERM", ok, "EPERM", ok, 0, 1, 0, 1]
    assert allow.run(work) == [ok, "EPERM", ok, "EPERM", 1, 0, 1, ttl]


def test_every_family_is_held(two: Two) -> None:
    deny, allow = two

    def work(family: int) -> list[Any]:
        kind = socket.SOCK_RAW if family == socket.AF_NETLINK else socket.SOCK_DGRAM
        with socket.socket(family, kind) as sock:
            return [set_by_32_bit(sock, Control(*option, 1)) for option in (MARK, KEEPALIVE)]

    families = (
        socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET,
    )  # fmt: skip
    for family in families:
        assert deny.run(lambda family=family: work(family)) == ["EPERM", "ok"], family
        assert allow.run(lambda family=family: work(family)) == ["ok", "EPERM"], family


def test_the_lists_hold_for_io_uring(two: Two) -> None:
    uring.need_setsockopt(socket.AF_PACKET)
    value = (1).to_bytes(4, "little")

    def work() -> list[Any]:
        with socket.socket() as sock:
            return [
                outcome(uring.setsockopt, sock.fileno(), *option, value, flags)
                for flags in (Sqe.NONE, Sqe.ASYNC)
                for option in OPTIONS
            ]

    deny, allow = two
    assert deny.run(work) == ["EPERM", "ok", "EPERM", "ok"] * 2
    assert allow.run(work) == ["ok", "EPERM", "ok", "EPERM"] * 2


def test_a_value_of_any_size_and_place_is_held(two: Two) -> None:
    """The program is asked before the kernel looks at the value."""
    deny, _allow = two

    def work() -> list[Any]:
        with socket.socket() as sock:
            return [
                outcome(
                    socketcall, SocketCall.SETSOCKOPT, sock.fileno(), *MARK, where, length
                )
                for where, length in ((Low(8192), 8192), (Low(4), 0), (0, 4), (0, -1))
            ]  # fmt: skip

    assert deny.run(work)[:3] == ["EPERM"] * 3
    assert (deny.run(work)[3], work()) == (work()[3], [0, "EINVAL", "EFAULT", "EINVAL"])


def test_a_socket_that_is_handed_over_passes_both_lists(two: Two, group: Make) -> None:
    """That of the cgroup that made it by a 64-bit call; that of the task that calls by either."""
    deny, allow = two
    free = group("free")

    def work(sock: socket.socket) -> list[Any]:
        return [
            found
            for option in (MARK, KEEPALIVE)
            for found in (
                outcome(sock.setsockopt, *option, 1), set_by_32_bit(sock, Control(*option, 1))
            )
        ]  # fmt: skip

    for maker, caller, expected in (
        (deny, free, ["EPERM", "ok", "ok", "ok"]),
        (free, deny, ["EPERM", "EPERM", "ok", "ok"]),
        (deny, allow, ["EPERM", "ok", "EPERM", "EPERM"]),
        (allow, deny, ["EPERM", "EPERM", "EPERM", "ok"]),
    ):
        (sock,) = made_in(maker, lambda: [socket.socket()])
        with sock:
            assert caller.run(lambda sock=sock: work(sock)) == expected, (maker, caller)
