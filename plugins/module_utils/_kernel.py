# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel boundary: look, load, attach, store, detach. It decides nothing.

Everything is known by its pin below <bpffs>/cgnet and nothing else is touched.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import resource
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _attached,
    _events,
    _libbpf,
    _loader,
    _lock,
    _look,
    _pins,
    _readers,
    _retrofit,
    _rings,
    _slots,
    _storage,
    _vmlinux,
    _worker,
)
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy, bpffs
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._layout import STAGING, Layout
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BpfObject,
    Cgroup,
    Facts,
    Hindrance,
    Left,
    Observed,
    Program,
    Ring,
    Slots,
    Target,
    blank,
)

_T = TypeVar("_T")

LOCK = "/run/cgnet.lock"
_LSM = "/sys/kernel/security/lsm"
_SO_NETNS_COOKIE = 71  # since 5.14 (e8b9eab99232)


def _listed(path: str) -> list[str]:
    """The names in a directory; none where it does not exist."""
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []


@functools.cache
def _told_by_types() -> tuple[bool, bool]:
    """What the kernel's own types tell: whether it has lsm_cgroup, and whether a control message
    may set a packet's priority. That stays so while it runs, and takes long to read.
    """
    with _vmlinux.types() as types:
        has_lsm_cgroup = "BPF_LSM_CGROUP" in types.enum("bpf_attach_type")
        return has_lsm_cgroup, "priority" in types.struct("sockcm_cookie")


class Kernel:
    """This host's kernel, through libbpf and bpffs. Needs root.

    A `reader`, who is not root, may ask for the facts, and observe what is shared with it.
    Use it in a `with` statement: it then holds as many cgroups open as the host lets it, and
    the programs and maps that it uses for one cgroup after the other.
    """

    def __init__(self, layout: Layout, hierarchy: Hierarchy, reader: bool = False) -> None:
        self.reader = reader
        self.layout = layout
        self.hierarchy = hierarchy
        self.libbpf = _libbpf.library()
        self._opened: contextlib.ExitStack | None = None
        self._known: dict[str, Any] = {}
        self._pinned: _pins.Known = {}
        self._holding = contextlib.ExitStack()

    @classmethod
    def open(cls, reader: bool = False) -> Kernel:
        """The kernel of this host, for root, or for a reader too where that is enough.

        HostError names what lacks and the remedy.
        """
        if os.geteuid() != 0 and not reader:
            raise HostError(
                f"this needs root, and runs as uid {os.geteuid()}", "Set become: true on the task"
            )
        return cls(Layout(bpffs()), Hierarchy(), reader=os.geteuid() != 0)

    def __enter__(self) -> Kernel:
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
        _soft, hard = self._descriptors
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._opened = contextlib.ExitStack()
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()
        self._opened = None
        self.hierarchy.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, self._descriptors)

    @contextlib.contextmanager
    def _open(
        self, path: str, opener: Callable[[str], contextlib.AbstractContextManager[_T]]
    ) -> Iterator[_T]:
        """What an opener gives for a path: for once, or in a `with` statement until _close()."""
        if self._opened is None:
            with opener(path) as once:
                yield once
            return
        if path not in self._known:
            self._known[path] = self._opened.enter_context(opener(path))
        yield self._known[path]

    def _close(self) -> None:
        """Close what _open() has opened: something else may be at its path from now on."""
        self._holding.close()
        self._known.clear()
        if self._opened:
            self._opened.close()

    def facts(self) -> Facts:
        """What decides which hooks can be enforced here."""
        lsm: tuple[str, ...] | None = None
        with contextlib.suppress(FileNotFoundError), open(_LSM, encoding="ascii") as active:
            lsm = tuple(active.read().strip().split(","))
        known, messages = _told_by_types()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            cookie = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        number = int.from_bytes(cookie, "little")
        return Facts(os.uname().release, lsm, known, messages, number)

    def slots(self) -> Slots:
        """The LSM hooks that are taken, by whomever."""
        return _slots.slots(self.hierarchy.mount)

    def hindrances(
        self, wanted: Iterable[tuple[Cgroup, Iterable[Program]]]
    ) -> list[tuple[Cgroup, Program, Hindrance]]:
        """The programs of others because of which some of ours can't be attached to cgroups."""
        return _attached.hindrances(wanted, self.hierarchy.mount)

    def rings(self, cgroup: Cgroup) -> tuple[Ring, ...]:
        """The sockets of a cgroup's tasks that receive where no hook sees it."""
        return _rings.rings(cgroup)

    def lacking(self, name: str, version: str, target: Target) -> tuple[int, tuple[Left, ...]]:
        """How many sockets lack a priority and can be given it, and which can't."""
        maps = self.layout.maps(name, version)
        governing = _storage.governing(maps)

        def owner(socket: int) -> int:
            found = _storage.owner(maps, socket)
            return found if found in governing else 0

        with _retrofit.unheld(self.hierarchy.mount):
            governs = target.cgroup.id in governing
            return _retrofit.look(target, owner if governs else None)

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """One run at a time on a host; the lock of a process that died is free.

        Who waits for too long is told which process holds it (_worker.LOCK_SECONDS).

        Attaching and detaching lsm_cgroup at once can use freed memory in
        kernels without 56145d237385 (CVE-2026-23319).
        """
        return _lock.held(LOCK, fcntl.LOCK_EX, lambda: _pins.tidy(self.layout))

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """No run changes anything meanwhile, but for a reader: who holds the lock stops runs."""
        if self.reader:
            return contextlib.nullcontext()
        return _lock.held(LOCK, fcntl.LOCK_SH, lambda: not os.path.lexists(self.layout.root))

    # Looking

    def names(self) -> list[str]:
        """The names of the objects that have a version here. HostError for what is not ours."""
        _pins.require_objects(self.layout)
        return [name for name in _listed(self.layout.root) if _listed(self.layout.object(name))]

    def observe(self, name: str) -> Observed:
        """Everything of an object's name that the kernel holds. HostError for what is not ours."""
        if self.reader:
            return _readers.observe(self.layout, self.hierarchy, name)
        return _look.observe(self.layout, self.hierarchy, name, self._pinned)

    def counts(self, name: str, size: int) -> dict[int, list[bytes]]:
        """Cgroup id → the `size` bytes of counts of every CPU and of every version."""
        found: dict[int, list[bytes]] = {}
        for version in _listed(self.layout.object(name)):
            try:
                counted = _storage.counts(self.layout.maps(name, version), size)
            except PermissionError:
                if not self.reader:
                    raise
                continue  # a version that was made just now, or goes
            for cgroup, each in counted.items():
                found.setdefault(cgroup, []).extend(each)
        return found

    def take_events(self, name: str) -> list[bytes]:
        """The records of every version's ring buffer, which are gone from it then."""
        versions = _listed(self.layout.object(name))
        return [each for v in versions for each in _events.take(self.layout.maps(name, v))]

    # Changing

    def load(
        self, bpf_object: BpfObject, version: str, programs: Iterable[Program], data: bytes
    ) -> None:
        """Load programs out of the object's bytes and pin them, and its maps, as a version.

        A new version is made aside and renamed into place, so that it is there
        whole or not at all; what a killed run left aside is removed first.
        """
        self._close()
        name, wanted = bpf_object.name, {program.name for program in programs}
        final, aside = self.layout.version(name, version), self.layout.staging(name, version)
        self._remove(aside)
        exists = os.path.isdir(final)
        base = final if exists else aside
        with _loader.loaded(data, wanted, f"{final}/map" if exists else "") as handle:
            parts = [f"{base}/{part}" for part in ("prog", "map", "link")]
            for directory in (self.layout.root, self.layout.object(name), base, *parts):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(directory, 0o700)
            for map_name, fd in _loader.maps(handle):
                if not os.path.exists(f"{base}/map/{map_name}"):
                    self._pin(fd, f"{base}/map/{map_name}")
            for program, fd in _loader.programs(handle, wanted):
                self._pin(fd, f"{base}/prog/{program}")
        if not exists:
            os.rename(aside, final)

    def _pin(self, fd: int, path: str) -> None:
        self.libbpf.call("bpf_obj_pin", fd, os.fsencode(path))

    def _link(self, name: str, version: str, cgroup: Cgroup, program: Program) -> int:
        """A new link of a pinned program to a cgroup; it goes when its descriptor does."""
        with self._open(self.layout.program(name, version, program.name), _libbpf.opened) as fd:
            kind = _libbpf.attach_type(program.section)
            try:
                return int(self.libbpf.call("bpf_link_create", fd, cgroup.fd, kind, None))
            except KernelError as error:
                raise KernelError(
                    f"attaching {program.name} ({program.section}) to {cgroup.path}",
                    error.errno,
                    _ATTACH_REMEDIES.get(error.errno, ""),
                ) from error

    def require_way(self, gid: int) -> None:
        """HostError where a group's members can't come as far as our pins."""
        _readers.require_way(self.layout.bpffs, gid)

    def set_aside(self, name: str, version: str, to: str) -> None:
        """Give a version another name. What is attached stays so."""
        self._close()
        try:
            os.rename(self.layout.version(name, version), self.layout.version(name, to))
        except OSError as error:
            raise KernelError(f"setting {version} aside as {to}", error.errno or 0) from error

    def share(self, name: str, version: str, gid: int) -> None:
        """Let a group read what a version stores; gid 0: root alone."""
        _readers.share(self.layout, name, version, gid)

    def hold(self, name: str, version: str, cgroup: Cgroup, program: Program) -> None:
        """Make a cgroup's storage: it outlives the link that the kernel made it for.

        In a `with` statement that link ends with the next one. Were none left in between, the
        kernel would switch the hook off and on again for each cgroup, by changing its own code.
        """
        link = _libbpf.closing(self._link(name, version, cgroup, program))
        if self._opened is None:
            with link:
                return
        self._holding.close()
        self._holding.enter_context(link)

    def store(self, name: str, version: str, cgroup: int, value: bytes) -> None:
        """Replace what is stored for a cgroup; a program sees all of the old or of the new.

        With zeros, which are no policy, what was counted for it is forgotten too.
        """
        with self._writer(name, version) as writer:
            if blank(value):  # first: a run that is killed between comes here again
                writer.forget(cgroup)
            writer.store(cgroup, value)

    def govern(self, name: str, version: str, cgroup: int, governs: bool) -> None:
        """Say whether a cgroup's policy governs the priority: an ancestor's program asks that."""
        with self._writer(name, version) as writer:
            writer.govern(cgroup, governs)

    def nest(self, name: str, version: str, nested: bool) -> None:
        """Say whether a cgroup whose policy governs the priority is below another such one."""
        with self._writer(name, version) as writer:
            writer.nest(nested)

    def _writer(
        self, name: str, version: str
    ) -> contextlib.AbstractContextManager[_storage.Writer]:
        return self._open(self.layout.maps(name, version), _storage.Writer)

    def retrofit(self, target: Target) -> None:
        """Give the sockets of a target its priority, but for those that can't be given it."""
        with _retrofit.unheld(self.hierarchy.mount):
            _retrofit.give(target)

    def attach(self, name: str, version: str, cgroup: Cgroup, program: Program) -> None:
        """Attach a pinned program to a cgroup, for as long as the link's pin stands."""
        with _libbpf.closing(self._link(name, version, cgroup, program)) as fd:
            path = self.layout.link(name, version, cgroup.id, program.name)
            try:
                self._pin(fd, path)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
                os.makedirs(os.path.dirname(path), mode=0o700)  # for the cgroup's first
                self._pin(fd, path)

    def detach(self, name: str, version: str, cgroup: int, program: str) -> None:
        """Detach a pinned link at once (its pin's end alone would do so later) and unpin it.

        Where another link than ours is pinned, that is not ours to detach.
        """
        path = self.layout.link(name, version, cgroup, program)
        with _worker.doing(path), _libbpf.opened(path) as fd:
            if _attached.is_link_of(fd, cgroup, program):
                self.libbpf.call("bpf_link_detach", fd)
        os.unlink(path)
        try:
            os.rmdir(os.path.dirname(path))
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise

    def unload(self, name: str, version: str) -> None:
        """Remove a version's pins, and the directories that are empty then.

        The version is renamed aside first: a run that is killed meanwhile leaves no
        programs that another run would use over a map that is made anew.
        """
        self._close()
        directory = self.layout.version(name, version)
        if not version.endswith(STAGING):
            aside = self.layout.staging(name, version)
            self._remove(aside)
            with contextlib.suppress(FileNotFoundError):
                os.rename(directory, aside)
            directory = aside
        self._remove(directory)
        _pins.tidy(self.layout)

    def _remove(self, directory: str) -> None:
        """Remove a directory of pins; no symbolic link is followed out of it."""
        for base, directories, files in os.walk(directory, topdown=False):
            for entry in files:
                os.unlink(f"{base}/{entry}")
            for entry in directories:
                os.rmdir(f"{base}/{entry}")
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(directory)


_ATTACH_REMEDIES = {
    errno.EPERM: "A program attached to this cgroup or to an ancestor without BPF_F_ALLOW_MULTI "
    "forbids others; bpftool cgroup tree shows it",
    errno.EINVAL: "For lsm_cgroup: all ten hooks that one kernel has may be taken, or one that "
    "was until now is not free yet; bpftool link shows by whom. Run the task again",
    errno.E2BIG: "A cgroup takes 64 programs of one type",
    errno.ENOENT: "The cgroup was removed meanwhile. Run the task again",
}
