# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_policy: which cgroup an entry means, and that nothing is done where one is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _policy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.unit.conftest import entry
from tests.unit.fake_kernel import FakeKernel

Run = Callable[..., dict[str, Any]]


def refused(host: FakeKernel, run: Run, *entries: dict[str, Any], **more: Any) -> str:
    """The message with which a task is refused; nothing is changed."""
    before = host.state()
    with pytest.raises(InputError) as caught:
        run(*entries, **more)
    assert host.state() == before
    return str(caught.value)


def test_the_same_cgroup_twice_is_refused_whatever_it_is_called(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    path = f"{host.hierarchy.mount}/b.slice/../a.slice"
    entries = [entry("a.slice", tos=[]), entry("b.slice", tos=[]), entry(path, state="absent")]
    assert refused(host, run, *entries) == (
        f"policies[2]: {path!r} is not possible: it is the same cgroup as policies[0]. "
        "Declare it once."
    )


@pytest.mark.parametrize(
    "address", [{}, {"cgroup": None, "unit": None}, {"cgroup": "a.slice", "unit": "a.slice"}]
)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_an_entry_takes_one_of_cgroup_and_unit(
    host: FakeKernel, a: Cgroup, run: Run, address: dict[str, Any], state: str
) -> None:
    message = refused(host, run, {**address, "tos": [], "state": state})
    assert message.startswith("policies[0]: {")
    assert message.endswith("is not possible: it takes one of cgroup and unit.")


def test_a_cgroup_that_does_not_exist_is_refused_where_it_is_present(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    message = refused(host, run, entry("a.slice", tos=[]), entry("none.slice", tos=[]))
    assert message.startswith("policies[1].cgroup: 'none.slice' is not possible: there is no such")


def test_a_unit_is_the_cgroup_that_systemd_tells(
    host: FakeKernel, run: Run, units: dict[str, str]
) -> None:
    nginx = host.make("system.slice/nginx.service")
    units["nginx.service"] = nginx.path
    result = run({"unit": "nginx.service", "tos": []})
    assert host.attached(nginx) == set(_policy.CONTROLS["tos"].hooks)
    assert result["controls"] == {nginx.path: {"tos": "enforced"}}


def test_a_unit_and_its_cgroup_are_the_same_cgroup(
    host: FakeKernel, a: Cgroup, run: Run, units: dict[str, str]
) -> None:
    units["a.slice"] = "a.slice"
    assert refused(host, run, entry("a.slice", tos=[]), {"unit": "a.slice", "tos": []}) == (
        "policies[1]: 'a.slice' is not possible: it is the same cgroup as policies[0]. "
        "Declare it once."
    )


@pytest.mark.parametrize("told", ["", "system.slice/gone.service"])
def test_a_unit_that_does_not_run_is_refused_where_it_is_present(
    host: FakeKernel, run: Run, units: dict[str, str], told: str
) -> None:
    units["gone.service"] = told
    assert refused(host, run, {"unit": "gone.service", "tos": []}) == (
        "policies[0].unit: 'gone.service' is not possible: it does not run, so it has no cgroup. "
        "Start it."
    )
    assert not run({"unit": "gone.service", "state": "absent"})["changed"]


def test_every_policy_is_parsed_before_any_cgroup_is_looked_up(
    host: FakeKernel, run: Run, units: dict[str, str]
) -> None:
    wrong = [entry("none.slice", tos=[]), entry("..", ipv4="hidden"), {"tos": ["cs9"]}]
    assert refused(host, run, *wrong).startswith("policies[2].tos[0]: 'cs9' is not possible")
