# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles' data agree with each other, with the documentation and with the runtime."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.linux.cgnet.plugins.module_utils import _kept, _policy, _runtime

from tools import generate_profiles

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted((ROOT / "roles").iterdir())
PROFILES = generate_profiles.profiles()
CALLS = {
    "roles/container/templates/service.conf.j2": f"+{_kept.RUNTIME} start %n\n",
    "roles/host/files/cgnet.service": f"ExecStart={_kept.RUNTIME} boot\n",
}


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_those_that_the_argument_specs_name(role: Path) -> None:
    options = loaded(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    described = {name: spec["default"] for name, spec in options.items() if "default" in spec}
    assert loaded(role / "defaults/main.yml") == described
    assert [name for name in options if not name.startswith(f"cgnet_{role.name}_")] == []


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_a_policy(name: str) -> None:
    profile = PROFILES[name]
    assert profile.keys() <= {"description", "policy", "raw_xmit"}
    assert _policy.controls(_policy.parse(profile["policy"], name))
    assert isinstance(profile.get("raw_xmit", False), bool)


def test_the_page_of_profiles_shows_them() -> None:
    text = generate_profiles.DOCUMENT.read_text(encoding="utf-8")
    assert generate_profiles.render() == text, "python3 -m tools.generate_profiles"
    assert PROFILES
    assert all(f"| `{name}` |" in text for name in PROFILES)


def test_the_page_of_profiles_shows_variables_that_there_are() -> None:
    text = generate_profiles.DOCUMENT.read_text(encoding="utf-8")
    play, own, fleet, containers = [b.split("```")[0] for b in text.split("```yaml\n")[1:]]
    (host, container) = yaml.safe_load(play)[0]["roles"]
    options = loaded(ROOT / "roles/container/meta/argument_specs.yml")["argument_specs"]["main"]
    assert host == {"role": "linux.cgnet.host"}
    assert container["vars"].keys() <= options["options"].keys()
    assert container["vars"]["cgnet_container_profile"] in PROFILES
    assert yaml.safe_load(own).keys() == {"description", "policy", "raw_xmit"}
    listed = yaml.safe_load(fleet)["cgnet_containers"]
    assert {f"cgnet_container_{key}" for each in listed for key in each} <= options[
        "options"
    ].keys()
    podman = loaded(ROOT / "roles/podman/meta/argument_specs.yml")["argument_specs"]["main"]
    assert yaml.safe_load(containers)[0]["roles"][1]["vars"].keys() <= podman["options"].keys()


def test_the_playbooks_take_every_variable_of_the_role() -> None:
    options = loaded(ROOT / "roles/container/meta/argument_specs.yml")["argument_specs"]["main"]
    names = set(options["options"])
    (look,) = loaded(ROOT / "playbooks/tasks/listed.yml")
    assert {f"cgnet_container_{key}" for key in look["vars"]["known"]} == names
    assert look["vars"]["known"][0] == "unit"  # the message says so
    (hold,) = loaded(ROOT / "playbooks/tasks/hold.yml")
    assert hold["vars"].keys() == names


def test_what_podman_calls_is_what_is_installed() -> None:
    hook = loaded(ROOT / "roles/podman/files/50-cgnet.json")
    assert hook["hook"] == {"path": _kept.RUNTIME, "args": ["cgnet", "oci"]}
    assert hook["stages"] == ["createRuntime"]
    (annotation,) = hook["when"]["annotations"]
    assert re.fullmatch(annotation, _runtime.PROFILE)
    assert (
        f"/etc/cgnet/{_runtime.PROFILES}/" in (ROOT / "roles/podman/tasks/profiles.yml").read_text()
    )


@pytest.mark.parametrize("path", CALLS)
def test_what_systemd_calls_is_what_is_installed(path: str) -> None:
    assert CALLS[path] in (ROOT / path).read_text()
    assert f"dest: {_kept.RUNTIME}\n" in (ROOT / "roles/host/tasks/runtime.yml").read_text()
