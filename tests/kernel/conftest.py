# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel tests share. They run as root in a guest of their own: `make kernel`.

A policy is applied by the code that a module runs, with the manifest that the
controller would send. After each test, nothing of ours may be left in the kernel.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import (
    _info,
    _libbpf,
    _policies,
    _programs,
    _raw_xmit,
    _reconcile,
    _vmlinux,
)
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel

from tests.descriptors import descriptors
from tests.kernel import tasks
from tests.kernel.seen import everything, ids

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
MOUNT = "/sys/fs/cgroup"
SYSCTL = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
BUNDLED = ("policy", "raw_xmit", "classify")


@dataclass(frozen=True)
class Shipped:
    """An object as the controller hands it over: its manifest and where its bytes are."""

    manifest: dict[str, Any]
    path: str


@dataclass(frozen=True)
class Group:
    """A cgroup of a test's own."""

    path: str

    @property
    def directory(self) -> str:
        """Its directory."""
        return f"{MOUNT}/{self.path}"

    @property
    def id(self) -> int:
        """Its id."""
        return os.stat(self.directory).st_ino

    @property
    def procs(self) -> str:
        """The file that takes a task in."""
        return f"{self.directory}/cgroup.procs"

    def remove(self) -> bool:
        """Remove it with what is below it; False while a task of it has not ended yet."""
        try:
            for base, _directories, _files in os.walk(self.directory, topdown=False):
                os.rmdir(base)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns in a new task of this cgroup."""
        return tasks.inside(self.procs, work)


def shipped(built: str = "policy", **altered: Any) -> Shipped:
    """A built object, bundled or of tests/kernel/data; `altered` replaces of its manifest."""
    folder = ROOT / ("plugins/objects" if built in BUNDLED else ".build/test-objects")
    manifest = json.loads((folder / f"{built}.json").read_text())
    return Shipped({**manifest, **altered}, str(folder / f"{built}.bpf.o"))


def small(**altered: Any) -> Shipped:
    """The bundled policy object with the programs that bind_ports takes, so that it loads fast."""
    names = ("policy_holder", "policy_bind4", "policy_bind6")
    programs = [each for each in shipped().manifest["programs"] if each[0] in names]
    return shipped(programs=programs, **altered)


_policy_object = shipped
"""Makes the object of policies that are applied without one."""


def apply(
    policies: list[dict[str, Any]], *, check: bool = False, obj: Shipped | None = None, **more: Any
) -> dict[str, Any]:
    """What a cgnet_policy task does and returns."""
    obj = obj or _policy_object()
    params = {
        "policies": policies, "purge": False, "on_unsupported": "fail", "readers": None,
        "permanent": False, **more,
        "_object": obj.manifest, "_object_path": obj.path,
    }  # fmt: skip
    return _reconcile.reconcile(_policies.prepare, params, check)


def program(
    name: str, cgroups: list[str] | None, *, check: bool = False,
    obj: Shipped | None = None, state: str = "present",
) -> dict[str, Any]:  # fmt: skip
    """What a cgnet_program task does and returns."""
    params = {
        "name": name, "cgroups": cgroups, "state": state,
        "_object": obj.manifest if obj else None, "_object_path": obj.path if obj else None,
    }  # fmt: skip
    return _reconcile.reconcile(_programs.prepare, params, check)


def raw_xmit(
    *cgroups: str,
    check: bool = False,
    state: str = "present",
    obj: Shipped | None = None,
    permanent: bool = False,
) -> dict[str, Any]:
    """What a cgnet_raw_xmit task does and returns."""
    obj = obj or shipped("raw_xmit")
    params = {
        "cgroup": list(cgroups), "unit": None, "state": state, "permanent": permanent,
        "_object": obj.manifest, "_object_path": obj.path,
    }  # fmt: skip
    return _reconcile.reconcile(_raw_xmit.prepare, params, check)


def info(*, check: bool = False, **params: Any) -> dict[str, Any]:
    """What a cgnet_info task returns."""
    return _info.gather(params, check)


def break_link(where: Group, name: str) -> None:
    """Detach a program of the bundled object by force, as `bpftool link detach` does."""
    kernel = Kernel.open()
    (version,) = kernel.observe("policy").versions
    fd = _libbpf.get(kernel.layout.link("policy", version, where.id, name))
    kernel.libbpf.call("bpf_link_detach", fd)
    os.close(fd)


def clear() -> None:
    """Remove everything of ours, and hold that it is gone."""
    kernel = Kernel.open()
    for name in kernel.names():
        program(name, None, state="absent")
    assert kernel.names() == []


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Group, Group]]:
    """A cgroup that raw_xmit holds, and a sibling that it does not."""
    with groups() as make:
        made = make("ours"), make("other")
        assert raw_xmit("ours")["changed"]
        yield made


@pytest.fixture(autouse=True, scope="module")
def nothing_left() -> Iterator[None]:
    """What the tests of a file attached is gone after them, and so are its pins."""
    links = ids("link")
    yield
    clear()
    assert ids("link") - links == set()


def associations() -> list[str]:
    """Those of SCTP, by their lines."""
    try:
        return Path("/proc/net/sctp/assocs").read_text().splitlines()[1:]
    except FileNotFoundError:  # it is a module, and not loaded
        return []


@pytest.fixture(autouse=True)
def nothing_open() -> Iterator[None]:
    """What a test opened is closed after it, as what the modules opened is."""
    before = descriptors()
    yield
    assert descriptors() <= before
    # An association of SCTP goes on for a while, and what it sends would be another test's.
    assert tasks.eventually(associations, []) == []


@pytest.fixture
def alone() -> Iterator[None]:
    """For a test that looks at all that is in the kernel: there is nothing before it."""
    assert everything() == {}
    yield
    clear()


@pytest.fixture
def ports_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of which all policies are of bind_ports: the object is small()."""
    monkeypatch.setitem(globals(), "_policy_object", small)


@pytest.fixture(autouse=True, scope="session")
def types_once() -> Iterator[None]:
    """Read the kernel's types once, which stay as they are: a third of a small run is that."""
    with _vmlinux.types() as types, pytest.MonkeyPatch.context() as patched:
        patched.setattr(_vmlinux, "types", lambda: contextlib.nullcontext(types))
        yield


@pytest.fixture(scope="module")
def locked_down() -> Iterator[None]:
    """Who is not root makes no maps and loads no programs, and no administrator can allow it."""
    before = SYSCTL.read_text()
    if before.strip() != "1":  # which stays until the next boot
        SYSCTL.write_text("2")
    yield
    if before.strip() != "1":
        SYSCTL.write_text(before)


@contextlib.contextmanager
def groups() -> Iterator[Callable[..., Group]]:
    """Make cgroups, by path and policy; they are removed with what is below them."""
    made: list[Group] = []

    def make(path: str, **policy: Any) -> Group:
        created = Group(path)
        os.makedirs(created.directory)
        made.append(created)
        if policy:
            assert apply([{"cgroup": path, **policy}])["changed"]
        return created

    try:
        yield make
    finally:
        left = [each.path for each in reversed(made) if not tasks.eventually(each.remove, True)]
        assert left == []  # that one could not be removed keeps no other from it


@pytest.fixture
def group() -> Iterator[Callable[..., Group]]:
    """Make cgroups for one test: group("path") or group("path", priority=6)."""
    with groups() as make:
        yield make


@pytest.fixture(scope="module")
def outside() -> Iterator[Group]:
    """The cgroup above those that are tested, from which packets are looked at.

    Another one has a policy of most hooks all the while, so that the object is loaded once for
    a file, and the kernel patches its hooks once: the last program to go takes that along.
    """
    with groups() as make:
        make("keeper", priority=1, tos=[], bind_ports={"tcp": []}, ipv4="hidden")
        yield make("outside")


@pytest.fixture
def left(outside: Group) -> Iterator[Callable[[], list[Any]]]:
    """What gives the packets that have left the cgroups below `outside`."""
    from tests.kernel.packets import leaving  # which needs what stands here

    with leaving(outside) as taken:
        yield taken
