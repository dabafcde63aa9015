# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call that fails in a run: the host is what it was, or as declared but for remains."""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    KernelError,
    VerifyError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._model import Observed

from tests.kernel import tasks
from tests.kernel.conftest import (
    MOUNT,
    Group,
    apply,
    break_link,
    info,
    raw_xmit,
    shipped,
    small,
)
from tests.kernel.seen import attached, everything
from tests.kernel.steps import FIRST, OF_FILES, STRIDE, before_changes
from tests.kernel.tasks import bind, outcome

pytestmark = pytest.mark.usefixtures("alone")
Make = Callable[..., Group]
Policies = list[dict[str, Any]]

RETURNED = " The host was returned to what it was."
ONE: Policies = [
    {"cgroup": "ours", "bind_ports": {"tcp": [1000]}},
    {"cgroup": "theirs", "bind_ports": {"tcp": [1001]}},
]
NONE: Policies = [{"cgroup": name, "state": "absent"} for name in ("ours", "theirs")]
SIDE: Policies = [
    {"cgroup": "ours", "state": "absent"},
    {"cgroup": "theirs", "bind_ports": {"tcp": [1000]}, "tos": [], "priority": 6},
]


CHANGES = {
    "the first": (NONE, ONE, small()),
    "an edit, and one absent": (ONE, SIDE, shipped()),
    "absent": (ONE, NONE, small()),
}


@pytest.fixture
def keeper(alone: None, group: Make) -> None:
    """Another cgroup has a policy of the same hooks all the while, over another version.

    The kernel patches them once: the last program to go takes that along.
    """
    group("keeper")
    policy = {"cgroup": "keeper", "priority": 1, "tos": [], "bind_ports": {"tcp": []}}
    apply([policy], obj=shipped(version=f"{'f' * 16}-{'f' * 8}"))


def looks_of_ports() -> list[Any]:
    return [bind(socket.AF_INET6, socket.SOCK_STREAM, port) for port in (1000, 1001)]


def looks() -> list[Any]:
    """What policies of this file decide: two ports, the priority, a DSCP."""
    with socket.socket(socket.AF_INET6) as sock:
        marked = outcome(tasks.set_tclass, sock, 0xB8)
        born = tasks.priority(sock)
    return [*looks_of_ports(), born, marked]


def failing(step: int, work: Callable[[], object]) -> tuple[list[str], str]:
    """The names of the changes of `work` whose step'th fails, and its error or ""."""
    names = []

    def meet(number: int, name: str) -> None:
        names.append(name)
        if number == step and name in OF_FILES:
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        if number == step:
            raise KernelError(name, errno.EIO)

    def task() -> tuple[list[str], str]:
        before_changes(meet)
        try:
            work()
        except CgnetError as error:
            return names, str(error)
        return names, ""

    return tasks.inside(f"{MOUNT}/cgroup.procs", task)


def walk(
    before: Callable[[], object], work: Callable[[], object], look: Callable[[], object]
) -> list[str]:
    """Let every third change of `work` fail in turn, from `before` each time; all errors.

    Of changes of one kind that follow each other, the first does. After each, all is as before,
    or what is looked at is as after `work`, which mends the rest.
    """
    before()
    seen = look()
    names, error = failing(0, work)
    assert error == ""
    wanted = look()
    steps = [i + 1 for i, name in enumerate(names) if names[i - 1 : i] != [name]]
    errors = []
    for step in steps[FIRST::STRIDE]:
        before()
        there = everything()
        _names, error = failing(step, work)
        assert error or names[step - 1] == "mkdir", step  # of a directory that is there
        errors += [error] if error else []
        if error.endswith(RETURNED):
            assert (everything(), look()) == (there, seen), step
        else:
            assert look() == wanted, (step, error)
        work()
        assert look() == wanted, step
    return errors


@pytest.mark.usefixtures("keeper")
@pytest.mark.parametrize("change", CHANGES)
def test_a_list_of_policies_is_applied_as_one(group: Make, change: str) -> None:
    ours, theirs = group("ours"), group("theirs")
    first, then, obj = CHANGES[change]

    def look() -> list[Any]:
        shown = info()["policies"]
        return [(who.run(looks), shown.get(who.path)) for who in (ours, theirs)]

    errors = walk(lambda: apply(first, obj=obj), lambda: apply(then, obj=obj), look)
    returned = [error for error in errors if error.endswith(RETURNED)]
    assert errors
    assert returned or FIRST > 0  # what comes first can be taken back
    assert all("EIO" in error for error in errors)


@pytest.mark.usefixtures("keeper")
def test_an_upgrade_that_fails_leaves_the_older_version(group: Make) -> None:
    ours, theirs = group("ours"), group("theirs")
    old, new = small(), small(version=f"{'0' * 16}-{'0' * 8}")
    errors = walk(
        lambda: apply(ONE, obj=old),
        lambda: apply(ONE, obj=new),
        lambda: [who.run(looks) for who in (ours, theirs)],
    )
    assert len([error for error in errors if error.endswith(RETURNED)]) > 10 // STRIDE


@pytest.mark.parametrize("mine", [True, False], ids=["that the run attached", "from before"])
def test_a_link_that_something_else_detaches_meanwhile(
    group: Make, monkeypatch: pytest.MonkeyPatch, mine: bool
) -> None:
    """What the run attached is taken back; what was there before is lost, and that is told."""
    ours = group("ours", bind_ports={"tcp": [1000]})
    before, shown = everything(), info()["policies"]
    program = "policy_egress" if mine else "policy_bind6"
    observe, looked = Kernel.observe, itertools.count(1)

    def meanwhile(kernel: Kernel, name: str) -> Observed:
        if next(looked) == 2:
            break_link(ours, program)
        return observe(kernel, name)

    with monkeypatch.context() as patched:
        patched.setattr(Kernel, "observe", meanwhile)
        with pytest.raises(VerifyError) as raised:
            apply([{"cgroup": "ours", "tos": [], "bind_ports": {"tcp": [1001]}}])
    assert f"'program': '{program}'" in str(raised.value)
    assert info()["policies"] == shown
    if mine:
        assert str(raised.value).endswith(RETURNED)
        assert everything() == before
    else:
        assert str(raised.value).endswith(
            " The host could not be returned to what it was: no longer attached: "
            "{'ours': ['policy_bind6']}. Run the task again."
        )
        assert apply([{"cgroup": "ours", "bind_ports": {"tcp": [1000]}}])["changed"]
        assert ours.run(looks_of_ports) == ["ok", "EPERM"]


def test_programs_that_store_nothing_are_attached_everywhere_or_nowhere(group: Make) -> None:
    group("ours"), group("theirs"), group("another")
    raw_xmit("another")
    errors = walk(
        lambda: raw_xmit("ours", "theirs", state="absent"),
        lambda: raw_xmit("ours", "theirs"),
        lambda: [attached(os.stat(f"{MOUNT}/{name}").st_ino) for name in ("ours", "theirs")],
    )
    assert errors == [error for error in errors if error.endswith(RETURNED)] != []
