# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way down to the pins, and groups by name and number."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _readers
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError

OTHER = 4242


@pytest.fixture
def bpffs(tmp_path: Path) -> Path:
    """A directory of the test's own, whose parents let everybody through."""
    for parent in tmp_path.parents:
        if not os.stat(parent).st_mode & stat.S_IXOTH:
            os.chmod(parent, 0o711)
    tmp_path.chmod(0o711)
    made = tmp_path / "bpf"
    made.mkdir()
    return made


@pytest.mark.parametrize(
    ("mode", "own", "another"),
    [(0o711, True, True), (0o710, True, False), (0o701, False, True), (0o766, False, False)],
)
def test_a_directory_is_gone_through_by_its_own_group_or_by_others(
    bpffs: Path, mode: int, own: bool, another: bool
) -> None:
    bpffs.chmod(mode)
    for gid, expected in ((bpffs.stat().st_gid, own), (OTHER, another)):
        assert _readers._passable(str(bpffs), gid) is expected


def test_what_is_closed_on_the_way_is_named_with_the_remedy(bpffs: Path) -> None:
    bpffs.chmod(0o700)
    with pytest.raises(HostError) as refused:
        _readers.require_way(str(bpffs), OTHER)
    assert str(refused.value) == (
        f"readers: the group {OTHER} can't go through {bpffs}, below which the policies are, and "
        f"nothing was changed. Run chmod o+x {bpffs}, and keep that over boots by a line in "
        f'/etc/tmpfiles.d/, such as "z {bpffs} 0711 root root -".'
    )
    bpffs.parent.chmod(0o700)
    with pytest.raises(HostError, match=f"go through {bpffs.parent},"):
        _readers.require_way(str(bpffs), OTHER)
    _readers.require_way(str(bpffs), _readers.ROOT)


def test_an_open_way_is_none_to_complain_of(bpffs: Path) -> None:
    bpffs.chmod(0o711)
    _readers.require_way(str(bpffs), OTHER)


def test_a_group_is_found_by_name_and_number_and_named_again() -> None:
    assert (_readers.group_id("root", "readers"), _readers.group_id("0", "readers")) == (0, 0)
    assert [_readers.group_name(gid) for gid in (0, 4_242_424, None)] == [
        "root", "4242424", "altered",
    ]  # fmt: skip


def test_what_changes_is_what_stands_there_and_no_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("")
    target.chmod(0o600)
    link.symlink_to(target)
    with (
        _readers._itself(str(link)) as itself,
        pytest.raises(OSError, match="Operation not supported"),
    ):
        os.chmod(itself, 0o644)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_cgroups_are_found_by_their_ids_by_walking(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "a" / "file").write_text("")
    ids = {path.stat().st_ino: str(path.relative_to(tmp_path)) for path in (below.parent, below)}
    assert Hierarchy(str(tmp_path)).walked({*ids, 1, 2**63}) == ids
