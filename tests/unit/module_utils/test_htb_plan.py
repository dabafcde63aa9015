# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any tree that is declared, over any that is there: the steps lead to it, and touch no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _htb_plan, _htb_steps
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    HostError,
    InputError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._htb import (
    MQ,
    ROOT,
    Class,
    Leaf,
    Tree,
    inner,
)
from ansible_collections.linux.cgnet.plugins.module_utils._htb_steps import (
    Filter,
    Interface,
    Standing,
)
from hypothesis import assume, given
from hypothesis import strategies as st

HANDLE = 0x10000
OLD, NEW = "old", "new"
"""Versions of the filter by cgroup."""
LEAVES = [
    Leaf("fq_codel"),
    Leaf("fq_codel", {"limit": 5}),
    Leaf("pfifo", {"limit": 9}),
    Leaf("sfq"),
]


@st.composite
def trees(draw: st.DrawFn, declared: bool) -> Tree:
    """A tree; one that is there may have leaves of the kernel's own, which are None."""
    ids = draw(st.lists(st.integers(1, 9), unique=True, max_size=7, min_size=1 if declared else 0))
    classes: dict[int, Class] = {}
    for minor in ids:
        parent = draw(st.sampled_from([ROOT, *classes]))
        rate = draw(st.sampled_from([125, 2_500_000]))
        classes[HANDLE | minor] = Class(
            parent, rate, rate, 10, 20, draw(st.integers(0, 1)), draw(st.integers(1, 2)),
            draw(st.sampled_from(LEAVES if declared else [None, *LEAVES])),
        )  # fmt: skip
    parents = inner(classes)
    ends = [each for each in classes if each not in parents]
    cgroups = draw(st.dictionaries(st.integers(101, 104), st.sampled_from(ends))) if ends else {}
    return Tree(
        HANDLE, classes={
            each: replace(cls, leaf=None, prio=0, quantum=0) if each in parents else cls
            for each, cls in classes.items()
        }, cgroups=cgroups,
    )  # fmt: skip


def plan(
    wanted: Tree, found: Interface, per_queue: bool = False, purge: bool = False
) -> list[_htb_steps.Action]:
    return _htb_plan.plan(_htb_plan.Want(wanted, per_queue, purge, NEW), found)


def interface(*standing: Standing, queues: int = 1) -> Interface:
    root, *below = standing
    return Interface("eth0", 2, queues, root, {MQ + n + 1: each for n, each in enumerate(below)})


FREE = interface(Standing("fq_codel"))


@st.composite
def interfaces(draw: st.DrawFn) -> Interface:
    """One with a tree, filters and all, or with what the kernel puts there."""
    tree = draw(trees(False))
    filters = draw(
        st.lists(st.builds(Filter, st.just(5), st.just(3), st.just("u32"), st.integers(1, 3)))
    )
    classifier = draw(st.sampled_from([OLD, NEW])) if tree.cgroups else ""
    standing = Standing("htb", HANDLE, tree, tuple(filters), classifier)
    return draw(st.sampled_from([FREE, interface(standing)]))


def moved(wanted: Tree, found: Interface) -> bool:
    """Whether a class is declared below another one than it is."""
    there = found.root.tree.classes if found.root.tree else {}
    return any(there.get(each, cls).parent != cls.parent for each, cls in wanted.classes.items())


def tree_of(found: Interface) -> Tree:
    assert found.root.tree
    return found.root.tree


@given(trees(True), interfaces(), st.booleans())
def test_the_steps_lead_to_what_is_declared(wanted: Tree, found: Interface, purge: bool) -> None:
    assume(not moved(wanted, found))
    steps = plan(wanted, found, purge=purge)
    then = _htb_plan.after(found, steps)
    assert plan(wanted, then, purge=purge) == []
    now = tree_of(then).classes
    for classid, cls in wanted.classes.items():
        there = now[classid]
        assert (there.parent, there.rate, there.burst) == (cls.parent, cls.rate, cls.burst)
    said = tree_of(then).cgroups
    assert {each: said[each] for each in wanted.cgroups} == wanted.cgroups
    before = found.root.tree.cgroups if found.root.tree else {}
    stay = {} if purge else {k: v for k, v in before.items() if v not in wanted.classes}
    assert said == {**stay, **wanted.cgroups}
    assert then.root.classifier == (NEW if said else "")
    others = set(now) - set(wanted.classes)
    if purge:
        assert others == set()
        assert then.root.filters == ()
    elif found.root.tree:
        assert others == set(found.root.tree.classes) - set(wanted.classes)
        assert then.root.filters == found.root.filters
        for each in others - inner(now):
            assert now[each] == found.root.tree.classes[each]


@given(trees(True), interfaces())
def test_a_class_comes_after_its_parent_and_goes_before_it(wanted: Tree, found: Interface) -> None:
    assume(not moved(wanted, found))
    steps = plan(wanted, found, purge=True)
    there = set(found.root.tree.classes) if found.root.tree else set()
    classes = dict(found.root.tree.classes) if found.root.tree else {}
    for step in steps:
        if isinstance(step, _htb_steps.SetClass):
            assert step.new == (step.classid not in there)
            assert step.cls.parent in there | {ROOT}
            there.add(step.classid)
            classes[step.classid] = step.cls
        elif isinstance(step, _htb_steps.RemoveClass):
            there.remove(step.classid)
            del classes[step.classid]
            assert step.classid not in inner(classes)


@given(trees(True), interfaces(), st.integers(0, 30))
def test_what_a_run_that_fails_did_is_taken_back(wanted: Tree, found: Interface, done: int) -> None:
    assume(not moved(wanted, found))
    steps = plan(wanted, found)
    left = _htb_plan.after(found, steps[:done])
    then = _htb_plan.after(left, _htb_plan.back(found, left))
    if found.root.tree:
        assert _rates(tree_of(then)) == _rates(found.root.tree)
        assert tree_of(then).cgroups == found.root.tree.cgroups
        assert then.root.filters == found.root.filters
    else:
        assert then.root.tree is None


@given(trees(True), trees(True), st.integers(0, 40))
def test_what_a_run_over_queues_did_is_taken_back(old: Tree, wanted: Tree, done: int) -> None:
    """The filters that map priorities too."""
    free = interface(Standing("mq"), queues=2)
    found = _htb_plan.after(free, plan(old, free, True))
    assume(not any(
        old.classes.get(each, cls).parent != cls.parent for each, cls in wanted.classes.items()
    ))  # fmt: skip
    left = _htb_plan.after(found, plan(wanted, found, True, True)[:done])
    then = _htb_plan.after(left, _htb_plan.back(found, left))
    for place, standing in found.below.items():
        assert set(then.below[place].filters) == set(standing.filters)
        assert standing.tree
        now = then.below[place].tree
        assert now
        assert _rates(now) == _rates(standing.tree)
    assert _htb_plan.lost(found, then) == []


def test_a_filter_of_others_that_was_purged_is_lost_and_that_is_told() -> None:
    theirs = Filter(5, 3, "u32", 1)
    found = interface(replace(HTB, filters=(theirs,)))
    left = _htb_plan.after(found, plan(TREE, found, purge=True))
    assert _htb_plan.back(found, left) == []
    assert _htb_plan.lost(found, left) == [
        {"action": "remove", "filter": "u32", "preference": 5, "tree": "1:"}
    ]


def _rates(tree: Tree) -> dict[int, tuple[Any, ...]]:
    return {each: (cls.parent, cls.rate, cls.burst) for each, cls in tree.classes.items()}


@given(trees(True), st.integers(2, 4))
def test_each_queue_has_a_tree_of_another_handle(wanted: Tree, queues: int) -> None:
    found = interface(Standing("mq"), queues=queues)
    steps = plan(wanted, found, True, True)
    then = _htb_plan.after(found, steps)
    assert plan(wanted, then, True, True) == []
    handles = [then.below[MQ + n + 1].handle for n in range(queues)]
    assert handles == [HANDLE + (n << 16) for n in range(queues)]
    leaves = set(wanted.classes) - inner(wanted.classes)
    for number, handle in enumerate(handles):
        picked = {each.classid for each in then.below[MQ + number + 1].filters}
        assert picked == ({handle | each & 0xFFFF for each in leaves} if number else set())
    assert _htb_plan.removal(HANDLE, then) == [_htb_steps.RemoveDiscipline(ROOT, "mq", MQ)]


TREE = Tree(HANDLE, classes={HANDLE | 1: Class(ROOT, 125, 125, 1, 1, leaf=LEAVES[0])})
HTB = Standing("htb", HANDLE, TREE)


@pytest.mark.parametrize(
    "root",
    [Standing("fq", 0x70000), Standing("htb", 0x70000, Tree(0x70000)), Standing("mq", 0x70000)],
    ids=lambda root: root.kind,
)
@pytest.mark.parametrize("per_queue", [False, True])
def test_a_discipline_of_somebody_else_is_told_and_never_removed(
    root: Standing, per_queue: bool
) -> None:
    found = interface(root, queues=2)
    with pytest.raises(HostError, match=f"eth0 has the discipline {root.kind} 7:, which somebody"):
        plan(TREE, found, per_queue, True)
    assert _htb_plan.removal(HANDLE, found) == []


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        (interface(HTB), [_htb_steps.RemoveDiscipline(ROOT, "htb", HANDLE)]),
        (interface(Standing("mq", MQ), HTB), [_htb_steps.RemoveDiscipline(ROOT, "mq", MQ)]),
        (interface(Standing("mq", MQ), Standing("htb", 0x70000)), []),
        (interface(Standing("mq")), []),
        (FREE, []),
    ],
)
def test_what_is_removed(found: Interface, steps: list[Any]) -> None:
    assert _htb_plan.removal(HANDLE, found) == steps


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (replace(TREE, default=1), "default: '1:1' is not possible: eth0 has 0, and HTB can't"),
        (replace(TREE, r2q=5), "r2q: 5 is not possible: eth0 has 10, and HTB can't change that"),
    ],
)
def test_what_htb_cannot_change_is_told(other: Tree, says: str) -> None:
    with pytest.raises(CgnetError) as raised:
        plan(other, interface(HTB))
    assert str(raised.value).startswith(says)


@given(trees(True), st.data())
def test_a_class_that_is_declared_elsewhere_is_told(wanted: Tree, data: st.DataObject) -> None:
    picked = data.draw(st.sampled_from(sorted(wanted.classes)))
    cls, other = wanted.classes[picked], HANDLE | 0xF
    there = replace(cls, parent=other if cls.parent == ROOT else ROOT)
    classes = {**wanted.classes, other: Class(ROOT, 125, 125, 1, 1), picked: there}
    found = interface(Standing("htb", HANDLE, Tree(HANDLE, classes=classes)))
    with pytest.raises(InputError, match="HTB can't move it to"):
        plan(wanted, found, purge=True)


def test_a_filter_of_somebody_else_in_the_place_of_ours_is_told() -> None:
    theirs = (Filter(_htb_steps.BY_CGROUP, 3, "bpf", 1),)
    found = interface(replace(HTB, filters=theirs))
    assert plan(TREE, found) == []
    wanted = replace(TREE, cgroups={5: HANDLE | 1})
    with pytest.raises(HostError, match="eth0 has a filter of the preference 25448 at 1:, which"):
        plan(wanted, found)
    assert plan(wanted, found, purge=True) == [
        _htb_steps.RemoveFilter(HANDLE, theirs[0]),
        _htb_steps.SetClassifier(HANDLE, wanted.cgroups, NEW, True),
    ]


@pytest.mark.parametrize("handle", [0xFFFD0000, 0x63650000, MQ])
def test_each_queue_needs_a_handle(handle: int) -> None:
    found = interface(Standing("mq"), queues=3)
    with pytest.raises(InputError, match=r"^handle: '[0-9a-f]*:' is not possible: one from which"):
        plan(TREE.moved(handle), found, True)


def test_the_default_is_a_class() -> None:
    other = HANDLE | 2
    wanted = replace(TREE, default=2)
    with pytest.raises(InputError, match=r"^default: '1:2' is not possible: a class that is decl"):
        plan(wanted, FREE)
    found = interface(replace(HTB, tree=replace(
        wanted, classes={**TREE.classes, other: TREE.classes[HANDLE | 1]}
    )))  # fmt: skip
    assert plan(wanted, found) == []
    with pytest.raises(InputError, match=r"^default: '1:2' is not possible: a class that is decl"):
        plan(wanted, found, purge=True)


def test_one_queue_needs_no_tree_for_each() -> None:
    with pytest.raises(InputError, match="per_queue: True is not possible: eth0 has one"):
        plan(TREE, FREE, True)


def test_every_step_can_be_told() -> None:
    steps: list[_htb_steps.Action] = [
        _htb_steps.AddMq(MQ, 2), _htb_steps.AddTree(ROOT, TREE),
        _htb_steps.RemoveDiscipline(ROOT, "mq", MQ),
        _htb_steps.AddFilter(0x20000, 0x20010, 0x10010),
        _htb_steps.RemoveFilter(HANDLE, Filter(5, 3, "u32", 1)),
        *(_htb_steps.SetClassifier(HANDLE, said, NEW, new)
          for said, new in (({5: HANDLE | 1}, True), ({5: HANDLE | 1}, False), ({}, False))),
        _htb_steps.RemoveClass(0x10010), _htb_steps.SetClass(0x10010, TREE.classes[0x10001], True),
        _htb_steps.SetLeaf(0x10010, LEAVES[0], False),
    ]  # fmt: skip
    assert [_htb_steps.describe(step) for step in steps] == [
        {"action": "add", "discipline": "mq", "handle": "6367:"},
        {"action": "add", "discipline": "htb", "handle": "1:"},
        {"action": "remove", "discipline": "mq", "handle": "6367:"},
        {"action": "add", "filter": "basic", "priority": "1:10", "class": "2:10"},
        {"action": "remove", "filter": "u32", "preference": 5, "tree": "1:"},
        {"action": "add", "filter": "by cgroup", "tree": "1:"},
        {"action": "change", "filter": "by cgroup", "tree": "1:"},
        {"action": "remove", "filter": "by cgroup", "tree": "1:"},
        {"action": "remove", "class": "1:10"},
        {"action": "add", "class": "1:10"},
        {"action": "change", "leaf": "fq_codel", "class": "1:10"},
    ]
