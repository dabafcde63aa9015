# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is wanted and what is there to the steps between. Pure.

The order is what keeps every moment safe: a value is stored before the hooks
that enforce it are attached, and an older version's goes only after the newer's
hooks stand. Storage that the kernel has just made is all zero, which every program
takes for "not configured". An ancestor's program leaves the priority to a cgroup
that governs, so that is said only once the cgroup's own programs stand, and taken
back before they go.

What comes first can be taken back, by back(). Only what has no effect any more is
detached and unloaded, and that comes last: see late().
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from ansible_collections.linux.cgnet.plugins.module_utils._actions import (
    Action,
    Aside,
    Attach,
    Detach,
    Govern,
    Hold,
    Load,
    Nest,
    Retrofit,
    Share,
    Store,
    Unload,
)
from ansible_collections.linux.cgnet.plugins.module_utils._layout import aside
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BpfObject,
    Cgroup,
    Held,
    Loaded,
    Observed,
    Program,
    Target,
    blank,
)


class Want(NamedTuple):
    """What one cgroup shall have of an object; no programs: nothing of it.

    `value` None leaves what is stored alone; `governs` tells whether it governs the
    priority. `keep` are programs that are left as they are, attached or not.
    `retrofit` are the sockets from before that shall have the priority.
    """

    cgroup: Cgroup
    programs: tuple[Program, ...] = ()
    value: bytes | None = None
    governs: bool = False
    keep: frozenset[str] = frozenset()
    retrofit: Target | None = None


_NONE = Loaded(frozenset(), {})


def _present(want: Want, version: str, held: Held, holder: Program | None) -> list[Action]:
    steps: list[Action] = []
    if held.governs and not want.governs:
        steps.append(Govern(version, want.cgroup.id, False))
    if want.value is not None and held.value != want.value:
        if held.value is None and holder is not None:
            steps.append(Hold(version, want.cgroup, holder))
        steps.append(Store(version, want.cgroup.id, want.value))
    steps += [Detach(version, want.cgroup.id, name) for name in sorted(held.broken)]
    steps += [
        Attach(version, want.cgroup, program)
        for program in want.programs
        if program.name not in held.attached
    ]
    if want.governs and not held.governs:
        steps.append(Govern(version, want.cgroup.id, True))
    return steps


def _spare(want: Want, version: str, held: Held) -> list[Action]:
    spare = held.attached - {program.name for program in want.programs} - want.keep
    return [Detach(version, want.cgroup.id, name) for name in sorted(spare)]


def _off(version: str, cgroup: int, held: Held) -> list[Action]:
    steps: list[Action] = [Govern(version, cgroup, False)] if held.governs else []
    if held.value is not None and not blank(held.value):
        steps.append(Store(version, cgroup, bytes(len(held.value))))
    return steps


def _detached(version: str, cgroup: int, held: Held, keep: frozenset[str]) -> list[Action]:
    gone = sorted((held.attached | held.broken) - keep)
    return [Detach(version, cgroup, name) for name in gone]


def _occupied(loaded: Loaded, leaving: dict[int, frozenset[str]]) -> bool:
    """Whether a link or a policy stays there after cgroups have left but for what they keep."""
    return any(
        (held.attached | held.broken) & leaving.get(cgroup, held.attached | held.broken)
        or (cgroup not in leaving and held.configured)
        for cgroup, held in loaded.cgroups.items()
    )


def _shares(observed: Observed, steps: Sequence[Action], readers: int | None) -> tuple[Action, ...]:
    """Let the group read every version that is loaded or stays; None: the one that may now.

    That mends what is altered too; where no group may read, root alone may then. A version that
    is loaded is root's at first, but may be below a directory of the group's.
    """
    groups = {name: loaded.readers for name, loaded in observed.versions.items()}
    wanted = readers if readers is not None else next(filter(None, groups.values()), None)
    for step in steps:
        if isinstance(step, Load):
            groups.setdefault(step.version, 0 if set(groups.values()) <= {0} else None)
        elif isinstance(step, Unload):
            del groups[step.version]
    if wanted is None:
        wanted = 0
    whole = [name for name in groups if not observed.versions.get(name, _NONE).damage]
    return tuple(Share(name, wanted) for name in whole if groups[name] != wanted)


def _nested(paths: Collection[str]) -> bool:
    """Whether any of some cgroups is below another of them."""
    return any(above in paths for path in paths for above in _above(path))


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _nests(
    observed: Observed, wants: Sequence[Want], version: str, steps: Sequence[Action]
) -> list[Nest]:
    """Let each version that stays whole know whether cgroups are nested that govern.

    That they are is said where they will be at any moment, and taken back after it.
    """
    paths = {**observed.alive, **{want.cgroup.id: want.cgroup.path for want in wants}}
    versions = {version: _NONE, **observed.versions}
    gone = {step.version for step in steps if isinstance(step, Unload)}
    nests = []
    for name in [name for name in versions if name not in gone and not versions[name].damage]:
        told = versions[name].nested
        before = {number for number, held in versions[name].cgroups.items() if held.governs}
        more, fewer = (
            {
                step.cgroup
                for step in steps
                if isinstance(step, Govern) and step.version == name and step.governs is governs
            }
            for governs in (True, False)
        )
        most, least = (
            _nested({paths[number] for number in governing if number in paths})
            for governing in (before | more, (before | more) - fewer)
        )
        if most and not told:
            nests.append(Nest(name, True))
        if (most or told) and not least:
            nests.append(Nest(name, False))
    return nests


def set_aside(observed: Observed, version: str) -> Observed:
    """What is there, where a version that is damaged goes by the name of one set aside.

    A version's programs and maps belong together. Were a map of them made anew, its programs
    would still use the other.
    """
    loaded = observed.versions.get(version)
    if loaded is None or not loaded.damage:
        return observed
    versions = {name: each for name, each in observed.versions.items() if name != version}
    name = aside(version, versions)
    return observed._replace(versions={**versions, name: loaded._replace(stands_at=version)})


def plan(
    wants: Sequence[Want],
    observed: Observed,
    bpf_object: BpfObject | None = None,
    loadable: Sequence[Program] = (),
    holder: Program | None = None,
    readers: int | None = None,
) -> tuple[Action, ...]:
    """The steps from `observed` to `wants`; empty when nothing is left to do.

    `loadable` are the programs of `bpf_object` that this kernel can load. With
    no object, wants can only be for nothing. Cgroups that no want names are
    left alone, but what is left of dead ones is removed. `readers` is the gid of the
    group that may read what is stored, 0 for root alone, or None for who may now.
    """
    version = bpf_object.version if bpf_object else ""
    current = observed.versions.get(version, _NONE)
    steps: list[Action] = []
    last: list[Action] = []

    present = [want for want in wants if want.programs]
    missing = tuple(program for program in loadable if program.name not in current.programs)
    if present and missing:
        steps.append(Load(version, missing))
    for want in present:
        held = current.cgroups.get(want.cgroup.id, Held())
        steps += _present(want, version, held, holder)
        last += _spare(want, version, held)

    present_ids = {want.cgroup.id for want in present}
    for name, loaded in observed.versions.items():
        # Cgroup → what it keeps: nothing if it is dead or goes to the current version.
        leaving: dict[int, frozenset[str]] = {}
        for want in wants:
            if want.cgroup.id in present_ids:
                if name != version:
                    leaving[want.cgroup.id] = frozenset()
            else:
                leaving[want.cgroup.id] = want.keep
        leaving.update((dead, frozenset()) for dead in loaded.cgroups if dead not in observed.alive)
        for cgroup in sorted(set(leaving) & set(loaded.cgroups)):
            held = loaded.cgroups[cgroup]
            if cgroup not in observed.alive:  # its storage went with it
                held = held._replace(value=None)
            steps += _off(name, cgroup, held)
            last += _detached(name, cgroup, held, leaving[cgroup])
        if not (name == version and present) and not _occupied(loaded, leaving):
            last.append(Unload(name))
    # At the very end: what is made meanwhile is born right, and no older program refuses it.
    lacking = [(want.retrofit, observed.lacking.get(want.cgroup.id, 0)) for want in present]
    last += [Retrofit(version, target, number) for target, number in lacking if target and number]
    loads = 1 if steps and isinstance(steps[0], Load) else 0
    # Of the first that is nested every program has to know before it governs.
    nests = _nests(observed, wants, version, [*steps, *last])
    steps += [nest for nest in nests if not nest.nested]
    first = [nest for nest in nests if nest.nested]
    steps[loads:loads] = [*_shares(observed, [*steps, *last], readers), *first]
    asides = [
        Aside(loaded.stands_at, name, loaded.damage)
        for name, loaded in observed.versions.items()
        if loaded.stands_at
    ]
    return (*asides, *steps, *last) if steps or last else ()


def late(actions: Sequence[Action]) -> int:
    """Where in a plan the part begins that is not taken back: what it removes has no effect by
    then, but of an object that stores nothing.
    """
    index = len(actions)
    while index and isinstance(actions[index - 1], (Detach, Unload, Retrofit)):
        index -= 1
    return index


def back(before: Observed, now: Observed) -> tuple[Action, ...]:
    """The steps from what the first part of a plan has done to what was there before.

    A link that was broken and is whole now stays; so does storage, of zeros.
    """
    steps: list[Action] = []
    last: list[Action] = []
    versions = _under_names_of(now, before)
    for name in sorted(now.versions, key=lambda name: name not in versions):
        loaded, was = now.versions[name], versions.get(name)
        if was is None:
            last.append(Unload(name))
        elif was.readers not in (None, loaded.readers):
            steps.append(Share(name, was.readers))
        for cgroup in sorted(set(loaded.cgroups) & set(now.alive)):
            held = loaded.cgroups[cgroup]
            old = was.cgroups.get(cgroup, Held()) if was else Held()
            if held.governs and not old.governs:
                steps.append(Govern(name, cgroup, False))
            if held.value is not None and (value := old.value or bytes(len(held.value))):
                steps += [Store(name, cgroup, value)] if value != held.value else []
            if old.governs and not held.governs:
                steps.append(Govern(name, cgroup, True))
            new = sorted((held.attached | held.broken) - old.attached - old.broken)
            steps += [Detach(name, cgroup, program) for program in new]
        if was and was.nested != loaded.nested:
            steps.insert(0 if was.nested else len(steps), Nest(name, was.nested))
    last += [
        Aside(name, loaded.stands_at, loaded.damage)
        for name, loaded in versions.items()
        if loaded.stands_at and name in now.versions
    ]
    return (*steps, *last)


def _under_names_of(now: Observed, before: Observed) -> dict[str, Loaded]:
    """The versions of before: one that was to be set aside stands where it stood, or was."""
    return {
        loaded.stands_at if loaded.stands_at and name not in now.versions else name: loaded
        for name, loaded in before.versions.items()
    }


def lost(before: Observed, now: Observed) -> dict[str, list[str]]:
    """Cgroup path → the programs that were attached before and are no longer: no step of back()
    attaches, since no first part of a plan detaches.
    """
    found: dict[str, list[str]] = {}
    for name, was in _under_names_of(now, before).items():
        loaded = now.versions.get(name, _NONE)
        for cgroup, old in was.cgroups.items():
            gone = sorted(old.attached - loaded.cgroups.get(cgroup, Held()).attached)
            if gone and cgroup in now.alive:
                found.setdefault(now.alive[cgroup], []).extend(gone)
    return found
