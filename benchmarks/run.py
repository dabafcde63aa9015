# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure everything, and write benchmarks/figures.md and the plots.

python3 -m benchmarks.run [PART...]

The parts are calls, guest, reconcile, ansible and object; all of them without any. What is native
runs on this machine's kernel, in cgroups below one of its own, with a bpffs and a network namespace
of its own. With `report` alone nothing is measured, and what was is told again.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import empty, report
from tests.vm._guests import Guest, down, up

ROOT = Path(__file__).parents[1]
BUILT = ROOT / ".build/bench"
SUITES = ("debian12", "debian13", "debian13-backports")
PLAIN = ("tos", "bind_ports", "ipv4", "cgroup")
NATIVE = (*PLAIN, "priority_in_part")
GUEST = (*PLAIN, "priority", "sockopts", "all")
GUESTS_TREE = "/bench/ansible_collections/linux/cgnet"
APART = """\
ip link set lo up
mount -t bpf bpf /sys/fs/bpf
findmnt --types cgroup2 /sys/fs/cgroup >/dev/null || {
    umount --all --types cgroup2
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
}
exec "$@"
"""
"""Runs a command in new namespaces. nft looks for cgroups where Debian mounts them."""


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(f"==> {text}", file=sys.stderr, flush=True)


def build() -> None:
    """The programs and the empty objects."""
    BUILT.mkdir(parents=True, exist_ok=True)
    for name, more in (("calls", ("-static",)), ("bare", ("-lbpf",))):  # calls is for guests too
        command = ["clang-16", "-O2", "-Wall", "-o", BUILT / name, f"benchmarks/{name}.c", *more]
        subprocess.run(command, cwd=ROOT, check=True)
    empty.build(BUILT)


def apart(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our scripts in namespaces of its own."""
    script = ["unshare", "--mount", "--net", "sh", "-e", "-c", APART, "sh"]
    return [*script, "python3", "-m", f"benchmarks.{module}", *arguments]


def output(name: str, command: list[str]) -> None:
    """What a command prints goes to NAME.json, when it has ended well."""
    say(name)
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    (BUILT / f"{name}.json").write_bytes(done.stdout)


def in_guest(name: str, suite: str, module: str, *arguments: str) -> None:
    """Run a script in a systemd guest, where systemd attaches programs of its own too."""
    guest = Guest("benchmark")
    up(guest, suite, "", 1024)
    try:
        trees = ["-C", str(ROOT), "plugins", "benchmarks", "-C", str(BUILT.parent), BUILT.name]
        packed = subprocess.check_output(["tar", "-c", "--exclude=__pycache__", *trees])
        unpack = f"mkdir -p {GUESTS_TREE} && tar -x -C {GUESTS_TREE}"
        subprocess.run(guest.ssh(unpack), input=packed, check=True)
        command = shlex.join(apart(module, *arguments))
        paths = f"PYTHONPATH=/bench:{GUESTS_TREE}"
        output(name, guest.ssh(f"cd {GUESTS_TREE} && {paths} {command}"))
    finally:
        down(guest)


def object_in_guest(suite: str) -> None:
    """What the bundled objects are to a kernel."""
    command = [sys.executable, "-m", "tests.vm", "run", suite, "--timeout", "1200", "--"]
    output(f"object-{suite}", [*command, "python3", "-m", "benchmarks.measure_object"])


def part_calls() -> None:
    """On this machine's kernel."""
    output("calls-native", apart("measure_calls", str(BUILT), "0.5", "30", "3", *NATIVE))


def part_guest() -> None:
    """With all controls, beside systemd's."""
    arguments = ("bench", "0.04", "5", "8", *GUEST)
    in_guest("calls-guest", "debian13", "measure_calls", *arguments)


def part_reconcile() -> None:
    """For up to 5,000 cgroups."""
    numbers = ("1", "10", "100", "1000", "5000")
    output("reconcile", apart("measure_reconcile", str(BUILT / "bare"), "3", "cgroup", *numbers))


def part_ansible() -> None:
    """Through ansible-playbook."""
    output("ansible", apart("measure_ansible", "5", "cgroup", "1", "1000"))


def part_object() -> None:
    """On each kernel."""
    for suite in SUITES:
        object_in_guest(suite)


PARTS: dict[str, Callable[[], None]] = {
    "calls": part_calls,
    "guest": part_guest,
    "reconcile": part_reconcile,
    "ansible": part_ansible,
    "object": part_object,
    "report": lambda: report.main(SUITES),
}


def main() -> None:
    """Measure some parts, and report."""
    begin = time.monotonic()
    if os.geteuid():
        sys.exit("make bench attaches programs to cgroups of this machine, so it needs root")
    chosen = sys.argv[1:] or list(PARTS)
    for part in chosen:
        if part not in PARTS:
            sys.exit(f"{part} is no part: {', '.join(PARTS)} are")
    if chosen != ["report"]:
        build()
    for part in chosen:
        PARTS[part]()
        say(f"{part}: done after {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
