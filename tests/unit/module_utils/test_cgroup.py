# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts as the kernel lists them, and paths that are a cgroup's and no others."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _cgroup
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    HostError,
    InputError,
    KernelError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# A hybrid host's: an optional field, two, and none; a mount point with a blank and one with a \.
TABLE = r"""
24 1 0:22 / /proc rw,nosuid shared:5 - proc proc rw
30 24 0:25 / /sys/fs/cgroup/cpu,cpuacct rw shared:7 master:1 - cgroup cgroup rw,cpu,cpuacct
31 24 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:8 - cgroup2 cgroup2 rw,nsdelegate
32 24 0:27 / /mnt/my\040cgroup rw - cgroup2 none rw
33 24 0:28 / /mnt/b\134pf rw - bpf bpf rw,mode=700
34 24 0:29 / /sys/fs/bpf rw - bpf bpf rw,mode=700
35 24 0:30 / /mnt/cgroup2 rw - ext4 /dev/vda rw
""".lstrip()


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    return str(path)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set what is mounted: mount points by the type of the file system."""

    def mounted(**kinds: list[str]) -> None:
        monkeypatch.setattr(_cgroup, "mounts", lambda kind: kinds.get(kind, []))
        monkeypatch.setattr(_cgroup, "listed", lambda kind: [])

    return mounted


@pytest.fixture
def hierarchy(tmp_path: Path) -> Hierarchy:
    """A tree such as a host's, with a file in each cgroup and links in and out of it."""
    mount = tmp_path / "cgroup"
    for path in ("system.slice/web.service", "system.slice/db.service"):
        (mount / path).mkdir(parents=True)
        (mount / path / "cgroup.procs").touch()
    (tmp_path / "cgroups").mkdir()
    (tmp_path / "outside").symlink_to(mount / "system.slice")
    (mount / "out").symlink_to("/etc")
    (mount / "up").symlink_to("..")
    (mount / "web").symlink_to("system.slice/web.service")
    return Hierarchy(str(mount))


def refused(hierarchy: Hierarchy, path: Any) -> str:
    """The message with which a path is refused, with or without need for the cgroup."""
    messages = set()
    for look in (hierarchy.resolve, hierarchy.require):
        with pytest.raises(InputError) as caught:
            look(path, "policies[0].cgroup")
        assert (caught.value.field, caught.value.value) == ("policies[0].cgroup", path)
        messages.add(str(caught.value))
    (message,) = messages
    return message


# Mounts.


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cgroup", ["/sys/fs/cgroup/cpu,cpuacct"]),
        ("cgroup2", ["/sys/fs/cgroup/unified", "/mnt/my cgroup"]),
        ("bpf", ["/mnt/b\\pf", "/sys/fs/bpf"]),
        ("tracefs", []),
    ],
)
def test_mount_points_of_a_type_in_the_tables_order(
    table: str, kind: str, expected: list[str]
) -> None:
    assert [path for path, _device in _cgroup.listed(kind, table)] == expected


def test_this_machines_own_table_is_read() -> None:
    assert "/proc" in _cgroup.mounts("proc")


def test_a_mount_point_of_any_bytes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mountinfo"
    path.write_bytes(b"31 24 0:26 / /mnt/\xff rw - cgroup2 none rw\n")
    ((found, device),) = _cgroup.listed("cgroup2", str(path))
    assert (os.fsencode(found), device) == (b"/mnt/\xff", "0:26")


def test_a_mount_that_another_one_covers_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    device = os.stat("/proc").st_dev
    there = ("/proc", f"{os.major(device)}:{os.minor(device)}")
    table = [("/proc", "0:9999"), ("/nowhere", there[1]), there]
    monkeypatch.setattr(_cgroup, "listed", lambda kind: table)
    assert _cgroup.mounts("proc") == ["/proc"]
    table.pop()
    assert _cgroup.mounts("proc") == []


@pytest.mark.parametrize(("kind", "look"), [("bpf", _cgroup.bpffs), ("cgroup2", Hierarchy)])
def test_a_host_where_all_are_covered_is_told_so(
    monkeypatch: pytest.MonkeyPatch, kind: str, look: Callable[[], object]
) -> None:
    monkeypatch.setattr(_cgroup, "listed", lambda asked: [("/nowhere", "0:1")])
    with pytest.raises(HostError) as caught:
        look()
    assert str(caught.value) == (
        f"no path leads to the {kind} file system that is mounted on '/nowhere'. "
        "Unmount what covers it (findmnt shows it), or let this user go there."
    )


@pytest.mark.parametrize(
    ("bpf", "expected"),
    [
        (["/sys/fs/bpf"], "/sys/fs/bpf"),
        (["/mnt/bpf", "/sys/fs/bpf"], "/sys/fs/bpf"),
        (["/mnt/bpf", "/mnt/other"], "/mnt/bpf"),
    ],
)
def test_pins_go_where_systemd_mounts_bpffs_if_it_does(
    listed: Callable[..., None], bpf: list[str], expected: str
) -> None:
    listed(bpf=bpf)
    assert _cgroup.bpffs() == expected


def test_a_host_without_bpffs_is_told_how_to_mount_it(listed: Callable[..., None]) -> None:
    listed()
    with pytest.raises(HostError) as caught:
        _cgroup.bpffs()
    assert str(caught.value) == (
        "bpffs is not mounted on this host, so nothing could be pinned. "
        "Mount it: mount -t bpf bpf /sys/fs/bpf (systemd does so at boot)."
    )


def test_the_hierarchy_is_the_one_that_is_mounted_first(listed: Callable[..., None]) -> None:
    listed(cgroup2=["/sys/fs/cgroup/unified", "/mnt/cgroup"])
    assert Hierarchy().mount == "/sys/fs/cgroup/unified"


def test_a_host_without_cgroup_v2_is_told_how_to_boot(listed: Callable[..., None]) -> None:
    listed(cgroup=["/sys/fs/cgroup/memory"])
    with pytest.raises(HostError) as caught:
        Hierarchy()
    assert str(caught.value) == (
        "no cgroup v2 hierarchy is mounted on this host. "
        "Boot with systemd.unified_cgroup_hierarchy=1."
    )


# Paths.


@pytest.mark.parametrize(
    "path",
    ["system.slice/web.service", "system.slice//web.service/", "./system.slice/web.service",
     "system.slice/db.service/../web.service", "web", "up/cgroup/web", "{mount}/web",
     "{mount}/system.slice/web.service", "{mount}/../cgroup/web", "{mount}/../outside/web.service"],
)  # fmt: skip
def test_every_path_of_a_cgroup_gives_the_same_cgroup(hierarchy: Hierarchy, path: str) -> None:
    directory = os.stat(f"{hierarchy.mount}/system.slice/web.service")
    expected = Cgroup("system.slice/web.service", directory.st_ino)
    written = path.format(mount=hierarchy.mount)
    for look in (hierarchy.resolve, hierarchy.require):
        found = look(written, "cgroup")
        assert found == expected
        assert os.fstat(found.fd).st_ino == directory.st_ino
        os.close(found.fd)


@pytest.mark.parametrize("path", ["", "a\0b", "\0", None, 7, ["web"]])
def test_what_is_no_path_is_refused(hierarchy: Hierarchy, path: Any) -> None:
    assert refused(hierarchy, path) == (
        f"policies[0].cgroup: {path!r} is not possible: a path below {hierarchy.mount}, "
        "such as system.slice/x.service."
    )


@pytest.mark.parametrize("path", [".", "/.", "up/cgroup", "system.slice/..", "{mount}", "{mount}/"])
def test_the_root_is_refused(hierarchy: Hierarchy, path: str) -> None:
    written = path.format(mount=hierarchy.mount) if path != "/." else f"{hierarchy.mount}/."
    assert refused(hierarchy, written) == (
        f"policies[0].cgroup: {written!r} is not possible: the root cgroup holds the whole host. "
        "Name a cgroup below it."
    )


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("..", "{base}"),
        ("../cgroups", "{base}/cgroups"),
        ("system.slice/../../etc", "{base}/etc"),
        ("up", "{base}"),
        ("out", "/etc"),
        ("out/passwd", "/etc/passwd"),
        ("/", "/"),
        ("/etc", "/etc"),
        ("{mount}s", "{base}/cgroups"),
        ("{mount}/../cgroups", "{base}/cgroups"),
    ],
)
def test_a_path_that_leads_out_of_the_mount_is_refused(
    hierarchy: Hierarchy, tmp_path: Path, path: str, real: str
) -> None:
    written = path.format(mount=hierarchy.mount)
    assert refused(hierarchy, written) == (
        f"policies[0].cgroup: {written!r} is not possible: it leads to "
        f"{real.format(base=tmp_path)}, outside the cgroup v2 mount {hierarchy.mount}. "
        "Name a cgroup below the mount."
    )


@pytest.mark.parametrize("path", ["{base}/v1", "{base}/v1/system.slice"])
def test_a_path_in_a_v1_hierarchy_is_refused_as_that(
    hierarchy: Hierarchy, tmp_path: Path, listed: Callable[..., None], path: str
) -> None:
    listed(cgroup=["/somewhere", str(tmp_path / "v1")])
    written = path.format(base=tmp_path)
    assert refused(hierarchy, written) == (
        f"policies[0].cgroup: {written!r} is not possible: it is in a cgroup v1 hierarchy. "
        f"Name one below {hierarchy.mount}."
    )


def test_a_name_that_only_begins_as_a_v1_mount_is_outside(
    hierarchy: Hierarchy, tmp_path: Path, listed: Callable[..., None]
) -> None:
    listed(cgroup=[str(tmp_path / "v1")])
    assert "outside the cgroup v2 mount" in refused(hierarchy, str(tmp_path / "v10"))


def test_a_file_is_no_cgroup(hierarchy: Hierarchy) -> None:
    path = "system.slice/web.service/cgroup.procs"
    assert refused(hierarchy, path) == (
        f"policies[0].cgroup: {path!r} is not possible: it is no cgroup directory. "
        "Name the cgroup itself."
    )


def test_a_refused_file_is_closed(hierarchy: Hierarchy) -> None:
    hierarchy.require("web", "cgroup")  # the mount stays open from now on
    before = os.listdir("/proc/self/fd")
    refused(hierarchy, "web/cgroup.procs")
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    "path",
    ["system.slice/none.service", "none/deeper", "web/cgroup.procs/deeper", "x" * 300,
     "{mount}/none"],
)  # fmt: skip
def test_a_cgroup_that_does_not_exist_is_none_or_an_error_where_it_is_needed(
    hierarchy: Hierarchy, path: str
) -> None:
    written = path.format(mount=hierarchy.mount)
    assert hierarchy.resolve(written, "cgroup") is None
    with pytest.raises(InputError) as caught:
        hierarchy.require(written, "cgroup")
    assert str(caught.value).endswith(
        f"is not possible: there is no such cgroup below {hierarchy.mount}. "
        "Start the service or make the cgroup first."
    )


def test_a_mount_that_is_reached_by_a_link_is_the_same(
    hierarchy: Hierarchy, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(hierarchy.mount)
    assert Hierarchy(str(tmp_path / "link")).resolve("web", "cgroup") == hierarchy.resolve(
        "web", "cgroup"
    )


steps = st.sampled_from(
    ["..", ".", "", "system.slice", "web.service", "up", "out", "web", "cgroup"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps | st.text(max_size=5), max_size=8), st.booleans())
def test_any_path_is_a_cgroup_below_the_mount_none_or_one_clear_error(
    hierarchy: Hierarchy, parts: list[str], absolute: bool
) -> None:
    path = "/".join([hierarchy.mount, *parts] if absolute else parts)
    try:
        found = hierarchy.resolve(path, "cgroup")
    except InputError:
        return
    if found is not None:
        assert os.readlink(f"/proc/self/fd/{found.fd}") == f"{hierarchy.mount}/{found.path}"
        os.close(found.fd)


# Ids.


class Handles:
    """Answers open_by_handle_at() as the kernel does for a few cgroups: id → path or errno."""

    def __init__(self, known: dict[int, str | int]) -> None:
        self.known = known

    def open_by_handle_at(self, _mount: int, handle: Any, flags: int) -> int:
        answer = self.known[handle._obj.id]
        if isinstance(answer, int):
            ctypes.set_errno(answer)
            return -1
        return os.open(answer, flags)


def answers(monkeypatch: pytest.MonkeyPatch, known: dict[int, str | int]) -> None:
    monkeypatch.setattr(_cgroup.ctypes, "CDLL", lambda name, use_errno: Handles(known))


def test_the_paths_of_live_cgroups_and_no_open_descriptor(
    hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = f"{hierarchy.mount}/system.slice/web.service"
    answers(monkeypatch, {1: web, 2: errno.ESTALE, 3: f"{hierarchy.mount}/system.slice"})
    before = os.listdir("/proc/self/fd")
    assert hierarchy.paths([1, 2, 3]) == {1: "system.slice/web.service", 3: "system.slice"}
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("answer", [errno.EPERM, errno.EMFILE, errno.ENOMEM, errno.EOPNOTSUPP])
def test_a_cgroup_that_the_kernel_does_not_tell_of_is_not_taken_for_dead(
    hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    answers(monkeypatch, {1: answer})
    with pytest.raises(KernelError) as caught:
        hierarchy.paths([1])
    assert caught.value.errno == answer
    assert str(caught.value).startswith(f"open_by_handle_at({hierarchy.mount}): E")
