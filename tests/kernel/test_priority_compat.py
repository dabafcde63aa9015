# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""priority: SO_PRIORITY is refused to the calls that cgroup/setsockopt does not see."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel import compat, uring
from tests.kernel.conftest import Group, groups
from tests.kernel.sends import Control, set_by_32_bit
from tests.kernel.tasks import outcome, priority

OURS, MINE = 0x10010, 3


@pytest.fixture(scope="module")
def ours() -> Iterator[Group]:
    with groups() as make:
        yield make("ours", priority="1:10")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX, socket.AF_PACKET])
def test_the_priority_is_not_set_by_other_calls(ours: Group, family: int) -> None:
    option = Control(socket.SOL_SOCKET, socket.SO_PRIORITY, MINE)

    def work() -> list[Any]:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            words = (option.level, option.name, compat.Low(bytes(4)), 4)
            return [
                set_by_32_bit(sock, option),
                outcome(
                    compat.socketcall, compat.SocketCall.SETSOCKOPT, sock.fileno(), *words
                ),
                priority(sock),
            ]  # fmt: skip

    assert ours.run(work) == ["EPERM", "EPERM", OURS]


def test_the_priority_is_not_set_by_io_uring(ours: Group) -> None:
    uring.need_setsockopt(socket.AF_PACKET)
    option = (socket.SOL_SOCKET, socket.SO_PRIORITY, MINE.to_bytes(4, "little"))

    def work() -> list[Any]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            found = [
                outcome(uring.setsockopt, sock.fileno(), *option, flags)
                for flags in (uring.Sqe.NONE, uring.Sqe.ASYNC)
            ]
            return [*found, priority(sock)]

    assert ours.run(work) == ["EPERM", "EPERM", OURS]
