# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compiler runs once for what it would make twice, and its words reach the user."""

from __future__ import annotations

import os
import re
import runpy
import shutil
from pathlib import Path

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import ObjectError
from ansible_collections.linux.cgnet.plugins.plugin_utils import _compile

from tests.unit.conftest import DATA


@pytest.fixture
def source(clang: str, tmp_path: Path) -> Path:
    """A directory of its own with a source and a header."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("bind.bpf.c", "shared.h"):
        shutil.copy(DATA / name, folder)
    return folder / "bind.bpf.c"


@pytest.fixture
def runs(clang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of the compilations (-c) that a wrapper around the compiler saw."""
    log, wrapper = tmp_path / "runs", tmp_path / "clang"
    log.touch()
    wrapper.write_text(
        f'#!/bin/sh\ncase " $* " in *" -c "*) echo "$*" >>{log};; esac\nexec {clang} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setattr(_compile, "CLANG", str(wrapper))
    return log


def count(runs: Path) -> int:
    return len(runs.read_text().splitlines())


def test_a_source_is_compiled_once(source: Path, runs: Path, tmp_path: Path) -> None:
    first = _compile.compile_object(source, tmp_path / "cache")
    made = first.stat().st_mtime_ns
    assert _compile.compile_object(source, tmp_path / "cache") == first
    assert (count(runs), first.stat().st_mtime_ns) == (1, made)


def test_an_object_is_named_by_its_content_and_nothing_else_is_left(
    source: Path, tmp_path: Path
) -> None:
    built = _compile.compile_object(source, tmp_path / "cache")
    assert re.fullmatch(r"[0-9a-f]{64}\.bpf\.o", built.name)
    assert list((tmp_path / "cache").iterdir()) == [built]
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_a_source_without_a_change_is_not_compiled_again(
    source: Path, runs: Path, tmp_path: Path
) -> None:
    _compile.compile_object(source, tmp_path / "cache")
    os.utime(source, (1, 1))
    _compile.compile_object(source, tmp_path / "cache")
    assert count(runs) == 1


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("shared.h", "ANSWER 1", "ANSWER 0"), ("bind.bpf.c", "!= 1", "!= 2")],
)
def test_a_change_in_a_source_or_a_header_is_compiled(
    source: Path, runs: Path, tmp_path: Path, name: str, old: str, new: str
) -> None:
    first = _compile.compile_object(source, tmp_path / "cache")
    changed = source.with_name(name)
    changed.write_text(changed.read_text().replace(old, new))
    second = _compile.compile_object(source, tmp_path / "cache")
    assert count(runs) == 2
    assert first != second
    assert first.read_bytes() != second.read_bytes()


def test_other_flags_and_another_compiler_compile_again(
    source: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _compile.key(source)
    monkeypatch.setattr(_compile, "FLAGS", (*_compile.FLAGS, "-DMORE"))
    second = _compile.key(source)
    wrapper = Path(_compile.CLANG)
    script = wrapper.read_text()
    wrapper.write_text(script.replace("exec", "[ $1 = --version ] && echo other\nexec"))
    assert len({first, second, _compile.key(source)}) == 3


def test_the_same_source_in_two_directories_gives_the_same_object(
    source: Path, tmp_path: Path
) -> None:
    other = tmp_path / "a" / "longer path"
    shutil.copytree(source.parent, other)
    first = _compile.compile_object(source, tmp_path / "one")
    second = _compile.compile_object(other / source.name, tmp_path / "two")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_what_the_cache_has_is_what_compiling_would_give(source: Path, tmp_path: Path) -> None:
    _compile.compile_object(source, tmp_path / "one")
    # BTF holds the lines of the source, with their comments and macros.
    source.write_text(source.read_text().replace("return ANSWER;", "return ANSWER; /* so */"))
    cached = _compile.compile_object(source, tmp_path / "one")
    fresh = _compile.compile_object(source, tmp_path / "two")
    assert cached.read_bytes() == fresh.read_bytes()


def test_an_object_holds_no_path_of_this_machine(source: Path, tmp_path: Path) -> None:
    built = _compile.compile_object(source, tmp_path / "cache")
    assert os.fsencode(source.parent) not in built.read_bytes()


def test_an_object_keeps_its_btf_and_drops_its_dwarf(source: Path, tmp_path: Path) -> None:
    data = _compile.compile_object(source, tmp_path / "cache").read_bytes()
    assert b".BTF\0" in data
    assert b".debug_info" not in data


def test_a_source_that_does_not_compile_gives_the_compilers_words(
    clang: str, tmp_path: Path
) -> None:
    with pytest.raises(ObjectError) as caught:
        _compile.compile_object(DATA / "broken.bpf.c", tmp_path / "cache")
    assert str(caught.value).startswith("object broken.bpf.c: it does not compile:\nbroken.bpf.c:5")
    assert "use of undeclared identifier 'undeclared_name'" in str(caught.value)
    assert not list(tmp_path.glob("cache/*"))


def test_a_warning_is_an_error(clang: str, tmp_path: Path) -> None:
    source = tmp_path / "warns.bpf.c"
    source.write_text("int f(void) { int unused; return 1; }\n")
    with pytest.raises(ObjectError, match="unused variable"):
        _compile.compile_object(source, tmp_path)


def test_a_header_that_is_missing_gives_the_compilers_words(clang: str, tmp_path: Path) -> None:
    source = tmp_path / "lacks.bpf.c"
    source.write_text('#include "nowhere.h"\n')
    with pytest.raises(ObjectError, match=r"'nowhere\.h' file not found"):
        _compile.compile_object(source, tmp_path)


@pytest.mark.parametrize("name", ["nowhere.bpf.c", "."])
def test_a_source_that_is_no_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ObjectError, match=r"is no file\. Name an existing \.bpf\.c"):
        _compile.compile_object(tmp_path / name, tmp_path / "cache")


def test_a_compiler_that_is_missing_gives_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compile, "CLANG", "clang-nowhere")
    with pytest.raises(ObjectError) as caught:
        _compile.compile_object(DATA / "bind.bpf.c", tmp_path)
    assert str(caught.value) == (
        "object bind.bpf.c: clang-nowhere is not on this controller, or may not be run. "
        "Install clang 16 or later and libbpf's headers (Debian: clang-16 llvm-16 libbpf-dev), "
        "name it in CGNET_CLANG, or give a compiled .bpf.o as the source."
    )


@pytest.mark.parametrize("answer", ["Debian clang version 15.0.6", "gcc (Debian) 12.2.0", ""])
def test_an_older_compiler_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    other = tmp_path / "other"
    other.write_text(f"#!/bin/sh\necho '{answer}'\n")
    other.chmod(0o755)
    monkeypatch.setattr(_compile, "CLANG", str(other))
    with pytest.raises(ObjectError, match=r"is no clang 16 or later\. Install clang-16"):
        _compile.compile_object(DATA / "bind.bpf.c", tmp_path)


@pytest.mark.parametrize(
    ("clang", "strip"),
    [
        (None, "llvm-strip-16"),
        ("clang-17", "llvm-strip-17"),
        ("/opt/llvm/bin/clang-17", "/opt/llvm/bin/llvm-strip-17"),
        ("/opt/clang-17/bin/clang", "/opt/clang-17/bin/llvm-strip"),
    ],
)
def test_the_strip_of_the_same_llvm_is_used(
    monkeypatch: pytest.MonkeyPatch, clang: str | None, strip: str
) -> None:
    monkeypatch.delenv("CGNET_LLVM_STRIP", raising=False)
    monkeypatch.delenv("CGNET_CLANG", raising=False)
    if clang:
        monkeypatch.setenv("CGNET_CLANG", clang)
    assert runpy.run_path(str(_compile.__file__))["STRIP"] == strip
