# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of plans share: an object, wants and states at random, one state to start in."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.linux.cgnet.plugins.module_utils import _apply, _plan
from ansible_collections.linux.cgnet.plugins.module_utils._actions import Action
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BpfObject,
    Cgroup,
    Program,
)
from ansible_collections.linux.cgnet.plugins.module_utils._plan import Want
from hypothesis import strategies as st

from tests.unit.fake_kernel import FakeCgroup, FakeKernel, FakeVersion

HOLDER = Program("policy_holder", "cgroup/sysctl")
HOOKS = tuple(Program(f"policy_{n}", f"cgroup/{n}") for n in ("bind4", "bind6", "setsockopt"))
PROGRAMS = (HOLDER, *HOOKS)
OBJECT = BpfObject("policy", "ab" * 32, "new", PROGRAMS, "policies")
PLAIN = BpfObject("mine", "cd" * 32, "new", HOOKS)
A, B = Cgroup("a.slice", 10), Cgroup("b.slice", 20)
ALIVE = {10: "a.slice", 20: "b.slice", 30: "c.slice"}
DEAD = (90, 91)
ONE, TWO = b"1" * 8, b"2" * 8
ZERO = bytes(8)


def plan(
    wants: Sequence[Want], kernel: FakeKernel, bpf_object: BpfObject | None = OBJECT
) -> tuple[Action, ...]:
    """The plan from what a kernel holds to the wants."""
    observed = kernel.observe(bpf_object.name if bpf_object else "policy")
    programs = bpf_object.programs if bpf_object else ()
    holder = HOLDER if HOLDER in programs else None
    return _plan.plan(wants, observed, bpf_object, programs, holder)


def carry_out(
    actions: Sequence[Action], kernel: FakeKernel, bpf_object: BpfObject | None = OBJECT
) -> None:
    """Do what a plan says."""
    _apply.apply(actions, kernel, bpf_object.name if bpf_object else "policy", bpf_object)


# Random states and wants.

names = st.sampled_from([program.name for program in PROGRAMS])
values = st.sampled_from([None, ZERO, ONE, TWO])
cgroups = st.builds(
    FakeCgroup,
    links=st.dictionaries(names, st.booleans()),
    value=values,
    governs=st.booleans(),
)


@st.composite
def versions(draw: st.DrawFn) -> FakeVersion:
    """A version as a killed run, an upgrade or anything else may have left it."""
    held = draw(st.dictionaries(st.sampled_from([*ALIVE, *DEAD]), cgroups, max_size=5))
    linked = {name for cgroup in held.values() for name in cgroup.links}
    for cgroup in held.values():
        if cgroup.value is None and any(cgroup.links.values()):
            cgroup.value = ZERO  # an attached program has storage
    return FakeVersion(linked | draw(st.sets(names)), 8, held, nested=draw(st.booleans()))


@st.composite
def kernels(draw: st.DrawFn) -> FakeKernel:
    """Any versions of the policy object, and another object."""
    kernel = FakeKernel(dict(ALIVE))
    found = draw(st.dictionaries(st.sampled_from(["new", "old", "older"]), versions()))
    if found:
        kernel.objects["policy"] = found
    kernel.objects["theirs"] = {"new": draw(versions())}
    return kernel


@st.composite
def want_for(draw: st.DrawFn, cgroup: Cgroup) -> Want:
    """Programs, a value, and whether it governs the priority; or nothing."""
    programs = draw(st.lists(st.sampled_from(HOOKS), unique=True, max_size=3).map(tuple))
    keep = draw(st.just(frozenset()) | st.frozensets(names))
    if not programs:
        return Want(cgroup, keep=keep)
    value, governs = draw(st.sampled_from([ONE, TWO])), draw(st.booleans())
    return Want(cgroup, programs, value, governs, keep)


wants = st.sets(st.sampled_from([A, B])).flatmap(
    lambda chosen: st.tuples(*[want_for(c) for c in sorted(chosen, key=lambda c: c.id)])
)


def with_policy(version: str = "new", cgroup: int = 10, governs: bool = False) -> FakeKernel:
    """A kernel in which one version holds ONE by the first hook for one cgroup."""
    kernel = FakeKernel(dict(ALIVE))
    held = FakeCgroup({HOOKS[0].name: True}, ONE, governs)
    kernel.objects["policy"] = {version: FakeVersion({p.name for p in PROGRAMS}, 8, {cgroup: held})}
    return kernel
