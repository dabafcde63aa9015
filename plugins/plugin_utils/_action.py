# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seam between the controller and a host: compile, read, ship, run the module.

The module gets the object's manifest and plans from it. Only where its plan
loads the object does it ask for the bytes, and then it is run once more with
them; in the steady state nothing is shipped and the module runs once.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.linux.cgnet.plugins.module_utils._abi import LAYOUT
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    InputError,
    ObjectError,
)
from ansible_collections.linux.cgnet.plugins.plugin_utils._compile import compile_object
from ansible_collections.linux.cgnet.plugins.plugin_utils._object import (
    check_layout,
    read_manifest,
)

# Where the build puts finished objects; a collection may read only some directories.
OBJECTS = Path(__file__).parents[1] / "objects"
BUNDLED = ("policy", "raw_xmit")


def cache() -> Path:
    """Where compiled objects are kept on the controller."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "cgnet" / "objects"


def bundled(name: str) -> tuple[dict[str, Any], Path]:
    """The manifest and the path of an object that comes with the collection."""
    path, described = OBJECTS / f"{name}.bpf.o", OBJECTS / f"{name}.json"
    for needed in (path, described):
        if not needed.is_file():
            raise ObjectError(
                name, f"{needed} is missing", "Install a released collection, or run make object"
            )
    manifest = json.loads(described.read_text())
    if hashlib.sha256(path.read_bytes()).hexdigest() != manifest["sha256"]:
        raise ObjectError(name, f"{path} is not what was built", "Install the collection anew")
    if name == "policy":
        check_layout(manifest, LAYOUT)
    return manifest, path


def own(name: str, source: str) -> tuple[dict[str, Any], Path]:
    """The manifest and the path of a user's object, compiled if it is source."""
    if name in BUNDLED:
        raise ObjectError(name, "that is the name of a bundled object", "Choose another name")
    path = Path(source)
    if path.name.endswith(".bpf.c"):
        path = compile_object(path, cache())
    elif not path.name.endswith(".bpf.o"):
        raise ObjectError(name, f"{source} is neither a .bpf.c nor a .bpf.o", "Name one of these")
    return read_manifest(name, path.read_bytes()), path


class ObjectAction(ActionBase):
    """What the action plugins share; each says which object its task needs."""

    _supports_check_mode = True
    _supports_diff = True

    def object(self, args: dict[str, Any]) -> tuple[dict[str, Any], Path] | None:
        """The manifest and the path of the object that the task needs, if any."""
        raise NotImplementedError

    def find_source(self, source: str) -> str:
        """A source's path on the controller, looked for in files/ as copy does."""
        try:
            return str(self._find_needle("files", source))  # type: ignore[no-untyped-call]
        except AnsibleError as error:
            raise InputError(
                "source", source, "the controller has no such file",
                "Give its path, or put it into files/ beside the play or in its role",
            ) from error  # fmt: skip

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the module, and run it again with the object's bytes if it asks for them.

        What is wrong is returned as the module returns it, so that failed_when sees it:
        an exception would pass it by.
        """
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        try:
            for name in sorted(set(args) & {"_object", "_object_path"}):
                raise InputError(name, args[name], "it is not for use in a task", "Leave it out")
            found = self.object(args)
        except CgnetError as error:
            return {"failed": True, "msg": str(error), "error": type(error).__name__}
        if found:
            manifest = {key: value for key, value in found[0].items() if key != "layout"}
            args["_object"] = manifest
        result = self._execute_module(module_args=args, task_vars=task_vars)
        if result.pop("object_needed", False) and found:
            if not self._connection._shell.tmpdir:
                self._make_tmp_path()
            folder = self._connection._shell.tmpdir
            remote = self._connection._shell.join_path(folder, "object.bpf.o")
            self._transfer_file(str(found[1]), remote)  # type: ignore[no-untyped-call]
            self._fixup_perms2((folder, remote))  # type: ignore[no-untyped-call]
            args["_object_path"] = remote
            result = self._execute_module(module_args=args, task_vars=task_vars)
        diff = result.get("diff")
        if isinstance(diff, dict):
            result["diff"] = {
                when: yaml.safe_dump(shown, sort_keys=False) if shown else ""
                for when, shown in diff.items()
            }
        return dict(result)
