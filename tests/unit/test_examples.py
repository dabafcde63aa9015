# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation shows is what the tests run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.linux.cgnet.plugins.module_utils import _htb, _policy
from ansible_collections.linux.cgnet.plugins.modules import cgnet_htb, cgnet_raw_xmit

from tools import generate_hooks

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.yml"))
CONTROLS = (ROOT / "docs/controls.md").read_text(encoding="utf-8")


def policies(play: str) -> list[dict[str, Any]]:
    """The policies that a playbook declares."""
    (document,) = yaml.safe_load(play)
    found = document["tasks"][0]["linux.cgnet.cgnet_policy"]["policies"]
    assert isinstance(found, list)
    return found


def blocks(markdown: str) -> list[str]:
    """The YAML blocks of a Markdown document."""
    return re.findall(r"^```yaml\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)


def documents(block: str) -> list[dict[str, Any]]:
    """The mappings in a block: one that repeats its first key shows an alternative."""
    first = block.split(":", 1)[0]
    parts = re.split(rf"^(?={first}:)", block, flags=re.MULTILINE)
    return [yaml.safe_load(part) for part in parts if part.strip()]


def test_the_readme_shows_the_play_that_the_demo_runs() -> None:
    (block,) = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert policies(block) == policies((ROOT / "examples/web.yml").read_text(encoding="utf-8"))


MODULE = "linux.cgnet.cgnet_raw_xmit"
POLICIES = [block for block in blocks(CONTROLS) if not block.startswith("linux.cgnet.")]


@pytest.mark.parametrize("block", POLICIES)
def test_what_the_controls_page_shows_is_a_policy(block: str) -> None:
    for shown in documents(block):
        policy = _policy.parse(shown, "page")
        assert _policy.controls(policy) == tuple(shown)


def test_the_controls_page_shows_every_control() -> None:
    shown = {name for block in POLICIES for part in documents(block) for name in part}
    assert shown == set(_policy.CONTROLS)


def test_the_controls_page_shows_a_task_of_the_other_module() -> None:
    (task,) = (yaml.safe_load(block) for block in blocks(CONTROLS) if block not in POLICIES)
    validator = ArgumentSpecValidator(cgnet_raw_xmit.SPEC)
    assert validator.validate(task[MODULE]).error_messages == []


def test_the_page_of_classes_shows_tasks_that_are_possible() -> None:
    shown = blocks((ROOT / "docs/shaping.md").read_text(encoding="utf-8"))
    for block in shown:
        (task,) = yaml.safe_load(block).values()
        checked = ArgumentSpecValidator(cgnet_htb.SPEC).validate(task)
        assert checked.error_messages == []
        assert _htb.parse(checked.validated_parameters, lambda name, at: 1).default == 0x99
    assert len(shown) == 2


def test_the_controls_page_names_the_hooks_that_the_objects_have() -> None:
    assert generate_hooks.render() == CONTROLS


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_run_and_taken_back(name: str) -> None:
    stem = name.removesuffix(".yml").removesuffix("_absent")
    assert {f"{stem}.yml", f"{stem}_absent.yml"} <= set(EXAMPLES)
    files = (ROOT / "molecule").glob("*/*.yml")
    assert [path for path in files if f"/examples/{name}" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", sorted((ROOT / "molecule").glob("*/molecule.yml")), ids=str)
def test_every_step_of_a_scenario_has_its_playbook(path: Path) -> None:
    """Molecule passes over a step that has none."""
    shared = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text(encoding="utf-8"))
    own = yaml.safe_load(path.read_text(encoding="utf-8"))
    playbooks = {**shared["ansible"]["playbooks"], **own["ansible"]["playbooks"]}
    for step, *more in map(str.split, own["scenario"]["test_sequence"]):
        for name in (playbooks["converge" if step == "idempotence" else step], *more):
            assert (path.parent / name).is_file(), (step, name)
