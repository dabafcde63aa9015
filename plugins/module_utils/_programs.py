# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cgnet_program wants: an object's programs on each of the cgroups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _policies,
    _policy,
    _support,
    _values,
)
from ansible_collections.linux.cgnet.plugins.module_utils._abi import LAYOUT
from ansible_collections.linux.cgnet.plugins.module_utils._actions import Action
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    InputError,
    ObjectError,
    UnsupportedError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._layout import checked, same_layout
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BpfObject,
    Cgroup,
    Facts,
    Held,
    Loaded,
    Observed,
    Program,
)
from ansible_collections.linux.cgnet.plugins.module_utils._plan import Want
from ansible_collections.linux.cgnet.plugins.module_utils._reconcile import (
    Job,
    not_handed_over,
    object_from,
)


def named(
    params: Mapping[str, Any], looks: Mapping[str, Callable[[str, str], Cgroup | None]]
) -> list[Cgroup]:
    """The cgroups that a task's fields name, those that do not exist left out.

    `looks` is field → what finds a cgroup by a value of it and by where that stands.
    """
    found: dict[int, tuple[Cgroup, str]] = {}
    for field, look in looks.items():
        values = params[field]
        for index, value in enumerate([] if values is None else _values.sequence(values, field)):
            at = f"{field}[{index}]"
            cgroup = look(value, at)
            if cgroup is None:
                continue
            if cgroup.id in found:
                known = found[cgroup.id][1]
                raise InputError(at, value, f"it is the same cgroup as {known}", "Name it once")
            found[cgroup.id] = cgroup, at
    return [cgroup for cgroup, _at in found.values()]


def _open(kernel: Kernel, observed: Observed, version: str, others: list[Cgroup]) -> list[Cgroup]:
    """The live cgroups that an older version is attached to, but for the others."""
    known = {cgroup.id for cgroup in others}
    older = {
        cgroup
        for name, loaded in observed.versions.items()
        if name != version
        for cgroup, held in loaded.cgroups.items()
        if held.attached or held.broken
    }
    return [
        kernel.hierarchy.require(observed.alive[number], "cgroups")
        for number in sorted((older & set(observed.alive)) - known)
    ]


def _stored(observed: Observed, version: str, cgroup: int) -> bytes | None:
    """The policy that the bundled object's older version holds for a cgroup, to be moved.

    None where the new version has one already: a run that was killed left the older one's.
    """
    current = observed.versions.get(version, Loaded(frozenset(), {})).cgroups.get(cgroup, Held())
    if current.configured:
        return None
    for name, loaded in observed.versions.items():
        held = loaded.cgroups.get(cgroup, Held())
        value = held.value
        if name != version and value is None and held.attached - {_policies.HOLDER}:
            raise ObjectError(
                _policies.OBJECT,
                f"the policy that version {name} holds can't be read: {'; '.join(loaded.damage)}",
                "Declare it with cgnet_policy, which writes it anew",
            )
        if name != version and held.configured:
            if not same_layout(name, LAYOUT):
                raise ObjectError(
                    _policies.OBJECT,
                    f"version {name} stores policies in another layout",
                    "Declare them with cgnet_policy, which writes them in the new one",
                )
            return value
    return None


def _governs(observed: Observed, version: str, cgroup: int, moved: bytes | None) -> bool:
    """Whether the policy that a cgroup has in the end governs the priority."""
    current = observed.versions.get(version, Loaded(frozenset(), {})).cgroups.get(cgroup, Held())
    stored = moved or current.value
    policy = _policy.decode(stored, _policy.NETNS_ANY) if stored else None
    return policy is not None and policy.priority is not None


def _programs(observed: Observed, bpf_object: BpfObject, cgroup: int) -> tuple[Program, ...]:
    """What the bundled object has on a cgroup: what its policy needs there, and the holder."""
    wanted = {_policies.HOLDER}
    for loaded in observed.versions.values():
        if cgroup in loaded.cgroups:
            wanted |= loaded.cgroups[cgroup].attached | loaded.cgroups[cgroup].broken
    return tuple(program for program in bpf_object.programs if program.name in wanted)


def prepare(params: Mapping[str, Any], kernel: Kernel) -> Job:
    """The job that a task's arguments describe."""
    name, present = checked(params["name"], "name"), params["state"] == "present"
    bpf_object = object_from(params["_object"]) if present else None
    if present and bpf_object is None:
        raise not_handed_over(name)
    look = kernel.hierarchy.require if present else kernel.hierarchy.resolve
    cgroups = named(params, {"cgroups": look})
    if present and not cgroups:
        raise InputError("cgroups", params["cgroups"], "at least one cgroup", "Name one")
    facts = kernel.facts()
    programs = bpf_object.programs if bpf_object else ()
    for program in () if name == _policies.OBJECT else programs:
        lacks = _support.missing(program, facts)
        if lacks:
            remedy = "Or leave that program out of the object"
            raise UnsupportedError(cgroups[0].path, f"program {program.name}", lacks, remedy)
    return job(name, bpf_object, None if params["cgroups"] is None else cgroups, kernel, facts)


def job(
    name: str,
    bpf_object: BpfObject | None,
    cgroups: list[Cgroup] | None,
    kernel: Kernel,
    facts: Facts,
) -> Job:
    """The job of an object that is to be on cgroups, or of none that is to leave them.

    None for the cgroups that are left means all of them.
    """
    version = bpf_object.version if bpf_object else ""
    programs = bpf_object.programs if bpf_object else ()

    def wants(observed: Observed) -> list[Want]:
        if bpf_object is None:
            everyone = [Cgroup(path, number) for number, path in observed.alive.items()]
            return [Want(cgroup) for cgroup in (everyone if cgroups is None else cgroups)]
        found = []
        for cgroup in [*(cgroups or ()), *_open(kernel, observed, version, cgroups or [])]:
            if name == _policies.OBJECT:
                value = _stored(observed, version, cgroup.id)
                held = _programs(observed, bpf_object, cgroup.id)
                found.append(
                    Want(cgroup, held, value, _governs(observed, version, cgroup.id, value))
                )
            else:
                found.append(Want(cgroup, programs))
        return found

    def diff(
        observed: Observed, actions: tuple[Action, ...]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for held_version, loaded in observed.versions.items():
            for cgroup, held in loaded.cgroups.items():
                if held.attached and cgroup in observed.alive:
                    entry = {"version": held_version, "programs": sorted(held.attached)}
                    before[observed.alive[cgroup]] = after[observed.alive[cgroup]] = entry
        for want in wants(observed):
            if want.programs:
                names = sorted(program.name for program in want.programs)
                after[want.cgroup.path] = {"version": version, "programs": names}
            else:
                after.pop(want.cgroup.path, None)
        return ({}, {}) if not actions else (before, after)

    return Job(
        name=name,
        wants=wants,
        diff=diff,
        bpf_object=bpf_object,
        loadable=_support.loadable(programs, facts),
        holder=next((p for p in programs if p.name == _policies.HOLDER), None),
        paths={cgroup.id: cgroup.path for cgroup in cgroups or ()},
    )
