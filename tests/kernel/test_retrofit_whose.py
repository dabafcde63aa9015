# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""retrofit: whose sockets get the priority, and which are left, and told of."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, info
from tests.kernel.held import OTHER, OURS, PATH, given, held_by, retrofit, udp
from tests.kernel.sends import made_in
from tests.kernel.tasks import priority, release
from tests.kernel.test_raw_xmit_rings import CLONE_FILES, holding

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]


@pytest.fixture
def ours(group: Make) -> Group:
    """A cgroup without a policy."""
    return group(PATH)


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
