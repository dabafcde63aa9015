# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel that has the BPF LSM and was booted without it: `make kernel-without-bpf-lsm`.

There an lsm_cgroup program loads, attaches and is never run, so that neither proves that
anything is enforced. What needs one is refused; the rest is enforced as ever.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _policies, _policy, _reconcile
from ansible_collections.linux.cgnet.plugins.module_utils._errors import UnsupportedError
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._policy import CONTROLS

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, info, program, shipped
from tests.kernel.seen import NAME, attached, everything
from tests.kernel.tasks import bind, outcome, priority, set_priority, set_tos

pytestmark = pytest.mark.usefixtures("alone")
Make = Callable[..., Group]

POLICY = shipped()
LSM_HOOKS = {name for name, section in POLICY.manifest["programs"] if "lsm_cgroup/" in section}
LACKS = (
    'the hook socket_post_create needs "bpf" in /sys/kernel/security/lsm, which reads '
    '"{0}": boot with "lsm={1},bpf" on the kernel\'s command line'
)
NEED_NO_LSM: dict[str, Any] = {
    "tos": ["af21"],
    "bind_ports": {"tcp": [443]},
    "ipv4": "hidden",
}
SOCKOPTS = {"deny": ["SOL_SOCKET/SO_MARK"]}


def active() -> str:
    return Path("/sys/kernel/security/lsm").read_text().strip()


def lacks(hook: str = "socket_post_create") -> str:
    """What a host without the BPF LSM is told of a hook."""
    boot = active().replace("capability,", "")
    return LACKS.format(active(), boot).replace("socket_post_create", hook)


def why() -> str:
    """What it is told of the priority."""
    hooks = _policies.hooks_of("priority", Kernel.open().facts())
    sections = dict(POLICY.manifest["programs"])
    return "; ".join(lacks(sections[hook].split("/")[1]) for hook in hooks if hook in LSM_HOOKS)


def born(family: int) -> int:
    with socket.socket(family) as sock:
        return priority(sock)


def graft() -> int:
    """The priority of a socket that is accepted from a listener of AF_UNIX."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("\0graft")
        listener.listen()
        client.connect(listener.getsockname())
        connection, _peer = listener.accept()
        with connection:
            return priority(connection)


def test_this_kernel_has_lsm_cgroup_and_not_the_bpf_lsm() -> None:
    facts = Kernel.open().facts()
    assert (facts.lsm_cgroup, "bpf" in active().split(",")) == (True, False)
    assert {"lockdown", "yama"} <= set(active().split(","))


def test_an_lsm_program_loads_and_attaches_and_is_never_run(group: Make) -> None:
    """By the verbs themselves, since cgnet_policy refuses: every hook of priority stands."""
    ours, kernel = group("ours"), Kernel.open()
    bpf_object = _reconcile.object_from(POLICY.manifest)
    assert bpf_object is not None
    cgroup = kernel.hierarchy.require("ours", "cgroup")
    data = Path(POLICY.path).read_bytes()
    kernel.load(bpf_object, bpf_object.version, bpf_object.programs, data)
    hooks = [each for each in bpf_object.programs if each.name in CONTROLS["priority"].hooks]
    for hook in hooks:
        kernel.attach("policy", bpf_object.version, cgroup, hook)
    value = _policy.encode(_policy.parse({"priority": 6}, ""), kernel.facts().netns_cookie, cgroup)
    kernel.store("policy", bpf_object.version, cgroup.id, value)
    kernel.hierarchy.close()
    assert {hook.name for hook in hooks} > LSM_HOOKS
    assert attached(ours.id) == sorted(hook.name[:NAME] for hook in hooks)
    assert ours.run(lambda: [born(socket.AF_INET), born(socket.AF_INET6)]) == [6, 6]
    families = (socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET)
    assert ours.run(lambda: [socket_of(family) for family in families]) == [0, 0, 0]
    assert ours.run(graft) == 0


def socket_of(family: int) -> int:
    with socket.socket(family, socket.SOCK_RAW if family != socket.AF_UNIX else 1) as sock:
        return priority(sock)


def test_priority_is_refused_before_anything_is_changed(group: Make) -> None:
    group("ours")
    group("other")
    before = everything()
    policies = [{"cgroup": "other", **NEED_NO_LSM}, {"cgroup": "ours", "priority": 6}]
    for check in (False, True):
        with pytest.raises(UnsupportedError) as refused:
            apply(policies, check=check)
        assert str(refused.value) == (
            f"ours: priority can't be enforced on this host: {why()}. "
            "Nothing was changed. "
            'To apply what is possible all the same: "on_unsupported: warn".'
        )
    assert everything() == before


def test_with_a_warning_the_rest_is_applied_and_what_lacks_is_told(group: Make) -> None:
    ours = group("ours")
    policies = [{"cgroup": "ours", "priority": 6, "bind_ports": {"tcp": [443]}}]
    result = apply(policies, on_unsupported="warn")
    assert result["controls"] == {"ours": {"priority": why(), "bind_ports": "enforced"}}
    assert result["warnings"] == [f"ours: priority is not enforced in full: {why()}"]
    wanted = {*CONTROLS["priority"].hooks, *CONTROLS["bind_ports"].hooks} - LSM_HOOKS
    assert attached(ours.id) == sorted(hook[:NAME] for hook in wanted)

    def look() -> list[Any]:
        ports = [bind(socket.AF_INET, socket.SOCK_STREAM, port) for port in (443, 80)]
        with socket.socket() as sock:
            return [*ports, priority(sock), outcome(set_priority, sock, 3), born(socket.AF_UNIX)]

    assert ours.run(look) == ["ok", "EPERM", 6, "EPERM", 0]
    again = apply(policies, on_unsupported="warn")
    assert (again["changed"], again["warnings"]) == (False, result["warnings"])


def test_what_needs_no_lsm_is_enforced(group: Make) -> None:
    ours = group("ours")
    result = apply([{"cgroup": "ours", **NEED_NO_LSM}])
    assert result["controls"] == {"ours": dict.fromkeys(NEED_NO_LSM, "enforced")}
    assert result["warnings"] == []

    def look() -> list[Any]:
        ports = [bind(socket.AF_INET6, socket.SOCK_STREAM, port) for port in (443, 80)]
        with socket.socket(socket.AF_INET6) as sock:
            return [
                *ports,
                outcome(set_tos, sock, 0xB8),
                outcome(socket.socket, socket.AF_INET),
            ]

    assert look() == ["ok"] * 4
    assert ours.run(look) == ["ok", "EPERM", "EPERM", "EAFNOSUPPORT"]
    assert not apply([{"cgroup": "ours", **NEED_NO_LSM}])["changed"]


def test_socket_options_are_enforced_but_for_32_bit_calls(group: Make) -> None:
    ours = group("ours")
    policies = [{"cgroup": "ours", "sockopts": SOCKOPTS}]
    with pytest.raises(UnsupportedError, match=r"sockopts can't be enforced .*socket_setsockopt"):
        apply(policies)
    result = apply(policies, on_unsupported="warn")
    assert result["controls"] == {"ours": {"sockopts": lacks("socket_setsockopt")}}

    def look() -> Any:
        with socket.socket(socket.AF_INET6) as sock:
            return outcome(sock.setsockopt, socket.SOL_SOCKET, tasks.SO_MARK, 1)

    assert (look(), ours.run(look)) == ("ok", "EPERM")


def test_what_this_kernel_can_not_enforce_is_not_even_loaded(group: Make) -> None:
    group("ours", tos=NEED_NO_LSM["tos"])
    (loaded,) = info()["objects"]["policy"].values()
    every = {name for name, _section in POLICY.manifest["programs"]}
    assert loaded["programs"] == sorted(every - LSM_HOOKS)


def test_a_program_of_ones_own_is_refused_too(group: Make) -> None:
    group("ours")
    with pytest.raises(UnsupportedError) as refused:
        program("listening", ["ours"], obj=shipped("listening"))
    told = str(refused.value)
    assert told.startswith("ours: program listening_refused can't be enforced on this host: ")
    assert lacks("socket_listen") in told
    assert everything() == {}


def test_the_bundled_object_can_be_held(group: Make) -> None:
    ours = group("ours")
    program("policy", ["ours"], obj=POLICY)
    assert attached(ours.id) == ["policy_holder"]


def test_info_says_what_lacks() -> None:
    found = info()["kernel"]
    assert (found["lsm"], found["lsm_cgroup"]) == (active().split(","), lacks())
