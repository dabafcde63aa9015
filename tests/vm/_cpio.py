"""Writes the cpio "newc" archives that the kernel unpacks as its initramfs.

The format is that of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
Archives may stand one after another in one initrd; a later one adds to what came before.
Writing it here takes a few lines, needs no root (device nodes are entries, not files) and
turns mmdebstrap's tar into an initrd without unpacking it on the host.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import IO


class CpioWriter:
    """One newc archive, appended to a stream; everything in it is root's.

    A directory that is not there yet is made when something is put into it.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._inode = 0
        self._directories = {PurePosixPath()}

    def add_directory(self, path: PurePosixPath, permissions: int = 0o755) -> None:
        """Adds a directory; `permissions` are its low 12 bits."""
        self._parents(path)
        self._directories.add(path)
        self._entry(path, stat.S_IFDIR | permissions)

    def add_node(self, path: PurePosixPath, mode: int, device: tuple[int, int]) -> None:
        """Adds a device node; `device` is major and minor."""
        self._parents(path)
        self._entry(path, mode, device=device)

    def add_bytes(self, path: PurePosixPath, mode: int, content: bytes, mtime: int = 0) -> None:
        """Adds a file, or a symbolic link whose target is `content`.

        `mode` is a full st_mode. `mtime` is in seconds; Python compiles a module anew where it is
        not the one that the module's .pyc names.
        """
        self._parents(path)
        self._entry(path, mode, content, mtime=mtime)

    def add_file(self, path: PurePosixPath, source: Path) -> None:
        """Adds a copy of a file or a symbolic link of the host."""
        mode = source.lstat().st_mode
        content = os.fsencode(os.readlink(source)) if stat.S_ISLNK(mode) else source.read_bytes()
        self.add_bytes(path, mode, content)

    def close(self) -> None:
        """Ends the archive and fills it up to a block of 512 bytes."""
        self._entry(PurePosixPath("TRAILER!!!"), 0)
        self._stream.write(bytes(-self._stream.tell() % 512))

    def _parents(self, path: PurePosixPath) -> None:
        if path.parent not in self._directories:
            self.add_directory(path.parent)

    def _entry(
        self,
        path: PurePosixPath,
        mode: int,
        content: bytes = b"",
        device: tuple[int, int] = (0, 0),
        mtime: int = 0,
    ) -> None:
        self._inode += 1
        name = str(path).encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, mtime, len(content), 0, 0, *device, len(name), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + name
        self._stream.write(header + bytes(-len(header) % 4))
        self._stream.write(content + bytes(-len(content) % 4))
