# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the unit tests share: one hypothesis profile, the built object, a compiler."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.plugin_utils import _compile
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).parent / "data"

# No deadline: an emulated or busy machine is slow without being wrong.
settings.register_profile(
    "cgnet", deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("cgnet")


def has_clang() -> bool:
    """Whether the compiler that CGNET_CLANG names, or clang-16, is on this machine."""
    return shutil.which(_compile.CLANG) is not None


@pytest.fixture(scope="session")
def clang() -> str:
    """The compiler's path. `make unit` compiles first, so it never comes here without one."""
    found = shutil.which(_compile.CLANG)
    if found is None:
        pytest.skip(f"{_compile.CLANG} is not on this machine, and this test compiles")
    return found


@pytest.fixture(scope="session")
def manifest() -> dict[str, Any]:
    """The manifest of the built policy object."""
    loaded: dict[str, Any] = json.loads((ROOT / "plugins/objects/policy.json").read_text())
    return loaded


@pytest.fixture(scope="session")
def object_bytes() -> bytes:
    """The built policy object."""
    return (ROOT / "plugins/objects/policy.bpf.o").read_bytes()


@pytest.fixture(scope="session")
def compiled(clang: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a source of tests/unit/data by its name; once for a run."""
    cache = tmp_path_factory.mktemp("objects")
    return lambda name: _compile.compile_object(DATA / f"{name}.bpf.c", cache)
