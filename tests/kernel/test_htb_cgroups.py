# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_htb: classes by the sender's cgroup, which need no priority; what cgnet_info tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    HostError,
    InputError,
    KernelError,
)

from tests.kernel.conftest import Group, info
from tests.kernel.seen import ids
from tests.kernel.shaping import (
    CLASSES,
    dummy,
    everything,
    failing_at_the_end,
    htb,
    send,
    sent,
    tool,
)
from tests.kernel.tasks import eventually

Make = Callable[..., Group]


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Iterator[str]:
    """An interface with as many queues as the parameter says."""
    with dummy(getattr(request, "param", 1)) as name:
        yield name


def named(first: list[str], second: list[str]) -> list[dict[str, Any]]:
    """CLASSES with cgroups."""
    return [CLASSES[0], {**CLASSES[1], "cgroups": first}, {**CLASSES[2], "cgroups": second}]


DEFAULT = {**CLASSES[2], "classid": "1:99"}


def shape(interface: str, first: list[str], second: list[str], **given: Any) -> dict[str, Any]:
    """A tree of three classes whose third one has what no cgroup's is."""
    return htb(interface, classes=[*named(first, second), DEFAULT], default="1:99", **given)


def leaves(interface: str) -> dict[str, int]:
    """The bytes of each class without others below it."""
    return {name: count for name, count in sent(interface).items() if not name.endswith(":1")}


def test_a_cgroups_packets_go_into_its_class(made: str, group: Make) -> None:
    ours, below, theirs = group("ours"), group("ours/below"), group("theirs")
    other = group("other")
    assert shape(made, ["ours"], ["theirs"])["changed"]
    size = ours.run(lambda: send(0, 2)) + below.run(lambda: send(5))
    assert leaves(made) == {"1:10": size}
    more = theirs.run(lambda: send(0))
    assert leaves(made) == {"1:10": size, "1:20": more}
    rest = other.run(lambda: send(0)) + send(0)
    assert leaves(made) == {"1:10": size, "1:20": more, "1:99": rest}


def test_the_nearest_cgroup_decides_and_a_priority_goes_first(made: str, group: Make) -> None:
    ours, below = group("ours"), group("ours/below")
    shape(made, ["ours"], ["ours/below"])
    first, second = ours.run(lambda: send(0)), below.run(lambda: send(0))
    first += below.run(lambda: send(0x10010))
    assert leaves(made) == {"1:10": first, "1:20": second}


def test_a_second_run_changes_nothing_and_check_mode_neither(made: str, group: Make) -> None:
    group("ours")
    before = everything(made), ids("prog")
    foretold = shape(made, ["ours"], [], check=True)
    assert (everything(made), ids("prog")) == before
    done = shape(made, ["ours"], [])
    assert foretold["actions"] == done["actions"]
    assert done["diff"]["after"][made]["classes"]["1:10"]["cgroups"] == ["ours"]
    there = everything(made), ids("prog"), ids("map")
    again = shape(made, ["/sys/fs/cgroup/ours"], [])
    assert (again["changed"], again["actions"]) == (False, [])
    assert (everything(made), ids("prog"), ids("map")) == there


def test_nothing_is_loaded_where_no_class_has_cgroups(made: str) -> None:
    before = ids("prog")
    assert htb(made, _object_path=None)["changed"]
    assert ids("prog") == before


def test_the_object_is_asked_for_once_it_is_needed(made: str, group: Make) -> None:
    group("ours")
    before = everything(made)
    assert shape(made, ["ours"], [], _object_path=None) == {"changed": False, "object_needed": True}
    assert everything(made) == before
    shape(made, ["ours"], [])
    assert not shape(made, ["ours"], [], _object_path=None)["changed"]


def test_a_cgroup_gets_another_class(made: str, group: Make) -> None:
    ours = group("ours")
    shape(made, ["ours"], [])
    first = ours.run(lambda: send(0))
    assert shape(made, [], ["ours"])["actions"] == [
        {"action": "change", "filter": "by cgroup", "tree": "1:"}
    ]
    second = ours.run(lambda: send(0))
    assert leaves(made) == {"1:10": first, "1:20": second}
    assert shape(made, [], [])["actions"] == [
        {"action": "remove", "filter": "by cgroup", "tree": "1:"}
    ]
    assert tool(f"tc filter show dev {made} parent 1:") == ""
    rest = ours.run(lambda: send(0))
    assert leaves(made) == {"1:10": first, "1:20": second, "1:99": rest}


def test_what_is_said_of_a_class_that_is_not_declared_stays_unless_it_is_purged(
    made: str, group: Make
) -> None:
    theirs = group("theirs")
    group("ours")
    shape(made, ["ours"], ["theirs"])
    fewer = [each for each in named(["ours"], []) if each["classid"] != "1:20"]
    assert not htb(made, classes=[*fewer, DEFAULT], default="1:99")["changed"]
    none = [each for each in named([], []) if each["classid"] != "1:20"]
    assert htb(made, classes=[*none, DEFAULT], default="1:99")["changed"]
    size = theirs.run(lambda: send(0))
    assert leaves(made) == {"1:20": size}
    assert htb(made, classes=[*none, DEFAULT], default="1:99", purge=True)["changed"]
    size = theirs.run(lambda: send(0))
    assert leaves(made) == {"1:99": size}


def test_a_cgroup_that_was_made_anew_is_another(made: str, group: Make) -> None:
    first = group("ours")
    shape(made, ["ours"], [])
    assert eventually(first.remove, True)
    with pytest.raises(InputError, match=r"^classes\[1\].cgroups\[0\]: 'ours' is not possible"):
        shape(made, ["ours"], [])
    second = group("ours")
    assert shape(made, ["ours"], [])["changed"]
    size = second.run(lambda: send(0))
    assert leaves(made) == {"1:10": size}


def test_absent_takes_the_program_along(made: str, group: Make) -> None:
    group("ours")
    before = everything(made), ids("prog"), ids("map")
    shape(made, ["ours"], [])
    assert htb(made, state="absent", classes=None)["changed"]
    assert everything(made) == before[0]
    assert eventually(lambda: (ids("prog"), ids("map")), before[1:]) == before[1:]


@pytest.mark.parametrize("made", [2], indirect=True)
def test_each_queue_has_a_filter_for_its_own_classes(made: str, group: Make) -> None:
    ours = group("ours")
    assert shape(made, ["ours"], [], per_queue=True)["changed"]
    assert not shape(made, ["ours"], [], per_queue=True)["changed"]
    size = ours.run(lambda: send(0, 3))
    assert sum(leaves(made).values()) == size
    assert leaves(made).keys() <= {"1:10", "2:10"}
    assert info(classes=True)["classes"]["ours"][made].keys() == {"1:10", "2:10"}


def test_a_filter_of_somebody_else_stays(made: str, group: Make) -> None:
    group("ours")
    shape(made, [], [])
    line = f"tc filter add dev {made} parent 1: prio 25448 protocol all basic classid 1:20"
    tool(line)
    there = everything(made)
    with pytest.raises(HostError, match="has a filter of the preference 25448 at 1:, which"):
        shape(made, ["ours"], [])
    assert everything(made) == there


def test_a_run_that_fails_takes_the_filter_back(made: str, group: Make) -> None:
    ours = group("ours")
    shape(made, ["ours"], [])
    with (
        failing_at_the_end(),
        pytest.raises(KernelError, match=f"{made} was returned to what it was.$"),
    ):
        shape(made, [], ["ours"])
    size = ours.run(lambda: send(0))
    assert leaves(made) == {"1:10": size}


def test_info_tells_each_cgroups_class_and_what_it_has_sent(made: str, group: Make) -> None:
    by_priority, by_cgroup = group("ours", priority="1:10"), group("theirs")
    group("nowhere", priority="7:7")
    group("watched", priority="1:10", mode="audit")
    shape(made, [], ["theirs"])
    sizes = by_priority.run(lambda: send(None, 2)), by_cgroup.run(lambda: send(None))
    sent(made)  # none waits
    told = info(classes=True)["classes"]
    assert told.keys() == {"ours", "theirs", "nowhere"}
    assert told["nowhere"] == {}
    for path, classid, size, count in (
        ("ours", "1:10", sizes[0], 2),
        ("theirs", "1:20", sizes[1], 1),
    ):
        assert told[path][made][classid].items() >= {
            "bytes": size, "packets": count, "dropped": 0, "backlog": 0,
        }.items()  # fmt: skip
    assert "classes" not in info()
