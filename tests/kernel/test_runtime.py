# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host keeps is applied by the runtime, one file, as a task of Ansible applied it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _kept

from tests.kernel import tasks
from tests.kernel.conftest import ROOT, Group, apply, clear, info, raw_xmit
from tests.kernel.tasks import bind

Make = Callable[..., Group]

RUNTIME = ROOT / "plugins/objects/cgnet.pyz"
PORTS: dict[str, Any] = {"bind_ports": {"tcp": [81]}}


@pytest.fixture(autouse=True)
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of what is kept, and a runtime installed; both go after the test."""
    installed = tmp_path / "cgnet"
    shutil.copy(RUNTIME, installed)
    installed.chmod(0o755)
    monkeypatch.setattr(_kept, "RUNTIME", str(installed))
    yield Path(_kept.ROOT)
    clear()
    shutil.rmtree(_kept.ROOT, ignore_errors=True)


def call(*arguments: str, stdin: str = "", before: Callable[[], None] | None = None) -> Any:
    """The runtime's exit status, output and errors; `before` is done in its process first."""
    done = subprocess.run(
        [_kept.RUNTIME, *arguments],
        input=stdin, capture_output=True, check=False, text=True, preexec_fn=before,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def binding() -> list[Any]:
    """What becomes of a bind to the port that is allowed, and to another."""
    return [bind(socket.AF_INET, socket.SOCK_STREAM, port) for port in (81, 82)]


HELD = ["ok", "EPERM"]
FREE = ["ok", "ok"]


def rebooted(*cgroups: Group) -> None:
    """As after a boot: nothing of ours in the kernel, and no cgroup."""
    clear()
    for each in cgroups:
        os.rmdir(each.directory)


def test_a_cgroup_is_made_and_held_at_boot_as_a_task_declared_it(group: Make) -> None:
    ours = group("ours")
    apply([{"cgroup": "ours", **PORTS}], permanent=True)
    raw_xmit("ours", permanent=True)
    before = info()
    rebooted(ours)
    status, _said, errors = call("boot")
    assert (status, errors) == (0, "")
    assert ours.run(binding) == HELD
    after = info()
    assert [after[key] for key in ("policies", "raw_xmit", "permanent")] == [
        before[key] for key in ("policies", "raw_xmit", "permanent")
    ]
    assert call("boot") == (0, "", "")
    assert not apply([{"cgroup": "ours", **PORTS}], permanent=True)["changed"]


def test_what_is_no_longer_kept_is_not_applied(group: Make, etc: Path) -> None:
    ours = group("ours")
    apply([{"cgroup": "ours", **PORTS}], permanent=True)
    apply([{"cgroup": "ours", "state": "absent"}], permanent=True)
    assert ours.run(binding) == FREE
    assert call("boot") == (0, "", "")
    assert ours.run(binding) == FREE
    assert not list(etc.glob("*/*"))


def test_who_could_be_read_by_a_group_is_so_again(group: Make) -> None:
    ours = group("ours")
    apply([{"cgroup": "ours", **PORTS}], permanent=True, readers="daemon")
    rebooted(ours)
    assert call("boot")[0] == 0
    assert os.stat("/sys/fs/bpf/cgnet/policy").st_gid == 1
    assert os.stat("/sys/fs/bpf/cgnet/policy").st_mode & 0o777 == 0o750


def test_a_file_that_is_wrong_keeps_no_other_from_being_applied(group: Make, etc: Path) -> None:
    ours = group("ours")
    group("other")
    apply([{"cgroup": "ours", **PORTS}, {"cgroup": "other", "priority": 1}], permanent=True)
    rebooted(ours)
    wrong = etc / "policies.d/cgroup-other.json"
    wrong.write_text(json.dumps({"cgroup": "other", "priority": 9999999999}))
    status, _said, errors = call("boot")
    assert status == 1
    assert f"{wrong}: " in errors
    assert "priority" in errors
    assert ours.run(binding) == HELD


def test_one_that_runs_in_another_network_namespace_means_the_hosts(group: Make) -> None:
    ours = group("ours")
    apply([{"cgroup": "ours", **PORTS}], permanent=True)
    clear()
    assert ours.run(binding) == FREE
    assert call("boot", before=lambda: tasks.unshare(tasks.CLONE_NEWNET))[0] == 0
    assert ours.run(binding) == HELD


def test_a_container_is_held_in_its_own_network_namespace(group: Make, etc: Path) -> None:
    ours, other = group("ours"), group("other")
    profiles = etc / "profiles.d"
    profiles.mkdir(parents=True)
    (profiles / "web.json").write_text(json.dumps({"policy": PORTS, "raw_xmit": False}))
    reader, writer = os.pipe()

    def created() -> None:
        """A container's first process, which waits until its hooks are done."""
        os.close(writer)
        tasks.enter(ours.procs)
        os.write(ready[1], b"x")
        os.read(reader, 1)

    ready = os.pipe()
    pid = tasks.start(created)
    assert os.read(ready[0], 1) == b"x"
    for profile, expected in (("wep", 1), ("web", 0)):
        state = {"ociVersion": "1.0.2", "id": "x", "status": "created", "pid": pid, "bundle": "/",
                 "annotations": {"linux.cgnet.profile": profile}}  # fmt: skip
        status, _said, errors = call("oci", stdin=json.dumps(state))
        assert status == expected, errors
        assert ("this host has web" in errors) == bool(expected)
    for fd in (reader, writer, *ready):
        os.close(fd)
    assert tasks.ended(pid) == 0

    def elsewhere() -> list[Any]:
        tasks.unshare(tasks.CLONE_NEWNET)
        return binding()

    assert [ours.run(elsewhere), ours.run(binding)] == [HELD] * 2
    assert other.run(elsewhere) == FREE
