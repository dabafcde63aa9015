# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plots of benchmarks/report.py."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "cgnet"  # the same figures give the same file

from matplotlib import pyplot  # noqa: E402  which backend it has is said before

Quartiles = tuple[float, float, float]
WITHOUT_DATE = {"Date": None}


def calls(
    told: dict[str, Any],
    floors: Callable[[Iterable[str]], Iterator[tuple[str, str]]],
    ratios: Callable[[list[float], list[float]], Quartiles],
    path: Path,
) -> None:
    """How many times the empty programs each call takes with ours, with quartiles."""
    found = told["calls"]
    pairs = [pair for pair in floors(found["socket"]) if pair[0].startswith("ours_")]
    figure, axes = pyplot.subplots(figsize=(9, 4))
    for index, (name, floor) in enumerate(pairs):
        three = [ratios(found[call][name], found[call][floor]) for call in found]
        places = [at + 0.8 * (index / len(pairs) - 0.5) for at in range(len(found))]
        middles = [middle for _low, middle, _high in three]
        below = [middle - low for low, middle, _high in three]
        above = [high - middle for _low, middle, high in three]
        axes.errorbar(places, middles, yerr=(below, above), fmt="o", capsize=2, label=name[5:])
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(found)), list(found))
    axes.set_ylabel("ours, to empty programs")
    axes.set_title(f"Linux {told['release']}: median and quartiles of each round's ratio")
    axes.legend(ncols=2, fontsize="small")
    _write(figure, path)


def reconcile(told: dict[str, Any], beside: dict[str, str], path: Path) -> None:
    """Seconds by the number of cgroups, of our steps and of the same calls in C."""
    figure, axes = pyplot.subplots(figsize=(9, 4))
    numbers = [int(number) for number in told["numbers"]]
    for index, (step, bare) in enumerate(beside.items()):
        for name, style in ((step, "o-"), (bare, "x--")):
            seconds = [
                statistics.median(each["seconds"] for each in steps[name])
                for steps in told["numbers"].values()
            ]
            axes.plot(numbers, seconds, style, color=f"C{index}", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("cgroups")
    axes.set_ylabel("seconds")
    axes.set_title("A task for many cgroups, and the same calls in C")
    axes.legend(ncols=3, fontsize="small")
    _write(figure, path)


def _write(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata=WITHOUT_DATE)
    pyplot.close(figure)
