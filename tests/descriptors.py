# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process has open, for tests that hold that it is closed again."""

from __future__ import annotations

import os


def descriptors() -> set[str]:
    """This process's open descriptors."""
    return set(os.listdir("/proc/self/fd"))
