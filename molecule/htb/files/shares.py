# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run programs in two slices, and say as JSON which classes of the uplink each has used.

Also at what share of its class's rate each slice sends when both do.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable

SLICES = ("frontend.slice", "jobs.slice")
PEER = "192.0.2.2"
RATES = {"frontend.slice": 20e6, "jobs.slice": 5e6}
SECONDS = 5


def held(name: str, *command: str) -> list[str]:
    """The command that runs another one in a slice."""
    return ["systemd-run", "--quiet", "--scope", f"--slice={name}", "--", *command]


def run(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def sent() -> dict[str, int]:
    """The bytes of each class without others below it."""
    told = run("tc", "-statistics", "class", "show", "dev", "uplink")
    found = re.findall(r"class htb (\S+) parent .*?Sent (\d+) bytes", told, re.DOTALL)
    return {name: int(count) for name, count in found}


def listens() -> bool:
    """Whether a server listens on port 8080."""
    return run("ss", "--no-header", "-ltn", "sport = :8080") != ""


def accepting(name: str) -> None:
    """A server in the slice sends to a client of the peer's."""
    with subprocess.Popen(
        held(name, "iperf3", "-s", "-1", "-p", "8080"), stdout=subprocess.DEVNULL
    ):
        end = time.monotonic() + 60
        while not listens():
            assert time.monotonic() < end, "iperf3 does not listen"
            time.sleep(0.05)
        client = ("iperf3", "-c", "192.0.2.1", "-p", "8080", "-R", "-n", "100K")
        run("ip", "netns", "exec", "peer", *client)


PROGRAMS: dict[str, Callable[[str], object]] = {
    "iperf3": lambda name: run(*held(name, "iperf3", "-c", PEER, "-n", "100K")),
    "iperf3, UDP": lambda name: run(*held(name, "iperf3", "-c", PEER, "-u", "-n", "20K")),
    "ping": lambda name: run(*held(name, "ping", "-c", "1", PEER)),
    "nping, IP": lambda name: run(*held(name, "nping", "-c", "1", "--icmp", "--send-ip", PEER)),
    "nping, Ethernet": lambda name: run(
        *held(name, "nping", "-c", "1", "--icmp", "--send-eth", PEER)
    ),
}


def used(program: Callable[[str], object], name: str) -> list[str]:
    """The classes that have sent while a program ran in a slice."""
    before = sent()
    program(name)
    return [classid for classid, count in sent().items() if count != before[classid]]


def shares() -> dict[str, bool]:
    """Whether what each sends at once with the other is within 15 % of its rate."""
    command = ("iperf3", "-c", PEER, "-t", str(SECONDS), "-J", "-p")
    running = {
        name: subprocess.Popen(held(name, *command, port), stdout=subprocess.PIPE, text=True)
        for name, port in zip(SLICES, ("5201", "5202"))
    }
    found = {}
    for name, process in running.items():
        told = json.loads(process.communicate()[0])
        rate = told["end"]["sum_received"]["bits_per_second"]
        found[name] = rate if abs(rate / RATES[name] - 1) > 0.15 else True
    return found


print(
    json.dumps(
        {
            "used": {
                name: {what: used(program, name) for what, program in PROGRAMS.items()}
                | ({"iperf3, accepting": used(accepting, name)} if name == SLICES[0] else {})
                for name in SLICES  # the other one may not serve
            },
            "shares": shares(),
        }
    )
)
