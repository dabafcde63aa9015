# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which class of HTB each cgroup's packets go into, and what these have counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _tc
from ansible_collections.linux.cgnet.plugins.module_utils._htb import Tree
from ansible_collections.linux.cgnet.plugins.module_utils._rtnetlink import Links

Paths = Callable[[list[int]], Mapping[int, str]]
"""Cgroup id → path, of those that there are."""


def gather(priorities: Mapping[str, int], paths: Paths) -> dict[str, Any]:
    """Cgroup → interface → class → its counters; `priorities` are those that policies give.

    A cgroup whose priority is no class of any interface has none.
    """
    told: dict[str, dict[str, Any]] = {path: {} for path in priorities}
    with Links.open() as links:
        for name in links.shaped():
            interface = links.look(name)
            counters = links.counters(interface)
            trees = [each.tree for each in (interface.root, *interface.below.values()) if each.tree]
            for path, classid in _classes(trees, priorities, paths):
                shown = told.setdefault(path, {}).setdefault(name, {})
                shown[_tc.show_handle(classid)] = counters.get(classid, {})
    return told


def _classes(
    trees: list[Tree], priorities: Mapping[str, int], paths: Paths
) -> Iterator[tuple[str, int]]:
    """A cgroup's path, and the id of a class of it. A priority names the first tree's."""
    for tree in trees:
        for path, priority in priorities.items():
            classid = tree.handle | priority & 0xFFFF
            if priority & 0xFFFF0000 == trees[0].handle and classid in tree.classes:
                yield path, classid
        known = paths(sorted(tree.cgroups))
        for cgroup, path in known.items():
            yield path, tree.cgroups[cgroup]
