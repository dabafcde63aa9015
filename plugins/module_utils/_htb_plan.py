# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left to do, so that an interface has the tree that is declared. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _htb, _htb_steps, _tc
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, InputError
from ansible_collections.linux.cgnet.plugins.module_utils._htb import MQ, ROOT, Class, Leaf, Tree
from ansible_collections.linux.cgnet.plugins.module_utils._htb_steps import (
    BY_CGROUP,
    PREFERENCE,
    Action,
    AddFilter,
    AddMq,
    AddTree,
    Interface,
    RemoveClass,
    RemoveDiscipline,
    RemoveFilter,
    SetClass,
    SetClassifier,
    SetLeaf,
    Standing,
)


@dataclass(frozen=True)
class Want:
    """A task's tree, whose handle priorities name, and how it is to be there.

    `version` is that of a filter by cgroup.
    """

    tree: Tree
    per_queue: bool
    purge: bool
    version: str


def plan(want: Want, found: Interface) -> list[Action]:
    """The steps until each place has the wanted tree. InputError, HostError before any."""
    if not want.per_queue:
        return _of_place(found.name, ROOT, found.root, want.tree, want)
    if found.queues < 2:
        raise InputError(
            "per_queue", True, f"{found.name} has one transmit queue", "Leave per_queue out"
        )
    _require_handles(want.tree.handle, found)
    steps: list[Action] = []
    below = found.below
    if (found.root.kind, found.root.handle) != ("mq", MQ):
        _require_free(found.name, found.root)
        steps.append(AddMq(MQ, found.queues))
        below = {}
    for place in places(found.queues):
        standing = below.get(place, Standing("none"))
        tree = of_queue(want.tree, place)
        steps += _of_place(found.name, place, standing, tree, want)
    return steps


def places(queues: int) -> list[int]:
    """The classes of mq, one for each queue."""
    return [MQ + number + 1 for number in range(queues)]


def of_queue(wanted: Tree, place: int) -> Tree:
    """The tree of a queue. A handle is an interface's, so each has the one after the last."""
    return wanted.moved(wanted.handle + ((place - MQ - 1) << 16))


def _require_handles(handle: int, found: Interface) -> None:
    """InputError where not each queue's tree can have its handle."""
    last = handle + ((found.queues - 1) << 16)
    if last > _tc.HANDLE_MAX or handle <= MQ <= last:
        raise InputError(
            "handle", _tc.show_handle(handle),
            f"one from which {found.queues} are free, for as many queues of {found.name}; "
            f"{_tc.show_handle(MQ)} is that of mq",
        )  # fmt: skip


def _require_free(name: str, standing: Standing) -> None:
    """HostError where a discipline of others stands."""
    if standing.handle:
        handle = _tc.show_handle(standing.handle)
        raise HostError(
            f"{name} has the discipline {standing.kind} {handle}, which somebody else put there",
            f"Remove it first (tc qdisc del dev {name} root), or declare its handle if it is HTB",
        )


def _of_place(name: str, place: int, standing: Standing, wanted: Tree, want: Want) -> list[Action]:
    """Of one place, where the task's tree is the `wanted` one."""
    named, purge = want.tree.handle, want.purge
    there = standing.tree
    if there is None or standing.handle != wanted.handle:
        _require_free(name, standing)
        steps: list[Action] = [AddTree(place, wanted)]
        there, standing = Tree(wanted.handle), Standing("htb", wanted.handle)
    else:
        _require_lasting(name, there, wanted)
        steps = []
    _require_default(there, wanted, purge)
    steps += _filters_gone(standing, wanted, purge)
    steps += _classes(there, wanted, purge)
    if wanted.handle != named:
        parents = _htb.inner(wanted.classes)
        filters = [
            AddFilter(wanted.handle, classid, named | classid & 0xFFFF)
            for classid in sorted(wanted.classes)
            if classid not in parents
        ]
        steps += [each for each in filters if each.made not in standing.filters]
    steps += _classifier(name, standing, there, wanted, want)
    return steps


def _classifier(
    name: str, standing: Standing, there: Tree, wanted: Tree, want: Want
) -> list[Action]:
    """What the filter by cgroup says of undeclared classes stays, unless these are purged."""
    stays = {
        cgroup: classid
        for cgroup, classid in there.cgroups.items()
        if classid not in wanted.classes and not want.purge
    }
    final = {**stays, **wanted.cgroups}
    same = want.version == standing.classifier
    if final == there.cgroups and (same or not final):
        return []
    if not want.purge and any(each.preference == BY_CGROUP for each in standing.filters):
        raise HostError(
            f"{name} has a filter of the preference {BY_CGROUP} at {_tc.show_handle(wanted.handle)}"
            ", which somebody else put there",
            "Remove it first, as purge: true does, or leave out the cgroups of classes",
        )
    return [SetClassifier(wanted.handle, final, want.version, not standing.classifier)]


def _require_lasting(name: str, there: Tree, wanted: Tree) -> None:
    """InputError where what HTB can't change in place is another."""
    for option, old, new in (
        ("default", there.default, wanted.default),
        ("r2q", there.r2q, wanted.r2q),
    ):
        if old != new:
            classid = option == "default"
            was, shall = (
                _tc.show_handle(there.handle | each) if classid and each else each
                for each in (old, new)
            )
            raise InputError(
                option,
                shall,
                f"{name} has {was}, and HTB can't change that in place",
                "Remove the tree with state: absent first, which drops its counters",
            )


def _require_default(there: Tree, wanted: Tree, purge: bool) -> None:
    """InputError where packets without a class would have none: HTB lets them pass unshaped."""
    classid = wanted.handle | wanted.default
    if wanted.default and classid not in {*wanted.classes, *(() if purge else there.classes)}:
        raise InputError(
            "default", _tc.show_handle(classid), "a class that is declared", "Declare it too"
        )


def _filters_gone(standing: Standing, wanted: Tree, purge: bool) -> list[Action]:
    """With purge, those of others, and ours of classes that are not declared."""
    return [
        RemoveFilter(standing.handle, each)
        for each in standing.filters
        if purge and (each.preference != PREFERENCE or each.classid not in wanted.classes)
    ]


def _classes(there: Tree, wanted: Tree, purge: bool) -> list[Action]:
    """Undeclared classes go with purge, from below; declared ones are set, from above."""
    gone = [each for each in there.classes if each not in wanted.classes] if purge else []
    final = {each: cls for each, cls in there.classes.items() if each not in gone}
    final.update(wanted.classes)
    parents = _htb.inner(final)
    steps: list[Action] = [RemoveClass(each) for each in reversed(_downwards(there.classes, gone))]
    for classid in _downwards(wanted.classes, wanted.classes):
        cls, old = wanted.classes[classid], there.classes.get(classid)
        if old and old.parent != cls.parent:
            raise InputError(
                "classes", _tc.show_handle(classid),
                f"it is below {_place(there, old.parent)}, and HTB can't move it to "
                f"{_place(there, cls.parent)}",
                "Remove it first, by leaving it out of a run with purge: true",
            )  # fmt: skip
        if classid in parents:
            cls = replace(cls, leaf=None, prio=0, quantum=0)
        if old is None or _rates(old) != _rates(cls) or (cls.leaf and _share(old) != _share(cls)):
            steps.append(SetClass(classid, cls, old is None))
        if cls.leaf and not cls.leaf.fits(old.leaf if old else None):
            same = old is not None and old.leaf is not None and old.leaf.kind == cls.leaf.kind
            steps.append(SetLeaf(classid, cls.leaf, not same))
    return steps


def _place(tree: Tree, parent: int) -> str:
    return _tc.show_handle(tree.handle if parent == ROOT else parent)


def _rates(cls: Class) -> tuple[int, ...]:
    return cls.rate, cls.ceil, cls.burst, cls.cburst


def _share(cls: Class) -> tuple[int, ...]:
    return cls.prio, cls.quantum


def _downwards(classes: Mapping[int, Class], some: Iterable[int]) -> list[int]:
    """Some of the classes, each after its parent."""

    def depth(classid: int) -> int:
        parent = classes[classid].parent
        return 0 if parent == ROOT or parent not in classes else 1 + depth(parent)

    return sorted(some, key=lambda classid: (depth(classid), classid))


def removal(handle: int, found: Interface) -> list[Action]:
    """The steps until no tree of that handle is there, nor the mq that was made for it."""
    root = found.root
    if (root.kind, root.handle) == ("htb", handle):
        return [RemoveDiscipline(ROOT, "htb", handle)]
    first = found.below.get(MQ + 1)
    if (root.kind, root.handle) == ("mq", MQ) and first and first.handle in (0, handle):
        return [RemoveDiscipline(ROOT, "mq", MQ)]
    return []


def back(before: Interface, now: Interface) -> list[Action]:
    """The steps from what a run that failed has left to what was there before."""
    if now.root.handle != before.root.handle or now.root.kind != before.root.kind:
        return [RemoveDiscipline(ROOT, now.root.kind, now.root.handle)]
    steps: list[Action] = []
    places = {ROOT: before.root, **before.below}
    for place, standing in {ROOT: now.root, **now.below}.items():
        old = places.get(place, Standing("none"))
        if standing.tree and old.tree and old.handle == standing.handle:
            added = [each for each in standing.filters if each not in old.filters]
            steps += [RemoveFilter(old.handle, each) for each in added]
            steps += _classes(standing.tree, old.tree, True)
            named = places[MQ + 1].handle if place != ROOT else old.handle
            steps += [
                AddFilter(old.handle, each.classid, named | each.classid & 0xFFFF)
                for each in old.filters
                if each.preference == PREFERENCE and each not in standing.filters
            ]
            if standing.tree.cgroups != old.tree.cgroups:
                new = not standing.classifier
                steps.append(SetClassifier(old.handle, old.tree.cgroups, old.classifier, new))
        elif standing.tree:
            steps.append(RemoveDiscipline(place, standing.kind, standing.handle))
    return steps


def lost(before: Interface, now: Interface) -> list[dict[str, Any]]:
    """The filters that were there before and are not now. Those of others can't be made again."""
    there = [each for standing in (now.root, *now.below.values()) for each in standing.filters]
    return [
        _htb_steps.describe(RemoveFilter(standing.handle, each))
        for standing in (before.root, *before.below.values())
        for each in standing.filters
        if each not in there
    ]


def after(found: Interface, steps: Sequence[Action]) -> Interface:
    """What an interface will have after some steps, as far as that is known before."""
    for step in steps:
        found = _after(found, step)
    return found


def _after(found: Interface, step: Action) -> Interface:
    if isinstance(step, AddMq):
        own = {place: Standing("none") for place in places(step.queues)}
        return replace(found, root=Standing("mq", step.handle), below=own)
    if isinstance(step, RemoveDiscipline):
        return _put(found, step.parent, Standing("the kernel's own"))
    if isinstance(step, AddTree):
        tree = replace(step.tree, classes={})
        return _put(found, step.parent, Standing("htb", tree.handle, tree))
    if isinstance(step, (AddFilter, RemoveFilter, SetClassifier)):
        number = step.tree
    else:
        number = step.classid
    standings = {ROOT: found.root, **found.below}
    place = next(place for place, each in standings.items() if each.handle == number & 0xFFFF0000)
    standing = standings[place]
    if isinstance(step, AddFilter):
        return _put(found, place, replace(standing, filters=(*standing.filters, step.made)))
    if isinstance(step, RemoveFilter):
        filters = tuple(each for each in standing.filters if each != step.filter)
        return _put(found, place, replace(standing, filters=filters))
    tree = standing.tree or Tree(standing.handle)
    if isinstance(step, SetClassifier):
        tree = replace(tree, cgroups=step.cgroups)
        version = step.version if step.cgroups else ""
        return _put(found, place, replace(standing, tree=tree, classifier=version))
    classes = dict(tree.classes)
    if isinstance(step, RemoveClass):
        del classes[step.classid]
    elif isinstance(step, SetClass):
        old = classes.get(step.classid)
        classes[step.classid] = replace(step.cls, leaf=old.leaf if old else None)
        if step.cls.parent in classes:  # which takes no packets from now on
            parent = replace(classes[step.cls.parent], leaf=None, prio=0, quantum=0)
            classes[step.cls.parent] = parent
    else:
        old_leaf = None if step.new else classes[step.classid].leaf
        options = {**(old_leaf.options if old_leaf else {}), **step.leaf.options}
        leaf = Leaf(step.leaf.kind, options, old_leaf.handle if old_leaf else 0)
        classes[step.classid] = replace(classes[step.classid], leaf=leaf)
    return _put(found, place, replace(standing, tree=replace(tree, classes=classes)))


def _put(found: Interface, place: int, standing: Standing) -> Interface:
    if place == ROOT:
        return replace(found, root=standing, below={})
    return replace(found, below={**found.below, place: standing})
