# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared becomes a tree, or one clear error."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _htb, _tc
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from ansible_collections.linux.cgnet.plugins.module_utils._htb import ROOT, Class, Leaf

CGROUPS = {"a.slice": 101, "b.slice": 102}
ROOT_CLASS = {"classid": "1:1", "rate": "100mbit"}


def parse(*classes: dict[str, Any], **given: Any) -> _htb.Tree:
    params = {"handle": "1:", "default": None, "r2q": 10, "classes": list(classes), **given}
    return _htb.parse(params, lambda name, at: CGROUPS[name])


def test_what_is_not_given_is_as_with_tc() -> None:
    (cls,) = parse({"classid": "1:10", "rate": "20mbit"}).classes.values()
    burst = _tc.ticks(1600, 2_500_000)
    assert cls == Class(
        ROOT, rate=2_500_000, ceil=2_500_000, burst=burst, cburst=burst, prio=0, quantum=200_000,
        leaf=Leaf("fq_codel"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "r2q", "quantum"),
    [("1mbit", 10, 12_500), ("8kbit", 10, 1000), ("1gbit", 10, 200_000), ("1gbit", 1000, 125_000)],
)
def test_a_quantum_that_is_not_given_is_what_the_kernel_computes(
    rate: str, r2q: int, quantum: int
) -> None:
    (cls,) = parse({"classid": "1:10", "rate": rate}, r2q=r2q).classes.values()
    assert cls.quantum == quantum


def test_a_class_with_others_below_it_has_no_leaf_and_no_turn() -> None:
    tree = parse({**ROOT_CLASS, "prio": 3}, {"classid": "1:10", "parent": "1:1", "rate": "1mbit"})
    outer, inner = tree.classes[0x10001], tree.classes[0x10010]
    assert (outer.leaf, outer.prio, outer.quantum) == (None, 0, 0)
    assert (inner.leaf, inner.parent) == (Leaf("fq_codel"), 0x10001)


def test_another_handle() -> None:
    tree = parse({"classid": "2a:10", "rate": "1mbit"}, handle="2a:", default=":10")
    assert (tree.handle, tree.default, list(tree.classes)) == (0x2A0000, 0x10, [0x2A0010])
    moved = parse(ROOT_CLASS, {"classid": ":2", "parent": ":1", "rate": 8}).moved(0x30000)
    assert {key: cls.parent for key, cls in moved.classes.items()} == {
        0x30001: ROOT,
        0x30002: 0x30001,
    }


BELOW = {"classid": "1:10", "parent": "1:1", "rate": "1mbit"}


@pytest.mark.parametrize(
    ("classes", "given", "says"),
    [
        ([ROOT_CLASS, ROOT_CLASS], {}, "classes[1].classid: '1:1' is not possible: it is"),
        ([{**ROOT_CLASS, "parent": "1:1"}], {}, "classes[0].parent: '1:1' is not possible: it is"),
        ([BELOW], {}, "classes[0].parent: '1:1' is not possible: it is a class"),
        ([ROOT_CLASS, {**BELOW, "parent": "2:1"}], {}, "classes[1].parent: '2:1' is not"),
        ([{**ROOT_CLASS, "ceil": "9bit"}], {}, "classes[0].ceil: '9bit' is not possible: at least"),
        ([{**ROOT_CLASS, "prio": 8}], {}, "classes[0].prio: 8 is not possible: a whole number"),
        ([{**ROOT_CLASS, "classid": 61}], {}, "classes[0].classid: 61 is not possible: major"),
        ([{**ROOT_CLASS, "quantum": "x"}], {}, "classes[0].quantum: 'x' is not possible: a number"),
        ([{**ROOT_CLASS, "leaf": {"kind": "sfq", "limit": 5}}], {},
         "classes[0].leaf.limit: 5 is not possible: options of sfq are none"),
        ([{**ROOT_CLASS, "leaf": {"kind": "pfifo", "target": 5}}], {},
         "classes[0].leaf.target: 5 is not possible: options of pfifo are limit"),
        ([{**ROOT_CLASS, "leaf": {"kind": "pfifo"}}, BELOW], {},
         "classes[0].leaf: {'kind': 'pfifo'} is not possible: a class with others below it"),
        ([ROOT_CLASS, BELOW], {"default": "1:1"}, "default: '1:1' is not possible: a class with"),
        ([ROOT_CLASS], {"default": "20"}, "default: '20' is not possible: major:minor"),
        ([ROOT_CLASS], {"handle": "1:1"}, "handle: '1:1' is not possible: a hexadecimal number"),
        ([{**ROOT_CLASS, "cgroups": ["a.slice"]}, BELOW], {},
         "classes[0].cgroups: ['a.slice'] is not possible: a class with others below it takes no"),
        ([{**ROOT_CLASS, "cgroups": ["a.slice"]},
          {"classid": "1:2", "rate": 8, "cgroups": ["b.slice", "a.slice"]}], {},
         "classes[1].cgroups[1]: 'a.slice' is not possible: a cgroup has one class"),
        ([ROOT_CLASS], {"r2q": 0}, "r2q: 0 is not possible: a whole number from 1"),
        ([{"classid": f"1:{n}", "rate": 8, **({"parent": f"1:{n - 1}"} if n > 1 else {})}
          for n in range(1, 10)], {}, "classes[8].parent: '1:8' is not possible: HTB has at most"),
    ],
)  # fmt: skip
def test_what_is_not_possible_is_told(
    classes: list[dict[str, Any]], given: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError) as raised:
        parse(*classes, **given)
    assert str(raised.value).startswith(says)


def test_a_tree_is_shown_with_the_units_of_tc() -> None:
    tree = parse(
        {**ROOT_CLASS, "ceil": "1gbit"},
        {**BELOW, "burst": "15k", "leaf": {"kind": "pfifo", "limit": 50}},
        default="1:10",
    )
    assert _htb.shown(tree, {}) == {
        "handle": "1:",
        "r2q": 10,
        "default": "1:10",
        "classes": {
            "1:1": {"rate": "100Mbit", "ceil": "1Gbit", "burst": "1600b", "cburst": "1600b"},
            "1:10": {
                "parent": "1:1", "rate": "1Mbit", "ceil": "1Mbit", "burst": "15Kb",
                "cburst": "1600b", "prio": 0, "quantum": "12500b",
                "leaf": {"kind": "pfifo", "limit": 50},
            },
        },
    }  # fmt: skip


def test_the_cgroups_of_a_class_are_shown_by_their_paths() -> None:
    tree = parse({**ROOT_CLASS, "cgroups": ["a.slice", "b.slice"]})
    assert tree.cgroups == {101: 0x10001, 102: 0x10001}
    assert tree.moved(0x20000).cgroups == {101: 0x20001, 102: 0x20001}
    shown = _htb.shown(tree, {101: "a.slice"})["classes"]["1:1"]
    assert shown["cgroups"] == ["a.slice", "id 102"]


def test_a_leaf_fits_what_the_kernel_made_of_it() -> None:
    """5 ms are read back as 4999 µs; an option that is not declared may be anything."""
    found = Leaf("fq_codel", {"target": 4999, "limit": 10240, "ecn": 1}, 0x80010000)
    assert Leaf("fq_codel").fits(found)
    assert Leaf("fq_codel", {"target": 5000}).fits(found)
    assert Leaf("fq_codel", {"target": 5002, "limit": 1}).differing(found) == {
        "target": 5002,
        "limit": 1,
    }
    assert not Leaf("fq").fits(found)
    assert not Leaf("fq_codel").fits(None)
