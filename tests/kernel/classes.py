# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of a TOS or traffic class share: every way to send one, and what came."""

from __future__ import annotations

import socket
from typing import Any

from tests.kernel.flows import family_of
from tests.kernel.sends import SENT, Some, by_every_way, receiver

AF21, CS1, EF = 0x48, 0x20, 0xB8
ECN = 0x03
ALL = sum(SENT.values())
"""How many messages come if every way sends its own."""

Came = tuple[dict[str, Any], list[int]]
REFUSED: Came = (dict.fromkeys(SENT, "EPERM"), [])


def delivered(control: Some, address: str, least: int = ALL, by: str = "") -> Came:
    """The outcome of every way to send with a control message, and the class of what came.

    `by` is the address to send to where it is not the receiver's own: a mapped one.
    """
    to = by or address
    with (
        receiver(family_of(address)) as there,
        socket.socket(family_of(to), socket.SOCK_DGRAM) as sock,
    ):
        return by_every_way(sock, (to, there.to[1]), control), there.got(least)
