# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's verbs in memory, as strict as the real ones: see _apply.Verbs.

What a real kernel refuses is refused here with the same errno, and every step
is recorded, so that a test can look at each moment between two steps.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.linux.cgnet.plugins.module_utils import _names
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._layout import Layout
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BpfObject,
    Cgroup,
    Facts,
    Held,
    Hindrance,
    Left,
    Loaded,
    Observed,
    Program,
    Ring,
    Slots,
    Target,
)

HOST = Facts("6.1.0-fake", ("lockdown", "capability", "bpf"), True, True, 4321)


@dataclass
class FakeCgroup:
    """One cgroup's links under one version (program → whether it is alive), its value, and
    whether it governs the priority.
    """

    links: dict[str, bool] = field(default_factory=dict)
    value: bytes | None = None
    governs: bool = False


@dataclass
class FakeSocket:
    """A socket that a task holds: the cgroups of both, its priority and its namespace's cookie."""

    held_in: str
    made_in: str
    priority: int = 0
    netns: int = HOST.netns_cookie


@dataclass
class FakeVersion:
    """One version: its pinned programs, the size of its stored value, its cgroups.

    `size` 0: the object has no cgroup storage. `readers` is the group of its own pins; `damage`
    what a test says is wrong with them; `nested` whether cgroups are told to be that govern.
    """

    programs: set[str] = field(default_factory=set)
    size: int = 0
    cgroups: dict[int, FakeCgroup] = field(default_factory=dict)
    readers: int = 0
    damage: tuple[str, ...] = ()
    nested: bool = False


class FakeKernel:
    """Objects by name and version, and the cgroups that are alive (id → path).

    `locked` tells who may change what is here now: "all", "none" or "one"; `readers` is the
    group of each object's directory, and `closed` one above that no group can go through;
    `altered` is what a test says of pins whose owner or mode was changed.
    """

    def __init__(
        self,
        alive: dict[int, str],
        facts: Facts = HOST,
        size: int = 8,
        mount: str = "/sys/fs/cgroup",
    ) -> None:
        self.alive = alive
        self.size = size
        self.hierarchy = Hierarchy(mount)
        self.layout = Layout("/sys/fs/bpf")
        self.locked = "all"
        self.reader = False
        self.readers: dict[str, int] = {}
        self.closed = ""
        self.altered: tuple[str, ...] = ()
        self.objects: dict[str, dict[str, FakeVersion]] = {}
        self.calls: list[str] = []
        self.after_each: Callable[[], None] = lambda: None
        self._facts = facts
        self.hooks: tuple[str, ...] = ()
        self.others: dict[tuple[int, str], Hindrance] = {}
        self.held: dict[int, tuple[Ring, ...]] = {}
        self.counted: dict[int, list[bytes]] = {}
        self.told: list[bytes] = []
        self.sockets: list[FakeSocket] = []

    def __enter__(self) -> FakeKernel:
        return self

    def __exit__(self, *_error: object) -> None:
        self.hierarchy.close()

    def make(self, path: str) -> Cgroup:
        """A new cgroup: a directory below the mount, which is one of a test's own."""
        directory = self.directory(path)
        directory.mkdir(parents=True)
        number = directory.stat().st_ino
        self.alive[number] = path
        return Cgroup(path, number)

    def directory(self, path: str) -> Path:
        """Where the cgroup of a path is, which is written as _names has it."""
        return Path(self.hierarchy.mount, os.fsdecode(_names.raw(path)))

    def kill(self, cgroup: Cgroup) -> None:
        """A cgroup's end; its links stay pinned, and its id never comes again."""
        self.directory(cgroup.path).rename(f"{self.hierarchy.mount} {cgroup.id}")
        del self.alive[cgroup.id]

    def attached(self, cgroup: Cgroup, name: str = "policy") -> set[str]:
        """The programs of an object that are linked to a cgroup, of any version."""
        return {
            program
            for version in self.objects.get(name, {}).values()
            for program in version.cgroups.get(cgroup.id, FakeCgroup()).links
        }

    def state(self) -> dict[str, dict[str, FakeVersion]]:
        """A copy of everything that is held."""
        return copy.deepcopy(self.objects)

    def facts(self) -> Facts:
        """What decides which hooks can be enforced here."""
        return self._facts

    def slots(self) -> Slots:
        """The hooks that a test says are taken."""
        return Slots(10, self.hooks, {hook: (f"9 ({hook})",) for hook in self.hooks})

    def hindrances(
        self, wanted: Iterable[tuple[Cgroup, Iterable[Program]]]
    ) -> Iterator[tuple[Cgroup, Program, Hindrance]]:
        """What a test says of a cgroup's id and a section."""
        for cgroup, programs in wanted:
            for program in programs:
                if found := self.others.get((cgroup.id, program.section)):
                    yield cgroup, program, found

    def counts(self, _name: str, _size: int) -> dict[int, list[bytes]]:
        """What a test says was counted."""
        return self.counted

    def take_events(self, _name: str) -> list[bytes]:
        """What a test says was told, once."""
        taken, self.told = self.told, []
        return taken

    def rings(self, cgroup: Cgroup) -> tuple[Ring, ...]:
        """The rings that a test says a cgroup's tasks hold."""
        return self.held.get(cgroup.id, ())

    def _governor(self, path: str) -> int:
        """The nearest cgroup to a path that governs the priority; 0 where none does."""
        numbers = {path: number for number, path in self.alive.items()}
        governing = {
            cgroup
            for versions in self.objects.values()
            for version in versions.values()
            for cgroup, held in version.cgroups.items()
            if held.governs
        }
        parts = path.split("/")
        above = ["/".join(parts[:size]) for size in range(len(parts), 0, -1)]
        return next((numbers[p] for p in above if numbers.get(p) in governing), 0)

    def _differing(self, target: Target) -> list[FakeSocket]:
        """The sockets that tasks of a target hold, and that have another priority."""

        def reached(path: str) -> bool:
            """Whether a path is the target's, or below it with nothing nearer between."""
            while path and path != target.cgroup.path:
                if any(self.alive.get(number) == path for number in target.nearer):
                    return False
                path = path.rpartition("/")[0]
            return bool(path)

        return [
            held
            for held in self.sockets
            if reached(held.held_in)
            and target.netns in (0, held.netns)
            and held.priority != target.priority
        ]

    def lacking(self, name: str, version: str, target: Target) -> tuple[int, tuple[Left, ...]]:
        """All that differ, until the cgroup's own policy governs."""
        loaded = self.objects.get(name, {}).get(version, FakeVersion())
        governs = loaded.cgroups.get(target.cgroup.id, FakeCgroup()).governs
        differing = self._differing(target)
        others = [
            held for held in differing
            if governs and self._governor(held.made_in) not in (0, target.cgroup.id)
        ]  # fmt: skip
        left = tuple(Left(target.cgroup.path, 1, self.sockets.index(held)) for held in others)
        return len(differing) - len(others), left

    def retrofit(self, target: Target) -> None:
        """What another cgroup governs is refused."""
        for held in self._differing(target):
            if self._governor(held.made_in) in (0, target.cgroup.id):
                held.priority = target.priority
        self._did("retrofit")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One run at a time."""
        with self._lock("one"):
            yield

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """No run changes anything meanwhile."""
        with self._lock("none"):
            yield

    @contextlib.contextmanager
    def _lock(self, locked: str) -> Iterator[None]:
        if self.locked != "all":
            raise AssertionError("a process that waits for itself waits for ever")
        self.locked = locked
        try:
            yield
        finally:
            self.locked = "all"

    def names(self) -> list[str]:
        """The names of the objects that are there."""
        return sorted(self.objects)

    def observe(self, name: str) -> Observed:
        """Everything of an object's name that the kernel holds."""
        versions = {}
        for number, found in self.objects.get(name, {}).items():
            cgroups = {
                cgroup: Held(
                    frozenset(p for p, alive in held.links.items() if alive),
                    frozenset(p for p, alive in held.links.items() if not alive),
                    held.value,
                    held.governs,
                )
                for cgroup, held in found.cgroups.items()
                if held.links or held.value is not None or held.governs
            }
            alike = found.readers == self.readers.get(name, 0)
            readers = found.readers if alike else None
            versions[number] = Loaded(
                frozenset(found.programs), cgroups, readers, found.damage, nested=found.nested
            )
        seen = {cgroup for loaded in versions.values() for cgroup in loaded.cgroups}
        alive = {c: path for c, path in self.alive.items() if c in seen}
        return Observed(versions, alive, altered=self.altered)

    def _version(self, name: str, version: str) -> FakeVersion:
        try:
            return self.objects[name][version]
        except KeyError:
            raise KernelError(f"{name}/{version}", errno.ENOENT) from None

    def _did(self, call: str) -> None:
        self.calls.append(call)
        self.after_each()

    def load(
        self, bpf_object: BpfObject, version: str, programs: Iterable[Program], data: bytes
    ) -> None:
        """EEXIST for a program that is pinned already; EINVAL for one not of the object."""
        programs = tuple(programs)
        for program in programs:
            if program not in bpf_object.programs:
                raise KernelError(f"load {program.name}", errno.EINVAL)
        found = self.objects.setdefault(bpf_object.name, {}).setdefault(
            version, FakeVersion(size=self.size if bpf_object.storage else 0)
        )
        for program in programs:
            if program.name in found.programs:
                raise KernelError(f"pin {program.name}", errno.EEXIST)
            found.programs.add(program.name)
        self._did("load")

    def set_aside(self, name: str, version: str, to: str) -> None:
        """ENOENT where there is none, ENOTEMPTY where there is one of the other name."""
        versions = self.objects.get(name, {})
        if version not in versions:
            raise KernelError(f"setting {version} aside", errno.ENOENT)
        if to in versions:
            raise KernelError(f"setting {version} aside", errno.ENOTEMPTY)
        versions[to] = versions.pop(version)
        self._did("set_aside")

    def require_way(self, gid: int) -> None:
        """HostError where a directory is closed to groups."""
        if gid and self.closed:
            raise HostError(f"group {gid} can't go through {self.closed}", "Open it")

    def share(self, name: str, version: str, gid: int) -> None:
        """ENOENT for a group, where nothing is stored; the directory is of all the versions."""
        found = self._version(name, version)
        if gid and not found.size:
            raise KernelError(f"{name}/{version} has no storage", errno.ENOENT)
        found.readers = self.readers[name] = gid
        self._did("share")

    def _attachable(self, name: str, version: str, cgroup: Cgroup, program: Program) -> FakeCgroup:
        found = self._version(name, version)
        if program.name not in found.programs:
            raise KernelError(f"get {program.name}", errno.ENOENT)
        if cgroup.id not in self.alive:
            raise KernelError(f"attach to {cgroup.path}", errno.ENOENT)
        held = found.cgroups.setdefault(cgroup.id, FakeCgroup())
        if held.value is None and found.size:
            held.value = bytes(found.size)  # the kernel makes storage, zeroed
        return held

    def hold(self, name: str, version: str, cgroup: Cgroup, program: Program) -> None:
        """Make a cgroup's storage."""
        self._attachable(name, version, cgroup, program)
        self._did("hold")

    def store(self, name: str, version: str, cgroup: int, value: bytes) -> None:
        """ENOENT where the kernel has made no storage yet."""
        found = self._version(name, version)
        held = found.cgroups.get(cgroup)
        if held is None or held.value is None:
            raise KernelError("bpf_map_update_elem", errno.ENOENT)
        if len(value) != found.size:
            raise KernelError("bpf_map_update_elem", errno.EINVAL)
        held.value = value
        self._did("store")

    def govern(self, name: str, version: str, cgroup: int, governs: bool) -> None:
        """ENOENT for what does not govern, where that is taken back, and without that map."""
        found = self._version(name, version)
        if not found.size:  # the object that has storage is the one that has the map
            raise KernelError("bpf_obj_get", errno.ENOENT)
        if not governs and not found.cgroups.get(cgroup, FakeCgroup()).governs:
            raise KernelError("bpf_map_delete_elem", errno.ENOENT)
        found.cgroups.setdefault(cgroup, FakeCgroup()).governs = governs
        self._did("govern")

    def nest(self, name: str, version: str, nested: bool) -> None:
        """ENOENT without that map."""
        found = self._version(name, version)
        if not found.size:
            raise KernelError("bpf_obj_get", errno.ENOENT)
        found.nested = nested
        self._did("nest")

    def attach(self, name: str, version: str, cgroup: Cgroup, program: Program) -> None:
        """EEXIST where a pin stands, alive or not."""
        held = self._attachable(name, version, cgroup, program)
        if program.name in held.links:
            raise KernelError(f"pin {program.name}", errno.EEXIST)
        held.links[program.name] = True
        self._did("attach")

    def detach(self, name: str, version: str, cgroup: int, program: str) -> None:
        """ENOENT where there is no pin. What is stored stays."""
        held = self._version(name, version).cgroups.get(cgroup, FakeCgroup())
        if program not in held.links:
            raise KernelError(f"get {program}", errno.ENOENT)
        del held.links[program]
        self._did("detach")

    def unload(self, name: str, version: str) -> None:
        """Links, values and programs go with the pins, whosever they are."""
        versions = self.objects.get(name, {})
        versions.pop(version, None)
        if not versions:
            self.objects.pop(name, None)
            self.readers.pop(name, None)
        self._did("unload")
