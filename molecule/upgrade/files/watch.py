# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks web.service over and over, until it is terminated: how often, and what was not expected.

watch.py EXPECTED       JSON: call -> outcome
"""

from __future__ import annotations

import json
import signal
import socket
import sys

SOCKET = "/run/web/socket"


def ask() -> dict[str, str]:
    """What the service answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(SOCKET)
        with client.makefile(encoding="utf-8") as answer:
            found: dict[str, str] = json.loads(answer.read())
            return found


def main(expected: dict[str, str]) -> None:
    """Ask, with a pause so that others get at the CPU, and say at the end what was found."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    asked, surprises = 0, []
    while signal.sigtimedwait([signal.SIGTERM], 0.1) is None:
        surprises += sorted(ask().items() - expected.items())
        asked += 1
    print(json.dumps({"asked": asked, "surprises": surprises}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
