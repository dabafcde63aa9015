# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without pyroute2."""

from __future__ import annotations

import sys

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError
from ansible_collections.linux.cgnet.plugins.module_utils._rtnetlink import Links


def test_that_pyroute2_lacks_is_told_with_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyroute2", None)
    with pytest.raises(HostError) as raised, Links.open():
        pytest.fail("it is not there")
    assert f"the Python of this task, {sys.executable}, has no pyroute2" in str(raised.value)
    assert "python3-pyroute2" in str(raised.value)
