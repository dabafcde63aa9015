# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A unit's cgroup: which names are a unit's, what systemd is asked, and who can't be asked."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _systemd
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, InputError

AT = "policies[0].unit"
CALL, ANSWER, ERROR = 1, 2, 3
# The header fields of a D-Bus message that are read or written here.
PATH, ERROR_NAME, REPLY_TO, SIGNATURE = 1, 4, 5, 8


class Systemd(threading.Thread):
    """Answers one question on a socket as systemd's own does, and keeps it.

    `answer` is the control group, or None where the property does not exist.
    """

    def __init__(self, path: Path, answer: str | None) -> None:
        super().__init__(daemon=True)
        self.answer = answer
        self.question: tuple[str, ...] = ()
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(path))
        self.listening.listen()

    def run(self) -> None:
        connection, _peer = self.listening.accept()
        with connection, connection.makefile("rb") as sent:
            line = b""
            while line != b"BEGIN\r\n":
                line = sent.readline().lstrip(b"\0")
                replies = {b"AUTH": b"DATA\r\n", b"DATA": b"OK " + b"0" * 32 + b"\r\n"}
                replies[b"NEGOTIATE_UNIX_FD"] = b"ERROR\r\n"
                connection.sendall(replies.get(line.strip().split(b" ")[0], b""))
            start = sent.read(16)
            body, serial, fields = struct.unpack("<4xIII", start)
            header = sent.read(fields + -fields % 8)
            (length,) = struct.unpack_from("<I", header, 4)
            path = header[8 : 8 + length].decode() if header[0] == PATH else "no path first"
            self.question = (path, *strings(sent.read(body)))
            connection.sendall(self.reply(serial))

    def reply(self, serial: int) -> bytes:
        """The message that answers a call."""
        fields = struct.pack("<BBBBI", REPLY_TO, 1, ord("u"), 0, serial)
        if self.answer is None:
            body, kind = b"", ERROR
            name = b"org.freedesktop.DBus.Error.UnknownProperty"
            fields += struct.pack("<BBBBI", ERROR_NAME, 1, ord("s"), 0, len(name)) + name + b"\0"
        else:
            text = self.answer.encode()
            body, kind = b"\1s\0\0" + struct.pack("<I", len(text)) + text + b"\0", ANSWER
            fields += bytes([SIGNATURE, 1, ord("g"), 0, 1, ord("v"), 0])
        start = struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), 1, len(fields))
        return start + fields + bytes(-len(fields) % 8) + body


def strings(body: bytes) -> Iterator[str]:
    """The strings that a message's body consists of."""
    at = 0
    while at < len(body):
        (length,) = struct.unpack_from("<I", body, at)
        yield body[at + 4 : at + 4 + length].decode()
        at += 4 + length + 1
        at += -at % 4


@contextlib.contextmanager
def systemd(path: Path, answer: str | None) -> Iterator[Systemd]:
    """A systemd for one question; at the end it has answered."""
    thread = Systemd(path, answer)
    thread.start()
    try:
        yield thread
    finally:
        thread.listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        thread.listening.close()


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where systemd's own socket is looked for."""
    path = tmp_path / "private"
    monkeypatch.setattr(_systemd, "_ADDRESS", f"unix:path={path}".encode())
    return path


@pytest.mark.parametrize(
    ("unit", "path", "interface"),
    [
        ("nginx.service", "nginx_2eservice", "Service"),
        ("machine.slice", "machine_2eslice", "Slice"),
        ("session-1.scope", "session_2d1_2escope", "Scope"),
        ("a@b.c.socket", "a_40b_2ec_2esocket", "Socket"),
    ],
)
def test_a_unit_is_asked_for_by_its_path_and_kind(
    private: Path, unit: str, path: str, interface: str
) -> None:
    with systemd(private, f"/machine.slice/{unit}") as asked:
        assert _systemd.control_group(unit, AT) == f"machine.slice/{unit}"
    assert asked.question == (
        f"/org/freedesktop/systemd1/unit/{path}",
        f"org.freedesktop.systemd1.{interface}",
        "ControlGroup",
    )


def test_a_unit_that_does_not_run_has_none(private: Path) -> None:
    with systemd(private, ""):
        assert _systemd.control_group("nginx.service", AT) == ""


def test_an_answer_that_is_an_error_names_the_call(private: Path) -> None:
    with systemd(private, None), pytest.raises(HostError) as caught:
        _systemd.control_group("nginx.service", AT)
    assert str(caught.value).startswith(
        "policies[0].unit: systemd could not be asked for nginx.service: "
        "sd_bus_get_property_string: "
    )


def test_a_host_that_systemd_has_not_booted_is_told_to_name_the_cgroup(private: Path) -> None:
    with pytest.raises(HostError) as caught:
        _systemd.control_group("nginx.service", AT)
    assert str(caught.value) == (
        "policies[0].unit: systemd could not be asked for nginx.service: sd_bus_start: "
        "No such file or directory. "
        'Run on a host that systemd has booted, or name the cgroup ("cgroup").'
    )


def _missing(*_args: Any, **_how: Any) -> None:
    raise OSError("cannot open shared object file")


def test_a_host_without_the_library_is_told_to_name_the_cgroup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_systemd.ctypes, "CDLL", _missing)
    with pytest.raises(HostError) as caught:
        _systemd.control_group("nginx.service", AT)
    assert str(caught.value) == (
        "libsystemd.so.0 can't be loaded, so a unit can't be looked up "
        '(cannot open shared object file). Name the cgroup by its path ("cgroup").'
    )


@pytest.mark.parametrize(
    "unit",
    ["nginx", "", "nginx.timer", "nginx.service.d", "nginx.Service", "nginx.target",
     "/system.slice", "system.slice/nginx.service", "nginx\0.service", "service", ".service"],
)  # fmt: skip
def test_a_name_that_is_no_units_with_a_cgroup_is_refused_without_asking(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_systemd.ctypes, "CDLL", _missing)
    with pytest.raises(InputError) as caught:
        _systemd.control_group(unit, AT)
    assert str(caught.value) == (
        f"policies[0].unit: {unit!r} is not possible: a unit's name ends in one of .service, "
        ".slice, .scope, .socket, .mount, .swap. As nginx.service."
    )
