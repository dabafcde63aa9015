# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others attached that leaves no room for ours is told before anything is changed."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import ConflictError, KernelError

from tests.kernel import foreign
from tests.kernel.conftest import MOUNT, Group, apply, info, program, raw_xmit, shipped
from tests.kernel.foreign import EFFECTIVE, MULTI, OVERRIDE, Theirs, kind_of, standing
from tests.kernel.seen import BPFFS, NAME, pins
from tests.kernel.tasks import eventually

Make = Callable[..., Group]

ALL = (
    "accept", "connect", "peername", "sockname", "getsockopt", "listen", "shutdown", "socketpair",
    "stream", "may_send",
)  # fmt: skip
"""Programs on ten hooks that nothing of ours is on."""
OURS = "above/ours"
PORTS: dict[str, Any] = {"cgroup": OURS, "bind_ports": {"tcp": [1001]}}
EXCLUSIVE = {"alone": 0, "to be overridden": OVERRIDE}
SAME = f"{'0' * 16}-{shipped().manifest['version'].split('-')[1]}"


@pytest.fixture(scope="module")
def theirs() -> Iterator[Theirs]:
    with foreign.theirs(("bind4", "lsm_set", "egress", *ALL)) as loaded:
        yield loaded


@pytest.fixture
def ours(group: Make) -> Iterator[Group]:
    group("above")
    yield group(OURS)
    apply([], purge=True)


def conflict(act: Callable[..., Any], **more: Any) -> str:
    """What a run and check mode say alike, and that neither changes anything."""
    before, told = pins(), []
    for check in (True, False):
        with pytest.raises(ConflictError) as raised:
            act(check=check, **more)
        told.append(str(raised.value))
    assert pins() == before
    assert told[0] == told[1]
    return told[0]


@pytest.mark.parametrize("flags", EXCLUSIVE.values(), ids=list(EXCLUSIVE))
@pytest.mark.parametrize("where", [OURS, "above", "."])
def test_a_program_that_is_not_to_have_others_beside_it(
    ours: Group, theirs: Theirs, where: str, flags: int
) -> None:
    number = theirs.ids["bind4"]
    with theirs.attached(f"{MOUNT}/{where}", "bind4", flags=flags):
        said = conflict(lambda check: apply([PORTS], check=check))
        place = "the root cgroup" if where == "." else where
        assert said.startswith(
            f"{OURS}: policy_bind4 (cgroup/bind4) can't be attached: "
            f'program {number} "theirs_bind4" is attached to {place} on this hook'
        )
        assert "Let whoever attached it do so with BPF_F_ALLOW_MULTI" in said
        assert pins(f"{BPFFS}/cgnet") == []
        sockopts = {"cgroup": OURS, "sockopts": {"deny": []}}
        assert apply([sockopts])["changed"]  # which has no program there
        assert standing(f"{MOUNT}/{where}", kind_of("bind4")) == [number]
        apply([], purge=True)
    assert apply([PORTS])["changed"]


def test_what_may_be_overridden_would_run_no_longer(ours: Group, theirs: Theirs) -> None:
    """Which is why it is refused, though the kernel would let ours be attached."""
    with theirs.attached(f"{MOUNT}/above", "bind4", flags=OVERRIDE):
        number = theirs.ids["bind4"]
        assert standing(ours.directory, kind_of("bind4"), EFFECTIVE) == [number]
        with foreign.theirs(["bind4"]) as more, more.attached(ours.directory, "bind4"):
            there = standing(ours.directory, kind_of("bind4"), EFFECTIVE)
            assert there == [more.ids["bind4"]]


def test_only_the_nearest_above_decides(ours: Group, theirs: Theirs) -> None:
    """As the kernel sees it: one that allows others has cut off what stands above it."""
    with (
        foreign.theirs(["bind4"]) as more,
        more.attached(f"{MOUNT}/above", "bind4", flags=MULTI),
        theirs.attached(MOUNT, "bind4", flags=0),
    ):
        assert apply([PORTS])["changed"]
        assert not apply([PORTS])["changed"]
        apply([], purge=True)


def test_what_is_attached_already_is_left_in_peace(ours: Group, theirs: Theirs) -> None:
    """And only what comes anew is asked for: the steady state, an edit, what goes."""
    apply([PORTS])
    with theirs.attached(f"{MOUNT}/above", "bind4", flags=0):
        assert not apply([PORTS])["changed"]
        assert apply([{**PORTS, "bind_ports": {"tcp": []}}])["changed"]
        upgrade = shipped(version=SAME)
        said = conflict(lambda check: apply([PORTS], check=check, obj=upgrade))
        assert f'program {theirs.ids["bind4"]} "theirs_bind4" is attached to above' in said
        assert apply([{"cgroup": OURS, "state": "absent"}])["changed"]


def test_what_is_overridden_already_is_no_conflict(ours: Group, theirs: Theirs) -> None:
    apply([PORTS])
    with theirs.attached(f"{MOUNT}/above", "bind4", flags=OVERRIDE):
        assert apply([PORTS], obj=shipped(version=SAME))["changed"]


def test_lsm_hooks_are_told_apart(ours: Group, theirs: Theirs) -> None:
    """They are one attach type, and yet each forbids for itself."""
    priority = {"cgroup": OURS, "priority": 6}
    with theirs.attached(f"{MOUNT}/above", "listen", flags=0):
        assert apply([priority])["changed"]
        apply([], purge=True)
    with (
        theirs.attached(f"{MOUNT}/above", "listen"),
        theirs.attached(f"{MOUNT}/above", "lsm_set", flags=0),
    ):
        said = conflict(lambda check: apply([priority], check=check))
    assert "policy_lsm_setsockopt (lsm_cgroup/socket_setsockopt) can't be attached: " in said
    assert f'program {theirs.ids["lsm_set"]} "theirs_lsm_set" is attached to above' in said


def test_another_module_tells_it_too(ours: Group, theirs: Theirs) -> None:
    with theirs.attached(f"{MOUNT}/above", "listen", flags=0):
        listening = shipped("listening")
        said = conflict(lambda check: program("listening", [OURS], obj=listening, check=check))
        assert f'program {theirs.ids["listen"]} "theirs_listen" is attached to above' in said
    with theirs.attached(f"{MOUNT}/above", "lsm_set", flags=0):
        said = conflict(lambda check: raw_xmit(OURS, check=check))
        assert f'program {theirs.ids["lsm_set"]} "theirs_lsm_set" is attached to above' in said


def free_slots() -> int:
    slots = info()["kernel"]["lsm_cgroup_slots"]
    return int(slots["total"] - slots["used"])


def in_the_end(call: Callable[[], Any]) -> None:
    """A hook's slot gets free some time after its last program went: the kernel says EINVAL."""

    def done() -> bool:
        try:
            call()
        except (KernelError, OSError) as error:
            if error.errno != errno.EINVAL:
                raise
            return False
        return True

    assert eventually(done, True)


@contextlib.contextmanager
def taken(theirs: Theirs, directory: str, *names: str) -> Iterator[None]:
    """Programs of theirs attached for the block, once there are slots for them."""
    with contextlib.ExitStack() as stack:
        for name in names:
            in_the_end(lambda name=name: theirs.attach(directory, name))
            stack.callback(theirs.detach, directory, name)
        yield


ACTS: dict[str, tuple[str, Callable[[bool], Any]]] = {
    "cgnet_policy": (
        "policy_lsm_setsockopt (lsm_cgroup/socket_setsockopt)",
        lambda check: apply([{"cgroup": OURS, "sockopts": {"deny": []}}], check=check),
    ),
    "cgnet_raw_xmit": (
        "raw_xmit_bind (lsm_cgroup/socket_bind), raw_xmit_create (lsm_cgroup/socket_create), "
        "raw_xmit_recvmsg (lsm_cgroup/socket_recvmsg), "
        "raw_xmit_setsockopt (lsm_cgroup/socket_setsockopt)",
        lambda check: raw_xmit(OURS, check=check),
    ),
}


@pytest.mark.parametrize("act", ACTS)
def test_that_all_lsm_hooks_are_taken_is_told_with_by_whom(
    ours: Group, theirs: Theirs, act: str
) -> None:
    what, run = ACTS[act]
    assert eventually(free_slots, 10) == 10
    with taken(theirs, ours.directory, *ALL[:5]), taken(theirs, f"{MOUNT}/above", *ALL[5:]):
        said = conflict(run)
        assert said.startswith(f"{what} can't be attached: one kernel can have programs")
        for name in ALL:
            assert f"by {theirs.ids[name]} ({f'theirs_{name}'[:NAME]})" in said
        assert f"and this needs {what.count('(')} more" in said
        assert apply([PORTS])["changed"]  # which has no LSM hook
        apply([], purge=True)
    in_the_end(lambda: run(False))
    assert not run(True)["changed"]
    raw_xmit(OURS, state="absent")


def test_as_many_hooks_as_there_are_can_be_taken(ours: Group, theirs: Theirs) -> None:
    with contextlib.ExitStack() as stack:
        assert eventually(free_slots, 10) == 10
        stack.enter_context(taken(theirs, ours.directory, *ALL[:6]))
        in_the_end(lambda: raw_xmit(OURS))
        assert free_slots() == 0
        sockopts = {"cgroup": OURS, "sockopts": {"deny": []}}
        assert apply([sockopts])["changed"]  # on a hook that raw_xmit has taken
        raw_xmit(OURS, state="absent")
