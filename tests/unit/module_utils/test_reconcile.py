# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One task: check mode tells what a run then does, and a run is verified or it fails."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _policy, _reconcile
from ansible_collections.linux.cgnet.plugins.module_utils._actions import Action
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    HostError,
    KernelError,
    ObjectError,
    VerifyError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BpfObject,
    Cgroup,
    Observed,
    Program,
)
from ansible_collections.linux.cgnet.plugins.module_utils._plan import Want
from ansible_collections.linux.cgnet.plugins.module_utils._reconcile import Job

from tests.unit.fake_kernel import FakeCgroup, FakeKernel, FakeVersion

HOLDER = Program("policy_holder", "cgroup/sysctl")
HOOK = Program("policy_bind4", "cgroup/bind4")
PROGRAMS = (HOLDER, HOOK)
DATA = b"the object's bytes"
OBJECT = BpfObject("policy", hashlib.sha256(DATA).hexdigest(), "new", PROGRAMS, "policies")
ONE, TWO = b"1" * _policy.SIZE, b"2" * _policy.SIZE

Prepare = Callable[[Mapping[str, Any], Any], Job]


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    """A task's arguments when the object was shipped."""
    path = tmp_path / "object.bpf.o"
    path.write_bytes(DATA)
    return {"_object_path": str(path)}


def wanting(*wants: Want, seen: list[str] | None = None, **more: Any) -> Prepare:
    """A job for these wants; `seen` gets the kernel's lock at each look."""

    def prepare(_params: Mapping[str, Any], kernel: Any) -> Job:
        def look(_observed: Observed) -> list[Want]:
            if seen is not None:
                seen.append(kernel.locked)
            return list(wants)

        def diff(
            observed: Observed, actions: tuple[Action, ...]
        ) -> tuple[dict[str, Any], dict[str, Any]]:
            return {"versions": sorted(observed.versions)}, {"steps": len(actions)}

        if seen is not None:
            seen.append(kernel.locked)
        fields = {"bpf_object": OBJECT, "loadable": PROGRAMS, "holder": HOLDER, **more}
        paths = {want.cgroup.id: want.cgroup.path for want in wants}
        return Job(name="policy", wants=look, diff=diff, paths=paths, **fields)

    return prepare


def hold(host: FakeKernel, cgroup: Cgroup, version: str = "new", value: bytes = ONE) -> None:
    """Make the host hold a policy for a cgroup."""
    held = FakeCgroup({HOOK.name: True}, value)
    names = {program.name for program in PROGRAMS}
    host.objects["policy"] = {version: FakeVersion(names, _policy.SIZE, {cgroup.id: held})}


def steps(result: Mapping[str, Any]) -> list[str]:
    return [action["action"] for action in result["actions"]]


# Check mode.


@pytest.mark.parametrize(
    ("version", "value", "programs", "expected"),
    [
        (None, ONE, (HOOK,), ["load", "hold", "store", "attach"]),
        ("old", ONE, (HOOK,),
         ["load", "hold", "store", "attach", "store", "detach", "unload"]),
        ("new", TWO, (HOOK,), ["store"]),
        ("new", ONE, (HOOK,), []),
        ("new", None, (), ["store", "detach", "unload"]),
        (None, None, (), []),
    ],
)  # fmt: skip
def test_check_mode_changes_nothing_and_tells_what_the_run_that_follows_does(
    host: FakeKernel, a: Cgroup, params: dict[str, Any], version: str | None, value: bytes | None,
    programs: tuple[Program, ...], expected: list[str],
) -> None:  # fmt: skip
    if version:
        hold(host, a, version)
    prepare = wanting(Want(a, programs, value))
    before = host.state()
    told = _reconcile.reconcile(prepare, params, check=True)
    assert (host.state(), host.calls) == (before, [])
    done = _reconcile.reconcile(prepare, params, check=False)
    assert told == done
    assert steps(done) == host.calls == expected
    assert done["changed"] == bool(expected)


def test_the_second_run_changes_nothing(
    host: FakeKernel, a: Cgroup, params: dict[str, Any]
) -> None:
    prepare = wanting(Want(a, (HOOK,), ONE))
    _reconcile.reconcile(prepare, params, check=False)
    before, calls = host.state(), list(host.calls)
    assert _reconcile.reconcile(prepare, params, check=False) == {
        "changed": False,
        "actions": [],
        "diff": {"before": {"versions": ["new"]}, "after": {"steps": 0}},
        "warnings": [],
    }
    assert (host.state(), host.calls) == (before, calls)


def test_the_result_is_plain_data_with_the_cgroups_path(
    host: FakeKernel, a: Cgroup, params: dict[str, Any]
) -> None:
    prepare = wanting(
        Want(a, (HOOK,), ONE), controls={"a.slice": {"tos": "enforced"}}, warnings=("mind this",)
    )
    assert _reconcile.reconcile(prepare, params, check=False) == {
        "changed": True,
        "actions": [
            {"action": "load", "version": "new", "programs": ["policy_holder", "policy_bind4"]},
            {"action": "hold", "version": "new", "cgroup": "a.slice", "program": "policy_holder"},
            {"action": "store", "version": "new", "cgroup": "a.slice",
             "bytes": _policy.SIZE, "cleared": False},
            {"action": "attach", "version": "new", "cgroup": "a.slice", "program": "policy_bind4"},
        ],
        "controls": {"a.slice": {"tos": "enforced"}},
        "diff": {"before": {"versions": []}, "after": {"steps": 4}},
        "warnings": ["mind this"],
    }  # fmt: skip


# The object.


def test_a_plan_that_loads_asks_for_the_object_and_does_nothing(
    host: FakeKernel, a: Cgroup
) -> None:
    asked = _reconcile.reconcile(wanting(Want(a, (HOOK,), ONE)), {"_object_path": None}, False)
    assert asked == {"changed": False, "object_needed": True}
    assert (host.objects, host.calls) == ({}, [])


def test_check_mode_plans_for_an_object_that_the_host_has_never_seen(
    host: FakeKernel, a: Cgroup
) -> None:
    told = _reconcile.reconcile(wanting(Want(a, (HOOK,), ONE)), {"_object_path": None}, True)
    assert steps(told) == ["load", "hold", "store", "attach"]


@pytest.mark.parametrize(
    ("want", "expected"),
    [((HOOK, ONE), []), ((HOOK, TWO), ["store"]), ((HOLDER, ONE), ["attach", "detach"])],
)
def test_an_edit_needs_no_object(
    host: FakeKernel, a: Cgroup, want: tuple[Program, bytes], expected: list[str]
) -> None:
    hold(host, a)
    prepare = wanting(Want(a, want[:1], want[1]))
    assert steps(_reconcile.reconcile(prepare, {"_object_path": None}, False)) == expected


def test_removing_needs_no_object(host: FakeKernel, a: Cgroup) -> None:
    hold(host, a)
    prepare = wanting(Want(a), bpf_object=None, loadable=(), holder=None)
    result = _reconcile.reconcile(prepare, {"_object_path": None}, False)
    assert steps(result) == ["store", "detach", "unload"]
    assert host.objects == {}


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"\0", DATA.upper()])
def test_bytes_that_were_altered_are_refused_before_anything_is_done(
    host: FakeKernel, a: Cgroup, params: dict[str, Any], data: bytes
) -> None:
    Path(params["_object_path"]).write_bytes(data)
    with pytest.raises(ObjectError) as caught:
        _reconcile.reconcile(wanting(Want(a, (HOOK,), ONE)), params, check=False)
    assert str(caught.value) == (
        "object policy: it was altered on its way to this host. Run the task again."
    )
    assert (host.objects, host.calls) == ({}, [])


def test_what_is_hashed_is_what_is_loaded_though_the_file_is_swapped(
    host: FakeKernel, a: Cgroup, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bytes] = []
    hashed, load = hashlib.sha256, host.load

    def swap(data: bytes) -> Any:
        Path(params["_object_path"]).write_bytes(b"another object")
        return hashed(data)

    def keep(*args: Any) -> None:
        loaded.append(args[-1])
        load(*args)

    monkeypatch.setattr(_reconcile.hashlib, "sha256", swap)
    monkeypatch.setattr(host, "load", keep)
    _reconcile.reconcile(wanting(Want(a, (HOOK,), ONE)), params, False)
    assert loaded == [DATA]
    assert Path(params["_object_path"]).read_bytes() == b"another object"


@pytest.mark.parametrize("there", ["nothing", "directory"])
def test_an_object_that_can_not_be_read_is_told(
    host: FakeKernel, a: Cgroup, params: dict[str, Any], there: str
) -> None:
    path = Path(params["_object_path"])
    path.unlink()
    if there == "directory":
        path.mkdir()
    with pytest.raises(ObjectError) as refused:
        _reconcile.reconcile(wanting(Want(a, (HOOK,), ONE)), params, False)
    assert host.calls == []
    assert str(refused.value).startswith(
        "object policy: what was shipped to this host can't be read ("
    )
    assert str(refused.value).endswith("). Run the task again.")


def test_the_bytes_that_the_kernel_gets_are_those_that_were_checked(
    host: FakeKernel, a: Cgroup, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bytes] = []
    load = host.load

    def look(*args: Any) -> None:
        loaded.append(args[-1])
        load(*args)

    monkeypatch.setattr(host, "load", look)
    _reconcile.reconcile(wanting(Want(a, (HOOK,), ONE)), params, check=False)
    assert loaded == [DATA]


def test_an_object_is_what_the_manifest_describes() -> None:
    manifest = {
        "name": "policy", "sha256": OBJECT.sha256, "version": "new", "storage": "policies",
        "programs": [["policy_holder", "cgroup/sysctl"], ["policy_bind4", "cgroup/bind4"]],
    }  # fmt: skip
    assert _reconcile.object_from(manifest) == OBJECT
    assert _reconcile.object_from(None) is None


# What no step can mend.


class Obstacle:
    """Stands against a job from the nth time on that it is asked; it keeps what was done then."""

    def __init__(self, host: FakeKernel, refuse: int = 0) -> None:
        self.host = host
        self.refuse = refuse
        self.asked: list[tuple[str, int]] = []

    def __call__(self) -> None:
        self.asked.append((self.host.locked, len(self.host.calls)))
        if len(self.asked) == self.refuse:
            raise HostError("there is a ring", "Close it")


@pytest.mark.parametrize("check", [False, True])
def test_an_obstacle_ends_the_task_before_anything_is_changed_or_asked_for(
    host: FakeKernel, a: Cgroup, check: bool
) -> None:
    obstacle = Obstacle(host, refuse=1)
    prepare = wanting(Want(a, (HOOK,), ONE), require=obstacle)
    with pytest.raises(HostError, match=r"^there is a ring\. Close it\.$"):
        _reconcile.reconcile(prepare, {"_object_path": None}, check)
    assert obstacle.asked == [("none" if check else "one", 0)]
    assert (host.calls, host.locked) == ([], "all")


def test_an_obstacle_that_came_while_applying_ends_the_task_in_the_end(
    host: FakeKernel, a: Cgroup, params: dict[str, Any]
) -> None:
    obstacle = Obstacle(host, refuse=2)
    with pytest.raises(HostError):
        _reconcile.reconcile(wanting(Want(a, (HOOK,), ONE), require=obstacle), params, False)
    assert obstacle.asked == [("one", 0), ("one", 4)]
    assert (host.attached(a), host.locked) == ({HOOK.name}, "all")


def test_where_nothing_is_applied_obstacles_are_looked_for_once(
    host: FakeKernel, a: Cgroup, params: dict[str, Any]
) -> None:
    obstacle = Obstacle(host)
    prepare = wanting(Want(a, (HOOK,), ONE), require=obstacle)
    _reconcile.reconcile(prepare, params, check=True)
    _reconcile.reconcile(prepare, params, check=False)
    _reconcile.reconcile(prepare, params, check=False)
    assert obstacle.asked == [("none", 0), ("one", 0), ("one", 4), ("one", 4)]


# Verifying, and the lock.


def test_what_is_undone_meanwhile_fails_the_task(
    host: FakeKernel, a: Cgroup, params: dict[str, Any]
) -> None:
    def undo() -> None:
        host.objects["policy"]["new"].cgroups.pop(a.id, None)

    host.after_each = lambda: undo() if host.calls[-1] == "attach" else None
    with pytest.raises(VerifyError) as caught:
        _reconcile.reconcile(wanting(Want(a, (HOOK,), ONE)), params, check=False)
    message = str(caught.value)
    assert message.startswith("After applying, the kernel is not as declared; still to do: [{")
    assert "'action': 'attach'" in message
    assert "'cgroup': 'a.slice'" in message
    assert message.endswith(
        "Is something else changing these cgroups? Run the task again. "
        "The host was returned to what it was."
    )


def test_what_was_undone_is_mended_by_the_next_run(
    host: FakeKernel, a: Cgroup, params: dict[str, Any]
) -> None:
    prepare = wanting(Want(a, (HOOK,), ONE))
    _reconcile.reconcile(prepare, params, check=False)
    host.objects["policy"]["new"].cgroups[a.id].links[HOOK.name] = False
    assert steps(_reconcile.reconcile(prepare, params, check=False)) == ["detach", "attach"]


def test_a_run_is_alone_from_observing_to_verifying(
    host: FakeKernel, a: Cgroup, params: dict[str, Any]
) -> None:
    seen: list[str] = []
    host.after_each = lambda: seen.append(host.locked)
    _reconcile.reconcile(wanting(Want(a, (HOOK,), ONE), seen=seen), params, check=False)
    # Preparing; planning; load, hold, store, attach; planning again.
    assert seen == ["all", *["one"] * 6]
    assert host.locked == "all"


def test_check_mode_lets_no_run_change_what_it_reads(
    host: FakeKernel, a: Cgroup, params: dict[str, Any]
) -> None:
    seen: list[str] = []
    _reconcile.reconcile(wanting(Want(a, (HOOK,), ONE), seen=seen), params, check=True)
    assert seen == ["all", "none"]
    assert host.locked == "all"


def test_a_call_that_fails_ends_the_run_and_frees_the_lock(
    host: FakeKernel, a: Cgroup, params: dict[str, Any]
) -> None:
    host.after_each = host.alive.clear  # the cgroup dies after loading
    with pytest.raises(KernelError, match=r"^attach to a\.slice: "):
        _reconcile.reconcile(wanting(Want(a, (HOOK,), ONE)), params, check=False)
    assert (host.calls, host.locked) == (["load", "unload"], "all")
