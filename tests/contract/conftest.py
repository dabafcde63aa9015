# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two worlds for one suite: the tests' fake kernel, and this machine's real one.

`--kernel=real` is what `make kernel` says in a guest; it needs root and changes the kernel.
Without it the fake one is tested, as `make unit` does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf
from ansible_collections.linux.cgnet.plugins.module_utils._apply import Verbs
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BpfObject,
    Cgroup,
    Held,
    Loaded,
    Observed,
    Program,
)
from ansible_collections.linux.cgnet.plugins.module_utils._policy import SIZE

from tests.kernel.tasks import eventually, priority
from tests.unit.fake_kernel import FakeKernel, FakeSocket

ROOT = Path(__file__).resolve().parents[2]

HOLDER = Program("policy_holder", "cgroup/sysctl")
BIND4, BIND6 = Program("policy_bind4", "cgroup/bind4"), Program("policy_bind6", "cgroup/bind6")
OBJECT = BpfObject("policy", "", "v1", (HOLDER, BIND4, BIND6), "policies")
CONNECT4 = Program("mine_connect4", "cgroup/connect4")
PLAIN = BpfObject("mine", "", "v1", (CONNECT4,))
"""An object without cgroup storage."""

FILES = {OBJECT.name: "plugins/objects/policy.bpf.o",
         PLAIN.name: ".build/test-objects/mine_one.bpf.o"}  # fmt: skip


class Kernels(Verbs, Protocol):
    """The verbs, and what cgnet_info asks besides."""

    def names(self) -> list[str]:
        """The names of the objects that have a version."""


class World:
    """A kernel, and what happens to it that is none of its verbs."""

    kernel: Kernels

    def bytes_of(self, bpf_object: BpfObject) -> bytes:
        """What an object is loaded from."""
        raise NotImplementedError

    def make(self, path: str) -> Cgroup:
        """A new cgroup."""
        raise NotImplementedError

    def remove(self, cgroup: Cgroup) -> None:
        """A cgroup's end."""
        raise NotImplementedError

    def break_link(self, name: str, version: str, cgroup: Cgroup, program: Program) -> None:
        """Detach a pinned link as an administrator can, by `bpftool link detach`."""
        raise NotImplementedError

    def hold(self, cgroup: Cgroup) -> contextlib.AbstractContextManager[Callable[[], int]]:
        """A task of a cgroup holds a socket that none governs; what tells its priority."""
        raise NotImplementedError

    def load(
        self,
        bpf_object: BpfObject = OBJECT,
        version: str = "v1",
        programs: tuple[Program, ...] | None = None,
    ) -> None:
        """Load an object's programs, all where none is named."""
        wanted = bpf_object.programs if programs is None else programs
        self.kernel.load(bpf_object, version, wanted, self.bytes_of(bpf_object))

    def in_the_end(self, name: str, expected: Observed) -> Observed:
        """What is observed once it is what is expected: a cgroup's end takes its time."""
        return eventually(lambda: self.kernel.observe(name), expected)


class FakeWorld(World):
    """The fake kernel over cgroups that are plain directories."""

    def __init__(self, mount: Path) -> None:
        mount.mkdir()
        self.kernel = self.fake = FakeKernel({}, size=SIZE, mount=str(mount))

    def bytes_of(self, bpf_object: BpfObject) -> bytes:
        return b""

    def make(self, path: str) -> Cgroup:
        return self.fake.make(path)

    def remove(self, cgroup: Cgroup) -> None:
        self.fake.kill(cgroup)
        for versions in self.fake.objects.values():
            for version in versions.values():
                if cgroup.id in version.cgroups:
                    held = version.cgroups[cgroup.id]
                    held.links, held.value = dict.fromkeys(held.links, False), None

    @contextlib.contextmanager
    def hold(self, cgroup: Cgroup) -> Iterator[Callable[[], int]]:
        held = FakeSocket(cgroup.path, "elsewhere")
        self.fake.sockets.append(held)
        yield lambda: held.priority
        self.fake.sockets.remove(held)

    def break_link(self, name: str, version: str, cgroup: Cgroup, program: Program) -> None:
        links = self.fake.objects[name][version].cgroups[cgroup.id].links
        assert links[program.name]
        links[program.name] = False


class RealWorld(World):
    """This machine's kernel, with cgroups that end with the test."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = self.real = kernel
        self.made: list[Cgroup] = []

    def bytes_of(self, bpf_object: BpfObject) -> bytes:
        return (ROOT / FILES[bpf_object.name]).read_bytes()

    def make(self, path: str) -> Cgroup:
        os.mkdir(os.path.join(self.real.hierarchy.mount, path))
        self.made.append(self.real.hierarchy.require(path, "cgroup"))
        return self.made[-1]

    def remove(self, cgroup: Cgroup) -> None:
        os.rmdir(os.path.join(self.real.hierarchy.mount, cgroup.path))

    @contextlib.contextmanager
    def hold(self, cgroup: Cgroup) -> Iterator[Callable[[], int]]:
        procs = os.path.join(self.real.hierarchy.mount, cgroup.path, "cgroup.procs")
        with socket.socket() as sock, subprocess.Popen(
            ["cat"], stdin=subprocess.PIPE, pass_fds=[sock.fileno()]
        ) as task:  # fmt: skip
            Path(procs).write_text(str(task.pid))
            yield lambda: priority(sock)

    def break_link(self, name: str, version: str, cgroup: Cgroup, program: Program) -> None:
        fd = _libbpf.get(self.real.layout.link(name, version, cgroup.id, program.name))
        self.real.libbpf.call("bpf_link_detach", fd)
        os.close(fd)

    def end(self) -> None:
        """Remove everything of ours."""
        self.real.hierarchy.close()
        for cgroup in self.made:
            if self.real.hierarchy.paths([cgroup.id]):
                self.remove(cgroup)
        for name in self.real.names():
            for version in self.real.observe(name).versions:
                self.real.unload(name, version)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kernel", choices=("fake", "real"), default="fake")


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.config.getoption("--kernel") == "fake":
        yield FakeWorld(tmp_path / "cgroup")
        return
    with Kernel.open() as kernel:
        real = RealWorld(kernel)
        try:
            assert kernel.names() == []
            yield real
        finally:
            real.end()


ZERO, ONE, TWO = (bytes([fill]) * SIZE for fill in (0, 1, 2))
PROGRAMS = frozenset(program.name for program in OBJECT.programs)
NOTHING = Observed({}, {})


def names(*programs: Program) -> frozenset[str]:
    return frozenset(program.name for program in programs)


def refusal(call: Callable[..., None], *args: Any) -> str:
    """The errno with which a call is refused."""
    with pytest.raises(KernelError) as refused:
        call(*args)
    return errno.errorcode[refused.value.errno]


def holding(world: World, *cgroups: tuple[Cgroup, Held], **versions: Loaded) -> Observed:
    """What is observed where v1 holds these cgroups, all alive."""
    first = Loaded(PROGRAMS, {cgroup.id: held for cgroup, held in cgroups})
    return Observed(
        {"v1": first, **versions}, {cgroup.id: cgroup.path for cgroup, _held in cgroups}
    )
