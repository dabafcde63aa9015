# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the unit tests share: a hypothesis profile, a host, the built objects, a compiler."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import (
    _kept,
    _kernel,
    _layout,
    _policies,
    _policy,
    _programs,
    _raw_xmit,
    _reconcile,
    _rings,
    _systemd,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup
from ansible_collections.linux.cgnet.plugins.plugin_utils import _compile
from hypothesis import HealthCheck, settings

from tests.descriptors import descriptors
from tests.unit.fake_kernel import FakeKernel
from tests.unit.tasks import tasks

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).parent / "data"

# No deadline: an emulated or busy machine is slow without being wrong. The same examples each
# time where CI is set, as hypothesis does by itself.
settings.register_profile(
    "cgnet", deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)  # fmt: skip
settings.load_profile("cgnet")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the host keeps what shall be, in a directory of the test, and what applies that."""
    monkeypatch.setattr(_kept, "ROOT", str(tmp_path / "etc"))
    monkeypatch.setattr(_kept, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(_kept, "RUNTIME", sys.executable)
    return tmp_path / "etc"


@pytest.fixture
def host(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """The kernel that the modules find: a fake one, with cgroups in a directory of the test."""
    (tmp_path / "cgroup").mkdir()
    kernel = FakeKernel({}, size=_policy.SIZE, mount=str(tmp_path / "cgroup"))
    monkeypatch.setattr(_kernel.Kernel, "open", lambda reader=False: kernel)
    return kernel


def entry(cgroup: str, **fields: Any) -> dict[str, Any]:
    """One entry of cgnet_policy's policies."""
    return {"cgroup": cgroup, **fields}


def older(host: FakeKernel, layout: Any) -> str:
    """Let what the host has of the bundled object be an older version's."""
    (found,) = host.objects["policy"].values()
    version = _layout.version_name("f" * 64, layout)
    host.objects["policy"] = {version: found}
    return version


def has_clang() -> bool:
    """Whether the compiler that CGNET_CLANG names, or clang-16, is on this machine."""
    return shutil.which(_compile.CLANG) is not None


@pytest.fixture(scope="session")
def clang() -> str:
    """The compiler's path. `make unit` compiles first, so it never comes here without one."""
    found = shutil.which(_compile.CLANG)
    if found is None:
        pytest.skip(f"{_compile.CLANG} is not on this machine, and this test compiles")
    return found


def built(name: str) -> dict[str, Any]:
    """The manifest of a bundled object."""
    loaded: dict[str, Any] = json.loads((ROOT / f"plugins/objects/{name}.json").read_text())
    return loaded


def handed(described: dict[str, Any]) -> dict[str, Any]:
    """The arguments by which the controller hands a bundled object over."""
    told = {key: value for key, value in described.items() if key != "layout"}
    path = ROOT / f"plugins/objects/{described['name']}.bpf.o"
    return {"_object": told, "_object_path": str(path)}


@pytest.fixture(scope="session")
def manifest() -> dict[str, Any]:
    """The manifest of the built policy object."""
    return built("policy")


@pytest.fixture(scope="session")
def shipped(manifest: dict[str, Any]) -> dict[str, Any]:
    """The arguments by which the controller hands the built policy object over."""
    return handed(manifest)


@pytest.fixture(scope="session")
def sender() -> dict[str, Any]:
    """The manifest of the built raw_xmit object."""
    return built("raw_xmit")


@pytest.fixture
def a(host: FakeKernel) -> Cgroup:
    """A cgroup of the host: a.slice."""
    return host.make("a.slice")


@pytest.fixture
def b(host: FakeKernel) -> Cgroup:
    """Another one: b.slice."""
    return host.make("b.slice")


@pytest.fixture
def run(host: FakeKernel, shipped: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Run a cgnet_policy task on the host: its entries, its other options, check mode."""

    def task(*entries: dict[str, Any], check: bool = False, **more: Any) -> dict[str, Any]:
        options = {"purge": False, "on_unsupported": "fail", "readers": None, "permanent": False}
        params = {"policies": list(entries), **options, **shipped, **more}
        return _reconcile.reconcile(_policies.prepare, params, check)

    return task


@pytest.fixture
def attach(host: FakeKernel) -> Callable[..., dict[str, Any]]:
    """Run a cgnet_program task on the host; without other options it is absent."""

    def task(
        name: str, cgroups: list[str] | None, *, check: bool = False, **more: Any
    ) -> dict[str, Any]:
        absent = {"state": "absent", "_object": None, "_object_path": None}
        state = absent if not more else {"state": "present", **more}
        params = {"name": name, "source": None, "cgroups": cgroups, **state}
        return _reconcile.reconcile(_programs.prepare, params, check)

    return task


@pytest.fixture
def hold(host: FakeKernel, sender: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Run a cgnet_raw_xmit task on the host: its cgroups, its other options, check mode."""

    def task(
        *cgroups: str, unit: list[str] | None = None, check: bool = False, **more: Any
    ) -> dict[str, Any]:
        params = {"cgroup": list(cgroups), "unit": unit, "state": "present", "permanent": False}
        return _reconcile.reconcile(_raw_xmit.prepare, {**params, **handed(sender), **more}, check)

    return task


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The control groups that systemd tells of the units that run; set them."""
    running: dict[str, str] = {}
    monkeypatch.setattr(_systemd, "control_group", lambda unit, at: running.get(unit, ""))
    return running


@pytest.fixture
def closed() -> Iterator[None]:
    """The test leaves no descriptor open."""
    before = descriptors()
    yield
    assert descriptors() <= before


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Cgroup]:
    """A cgroup without tasks: the directory of the test."""
    fd = os.open(tasks(tmp_path, []), os.O_RDONLY)
    yield Cgroup("ours", 7, fd)
    os.close(fd)


@pytest.fixture
def receiving(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every socket receive into memory; the inodes of those that are asked."""
    asked: list[int] = []

    def receives(held: socket.socket) -> bool:
        asked.append(os.fstat(held.fileno()).st_ino)
        return True

    monkeypatch.setattr(_rings, "_receives_into_memory", receives)
    return asked


@pytest.fixture(scope="session")
def object_bytes() -> bytes:
    """The built policy object."""
    return (ROOT / "plugins/objects/policy.bpf.o").read_bytes()


@pytest.fixture(scope="session")
def compiled(clang: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a source of tests/unit/data by its name; once for a run."""
    cache = tmp_path_factory.mktemp("objects")
    return lambda name: _compile.compile_object(DATA / f"{name}.bpf.c", cache)
