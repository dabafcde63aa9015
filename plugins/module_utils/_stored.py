# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stored for cgroups, in the user's terms, and what a run changes of it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _policy, _readers
from ansible_collections.linux.cgnet.plugins.module_utils._abi import LAYOUT
from ansible_collections.linux.cgnet.plugins.module_utils._actions import (
    Action,
    Aside,
    Attach,
    Detach,
    Govern,
    Hold,
    Load,
    Nest,
    Retrofit,
    Share,
    Store,
    Unload,
)
from ansible_collections.linux.cgnet.plugins.module_utils._layout import same_layout
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    Held,
    Observed,
    Policy,
    blank,
)
from ansible_collections.linux.cgnet.plugins.module_utils._plan import Want


@functools.cache
def _readable(version: str) -> bool:
    """Whether what a version stores is laid out as we read it."""
    return same_layout(version, LAYOUT)


def shown(observed: Observed, cgroup: int, version: str, cookie: int) -> dict[str, Any] | None:
    """What is stored for a cgroup, in the user's terms, or None.

    What another version than `version` holds is marked with that version.
    """
    for name in sorted(observed.versions, key=lambda name: name != version):
        held = observed.versions[name].cgroups.get(cgroup, Held())
        if held.value is None or blank(held.value):
            continue
        mark = {} if name == version else {"version": name}
        if not _readable(name):
            return {**mark, "unreadable": "stored in another layout"}
        policy = _policy.decode(held.value, cookie)
        return {**mark, **(_policy.show(policy) if policy else {"unreadable": "not a policy"})}
    return None


def declared_in(observed: Observed, cgroup: int) -> set[str]:
    """The controls of the policies that are stored for a cgroup."""
    found: set[str] = set()
    for name, loaded in observed.versions.items():
        value = loaded.cgroups.get(cgroup, Held()).value
        policy = _policy.decode(value, 0) if value and _readable(name) else None
        found.update(_policy.controls(policy) if policy else ())
    return found


def diff(
    observed: Observed,
    actions: tuple[Action, ...],
    wants: list[Want],
    policies: Mapping[int, Policy | None],
    version: str,
    cookie: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is there of the cgroups that a run changes, and what will be."""
    before, after = {}, {}
    concerning: dict[int | None, list[Action]] = {}
    for step in actions:
        concerning.setdefault(_concerned(step), []).append(step)
    for want in wants:
        steps = concerning.get(want.cgroup.id)
        if not steps:
            continue
        path, policy = want.cgroup.path, policies.get(want.cgroup.id)
        old = shown(observed, want.cgroup.id, version, cookie)
        lost = [step.program.name for step in steps if isinstance(step, Attach)]
        new = _policy.show(policy) if policy else None
        if old == new:  # the same policy, with something that lacks or is too much
            detached = [step.program for step in steps if isinstance(step, Detach)]
            told = [step.governs for step in steps if isinstance(step, Govern)]
            then = {
                "detached": lost,
                "attached besides": [program for program in detached if program not in lost],
                "not governing": ["priority"] if True in told else [],
                "governing besides": ["priority"] if told == [False] else [],
                "altered": ["policy"] if any(isinstance(s, Store) for s in steps) else [],
            }
            old = {**(old or {}), **{what: names for what, names in then.items() if names}}
        lacking = [step.lacking for step in steps if isinstance(step, Retrofit)]
        if lacking:
            old = {**(old or {}), "sockets without the priority": lacking[0]}
        if old is not None:
            before[path] = old
        if new is not None:
            after[path] = new
    return _with_readers(observed, actions, before, after)


def _concerned(step: Action) -> int | None:
    """The cgroup that a step is for, if it is for one."""
    if isinstance(step, (Load, Aside, Unload, Share, Nest)):
        return None
    if isinstance(step, Retrofit):
        return step.target.cgroup.id
    return step.cgroup.id if isinstance(step, (Attach, Hold)) else step.cgroup


def _with_readers(
    observed: Observed, actions: tuple[Action, ...], before: dict[str, Any], after: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A diff with the group that may read, where that changes."""
    new = {step.gid for step in actions if isinstance(step, Share)}
    old = {loaded.readers for loaded in observed.versions.values()}
    if not new or new == old:
        return before, after
    names = " and ".join(sorted(map(_readers.group_name, old)))
    before = {"readers": names, **before} if old else before
    return before, {"readers": _readers.group_name(new.pop()), **after}
