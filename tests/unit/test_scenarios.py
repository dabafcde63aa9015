# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No step of a molecule scenario goes without its playbook, which molecule lets pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMMON = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text(encoding="utf-8"))
SCENARIOS = {
    path.parent: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "molecule").glob("*/molecule.yml"))
}
STEPS = [
    (folder, step)
    for folder, scenario in SCENARIOS.items()
    for step in scenario["scenario"]["test_sequence"]
]


@pytest.mark.parametrize(("folder", "step"), STEPS, ids=[f"{f.name}-{s}" for f, s in STEPS])
def test_each_step_has_its_playbook(folder: Path, step: str) -> None:
    """Its action has one even where the step names another: that one is not looked for else."""
    action, _space, other = step.partition(" ")
    own = SCENARIOS[folder]["ansible"]["playbooks"]
    playbooks = {**COMMON["ansible"]["playbooks"], **own, "idempotence": own["converge"]}
    for name in filter(None, (playbooks.get(action), other)):
        assert (folder / name).is_file(), name
    assert action in playbooks
