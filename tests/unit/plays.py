# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a play by ansible-playbook, as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def played(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit status and the output of ansible-playbook, for which the collection is this tree.

    `folder` is empty but for what a test has put there.
    """
    namespace = folder / "ansible_collections/linux"
    namespace.mkdir(parents=True)
    (namespace / "cgnet").symlink_to(ROOT)
    found = {"ANSIBLE_COLLECTIONS_PATH": str(folder), "HOME": str(folder), **environment}
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *arguments],
        check=False, capture_output=True, text=True, env={**os.environ, **found}, cwd=folder,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr
