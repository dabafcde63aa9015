"""Images as data: what an image is made of, and the cache that keeps it under that data's hash."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.vm._errors import VmError
from tests.vm._mirrors import mirror_lines
from tests.vm._qemu import cache_dir, say


@dataclass(frozen=True)
class Suite:
    """A Debian release, and whether its kernel comes from the release's backports."""

    codename: str
    backports: bool = False

    @property
    def kernel(self) -> tuple[str, ...]:
        """The packages of the kernel; the one of backports wants its own linux-base."""
        pocket = f"/{self.codename}-backports" if self.backports else ""
        return (f"linux-image-amd64{pocket}", f"linux-base{pocket}")


SUITES = {
    "debian12": Suite("bookworm"),
    "debian13": Suite("trixie"),
    "debian13-backports": Suite("trixie", backports=True),
}


@dataclass(frozen=True)
class Recipe:
    """All that an image depends on. `builder` is the text of the code that builds it."""

    kind: str
    suite: str
    codename: str
    packages: tuple[str, ...]
    mirrors: tuple[str, ...]
    builder: str

    @classmethod
    def of(cls, kind: str, suite: str, packages: tuple[str, ...], builder: str) -> Recipe:
        """The recipe for `suite` on this machine's mirrors."""
        release = SUITES[suite]
        mirrors = tuple(mirror_lines(release.codename, release.backports))
        return cls(kind, suite, release.codename, packages + release.kernel, mirrors, builder)

    @property
    def name(self) -> str:
        """The name of the image's directory in the cache."""
        digest = hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()
        return f"{self.kind}-{self.suite}-{digest[:12]}"


def cached(recipe: Recipe, build: Callable[[Recipe, Path], None]) -> Path:
    """The directory of the image, filled by `build` where the cache lacks it.

    One process builds, the others wait for it. A build that is killed leaves a directory of
    another name, which the next one clears away.
    """
    finished = cache_dir() / recipe.name
    with locked(cache_dir() / f"{recipe.kind}-{recipe.suite}.lock"):
        if not finished.exists():
            say(f"building {recipe.name} (once; about a minute)")
            partial = finished.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            build(recipe, partial)
            partial.rename(finished)
    return finished


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds `path` against other processes; says so where it has to wait."""
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that holds {path.name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run_builder(log: Path, *command: str) -> None:
    """Runs a builder with its output in `log`, and shows the lines in which it names a step.

    Raises VmError with the end of the log if it fails.
    """
    if shutil.which(command[0]) is None:
        raise VmError(f"{command[0]} is not here; install the Debian package that has it")
    with (
        log.open("w") as copy,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            copy.write(line)
            if line.startswith("I: ") and line.rstrip().endswith("..."):
                say(f"  {line.removeprefix('I: ').rstrip()}")
    if process.returncode:
        tail = "\n".join(log.read_text().splitlines()[-20:])
        raise VmError(f"{command[0]} failed ({process.returncode}); the end of its log:\n{tail}")
