# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of retrofit share: to declare it, and tasks that hold sockets.

A task that is started here holds what this process holds, and closes what it is not to have.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from tests.kernel.conftest import Group, apply
from tests.kernel.test_raw_xmit_rings import holding

OURS, OTHER = 0x10010, 6
PATH = "outside/ours"


def retrofit(path: str = PATH, **more: Any) -> dict[str, Any]:
    """Declare that what is held already gets the priority."""
    check = more.pop("check", False)
    policy = {"cgroup": path, "priority": OURS, "retrofit": True, **more}
    return apply([policy], check=check)


def given(result: dict[str, Any]) -> int:
    """How many sockets a result tells of."""
    steps = [step for step in result["actions"] if step["action"] == "retrofit"]
    assert len(steps) <= 1
    return sum(step["sockets"] for step in steps)


def udp() -> list[socket.socket]:
    """One socket."""
    return [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]


@contextlib.contextmanager
def held_by(where: Group, *but: socket.socket) -> Iterator[int]:
    """A task of a cgroup that holds what this process does, but for some."""

    def close() -> None:
        for sock in but:
            sock.close()

    with holding(where, close) as pid:
        yield pid
