# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run holds open for the next cgroup: it stands for what it is, and ends with the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _attached, _libbpf, _reconcile
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._model import Held, Program
from ansible_collections.linux.cgnet.plugins.module_utils._policy import SIZE

from tests.descriptors import descriptors
from tests.kernel import foreign
from tests.kernel.conftest import Group, shipped
from tests.kernel.tasks import eventually

Make = Callable[[str], Group]

HOLDER = Program("policy_holder", "cgroup/sysctl")
BIND4 = Program("policy_bind4", "cgroup/bind4")
VALUE = b"\1" * SIZE
VERSION = shipped().manifest["version"]


def load(kernel: Kernel) -> None:
    """The two programs, as the version of the bundled object."""
    bpf_object = _reconcile.object_from(shipped().manifest)
    assert bpf_object
    kernel.load(bpf_object, VERSION, (HOLDER, BIND4), Path(shipped().path).read_bytes())


def attached(group: Group, program: Program) -> list[bytes]:
    """The programs on a program's hook of a cgroup."""
    with _libbpf.closing(os.open(group.directory, os.O_RDONLY)) as fd:
        found = _attached.query(fd, _libbpf.attach_type(program.section))
    return [_attached.name(number) for number, _flags in found]


def test_a_holder_stays_until_the_next_cgroup_has_it_and_not_over_the_run(group: Make) -> None:
    first, second = group("first"), group("second")
    with Kernel.open() as kernel:
        load(kernel)
        for each in (first, second):
            kernel.hold("policy", VERSION, kernel.hierarchy.require(each.path, "cgroup"), HOLDER)
        assert attached(first, HOLDER) == []
        assert attached(second, HOLDER) == [b"policy_holder"]
    assert attached(second, HOLDER) == []
    held = kernel.observe("policy").versions[VERSION].cgroups
    assert held == {each.id: Held(value=bytes(SIZE)) for each in (first, second)}
    kernel.unload("policy", VERSION)


def test_what_is_loaded_anew_is_what_is_attached_and_written_to_then(group: Make) -> None:
    first, second = group("first"), group("second")
    with Kernel.open() as kernel:
        for each in (first, second):
            load(kernel)
            cgroup = kernel.hierarchy.require(each.path, "cgroup")
            kernel.attach("policy", VERSION, cgroup, BIND4)
            kernel.store("policy", VERSION, cgroup.id, VALUE)
            kernel.govern("policy", VERSION, cgroup.id, True)
            loaded = kernel.observe("policy").versions[VERSION]
            wanted = Held(frozenset({BIND4.name}), value=VALUE, governs=True)
            assert (loaded.cgroups, loaded.damage) == ({each.id: wanted}, ())
            kernel.unload("policy", VERSION)
            assert eventually(lambda each=each: attached(each, BIND4), []) == []


def test_what_was_looked_at_is_known_for_what_it_is_and_not_by_its_path(group: Make) -> None:
    with Kernel.open() as kernel:
        load(kernel)
        folder = Path(kernel.layout.program("policy", VERSION, BIND4.name)).parent
        bind4, holder, aside = folder / BIND4.name, folder / HOLDER.name, folder / "aside"

        def damage() -> tuple[str, ...]:
            return kernel.observe("policy").versions[VERSION].damage

        def exchange() -> None:
            for old, new in ((bind4, aside), (holder, bind4), (aside, holder)):
                old.rename(new)

        assert damage() == ()
        exchange()
        assert damage() == (
            "the program policy_holder is pinned as policy_bind4",
            "the program policy_bind4 is pinned as policy_holder",
        )
        exchange()
        assert damage() == ()
        with foreign.theirs(["bind4"]) as theirs:
            bind4.unlink()
            kernel.libbpf.call("bpf_obj_pin", theirs.fds["bind4"], os.fsencode(bind4))
            with pytest.raises(HostError, match="a program of the name theirs_bind4"):
                kernel.observe("policy")
    kernel.unload("policy", VERSION)


def test_a_run_leaves_nothing_open(group: Make) -> None:
    before = descriptors()
    with Kernel.open() as kernel:
        load(kernel)
        cgroup = kernel.hierarchy.require(group("first").path, "cgroup")
        kernel.hold("policy", VERSION, cgroup, HOLDER)
        kernel.attach("policy", VERSION, cgroup, BIND4)
        kernel.store("policy", VERSION, cgroup.id, VALUE)
        assert descriptors() != before
    assert descriptors() == before
    kernel.unload("policy", VERSION)
