# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime of a host: what is kept is applied, and what fails says so to systemd."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import (
    _kept,
    _runtime,
    _worker,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.unit.conftest import ROOT
from tests.unit.fake_kernel import HOST, FakeKernel
from tools import runtime

Call = Callable[..., tuple[int, str]]
TOS = {"policy_setsockopt", "policy_bind4", "policy_bind6", "policy_egress"}


@pytest.fixture
def call(
    host: FakeKernel, units: dict[str, str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Call:  # fmt: skip
    """Call the runtime over the fake kernel: its status, and what it says on standard error."""
    packed = {
        path.name: path.read_bytes()
        for path in (ROOT / "plugins/objects").iterdir()
        if path.name != runtime.NAME
    }
    monkeypatch.setattr(_runtime, "Hierarchy", lambda: Hierarchy(host))
    monkeypatch.setattr(_runtime, "_packed", packed.__getitem__)
    monkeypatch.setattr(_runtime, "_enter_the_hosts_network", lambda: None)
    monkeypatch.setattr(_worker, "run", lambda work: work())

    def called(*arguments: str, stdin: str = "") -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        status = _runtime.main(list(arguments))
        return status, capsys.readouterr().err

    return called


class Hierarchy:
    """The fake kernel's, which knows the cgroups that are made."""

    def __init__(self, host: FakeKernel) -> None:
        self._host = host

    def make(self, path: str, at: str) -> None:
        if self._host.hierarchy.resolve(path, at) is None:
            self._host.make(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host.hierarchy, name)


def keep(folder: Path, name: str, data: Any) -> None:
    """Let something be kept."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


# At boot.


def test_boot_makes_cgroups_and_applies_what_is_kept(
    host: FakeKernel, kept: Path, call: Call
) -> None:
    keep(kept, "policies.d/1.json", {"cgroup": "a.slice/b", "tos": []})
    keep(kept, "policies.d/2.json", {"unit": "c-d.slice", "priority": 1})
    keep(kept, "raw_xmit.d/1.json", {"cgroup": "a.slice/b"})
    assert call("boot") == (0, "")
    ids = {path: number for number, path in host.alive.items()}
    assert host.attached(Cgroup("", ids["a.slice/b"])) >= TOS
    assert "policy_sock_create" in host.attached(Cgroup("", ids["c.slice/c-d.slice"]))
    assert [name for name in host.objects if host.objects[name]] == ["policy", "raw_xmit"]


def test_boot_leaves_a_service_that_does_not_run_to_its_start(
    host: FakeKernel, kept: Path, call: Call
) -> None:
    keep(kept, "policies.d/1.json", {"unit": "web.service", "tos": []})
    keep(kept, "raw_xmit.d/1.json", {"unit": "web.service"})
    assert call("boot") == (0, "")
    assert host.calls == []


def test_boot_of_a_host_that_keeps_nothing(host: FakeKernel, call: Call) -> None:
    assert call("boot") == (0, "")
    assert host.calls == []


def test_one_that_cant_be_applied_keeps_no_other_from_it_and_fails_the_boot(
    host: FakeKernel, kept: Path, a: Cgroup, b: Cgroup, call: Call
) -> None:
    keep(kept, "policies.d/1.json", {"cgroup": "a.slice", "tos": ["cs9"]})
    keep(kept, "policies.d/2.json", {"cgroup": "b.slice", "tos": []})
    status, said = call("boot")
    assert status == 1
    assert f"{kept}/policies.d/1.json: policies[0].tos[0]: 'cs9' is not possible" in said
    assert (host.attached(a), host.attached(b) >= TOS) == (set(), True)


def test_what_warns_of_what_lacks_does_so_at_boot_too(
    host: FakeKernel, kept: Path, a: Cgroup, b: Cgroup, call: Call
) -> None:
    keep(kept, "policies.d/1.json", {"cgroup": "a.slice", "priority": 1, "on_unsupported": "warn"})
    keep(kept, "policies.d/2.json", {"cgroup": "b.slice", "tos": []})
    host._facts = HOST._replace(lsm=("lockdown", "capability"))
    status, said = call("boot")
    assert status == 0
    assert "a.slice: priority is not enforced in full" in said


def test_the_readers_that_are_kept_may_read(
    host: FakeKernel, kept: Path, a: Cgroup, call: Call
) -> None:
    keep(kept, "readers.json", {"readers": "adm"})
    keep(kept, "policies.d/1.json", {"cgroup": "a.slice", "tos": []})
    assert call("boot") == (0, "")
    (loaded,) = host.observe("policy").versions.values()
    assert loaded.readers not in (None, 0)


# At a service's start.


def test_a_start_applies_what_is_kept_for_the_service_and_no_other(
    host: FakeKernel, kept: Path, units: dict[str, str], a: Cgroup, call: Call
) -> None:
    web = host.make("system.slice/web.service")
    units["web.service"] = "system.slice/web.service"
    keep(kept, "policies.d/1.json", {"unit": "web.service", "tos": []})
    keep(kept, "policies.d/2.json", {"cgroup": "a.slice", "tos": []})
    keep(kept, "raw_xmit.d/1.json", {"unit": "web.service"})
    assert call("start", "web.service") == (0, "")
    assert host.attached(web) >= TOS
    assert host.attached(a) == set()
    assert host.objects["raw_xmit"]


@pytest.mark.parametrize("policy", [{"tos": ["cs9"]}, {}, {"tos": [], "colour": "red"}])
def test_a_start_that_fails_is_no_condition_that_was_not_met(
    host: FakeKernel, kept: Path, units: dict[str, str], call: Call, policy: dict[str, Any]
) -> None:
    host.make("system.slice/web.service")
    units["web.service"] = "system.slice/web.service"
    keep(kept, "policies.d/1.json", {"unit": "web.service", **policy})
    status, said = call("start", "web.service")
    assert status == 255
    assert f"{kept}/policies.d/1.json: policies[0]" in said
    assert host.calls == []


def test_a_start_for_which_nothing_is_kept_fails(host: FakeKernel, call: Call) -> None:
    status, said = call("start", "web.service")
    assert status == 255
    assert "nothing is kept for it" in said


def test_a_start_that_python_ends_fails(
    host: FakeKernel, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_kept, "read", lambda kind: 1 / 0)
    status, said = call("start", "web.service")
    assert status == 255
    assert "ZeroDivisionError" in said


# At a container's start.


def state(profile: str | None = None, pid: int = 1) -> str:
    annotations = {} if profile is None else {"linux.cgnet.profile": profile}
    return json.dumps({"ociVersion": "1.0", "id": "c", "pid": pid, "annotations": annotations})


@pytest.fixture
def container(host: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> Cgroup:
    """The cgroup of a container's first process."""
    path = "machine.slice/libpod-1.scope/container"
    monkeypatch.setattr(_runtime, "_cgroup_of", lambda pid: path)
    return host.make(path)


def test_a_container_gets_the_profile_that_it_names(
    host: FakeKernel, kept: Path, container: Cgroup, call: Call
) -> None:
    keep(kept, "profiles.d/quiet.json", {"policy": {"tos": []}, "raw_xmit": True})
    assert call("oci", stdin=state("quiet")) == (0, "")
    assert host.attached(container) >= TOS
    assert host.objects["raw_xmit"]


def test_a_container_that_names_no_profile_is_left_alone(
    host: FakeKernel, container: Cgroup, call: Call
) -> None:
    assert call("oci", stdin=state()) == (0, "")
    assert host.calls == []


@pytest.mark.parametrize("name", ["loud", "../policies.d/1", "", ".hidden"])
def test_a_profile_that_there_is_not_fails_the_container(
    host: FakeKernel, kept: Path, container: Cgroup, call: Call, name: str
) -> None:
    keep(kept, "profiles.d/quiet.json", {"policy": {"tos": []}})
    status, said = call("oci", stdin=state(name))
    assert status == 1
    assert "linux.cgnet.profile" in said
    assert host.calls == []


@pytest.mark.parametrize("stdin", ["", "[]", "{}", '{"pid": "x"}', '{"annotations": 1, "pid": 1}'])
def test_what_is_no_state_of_a_container_fails(
    host: FakeKernel, container: Cgroup, call: Call, stdin: str
) -> None:
    status, said = call("oci", stdin=stdin)
    assert status == 1
    assert "is not the state of a container" in said


@pytest.mark.parametrize(
    "profile", [{"policy": []}, {"policy": {"tos": 1}}, {"raw_xmit": "yes"}, {"colour": "red"}]
)
def test_a_profile_that_is_none_fails_the_container(
    host: FakeKernel, kept: Path, container: Cgroup, call: Call, profile: dict[str, Any]
) -> None:
    keep(kept, "profiles.d/odd.json", profile)
    assert call("oci", stdin=state("odd"))[0] == 1
    assert host.calls == []


# The command.


@pytest.mark.parametrize("arguments", [[], ["stop"], ["start"], ["boot", "now"]])
def test_a_command_that_there_is_not(call: Call, arguments: list[str]) -> None:
    status, said = call(*arguments)
    assert status == 64
    assert said == "usage: cgnet boot | start UNIT | oci\n"


def test_the_file_runs_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "cgnet"
    path.write_bytes(runtime.archive())
    done = subprocess.run(
        [sys.executable, "-I", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (64, "usage: cgnet boot | start UNIT | oci\n")


def test_the_file_holds_what_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "cgnet"
    path.write_bytes(runtime.archive())
    script = (
        f"import sys; sys.path.insert(0, {str(path)!r})\n"
        f"from {_runtime.__name__} import _packed\n"
        "import json\n"
        "for name in ('policy', 'raw_xmit'):\n"
        "    print(json.loads(_packed(name + '.json'))['name'], len(_packed(name + '.bpf.o')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    objects = ROOT / "plugins/objects"
    sizes = {name: (objects / f"{name}.bpf.o").stat().st_size for name in ("policy", "raw_xmit")}
    assert done.stdout == "".join(f"{name} {size}\n" for name, size in sizes.items())


def test_the_same_sources_give_the_same_file() -> None:
    assert runtime.archive() == runtime.archive()
    assert (ROOT / "plugins/objects" / runtime.NAME).read_bytes() == runtime.archive()
