# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bind_ports: below a bound only the listed ports are bound, TCP and UDP apart."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, groups
from tests.kernel.tasks import bind, outcome

Make = Callable[..., Group]

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
FAMILIES = (socket.AF_INET, socket.AF_INET6)


@pytest.fixture(scope="module")
def ours() -> Iterator[Group]:
    with groups() as make:
        yield make(
            "ours", bind_ports={"tcp": [443, "8000-8099", 65000], "udp": [53], "below": 65001}
        )


def binding(kind: int, *ports: int, protocol: int = 0) -> list[Any]:
    """The outcomes over IPv4; where IPv6's differ, both."""
    found = []
    for port in ports:
        v4, v6 = (bind(family, kind, port, protocol) for family in FAMILIES)
        found.append(v4 if v4 == v6 else (v4, v6))
    return found


def test_only_listed_ports_are_bound(ours: Group) -> None:
    assert ours.run(lambda: binding(TCP, 443, 8000, 8050, 8099, 65000)) == ["ok"] * 5
    refused = (1, 53, 442, 444, 7999, 8100, 16384, 64999)
    assert ours.run(lambda: binding(TCP, *refused)) == ["EPERM"] * len(refused)


def test_tcp_and_udp_have_their_own_lists(ours: Group) -> None:
    assert ours.run(lambda: binding(UDP, 53, 443, 8000)) == ["ok", "EPERM", "EPERM"]
    assert ours.run(lambda: binding(TCP, 53)) == ["EPERM"]


def test_ports_from_the_bound_on_are_free(ours: Group) -> None:
    assert ours.run(lambda: binding(TCP, 65001, 65535)) == ["ok", "ok"]
    assert ours.run(lambda: binding(UDP, 65001, 65535)) == ["ok", "ok"]


def test_the_default_bound_is_16384(group: Make) -> None:
    made = group("default", bind_ports={"tcp": []})
    assert made.run(lambda: binding(TCP, 16383, 16384)) == ["EPERM", "ok"]


def test_the_highest_bound_governs_every_port(group: Make) -> None:
    made = group("all", bind_ports={"tcp": [65535], "below": 65536})
    assert made.run(lambda: binding(TCP, 65534, 65535)) == ["EPERM", "ok"]


def test_ports_that_the_kernel_picks_are_untouched(group: Make) -> None:
    made = group("none", bind_ports={"tcp": [], "udp": [], "below": 65536})

    def work() -> list[Any]:
        found = binding(TCP, 0) + binding(UDP, 0)
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as listener, socket.socket(family) as client:
                found.append(outcome(listener.listen))
                found.append(outcome(client.connect, (address, listener.getsockname()[1])))
            with socket.socket(family, UDP) as sock:
                found.append(outcome(sock.sendto, b"x", (address, 9)))
        return found

    assert made.run(work) == ["ok", "ok"] + ["ok", "ok", 1] * 2


def test_an_address_makes_no_difference(ours: Group) -> None:
    def work() -> list[Any]:
        found = []
        for family, address in (
            (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"),
            (socket.AF_INET6, "::ffff:127.0.0.1"), (socket.AF_INET6, "::"),
        ):  # fmt: skip
            for port in (8000, 80):
                with socket.socket(family) as sock:
                    found.append(outcome(sock.bind, (address, port)))
        return found

    assert ours.run(work) == ["ok", "EPERM"] * 4


def test_mptcp_is_tcp(ours: Group) -> None:
    found = ours.run(lambda: binding(TCP, 8000, 80, 0, protocol=tasks.IPPROTO_MPTCP))
    assert found == ["ok", "EPERM", "ok"]


def test_udp_lite_is_udp(ours: Group) -> None:
    def work() -> list[Any]:
        return binding(UDP, 53, 80, 0, protocol=tasks.IPPROTO_UDPLITE)

    if outcome(socket.socket, socket.AF_INET, UDP, tasks.IPPROTO_UDPLITE) == "EPROTONOSUPPORT":
        assert tasks.release() >= (7, 1)  # it left in 7.1
    else:
        assert ours.run(work) == ["ok", "EPERM", "ok"]


def test_other_protocols_are_untouched(ours: Group) -> None:
    def work() -> list[Any]:
        found = binding(TCP, 80, protocol=tasks.IPPROTO_SCTP)
        with (
            socket.socket(socket.AF_UNIX) as unix,
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw,
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packet,
        ):
            found.append(outcome(unix.bind, "\0bind-ports"))
            found.append(outcome(raw.bind, ("127.0.0.1", 80)))
            found.append(outcome(packet.bind, ("lo", 0)))
        return found

    assert ours.run(work) == ["ok"] * 4


def test_a_protocol_that_is_not_named_is_not_governed(group: Make) -> None:
    udp = group("udp", bind_ports={"udp": []})
    assert udp.run(lambda: binding(TCP, 80) + binding(UDP, 80)) == ["ok", "EPERM"]
    tcp = group("tcp", bind_ports={"tcp": []})
    assert tcp.run(lambda: binding(TCP, 80) + binding(UDP, 80)) == ["EPERM", "ok"]


def as_nobody(work: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
    def dropped() -> list[Any]:
        tasks.become_nobody()
        return work()

    return dropped


def test_unprivileged_lets_a_listed_low_port_be_bound(group: Make) -> None:
    made = group("low", bind_ports={"tcp": [80, 443], "udp": [53], "unprivileged": True})
    found = made.run(as_nobody(lambda: binding(TCP, 80, 443, 22) + binding(UDP, 53, 54)))
    assert found == ["ok", "ok", "EPERM", "ok", "EPERM"]


def test_unprivileged_gives_nothing_to_what_is_not_governed(group: Make) -> None:
    made = group("half", bind_ports={"tcp": [80], "below": 100, "unprivileged": True})
    found = made.run(as_nobody(lambda: binding(TCP, 80, 443) + binding(UDP, 80)))
    assert found == ["ok", "EACCES", "EACCES"]


def test_without_unprivileged_the_capability_is_needed(group: Make) -> None:
    made = group("high", bind_ports={"tcp": [80, 8080]})
    assert made.run(as_nobody(lambda: binding(TCP, 80, 8080, 22))) == ["EACCES", "ok", "EPERM"]
    assert made.run(lambda: binding(TCP, 80)) == ["ok"]


def test_two_cgroups_have_their_own_and_a_task_outside_none(ours: Group, group: Make) -> None:
    other = group("other", bind_ports={"tcp": [22]})
    assert other.run(lambda: binding(TCP, 22, 8000)) == ["ok", "EPERM"]
    assert ours.run(lambda: binding(TCP, 22, 8000)) == ["EPERM", "ok"]
    assert binding(TCP, 22, 8000) == ["ok", "ok"]


def test_what_an_ancestor_refuses_a_descendant_can_not_allow(ours: Group, group: Make) -> None:
    child = group("ours/child", bind_ports={"tcp": [22, 8000], "unprivileged": True})
    assert child.run(lambda: binding(TCP, 22, 443, 8000)) == ["EPERM", "EPERM", "ok"]
    plain = group("ours/plain")
    assert plain.run(lambda: binding(TCP, 22, 443)) == ["EPERM", "ok"]


def test_a_list_as_large_as_fits_is_held_to_the_port(group: Make) -> None:
    listed = [256 * block + block for block in range(1, 78)]
    made = group("large", bind_ports={"tcp": listed, "below": 65536})
    refused = [256 * block + (block + 1) % 256 for block in range(1, 78)] + [78 * 256 + 78]
    families = (socket.AF_INET,)
    assert made.run(lambda: [bind(f, TCP, p) for f in families for p in listed]) == ["ok"] * 77
    assert made.run(lambda: [bind(f, TCP, p) for f in families for p in refused]) == ["EPERM"] * 78
