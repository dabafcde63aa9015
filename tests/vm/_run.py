"""The initramfs guest: boots, runs one command on the repo's tree, reports, is gone."""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from tests.vm import _qemu
from tests.vm._cpio import CpioWriter
from tests.vm._errors import VmError
from tests.vm._initramfs import initramfs_image

REPO = Path(__file__).resolve().parents[2]
_COLLECTION = PurePosixPath("cgnet/ansible_collections/linux/cgnet")
_JOB = PurePosixPath("cgnet/job")
_PACKAGES = PurePosixPath("usr/lib/python3/dist-packages")
_BUILT = ("plugins/objects", ".build/test-objects")
# What counts for each CPU, or is seen from another, needs two.
_CPUS = 2


@dataclass(frozen=True)
class Job:
    """One command for a guest. `timeout` in seconds from start to end, `memory` in MiB."""

    suite: str
    command: list[str]
    append: str = ""
    timeout: float = 900
    memory: int = 1024
    add: dict[PurePosixPath, Path] = field(default_factory=dict)  # guest path: host file
    fetch: dict[PurePosixPath, Path] = field(default_factory=dict)  # guest path: host file


def run(job: Job) -> int:
    """Runs the job; returns its command's exit code.

    Raises VmError if the guest ends or the time is over before there is one.
    """
    base = initramfs_image(job.suite)
    with tempfile.TemporaryFile() as initrd:
        with (base / "base.cpio").open("rb") as archive:
            shutil.copyfileobj(archive, initrd)
        _write_overlay(job, initrd)
        initrd.flush()
        return _Guest(job, base / "vmlinuz", initrd).run()


def _write_overlay(job: Job, stream: IO[bytes]) -> None:
    """Adds the archive of what changes from run to run: the tree, init and the command."""
    writer = CpioWriter(stream)
    for name in _tree():
        writer.add_file(_COLLECTION / name, REPO / name)
    for guest, host in job.add.items():
        writer.add_file(guest.relative_to("/"), host.resolve())
    init = Path(__file__).with_name("init.sh").read_bytes()
    writer.add_bytes(PurePosixPath("init"), 0o100755, init)
    # For the runtime, which is a zip of sources.
    writer.add_file(_PACKAGES / "zipcache.py", Path(__file__).with_name("zipcache.py"))
    writer.add_bytes(_PACKAGES / "zipcache.pth", 0o100644, b"import zipcache\n")
    columns = shutil.get_terminal_size().columns
    term = os.environ.get("TERM", "dumb") if sys.stdout.isatty() else "dumb"
    script = (
        f"cd /{_COLLECTION} || exit\n"
        f"export PYTHONPATH=/cgnet TERM={shlex.quote(term)} COLUMNS={columns}\n"
        f"exec {shlex.join(job.command)}\n"
    )
    writer.add_bytes(_JOB / "command", 0o100644, script.encode())
    fetch = "".join(f"{path}\n" for path in job.fetch)
    writer.add_bytes(_JOB / "fetch", 0o100644, fetch.encode())
    writer.close()


def _tree() -> list[str]:
    """Files of the repo that git tracks or does not ignore, and the built BPF objects.

    Those that only tests load are among them.
    """
    listing = subprocess.run(
        ["git", "-C", str(REPO), "ls-files", "-z", "-co", "--exclude-standard"],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip
    names = {name for name in listing.split("\0") if name and os.path.lexists(REPO / name)}
    built = [path for folder in _BUILT for path in (REPO / folder).glob("*")]
    return sorted(names | {str(path.relative_to(REPO)) for path in built})


class _Guest:
    """A running guest: three serial ports as pipes, read until all are closed."""

    def __init__(self, job: Job, kernel: Path, initrd: IO[bytes]) -> None:
        self._job = job
        self._kernel = kernel
        self._initrd = initrd
        self._report = b""  # what the guest's init said that is not understood yet
        self._console = b""  # a line that has not ended yet
        self._panic = ""  # the line that says why the kernel gave up
        self._exit_code: int | None = None
        self._missing: list[str] = []

    def run(self) -> int:
        self._started = time.monotonic()
        pipes = [os.pipe() for _port in range(3)]
        handlers = (self._on_console, self._on_output, self._on_report)
        process = self._start([write for _read, write in pipes])
        try:
            with selectors.DefaultSelector() as selector:
                for (reader, writer), handler in zip(pipes, handlers, strict=True):
                    os.close(writer)
                    selector.register(reader, selectors.EVENT_READ, handler)
                self._pump(selector)
            process.wait()
        finally:
            process.kill()
            process.wait()
            for reader, _writer in pipes:
                os.close(reader)
        if self._exit_code is None:
            raise VmError(
                "the guest ended before the command did; "
                + (f"its console says: {self._panic}" if self._panic else "its console is empty")
            )
        if self._missing:
            raise VmError(f"the guest has no {', '.join(self._missing)} to fetch")
        return self._exit_code

    def _start(self, ports: list[int]) -> subprocess.Popen[bytes]:
        initrd = self._initrd.fileno()
        serial = [part for fd in ports for part in ("-serial", f"file:/proc/self/fd/{fd}")]
        line = _qemu.command(
            self._kernel, f"quiet loglevel=3 {_qemu.ENDS_ON_PANIC} {self._job.append}",
            _CPUS, self._job.memory, "-no-reboot", "-initrd", f"/proc/self/fd/{initrd}", *serial,
        )  # fmt: skip
        _qemu.say(f"booting {self._job.suite} ({_qemu.accelerator_of(line)})")
        # setpriv: qemu ends with us, even if we are killed. Its own session: Ctrl-C is ours.
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *line],
            stdin=subprocess.DEVNULL, pass_fds=[initrd, *ports], start_new_session=True,
        )  # fmt: skip

    def _pump(self, selector: selectors.BaseSelector) -> None:
        deadline = self._started + self._job.timeout
        while selector.get_map():
            for key, _events in selector.select(max(0.0, deadline - time.monotonic())):
                data = os.read(key.fd, 65536)
                if data:
                    key.data(data)
                else:
                    selector.unregister(key.fd)
            if time.monotonic() > deadline:
                raise VmError(f"the guest was not done after {self._job.timeout:g} s and was ended")

    def _on_console(self, data: bytes) -> None:
        """`quiet loglevel=3` leaves what must be seen: crashes, and the traces that follow."""
        *lines, self._console = (self._console + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            if text.endswith("sysrq: Resetting"):  # the way in which init ends the guest
                continue
            if "Kernel panic" in text:
                self._panic = text
            print(text, file=sys.stderr, flush=True)

    def _on_output(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()

    def _on_report(self, data: bytes) -> None:
        """Reads init's report: `ready KERNEL`, `file SIZE PATH` and the file, `exit CODE`."""
        self._report += data
        while b"\n" in self._report:
            line, _newline, rest = self._report.partition(b"\n")
            word, _space, argument = line.decode().partition(" ")
            if word == "file":
                size, _space, path = argument.partition(" ")
                if len(rest) < int(size):
                    return
                self._job.fetch[PurePosixPath(path)].write_bytes(rest[: int(size)])
                rest = rest[int(size) :]
            elif word == "ready":
                _qemu.say(f"Linux {argument} after {time.monotonic() - self._started:.1f} s")
            elif word == "missing":
                self._missing.append(argument)
            elif word == "exit":
                self._exit_code = int(argument)
            self._report = rest
