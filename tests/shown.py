# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every policy shows beside its controls."""

from __future__ import annotations

IN_HOST = {"netns": "host", "mode": "enforce"}
IN_ANY = {"netns": "any", "mode": "enforce"}
