# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets that a service inherits from a service manager of another cgroup, as systemd's are.

They, and what is accepted from them, are of the cgroup of the manager. So `tos`,
`bind_ports`, `ipv4` and the priority do not hold them; the refusals of options do. That it is the
same over exec is held in test_ways_descriptors.py.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import ways
from tests.kernel.conftest import Group, groups
from tests.kernel.packets import DATA, SYN_ACK, Taken, priorities
from tests.kernel.sends import V4, V6, made_in
from tests.kernel.tasks import outcome, priority, set_priority, set_tos
from tests.kernel.ways import (
    EF,
    MINE,
    OURS,
    POLICY,
    expected,
    expected_options,
    made,
    options,
)

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]
Two = tuple[Group, Group]
OF_EF = 4
"""The priority that the kernel gives a socket with this TOS (rt_tos2priority())."""


@pytest.fixture(scope="module")
def two(outside: Group) -> Iterator[Two]:
    """The service's cgroup, and the manager's."""
    with groups() as make:
        yield make("outside/service", **POLICY), make("outside/manager")


def listener() -> list[socket.socket]:
    """As a service manager makes one: of IPv6 and IPv4."""
    return [socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)]


def serve(inherited: socket.socket) -> list[Any]:
    """In a service: accept a connection, use it, and answer on it."""
    with inherited.accept()[0] as there:
        found = [priority(inherited), priority(there), options(there)]
        there.sendall(b"x")
        assert there.recv(1) == b"y"
        return found


def served(
    maker: Group, service: Group, address: str, work: Callable[[socket.socket], Any],
    make: Callable[[], list[socket.socket]] = listener,
) -> Any:  # fmt: skip
    """What `work` returns in the service, to which a client outside has connected."""
    (passed,) = made_in(maker, make)
    with passed, socket.create_connection((address, passed.getsockname()[1])) as client:
        client.sendall(b"y")
        found = service.run(lambda: work(passed))
        assert client.recv(1) == b"x"
        return found


@pytest.mark.parametrize("kind", ways.KINDS, ids=["TCP", "UDP"])
def test_of_an_inherited_socket_only_options_are_held(two: Two, left: Taken, kind: int) -> None:
    service, manager = two
    for maker in (service, manager):
        (sock,) = made_in(maker, lambda: [made(kind)])
        with sock:
            found = service.run(lambda sock=sock: ways.uses(sock))
        held = maker == service, True
        assert found == expected(*held, kind), maker.path
        assert ways.sent_with(left()) == ways.carried(*held), maker.path


def test_an_accepted_socket_is_the_inherited_listeners(two: Two, left: Taken) -> None:
    service, manager = two
    for maker, shown in ((service, OURS), (manager, 0)):
        found = served(maker, service, V6, serve)
        held = maker == service, True
        assert found == [shown, shown, expected_options(*held)], maker.path
        assert {p.priority for p in left() if p.flags == DATA} == {shown}, maker.path


def test_a_priority_that_the_manager_gives_a_listener_is_not_that_of_what_is_accepted(
    two: Two, left: Taken
) -> None:
    """The kernel makes the new socket with 0 (sk_clone_lock()); the SYN-ACK alone carries it."""
    service, manager = two

    def marked() -> list[socket.socket]:
        (sock,) = listener()
        set_priority(sock, MINE)
        return [sock]

    found = served(manager, service, V4, serve, marked)
    assert found == [MINE, 0, expected_options(False, True)]
    packets = left()
    assert {p.priority for p in packets if p.flags == SYN_ACK} == {MINE}
    assert {p.priority for p in packets if p.flags == DATA} == {0}


def test_what_is_accepted_from_an_inherited_listener_of_af_unix_has_the_priority(two: Two) -> None:
    """By lsm_cgroup/sock_graft, which is the task's: there is no packet to disagree."""
    service, manager = two

    def unix() -> list[socket.socket]:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind("\0inherited")
        sock.listen()
        return [sock]

    (passed,) = made_in(manager, unix)
    with passed, socket.socket(socket.AF_UNIX) as client:
        client.connect(passed.getsockname())
        assert service.run(lambda: accept(passed)) == [0, OURS, "EPERM"]


def accept(inherited: socket.socket) -> list[Any]:
    """In a service: accept a connection, and try to set its priority."""
    with inherited.accept()[0] as there:
        return [priority(inherited), priority(there), outcome(set_priority, there, MINE)]


def test_an_inherited_listener_serves_over_ipv4(two: Two, left: Taken) -> None:
    """Of the service's own one no answer leaves; see test_ipv4_packets.py."""
    service, manager = two
    served(manager, service, V4, serve)
    assert {(packet.version, packet.priority) for packet in left()} == {(4, 0)}


def serve_with_a_tos(inherited: socket.socket) -> list[Any]:
    """The same with an IP_TOS that is not listed."""
    with inherited.accept()[0] as there:
        found = [outcome(set_tos, there, EF), priority(there)]
        there.sendall(b"x")
        assert there.recv(1) == b"y"
        return found


def test_ip_tos_moves_the_priority_of_what_is_accepted(two: Two, left: Taken) -> None:
    """And any class leaves with it."""
    service, manager = two
    assert served(manager, service, V4, serve_with_a_tos) == ["ok", OF_EF]
    assert {(p.priority, p.tos) for p in left() if p.flags == DATA} == {(OF_EF, EF)}
    refused = served(service, service, V6, serve_with_a_tos)
    assert refused == ["EPERM", OURS]
    assert {(p.priority, p.tos) for p in left() if p.flags == DATA} == {(OURS, 0)}


def test_a_policy_of_the_managers_cgroup_holds_what_it_passes_on(group: Make, left: Taken) -> None:
    """Which is the remedy where the manager is not the host's own."""
    manager = group("outside/governed", **POLICY)
    plain = group("outside/plain")
    shown = served(manager, plain, V6, serve)
    assert shown == [OURS, OURS, expected_options(True, False)]
    assert {p.priority for p in left() if p.flags == DATA} == {OURS}


def receive(inherited: socket.socket) -> list[Any]:
    """In a service: answer a message on the socket that was passed on."""
    data, client = inherited.recvfrom(1)
    found = [priority(inherited), options(inherited)]
    inherited.sendto(data, client)
    return found


@pytest.mark.parametrize("address", [V6, V4])
def test_an_inherited_socket_of_udp_answers_with_its_own_priority(
    two: Two, left: Taken, address: str
) -> None:
    service, manager = two

    def bound() -> list[socket.socket]:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind(("::", 0))
        return [sock]

    family = socket.AF_INET6 if address == V6 else socket.AF_INET
    for maker, shown in ((manager, 0), (service, OURS)):
        if maker == service and address == V4:
            continue  # its answer does not leave; see test_ipv4_packets.py
        (sock,) = made_in(maker, bound)
        with sock, socket.socket(family, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", (address, sock.getsockname()[1]))
            held = maker == service, True
            found = service.run(lambda sock=sock: receive(sock))
            assert found == [shown, expected_options(*held)], maker.path
            assert client.recv(1) == b"x"
        # Set by no 64-bit call; a 32-bit one is the task's to be refused.
        assert set(priorities(left())) == {shown}, maker.path
