# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cgnet_info tells: this kernel's abilities, and everything of ours in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _libbpf,
    _policies,
    _raw_xmit,
    _support,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import CgnetError
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._model import Program


def gather(_params: Mapping[str, Any]) -> dict[str, Any]:
    """The module's result. Changes nothing."""
    kernel = Kernel.open()
    with kernel.reading():
        return _gather(kernel)


def _gather(kernel: Kernel) -> dict[str, Any]:
    facts, slots = kernel.facts(), kernel.slots()
    lacks = _support.missing(Program("any", "lsm_cgroup/socket_post_create"), facts)
    objects: dict[str, Any] = {}
    for name in kernel.names():
        observed = kernel.observe(name)
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
    observed = kernel.observe(_policies.OBJECT)
    policies = {}
    for cgroup, path in observed.alive.items():
        shown = _policies.shown(observed, cgroup, "", facts.netns_cookie)
        if shown is not None:
            policies[path] = shown
    observed = kernel.observe(_raw_xmit.OBJECT)
    raw_xmit = {}
    for path in observed.alive.values():
        group = kernel.hierarchy.resolve(path, "raw_xmit")
        try:
            verdict = _raw_xmit.verdict(observed, group, kernel) if group else ""
        except CgnetError as error:  # its tasks can't be looked at; tell the rest
            verdict = str(error)
        if verdict:
            raw_xmit[path] = verdict
    return {
        "changed": False,
        "kernel": {
            "release": facts.release,
            "lsm": list(facts.lsm or ()),
            "lsm_cgroup": lacks or "supported",
            "lsm_cgroup_slots": {
                "total": slots.total,
                "used": len(slots.hooks),
                "hooks": list(slots.hooks),
            },
            "libbpf": _libbpf.library().call("libbpf_version_string").decode(),
            "cgroup_mount": kernel.hierarchy.mount,
            "pins": kernel.layout.root,
        },
        "objects": objects,
        "policies": policies,
        "raw_xmit": raw_xmit,
    }
