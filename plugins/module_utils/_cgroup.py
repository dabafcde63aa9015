# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the mounts and the cgroups of this host.

A cgroup is opened once; from then on its descriptor and its id (the inode's
number) stand for it, not its path, until the hierarchy is closed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import stat
from collections.abc import Collection

from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    HostError,
    InputError,
    KernelError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

# FILEID_KERNFS (linux/exportfs.h, since 5.5): a handle that is a kernfs node's id.
_FILEID_KERNFS = 0xFE


class _FileHandle(ctypes.Structure):
    _fields_ = (
        ("handle_bytes", ctypes.c_uint32),
        ("handle_type", ctypes.c_int32),
        ("id", ctypes.c_uint64),
    )
    _pack_ = 1


def mounts(kind: str, table: str = "/proc/self/mountinfo") -> list[str]:
    """The mount points of a file system type, in the order of mounting."""
    found = []
    with open(table, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            before, _dash, after = line.partition(" - ")
            if after.split(" ", 1)[0] == kind:
                raw = before.split(" ")[4]
                found.append(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), raw))
    return found


def bpffs() -> str:
    """Where bpffs is mounted. HostError where it is not."""
    found = mounts("bpf")
    if not found:
        raise HostError(
            "bpffs is not mounted on this host, so nothing could be pinned",
            "Mount it: mount -t bpf bpf /sys/fs/bpf (systemd does so at boot)",
        )
    return "/sys/fs/bpf" if "/sys/fs/bpf" in found else found[0]


class Hierarchy:
    """The cgroup v2 hierarchy of this host; it holds every cgroup that it found open."""

    def __init__(self, mount: str | None = None) -> None:
        if mount is None:
            found = mounts("cgroup2")
            if not found:
                raise HostError(
                    "no cgroup v2 hierarchy is mounted on this host",
                    "Boot with systemd.unified_cgroup_hierarchy=1",
                )
            mount = found[0]
        self.mount = mount
        self._opened: list[int] = []

    def close(self) -> None:
        """Close every cgroup that was found."""
        while self._opened:
            os.close(self._opened.pop())

    def resolve(self, path: str, at: str) -> Cgroup | None:
        """The cgroup at a path (relative to the mount, or absolute inside it).

        None where there is none. InputError where the path can't name a cgroup
        of this hierarchy: outside the mount, the root, a v1 cgroup, or a file.
        """
        if not isinstance(path, str) or not path or "\0" in path:
            raise InputError(at, path, f"a path below {self.mount}, such as system.slice/x.service")
        real = os.path.realpath(os.path.join(self.mount, path))
        if real == os.path.realpath(self.mount):
            raise InputError(
                at, path, "the root cgroup holds the whole host", "Name a cgroup below it"
            )
        if not real.startswith(os.path.realpath(self.mount) + "/"):
            if any(real == v1 or real.startswith(v1 + "/") for v1 in mounts("cgroup")):
                raise InputError(
                    at, path, "it is in a cgroup v1 hierarchy", f"Name one below {self.mount}"
                )
            raise InputError(
                at, path, f"it leads to {real}, outside the cgroup v2 mount {self.mount}",
                "Name a cgroup below the mount",
            )  # fmt: skip
        try:
            fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                return None
            raise
        found = os.fstat(fd)
        if not stat.S_ISDIR(found.st_mode) or found.st_dev != os.stat(self.mount).st_dev:
            os.close(fd)
            raise InputError(at, path, "it is no cgroup directory", "Name the cgroup itself")
        self._opened.append(fd)
        return Cgroup(os.path.relpath(real, os.path.realpath(self.mount)), found.st_ino, fd)

    def require(self, path: str, at: str) -> Cgroup:
        """As resolve(), and InputError where the cgroup does not exist."""
        found = self.resolve(path, at)
        if found is None:
            raise InputError(
                at,
                path,
                f"there is no such cgroup below {self.mount}",
                "Start the service or make the cgroup first",
            )
        return found

    def walked(self, ids: Collection[int]) -> dict[int, str]:
        """As paths(), for who may not ask by an id: every directory is looked at."""
        found = {}
        for base, _directories, _files in os.walk(self.mount):
            with contextlib.suppress(FileNotFoundError):
                number = os.stat(base).st_ino
                if number in ids:
                    found[number] = os.path.relpath(base, self.mount)
        return dict(sorted(found.items()))

    def paths(self, ids: list[int]) -> dict[int, str]:
        """Those of the ids whose cgroups still exist, with their paths below the mount.

        The kernel is asked by the id itself (open_by_handle_at() on kernfs).
        KernelError where it does not tell: what is taken for dead gets removed.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        found = {}
        mount = os.open(self.mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for number in ids:
                handle = _FileHandle(8, _FILEID_KERNFS, number)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                fd = libc.open_by_handle_at(mount, ctypes.byref(handle), flags)
                if fd < 0:
                    problem = ctypes.get_errno()
                    if problem == errno.ESTALE:
                        continue  # that cgroup is gone
                    remedy = "It needs CAP_DAC_READ_SEARCH" if problem == errno.EPERM else ""
                    raise KernelError(f"open_by_handle_at({self.mount})", problem, remedy)
                path = os.readlink(f"/proc/self/fd/{fd}")
                os.close(fd)
                found[number] = os.path.relpath(path, self.mount)
        finally:
            os.close(mount)
        return found
