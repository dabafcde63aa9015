# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTB as it is declared and as the kernel has it: one set of values for both, and what differs.

A tree is a discipline with its classes. It stands at the root of an interface, or once below each
transmit queue of `mq`; there a tree has a handle of its own, as handles are an interface's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _tc, _values
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError

ROOT = 0xFFFFFFFF
"""The parent of what stands at an interface's root, and of a tree's own classes: TC_H_ROOT."""
MQ = 0x6367 << 16
"""The handle of the mq that is made here. One that has another handle is somebody else's."""

_MTU = 1600
"""What tc adds to a burst that is not given: a packet of Ethernet, with some room."""
_QUANTUM_MIN, _QUANTUM_MAX = 1000, 200000
"""Between these the kernel keeps the quantum that it computes itself: htb_change_class()."""

# Of each kind of leaf its options: name → unit. A number of microseconds is read back as one less
# than was given, or as given: the kernel keeps multiples of 1.024 (codel_time_t).
LEAVES: dict[str, tuple[str, ...]] = {
    "fq_codel": ("limit", "flows", "quantum", "target", "interval", "ecn"),
    "pfifo": ("limit",),
    "fq": (),
    "sfq": (),
}


@dataclass(frozen=True)
class Leaf:
    """The discipline in a class. An option that is not named is the kernel's to choose."""

    kind: str
    options: Mapping[str, int] = field(default_factory=dict)
    handle: int = 0

    def fits(self, found: Leaf | None) -> bool:
        """Whether what is found is what is declared here."""
        return found is not None and self.kind == found.kind and not self.differing(found)

    def differing(self, found: Leaf) -> dict[str, int]:
        """The options to be changed."""
        return {
            name: value
            for name, value in self.options.items()
            if not _near(name, value, found.options.get(name))
        }


def _near(name: str, declared: int, found: int | None) -> bool:
    if found is None:
        return False
    return abs(declared - found) <= (1 if name in ("target", "interval") else 0)


@dataclass(frozen=True)
class Class:
    """`rate` and `ceil` in bytes a second, `burst` and `cburst` in ticks, `quantum` in bytes.

    `parent` is a class id, or ROOT. `leaf` is None in a class that has classes below it, and
    where the kernel's own pfifo is.
    """

    parent: int
    rate: int
    ceil: int
    burst: int
    cburst: int
    prio: int = 0
    quantum: int = 0
    leaf: Leaf | None = None


@dataclass(frozen=True)
class Tree:
    """`default` is the minor number of the class for what has no other; 0 lets it pass.

    `cgroups` has the class of each cgroup, by its id, whose packets a filter puts there.
    """

    handle: int
    default: int = 0
    r2q: int = 10
    classes: Mapping[int, Class] = field(default_factory=dict)
    cgroups: Mapping[int, int] = field(default_factory=dict)

    def moved(self, handle: int) -> Tree:
        """The same under another handle."""

        def there(classid: int) -> int:
            return classid if classid == ROOT else handle | classid & 0xFFFF

        classes = {
            there(classid): replace(each, parent=there(each.parent))
            for classid, each in self.classes.items()
        }
        cgroups = {cgroup: there(classid) for cgroup, classid in self.cgroups.items()}
        return replace(self, handle=handle, classes=classes, cgroups=cgroups)


def inner(classes: Mapping[int, Class]) -> set[int]:
    """The classes that have classes below them."""
    return {each.parent for each in classes.values()} - {ROOT}


def parse(params: Mapping[str, Any], find: Callable[[Any, str], int]) -> Tree:
    """The tree that a task's arguments declare; `find` gives a cgroup's id. InputError."""
    handle = _tc.parse_handle(params["handle"], "handle")
    r2q = _values.integer(params["r2q"], "r2q", 1, 1_000_000)
    classes: dict[int, Class] = {}
    given = [
        (f"classes[{number}]", _values.mapping(each, f"classes[{number}]", tuple(each)))
        for number, each in enumerate(params["classes"] or [])
    ]
    for at, each in given:
        classid = _tc.parse_classid(each["classid"], f"{at}.classid", handle)
        if classid in classes:
            raise InputError(f"{at}.classid", each["classid"], "it is declared before already")
        classes[classid] = _class(each, at, handle, r2q)
    _require_tree(classes, given, handle)
    default = 0
    if params["default"] is not None:
        default = _tc.parse_classid(params["default"], "default", handle) & 0xFFFF
    parents = inner(classes)
    if default and handle | default in parents:
        raise InputError(
            "default", params["default"], "a class with others below it takes no packets"
        )
    cgroups: dict[int, int] = {}
    for (at, each), classid in zip(given, classes):
        if each.get("cgroups") and classid in parents:
            raise InputError(
                f"{at}.cgroups", each["cgroups"], "a class with others below it takes no packets"
            )
        for index, name in enumerate(_values.sequence(each.get("cgroups") or [], f"{at}.cgroups")):
            cgroup = find(name, f"{at}.cgroups[{index}]")
            if cgroups.setdefault(cgroup, classid) != classid:
                other = _tc.show_handle(cgroups[cgroup])
                raise InputError(
                    f"{at}.cgroups[{index}]", name, f"a cgroup has one class, and that is {other}"
                )
    return Tree(
        handle,
        default,
        r2q,
        {
            classid: replace(each, leaf=None, quantum=0, prio=0) if classid in parents else each
            for classid, each in classes.items()
        },
        cgroups,
    )


def _class(each: Mapping[str, Any], at: str, handle: int, r2q: int) -> Class:
    rate = _tc.parse_rate(each["rate"], f"{at}.rate")
    ceil = _tc.parse_rate(each["ceil"], f"{at}.ceil") if "ceil" in each else rate
    if ceil < rate:
        raise InputError(f"{at}.ceil", each["ceil"], f"at least the rate, {each['rate']}")
    bursts = []
    for name, speed in (("burst", rate), ("cburst", ceil)):
        least = speed // 1_000_000_000 + _MTU
        size = _tc.parse_size(each[name], f"{at}.{name}") if name in each else least
        bursts.append(_tc.ticks(size, speed))
    computed = min(max(rate // r2q, _QUANTUM_MIN), _QUANTUM_MAX)
    return Class(
        parent=_tc.parse_classid(each["parent"], f"{at}.parent", handle)
        if "parent" in each
        else ROOT,
        rate=rate,
        ceil=ceil,
        burst=bursts[0],
        cburst=bursts[1],
        prio=_values.integer(each.get("prio", 0), f"{at}.prio", 0, 7),
        quantum=_tc.parse_size(each["quantum"], f"{at}.quantum") if "quantum" in each else computed,
        leaf=_leaf(each.get("leaf") or {}, f"{at}.leaf"),
    )


def _leaf(given: Mapping[str, Any], at: str) -> Leaf:
    given = {name: value for name, value in given.items() if value is not None}
    kind = given.pop("kind", "fq_codel")
    for name in given:
        if name not in LEAVES[kind]:
            known = ", ".join(LEAVES[kind]) or "none"
            raise InputError(f"{at}.{name}", given[name], f"options of {kind} are {known}")
    options = {
        name: int(value) if name == "ecn" else _values.integer(value, f"{at}.{name}", 1, 1 << 31)
        for name, value in given.items()
    }
    return Leaf(kind, options)


def _require_tree(
    classes: Mapping[int, Class], given: list[tuple[str, dict[str, Any]]], handle: int
) -> None:
    """Each class's parent is declared, and there is no circle."""
    for (at, each), (classid, declared) in zip(given, classes.items()):
        seen = {classid}
        parent = declared.parent
        while parent != ROOT:
            if parent in seen:
                raise InputError(f"{at}.parent", each["parent"], "it is below the class itself")
            if parent not in classes:
                raise InputError(
                    f"{at}.parent",
                    each["parent"],
                    "it is a class that is declared too, or left out",
                )
            seen.add(parent)
            parent = classes[parent].parent
        if len(seen) > 8:
            raise InputError(f"{at}.parent", each["parent"], "HTB has at most 8 levels")
        if each.get("leaf") and classid in inner(classes):
            raise InputError(f"{at}.leaf", each["leaf"], "a class with others below it has none")


def shown(tree: Tree, paths: Mapping[int, str]) -> dict[str, Any]:
    """A tree in the user's terms, with units as tc prints them; `paths` are those of cgroups."""
    told: dict[str, Any] = {"handle": _tc.show_handle(tree.handle), "r2q": tree.r2q}
    if tree.default:
        told["default"] = _tc.show_handle(tree.handle | tree.default)
    parents = inner(tree.classes)
    told["classes"] = {
        _tc.show_handle(classid): _shown_class(each, classid in parents)
        for classid, each in sorted(tree.classes.items())
    }
    for cgroup, classid in tree.cgroups.items():
        there = told["classes"].setdefault(_tc.show_handle(classid), {})
        there["cgroups"] = sorted([*there.get("cgroups", ()), paths.get(cgroup, f"id {cgroup}")])
    return told


def _shown_class(each: Class, is_inner: bool) -> dict[str, Any]:
    told: dict[str, Any] = {} if each.parent == ROOT else {"parent": _tc.show_handle(each.parent)}
    told.update(
        rate=_tc.show_rate(each.rate),
        ceil=_tc.show_rate(each.ceil),
        burst=_tc.show_size(_tc.burst(each.burst, each.rate)),
        cburst=_tc.show_size(_tc.burst(each.cburst, each.ceil)),
    )
    if not is_inner:
        told.update(prio=each.prio, quantum=_tc.show_size(each.quantum))
        if each.leaf:
            told["leaf"] = {"kind": each.leaf.kind, **each.leaf.options}
    return told
