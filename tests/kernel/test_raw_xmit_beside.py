# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""raw_xmit beside cgnet_policy, beside the kernel's own CAP_NET_RAW, and after its removal."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, shipped
from tests.kernel.raw import (
    ETH_P_ALL,
    OWN,
    deliver,
    emit,
    frame,
    freed,
    heard,
    held,
    queued,
    sniffer,
)
from tests.kernel.seen import NAME, attached, everything
from tests.kernel.tasks import outcome, priority
from tests.kernel.uring import syscall

pytestmark = pytest.mark.usefixtures("alone")
Make = Callable[..., Group]

PRCTL, CAPSET, PR_SET_KEEPCAPS = 157, 126, 8
CAPABILITY_VERSION, CAP_NET_RAW = 0x20080522, 13
HOOKS = sorted(name[:NAME] for name, _section in shipped("raw_xmit").manifest["programs"])


def births() -> list[Any]:
    """Of a packet socket that receives, one that does not, and two raw sockets of IP."""
    return [
        outcome(socket.socket, family, socket.SOCK_RAW, protocol)
        for family, protocol in (
            (socket.AF_PACKET, socket.htons(ETH_P_ALL)),
            (socket.AF_PACKET, 0),
            (socket.AF_INET, socket.IPPROTO_ICMP),
            (socket.AF_INET6, socket.IPPROTO_ICMPV6),
        )
    ]


FREE, HELD, WITHOUT = ["ok"] * 4, ["EPERM"] + ["ok"] * 3, ["EPERM"] * 4


def test_it_takes_at_most_four_of_the_hooks_that_a_kernel_has_ten_of() -> None:
    """CGROUP_LSM_NUM, which counts the distinct functions on a host."""
    sections = {section for _name, section in shipped("raw_xmit").manifest["programs"]}
    assert len([each for each in sections if each.startswith("lsm_cgroup/")]) <= 4


# The capability


def become_nobody() -> None:
    """Without any capability."""
    os.setgid(tasks.NOBODY)
    os.setuid(tasks.NOBODY)


def keep_only_net_raw() -> None:
    """As nobody."""
    syscall(PRCTL, PR_SET_KEEPCAPS, 1, 0, 0, 0)
    become_nobody()
    mask = 1 << CAP_NET_RAW
    syscall(
        CAPSET, struct.pack("Ii", CAPABILITY_VERSION, 0), struct.pack("6I", mask, mask, 0, 0, 0, 0)
    )


def births_of(become: Callable[[], None]) -> list[Any]:
    become()
    return births()


def test_without_the_capability_a_task_gains_nothing(group: Make) -> None:
    ours = group("ours")
    assert ours.run(lambda: births_of(become_nobody)) == WITHOUT
    held("ours")
    assert ours.run(lambda: births_of(become_nobody)) == WITHOUT


def test_the_capability_alone_is_enough_to_send(group: Make) -> None:
    ours = group("ours")
    assert ours.run(lambda: births_of(keep_only_net_raw)) == FREE
    held("ours")
    assert ours.run(lambda: births_of(keep_only_net_raw)) == HELD

    def work() -> list[Any]:
        keep_only_net_raw()
        emit()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            return [outcome(sock.bind, ("lo", OWN)), outcome(wire.recv, 1, socket.MSG_PEEK)]

    with sniffer() as wire:
        assert ours.run(work) == ["EPERM", "EPERM"]
        assert heard(wire) == frame()


# Another policy on the same cgroup

POLICY = {"priority": 6, "sockopts": {"deny": ["SOL_SOCKET/SO_MARK"]}}


def look() -> list[Any]:
    """What raw_xmit decides, and what the policy does: on UDP, and on packet sockets too."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as packet,
    ):
        found: list[Any] = [outcome(packet.bind, ("lo", OWN))]
        for sock in (udp, packet):
            mark = outcome(sock.setsockopt, socket.SOL_SOCKET, tasks.SO_MARK, 1)
            found += [priority(sock), mark]
        return found


LOOK_FREE = ["ok", 0, "ok", 0, "ok"]
LOOK_RAW = ["EPERM", *LOOK_FREE[1:]]
LOOK_POLICY = ["ok", 6, "EPERM", 6, "EPERM"]
LOOK_BOTH = ["EPERM", *LOOK_POLICY[1:]]


def policy(state: str) -> None:
    declared = POLICY if state == "present" else {"state": "absent"}
    assert apply([{"cgroup": "ours", **declared}])["changed"]


@pytest.mark.parametrize("removed", ["raw_xmit", "policy"])
@pytest.mark.parametrize("first", ["raw_xmit", "policy"])
def test_it_stands_beside_a_policy(group: Make, first: str, removed: str) -> None:
    ours = group("ours")
    policy("present")
    alone = attached(ours.id)
    policy("absent")
    steps = [lambda: held("ours"), lambda: policy("present")]
    for step in steps if first == "raw_xmit" else reversed(steps):
        step()
    assert (ours.run(look), attached(ours.id)) == (LOOK_BOTH, sorted(HOOKS + alone))
    if removed == "policy":
        policy("absent")
        assert (ours.run(look), attached(ours.id)) == (LOOK_RAW, HOOKS)
        freed("ours")
    else:
        freed("ours")
        assert (ours.run(look), attached(ours.id)) == (LOOK_POLICY, alone)
        policy("absent")
    assert (ours.run(look), everything()) == (LOOK_FREE, {})


# Removal


def receives() -> list[Any]:
    """What a packet socket, and one of ICMP, that are made now get."""
    with (
        sniffer() as packet,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp,
    ):
        deliver(lambda: icmp.sendto(bytes(8), ("127.0.0.1", 0)))
        return [queued(packet), bool(icmp.recv(64, socket.MSG_DONTWAIT))]


def test_after_its_removal_everything_is_received_again(group: Make) -> None:
    ours = group("ours")
    assert (ours.run(births), ours.run(receives)) == (FREE, [True, True])
    held("ours")
    assert ours.run(births) == HELD
    freed()
    assert (ours.run(births), ours.run(receives)) == (FREE, [True, True])
    assert (attached(ours.id), everything()) == ([], {})


def test_a_socket_of_ip_that_was_made_under_it_receives_after_its_removal(group: Make) -> None:
    ours = group("ours")
    held("ours")

    def work() -> list[bool]:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:

            def send() -> None:
                icmp.sendto(bytes(8), ("127.0.0.1", 0))

            before = queued(icmp, send)
            freed("ours")
            return [before, queued(icmp, send)]

    assert ours.run(work) == [False, True]
