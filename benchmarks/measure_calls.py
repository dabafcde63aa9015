# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What calls cost under policies, in turn with what they cost without, on this kernel.

python3 -m benchmarks.measure_calls FOLDER SCALE TURNS ROUNDS SET...

FOLDER has the empty objects and the built benchmarks/calls.c. SCALE multiplies how many calls make
a sample. A turn measures where nothing of ours is attached anywhere, then attaches all, and
measures in each cgroup. Needs a network namespace of its own, and systemd's slices where that
runs. Prints JSON: call -> where -> nanoseconds, one for each round.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _cgroup,
    _policies,
    _programs,
    _reconcile,
)

from benchmarks.sets import LISTS, SETS, lists

BELOW = "cgnet-benchmark"
COUNTS = {
    "socket": 1500, "setsockopt": 15000, "bind": 1000, "connect": 5000, "accept": 150,
    "send": 2000, "stream": 300,
}  # fmt: skip
RULE = f"""\
table inet cgnet_benchmark {{
    chain output {{
        type filter hook output priority mangle
        socket cgroupv2 level 2 "{BELOW}/nft" meta priority set 1:10
    }}
}}
"""
SLICE = "cgnetbenchmark.slice"
ALLOWED = """\
[Slice]
SocketBindDeny=any
SocketBindAllow=ipv6:tcp:8080
SocketBindAllow=ipv6:udp:8080
"""


def handed(folder: Path, name: str) -> dict[str, Any]:
    """An object as the controller hands it over."""
    manifest = json.loads((folder / f"{name}.json").read_text())
    return {"_object": manifest, "_object_path": str(folder / f"{name}.bpf.o")}


def declare(policies: list[dict[str, Any]]) -> None:
    """What a task of cgnet_policy does on a host."""
    objects = Path(_policies.__file__).parents[1] / "objects"
    params = {
        "policies": policies, "purge": False, "on_unsupported": "warn", "readers": None,
        "permanent": False, **handed(objects, "policy"),
    }  # fmt: skip
    _reconcile.reconcile(_policies.prepare, params, False)


def attach(folder: Path, sets: list[str], policies: dict[str, dict[str, Any]]) -> None:
    """Each policy, and the empty programs on the hooks of each set, to cgroups of their own."""
    declare([{"cgroup": f"{BELOW}/ours_{name}", **each} for name, each in policies.items()])
    for name in sets:
        empty = f"empty_{name}"
        given = {"name": empty, "cgroups": [f"{BELOW}/{empty}"], "state": "present"}
        _reconcile.reconcile(_programs.prepare, {**given, **handed(folder, empty)}, False)


def detach(sets: list[str]) -> None:
    """All of it."""
    for name in ("policy", *(f"empty_{each}" for each in sets)):
        given = {"name": name, "cgroups": None, "state": "absent"}
        none = {"_object": None, "_object_path": None}
        _reconcile.reconcile(_programs.prepare, {**given, **none}, False)


@contextlib.contextmanager
def cgroups(names: list[str]) -> Iterator[dict[str, Path]]:
    """Cgroups of our own, removed in the end; first what a run that was killed has left."""
    top = Path(_cgroup.mounts("cgroup2")[0]) / BELOW
    _remove(top)
    top.mkdir()
    try:
        for name in names:
            (top / name).mkdir()
        yield {name: top / name for name in names}
    finally:
        _remove(top)


def _remove(top: Path) -> None:
    """A cgroup with those right below it, if it is there."""
    if top.exists():
        for path in [*(each for each in top.iterdir() if each.is_dir()), top]:
            path.rmdir()


@contextlib.contextmanager
def nft() -> Iterator[None]:
    """A network namespace where a rule gives the packets of a cgroup their priority."""
    remove = ["ip", "netns", "del", BELOW]
    if Path("/run/netns", BELOW).exists():  # of a run that was killed
        subprocess.run(remove, check=True)
    subprocess.run(["ip", "netns", "add", BELOW], check=True)
    try:
        subprocess.run(["ip", "-n", BELOW, "link", "set", "lo", "up"], check=True)
        command = ["nsenter", f"--net=/run/netns/{BELOW}", "nft", "-f", "-"]
        subprocess.run(command, input=RULE, text=True, check=True)
        yield
    finally:
        subprocess.run(remove, check=True)


@contextlib.contextmanager
def slice_of_systemd() -> Iterator[dict[str, Path]]:
    """The cgroup to which systemd has attached its own programs, where systemd runs."""
    if not Path("/run/systemd/system").is_dir():
        yield {}
        return
    unit = Path("/run/systemd/system") / SLICE
    unit.write_text(ALLOWED)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "start", SLICE], check=True)
    try:
        yield {"systemd": Path(_cgroup.mounts("cgroup2")[0]) / SLICE}
    finally:
        subprocess.run(["systemctl", "stop", SLICE], check=True)
        unit.unlink()
        subprocess.run(["systemctl", "daemon-reload"], check=True)


class Samples:
    """What was measured: call -> where -> nanoseconds."""

    def __init__(self, program: Path, scale: float, rounds: int) -> None:
        self.found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._program, self._scale, self._rounds = program, scale, rounds

    def take(self, where: dict[str, Path], chosen: tuple[str, ...] = tuple(COUNTS)) -> None:
        """Some rounds of some calls in some cgroups."""
        counts = [f"{call}={max(1, int(COUNTS[call] * self._scale))}" for call in chosen]
        groups = [f"{name}={path}" for name, path in where.items()]
        done = subprocess.run(
            [self._program, str(self._rounds), *counts, "--", *groups],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in done.stdout.splitlines():
            call, name, nanoseconds = line.split()
            self.found[call][name].append(float(nanoseconds))


def main() -> None:
    """Measure, and print it."""
    folder, scale, turns, rounds, *sets = sys.argv[1:]
    long = {control: lists(control) for control in LISTS if control in sets}
    policies = {name: SETS[name] for name in sets}
    policies.update((name, policy) for each in long.values() for name, policy in each.items())
    plain = ["none", "outside", "seccomp", "nft"]
    names = [*plain, *(f"empty_{name}" for name in sets), *(f"ours_{name}" for name in policies)]
    samples = Samples(Path(folder) / "calls", float(scale), int(rounds))
    with cgroups(names) as paths, nft(), slice_of_systemd() as slices:
        chosen = [name for name in names if name[5:] not in policies or name[5:] in sets]
        attached = {**{name: paths[name] for name in chosen[1:]}, **slices}
        # As what is attached is: a sample pays for the sockets of the one before, freed meanwhile.
        company = {f"beside_{name}": paths[name] for name in chosen[1:6]}
        for _turn in range(int(turns)):
            samples.take({"settling": paths["none"]})  # after all was detached the kernel frees it
            samples.take({"none": paths["none"], **company})
            try:
                attach(Path(folder), sets, policies)
                samples.take(attached)
                for control, more in long.items():
                    where = {f"{control}_1": paths[f"ours_{control}"]}
                    where.update((name, paths[f"ours_{name}"]) for name in more)
                    samples.take(where, (LISTS[control],))
            finally:
                detach(sets)
    for call in samples.found.values():
        for name in ("settling", *company):
            del call[name]
    json.dump({"release": os.uname().release, "calls": samples.found}, sys.stdout)


if __name__ == "__main__":
    main()
