# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_htb: what tc shows of it, what a second run does, what stays, what comes back."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    HostError,
    InputError,
    KernelError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._rtnetlink import Links

from tests.kernel import tasks
from tests.kernel.shaping import (
    CLASSES,
    classes,
    disciplines,
    dummy,
    everything,
    failing_at_the_end,
    htb,
    send,
    sent,
    tool,
)
from tests.kernel.steps import FIRST, STRIDE


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Iterator[str]:
    """An interface with as many queues as the parameter says."""
    with dummy(getattr(request, "param", 1)) as name:
        yield name


QUEUES = pytest.mark.parametrize("made", [2], indirect=True)
TREE = ["fq_codel  1:10", "fq_codel  1:20", "htb 1: root"]


def test_the_tree_is_as_tc_shows_it(made: str) -> None:
    assert htb(made)["changed"]
    assert disciplines(made) == TREE
    assert classes(made) == {
        "1:1": "root rate 100Mbit ceil 100Mbit burst 1600b cburst 1600b",
        "1:10": "parent 1:1 prio 1 rate 20Mbit ceil 100Mbit burst 1600b cburst 1600b",
        "1:20": "parent 1:1 prio 0 rate 5Mbit ceil 5Mbit burst 15Kb cburst 1600b",
    }


SAME: dict[str, dict[str, Any]] = {
    "the same": {},
    "a number of bits": {"classes": [{**CLASSES[0], "rate": 100_000_000}, *CLASSES[1:]]},
    "other units": {"classes": [*CLASSES[:2], {**CLASSES[2], "rate": "625kbps", "burst": "15360"}]},
    "fewer, in another order": {"classes": CLASSES[1:2] + CLASSES[:1]},
    "a minor number": {"default": ":20"},
    "purge": {"purge": True},
}


@pytest.mark.parametrize("same", SAME)
def test_a_second_run_changes_nothing(made: str, same: str) -> None:
    htb(made)
    there = everything(made)
    result = htb(made, **SAME[same])
    assert (result["changed"], result["actions"]) == (False, [])
    assert result["diff"]["before"] == result["diff"]["after"]
    assert everything(made) == there


def test_a_tree_that_tc_made_is_the_same(made: str) -> None:
    tool(f"tc qdisc add dev {made} root handle 1: htb default 20")
    tool(f"tc class add dev {made} parent 1: classid 1:1 htb rate 100mbit")
    tool(f"tc class add dev {made} parent 1:1 classid 1:10 htb rate 20mbit ceil 100mbit prio 1")
    tool(f"tc class add dev {made} parent 1:1 classid 1:20 htb rate 5mbit burst 15k quantum 3000")
    for leaf in ("1:10", "1:20"):
        tool(f"tc qdisc add dev {made} parent {leaf} fq_codel")
    assert not htb(made)["changed"]


def test_check_mode_changes_nothing_and_foretells_all(made: str) -> None:
    there = everything(made)
    foretold = htb(made, check=True)
    assert foretold["changed"]
    assert everything(made) == there
    done = htb(made)
    assert foretold["actions"] == done["actions"]
    assert foretold["diff"]["after"][made]["classes"].keys() == {"1:1", "1:10", "1:20"}
    for name in ("1:1", "1:10", "1:20"):
        kinds = [each["diff"]["after"][made]["classes"][name] for each in (foretold, done)]
        leaves = [each.pop("leaf", {}).get("kind") for each in kinds]
        assert kinds[0] == kinds[1]
        assert leaves[0] == leaves[1]


def test_a_rate_is_changed_in_place(made: str) -> None:
    htb(made)
    size = send(0x10010, 3)
    before = tool(f"tc qdisc show dev {made}")
    changed = [CLASSES[0], {**CLASSES[1], "rate": "30mbit"}, CLASSES[2]]
    assert htb(made, classes=changed)["actions"] == [{"action": "change", "class": "1:10"}]
    assert "rate 30Mbit" in classes(made)["1:10"]
    assert tool(f"tc qdisc show dev {made}") == before
    size += send(0x10010, 2)
    assert sent(made) == {"1:1": size, "1:10": size}


def test_a_leafs_option_is_changed_in_place_and_its_kind_is_not(made: str) -> None:
    htb(made)
    before = tool(f"tc qdisc show dev {made}").split("fq_codel ")[1].split()[0]
    limited = [
        *CLASSES[:2],
        {**CLASSES[2], "leaf": {"kind": "fq_codel", "limit": 77, "ecn": False}},
    ]
    assert htb(made, classes=limited)["changed"]
    assert "limit 77p" in tool(f"tc qdisc show dev {made}")
    assert before in tool(f"tc qdisc show dev {made}")
    assert not htb(made, classes=limited)["changed"]
    other = [*CLASSES[:2], {**CLASSES[2], "leaf": {"kind": "pfifo", "limit": 50}}]
    assert htb(made, classes=other)["changed"]
    assert disciplines(made) == ["fq_codel  1:10", "htb 1: root", "pfifo  1:20"]
    assert not htb(made, classes=other)["changed"]


@pytest.mark.parametrize("kind", ["fq", "sfq", "pfifo", "fq_codel"])
def test_every_kind_of_leaf(made: str, kind: str) -> None:
    chosen = [CLASSES[0], {**CLASSES[1], "leaf": {"kind": kind}}, CLASSES[2]]
    assert htb(made, classes=chosen)["changed"]
    assert f"{kind}  1:10" in disciplines(made)
    assert not htb(made, classes=chosen)["changed"]


def test_rates_of_more_than_32_bits(made: str) -> None:
    fast = [{"classid": "1:1", "rate": "100gbit", "ceil": "400gbit"}]
    assert htb(made, classes=fast, default=None)["changed"]
    assert "rate 100Gbit ceil 400Gbit" in classes(made)["1:1"]
    assert not htb(made, classes=fast, default=None)["changed"]


def test_what_is_not_declared_stays_unless_it_is_purged(made: str) -> None:
    htb(made)
    tool(f"tc class add dev {made} parent 1:1 classid 1:30 htb rate 1mbit")
    tool(f"tc class add dev {made} parent 1:30 classid 1:31 htb rate 1mbit")
    tool(f"tc filter add dev {made} parent 1: prio 5 protocol all basic classid 1:31")
    there = everything(made)
    assert not htb(made)["changed"]
    assert everything(made) == there
    assert htb(made, purge=True)["changed"]
    assert classes(made).keys() == {"1:1", "1:10", "1:20"}
    assert tool(f"tc filter show dev {made} parent 1:") == ""
    assert not htb(made, purge=True)["changed"]


def test_a_class_without_others_below_it_any_more_takes_packets(made: str) -> None:
    htb(made, default=None)
    assert htb(made, default=None, classes=CLASSES[:1], purge=True)["changed"]
    size = send(0x10001)
    assert sent(made) == {"1:1": size}
    assert disciplines(made) == ["fq_codel  1:1", "htb 1: root"]


NOT_POSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"default": "1:10"}, "default: '1:10' is not possible: {} has 1:20, and HTB can't change"),
    ({"classes": CLASSES[:2], "purge": True}, "default: '1:20' is not possible: a class that is"),
    ({"r2q": 5}, "r2q: 5 is not possible: {} has 10, and HTB can't change that in place"),
    ({"handle": "2:", "default": None, "classes": [{"classid": "2:1", "rate": "1mbit"}]},
     "{} has the discipline htb 1:, which somebody else put there"),
    ({"classes": [*CLASSES[:2], {"classid": "1:20", "rate": "5mbit"}]},
     "classes: '1:20' is not possible: it is below 1:1, and HTB can't move it to 1:"),
    ({"per_queue": True}, "per_queue: True is not possible: {} has one transmit queue"),
    ({"interface": "none0"}, "interface: 'none0' is not possible: this host has lo, "),
]  # fmt: skip


def test_what_is_not_possible_is_told_and_nothing_changed(made: str) -> None:
    htb(made)
    there = everything(made)
    for other, says in NOT_POSSIBLE:
        with pytest.raises(CgnetError) as raised:
            htb(**{"interface": made, **other})
        assert says.format(made) in str(raised.value)
    assert everything(made) == there


@pytest.mark.parametrize("name", ["", "a" * 300, "lo\0", "../lo", "ü"])
def test_what_is_no_interface_is_told(name: str) -> None:
    with pytest.raises(InputError, match=r"^interface: .* is not possible: this host has lo"):
        htb(name)


def test_an_interface_may_have_more_names(made: str) -> None:
    tool(f"ip link property add dev {made} altname other-uplink")
    assert htb("other-uplink")["diff"]["after"].keys() == {made}
    assert not htb(made)["changed"]


def test_a_discipline_of_somebody_else_stays(made: str) -> None:
    tool(f"tc qdisc add dev {made} root handle 7: pfifo limit 50")
    there = everything(made)
    with pytest.raises(HostError, match="has the discipline pfifo 7:, which somebody else put"):
        htb(made)
    assert not htb(made, state="absent", classes=None)["changed"]
    assert everything(made) == there


@pytest.mark.parametrize(
    ("made", "per_queue"),
    [(1, False), (2, False), (2, True)],
    indirect=["made"],
    ids=["one queue", "two queues", "a tree for each"],
)
def test_absent_returns_the_interface_to_what_it_had(made: str, per_queue: bool) -> None:
    there = everything(made)
    assert htb(made, per_queue=per_queue)["changed"]
    foretold = htb(made, state="absent", classes=None, check=True)
    assert foretold["changed"]
    assert everything(made) != there
    assert htb(made, state="absent", classes=None)["actions"] == foretold["actions"]
    assert everything(made) == there
    assert not htb(made, state="absent", classes=None)["changed"]


@pytest.mark.parametrize("step", range(1 + FIRST, 7, STRIDE))
@pytest.mark.parametrize("there", [True, False], ids=["an edit", "the first"])
def test_a_run_that_fails_is_taken_back(
    made: str, monkeypatch: pytest.MonkeyPatch, there: bool, step: int
) -> None:
    if there:
        htb(made)
    before = [disciplines(made), classes(made)]
    count = itertools.count(1)
    carry_out = Links.carry_out

    def failing(links: Links, index: int, action: Any, data: bytes) -> None:
        if next(count) == step:
            raise KernelError("rtnetlink", 5)
        carry_out(links, index, action, data)

    edited = [
        {**CLASSES[0], "rate": "200mbit"},
        {**CLASSES[1], "leaf": {"kind": "pfifo"}},
        {**CLASSES[2], "rate": "6mbit", "leaf": {"kind": "sfq"}},
        {"classid": "1:30", "parent": "1:1", "rate": "1mbit"},
    ]
    assert len(htb(made, classes=edited, check=True)["actions"]) >= 6
    with monkeypatch.context() as patched:
        patched.setattr(Links, "carry_out", failing)
        with pytest.raises(KernelError, match=f" {made} was returned to what it was.$"):
            htb(made, classes=edited)
    assert [disciplines(made), classes(made)] == before


@QUEUES
def test_a_run_that_fails_below_mq_takes_its_filters_back(made: str) -> None:
    htb(made, per_queue=True)
    before = everything(made)
    more = [*CLASSES, {"classid": "1:30", "parent": "1:1", "rate": "1mbit"}]
    with (
        failing_at_the_end(),
        pytest.raises(KernelError, match=f" {made} was returned to what it was.$"),
    ):
        htb(made, per_queue=True, classes=more)
    assert everything(made) == before


def test_a_filter_that_a_run_which_fails_has_purged_is_told(made: str) -> None:
    htb(made)
    tool(f"tc filter add dev {made} parent 1: prio 5 protocol all basic classid 1:20")
    with (
        failing_at_the_end(),
        pytest.raises(KernelError, match="could not be returned to what it was: no longer"),
    ):
        htb(made, purge=True)


def killed(step: int, work: Callable[[], object]) -> bool:
    """Whether `work` came to its step'th change, before which its task is killed."""
    count, carry_out = itertools.count(1), Links.carry_out

    def dying(links: Links, index: int, action: Any, data: bytes) -> None:
        if next(count) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        carry_out(links, index, action, data)

    def task() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Links, "carry_out", dying)
            work()

    status = tasks.ended(tasks.start(task))
    assert status in (0, -signal.SIGKILL)
    return status != 0


@QUEUES
@pytest.mark.parametrize("per_queue", [False, True], ids=["one tree", "a tree for each queue"])
def test_a_run_that_is_killed_is_finished_by_the_same_or_undone(made: str, per_queue: bool) -> None:
    there = everything(made)
    for step in itertools.count(1 + FIRST, STRIDE):
        came = killed(step, lambda: htb(made, per_queue=per_queue))
        htb(made, state="absent", classes=None)
        assert everything(made) == there, step
        if not came:
            break
        assert killed(step, lambda: htb(made, per_queue=per_queue))
        assert htb(made, per_queue=per_queue)["changed"]
        assert not htb(made, per_queue=per_queue)["changed"], step
        htb(made, state="absent", classes=None)
    assert step > 5


def test_of_two_runs_at_once_one_is_the_last(made: str) -> None:
    other = [CLASSES[0], {**CLASSES[1], "rate": "30mbit"}, CLASSES[2]]
    for _round in range(3):
        pids = [tasks.start(lambda each=each: htb(made, classes=each)) for each in (CLASSES, other)]
        assert [tasks.ended(pid) for pid in pids] == [0, 0]
        left = [htb(made, classes=each, check=True)["changed"] for each in (CLASSES, other)]
        assert sorted(left) == [False, True]
        htb(made, state="absent", classes=None)


# A tree for each queue


@QUEUES
def test_each_queue_has_a_tree(made: str) -> None:
    assert htb(made, per_queue=True)["changed"]
    assert disciplines(made) == [
        "fq_codel  1:10", "fq_codel  1:20", "fq_codel  2:10", "fq_codel  2:20",
        "htb 1: 6367:1", "htb 2: 6367:2", "mq 6367: root",
    ]  # fmt: skip
    assert classes(made)["2:10"] == classes(made)["1:10"].replace("parent 1:1", "parent 2:1")
    there = everything(made)
    result = htb(made, per_queue=True, purge=True)
    assert (result["changed"], result["actions"]) == (False, [])
    assert everything(made) == there


@QUEUES
def test_a_priority_means_the_class_of_whichever_queue(made: str) -> None:
    htb(made, per_queue=True)
    sizes = [0, 0]
    for queue in (0, 1):
        tool(f"tc qdisc add dev {made} clsact")
        tool(
            f"tc filter add dev {made} egress protocol all matchall "
            f"action skbedit queue_mapping {queue}"
        )
        sizes[queue] = send(0x10010, 2)
        tool(f"tc qdisc del dev {made} clsact")
    assert sent(made) == {"1:1": sizes[0], "1:10": sizes[0], "2:1": sizes[1], "2:10": sizes[1]}
