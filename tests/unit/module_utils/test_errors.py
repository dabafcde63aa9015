# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message says what, where and the remedy."""

from __future__ import annotations

import errno
import re

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _errors
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    ConflictError,
    DeadlineError,
    HostError,
    InputError,
    KernelError,
    KilledError,
    ObjectError,
    UnsupportedError,
)

from tests.unit.errors import EXAMPLES


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            InputError("tos", "x", "a DSCP name"),
            "tos: 'x' is not possible: a DSCP name.",
        ),
        (
            InputError("tos", ["x"], "it is a list", "Write it in brackets"),
            "tos: ['x'] is not possible: it is a list. Write it in brackets.",
        ),
        (
            InputError("tos", "x", "a DSCP name", "Did you mean ef?"),
            "tos: 'x' is not possible: a DSCP name. Did you mean ef?",
        ),
        (
            HostError("bpffs is not mounted", "Mount it"),
            "bpffs is not mounted. Mount it.",
        ),
        (
            UnsupportedError("a.slice", "priority", "no bpf", "Boot another kernel"),
            "a.slice: priority can't be enforced on this host: no bpf. Nothing was changed. "
            "Boot another kernel.",
        ),
        (
            ConflictError("policy_bind4", "program 7 (theirs) forbids it", "Detach that"),
            "policy_bind4 can't be attached: program 7 (theirs) forbids it. Nothing was changed. "
            "Detach that.",
        ),
        (
            ObjectError("mine", "it has no BTF", "Compile it with -g"),
            "object mine: it has no BTF. Compile it with -g.",
        ),
        (
            KernelError("bpf_obj_get", errno.ENOENT),
            "bpf_obj_get: ENOENT (No such file or directory).",
        ),
        (
            KernelError("bpf_obj_get", errno.EPERM, "Become root"),
            "bpf_obj_get: EPERM (Operation not permitted). Become root.",
        ),
        (
            KernelError("loading x", errno.EACCES, "Mend it", "R0 invalid\nfailed\n"),
            "loading x: EACCES (Permission denied). Mend it.\n"
            "The verifier's last words:\nR0 invalid\nfailed",
        ),
        (
            DeadlineError("bpf_link_create", 120.4, "process 7 hangs in it", "Reboot"),
            "bpf_link_create has not returned for 120 s: process 7 hangs in it. Reboot.",
        ),
        (
            KilledError(7, "SIGKILL", "bpf_object__load"),
            "process 7, which did the work, was ended by SIGKILL during bpf_object__load. The "
            "kernel's log (dmesg) tells whether memory was short. Run the task again, which goes "
            "on from where it was.",
        ),
    ],
)
def test_the_whole_message(error: CgnetError, message: str) -> None:
    assert str(error) == message


def test_an_errno_that_has_no_name_is_shown_by_its_number() -> None:
    # libbpf's own: LIBBPF_ERRNO__FORMAT.
    assert str(KernelError("bpf_object__open_mem", 4003)).startswith("bpf_object__open_mem: 4003 (")


def test_the_log_is_shown_by_its_last_lines_and_kept_whole() -> None:
    log = "\n".join(f"line {number}" for number in range(100))
    error = KernelError("loading x", errno.EINVAL, log=log)
    assert str(error).splitlines()[1:] == [
        "The verifier's last words:",
        *(f"line {number}" for number in range(88, 100)),
    ]
    assert (error.errno, error.log) == (errno.EINVAL, log)


def test_a_field_and_its_value_are_kept() -> None:
    error = InputError("policies[0].tos", ["x"], "it is a list")
    assert (error.field, error.value) == ("policies[0].tos", ["x"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 198, f"'{'x' * 198}'"),
        ("x" * 199, f"'{'x' * 199}…"),
        (list(range(1000)), f"{str(list(range(1000)))[:200]}…"),
        (10**5000, "a number of thousands of digits"),
        ([10**5000], "a number of thousands of digits"),
    ],
    ids=["200 characters", "201 characters", "long list", "long number", "long number in a list"],
)
def test_a_value_of_any_length_is_shown_in_200_characters(value: object, shown: str) -> None:
    message = str(InputError("x", value, "no"))
    assert message == f"x: {shown} is not possible: no."


def test_the_tree_in_the_docstring_is_the_hierarchy() -> None:
    drawn = re.findall(r"^[├└]── (\w+)", str(_errors.__doc__), re.MULTILINE)
    assert drawn == [found.__name__ for found in CgnetError.__subclasses__() if _here(found)]
    assert [found for found in vars(_errors).values() if _root(found)] == [CgnetError]


def test_there_is_an_example_of_each_class() -> None:
    ours = [found for found in CgnetError.__subclasses__() if _here(found)]
    assert [type(error) for error in EXAMPLES] == ours


def _here(found: type) -> bool:
    return found.__module__ == _errors.__name__


def _root(found: object) -> bool:
    return isinstance(found, type) and found.__base__ is Exception
