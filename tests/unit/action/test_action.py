# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part: what a module is handed, and when the object's bytes are shipped."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.shell.sh import ShellModule
from ansible_collections.linux.cgnet.plugins.action import (
    cgnet_htb,
    cgnet_policy,
    cgnet_program,
    cgnet_raw_xmit,
)
from ansible_collections.linux.cgnet.plugins.plugin_utils import _action
from ansible_collections.linux.cgnet.plugins.plugin_utils._object import read_manifest

from tests.unit.conftest import DATA, ROOT, handed
from tools import runtime

POLICY, PROGRAM = cgnet_policy.ActionModule, cgnet_program.ActionModule
RAW_XMIT = cgnet_raw_xmit.ActionModule
HTB = cgnet_htb.ActionModule
BUILT = ROOT / "plugins/objects"
NEEDED = {"changed": False, "object_needed": True}
DONE = {"changed": True, "actions": []}
DECLARED = {"policies": [{"cgroup": "a.slice", "tos": []}]}


class Host:
    """The far end of a stub connection: what it was sent and did, in order.

    `answers` are what the module returns, one for each run.
    """

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = [copy.deepcopy(answer) for answer in answers]
        self.steps: list[str] = []
        self.ran: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self._shell = ShellModule()
        self._shell.tmpdir = None

    def put_file(self, local: str, remote: str) -> None:
        self.steps.append("ship")
        self.files[remote] = Path(local).read_bytes()

    def make_tmp_path(self) -> None:
        self.steps.append("make a directory")
        self._shell.tmpdir = "/remote/tmp"

    def fixup_perms2(self, paths: tuple[str, ...]) -> None:
        self.steps.append(f"share {' '.join(paths)}")

    def execute_module(self, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        self.steps.append("run")
        self.ran.append(copy.deepcopy(module_args))
        return self.answers.pop(0)


Act = Callable[..., dict[str, Any]]


@pytest.fixture
def act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Act:
    """Run an action plugin for a task of a play in `tmp_path`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def task(plugin: type[_action.ObjectAction], args: dict[str, Any], host: Host) -> Any:
        loader = DataLoader()
        loader.set_basedir(str(tmp_path))
        told = SimpleNamespace(
            action="a test", args=args, async_val=0, check_mode=False,
            get_search_path=lambda: [str(tmp_path)],
        )  # fmt: skip
        action = plugin(told, host, None, loader, None)
        monkeypatch.setattr(action, "_make_tmp_path", host.make_tmp_path)
        monkeypatch.setattr(action, "_fixup_perms2", host.fixup_perms2)
        monkeypatch.setattr(action, "_execute_module", host.execute_module)
        before = copy.deepcopy(args)
        try:
            return action.run(task_vars={})
        finally:
            assert args == before

    return task


def refused(
    act: Act, plugin: type[_action.ObjectAction], args: dict[str, Any], error: str = "ObjectError"
) -> str:
    """The message with which a task fails, as a module's result, before the host hears of it."""
    host = Host()
    result = act(plugin, args, host)
    message = str(result.pop("msg"))
    assert result == {"failed": True, "error": error}
    assert host.steps == []
    return message


def put(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


# What the module is handed, and when bytes are shipped.


@pytest.mark.parametrize(
    ("plugin", "args"),
    [
        (POLICY, {"policies": [], "purge": True}),
        (PROGRAM, {"name": "policy", "cgroups": ["a.slice"]}),
        (PROGRAM, {"name": "policy", "cgroups": ["a.slice"], "state": "present", "source": None}),
    ],
)
def test_the_manifest_is_handed_over_without_its_layout(
    act: Act, plugin: type[_action.ObjectAction], args: dict[str, Any], manifest: dict[str, Any]
) -> None:
    host = Host(DONE)
    assert act(plugin, args, host) == DONE
    handed = {key: manifest[key] for key in ("name", "sha256", "version", "programs", "storage")}
    assert host.ran == [{**args, "_object": handed}]
    assert sorted(manifest) == sorted([*handed, "layout"])


def test_in_the_steady_state_the_module_runs_once_and_nothing_is_shipped(act: Act) -> None:
    host = Host(DONE)
    act(POLICY, {"policies": []}, host)
    assert host.steps == ["run"]


def test_the_object_is_shipped_when_it_is_needed_and_the_module_runs_again(
    act: Act, object_bytes: bytes
) -> None:
    host = Host(NEEDED, DONE)
    assert act(POLICY, {"policies": []}, host) == DONE
    remote = "/remote/tmp/object.bpf.o"
    assert host.steps == ["run", "make a directory", "ship", f"share /remote/tmp {remote}", "run"]
    assert host.files == {remote: object_bytes}
    first, second = host.ran
    assert second == {**first, "_object_path": remote}


def test_a_directory_that_is_there_is_used(act: Act, object_bytes: bytes) -> None:
    host = Host(NEEDED, DONE)
    host._shell.tmpdir = "/remote/other"
    act(POLICY, {"policies": []}, host)
    assert "make a directory" not in host.steps
    assert host.files == {"/remote/other/object.bpf.o": object_bytes}


@pytest.mark.parametrize("answers", [[{"failed": True, "msg": "no"}], [NEEDED, {"failed": True}]])
def test_a_module_that_fails_is_returned_as_it_is(act: Act, answers: list[dict[str, Any]]) -> None:
    assert act(POLICY, {"policies": []}, Host(*answers)) == answers[-1]


def test_htbs_own_object_is_handed_over_and_shipped(act: Act) -> None:
    host = Host(NEEDED, DONE)
    assert act(HTB, {"interface": "eth0"}, host) == DONE
    assert host.ran[0]["_object"]["name"] == "classify"
    assert list(host.files.values()) == [(BUILT / "classify.bpf.o").read_bytes()]


@pytest.mark.parametrize("args", [{"unit": "a.service"}, {"cgroup": [], "state": "present"}])
def test_raw_xmits_own_object_is_handed_over_and_shipped(
    act: Act, args: dict[str, Any], sender: dict[str, Any]
) -> None:
    host = Host(NEEDED, DONE)
    assert act(RAW_XMIT, args, host) == DONE
    assert host.ran[0] == {**args, "_object": handed(sender)["_object"]}
    assert list(host.files.values()) == [(BUILT / "raw_xmit.bpf.o").read_bytes()]


@pytest.mark.parametrize(
    ("plugin", "args"),
    [
        (PROGRAM, {"name": "mine", "source": "gone.bpf.c", "state": "absent"}),
        (PROGRAM, {"name": "raw_xmit", "state": "absent"}),
        (RAW_XMIT, {"cgroup": ["a.slice"], "state": "absent"}),
        (HTB, {"interface": "eth0", "state": "absent"}),
    ],
)
def test_an_object_that_is_to_go_needs_no_file(
    act: Act, plugin: type[_action.ObjectAction], args: dict[str, Any]
) -> None:
    host = Host(DONE)
    assert act(plugin, args, host) == DONE
    assert host.ran == [args]


# The diff.


def test_a_diff_becomes_text_in_the_order_of_the_data(act: Act) -> None:
    before = {"b.slice": {"tos": ["cs1"], "netns": "host"}, "a.slice": {"priority": "1:10"}}
    result = act(POLICY, {"policies": []}, Host({**DONE, "diff": {"before": before, "after": {}}}))
    assert result["diff"] == {
        "before": "b.slice:\n  tos:\n  - cs1\n  netns: host\na.slice:\n  priority: '1:10'\n",
        "after": "",
    }
    assert yaml.safe_load(result["diff"]["before"]) == before


def test_the_diff_of_the_second_run_is_the_one_that_is_shown(act: Act) -> None:
    done = {**DONE, "diff": {"before": {}, "after": {"a.slice": {"tos": []}}}}
    result = act(POLICY, {"policies": []}, Host(NEEDED, done))
    assert result["diff"] == {"before": "", "after": "a.slice:\n  tos: []\n"}


# What is refused before any connection.


@pytest.mark.parametrize("plugin", [POLICY, PROGRAM, RAW_XMIT])
@pytest.mark.parametrize(
    ("internal", "first"),
    [
        ({"_object": {}}, "_object: {}"),
        ({"_object_path": "/x"}, "_object_path: '/x'"),
        ({"_object_path": "", "_object": None}, "_object: None"),
    ],
)
def test_arguments_of_ours_in_a_task_are_refused(
    act: Act, plugin: type[_action.ObjectAction], internal: dict[str, Any], first: str
) -> None:
    args = {"name": "policy", "policies": [], **internal}
    message = refused(act, plugin, args, "InputError")
    assert message == f"{first} is not possible: it is not for use in a task. Leave it out."


@pytest.mark.parametrize("source", [{}, {"source": None}, {"source": ""}])
@pytest.mark.parametrize("name", ["mine", "", "Policy", "policy.bpf.o"])
def test_a_name_that_is_not_bundled_needs_a_source(
    act: Act, source: dict[str, Any], name: str
) -> None:
    assert refused(act, PROGRAM, {"name": name, **source}, "InputError") == (
        f"name: {name!r} is not possible: bundled are policy, raw_xmit. Give another name a source."
    )


@pytest.mark.parametrize("name", _action.BUNDLED)
def test_a_bundled_name_with_a_source_is_refused(act: Act, tmp_path: Path, name: str) -> None:
    put(tmp_path / "files", "mine.bpf.o", b"")
    assert refused(act, PROGRAM, {"name": name, "source": "mine.bpf.o"}) == (
        f"object {name}: that is the name of a bundled object. Choose another name."
    )


def test_a_source_that_is_missing_is_told_with_where_to_put_it(act: Act) -> None:
    args = {"name": "mine", "source": "none.bpf.c"}
    assert refused(act, PROGRAM, args, "InputError") == (
        "source: 'none.bpf.c' is not possible: the controller has no such file. "
        "Give its path, or put it into files/ beside the play or in its role."
    )


@pytest.mark.parametrize("name", ["mine.c", "mine.o", "bpf.o", "mine.bpf.o.txt"])
def test_a_source_that_is_neither_source_nor_object_is_refused(
    act: Act, tmp_path: Path, name: str
) -> None:
    path = put(tmp_path / "files", name, b"")
    assert refused(act, PROGRAM, {"name": "mine", "source": name}) == (
        f"object mine: {path} is neither a .bpf.c nor a .bpf.o. Name one of these."
    )


def test_an_object_that_cannot_be_read_is_refused(act: Act, tmp_path: Path) -> None:
    put(tmp_path / "files", "mine.bpf.o", b"#!/bin/sh")
    message = refused(act, PROGRAM, {"name": "mine", "source": "mine.bpf.o"})
    assert message.startswith("object mine: it is no ELF file that can be read")


def test_a_source_that_does_not_compile_gives_the_compilers_words(
    act: Act, tmp_path: Path, clang: str
) -> None:
    put(tmp_path / "files", "broken.bpf.c", (DATA / "broken.bpf.c").read_bytes())
    message = refused(act, PROGRAM, {"name": "mine", "source": "broken.bpf.c"})
    assert message.startswith("object broken.bpf.c: it does not compile:\nbroken.bpf.c:5")


# An object of one's own.


@pytest.mark.parametrize("folder", ["files", "."])
def test_a_compiled_object_is_shipped_as_it_is(
    act: Act, tmp_path: Path, object_bytes: bytes, folder: str
) -> None:
    put(tmp_path / folder, "mine.bpf.o", object_bytes)
    host = Host(NEEDED, DONE)
    args = {"name": "mine", "source": "mine.bpf.o", "cgroups": ["a.slice"]}
    act(PROGRAM, args, host)
    manifest = read_manifest("mine", object_bytes)
    del manifest["layout"]
    assert host.ran[0] == {**args, "_object": manifest}
    assert list(host.files.values()) == [object_bytes]


def test_a_source_is_compiled_into_the_cache_and_shipped(
    act: Act, tmp_path: Path, compiled: Callable[[str], Path]
) -> None:
    for name in ("bind.bpf.c", "shared.h"):
        put(tmp_path / "files", name, (DATA / name).read_bytes())
    host = Host(NEEDED, DONE)
    act(PROGRAM, {"name": "mine", "source": "bind.bpf.c", "cgroups": ["a.slice"]}, host)
    expected = compiled("bind").read_bytes()
    assert list(host.files.values()) == [expected]
    assert host.ran[0]["_object"]["sha256"] == hashlib.sha256(expected).hexdigest()
    (kept,) = (tmp_path / "cache/cgnet/objects").iterdir()
    assert kept.read_bytes() == expected


def test_the_cache_is_in_the_home_directory_unless_xdg_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    for told, expected in (("", "/home/someone/.cache"), ("/var/cache/me", "/var/cache/me")):
        monkeypatch.setenv("XDG_CACHE_HOME", told)
        assert _action.cache() == Path(expected, "cgnet/objects")


# The bundled object.


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of bundled objects that a test may spoil."""
    folder = tmp_path / "objects"
    folder.mkdir()
    for path in BUILT.glob("policy.*"):
        shutil.copy(path, folder)
    monkeypatch.setattr(_action, "OBJECTS", folder)
    return folder


def test_the_bundled_objects_are_where_the_build_puts_them(
    manifest: dict[str, Any], sender: dict[str, Any]
) -> None:
    assert _action.OBJECTS.resolve() == BUILT
    assert _action.bundled("policy") == (manifest, _action.OBJECTS / "policy.bpf.o")
    assert _action.bundled("raw_xmit") == (sender, _action.OBJECTS / "raw_xmit.bpf.o")


@pytest.mark.parametrize("name", ["policy.bpf.o", "policy.json"])
def test_a_collection_that_was_never_built_says_so(act: Act, objects: Path, name: str) -> None:
    (objects / name).unlink()
    assert refused(act, POLICY, DECLARED) == (
        f"object policy: {objects}/{name} is missing. "
        "Install a released collection, or run make object."
    )


@pytest.mark.parametrize(
    "args",
    [
        {"policies": [], "purge": True},
        {"policies": [{"cgroup": "a.slice", "state": "absent"}]},
    ],
)
def test_policies_that_go_need_no_file(act: Act, objects: Path, args: dict[str, Any]) -> None:
    (objects / "policy.bpf.o").unlink()
    host = Host(DONE)
    assert act(POLICY, args, host) == DONE
    assert host.ran == [args]


@pytest.mark.parametrize("entry", [{"unit": "a.service", "tos": []}, "a.slice", None])
def test_one_policy_beside_them_that_does_not_go_needs_it(
    act: Act, objects: Path, entry: object
) -> None:
    (objects / "policy.bpf.o").unlink()
    gone = {"cgroup": "b.slice", "state": "absent"}
    assert "policy.bpf.o is missing" in refused(act, POLICY, {"policies": [gone, entry]})


def test_a_bundled_object_that_was_altered_is_refused(act: Act, objects: Path) -> None:
    with open(objects / "policy.bpf.o", "ab") as file:
        file.write(b"\0")
    assert refused(act, POLICY, DECLARED) == (
        f"object policy: {objects}/policy.bpf.o is not what was built. Install the collection anew."
    )


def test_a_bundled_object_of_another_layout_is_refused(
    act: Act, objects: Path, manifest: dict[str, Any]
) -> None:
    other = {**manifest, "layout": {**manifest["layout"], "size": 8}}
    (objects / "policy.json").write_text(json.dumps(other))
    message = refused(act, POLICY, DECLARED)
    assert "the layout of what it stores is not the one that this collection writes" in message


def test_every_bundled_name_was_built() -> None:
    names = (*_action.BUNDLED, "classify")
    objects = [f"{name}{end}" for name in names for end in (".bpf.o", ".json")]
    assert sorted(path.name for path in BUILT.iterdir()) == sorted([*objects, runtime.NAME])
