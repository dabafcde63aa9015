# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cgnet_info tells: this kernel's abilities, and everything of ours in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _kept,
    _libbpf,
    _policies,
    _raw_xmit,
    _refusals,
    _shares,
    _stored,
    _support,
    _values,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import CgnetError, HostError
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._model import Observed, Program


def gather(params: Mapping[str, Any], check: bool = False) -> dict[str, Any]:
    """The module's result: to root, everything; to a reader, what it may read.

    Changes nothing but that `events` are taken, by root and if not in check mode.
    """
    with Kernel.open(reader=True) as kernel:
        return _gather(kernel, params, check)


def _gather(kernel: Kernel, params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    asked = params.get("events", False)
    if asked and kernel.reader:
        raise HostError(
            "events: they are gone when they are taken, which root alone may do",
            "Set become: true on the task, or leave the option out",
        )
    if params.get("classes", False) and kernel.reader:
        raise HostError(
            "classes: root alone may look at what finds a packet's class by its cgroup",
            "Set become: true on the task, or leave the option out",
        )
    with kernel.lock() if asked and not check else kernel.reading():
        observed = kernel.observe(_policies.OBJECT)
        result = _shared(kernel, observed)
        if not kernel.reader:
            result.update(_for_root(kernel, observed, result["kernel"]))
        if params.get("classes", False):
            given = _priorities(result["policies"])
            result["classes"] = _shares.gather(given, kernel.hierarchy.paths)
        if asked:
            result["events"] = [] if check else _events(kernel)
        return result


def _events(kernel: Kernel) -> list[dict[str, Any]]:
    """What was told since they were last taken. Nothing that can fail may come after it."""
    paths = kernel.observe(_policies.OBJECT).alive
    records = kernel.take_events(_policies.OBJECT)
    return _refusals.events(records, paths, time.time_ns() - time.monotonic_ns())


def _priorities(policies: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """What the policies of cgroups give their sockets."""
    return {
        path: _values.parse_priority(policy["priority"], "priority")
        for path, policy in policies.items()
        if "priority" in policy and policy.get("mode") != "audit"
    }


def _counters(kernel: Kernel, observed: Observed) -> dict[str, dict[str, dict[str, int]]]:
    """Cgroup → control → counts, of what is declared for it or has been counted."""
    counted = kernel.counts(_policies.OBJECT, _refusals.COUNTS)
    found = {}
    for cgroup, path in observed.alive.items():
        declared = _stored.declared_in(observed, cgroup)
        sums = _refusals.summed(counted.get(cgroup, ()))
        shown = {k: v for k, v in sums.items() if k in declared or any(v.values())}
        if shown:
            found[path] = shown
    return found


def _shared(kernel: Kernel, observed: Observed) -> dict[str, Any]:
    """What a reader is told as well; `observed` is of the policies."""
    facts = kernel.facts()
    lacks = _support.missing(Program("any", "lsm_cgroup/socket_post_create"), facts)
    policies = {}
    for cgroup, path in observed.alive.items():
        shown = _stored.shown(observed, cgroup, "", facts.netns_cookie)
        if shown is not None:
            policies[path] = shown
    return {
        "changed": False,
        "kernel": {
            "release": facts.release,
            "lsm": list(facts.lsm or ()),
            "lsm_cgroup": lacks or "supported",
            "libbpf": _libbpf.library().call("libbpf_version_string").decode(),
            "cgroup_mount": kernel.hierarchy.mount,
            "pins": kernel.layout.root,
        },
        "policies": policies,
        "counters": _counters(kernel, observed),
    }


def _for_root(kernel: Kernel, policies: Observed, told: dict[str, Any]) -> dict[str, Any]:
    """What root alone is told; `told` is what everybody is told of the kernel."""
    slots = kernel.slots()
    seen = {_policies.OBJECT: policies, _raw_xmit.OBJECT: kernel.observe(_raw_xmit.OBJECT)}
    objects: dict[str, Any] = {}
    altered: list[str] = []
    for name in kernel.names():
        observed = seen.get(name) or kernel.observe(name)
        altered += observed.altered
        objects[name] = {
            version: {
                "programs": sorted(loaded.programs),
                "cgroups": {
                    observed.alive.get(cgroup, f"id {cgroup} (gone)"): {
                        "attached": sorted(held.attached),
                        "broken": sorted(held.broken),
                    }
                    for cgroup, held in loaded.cgroups.items()
                    if held.attached or held.broken
                },
            }
            for version, loaded in observed.versions.items()
        }
    observed = seen[_raw_xmit.OBJECT]
    raw_xmit = {}
    for path in observed.alive.values():
        group = kernel.hierarchy.resolve(path, "raw_xmit")
        try:
            verdict = _raw_xmit.verdict(observed, group, kernel) if group else ""
        except CgnetError as error:  # its tasks can't be looked at; tell the rest
            verdict = str(error)
        if verdict:
            raw_xmit[path] = verdict
    used = {"total": slots.total, "used": len(slots.hooks), "hooks": list(slots.hooks)}
    return {
        "kernel": {**told, "lsm_cgroup_slots": used},
        "objects": objects,
        "altered": list(dict.fromkeys(altered)),
        "raw_xmit": raw_xmit,
        "permanent": {
            "policies": {whom.name: kept.entry for whom, kept in _sorted(_kept.POLICIES)},
            "raw_xmit": [whom.name for whom, _kept_too in _sorted(_kept.RAW_XMIT)],
        },
    }


def _sorted(kind: str) -> list[tuple[_kept.Address, _kept.Kept]]:
    """What is kept of a kind, by unit or path."""
    return sorted(_kept.read(kind).items(), key=lambda each: each[0].name)
