# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ring buffer of a version: what its programs have told and nobody has taken yet."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf

_EVENTS = "events"


def take(folder: str) -> list[bytes]:
    """The records in a version's ring buffer, oldest first; they are gone from it then.

    `folder` is where the maps are pinned. One task at a time can take them.
    """
    path = f"{folder}/{_EVENTS}"
    if not os.path.exists(path):
        return []
    taken: list[bytes] = []

    def sample(_context: Any, record: int, size: int) -> int:
        taken.append(ctypes.string_at(record, size))
        return 0

    called = _libbpf.SAMPLE(sample)  # it must live as long as libbpf may call it
    libbpf = _libbpf.library()
    with _libbpf.pinned(path) as fd:
        ring = libbpf.call("ring_buffer__new", fd, called, None, None)
        try:
            libbpf.call("ring_buffer__consume", ring)
        finally:
            libbpf.call("ring_buffer__free", ring)
    return taken
