# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypothesis strategies for policies, as values and as documents.

Sets of ports are made here without _ports, so that both can be held against each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _sockopts
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BindPorts,
    Cgroup,
    Policy,
    Range,
    Sockopts,
)
from hypothesis import strategies as st

HOST_COOKIE = 4321
CGROUP = Cgroup("system.slice/web.service", 7041)

priorities = st.sampled_from([0, 1, 0xFFFF, 0x10000, 0x10010, 2**32 - 1]) | st.integers(
    0, 2**32 - 1
)
dscps = st.sets(st.integers(0, 63)).map(lambda found: tuple(sorted(found)))
belows = st.sampled_from([2, 3, 256, 257, 1024, 16384, 65535, 65536]) | st.integers(2, 65536)


def canonical(ports: Iterable[int]) -> tuple[Range, ...]:
    """Ascending ranges that neither touch nor overlap, from single ports."""
    ranges: list[Range] = []
    for port in sorted(set(ports)):
        if ranges and ranges[-1][1] + 1 == port:
            ranges[-1] = (ranges[-1][0], port)
        else:
            ranges.append((port, port))
    return tuple(ranges)


def expanded(ranges: Iterable[Range] | None) -> set[int]:
    """Every port of some ranges; none of None."""
    return {port for low, high in ranges or () for port in range(low, high + 1)}


@st.composite
def port_lists(draw: st.DrawFn, below: int) -> tuple[Range, ...]:
    """Canonical ports from 1 to below - 1, with the edges and long ranges in it often.

    At most 12 short ranges and 3 long ones: two lists never need more than 78 blocks.
    """
    port = st.sampled_from([1, below - 1, min(255, below - 1), min(256, below - 1)])
    port |= st.integers(1, below - 1)
    found: set[int] = set()
    for start in draw(st.lists(port, max_size=12)):
        found.update(range(start, min(below, start + draw(st.integers(1, 3)))))
    for _number in range(draw(st.integers(0, 3))):
        low, high = sorted((draw(port), draw(port)))
        found.update(range(low, high + 1))
    return canonical(found)


@st.composite
def bind_ports(draw: st.DrawFn) -> BindPorts:
    """Any valid bind_ports: an empty list and a protocol that is not governed among them."""
    below = draw(belows)
    listed = st.just(()) | port_lists(below)
    governed = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    tcp, udp = (draw(listed) if yes else None for yes in governed)
    return BindPorts(tcp=tcp, udp=udp, below=below, unprivileged=draw(st.booleans()))


_known = st.sampled_from(
    [(level, name) for level, names in _sockopts.OPTIONS.items() for name in names.values()]
)
_numbers = st.sampled_from([0, 1, 6, 41, 2**31 - 1]) | st.integers(0, 2**31 - 1)
options = _known | st.tuples(_numbers, _numbers)


def sockopts(max_size: int = 128) -> st.SearchStrategy[Sockopts]:
    """Any valid sockopts; the list may be empty or full."""
    return st.builds(
        Sockopts,
        allow=st.booleans(),
        options=st.sets(options, max_size=max_size).map(lambda found: tuple(sorted(found))),
    )


def policies() -> st.SearchStrategy[Policy]:
    """Any valid policy: any subset of the controls, but at least one."""
    return st.builds(
        Policy,
        priority=st.none() | priorities,
        tos=st.none() | dscps,
        bind_ports=st.none() | bind_ports(),
        ipv4=st.none() | st.just("hidden"),
        sockopts=st.none() | sockopts(max_size=20),
        netns=st.sampled_from(["host", "any"]),
        mode=st.sampled_from(["enforce", "audit"]),
    ).filter(lambda policy: policy != Policy(netns=policy.netns, mode=policy.mode))


scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, -1, 255, 256, 65535, 65536, 2**32 - 1, 2**32])
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["1:10", "80-90", "90-80", "-", "0x20", "010", "cs0", "6/42", "/", "hidden"])
    | st.binary(max_size=4)
    | st.dates()
)


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(
        ["priority", "tos", "bind_ports", "ipv4", "sockopts", "netns", "mode", "tcp", "udp",
         "below", "unprivileged", "allow", "deny"]
    )  # fmt: skip
    return (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.integers() | st.none(), inner, max_size=2)
    )


garbage: st.SearchStrategy[Any] = st.recursive(scalars, _deeper, max_leaves=12)

documents: st.SearchStrategy[Any] = (
    st.fixed_dictionaries(
        {},
        optional={
            "priority": priorities | garbage,
            "tos": st.lists(st.integers(0, 255) | scalars, max_size=4) | garbage,
            "bind_ports": st.fixed_dictionaries(
                {},
                optional={
                    "tcp": st.lists(st.integers(1, 65535) | scalars, max_size=4) | garbage,
                    "udp": st.lists(st.integers(1, 65535) | scalars, max_size=4) | garbage,
                    "below": belows | scalars,
                    "unprivileged": st.booleans() | scalars,
                },
            )
            | garbage,
            "ipv4": st.just("hidden") | garbage,
            "sockopts": st.dictionaries(
                st.sampled_from(["allow", "deny"]),
                st.lists(st.sampled_from(["SOL_SOCKET/SO_MARK", "6/42"]) | scalars, max_size=4),
                max_size=2,
            )
            | garbage,
            "netns": st.sampled_from(["host", "any"]) | garbage,
            "mode": st.sampled_from(["enforce", "audit"]) | garbage,
        },
    )
    | garbage
)
"""What a user might write: documents of the right shape with anything in them, and garbage."""
