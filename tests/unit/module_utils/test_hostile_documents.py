# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is written in a task: a plan that leaves nothing to do, or an error with the field."""

from __future__ import annotations

import copy
import itertools
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import (
    _kept,
    _kernel,
    _policies,
    _policy,
    _programs,
    _raw_xmit,
    _reconcile,
    _systemd,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, InputError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.conftest import built, handed
from tests.unit.fake_kernel import FakeKernel
from tests.unit.strategies import documents, garbage

POLICY, SENDER = handed(built("policy")), handed(built("raw_xmit"))
CGROUPS = ["a.slice", "a.slice/b", "c d"]
NO_LIBRARY = "libsystemd.so.0 can't be loaded, so a unit can't be looked up"
DEEP: list[Any] = []
for _level in range(100_000):
    DEEP = [DEEP]
HUGE = 10**10_000

paths = st.sampled_from([*CGROUPS, "./a.slice", "gone", "/", "..", "a.slice\\377", "a\ud800", ""])
addresses = st.fixed_dictionaries({"cgroup": paths}) | st.fixed_dictionaries(
    {},
    optional={
        "cgroup": paths | garbage,
        "unit": st.sampled_from(["web.service", "x\udcff.service", "\n.slice", "web"]) | garbage,
    },
)
settings_of_an_entry = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(["present", "absent", "abesnt"]) | garbage,
        "retrofit": st.booleans() | garbage,
    },
)


def merged(parts: tuple[Any, ...]) -> Any:
    """One entry of what makes one up; as it is where a part is no mapping."""
    odd = [part for part in parts if not isinstance(part, dict)]
    return odd[0] if odd else {key: value for part in parts for key, value in part.items()}


entries = st.tuples(documents, addresses, settings_of_an_entry).map(merged)
lists = st.lists(entries, max_size=2) | garbage
names = st.none() | st.sampled_from(["root", "0", "adm", "a\0b", "\ud800", "9" * 5000]) | garbage


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of cgroups, which no example changes."""
    top = tmp_path_factory.mktemp("cgroup")
    for path in CGROUPS:
        (top / path).mkdir()
    return top


def refusal(run: Callable[[], object]) -> InputError | HostError | None:
    """The error of a run that is refused."""
    try:
        run()
    except (InputError, HostError) as error:
        return error
    return None


Outcome = Callable[[Callable[..., _reconcile.Job], dict[str, Any], tuple[str, ...]], str]


@pytest.fixture
def outcome(mount: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """How a task ends: it is done and has nothing left to do, or it is refused by a field."""
    number = itertools.count()

    def no_library() -> None:
        raise HostError(NO_LIBRARY, 'Name the cgroup by its path ("cgroup")')

    monkeypatch.setattr(_systemd, "_load", no_library)
    monkeypatch.setattr(_kept, "RUNTIME", sys.executable)

    def ends(
        prepare: Callable[..., _reconcile.Job], params: dict[str, Any], fields: tuple[str, ...]
    ) -> str:
        ids = {os.stat(mount / path).st_ino: path for path in CGROUPS}
        host = FakeKernel(ids, size=_policy.SIZE, mount=str(mount))
        monkeypatch.setattr(_kernel.Kernel, "open", lambda reader=False: host)
        monkeypatch.setattr(_kept, "ROOT", str(tmp_path / str(next(number))))
        error = refusal(lambda: _reconcile.reconcile(prepare, params, True))
        if error is None:
            error = refusal(lambda: _reconcile.reconcile(prepare, params, False))
        else:
            assert host.calls == []
        if isinstance(error, HostError):
            assert str(error).startswith(NO_LIBRARY)
            return "unit"
        if error is not None:
            assert re.split(r"[.\[]", error.field)[0] in fields
            assert str(error).startswith(f"{error.field}: ")
            assert len(str(error).encode()) < 2000
            return "refused"
        state = host.state()
        assert not _reconcile.reconcile(prepare, params, False)["changed"]
        assert host.state() == state
        return "done"

    return ends


def many(number: int) -> Callable[[Any], Any]:
    """The same examples each time."""
    return settings(
        max_examples=number, derandomize=True, database=None, print_blob=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


seen: dict[str, Counter[str]] = {}


def task(written: Any, **more: Any) -> dict[str, Any]:
    options = {"purge": False, "on_unsupported": "fail", "readers": None, "permanent": False}
    return {"policies": written, **options, **more, **POLICY}


WHOLE: dict[str, Any] = {
    "cgroup": "a.slice",
    "priority": "1:10",
    "tos": ["af21", 0x20],
    "bind_ports": {"tcp": [80, "8000-8099"], "udp": [], "below": 16384, "unprivileged": True},
    "ipv4": "hidden",
    "sockopts": {"deny": ["SOL_SOCKET/SO_MARK", "6/42"]},
    "netns": "any",
    "mode": "enforce",
    "retrofit": True,
    "state": "present",
}
PLACES = [
    *((key,) for key in (*WHOLE, "unit", "permanent")),
    *(("tos", index) for index in range(2)),
    *(("bind_ports", key) for key in ("tcp", "udp", "below", "unprivileged", "sctp")),
    *(("bind_ports", "tcp", index) for index in range(2)),
    *(("sockopts", key) for key in ("allow", "deny")),
    *(("sockopts", "deny", index) for index in range(2)),
]  # fmt: skip
near = st.sampled_from(
    [0, 1, -1, 3, 4, 252, 255, 256, 65535, 65536, 2**31, 2**32 - 1, 2**32, 2**64, 10**400, 0.5,
     float("nan"), float("inf"), True, False, None, [], {}, "", " ", "0", "08", "0x20", " 7 ", "-1",
     "1:", "1:10", "80-90", "90-80", "1-2-3", "cs1", "CS1", "cs9", "hidden", "host", "any", "audit",
     "absent", "present", "6/42", "SOL_TCP/TCP_NODELAY", "SOL_TCP/SO_MARK", "/", "1/2/3",
     "c d", "a.slice/b", "\ud800", "\0", "\n", "\u0664\u0662", b"80", ["cs1"], [[80]], {"": None}]
)  # fmt: skip


@st.composite
def nearly(draw: st.DrawFn) -> dict[str, Any]:
    """An entry of every field, of which some are left out, and one or two are something else."""
    left_out = draw(st.integers(0, 2 ** len(WHOLE) - 1))
    kept = {key: value for n, (key, value) in enumerate(WHOLE.items()) if not left_out >> n & 1}
    entry: dict[str, Any] = copy.deepcopy({"cgroup": "a.slice", **kept})
    for place in draw(st.lists(st.sampled_from(PLACES), max_size=2)):
        holder: Any = entry
        for key in place[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        index = range(len(holder)) if isinstance(holder, list) else ()
        if isinstance(holder, dict) or place[-1] in index:
            holder[place[-1]] = draw(near)
    return entry


@many(8_000)
@given(st.lists(nearly(), min_size=1, max_size=2), st.booleans(), st.booleans())
def test_any_document_that_is_nearly_right(
    outcome: Outcome, written: Any, purge: bool, permanent: bool
) -> None:
    params = task(written, purge=purge, permanent=permanent)
    ended = outcome(_policies.prepare, params, ("policies",))
    seen.setdefault("nearly", Counter())[ended] += 1


@many(2_000)
@given(lists, names)
def test_any_document_of_policies(outcome: Outcome, written: Any, group: Any) -> None:
    params = task(written, readers=group)
    ended = outcome(_policies.prepare, params, ("policies", "readers"))
    seen.setdefault("policies", Counter())[ended] += 1


named = st.sampled_from([CGROUPS[:1], CGROUPS, []])
cgroups = named | st.none() | st.lists(paths | garbage, max_size=3) | garbage
object_names = (
    st.sampled_from(["policy", "mine"]) | st.sampled_from(["a b", "", "x" * 65]) | garbage
)


@many(500)
@given(object_names, cgroups, st.sampled_from(["present", "absent"]))
def test_any_arguments_of_programs(outcome: Outcome, name: Any, cgroups: Any, state: str) -> None:
    sent = {**POLICY, "_object": {**POLICY["_object"], "name": name}}
    params = {"name": name, "source": None, "cgroups": cgroups, "state": state, **sent}
    ended = outcome(_programs.prepare, params, ("name", "cgroups"))
    seen.setdefault("programs", Counter())[ended] += 1


unit_names = st.lists(st.sampled_from(["web.service", "web"]) | garbage, max_size=2) | garbage


@many(500)
@given(cgroups, st.none() | unit_names, st.sampled_from(["present", "absent"]))
def test_any_arguments_of_raw_xmit(outcome: Outcome, cgroup: Any, unit: Any, state: str) -> None:
    params = {"cgroup": cgroup, "unit": unit, "state": state, "permanent": True, **SENDER}
    ended = outcome(_raw_xmit.prepare, params, ("cgroup", "unit"))
    seen.setdefault("raw_xmit", Counter())[ended] += 1


# What hypothesis would not write.

EXTREMES = [
    DEEP,
    [DEEP],
    [{"cgroup": DEEP, "tos": []}],
    [{"unit": HUGE, "tos": []}],
    [{"cgroup": "a.slice/" * 3000, "tos": []}],
    [{"cgroup": "a.slice", "tos": DEEP}],
    [{"cgroup": "a.slice", "priority": HUGE}],
    [{"cgroup": "a.slice", "state": DEEP}],
    [{"cgroup": "a.slice", HUGE: 1}],
    [{"cgroup": "a.slice", "x" * 100_000: 1}],
    [{"cgroup": "a.slice", "\ud800": DEEP}],
    [{"cgroup": "a.slice", "bind_ports": {"tcp": [HUGE]}}],
    [{"cgroup": "a.slice", "sockopts": {"deny": ["6" * 9999 + "/1", "\ud800/1"]}}],
    [{"cgroup": "a.slice", "sockopts": {"deny": ["6/" + "x" * 99_999]}}],
]


@pytest.mark.parametrize("written", EXTREMES, ids=[str(n) for n in range(len(EXTREMES))])
def test_what_is_too_deep_or_too_large_is_refused(outcome: Outcome, written: Any) -> None:
    assert outcome(_policies.prepare, task(written), ("policies",)) == "refused"


@pytest.mark.parametrize("value", [DEEP, HUGE, "x" * 99_999], ids=["deep", "huge", "long"])
def test_the_other_modules_refuse_that_too(outcome: Outcome, value: Any) -> None:
    params = {"name": "policy", "source": None, "cgroups": [value], "state": "present", **POLICY}
    assert outcome(_programs.prepare, params, ("cgroups",)) == "refused"
    params = {**params, "name": value, "state": "absent"}
    assert outcome(_programs.prepare, params, ("name",)) == "refused"
    for more in ({"cgroup": [value], "unit": None}, {"cgroup": None, "unit": [value]}):
        params = {**more, "state": "present", "permanent": False, **SENDER}
        assert outcome(_raw_xmit.prepare, params, ("cgroup", "unit")) == "refused"


def test_the_examples_were_of_every_kind() -> None:
    """After the others: a mixture of which all are refused would hold nothing."""
    for counted in seen.values():
        assert min(counted["done"], counted["refused"]) >= 10, counted
