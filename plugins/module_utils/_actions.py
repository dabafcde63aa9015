# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a plan: what is to be done, and how it is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    Cgroup,
    Program,
    Target,
    blank,
)
from ansible_collections.linux.cgnet.plugins.module_utils._values import show_priority


def _of_cgroup(action: str, version: str, number: int, paths: Mapping[int, str]) -> dict[str, Any]:
    """The beginning of what is told of an action on one cgroup; `paths` is cgroup id → path."""
    return {"action": action, "version": version, "cgroup": paths.get(number, f"id {number}")}


@dataclass(frozen=True)
class Load:
    """Load an object's programs, pinned as a version."""

    version: str
    programs: tuple[Program, ...]

    def describe(self, paths: Mapping[int, str]) -> dict[str, Any]:
        """The plain data that a module returns."""
        programs = [program.name for program in self.programs]
        return {"action": "load", "version": self.version, "programs": programs}


@dataclass(frozen=True)
class Aside:
    """Give a damaged version another name: cgroups move from it as from an older one."""

    version: str
    to: str
    damage: tuple[str, ...]

    def describe(self, paths: Mapping[int, str]) -> dict[str, Any]:
        """The plain data that a module returns."""
        told = {"action": "aside", "version": self.version, "to": self.to}
        return {**told, "damage": list(self.damage)}


@dataclass(frozen=True)
class Share:
    """Let a group read what a version stores; gid 0: root alone."""

    version: str
    gid: int

    def describe(self, paths: Mapping[int, str]) -> dict[str, Any]:
        """The plain data that a module returns."""
        return {"action": "share", "version": self.version, "gid": self.gid}


@dataclass(frozen=True)
class Hold:
    """Let the kernel make a cgroup's storage, by attaching a program for a moment."""

    version: str
    cgroup: Cgroup
    program: Program

    def describe(self, paths: Mapping[int, str]) -> dict[str, Any]:
        """The plain data that a module returns."""
        told = _of_cgroup("hold", self.version, self.cgroup.id, paths)
        return {**told, "program": self.program.name}


@dataclass(frozen=True)
class Store:
    """Replace what is stored for a cgroup, whole."""

    version: str
    cgroup: int
    value: bytes = field(repr=False)

    def describe(self, paths: Mapping[int, str]) -> dict[str, Any]:
        """The plain data that a module returns."""
        told = _of_cgroup("store", self.version, self.cgroup, paths)
        return {**told, "bytes": len(self.value), "cleared": blank(self.value)}


@dataclass(frozen=True)
class Govern:
    """Say whether a cgroup's policy governs the priority: an ancestor's program asks that."""

    version: str
    cgroup: int
    governs: bool

    def describe(self, paths: Mapping[int, str]) -> dict[str, Any]:
        """The plain data that a module returns."""
        told = _of_cgroup("govern", self.version, self.cgroup, paths)
        return {**told, "governs": self.governs}


@dataclass(frozen=True)
class Nest:
    """Say whether a cgroup whose policy governs the priority is below another such one."""

    version: str
    nested: bool

    def describe(self, paths: Mapping[int, str]) -> dict[str, Any]:
        """The plain data that a module returns."""
        return {"action": "nest", "version": self.version, "nested": self.nested}


@dataclass(frozen=True)
class Attach:
    """Attach a program to a cgroup by a pinned link."""

    version: str
    cgroup: Cgroup
    program: Program

    def describe(self, paths: Mapping[int, str]) -> dict[str, Any]:
        """The plain data that a module returns."""
        told = _of_cgroup("attach", self.version, self.cgroup.id, paths)
        return {**told, "program": self.program.name}


@dataclass(frozen=True)
class Detach:
    """Detach a link of ours and remove its pin."""

    version: str
    cgroup: int
    program: str

    def describe(self, paths: Mapping[int, str]) -> dict[str, Any]:
        """The plain data that a module returns."""
        told = _of_cgroup("detach", self.version, self.cgroup, paths)
        return {**told, "program": self.program}


@dataclass(frozen=True)
class Unload:
    """Remove a version: its programs and maps go with their last pins."""

    version: str

    def describe(self, paths: Mapping[int, str]) -> dict[str, Any]:
        """The plain data that a module returns."""
        return {"action": "unload", "version": self.version}


@dataclass(frozen=True)
class Retrofit:
    """Give the sockets that a cgroup's tasks hold already its priority."""

    version: str
    target: Target
    lacking: int

    def describe(self, paths: Mapping[int, str]) -> dict[str, Any]:
        """The plain data that a module returns."""
        told = {"action": "retrofit", "version": self.version}
        priority = show_priority(self.target.priority)
        of = {"cgroup": self.target.cgroup.path, "priority": priority}
        return {**told, **of, "sockets": self.lacking}


Action = Union[Load, Aside, Share, Hold, Store, Nest, Govern, Attach, Detach, Unload, Retrofit]
