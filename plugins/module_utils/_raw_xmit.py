# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cgnet_raw_xmit wants: the bundled object's programs on each of the cgroups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _entries,
    _kept,
    _policies,
    _programs,
    _support,
    _values,
)
from ansible_collections.linux.cgnet.plugins.module_utils._actions import Action
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    HostError,
    InputError,
    UnsupportedError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    Cgroup,
    Held,
    Loaded,
    Observed,
)
from ansible_collections.linux.cgnet.plugins.module_utils._reconcile import (
    Job,
    not_handed_over,
    object_from,
)

OBJECT = "raw_xmit"


def _shown(observed: Observed, cgroup: int, version: str) -> dict[str, Any] | None:
    """What there is of the control on a cgroup, in the user's terms, or None."""
    held = {name: loaded.cgroups.get(cgroup, Held()) for name, loaded in observed.versions.items()}
    there = sorted(name for name, each in held.items() if each.attached or each.broken)
    if not there:
        return None
    shown: dict[str, Any] = {"state": "present"}
    if version and there != [version]:
        shown["versions"] = there
    newest = version if version in there else there[-1]
    detached = _detached(observed.versions[newest], held[newest])
    return {**shown, "detached": detached} if detached else shown


def _detached(loaded: Loaded, held: Held) -> list[str]:
    """The programs of a version that are not attached where they were."""
    return sorted((loaded.programs | held.broken) - held.attached)


def verdict(observed: Observed, cgroup: Cgroup, kernel: Kernel) -> str:
    """That it is enforced, or why not; "" where there is nothing of it on the cgroup."""
    verdicts = [
        _detached(loaded, loaded.cgroups[cgroup.id])
        for loaded in observed.versions.values()
        if cgroup.id in loaded.cgroups
        and (loaded.cgroups[cgroup.id].attached or loaded.cgroups[cgroup.id].broken)
    ]
    if not verdicts:
        return ""
    if all(verdicts):
        return f"not attached: {', '.join(verdicts[0])}"
    return next((str(ring) for ring in kernel.rings(cgroup)), _policies.ENFORCED)


def prepare(params: Mapping[str, Any], kernel: Kernel) -> Job:
    """The job that a task's arguments describe."""
    present = params["state"] == "present"
    bpf_object = object_from(params["_object"]) if present else None
    if present and bpf_object is None:
        raise not_handed_over(OBJECT)
    if not params["cgroup"] and not params["unit"]:
        raise InputError("cgroup", params["cgroup"], "it takes cgroup or unit", "Name one")
    permanent = params["permanent"]

    def of_unit(unit: str, at: str) -> Cgroup | None:
        startable = permanent and str(unit).endswith(".service")
        return _entries.of_unit(unit, at, kernel.hierarchy, present and not startable)

    require_cgroup = kernel.hierarchy.require if present else kernel.hierarchy.resolve
    cgroups = _programs.named(params, {"cgroup": require_cgroup, "unit": of_unit})
    keep, warnings = _keeping(params, kernel, present)
    facts = kernel.facts()
    for program in bpf_object.programs if bpf_object else ():
        lacks = _support.missing(program, facts)
        if lacks:
            first = cgroups[0].path if cgroups else params["unit"][0]
            raise UnsupportedError(first, OBJECT, lacks, "There is no way without it")
    version = bpf_object.version if bpf_object else ""

    def require() -> None:
        for cgroup in cgroups if present else ():
            for ring in kernel.rings(cgroup):
                raise HostError(
                    f"{cgroup.path}: {ring}, where no hook can refuse it",
                    "Let it close and unmap that AF_PACKET or AF_XDP socket, or end it",
                )

    def diff(
        observed: Observed, actions: tuple[Action, ...]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for want in job.wants(observed) if actions else ():
            path = want.cgroup.path
            old = _shown(observed, want.cgroup.id, version)
            new: dict[str, Any] | None = {"state": "present"} if present else None
            if old and new and "versions" in old:
                new["versions"] = [version]
            if old != new:
                before.update({path: old} if old else {})
                after.update({path: new} if new else {})
        return before, after

    job = _programs.job(OBJECT, bpf_object, cgroups, kernel, facts)
    controls = {cgroup.path: {OBJECT: _policies.ENFORCED} for cgroup in cgroups} if present else {}
    return job._replace(
        diff=diff, require=require, controls=controls, keep=keep, warnings=tuple(warnings)
    )


def _keeping(
    params: Mapping[str, Any], kernel: Kernel, present: bool
) -> tuple[Callable[[], tuple[_kept.Step, ...]], list[str]]:
    """What gives the files that are to be written or removed, and what to warn of."""
    named = {}
    for kind in ("cgroup", "unit"):
        for index, name in enumerate(_values.sequence(params[kind] or [], kind)):
            at = f"{kind}[{index}]"
            named[_entries.address(kind, name, at, kernel.hierarchy)] = at
    if not params["permanent"]:
        kept = {} if present else _kept.read(_kept.RAW_XMIT)
        return lambda: (), [_kept.comes_back(each, kept[each]) for each in named if each in kept]
    if present:
        _kept.require_runtime()
        for each, at in named.items():
            _kept.require_lasting(each, at)
    wanted: dict[_kept.Address, dict[str, Any] | None]
    wanted = {each: {} if present else None for each in named}
    warnings = (_kept.started_without(each) for each in named if present)
    return lambda: _kept.plan(_kept.RAW_XMIT, wanted), [each for each in warnings if each]
