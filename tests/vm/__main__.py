"""Command line of the guests: `python3 -m tests.vm {build,run,up,down,shell,list} ...`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path, PurePosixPath

from tests.vm._errors import VmError
from tests.vm._initramfs import initramfs_image
from tests.vm._qemu import say
from tests.vm._recipes import SUITES
from tests.vm._run import Job, run

# What a guest that gave no exit code counts as; `docker run` and `git bisect` know it likewise.
_NO_VERDICT = 125


def _pair(text: str) -> tuple[str, str]:
    first, colon, second = text.rpartition(":")
    if not (first and colon and second):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form A:B")
    return first, second


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.vm")
    commands = parser.add_subparsers(dest="action", required=True)
    build = commands.add_parser("build", help="build and cache images")
    build.add_argument("kind", choices=["initramfs", "system"])
    build.add_argument("suite", nargs="+", choices=SUITES)
    start = commands.add_parser("run", help="run one command in a guest without a disk")
    start.add_argument("suite", choices=SUITES)
    start.add_argument("--append", default="", help="more kernel parameters")
    start.add_argument("--timeout", type=float, default=900, help="seconds, boot included")
    start.add_argument("--memory", type=int, default=1024, help="MiB")
    start.add_argument("--add-file", type=_pair, action="append", default=[], metavar="HOST:GUEST")
    start.add_argument("--fetch", type=_pair, action="append", default=[], metavar="GUEST:HOST")
    start.add_argument("command", nargs="+", metavar="CMD")
    return parser


def _main() -> int:
    options = _parser().parse_args()
    if options.action == "build":
        for suite in options.suite:
            say(f"{initramfs_image(suite)}")
        return 0
    return run(
        Job(
            options.suite, options.command, options.append, options.timeout, options.memory,
            add={PurePosixPath(guest): Path(host) for host, guest in options.add_file},
            fetch={PurePosixPath(guest): Path(host) for guest, host in options.fetch},
        )
    )  # fmt: skip


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
