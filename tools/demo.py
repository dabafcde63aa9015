"""The demo: a play makes the kernel of a guest enforce what a service may do.

    python -m tools.demo [SUITE]

Boots a guest with a service, runs examples/web.yml against it with ansible-playbook, and
shows what the service's own calls returned before and after. Then the play once more, which
has nothing to change, and in check mode with one line edited. Fails if the kernel does
anything else than tests/service/expected.yml says. The guest is left running.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.vm._errors import VmError
from tests.vm._guests import Guest, down, up
from tools._tree import BUILD, ROOT

GUEST = Guest("demo")
SERVICE = ROOT / "tests/service"
PLAY = ROOT / "examples/web.yml"
# The line of PLAY that is edited for the check-mode run.
LINE, EDITED = 'tcp: [443, "8000-8099"]', 'tcp: [443, "8000-8099", 9090]'

console = Console(highlight=False)


class DemoError(Exception):
    """Something did not go as the demo promises; the text says what."""


def main() -> int:
    """0 when everything went as promised, 1 otherwise, 130 when it was interrupted."""
    suite = sys.argv[1] if len(sys.argv) > 1 else "debian13"
    started = time.monotonic()
    try:
        demo(suite)
    except (DemoError, VmError) as error:
        console.print(f"\nThe demo failed: {error}", style="bold red")
        return 1
    except KeyboardInterrupt:
        if GUEST.runs():
            down(GUEST)
        return 130
    seconds = time.monotonic() - started
    console.print(
        f"\nAll as declared, in {seconds:.0f} s. The guest is still there:\n"
        "  make shell    a shell in it: run `python3 /usr/local/lib/web.py ask` (the service)\n"
        "                or `... try` (yourself), `ls /sys/fs/bpf/cgnet`\n"
        "  make clean    ends it",
        soft_wrap=True,
    )
    return 0


def demo(suite: str) -> None:
    """All steps; raises DemoError at the first that goes wrong."""
    expected = yaml.safe_load((SERVICE / "expected.yml").read_text(encoding="utf-8"))
    step(f"A guest with {suite}, and a service in it")
    if GUEST.directory.exists():  # of an earlier demo, with that one's policy
        down(GUEST)
    up(GUEST, suite, append="", memory=1024)
    play(SERVICE / "install.yml")
    before = outcomes("ask")

    step(f"The play: {PLAY.relative_to(ROOT)}")
    console.print(PLAY.read_text(encoding="utf-8"), markup=False, style="dim", soft_wrap=True)
    require(changed(play(PLAY)) == 1, "the first run should change the guest")

    step("What the service's own calls returned, and another task's return now")
    after, outside = outcomes("ask"), outcomes("try")
    show(before, after, outside)
    require(before == expected["before"], "before the play, the calls returned something else")
    require(after == expected["after"], "after the play, the calls returned something else")
    alone = {**expected["before"], **expected["outside"]}
    require(outside == alone, "a task outside the service is not left alone")

    step("The same play again: nothing to do")
    require(changed(play(PLAY)) == 0, "the second run should change nothing")

    step(f"Check mode, one line edited: {EDITED}")
    difference = play(edited(), "--check", "--diff")
    require(changed(difference) == 1, "the edited line should be a change")
    require(bool(re.search(r"^\S*\+ +- 9090", difference, re.MULTILINE)), "the diff lacks it")
    require(outcomes("ask") == after, "check mode has changed something")


def step(text: str) -> None:
    console.print()
    console.rule(Text(text, style="bold"), align="left")


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoError(otherwise)


def play(playbook: Path, *options: str) -> str:
    """Run a playbook against the guest, shown as it runs; returns what it printed."""
    line = ["ansible-playbook", "-i", str(GUEST.directory / "inventory.yml"), str(playbook)]
    color = "ANSIBLE_FORCE_COLOR" if console.is_terminal else "ANSIBLE_NOCOLOR"
    environment = {**os.environ, color: "1"}
    printed = []
    with subprocess.Popen(
        [*line, *options], env=environment, cwd=ROOT, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for text in process.stdout:
            print(text, end="", flush=True)
            printed.append(text)
    require(process.returncode == 0, f"{playbook.name} ended with status {process.returncode}")
    return "".join(printed)


def changed(printed: str) -> int:
    """How many tasks the recap of a play says have changed something."""
    found = re.search(r"changed=(\d+)", printed)
    if found is None:
        raise DemoError("ansible-playbook printed no recap")
    return int(found[1])


def edited() -> Path:
    """A copy of the play with one line edited."""
    text = PLAY.read_text(encoding="utf-8")
    require(text.count(LINE) == 1, f"{PLAY} has not the line {LINE}")
    copy = BUILD / "demo" / PLAY.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text.replace(LINE, EDITED), encoding="utf-8")
    return copy


def outcomes(who: str) -> dict[str, str]:
    """Call → outcome: of the service ("ask"), or of a task of its own cgroup ("try")."""
    command = GUEST.ssh("python3", "/usr/local/lib/web.py", who)
    answer = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE)
    require(answer.returncode == 0, f"the guest could not be asked ({answer.returncode})")
    found: dict[str, str] = json.loads(answer.stdout)
    return found


def show(before: dict[str, str], after: dict[str, str], outside: dict[str, str]) -> None:
    table = Table("call", "before", "after", "another task", box=None, header_style="bold")
    for call, old in before.items():
        new = after[call]
        style = "" if new == old else "bold red" if new.startswith("E") else "bold green"
        table.add_row(call, old, Text(new, style), outside[call])
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
