# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock's file goes when it is spent, and no two hold different ones."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _lock

pytestmark = pytest.mark.usefixtures("closed")

BOTH = pytest.mark.parametrize("operation", [fcntl.LOCK_EX, fcntl.LOCK_SH])


@BOTH
@pytest.mark.parametrize("spent", [True, False])
def test_the_file_goes_where_it_is_spent(tmp_path: Path, operation: int, spent: bool) -> None:
    path = tmp_path / "lock"
    with _lock.held(str(path), operation, lambda: spent):
        assert path.stat().st_mode & 0o777 == 0o600
    assert path.exists() is not spent


@BOTH
def test_it_goes_after_an_error_too(tmp_path: Path, operation: int) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ValueError, match="x"), _lock.held(str(path), operation, lambda: True):
        raise ValueError("x")
    assert not path.exists()


def test_it_stays_while_another_reads(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with _lock.held(path, fcntl.LOCK_SH, lambda: True):
        with _lock.held(path, fcntl.LOCK_SH, lambda: True):
            pass
        assert Path(path).exists()
    assert not Path(path).exists()


def test_a_file_of_another_in_its_place_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with _lock.held(str(path), fcntl.LOCK_EX, lambda: True):
        path.unlink()
        path.touch()
    assert path.exists()


@BOTH
@pytest.mark.parametrize("made_anew", [True, False])
def test_who_got_the_lock_of_a_file_that_went_takes_the_one_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: int, made_anew: bool
) -> None:
    path, calls, flock = tmp_path / "lock", [], fcntl.flock

    def late(fd: int, asked: int) -> None:
        """As it is where the one who held it before removes it."""
        flock(fd, asked)
        calls.append(asked)
        if len(calls) == 1:
            path.unlink()
            if made_anew:
                path.touch()

    monkeypatch.setattr(_lock.fcntl, "flock", late)
    with _lock.held(str(path), operation, lambda: False):
        assert calls == [operation] * 2
        with path.open() as other, pytest.raises(BlockingIOError):
            flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
