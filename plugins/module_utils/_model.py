# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that everything else passes around: frozen, pure, comparable.

Dependencies point down: nothing here imports anything of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

Range = tuple[int, int]
"""First and last port, both included."""


class BindPorts(NamedTuple):
    """Listed ports per protocol; None: that protocol is not governed; (): none allowed."""

    tcp: tuple[Range, ...] | None
    udp: tuple[Range, ...] | None
    below: int
    unprivileged: bool


class Sockopts(NamedTuple):
    """A list of (level, name) that is allowed, or denied."""

    allow: bool
    options: tuple[tuple[int, int], ...]


class Policy(NamedTuple):
    """What a cgroup's tasks may do. None: that control does not govern.

    `priority` is SO_PRIORITY (32 bits, host order), `tos` the DSCPs (0 to 63)
    in ascending order, `netns` "host" or "any"; a decoded policy that governs
    another network namespace than this host's carries its cookie instead. `mode`
    is "enforce" or "audit".
    """

    priority: int | None = None
    tos: tuple[int, ...] | None = None
    bind_ports: BindPorts | None = None
    ipv4: str | None = None
    sockopts: Sockopts | None = None
    netns: str | int = "host"
    mode: str = "enforce"


class Facts(NamedTuple):
    """What decides whether a hook can be enforced here.

    `lsm` is the kernel's list of active security modules, or None where
    securityfs is not mounted; `lsm_cgroup` says that the kernel's own BTF knows
    that attach type; `priority_messages` that a control message may set a packet's
    priority; `netns_cookie` names this process's network namespace.
    """

    release: str
    lsm: tuple[str, ...] | None
    lsm_cgroup: bool
    priority_messages: bool
    netns_cookie: int


@dataclass(frozen=True)
class Slots:
    """The LSM hooks that lsm_cgroup programs of whomever are on, and how many there can be.

    `programs` is hook → the programs there, each as its id and its name.
    """

    total: int
    hooks: tuple[str, ...]
    programs: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)


class Hindrance(NamedTuple):
    """A program of others because of which one of ours can't be attached.

    It stands on the same hook of `cgroup`, a path below the mount or "." for the root, without
    BPF_F_ALLOW_MULTI. `forbids`: the kernel would refuse ours; else it would let ours run in
    place of this one.
    """

    cgroup: str
    id: int
    name: str
    forbids: bool


class Ring(NamedTuple):
    """A socket that receives into a process's memory, or may: which process, and how one knows."""

    process: int
    reason: str

    def __str__(self) -> str:
        return f"process {self.process} may read what it receives from memory ({self.reason})"


class Program(NamedTuple):
    """One program of an object: its name and its section, such as cgroup/bind4."""

    name: str
    section: str


class BpfObject(NamedTuple):
    """What a host needs to know of an object before it has seen it.

    `version` names the object and its layout in 25 characters that bpffs takes;
    `storage` is the cgroup storage map that a value is written to, or "".
    """

    name: str
    sha256: str
    version: str
    programs: tuple[Program, ...]
    storage: str = ""


@dataclass(frozen=True)
class Cgroup:
    """A live cgroup: the path below the mount, its id, and an open descriptor.

    The descriptor is what is attached to, so a path that changes its meaning
    meanwhile does not matter; it takes no part in comparison.
    """

    path: str
    id: int
    fd: int = field(default=-1, compare=False)


class Target(NamedTuple):
    """Which sockets a priority is for: those that tasks of a cgroup, or of one below it, hold.

    Only those of the network namespace whose cookie is `netns`, of every one with 0. `nearer`
    are the cgroups that have a priority of their own: they and those below them are left out.
    """

    cgroup: Cgroup
    priority: int
    netns: int
    nearer: frozenset[int] = frozenset()


class Left(NamedTuple):
    """A socket that can't be given its holder's priority: of which cgroup's task, and where."""

    cgroup: str
    process: int
    descriptor: int

    def __str__(self) -> str:
        return (
            f"{self.cgroup}: the socket at descriptor {self.descriptor} of process {self.process} "
            "keeps its priority: a policy of the cgroup that it was made in refuses another"
        )


def blank(value: bytes) -> bool:
    """Whether a value is all zeros, as storage is when the kernel has just made it: no policy."""
    return value == bytes(len(value))


class Held(NamedTuple):
    """What the kernel holds for one cgroup under one version of an object.

    `attached` are programs whose pinned link is alive and runs the pinned
    program; `broken` are pinned links that do not; `value` is what is stored,
    or None where the kernel has made no storage yet; `governs` that it is among
    the cgroups whose policy governs the priority.
    """

    attached: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    value: bytes | None = None
    governs: bool = False

    @property
    def configured(self) -> bool:
        """Whether anything is stored."""
        return self.value is not None and not blank(self.value)


class Loaded(NamedTuple):
    """One version of an object in the kernel: its programs, and cgroup id → Held.

    `readers` is the gid of the group that may read what is stored, 0 where only root
    may, or None where it is neither the one nor the other, by owner, group or mode.
    `nested` is whether it is told that a cgroup which governs the priority is below another.
    `damage` tells what of its programs and maps is not what was loaded; `stands_at` is the
    name that it has until a plan sets it aside, or "".
    """

    programs: frozenset[str]
    cgroups: Mapping[int, Held]
    readers: int | None = 0
    damage: tuple[str, ...] = ()
    stands_at: str = ""
    nested: bool = False


class Observed(NamedTuple):
    """Everything of one object's name in the kernel: version → Loaded.

    `alive` maps the ids of the cgroups that still exist to their paths; `lacking` the ids of
    those that were asked about to how many of their tasks' sockets lack the declared priority
    and can be given it; `left` are those that can't. `altered` tells of each directory and pin
    whose owner, group or mode is not as it was made.
    """

    versions: Mapping[str, Loaded]
    alive: Mapping[int, str]
    lacking: Mapping[int, int] = MappingProxyType({})
    left: tuple[Left, ...] = ()
    altered: tuple[str, ...] = ()
