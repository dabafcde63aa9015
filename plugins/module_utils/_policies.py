# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cgnet_policy wants: the policy of each declared cgroup, and only that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _entries,
    _layout,
    _policy,
    _readers,
    _stored,
    _support,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
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
from ansible_collections.linux.cgnet.plugins.module_utils._plan import Want
from ansible_collections.linux.cgnet.plugins.module_utils._reconcile import (
    Job,
    not_handed_over,
    object_from,
)

OBJECT = _layout.POLICY
HOLDER = "policy_holder"
ENFORCED = "enforced"
AUDITED = "audited"


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
    declared = _entries.declared(params["policies"], kernel.hierarchy, params["permanent"])
    keep, warnings = _entries.keeping(declared, params)
    bpf_object = object_from(params["_object"])
    version = bpf_object.version if bpf_object else ""
    fixed: list[Want] = []
    controls: dict[str, dict[str, str]] = {}
    for item in declared:
        if item.policy is None:
            if item.cgroup:
                fixed.append(Want(item.cgroup, keep=frozenset({HOLDER})))
            continue
        if bpf_object is None:
            raise not_handed_over(OBJECT)
        path = item.path
        controls[path] = verdicts(item.policy, bpf_object, facts)
        for control, verdict in controls[path].items():
            if verdict != done(item.policy):
                if params["on_unsupported"] == "fail":
                    remedy = 'To apply what is possible all the same: "on_unsupported: warn"'
                    raise UnsupportedError(path, control, verdict, remedy)
                warnings.append(f"{path}: {control} is not {done(item.policy)} in full: {verdict}")
        if item.cgroup is None:
            continue
        programs = _support.loadable(hooks(item.policy, bpf_object, facts), facts)
        tasks = _policy.ON_TASKS in {program.name for program in programs}
        fixed.append(
            Want(
                item.cgroup,
                programs,
                _policy.encode(item.policy, facts.netns_cookie, item.cgroup, tasks),
                _policy.gives_priority(item.policy),
                frozenset({HOLDER}),
                _target(item, item.cgroup, facts),
            )
        )
    there = [(item.cgroup, item.policy) for item in declared if item.cgroup]
    policies = {cgroup.id: policy for cgroup, policy in there}

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
        return observed._replace(
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
        keep=keep,
        bpf_object=bpf_object,
        loadable=_support.loadable(bpf_object.programs, facts) if bpf_object else (),
        holder=next((p for p in bpf_object.programs if p.name == HOLDER), None)
        if bpf_object
        else None,
        controls=controls,
        warnings=tuple(warnings),
        paths={cgroup.id: cgroup.path for cgroup, _policy in there},
    )


def _target(item: _entries.Declared, cgroup: Cgroup, facts: Facts) -> Target | None:
    """The sockets from before that an entry is for."""
    policy = item.policy
    if not item.retrofit or policy is None or policy.priority is None:
        return None
    if not _policy.gives_priority(policy):
        return None
    cookie = _policy.NETNS_ANY if policy.netns == "any" else facts.netns_cookie
    return Target(cgroup, policy.priority, cookie)


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
        want._replace(retrofit=target._replace(nearer=frozenset(governing - {want.cgroup.id})))
        if (target := want.retrofit)
        else want
        for want in wants
    ]
