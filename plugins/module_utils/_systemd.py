# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask systemd for a unit's cgroup, through libsystemd's sd-bus.

systemd's own socket is used, as systemctl does when root calls it, so that no
message bus needs to run.
"""

from __future__ import annotations

import ctypes
import os

from ansible_collections.linux.cgnet.plugins.module_utils import _names
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, InputError

_ADDRESS = b"unix:path=/run/systemd/private"
_NAME = b"org.freedesktop.systemd1"
_PATH = b"/org/freedesktop/systemd1/unit"
KINDS = ("service", "slice", "scope", "socket", "mount", "swap")


def slice_path(unit: str) -> str:
    """The path of a slice's cgroup, which its name tells: a-b.slice is a.slice/a-b.slice."""
    parts = unit[: -len(".slice")].split("-")
    return "/".join("-".join(parts[: end + 1]) + ".slice" for end in range(len(parts)))


def _load() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libsystemd.so.0", use_errno=True)
    except OSError as error:
        raise HostError(
            f"libsystemd.so.0 can't be loaded, so a unit can't be looked up ({error})",
            'Name the cgroup by its path ("cgroup")',
        ) from error


def control_group(unit: str, at: str) -> str:
    """The path of a unit's cgroup below the mount as _names has it, or "" where it does not run.

    InputError where the name is no unit that has a cgroup; HostError where
    systemd can't be asked.
    """
    encoded = unit.encode("utf-8", "replace") if isinstance(unit, str) else b""
    name, _dot, kind = encoded.decode().rpartition(".")
    if not name or name + "." + kind != unit or kind not in KINDS or set("/\0") & set(name):
        raise InputError(
            at, unit, f"a unit's name ends in one of .{', .'.join(KINDS)}", "As nginx.service"
        )
    library = _load()
    bus, path, value = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    library.sd_bus_unref.restype = None
    library.sd_bus_unref.argtypes = (ctypes.c_void_p,)
    libc = ctypes.CDLL(None)
    libc.free.argtypes = (ctypes.c_void_p,)

    def done(call: str, result: int) -> None:
        if result < 0:
            raise HostError(
                f"{at}: systemd could not be asked for {_names.shown(encoded)}: {call}: "
                f"{os.strerror(-result)}",
                'Run on a host that systemd has booted, or name the cgroup ("cgroup")',
            )

    try:
        done("sd_bus_new", library.sd_bus_new(ctypes.byref(bus)))
        done("sd_bus_set_address", library.sd_bus_set_address(bus, _ADDRESS))
        done("sd_bus_start", library.sd_bus_start(bus))
        done("sd_bus_path_encode", library.sd_bus_path_encode(_PATH, encoded, ctypes.byref(path)))
        interface = f"org.freedesktop.systemd1.{kind.capitalize()}".encode()
        answer = library.sd_bus_get_property_string(
            bus, _NAME, path, interface, b"ControlGroup", None, ctypes.byref(value)
        )
        done("sd_bus_get_property_string", answer)
        text = ctypes.cast(value, ctypes.c_char_p).value or b""
        return _names.shown(text.lstrip(b"/"))
    finally:
        libc.free(path)
        libc.free(value)
        library.sd_bus_unref(bus)
