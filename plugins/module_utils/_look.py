# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What root sees of an object: its versions, and what each holds for each cgroup."""

from __future__ import annotations

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _pins,
    _readers,
    _storage,
    _whole,
)
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._layout import POLICY, Layout
from ansible_collections.linux.cgnet.plugins.module_utils._model import Held, Loaded, Observed


def observe(layout: Layout, hierarchy: Hierarchy, name: str, known: _pins.Known) -> Observed:
    """Everything of an object's name that the kernel holds. HostError for what is not ours.

    What a killed run left aside is a version that nobody uses, so any run removes it.
    """
    versions, altered = {}, {}
    for version, pinned in _pins.require_ours(layout, name, known).items():
        readers, differing = _readers.shared(layout, name, version, pinned.found)
        versions[version] = _loaded(layout, name, version, pinned, readers)
        altered.update(differing)
    ids = sorted({cgroup for loaded in versions.values() for cgroup in loaded.cgroups})
    told = tuple(altered[path] for path in sorted(altered))
    return Observed(versions, hierarchy.paths(ids), altered=told)


def _loaded(
    layout: Layout, name: str, version: str, pinned: _pins.Pinned, readers: int | None
) -> Loaded:
    """What a version holds."""
    maps = layout.maps(name, version)
    programs = {pin: told.id for pin, told in pinned.programs.items()}
    values = _storage.values(maps, pinned.maps)
    # Another object's maps of these names are its own.
    governing = _storage.governing(maps) if name == POLICY else set()
    nested = name == POLICY and _storage.nested(maps)
    cgroups = {}
    lost: set[str] = set()
    for cgroup in sorted({*pinned.links, *values, *governing}):
        directory = layout.links(name, version, cgroup)
        paths = {each: f"{directory}/{each}" for each in pinned.links.get(cgroup, ())}
        states = _links(paths, cgroup, programs, lost)
        cgroups[cgroup] = Held(
            frozenset(program for program, alive in states.items() if alive),
            frozenset(program for program, alive in states.items() if not alive),
            values.get(cgroup),
            cgroup in governing,
        )
    lost_too = (f"the program {program}, which runs, is not pinned" for program in sorted(lost))
    damage = (*_whole.damage(pinned), *lost_too)
    return Loaded(frozenset(programs), cgroups, readers, damage, nested=nested)


def _links(
    paths: dict[str, str], cgroup: int, programs: dict[str, int], lost: set[str]
) -> dict[str, bool]:
    """Each pinned link of a cgroup, and whether it is alive and runs the pinned program.

    A program that runs by its name and is not the pinned one is added to `lost`.
    """
    states = {}
    for program, path in paths.items():
        link = _pins.link(path, cgroup, program, programs)
        attached = link.cgroup_id == cgroup
        states[program] = attached and link.prog_id == programs.get(program)
        if attached and not states[program] and link.prog_id not in programs.values():
            lost.add(program)
    return states
