# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is swapped while a path is looked at leads nowhere else; names of any bytes are found."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _cgroup
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError, KernelError

from tests.swapping import swapping

LOOKS = 300
PATIENCE = 60.0
MOVED = "what it leads to was changed while it was looked at. Name the cgroup itself."


@pytest.fixture
def hierarchy(tmp_path: Path) -> Hierarchy:
    """Two cgroups of the same inner name, and a directory outside that looks alike."""
    for path in ("cgroup/a/deep", "cgroup/b/deep", "outside/deep"):
        (tmp_path / path).mkdir(parents=True)
    return Hierarchy(str(tmp_path / "cgroup"))


@pytest.fixture
def ids(hierarchy: Hierarchy) -> dict[str, int]:
    """Their ids, before anything is swapped."""
    return {inner: os.stat(f"{hierarchy.mount}/{inner}").st_ino for inner in ("a/deep", "b/deep")}


def looked(hierarchy: Hierarchy, ids: dict[str, int], path: str, *wanted: str) -> set[str]:
    """What a path was found to be, looking until all that is wanted was seen and often enough.

    A cgroup by its path, which its descriptor and its id agree with; an error by its reason.
    """
    seen: set[str] = set()
    looks, end = 0, time.monotonic() + PATIENCE
    while (looks < LOOKS or not seen >= {*wanted}) and time.monotonic() < end:
        looks += 1
        try:
            found = hierarchy.resolve(path, "cgroup")
        except InputError as error:
            seen.add("moved" if str(error).endswith(MOVED) else str(error).split(": ")[2])
            continue
        seen.add(found.path if found else "none")
        if found:
            assert found.id == os.fstat(found.fd).st_ino
            assert os.path.samestat(os.fstat(found.fd), os.stat(f"/proc/self/fd/{found.fd}"))
            assert found.id == ids.get(found.path, found.id)
        hierarchy.close()
    return seen


def test_a_link_that_is_swapped_leads_to_one_of_its_targets(
    hierarchy: Hierarchy, ids: dict[str, int], tmp_path: Path
) -> None:
    for name, target in (("link", "cgroup/a"), ("one", "cgroup/b"), ("two", "outside")):
        (tmp_path / name).symlink_to(tmp_path / target)
    out = f"it leads to {tmp_path}/outside/deep, outside the cgroup v2 mount {hierarchy.mount}. "
    out += "Name a cgroup below the mount."
    nothing = out.replace("outside/deep", "link/deep")  # the moment between two renames
    with swapping(*(str(tmp_path / name) for name in ("link", "one", "two"))):
        seen = looked(hierarchy, ids, str(tmp_path / "link/deep"), "a/deep", "b/deep", out)
    assert seen >= {"a/deep", "b/deep", out}
    assert seen <= {"a/deep", "b/deep", out, nothing, "moved"}


def test_a_directory_that_a_link_is_swapped_in_for_is_not_left(
    hierarchy: Hierarchy, ids: dict[str, int], tmp_path: Path
) -> None:
    """Not in a cgroup file system, which has no links; in a path that was looked at before."""
    inside = Path(hierarchy.mount, "a")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    out = f"it leads to {tmp_path}/outside/deep, outside the cgroup v2 mount {hierarchy.mount}. "
    out += "Name a cgroup below the mount."
    with swapping(str(inside), str(tmp_path / "link")):
        seen = looked(hierarchy, ids, "a/deep", "a/deep", out, "none")
    assert seen >= {"a/deep", out, "none"}
    assert seen <= {"a/deep", out, "none", "moved", "a aside/deep"}


@pytest.mark.parametrize("link", ["a", "a/deep"])
def test_a_link_that_comes_after_the_look_is_not_followed(
    hierarchy: Hierarchy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    """By a path that leads there from elsewhere: any other the kernel looks at by itself."""
    (tmp_path / "way").symlink_to(hierarchy.mount)
    path = f"{tmp_path}/way/a/deep"
    real = os.path.realpath

    def look(path: bytes) -> bytes:
        found = real(path)
        os.rename(f"{hierarchy.mount}/{link}", tmp_path / "aside")
        os.symlink(tmp_path / link.replace("a", "outside", 1), f"{hierarchy.mount}/{link}")
        return found

    monkeypatch.setattr(os.path, "realpath", look)
    with pytest.raises(InputError) as refused:
        hierarchy.resolve(path, "policies[0].cgroup")
    assert str(refused.value) == f"policies[0].cgroup: {path!r} is not possible: {MOVED}"
    opened = [os.readlink(f"/proc/self/fd/{fd}") for fd in hierarchy._opened]
    assert opened == [hierarchy.mount]


def test_a_path_below_the_mount_is_looked_at_by_the_kernel_alone(
    hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For thousands of cgroups, looks at each part of each path are most of what a run does."""
    monkeypatch.delattr(os.path, "realpath")
    for path in ("a/deep", f"{hierarchy.mount}/a/deep", "a//./deep/", "b/../a/deep"):
        assert hierarchy.require(path, "cgroup").path == "a/deep"


def test_a_cgroup_that_goes_after_it_was_opened_is_none(
    hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = _cgroup._open_below

    def and_gone(directory: int, path: bytes) -> int:
        found = opened(directory, path)
        os.rmdir(f"{hierarchy.mount}/a/deep")
        return found

    monkeypatch.setattr(_cgroup, "_open_below", and_gone)
    assert hierarchy.resolve("a/deep", "cgroup") is None


def test_a_cgroup_that_is_called_as_if_it_were_gone_is_found(hierarchy: Hierarchy) -> None:
    os.mkdir(f"{hierarchy.mount}/a (deleted)")
    assert hierarchy.require("a (deleted)", "cgroup").path == "a (deleted)"


def test_a_kernel_that_refuses_the_call_is_told(
    hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cgroup, "_RESOLVE_NO_XDEV", 1 << 40)
    with pytest.raises(KernelError) as refused:
        hierarchy.resolve("a/deep", "cgroup")
    assert (refused.value.errno, str(refused.value)) == (
        errno.EINVAL, "openat2(a/deep): EINVAL (Invalid argument).",
    )  # fmt: skip


# Names.


NAMES = [
    b"with a blank", b"a\nb", b"a\tb", b"'\"", b"-rf", b"~", b"$HOME", b"n" * 255, b"\xff" * 255,
    b"gr\xfc\xdfe", "日本".encode(), rb"by\x2dlabel", rb"a\377", b"id 5 (gone)", b"x.(deleted)",
    b"%s{{}}",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_cgroup_of_any_name_is_found_by_what_it_is_shown_as(
    hierarchy: Hierarchy, name: bytes
) -> None:
    os.mkdir(os.fsencode(hierarchy.mount) + b"/" + name)
    number = os.stat(os.fsencode(hierarchy.mount) + b"/" + name).st_ino
    (written,) = hierarchy.walked([number]).values()
    found = hierarchy.require(written, "cgroup")
    assert (found.path, found.id) == (written, number)
    assert hierarchy.require(f"{hierarchy.mount}/{written}", "cgroup") == found
    if not name.startswith(rb"a\3"):  # which means another name
        assert hierarchy.require(os.fsdecode(name), "cgroup") == found


@pytest.mark.parametrize("path", ["a\ud800", "\udc00/a"])
def test_half_a_character_is_no_path(hierarchy: Hierarchy, path: Any) -> None:
    with pytest.raises(InputError) as refused:
        hierarchy.resolve(path, "cgroup")
    assert str(refused.value) == (
        f"cgroup: {path!r} is not possible: it has half a surrogate pair, which is no character. "
        "Write a byte that is no UTF-8 as a backslash and three octal digits: \\377."
    )


def test_where_a_path_leads_is_told_so_that_it_can_be_read(
    hierarchy: Hierarchy, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(b"/tmp/\x1b\xff\n")
    with pytest.raises(InputError, match=r"it leads to /tmp/\\033\\377\\012, outside"):
        hierarchy.resolve("../link", "cgroup")
