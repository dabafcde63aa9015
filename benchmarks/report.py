# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of what was measured, and plots of them: benchmarks/figures.md and benchmarks/*.svg.

Everything is read from the JSON that the other scripts have printed. A ratio is the median of the
ratios of samples that were taken in the same round; behind it are their quartiles.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import plots

HERE = Path(__file__).parent
BUILT = HERE.parent / ".build/bench"
BESIDE = {"apply": "bare apply", "again": "bare look", "absent": "bare remove"}
"""A task's step, and the same calls in C."""
SAME_RULE = (
    ("ours_ipv4", "seccomp", ("socket",)),
    ("ours_bind_ports", "systemd", ("bind",)),
    ("ours_priority", "nft", ("socket", "send", "stream")),
    ("ours_priority_in_part", "nft", ("socket", "send", "stream")),
)
"""What we do, what else does it, and the calls that pay for either."""


def ratios(over: list[float], under: list[float]) -> tuple[float, float, float]:
    """Quartiles of the ratios of samples, round by round."""
    pairs = zip(over, under, strict=True)
    low, middle, high = statistics.quantiles([one / other for one, other in pairs], n=4)
    return low, middle, high


def shown(over: list[float], under: list[float]) -> str:
    """The same in a table."""
    low, middle, high = ratios(over, under)
    return f"{middle:.3f} ({low:.2f}-{high:.2f})"


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """A Markdown table whose numbers stand to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def floors(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Where something was measured, and what that is compared with."""
    known = set(names)
    for name in sorted(known):
        if name.startswith("ours_"):
            yield name, f"empty_{name[5:]}"
        elif name.startswith("empty_") or name in ("seccomp", "nft", "systemd"):
            yield name, "outside"
        elif name == "outside":
            yield name, "none"


def calls(told: dict[str, Any]) -> Iterator[str]:
    """Each call by what governs it, beside what that is compared with."""
    yield from (f"Linux {told['release']}.", "")
    found = told["calls"]
    names = list(found)
    medians = ["none, in ns", "", *(f"{statistics.median(found[c]['none']):.0f}" for c in names)]
    rows = [medians]
    for name, floor in floors(found["socket"]):
        rows.append([name, floor, *(shown(found[c][name], found[c][floor]) for c in names)])
    yield from table(["cgroup", "to", *names], rows)
    worst = max(
        (ratios(samples[name], samples[floor])[1], call, name)
        for call, samples in found.items()
        for name, floor in floors(found["socket"])
        if name.startswith("ours_")
    )
    yield f"The worst of ours to the empty programs: {worst[2]}, {worst[1]}, {worst[0]:.3f}."
    yield ""
    same = [
        [ours, other, call, shown(found[call][ours], found[call][other])]
        for ours, other, costly in SAME_RULE
        for call in costly
        if {ours, other} <= found[call].keys()
    ]
    yield from ("The same rule, by us and by others:", "")
    yield from table(["ours", "to", "call", "ratio"], same)
    yield from ("Lists, to the one with a single entry:", "")
    rows = []
    for call, samples in found.items():
        for name in samples:
            control, _sign, number = name.rpartition("_")
            if number.isdigit() and number != "1":
                ratio = shown(samples[name], samples[f"{control}_1"])
                rows.append([control, number, call, ratio])
    yield from table(["control", "entries", "call", "ratio"], rows)


def reconcile(told: dict[str, Any]) -> Iterator[str]:
    """Each step of a task by the number of cgroups, beside the same calls in C."""
    yield from (f"Linux {told['release']}.", "")
    rows = []
    for number, steps in told["numbers"].items():
        for step in ("apply", "again", "edit", "absent"):
            took = statistics.median(each["seconds"] for each in steps[step])
            peak = max(each["peak"] for each in steps[step]) / 1024
            kernel, ratio, least = "", "", ""
            if step == "apply" and int(number) >= 1000:  # else it is less than what else changes
                kernel = f"{statistics.median(e['kernel'] for e in steps[step]) / int(number):.1f}"
            if step in BESIDE:
                bare = statistics.median(each["seconds"] for each in steps[BESIDE[step]])
                least, ratio = f"{bare:.4f}", f"{took / bare:.1f}"
            tool = steps.get(f"bpftool {step}")
            by_tool = f"{tool[0]['seconds']:.2f}" if tool else ""
            rows.append([
                number, step, f"{took:.4f}", least, ratio, by_tool, f"{peak:.0f}", kernel,
            ])  # fmt: skip
    head = ["cgroups", "step", "s", "in C, s", "ratio", "bpftool, s", "peak, MiB", "kernel, KiB"]
    yield from table(head, rows)
    yield from ("System calls for one more cgroup:", "")
    counts = told["calls"]
    rows = [
        [step, f"{counts[step]:.0f}", f"{counts[BESIDE[step]]:.0f}" if step in BESIDE else ""]
        for step in ("apply", "again", "edit", "absent")
    ]
    yield from table(["step", "ours", "in C"], rows)


def through_ansible(told: dict[str, Any]) -> Iterator[str]:
    """Tasks and fleets, beside ping."""
    for kind, what in (("tasks", "policies"), ("fleet", "hosts")):
        rows = []
        for number, found in told[kind].items():
            ping = statistics.median(found["ping"])
            for task, samples in found.items():
                took = statistics.median(samples)
                rows.append([number, task, f"{took:.3f}", f"{took / ping:.2f}"])
        yield from table([what, "task", "s", "to ping"], rows)
    yield from ("What is sent, in KiB, and what an import takes, in ms:", "")
    rows = [[name, f"{size / 1024:.0f}"] for name, size in told["bytes"].items()]
    yield from table(["sent", "KiB"], rows)
    rows = [[n, f"{1000 * statistics.median(s):.0f}"] for n, s in told["imports"].items()]
    yield from table(["import", "ms"], rows)


COLUMNS = {
    "instructions": ("xlated", 1, 0),
    "verified": ("verified", 1, 0),
    "ms": ("seconds", 1000, 1),
}


def objects(told: list[dict[str, Any]]) -> Iterator[str]:
    """A program's size and what its verification takes, on each kernel."""
    head = ["program", *(f"{kernel['release']}: {what}" for kernel in told for what in COLUMNS)]
    rows = []
    for name, programs in told[0]["objects"].items():
        for program in programs:
            row = [f"{name}: {program}"]
            for kernel in told:
                found = kernel["objects"][name][program]
                row += (
                    [f"{found[key] * scale:.{digits}f}" for key, scale, digits in COLUMNS.values()]
                    if found
                    else ["-"] * len(COLUMNS)
                )
            rows.append(row)
    yield from table(head, rows)


def load(name: str) -> Any:
    """What a script has printed."""
    return json.loads((BUILT / f"{name}.json").read_text())


def main(suites: Iterable[str]) -> None:
    """Write the tables and the plots; of objects, in the order of some suites."""
    native, guest, many = load("calls-native"), load("calls-guest"), load("reconcile")
    kernels = [load(f"object-{suite}") for suite in suites]
    lines = ["# Figures", "", "`make bench` writes this file and the plots.", ""]
    for title, plot, part in (
        ("Calls, natively", "calls-native.svg", calls(native)),
        ("Calls, in an emulated guest", "calls-guest.svg", calls(guest)),
        ("A task for many cgroups", "reconcile.svg", reconcile(many)),
        ("Through Ansible", "", through_ansible(load("ansible"))),
        ("Objects", "", objects(kernels)),
    ):
        lines += [f"## {title}", "", *([f"![{title}]({plot})", ""] if plot else []), *part]
    (HERE / "figures.md").write_text("\n".join(lines).rstrip() + "\n")
    plots.calls(native, floors, ratios, HERE / "calls-native.svg")
    plots.calls(guest, floors, ratios, HERE / "calls-guest.svg")
    plots.reconcile(many, BESIDE, HERE / "reconcile.svg")
