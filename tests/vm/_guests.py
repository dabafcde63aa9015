"""The systemd guests: started into the background, reached by ssh, ended by their process id.

`.vm/NAME/` holds what belongs to a running guest: pid, ssh_config, key, known_hosts,
inventory.yml, console.log and qemu.log.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.vm import _qemu
from tests.vm._disk import disk_image
from tests.vm._errors import VmError
from tests.vm._recipes import locked
from tests.vm._run import REPO

_HOME = REPO / ".vm"
# No more, since under qemu 7.2's emulation one of two waits for the other for ever after a reboot.
_CPUS = 1
PATIENCE = 600.0
"""Seconds in which a guest answers, however busy the machine is."""

# Key exchange and cipher: what costs least where every instruction is emulated.
_SSH_CONFIG = """\
Host *
  HostName 127.0.0.1
  Port {port}
  User root
  IdentityFile "{directory}/key"
  IdentitiesOnly yes
  BatchMode yes
  StrictHostKeyChecking no
  UserKnownHostsFile "{directory}/known_hosts"
  LogLevel ERROR
  ConnectTimeout 10
  KexAlgorithms curve25519-sha256
  Ciphers chacha20-poly1305@openssh.com
"""

_INVENTORY = """\
---
all:
  hosts:
    {name}:
      ansible_host: 127.0.0.1
      ansible_port: {port}
      ansible_user: root
      ansible_ssh_private_key_file: {directory}/key
      ansible_python_interpreter: /usr/bin/python3
      ansible_pipelining: true
      ansible_ssh_args: -F "{directory}/ssh_config" -o ControlMaster=auto -o ControlPersist=600s
"""


@dataclass(frozen=True)
class Guest:
    """A guest's name; all that is known of it stands in its directory."""

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.name):
            raise VmError(f"{self.name!r} is no name for a guest: use a-z, 0-9 and -")

    @property
    def directory(self) -> Path:
        """Where the guest's files are."""
        return _HOME / self.name

    def open_pid(self) -> int | None:
        """A pidfd of the guest's qemu, which the caller closes; None where it does not run."""
        try:
            pid = int((self.directory / "pid").read_text())
            handle = os.pidfd_open(pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        # A pid is used again: only the process that writes this guest's console is ours.
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            arguments = []
        if f"file:{self.directory}/console.log".encode() in arguments:
            return handle
        os.close(handle)
        return None

    def runs(self) -> bool:
        """Whether the guest's qemu is there."""
        handle = self.open_pid()
        if handle is not None:
            os.close(handle)
        return handle is not None

    def ssh(self, *command: str) -> list[str]:
        """The command line that runs `command` in the guest."""
        return ["ssh", "-F", str(self.directory / "ssh_config"), self.name, *command]


def guests() -> list[Guest]:
    """All guests that have a directory, running or not."""
    return [Guest(path.name) for path in sorted(_HOME.glob("*/"))]


def up(guest: Guest, suite: str, append: str, memory: int, timeout: float = PATIENCE) -> None:
    """Starts the guest unless it runs, and waits until it answers.

    `memory` is in MiB, `timeout` in seconds. Raises VmError, and ends the guest if this call
    started it, where it does not answer in time.
    """
    image = disk_image(suite)
    _HOME.mkdir(exist_ok=True)
    with locked(_HOME / ".lock"):
        handle = guest.open_pid()
        if handle is not None:
            _qemu.say(f"{guest.name} runs already")
            started = False
        else:
            handle = _start(guest, image, append, memory)
            started = True
    answered = False
    try:
        _wait_until_up(guest, handle, timeout)
        answered = True
    finally:
        os.close(handle)
        if started and not answered:
            down(guest)


def _start(guest: Guest, image: Path, append: str, memory: int) -> int:
    """Starts qemu in a session of its own; returns a pidfd."""
    directory = guest.directory
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    shutil.copy(image / "key", directory / "key")
    ours, its = socket.socketpair()
    line = _qemu.command(
        image / "vmlinuz",
        f"root=/dev/vda rw net.ifnames=0 quiet loglevel=4 systemd.show_status=1 TERM=dumb {append}",
        _CPUS, memory, "-initrd", str(image / "initrd"),
        "-drive", f"file={image}/disk.ext4,format=raw,if=virtio,snapshot=on,cache=unsafe",
        # Port 0: the kernel picks a free one, and nobody can take it in between.
        "-netdev", "user,id=net0,hostfwd=tcp:127.0.0.1:0-:22", "-device", "virtio-net,netdev=net0",
        "-device", "virtio-rng", "-serial", f"file:{directory}/console.log",
        "-chardev", f"socket,id=monitor,fd={its.fileno()}", "-mon", "chardev=monitor",
    )  # fmt: skip
    _qemu.say(f"booting {guest.name} ({_qemu.accelerator_of(line)})")
    with ours, its, (directory / "qemu.log").open("wb") as log:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            pass_fds=[its.fileno()], start_new_session=True,
        )  # fmt: skip
        try:
            (directory / "pid").write_text(f"{process.pid}\n")
            its.close()
            port = _forwarded_port(ours)
            if port is None:
                raise VmError(f"qemu did not start: {(directory / 'qemu.log').read_text()}")
            (directory / "ssh_config").write_text(
                _SSH_CONFIG.format(port=port, directory=directory)
            )
            (directory / "inventory.yml").write_text(
                _INVENTORY.format(name=guest.name, port=port, directory=directory)
            )
            return os.pidfd_open(process.pid)
        except BaseException:  # an interrupt, too: nothing may be left running
            process.kill()
            process.wait()
            shutil.rmtree(directory)
            raise


def _forwarded_port(monitor: socket.socket) -> int | None:
    """Asks qemu's monitor which port of 127.0.0.1 leads to the guest; None if qemu has ended."""
    monitor.settimeout(30)
    monitor.sendall(b"info usernet\n")
    answer = b""
    while data := monitor.recv(4096):
        answer += data
        found = re.search(rb"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s", answer)
        if found:
            return int(found[1])
    return None


def _wait_until_up(guest: Guest, handle: int, timeout: float) -> None:
    """Waits until ssh answers and systemd has done its boot."""
    started = time.monotonic()
    command = guest.ssh("-oConnectTimeout=5", "systemctl is-system-running --wait")
    while True:
        if time.monotonic() - started > timeout:
            raise VmError(f"{guest.name} did not answer within {timeout:g} s; {_last_words(guest)}")
        answer = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        state = answer.stdout.strip()
        if state in ("running", "degraded"):
            break
        _qemu.say(f"  {time.monotonic() - started:3.0f} s: {_last_words(guest)}")
        # Refused at once while sshd is not there: let a second pass, or less if qemu ends.
        if select.select([handle], [], [], 1)[0]:
            raise VmError(f"{guest.name} ended while it booted; {_last_words(guest)}")
        if "Kernel panic" in _console(guest):
            raise VmError(f"{guest.name}: {_console(guest)[-6000:]}")
    if state == "degraded":
        failed = guest.ssh("systemctl", "list-units", "--failed", "--plain", "--no-legend")
        listing = subprocess.run(failed, check=True, capture_output=True, text=True).stdout
        _qemu.say(f"units that failed in {guest.name}:\n{listing}")
    _qemu.say(f"{guest.name} is up after {time.monotonic() - started:.0f} s: {guest.directory}")


def _console(guest: Guest) -> str:
    return (guest.directory / "console.log").read_text(errors="replace")


def _last_words(guest: Guest) -> str:
    spoken = [line.strip() for line in _console(guest).split("\n") if line.strip()]
    return spoken[-1] if spoken else "nothing on its console yet"


def down(guest: Guest) -> None:
    """Ends the guest if it runs, and removes its directory."""
    handle = guest.open_pid()
    if handle is not None:
        signal.pidfd_send_signal(handle, signal.SIGKILL)  # its disk is a snapshot
        select.select([handle], [], [])
        os.close(handle)
    if not guest.directory.exists():
        raise VmError(f"there is no guest {guest.name}")
    shutil.rmtree(guest.directory)
    _qemu.say(f"{guest.name} {'did not run' if handle is None else 'is ended'}")
