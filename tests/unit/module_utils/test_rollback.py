# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that fails at any step leaves the host as it was, or as declared but for remains."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _plan
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup, Held, Observed

from tests.unit.conftest import entry, older
from tests.unit.fake_kernel import FakeKernel

pytestmark = pytest.mark.usefixtures("closed")
Run = Callable[..., dict[str, Any]]

VERBS = ("load", "share", "hold", "store", "nest", "govern", "attach", "detach", "unload")
FULL = {"priority": 6, "tos": ["ef"], "bind_ports": {"tcp": [80]}}
BOTH = (entry("a.slice", **FULL), entry("b.slice", priority=7))
CHANGES: dict[str, tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]] = {
    "the first": ((), BOTH),
    "more": ((entry("a.slice", priority=1), entry("b.slice", tos=[])), BOTH),
    "less": (BOTH, (entry("a.slice", tos=["af21"]), entry("b.slice", bind_ports={"tcp": []}))),
    "one comes, one goes": (
        (entry("a.slice", **FULL),),
        (entry("a.slice", state="absent"), entry("b.slice", **FULL)),
    ),
    "nested ones come": (BOTH, (*BOTH, entry("a.slice/x", priority=5))),
    "nested ones go": (
        (*BOTH, entry("a.slice/x", priority=5)),
        (*BOTH, entry("a.slice/x", state="absent")),
    ),
    "none": (BOTH, (entry("a.slice", state="absent"), entry("b.slice", state="absent"))),
}
"""What is declared before, and then."""


def failing(host: FakeKernel, step: int, then: bool) -> Callable[[], bool]:
    """Let the host's step'th verb fail, before or after it is done; tells whether it came to it."""
    count = itertools.count(1)
    came = False

    def stepped(verb: Callable[..., None]) -> Callable[..., None]:
        def doing(*args: Any) -> None:
            nonlocal came
            fails = next(count) == step
            came = came or fails
            if not fails or then:
                verb(*args)
            if fails:
                raise KernelError(verb.__name__, errno.EIO)

        return doing

    for name in VERBS:
        setattr(host, name, stepped(getattr(type(host), name).__get__(host)))
    return lambda: came


def plain(observed: Observed) -> dict[tuple[str, int], Held]:
    """What the kernel holds; storage of zeros is as none."""
    found = {}
    for version, loaded in observed.versions.items():
        assert loaded.programs != set()
        for cgroup, held in loaded.cgroups.items():
            value = held.value if any(held.value or b"") else None
            if value or held.attached or held.broken or held.governs:
                found[version, cgroup] = Held(held.attached, held.broken, value, held.governs)
    return found


def nested(host: FakeKernel) -> dict[str, bool]:
    """Version → whether it is told that policies with a priority are nested."""
    return {name: each.nested for name, each in host.observe("policy").versions.items()}


@pytest.fixture(params=[False, True], ids=["before it is done", "after"])
def then(request: pytest.FixtureRequest) -> bool:
    """Whether the verb that fails has done what it should."""
    done: bool = request.param
    return done


def refusal(work: Callable[[], object]) -> str:
    """The message of the kernel's refusal, or ""."""
    try:
        work()
    except KernelError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("change", CHANGES)
def test_what_fails_is_taken_back_or_has_no_effect_any_more(
    a: Cgroup, b: Cgroup, host: FakeKernel, run: Run, change: str, then: bool
) -> None:
    declared, wanted = CHANGES[change]
    host.make("a.slice/x")
    taken_back = 0
    for step in itertools.count(1):
        failing(host, 0, then)
        run(purge=True)
        run(*declared, purge=True)
        before, version = host.state(), plain(host.observe("policy"))
        told = nested(host)
        came = failing(host, step, then)
        message = refusal(lambda: run(*wanted))
        assert came() == bool(message)
        if not message:
            break
        now = plain(host.observe("policy"))
        if message.endswith(" The host was returned to what it was."):
            taken_back += 1
            assert (now, nested(host)) == (version, told), step
            assert set(host.state().get("policy", {})) == set(before.get("policy", {})), step
        else:
            failing(host, 0, then)
            left = [each["action"] for each in run(*wanted, check=True)["actions"]]
            assert set(left) <= {"detach", "unload"}, step
            assert not run(*wanted, check=True)["diff"]["after"] or left == ["detach"] * len(left)
    assert taken_back >= 2


def test_an_upgrade_that_fails_leaves_the_older_version_as_it_was(
    a: Cgroup, b: Cgroup, host: FakeKernel, run: Run, manifest: dict[str, Any], then: bool
) -> None:
    taken_back = 0
    for step in itertools.count(1):
        failing(host, 0, then)
        run(purge=True)
        run(*BOTH)
        old = older(host, manifest["layout"])
        before = plain(host.observe("policy"))
        came = failing(host, step, then)
        message = refusal(lambda: run(*BOTH))
        assert came() == bool(message)
        if not message:
            break
        if message.endswith(" The host was returned to what it was."):
            taken_back += 1
            assert list(host.objects["policy"]) == [old]
            assert plain(host.observe("policy")) == before
    assert taken_back > 20


def test_a_host_that_can_not_be_returned_is_told_with_both_errors(
    a: Cgroup, host: FakeKernel, run: Run
) -> None:
    run(entry("a.slice", priority=1))

    def attach(*_args: object) -> None:
        host.store = fail  # type: ignore[method-assign]
        raise KernelError("attaching", errno.ENOSPC)

    def fail(*_args: object) -> None:
        raise KernelError("storing", errno.EIO)

    host.attach = attach  # type: ignore[method-assign]
    with pytest.raises(KernelError) as caught:
        run(entry("a.slice", priority=1, bind_ports={"tcp": []}))
    assert str(caught.value) == (
        "attaching: ENOSPC (No space left on device). The host could not be returned to what it "
        "was: storing: EIO (Input/output error). Run the task again."
    )


def test_what_is_not_ours_to_tell_is_raised_as_it_is_once_it_is_taken_back(
    a: Cgroup, host: FakeKernel, run: Run
) -> None:
    def attach(*_args: object) -> None:
        raise ZeroDivisionError("a bug")

    host.attach = attach  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError, match=r"^a bug$"):
        run(entry("a.slice", priority=1))
    assert host.objects == {}


def test_the_part_that_is_not_taken_back_only_removes(
    a: Cgroup, b: Cgroup, host: FakeKernel, run: Run
) -> None:
    host.make("a.slice/x")
    for declared, wanted in CHANGES.values():
        run(purge=True)
        run(*declared, purge=True)
        actions = run(*wanted, check=True)["actions"]
        kinds = [each["action"] for each in actions]
        late = next((i for i, kind in enumerate(kinds) if kind in ("detach", "unload")), len(kinds))
        assert set(kinds[late:]) <= {"detach", "unload"}


def test_there_is_nothing_to_take_back_where_nothing_was_done(
    a: Cgroup, host: FakeKernel, run: Run
) -> None:
    run(entry("a.slice", **FULL))
    observed = host.observe("policy")
    assert _plan.back(observed, observed) == ()
