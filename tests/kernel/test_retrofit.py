# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""retrofit: the sockets that a cgroup's tasks hold already get the declared priority.

A task that is started here holds what this process holds, and closes what it is not to have.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, info
from tests.kernel.flows import FLOWS
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import V4, made_in
from tests.kernel.tasks import outcome, priority, release, set_priority, watching
from tests.kernel.test_netns import elsewhere
from tests.kernel.test_priority import supported
from tests.kernel.test_raw_xmit_rings import CLONE_FILES, holding

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]

OURS, OTHER = 0x10010, 6
PATH = "outside/ours"


@pytest.fixture
def ours(group: Make) -> Group:
    """A cgroup without a policy."""
    return group(PATH)


def retrofit(path: str = PATH, **more: Any) -> dict[str, Any]:
    """Declare that what is held already gets the priority."""
    check = more.pop("check", False)
    policy = {"cgroup": path, "priority": OURS, "retrofit": True, **more}
    return apply([policy], check=check)


def given(result: dict[str, Any]) -> int:
    """How many sockets a result tells of."""
    steps = [step for step in result["actions"] if step["action"] == "retrofit"]
    assert len(steps) <= 1
    return sum(step["sockets"] for step in steps)


def udp() -> list[socket.socket]:
    """One socket."""
    return [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]


@contextlib.contextmanager
def held_by(where: Group, *but: socket.socket) -> Iterator[int]:
    """A task of a cgroup that holds what this process does, but for some."""

    def close() -> None:
        for sock in but:
            sock.close()

    with holding(where, close) as pid:
        yield pid


# Which sockets


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
        shown = {"priority": "1:10", "netns": "host"}
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
        with open(ours.procs, "w", encoding="ascii") as procs:
            procs.write("0")
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


# Whose sockets


def test_every_task_of_the_cgroup_and_below_but_for_a_nearer_priority(
    ours: Group, group: Make
) -> None:
    below, nearer = group(f"{PATH}/below"), group(f"{PATH}/nearer", priority=OTHER)
    deep, outer = group(f"{PATH}/nearer/deep"), group("outside/other")
    places = (ours, ours, below, nearer, deep, outer)
    socks = [udp()[0] for _place in places]
    with contextlib.ExitStack() as stack:
        for place, sock in zip(places, socks):
            stack.enter_context(sock)
            stack.enter_context(held_by(place, *(other for other in socks if other is not sock)))
        assert given(retrofit()) == 3
        assert [priority(sock) for sock in socks] == [OURS] * 3 + [0] * 3
        result = apply([
            {"cgroup": path, "priority": value, "retrofit": True}
            for path, value in ((PATH, OURS), (nearer.path, OTHER))
        ])  # fmt: skip
        assert given(result) == 2
        assert [priority(sock) for sock in socks] == [OURS] * 3 + [OTHER] * 2 + [0]
        assert apply([{"cgroup": nearer.path, "state": "absent"}])["changed"]
        assert given(retrofit()) == 2
        assert [priority(sock) for sock in socks] == [OURS] * 5 + [0]


def test_a_nearer_priority_that_goes_in_the_same_run_is_none(ours: Group, group: Make) -> None:
    nearer = group(f"{PATH}/nearer", priority=OTHER)
    (sock,) = made_in(nearer, udp)
    with sock, held_by(nearer):
        assert priority(sock) == OTHER
        policies = [
            {"cgroup": PATH, "priority": OURS, "retrofit": True},
            {"cgroup": nearer.path, "state": "absent"},
        ]
        assert given(apply(policies)) == 1
        assert (priority(sock), apply(policies)["changed"]) == (OURS, False)


def test_a_socket_that_several_processes_hold_counts_once(ours: Group) -> None:
    (sock,) = made_in(ours, udp)
    with sock, held_by(ours), held_by(ours):
        assert (given(retrofit()), priority(sock)) == (1, OURS)


def test_a_socket_that_only_a_thread_has(ours: Group) -> None:
    """Before 6.9 nobody can duplicate it: the run fails before anything is changed."""
    (sock,) = made_in(ours, udp)

    def threads() -> threading.Event:
        opened, closing = threading.Event(), threading.Event()

        def work() -> None:
            tasks.unshare(CLONE_FILES)
            os.closerange(3, sock.fileno())  # the pipes that the first thread waits on too
            os.closerange(sock.fileno() + 1, 1024)
            opened.set()
            closing.wait()

        threading.Thread(target=work, daemon=True).start()
        opened.wait()
        sock.close()  # the first thread's own
        return closing

    with sock, holding(ours, threads) as pid:
        if release() >= (6, 9):
            assert (given(retrofit()), priority(sock)) == (1, OURS)
            return
        with pytest.raises(HostError, match=f"only thread [0-9]+ of process {pid} has the socket"):
            retrofit()
        assert (priority(sock), PATH in info()["policies"]) == (0, False)


def test_a_socket_that_was_handed_in_by_a_cgroup_without_a_priority_gets_it(
    ours: Group, group: Make
) -> None:
    other = group("outside/other", tos=["af11"])
    (sock,) = made_in(other, udp)
    with sock, held_by(ours):
        assert (given(retrofit()), priority(sock)) == (1, OURS)
        assert not retrofit()["changed"]


@pytest.mark.parametrize("before", [False, True], ids=["born with it", "from before"])
def test_a_socket_of_another_cgroup_that_has_a_priority_is_left_and_told(
    ours: Group, group: Make, before: bool
) -> None:
    other = group("outside/other", **({} if before else {"priority": OTHER}))
    (theirs,), (mine,) = made_in(other, udp), made_in(ours, udp)
    apply([{"cgroup": other.path, "priority": OTHER}])
    had = 0 if before else OTHER
    with theirs, mine, held_by(ours) as pid:
        told = [
            f"{PATH}: the socket at descriptor {theirs.fileno()} of process {pid} keeps its "
            "priority: a policy of the cgroup that it was made in refuses another"
        ]
        first, second = retrofit(), retrofit()
        assert (priority(mine), priority(theirs)) == (OURS, had)
        assert [each["warnings"] for each in (first, second)] == [told] * 2
        assert (second["changed"], second["actions"]) == (False, [])
        checked = retrofit(check=True)
        assert (checked["changed"], checked["warnings"]) == (False, told)
        apply([{"cgroup": other.path, "state": "absent"}])
        assert (given(retrofit()), priority(theirs)) == (1, OURS)


def test_below_another_priority_its_sockets_are_left_and_the_cgroups_own_get_it(
    ours: Group, group: Make
) -> None:
    """Those were the other's as long as there was none nearer."""
    apply([{"cgroup": PATH, "priority": OTHER}])
    nearer = group(f"{PATH}/nearer")
    (theirs,), (mine,) = made_in(ours, udp), made_in(nearer, udp)
    with theirs, mine, held_by(nearer):
        retrofit(nearer.path, retrofit=False)
        assert (priority(theirs), priority(mine)) == (OTHER, OTHER)
        first, second = retrofit(nearer.path), retrofit(nearer.path)
        assert (given(first), second["changed"]) == (1, False)
        assert (priority(theirs), priority(mine)) == (OTHER, OURS)
        assert [len(each["warnings"]) for each in (first, second)] == [1, 1]


def test_a_task_that_is_moved_in_brings_its_sockets_to_the_next_run(
    ours: Group, group: Make
) -> None:
    retrofit()
    other = group("outside/other")
    (sock,) = made_in(other, udp)
    with sock, held_by(other) as pid:
        assert not retrofit()["changed"]
        with open(ours.procs, "w", encoding="ascii") as procs:
            procs.write(str(pid))
        assert (given(retrofit()), priority(sock)) == (1, OURS)


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
        shown = {"priority": "1:10", "netns": "host"}
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


# What setsockopt() takes now


def test_a_socket_of_the_cgroup_takes_the_declared_value_and_only_from_outside(
    ours: Group,
) -> None:
    retrofit()
    sock = made_in(ours, udp)[0]
    option = (socket.SOL_SOCKET, socket.SO_PRIORITY)
    values = [OURS, OTHER, 0, b"", b"\x10\0\1", struct.pack("2I", OURS, 0), bytes(8192)]

    def work() -> list[Any]:
        return [outcome(sock.setsockopt, *option, value) for value in values]

    with sock:
        assert ours.run(work) == ["EPERM"] * 7
        assert work() == ["ok", "EPERM", "EPERM", "EINVAL", "EINVAL", "EPERM", "EPERM"]
        assert priority(sock) == OURS


def test_a_socket_below_takes_the_nearest_declared_value_only(ours: Group, group: Make) -> None:
    retrofit()
    nearer = group(f"{PATH}/nearer", priority=OTHER)
    sock = made_in(nearer, udp)[0]
    with sock:
        assert [outcome(set_priority, sock, value) for value in (OURS, OTHER, 3)] == [
            "EPERM", "ok", "EPERM",
        ]  # fmt: skip
        assert priority(sock) == OTHER


def test_the_cgroups_own_list_of_options_does_not_stand_against_it(ours: Group) -> None:
    (sock,) = made_in(ours, udp)
    with sock, held_by(ours):
        assert given(retrofit(sockopts={"allow": []})) == 1
        assert priority(sock) == OURS


def test_a_list_of_options_above_does_and_that_is_told(ours: Group, group: Make) -> None:
    apply([{"cgroup": PATH, "sockopts": {"deny": ["SOL_SOCKET/SO_PRIORITY"]}}])
    below = group(f"{PATH}/below")
    (sock,) = made_in(below, udp)
    with sock, held_by(below):
        first, second = retrofit(below.path), retrofit(below.path)
        assert (priority(sock), second["changed"]) == (0, False)
        assert [len(each["warnings"]) for each in (first, second)] == [1, 1]
