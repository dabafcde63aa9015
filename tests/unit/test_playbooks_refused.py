# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks refuse before they change anything, and in what words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plays import played


def refused(folder: Path, playbook: str, given: dict[str, Any]) -> str:
    """What a playbook says that fails, in one line; root is not to be had meanwhile."""
    status, said = played(
        folder, "--inventory=localhost,", "--connection=local",
        f"--extra-vars={json.dumps(given)}", f"linux.cgnet.{playbook}", ANSIBLE_BECOME_EXE="false",
    )  # fmt: skip
    assert status == 2, said
    return " ".join(said.split())


@pytest.mark.parametrize("playbook", ["bootstrap", "rollout"])
@pytest.mark.parametrize("entry", [{"unit": "b.service", "colour": "red"}, {"state": "absent"}, 6])
def test_an_entry_that_is_none_is_told_before_a_host_is_looked_at(
    tmp_path: Path, playbook: str, entry: Any
) -> None:
    given = {"cgnet_containers": [{"unit": "a.service", "state": "absent"}, entry]}
    said = refused(tmp_path, playbook, given)
    assert "cgnet_containers[1]: " in said
    assert "is not possible: it is a mapping with unit, and maybe state, profile, " in said
    assert "ok=1 changed=0" in said  # to include the tasks; none was carried out


@pytest.mark.parametrize("given", [{}, {"cgnet_rollout_audit": "none"}])
def test_what_is_right_comes_as_far_as_the_host(tmp_path: Path, given: dict[str, Any]) -> None:
    said = refused(tmp_path, "rollout", {"cgnet_containers": [{"unit": "a.service"}], **given})
    assert "TASK [Look at what is held]" in said


def test_what_is_audited_is_one_of_three(tmp_path: Path) -> None:
    said = refused(tmp_path, "rollout", {"cgnet_rollout_audit": "held"})
    assert "cgnet_rollout_audit: 'held' is not possible: it is unheld, all or none." in said
