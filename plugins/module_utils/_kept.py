# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host keeps for its next boot, and for the next start of its services.

    /etc/cgnet/policies.d/*.json   an entry of cgnet_policy each
               raw_xmit.d/*.json   a unit or a cgroup of cgnet_raw_xmit each
               readers.json        the group that may read what is stored

It is JSON since a host need not have a reader of YAML. It is what shall be, and is compared with
what a task declares; what is enforced is asked of the kernel alone.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import stat
import urllib.parse
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.linux.cgnet.plugins.module_utils import _systemd
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, InputError

ROOT = "/etc/cgnet"
UNITS = "/etc/systemd/system"
"""Where the drop-ins are that let a service's start apply what is kept for it."""

RUNTIME = "/usr/local/lib/cgnet/cgnet"
"""What applies all this without Ansible: _runtime.py, as the role host installs it."""

POLICIES = "policies.d"
RAW_XMIT = "raw_xmit.d"
_READERS = "readers.json"
_REMEDY = "Mend the file or remove it, and run the task again"


class Address(NamedTuple):
    """Whom something is kept for: `kind` is "unit" or "cgroup", `name` a unit or a path.

    address() makes it, so that there is one for each.
    """

    kind: str
    name: str

    @property
    def service(self) -> bool:
        """Whether it is a service, which gets a new cgroup with each start."""
        return self.kind == "unit" and self.name.endswith(".service")

    @property
    def file(self) -> str:
        """The name of its file."""
        name = f"{self.kind}-{urllib.parse.quote(self.name, safe='@:')}"
        if len(name) > 200:  # a file's name has 255 bytes at the most
            name = f"{self.kind}-{hashlib.sha256(self.name.encode()).hexdigest()}"
        return f"{name}.json"


class Kept(NamedTuple):
    """A file, and what stands in it besides the address."""

    path: str
    entry: Mapping[str, Any]


class Step(NamedTuple):
    """A file that is written or removed: its text before and after, None where there is none."""

    path: str
    before: str | None
    after: str | None

    def describe(self) -> dict[str, str]:
        """The step as data."""
        return {"action": "forget" if self.after is None else "keep", "file": self.path}


def address(kind: str, name: str) -> Address:
    """The one address of a unit, or of a cgroup's path below the mount.

    A slice's name tells its cgroup, and the cgroup of a service that stands in slices its name.
    """
    if kind == "unit" and name.endswith(".slice"):
        return Address("cgroup", _systemd.slice_path(name))
    *parents, last = name.split("/")
    of_slices = bool(parents) and all(parent.endswith(".slice") for parent in parents)
    if kind == "cgroup" and last.endswith(".service") and of_slices:
        return Address("unit", last)
    return Address(kind, name)


def require_lasting(whom: Address, at: str) -> None:
    """InputError where nothing would apply what is kept for it after a boot."""
    parts = whom.name.split("/")
    if whom.kind == "cgroup" and any(part.endswith((".service", ".scope")) for part in parts):
        raise InputError(
            at,
            whom.name,
            "systemd makes that cgroup anew with each start, so that nothing can be kept for it",
            "Name the service by unit, or a slice around it",
        )
    if whom.kind == "unit" and not whom.service:
        raise InputError(
            at, whom.name, "what is kept is for services and slices", "Name a slice around it"
        )


def require_runtime() -> None:
    """HostError where nothing on this host applies what is kept."""
    if not os.access(RUNTIME, os.X_OK):
        raise HostError(
            f"permanent: this host has no {RUNTIME}, which applies at boot what is kept",
            "Include the role linux.cgnet.host first",
        )


def comes_back(whom: Address, kept: Kept) -> str:
    """A warning where what is removed is kept."""
    return (
        f"{whom.name} is kept in {kept.path} and comes back with the next boot or start; "
        '"permanent: true" removes it there too'
    )


def started_without(whom: Address) -> str:
    """A warning where a service's start would not apply what is kept for it, or ""."""
    if not whom.service:
        return ""
    instance = whom.name.rpartition("@")[0]
    for name in (whom.name, f"{instance}@.service"):
        for path in glob.glob(f"{UNITS}/{glob.escape(name)}.d/*.conf"):
            with open(path, "rb") as file:
                if f"{RUNTIME} start".encode() in file.read():
                    return ""
    return (
        f"{whom.name} has no drop-in that applies this when it is started anew, which the role "
        "linux.cgnet.container makes"
    )


def read(kind: str) -> dict[Address, Kept]:
    """Everything that is kept of a kind. HostError for a file that can't be trusted or read."""
    found: dict[Address, Kept] = {}
    for path in files(f"{ROOT}/{kind}"):
        data = load(path) or {}
        kinds = [key for key in ("unit", "cgroup") if isinstance(data.get(key), str)]
        if len(kinds) != 1:
            raise HostError(f"{path}: it names no unit and no cgroup, or both", _REMEDY)
        whom = address(kinds[0], data[kinds[0]])
        if whom in found:
            raise HostError(f"{found[whom].path} and {path} are both for {whom.name}", "Remove one")
        found[whom] = Kept(path, {key: data[key] for key in data if key != kinds[0]})
    return found


def readers() -> str | None:
    """The name of the group that may read what is stored, if one is kept."""
    path = f"{ROOT}/{_READERS}"
    found = load(path)
    if found is None:
        return None
    if not isinstance(found.get("readers"), str):
        raise HostError(f"{path}: it names no group", _REMEDY)
    return str(found["readers"])


def plan(
    kind: str, wanted: Mapping[Address, Mapping[str, Any] | None], purge: bool = False
) -> tuple[Step, ...]:
    """The steps until each wanted entry is kept, and none where it is None.

    With `purge`, what is not among them is to go.
    """
    there = read(kind)
    gone = {whom: None for whom in there if purge and whom not in wanted}
    steps = []
    for whom, entry in {**wanted, **gone}.items():
        old = there.get(whom)
        path = old.path if old else f"{ROOT}/{kind}/{whom.file}"
        before = _text(whom, old.entry) if old else None
        after = None if entry is None else _text(whom, entry)
        if before != after:
            steps.append(Step(path, before, after))
    return tuple(steps)


def plan_readers(group: str) -> tuple[Step, ...]:
    """The steps until a group is kept as the one that may read; "root" needs no file."""
    old = readers()
    before = None if old is None else _json({"readers": old})
    after = None if group in ("root", "0") else _json({"readers": group})
    return (Step(f"{ROOT}/{_READERS}", before, after),) if before != after else ()


def shown(steps: tuple[Step, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is kept before and after, file by file, as a diff has it."""
    before = {step.path: json.loads(step.before) for step in steps if step.before}
    after = {step.path: json.loads(step.after) for step in steps if step.after}
    return before, after


def carry_out(steps: tuple[Step, ...]) -> None:
    """Write and remove files: all, or none if one can't be. HostError says which."""
    done: list[Step] = []
    try:
        for step in steps:
            _put(step.path, step.after)
            done.append(step)
    except OSError as error:
        for step in reversed(done):
            _put(step.path, step.before)
        raise HostError(
            f"{error.filename or steps[len(done)].path} can't be written ({error.strerror})",
            "Mend that, and run the task again",
        ) from error


def _text(whom: Address, entry: Mapping[str, Any]) -> str:
    return _json({whom.kind: whom.name, **entry})


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2) + "\n"


def _put(path: str, text: str | None) -> None:
    """Let a file have a text, whole for who reads meanwhile and after a power cut."""
    directory = os.path.dirname(path)
    if text is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    else:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        fresh = f"{directory}/.{os.path.basename(path)}"
        with open(fresh, "w", encoding="utf-8", opener=_opener) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(fresh, path)
    if os.path.isdir(directory):
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _opener(path: str, flags: int) -> int:
    """Open a file anew, whatever a killed run has left in its place."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    fd = os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    os.fchmod(fd, 0o644)
    return fd


def files(directory: str) -> list[str]:
    """The paths of the JSON files in a directory. HostError where others could put some there."""
    for path in (ROOT, directory):
        if not os.path.lexists(path):
            return []
        _require_ours(path, os.lstat(path))
    names = sorted(os.listdir(directory))
    return [f"{directory}/{n}" for n in names if n.endswith(".json") and not n.startswith(".")]


def load(path: str) -> dict[str, Any] | None:
    """What a file holds, None where there is none. HostError where it can't be trusted or read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, encoding="utf-8") as file:
            _require_ours(path, os.fstat(file.fileno()))
            found = json.load(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"{path} can't be read ({error.strerror})", _REMEDY) from error
    except (ValueError, RecursionError) as error:
        raise HostError(f"{path} is no JSON ({error})", _REMEDY) from error
    if not isinstance(found, dict):
        raise HostError(f"{path} holds no JSON object", _REMEDY)
    return found


def _require_ours(path: str, found: os.stat_result) -> None:
    """HostError for what others than root could have written."""
    if stat.S_ISLNK(found.st_mode) or not (
        stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    ):
        raise HostError(f"{path} is neither a file nor a directory", "Remove it")
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise HostError(
            f"{path} can be written by others than root, so what it says can't be trusted",
            f"Look at it, and then: chown root: {path}; chmod go-w {path}",
        )
