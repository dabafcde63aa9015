# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group may read what is stored, with all else of BPF closed to who is not root."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import grp
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _storage
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    HostError,
    InputError,
    KernelError,
)

from tests.kernel import tasks
from tests.kernel.conftest import MOUNT, Group, apply, info, program, raw_xmit, shipped
from tests.kernel.seen import everything
from tests.shown import IN_ANY, IN_HOST

pytestmark = pytest.mark.usefixtures("locked_down", "alone", "quick")
Make = Callable[..., Group]
T = TypeVar("T")

BPFFS, PINS = "/sys/fs/bpf", "/sys/fs/bpf/cgnet"
SYSCTL = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
ADM, TTY = grp.getgrnam("adm").gr_gid, grp.getgrnam("tty").gr_gid
VERSION = shipped().manifest["version"]
LAYOUT = VERSION.split("-")[1]
NEWER = f"{'0' * 16}-{LAYOUT}"
"""A version that stores what the bundled one does."""
PORTS: dict[str, Any] = {"bind_ports": {"tcp": [1001]}}
SHOWN = {
    "version": VERSION,
    "bind_ports": {"tcp": [1001], "below": 16384, "unprivileged": False},
    **IN_HOST,
}
MAY = "Set become: true on the task, or let a group of the user's read it, "
MAY += "by the option readers of cgnet_policy."


@pytest.fixture(autouse=True, scope="module")
def locked_down() -> Iterator[None]:
    """Who is not root makes no maps and loads no programs, and no administrator can allow it."""
    before = SYSCTL.read_text()
    if before.strip() != "1":  # which stays until the next boot
        SYSCTL.write_text("2")
    yield
    if before.strip() != "1":
        SYSCTL.write_text(before)


def become(*groups: int) -> None:
    """Be nobody, as a member of these groups."""
    if os.geteuid() == 0:
        os.setgroups(groups)
        os.setresgid(tasks.NOBODY, tasks.NOBODY, tasks.NOBODY)
        os.setresuid(tasks.NOBODY, tasks.NOBODY, tasks.NOBODY)


def member(work: Callable[[], T], *groups: int) -> T:
    """What `work` returns to nobody as a member of these groups, or of adm."""

    def dropped() -> T:
        become(*(groups or (ADM,)))
        return work()

    return tasks.inside(f"{MOUNT}/cgroup.procs", dropped)


def refused(call: Callable[..., object], *args: Any) -> str:
    """The errno or the words with which a call is refused, or "ok"."""
    try:
        call(*args)
    except KernelError as error:
        return errno.errorcode[error.errno]
    except CgnetError as error:
        return str(error)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def pins(part: str, version: str = VERSION) -> list[str]:
    """The pins below a part of a version."""
    top = f"{PINS}/policy/{version}/{part}"
    return sorted(f"{base}/{name}" for base, _dirs, files in os.walk(top) for name in files)


def modes() -> dict[str, tuple[int, int]]:
    """Every directory and pin of ours that is not just as it is when root alone may: mode, gid."""
    found = {}
    for base, directories, files in os.walk(PINS):
        for path in [base, *(f"{base}/{name}" for name in files)]:
            status = os.lstat(path)
            seen = stat.S_IMODE(status.st_mode), status.st_gid
            if seen != (0o600 if path != base else 0o700, 0):
                found[os.path.relpath(path, PINS)] = seen
        assert not any(os.path.islink(f"{base}/{name}") for name in directories)
    return found


def storages() -> list[str]:
    return [f"{PINS}/policy/{VERSION}/map/{name}" for name in _storage.pins(folder())]


def folder(version: str = VERSION) -> str:
    return f"{PINS}/policy/{version}/map"


def open_to(gid: int, version: str = VERSION) -> dict[str, tuple[int, int]]:
    """modes() where a group may read a version."""
    stored = {f"policy/{version}/map/{name}": (0o640, gid) for name in _storage.pins(folder())}
    return {
        ".": (0o711, 0),
        "policy": (0o750, gid),
        f"policy/{version}": (0o710, gid),
        f"policy/{version}/map": (0o750, gid),
        **stored,
    }


def opened(path: str, write: bool) -> None:
    os.close(_libbpf.get(path, write))


# What a member can


def test_a_member_is_told_what_is_declared_and_nothing_else(group: Make) -> None:
    group("ours", **PORTS)
    group("ours/below", priority="1:10", netns="any")
    apply([], readers="adm")
    told = member(info)
    assert told["policies"] == {
        "ours": SHOWN,
        "ours/below": {"version": VERSION, "priority": "1:10", **IN_ANY},
    }
    whole = info()
    assert (sorted(told), told["policies"]) == (
        ["changed", "counters", "kernel", "policies"],
        whole["policies"],
    )
    del whole["kernel"]["lsm_cgroup_slots"]
    assert told["kernel"] == whole["kernel"]


def test_a_member_by_its_own_group_reads_too(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers=str(tasks.NOBODY))
    assert member(info, TTY)["policies"] == {"ours": SHOWN}


def test_a_member_reads_the_bytes_that_root_stored(group: Make) -> None:
    ours = group("ours", **PORTS)
    apply([], readers="adm")
    values = _storage.values(folder())
    assert list(values) == [ours.id]
    assert member(lambda: _storage.values(folder())) == values


def test_a_policy_that_is_declared_later_is_read_too(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    group("later", tos=[])
    assert sorted(member(info)["policies"]) == ["later", "ours"]
    apply([{"cgroup": "ours", "state": "absent"}])
    assert sorted(member(info)["policies"]) == ["later"]


def test_a_member_of_a_host_without_policies_is_told_so() -> None:
    assert member(info)["policies"] == {}


# What a member can't


def change(path: str) -> tuple[str, str]:
    """How updating and deleting are refused by a descriptor that is for reading."""
    with _libbpf.closing(_libbpf.get(path, write=False)) as fd:
        size = _libbpf.info(fd, _libbpf.MapInfo()).value_size
        value = ctypes.create_string_buffer(size * (os.cpu_count() or 1) + 4096)
        (first, *_others) = _libbpf.keys(fd)
        key = ctypes.byref(ctypes.c_uint64(first))
        call = _libbpf.library().call
        call("bpf_map_lookup_elem", fd, key, value)
        return (
            refused(call, "bpf_map_update_elem", fd, key, value, 0),
            refused(call, "bpf_map_delete_elem", fd, key),
        )


def test_a_member_changes_nothing(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    stored = storages()
    assert stored != []
    before = everything()
    assert member(lambda: {path: change(path) for path in stored}) == dict.fromkeys(
        stored, ("EPERM", "EPERM")
    )
    assert member(lambda: [refused(opened, path, True) for path in stored]) == ["EACCES"] * len(
        stored
    )
    assert everything() == before


def test_a_member_opens_no_program_no_link_and_no_other_map(group: Make) -> None:
    group("ours", priority=6, **PORTS)
    apply([], readers="adm")
    others = sorted({*pins("map")} - {*storages()})
    closed = [*pins("prog"), *pins("link"), *others]
    assert min(len(pins("prog")), len(pins("link")), len(others)) > 0
    for write in (True, False):
        seen = member(lambda: {path: refused(opened, path, write) for path in closed})  # noqa: B023
        assert seen == dict.fromkeys(closed, "EACCES")
        assert {path: refused(opened, path, True) for path in closed} == dict.fromkeys(closed, "ok")


def test_a_member_lists_versions_and_maps_and_no_other_directory(group: Make) -> None:
    group("ours", **PORTS)
    program("mine", ["ours"], obj=shipped("mine_one", name="mine"))
    apply([], readers="adm")
    top = f"policy/{VERSION}"
    places = (".", "policy", top, f"{top}/map", f"{top}/prog", f"{top}/link", "mine")
    seen = member(lambda: {each: refused(os.listdir, f"{PINS}/{each}") for each in places})
    assert seen == {**dict.fromkeys(places, "EACCES"), "policy": "ok", f"{top}/map": "ok"}


def make_map() -> int:
    """bpf_map_create() of an array: 0, or the negative errno."""
    library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    result: int = library.bpf_map_create(2, None, 4, 4, 1, None)
    if result >= 0:
        os.close(result)
    return min(result, 0)


def test_the_rest_of_bpf_is_closed_to_a_member() -> None:
    assert SYSCTL.read_text().strip() in ("1", "2")
    assert (member(make_map), make_map()) == (-errno.EPERM, 0)


def test_a_member_runs_no_other_task_and_does_not_wait_for_one(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    words = f"this needs root, and runs as uid {tasks.NOBODY}. Set become: true on the task."
    assert member(lambda: refused(apply, [])) == words
    assert member(lambda: refused(raw_xmit, "ours")) == words


# Who is no member


def test_a_stranger_opens_nothing_and_is_told_who_may(group: Make) -> None:
    group("ours", **PORTS)
    words = f"uid {tasks.NOBODY} may not read what is stored here: "
    assert member(lambda: refused(info)) == f"{words}root alone may. {MAY}"
    apply([], readers="adm")
    everywhere = [*pins("map"), *pins("prog"), *pins("link")]
    for write in (True, False):
        seen = member(lambda: {refused(opened, path, write) for path in everywhere}, TTY)  # noqa: B023
        assert seen == {"EACCES"}
    assert member(lambda: refused(info), TTY) == f"{words}root and the group adm may. {MAY}"


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
def test_what_somebody_altered_is_mended_where_a_group_is_named(
    group: Make, part: str, mode: int
) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    path = {"map": folder(), "pin": storages()[0]}.get(part, f"{PINS}/{part}")
    os.chmod(path, mode)
    assert not apply([])["changed"]
    result = apply([], readers="adm")
    assert result["diff"] == {"before": {"readers": "altered"}, "after": {"readers": "adm"}}
    assert modes() == open_to(ADM)
    os.chmod(path, mode)
    apply([], readers="root")
    assert {path: seen for path, seen in modes().items() if path != "."} == {}


@pytest.mark.parametrize("by", ["cgnet_policy", "cgnet_program"])
def test_a_newer_version_is_read_by_the_same_group(group: Make, by: str) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    newer = shipped(version=NEWER)
    if by == "cgnet_policy":
        apply([{"cgroup": "ours", **PORTS}], obj=newer)
    else:
        program("policy", ["ours"], obj=newer)
    assert os.listdir(f"{PINS}/policy") == [NEWER]
    assert member(info)["policies"] == {"ours": {**SHOWN, "version": NEWER}}


def test_both_versions_are_read_while_there_are_two(group: Make) -> None:
    group("ours", **PORTS)
    group("theirs", **PORTS)
    apply([{"cgroup": "ours", **PORTS}], obj=shipped(version=NEWER), readers="adm")
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
            apply([{"cgroup": "ours", **PORTS}], obj=shipped(version=version))
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
        apply([{"cgroup": "ours", "tos": []}], readers=readers, check=check)
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
