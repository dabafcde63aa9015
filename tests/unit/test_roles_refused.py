# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles container and podman refuse before they change anything, and in what words."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.plays import played

UNIT = {"unit": "web.service"}
PROFILES = {"odd": "colour: red\n", "list": "[tos]\n", "word": "policy: tos\n"}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "no unit": ({}, "missing required arguments: cgnet_container_unit"),
    "a unit of no known type": (
        {"unit": "web.socket"},
        "cgnet_container_unit: 'web.socket' is not possible: it is the name of a service or of",
    ),
    "a path": ({"unit": "../web.service"}, "'../web.service' is not possible"),
    "a state that there is not": (
        {**UNIT, "state": "here"},
        "value of cgnet_container_state must be one of: present, absent, got: here",
    ),
    "a profile that there is not": (
        {**UNIT, "profile": "server"},
        "cgnet_container_profile: 'server' is not possible: there is no server.yml in PROFILES, ",
    ),
    "a profile that there is not, and which there are": (
        {**UNIT, "profile": "server"},
        "There are batch, ipv6_only, list, odd, prober, sandbox, serving, word.",
    ),
    "a profile that says what none does": (
        {**UNIT, "profile": "odd"},
        "PROFILES/odd.yml: colour is not possible: a profile has description, policy and raw_xmit.",
    ),
    "a profile that is no mapping": (
        {**UNIT, "profile": "list"},
        "PROFILES/list.yml: ['tos'] is not possible: a profile is a mapping with description,",
    ),
    "a profile whose policy is none": (
        {**UNIT, "profile": "word"},
        "PROFILES/word.yml: {'policy': 'tos'} is not possible: a profile is a mapping with",
    ),
    "nothing to hold it to": (
        UNIT,
        "cgnet_container_policy: {} is not possible for web.service: it declares no control",
    ),
    "a profile of which nothing is left": (
        {**UNIT, "profile": "ipv6_only", "policy": {"ipv4": None}},
        "is not possible for web.service: it declares no control",
    ),
}

OF_PODMAN: dict[str, tuple[dict[str, Any], str]] = {
    "podman: a profile that there is not": (
        {"profiles": ["serving", "server"]},
        "cgnet_podman_profiles: server is not possible: there is no such profile in PROFILES, ",
    ),
    "podman: a profile that is no mapping": (
        {"profiles": ["list"]},
        "PROFILES/list.yml: ['tos'] is not possible: a profile is a mapping with description,",
    ),
    "podman: a profile whose policy is none": (
        {"profiles": ["word"]},
        "PROFILES/word.yml: {'policy': 'tos'} is not possible: a profile is a mapping with",
    ),
    "podman: a profile that says what none does": (
        {"profiles": ["odd"]},
        "PROFILES/odd.yml: colour is not possible: a profile is a mapping with description, ",
    ),
    "podman: a host without the runtime": (
        {"profiles": ["serving"]},
        "localhost is not prepared: include the role linux.cgnet.host before this one.",
    ),
}
ALL = {**CASES, **OF_PODMAN}
MESSAGES = "ansible_failed_result.results | default([ansible_failed_result]) | map(attribute='msg')"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The message with which each case fails."""
    folder = tmp_path_factory.mktemp("roles")
    profiles = folder / "profiles"
    profiles.mkdir()
    for name, text in PROFILES.items():
        (profiles / f"{name}.yml").write_text(text)
    tasks = []
    for number, (case, (given, _says)) in enumerate(ALL.items()):
        name = "podman" if case in OF_PODMAN else "container"
        given = {**given, "profile_directories": [str(profiles)]}
        role = {
            "ansible.builtin.include_role": {"name": f"linux.cgnet.{name}"},
            "vars": {f"cgnet_{name}_{key}": value for key, value in given.items()},
        }
        copied = {"content": f"{{{{ {MESSAGES} }}}}", "dest": f"{folder}/{number}"}
        tasks.append({"block": [role], "rescue": [{"ansible.builtin.copy": copied}]})
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    status, said = played(folder, f"{folder}/play.yml")
    assert status == 0, said
    # The first tasks that look at the host, and that change it
    assert "See that the host applies what is kept" not in said
    assert "Make the drop-in's directory" not in said
    assert "Make their directory" not in said
    messages = [(folder / str(number)).read_text() for number in range(len(ALL))]
    return {case: each.replace(str(profiles), "PROFILES") for case, each in zip(ALL, messages)}


@pytest.mark.parametrize("case", ALL)
def test_it_tells_what_is_wrong_and_what_is_possible(told: dict[str, str], case: str) -> None:
    assert ALL[case][1] in told[case]
