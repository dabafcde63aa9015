# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mode: under audit nothing is refused or changed, and what would be refused is counted."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.acts import ACTS, EACH, EF, POLICY, as_nobody, counted
from tests.kernel.conftest import Group, apply, groups, info
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import made_in, receiver
from tests.kernel.tasks import outcome, priority, set_priority, set_tos

pytestmark = pytest.mark.usefixtures("outside")
Make = Callable[..., Group]

ON_ONE_CPU = 500


def counts(where: Group) -> Any:
    """What cgnet_info tells of a cgroup."""
    return info()["counters"].get(where.path)


def counted_by(where: Group, work: Callable[[], Any]) -> tuple[Any, dict[str, dict[str, int]]]:
    """What some work returns in a cgroup, and what was counted meanwhile."""
    before = counts(where)
    found = where.run(work)
    return found, {
        control: {verdict: number - before[control][verdict] for verdict, number in now.items()}
        for control, now in counts(where).items()
    }


@pytest.fixture(scope="module")
def both(outside: Group) -> Iterator[tuple[Group, Group]]:
    """One that enforces every control, and one that audits it."""
    with groups() as make:
        yield make("outside/one", **POLICY), make("outside/two", **POLICY, mode="audit")


@pytest.fixture
def audited(group: Make) -> Group:
    return group("outside/audited", **POLICY, mode="audit")


@pytest.fixture
def enforced(group: Make) -> Group:
    return group("outside/enforced", **POLICY)


# What is counted


@pytest.mark.parametrize("name", EACH)
def test_a_refusal_is_counted_once(both: tuple[Group, Group], name: str) -> None:
    act, (enforced, _audited) = ACTS[name], both
    found = counted_by(enforced, lambda: [act.work(), act.work()])
    assert found == ([act.refused] * 2, counted("refused", {act.control: 2}))


@pytest.mark.parametrize("name", EACH)
def test_under_audit_a_call_is_let_through_and_counted_once(
    both: tuple[Group, Group], name: str
) -> None:
    act, (_enforced, audited) = ACTS[name], both
    found = counted_by(audited, lambda: [act.work(), act.work()])
    assert found == ([act.free] * 2, counted("audited", {act.control: 2 * (1 + act.packets)}))


@pytest.mark.parametrize("name", EACH)
def test_without_a_policy_the_calls_are_free_and_not_counted(group: Make, name: str) -> None:
    free = group("outside/free")
    assert free.run(ACTS[name].work) == ACTS[name].free
    assert counts(free) is None


def test_what_is_allowed_is_not_counted(audited: Group, enforced: Group) -> None:
    def work() -> list[Any]:
        with socket.socket(socket.AF_INET6) as sock, receiver(socket.AF_INET6) as there:
            found = [outcome(tasks.set_tclass, sock, 0x48), outcome(sock.bind, ("::1", 81))]
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
                return [*found, outcome(sender.sendto, b"x", there.to)]

    for where, verdict in ((audited, "audited"), (enforced, "refused")):
        assert where.run(work) == ["ok", "ok", 1]
        assert counts(where) == counted(verdict, {})


def test_refusals_on_every_cpu_are_counted(enforced: Group) -> None:
    act = ACTS["mark"]

    def work() -> int:
        for cpu in os.sched_getaffinity(0):
            os.sched_setaffinity(0, {cpu})
            assert {act.work() for _each in range(ON_ONE_CPU)} == {act.refused}
        return len(os.sched_getaffinity(0))

    cpus = len(os.sched_getaffinity(0))
    assert cpus > 1
    enforced.run(work)
    assert counts(enforced) == counted("refused", {"sockopts": cpus * ON_ONE_CPU})


def test_a_task_of_a_cgroup_below_is_counted_with_the_policy(group: Make, audited: Group) -> None:
    below = group(f"{audited.path}/below")
    act = ACTS["mark"]
    assert below.run(act.work) == act.free
    assert (counts(audited), counts(below)) == (counted("audited", {"sockopts": 1}), None)


def test_a_socket_that_was_passed_out_is_counted_once(group: Make, audited: Group) -> None:
    """For its own cgroup by one hook, and for the task's by the other."""
    other = group("outside/other", sockopts={"deny": ["SOL_SOCKET/SO_MARK"]}, mode="audit")
    (sock,) = made_in(audited, lambda: [socket.socket(socket.AF_INET6)])
    with sock:
        other.run(lambda: sock.setsockopt(socket.SOL_SOCKET, tasks.SO_MARK, 1))
    assert counts(audited) == counted("audited", {"sockopts": 1})
    assert counts(other) == {"sockopts": {"refused": 0, "audited": 1}}


# What is left as it was


def test_under_audit_sockets_and_packets_are_as_without_a_policy(
    audited: Group, left: Taken
) -> None:
    def work() -> list[Any]:
        with receiver(socket.AF_INET) as there, socket.socket(type=socket.SOCK_DGRAM) as sock:
            born = priority(sock)
            set_priority(sock, 3)
            sock.sendto(b"x", there.to)
            set_tos(sock, EF)
            sock.sendto(b"x", there.to)
            return [born, there.got(2), priority(sock)]

    free = work()
    assert audited.run(work) == free == [0, [0, EF], 4]
    assert priorities(left()) == [3, 4]


def test_under_audit_a_listed_port_needs_the_capability(audited: Group, enforced: Group) -> None:
    def work() -> Any:
        return as_nobody(lambda: tasks.bind(socket.AF_INET6, socket.SOCK_STREAM, 81))

    assert (enforced.run(work), audited.run(work)) == ("ok", "EACCES")


def test_under_audit_an_ancestors_priority_holds(group: Make) -> None:
    above = group("outside/above", priority=5)
    below = group("outside/above/below", priority=6, mode="audit")

    def work() -> int:
        with socket.socket() as sock:
            return priority(sock)

    assert (above.run(work), below.run(work)) == (5, 5)
    apply([{"cgroup": below.path, "priority": 6}])
    assert (above.run(work), below.run(work)) == (5, 6)
    apply([{"cgroup": below.path, "priority": 6, "mode": "audit"}])
    assert (above.run(work), below.run(work)) == (5, 5)


@pytest.mark.parametrize("outer", ["audit", "enforce"])
def test_policies_above_each_other_count_for_themselves(group: Make, outer: str) -> None:
    """Whichever of the two enforces, it refuses."""
    inner = {"audit": "enforce", "enforce": "audit"}[outer]
    above = group("outside/above", **POLICY, mode=outer)
    below = group("outside/above/below", **POLICY, mode=inner)
    act = ACTS["socket"]
    assert below.run(act.work) == act.refused
    verdict = {"audit": "audited", "enforce": "refused"}
    assert counts(above) == counted(verdict[outer], {"ipv4": 1})
    assert counts(below) == counted(verdict[inner], {"ipv4": 1})


# What a run does


def test_controls_say_audited_and_only_what_refuses_is_attached(group: Make) -> None:
    group("outside/audited")
    policy = {"cgroup": "outside/audited", "priority": 5, "mode": "audit"}
    first, second = apply([policy]), apply([policy])
    assert first["controls"] == {"outside/audited": {"priority": "audited"}}
    assert (first["changed"], second["changed"], second["actions"]) == (True, False, [])
    attached = {s["program"] for s in first["actions"] if s["action"] == "attach"}
    assert attached - {"policy_sendmsg"} == {
        "policy_setsockopt", "policy_post_create", "policy_lsm_setsockopt",
    }  # fmt: skip
    assert info()["policies"]["outside/audited"]["mode"] == "audit"


def test_a_policy_goes_from_audit_to_enforce_and_back(audited: Group) -> None:
    act = ACTS["mark"]
    enforce = {"cgroup": audited.path, **POLICY}
    found = [audited.run(act.work)]
    shown = apply([enforce])["diff"]
    assert (shown["before"][audited.path]["mode"], shown["after"][audited.path]["mode"]) == (
        "audit", "enforce",
    )  # fmt: skip
    found.append(audited.run(act.work))
    apply([{**enforce, "mode": "audit"}])
    found.append(audited.run(act.work))
    assert found == [act.free, act.refused, act.free]
    assert counts(audited)["sockopts"] == {"refused": 1, "audited": 2}


def test_a_policy_that_is_removed_takes_its_counts_along(group: Make, enforced: Group) -> None:
    kept = group("outside/kept", **POLICY)
    for where in (enforced, kept):
        where.run(ACTS["mark"].work)
    apply([{"cgroup": enforced.path, "state": "absent"}])
    assert counts(enforced) is None
    apply([{"cgroup": enforced.path, **POLICY}])
    assert counts(enforced) == counted("refused", {})
    assert counts(kept) == counted("refused", {"sockopts": 1})


def test_a_control_that_is_no_longer_declared_is_told_while_it_has_counts(enforced: Group) -> None:
    enforced.run(ACTS["mark"].work)
    apply([{"cgroup": enforced.path, "tos": []}])
    zero = {"refused": 0, "audited": 0}
    assert counts(enforced) == {"tos": zero, "sockopts": {"refused": 1, "audited": 0}}
