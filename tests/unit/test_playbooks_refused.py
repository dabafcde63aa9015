# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks refuse before they change anything, and in what words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("playbook", ["bootstrap", "rollout"])
@pytest.mark.parametrize("entry", [{"unit": "b.service", "colour": "red"}, {"state": "absent"}, 6])
def test_an_entry_that_is_none_is_told_before_a_host_is_looked_at(
    tmp_path: Path, playbook: str, entry: Any
) -> None:
    namespace = tmp_path / "ansible_collections/linux"
    namespace.mkdir(parents=True)
    (namespace / "cgnet").symlink_to(ROOT)
    given = json.dumps({"cgnet_containers": [{"unit": "a.service", "state": "absent"}, entry]})
    environment = {
        **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "HOME": str(tmp_path),
        "ANSIBLE_BECOME_EXE": "false",
    }  # fmt: skip
    done = subprocess.run(
        [
            sys.executable, "-m", "ansible", "playbook", "--inventory=localhost,",
            "--connection=local", f"--extra-vars={given}", f"linux.cgnet.{playbook}",
        ],
        check=False, capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert "cgnet_containers[1]: " in said
    assert "is not possible: it is a mapping with unit, and maybe state, profile, " in said
    assert "ok=1 changed=0" in said  # to include the tasks; none was carried out
