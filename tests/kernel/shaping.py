# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interfaces with classes of HTB, and what tc says of them."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _shaping
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._rtnetlink import Links

from tests.kernel.conftest import shipped
from tests.kernel.tasks import eventually

NUMBERS = itertools.count()
CLASSES: list[dict[str, Any]] = [
    {"classid": "1:1", "rate": "100mbit"},
    {"classid": "1:10", "parent": "1:1", "rate": "20mbit", "ceil": "100mbit", "prio": 1},
    {"classid": "1:20", "parent": "1:1", "rate": "5mbit", "burst": "15k", "quantum": "3000"},
]
THERE = "192.0.2.2"


def tool(line: str) -> str:
    """What a command prints."""
    return subprocess.run(line.split(), check=True, stdout=subprocess.PIPE, text=True).stdout


def batch(program: str, *lines: str) -> str:
    """What ip or tc prints for some of its commands: one process for all."""
    return subprocess.run(
        [program, "-batch", "-"],
        input="\n".join(lines),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def htb(interface: str, *, check: bool = False, **given: Any) -> dict[str, Any]:
    """What a cgnet_htb task does and returns."""
    obj = shipped("classify")
    params = {
        "interface": interface, "handle": "1:", "default": "1:20", "r2q": 10, "per_queue": False,
        "classes": CLASSES, "purge": False, "state": "present",
        "_object": obj.manifest, "_object_path": obj.path, **given,
    }  # fmt: skip
    return _shaping.reconcile(params, check)


@contextlib.contextmanager
def failing_at_the_end() -> Iterator[None]:
    """The look at an interface fails that a run takes when it has done everything."""
    look, looked = Links.look, itertools.count(1)

    def failing(links: Links, name: str) -> Any:
        if next(looked) == 2:
            raise KernelError("rtnetlink", errno.EIO)
        return look(links, name)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Links, "look", failing)
        yield


@contextlib.contextmanager
def dummy(queues: int = 1) -> Iterator[str]:
    """An interface that sends to nobody."""
    name = f"shaped{next(NUMBERS)}"
    tool(f"ip link add {name} numtxqueues {queues} type dummy")
    try:
        batch(
            "ip",
            f"address add 192.0.2.1/24 dev {name}",
            f"link set {name} up",
            f"neighbour add {THERE} dev {name} lladdr 02:00:00:00:00:02",
        )
        yield name
    finally:
        tool(f"ip link del {name}")


def disciplines(interface: str) -> list[str]:
    """As tc prints them, but for the automatic handles of leaves."""
    found = json.loads(tool(f"tc -json qdisc show dev {interface}"))
    return sorted(
        f"{each['kind']} {each['handle'] if each['kind'] in ('htb', 'mq') else ''} "
        f"{each.get('parent', 'root')}"
        for each in found
    )


def classes(interface: str) -> dict[str, str]:
    """The line of tc for each class, but for the automatic handle of its leaf."""
    lines = tool(f"tc class show dev {interface}").splitlines()
    words = [line.split() for line in lines if line.startswith("class htb")]
    return {
        each[2]: " ".join(
            word for at, word in enumerate(each[3:], 3) if "leaf" not in each[at - 1 : at + 1]
        )
        for each in words
    }


def everything(interface: str) -> list[str]:
    """All that tc says of it, automatic handles too. It shows in whatever order."""
    shown = tool(f"tc qdisc show dev {interface}")
    handles = sorted(line.split()[2] for line in shown.splitlines())
    more = batch(
        "tc",
        f"class show dev {interface}",
        *(f"filter show dev {interface} parent {each}" for each in handles),
    )
    return sorted((shown + more).splitlines())


def send(priority: int | None = None, count: int = 1) -> int:
    """Send packets of 1000 bytes; how many bytes they are on the link."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if priority is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, priority)
        for _packet in range(count):
            sock.sendto(b"x" * 1000, (THERE, 9))
    return (1000 + 8 + 20 + 14) * count


def counters(interface: str, namespace: str = "") -> dict[str, tuple[int, int]]:
    """Of each class the bytes that it has sent, and those that wait in it."""
    told = re.compile(r"class htb (\S+) .*?Sent (\d+) bytes.*?backlog (\d+)(K?)b", re.DOTALL)
    into = f"-n {namespace} " if namespace else ""
    found = told.findall(tool(f"tc {into}-statistics class show dev {interface}"))
    return {
        name: (int(count), int(backlog) * (1024 if kilo else 1))
        for name, count, backlog, kilo in found
    }


def sent(interface: str, namespace: str = "") -> dict[str, int]:
    """The bytes of each class that has sent any, once none wait."""

    found: dict[str, tuple[int, int]] = {}

    def waiting() -> bool:
        found.update(counters(interface, namespace))
        return any(backlog for _bytes, backlog in found.values())

    assert not eventually(waiting, False)
    return {name: count for name, (count, _backlog) in found.items() if count}
