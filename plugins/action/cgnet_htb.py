# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of cgnet_htb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.linux.cgnet.plugins.plugin_utils._action import ObjectAction, bundled


class ActionModule(ObjectAction):
    """Hand the bundled object to the module, which loads it where a class has cgroups."""

    def object(self, args: dict[str, Any]) -> tuple[dict[str, Any], Path] | None:
        """None where the tree is to go: removing needs no file."""
        return bundled("classify") if args.get("state", "present") == "present" else None
