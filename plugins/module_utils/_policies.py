# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cgnet_policy wants: the policy of each declared cgroup, and only that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _policy,
    _readers,
    _stored,
    _support,
    _systemd,
    _values,
)
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    InputError,
    UnsupportedError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BpfObject,
    Cgroup,
    Facts,
    Observed,
    Policy,
    Program,
    Target,
)
from ansible_collections.linux.cgnet.plugins.module_utils._plan import (
    Want,
)
from ansible_collections.linux.cgnet.plugins.module_utils._reconcile import (
    Job,
    not_handed_over,
    object_from,
)

OBJECT = "policy"
HOLDER = "policy_holder"
ENFORCED = "enforced"
AUDITED = "audited"
_NO_CONTROLS = ("cgroup", "unit", "state", "retrofit")


@dataclass(frozen=True)
class Declared:
    """One entry: the cgroup, its policy or None for absent, and whether sockets get it that
    were there before.
    """

    cgroup: Cgroup
    policy: Policy | None
    retrofit: bool


def of_unit(unit: str, at: str, hierarchy: Hierarchy, needed: bool) -> Cgroup | None:
    """The cgroup of a systemd unit.

    None where it does not run and is not needed; InputError where it is.
    """
    path = _systemd.control_group(unit, at)
    found = hierarchy.resolve(path, at) if path else None
    if found is None and needed:
        raise InputError(at, unit, "it does not run, so it has no cgroup", "Start it")
    return found


def find(entry: Mapping[str, Any], at: str, hierarchy: Hierarchy, needed: bool) -> Cgroup | None:
    """The cgroup that an entry addresses by `cgroup` or `unit`.

    None where it does not exist and is not needed; InputError where it is.
    """
    unit = entry.get("unit")
    if (unit is None) == (entry.get("cgroup") is None):
        raise InputError(at, dict(entry), "it takes one of cgroup and unit")
    if unit is None:
        look = hierarchy.require if needed else hierarchy.resolve
        return look(entry["cgroup"], f"{at}.cgroup")
    return of_unit(unit, f"{at}.unit", hierarchy, needed)


def _declared(given: Any, hierarchy: Hierarchy) -> list[Declared]:
    """Every entry, parsed and found; whatever is wrong is told before any is looked up."""
    policies, entries = [], _values.sequence(given, "policies")
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise InputError(f"policies[{index}]", entry, "an entry is a mapping")
        controls = {k: v for k, v in entry.items() if k not in _NO_CONTROLS}
        state = _policy.one_of(entry, "state", ("present", "absent"), f"policies[{index}]")
        present = state == "present"
        policy = _policy.parse(controls, f"policies[{index}]") if present else None
        policies.append((policy, _retrofits(entry, policy, f"policies[{index}].retrofit")))
    found: list[Declared] = []
    seen: dict[int, int] = {}
    for index, (entry, (policy, retrofit)) in enumerate(zip(entries, policies)):
        at = f"policies[{index}]"
        cgroup = find(entry, at, hierarchy, needed=policy is not None)
        if cgroup is None:
            continue
        if cgroup.id in seen:
            raise InputError(
                at,
                entry.get("unit") or entry["cgroup"],
                f"it is the same cgroup as policies[{seen[cgroup.id]}]",
                "Declare it once",
            )
        seen[cgroup.id] = index
        found.append(Declared(cgroup, policy, retrofit))
    return found


def _retrofits(entry: Mapping[str, Any], policy: Policy | None, at: str) -> bool:
    """Whether an entry's priority is for the sockets from before too."""
    given = entry.get("retrofit")
    wanted = given is not None and _values.boolean(given, at)
    if wanted and policy and policy.priority is None:
        raise InputError(
            at,
            given,
            "the policy has no priority to give",
            "Declare priority, or leave retrofit out",
        )
    return wanted


def hooks_of(control: str, facts: Facts, mode: str = _policy.ENFORCE) -> list[str]:
    """The programs that enforce a control on this kernel, or see what it would refuse."""
    spec = _policy.CONTROLS[control]
    needless = spec.setting if mode == _policy.AUDIT else ()
    if not facts.priority_messages:
        needless += (_policy.ON_MESSAGES,)
    return [hook for hook in spec.hooks if hook not in needless]


def hooks(policy: Policy, bpf_object: BpfObject, facts: Facts) -> tuple[Program, ...]:
    """The programs that enforce a policy's controls, in the object's order."""
    needed = {
        hook for name in _policy.controls(policy) for hook in hooks_of(name, facts, policy.mode)
    }
    return tuple(program for program in bpf_object.programs if program.name in needed)


def verdicts(policy: Policy, bpf_object: BpfObject, facts: Facts) -> dict[str, str]:
    """Control → "enforced" or "audited", or what this host lacks for it."""
    programs = {program.name: program for program in bpf_object.programs}
    found = {}
    for name in _policy.controls(policy):
        needed = hooks_of(name, facts, policy.mode)
        lacks = [_support.missing(programs[hook], facts) for hook in needed]
        found[name] = "; ".join(dict.fromkeys(filter(None, lacks))) or done(policy)
    return found


def done(policy: Policy) -> str:
    """What is said of a control that lacks nothing here."""
    return AUDITED if policy.mode == _policy.AUDIT else ENFORCED


def prepare(params: Mapping[str, Any], kernel: Kernel) -> Job:
    """The job that a task's arguments describe."""
    facts, group = kernel.facts(), params["readers"]
    readers = None if group is None else _readers.group_id(group, "readers")
    declared = _declared(params["policies"], kernel.hierarchy)
    bpf_object = object_from(params["_object"])
    version = bpf_object.version if bpf_object else ""
    fixed: list[Want] = []
    controls: dict[str, dict[str, str]] = {}
    warnings: list[str] = []
    for item in declared:
        if item.policy is None:
            fixed.append(Want(item.cgroup, keep=frozenset({HOLDER})))
            continue
        if bpf_object is None:
            raise not_handed_over(OBJECT)
        path = item.cgroup.path
        controls[path] = verdicts(item.policy, bpf_object, facts)
        for control, verdict in controls[path].items():
            if verdict != done(item.policy):
                if params["on_unsupported"] == "fail":
                    remedy = 'To apply what is possible all the same: "on_unsupported: warn"'
                    raise UnsupportedError(path, control, verdict, remedy)
                warnings.append(f"{path}: {control} is not {done(item.policy)} in full: {verdict}")
        programs = _support.loadable(hooks(item.policy, bpf_object, facts), facts)
        tasks = _policy.ON_TASKS in {program.name for program in programs}
        fixed.append(
            Want(
                item.cgroup,
                programs,
                _policy.encode(item.policy, facts.netns_cookie, item.cgroup, tasks),
                _policy.gives_priority(item.policy),
                frozenset({HOLDER}),
                _target(item, facts),
            )
        )
    policies = {item.cgroup.id: item.policy for item in declared}

    def wants(observed: Observed) -> list[Want]:
        if not params["purge"]:
            return _with_nearer(fixed, observed)
        held = {cgroup for loaded in observed.versions.values() for cgroup in loaded.cgroups}
        spare = sorted((held & set(observed.alive)) - set(policies))
        keep = frozenset({HOLDER})
        purged = [Want(Cgroup(observed.alive[i], i), keep=keep) for i in spare]
        return _with_nearer(fixed + purged, observed)

    def look(observed: Observed) -> Observed:
        """How many sockets lack the priority that they shall be given."""
        targets = [want.retrofit for want in wants(observed) if want.retrofit]
        found = {t.cgroup.id: kernel.lacking(OBJECT, version, t) for t in targets}
        return replace(
            observed,
            lacking={cgroup: lacking for cgroup, (lacking, _left) in found.items()},
            left=tuple(left for _lacking, each in found.values() for left in each),
        )

    return Job(
        name=OBJECT,
        wants=wants,
        diff=lambda observed, actions: _stored.diff(
            observed, actions, wants(observed), policies, version, facts.netns_cookie
        ),
        require=lambda: kernel.require_way(readers or _readers.ROOT),
        readers=readers,
        look=look,
        bpf_object=bpf_object,
        loadable=_support.loadable(bpf_object.programs, facts) if bpf_object else (),
        holder=next((p for p in bpf_object.programs if p.name == HOLDER), None)
        if bpf_object
        else None,
        controls=controls,
        warnings=tuple(warnings),
        paths={item.cgroup.id: item.cgroup.path for item in declared},
    )


def _target(item: Declared, facts: Facts) -> Target | None:
    """The sockets from before that an entry is for."""
    policy = item.policy
    if not item.retrofit or policy is None or policy.priority is None:
        return None
    if not _policy.gives_priority(policy):
        return None
    cookie = _policy.NETNS_ANY if policy.netns == "any" else facts.netns_cookie
    return Target(item.cgroup, policy.priority, cookie)


def _with_nearer(wants: list[Want], observed: Observed) -> list[Want]:
    """The wants, where each that retrofits leaves out what has, or will have, its own priority."""
    governing = {
        cgroup
        for loaded in observed.versions.values()
        for cgroup, held in loaded.cgroups.items()
        if held.governs
    }
    governing -= {want.cgroup.id for want in wants if not want.governs}
    governing |= {want.cgroup.id for want in wants if want.governs}
    return [
        replace(want, retrofit=replace(target, nearer=frozenset(governing - {want.cgroup.id})))
        if (target := want.retrofit)
        else want
        for want in wants
    ]
