# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""retrofit: the sockets that a cgroup's tasks hold already get the declared priority."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, info
from tests.kernel.flows import FLOWS
from tests.kernel.held import OTHER, OURS, PATH, given, held_by, retrofit, udp
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import V4, made_in
from tests.kernel.tasks import priority, set_priority, watching
from tests.kernel.test_netns import elsewhere
from tests.kernel.test_priority import supported
from tests.shown import IN_HOST

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]


@pytest.fixture
def ours(group: Make) -> Group:
    """A cgroup without a policy."""
    return group(PATH)


def test_sockets_of_every_family_get_it_and_a_second_run_finds_nothing(ours: Group) -> None:
    families = supported()
    for at in range(0, len(families), 8):
        batch = families[at : at + 8]
        socks = made_in(ours, lambda batch=batch: [socket.socket(*each) for each in batch])
        with contextlib.ExitStack() as stack:
            for sock in socks:
                stack.enter_context(sock)
            with held_by(ours):
                apply([{"cgroup": PATH, "priority": OURS}])
                assert [priority(sock) for sock in socks] == [0] * len(batch)
                result = retrofit()
                assert [step["action"] for step in result["actions"]] == ["retrofit"]
                assert given(result) == len(batch)
                assert [priority(sock) for sock in socks] == [OURS] * len(batch)
                again = retrofit()
                assert (again["changed"], again["warnings"]) == (False, [])
        apply([{"cgroup": PATH, "state": "absent"}])


def test_a_first_run_gives_it_last_and_tells(ours: Group) -> None:
    (sock,) = made_in(ours, udp)
    with sock, held_by(ours):
        result = retrofit()
        assert [step["action"] for step in result["actions"]][-1] == "retrofit"
        assert result["actions"][-1].items() >= {
            "cgroup": PATH, "priority": "1:10", "sockets": 1
        }.items()  # fmt: skip
        shown = {"priority": "1:10", **IN_HOST}
        assert result["diff"] == {
            "before": {PATH: {"sockets without the priority": 1}},
            "after": {PATH: shown},
        }
        assert priority(sock) == OURS
        told = info()["policies"][PATH]
        assert told == {**shown, "version": told["version"]}
        assert not retrofit()["changed"]


def test_without_it_nothing_is_given(ours: Group) -> None:
    (sock,) = made_in(ours, udp)
    with sock, held_by(ours):
        assert given(retrofit(retrofit=False)) == 0
        assert (priority(sock), retrofit(retrofit=False)["changed"]) == (0, False)


@pytest.mark.parametrize("flow", ["TCP, IPv4", "TCP, IPv6", "MPTCP, IPv4", "SCTP, IPv4"])
def test_a_conversation_goes_on_with_it(ours: Group, left: Taken, flow: str) -> None:
    """Both ends are a task's of the cgroup, which talks before the policy and after it."""
    go, done = os.pipe(), os.pipe()

    def task() -> None:
        tasks.enter(ours.procs)
        with FLOWS[flow][0]() as send:
            send()
            for step in range(2):
                os.write(done[1], b"x")
                os.read(go[0], 1)
                if not step:
                    send()

    pid = tasks.start(task)
    os.read(done[0], 1)
    assert set(priorities(left())) == {0}
    result = retrofit()
    assert given(result) == 3  # the listener and both ends
    left()
    os.write(go[1], b"x")
    os.read(done[0], 1)
    assert set(priorities(left())) == {OURS}
    again = retrofit()
    os.write(go[1], b"x")
    assert tasks.ended(pid) == 0
    assert not again["changed"]
    for fd in (*go, *done):
        os.close(fd)


def test_a_connection_that_waits_to_be_accepted_has_it_then(ours: Group) -> None:
    def listen() -> list[socket.socket]:
        listener = socket.socket()
        listener.bind((V4, 0))
        listener.listen()
        return [listener]

    (listener,) = made_in(ours, listen)
    with listener, socket.socket() as client:
        client.connect(listener.getsockname())
        with held_by(ours, client):
            assert given(retrofit()) == 1

            def accept() -> int:
                connection, _peer = listener.accept()
                with connection:
                    return priority(connection)

            assert (ours.run(accept), priority(listener), priority(client)) == (OURS, OURS, 0)


# Network namespaces


@pytest.mark.parametrize(("netns", "expected"), [("host", [OURS, 0]), ("any", [OURS, OURS])])
def test_only_sockets_of_the_namespace_that_is_governed(
    ours: Group, netns: str, expected: list[int]
) -> None:
    def make() -> list[socket.socket]:
        here = udp()
        elsewhere()
        return here + udp()

    socks = made_in(ours, make)
    with socks[0], socks[1], held_by(ours):
        assert given(retrofit(netns=netns)) == len(expected) - expected.count(0)
        assert [priority(sock) for sock in socks] == expected
        again = retrofit(netns=netns)
        assert (again["changed"], again["warnings"]) == (False, [])


# The run


def test_check_mode_counts_and_changes_nothing(ours: Group) -> None:
    (sock,) = made_in(ours, udp)
    with sock, held_by(ours):
        assert (given(retrofit(check=True)), priority(sock)) == (1, 0)
        apply([{"cgroup": PATH, "priority": OURS}])
        result = retrofit(check=True)
        assert (result["changed"], given(result), priority(sock)) == (True, 1, 0)
        shown = {"priority": "1:10", **IN_HOST}
        assert result["diff"] == {
            "before": {PATH: {**shown, "sockets without the priority": 1}},
            "after": {PATH: shown},
        }


@pytest.mark.parametrize("where", ["ours", "other"])
def test_a_run_in_a_cgroup_with_a_policy_gives_it_and_keeps_its_own_sockets(
    ours: Group, group: Make, where: str
) -> None:
    other = group("outside/other", priority=OTHER)
    apply([{"cgroup": PATH, "priority": OURS}])
    module = {"ours": ours, "other": other}[where]
    sock, own = udp()[0], udp()[0]

    def run() -> tuple[Any, ...]:
        sock.close()
        with open("/proc/self/cgroup", encoding="ascii") as lines:
            before = lines.read()
        checked, result = retrofit(check=True), retrofit()
        with open("/proc/self/cgroup", encoding="ascii") as lines:
            assert lines.read() == before == f"0::/{module.path}\n"
        return given(checked), given(result), retrofit()["changed"], priority(own)

    with sock, own, held_by(ours, own):
        assert module.run(run) == (1, 1, False, 0)
        assert (priority(sock), priority(own)) == (OURS, 0)


def test_processes_and_sockets_that_come_and_go_are_no_obstacle(ours: Group) -> None:
    def work() -> int:
        return tasks.inside(ours.procs, lambda: [sock.close() for sock in udp()] == [None])

    (sock,) = made_in(ours, udp)
    with sock, held_by(ours), watching(ours.procs, work) as watch:
        for _time in range(3):
            watch.look()
            retrofit()
            assert priority(sock) == OURS
            apply([{"cgroup": PATH, "state": "absent"}])
            set_priority(sock, 0)
    assert watch.seen == [True]
