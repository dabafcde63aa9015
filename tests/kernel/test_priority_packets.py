# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""priority: every packet carries it, whatever its protocol, its socket and the sending call."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, groups
from tests.kernel.flows import ANY, FLOWS, converse, family_of, need
from tests.kernel.packets import (
    ACK,
    DATA,
    FIN,
    SYN,
    SYN_ACK,
    Packet,
    Taken,
    arriving,
    priorities,
    sees_syn_ack,
)
from tests.kernel.sends import (
    SENT,
    V4,
    V6,
    WAYS,
    Control,
    by_every_way,
    made_in,
    mark,
    receiver,
    set_by_32_bit,
    sockaddr,
)
from tests.kernel.tasks import outcome, set_priority, set_tos

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]
Two = tuple[Group, Group]

OURS, OTHER, MINE = 0x10010, 6, 3
FLAGS = (SYN, SYN_ACK, ACK, DATA, FIN)
LOW_DELAY = 0x10
"""A TOS that the kernel makes the priority OTHER of (rt_tos2priority())."""


@pytest.fixture(scope="module")
def two(outside: Group) -> Iterator[Two]:
    with groups() as make:
        yield make("outside/ours", priority="1:10"), make("outside/other", priority=OTHER)


def kinds(packets: list[Packet]) -> set[tuple[int, int, int]]:
    return {(packet.priority, packet.version, packet.protocol) for packet in packets}


@pytest.mark.parametrize("flow", FLOWS)
def test_every_protocols_packets_carry_it(two: Two, left: Taken, flow: str) -> None:
    need(flow)
    ours, _other = two
    _open, version, protocol = FLOWS[flow]
    ours.run(lambda: converse(flow))
    assert kinds(left()) == {(OURS, version, protocol)}


def exchange(address: str, protocol: int, listener: socket.socket, client: Group) -> None:
    """A connection to a listener from a task of another cgroup, which closes last."""

    def connect() -> None:
        with socket.socket(family_of(address), socket.SOCK_STREAM, protocol) as here:
            here.connect(listener.getsockname())
            here.sendall(b"x")
            assert (here.recv(1), here.recv(1)) == (b"y", b"")

    pid = tasks.start(lambda: client.run(connect))
    connection, _peer = listener.accept()
    with connection:
        assert connection.recv(1) == b"x"
        connection.sendall(b"y")
    assert tasks.ended(pid) == 0


@pytest.mark.parametrize("address", [V4, V6])
@pytest.mark.parametrize("protocol", [0, tasks.IPPROTO_MPTCP], ids=["TCP", "MPTCP"])
def test_each_end_of_a_connection_has_its_own_in_every_packet(
    two: Two, outside: Group, address: str, protocol: int
) -> None:
    """From the first on: a SYN-ACK is sent before there is a socket for the connection."""
    ours, other = two

    def serve() -> None:
        with socket.socket(family_of(address), socket.SOCK_STREAM, protocol) as listener:
            listener.bind((address, 0))
            listener.listen()
            exchange(address, protocol, listener, other)

    with arriving(outside) as came:
        ours.run(serve)
        packets = came()
    found = {flags: {p.priority for p in packets if p.flags == flags} for flags in FLAGS}
    both = {OURS, OTHER}
    assert {OURS} <= found.pop(FIN) <= both  # the client's may come later
    assert both <= found.pop(ACK) <= {*both, 0}  # 0: what TIME_WAIT answers, for no socket
    assert found == {SYN: {OTHER}, SYN_ACK: {OURS}, DATA: both}


@pytest.mark.parametrize("address", [V4, V6])
def test_a_listener_from_before_answers_with_it(group: Make, left: Taken, address: str) -> None:
    late, client = group("outside/late"), group("outside/client")

    def serve() -> list[set[int]]:
        found = []
        with socket.socket(family_of(address)) as listener:
            listener.bind((address, 0))
            listener.listen()
            for priority in (0, OTHER):
                if priority:
                    apply([{"cgroup": "outside/late", "priority": priority}])
                exchange(address, 0, listener, client)
                found.append({p.priority for p in left() if p.flags == SYN_ACK})
        return found

    seen = [{0}, {OTHER}] if sees_syn_ack(address) else [set(), set()]
    assert late.run(serve) == seen


@pytest.mark.parametrize("address", [V4, V6])
def test_no_way_to_send_gives_a_packet_another(two: Two, left: Taken, address: str) -> None:
    ours, _other = two
    control = mark(family_of(address), LOW_DELAY)

    def work() -> dict[str, Any]:
        with receiver(family_of(address)) as there:
            with socket.socket(family_of(address), socket.SOCK_DGRAM) as sock:
                found = by_every_way(sock, there.to, control)
            assert there.got(sum(SENT.values())) == [LOW_DELAY] * sum(SENT.values())
        return found

    assert ours.run(work) == SENT
    version = FLOWS["UDP, IPv6" if ":" in address else "UDP, IPv4"][1]
    assert left() == [Packet(OURS, version, LOW_DELAY, 17)] * sum(SENT.values())


def test_without_a_policy_every_way_gives_another(group: Make, outside: Group, left: Taken) -> None:
    """The kernel's behaviour that the test before stands against, over IPv4."""
    free = group("outside/free")

    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            assert by_every_way(sock, (V4, 9), mark(socket.AF_INET, LOW_DELAY)) == SENT

    free.run(work)
    assert priorities(left()) == [OTHER] * sum(SENT.values())


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_RAW])
@pytest.mark.parametrize("address", [V4, V6])
def test_a_priority_by_control_message_changes_nothing(
    two: Two, group: Make, left: Taken, address: str, kind: int
) -> None:
    control = Control(socket.SOL_SOCKET, socket.SO_PRIORITY, OTHER)
    protocol = 17 if kind == socket.SOCK_RAW else 0

    def work() -> Any:
        with socket.socket(family_of(address), kind, protocol) as sock:
            port = 0 if kind == socket.SOCK_RAW else 9
            send = WAYS["sendmsg"]
            return outcome(send, sock.fileno(), sockaddr((address, port)), control)

    free = group("outside/free")
    ours, _other = two
    if tasks.release() < (6, 14):
        assert (free.run(work), ours.run(work), left()) == ("EINVAL", "EINVAL", [])
        return
    assert free.run(work) == 1
    assert priorities(left()) == [OTHER]
    assert ours.run(work) == 1
    assert priorities(left()) == [OURS]


def test_no_option_gives_a_packet_another(two: Two, left: Taken) -> None:
    """Set by a 32-bit call, IP_TOS moves what the socket says, which the packet does not."""
    ours, _other = two

    def work() -> list[Any]:
        with receiver(socket.AF_INET) as there:
            found: list[Any] = []
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for call in (
                    lambda: outcome(set_priority, sock, MINE),
                    lambda: set_by_32_bit(
                        sock, Control(socket.SOL_SOCKET, socket.SO_PRIORITY, MINE)
                    ),
                    lambda: outcome(set_tos, sock, 0x08),
                    lambda: set_by_32_bit(sock, mark(socket.AF_INET, LOW_DELAY)),
                ):
                    found.append(call())
                    sock.sendto(b"x", there.to)
        return found

    assert ours.run(work) == ["EPERM", "EPERM", "ok", "ok"]
    assert [(packet.priority, packet.tos) for packet in left()] == [
        (OURS, 0), (OURS, 0), (OURS, 0x08), (OURS, LOW_DELAY),
    ]  # fmt: skip


@pytest.mark.parametrize("flow", FLOWS)
def test_packets_of_sockets_from_before_carry_it(group: Make, left: Taken, flow: str) -> None:
    need(flow)
    late = group("outside/late")
    _open, version, protocol = FLOWS[flow]

    def work() -> list[list[Packet]]:
        with FLOWS[flow][0]() as send:
            send()
            found = [left()]
            apply([{"cgroup": "outside/late", "priority": OTHER}])
            left()  # an acknowledgement may come late
            send()
        return [*found, left()]

    before, after = late.run(work)
    assert (kinds(before), kinds(after)) == ({(0, version, protocol)}, {(OTHER, version, protocol)})


def test_a_packet_follows_the_cgroup_that_made_its_socket(two: Two, left: Taken) -> None:
    """Not the task that sends: the sockets are handed on, to a task that has another priority."""
    ours, other = two

    def udp() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    socks = [*made_in(ours, lambda: [udp()]), *made_in(other, lambda: [udp()])]
    for who in (ours, other):
        who.run(lambda: [sock.sendto(b"x", (V4, 9)) for sock in socks] and None)
        assert priorities(left()) == [OURS, OTHER]
    for sock in socks:
        with sock:
            sock.sendto(b"x", (V4, 9))
    assert priorities(left()) == [OURS, OTHER]


def test_a_task_that_moves_leaves_its_sockets_behind(two: Two, left: Taken) -> None:
    ours, other = two

    def work() -> None:
        made = []
        for where in (ours, other, ours):
            tasks.enter(where.procs)
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for sock in made:
                sock.sendto(b"x", (V4, 9))

    ours.run(work)
    assert priorities(left()) == [OURS, OURS, OTHER, OURS, OTHER, OURS]


def test_a_packet_arrives_with_it_in_pieces_too(two: Two, outside: Group) -> None:
    """It is split after the program has seen it, and the receiver's one is put together."""
    ours, _other = two

    def work() -> None:
        for address in (V4, V6):
            family = family_of(address)
            with socket.socket(family, socket.SOCK_DGRAM) as there:
                there.bind((ANY[address], 0))
                with socket.socket(family, socket.SOCK_DGRAM) as sock:
                    to = (address, there.getsockname()[1])
                    assert (
                        WAYS["sendmsg"](sock.fileno(), sockaddr(to), mark(family, LOW_DELAY)) == 1
                    )
                    assert sock.sendto(bytes(65000), to) == 65000
                assert [len(there.recv(1 << 16)) for _each in range(2)] == [1, 65000]

    with arriving(outside) as came:
        ours.run(work)
        assert priorities(came()) == [OURS] * 4
