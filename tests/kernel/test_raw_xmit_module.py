# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_raw_xmit against the kernel: what it reports, and what it refuses to claim."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, InputError

from tests.kernel.conftest import Group, apply, info, program, raw_xmit, shipped
from tests.kernel.seen import attached, everything
from tests.kernel.tasks import ended, outcome, start, unshare

pytestmark = pytest.mark.usefixtures("alone")

Make = Callable[..., Group]

SOL_PACKET, PACKET_RX_RING, PACKET_TX_RING = 263, 5, 13
ETH_P_ALL = socket.htons(3)
AF_XDP = 44
CLONE_FILES = 0x400
HOOKS = ["socket_bind", "socket_create", "socket_recvmsg", "socket_setsockopt"]
PRIORITY_HOOKS = ["sock_graft", "socket_post_create"]
ONE_PAGE = struct.pack("4I", mmap.PAGESIZE, 1, 2048, 2)


def sniffing() -> object:
    """The outcome of making a socket that receives everything."""
    return outcome(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, ETH_P_ALL)


@contextlib.contextmanager
def holding(where: Group, make: Callable[[], object]) -> Iterator[int]:
    """The pid of a task of a cgroup that holds what `make` returns, while the block runs."""
    ready, go = os.pipe(), os.pipe()

    def task() -> None:
        with open(where.procs, "w", encoding="ascii") as procs:
            procs.write("0")
        held = make()
        os.close(go[1])
        os.write(ready[1], b"x")
        os.read(go[0], 1)  # until the other end is closed
        del held

    pid = start(task)
    os.close(go[0])
    os.read(ready[0], 1)
    try:
        yield pid
    finally:
        os.close(go[1])
        assert ended(pid) == 0
        for fd in ready:
            os.close(fd)


def packet(protocol: int, ring: int = 0) -> socket.socket:
    """An AF_PACKET socket, with a ring if one is named."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, protocol)
    if ring:
        sock.setsockopt(SOL_PACKET, ring, ONE_PAGE)
    return sock


def test_it_is_attached_told_and_taken_back(group: Make) -> None:
    ours = group("ours")
    result = raw_xmit("ours")
    assert (result["changed"], result["controls"]) == (True, {"ours": {"raw_xmit": "enforced"}})
    assert result["diff"] == {"before": {}, "after": {"ours": {"state": "present"}}}
    assert (ours.run(sniffing), sniffing()) == ("EPERM", "ok")
    assert not raw_xmit("ours")["changed"]
    told = info()
    assert told["raw_xmit"] == {"ours": "enforced"}
    assert told["kernel"]["lsm_cgroup_slots"] == {"total": 10, "used": 4, "hooks": HOOKS}
    result = raw_xmit("ours", state="absent")
    assert result["diff"] == {"before": {"ours": {"state": "present"}}, "after": {}}
    assert (ours.run(sniffing), everything()) == ("ok", {})
    assert not raw_xmit("ours", state="absent")["changed"]


def test_check_mode_says_the_same_and_changes_nothing(group: Make) -> None:
    ours = group("ours")
    checked = raw_xmit("ours", check=True)
    assert (checked["changed"], everything()) == (True, {})
    assert checked["actions"] == raw_xmit("ours")["actions"]
    before = everything()
    assert raw_xmit("ours", check=True, state="absent")["changed"]
    assert (everything(), ours.run(sniffing)) == (before, "EPERM")


def test_several_cgroups_in_one_task(group: Make) -> None:
    one, two, other = group("one"), group("two"), group("other")
    raw_xmit("one", "two")
    assert [each.run(sniffing) for each in (one, two, other)] == ["EPERM", "EPERM", "ok"]
    raw_xmit("two", state="absent")
    assert [each.run(sniffing) for each in (one, two, other)] == ["EPERM", "ok", "ok"]


def test_the_slots_that_a_policy_takes_are_told_too(group: Make) -> None:
    group("ours", priority=6)
    raw_xmit("ours")
    slots = info()["kernel"]["lsm_cgroup_slots"]
    assert (slots["used"], slots["hooks"]) == (
        6,
        sorted([*HOOKS, "sock_graft", "socket_post_create"]),
    )


def test_a_program_that_was_detached_by_hand_is_told_and_attached_again(group: Make) -> None:
    ours = group("ours")
    raw_xmit("ours")
    (version,) = info()["objects"]["raw_xmit"]
    os.unlink(f"/sys/fs/bpf/cgnet/raw_xmit/{version}/link/{ours.id}/raw_xmit_create")
    assert info()["raw_xmit"] == {"ours": "not attached: raw_xmit_create"}
    result = raw_xmit("ours")
    assert result["diff"] == {
        "before": {"ours": {"state": "present", "detached": ["raw_xmit_create"]}},
        "after": {"ours": {"state": "present"}},
    }
    assert (ours.run(sniffing), info()["raw_xmit"]) == ("EPERM", {"ours": "enforced"})


def test_another_version_takes_every_cgroup_along(group: Make) -> None:
    one, two = group("one"), group("two")
    old = shipped("raw_xmit", version=f"{'0' * 16}-{'0' * 8}")
    raw_xmit("one", "two", obj=old)
    result = raw_xmit("one")
    new = shipped("raw_xmit").manifest["version"]
    versions = {"state": "present", "versions": [old.manifest["version"]]}
    assert result["diff"]["before"] == {"one": versions, "two": versions}
    assert list(info()["objects"]["raw_xmit"]) == [new]
    assert [each.run(sniffing) for each in (one, two)] == ["EPERM", "EPERM"]
    assert not raw_xmit("one", "two")["changed"]


def test_cgnet_program_loads_the_same_object(group: Make) -> None:
    ours = group("ours")
    program("raw_xmit", ["ours"], obj=shipped("raw_xmit"))
    assert not raw_xmit("ours")["changed"]
    assert ours.run(sniffing) == "EPERM"


@pytest.mark.parametrize("ring", [PACKET_RX_RING, PACKET_TX_RING])
def test_a_ring_on_a_socket_that_receives_is_not_claimed_to_be_stopped(
    group: Make, ring: int
) -> None:
    """A ring to send from may share its mapping with one to receive into."""
    ours = group("ours")
    with holding(ours, lambda: packet(ETH_P_ALL, ring)) as pid:
        with pytest.raises(
            HostError, match=f"ours: process {pid} may read .*descriptor [0-9]+ receives"
        ):
            raw_xmit("ours")
        assert everything() == {}
        raw_xmit("ours", state="absent")
    assert raw_xmit("ours")["changed"]


def test_what_a_task_of_a_cgroup_below_holds_counts(group: Make) -> None:
    group("ours")
    below = group("ours/below")
    held = holding(below, lambda: packet(ETH_P_ALL, PACKET_RX_RING))
    with held, pytest.raises(HostError, match="ours: process"):
        raw_xmit("ours", check=True)
    assert everything() == {}


def test_what_a_thread_of_a_threaded_cgroup_holds_counts(group: Make) -> None:
    ours = group("ours")
    threads = group("ours/threads")
    with open(f"{threads.directory}/cgroup.type", "w", encoding="ascii") as kind:
        kind.write("threaded")
    with holding(ours, lambda: packet(ETH_P_ALL, PACKET_RX_RING)) as pid:
        with open(f"{threads.directory}/cgroup.threads", "w", encoding="ascii") as tasks:
            tasks.write(str(pid))
        for path in ("ours", "ours/threads"):
            with pytest.raises(HostError, match=f"process {pid} may read"):
                raw_xmit(path)
    assert everything() == {}


def test_a_ring_whose_descriptor_is_closed_counts(group: Make) -> None:
    ours = group("ours")

    def mapped() -> None:  # by libc: Python's mmap keeps a descriptor of its own
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
        with packet(ETH_P_ALL, PACKET_RX_RING) as sock:
            size, flags = mmap.PAGESIZE, (mmap.PROT_READ, mmap.MAP_SHARED)
            assert libc.mmap(None, size, *flags, sock.fileno(), 0) != ctypes.c_void_p(-1).value

    held = holding(ours, mapped)
    with held, pytest.raises(HostError, match=r"maps socket \d+, whose descriptor is closed"):
        raw_xmit("ours")
    assert everything() == {}


def test_a_ring_that_only_a_thread_has_counts(group: Make) -> None:
    """Its descriptors are its own, and the first thread has ended."""
    ours = group("ours")

    def threads() -> threading.Thread:
        opened = threading.Event()

        def work() -> None:
            unshare(CLONE_FILES)
            os.closerange(3, 1024)  # among them, the pipes that the first thread waits on
            with packet(ETH_P_ALL, PACKET_RX_RING):
                opened.set()
                closing.wait()

        closing = threading.Event()
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        opened.wait()
        return thread

    held = holding(ours, threads)
    with held, pytest.raises(HostError, match=r"may read .*descriptor"):
        raw_xmit("ours")
    assert everything() == {}


def test_a_ring_is_told_by_cgnet_info(group: Make) -> None:
    ours, other = group("ours"), group("other")
    raw_xmit("ours")
    with holding(other, lambda: packet(ETH_P_ALL, PACKET_RX_RING)) as pid:
        with open(ours.procs, "w", encoding="ascii") as procs:
            procs.write(str(pid))
        assert info()["raw_xmit"]["ours"].startswith(f"process {pid} may read")
    assert info()["raw_xmit"] == {"ours": "enforced"}


def test_an_xdp_socket_is_not_claimed_to_be_stopped(group: Make) -> None:
    ours = group("ours")
    held = holding(ours, lambda: socket.socket(AF_XDP, socket.SOCK_RAW))
    with held, pytest.raises(HostError, match="AF_XDP"):
        raw_xmit("ours")
    assert everything() == {}


def test_sockets_that_no_ring_feeds_are_no_obstacle(group: Make) -> None:
    ours = group("ours")

    def sockets() -> list[socket.socket]:
        return [
            packet(ETH_P_ALL), packet(0, PACKET_TX_RING), packet(0),
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
            *socket.socketpair(),
        ]  # fmt: skip

    with holding(ours, sockets):
        assert raw_xmit("ours")["changed"]


def test_a_ring_that_was_moved_in_later_fails_the_next_run(group: Make) -> None:
    ours, other = group("ours"), group("other")
    raw_xmit("ours")
    with holding(other, lambda: packet(ETH_P_ALL, PACKET_RX_RING)) as pid:
        assert not raw_xmit("ours")["changed"]
        with open(ours.procs, "w", encoding="ascii") as procs:
            procs.write(str(pid))
        with pytest.raises(HostError, match=f"process {pid} may read"):
            raw_xmit("ours")
    assert not raw_xmit("ours")["changed"]


def test_a_policy_that_hides_the_answer_leaves_the_doubt(group: Make) -> None:
    """Whether there is a ring is asked by setsockopt(), which a policy may refuse."""
    ours = group("ours")
    with holding(ours, lambda: packet(ETH_P_ALL)):
        apply([{"cgroup": "ours", "sockopts": {"allow": []}}])
        with pytest.raises(HostError, match="AF_PACKET"):
            raw_xmit("ours")
    assert "raw_xmit_create" not in attached(ours.id)


def test_at_least_one_cgroup_is_named() -> None:
    for state in ("present", "absent"):
        with pytest.raises(InputError, match="it takes cgroup or unit"):
            raw_xmit(state=state)


def test_a_cgroup_is_named_once(group: Make) -> None:
    group("ours")
    with pytest.raises(InputError, match=r"cgroup\[1\]: .*the same cgroup as cgroup\[0\]"):
        raw_xmit("ours", "/sys/fs/cgroup/ours")
    assert everything() == {}
