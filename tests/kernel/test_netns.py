# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""netns: by default a task in a network namespace of its own is left alone; `any` holds it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, info
from tests.kernel.tasks import (
    bind,
    outcome,
    priority,
    set_priority,
    set_tclass,
    set_tos,
    tclass,
    tos,
    watching,
)

Make = Callable[..., Group]

CONTROL: dict[str, Any] = {
    "priority": "1:10",
    "tos": ["af21"],
    "bind_ports": {"tcp": [443], "unprivileged": True},
    "ipv4": "hidden",
    "sockopts": {"deny": ["SOL_SOCKET/SO_MARK"]},
}
COOKIE = 71  # SO_NETNS_COOKIE, since 5.14


def elsewhere() -> None:
    """Into a network namespace of the task's own, with loopback up."""
    tasks.unshare(tasks.CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def cookie() -> int:
    with socket.socket() as sock:
        return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, COOKIE, 8), "little")


def look_priority() -> list[Any]:
    """Born, by every program that gives one: sock_create, post_create, sockops and sock_graft."""
    found = []
    for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_DGRAM),
                         (socket.AF_PACKET, socket.SOCK_RAW)):  # fmt: skip
        with socket.socket(family, kind) as sock:
            found += [priority(sock), outcome(set_priority, sock, 3)]
    for family, protocol in ((socket.AF_INET, 0), (socket.AF_UNIX, 0),
                             (socket.AF_INET, tasks.IPPROTO_SCTP)):  # fmt: skip
        with (
            socket.socket(family, socket.SOCK_STREAM, protocol) as listener,
            socket.socket(family, socket.SOCK_STREAM, protocol) as client,
        ):
            listener.bind("\0netns" if family == socket.AF_UNIX else ("127.0.0.1", 0))
            listener.listen()
            client.connect(listener.getsockname())
            connection, _peer = listener.accept()
            with connection:
                found.append(priority(connection))
    return found


def look_tos() -> list[Any]:
    with socket.socket() as v4, socket.socket(socket.AF_INET6) as v6:
        found = [outcome(set_tos, v4, 0xB8), tos(v4), outcome(set_tclass, v6, 0xB8), tclass(v6)]
        return [*found, outcome(v4.bind, ("", 0)), outcome(v6.bind, ("", 0))]


def look_bind_ports() -> list[Any]:
    families = (socket.AF_INET, socket.AF_INET6)
    return [bind(family, socket.SOCK_STREAM, port) for family in families for port in (443, 80)]


def look_ipv4() -> list[Any]:
    found = [outcome(socket.socket, socket.AF_INET)]
    for call in ("connect", "bind"):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            found.append(outcome(getattr(sock, call), ("::ffff:127.0.0.1", 2000)))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        found.append(outcome(sock.sendto, b"x", ("::ffff:127.0.0.1", 2000)))
    tried = (tasks.connect_ipv4_on_ipv6, tasks.sendto_ipv4_on_ipv6)
    return found + [outcome(call) for call in tried]


def look_sockopts() -> list[Any]:
    with socket.socket() as v4, socket.socket(socket.AF_UNIX) as unix:
        option = (socket.SOL_SOCKET, tasks.SO_MARK, 1)
        return [outcome(sock.setsockopt, *option) for sock in (v4, unix)]


LOOK: dict[str, Callable[[], list[Any]]] = {
    "priority": look_priority,
    "tos": look_tos,
    "bind_ports": look_bind_ports,
    "ipv4": look_ipv4,
    "sockopts": look_sockopts,
}
FREE: dict[str, list[Any]] = {
    "priority": [0, "ok"] * 3 + [0] * 3,
    "tos": ["ok", 0xB8, "ok", 0xB8, "ok", "ok"],
    "bind_ports": ["ok"] * 4,
    "ipv4": ["ok"] * 3 + [1, 0, 1],
    "sockopts": ["ok"] * 2,
}
HELD: dict[str, list[Any]] = {
    "priority": [0x10010, "EPERM"] * 3 + [0x10010] * 3,
    "tos": ["EPERM", 0, "EPERM", 0, "ok", "ok"],
    "bind_ports": ["ok", "EPERM"] * 2,
    "ipv4": ["EAFNOSUPPORT"] * 6,
    "sockopts": ["EPERM"] * 2,
}


def here_and_elsewhere(made: Group, control: str) -> tuple[list[Any], list[Any]]:
    """What a task of the cgroup sees in this namespace, and in one of its own."""

    def moved() -> list[Any]:
        elsewhere()
        return LOOK[control]()

    return made.run(LOOK[control]), made.run(moved)


@pytest.mark.parametrize("control", CONTROL)
def test_by_default_a_task_in_a_namespace_of_its_own_is_free(group: Make, control: str) -> None:
    ours = group("ours")
    assert here_and_elsewhere(ours, control) == (FREE[control], FREE[control])
    apply([{"cgroup": "ours", control: CONTROL[control]}])
    assert here_and_elsewhere(ours, control) == (HELD[control], FREE[control])


@pytest.mark.parametrize("control", CONTROL)
def test_any_holds_a_task_in_a_namespace_of_its_own(group: Make, control: str) -> None:
    ours = group("ours", netns="any", **{control: CONTROL[control]})
    assert here_and_elsewhere(ours, control) == (HELD[control], HELD[control])


def test_all_controls_at_once_are_left_and_held_alike(group: Make) -> None:
    """IPv4 is hidden, so what is held is seen over IPv6."""
    host, every = group("host", **CONTROL), group("every", netns="any", **CONTROL)

    def work() -> list[Any]:
        elsewhere()
        bound = [bind(socket.AF_INET6, socket.SOCK_STREAM, port) for port in (443, 80)]
        with socket.socket(socket.AF_INET6) as sock:
            return [*bound, priority(sock), outcome(set_tclass, sock, 0xB8), *look_ipv4()]

    assert host.run(work) == ["ok", "ok", 0, "ok", *FREE["ipv4"]]
    assert every.run(work) == ["ok", "EPERM", 0x10010, "EPERM", *HELD["ipv4"]]


def test_a_socket_is_judged_by_the_namespace_it_was_made_in(group: Make) -> None:
    """As the kernel does: a socket stays where it was made when its task goes elsewhere."""
    ours = group("ours", bind_ports={"tcp": [443]}, sockopts={"deny": ["SOL_SOCKET/SO_MARK"]})

    def work() -> list[Any]:
        with socket.socket() as before:
            elsewhere()
            with socket.socket() as after:
                option = (socket.SOL_SOCKET, tasks.SO_MARK, 1)
                return [
                    found
                    for sock in (before, after)
                    for found in (outcome(sock.setsockopt, *option), outcome(sock.bind, ("", 80)))
                ]

    assert ours.run(work) == ["EPERM", "EPERM", "ok", "ok"]


def test_from_host_to_any_and_back_is_one_store(group: Make) -> None:
    ours = group("ours", tos=[])

    def look() -> list[Any]:
        with socket.socket() as sock:
            return [outcome(set_tos, sock, 0xB8)]

    def moved() -> list[Any]:
        elsewhere()
        return look()

    with watching(ours.procs, look) as watch:
        for netns, verdict in (("any", "EPERM"), ("host", "ok")):
            steps = apply([{"cgroup": "ours", "tos": [], "netns": netns}])["actions"]
            assert [step["action"] for step in steps] == ["store"]
            assert ours.run(moved) == [verdict]
    assert watch.seen == [["EPERM"]]


def test_host_is_the_namespace_that_the_run_was_in(group: Make) -> None:
    """A run in another namespace governs that one, and is told by its cookie elsewhere."""
    ours = group("ours")
    policy = {"cgroup": "ours", "tos": []}

    def run() -> tuple[list[Any], dict[str, Any], int]:
        elsewhere()
        apply([policy])
        found = ours.run(look_tos), info()["policies"]["ours"], cookie()
        assert not apply([policy])["changed"]
        return found

    root = "/sys/fs/cgroup/cgroup.procs"
    there, shown, other = tasks.inside(root, run)
    assert (there, shown["netns"]) == (HELD["tos"], "host")
    assert other != cookie()
    assert (ours.run(look_tos), info()["policies"]["ours"]["netns"]) == (FREE["tos"], other)
    assert apply([policy])["diff"]["before"]["ours"]["netns"] == other
    assert ours.run(look_tos) == HELD["tos"]
