# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libbpf through ctypes: every function is there, and every error says which call it was."""

from __future__ import annotations

import ctypes
import errno
import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, KernelError

INSTALLED = ctypes.CDLL("libbpf.so.1")


@pytest.mark.parametrize("name", _libbpf._TABLE)
def test_the_installed_library_has_the_function(name: str) -> None:
    assert getattr(INSTALLED, name, None) is not None


@pytest.mark.parametrize("name", _libbpf._TABLE)
def test_a_function_has_the_signature_of_the_table(name: str) -> None:
    result, arguments, _check = _libbpf._TABLE[name]
    function = getattr(_libbpf.library(), name)
    assert (function.restype, function.argtypes) == (result, arguments)


def test_the_library_is_loaded_once() -> None:
    assert _libbpf.library() is _libbpf.library()


def test_the_version_is_1_0_or_later() -> None:
    version = _libbpf.library().call("libbpf_version_string").decode()
    assert version.startswith("v1.")


def test_a_host_without_the_library_is_told_which_package(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def missing(*name: Any, **how: Any) -> None:
        asked.append((*name, how))
        raise OSError("cannot open shared object file")

    monkeypatch.setattr(_libbpf.ctypes, "CDLL", missing)
    with pytest.raises(HostError) as caught:
        _libbpf.library.__wrapped__()
    assert str(caught.value) == (
        "libbpf.so.1 can't be loaded on this host (cannot open shared object file). "
        "Install the distribution's package (Debian: apt install libbpf1)."
    )
    assert asked == [("libbpf.so.1", {"use_errno": True})]


def test_a_library_that_was_missing_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _libbpf.library.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(_libbpf.ctypes, "CDLL", _raise)
        with pytest.raises(HostError):
            _libbpf.library()
    assert isinstance(_libbpf.library(), _libbpf.Library)


def _raise(*_args: Any, **_how: Any) -> None:
    raise OSError("cannot open shared object file")


# Attach types of linux/bpf.h, by the section as libbpf takes it.
ATTACH_TYPES = {
    "cgroup/sysctl": 18,
    "cgroup/sock_create": 2,
    "cgroup/setsockopt": 22,
    "cgroup/bind4": 8,
    "cgroup/bind6": 9,
    "cgroup/connect4": 10,
    "cgroup/connect6": 11,
    "cgroup/sendmsg4": 14,
    "cgroup/sendmsg6": 15,
    "sockops": 3,
    "cgroup_skb/egress": 1,
    "lsm_cgroup/socket_post_create": 43,
    "lsm_cgroup/socket_setsockopt": 43,
    "lsm_cgroup/socket_sendmsg": 43,
    "lsm_cgroup/sock_graft": 43,
}


def test_the_sections_of_the_policy_object_have_their_attach_types(
    manifest: dict[str, Any],
) -> None:
    sections = [section for _name, section in manifest["programs"]]
    assert {section: _libbpf.attach_type(section) for section in sections} == ATTACH_TYPES


def test_a_section_that_libbpf_does_not_know_is_an_error_of_that_call() -> None:
    with pytest.raises(KernelError) as caught:
        _libbpf.attach_type("nowhere/bind4")
    assert caught.value.errno == errno.ESRCH
    assert str(caught.value) == "libbpf_prog_type_by_name: ESRCH (No such process)."


def test_an_object_that_cannot_be_read_is_an_error_of_that_call(
    capfd: pytest.CaptureFixture[str],
) -> None:
    options = _libbpf.OpenOpts(sz=ctypes.sizeof(_libbpf.OpenOpts))
    with pytest.raises(KernelError) as caught:
        _libbpf.library().call("bpf_object__open_mem", b"#!/bin/sh", 9, ctypes.byref(options))
    assert str(caught.value).startswith("bpf_object__open_mem: ")
    assert caught.value.errno > 0
    # What libbpf would print goes nowhere: a module's output is JSON and nothing else.
    assert capfd.readouterr() == ("", "")


def test_a_pin_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(KernelError) as caught:
        _libbpf.get(f"{tmp_path}/none")
    # ENOENT, or EPERM for a user who may not ask.
    assert str(caught.value).startswith(f"bpf_obj_get({tmp_path}/none): E")


def test_the_built_object_is_read_with_its_programs_and_its_map(
    object_bytes: bytes, manifest: dict[str, Any]
) -> None:
    library = _libbpf.library()
    options = _libbpf.OpenOpts(sz=ctypes.sizeof(_libbpf.OpenOpts), object_name=b"cgnet")
    handle = library.call(
        "bpf_object__open_mem", object_bytes, len(object_bytes), ctypes.byref(options)
    )
    found: dict[str, list[str]] = {"program": [], "map": []}
    for kind, names in found.items():
        pointer = library.call(f"bpf_object__next_{kind}", handle, None)
        while pointer:
            names.append(library.call(f"bpf_{kind}__name", pointer).decode())
            pointer = library.call(f"bpf_object__next_{kind}", handle, pointer)
    library.call("bpf_object__close", handle)
    assert sorted(found["program"]) == sorted(name for name, _section in manifest["programs"])
    assert manifest["storage"] in found["map"]


@pytest.mark.parametrize("result", [0, 1, 7])
def test_what_is_not_negative_is_the_result(result: int) -> None:
    assert _libbpf._negative(result, INSTALLED.bpf_obj_get_opts, ()) == result


def test_what_is_negative_is_the_errno() -> None:
    with pytest.raises(KernelError, match=r"^bpf_obj_get_opts: ENOENT") as caught:
        _libbpf._negative(-errno.ENOENT, INSTALLED.bpf_obj_get_opts, ())
    assert caught.value.errno == errno.ENOENT


def test_null_takes_errno() -> None:
    ctypes.set_errno(errno.E2BIG)
    with pytest.raises(KernelError, match=r"^bpf_object__open_mem: E2BIG") as caught:
        _libbpf._null(None, INSTALLED.bpf_object__open_mem, ())
    assert caught.value.errno == errno.E2BIG
    assert _libbpf._null(4096, INSTALLED.bpf_object__open_mem, ()) == 4096


def test_the_end_of_a_list_is_no_error() -> None:
    assert _libbpf._plain(None, INSTALLED.bpf_object__next_map, ()) is None


@pytest.mark.parametrize(
    ("layout", "size", "field", "offset"),
    [
        (_libbpf.LinkInfo, 64, "cgroup_id", 16),
        (_libbpf.ProgInfo, 232, "id", 4),
        (_libbpf.ProgInfo, 232, "attach_btf_obj_id", 220),
        (_libbpf.ProgInfo, 232, "attach_btf_id", 224),
        (_libbpf.ProgInfo, 232, "nr_map_ids", 52),
        (_libbpf.ProgInfo, 232, "map_ids", 56),
        (_libbpf.ProgInfo, 232, "name", 64),
        (_libbpf.MapInfo, 40, "value_size", 12),
        (_libbpf.MapInfo, 40, "name", 24),
        (_libbpf.OpenOpts, 80, "kernel_log_buf", 56),
        (_libbpf.QueryOpts, 40, "prog_attach_flags", 32),
        (_libbpf.ObjGetOpts, 16, "file_flags", 8),
        (_libbpf.BtfEnum, 8, "value", 4),
        (_libbpf.BtfMember, 12, "offset", 8),
        (_libbpf.BtfType, 12, "size", 8),
    ],
)
def test_a_struct_has_the_layout_of_the_headers_on_64_bits(
    layout: type[ctypes.Structure], size: int, field: str, offset: int
) -> None:
    assert (ctypes.sizeof(layout), getattr(layout, field).offset) == (size, offset)


@pytest.mark.parametrize("flag", [0, 0x80000000])
@pytest.mark.parametrize("members", [[], [(3, 0)], [(3, 0), (9, -1), (27, 2**31 - 1)]])
def test_the_members_of_an_enum_are_those_that_stand_behind_it(
    members: list[tuple[int, int]], flag: int
) -> None:
    """Their number is the lower half of `info`; what comes then is another type."""
    data = struct.pack("3I", 1, flag | 6 << 24 | len(members), 4)
    for member in members:
        data += struct.pack("Ii", *member)
    shape = _libbpf.BtfType.from_buffer(bytearray(data + b"\xff" * 32))
    assert [(member.name_off, member.value) for member in shape.members(_libbpf.BtfEnum)] == members


def test_the_members_of_a_struct_are_as_long_as_the_header_says() -> None:
    data = struct.pack("3I", 1, 4 << 24 | 2, 8) + struct.pack("6I", 3, 1, 0, 9, 2, 32)
    shape = _libbpf.BtfType.from_buffer(bytearray(data))
    assert [each.name_off for each in shape.members(_libbpf.BtfMember)] == [3, 9]
