# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of cgnet_policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils._errors import ObjectError
from ansible_collections.linux.cgnet.plugins.plugin_utils._action import ObjectAction, bundled


class ActionModule(ObjectAction):
    """Hand the bundled policy object to the module."""

    def object(self, args: dict[str, Any]) -> tuple[dict[str, Any], Path] | None:
        """The bundled one; None where it can't be had and every entry goes: that needs no file."""
        try:
            return bundled("policy")
        except ObjectError:
            if any(map(_present, args.get("policies") or ())):
                raise
            return None


def _present(entry: object) -> bool:
    """Whether an entry is not known to go; what is wrong with it is the module's to say."""
    return not isinstance(entry, dict) or entry.get("state", "present") != "absent"
