# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""priority: the sockets of a cgroup's tasks carry the declared SO_PRIORITY, and keep it."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, groups
from tests.kernel.tasks import outcome, priority, set_priority, set_tos, tos

Make = Callable[..., Group]

OURS, OTHER = 0x10010, 6
FAMILIES = [
    (socket.AF_INET, socket.SOCK_STREAM, 0),
    (socket.AF_INET, socket.SOCK_DGRAM, 0),
    (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    (socket.AF_INET, socket.SOCK_STREAM, tasks.IPPROTO_MPTCP),
    (socket.AF_INET, socket.SOCK_STREAM, tasks.IPPROTO_SCTP),
    (socket.AF_INET, socket.SOCK_SEQPACKET, tasks.IPPROTO_SCTP),
    (socket.AF_INET, socket.SOCK_DGRAM, tasks.IPPROTO_UDPLITE),
    (socket.AF_INET6, socket.SOCK_STREAM, 0),
    (socket.AF_INET6, socket.SOCK_DGRAM, 0),
    (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
    (socket.AF_UNIX, socket.SOCK_STREAM, 0),
    (socket.AF_UNIX, socket.SOCK_DGRAM, 0),
    (socket.AF_UNIX, socket.SOCK_SEQPACKET, 0),
    (socket.AF_NETLINK, socket.SOCK_RAW, 0),
    (socket.AF_PACKET, socket.SOCK_RAW, 0),
    (socket.AF_PACKET, socket.SOCK_DGRAM, 0),
    (socket.AF_VSOCK, socket.SOCK_STREAM, 0),
    (socket.AF_ALG, socket.SOCK_SEQPACKET, 0),
]


@pytest.fixture(scope="module")
def ours() -> Iterator[Group]:
    with groups() as make:
        yield make("ours", priority="1:10")


def born(family: int, kind: int, protocol: int) -> Any:
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        return outcome(_raise, error)
    with sock:
        return priority(sock)


def _raise(error: OSError) -> None:
    raise error


def supported() -> list[tuple[int, int, int]]:
    """Those of FAMILIES that this kernel has: UDP-Lite left it in 7.1."""
    return [each for each in FAMILIES if not isinstance(born(*each), str)]


def test_only_udp_lite_may_be_missing_from_a_kernel() -> None:
    gone = set(FAMILIES) - set(supported())
    assert gone <= {(socket.AF_INET, socket.SOCK_DGRAM, tasks.IPPROTO_UDPLITE)}


def test_a_socket_of_every_family_is_born_with_it(ours: Group) -> None:
    families = supported()
    assert ours.run(lambda: [born(*each) for each in families]) == [OURS] * len(families)


def test_both_ends_of_a_socketpair_are_born_with_it(ours: Group) -> None:
    assert ours.run(lambda: [priority(end) for end in socket.socketpair()]) == [OURS, OURS]


@pytest.mark.parametrize("value", [0, 3, OURS, OTHER])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_setting_it_is_refused(ours: Group, family: int, value: int) -> None:
    def work() -> Any:
        with socket.socket(family) as sock:
            return outcome(set_priority, sock, value), priority(sock)

    assert ours.run(work) == ("EPERM", OURS)


def test_other_options_are_untouched(ours: Group) -> None:
    def work() -> Any:
        with socket.socket() as sock:
            return [
                outcome(sock.setsockopt, level, name, value)
                for level, name, value in (
                    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                    (socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16),
                    (socket.SOL_SOCKET, tasks.SO_MARK, 1),
                    (socket.IPPROTO_IP, socket.IP_TTL, 9),
                    (socket.IPPROTO_IP, socket.SO_PRIORITY, 0),  # the number, at another level
                    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                    (socket.SOL_SOCKET, 9999, 1),  # the kernel's own errno
                )
            ] + [priority(sock)]

    refusal = outside_ip_option_12()
    assert ours.run(work) == ["ok"] * 4 + [refusal, "ok", "ENOPROTOOPT", OURS]


def outside_ip_option_12() -> Any:
    """What option 12 of IPPROTO_IP returns without a policy: it is IP_PASSSEC."""
    with socket.socket() as sock:
        return outcome(sock.setsockopt, socket.IPPROTO_IP, socket.SO_PRIORITY, 0)


@pytest.mark.parametrize("value", [0x20, b"\x20", 0xB8, b"\xb8", 0])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_ip_tos_is_set_and_the_priority_stays(
    ours: Group, family: int, kind: int, value: int | bytes
) -> None:
    expected = value if isinstance(value, int) else value[0]

    def work() -> Any:
        with socket.socket(family, kind) as sock:
            return outcome(set_tos, sock, value), tos(sock), priority(sock)

    assert ours.run(work) == ("ok", expected, OURS)


def test_ip_tos_without_a_policy_moves_the_priority() -> None:
    """The kernel's behaviour that the test before stands against."""
    with socket.socket() as sock:
        set_priority(sock, OTHER)
        set_tos(sock, 0x08)
        assert priority(sock) != OTHER


def test_ip_tos_keeps_the_kernels_own_errors(ours: Group) -> None:
    def work() -> Any:
        with socket.socket() as sock:
            return outcome(set_tos, sock, b""), tos(sock), priority(sock)

    without = work()
    assert ours.run(work) == (*without[:2], OURS)


def test_an_ipv6_only_socket_uses_tclass(ours: Group) -> None:
    def work() -> Any:
        with socket.socket(socket.AF_INET6) as sock:
            sock.setsockopt(tasks.SOL_IPV6, tasks.IPV6_V6ONLY, 1)
            refused = outcome(set_tos, sock, 0x20)
            return (
                refused,
                outcome(tasks.set_tclass, sock, 0x20),
                tasks.tclass(sock),
                priority(sock),
            )

    assert ours.run(work) == ("EPERM", "ok", 0x20, OURS)


def accepted(family: int, protocol: int, client: Callable[[Any], Any]) -> int:
    """The priority of a socket that this task accepts from `client`."""
    address = {socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0)}.get(family, "\0ours")
    with socket.socket(family, socket.SOCK_STREAM, protocol) as listener:
        listener.bind(address)
        listener.listen()
        client(listener.getsockname())
        connection, _peer = listener.accept()
        with connection:
            return priority(connection)


ACCEPTING = pytest.mark.parametrize(
    ("family", "protocol"),
    [(socket.AF_INET, 0), (socket.AF_INET6, 0), (socket.AF_UNIX, 0),
     (socket.AF_INET, tasks.IPPROTO_SCTP), (socket.AF_INET6, tasks.IPPROTO_SCTP),
     (socket.AF_INET, tasks.IPPROTO_MPTCP)],
    ids=["tcp4", "tcp6", "unix", "sctp4", "sctp6", "mptcp"],
)  # fmt: skip


def connector(family: int, protocol: int, procs: str) -> Callable[[Any], Any]:
    """Connect from a task of another cgroup; its socket's priority."""

    def work(address: Any) -> int:
        with socket.socket(family, socket.SOCK_STREAM, protocol) as sock:
            sock.connect(address)
            return priority(sock)

    return lambda address: tasks.inside(procs, lambda: work(address))


def both_ends(family: int, protocol: int, client: Callable[[Any], int]) -> tuple[int, int]:
    """The priorities of an accepted socket and of the one that connected to it."""
    theirs: list[int] = []
    mine = accepted(family, protocol, lambda address: theirs.append(client(address)))
    return mine, theirs[0]


@ACCEPTING
def test_an_accepted_socket_has_it_whoever_connects(
    ours: Group, group: Make, family: int, protocol: int
) -> None:
    other = group("other", priority=OTHER)
    for client, theirs in (("ours", OURS), (other.path, OTHER), ("", 0)):
        connect = connector(family, protocol, f"/sys/fs/cgroup/{client}/cgroup.procs")
        found = ours.run(functools.partial(both_ends, family, protocol, connect))
        assert found == (OURS, theirs), f"client in {client or 'the root cgroup'}"


@ACCEPTING
def test_a_listener_without_a_policy_accepts_without_it(
    ours: Group, family: int, protocol: int
) -> None:
    connect = connector(family, protocol, f"{ours.directory}/cgroup.procs")
    assert accepted(family, protocol, connect) == 0


def test_two_cgroups_have_their_own(ours: Group, group: Make) -> None:
    other = group("other", priority=OTHER)
    families = supported()
    assert other.run(lambda: [born(*each) for each in families]) == [OTHER] * len(families)
    assert ours.run(lambda: born(*families[0])) == OURS


def test_a_task_outside_is_free(ours: Group) -> None:
    def work() -> Any:
        with socket.socket() as sock:
            return priority(sock), outcome(set_priority, sock, 3), priority(sock)

    assert work() == (0, "ok", 3)
    assert [born(*each) for each in supported()] == [0] * len(supported())


@pytest.mark.parametrize(
    ("value", "expected"), [("ffff:fffe", 0xFFFFFFFE), (1, 1), ("1:0", 0x10000)]
)
def test_any_value_of_32_bits_arrives(group: Make, value: Any, expected: int) -> None:
    made = group("any", priority=value)
    signed = expected - (1 << 32) if expected >> 31 else expected
    assert made.run(lambda: [born(*each) for each in FAMILIES[:2]]) == [signed] * 2


def test_the_nearest_cgroups_default_wins(ours: Group, group: Make) -> None:
    child = group("ours/child", priority=OTHER)
    plain = group("ours/plain")
    families = supported()
    for where, expected in ((child, OTHER), (plain, OURS), (ours, OURS)):
        found = where.run(lambda: [born(*each) for each in families])
        assert found == [expected] * len(families), where.path
    connect = connector(socket.AF_INET, 0, "/sys/fs/cgroup/cgroup.procs")
    assert child.run(lambda: accepted(socket.AF_INET, 0, connect)) == OTHER
    assert plain.run(lambda: accepted(socket.AF_INET, 0, connect)) == OURS


def test_a_cgroup_that_a_task_makes_below_its_own_is_held(ours: Group) -> None:
    def work() -> Any:
        os.mkdir(f"{ours.directory}/own")
        return tasks.inside(f"{ours.directory}/own/cgroup.procs", lambda: born(*FAMILIES[0]))

    assert ours.run(work) == OURS
