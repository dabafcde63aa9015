# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply what a host keeps, without Ansible: at boot, at a service's start, at a container's.

    cgnet boot          everything; cgroups that are named by their path are made
    cgnet start UNIT    what is kept for a service, to the cgroup that it is being started in
    cgnet oci           the profile that a container names, to its cgroup: a hook of createRuntime

It is installed as one file, which holds these modules and the objects. A start that fails ends
with 255, which is a failure to systemd's ExecCondition=, as 1 to 254 are not (systemd.service(5)).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _entries,
    _kept,
    _names,
    _policies,
    _raw_xmit,
    _reconcile,
    _values,
    _worker,
)
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    HostError,
    InputError,
    KernelError,
)

PROFILES = "profiles.d"
PROFILE = "linux.cgnet.profile"
"""The annotation by which a container names its profile."""

_FAILED = 1
_FAILED_START = 255
_USAGE = 64  # EX_USAGE of sysexits.h
_OBJECTS = "ansible_collections.linux.cgnet.plugins.objects"
_CLONE_NEWNET = 0x40000000  # linux/sched.h


def main(arguments: list[str]) -> int:
    """Do what the command line says; the exit status."""
    commands: dict[tuple[str, int], Callable[..., None]] = {
        ("boot", 0): boot,
        ("start", 1): start,
        ("oci", 0): lambda: oci(sys.stdin),
    }
    name, *rest = arguments or [""]
    command = commands.get((name, len(rest)))
    if command is None:
        sys.stderr.write("usage: cgnet boot | start UNIT | oci\n")
        return _USAGE
    try:
        _enter_the_hosts_network()
        command(*rest)
        return 0
    except CgnetError as error:
        sys.stderr.write(f"cgnet: {error}\n")
    except Exception:  # noqa: BLE001  Python's own status would let a service's start be skipped
        traceback.print_exc()
    return _FAILED_START if name == "start" else _FAILED


def boot() -> None:
    """Apply everything that is kept, to what runs and to cgroups by their path.

    One task for all, as it is fast, and where that fails each by itself, so that one can't keep
    another from being held. CgnetError tells all that failed.
    """
    policies, held = _kept.read(_kept.POLICIES), _kept.read(_kept.RAW_XMIT)
    hierarchy = Hierarchy()
    for whom, kept in [*policies.items(), *held.items()]:
        if whom.kind == "cgroup":
            hierarchy.make(whom.name, kept.path)
    running = {
        whom: kept.entry for whom, kept in policies.items() if _runs(whom, kept.path, hierarchy)
    }
    problems: list[str] = []
    try:
        _apply_policies(running)
    except CgnetError:
        for whom, entry in running.items():
            with _noted(problems, policies[whom].path):
                _apply_policies({whom: entry})
    for whom, kept in held.items():
        if _runs(whom, kept.path, hierarchy):
            with _noted(problems, kept.path):
                _apply_raw_xmit(whom)
    hierarchy.close()
    if problems:
        raise HostError("; ".join(problems), "What is kept for the others is applied")


def start(unit: str) -> None:
    """Apply what is kept for a service to its cgroup as it is now. InputError where nothing is."""
    whom = _kept.address("unit", unit)
    policy = _kept.read(_kept.POLICIES).get(whom)
    held = _kept.read(_kept.RAW_XMIT).get(whom)
    if policy is None and held is None:
        raise InputError(
            "unit",
            unit,
            f"nothing is kept for it below {_kept.ROOT}, though its start asks for that",
            "Declare it with permanent: true, or remove the drop-in that asks",
        )
    problems: list[str] = []
    if policy is not None:
        with _noted(problems, policy.path):
            _apply_policies({whom: policy.entry})
    if held is not None:
        with _noted(problems, held.path):
            _apply_raw_xmit(whom)
    if problems:
        raise HostError("; ".join(problems), f"Mend what is kept for {unit}, and start it again")


def oci(stdin: IO[str]) -> None:
    """Apply the profile that a container names to the cgroup of its first process.

    Standard input is its state; see runtime.md of the OCI's runtime specification. A container
    that names none is left alone. It has a network namespace of its own, as a rule, so a profile
    is for every one, unless it says otherwise.
    """
    try:
        state = json.load(stdin)
        name = (state.get("annotations") or {}).get(PROFILE)
        pid = int(state["pid"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HostError(
            f"standard input is not the state of a container ({error!r})",
            "Let an OCI runtime call this as a hook of createRuntime",
        ) from error
    if name is None:
        return
    profile = _profile(name)
    whom = _kept.Address("cgroup", _cgroup_of(pid))
    if profile["policy"]:
        _apply_policies({whom: {"netns": "any", **profile["policy"]}})
    if profile["raw_xmit"]:
        _apply_raw_xmit(whom)


def _profile(name: object) -> dict[str, Any]:
    """A profile of this host: `policy`, the controls as in a task, and `raw_xmit`."""
    directory = f"{_kept.ROOT}/{PROFILES}"
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise InputError(PROFILE, name, "the name of a profile has A-Z a-z 0-9 _ . - alone")
    found = _kept.load(f"{directory}/{name}.json")
    if found is None:
        known = [os.path.basename(path)[: -len(".json")] for path in _kept.files(directory)]
        raise InputError(PROFILE, name, f"this host has {', '.join(known) or 'no profile'}")
    at = f"{directory}/{name}.json"
    given = _values.mapping(found, at, ("description", "policy", "raw_xmit"))
    policy = given.get("policy", {})
    if not isinstance(policy, Mapping):
        raise InputError(f"{at}: policy", policy, "it is a mapping of controls")
    raw_xmit = _values.boolean(given.get("raw_xmit", False), f"{at}: raw_xmit")
    return {"policy": dict(policy), "raw_xmit": raw_xmit}


def _cgroup_of(pid: int) -> str:
    """The path of a process's cgroup below the mount, as _names has it."""
    with open(f"/proc/{pid}/cgroup", "rb") as lines:
        for line in lines:
            if line.startswith(b"0::/"):
                return _names.shown(line[len(b"0::/") :].rstrip(b"\n"))
    raise HostError(f"process {pid} is in no cgroup of v2", "Boot with the unified hierarchy")


def _enter_the_hosts_network() -> None:
    """Be in the network namespace of the host, which `netns: host` names; a service may have its
    own (PrivateNetwork=), and what runs before it is in there.
    """
    with open("/proc/1/ns/net", "rb") as hosts:
        if os.path.samestat(os.fstat(hosts.fileno()), os.stat("/proc/self/ns/net")):
            return
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(hosts.fileno(), _CLONE_NEWNET):
            raise KernelError("setns(/proc/1/ns/net)", ctypes.get_errno(), "It needs root")


def _runs(whom: _kept.Address, at: str, hierarchy: Hierarchy) -> bool:
    """Whether somebody has a cgroup now."""
    return _entries.find({whom.kind: whom.name}, at, hierarchy, needed=False) is not None


@contextlib.contextmanager
def _noted(problems: list[str], path: str) -> Iterator[None]:
    """Note what fails, and go on."""
    try:
        yield
    except CgnetError as error:
        problems.append(f"{path}: {error}")


def _apply_policies(entries: Mapping[_kept.Address, Mapping[str, Any]]) -> None:
    """Run cgnet_policy's task for entries, those that warn of what lacks by themselves."""
    for on_unsupported in ("fail", "warn"):
        policies = [
            {whom.kind: whom.name, **{k: v for k, v in entry.items() if k != "on_unsupported"}}
            for whom, entry in entries.items()
            if entry.get("on_unsupported", "fail") == on_unsupported
        ]
        if policies:
            options = {"on_unsupported": on_unsupported, "purge": False, "permanent": False}
            readers = _kept.readers()
            task = {"policies": policies, "readers": readers, **options}
            _carry_out(_policies.OBJECT, _policies.prepare, task)


def _apply_raw_xmit(whom: _kept.Address) -> None:
    """Run cgnet_raw_xmit's task."""
    named = {"cgroup": None, "unit": None, whom.kind: [whom.name]}
    task = {**named, "state": "present", "permanent": False}
    _carry_out(_raw_xmit.OBJECT, _raw_xmit.prepare, task)


def _carry_out(name: str, prepare: Callable[..., _reconcile.Job], task: Mapping[str, Any]) -> None:
    """Carry out a module's task with the object that this file holds; tell what it warns of."""
    described = json.loads(_packed(f"{name}.json"))
    params = {**task, "_object": described, "_object_path": None}
    result = _worker.run(lambda: _reconcile.reconcile(prepare, params, False))
    if result.get("object_needed"):
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
        with open(fd, "wb", buffering=0) as file:
            file.write(_packed(f"{name}.bpf.o"))
            params["_object_path"] = f"/proc/self/fd/{fd}"
            result = _worker.run(lambda: _reconcile.reconcile(prepare, params, False))
    for warning in result["warnings"]:
        sys.stderr.write(f"cgnet: {warning}\n")
    for step in result["actions"]:
        sys.stdout.write(f"cgnet: {' '.join(str(part) for part in step.values())}\n")


def _packed(name: str) -> bytes:
    """What this file holds beside the modules."""
    data = pkgutil.get_data(_OBJECTS, name)
    if data is None:
        raise HostError(f"{_kept.RUNTIME} has no {name}", "Include the role linux.cgnet.host again")
    return data
