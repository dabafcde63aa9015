# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_info tells what this kernel can do and what of ours is in it, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _info, _libbpf, _policy
from ansible_collections.linux.cgnet.plugins.module_utils._abi import Counts, Event
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    Cgroup,
    Facts,
    Observed,
    Ring,
)

from tests.shown import IN_HOST
from tests.unit.conftest import entry
from tests.unit.fake_kernel import HOST, FakeCgroup, FakeKernel, FakeVersion

Run = Callable[..., dict[str, Any]]
NOTHING = Observed({}, {})


def test_a_host_without_anything_of_ours(host: FakeKernel) -> None:
    assert _info.gather({}) == {
        "changed": False,
        "kernel": {
            "release": "6.1.0-fake",
            "lsm": ["lockdown", "capability", "bpf"],
            "lsm_cgroup": "supported",
            "lsm_cgroup_slots": {"total": 10, "used": 0, "hooks": []},
            "libbpf": _libbpf.library().call("libbpf_version_string").decode(),
            "cgroup_mount": host.hierarchy.mount,
            "pins": "/sys/fs/bpf/cgnet",
        },
        "objects": {},
        "altered": [],
        "policies": {},
        "counters": {},
        "raw_xmit": {},
        "permanent": {"policies": {}, "raw_xmit": []},
    }


@pytest.mark.parametrize(
    ("facts", "lsm", "words"),
    [
        (HOST._replace(lsm=("capability",)), ["capability"], 'needs "bpf" in'),
        (HOST._replace(lsm=None), [], "mount -t securityfs"),
        (HOST._replace(lsm_cgroup=False), list(HOST.lsm or ()), "this host runs 6.1.0-fake"),
    ],
)
def test_what_lacks_for_lsm_hooks_is_told_with_the_remedy(
    host: FakeKernel, facts: Facts, lsm: list[str], words: str
) -> None:
    host._facts = facts
    told = _info.gather({})["kernel"]
    assert told["lsm"] == lsm
    assert words in told["lsm_cgroup"]


def test_policies_are_told_as_a_user_writes_them_with_their_version(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", tos=["cs1"], priority=0x10010), entry("b.slice", ipv4="hidden"))
    version = manifest["version"]
    assert _info.gather({})["policies"] == {
        "a.slice": {"version": version, "priority": "1:10", "tos": ["cs1"], **IN_HOST},
        "b.slice": {"version": version, "ipv4": "hidden", **IN_HOST},
    }


def test_a_policy_that_went_is_not_told(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", tos=[]), entry("b.slice", tos=[]))
    run(entry("a.slice", state="absent"))
    told = _info.gather({})
    assert list(told["policies"]) == ["b.slice"]
    assert list(told["objects"]["policy"][manifest["version"]]["cgroups"]) == ["b.slice"]


def test_objects_are_told_by_version_and_cgroup(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", tos=[]))
    host.objects["policy"][manifest["version"]].cgroups[a.id].links["policy_bind4"] = False
    assert _info.gather({})["objects"] == {
        "policy": {
            manifest["version"]: {
                "programs": sorted(name for name, _section in manifest["programs"]),
                "cgroups": {
                    "a.slice": {
                        "attached": sorted({*_policy.CONTROLS["tos"].hooks} - {"policy_bind4"}),
                        "broken": ["policy_bind4"],
                    }
                },
            }
        }
    }


def test_objects_of_ones_own_and_two_versions_are_told(host: FakeKernel, a: Cgroup) -> None:
    held = {a.id: FakeCgroup({"count": True})}
    host.objects["mine"] = {"1": FakeVersion({"count"}), "2": FakeVersion({"count"}, 0, held)}
    on_a = {"a.slice": {"attached": ["count"], "broken": []}}
    assert _info.gather({})["objects"] == {
        "mine": {
            "1": {"programs": ["count"], "cgroups": {}},
            "2": {"programs": ["count"], "cgroups": on_a},
        }
    }
    assert _info.gather({})["policies"] == {}


def test_the_lsm_hooks_that_are_taken_are_told(host: FakeKernel) -> None:
    host.hooks = ("sock_graft", "socket_bind")
    expected = {"total": 10, "used": 2, "hooks": ["sock_graft", "socket_bind"]}
    assert _info.gather({})["kernel"]["lsm_cgroup_slots"] == expected


def test_cgroups_that_raw_xmit_holds_are_told_with_what_is_not_attached(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, sender: dict[str, Any]
) -> None:
    hold("a.slice", "b.slice")
    assert _info.gather({})["raw_xmit"] == {"a.slice": "enforced", "b.slice": "enforced"}
    links = host.objects["raw_xmit"][sender["version"]].cgroups[b.id].links
    links["raw_xmit_bind"] = False
    del links["raw_xmit_recvmsg"]
    assert _info.gather({})["raw_xmit"] == {
        "a.slice": "enforced", "b.slice": "not attached: raw_xmit_bind, raw_xmit_recvmsg",
    }  # fmt: skip
    older = host.state()["raw_xmit"][sender["version"]]
    older.cgroups[b.id].links = dict.fromkeys(older.programs, True)
    host.objects["raw_xmit"]["older"] = older
    assert _info.gather({})["raw_xmit"] == {"a.slice": "enforced", "b.slice": "enforced"}


def test_cgroups_that_raw_xmit_let_go_or_that_died_are_not_told(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run, hold: Run
) -> None:
    other = host.make("c.slice")
    run(entry("a.slice", tos=[]))
    hold("a.slice", "b.slice", "c.slice")
    hold("a.slice", state="absent")
    host.kill(other)
    told = _info.gather({})
    assert (told["raw_xmit"], list(told["policies"])) == ({"b.slice": "enforced"}, ["a.slice"])


def test_a_cgroup_whose_tasks_cannot_be_looked_at_is_told_beside_the_rest(
    host: FakeKernel, a: Cgroup, hold: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(cgroup: Cgroup) -> tuple[Ring, ...]:
        raise HostError(f"{cgroup.path} hides a process", "Look from elsewhere")

    hold("a.slice")
    monkeypatch.setattr(host, "rings", look)
    told = _info.gather({})
    assert told["raw_xmit"] == {"a.slice": "a.slice hides a process. Look from elsewhere."}
    assert list(told["objects"]) == ["raw_xmit"]


def test_a_ring_of_a_cgroup_that_raw_xmit_holds_is_told_in_place_of_the_verdict(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run
) -> None:
    hold("a.slice", "b.slice")
    host.held = {b.id: (Ring(17, "descriptor 5 receives there"),)}
    assert _info.gather({})["raw_xmit"] == {
        "a.slice": "enforced",
        "b.slice": "process 17 may read what it receives from memory (descriptor 5 receives there)",
    }


def test_a_cgroup_that_raw_xmit_left_nothing_attached_on_is_not_told(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, sender: dict[str, Any]
) -> None:
    """The kernel knows it still: something is stored for it."""
    hold("a.slice", "b.slice")
    held = host.objects["raw_xmit"][sender["version"]].cgroups
    held[a.id] = FakeCgroup(value=b"stored")
    assert a.id in host.observe("raw_xmit").alive
    assert _info.gather({})["raw_xmit"] == {"b.slice": "enforced"}


def test_a_cgroup_that_is_another_one_by_now_is_not_told(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was removed after what is there was read, and made anew or not."""
    hold("a.slice", "b.slice")
    there = host.observe("raw_xmit")
    monkeypatch.setattr(host, "observe", lambda name: there if name == "raw_xmit" else NOTHING)
    host.kill(a)
    assert _info.gather({})["raw_xmit"] == {"b.slice": "enforced"}
    host.make("a.slice")
    assert _info.gather({})["raw_xmit"] == {"b.slice": "enforced"}


def counts(**numbers: tuple[int, int]) -> bytes:
    """One CPU's counts: of each control what was refused, and what would have been."""
    raw = Counts()
    for name, (refused, audited) in numbers.items():
        raw.refused[_policy.CONTROLS[name].number] = refused
        raw.audited[_policy.CONTROLS[name].number] = audited
    return bytes(raw)


def test_the_counts_of_all_cpus_are_told_of_what_is_declared_or_was_counted(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[], ipv4="hidden"), entry("b.slice", tos=[]))
    host.counted = {a.id: [counts(tos=(1, 2), sockopts=(0, 7)), counts(tos=(10, 20))]}
    zero = {"refused": 0, "audited": 0}
    assert _info.gather({})["counters"] == {
        "a.slice": {
            "tos": {"refused": 11, "audited": 22}, "ipv4": zero,
            "sockopts": {"refused": 0, "audited": 7},
        },
        "b.slice": {"tos": zero},
    }  # fmt: skip


def test_events_are_taken_once_by_who_asks_and_holds_the_lock(
    host: FakeKernel, a: Cgroup, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(entry("a.slice", tos=[]))
    host.told = [bytes(Event(cgroup=a.id, control=1, call=5, value=0xB8))]
    assert "events" not in _info.gather({})
    assert _info.gather({"events": True}, check=True)["events"] == []
    take, seen = host.take_events, []

    def look(name: str) -> list[bytes]:
        seen.append(host.locked)
        return take(name)

    monkeypatch.setattr(host, "take_events", look)
    (told,) = _info.gather({"events": True})["events"]
    assert (told["cgroup"], told["tos"], seen) == ("a.slice", "0xb8", ["one"])
    assert _info.gather({"events": True})["events"] == []


def test_events_stay_where_something_else_cannot_be_told(
    host: FakeKernel, a: Cgroup, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(entry("a.slice", tos=[]))
    host.told = [bytes(Event(cgroup=a.id))]

    def fail() -> Any:
        raise HostError("it has no slots", "Look")

    monkeypatch.setattr(host, "slots", fail)
    with pytest.raises(HostError):
        _info.gather({"events": True})
    assert len(host.told) == 1


def test_what_a_dead_cgroup_left_is_told_by_its_id(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", sockopts={"deny": []}))
    host.kill(a)
    told = _info.gather({})
    assert list(told["objects"]["policy"][manifest["version"]]["cgroups"]) == [f"id {a.id} (gone)"]
    assert told["policies"] == {}


def test_nothing_is_changed_and_no_run_changes_what_is_read(
    host: FakeKernel, a: Cgroup, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(entry("a.slice", tos=[]))
    before, calls, seen = host.state(), list(host.calls), []
    observe = host.observe

    def look(name: str) -> Any:
        seen.append(host.locked)
        return observe(name)

    monkeypatch.setattr(host, "observe", look)
    _info.gather({})
    assert (host.state(), host.calls) == (before, calls)
    assert set(seen) == {"none"}
    assert host.locked == "all"


def test_what_is_kept_is_told_though_it_is_not_applied(host: FakeKernel, kept: Path) -> None:
    files = {
        "policies.d/2.json": {"unit": "web.service", "tos": ["ef"]},
        "policies.d/1.json": {"cgroup": "a", "priority": 3},
        "raw_xmit.d/1.json": {"unit": "prober.service"},
    }
    for name, data in files.items():
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / name).write_text(json.dumps(data))
    assert _info.gather({})["permanent"] == {
        "policies": {"a": {"priority": 3}, "web.service": {"tos": ["ef"]}},
        "raw_xmit": ["prober.service"],
    }


def test_a_file_that_cannot_be_trusted_is_told(host: FakeKernel, kept: Path) -> None:
    (kept / "policies.d").mkdir(parents=True)
    (kept / "policies.d").chmod(0o777)
    with pytest.raises(HostError, match="can be written by others than root"):
        _info.gather({})
