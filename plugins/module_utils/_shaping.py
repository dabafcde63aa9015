# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cgnet_htb does: look, plan, carry out, look again. What fails is taken back."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _classifier,
    _htb,
    _htb_plan,
    _htb_steps,
    _lock,
    _reconcile,
    _tc,
)
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    HostError,
    InputError,
    VerifyError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._htb_plan import Want
from ansible_collections.linux.cgnet.plugins.module_utils._htb_steps import Interface
from ansible_collections.linux.cgnet.plugins.module_utils._model import BpfObject
from ansible_collections.linux.cgnet.plugins.module_utils._rtnetlink import Links

LOCK = "/run/cgnet.htb.lock"


def reconcile(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Carry out one task; the result as plain data.

    With `object_needed` true in it nothing was done: as _reconcile.reconcile().
    """
    if os.geteuid() != 0:
        raise HostError(
            f"this needs root, and runs as uid {os.geteuid()}", "Set become: true on the task"
        )
    operation = fcntl.LOCK_SH if check else fcntl.LOCK_EX
    with contextlib.closing(Hierarchy()) as hierarchy:
        bpf_object = _reconcile.object_from(params["_object"])
        want = _want(params, hierarchy, bpf_object)
        with _lock.held(LOCK, operation, lambda: True), Links.open() as links:
            return _carry_out(params, want, bpf_object, hierarchy, links, check)


def _want(params: Mapping[str, Any], hierarchy: Hierarchy, bpf_object: BpfObject | None) -> Want:
    present = params["state"] == "present"
    if present and not params["classes"]:
        raise InputError(
            "classes", params["classes"], "a tree has at least one class", "Declare one"
        )

    def find(name: Any, at: str) -> int:
        found = hierarchy.require(name, at)
        if found.path.count("/") >= _classifier.DEPTH:
            raise InputError(at, name, f"at most {_classifier.DEPTH} levels below the root")
        return found.id

    tree = _htb.parse(params if present else {**params, "classes": []}, find)
    if present and bpf_object is None:
        raise _reconcile.not_handed_over(_classifier.OBJECT)
    version = bpf_object.version if bpf_object else ""
    return Want(tree, params["per_queue"], params["purge"], version)


def _carry_out(
    params: Mapping[str, Any], want: Want, bpf_object: BpfObject | None,
    hierarchy: Hierarchy, links: Links, check: bool,
) -> dict[str, Any]:  # fmt: skip
    def plan(found: Interface) -> list[_htb_steps.Action]:
        if params["state"] == "absent":
            return _htb_plan.removal(want.tree.handle, found)
        return _htb_plan.plan(want, found)

    def diff(after: Interface) -> dict[str, Any]:
        return {"before": _shown(before, hierarchy), "after": _shown(after, hierarchy)}

    name = params["interface"]
    before = links.look(name)
    steps = plan(before)
    result: dict[str, Any] = {
        "changed": bool(steps),
        "actions": [_htb_steps.describe(step) for step in steps],
    }
    if check or not steps:
        result["diff"] = diff(_htb_plan.after(before, steps))
        return result
    data = b""
    if bpf_object and any(isinstance(s, _htb_steps.SetClassifier) and s.cgroups for s in steps):
        if params["_object_path"] is None:
            return {"changed": False, "object_needed": True}
        data = _reconcile.read_object(bpf_object, params["_object_path"])
    try:
        for step in steps:
            links.carry_out(before.index, step, data)
        now = links.look(name)
        left = [_htb_steps.describe(step) for step in plan(now)]
        if left:
            raise VerifyError(
                f"After applying, {name} is not as declared; still to do: {left}. "
                "Is something else changing its disciplines? Run the task again."
            )
    except CgnetError as error:
        error.args = (f"{error} {_taken_back(links, before, data)}",)
        raise
    result["diff"] = diff(now)
    return result


def _taken_back(links: Links, before: Interface, data: bytes) -> str:
    """Return an interface to what it was; whether that was possible."""
    try:
        for step in _htb_plan.back(before, links.look(before.name)):
            links.carry_out(before.index, step, data)
        lost = _htb_plan.lost(before, links.look(before.name))
        problem = f"no longer there: {lost}." if lost else ""
    except CgnetError as error:
        problem = str(error)
    if problem:
        return f"{before.name} could not be returned to what it was: {problem} Run the task again."
    return f"{before.name} was returned to what it was."


def _shown(interface: Interface, hierarchy: Hierarchy) -> dict[str, Any]:
    """The disciplines of an interface in the user's terms."""
    root = interface.root
    trees = [each.tree for each in (root, *interface.below.values()) if each.tree]
    paths = hierarchy.paths(sorted({cgroup for tree in trees for cgroup in tree.cgroups}))
    if root.tree:
        return {interface.name: _htb.shown(root.tree, paths)}
    told: dict[str, Any] = {"discipline": root.kind}
    if root.handle:
        told["handle"] = _tc.show_handle(root.handle)
    below = {
        f"queue {(place & 0xFFFF) - 1}": _htb.shown(each.tree, paths)
        for place, each in sorted(interface.below.items())
        if each.tree
    }
    return {interface.name: {**told, **below}}
