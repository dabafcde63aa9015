# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a cgroup's sockets receive into memory.

They are told apart by what a socket answers, which a fake one gives: making a ring takes a
capability.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _rings
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup, Ring

from tests.unit.tasks import NOBODY, process, tasks

pytestmark = pytest.mark.usefixtures("closed")

SOL_PACKET, PACKET_VERSION = 263, 10
AF_XDP, SOCK_PACKET = 44, 10
ETH_P_ALL = 3


class Held:
    """A socket that answers as the kernel does, and keeps what was set."""

    def __init__(self, family: int, kind: int, protocol: int = 0, error: int = 0) -> None:
        self.answers = {
            (socket.SOL_SOCKET, socket.SO_DOMAIN): family,
            (socket.SOL_SOCKET, socket.SO_TYPE): kind,
            (SOL_PACKET, PACKET_VERSION): 2,
        }
        self.protocol = protocol
        self.error = error
        self.done: list[tuple[int, int, int]] = []

    def getsockopt(self, level: int, name: int) -> int:
        return self.answers[level, name]

    def getsockname(self) -> tuple[Any, ...]:
        return ("", self.protocol, 0, 0, b"")

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.done.append((level, name, value))
        if self.error:
            raise OSError(self.error, os.strerror(self.error))


ASKED = [(SOL_PACKET, PACKET_VERSION, 2)]
"""The version that it has is set anew."""


@pytest.mark.parametrize(
    ("held", "expected", "done"),
    [
        (Held(AF_XDP, socket.SOCK_RAW), True, []),
        (Held(socket.AF_PACKET, socket.SOCK_RAW), False, []),
        (Held(socket.AF_PACKET, socket.SOCK_RAW, error=errno.EBUSY), False, []),
        (Held(socket.AF_PACKET, SOCK_PACKET, ETH_P_ALL, errno.EBUSY), False, []),
        (Held(socket.AF_PACKET, socket.SOCK_RAW, ETH_P_ALL), False, ASKED),
        (Held(socket.AF_PACKET, socket.SOCK_DGRAM, ETH_P_ALL), False, ASKED),
        (Held(socket.AF_PACKET, socket.SOCK_RAW, ETH_P_ALL, errno.EBUSY), True, ASKED),
        (Held(socket.AF_PACKET, socket.SOCK_DGRAM, ETH_P_ALL, errno.EBUSY), True, ASKED),
        (Held(socket.AF_PACKET, socket.SOCK_RAW, ETH_P_ALL, errno.EPERM), True, ASKED),
        (Held(socket.AF_INET, socket.SOCK_RAW, 1, errno.EBUSY), False, []),
        (Held(socket.AF_INET6, socket.SOCK_RAW, 58, errno.EBUSY), False, []),
        (Held(socket.AF_UNIX, socket.SOCK_STREAM), False, []),
    ],
    ids=[
        "xdp", "packet without protocol", "ring without protocol", "SOCK_PACKET", "packet",
        "cooked packet", "ring", "cooked ring", "no answer", "raw", "raw6", "unix",
    ],
)  # fmt: skip
def test_a_ring_is_told_by_what_the_socket_answers(
    held: Any, expected: bool, done: list[tuple[int, int, int]]
) -> None:
    assert (_rings._receives_into_memory(held), held.done) == (expected, done)


def test_rings_are_told_by_process_of_the_cgroup_and_below(
    group: Cgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {16: [Ring(16, "b"), Ring(16, "a")], 9: [Ring(9, "c")], 100: []}
    monkeypatch.setattr(_rings, "_of", lambda process: iter(held[process]))
    tasks(tmp_path, [100, 16])
    tasks(tmp_path / "below", [9, 16])
    assert _rings.rings(group) == (Ring(9, "c"), Ring(16, "b"), Ring(16, "a"))


def test_real_sockets_that_no_ring_feeds_are_none(group: Cgroup, tmp_path: Path) -> None:
    one, two = socket.socketpair()
    with one, two, process(one.fileno(), two.fileno()) as pid:
        tasks(tmp_path / "below", [pid, NOBODY])
        assert _rings.rings(group) == ()
