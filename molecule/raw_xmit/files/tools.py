# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints as JSON what comes of tools inside the prober's cgroup and outside of it.

An outcome is "ok", "EPERM", or all that a tool said. A capture is ok once it saw three packets,
and a sender once a capture outside of the cgroup, at the other end of the veth, saw three of its.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

SERVICE = "prober.service"
PROCS = f"/sys/fs/cgroup/system.slice/{SERVICE}/cgroup.procs"
PING_GROUPS = Path("/proc/sys/net/ipv4/ping_group_range")
# From an address that is not the host's, as nping sends by a raw socket only.
PROBES = "udp and src 192.0.2.3 and dst port 9"
FRAME = "{ eth(da=ff:ff:ff:ff:ff:ff, proto=0x88b5), fill(0, 46) }"
# It asks for PACKET_QDISC_BYPASS unless told not to.
TRAFGEN = ("trafgen", "--qdisc-path", "--cpus", "1", "-n", "3", "-o", "near", FRAME)
# Without an end: given a count, it ends when it should have sent so many, which it may not have.
NPING = (
    "nping", "--send-ip", "--no-capture", "--quiet", "--count", "0", "--delay", "10ms",
    "--icmp", "192.0.2.2",
)  # fmt: skip

Process = subprocess.Popen[str]


def outside(*command: str) -> Process:
    """A command that is ended after a minute."""
    return subprocess.Popen(
        ["timeout", "60", *command], cwd="/tmp", text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def inside(*command: str) -> Process:
    """The same in the prober's cgroup."""
    return outside("sh", "-c", 'echo 0 >"$0" && exec "$@"', PROCS, *command)


def tcpdump(end: str, packets: str) -> tuple[str, ...]:
    """A command that ends once it saw three packets at an end of the veth."""
    netns = ("ip", "netns", "exec", "far") if end == "far" else ()
    return (*netns, "tcpdump", "--immediate-mode", "-nc", "3", "-i", end, packets)


def outcome(process: Process) -> str:
    """What came of a command."""
    printed, said = process.communicate()
    if process.returncode == 0:
        return "ok"
    if "Operation not permitted" in said:
        return "EPERM"
    return f"exit {process.returncode}: {printed}{said}"


def sending(packets: str, *command: str) -> str:
    """What comes of a sender inside that does not end."""
    capture, sender = outside(*tcpdump("far", packets)), inside(*command)
    seen = outcome(capture)
    sender.terminate()
    said = outcome(sender)
    return seen if seen == "ok" else said


def sent(packets: str, *command: str) -> str:
    """What came of a sender inside."""
    capture = outside(*tcpdump("far", packets))
    assert capture.stderr
    assert any("listening on" in line for line in capture.stderr)
    said = outcome(inside(*command))
    if said == "ok":
        return outcome(capture)
    capture.terminate()
    capture.communicate()
    return said


def ping(groups: str) -> str:
    """ping inside; its socket is raw unless its group is among those that may have ping sockets."""
    PING_GROUPS.write_text(groups, encoding="ascii")
    process = inside("ping", "-c", "1", "192.0.2.2")
    assert process.stderr
    if "Operation not permitted" not in process.stderr.readline():
        return outcome(process)
    process.terminate()  # it would say so again and again until its time is over
    process.communicate()
    return "EPERM"


def outcomes() -> dict[str, str]:
    """Every tool's outcome."""
    captures = {
        f"tcpdump {end}, {where}": run(*tcpdump(end, PROBES))
        for where, run in (("outside", outside), ("inside", inside))
        for end in ("near", "far")
    }
    return {
        **{name: outcome(capture) for name, capture in captures.items()},
        # Nothing starts it again, so it is the one from before the policy.
        "systemctl is-active": outcome(outside("systemctl", "is-active", SERVICE)),
        "nping": sending("icmp[icmptype] == icmp-echo", *NPING),
        "trafgen by sendto()": sent("ether proto 0x88b5", *TRAFGEN, "--gap", "10ms"),
        # It sets SO_PRIORITY too.
        "trafgen by a ring": sent("ether proto 0x88b5", *TRAFGEN),
        "ping, not raw": ping("0 0"),
        "ping, raw": ping("1 0"),
    }


if __name__ == "__main__":
    print(json.dumps(outcomes()))
