# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of a cgnet_policy task: whom each is for, its policy, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _kept,
    _policy,
    _systemd,
    _values,
)
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup, Policy

_NO_CONTROLS = ("cgroup", "unit", "state", "retrofit")


class Declared(NamedTuple):
    """One entry: whom it is for, the cgroup or None where there is none now, its policy or None
    for absent, and whether sockets get it that were there before.
    """

    address: _kept.Address
    cgroup: Cgroup | None
    policy: Policy | None
    retrofit: bool

    @property
    def path(self) -> str:
        """How the entry is called: the cgroup's path, and before it has one the unit."""
        return self.cgroup.path if self.cgroup else self.address.name


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


def address(
    kind: str, name: Any, at: str, hierarchy: Hierarchy, found: Cgroup | None = None
) -> _kept.Address:
    """Whom a unit or a cgroup that a task names is kept as; a cgroup need not exist.

    `found` is the one that it names, where that was looked for and is there.
    """
    if kind == "cgroup":
        name = found.path if found else hierarchy.canonical(name, at)
    return _kept.address(kind, name)


def declared(given: Any, hierarchy: Hierarchy, permanent: bool) -> list[Declared]:
    """Every entry, parsed and found; whatever is wrong is told before any is looked up.

    A service that does not run is fine where the entry is kept for its start.
    """
    policies, listed = [], _values.sequence(given, "policies")
    for index, entry in enumerate(listed):
        if not isinstance(entry, Mapping):
            raise InputError(f"policies[{index}]", entry, "an entry is a mapping")
        controls = {k: v for k, v in entry.items() if k not in _NO_CONTROLS}
        state = _policy.one_of(entry, "state", ("present", "absent"), f"policies[{index}]")
        present = state == "present"
        policy = _policy.parse(controls, f"policies[{index}]") if present else None
        policies.append((policy, _retrofits(entry, policy, f"policies[{index}].retrofit")))
    found: list[Declared] = []
    seen: dict[int | _kept.Address, int] = {}
    for index, (entry, (policy, retrofit)) in enumerate(zip(listed, policies)):
        at = f"policies[{index}]"
        kind = "cgroup" if entry.get("unit") is None else "unit"
        startable = permanent and kind == "unit" and str(entry["unit"]).endswith(".service")
        cgroup = find(entry, at, hierarchy, needed=policy is not None and not startable)
        whom = address(kind, entry[kind], f"{at}.{kind}", hierarchy, cgroup)
        if permanent and policy:
            _kept.require_lasting(whom, f"{at}.{kind}")
        key = cgroup.id if cgroup else whom
        if key in seen:
            raise InputError(
                at,
                entry[kind],
                f"it is the same cgroup as policies[{seen[key]}]",
                "Declare it once",
            )
        seen[key] = index
        found.append(Declared(whom, cgroup, policy, retrofit))
    return found


def keeping(
    entries: list[Declared], params: Mapping[str, Any]
) -> tuple[Callable[[], tuple[_kept.Step, ...]], list[str]]:
    """What gives the files that are to be written or removed, and what to warn of."""
    if not params["permanent"]:
        kept = _kept.read(_kept.POLICIES)
        named = {item.address for item in entries}
        gone = {item.address for item in entries if item.policy is None}
        comes_back = kept.keys() - (named - gone) if params["purge"] else kept.keys() & gone
        return lambda: (), [_kept.comes_back(each, kept[each]) for each in sorted(comes_back)]
    if any(item.policy for item in entries):
        _kept.require_runtime()
    wanted = {item.address: _entry(item, params["on_unsupported"]) for item in entries}

    def keep() -> tuple[_kept.Step, ...]:
        steps = _kept.plan(_kept.POLICIES, wanted, params["purge"])
        readers = params["readers"]
        return steps if readers is None else steps + _kept.plan_readers(readers)

    warnings = (_kept.started_without(item.address) for item in entries if item.policy)
    return keep, [warning for warning in warnings if warning]


def _entry(item: Declared, on_unsupported: str) -> dict[str, Any] | None:
    """What is kept of an entry, which is all of it, or None for absent."""
    if item.policy is None:
        return None
    more = {"retrofit": True} if item.retrofit else {}
    warn = {"on_unsupported": on_unsupported} if on_unsupported != "fail" else {}
    return {**_policy.show(item.policy), **more, **warn}


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
