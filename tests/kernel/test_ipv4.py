# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ipv4: hidden. IPv4 isn't there, as on a kernel without it, and IPv6 is."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, groups
from tests.kernel.tasks import outcome

Make = Callable[..., Group]

HIDDEN = "EAFNOSUPPORT"
V4, MAPPED, V6 = "127.0.0.1", "::ffff:127.0.0.1", "::1"


@pytest.fixture(scope="module")
def ours() -> Iterator[Group]:
    with groups() as make:
        yield make("ours", ipv4="hidden")


def test_an_ipv4_socket_can_not_be_made(ours: Group) -> None:
    kinds = [
        (socket.SOCK_STREAM, 0), (socket.SOCK_DGRAM, 0), (socket.SOCK_RAW, socket.IPPROTO_ICMP),
        (socket.SOCK_DGRAM, socket.IPPROTO_ICMP), (socket.SOCK_STREAM, tasks.IPPROTO_MPTCP),
        (socket.SOCK_STREAM, tasks.IPPROTO_SCTP),
    ]  # fmt: skip
    tasks.let_everyone_ping()
    found = [outcome(socket.socket, socket.AF_INET, *each) for each in kinds]
    assert found == ["ok"] * len(kinds)
    found = ours.run(lambda: [outcome(socket.socket, socket.AF_INET, *each) for each in kinds])
    assert found == [HIDDEN] * len(kinds)


def test_other_families_are_untouched(ours: Group) -> None:
    kinds = [
        (socket.AF_INET6, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_STREAM), (socket.AF_NETLINK, socket.SOCK_RAW),
        (socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_VSOCK, socket.SOCK_STREAM),
    ]  # fmt: skip
    assert ours.run(lambda: [outcome(socket.socket, *each) for each in kinds]) == ["ok"] * 6
    assert ours.run(lambda: outcome(socket.socketpair)[0].fileno() > 0)


def trying(kind: int, address: str, family: int = socket.AF_INET6) -> list[Any]:
    """connect(), sendto() and bind() to an address, each with a socket of its own."""
    found = []
    for call in ("connect", "sendto", "bind"):
        with socket.socket(family, kind) as sock:
            target = (address, 0 if call == "bind" else 9)
            if call == "sendto" and kind == socket.SOCK_STREAM:
                continue
            arguments = (b"x", target) if call == "sendto" else (target,)
            found.append(outcome(getattr(sock, call), *arguments))
    return found


def test_a_v4_mapped_address_is_no_way_around(ours: Group) -> None:
    assert trying(socket.SOCK_STREAM, MAPPED) == ["ECONNREFUSED", "ok"]
    assert ours.run(lambda: trying(socket.SOCK_STREAM, MAPPED)) == [HIDDEN] * 2
    assert trying(socket.SOCK_DGRAM, MAPPED) == ["ok", 1, "ok"]
    assert ours.run(lambda: trying(socket.SOCK_DGRAM, MAPPED)) == [HIDDEN] * 3


def test_ipv6_works(ours: Group) -> None:
    assert ours.run(lambda: trying(socket.SOCK_STREAM, V6)) == ["ECONNREFUSED", "ok"]
    assert ours.run(lambda: trying(socket.SOCK_DGRAM, V6)) == ["ok", 1, "ok"]
    assert ours.run(lambda: trying(socket.SOCK_DGRAM, "::")) == ["ok", 1, "ok"]

    def serve() -> bytes:
        with (
            socket.create_server((V6, 0), family=socket.AF_INET6) as listener,
            socket.create_connection(listener.getsockname()[:2]) as client,
            listener.accept()[0] as connection,
        ):
            connection.sendall(b"served")
            return client.recv(6)

    assert ours.run(serve) == b"served"


def test_a_runtime_falls_back(ours: Group) -> None:
    """create_connection() tries all addresses of a name in their order, as most clients do."""

    def work() -> str:
        with socket.create_server((V6, 0), family=socket.AF_INET6) as listener:
            port = listener.getsockname()[1]
            addresses = [
                (family, socket.SOCK_STREAM, 0, "", (address, port))
                for family, address in ((socket.AF_INET, V4), (socket.AF_INET6, V6))
            ]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(socket, "getaddrinfo", lambda *_args: addresses)
                with socket.create_connection(("localhost", port)) as client:
                    return str(client.getpeername()[0])

    assert ours.run(work) == V6


def test_a_socket_from_before_the_policy_reaches_no_ipv4(group: Make) -> None:
    late = group("late")

    def work() -> list[Any]:
        tcp = [socket.socket() for _each in range(2)]
        udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _each in range(3)]
        apply([{"cgroup": "late", "ipv4": "hidden"}])
        found = [
            outcome(tcp[0].connect, (V4, 9)),
            outcome(tcp[1].bind, (V4, 0)),
            outcome(udp[0].connect, (V4, 9)),
            outcome(udp[1].bind, (V4, 0)),
            outcome(udp[2].sendto, b"x", (V4, 9)),
        ]
        for sock in tcp + udp:
            sock.close()
        return found

    assert late.run(work) == [HIDDEN] * 5


def test_an_ipv4_address_on_an_ipv6_udp_socket_is_refused(ours: Group) -> None:
    """The kernel takes it, and runs the hooks of IPv4: sendto() by libc, since Python checks."""
    assert tasks.sendto_ipv4_on_ipv6() == 1
    assert ours.run(lambda: outcome(tasks.sendto_ipv4_on_ipv6)) == HIDDEN
    assert tasks.connect_ipv4_on_ipv6() == 0
    assert ours.run(lambda: outcome(tasks.connect_ipv4_on_ipv6)) == HIDDEN


def test_addresses_that_only_look_mapped_are_untouched(ours: Group) -> None:
    def work() -> list[Any]:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            return [
                outcome(sock.connect, (address, 9))
                for address in ("::1", "::7f00:1", "::1:ffff:7f00:1", "64:ff9b::7f00:1")
            ]

    assert ours.run(work) == work()


def test_setsockopt_and_ports_are_untouched(ours: Group) -> None:
    def work() -> list[Any]:
        with socket.socket(socket.AF_INET6) as sock:
            return [
                outcome(tasks.set_priority, sock, 3),
                outcome(tasks.set_tclass, sock, 0xB8),
                outcome(sock.bind, (V6, 80)),
            ]

    assert ours.run(work) == ["ok"] * 3


def test_a_task_outside_and_another_cgroup_have_ipv4(ours: Group, group: Make) -> None:
    other = group("other", priority=6)
    for run in (other.run, lambda work: work()):
        assert run(lambda: outcome(socket.socket, socket.AF_INET)) == "ok"
        assert run(lambda: trying(socket.SOCK_STREAM, MAPPED)) == ["ECONNREFUSED", "ok"]


def test_a_descendant_does_not_have_it_either(ours: Group, group: Make) -> None:
    child = group("ours/child", priority=6)
    plain = group("ours/plain")
    for each in (child, plain):
        assert each.run(lambda: outcome(socket.socket, socket.AF_INET)) == HIDDEN
        assert each.run(lambda: trying(socket.SOCK_STREAM, MAPPED)) == [HIDDEN] * 2
        assert each.run(lambda: outcome(socket.socket, socket.AF_INET6)) == "ok"
