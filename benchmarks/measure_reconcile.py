# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a task takes for many cgroups, in turn with the same bpf() calls in C and by bpftool.

python3 -m benchmarks.measure_reconcile BARE REPETITIONS SET NUMBER...

BARE is the built benchmarks/bare.c. Prints JSON. "numbers": number of cgroups -> step -> samples,
each with its seconds, and those of our own with the peak of the process's memory in KiB and the
kernel's memory in KiB that it took. "calls": step -> system calls for one more cgroup.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _policies, _worker
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel

from benchmarks.measure_calls import BELOW, cgroups, declare
from benchmarks.sets import SETS

OBJECT = Path(_policies.__file__).parents[1] / "objects/policy.bpf.o"
PINS = "/sys/fs/bpf/cgnet_bare"
BY_BPFTOOL = 100
"""The most cgroups that bpftool is run for: it takes some processes for each."""
COUNTED = (1, 101)
"""For so many cgroups system calls are counted."""
STEPS = ("apply", "again", "edit", "absent")
IN_C = ("apply", "look", "remove")


def entries(step: str, chosen: str, number: int) -> list[dict[str, Any]]:
    """What a task declares. An edit is one entry's."""
    names = [{"cgroup": f"{BELOW}/c{each}"} for each in range(number)]
    if step == "absent":
        return [{**name, "state": "absent"} for name in names]
    listed = [{**name, **SETS[chosen]} for name in names]
    if step == "edit":
        listed[-1]["bind_ports"] = {"tcp": [8080, 8081]}
    return listed


def kernel_memory() -> int:
    """KiB that the kernel uses for itself."""
    told = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    names = ("Slab", "Percpu", "VmallocUsed", "PageTables", "KernelStack")
    return sum(int(told[name].split()[0]) for name in names)


def sampled(work: Callable[[], None]) -> dict[str, float]:
    """What some work costs, in a process of its own, which has a worker as on a host."""
    before = kernel_memory()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        begin = time.monotonic()
        _worker.run(work)
        took = time.monotonic() - begin
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        os.write(writer, json.dumps({"seconds": took, "peak": peak}).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        found: dict[str, float] = json.loads(pipe.read())
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("a run has failed")
    return {**found, "kernel": kernel_memory() - before}


def stored(cgroup: Path) -> tuple[list[str], bytes]:
    """Of a cgroup's policy the programs that are attached, and what is stored."""
    number = cgroup.stat().st_ino
    with Kernel.open() as kernel:
        observed = kernel.observe(_policies.OBJECT)
        (version,) = observed.versions
        programs = sorted(observed.versions[version].cgroups[number].attached)
        folder = kernel.layout.maps(_policies.OBJECT, version)
    with _libbpf.pinned(f"{folder}/policies") as fd:
        value = ctypes.create_string_buffer(_libbpf.info(fd, _libbpf.MapInfo()).value_size)
        key = ctypes.c_uint64(number)
        _libbpf.library().call("bpf_map_lookup_elem", fd, ctypes.byref(key), value)
    return programs, value.raw


class Bare:
    """The same in C, and by bpftool."""

    def __init__(self, program: str, programs: list[str], value: bytes, paths: list[Path]) -> None:
        self._program, self._programs, self._value, self._paths = program, programs, value, paths

    def run(self, step: str) -> float:
        """Seconds of a step in C."""
        with self._command(step) as (command, text):
            done = subprocess.run(
                command, input=text, check=True, stdout=subprocess.PIPE, text=True
            )
        return int(done.stdout) / 1e9

    def calls(self, step: str) -> int:
        """System calls of a step in C."""
        with self._command(step) as (command, text):
            return system_calls(command, text)

    @contextlib.contextmanager
    def _command(self, step: str) -> Iterator[tuple[list[str | Path], str]]:
        """What runs a step, and what it reads."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(self._value)
            file.flush()
            command = [self._program, step, OBJECT, "policies", file.name, PINS, *self._programs]
            yield command, "\n".join(map(str, self._paths))

    def by_bpftool(self) -> float:
        """Seconds of attaching and storing by a loop of bpftool. `apply` in C has pinned it."""
        tool, multi = ["bpftool", "cgroup"], "multi"
        kinds = {name: self._kind(f"{PINS}/{name}") for name in self._programs}
        value = self._value.hex(" ").split()
        begin = time.monotonic()
        for path in self._paths:
            for name, kind in kinds.items():
                command = [*tool, "attach", path, kind, "pinned", f"{PINS}/{name}", multi]
                subprocess.run(command, check=True)
            key = path.stat().st_ino.to_bytes(8, sys.byteorder).hex(" ").split()
            update = ["bpftool", "map", "update", "pinned", f"{PINS}/map", "key", "hex", *key]
            subprocess.run([*update, "value", "hex", *value], check=True)
        took = time.monotonic() - begin
        for path in self._paths:
            for name, kind in kinds.items():
                command = [*tool, "detach", path, kind, "pinned", f"{PINS}/{name}"]
                subprocess.run(command, check=True)
        return took

    def _kind(self, pin: str) -> str:
        """What bpftool calls the hook of a program that C has attached."""
        name = Path(pin).name
        told = json.loads(
            subprocess.check_output(["bpftool", "--json", "cgroup", "show", self._paths[0]])
        )
        return next(str(each["attach_type"]) for each in told if name.startswith(each["name"][:15]))


def system_calls(command: list[str | Path], text: str = "") -> int:
    """How many a command makes, by strace."""
    with tempfile.NamedTemporaryFile("r") as file:
        counting = ["strace", "-f", "-c", "-U", "calls,name", "-o", file.name, *command]
        subprocess.run(counting, check=True, input=text, stdout=subprocess.DEVNULL, text=True)
        lines = [line.split() for line in file]
    return sum(int(line[0]) for line in lines if line[-1:] != ["total"] and line[0].isdigit())


def counted(program: str, chosen: str) -> dict[str, float]:
    """Step -> system calls for one more cgroup."""
    found: dict[str, list[int]] = defaultdict(list)
    for number in COUNTED:
        with cgroups([f"c{each}" for each in range(number)]) as paths:
            alone = [sys.executable, "-m", "benchmarks.measure_reconcile", "alone"]
            for step in STEPS[:-1]:
                found[step].append(system_calls([*alone, step, chosen, str(number)]))
            declare(entries("apply", chosen, number))
            bare = Bare(program, *stored(paths["c0"]), list(paths.values()))
            found["absent"].append(system_calls([*alone, "absent", chosen, str(number)]))
            for step in IN_C:
                found[f"bare {step}"].append(bare.calls(step))
    more = COUNTED[1] - COUNTED[0]
    return {step: (many - few) / more for step, (few, many) in found.items()}


def measured(program: str, chosen: str, number: int, repetitions: int) -> dict[str, list[Any]]:
    """Step -> samples."""
    found: dict[str, list[Any]] = defaultdict(list)
    with cgroups([f"c{each}" for each in range(number)]) as paths:
        for repetition in range(repetitions):
            for step in STEPS:
                work = entries(step, chosen, number)
                if step == "absent":
                    bare = Bare(program, *stored(paths["c0"]), list(paths.values()))
                found[step].append(sampled(lambda work=work: declare(work)))
            for step in IN_C:
                found[f"bare {step}"].append({"seconds": bare.run(step)})
                if step == "apply" and repetition == 0 and number <= BY_BPFTOOL:
                    found["bpftool apply"].append({"seconds": bare.by_bpftool()})
    return found


def main() -> None:
    """Measure, and print it; or do a step alone, for who counts its system calls."""
    if sys.argv[1] == "alone":
        step, chosen, number = sys.argv[2:]
        _worker.run(lambda: declare(entries(step, chosen, int(number))))
        return
    program, repetitions, chosen, *numbers = sys.argv[1:]
    samples = {
        number: measured(program, chosen, int(number), int(repetitions)) for number in numbers
    }
    told = {"numbers": samples, "calls": counted(program, chosen)}
    json.dump({"release": os.uname().release, **told}, sys.stdout)


if __name__ == "__main__":
    main()
