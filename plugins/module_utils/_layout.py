# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything of ours is pinned. Pure: paths are computed, nothing is touched.

    <bpffs>/cgnet/<object>/<version>/prog/<program>
                                     map/<map>
                                     link/<cgroup id>/<program>

A version names the object's content and its layout, so two versions stand side
by side while cgroups move from one to the other. bpffs refuses a dot in a name
(bpf_lookup()), which is why a cgroup is named by its id.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError

ROOT = "cgnet"
POLICY = "policy"
"""The bundled object that stores policies."""

STAGING = "_new"
"""Ends the name of a version that is being made or removed; none such is ever attached."""

DAMAGED = "_damaged"
"""Ends the name of a version that was set aside, with a number where there are more."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@functools.lru_cache(maxsize=4096)
def is_name(part: str) -> bool:
    """Whether a path component is one that cgnet may have made."""
    return bool(_NAME.fullmatch(part))


def checked(part: str, at: str = "pin name") -> str:
    """A path component that can't leave its directory; `at` names it in the error."""
    if not isinstance(part, str) or not is_name(part):
        raise InputError(at, part, "1 to 64 of A-Z a-z 0-9 _ -")
    return part


def layout_tag(layout: Any) -> str:
    """Eight hexadecimal digits that stand for a stored struct's layout."""
    return hashlib.sha256(json.dumps(layout, sort_keys=True).encode()).hexdigest()[:8]


def version_name(sha256: str, layout: Any) -> str:
    """The name of a version: an object's content and what its storage looks like."""
    return f"{sha256[:16]}-{layout_tag(layout)}"


def same_layout(version: str, layout: Any) -> bool:
    """Whether what a version stores can be read as `layout`."""
    return re.sub(f"{DAMAGED}[0-9]*$", "", version).endswith(f"-{layout_tag(layout)}")


def aside(version: str, others: Collection[str]) -> str:
    """The name that a damaged version gets beside others."""
    names = (f"{version}{DAMAGED}{number or ''}" for number in itertools.count())
    return next(name for name in names if name not in others)


class Layout(NamedTuple):
    """The pins below one bpffs mount."""

    bpffs: str

    @property
    def root(self) -> str:
        """The directory that holds everything of ours."""
        return f"{self.bpffs}/{ROOT}"

    def object(self, name: str) -> str:
        """The directory of an object's versions."""
        return f"{self.root}/{checked(name)}"

    @functools.lru_cache(maxsize=64)  # noqa: B019  it is a value, of which a run has one
    def version(self, name: str, version: str) -> str:
        """The directory of one version."""
        return f"{self.object(name)}/{checked(version)}"

    def staging(self, name: str, version: str) -> str:
        """The directory in which a version is made, and taken apart, under another name."""
        return self.version(name, version) + STAGING

    def programs(self, name: str, version: str) -> str:
        """The directory of a version's pinned programs."""
        return f"{self.version(name, version)}/prog"

    def program(self, name: str, version: str, program: str) -> str:
        """A pinned program."""
        return f"{self.programs(name, version)}/{checked(program)}"

    def maps(self, name: str, version: str) -> str:
        """The directory of a version's pinned maps."""
        return f"{self.version(name, version)}/map"

    def links(self, name: str, version: str, cgroup: int | None = None) -> str:
        """The directory of a version's links, or of one cgroup's."""
        base = f"{self.version(name, version)}/link"
        return base if cgroup is None else f"{base}/{cgroup:d}"

    def link(self, name: str, version: str, cgroup: int, program: str) -> str:
        """A pinned link."""
        return f"{self.links(name, version, cgroup)}/{checked(program)}"
