# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept for boot: files as declared, one for each, all or none, of nobody but root."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _kept
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    HostError,
    InputError,
    KernelError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.shown import IN_HOST
from tests.unit.conftest import entry
from tests.unit.fake_kernel import FakeKernel

Run = Callable[..., dict[str, Any]]
WEB = "unit-web.service.json"


def stored(folder: Path) -> dict[str, Any]:
    """The files below a directory and what is in them."""
    found = folder.rglob("*") if folder.exists() else ()
    return {p.name: json.loads(p.read_text()) for p in found if p.is_file()}


def put(folder: Path, name: str, data: Any, mode: int = 0o644) -> Path:
    """Write a file of policies.d as an operator may."""
    path = folder / "policies.d" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    path.chmod(mode)
    return path


def steps(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What a run did with files."""
    found = [step for step in result["actions"] if "file" in step]
    return [(step["action"], os.path.basename(step["file"])) for step in found]


# What is written.


def test_a_policy_is_applied_and_kept_as_it_is_shown(kept: Path, a: Cgroup, run: Run) -> None:
    result = run(entry("a.slice", priority="1:10", retrofit=True), permanent=True)
    assert stored(kept) == {
        "cgroup-a.slice.json": {
            "cgroup": "a.slice", "priority": "1:10", **IN_HOST, "retrofit": True
        }
    }  # fmt: skip
    assert steps(result) == [("keep", "cgroup-a.slice.json")]
    assert any(step["action"] == "attach" for step in result["actions"])
    path = kept / "policies.d/cgroup-a.slice.json"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o644, 0o755)


def test_nothing_is_kept_unless_it_is_asked_for(kept: Path, a: Cgroup, run: Run) -> None:
    run(entry("a.slice", tos=[]))
    assert not kept.exists()


def test_a_second_run_changes_nothing(kept: Path, a: Cgroup, run: Run) -> None:
    run(entry("a.slice", tos=[0x48]), permanent=True)
    again = run(entry("a.slice", tos=["af21"]), permanent=True)
    assert (again["changed"], again["actions"]) == (False, [])


def test_check_mode_shows_the_file_and_writes_none(kept: Path, a: Cgroup, run: Run) -> None:
    result = run(entry("a.slice", tos=[]), permanent=True, check=True)
    path = str(kept / "policies.d/cgroup-a.slice.json")
    assert result["diff"]["before"] == {}
    assert result["diff"]["after"][path] == {"cgroup": "a.slice", "tos": [], **IN_HOST}
    assert not kept.exists()


def test_what_is_applied_already_is_only_kept(kept: Path, a: Cgroup, run: Run) -> None:
    run(entry("a.slice", tos=[]))
    result = run(entry("a.slice", tos=[]), permanent=True)
    assert result["changed"]
    assert result["actions"] == [
        {"action": "keep", "file": str(kept / "policies.d/cgroup-a.slice.json")}
    ]


def test_on_unsupported_is_kept(kept: Path, a: Cgroup, run: Run) -> None:
    run(entry("a.slice", tos=[]), permanent=True, on_unsupported="warn")
    assert stored(kept)["cgroup-a.slice.json"]["on_unsupported"] == "warn"


def test_the_readers_are_kept_and_root_takes_that_back(kept: Path, run: Run) -> None:
    run(permanent=True, readers="adm")
    assert stored(kept) == {"readers.json": {"readers": "adm"}}
    assert not run(permanent=True, readers="adm")["changed"]
    assert steps(run(permanent=True, readers="root")) == [("forget", "readers.json")]
    assert stored(kept) == {}


def test_raw_xmit_is_kept_in_a_directory_of_its_own(kept: Path, a: Cgroup, hold: Run) -> None:
    hold("a.slice", permanent=True)
    assert stored(kept / "raw_xmit.d") == {"cgroup-a.slice.json": {"cgroup": "a.slice"}}
    assert not hold("a.slice", permanent=True)["changed"]
    hold("a.slice", permanent=True, state="absent", _object=None, _object_path=None)
    assert stored(kept) == {}


# Services.


def test_a_service_that_does_not_run_is_kept_for_its_start(
    host: FakeKernel, kept: Path, units: dict[str, str], run: Run
) -> None:
    result = run({"unit": "web.service", "tos": []}, permanent=True)
    assert stored(kept) == {WEB: {"unit": "web.service", "tos": [], **IN_HOST}}
    assert result["controls"] == {"web.service": {"tos": "enforced"}}
    assert host.calls == []


def test_raw_xmit_of_a_service_that_does_not_run(
    host: FakeKernel, kept: Path, units: dict[str, str], hold: Run
) -> None:
    hold(unit=["web.service"], permanent=True)
    assert stored(kept) == {WEB: {"unit": "web.service"}}
    assert host.calls == []


def test_a_service_is_kept_as_a_unit_however_it_is_named(
    host: FakeKernel, kept: Path, units: dict[str, str], run: Run
) -> None:
    host.make("system.slice/web.service")
    units["web.service"] = "system.slice/web.service"
    run(entry("system.slice/web.service", tos=[]), permanent=True)
    assert not run({"unit": "web.service", "tos": []}, permanent=True)["changed"]
    assert list(stored(kept)) == [WEB]
    run(entry("system.slice/web.service", state="absent"), permanent=True)
    assert stored(kept) == {}


def test_a_slice_is_kept_as_the_cgroup_that_its_name_tells(
    host: FakeKernel, kept: Path, units: dict[str, str], run: Run
) -> None:
    host.make("a.slice/a-b.slice")
    units["a-b.slice"] = "a.slice/a-b.slice"
    run({"unit": "a-b.slice", "tos": []}, permanent=True)
    assert [data["cgroup"] for data in stored(kept).values()] == ["a.slice/a-b.slice"]


@pytest.mark.parametrize(
    ("name", "text", "warns"),
    [
        ("web.service.d/50-cgnet.conf", "ExecCondition=+{} start %n", False),
        ("web.service.d/other.conf", "ExecStartPre=/bin/true", True),
        ("other.service.d/50-cgnet.conf", "ExecCondition=+{} start %n", True),
    ],
)
def test_a_service_whose_start_would_not_apply_it_is_warned_of(
    host: FakeKernel, units: dict[str, str], run: Run, name: str, text: str, warns: bool
) -> None:
    drop_in = Path(_kept.UNITS) / name
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(text.format(_kept.RUNTIME))
    result = run({"unit": "web.service", "tos": []}, permanent=True)
    assert ["has no drop-in" in warning for warning in result["warnings"]] == [True] * warns


def test_the_drop_in_of_a_template_is_its_instances(
    host: FakeKernel, units: dict[str, str], run: Run
) -> None:
    drop_in = Path(_kept.UNITS) / "web@.service.d/50-cgnet.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(f"[Service]\nExecCondition=+{_kept.RUNTIME} start %n\n")
    assert run({"unit": "web@1.service", "tos": []}, permanent=True)["warnings"] == []


# What can't be kept.


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"cgroup": "user.slice/user@1000.service/app.slice/x.service"}, "anew with each start"),
        ({"cgroup": "machine.slice/libpod-1.scope"}, "anew with each start"),
        ({"unit": "web.socket"}, "for services and slices"),
    ],
)
def test_what_nothing_would_apply_again_is_refused(
    host: FakeKernel, kept: Path, units: dict[str, str], run: Run,
    named: dict[str, str], words: str,
) -> None:  # fmt: skip
    path = named.get("cgroup", "system.slice/web.socket")
    host.make(path)
    units["web.socket"] = path
    with pytest.raises(InputError, match=words) as caught:
        run({**named, "tos": []}, permanent=True)
    assert caught.value.field == f"policies[0].{next(iter(named))}"
    assert (host.calls, stored(kept)) == ([], {})


def test_a_cgroup_or_a_slice_has_to_exist(
    host: FakeKernel, units: dict[str, str], run: Run
) -> None:
    for named in ({"cgroup": "none.slice"}, {"unit": "none.slice"}):
        with pytest.raises(InputError, match=r"no such cgroup|does not run"):
            run({**named, "tos": []}, permanent=True)


def test_a_host_without_the_runtime_is_told(
    host: FakeKernel, kept: Path, a: Cgroup, run: Run, hold: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_kept, "RUNTIME", "/none/cgnet")
    with pytest.raises(HostError, match=r"has no /none/cgnet.*Include the role linux.cgnet.host"):
        run(entry("a.slice", tos=[]), permanent=True)
    with pytest.raises(HostError, match="has no /none/cgnet"):
        hold("a.slice", permanent=True)
    assert (host.calls, stored(kept)) == ([], {})
    run(entry("a.slice", state="absent"), permanent=True)  # what is gone needs nothing


# What goes.


def test_absent_removes_what_is_kept_of_a_cgroup_that_is_gone(
    host: FakeKernel, kept: Path, run: Run
) -> None:
    put(kept, "mine.json", {"cgroup": "gone.slice", "tos": []})
    result = run(entry("gone.slice", state="absent"), permanent=True)
    assert steps(result) == [("forget", "mine.json")]
    assert stored(kept) == {}


def test_what_is_removed_and_still_kept_is_warned_of(kept: Path, a: Cgroup, run: Run) -> None:
    run(entry("a.slice", tos=[]), permanent=True)
    result = run(entry("a.slice", state="absent"))
    assert [w for w in result["warnings"] if "comes back with the next boot" in w] != []
    assert list(stored(kept)) == ["cgroup-a.slice.json"]
    assert run(entry("a.slice", state="absent"), permanent=True)["warnings"] == []


def test_purge_forgets_what_is_not_declared_if_it_is_permanent(
    kept: Path, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[]), entry("b.slice", tos=[]), permanent=True)
    told = run(entry("a.slice", tos=[]), purge=True)["warnings"]
    assert [w.split()[0] for w in told] == ["b.slice"]
    result = run(entry("a.slice", tos=[]), purge=True, permanent=True)
    assert steps(result) == [("forget", "cgroup-b.slice.json")]


# All or none.


def test_a_file_that_cant_be_written_leaves_the_kernel_and_the_others_as_they_were(
    host: FakeKernel, kept: Path, a: Cgroup, b: Cgroup, run: Run
) -> None:
    (kept / "policies.d/.cgroup-b.slice.json").mkdir(parents=True)  # where it would be made
    with pytest.raises(HostError, match=r"b.slice.json can't be written .*returned to what it was"):
        run(entry("a.slice", tos=[]), entry("b.slice", tos=[]), permanent=True)
    assert stored(kept) == {}
    assert (host.attached(a), host.attached(b)) == (set(), set())


def test_a_call_that_fails_leaves_no_file(
    host: FakeKernel, kept: Path, a: Cgroup, run: Run
) -> None:
    def fail() -> None:
        host.after_each = lambda: None
        raise KernelError("bpf", 12)

    host.after_each = fail
    with pytest.raises(KernelError):
        run(entry("a.slice", tos=[]), permanent=True)
    assert stored(kept) == {}


def test_what_a_killed_run_left_of_a_file_is_no_file(kept: Path, a: Cgroup, run: Run) -> None:
    put(kept, ".cgroup-a.slice.json", '{"cgroup": "a.sl')
    run(entry("a.slice", tos=[]), permanent=True)
    assert list(stored(kept)) == ["cgroup-a.slice.json"]


# Files of others.


def test_a_file_by_another_name_is_the_one_that_is_changed(kept: Path, a: Cgroup, run: Run) -> None:
    put(kept, "mine.json", {"cgroup": "a.slice", "tos": []})
    run(entry("a.slice", tos=["ef"]), permanent=True)
    assert stored(kept) == {"mine.json": {"cgroup": "a.slice", "tos": ["ef"], **IN_HOST}}


@pytest.mark.parametrize(
    ("data", "mode", "words"),
    [
        ("{", 0o644, "is no JSON"),
        ("[" * 100_000, 0o644, "is no JSON"),
        ("[]", 0o644, "holds no JSON object"),
        ({"tos": []}, 0o644, "names no unit and no cgroup"),
        ({"cgroup": "a.slice", "unit": "a.slice"}, 0o644, "names no unit and no cgroup, or both"),
        ({"cgroup": 7}, 0o644, "names no unit and no cgroup"),
        ({"cgroup": "a.slice", "tos": []}, 0o664, "can be written by others than root"),
    ],
)
def test_a_file_that_cant_be_used_stops_the_run_by_its_name(
    host: FakeKernel, kept: Path, a: Cgroup, run: Run, data: Any, mode: int, words: str
) -> None:
    path = put(kept, "mine.json", data, mode)
    with pytest.raises(HostError, match=words) as caught:
        run(entry("a.slice", tos=[]), permanent=True)
    assert str(path) in str(caught.value)
    assert host.calls == []


def test_a_directory_that_others_can_write_to_is_refused(kept: Path, a: Cgroup, run: Run) -> None:
    put(kept, "mine.json", {"cgroup": "a.slice", "tos": []}).parent.chmod(0o777)
    with pytest.raises(HostError, match=r"policies.d can be written by others.*chmod go-w"):
        run(entry("a.slice", tos=[]), permanent=True)


def test_a_link_in_a_files_place_is_not_followed(
    kept: Path, tmp_path: Path, a: Cgroup, run: Run
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text('{"cgroup": "a.slice", "tos": []}')
    (kept / "policies.d").mkdir(parents=True)
    (kept / "policies.d/mine.json").symlink_to(elsewhere)
    with pytest.raises(HostError, match=r"mine.json can't be read"):
        run(entry("a.slice", tos=[]), permanent=True)


def test_two_files_for_one_cgroup_are_told(kept: Path, a: Cgroup, run: Run) -> None:
    put(kept, "1.json", {"unit": "a.slice", "tos": []})
    put(kept, "2.json", {"cgroup": "a.slice", "tos": []})
    with pytest.raises(HostError, match=r"1.json and .*2.json are both for a.slice"):
        run(entry("a.slice", tos=[]), permanent=True)


# Names.


@pytest.mark.parametrize("path", ["a/b", "a%2Fb", "x" * 255, r"\377", "ü", "a b"])
def test_every_path_has_a_files_name_of_its_own(path: str) -> None:
    name = _kept.Address("cgroup", path).file
    assert len(name.encode()) <= 255
    assert "/" not in name
    assert name != _kept.Address("cgroup", path + "x").file
