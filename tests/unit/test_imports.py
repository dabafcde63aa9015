# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What imports what, read from the files: the list in docs/architecture.md holds."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import sys
from pathlib import Path

import pytest

from tests.unit.conftest import ROOT

PLUGINS = ROOT / "plugins"
OURS = "ansible_collections.linux.cgnet.plugins"
FILES = sorted(path.relative_to(PLUGINS) for path in PLUGINS.rglob("*.py"))
ON_HOSTS = [path for path in FILES if path.parts[0] in ("modules", "module_utils")]
UTILS = [path for path in FILES if path.parts[0] == "module_utils"]


@functools.cache
def listed() -> dict[Path, int]:
    """Each file of the list in docs/architecture.md, and its line there."""
    text = (ROOT / "docs/architecture.md").read_text()
    block = text.split("```\ncontroller ", 1)[1].split("```", 1)[0]
    found: dict[Path, int] = {}
    directory = ""
    for number, line in enumerate(block.splitlines()):
        match = re.match(r" *(?:host|pure)? +(\w*)/(\w+(?:,? \w+)*)  ", f" {line}")
        if match:
            directory = match.group(1) or directory
            for name in re.findall(r"\w+", match.group(2)):
                found[Path(directory, f"{name}.py")] = number
    return found


def pure() -> list[Path]:
    """The files from the line of the list on that says "pure"."""
    text = (ROOT / "docs/architecture.md").read_text()
    (first,) = re.findall(r"^ +pure +/(\w+) ", text, re.MULTILINE)
    top = listed()[Path(f"module_utils/{first}.py")]
    return [path for path, number in listed().items() if number >= top]


def line(path: Path) -> int:
    """A file's line in the list, where a module and an action plugin stand for all of theirs."""
    if path.parts[0] in ("action", "modules"):
        path = path.with_name("cgnet_policy.py")
    return listed()[path]


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse((PLUGINS / path).read_text(), str(path))


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """The modules that a file imports anywhere in it; ours each by its own name."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: an import of ours is written in full"
            module = str(node.module)
            if module.startswith(OURS) and module.count(".") == OURS.count(".") + 1:
                found.update(f"{module}.{alias.name}" for alias in node.names)
            else:
                found.add(module)
    return frozenset(found)


def ours(path: Path) -> list[Path]:
    """The files of ours that a file imports."""
    below = [name[len(OURS) + 1 :] for name in imports(path) if name.startswith(OURS)]
    return sorted(Path(*name.split(".")).with_suffix(".py") for name in below)


def words(path: Path) -> set[str]:
    """Every name, attribute and text in a file."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update(alias.name for alias in node.names)
    return found


def with_word(paths: list[Path], *searched: str) -> list[str]:
    """The names of those files that have one of some words."""
    return [path.stem for path in paths if words(path) & set(searched)]


def test_the_list_names_every_file_and_no_other() -> None:
    utils = [path for path in FILES if path.parts[0] in ("module_utils", "plugin_utils")]
    entries = [Path("action/cgnet_policy.py"), Path("modules/cgnet_policy.py")]
    assert sorted(listed()) == sorted([*utils, *entries])


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_down_the_list(path: Path) -> None:
    upwards = [str(found) for found in ours(path) if line(found) < line(path)]
    assert upwards == []


def test_no_imports_go_in_a_circle() -> None:
    order = graphlib.TopologicalSorter({path: ours(path) for path in FILES}).static_order()
    assert sorted(order) == FILES


def test_the_reader_of_imports_sees_them() -> None:
    seen = {
        name: [found.stem for found in ours(Path(name))]
        for name in ("plugin_utils/_object.py", "module_utils/_ports.py", "modules/cgnet_info.py")
    }
    assert seen == {
        "plugin_utils/_object.py": ["_errors", "_layout", "_btf"],
        "module_utils/_ports.py": ["_abi", "_errors", "_model", "_values"],
        "modules/cgnet_info.py": ["_info", "_module"],
    }


WORK = {
    "cgnet_htb": "_shaping",
    "cgnet_info": "_info",
    "cgnet_policy": "_policies",
    "cgnet_program": "_programs",
    "cgnet_raw_xmit": "_raw_xmit",
}
"""What does a module's work."""
BUILDS_ON = {
    "cgnet_info": {"_policies", "_programs", "_raw_xmit"},
    "cgnet_program": {"_policies"},
    "cgnet_raw_xmit": {"_policies", "_programs"},
}
"""The work of others that a module's own is made of."""


def brought(path: Path) -> set[Path]:
    """What Ansible sends along with a file: all that it imports, and what that does."""
    found, left = set(), [path]
    while left:
        each = left.pop()
        if each not in found:
            found.add(each)
            left += ours(each)
    return found


def test_every_module_has_its_work() -> None:
    assert {path.stem for path in FILES if path.parts[0] == "modules"} == WORK.keys()


@pytest.mark.parametrize("module", WORK)
def test_a_module_brings_its_own_work_and_no_other_to_a_host(module: str) -> None:
    names = {path.stem for path in brought(Path(f"modules/{module}.py"))}
    assert names & set(WORK.values()) == {WORK[module]} | BUILDS_ON.get(module, set())


@pytest.mark.parametrize("path", ON_HOSTS, ids=str)
def test_what_is_shipped_to_a_host_imports_nothing_of_the_controllers(path: Path) -> None:
    assert {found.parts[0] for found in ours(path)} <= {"module_utils"}


@pytest.mark.parametrize("path", ON_HOSTS, ids=str)
def test_a_host_needs_nothing_but_python_ansibles_part_and_pyroute2_for_tc(path: Path) -> None:
    others = {
        "pyroute2" if name.startswith("pyroute2.") else name
        for name in imports(path)
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith(OURS)
    }
    allowed = {"_module": {"ansible.module_utils.basic"}, "_rtnetlink": {"pyroute2"}}
    assert others == allowed.get(path.stem, set())


def test_one_file_on_a_host_speaks_ansible() -> None:
    text = {path.stem: (PLUGINS / path).read_text() for path in ON_HOSTS}
    speaking = [name for name, found in text.items() if re.search("fail_json|exit_json", found)]
    assert speaking == ["_module"]


@pytest.mark.parametrize("path", pure(), ids=str)
def test_what_is_pure_imports_only_what_is_pure(path: Path) -> None:
    assert [found.stem for found in ours(path) if found not in pure()] == []


@pytest.mark.parametrize("path", pure(), ids=str)
def test_what_is_pure_does_no_io(path: Path) -> None:
    io = {"io", "fcntl", "pathlib", "shutil", "socket", "tempfile", "time", "random", "threading"}
    assert imports(path) & io == set()
    assert words(path) & {"open", "print", "input"} == set()
    called = {
        node.attr
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert called <= {"strerror"}


def test_six_files_call_shared_libraries() -> None:
    loaders = ("CDLL", "PyDLL", "cdll", "pydll", "pythonapi", "LoadLibrary", "dlopen")
    assert with_word(FILES, *loaders) == [
        "_cgroup", "_libbpf", "_runtime", "_sockets", "_systemd", "_worker",
    ]  # fmt: skip


def test_no_program_is_started_on_a_host() -> None:
    starters = {"subprocess", "multiprocessing", "pty", "asyncio"}
    assert [path.stem for path in ON_HOSTS if imports(path) & starters] == []
    calls = ("system", "popen", "forkpty", "posix_spawn", "posix_spawnp", "startfile")
    calls += tuple(f"{call}{how}" for call in ("exec", "spawn") for how in ("v", "ve", "vp", "vpe"))
    calls += tuple(f"{call}{how}" for call in ("exec", "spawn") for how in ("l", "le", "lp", "lpe"))
    assert with_word(ON_HOSTS, *calls, "run_command") == []


def test_one_file_on_a_host_forks() -> None:
    assert with_word(ON_HOSTS, "fork") == ["_worker"]


def test_one_file_on_the_controller_starts_processes() -> None:
    assert [path.stem for path in FILES if "subprocess" in imports(path)] == ["_compile"]


@pytest.mark.parametrize("path", ON_HOSTS, ids=str)
def test_a_host_may_have_python_3_9(path: Path) -> None:
    ast.parse((PLUGINS / path).read_text(), str(path), feature_version=(3, 9))
