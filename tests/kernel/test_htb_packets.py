# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a policy's priority to a byte in a class: what containers send over a veth to a peer.

The peer is in a network namespace of its own. The counters are those that tc shows.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, groups
from tests.kernel.sends import made_in
from tests.kernel.shaping import batch, htb, sent, tool
from tests.kernel.test_netns_packets import setns

HERE, PEER = {4: "192.0.2.1", 6: "2001:db8::1"}, {4: "192.0.2.2", 6: "2001:db8::2"}
NETWORKS = ("192.0.2.0/24", "2001:db8::/64")
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
MAC = {"near": "02:00:00:00:00:01", "far": "02:00:00:00:00:02"}
PORT = 5001
AF11 = 0x28
BULK = 0x08
"""A TOS of which the kernel makes a priority (rt_tos2priority())."""
CLASSES: list[dict[str, Any]] = [
    {"classid": "1:1", "rate": "100mbit"},
    {"classid": "1:10", "parent": "1:1", "rate": "20mbit", "burst": "32k"},
    {"classid": "1:20", "parent": "1:1", "rate": "5mbit", "burst": "32k"},
    {"classid": "1:99", "parent": "1:1", "rate": "1mbit"},
]
OWN = {"first": "1:10", "second": "1:20"}
OTHERS = "1:99"


@contextlib.contextmanager
def within(namespace: str) -> Iterator[None]:
    """In another network namespace for the block."""
    with open("/proc/self/ns/net", "rb") as home, open(f"/run/netns/{namespace}", "rb") as away:
        setns(away.fileno())
        try:
            yield
        finally:
            setns(home.fileno())


def connect(near: str, far: str, namespace: str) -> None:
    """A veth pair whose far end is in a namespace. Nothing is to be asked about addresses.

    A slow end is no reason for TCP to send a segment again: one that comes when the socket is gone
    is answered with a reset, which is nobody's.
    """
    tool(f"ip netns add {namespace}")
    veth = f"{near} address {MAC['near']} type veth peer name {far} address {MAC['far']}"
    tool(f"ip link add {veth} netns {namespace}")
    for where, name, addresses, others, mac in (
        (contextlib.nullcontext(), near, HERE, PEER, MAC["far"]),
        (within(namespace), far, PEER, HERE, MAC["near"]),
    ):
        with where:
            batch(
                "ip",
                f"link set {name} addrgenmode none",
                f"address add {addresses[4]}/24 dev {name} noprefixroute",
                f"address add {addresses[6]}/64 dev {name} nodad noprefixroute",
                f"link set {name} up",
                *(f"route add {network} dev {name} rto_min 10s" for network in NETWORKS),
                *(f"neighbour add {others[each]} dev {name} lladdr {mac}" for each in FAMILIES),
            )


LOSS_PROBE = "net/ipv4/tcp_early_retrans"
"""With 0 TCP doesn't send the tail again before its timeout, which the routes make long."""


def reported() -> bool:
    """Whether the kernel has sent its report of multicast groups (ICMPv6 type 143)."""
    with open("/proc/net/dev_snmp6/near", encoding="ascii") as file:
        return any(line.split()[0] == "Icmp6OutType143" for line in file)


@pytest.fixture(scope="module")
def wire() -> Iterator[str]:
    """The interface that leads to the peer, with the classes."""
    with tasks.sysctl("net/ipv6/mld_qrv", "1"):  # else the kernel reports its groups again later
        connect("near", "far", "peer")
    tool("ip link set near gso_max_segs 1")  # so that both counters count the same headers
    with within("peer"), open(f"/proc/sys/{LOSS_PROBE}", "w", encoding="ascii") as file:
        file.write("0")
    try:
        assert tasks.eventually(reported, True)
        with tasks.sysctl(LOSS_PROBE, "0"):
            yield "near"
    finally:
        tool("ip netns del peer")  # and the pair with it


@pytest.fixture(scope="module")
def containers(wire: str) -> Iterator[dict[str, Group]]:
    """Two containers, each with a priority that names a class."""
    htb(wire, classes=CLASSES, default=OTHERS)
    with groups() as make:
        made = {name: make(name, priority=classid, tos=["af11"]) for name, classid in OWN.items()}
        made["boxed"] = make("boxed", priority="1:10", netns="any")
        yield {**made, "free": make("free")}


def counted(wire: str) -> dict[str, int]:
    """The bytes of each class without others below it, once none waits."""
    return {name: count for name, count in sent(wire).items() if name != "1:1"}


def since(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What was sent meanwhile, of each class that has sent."""
    found = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: count for name, count in found.items() if count}


def link_bytes(wire: str) -> int:
    """What has left an interface."""
    with open(f"/sys/class/net/{wire}/statistics/tx_bytes", encoding="ascii") as file:
        return int(file.read())


RESET_SIZES = {4: 14 + 20 + 20, 6: 14 + 40 + 20, 0: 0}
"""Of each family the bytes of a reset that the kernel sends for nobody: it has no options."""


def resets() -> int:
    """How many resets this network namespace has sent."""
    with open("/proc/net/snmp", encoding="ascii") as file:
        names, values = (line.split() for line in file if line.startswith("Tcp:"))
    return int(values[names.index("OutRsts")])


SIZE = 20_000


def listener(family: int, addresses: dict[int, str]) -> socket.socket:
    """A listening socket of whoever calls."""
    return socket.create_server((addresses[family], PORT), family=FAMILIES[family])


def listener_of(container: Group, family: int) -> socket.socket:
    """A listening socket of a container."""
    (sock,) = made_in(container, lambda: [listener(family, HERE)])
    return sock


def taking(there: socket.socket, first: bool) -> None:
    """The peer's part of a conversation: SIZE bytes come, one goes, and one end closes first."""
    assert len(there.recv(SIZE, socket.MSG_WAITALL)) == SIZE
    there.sendall(b"x")
    if not first:
        assert there.recv(1) == b""


def giving(sock: socket.socket, first: bool) -> None:
    """The container's part. An end that closes first answers in TIME_WAIT at last."""
    sock.sendall(b"x" * SIZE)
    assert sock.recv(1) == b"x"
    if not first:
        assert sock.recv(1) == b""


@contextlib.contextmanager
def answering(family: int, first: bool) -> Iterator[None]:
    """The peer takes a connection."""
    with within("peer"):
        listening = listener(family, PEER)

    def serve() -> None:
        with listening.accept()[0] as there:
            taking(there, first)

    with listening:
        pid = tasks.start(serve)
        yield
        assert tasks.ended(pid) == 0


def set_class(sock: socket.socket, value: int) -> None:
    """IP_TOS or IPV6_TCLASS."""
    (tasks.set_tos if sock.family == socket.AF_INET else tasks.set_tclass)(sock, value)


def by_client(container: Group, family: int, *classes: int, first: bool = False) -> int:
    """It connects and sends; its port. `first` is whether it is the first to close."""

    def work() -> int:
        with socket.socket(FAMILIES[family], socket.SOCK_STREAM) as sock:
            for value in classes:
                set_class(sock, value)
            sock.connect((PEER[family], PORT))
            giving(sock, first)
            port: int = sock.getsockname()[1]
            return port

    with answering(family, not first):
        return container.run(work)


def by_accepted(container: Group, family: int, *_classes: int) -> None:
    """It accepts a connection of the peer's, and sends."""

    def work() -> None:
        with listening.accept()[0] as sock:
            giving(sock, first=False)

    def client() -> None:
        with within("peer"), socket.create_connection((HERE[family], PORT)) as there:
            taking(there, first=True)

    with listener_of(container, family) as listening:
        pid = tasks.start(client)
        container.run(work)
        assert tasks.ended(pid) == 0


def by_udp(container: Group, family: int, *classes: int) -> None:
    """Datagrams, one as the socket was made and one with each class."""

    def work() -> None:
        with socket.socket(FAMILIES[family], socket.SOCK_DGRAM) as sock:
            for value in (0, *classes):
                set_class(sock, value)
                sock.sendto(b"x" * 1000, (PEER[family], 9))

    container.run(work)


def by_raw(container: Group, family: int, *_classes: int) -> None:
    """A packet of a protocol that nobody answers, by a raw socket."""

    def work() -> None:
        with socket.socket(FAMILIES[family], socket.SOCK_RAW, 253) as sock:
            sock.sendto(b"x" * 1000, (PEER[family], 0))

    container.run(work)


def by_header(container: Group, _family: int, *_classes: int) -> None:
    """A packet whose header is the task's own."""
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 1020, 1, 0, 64, 253, 0,
        socket.inet_aton(HERE[4]), socket.inet_aton(PEER[4]),
    )  # fmt: skip

    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.sendto(header + b"x" * 1000, (PEER[4], 0))

    container.run(work)


def _mac(name: str) -> bytes:
    return bytes.fromhex(MAC[name].replace(":", ""))


def by_frame(container: Group, _family: int, *_classes: int) -> None:
    """A frame of the task's own."""

    def work() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind(("near", 0))
            sock.send(_mac("far") + _mac("near") + b"\x88\xb5" + b"x" * 1000)

    container.run(work)


def by_packet(container: Group, _family: int, *_classes: int) -> None:
    """A frame whose header is the kernel's."""

    def work() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
            sock.sendto(b"x" * 1000, ("near", 0x88B5, 0, 0, _mac("far")))

    container.run(work)


KINDS: dict[str, tuple[Callable[..., object], int, tuple[int, ...]]] = {
    "TCP, the client": (by_client, 4, ()),
    "TCP, the client, IPv6": (by_client, 6, ()),
    "TCP, the client, after IP_TOS": (by_client, 4, (AF11,)),
    "TCP, the client, after IPV6_TCLASS": (by_client, 6, (AF11,)),
    "TCP, accepted": (by_accepted, 4, ()),
    "TCP, accepted, IPv6": (by_accepted, 6, ()),
    "UDP": (by_udp, 4, ()),
    "UDP, IPv6": (by_udp, 6, ()),
    "UDP, after IP_TOS": (by_udp, 4, (AF11,)),
    "raw": (by_raw, 4, ()),
    "raw, IPv6": (by_raw, 6, ()),
    "IPPROTO_RAW": (by_header, 4, ()),
    "AF_PACKET, SOCK_RAW": (by_frame, 0, ()),
    "AF_PACKET, SOCK_DGRAM": (by_packet, 0, ()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_byte_lands_in_the_containers_own_class(
    wire: str, containers: dict[str, Group], kind: str
) -> None:
    """As many as have left the interface, but for resets: those that came were for nobody.

    On a slow machine a handshake takes so long that its first segment is sent again, and what
    answers that may come when the socket is gone.
    """
    send, family, given = KINDS[kind]
    for name, classid in OWN.items():
        before, total, reset = counted(wire), link_bytes(wire), resets()
        send(containers[name], family, *given)
        found, nobodys = since(before, counted(wire)), RESET_SIZES[family] * (resets() - reset)
        others = {OTHERS: nobodys} if nobodys else {}
        assert found == {classid: link_bytes(wire) - total - nobodys, **others}


def test_without_a_policy_it_is_the_class_of_the_others(
    wire: str, containers: dict[str, Group]
) -> None:
    before, total = counted(wire), link_bytes(wire)
    by_udp(containers["free"], 4, BULK)
    assert since(before, counted(wire)) == {OTHERS: link_bytes(wire) - total}


# Answers that no call of a task sends

RESET = struct.pack("ii", 1, 0)
"""The SO_LINGER that makes close() send a reset."""
OF_FAMILY = pytest.mark.parametrize("family", FAMILIES)


@OF_FAMILY
def test_a_syn_ack_is_the_listeners(wire: str, containers: dict[str, Group], family: int) -> None:
    """Nobody has accepted, and nothing else was sent."""
    before = counted(wire)
    with listener_of(containers["first"], family):
        with within("peer"), socket.create_connection((HERE[family], PORT)) as there:
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        assert since(before, counted(wire)).keys() == {"1:10"}


@OF_FAMILY
def test_a_reset_of_a_connection_is_the_sockets(
    wire: str, containers: dict[str, Group], family: int
) -> None:
    def work() -> None:
        with socket.create_connection((PEER[family], PORT)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    before = counted(wire)
    with within("peer"):
        listening = listener(family, PEER)
    with listening:
        containers["first"].run(work)
        with listening.accept()[0] as there:
            assert tasks.outcome(there.recv, 1) == "ECONNRESET"
    assert since(before, counted(wire)).keys() == {"1:10"}


@OF_FAMILY
def test_a_reset_for_nobody_is_of_the_others(
    wire: str, containers: dict[str, Group], family: int
) -> None:
    """Nobody listens, so the kernel has no socket to take a priority from."""
    before = counted(wire)
    with within("peer"), socket.socket(FAMILIES[family]) as there:
        assert tasks.outcome(there.connect, (HERE[family], PORT)) == "ECONNREFUSED"
    assert since(before, counted(wire)).keys() == {OTHERS}


@OF_FAMILY
def test_an_answer_in_time_wait_is_the_sockets(
    wire: str, containers: dict[str, Group], family: int
) -> None:
    """The peer sends an end again that is long acknowledged.

    Over IPv4 later kernels than 6.12 forget the priority: seen on 7.3.
    """
    port = by_client(containers["second"], family, first=True)
    before = counted(wire)
    segment = struct.pack("!HHIIBBHHH", PORT, port, 1, 1, 5 << 4, 0x11, 1000, 0, 0)
    with within("peer"), socket.socket(FAMILIES[family], socket.SOCK_RAW, 6) as sock:
        if family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 16)
        else:
            segment = segment[:16] + struct.pack("!H", checksum(segment)) + segment[18:]
        sock.sendto(segment, (HERE[family], 0))
    forgets = family == 4 and tasks.release() > (6, 12)
    assert since(before, counted(wire)).keys() == {OTHERS if forgets else "1:20"}


def checksum(segment: bytes) -> int:
    """TCP's over IPv4, of what the peer sends."""
    addresses = socket.inet_aton(PEER[4]) + socket.inet_aton(HERE[4])
    data = addresses + struct.pack("!BBH", 0, 6, len(segment)) + segment
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# Throughput

RATES = {"first": 20_000_000, "second": 5_000_000}
WINDOW = 1.0
"""Seconds over which a rate is measured."""


def test_each_gets_the_rate_of_its_class(wire: str, containers: dict[str, Group]) -> None:
    """Both send at once, as fast as they can, until each is within 15 % of its rate."""
    with within("peer"):
        listening = listener(4, PEER)

    def work(name: str) -> None:
        with socket.create_connection((PEER[4], PORT)) as sock:
            sock.sendall(name[:1].encode())
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # it was enough
                while True:
                    sock.sendall(b"x" * (1 << 16))

    with listening, large_packets(wire):
        pids = [
            tasks.start(lambda name=name: containers[name].run(lambda: work(name)))
            for name in RATES
        ]
        with contextlib.ExitStack() as stack:
            conversations = [stack.enter_context(listening.accept()[0]) for _each in RATES]
            found, overall = settled(conversations)
        assert [tasks.ended(pid) for pid in pids] == [0, 0]
    assert found == pytest.approx(RATES, rel=0.15)
    assert {name: rate < RATES[name] * 1.15 for name, rate in overall.items()} == dict.fromkeys(
        RATES, True
    )


@contextlib.contextmanager
def large_packets(wire: str) -> Iterator[None]:
    """TCP hands over many segments at once: an emulated CPU can't fill 20 Mbit one by one."""
    tool(f"ip link set {wire} gso_max_segs 65535")
    yield
    tool(f"ip link set {wire} gso_max_segs 1")


def settled(conversations: list[socket.socket]) -> tuple[dict[str, float], dict[str, float]]:
    """Bits a second of each container, with their headers: in the last window, and in all."""
    called = {name[:1].encode(): name for name in RATES}
    names = {sock: called[sock.recv(1)] for sock in conversations}
    began = window = time.monotonic()
    total = dict.fromkeys(RATES, 0)
    before = dict(total)
    found: dict[str, float] = {}
    with selectors.DefaultSelector() as selector:
        for sock in conversations:
            selector.register(sock, selectors.EVENT_READ)
        while found != pytest.approx(RATES, rel=0.15) and window < began + tasks.PATIENCE:
            for key, _events in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                total[names[key.fileobj]] += len(key.fileobj.recv(1 << 16))
            now = time.monotonic()
            if now >= window + WINDOW:
                found = rates({name: total[name] - before[name] for name in RATES}, now - window)
                window, before = now, dict(total)
    return found, rates(total, window - began)


def rates(payload: dict[str, int], seconds: float) -> dict[str, float]:
    """HTB counts headers, which a socket doesn't see."""
    return {name: count * 8 * 1514 / 1448 / seconds for name, count in payload.items()}


# A veth on the way


@pytest.fixture
def box(wire: str) -> Iterator[str]:
    """A container's own network namespace, from which the host forwards."""
    tool("ip netns add box")
    try:
        tool("ip link add outer type veth peer name inner netns box")
        tool("ip address add 198.51.100.1/24 dev outer")
        tool("ip link set outer up")
        tool("ip -n box address add 198.51.100.2/24 dev inner")
        tool("ip -n box link set inner up")
        tool("ip -n box route add default via 198.51.100.1")
        with tasks.sysctl("net/ipv4/ip_forward", "1"):
            yield "box"
    finally:
        tool("ip netns del box")


def from_within(container: Group) -> None:
    """A task of a container sends in its network namespace."""

    def work() -> None:
        with within("box"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x" * 1000, (PEER[4], 9))
            assert tasks.priority(sock) == 0x10010

    container.run(work)


FRAME = 1000 + 8 + 20 + 14


def test_a_veth_on_the_way_clears_the_priority(
    wire: str, containers: dict[str, Group], box: str
) -> None:
    """It is there in the container's namespace, and gone on the host."""
    tool("tc -n box qdisc add dev inner root handle 1: htb")
    tool("tc -n box class add dev inner parent 1: classid 1:10 htb rate 20mbit")
    before = counted(wire)
    from_within(containers["boxed"])
    assert sent("inner", box) == {"1:10": FRAME}
    assert since(before, counted(wire)) == {OTHERS: FRAME}


@pytest.mark.parametrize(("update", "classid"), [("0", "1:10"), ("1", OTHERS)])
def test_a_filter_on_the_veth_gives_it_again(
    wire: str, containers: dict[str, Group], box: str, update: str, classid: str
) -> None:
    """Which lasts unless the host makes one of the TOS when it forwards."""
    tool("tc qdisc add dev outer clsact")
    tool("tc filter add dev outer ingress matchall action skbedit priority 1:10")
    before = counted(wire)
    with tasks.sysctl("net/ipv4/ip_forward_update_priority", update):
        from_within(containers["boxed"])
        assert since(before, counted(wire)) == {classid: FRAME}
