"""Command line of the guests: `python3 -m tests.vm {build,run,up,down,shell,list} ...`."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path, PurePosixPath

from tests.vm._disk import disk_image
from tests.vm._errors import VmError
from tests.vm._guests import PATIENCE, Guest, down, guests, up
from tests.vm._initramfs import initramfs_image
from tests.vm._qemu import say
from tests.vm._recipes import SUITES
from tests.vm._run import Job, run

# What a guest that gave no exit code counts as; `docker run` and `git bisect` know it likewise.
_NO_VERDICT = 125


_IMAGES = {"initramfs": initramfs_image, "system": disk_image}


def _pair(text: str) -> tuple[str, str]:
    first, colon, second = text.rpartition(":")
    if not (first and colon and second):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form A:B")
    return first, second


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.vm")
    actions = parser.add_subparsers(dest="action", required=True)
    boot = argparse.ArgumentParser(add_help=False)
    boot.add_argument("suite", choices=SUITES)
    boot.add_argument("--append", default="", help="more kernel parameters")
    boot.add_argument("--memory", type=int, default=1024, help="MiB (default: %(default)s)")

    action = actions.add_parser("build", help="build and cache images")
    action.add_argument("kind", choices=_IMAGES)
    action.add_argument("suite", nargs="+", choices=SUITES)

    action = actions.add_parser("run", parents=[boot], help="run a command in a guest of its own")
    action.add_argument("--timeout", type=float, default=900, help="seconds, boot included")
    action.add_argument("--add-file", type=_pair, action="append", default=[], metavar="HOST:GUEST")
    action.add_argument("--fetch", type=_pair, action="append", default=[], metavar="GUEST:HOST")
    action.add_argument("command", nargs="+", metavar="CMD")

    action = actions.add_parser("up", parents=[boot], help="start a systemd guest with ssh")
    action.add_argument("--name", required=True)
    action.add_argument("--timeout", type=float, default=PATIENCE, help="seconds until it answers")

    action = actions.add_parser("down", help="end guests and remove their files")
    action.add_argument("name", nargs="*")
    action.add_argument("--all", action="store_true")

    actions.add_parser("shell", help="a shell in a guest").add_argument("name")
    actions.add_parser("list", help="the guests that there are")
    return parser


def _run(options: argparse.Namespace) -> int:
    return run(
        Job(
            options.suite, options.command, options.append, options.timeout, options.memory,
            add={PurePosixPath(guest): Path(host) for host, guest in options.add_file},
            fetch={PurePosixPath(guest): Path(host) for guest, host in options.fetch},
        )
    )  # fmt: skip


def _main() -> int:
    options = _parser().parse_args()
    if options.action == "run":
        return _run(options)
    if options.action == "build":
        for suite in options.suite:
            say(f"{_IMAGES[options.kind](suite)}")
    elif options.action == "up":
        guest = Guest(options.name)
        up(guest, options.suite, options.append, options.memory, options.timeout)
    elif options.action == "down":
        for guest in guests() if options.all else map(Guest, options.name):
            down(guest)
    elif options.action == "shell":
        return subprocess.run(Guest(options.name).ssh(), check=False).returncode
    elif options.action == "list":
        for guest in guests():
            print(guest.name, "runs" if guest.runs() else "does not run", guest.directory)
    return 0


def _terminated(number: int, _frame: object) -> None:
    sys.exit(128 + number)  # unwinds, so that every guest is ended on the way


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGHUP, _terminated)
    try:
        sys.exit(_main())
    except VmError as failure:
        say(str(failure))
        sys.exit(_NO_VERDICT)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(128 + signal.SIGINT)
