# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe, plan, apply, verify: the way that every changing module goes.

A module describes what it wants as a Job; nothing here knows which module it
is, and nothing here speaks Ansible. Check mode is one `if` between plan and
apply. What fails until everything that is declared stands is taken back.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _actions,
    _apply,
    _conflicts,
    _drift,
    _kept,
    _plan,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    ObjectError,
    VerifyError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BpfObject,
    Observed,
    Program,
)

Shown = dict[str, Any]


class Job(NamedTuple):
    """What a module wants of one object's name.

    `wants` gives the wanted state of each cgroup from what is there; `diff` the
    state before and after in the user's terms, cgroup path → data, given what
    is there and the plan; `controls` cgroup path → control → "enforced" or why not.
    `require` raises where something that no step of a plan can mend stands against it;
    it is asked before anything is changed, and again when that is done.
    `readers` is the gid of the group that may read what is stored, or None for who may now.
    `look` adds to what is there what only this module asks.
    `keep` gives the files that are to be written or removed, so that this is applied at boot too.
    """

    name: str
    wants: Callable[[Observed], list[_plan.Want]]
    diff: Callable[[Observed, tuple[_actions.Action, ...]], tuple[Shown, Shown]]
    require: Callable[[], None] = lambda: None
    look: Callable[[Observed], Observed] = lambda observed: observed
    keep: Callable[[], tuple[_kept.Step, ...]] = lambda: ()
    bpf_object: BpfObject | None = None
    loadable: tuple[Program, ...] = ()
    holder: Program | None = None
    controls: Shown | None = None
    warnings: tuple[str, ...] = ()
    paths: Mapping[int, str] = MappingProxyType({})
    readers: int | None = None

    @property
    def version(self) -> str:
        """The version that the object makes, or ""."""
        return self.bpf_object.version if self.bpf_object else ""

    def observe(self, kernel: Kernel) -> Observed:
        """What is there."""
        return self.look(_plan.set_aside(kernel.observe(self.name), self.version))

    def plan(self, observed: Observed) -> tuple[_actions.Action, ...]:
        """The steps that are left."""
        wants = self.wants(observed)
        return _plan.plan(
            wants, observed, self.bpf_object, self.loadable, self.holder, self.readers
        )


def object_from(manifest: Mapping[str, Any] | None) -> BpfObject | None:
    """The object that the controller's manifest describes."""
    if manifest is None:
        return None
    programs = tuple(Program(name, section) for name, section in manifest["programs"])
    return BpfObject(
        manifest["name"], manifest["sha256"], manifest["version"], programs, manifest["storage"]
    )


def not_handed_over(name: str) -> ObjectError:
    """The error of a task that needs the object's manifest and has none."""
    return ObjectError(
        name, "the controller has not handed it over", "Let the action plugin run the module"
    )


def read_object(bpf_object: BpfObject, path: str) -> bytes:
    """The object's bytes as they were shipped, if they are what the manifest says.

    They are read once: what is hashed is what is loaded.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ObjectError(
            bpf_object.name,
            f"what was shipped to this host can't be read ({error})",
            "Run the task again",
        ) from error
    if hashlib.sha256(data).hexdigest() != bpf_object.sha256:
        raise ObjectError(
            bpf_object.name, "it was altered on its way to this host", "Run the task again"
        )
    return data


def reconcile(
    prepare: Callable[[Mapping[str, Any], Kernel], Job], params: Mapping[str, Any], check: bool
) -> Shown:
    """Carry out one task; the result as plain data.

    With `object_needed` true in it nothing was done, because the plan loads an
    object that this host has not got: ship it and call again with _object_path.
    """
    with Kernel.open() as kernel:
        return _carry_out(prepare(params, kernel), kernel, params, check)


def _carry_out(job: Job, kernel: Kernel, params: Mapping[str, Any], check: bool) -> Shown:
    with kernel.reading() if check else kernel.lock():
        job.require()
        observed = job.observe(kernel)
        actions, files = job.plan(observed), job.keep()
        _conflicts.require(actions, kernel.hindrances, kernel.slots)
        before, after = job.diff(observed, actions)
        kept, kept_then = _kept.shown(files)
        before = {**_drift.shown(observed, actions), **before, **kept}
        after = {**after, **kept_then}
        paths = {**observed.alive, **job.paths}
        warnings = [*job.warnings, *observed.altered]
        result: Shown = {
            "changed": bool(actions or files),
            "actions": [
                *(action.describe(paths) for action in actions),
                *(step.describe() for step in files),
            ],
            **({"controls": job.controls} if job.controls is not None else {}),
            "diff": {"before": before, "after": after},
            "warnings": [*warnings, *map(str, observed.left)],
        }
        if check or not (actions or files):
            return result
        data = b""
        if job.bpf_object and any(isinstance(action, _actions.Load) for action in actions):
            if params["_object_path"] is None:
                return {"changed": False, "object_needed": True}
            data = read_object(job.bpf_object, params["_object_path"])
        with _taken_back(kernel, job.name, observed, paths):
            first = actions[: _plan.late(actions)]
            _apply.apply(first, kernel, job.name, job.bpf_object, data, paths)
            observed = job.observe(kernel)
            left = job.plan(observed)
            _require_none(left[: _plan.late(left)], paths)
            _kept.carry_out(files)
        job.require()
        if left:
            _apply.apply(left, kernel, job.name, paths=paths)
            observed = job.observe(kernel)
            _require_none(job.plan(observed), paths)
        result["warnings"] = [*warnings, *map(str, observed.left)]
        return result


def _require_none(left: Sequence[_actions.Action], paths: dict[int, str]) -> None:
    """VerifyError where steps are left."""
    if left:
        steps = [action.describe(paths) for action in left]
        raise VerifyError(
            f"After applying, the kernel is not as declared; still to do: {steps}. "
            "Is something else changing these cgroups? Run the task again."
        )


@contextlib.contextmanager
def _taken_back(
    kernel: Kernel, name: str, before: Observed, paths: dict[int, str]
) -> Iterator[None]:
    """Return to what was there before if what is done meanwhile fails; an error of ours says so."""
    try:
        yield
    except Exception as error:
        try:
            steps = _plan.back(before, kernel.observe(name))
            _apply.apply(steps, kernel, name, paths=paths)
            lost = _plan.lost(before, kernel.observe(name))
            problem = f"no longer attached: {lost}." if lost else ""
        except CgnetError as another:
            problem = str(another)
        outcome = "The host was returned to what it was."
        if problem:
            outcome = (
                f"The host could not be returned to what it was: {problem} Run the task again."
            )
        if isinstance(error, CgnetError):
            error.args = (f"{error} {outcome}",)
        raise
