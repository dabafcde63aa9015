# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kernel can enforce, and the words for what it lacks."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _support
from ansible_collections.linux.cgnet.plugins.module_utils._model import Facts, Program
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fake_kernel import HOST

BIND = Program("policy_bind4", "cgroup/bind4")
LSM = Program("policy_post_create", "lsm_cgroup/socket_post_create")
OLD = HOST._replace(release="5.10.0-9-amd64", lsm_cgroup=False)
OFF = HOST._replace(lsm=("lockdown", "capability", "yama"))
UNKNOWN = HOST._replace(lsm=None)


@pytest.mark.parametrize(
    ("facts", "lacks"),
    [
        (HOST, ""),
        (
            OLD,
            "the hook socket_post_create needs lsm_cgroup: Linux >= 6.0 with CONFIG_BPF_LSM and "
            "CONFIG_DEBUG_INFO_BTF; this host runs 5.10.0-9-amd64",
        ),
        (
            UNKNOWN,
            "the hook socket_post_create needs the BPF LSM, and whether it is on can't be told: "
            "mount -t securityfs securityfs /sys/kernel/security",
        ),
        (
            OFF,
            'the hook socket_post_create needs "bpf" in /sys/kernel/security/lsm, which reads '
            '"lockdown,capability,yama": boot with "lsm=lockdown,yama,bpf" on the kernel\'s '
            "command line",
        ),
    ],
    ids=["nothing", "an old kernel", "no securityfs", "no bpf among the LSMs"],
)
def test_what_a_program_on_an_lsm_hook_lacks(facts: Facts, lacks: str) -> None:
    assert _support.missing(LSM, facts) == lacks


def test_an_old_kernel_is_told_before_its_boot_line() -> None:
    both = OLD._replace(lsm=OFF.lsm)
    assert _support.missing(LSM, both) == _support.missing(LSM, OLD)


def test_a_module_whose_name_only_holds_bpf_is_not_it() -> None:
    assert _support.missing(LSM, HOST._replace(lsm=("capability", "bpfilter")))


@pytest.mark.parametrize("facts", [HOST, OLD, OFF, UNKNOWN])
@pytest.mark.parametrize(
    "section", ["cgroup/bind4", "cgroup/sock_create", "cgroup_skb/egress", "sockops"]
)
def test_a_program_on_a_hook_of_the_cgroups_own_lacks_nothing(section: str, facts: Facts) -> None:
    assert _support.missing(Program("mine", section), facts) == ""


@pytest.mark.parametrize(
    ("facts", "expected"), [(HOST, (BIND, LSM, BIND)), (OLD, (BIND, BIND)), (OFF, (BIND, BIND))]
)
def test_only_what_lacks_nothing_is_loaded_in_the_objects_order(
    facts: Facts, expected: tuple[Program, ...]
) -> None:
    assert _support.loadable((BIND, LSM, BIND), facts) == expected


@given(st.builds(Facts, st.text(), st.none() | st.lists(st.text()).map(tuple), st.booleans(),
                 st.booleans(), st.integers()))  # fmt: skip
def test_an_lsm_hook_lacks_nothing_only_where_it_is_known_and_on(facts: Facts) -> None:
    enforced = facts.lsm_cgroup and facts.lsm is not None and "bpf" in facts.lsm
    assert (_support.missing(LSM, facts) == "") == enforced


def test_every_hook_of_the_policy_object_is_decided(manifest: dict[str, Any]) -> None:
    lacking = {
        section
        for name, section in manifest["programs"]
        if _support.missing(Program(name, section), OFF)
    }
    hooks = ("socket_post_create", "sock_graft", "socket_setsockopt", "socket_sendmsg")
    assert lacking == {f"lsm_cgroup/{hook}" for hook in hooks}
