# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cgroup that was removed, and one that was made anew under the same path."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel

from tests.kernel.conftest import Group, apply, program, raw_xmit, shipped
from tests.kernel.seen import BPFFS, attached
from tests.kernel.tasks import bind, eventually
from tests.shown import IN_HOST

pytestmark = pytest.mark.usefixtures("alone")
Make = Callable[..., Group]

PINS = f"{BPFFS}/cgnet/policy/{shipped().manifest['version']}"
PORTS: dict[str, Any] = {"bind_ports": {"tcp": [1001]}}
SHOWN = {"bind_ports": {"tcp": [1001], "below": 16384, "unprivileged": False}, **IN_HOST}
BINDS = ["policy_bind4", "policy_bind6"]


def binding() -> list[Any]:
    """A port that is listed and one that is not."""
    return [bind(socket.AF_INET, socket.SOCK_STREAM, port) for port in (1001, 1002)]


def gone(number: int, *programs: str) -> dict[str, Any]:
    """What is said of what a dead cgroup left."""
    left = {"gone": "its cgroup was removed", "left": list(programs)}
    return {f"id {number} (gone)": left}


def test_what_a_removed_cgroup_left_goes_with_the_next_run(group: Make) -> None:
    ours, theirs = group("ours", **PORTS), group("theirs", **PORTS)
    number = ours.id
    os.rmdir(ours.directory)
    declared = [{"cgroup": "theirs", **PORTS}]
    told = apply(declared, check=True)
    assert [(step["action"], step["cgroup"]) for step in told["actions"]] == [
        ("detach", f"id {number}"), ("detach", f"id {number}"),
    ]  # fmt: skip
    assert told["diff"] == {"before": gone(number, *BINDS), "after": {}}
    assert os.path.isdir(f"{PINS}/link/{number}")
    assert apply(declared) == told
    assert not os.path.exists(f"{PINS}/link/{number}")
    assert len(attached(theirs.id)) == 2
    assert not apply(declared)["changed"]


def test_a_cgroup_that_is_made_anew_is_told_and_held(group: Make) -> None:
    ours = group("ours", **PORTS)
    number = ours.id
    os.rmdir(ours.directory)
    os.mkdir(ours.directory)
    assert ours.id != number
    declared = [{"cgroup": "ours", **PORTS}]
    told = apply(declared, check=True)
    assert told["diff"] == {"before": gone(number, *BINDS), "after": {"ours": SHOWN}}
    assert ours.run(binding) == ["ok", "ok"]
    assert apply(declared) == told
    assert ours.run(binding) == ["ok", "EPERM"]
    assert sorted(os.listdir(f"{PINS}/link")) == [str(ours.id)]
    assert not apply(declared)["changed"]


def test_what_dead_cgroups_left_of_other_objects_is_told_too(group: Make) -> None:
    ours, other = group("ours"), group("other")
    one = shipped("mine_one", name="mine")
    program("mine", ["ours", "other"], obj=one)
    raw_xmit("ours", "other")
    number = ours.id
    os.rmdir(ours.directory)
    dead = f"id {number} (gone)"
    assert eventually(lambda: len(attached(other.id)), 6) == 6
    told = program("mine", ["other"], obj=one)["diff"]
    assert told["before"][dead] == gone(number, "mine_connect4")[dead]
    assert dead not in told["after"]
    told = raw_xmit("other")["diff"]
    assert dead in told["before"]
    assert dead not in told["after"]


MOMENTS = {"before it has storage": "hold", "before it is attached to": "attach"}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_cgroup_that_goes_during_a_run(
    group: Make, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The error says which; all others are as before, and the next run is fine."""
    first, second, third = group("first"), group("second"), group("third", **PORTS)
    verb, number = MOMENTS[moment], second.id
    real = getattr(Kernel, verb)

    def removing(kernel: Kernel, name: str, version: str, cgroup: Any, program: Any) -> None:
        if cgroup.path == "second" and cgroup.id == number:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(second.directory)
        real(kernel, name, version, cgroup, program)

    monkeypatch.setattr(Kernel, verb, removing)
    ports = {"bind_ports": {"tcp": [1002]}}
    declared = [{"cgroup": path, **ports} for path in ("first", "second", "third")]
    with pytest.raises(KernelError) as raised:
        apply(declared)
    said = str(raised.value)
    assert said.startswith("attaching policy_")
    assert " to second: ENOENT " in said
    assert " The cgroup was removed meanwhile. " in said
    assert said.endswith(" The host was returned to what it was.")
    assert first.run(binding) == ["ok", "ok"]
    assert third.run(binding) == ["ok", "EPERM"]
    os.mkdir(second.directory)
    assert apply(declared)["changed"]
    assert [each.run(binding) for each in (first, second, third)] == [["EPERM", "ok"]] * 3
    assert not apply(declared)["changed"]
