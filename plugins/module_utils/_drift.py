# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run mends that is of no cgroup's policy, in the user's terms. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils._actions import (
    Action,
    Aside,
    Detach,
    Govern,
    Load,
    Nest,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Observed


def shown(observed: Observed, actions: Sequence[Action]) -> dict[str, Any]:
    """What is there and shall not be: versions that are not whole, and what dead cgroups left.

    A cgroup that was made anew under the same path is another one; the kernel knows of the
    dead one only its id.
    """
    known = {cgroup for loaded in observed.versions.values() for cgroup in loaded.cgroups}
    dead = known - set(observed.alive)
    found: dict[str, Any] = {}
    for step in actions:
        if isinstance(step, Aside):
            found[f"version {step.version}"] = {"damaged": list(step.damage)}
        elif isinstance(step, Load) and step.version in observed.versions:
            lost = [program.name for program in step.programs]
            found[f"version {step.version}"] = {"not pinned": lost}
        elif isinstance(step, Nest) and not any(isinstance(each, Govern) for each in actions):
            found[f"version {step.version}"] = {"nested": not step.nested}
        elif isinstance(step, (Detach, Govern)) and step.cgroup in dead:
            left = found.setdefault(
                f"id {step.cgroup} (gone)", {"gone": "its cgroup was removed", "left": []}
            )["left"]
            what = step.program if isinstance(step, Detach) else "governing"
            if what not in left:
                left.append(what)
    return found
