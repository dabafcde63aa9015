"""The image of the guest without a disk: a kernel and an uncompressed cpio archive.

It comes from mmdebstrap itself: debvm makes disks only.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO

from tests.vm._cpio import CpioWriter
from tests.vm._mirrors import apt_options
from tests.vm._qemu import say
from tests.vm._recipes import Recipe, cached, run_builder

# tiny-initramfs: a kernel package wants some maker of initrds, and this is the smallest.
_PACKAGES = (
    "python3", "python3-pytest", "python3-pyroute2", "libbpf1", "kmod", "mount", "iproute2",
    "tiny-initramfs",
)  # fmt: skip

# Kernel modules that tests open sockets or links with, or shape; those they depend on come along.
_MODULES = (
    "sctp", "crc32c_generic", "veth", "dummy", "tun", "vsock", "vsock_loopback", "algif_hash",
    "sch_htb", "sch_fq_codel", "sch_fq", "sch_sfq", "sch_ingress", "cls_basic", "cls_bpf",
    "cls_matchall", "em_meta", "act_skbedit",
)  # fmt: skip

# What a guest that lives for one command never reads; shell patterns of whole directories or files.
_DROPPED = (
    "boot", "dev", "usr/share", "usr/include", "usr/lib/locale", "usr/lib/python3*/pydoc_data",
    "usr/lib/*/gconv", "usr/lib/*/perl*", "usr/lib/*/libperl*", "usr/bin/perl*",
    "var/cache", "var/lib/apt", "var/lib/dpkg", "var/log",
)  # fmt: skip


def initramfs_image(suite: str) -> Path:
    """The directory with `vmlinuz` and `base.cpio` for `suite`; built where it lacks."""
    here = Path(__file__)
    builder = here.read_text() + here.with_name("_cpio.py").read_text()
    return cached(Recipe.of("initramfs", suite, _PACKAGES, builder), _build)


def _build(recipe: Recipe, target: Path) -> None:
    tree = target / "root.tar"
    run_builder(
        target / "log", "mmdebstrap", "--variant=essential",
        f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={option}" for option in apt_options()),
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")),
        recipe.codename, str(tree), *recipe.mirrors,
    )  # fmt: skip
    with tarfile.open(tree) as archive, (target / "base.cpio").open("wb") as stream:
        members = {PurePosixPath(member.name): member for member in archive}
        kernel = next(path for path in members if path.match("boot/vmlinuz-*"))
        with _content(archive, members[kernel]) as source, (target / "vmlinuz").open("wb") as copy:
            shutil.copyfileobj(source, copy)
        writer = CpioWriter(stream)
        # The kernel opens this one for init before init can mount devtmpfs.
        writer.add_node(PurePosixPath("dev/console"), stat.S_IFCHR | 0o600, (5, 1))
        keep = _keeper(archive, members)
        for path, member in members.items():
            if path.parts and keep(path):
                _copy(archive, member, path, writer)
        writer.close()
    tree.unlink()


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """The bytes of a regular file."""
    source = archive.extractfile(member)
    assert source is not None, member.name
    return source


def _keeper(
    archive: tarfile.TarFile, members: dict[PurePosixPath, tarfile.TarInfo]
) -> Callable[[PurePosixPath], bool]:
    """Says of a path whether the guest gets it: of the kernel modules, only what _MODULES need."""
    index = next(path for path in members if path.match("usr/lib/modules/*/modules.dep"))
    needs: dict[str, list[str]] = {}  # a module's name: its file and those it depends on
    for line in _content(archive, members[index]).read().decode().splitlines():
        file, _colon, dependencies = line.partition(":")
        name = PurePosixPath(file).name.split(".")[0].replace("-", "_")
        needs[name] = [file, *dependencies.split()]
    absent = [name for name in _MODULES if name not in needs]
    if absent:
        say(f"  kernel {index.parent.name} has no module file for: {' '.join(absent)}")
    wanted = {file for name in _MODULES for file in needs.get(name, [])}
    folders = {str(parent) for file in wanted for parent in PurePosixPath(file).parents}

    def keep(path: PurePosixPath) -> bool:
        if path.is_relative_to(index.parent):
            name = str(path.relative_to(index.parent))
            return name in wanted | folders or fnmatch(name, "modules.*bin")
        return not any(
            fnmatch(str(part), drop) for part in (path, *path.parents) for drop in _DROPPED
        )

    return keep


def _copy(
    archive: tarfile.TarFile, member: tarfile.TarInfo, path: PurePosixPath, writer: CpioWriter
) -> None:
    """Copies a member of the tar; a hard link becomes a file of its own."""
    mtime = int(member.mtime)
    if member.isdir():
        writer.add_directory(path, member.mode)
    elif member.issym():
        writer.add_bytes(path, stat.S_IFLNK | 0o777, member.linkname.encode())
    elif member.isreg() or member.islnk():
        with _content(archive, member) as source:
            writer.add_bytes(path, stat.S_IFREG | member.mode, source.read(), mtime)
