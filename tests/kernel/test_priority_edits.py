# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""priority: what an open socket sends while the policies above it come, change and go."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel

from tests.kernel.conftest import Group, apply
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import V4, V6, made_in, mark
from tests.kernel.tasks import release, set_priority, watching

Make = Callable[..., Group]
pytestmark = pytest.mark.usefixtures("outside")

A, B, C = "outside/a", "outside/a/b", "outside/a/b/c"
MINE, NONE = 3, None
"""What the open sockets have of their own, and no policy."""


@pytest.fixture
def levels(group: Make) -> list[Group]:
    return [group(path) for path in (A, B, C)]


def declare(*steps: tuple[str, int | None]) -> None:
    """The priority of each cgroup, or none."""
    apply([
        {"cgroup": path, "state": "absent"} if value is NONE
        else {"cgroup": path, "priority": value}
        for path, value in steps
    ])  # fmt: skip


def connected() -> list[socket.socket]:
    """A UDP socket, one of IPv6, and both ends of a TCP connection; each has a peer."""
    made = []
    for address in (V4, V6):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((address, 0))
        sock.connect(sock.getsockname())  # to itself
        made.append(sock)
    with socket.create_server((V6, 0), family=socket.AF_INET6) as listener:
        made.append(socket.create_connection(listener.getsockname()[:2]))
        made.append(listener.accept()[0])
    for sock in made:
        set_priority(sock, MINE)
    return made


@pytest.fixture
def held(levels: list[Group]) -> Iterator[list[socket.socket]]:
    """Sockets of the innermost cgroup from before any policy, that this task sends with."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(sock) for sock in made_in(levels[-1], connected)]


def sending(held: list[socket.socket]) -> None:
    for sock, peer in zip(held, [*held[:2], held[3], held[2]]):
        sock.send(b"x")
        assert peer.recv(1) == b"x"


def carried(held: list[socket.socket], left: Taken) -> set[int]:
    """What the next packets carry, but for an acknowledgement from before, which may come late."""
    left()
    sending(held)
    return set(priorities(left()))


COURSES: dict[str, list[tuple[tuple[str, int | None], int]]] = {
    # each step, and what the next packet carries
    "from above": [
        ((A, 5), 5), ((B, 7), 7), ((C, 9), 9), ((B, 8), 9), ((A, 4), 9), ((C, 6), 6),
        ((C, NONE), 8), ((B, NONE), 4), ((A, NONE), MINE),
    ],
    "from below": [
        ((C, 9), 9), ((B, 7), 9), ((A, 5), 9), ((A, NONE), 9), ((B, NONE), 9), ((C, NONE), MINE),
    ],
    "the middle": [
        ((A, 5), 5), ((B, 7), 7), ((B, NONE), 5), ((B, 8), 8), ((A, NONE), 8), ((A, 6), 8),
        ((B, NONE), 6), ((C, 0), 0), ((B, 7), 0), ((C, NONE), 7), ((A, NONE), 7),
        ((B, NONE), MINE),
    ],
}  # fmt: skip


@pytest.mark.parametrize("course", COURSES)
def test_the_next_packet_of_an_open_socket_follows(
    held: list[socket.socket], left: Taken, course: str
) -> None:
    for (path, value), expected in COURSES[course]:
        declare((path, value))
        assert carried(held, left) == {expected}, (path, value)


def test_a_mark_that_is_stale_is_not_believed(held: list[socket.socket], left: Taken) -> None:
    """Nothing is sent between the steps, so the sockets keep the mark of a policy that went."""
    declare((A, 5), (C, 9))
    sending(held)
    for steps, expected in (
        ([(C, NONE)], 5),
        ([(C, 9)], 9),
        ([(C, NONE), (B, 7), (B, NONE)], 5),
        ([(C, 9), (C, NONE), (A, NONE), (A, 6)], 6),
        ([(B, 8), (C, 9), (B, NONE), (C, NONE), (B, 7)], 7),
        ([(B, NONE), (A, NONE)], MINE),
    ):
        for step in steps:
            declare(step)
        assert carried(held, left) == {expected}, steps


def test_all_levels_change_at_once(held: list[socket.socket], left: Taken) -> None:
    for values, expected in (
        ((5, 7, 9), 9), ((5, 7, NONE), 7), ((NONE, NONE, 8), 8), ((6, NONE, NONE), 6),
        ((NONE, 0, NONE), 0), ((1, 2, 3), 3), ((NONE, NONE, NONE), MINE),
    ):  # fmt: skip
        declare(*zip((A, B, C), values))
        assert carried(held, left) == {expected}, values


VERBS = ("load", "hold", "store", "nest", "govern", "attach", "detach", "unload")


@contextlib.contextmanager
def after_each_verb(look: Callable[[], None]) -> Iterator[None]:
    """`look` after each single change that a run makes in the kernel."""

    def looking(verb: Callable[..., None]) -> Callable[..., None]:
        def done(*args: Any, **named: Any) -> None:
            verb(*args, **named)
            look()

        return done

    with pytest.MonkeyPatch.context() as patch:
        for name in VERBS:
            patch.setattr(Kernel, name, looking(getattr(Kernel, name)))
        yield


def moments(held: list[socket.socket], left: Taken, *steps: tuple[str, int | None]) -> list[int]:
    """The priorities that packets carry in turn between the changes of a run."""
    left()
    with after_each_verb(lambda: sending(held)):
        declare(*steps)
    return [value for value, _same in itertools.groupby(priorities(left()))]


@pytest.mark.parametrize(
    ("before", "step", "expected"),
    [
        ([(A, 5)], (C, 9), [5, 9]),
        ([(C, 9)], (A, 5), [9]),
        ([(A, 5), (C, 9)], (B, 7), [9]),
        ([(A, 5), (C, 9)], (C, 8), [9, 8]),
        ([(A, 5), (C, 9)], (A, NONE), [9]),
        ([(A, 5), (C, 9)], (C, NONE), [9, 5]),
        ([(A, 5), (B, 7)], (B, NONE), [7, 5]),
    ],
    ids=str,
)
def test_every_moment_of_a_run_has_a_declared_one(
    held: list[socket.socket], left: Taken, before: Any, step: Any, expected: list[int]
) -> None:
    declare(*before)
    sending(held)
    found = moments(held, left, step)
    assert (found[-1], set(found) - set(expected)) == (expected[-1], set())


def test_every_moment_of_a_run_that_finds_stale_marks_has_a_declared_one(
    held: list[socket.socket], left: Taken
) -> None:
    declare((A, 5), (C, 9))
    sending(held)
    declare((C, NONE))  # nothing is sent here
    assert set(moments(held, left, (C, 8))) - {5, 8} == set()


EDITS = [
    (B, NONE), (A, 4), (B, 8), (B, 7), (A, 5), (B, NONE), (A, 6), (B, 7), (A, NONE), (A, 5),
]  # fmt: skip
BULK = 0x08
"""A TOS that the kernel makes the priority 2 of."""


@pytest.mark.parametrize("tos", [0, BULK])
def test_a_task_sees_only_declared_ones_while_everything_is_edited(
    levels: list[Group], left: Taken, tos: int
) -> None:
    """By a socket that is open throughout and by fresh ones."""
    b = levels[1]
    declare((A, 5), (B, 7))
    control = [mark(socket.AF_INET, tos).carried()] if tos else []
    (sock,) = made_in(b, lambda: [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)])

    def look() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as fresh:
            for each in (sock, fresh):
                each.sendmsg([b"x"], control, 0, (V4, 9))

    seen: set[int] = set()
    with sock, watching(b.procs, look) as watch:
        for edit in EDITS * (3 if release() >= (7, 0) else 1):
            declare(edit)
            watch.look()
            seen |= set(priorities(left()))
    assert seen == {4, 5, 6, 7, 8}
