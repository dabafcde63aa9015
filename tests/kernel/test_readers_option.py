# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option readers: which group may read, from when to when, and what is not possible."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    HostError,
    InputError,
)

from tests.kernel import tasks
from tests.kernel.conftest import MOUNT, Group, apply, info, program, small
from tests.kernel.readers import (
    ADM,
    BPFFS,
    NEWER,
    PINS,
    PORTS,
    SHOWN,
    TTY,
    VERSION,
    become,
    folder,
    member,
    modes,
    open_to,
    refused,
    storages,
)
from tests.kernel.seen import everything

pytestmark = pytest.mark.usefixtures("locked_down", "ports_alone", "alone")
Make = Callable[..., Group]


# Who says so


def test_at_first_root_alone_may(group: Make) -> None:
    old = os.umask(0)
    try:
        group("ours", **PORTS)
    finally:
        os.umask(old)
    assert modes() == {}


def test_a_group_is_told_in_the_same_task_and_a_second_run_changes_nothing(group: Make) -> None:
    ours = group("ours")
    result = apply([{"cgroup": ours.path, **PORTS}], readers="adm")
    assert result["actions"][1] == {"action": "share", "version": VERSION, "gid": ADM}
    assert modes() == open_to(ADM)
    assert member(info)["policies"] == {"ours": SHOWN}
    assert not apply([{"cgroup": ours.path, **PORTS}], readers=str(ADM))["changed"]
    assert not apply([{"cgroup": ours.path, **PORTS}])["changed"]
    assert modes() == open_to(ADM)


def test_check_mode_tells_what_a_run_does_and_changes_nothing(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers="tty")
    before = everything()
    told = apply([], readers="adm", check=True)
    assert (everything(), modes()) == (before, open_to(TTY))
    assert told["diff"] == {"before": {"readers": "tty"}, "after": {"readers": "adm"}}
    assert apply([], readers="adm") == told
    assert modes() == open_to(ADM)


def test_another_group_reads_in_place_of_the_first(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers="tty")
    apply([], readers="adm")
    assert modes() == open_to(ADM)
    assert member(info)["policies"] == {"ours": SHOWN}
    assert "root and the group adm may" in member(lambda: refused(info), TTY)


@pytest.mark.parametrize("root", ["root", "0"])
def test_root_closes_it_again(group: Make, root: str) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    result = apply([], readers=root)
    assert result["diff"] == {"before": {"readers": "adm"}, "after": {"readers": "root"}}
    assert modes() == {".": (0o711, 0)}
    assert "root alone may" in member(lambda: refused(info))
    assert not apply([], readers=root)["changed"]


@pytest.mark.parametrize(
    ("part", "mode"),
    [("policy", 0o700), (f"policy/{VERSION}", 0o711), (".", 0o700), ("map", 0o755), ("pin", 0o644)],
)
def test_what_somebody_altered_is_mended(group: Make, part: str, mode: int) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    path = {"map": folder(), "pin": storages()[0]}.get(part, f"{PINS}/{part}")
    os.chmod(path, mode)
    result = apply([], readers="adm")
    assert result["diff"] == {"before": {"readers": "altered"}, "after": {"readers": "adm"}}
    assert modes() == open_to(ADM)
    for named in ({"readers": "root"}, {}):  # with none named, who could tell which it was
        apply([], readers="adm")
        os.chmod(path, mode)
        assert apply([], **named)["changed"]
        assert {path: seen for path, seen in modes().items() if path != "."} == {}


@pytest.mark.parametrize("by", ["cgnet_policy", "cgnet_program"])
def test_a_newer_version_is_read_by_the_same_group(group: Make, by: str) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    newer = small(version=NEWER)
    if by == "cgnet_policy":
        apply([{"cgroup": "ours", **PORTS}], obj=newer)
    else:
        program("policy", ["ours"], obj=newer)
    assert os.listdir(f"{PINS}/policy") == [NEWER]
    assert member(info)["policies"] == {"ours": {**SHOWN, "version": NEWER}}


def test_both_versions_are_read_while_there_are_two(group: Make) -> None:
    group("ours", **PORTS)
    group("theirs", **PORTS)
    apply([{"cgroup": "ours", **PORTS}], obj=small(version=NEWER), readers="adm")
    assert member(info)["policies"] == {"ours": {**SHOWN, "version": NEWER}, "theirs": SHOWN}
    apply([], readers="root")
    assert modes() == {".": (0o711, 0)}


def test_at_no_moment_of_an_upgrade_a_member_misses_a_policy(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")

    def look() -> Any:
        become(ADM)
        return {name: told["bind_ports"] for name, told in info()["policies"].items()}

    with tasks.watching(f"{MOUNT}/cgroup.procs", look) as watch:
        for version in (NEWER, VERSION) * 3:
            apply([{"cgroup": "ours", **PORTS}], obj=small(version=version))
            watch.look()
    assert watch.seen == [{"ours": SHOWN["bind_ports"]}]


def test_it_goes_with_the_last_policy(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    apply([{"cgroup": "ours", "state": "absent"}], readers="adm")
    assert not os.path.exists(PINS)
    apply([{"cgroup": "ours", **PORTS}])
    assert modes() == {}


# What is not possible


@contextlib.contextmanager
def closed_bpffs() -> Iterator[None]:
    """bpffs as systemd mounts it."""
    mode = stat.S_IMODE(os.stat(BPFFS).st_mode)
    os.chmod(BPFFS, 0o700)
    try:
        yield
    finally:
        os.chmod(BPFFS, mode)


def error(kind: type[CgnetError], readers: object, check: bool = False) -> str:
    """The words of the one error of a task with a policy, after which nothing is changed."""
    before = everything(), modes()
    with pytest.raises(CgnetError) as raised:
        apply([{"cgroup": "ours", "bind_ports": {"tcp": []}}], readers=readers, check=check)
    assert raised.type is kind
    assert (everything(), modes()) == before
    return str(raised.value)


@pytest.mark.parametrize("check", [True, False])
def test_a_file_system_that_lets_no_group_through_is_left_so(group: Make, check: bool) -> None:
    group("ours", **PORTS)
    with closed_bpffs():
        assert error(HostError, "adm", check) == (
            f"readers: the group adm can't go through {BPFFS}, below which the policies are, and "
            f"nothing was changed. Run chmod o+x {BPFFS}, and keep that over boots by a line in "
            f'/etc/tmpfiles.d/, such as "z {BPFFS} 0711 root root -".'
        )
        assert not apply([], readers="root")["changed"]
        assert stat.S_IMODE(os.stat(BPFFS).st_mode) == 0o700
        os.chmod(BPFFS, 0o711)
        apply([], readers="adm")
        assert member(info)["policies"] == {"ours": SHOWN}
        os.chmod(BPFFS, 0o700)
        assert "root alone may" in member(lambda: refused(info))


@pytest.mark.parametrize(
    "value", ["nobody-of-this-name", "4294967295", "99999999999", "-1", "a\0b", " adm", "0x4"]
)
def test_a_group_that_there_is_not(group: Make, value: str) -> None:
    group("ours", **PORTS)
    assert error(InputError, value) == (
        f"readers: {value!r} is not possible: this host has no such group. Make the group first."
    )


@pytest.mark.parametrize("value", ["", 4, True, ["adm"], {}])
def test_what_is_no_groups_name(group: Make, value: object) -> None:
    group("ours", **PORTS)
    assert error(InputError, value) == (
        f"readers: {value!r} is not possible: the name or the number of a group. "
        "As adm, or root for none."
    )
