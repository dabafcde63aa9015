# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tos: IP_TOS and IPV6_TCLASS take the listed DSCPs and 0, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, groups
from tests.kernel.tasks import outcome, priority, set_tclass, set_tos, tclass, tos

Make = Callable[..., Group]

AF21, CS1, EF = 0x48, 0x20, 0xB8
INET = [
    (family, kind, protocol)
    for family, icmp in ((socket.AF_INET, 1), (socket.AF_INET6, 58))
    for kind, protocol in (
        (socket.SOCK_STREAM, 0),
        (socket.SOCK_DGRAM, 0),
        (socket.SOCK_RAW, icmp),
        (socket.SOCK_STREAM, tasks.IPPROTO_SCTP),
    )
]


@pytest.fixture(scope="module")
def ours() -> Iterator[Group]:
    with groups() as make:
        yield make("ours", tos=["af21", CS1])


def setting(family: int, kind: int, protocol: int, *values: int | bytes) -> list[Any]:
    """The outcome of each IP_TOS on one socket, and the value that it then has."""
    with socket.socket(family, kind, protocol) as sock:
        return [(outcome(set_tos, sock, value), tos(sock)) for value in values]


def setting_tclass(kind: int, protocol: int, *values: int) -> list[Any]:
    """The same for IPV6_TCLASS."""
    with socket.socket(socket.AF_INET6, kind, protocol) as sock:
        return [(outcome(set_tclass, sock, value), tclass(sock)) for value in values]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_listed_dscp_is_set_and_another_refused(ours: Group, family: int, kind: int) -> None:
    assert ours.run(lambda: setting(family, kind, 0, AF21, EF, CS1, 0xFC, 0, EF)) == [
        ("ok", AF21), ("EPERM", AF21), ("ok", CS1), ("EPERM", CS1), ("ok", 0), ("EPERM", 0),
    ]  # fmt: skip


def test_a_traffic_class_is_held_alike(ours: Group) -> None:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        assert ours.run(lambda kind=kind: setting_tclass(kind, 0, AF21, EF, CS1, 0, EF, -1)) == [
            ("ok", AF21), ("EPERM", AF21), ("ok", CS1), ("ok", 0), ("EPERM", 0), ("ok", 0),
        ]  # fmt: skip


@pytest.mark.parametrize(("family", "kind", "protocol"), INET)
def test_every_protocol_is_held(ours: Group, family: int, kind: int, protocol: int) -> None:
    """By the option of its own family: an IPv6 raw socket has no IP_TOS."""

    def work() -> list[Any]:
        if family == socket.AF_INET:
            return setting(family, kind, protocol, EF, AF21)
        return setting_tclass(kind, protocol, EF, AF21)

    assert ours.run(work) == [("EPERM", 0), ("ok", AF21)]


def test_the_ecn_bits_are_not_looked_at(ours: Group) -> None:
    values = [AF21 | 1, CS1 | 2, 3, EF | 1]
    without = setting(socket.AF_INET, socket.SOCK_DGRAM, 0, *values[:3])
    found = ours.run(lambda: setting(socket.AF_INET, socket.SOCK_DGRAM, 0, *values))
    assert found[:3] == without
    assert found[3][0] == "EPERM"


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(b"\xb8", "EPERM"), (b"\x48", "ok"), (b"\xb8\0", "EPERM"), (b"\x48\xb8\xb8", "ok"),
     (b"\xb8\0\0\0\0", "EPERM"), (b"\x48\0\0\0" * 9, "ok"), (0x100 | EF, "EPERM"),
     (0x100 | AF21, "ok"), (-256 | EF, "EPERM")],
)  # fmt: skip
def test_the_value_is_read_as_the_kernel_reads_it(
    ours: Group, value: int | bytes, verdict: str
) -> None:
    ((without, effect),) = setting(socket.AF_INET, socket.SOCK_DGRAM, 0, value)
    assert (without, effect) == ("ok", EF if verdict == "EPERM" else AF21)
    found = ours.run(lambda: setting(socket.AF_INET, socket.SOCK_DGRAM, 0, value))
    assert found == [(verdict, 0 if verdict == "EPERM" else AF21)]


def test_the_kernels_own_errors_stay(ours: Group) -> None:
    def work() -> list[Any]:
        with socket.socket() as v4, socket.socket(socket.AF_INET6) as v6:
            return [
                outcome(set_tos, v4, b""),
                outcome(set_tclass, v6, 0x100),
                outcome(set_tclass, v6, -2),
                outcome(set_tclass, v6, 0x100 | EF),
                outcome(v6.setsockopt, tasks.SOL_IPV6, tasks.IPV6_TCLASS, b"\x48"),
                outcome(set_tclass, v4, AF21),
                outcome(set_tclass, v4, EF),
            ]

    assert ours.run(work) == work()


def test_other_options_and_families_are_untouched(ours: Group) -> None:
    def work() -> list[Any]:
        with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
            return [
                outcome(tcp.setsockopt, socket.IPPROTO_IP, socket.IP_TTL, EF),
                outcome(tcp.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, EF),
                outcome(tasks.set_priority, tcp, 3),
                priority(tcp),
                outcome(tcp.setsockopt, socket.SOL_SOCKET, socket.SO_KEEPALIVE, EF),
                outcome(unix.setsockopt, socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14),
                outcome(unix.setsockopt, socket.IPPROTO_IP, socket.IP_TOS, EF),
            ]

    assert ours.run(work) == work()


def test_without_priority_ip_tos_moves_the_priority_as_ever(ours: Group) -> None:
    def work() -> int:
        with socket.socket() as sock:
            set_tos(sock, AF21)
            return priority(sock)

    assert ours.run(work) == work() != 0


def test_with_priority_a_listed_tos_keeps_it(group: Make) -> None:
    both = group("both", tos=["af21"], priority="1:10")

    def work() -> list[Any]:
        with socket.socket(socket.AF_INET6) as sock:
            return [
                (outcome(set_tos, sock, value), tos(sock), priority(sock)) for value in (AF21, EF)
            ]

    assert both.run(work) == [("ok", AF21, 0x10010), ("EPERM", AF21, 0x10010)]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_marked_before_the_policy_can_not_bind(group: Make, family: int) -> None:
    late = group("late")

    def work() -> list[Any]:
        found = []
        with socket.socket(family) as marked, socket.socket(family) as fine:
            set_tos(marked, EF)
            set_tos(fine, AF21)
            apply([{"cgroup": "late", "tos": ["af21"]}])
            for sock in (marked, fine):
                found.append(outcome(sock.bind, ("", 0)))
            if family == socket.AF_INET6:
                with socket.socket(family) as classed:
                    found.append(outcome(set_tclass, classed, EF))
        return found

    assert late.run(work) == ["EPERM", "ok", "EPERM"][: 2 + (family == socket.AF_INET6)]


def test_an_empty_list_allows_only_0(group: Make) -> None:
    none = group("none", tos=[])
    found = none.run(lambda: setting(socket.AF_INET, socket.SOCK_STREAM, 0, AF21, 0, 4))
    assert found == [("EPERM", 0), ("ok", 0), ("EPERM", 0)]


def test_a_full_list_allows_all(group: Make) -> None:
    every = [dscp << 2 for dscp in range(64)]
    full = group("full", tos=every)
    found = full.run(lambda: setting(socket.AF_INET, socket.SOCK_DGRAM, 0, *every))
    assert found == [("ok", value) for value in every]


def test_two_cgroups_have_their_own_and_a_task_outside_none(ours: Group, group: Make) -> None:
    other = group("other", tos=["ef"])

    def work() -> list[Any]:
        return setting(socket.AF_INET, socket.SOCK_STREAM, 0, EF, AF21)

    assert other.run(work) == [("ok", EF), ("EPERM", EF)]
    assert ours.run(work) == [("EPERM", 0), ("ok", AF21)]
    assert work() == [("ok", EF), ("ok", AF21)]


def test_what_an_ancestor_refuses_a_descendant_can_not_allow(ours: Group, group: Make) -> None:
    child = group("ours/child", tos=["cs1", "ef"])
    found = child.run(lambda: setting(socket.AF_INET, socket.SOCK_STREAM, 0, CS1, AF21, EF))
    assert found == [("ok", CS1), ("EPERM", CS1), ("EPERM", CS1)]


def test_an_ancestor_refuses_what_a_descendants_program_has_set(ours: Group, group: Make) -> None:
    """With priority, the descendant's program sets the TOS itself, before the ancestor is asked."""
    child = group("ours/marking", priority=6)

    def work() -> list[Any]:
        with socket.socket() as sock:
            return [
                (outcome(set_tos, sock, value), tos(sock), priority(sock)) for value in (CS1, EF)
            ]

    assert child.run(work) == [("ok", CS1, 6), ("EPERM", 0, 6)]
