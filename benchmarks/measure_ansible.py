# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task costs through Ansible, in turn with ansible.builtin.ping on the same host.

python3 -m benchmarks.measure_ansible REPETITIONS SET NUMBER...

Tasks run over local connections; of a fleet each host has a cgroup of its own. Prints JSON:
"tasks" has for a number of policies the seconds of each task, "fleet" for a number of hosts those
of a run in which nothing changes, "bytes" what is sent for a task and what the shipped object
has, "imports" the seconds that a process needs to begin and import a module.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _policies

from benchmarks.measure_calls import BELOW, cgroups
from benchmarks.sets import SETS

ROOT = Path(__file__).parents[1]
FLEETS = (1, 10, 50)


def policies(chosen: str, names: list[str], state: str = "present") -> list[dict[str, Any]]:
    """The entries of a task."""
    more = SETS[chosen] if state == "present" else {"state": state}
    return [{"cgroup": f"{BELOW}/{name}", **more} for name in names]


def task(name: str, module: str, **arguments: Any) -> dict[str, Any]:
    """A task of a play."""
    return {"name": name, module: arguments}


def declare(name: str, entries: Any) -> dict[str, Any]:
    """A task of cgnet_policy."""
    return task(name, "linux.cgnet.cgnet_policy", policies=entries)


def played(
    tasks: list[dict[str, Any]], hosts: dict[str, dict[str, Any]], **more: str
) -> list[dict[str, Any]]:
    """What the callback tells of a play; `more` goes into Ansible's environment."""
    play = [{"name": "A benchmark", "hosts": "all", "gather_facts": False, "tasks": tasks}]
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": {name: {**local, **own} for name, own in hosts.items()}}}
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "benchmarks/callback"),
        "ANSIBLE_STDOUT_CALLBACK": "durations",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
        "ANSIBLE_FORKS": str(os.cpu_count()),
        **more,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("play.json", play), ("inventory.json", inventory)):
            (Path(folder) / name).write_text(json.dumps(content))
        done = subprocess.run(
            ["ansible-playbook", "-i", f"{folder}/inventory.json", f"{folder}/play.json"],
            env=environment, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for each in told:
        if not each["ok"]:
            raise RuntimeError(each)
    return told


def tasks_of(chosen: str, names: list[str], repetitions: int) -> dict[str, list[float]]:
    """A first apply, then in turn ping and the same again, and a removal."""
    present, gone = policies(chosen, names), policies(chosen, names, "absent")
    turn = [task("ping", "ansible.builtin.ping"), declare("again", present)]
    told = played(
        [declare("first", present), *turn * repetitions, declare("absent", gone)], {"here": {}}
    )
    found = defaultdict(list)
    for each in told:
        found[each["task"]].append(each["seconds"])
        if each["changed"] != (each["task"] in ("first", "absent")):
            raise RuntimeError(each)
    return found


def fleet_of(chosen: str, number: int, repetitions: int) -> dict[str, list[float]]:
    """How long a run over so many hosts takes: ping, and a policy that is there already."""
    names = [f"c{each}" for each in range(number)]
    hosts = {name: {"entries": policies(chosen, [name])} for name in names}
    same = declare("again", "{{ entries }}")
    played([same], hosts)
    found = defaultdict(list)
    try:
        for _repetition in range(repetitions):
            for name, each in (("ping", task("ping", "ansible.builtin.ping")), ("again", same)):
                begin = time.monotonic()
                played([each], hosts)
                found[name].append(time.monotonic() - begin)
    finally:
        played([declare("absent", policies(chosen, names, "absent"))], {"here": {}})
    return found


def sizes(chosen: str) -> dict[str, int]:
    """Bytes of what a task sends, and of the object, which goes to a host that has not got it."""
    found = {}
    for name, each in (
        ("ping", task("ping", "ansible.builtin.ping")),
        ("cgnet_policy", declare("absent", policies(chosen, ["c0"], "absent"))),
    ):
        with tempfile.TemporaryDirectory() as folder:
            hosts = {"here": {"ansible_remote_tmp": folder}}
            played([each], hosts, ANSIBLE_KEEP_REMOTE_FILES="1", ANSIBLE_PIPELINING="0")
            found[name] = sum(path.stat().st_size for path in Path(folder).rglob("AnsiballZ_*"))
    objects = Path(_policies.__file__).parents[1] / "objects"
    return {**found, "object": (objects / f"{_policies.OBJECT}.bpf.o").stat().st_size}


def imports(repetitions: int) -> dict[str, list[float]]:
    """What a module imports before it does anything, in turn."""
    ours = "ansible_collections.linux.cgnet.plugins.modules.cgnet_policy"
    found = defaultdict(list)
    for _repetition in range(repetitions):
        for name in ("sys", "ansible.module_utils.basic", ours):
            begin = time.monotonic()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            found[name.rpartition(".")[2]].append(time.monotonic() - begin)
    return found


def main() -> None:
    """Measure, and print it."""
    repetitions, chosen, *numbers = sys.argv[1:]
    most = max(*map(int, numbers), *FLEETS)
    with cgroups([f"c{number}" for number in range(most)]):
        tasks = {
            number: tasks_of(chosen, [f"c{each}" for each in range(int(number))], int(repetitions))
            for number in numbers
        }
        fleet = {number: fleet_of(chosen, number, int(repetitions)) for number in FLEETS}
        sent = sizes(chosen)
    more = {"bytes": sent, "imports": imports(4 * int(repetitions))}
    json.dump({"tasks": tasks, "fleet": fleet, **more}, sys.stdout)


if __name__ == "__main__":
    main()
