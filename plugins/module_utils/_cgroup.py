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
import functools
import os
import re
import stat
from collections.abc import Collection
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _names
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    HostError,
    InputError,
    KernelError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup
from ansible_collections.linux.cgnet.plugins.module_utils._worker import doing

# FILEID_KERNFS (linux/exportfs.h, since 5.5): a handle that is a kernfs node's id.
_FILEID_KERNFS = 0xFE


_OPENAT2 = 437  # the same on every architecture; since 5.6 (fddb5d430ad9)
# linux/openat2.h
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08


class _OpenHow(ctypes.Structure):
    """struct open_how (linux/openat2.h)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class _FileHandle(ctypes.Structure):
    _fields_ = (
        ("handle_bytes", ctypes.c_uint32),
        ("handle_type", ctypes.c_int32),
        ("id", ctypes.c_uint64),
    )
    _pack_ = 1


def _device(path: str) -> str:
    """The device of what is at a path, as a table of mounts has it; "" where nobody comes there."""
    try:
        device = os.stat(path).st_dev
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
    return f"{os.major(device)}:{os.minor(device)}"


def mounts(kind: str) -> list[str]:
    """The mount points of a file system type in the order of mounting, but for covered ones."""
    return [path for path, device in listed(kind) if _device(path) == device]


def _refuse_covered(kind: str) -> None:
    """HostError where there are mounts of a file system type, to none of which a path leads."""
    for path, _its_device in listed(kind):
        raise HostError(
            f"no path leads to the {kind} file system that is mounted on {path!r}",
            "Unmount what covers it (findmnt shows it), or let this user go there",
        )


def listed(kind: str, table: str = "/proc/self/mountinfo") -> list[tuple[str, str]]:
    """Mount point and device of each mount of a file system type, in the order of mounting."""
    found = []
    with open(table, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            before, _dash, after = line.partition(" - ")
            if after.split(" ", 1)[0] == kind:
                device, _root, raw = before.split(" ")[2:5]
                path = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), raw)
                found.append((path, device))
    return found


def bpffs() -> str:
    """Where bpffs is mounted. HostError where it is not."""
    found = mounts("bpf")
    if not found:
        _refuse_covered("bpf")
        raise HostError(
            "bpffs is not mounted on this host, so nothing could be pinned",
            "Mount it: mount -t bpf bpf /sys/fs/bpf (systemd does so at boot)",
        )
    return "/sys/fs/bpf" if "/sys/fs/bpf" in found else found[0]


def _where(fd: int) -> bytes:
    """Where an open file is."""
    return os.readlink(f"/proc/self/fd/{fd}".encode())


def _stands(path: bytes, found: os.stat_result) -> bool:
    """Whether a file is still what a path names: that of a removed one has an ending."""
    try:
        return os.path.samestat(os.lstat(path), found)
    except OSError:
        return False


@functools.cache
def _syscall() -> Any:
    """syscall(2), as openat2(2) is called, which the C library of Debian 12 has no function for."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = (
        ctypes.c_long,
        ctypes.c_long,
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
    )
    return call


def _open_below(directory: int, path: bytes) -> int:
    """A descriptor of what is at a path below a directory, on the same mount, by no link.

    KernelError: ELOOP for a symbolic link on the way, EXDEV for a way that leads elsewhere.
    """
    how = _OpenHow(
        os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK,
        0,
        _RESOLVE_NO_XDEV | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH,
    )
    fd = _syscall()(_OPENAT2, directory, path, ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        raise KernelError(f"openat2({_names.shown(path)})", ctypes.get_errno())
    return int(fd)


def _moved(at: str, path: str) -> InputError:
    """The error of a path that leads elsewhere from one moment to the next."""
    return InputError(
        at, path, "what it leads to was changed while it was looked at", "Name the cgroup itself"
    )


def _no_cgroup(at: str, path: str) -> InputError:
    return InputError(at, path, "it is no cgroup directory", "Name the cgroup itself")


class Hierarchy:
    """The cgroup v2 hierarchy of this host; it holds every cgroup that it found open."""

    def __init__(self, mount: str | None = None) -> None:
        if mount is None:
            found = mounts("cgroup2")
            if not found:
                _refuse_covered("cgroup2")
                raise HostError(
                    "no cgroup v2 hierarchy is mounted on this host",
                    "Boot with systemd.unified_cgroup_hierarchy=1",
                )
            mount = found[0]
        self.mount = mount
        self._root: tuple[int, bytes] | None = None
        self._opened: list[int] = []

    def close(self) -> None:
        """Close every cgroup that was found."""
        self._root = None
        while self._opened:
            os.close(self._opened.pop())

    def _mounted(self) -> tuple[int, bytes]:
        """A descriptor of the mount, and where that is."""
        if self._root is None:
            fd = os.open(self.mount, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self._opened.append(fd)
            self._root = fd, _where(fd)
        return self._root

    def resolve(self, path: str, at: str) -> Cgroup | None:
        """The cgroup at a path (relative to the mount, or absolute inside it, as _names has it).

        None where there is none. InputError where the path can't name a cgroup
        of this hierarchy: outside the mount, the root, a v1 cgroup, or a file. A symbolic
        link is judged by where it leads; from there on nothing that is swapped in is followed.
        """
        mount, base = self._mounted()
        written = self._written(path, at)
        return self._straight(mount, base, written) or self._below(mount, base, path, at)

    def _straight(self, mount: int, base: bytes, written: bytes) -> Cgroup | None:
        """resolve() for a path that is below the mount as it is written, and None for any other.

        It is what most paths are, and the kernel sees it in one call. What is wrong with another
        _below() tells.
        """
        inside = written.startswith(base + b"/")
        try:
            fd = _open_below(mount, written[len(base) + 1 :] if inside else written)
        except KernelError:
            return None
        return self._kept(fd, base)

    def _kept(self, fd: int, base: bytes) -> Cgroup | None:
        """The cgroup of a descriptor, which stays open; None where it is none, or has gone."""
        found, where = os.fstat(fd), _where(fd)
        below = where.startswith(base + b"/") and _stands(where, found)
        if not below or not stat.S_ISDIR(found.st_mode):
            os.close(fd)
            return None
        self._opened.append(fd)
        return Cgroup(_names.shown(where[len(base) + 1 :]), found.st_ino, fd)

    def canonical(self, path: str, at: str) -> str:
        """A path below the mount as results show it, whether there is such a cgroup or not."""
        base = os.path.realpath(os.fsencode(self.mount))
        return _names.shown(self._inside(base, path, at)[len(base) + 1 :])

    def make(self, path: str, at: str) -> None:
        """Let there be a cgroup at a path below the mount, which resolve() then finds."""
        real = self._inside(os.path.realpath(os.fsencode(self.mount)), path, at)
        try:
            os.makedirs(real, mode=0o755, exist_ok=True)
        except OSError as error:
            raise KernelError(f"mkdir({_names.shown(real)})", error.errno or 0) from error

    def _inside(self, base: bytes, path: str, at: str) -> bytes:
        """Where a path leads, which is below the mount, at `base`. InputError elsewhere."""
        real = self._real(path, at)
        if real == base:
            raise InputError(
                at, path, "the root cgroup holds the whole host", "Name a cgroup below it"
            )
        if not real.startswith(base + b"/"):
            leads = _names.shown(real)
            v1 = [os.fsencode(each) for each in mounts("cgroup")]
            if any(real == each or real.startswith(each + b"/") for each in v1):
                raise InputError(
                    at, path, "it is in a cgroup v1 hierarchy", f"Name one below {self.mount}"
                )
            raise InputError(
                at, path, f"it leads to {leads}, outside the cgroup v2 mount {self.mount}",
                "Name a cgroup below the mount",
            )  # fmt: skip
        return real

    def _below(self, mount: int, base: bytes, path: str, at: str) -> Cgroup | None:
        """resolve(), from a descriptor of the mount and where that is."""
        real = self._inside(base, path, at)
        try:
            fd = _open_below(mount, real[len(base) + 1 :])
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                return None
            if error.errno == errno.ELOOP:
                raise _moved(at, path) from error
            if error.errno == errno.EXDEV:
                raise _no_cgroup(at, path) from error
            raise
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise _no_cgroup(at, path)
        return self._kept(fd, base)

    def _written(self, path: str, at: str) -> bytes:
        """The bytes of a path as it is written."""
        allowed = f"a path below {self.mount}, such as system.slice/x.service"
        if not isinstance(path, str) or not path:
            raise InputError(at, path, allowed)
        try:
            written = _names.raw(path)
        except UnicodeEncodeError as error:
            raise InputError(
                at, path, "it has half a surrogate pair, which is no character",
                r"Write a byte that is no UTF-8 as a backslash and three octal digits: \377",
            ) from error  # fmt: skip
        if b"\0" in written:
            raise InputError(at, path, allowed)
        return written

    def _real(self, path: str, at: str) -> bytes:
        """Where a path leads, whatever is there."""
        written = self._written(path, at)
        try:
            return os.path.realpath(os.path.join(os.fsencode(self.mount), written))
        except OSError as error:  # a link that went between two looks at it
            raise _moved(at, path) from error

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
        mount = os.fsencode(self.mount)
        for base, _directories, _files in os.walk(mount):
            with contextlib.suppress(FileNotFoundError):
                number = os.stat(base).st_ino
                if number in ids:
                    found[number] = _names.shown(os.path.relpath(base, mount))
        return dict(sorted(found.items()))

    def paths(self, ids: list[int]) -> dict[int, str]:
        """Those of the ids whose cgroups still exist, with their paths below the mount.

        The kernel is asked by the id itself (open_by_handle_at() on kernfs).
        KernelError where it does not tell: what is taken for dead gets removed.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        found = {}
        mount = os.open(self.mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        base = _where(mount) + b"/"
        try:
            for number in ids:
                handle = _FileHandle(8, _FILEID_KERNFS, number)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                with doing("open_by_handle_at"):
                    fd = libc.open_by_handle_at(mount, ctypes.byref(handle), flags)
                if fd < 0:
                    problem = ctypes.get_errno()
                    if problem == errno.ESTALE:
                        continue  # that cgroup is gone
                    remedy = "It needs CAP_DAC_READ_SEARCH" if problem == errno.EPERM else ""
                    raise KernelError(f"open_by_handle_at({self.mount})", problem, remedy)
                path = _where(fd)
                os.close(fd)
                inside = path.startswith(base)
                below = path[len(base) :] if inside else os.path.relpath(path, base)
                found[number] = _names.shown(below)
        finally:
            os.close(mount)
        return found
