# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that do nothing, on the hooks of some controls: what the kernel's mechanism costs.

python3 -m benchmarks.empty FOLDER    an object and its manifest for each set of controls
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ansible_collections.linux.cgnet.plugins.module_utils import _policies
from ansible_collections.linux.cgnet.plugins.module_utils._policy import CONTROLS
from ansible_collections.linux.cgnet.plugins.plugin_utils._compile import compile_object
from ansible_collections.linux.cgnet.plugins.plugin_utils._object import read_manifest

from benchmarks.sets import SETS

OBJECTS = Path(__file__).parents[1] / "plugins/objects"
HEAD = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";
"""


def source(controls: tuple[str, ...], lsm: bool) -> str:
    """A program that allows everything for each hook of some controls; `lsm`: of the LSM too."""
    sections = dict(json.loads((OBJECTS / f"{_policies.OBJECT}.json").read_text())["programs"])
    hooks = sorted(
        hook
        for hook in {hook for control in controls for hook in CONTROLS[control].hooks}
        if lsm or not sections[hook].startswith("lsm_cgroup/")
    )
    programs = [
        f'SEC("{sections[hook]}")\nint empty_{hook}(void *ctx)\n{{\n\treturn 1;\n}}\n'
        for hook in hooks
    ]
    return "\n".join([HEAD, *programs])


def build(folder: Path) -> None:
    """NAME.bpf.o and NAME.json of each set into a folder."""
    for name, policy in SETS.items():
        written = folder / f"empty_{name}.bpf.c"
        written.write_text(source(tuple(policy), lsm=not name.endswith("_in_part")))
        built = compile_object(written, folder)
        data = built.read_bytes()
        built.rename(folder / f"empty_{name}.bpf.o")
        manifest = read_manifest(f"empty_{name}", data)
        (folder / f"empty_{name}.json").write_text(json.dumps(manifest))


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve())
