# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""raw_xmit: where it ends. Each test shows a way that is open, or beside it one that is not."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import pickle
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import pytest

from tests.kernel.conftest import Group
from tests.kernel.raw import (
    OWN,
    deliver,
    emit,
    frame,
    freed,
    heard,
    held,
    rx_ring,
    sniffer,
)
from tests.kernel.tasks import ended, enter, eventually, outcome, start
from tests.kernel.uring import SETUP_SQPOLL, Message, Op, ring, syscall

Make = Callable[..., Group]

RECVFROM, RECVMMSG = 45, 299
LOOPBACK = ("127.0.0.1", 0)
SIZE = 4096


@pytest.fixture
def ours(group: Make) -> Group:
    """A cgroup that is not held yet."""
    return group("ours")


# A call that is under way when the policy comes


@dataclass
class Waiting:
    """A task in a call that waits."""

    pid: int
    told: IO[bytes]

    def call(self) -> int:
        """The number of the call that it waits in; -1 while it runs."""
        with open(f"/proc/{self.pid}/syscall", encoding="ascii") as file:
            word = file.read().split()[0]
        return int(word) if word.isdigit() else -1

    def result(self) -> Any:
        """What its work returned."""
        return pickle.load(self.told)


@contextlib.contextmanager
def waiting(where: Group, number: int, work: Callable[[], Any]) -> Iterator[Waiting]:
    """A task of a cgroup that does `work`, once it waits in the call of this number."""
    reader, writer = os.pipe()

    def task() -> None:
        enter(where.procs)
        result = work()
        with open(writer, "wb") as out:
            pickle.dump(result, out)

    pid = start(task)
    os.close(writer)
    with open(reader, "rb") as told:
        try:
            made = Waiting(pid, told)
            assert eventually(made.call, number) == number
            yield made
        finally:
            os.kill(pid, signal.SIGKILL)
            ended(pid)


def test_a_recv_that_is_under_way_returns_one_packet(ours: Group) -> None:
    def work() -> list[Any]:
        with sniffer() as sock:
            return [sock.recv(SIZE), outcome(sock.recv, SIZE, socket.MSG_DONTWAIT)]

    with waiting(ours, RECVFROM, work) as task:
        held("ours")
        emit()
        emit()
        assert task.result() == [frame(), "EPERM"]


def test_a_recvmmsg_that_is_under_way_returns_as_many_as_it_asked_for(ours: Group) -> None:
    """Only for the first of them is the hook asked (do_recvmmsg())."""
    count = 3

    def work() -> list[Any]:
        messages = [Message(SIZE) for _index in range(count)]
        heads = ctypes.create_string_buffer(b"".join(each.head.raw for each in messages))
        with sniffer() as sock:
            got = syscall(RECVMMSG, sock.fileno(), ctypes.addressof(heads), count, 0, 0)
            datas = [each.data[: len(frame())] for each in messages]
            return [got, datas, outcome(sock.recv, SIZE, socket.MSG_DONTWAIT)]

    with waiting(ours, RECVMMSG, work) as task:
        held("ours")
        for _index in range(count + 1):
            emit()
        assert task.result() == [count, [frame()] * count, "EPERM"]


def test_a_recv_of_an_ip_socket_that_is_under_way_returns_nothing(ours: Group) -> None:
    """It waits on, as the packet that it returns at last shows."""

    def work() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
            return sock.recv(SIZE)

    with (
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as outside,
        waiting(ours, RECVFROM, work) as task,
    ):
        held("ours")
        deliver(lambda: outside.sendto(bytes(8) + b"under it", LOOPBACK))
        assert outside.recv(SIZE, socket.MSG_DONTWAIT)[28:] == b"under it"
        freed("ours")
        outside.sendto(bytes(8) + b"after it", LOOPBACK)
        assert task.result()[28:] == b"after it"


# Rings in memory: no hook is asked when a task reads what is mapped, or maps it


def test_a_ring_that_is_mapped_before_stays_readable(ours: Group) -> None:
    def work() -> list[Any]:
        with sniffer() as sock, rx_ring(sock) as frames:
            held("ours")
            deliver(emit)
            return [frame() in frames[:2048], outcome(sock.recv, SIZE, socket.MSG_DONTWAIT)]

    assert ours.run(work) == [True, "EPERM"]


def test_a_ring_that_comes_along_can_be_mapped(ours: Group) -> None:
    held("ours")

    def work() -> list[Any]:
        with mmap.mmap(sock.fileno(), size) as frames:
            deliver(emit)
            return [frame() in frames[:2048], outcome(sock.recv, SIZE, socket.MSG_DONTWAIT)]

    with sniffer() as sock:
        with rx_ring(sock) as mapped:
            size = len(mapped)
        assert ours.run(work) == [True, "EPERM"]


# Help from outside: the kernel asks the programs of the task that calls


def test_a_packet_socket_that_is_passed_out_is_bound_there(ours: Group) -> None:
    held("ours")
    here, there = socket.socketpair()

    def work() -> Any:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as made:
            socket.send_fds(there, [b"x"], [made.fileno()])
            return outcome(made.bind, ("lo", OWN))

    with here, there:
        assert ours.run(work) == "EPERM"
        fd = socket.recv_fds(here, 1, 1)[1][0]
    with socket.socket(fileno=fd) as sock:
        sock.bind(("lo", OWN))
        emit()
        assert heard(sock) == frame()


@pytest.mark.parametrize(
    ("setup", "expected"), [(0, "EPERM"), (SETUP_SQPOLL, True)], ids=["own thread", "poller"]
)
def test_the_poller_of_a_ring_from_outside_reads_for_a_task(
    ours: Group, setup: int, expected: object
) -> None:
    """It is a thread of the task that made the ring; without one, who submits is asked."""
    held("ours")
    with sniffer() as sock, ring(setup) as made, mmap.mmap(-1, SIZE) as shared:
        deliver(emit)
        address = ctypes.addressof(ctypes.c_char.from_buffer(shared))

        def work() -> bool:
            made.do(Op.RECV, sock.fileno(), address, SIZE)
            return frame() in shared[:]

        assert ours.run(lambda: outcome(work)) == expected
