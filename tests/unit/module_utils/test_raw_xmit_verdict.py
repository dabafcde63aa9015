# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cgnet_info says of a cgroup that cgnet_raw_xmit holds, and what the diff shows of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _raw_xmit
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    Cgroup,
    Held,
    Loaded,
    Observed,
    Ring,
)

from tests.unit.fake_kernel import FakeKernel

A = Cgroup("a.slice", 7)
WHOLE = frozenset({"x", "y"})
SOME, REST, NONE = frozenset({"x"}), frozenset({"y"}), frozenset[str]()
RINGS = (Ring(17, "descriptor 5 receives there"), Ring(18, "it maps socket 9"))


def observed(versions: dict[str, Held], programs: frozenset[str] = WHOLE) -> Observed:
    """What is held for a.slice by version, beside one that only b.slice has."""
    loaded = {name: Loaded(programs, {A.id: held}) for name, held in versions.items()}
    loaded["other"] = Loaded(WHOLE, {8: Held(WHOLE)})
    return Observed(loaded, {A.id: A.path, 8: "b.slice"})


def asked(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> list[Cgroup]:
    """The cgroups whose rings a kernel is asked for from now on."""
    seen: list[Cgroup] = []
    rings = kernel.rings

    def look(cgroup: Cgroup) -> tuple[Ring, ...]:
        seen.append(cgroup)
        return rings(cgroup)

    monkeypatch.setattr(kernel, "rings", look)
    return seen


ENFORCED = {
    "one version": {"1": Held(WHOLE)},
    "two versions": {"1": Held(WHOLE), "2": Held(WHOLE)},
    "the newer one": {"1": Held(SOME), "2": Held(WHOLE)},
    "the older one": {"1": Held(WHOLE), "2": Held(SOME)},
    "beside broken links": {"1": Held(WHOLE), "2": Held(NONE, WHOLE)},
}


@pytest.mark.parametrize("versions", ENFORCED.values(), ids=ENFORCED)
def test_a_cgroup_is_held_where_all_programs_of_one_version_are_attached(
    host: FakeKernel, versions: dict[str, Held]
) -> None:
    assert _raw_xmit.verdict(observed(versions), A, host) == "enforced"


@pytest.mark.parametrize("versions", ENFORCED.values(), ids=ENFORCED)
def test_a_ring_is_told_of_a_cgroup_that_would_be_held_otherwise(
    host: FakeKernel, monkeypatch: pytest.MonkeyPatch, versions: dict[str, Held]
) -> None:
    host.held = {A.id: RINGS, 8: RINGS[1:]}
    seen = asked(host, monkeypatch)
    assert _raw_xmit.verdict(observed(versions), A, host) == (
        "process 17 may read what it receives from memory (descriptor 5 receives there)"
    )
    assert seen == [A]


def test_the_rings_of_another_cgroup_are_not_told(host: FakeKernel) -> None:
    host.held = {8: RINGS}
    assert _raw_xmit.verdict(observed({"1": Held(WHOLE)}), A, host) == "enforced"


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({"1": Held(SOME)}, "not attached: y"),
        ({"1": Held(SOME, REST)}, "not attached: y"),
        ({"1": Held(NONE, WHOLE)}, "not attached: x, y"),
        ({"1": Held(NONE, REST)}, "not attached: x, y"),
        ({"1": Held(), "2": Held(REST)}, "not attached: x"),
        # Two halves of two versions are not taken for a whole.
        ({"1": Held(SOME), "2": Held(REST)}, "not attached: y"),
    ],
    ids=["one", "broken", "all broken", "broken and missing", "older empty", "halves"],
)
def test_what_lacks_is_told_and_rings_are_not_looked_for(
    host: FakeKernel, monkeypatch: pytest.MonkeyPatch, versions: dict[str, Held], expected: str
) -> None:
    host.held = {A.id: RINGS}
    seen = asked(host, monkeypatch)
    assert _raw_xmit.verdict(observed(versions), A, host) == expected
    assert seen == []


@pytest.mark.parametrize(
    "versions",
    [{}, {"1": Held()}, {"1": Held(value=b"stored")}, {"1": Held(), "2": Held()}],
    ids=["no version", "nothing attached", "only a value", "two versions"],
)
def test_nothing_is_said_of_a_cgroup_that_nothing_is_pinned_for(
    host: FakeKernel, monkeypatch: pytest.MonkeyPatch, versions: dict[str, Held]
) -> None:
    host.held = {A.id: RINGS}
    seen = asked(host, monkeypatch)
    assert _raw_xmit.verdict(observed(versions), A, host) == ""
    assert seen == []


# A broken link whose program's pin is gone: the version does not list the program any more.


@pytest.mark.parametrize(
    ("held", "lost"),
    [(Held(SOME, REST), ["y"]), (Held(NONE, REST), ["x", "y"]), (Held(NONE, WHOLE), ["x", "y"])],
)
def test_a_broken_link_without_its_program_is_a_program_that_is_not_attached(
    host: FakeKernel, held: Held, lost: list[str]
) -> None:
    there = observed({"1": held}, programs=SOME)
    shown = {"state": "present", "detached": lost}
    assert _raw_xmit._shown(there, A.id, "1") == shown
    assert _raw_xmit._shown(there, A.id, "") == shown
    assert _raw_xmit.verdict(there, A, host) == f"not attached: {', '.join(lost)}"


def test_broken_links_alone_are_shown_where_no_program_is_pinned(host: FakeKernel) -> None:
    there = observed({"1": Held(NONE, WHOLE)}, programs=NONE)
    shown: dict[str, Any] = {"state": "present", "detached": ["x", "y"]}
    assert _raw_xmit._shown(there, A.id, "1") == shown
    assert _raw_xmit.verdict(there, A, host) == "not attached: x, y"


@pytest.mark.parametrize("held", [Held(), Held(value=b"stored")])
def test_nothing_is_shown_of_a_cgroup_that_nothing_is_pinned_for(held: Held) -> None:
    assert _raw_xmit._shown(observed({"1": held}), A.id, "1") is None
