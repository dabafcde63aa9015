# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sockopts: which options setsockopt() takes, by a list that denies or one that allows."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel.conftest import Group
from tests.kernel.tasks import CLONE_NEWNET, SO_MARK, outcome, priority, set_priority, unshare

Make = Callable[..., Group]

SOL = socket.SOL_SOCKET
TCP_QUICKACK, TCP_NODELAY, TCP_KEEPIDLE = 12, 1, 4
MARK, KEEPALIVE, REUSE = (SOL, SO_MARK), (SOL, socket.SO_KEEPALIVE), (SOL, socket.SO_REUSEADDR)
NODELAY, QUICKACK = (socket.IPPROTO_TCP, TCP_NODELAY), (socket.IPPROTO_TCP, TCP_QUICKACK)
TTL = (socket.IPPROTO_IP, socket.IP_TTL)


def setting(*options: tuple[int, int], family: int = socket.AF_INET) -> list[Any]:
    """The outcome of setting each option to 1."""
    kind = socket.SOCK_RAW if family == socket.AF_NETLINK else socket.SOCK_STREAM
    with socket.socket(family, kind) as sock:
        return [outcome(sock.setsockopt, level, name, 1) for level, name in options]


def test_a_denied_option_is_refused_and_the_rest_is_not(group: Make) -> None:
    made = group("deny", sockopts={"deny": ["SOL_SOCKET/SO_MARK", "6/12", "SOL_IP/IP_TTL"]})
    options = (MARK, QUICKACK, TTL, KEEPALIVE, REUSE, NODELAY)
    assert made.run(lambda: setting(*options)) == ["EPERM"] * 3 + ["ok"] * 3
    assert setting(*options) == ["ok"] * 6


def test_a_refused_option_keeps_its_value(group: Make) -> None:
    made = group("keep", sockopts={"deny": ["SOL_SOCKET/SO_KEEPALIVE"]})

    def work() -> tuple[Any, int]:
        with socket.socket() as sock:
            return outcome(sock.setsockopt, *KEEPALIVE, 1), sock.getsockopt(*KEEPALIVE)

    assert made.run(work) == ("EPERM", 0)


def test_an_allow_list_refuses_the_rest(group: Make) -> None:
    made = group("allow", sockopts={"allow": ["SOL_SOCKET/SO_REUSEADDR", "6/1"]})
    options = (REUSE, NODELAY, MARK, KEEPALIVE, QUICKACK, TTL)
    assert made.run(lambda: setting(*options)) == ["ok"] * 2 + ["EPERM"] * 4


def test_an_empty_deny_list_refuses_nothing(group: Make) -> None:
    made = group("deny", sockopts={"deny": []})
    assert made.run(lambda: setting(MARK, NODELAY, TTL)) == ["ok"] * 3


def test_an_empty_allow_list_refuses_everything(group: Make) -> None:
    made = group("allow", sockopts={"allow": []})
    assert made.run(lambda: setting(MARK, NODELAY, TTL, (-1, -1))) == ["EPERM"] * 4


def test_an_option_is_its_level_and_its_name(group: Make) -> None:
    """SO_REUSEADDR of SOL_SOCKET and IP_TTL of IPPROTO_IP are both 2."""
    made = group("level", sockopts={"deny": ["SOL_SOCKET/2"]})
    assert made.run(lambda: setting((SOL, 2), (socket.IPPROTO_IP, 2))) == ["EPERM", "ok"]


def test_every_family_is_held(group: Make) -> None:
    made = group("family", sockopts={"deny": ["SOL_SOCKET/SO_PASSCRED"]})
    for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
        found = made.run(
            lambda family=family: setting((SOL, socket.SO_PASSCRED), REUSE, family=family)
        )
        assert found == ["EPERM", "ok"], family


def test_reading_is_not_governed(group: Make) -> None:
    made = group("read", sockopts={"allow": []})

    def work() -> tuple[int, int]:
        with socket.socket() as sock:
            return priority(sock), sock.getsockopt(SOL, socket.SO_TYPE)

    assert made.run(work) == (0, socket.SOCK_STREAM)


def test_a_value_of_any_size_is_held(group: Make) -> None:
    made = group("size", sockopts={"deny": ["SOL_SOCKET/SO_BINDTODEVICE", "SOL_IP/IP_OPTIONS"]})

    def work() -> list[Any]:
        with socket.socket() as sock:
            return [
                outcome(sock.setsockopt, SOL, socket.SO_BINDTODEVICE, b"lo\0"),
                outcome(sock.setsockopt, SOL, socket.SO_BINDTODEVICE, b""),
                outcome(sock.setsockopt, socket.IPPROTO_IP, 4, bytes(40)),
                outcome(sock.setsockopt, socket.IPPROTO_IP, 4, bytes(20000)),
                # 41: IP_MSFILTER takes more than a page where it has as many sources.
                outcome(sock.setsockopt, socket.IPPROTO_IP, 41, bytes(8192)),
            ]

    without = work()
    found = made.run(work)
    assert found[:4] == ["EPERM"] * 4
    assert found[4] == without[4]


@pytest.mark.parametrize(
    ("flags", "option"),
    [
        (0, (SOL, socket.SO_KEEPALIVE)),
        (CLONE_NEWNET, (SOL, socket.SO_KEEPALIVE)),
        (CLONE_NEWNET, (socket.IPPROTO_IP, socket.IP_TOS)),
    ],
    ids=["held", "left alone", "left alone, of tos"],
)
def test_a_value_longer_than_a_page_is_taken_from_the_tasks_own_buffer(
    group: Make, flags: int, option: tuple[int, int]
) -> None:
    """A kernel to which the program leaves its one page instead fails, or says so in its log."""
    made = group("long", priority=6, sockopts={"deny": ["SOL_SOCKET/SO_MARK"]})

    def work() -> Any:
        unshare(flags)  # in a network namespace of its own a task is left alone
        with socket.socket() as sock:
            return outcome(sock.setsockopt, *option, b"\1" + bytes(8191))

    assert made.run(work) == "ok"
    kmsg = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    lines = []
    with contextlib.suppress(BlockingIOError):
        while True:
            lines.append(os.read(kmsg, 8192))
    os.close(kmsg)
    assert [line for line in lines if b"optlen" in line] == []


def test_a_full_list_is_held_to_its_ends(group: Make) -> None:
    denied = [f"1/{name}" for name in range(1000, 1126)] + ["6/1", "1/36"]
    assert len(denied) == 128
    made = group("full", sockopts={"deny": denied})
    options = [(1, 999), (1, 1000), (1, 1063), (1, 1125), (1, 1126), MARK, NODELAY, QUICKACK]
    without = setting(*options)
    found = made.run(lambda: setting(*options))
    refused = [1, 2, 3, 5, 6]
    assert [index for index, each in enumerate(found) if each == "EPERM"] == refused
    assert [found[i] for i in (0, 4, 7)] == [without[i] for i in (0, 4, 7)]


@pytest.mark.parametrize("name", [0, 1, 12, 36, 0x7FFFFFFF])
def test_a_list_of_one(group: Make, name: int) -> None:
    made = group("one", sockopts={"deny": [f"1/{name}"]})
    options = [(1, name), (1, name ^ 64), (2, name)]
    found = made.run(lambda: setting(*options))
    assert found == ["EPERM", *setting(*options[1:])]


def test_two_cgroups_have_their_own(group: Make) -> None:
    one = group("one", sockopts={"deny": ["SOL_SOCKET/SO_MARK"]})
    two = group("two", sockopts={"allow": ["SOL_SOCKET/SO_MARK"]})
    assert one.run(lambda: setting(MARK, NODELAY)) == ["EPERM", "ok"]
    assert two.run(lambda: setting(MARK, NODELAY)) == ["ok", "EPERM"]


def test_what_an_ancestor_refuses_a_descendant_can_not_allow(group: Make) -> None:
    group("ours", sockopts={"deny": ["SOL_SOCKET/SO_MARK"]})
    child = group("ours/child", sockopts={"allow": ["SOL_SOCKET/SO_MARK", "6/1"]})
    assert child.run(lambda: setting(MARK, NODELAY, TTL)) == ["EPERM", "ok", "EPERM"]


def test_the_priority_is_not_touched(group: Make) -> None:
    made = group("plain", sockopts={"deny": ["SOL_SOCKET/SO_MARK"]})

    def work() -> Any:
        with socket.socket() as sock:
            return outcome(set_priority, sock, 3), priority(sock)

    assert made.run(work) == ("ok", 3)
