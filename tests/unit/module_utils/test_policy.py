# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy between its three forms loses nothing, and its bytes mean what bpf/ reads."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _abi, _policy
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BindPorts,
    Cgroup,
    Policy,
    Sockopts,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit import stored, strategies
from tests.unit.stored import TCP, UDP, Stored
from tests.unit.strategies import CGROUP, HOST_COOKIE, expanded, policies

BESIDE = {"netns", "mode"}
# As many blocks as fit, each different: block 0 is the empty one.
FULL_TCP = tuple((n * 256 + n % 256, n * 256 + n % 256) for n in range(1, 78))
EDGES = [
    Policy(tos=()),
    Policy(tos=tuple(range(64))),
    Policy(priority=0),
    Policy(priority=2**32 - 1, netns="any"),
    Policy(ipv4="hidden"),
    Policy(ipv4="hidden", mode="audit"),
    Policy(bind_ports=BindPorts(tcp=(), udp=None, below=2, unprivileged=False)),
    Policy(bind_ports=BindPorts(tcp=None, udp=(), below=65536, unprivileged=True)),
    Policy(bind_ports=BindPorts(tcp=((1, 65535),), udp=((65535, 65535),), below=65536,
                                unprivileged=False)),
    Policy(bind_ports=BindPorts(tcp=FULL_TCP, udp=(), below=65536, unprivileged=False)),
    Policy(sockopts=Sockopts(allow=True, options=())),
    Policy(sockopts=Sockopts(allow=False, options=())),
    Policy(sockopts=Sockopts(allow=False, options=((0, 0),))),
    Policy(sockopts=Sockopts(allow=True, options=tuple((1, n) for n in range(128)))),
    Policy(sockopts=Sockopts(allow=True, options=((2**31 - 1, 2**31 - 1),))),
]  # fmt: skip


def encode(policy: Policy) -> bytes:
    return _policy.encode(policy, HOST_COOKIE, CGROUP)


def read(policy: Policy) -> Stored:
    return Stored(encode(policy), _abi.LAYOUT)


@pytest.mark.parametrize("policy", EDGES, ids=repr)
def test_edges_come_back_from_bytes_and_from_data(policy: Policy) -> None:
    assert _policy.decode(encode(policy), HOST_COOKIE) == policy
    assert _policy.parse(_policy.show(policy), "policies[0]") == policy


@given(policies())
def test_bytes_give_the_policy_back(policy: Policy) -> None:
    assert _policy.decode(encode(policy), HOST_COOKIE) == policy


@given(policies())
def test_what_is_shown_gives_the_policy_back(policy: Policy) -> None:
    assert _policy.parse(_policy.show(policy), "policies[0]") == policy


@given(policies())
def test_what_is_shown_is_canonical(policy: Policy) -> None:
    shown = _policy.show(policy)
    assert _policy.show(_policy.parse(shown, "policies[0]")) == shown


@given(policies())
def test_every_policy_has_the_size_of_the_struct_and_is_not_zero(policy: Policy) -> None:
    value = encode(policy)
    assert len(value) == _abi.LAYOUT["size"] == _policy.SIZE
    assert any(value)


@given(policies(), policies())
def test_different_policies_have_different_bytes(one: Policy, other: Policy) -> None:
    assert (encode(one) == encode(other)) == (one == other)


def test_zeroed_storage_is_no_policy() -> None:
    assert _policy.decode(_policy.EMPTY, HOST_COOKIE) is None
    assert bytes(_abi.LAYOUT["size"]) == _policy.EMPTY


def test_a_policy_for_another_network_namespace_shows_its_cookie() -> None:
    value = _policy.encode(Policy(priority=1), 77, CGROUP)
    assert _policy.decode(value, HOST_COOKIE) == Policy(priority=1, netns=77)


@given(policies())
def test_controls_are_those_that_are_set(policy: Policy) -> None:
    names = [name for name in Policy._fields if name not in BESIDE]
    assert set(_policy.controls(policy)) == {n for n in names if getattr(policy, n) is not None}


def test_every_field_but_two_is_a_control_with_its_own_number() -> None:
    names = set(Policy._fields) - BESIDE
    assert set(_policy.CONTROLS) == names
    assert {name: int(spec.number) for name, spec in _policy.CONTROLS.items()} == stored.CONTROLS


# What bpf/ reads in the bytes.


@given(policies())
def test_exactly_the_declared_controls_govern(policy: Policy) -> None:
    raw = read(policy)
    governing = {name for name in stored.CONTROLS if raw.governs(name)}
    assert governing == set(_policy.controls(policy))


@given(policies(), st.integers(1, 2**64 - 1))
def test_a_network_namespace_is_governed_as_declared(policy: Policy, cookie: int) -> None:
    raw = read(policy)
    assert raw.governs_netns(HOST_COOKIE)
    assert raw.governs_netns(cookie) == (policy.netns == "any" or cookie == HOST_COOKIE)


@pytest.mark.parametrize(
    ("path", "level"),
    [("a.slice", 1), ("a.slice/b.service", 2), ("a.slice/a-b.slice/c.service/d", 4)],
)
def test_the_kernel_reads_how_deep_the_cgroup_is(path: str, level: int) -> None:
    """1 is a child of the root: a greater number is nearer to a socket."""
    value = _policy.encode(Policy(priority=1), HOST_COOKIE, Cgroup(path, 9))
    assert Stored(value, _abi.LAYOUT).u32("level") == level


@given(policies(), st.integers(1, 2**64 - 1))
def test_the_kernel_reads_for_which_cgroup_a_policy_is_stored(policy: Policy, number: int) -> None:
    value = _policy.encode(policy, HOST_COOKIE, Cgroup("a.slice", number))
    assert Stored(value, _abi.LAYOUT).u64("cgroup") == number


@given(policies(), st.integers(1, 2**64 - 1), st.integers(0, 9))
def test_a_policy_is_the_same_whichever_cgroup_it_is_stored_for(
    policy: Policy, number: int, depth: int
) -> None:
    value = _policy.encode(policy, HOST_COOKIE, Cgroup("a/" * depth + "b", number))
    assert _policy.decode(value, HOST_COOKIE) == policy


def test_what_names_a_cgroup_and_governs_nothing_is_no_policy() -> None:
    assert _policy.decode(bytes(_abi.Policy(cgroup=7, level=2)), HOST_COOKIE) is None


@given(strategies.priorities)
def test_the_kernel_reads_the_declared_priority(priority: int) -> None:
    assert read(Policy(priority=priority)).u32("priority") == priority


@given(strategies.dscps)
def test_the_kernel_takes_a_tos_that_is_listed_and_zero(tos: tuple[int, ...]) -> None:
    raw = read(Policy(tos=tos))
    taken = {byte for byte in range(256) if raw.tos_listed(byte)}
    assert taken == {byte for byte in range(256) if byte >> 2 in {0, *tos}}


def expected_bind(ranges: Any, below: int, port: int, unprivileged: bool) -> str:
    if ranges is None or port == 0 or port >= below:
        return "allow"
    if not any(low <= port <= high for low, high in ranges):
        return "refuse"
    return "privileged" if unprivileged else "allow"


@settings(max_examples=30)
@given(strategies.bind_ports())
@example(BindPorts(tcp=FULL_TCP[:75], udp=((1, 65535),), below=65536, unprivileged=True))
def test_the_kernel_gives_every_port_the_declared_verdict(ports: BindPorts) -> None:
    raw = read(Policy(bind_ports=ports))
    for protocol, ranges in ((TCP, ports.tcp), (UDP, ports.udp)):
        edges = {0, 1, 255, 256, 65535, ports.below - 1, min(ports.below, 65535)}
        edges |= {near for low, high in ranges or () for near in (low - 1, low, high)}
        edges |= {min(high + 1, 65535) for _low, high in ranges or ()}
        edges |= set(range(7, 65536, 101))
        got = {port: raw.bind_verdict(protocol, port) for port in edges}
        want = {p: expected_bind(ranges, ports.below, p, ports.unprivileged) for p in edges}
        assert got == want


def test_the_kernel_reads_each_of_65536_ports_as_declared() -> None:
    tcp, udp = FULL_TCP[:75], ((1, 3), (65535, 65535))
    ports = BindPorts(tcp=tcp, udp=udp, below=65536, unprivileged=False)
    raw = read(Policy(bind_ports=ports))
    for protocol, ranges in ((TCP, ports.tcp), (UDP, ports.udp)):
        listed = {port for port in range(65536) if raw.port_listed(protocol, port)}
        assert listed == expanded(ranges)


@given(strategies.sockopts(), st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 2)))
@example(Sockopts(allow=False, options=tuple((1, n) for n in range(128))), [(1, 128), (0, 127)])
def test_the_kernel_finds_exactly_the_listed_options(
    sockopts: Sockopts, others: list[tuple[int, int]]
) -> None:
    raw = read(Policy(sockopts=sockopts))
    near = [(level, name + 1) for level, name in sockopts.options]
    tried = {*sockopts.options, *near, *others, (0, 0), (1, 12)} - {(2**32 - 1, 2**32 - 1)}
    refused = {option for option in tried if raw.sockopt_refused(*option)}
    if sockopts.allow:
        assert refused == tried - set(sockopts.options)
    else:
        assert refused == tried & set(sockopts.options)


# The hooks that a control names.


def test_every_program_but_the_holder_serves_a_control(manifest: dict[str, Any]) -> None:
    programs = {name for name, _section in manifest["programs"]}
    used = {hook for spec in _policy.CONTROLS.values() for hook in spec.hooks}
    assert used == programs - {"policy_holder"}


@pytest.mark.parametrize("control", _policy.CONTROLS)
def test_a_control_names_each_of_its_hooks_once(control: str) -> None:
    hooks = _policy.CONTROLS[control].hooks
    assert hooks
    assert len(set(hooks)) == len(hooks)
