# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""retrofit: the value that SO_PRIORITY takes of whom, beside lists of options."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel.conftest import Group, apply
from tests.kernel.held import OTHER, OURS, PATH, given, held_by, retrofit, udp
from tests.kernel.sends import made_in
from tests.kernel.tasks import outcome, priority, set_priority

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]


@pytest.fixture
def ours(group: Make) -> Group:
    """A cgroup without a policy."""
    return group(PATH)


def test_a_socket_of_the_cgroup_takes_the_declared_value_and_only_from_outside(
    ours: Group,
) -> None:
    retrofit()
    sock = made_in(ours, udp)[0]
    option = (socket.SOL_SOCKET, socket.SO_PRIORITY)
    values = [OURS, OTHER, 0, b"", b"\x10\0\1", struct.pack("2I", OURS, 0), bytes(8192)]

    def work() -> list[Any]:
        return [outcome(sock.setsockopt, *option, value) for value in values]

    with sock:
        assert ours.run(work) == ["EPERM"] * 7
        assert work() == ["ok", "EPERM", "EPERM", "EINVAL", "EINVAL", "EPERM", "EPERM"]
        assert priority(sock) == OURS


def test_a_socket_below_takes_the_nearest_declared_value_only(ours: Group, group: Make) -> None:
    retrofit()
    nearer = group(f"{PATH}/nearer", priority=OTHER)
    sock = made_in(nearer, udp)[0]
    with sock:
        assert [outcome(set_priority, sock, value) for value in (OURS, OTHER, 3)] == [
            "EPERM", "ok", "EPERM",
        ]  # fmt: skip
        assert priority(sock) == OTHER


def test_the_cgroups_own_list_of_options_does_not_stand_against_it(ours: Group) -> None:
    (sock,) = made_in(ours, udp)
    with sock, held_by(ours):
        assert given(retrofit(sockopts={"allow": []})) == 1
        assert priority(sock) == OURS


def test_a_list_of_options_above_does_and_that_is_told(ours: Group, group: Make) -> None:
    apply([{"cgroup": PATH, "sockopts": {"deny": ["SOL_SOCKET/SO_PRIORITY"]}}])
    below = group(f"{PATH}/below")
    (sock,) = made_in(below, udp)
    with sock, held_by(below):
        first, second = retrofit(below.path), retrofit(below.path)
        assert (priority(sock), second["changed"]) == (0, False)
        assert [len(each["warnings"]) for each in (first, second)] == [1, 1]
