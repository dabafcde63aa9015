# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not possible is one error that names it and the remedy, before anything is changed."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    HostError,
    InputError,
    KernelError,
    ObjectError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel

from tests.kernel import tasks
from tests.kernel.conftest import MOUNT, apply, groups, info, program, shipped
from tests.kernel.seen import everything

MS_REC, MS_PRIVATE, MNT_DETACH = 1 << 14, 1 << 18, 2
GOOD = {"cgroup": "ours", "bind_ports": {"tcp": [1001]}}
OBJECT = shipped()


@pytest.fixture(autouse=True, scope="module")
def governed(nothing_left: None) -> Iterator[None]:
    """A cgroup that has a policy, and one that has none."""
    with groups() as make:
        make("ours", bind_ports={"tcp": [1001]})
        make("other")
        yield


@pytest.fixture(autouse=True)
def unchanged(governed: None) -> Iterator[None]:
    """After the error, nothing is other than before."""
    before, held = everything(), info()
    yield
    assert (everything(), info()) == (before, held)


def refusal(kind: type[CgnetError], work: Callable[[], object]) -> str:
    """The text of the one error; it is of exactly this kind."""
    with pytest.raises(CgnetError) as refused:
        work()
    assert refused.type is kind
    return str(refused.value)


def policy(cgroup: str, **more: Any) -> dict[str, Any]:
    return {"cgroup": cgroup, "tos": [], **more}


# Cgroups


@pytest.mark.parametrize(
    "path", ["nowhere", f"{MOUNT}/nowhere", "ours/nowhere", "ours/cgroup.procs/x", "n" * 300]
)
def test_a_cgroup_that_does_not_exist(path: str) -> None:
    shown = repr(path) if len(path) < 199 else f"{path!r:.200}…"
    why = (
        f"{shown} is not possible: there is no such cgroup below {MOUNT}. "
        "Start the service or make the cgroup first."
    )
    found = refusal(InputError, lambda: apply([policy(path)]))
    assert found == f"policies[0].cgroup: {why}"
    found = refusal(InputError, lambda: program("mine", [path], obj=shipped("mine_one")))
    assert found == f"cgroups[0]: {why}"


def test_a_cgroup_that_does_not_exist_has_nothing_to_remove() -> None:
    assert not apply([{"cgroup": "nowhere", "state": "absent"}])["changed"]


@pytest.mark.parametrize(
    ("path", "leads"),
    [("../bpf", "/sys/fs/bpf"), ("ours/../../../../tmp", "/tmp"), ("/tmp", "/tmp"), ("/", "/")],
)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_path_that_leaves_the_mount(path: str, leads: str, state: str) -> None:
    entry = policy(path) if state == "present" else {"cgroup": path, "state": state}
    assert refusal(InputError, lambda: apply([entry])) == (
        f"policies[0].cgroup: {path!r} is not possible: it leads to {leads}, outside the cgroup v2 "
        f"mount {MOUNT}. Name a cgroup below the mount."
    )


def test_a_symbolic_link_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/proc")
    found = refusal(InputError, lambda: apply([policy(str(tmp_path / "out"))]))
    assert "it leads to /proc, outside the cgroup v2 mount" in found
    (tmp_path / "in").symlink_to(f"{MOUNT}/ours")
    same = {**GOOD, "cgroup": str(tmp_path / "in")}
    assert not apply([same])["changed"]
    (tmp_path / "round").symlink_to(tmp_path / "round")
    found = refusal(InputError, lambda: apply([policy(str(tmp_path / "round"))]))
    assert "outside the cgroup v2 mount" in found


@pytest.mark.parametrize("path", [".", "./", MOUNT, f"{MOUNT}/", "ours/..", f"{MOUNT}/../cgroup"])
def test_the_root_cgroup(path: str) -> None:
    assert refusal(InputError, lambda: apply([policy(path)])) == (
        f"policies[0].cgroup: {path!r} is not possible: the root cgroup holds the whole host. "
        "Name a cgroup below it."
    )


@pytest.mark.parametrize("path", ["", "ours\0", 7])
def test_what_is_no_path(path: Any) -> None:
    assert refusal(InputError, lambda: apply([policy(path)])) == (
        f"policies[0].cgroup: {path!r} is not possible: a path below {MOUNT}, "
        "such as system.slice/x.service."
    )


def test_a_cgroup_of_version_1(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "cgroup", "-o", "none,name=test", "test", tmp_path], check=True)
    try:
        (tmp_path / "old").mkdir()
        for path in (tmp_path, tmp_path / "old"):
            assert refusal(InputError, lambda path=path: apply([policy(str(path))])) == (
                f"policies[0].cgroup: '{path}' is not possible: it is in a cgroup v1 hierarchy. "
                f"Name one below {MOUNT}."
            )
    finally:
        (tmp_path / "old").rmdir()
        subprocess.run(["umount", tmp_path], check=True)


def test_a_file_of_a_cgroup() -> None:
    assert refusal(InputError, lambda: apply([policy("ours/cgroup.procs")])) == (
        "policies[0].cgroup: 'ours/cgroup.procs' is not possible: it is no cgroup directory. "
        "Name the cgroup itself."
    )


@pytest.mark.parametrize("path", ["ours", f"{MOUNT}/ours", "ours/", "./ours", "other/../ours"])
def test_the_same_cgroup_twice(path: str) -> None:
    policies = [policy("other"), policy("ours"), policy(path)]
    assert refusal(InputError, lambda: apply(policies)) == (
        f"policies[2]: {path!r} is not possible: it is the same cgroup as policies[1]. "
        "Declare it once."
    )
    mine = shipped("mine_one")
    found = refusal(InputError, lambda: program("mine", ["other", "ours", path], obj=mine))
    assert found == (
        f"cgroups[2]: {path!r} is not possible: it is the same cgroup as cgroups[1]. Name it once."
    )


def test_a_unit_where_there_is_no_systemd() -> None:
    found = refusal(HostError, lambda: apply([{"unit": "web.service", "tos": []}]))
    assert ("systemd" in found, '("cgroup")' in found) == (True, True)


def test_neither_a_cgroup_nor_a_unit_or_both() -> None:
    for entry in ({"tos": []}, {"cgroup": "ours", "unit": "web.service", "tos": []}):
        found = refusal(InputError, lambda entry=entry: apply([entry]))
        assert found.endswith("is not possible: it takes one of cgroup and unit.")


# Values


@pytest.mark.parametrize("value", ["1:99999", "10000:1", "1:", -1, 1 << 32, "4294967296", "x:1"])
def test_a_priority_that_is_none(value: Any) -> None:
    remedy = ' Write it as tc does: "1:10".' if ":" in str(value) else ""
    assert refusal(InputError, lambda: apply([policy("ours", priority=value)])) == (
        f"policies[0].priority: {value!r} is not possible: a number from 0 to 4294967295, "
        f"or major:minor of four hexadecimal digits each.{remedy}"
    )


@pytest.mark.parametrize(
    "bad",
    [policy("other", priority="1:99999"), policy("nowhere"), policy("/"), {"cgroup": "other"},
     policy("other", permanent=True)],
    ids=["value", "cgroup", "mount", "nothing", "unknown"],
)  # fmt: skip
def test_one_bad_policy_and_none_is_applied(bad: dict[str, Any]) -> None:
    changed = {**GOOD, "bind_ports": {"tcp": [1002]}}
    for policies in ([changed, bad], [bad, changed]):
        found = refusal(InputError, lambda policies=policies: apply(policies))
        assert found.startswith(f"policies[{policies.index(bad)}]")


# Objects


def test_an_object_that_was_altered_on_its_way(tmp_path: Path) -> None:
    data = Path(OBJECT.path).read_bytes()
    other = shipped(version="0" * 25)
    for altered in (data + b"\0", data[:-1], b""):
        (tmp_path / "policy.bpf.o").write_bytes(altered)
        sent = replace(other, path=str(tmp_path / "policy.bpf.o"))
        assert refusal(ObjectError, lambda sent=sent: apply([GOOD], obj=sent)) == (
            "object policy: it was altered on its way to this host. Run the task again."
        )


def test_an_object_that_the_verifier_refuses() -> None:
    found = refusal(KernelError, lambda: program("refused", ["ours"], obj=shipped("refused")))
    first, *_rest = found.splitlines()
    assert first == (
        "loading refused_connect6, refused_not: EINVAL (Invalid argument). This kernel does not "
        "take the object (docs/controls.md says what each needs)."
    )
    assert "The verifier's last words:" in found
    assert "At program exit the register R0 has" in found


def test_a_manifest_that_names_a_program_too_many() -> None:
    programs = [*OBJECT.manifest["programs"], ["policy_more", "cgroup/bind4"]]
    obj = shipped(version="0" * 25, programs=programs)
    found = refusal(KernelError, lambda: apply([GOOD], obj=obj))
    assert found.startswith("loading policy_more: EINVAL")


# The host


def in_own_mounts(work: Callable[[], str], *without: str) -> str:
    """What `work` returns in a task that has a mount table of its own, without some of it."""
    libc = ctypes.CDLL(None, use_errno=True)

    def task() -> str:
        tasks.unshare(tasks.CLONE_NEWNS)
        for path in without:
            assert libc.umount2(path.encode(), MNT_DETACH) == 0, path
        return work()

    return tasks.inside(f"{MOUNT}/cgroup.procs", task)


def test_without_bpffs() -> None:
    for work in (lambda: apply([GOOD], obj=OBJECT), info):
        found = in_own_mounts(lambda work=work: refusal(HostError, work), "/sys/fs/bpf")
        assert found == (
            "bpffs is not mounted on this host, so nothing could be pinned. "
            "Mount it: mount -t bpf bpf /sys/fs/bpf (systemd does so at boot)."
        )


def test_without_cgroup_v2() -> None:
    for work in (lambda: apply([GOOD], obj=OBJECT), info):
        found = in_own_mounts(lambda work=work: refusal(HostError, work), MOUNT)
        assert found == (
            "no cgroup v2 hierarchy is mounted on this host. "
            "Boot with systemd.unified_cgroup_hierarchy=1."
        )


def test_a_mount_of_cgroup_v2_that_another_one_covers_is_not_taken(tmp_path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def work() -> str:
        for kind, path, flags in (
            (None, "/", MS_REC | MS_PRIVATE), (b"cgroup2", str(tmp_path), 0), (b"tmpfs", MOUNT, 0),
        ):  # fmt: skip
            assert libc.mount(b"none", path.encode(), kind, ctypes.c_ulong(flags), None) == 0, path
        return f"{Hierarchy().mount} {Hierarchy().require(GOOD['cgroup'], 'cgroup').path}"

    assert in_own_mounts(work) == f"{tmp_path} {GOOD['cgroup']}"


def test_a_user_who_is_not_root() -> None:
    def work() -> str:
        os.setgroups([])
        os.setgid(tasks.NOBODY)
        os.setuid(tasks.NOBODY)
        return refusal(HostError, lambda: apply([GOOD], obj=OBJECT))

    found = tasks.inside(f"{MOUNT}/cgroup.procs", work)
    assert found == "this needs root, and runs as uid 65534. Set become: true on the task."


def test_without_libbpf() -> None:
    """In a process of its own: what is loaded once stays. An empty file is no library."""
    Kernel.open()
    with open("/proc/self/maps", encoding="ascii") as maps:
        library = next(line.split()[-1] for line in maps if "/libbpf.so" in line)
    program = (
        "from tests.kernel.conftest import info\n"
        "try:\n info()\n"
        "except Exception as error:\n print(f'{type(error).__name__}: {error}')\n"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", 'mount --bind /dev/null "$0"; exec "$@"', library,
         sys.executable, "-c", program],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("HostError: libbpf.so.1 can't be loaded on this host (")
    assert done.stdout.endswith(
        "Install the distribution's package (Debian: apt install libbpf1).\n"
    )
