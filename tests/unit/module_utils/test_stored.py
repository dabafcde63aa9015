# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The diff of many cgroups."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.linux.cgnet.plugins.module_utils import _stored
from ansible_collections.linux.cgnet.plugins.module_utils._actions import (
    Action,
    Store,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup, Observed, Policy
from ansible_collections.linux.cgnet.plugins.module_utils._plan import Want

MANY = 200


class Counted(tuple[Action, ...]):
    """Steps, and how often they were gone through."""

    times = 0

    def __iter__(self) -> Iterator[Action]:
        self.times += 1
        return super().__iter__()


def test_the_steps_are_not_gone_through_for_each_cgroup() -> None:
    """A host may have thousands, each with some steps."""
    cgroups = [Cgroup(f"c{number}", number, -1) for number in range(1, MANY)]
    steps = Counted(Store("v", each.id, b"x") for each in cgroups)
    policies = {each.id: Policy(priority=5) for each in cgroups}
    wants = [Want(each, value=b"x") for each in cgroups]
    _before, after = _stored.diff(Observed({}, {}), steps, wants, policies, "v", 1)
    assert len(after) == len(cgroups)
    assert steps.times < 5
