# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules as programs: a cgroup of any name is governed, and shown as it can be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _names

from tests.shown import IN_HOST
from tests.unit.conftest import ROOT, built, handed

NAMES = [
    b"with a blank", b"a\nb\tc", b"'\"", b"-rf", b"~", b"$HOME", b"n" * 255, b"\xff" * 255,
    b"gr\xfc\xdfe", "日本".encode(), rb"by\x2dlabel", rb"a\377", b"\x1b[31m",
    b"{{ lookup('pipe', 'id') }}",
    b"id 5 (gone)", b"[1] (deleted)",
]  # fmt: skip
LOCALES = [{"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]


def run(mount: Path, locale: dict[str, str], *tasks: tuple[str, dict[str, Any]]) -> list[Any]:
    """What modules print, as JSON, when their arguments are on standard input."""
    lines = [f"{name} {json.dumps(args)}\n" for name, args in tasks]
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.run_modules", str(mount)],
        input="".join(lines).encode(), capture_output=True, check=False, cwd=ROOT,
        env={**os.environ, **locale, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return [json.loads(line) for line in done.stdout.split(b"\n") if line]


@pytest.mark.parametrize("locale", LOCALES, ids=["utf-8", "ascii"])
def test_every_module_takes_and_shows_every_name(tmp_path: Path, locale: dict[str, str]) -> None:
    for name in NAMES:
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)
    paths = [_names.shown(name) for name in NAMES]
    policies = [{"cgroup": path, "tos": []} for path in paths]
    policy, sender = handed(built("policy")), handed(built("raw_xmit"))
    tasks = [
        ("cgnet_policy", {"policies": policies, **policy}),
        ("cgnet_raw_xmit", {"cgroup": paths, **sender}),
        ("cgnet_program", {"name": "policy", "cgroups": paths, **policy}),
        ("cgnet_info", {}),
        ("cgnet_policy", {"policies": policies, **policy}),
    ]
    applied, held, attached, told, again = run(tmp_path, locale, *tasks)
    assert [each.get("msg") for each in (applied, held, attached, told, again)] == [None] * 5
    shown = {path: {"tos": [], **IN_HOST} for path in paths}
    assert applied["diff"] == {"before": {}, "after": shown}
    assert list(applied["controls"]) == list(held["controls"]) == paths
    assert set(attached["diff"]["after"]) == set(paths)
    version = {"version": built("policy")["version"]}
    assert told["policies"] == {path: {**version, **shown[path]} for path in paths}
    assert told["raw_xmit"] == dict.fromkeys(paths, "enforced")
    assert not again["changed"]


@pytest.mark.parametrize("locale", LOCALES, ids=["utf-8", "ascii"])
def test_a_name_that_there_is_not_is_an_error_that_shows_it(
    tmp_path: Path, locale: dict[str, str]
) -> None:
    policy = handed(built("policy"))
    written = [r"gone\377", "gone\n", "gone\udcff", "gone\ud800", "日本", "gone\0"]
    tasks = [
        ("cgnet_policy", {"policies": [{"cgroup": path, "tos": []}], **policy}) for path in written
    ]
    for path, result in zip(written, run(tmp_path, locale, *tasks), strict=True):
        assert (result["failed"], result["error"]) == (True, "InputError")
        assert result["msg"].startswith(f"policies[0].cgroup: {path!r} is not possible: ")
