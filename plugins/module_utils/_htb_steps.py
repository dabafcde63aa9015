# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an interface has, and the steps that change it: data, which says nothing of how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from ansible_collections.linux.cgnet.plugins.module_utils import _tc
from ansible_collections.linux.cgnet.plugins.module_utils._htb import MQ, Class, Leaf, Tree

PREFERENCE = MQ >> 16
"""That of our filters which map priorities. The kernel asks the lowest first."""
BY_CGROUP = PREFERENCE + 1
"""That of our filter by cgroup."""
ETH_P_ALL = 0x0003


@dataclass(frozen=True)
class Filter:
    """A filter of a tree: what the kernel knows it by, and the class that it picks, if it says."""

    preference: int
    protocol: int
    kind: str
    handle: int
    classid: int = 0


@dataclass(frozen=True)
class Standing:
    """A discipline where a tree may stand. `handle` is 0 where the kernel put it itself.

    `classifier` is the version of our filter by cgroup, or "" where there is none; what it says is
    the tree's.
    """

    kind: str
    handle: int = 0
    tree: Tree | None = None
    filters: tuple[Filter, ...] = ()
    classifier: str = ""


@dataclass(frozen=True)
class Interface:
    """What an interface has: at its root, and below mq for each of its transmit queues."""

    name: str
    index: int
    queues: int
    root: Standing
    below: Mapping[int, Standing] = field(default_factory=dict)


@dataclass(frozen=True)
class AddMq:
    """mq to the root, so that each queue can have a tree."""

    handle: int
    queues: int


@dataclass(frozen=True)
class AddTree:
    """An empty tree below a parent, in the place of what the kernel put there."""

    parent: int
    tree: Tree


@dataclass(frozen=True)
class RemoveDiscipline:
    """What stands below a parent; the kernel puts its own in that place."""

    parent: int
    kind: str
    handle: int


@dataclass(frozen=True)
class RemoveFilter:
    """A filter of the tree with a handle."""

    tree: int
    filter: Filter


@dataclass(frozen=True)
class AddFilter:
    """What puts the packets of a priority into a class of another number."""

    tree: int
    classid: int
    priority: int

    @property
    def made(self) -> Filter:
        """What the kernel has of it."""
        return Filter(PREFERENCE, ETH_P_ALL, "basic", self.classid & 0xFFFF, self.classid)


@dataclass(frozen=True)
class SetClassifier:
    """A tree's filter by cgroup, with all that it says; without anything there is none.

    One that is there is replaced from one packet to the next.
    """

    tree: int
    cgroups: Mapping[int, int]
    version: str
    new: bool


@dataclass(frozen=True)
class RemoveClass:
    """A class without classes below it."""

    classid: int


@dataclass(frozen=True)
class SetClass:
    """A class as it shall be. It is changed in place where it is there."""

    classid: int
    cls: Class
    new: bool


@dataclass(frozen=True)
class SetLeaf:
    """The discipline in a class: a new one, or options that are changed in place."""

    classid: int
    leaf: Leaf
    new: bool


Action = Union[
    AddMq, AddTree, RemoveDiscipline, AddFilter, RemoveFilter, SetClassifier, RemoveClass,
    SetClass, SetLeaf,
]  # fmt: skip


def describe(action: Action) -> dict[str, Any]:
    """An action in the user's terms."""
    if isinstance(action, AddMq):
        return {"action": "add", "discipline": "mq", "handle": _tc.show_handle(action.handle)}
    if isinstance(action, AddTree):
        return {"action": "add", "discipline": "htb", "handle": _tc.show_handle(action.tree.handle)}
    if isinstance(action, RemoveDiscipline):
        handle = _tc.show_handle(action.handle)
        return {"action": "remove", "discipline": action.kind, "handle": handle}
    if isinstance(action, RemoveFilter):
        told = {"filter": action.filter.kind, "preference": action.filter.preference}
        return {"action": "remove", **told, "tree": _tc.show_handle(action.tree)}
    if isinstance(action, SetClassifier):
        verb = "add" if action.new else "change" if action.cgroups else "remove"
        return {"action": verb, "filter": "by cgroup", "tree": _tc.show_handle(action.tree)}
    classid = _tc.show_handle(action.classid)
    if isinstance(action, AddFilter):
        priority = _tc.show_handle(action.priority)
        return {"action": "add", "filter": "basic", "priority": priority, "class": classid}
    if isinstance(action, RemoveClass):
        return {"action": "remove", "class": classid}
    verb = "add" if action.new else "change"
    if isinstance(action, SetClass):
        return {"action": verb, "class": classid}
    return {"action": verb, "leaf": action.leaf.kind, "class": classid}
