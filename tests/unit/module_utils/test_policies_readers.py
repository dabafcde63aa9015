# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_policy's readers: what is planned and told, and what a reader is told by cgnet_info."""

from __future__ import annotations

import grp
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _info
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, InputError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.shown import IN_HOST
from tests.unit.conftest import entry
from tests.unit.fake_kernel import FakeKernel

Run = Callable[..., dict[str, Any]]
ADM, TTY = grp.getgrnam("adm").gr_gid, grp.getgrnam("tty").gr_gid


def readers(host: FakeKernel) -> list[int | None]:
    return [loaded.readers for loaded in host.observe("policy").versions.values()]


@pytest.mark.parametrize("group", ["adm", str(ADM)])
def test_a_group_is_told_by_its_name_in_the_diff_of_a_first_policy(
    host: FakeKernel, a: Cgroup, run: Run, group: str
) -> None:
    checked = run(entry("a.slice", tos=[]), readers=group, check=True)
    assert host.objects == {}
    result = run(entry("a.slice", tos=[]), readers=group)
    assert result == checked
    policy = {"a.slice": {"tos": [], **IN_HOST}}
    assert result["diff"] == {"before": {}, "after": {"readers": "adm", **policy}}
    assert readers(host) == [ADM]
    assert not run(entry("a.slice", tos=[]), readers=group)["changed"]


def test_a_change_of_the_group_is_the_whole_of_the_diff(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[]))
    for old, new, gid in (("root", "adm", ADM), ("adm", "tty", TTY), ("tty", "root", 0)):
        result = run(entry("a.slice", tos=[]), readers=new)
        assert result["diff"] == {"before": {"readers": old}, "after": {"readers": new}}
        assert readers(host) == [gid]
        assert run(readers=new)["changed"] is False


def test_without_the_option_who_may_read_stays_and_is_not_told(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", tos=[]), readers="adm")
    newer = {"_object": {**{k: v for k, v in manifest.items() if k != "layout"}, "version": "new"}}
    result = run(entry("a.slice", tos=[]), **newer)
    assert {"action": "share", "version": "new", "gid": ADM} in result["actions"]
    assert [key for half in result["diff"].values() for key in half if key == "readers"] == []
    assert (list(host.objects["policy"]), readers(host)) == (["new"], [ADM])


def test_what_was_altered_is_told_so_when_it_is_mended(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[]), readers="adm")
    for named, then in (({"readers": "adm"}, "adm"), ({}, "root")):
        host.readers["policy"] = TTY
        result = run(entry("a.slice", tos=[]), **named)
        assert result["diff"] == {"before": {"readers": "altered"}, "after": {"readers": then}}
        assert not run(entry("a.slice", tos=[]))["changed"]


def test_what_of_a_pin_was_altered_is_warned_of_and_told(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[]))
    host.altered = ("prog has mode 0777",)
    for check in (True, False):
        assert run(entry("a.slice", tos=[]), check=check)["warnings"] == ["prog has mode 0777"]
    assert _info.gather({})["altered"] == ["prog has mode 0777"]


@pytest.mark.parametrize("value", ["no-such-group", "4294967295", "99999999999", "-1", "a\0b"])
def test_a_group_that_there_is_not_is_refused(
    host: FakeKernel, a: Cgroup, run: Run, value: str
) -> None:
    with pytest.raises(InputError, match=r"^readers: .* this host has no such group\. Make the"):
        run(entry("a.slice", tos=[]), readers=value)
    assert host.calls == []


@pytest.mark.parametrize("value", ["", 4, False, ["adm"]])
def test_what_is_no_groups_name_is_refused(
    host: FakeKernel, a: Cgroup, run: Run, value: object
) -> None:
    with pytest.raises(InputError, match=r"^readers: .* the name or the number of a group"):
        run(entry("a.slice", tos=[]), readers=value)
    assert host.calls == []


def test_a_directory_that_no_group_can_go_through_is_refused_before_anything_is_changed(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    host.closed = "/sys/fs/bpf"
    for check in (True, False):
        with pytest.raises(HostError, match="/sys/fs/bpf"):
            run(entry("a.slice", tos=[]), readers="adm", check=check)
    assert host.calls == []
    run(entry("a.slice", tos=[]), readers="root")
    run(entry("a.slice", tos=[1 << 2]))
    assert readers(host) == [0]


def test_a_reader_is_told_what_is_declared_and_what_decides_of_it(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[]), readers="adm")
    whole = _info.gather({})
    host.reader = True
    told = _info.gather({})
    for key in ("objects", "altered", "raw_xmit", "permanent"):
        del whole[key]
    del whole["kernel"]["lsm_cgroup_slots"]
    assert told == whole
    assert list(told["policies"]) == ["a.slice"]
