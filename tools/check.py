"""Every check, one line for each as it ends, then a table and the sum of the tests.

    python -m tools.check KERNEL...

A stage is a make target. The cheap ones go first, one by one. Of the others two run beside each
other, since a guest keeps one core busy: the long ones first, so that both cores are busy to the
end. A stage's output goes to .build/check/STAGE.log, and is shown if it fails; its first failures
are told again at the end.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools._tree import BUILD, ROOT

# All else stands on these, so they are not done again.
BUILT = ("object", "collection")
FIRST = (*BUILT, "ruff", "yamllint", "changelog", "mypy", "docs")
# Before the kernel tests and after them.
LONG = ("molecule",)
SHORT = (
    "unit", "sanity-newest", "sanity", "unit-newest", "ansible-lint", "kernel-without-bpf-lsm",
)  # fmt: skip
# It reads what the unit and the kernel tests have left.
LAST = ("threats",)
# Of each stage that fails, so many failures are told at the end.
TOLD = 5
# After so many seconds without news, a line tells what is being done.
QUIET = 60
# Colours, and the border along which molecule folds what Ansible says.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FOLD = re.compile(r"\n *│   +")


@dataclass(frozen=True)
class Result:
    """What came of a stage. Counts are tests; a stage that counts none is one test."""

    stage: str
    ok: bool
    seconds: float
    passed: int
    failed: int
    skipped: tuple[str, ...]
    failures: tuple[str, ...] = ()

    def __str__(self) -> str:
        verdict = "passed" if self.ok else "FAILED"
        counts = f"{self.passed:6} {self.failed:6} {len(self.skipped):7}"
        return f"{self.stage:26} {verdict:7} {self.seconds:7.1f} {counts}"


class Check:
    """One run of all stages. `results` fills in the order in which the stages end."""

    def __init__(self, kernels: list[str]) -> None:
        self.results: list[Result] = []
        self._kernels = kernels
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def lane(self, stages: Iterable[str]) -> None:
        """Run the stages one by one, on after a failure."""
        for stage in stages:
            self._say(f"==> {stage}")
            begin = time.monotonic()
            status = self._make(stage)
            if status is None:
                return
            result = count(stage, status == 0, time.monotonic() - begin)
            self.results.append(result)
            if not result.ok:
                self._show(stage)
            self._say(
                f"==> {stage}: {'passed' if result.ok else 'FAILED'}, {result.seconds:.1f} s, "
                f"{result.passed} passed, {result.failed} failed, {len(result.skipped)} skipped"
            )

    def readable(self, stages: tuple[str, ...]) -> Iterator[str]:
        """The stages that read what others left, where those passed; they fail unrun elsewhere."""
        read = ("unit", *(f"kernel-{kernel}" for kernel in self._kernels))
        broken = [r.stage for r in self.results if r.stage in read and not r.ok]
        for stage in stages:
            if not broken:
                yield stage
                continue
            why = f"not run, since {', '.join(broken)} failed"
            self.results.append(Result(stage, False, 0.0, 0, 1, (), (why,)))
            self._say(f"==> {stage}: FAILED, {why}")

    def end(self) -> None:
        """End what is running, and let nothing else begin."""
        with self._lock:
            self._ended = True
            for process in self._running:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)

    def _make(self, stage: str) -> int | None:
        """Exit status of the make target, None when the run is being ended."""
        settled = [f"--old-file={target}" for target in ("setup", *BUILT) if target != stage]
        with log(stage).open("wb") as output:
            with self._lock:
                if self._ended:
                    return None
                # A process group of its own, so that end() reaches all that it starts.
                command = ["make", *settled, f"KERNELS={' '.join(self._kernels)}", stage]
                process = subprocess.Popen(
                    command, cwd=ROOT, start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                )  # fmt: skip
                self._running.add(process)
            status = None
            while status is None:
                try:
                    status = process.wait(QUIET)
                except subprocess.TimeoutExpired:
                    self._say(f"    {stage}: {last_line(stage)}")
        with self._lock:
            self._running.remove(process)
        return None if self._ended else status

    def _show(self, stage: str) -> None:
        with self._lock:
            print(log(stage).read_text(encoding="utf-8", errors="replace"), flush=True)

    def _say(self, text: str) -> None:
        with self._lock:
            print(f"[{time.monotonic() - self._started:6.1f}] {text}", flush=True)


def log(stage: str) -> Path:
    return BUILD / "check" / f"{stage}.log"


def last_line(stage: str) -> str:
    lines = log(stage).read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1].strip()[:100] if lines else "begun"


def last_failure(stage: str) -> str:
    """The last task that failed by what Ansible says, or the last line where it says nothing."""
    text = log(stage).read_text(encoding="utf-8", errors="replace")
    task = ""
    failed = []
    for line in FOLD.sub(" ", COLOUR.sub("", text)).splitlines():
        said = line.lstrip(" │")
        if said.startswith("TASK ["):
            task = said.rstrip(" *")
        elif said.startswith(("fatal: ", "failed: ")):
            failed.append(f"{task}: {said}")
    return failed[-1] if failed else last_line(stage)


def count(stage: str, ok: bool, seconds: float) -> Result:
    """Read the JUnit files that the stage left in .build/junit/STAGE."""
    passed = 0
    skipped, failures = [], []
    for path in sorted((BUILD / "junit" / stage).glob("*.xml")):
        for case in ET.parse(path).iter("testcase"):
            skip = case.find("skipped")
            problem = case.find("failure")
            problem = case.find("error") if problem is None else problem
            if problem is not None:
                said = (problem.get("message") or "").partition("\n")[0]
                failures.append(f"{case.get('classname')}::{case.get('name')}: {said}"[:300])
            elif skip is not None:
                why = skip.get("message") or skip.text
                skipped.append(f"{case.get('name')}: {why}")
            else:
                passed += 1
    if ok and not passed and not failures and not skipped:
        passed = 1
    if not ok and not failures:  # it ended before its tests did, or beside them
        failures = [last_failure(stage)]
    return Result(
        stage, ok and not failures, seconds, passed, len(failures), tuple(skipped), tuple(failures)
    )


def main() -> int:
    """Return 0 when every stage passed, 1 otherwise, 130 when it was interrupted."""
    shutil.rmtree(BUILD / "check", ignore_errors=True)
    shutil.rmtree(BUILD / "junit", ignore_errors=True)
    (BUILD / "check").mkdir(parents=True)
    kernels = sys.argv[1:]
    check = Check(kernels)
    both = iter([*LONG, *(f"kernel-{kernel}" for kernel in kernels), *SHORT])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        for lanes in ((FIRST,), (both, both), (check.readable(LAST),)):
            threads = [threading.Thread(target=check.lane, args=(lane,)) for lane in lanes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    except KeyboardInterrupt:
        check.end()
        print("interrupted", file=sys.stderr)
        return 130
    results = check.results
    for result in results:
        for skip in result.skipped:
            print(f"skipped in {result.stage}: {skip}")
    for result in results:
        for failure in result.failures[:TOLD]:
            print(f"failed in {result.stage}: {failure}")
    print(f"\n{'stage':26} {'verdict':7} {'seconds':>7} passed failed skipped")
    print("\n".join(str(result) for result in results))
    print(f"\n{sum(r.passed for r in results)} passed, {sum(r.failed for r in results)} failed")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
