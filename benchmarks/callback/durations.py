# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback for ansible-playbook: a line of JSON for each task, with its name and seconds."""

from __future__ import annotations

import json
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: durations
type: stdout
short_description: tell how long tasks took
description: [A line of JSON for each task that has ended.]
"""


class CallbackModule(CallbackBase):
    """Prints what took how long, and what failed."""

    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "durations"
    CALLBACK_VERSION = 2.0

    def __init__(self) -> None:
        super().__init__()
        self._begun: dict[str, float] = {}

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A task begins on a host."""
        self._begun[f"{host} {task._uuid}"] = time.monotonic()

    def _end(self, result: Any, ok: bool) -> None:
        took = time.monotonic() - self._begun[f"{result._host} {result._task._uuid}"]
        changed = result._result.get("changed", False)
        told = {"task": result._task.get_name(), "seconds": took, "changed": changed, "ok": ok}
        if not ok:
            told["msg"] = result._result.get("msg")
        self._display.display(json.dumps(told))

    def v2_runner_on_ok(self, result: Any) -> None:
        """It ended."""
        self._end(result, True)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """It failed."""
        self._end(result, False)
