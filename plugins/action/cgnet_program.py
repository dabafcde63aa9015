# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of cgnet_program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from ansible_collections.linux.cgnet.plugins.plugin_utils._action import (
    BUNDLED,
    ObjectAction,
    bundled,
    own,
)


class ActionModule(ObjectAction):
    """Compile or find the object that the task names."""

    def object(self, args: dict[str, Any]) -> tuple[dict[str, Any], Path] | None:
        """None where the object is to go: removing needs no file."""
        name, source = str(args.get("name", "")), args.get("source")
        if args.get("state", "present") != "present":
            return None
        if source:
            return own(name, self.find_source(str(source)))
        if name in BUNDLED:
            return bundled(name)
        raise InputError(
            "name", name, f"bundled are {', '.join(BUNDLED)}", "Give another name a source"
        )
