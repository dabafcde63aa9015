# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A version's pinned programs, and whether they and its maps are what was loaded together."""

from __future__ import annotations

import errno

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._pins import Pinned


def _map_name(number: int) -> str:
    """A map's name by its id; "" where it went meanwhile."""
    try:
        fd = _libbpf.library().call("bpf_map_get_fd_by_id", number)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return ""
        raise
    with _libbpf.closing(fd):
        return str(_libbpf.info(fd, _libbpf.MapInfo()).name.decode(errors="replace"))


def damage(pinned: Pinned) -> tuple[str, ...]:
    """What is wrong with the programs and maps of a version.

    Wrong is a pin of another program, and a map of the programs that is not pinned: what is
    stored there would reach no program. A program that lacks is none of that.
    """
    wrong: list[str] = []
    used: set[int] = set()
    for pin, told in pinned.programs.items():
        used.update(told.map_ids[: told.nr_map_ids])
        name = told.name.decode(errors="replace")
        if name != pin[: _libbpf.NAME]:
            wrong.append(f"the program {name} is pinned as {pin}")
    lost = [_map_name(number) for number in sorted(used - {m.id for m in pinned.maps.values()})]
    # libbpf's own, such as .rodata, are not pinned.
    wrong += [f"the map {name} of its programs is not pinned" for name in lost if "." not in name]
    return tuple(wrong)
