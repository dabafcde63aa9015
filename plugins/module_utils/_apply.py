# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one executor: each kind of action is one verb of the kernel's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ansible_collections.linux.cgnet.plugins.module_utils import _worker
from ansible_collections.linux.cgnet.plugins.module_utils._actions import (
    Action,
    Aside,
    Attach,
    Detach,
    Govern,
    Hold,
    Load,
    Nest,
    Retrofit,
    Share,
    Store,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BpfObject,
    Cgroup,
    Left,
    Observed,
    Program,
    Target,
)


class Verbs(Protocol):
    """What a kernel can be asked; the real one is _kernel.Kernel."""

    def observe(self, name: str) -> Observed:
        """Everything of an object's name that the kernel holds."""

    def load(
        self, bpf_object: BpfObject, version: str, programs: Iterable[Program], data: bytes
    ) -> None:
        """Load programs out of the object's bytes and pin them."""

    def set_aside(self, name: str, version: str, to: str) -> None:
        """Give a version another name."""

    def share(self, name: str, version: str, gid: int) -> None:
        """Let a group read what a version stores; gid 0: root alone."""

    def hold(self, name: str, version: str, cgroup: Cgroup, program: Program) -> None:
        """Make a cgroup's storage."""

    def store(self, name: str, version: str, cgroup: int, value: bytes) -> None:
        """Replace what is stored for a cgroup."""

    def govern(self, name: str, version: str, cgroup: int, governs: bool) -> None:
        """Say whether a cgroup's policy governs the priority."""

    def nest(self, name: str, version: str, nested: bool) -> None:
        """Say whether a cgroup that governs the priority is below another such one."""

    def lacking(self, name: str, version: str, target: Target) -> tuple[int, tuple[Left, ...]]:
        """How many sockets lack a priority and can be given it, and which can't."""

    def retrofit(self, target: Target) -> None:
        """Give the sockets of a target its priority, but for those that can't be given it."""

    def attach(self, name: str, version: str, cgroup: Cgroup, program: Program) -> None:
        """Attach a pinned program by a link, and pin that."""

    def detach(self, name: str, version: str, cgroup: int, program: str) -> None:
        """Detach a pinned link and unpin it."""

    def unload(self, name: str, version: str) -> None:
        """Remove a version's pins."""


def apply(
    actions: Iterable[Action],
    kernel: Verbs,
    name: str,
    bpf_object: BpfObject | None = None,
    data: bytes = b"",
    paths: dict[int, str] | None = None,
) -> None:
    """Carry out a plan in its order. Raises KernelError at the first call that fails.

    `paths` is cgroup id → path, for the errors.
    """
    for action in actions:
        step = action.describe(paths or {})
        what = ", ".join([f"{key} {value}" for key, value in step.items()])
        with _worker.doing(what):
            try:
                _do(action, kernel, name, bpf_object, data)
            except OSError as error:  # of a directory of pins, or of a cgroup's file
                where = f" ({error.filename})" if error.filename else ""
                raise KernelError(f"{what}{where}", error.errno or 0) from error


def _do(
    action: Action, kernel: Verbs, name: str, bpf_object: BpfObject | None, data: bytes
) -> None:
    if isinstance(action, Load):
        if bpf_object is None:
            raise ValueError("a plan that loads needs the object")
        kernel.load(bpf_object, action.version, action.programs, data)
    elif isinstance(action, Aside):
        kernel.set_aside(name, action.version, action.to)
    elif isinstance(action, Share):
        kernel.share(name, action.version, action.gid)
    elif isinstance(action, Hold):
        kernel.hold(name, action.version, action.cgroup, action.program)
    elif isinstance(action, Store):
        kernel.store(name, action.version, action.cgroup, action.value)
    elif isinstance(action, Govern):
        kernel.govern(name, action.version, action.cgroup, action.governs)
    elif isinstance(action, Nest):
        kernel.nest(name, action.version, action.nested)
    elif isinstance(action, Attach):
        kernel.attach(name, action.version, action.cgroup, action.program)
    elif isinstance(action, Detach):
        kernel.detach(name, action.version, action.cgroup, action.program)
    elif isinstance(action, Retrofit):
        kernel.retrofit(action.target)
    else:
        kernel.unload(name, action.version)
