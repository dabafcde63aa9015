# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""events: who was refused what is told once, at a bounded rate; everything is counted."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.acts import ACTS, EACH, POLICY
from tests.kernel.conftest import Group, apply, groups, info

pytestmark = pytest.mark.usefixtures("outside", "taken_before")
Make = Callable[..., Group]

EVERY = 0.1
"""Seconds between two events of one cgroup, control and CPU."""
HELD = 65536 // 72
"""How many events fit: each has a head of 8 bytes."""
MANY = 10


def events() -> Any:
    """What was told since it was last asked."""
    return info(events=True)["events"]


@pytest.fixture
def taken_before() -> None:
    """The events of other tests are gone."""
    info(events=True)


@pytest.fixture
def ours(group: Make) -> Group:
    return group("outside/ours", **POLICY)


def told_in(where: Group, work: Callable[[], Any]) -> tuple[int, list[dict[str, Any]]]:
    """The pid of a task that works in a cgroup, and what was told of it."""

    def both() -> int:
        work()
        return os.getpid()

    return where.run(both), events()


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("mode", ["enforce", "audit"])
def test_an_event_tells_who_was_refused_what(group: Make, name: str, mode: str) -> None:
    where = group("outside/ours", **POLICY, mode=mode)
    act = ACTS[name]
    before = datetime.now(timezone.utc)
    pid, found = told_in(where, act.work)
    after = datetime.now(timezone.utc)
    first = found[0]
    moment = datetime.fromisoformat(first.pop("time"))
    assert (before <= moment <= after, moment.tzinfo) == (True, timezone.utc)
    who = {"process": pid, "thread": pid, "command": Path("/proc/self/comm").read_text().strip()}
    assert first == {
        "cgroup": where.path,
        "control": act.control,
        **({} if act.told["call"] == "packet" else who),
        **act.told,
        "verdict": {"enforce": "refused", "audit": "audited"}[mode],
    }
    # A second of the same control and CPU is not told so soon, but by another CPU.
    assert {each["control"] for each in found[1:]} <= {act.control}


def test_they_are_gone_when_they_were_taken(ours: Group) -> None:
    ours.run(ACTS["mark"].work)
    assert [len(events()), len(events())] == [1, 0]


def test_in_check_mode_and_unasked_they_are_left(ours: Group) -> None:
    ours.run(ACTS["mark"].work)
    assert info(check=True, events=True)["events"] == []
    assert "events" not in info()
    assert len(events()) == 1


def test_a_thread_is_told_by_its_own_name(ours: Group) -> None:
    def work() -> None:
        def call() -> None:
            Path("/proc/thread-self/comm").write_bytes(b"odd \xff\n name")
            ACTS["mark"].work()

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    pid, (event,) = told_in(ours, work)
    assert (event["process"], event["thread"] > pid) == (pid, True)
    assert event["command"] == "odd \\xff\n name"


def test_the_rate_is_bounded_and_everything_is_counted(ours: Group) -> None:
    """By one CPU, so one event at once and one more after each interval."""
    calls = 3000

    def work() -> float:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        begin = time.monotonic()
        for _each in range(calls):
            ACTS["mark"].work()
        return time.monotonic() - begin

    took = ours.run(work)
    moments = [datetime.fromisoformat(event["time"]).timestamp() for event in events()]
    assert 1 <= len(moments) <= 1 + took / EVERY
    assert all(later - each >= EVERY * 0.999 for each, later in zip(moments, moments[1:]))
    assert info()["counters"][ours.path]["sockopts"]["refused"] == calls


def test_one_kind_does_not_silence_another(group: Make, ours: Group) -> None:
    other = group("outside/other", **POLICY)
    for where in (ours, other):
        where.run(lambda: [ACTS[name].work() for name in ("mark", "socket", "class")])
    found = {(event["cgroup"], event["control"]) for event in events()}
    assert found == {(w.path, c) for w in (ours, other) for c in ("sockopts", "ipv4", "tos")}


def test_they_come_in_the_order_of_time(group: Make) -> None:
    """Of two policies above each other, of which both refuse one call."""
    group("outside/above", **POLICY)
    below = group("outside/above/below", **POLICY)
    below.run(lambda: [ACTS[name].work() for name in ("socket", "mark", "class", "bind")])
    moments = [event["time"] for event in events()]
    assert (len(moments), moments) == (8, sorted(moments))


def test_what_does_not_fit_is_counted_and_later_events_fit_again(group: Make) -> None:
    paths = [f"outside/many{number}" for number in range(MANY)]
    made = [group(path) for path in paths]
    acts = {"sockopts": "mark", "tos": "class", "bind_ports": "bind"}
    apply([{"cgroup": path, **{control: POLICY[control] for control in acts}} for path in paths])

    rounds = HELD // (len(acts) * MANY) + 1

    def work() -> None:
        for _round in range(rounds):
            for name in acts.values():
                ACTS[name].work()
            time.sleep(EVERY)  # of what comes sooner nothing is told

    pids = [tasks.start(lambda where=where: where.run(work)) for where in made]
    assert [tasks.ended(pid) for pid in pids] == [0] * MANY
    assert len(events()) == HELD
    counters = info()["counters"]
    expected = {control: {"refused": rounds, "audited": 0} for control in acts}
    assert {path: counters[path] for path in paths} == dict.fromkeys(paths, expected)
    made[0].run(ACTS["mark"].work)
    assert [event["cgroup"] for event in events()] == [paths[0]]


def test_two_that_ask_at_once_share_them(group: Make) -> None:
    paths = [f"outside/many{number}" for number in range(20)]
    made = [group(path) for path in paths]
    apply([{"cgroup": path, "sockopts": POLICY["sockopts"]} for path in paths])
    for where in made:
        where.run(ACTS["mark"].work)
    pipes = [os.pipe(), os.pipe()]

    def ask(writer: int) -> None:
        with open(writer, "wb") as out:
            pickle.dump(events(), out)

    pids = [tasks.start(lambda writer=writer: ask(writer)) for _reader, writer in pipes]
    for _reader, writer in pipes:
        os.close(writer)
    found: list[str] = []
    for reader, _writer in pipes:
        with open(reader, "rb") as pipe:
            found += [event["cgroup"] for event in pickle.load(pipe)]
    assert [tasks.ended(pid) for pid in pids] == [0, 0]
    assert sorted(found) == sorted(paths)


def test_an_event_of_a_cgroup_that_went_has_its_id(group: Make) -> None:
    with groups() as make:
        gone = make("outside/gone", **POLICY)
        number = gone.id
        gone.run(ACTS["mark"].work)
    assert [event["cgroup"] for event in events()] == [f"id {number} (gone)"]
