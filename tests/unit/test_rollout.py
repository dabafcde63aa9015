# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout audits, and what it takes for a denial: its own expressions over made-up facts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plays import ROOT, played

Vars = dict[str, Any]
PLAYBOOKS = ROOT / "playbooks"
LISTED = [
    {"unit": "gone.service", "state": "absent"},
    {"unit": "new.service", "state": "present"},
    {"unit": "audited.service"},
    {"unit": "held.service"},
]
FOUND = {"audited.service": "audit", "held.service": "enforce", "other.service": "enforce"}
AUDITED = {
    "unheld": ["new.service", "audited.service"],
    "all": ["new.service", "audited.service", "held.service"],
    "none": [],
}


def step(
    before: Vars, after: Vars, events: tuple[str, ...] = (), objects: tuple[str, str] = ("a", "a")
) -> Vars:
    """What a step for web.service finds, from the counts of each unit and the events' cgroups."""

    def counters(units: Vars) -> Vars:
        quiet = {"audited": 0, "refused": 0}
        return {
            f"system.slice/{unit}": {"tos": quiet | {"refused": count}, "ipv4": quiet}
            for unit, count in units.items()
        }

    return {
        "cgnet_rollout_containers": [{"unit": "web.service"}],
        "cgnet_rollout_before": {
            "counters": counters(before),
            "objects": {"policy": {objects[0]: {}}},
        },
        "cgnet_rollout_after": {
            "counters": counters(after),
            "objects": {"policy": {objects[1]: {}}},
            "events": [{"cgroup": cgroup, "call": "setsockopt"} for cgroup in events],
        },
    }


QUIET = {
    "nothing at all": step({}, {}),
    "what was counted before": step({"web.service": 5}, {"web.service": 5}),
    "a service that started anew": step({"web.service": 5}, {"web.service": 0}),
    "another object counts anew": step({"web.service": 5}, {"web.service": 0}, (), ("a", "b")),
    "calls of others": step(
        {"webby.service": 0},
        {"webby.service": 9},
        ("x.slice/my-web.service", "x.slice/webxservice"),
    ),
}
TOLD = {
    "an event": step({}, {}, ("system.slice/web.service",)),
    "an event below": step({}, {}, ("system.slice/web.service/worker",)),
    "one more is counted": step({"web.service": 5}, {"web.service": 6}),
    "the first is counted": step({}, {"web.service": 1}),
    "another object counts one": step({"web.service": 5}, {"web.service": 1}, (), ("a", "b")),
    "the first object counts one": step({}, {"web.service": 1}, (), ("a", "b")),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For each case its part of the output of one play, in one line."""
    folder: Path = tmp_path_factory.mktemp("rollout")
    audit = yaml.safe_load((PLAYBOOKS / "rollout.yml").read_text())[0]["vars"]
    end = yaml.safe_load((PLAYBOOKS / "tasks/step.yml").read_text())[-1]
    policies = {f"system.slice/{unit}": {"mode": mode} for unit, mode in FOUND.items()}
    units = "{{ cgnet_rollout_containers | map(attribute='unit') | join(' ') }}"
    audits = [
        {
            "name": which,
            "ansible.builtin.debug": {"msg": f"<{units}>"},
            "vars": {
                **audit,
                "cgnet_containers": LISTED,
                "cgnet_rollout_audit": which,
                "cgnet_rollout_found": {"policies": policies},
            },
        }
        for which in AUDITED
    ]
    ends = [
        {**end, "name": name, "vars": {**end["vars"], **given}, "ignore_errors": True}
        for name, given in (QUIET | TOLD).items()
    ]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": audits + ends}
    (folder / "play.yml").write_text(json.dumps([play]))
    status, output = played(folder, "--inventory=localhost,", "--connection=local", "play.yml")
    assert status == 0, output
    parts = re.split(r"^TASK \[(.*)\].*\n", output, flags=re.MULTILINE)
    return {name: " ".join(part.split()) for name, part in zip(parts[1::2], parts[2::2])}


@pytest.mark.parametrize("which", AUDITED)
def test_what_is_audited(said: dict[str, str], which: str) -> None:
    assert f"<{' '.join(AUDITED[which])}>" in said[which]


@pytest.mark.parametrize("case", QUIET)
def test_what_a_rollout_goes_on_after(said: dict[str, str], case: str) -> None:
    assert "ok: [localhost]" in said[case]


@pytest.mark.parametrize("case", TOLD)
def test_what_ends_a_rollout(said: dict[str, str], case: str) -> None:
    assert "Calls or packets of web.service were denied" in said[case]
    assert "...ignoring" in said[case]
