"""The emulator: which accelerator, and the part of its command line that every guest shares."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.vm._errors import VmError

# A kernel parameter: a panic reboots at once, which ends a qemu that runs with -no-reboot.
ENDS_ON_PANIC = "panic=-1"

_PROBE_SECONDS = 10
# thread=single, so that emulated CPUs take turns: under qemu 7.2's thread=multi, code that one
# patches while another runs it can end in a stray int3, and the kernel patches a branch whenever
# a hook is first attached or last detached.
#
# Without what is slow to emulate, which took a fifteenth of the time in all: string instructions
# byte by byte (erms, fsrm), wide vectors, a fifth level of page tables, checks of each access.
_SLOW = ("erms", "fsrm", "avx", "avx2", "la57", "smap", "smep", "pku", "umip")
_ACCELERATORS = {
    "kvm": ["-accel", "kvm", "-cpu", "host"],
    "tcg": ["-accel", "tcg,thread=single", "-cpu", ",-".join(("max", *_SLOW))],
}


def say(text: str) -> None:
    """Progress and findings go to standard error; standard output is the command's alone."""
    print(f"[vm] {text}", file=sys.stderr, flush=True)


def cache_dir() -> Path:
    """Where images and verdicts are kept; made if it is not there."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "cgnet"
    path.mkdir(parents=True, exist_ok=True)
    return path


def command(kernel: Path, append: str, cpus: int, memory: int, *more: str) -> list[str]:
    """A qemu command line for `kernel` with `memory` MiB, without any default device."""
    return [*_command(choose_accelerator(kernel), kernel, append, cpus, memory), *more]


def accelerator_of(line: list[str]) -> str:
    """The accelerator that a command line of `command` asks for, to show it."""
    return line[line.index("-accel") + 1].partition(",")[0]


def _command(accelerator: str, kernel: Path, append: str, cpus: int, memory: int) -> list[str]:
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        raise VmError("qemu-system-x86_64 is not here; install qemu-system-x86")
    # Nobody is to be kept from spying here, and an emulated CPU spends a tenth of its time on that.
    parameters = f"console=ttyS0 oops=panic mitigations=off {append}"
    return [
        qemu, "-nodefaults", "-no-user-config", "-display", "none",
        *_ACCELERATORS[accelerator], "-smp", str(cpus), "-m", str(memory),
        "-kernel", str(kernel), "-append", parameters,
    ]  # fmt: skip


def choose_accelerator(kernel: Path) -> str:
    """`kvm` or `tcg`: CGNET_VM_ACCEL decides, else one trial for each boot of this machine.

    A /dev/kvm that opens proves little: on some hosts a guest hangs on it early.
    """
    chosen = os.environ.get("CGNET_VM_ACCEL", "")
    if chosen:
        if chosen not in _ACCELERATORS:
            raise VmError(f"CGNET_VM_ACCEL is {chosen!r}; it may be kvm or tcg")
        return chosen
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    verdict = cache_dir() / f"accelerator-{boot_id}"
    if verdict.exists():
        return verdict.read_text()
    accelerator = "kvm" if _kvm_boots(kernel) else "tcg"
    say(f"tried /dev/kvm with a guest: {accelerator} from now on")
    for old in cache_dir().glob("accelerator-*"):
        old.unlink(missing_ok=True)
    verdict.write_text(accelerator)
    return accelerator


def _kvm_boots(kernel: Path) -> bool:
    """Whether `kernel` gets as far under KVM as to miss its root file system."""
    line = [*_command("kvm", kernel, ENDS_ON_PANIC, 2, 256), "-no-reboot", "-serial", "stdio"]
    try:
        console = subprocess.run(
            line, check=False, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=_PROBE_SECONDS,
        ).stdout  # fmt: skip
    except subprocess.TimeoutExpired:  # run() has killed the guest
        return False
    return b"Kernel panic" in console
