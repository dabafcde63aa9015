"""Unit tests or sanity on the newest ansible-core that the package index has.

Of the unit tests those that speak to Ansible: the modules' own code does so in one file, and runs
on newer Pythons in the kernel tests.

    python -m tools.newest unit|sanity [arguments for pytest or ansible-test]

It needs a newer Python than Debian 12 has, so it runs in a root of Debian 13: made once by
mmdebstrap, kept in the image cache, entered by chroot in a mount namespace of its own, so
that no mount is left behind however this ends. A copy of the tree goes in; the machine's
name servers, certificates and settings of pip are shown to it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.vm._mirrors import apt_options, mirror_lines
from tests.vm._qemu import cache_dir
from tools import _pip
from tools._tree import BUILD, ROOT, copy_tree

SUITE = "trixie"
# Sanity needs shellcheck, the unit tests a compiler.
PACKAGES = (
    "python3", "python3-venv", "ca-certificates",
    "shellcheck", "clang", "llvm", "libbpf-dev", "linux-libc-dev",
)  # fmt: skip
# Where the tree, the venv and the home directory of a run are seen inside the root.
INSIDE = Path("/cgnet")
# The tools that the tests use, at the versions that are pinned for this machine.
TOOLS = ("antsibull-changelog", "hypothesis", "pyelftools", "pytest", "PyYAML")
# For a shell.
WITH_ANSIBLE = (
    "tests/unit/*.py tests/unit/action tests/unit/modules tests/unit/plugin_utils"
    " tests/unit/module_utils/test_module.py"
)


def main() -> int:
    """Return the exit status of the tests."""
    what, *arguments = sys.argv[1:] or ["help"]
    if what not in ("unit", "sanity"):
        print(__doc__)
        return 2
    root = make_root()
    outside = BUILD / f"newest-{what}"
    tree = copy_tree(outside, objects=what == "unit")
    shutil.rmtree(outside / "junit", ignore_errors=True)
    (outside / "junit").mkdir()
    _pip.write_config(outside / "home")
    python = INSIDE / "venv" / "bin" / "python"
    if not (outside / "venv" / ".made").exists():
        enter(root, outside, f"python3 -m venv --clear {INSIDE}/venv && touch {INSIDE}/venv/.made")
    say("the newest ansible-core and the tools to test with")
    enter(root, outside, f"{python} -m pip install --quiet --upgrade ansible-core {pinned_tools()}")
    enter(root, outside, f"{python} --version; {python.parent}/ansible --version | head -n 1")
    inside_tree = INSIDE / tree.relative_to(outside)
    commands = {
        "unit": f"CGNET_CLANG=clang PYTHONPATH={INSIDE} {python} -m pytest {WITH_ANSIBLE}"
        f" --junitxml={INSIDE}/junit/unit.xml --override-ini=pythonpath=."
        " --override-ini=cache_dir=/tmp/pytest",
        "sanity": f"{python} -m tools.sanity --tree {inside_tree} --home {INSIDE}/home"
        f" --junit {INSIDE}/junit",
    }
    command = f"cd {inside_tree} && {commands[what]} {shlex.join(arguments)}"
    status = enter(root, outside, command, check=False)
    shutil.copytree(outside / "junit", BUILD / "junit" / f"{what}-newest", dirs_exist_ok=True)
    return status


def say(text: str) -> None:
    print(f"==> newest: {text}", flush=True)


def pinned_tools() -> str:
    """TOOLS with their versions from tools/requirements.txt, for a shell."""
    pins = dict(
        line.split("==")
        for line in (ROOT / "tools" / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    return shlex.join(f"{tool}=={pins[tool]}" for tool in TOOLS)


def make_root() -> Path:
    """The root directory of Debian, made when the cache lacks it (about a minute).

    mmdebstrap hands over a tar, because only that works as root and as a user alike; what
    it holds becomes the caller's own, which is enough for a chroot.
    """
    recipe = hashlib.sha256("\n".join([SUITE, *PACKAGES]).encode()).hexdigest()
    root = cache_dir() / f"root-{SUITE}-{recipe[:12]}"
    partial = cache_dir() / f"{root.name}.partial"
    with open(cache_dir() / f"{root.name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if root.is_dir():
            return root
        say(f"a root of Debian {SUITE}, into {root}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        command = [
            "mmdebstrap", "--variant=apt", f"--include={','.join(PACKAGES)}",
            *(f"--aptopt={option}" for option in apt_options()), "--format=tar", SUITE, "-",
            *mirror_lines(SUITE, backports=False),
        ]  # fmt: skip
        unpack = ["tar", "-x", "--no-same-owner", "--exclude=./dev/*", "-C", str(partial)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as bootstrap:
            subprocess.run(unpack, stdin=bootstrap.stdout, check=True)
        if bootstrap.returncode:
            raise subprocess.CalledProcessError(bootstrap.returncode, command)
        partial.rename(root)
    return root


def enter(root: Path, outside: Path, command: str, check: bool = True) -> int:
    """Run a shell command in `root`, where `outside` is seen as INSIDE. Returns its status.

    Raises CalledProcessError for a status that is not 0, if `check`.
    """
    shown = [Path("/etc/resolv.conf"), Path("/etc/hosts"), Path("/etc/ssl/certs")]
    shown += [path for path in _pip.named_paths() if path not in shown]
    mounts = ["set -eu", shlex.join(["mount", "-t", "tmpfs", "tmpfs", str(root / "tmp")])]
    for source, target, option in [
        (Path("/dev"), Path("/dev"), "--rbind"),
        (Path("/proc"), Path("/proc"), "--rbind"),
        (outside, INSIDE, "--bind"),
        *((path.resolve(), path, "--bind") for path in shown if path.exists()),
    ]:
        place = root / target.relative_to("/")
        make_mount_point(place, source.is_dir())
        mounts.append(shlex.join(["mount", option, str(source), str(place)]))
    mounts.append(shlex.join(["exec", "chroot", str(root), "/bin/sh", "-ec", command]))
    namespaces = ["--mount", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        namespaces.append("--map-root-user")
    return subprocess.run(
        ["unshare", *namespaces, "sh", "-c", "\n".join(mounts)],
        env=_pip.environment(INSIDE / "home"), check=check,
    ).returncode  # fmt: skip


def make_mount_point(place: Path, directory: bool) -> None:
    """A directory or an empty file, in the stead of a symbolic link that leads elsewhere."""
    if place.is_symlink():
        place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    if directory:
        place.mkdir(exist_ok=True)
    else:
        place.touch(exist_ok=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        say(f"{error.cmd[0]} ended with status {error.returncode}")
        sys.exit(1)
