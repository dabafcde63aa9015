# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TCP Fast Open: what a SYN carries with its data, and the socket that is accepted from it."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply
from tests.kernel.flows import MAPPED, family_of
from tests.kernel.packets import DATA, SYN, SYN_ACK, Packet, Taken, arriving
from tests.kernel.sends import V4, V6, mark, set_by_32_bit
from tests.kernel.tasks import eventually, outcome, priority, set_priority

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]
Client = Callable[[socket.socket, Any], Any]

OURS, OTHER, MINE = 0x10010, 6, 3
AF21, EF = 0x48, 0xB8
SWITCH = "/proc/sys/net/ipv4/tcp_fastopen"
EVERYTHING_WITHOUT_COOKIES = 0x207
"""Client and server; and either without having met before."""
TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_INFO = 23, 30, 11
TCPI_OPTIONS, TCPI_OPT_SYN_DATA = 5, 32
BOTH = pytest.mark.parametrize("address", [V4, V6])


@pytest.fixture(autouse=True, scope="module")
def switched_on() -> Iterator[None]:
    before = Path(SWITCH).read_text()
    Path(SWITCH).write_text(str(EVERYTHING_WITHOUT_COOKIES))
    yield
    Path(SWITCH).write_text(before)


def by_flag(sock: socket.socket, to: Any) -> Any:
    return outcome(sock.sendto, b"x", socket.MSG_FASTOPEN, to)


def by_option(sock: socket.socket, to: Any) -> Any:
    sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    connected = outcome(sock.connect, to)
    return outcome(sock.send, b"x") if connected == "ok" else connected


CLIENTS = pytest.mark.parametrize("client", [by_flag, by_option])


@contextlib.contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.create_server((address, 0), family=family_of(address)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 5)
        listener.settimeout(tasks.PATIENCE)
        yield listener


def in_syn(sock: socket.socket) -> bool:
    """Whether the peer has taken data with the SYN."""
    told = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 8)
    return bool(told[TCPI_OPTIONS] & TCPI_OPT_SYN_DATA)


@CLIENTS
@BOTH
def test_each_end_has_its_own_from_the_syn_on(
    group: Make, outside: Group, address: str, client: Client
) -> None:
    ours, other = group("outside/ours", priority="1:10"), group("outside/other", priority=OTHER)
    free = group("outside/free")

    def serve(who: Group) -> tuple[int, Any]:
        with listening(address) as listener:
            to = listener.getsockname()

            def connect() -> None:
                with socket.socket(family_of(address)) as here:
                    assert client(here, to) == 1
                    assert (here.recv(1), in_syn(here)) == (b"y", True)

            pid = tasks.start(lambda: who.run(connect))
            with listener.accept()[0] as there:
                found = priority(there), outcome(set_priority, there, MINE)
                assert there.recv(1) == b"x"
                there.sendall(b"y")
                assert tasks.ended(pid) == 0
        return found

    for who, theirs in ((other, OTHER), (free, 0), (ours, OURS)):
        with arriving(outside) as came:
            assert ours.run(lambda who=who: serve(who)) == (OURS, "EPERM")
            packets = came()
        found = {
            flags: {packet.priority for packet in packets if packet.flags == flags}
            for flags in (SYN, SYN_ACK, DATA)
        }
        assert found == {SYN: {theirs}, SYN_ACK: {OURS}, DATA: {OURS}}


@CLIENTS
@BOTH
def test_a_syn_with_data_and_another_dscp_does_not_leave(
    group: Make, left: Taken, address: str, client: Client
) -> None:
    ours = group("outside/tos", tos=["af21"])
    family = family_of(address)

    def work() -> list[Any]:
        tried: list[Packet] = []

        def retried() -> bool:
            tried.extend(packet for packet in left() if packet.flags == SYN)
            return len(tried) > 1

        with listening(address) as listener, socket.socket(family) as here:
            listener.setblocking(False)
            here.setblocking(False)
            found = [set_by_32_bit(here, mark(family, EF))]
            found.append(client(here, listener.getsockname()))
            found += [eventually(retried, True), {packet.tos for packet in tried}]
            found.append(outcome(listener.accept))
            found.append(set_by_32_bit(here, mark(family, AF21)))
            assert select.select([listener], [], [], tasks.PATIENCE)[0] == [listener]
            with listener.accept()[0] as there:
                there.setblocking(True)
                return [*found, there.recv(1)]

    assert ours.run(work) == ["ok", 1, True, {EF}, "EAGAIN", "ok", b"x"]


@CLIENTS
@BOTH
def test_a_syn_with_data_and_a_listed_dscp_leaves(
    group: Make, outside: Group, address: str, client: Client
) -> None:
    ours = group("outside/tos", tos=["af21"])
    family = family_of(address)

    def work() -> tuple[Any, bytes]:
        with listening(address) as listener, socket.socket(family) as here:
            assert set_by_32_bit(here, mark(family, AF21)) == "ok"
            sent = client(here, listener.getsockname())
            with listener.accept()[0] as there:
                return sent, there.recv(1)

    with arriving(outside) as came:
        assert ours.run(work) == (1, b"x")
        assert {packet.tos for packet in came() if packet.flags == SYN} == {AF21}


@CLIENTS
def test_it_reaches_no_ipv4(group: Make, left: Taken, client: Client) -> None:
    """connect6 runs for MSG_FASTOPEN too, and connect4 on a socket from before."""
    late = group("outside/late")

    def to(address: str, sock: socket.socket) -> Any:
        with listening(address) as listener:
            return client(sock, listener.getsockname())

    def work() -> list[Any]:
        six = [socket.socket(socket.AF_INET6) for _each in range(3)]
        four = [socket.socket() for _each in range(2)]
        with contextlib.ExitStack() as held:
            for sock in six + four:
                held.enter_context(sock)
            listeners = {each: held.enter_context(listening(each)) for each in (V4, V6)}
            ports = {each: listeners[each].getsockname()[1] for each in listeners}
            found = [client(six[0], (MAPPED, ports[V4])), client(four[0], (V4, ports[V4]))]
            apply([{"cgroup": "outside/late", "ipv4": "hidden"}])
            left()
            found += [client(six[1], (MAPPED, ports[V4])), client(four[1], (V4, ports[V4]))]
            found.append(client(six[2], (V6, ports[V6])))
            found.append({packet.version for packet in left() if packet.flags == SYN})
        return found

    hidden = "EAFNOSUPPORT"
    assert late.run(work) == [1, 1, hidden, hidden, 1, {6}]


@BOTH
def test_sockopts_holds_the_option_and_not_the_flag(group: Make, address: str) -> None:
    made = group("outside/options", sockopts={"deny": [f"SOL_TCP/{TCP_FASTOPEN_CONNECT}"]})

    def work(client: Client) -> Any:
        with socket.socket(family_of(address)) as here:
            return outcome(lambda: client(here, to))

    with listening(address) as listener:
        to = listener.getsockname()
        assert [made.run(lambda each=each: work(each)) for each in (by_option, by_flag)] == [
            "EPERM", 1,
        ]  # fmt: skip
