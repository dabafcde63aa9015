# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins whose owner or mode somebody changed are mended; what is not ours stops the run."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf
from ansible_collections.linux.cgnet.plugins.module_utils._errors import CgnetError, HostError

from tests.kernel import foreign, tasks
from tests.kernel.conftest import Group, apply, info, program, raw_xmit, shipped
from tests.kernel.readers import ADM, PINS, TTY, VERSION, modes, open_to, storages
from tests.kernel.seen import everything
from tests.kernel.tasks import bind

pytestmark = pytest.mark.usefixtures("ports_alone", "alone")
Make = Callable[..., Group]

TOP = f"{PINS}/policy/{VERSION}"
ENTRY = {"cgroup": "ours", "bind_ports": {"tcp": [1001]}}
UID = tasks.NOBODY


def binding() -> list[object]:
    return [bind(socket.AF_INET, socket.SOCK_STREAM, port) for port in (1001, 1002)]


@pytest.fixture
def ours(group: Make) -> Group:
    """A cgroup with a policy."""
    return group("ours", bind_ports={"tcp": [1001]})


def placed(path: str, ours: Group) -> str:
    """A path below our directory, ID standing for the cgroup's."""
    return f"{PINS}/{path}".replace("VERSION", VERSION).replace("ID", str(ours.id))


# Owners and modes

PARTS = [
    "", "/policy", "/policy/VERSION", "/policy/VERSION/prog", "/policy/VERSION/map",
    "/policy/VERSION/link", "/policy/VERSION/link/ID", "/policy/VERSION/prog/policy_bind4",
    "/policy/VERSION/map/policies", "/policy/VERSION/map/governing",
    "/policy/VERSION/link/ID/policy_bind4",
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_an_owner_and_a_mode_are_told_and_mended(ours: Group, part: str) -> None:
    path = placed(part.lstrip("/"), ours).rstrip("/")
    closed = "0700" if os.path.isdir(path) else "0600"
    os.chmod(path, 0o777)
    os.chown(path, UID, UID)
    words = f"{path} has owner {UID}, group {UID}, mode 0777, and not owner 0, group 0, mode "
    before = everything()
    told = apply([ENTRY], check=True)
    assert (everything(), os.stat(path).st_uid) == (before, UID)
    assert told["actions"] == [{"action": "share", "version": VERSION, "gid": 0}]
    assert (told["changed"], len(told["warnings"])) == (True, 1)
    assert told["warnings"][0].startswith(words)
    assert info()["altered"] == told["warnings"]
    assert apply([ENTRY]) == told
    found = os.stat(path)
    assert (found.st_uid, found.st_gid) == (0, 0)
    assert f"{found.st_mode & 0o7777:04o}" == ("0711" if path == PINS else closed)
    again = apply([ENTRY])
    assert (again["changed"], again["warnings"], info()["altered"]) == (False, [], [])
    assert ours.run(binding) == ["ok", "EPERM"]
    assert everything() == before


def test_all_at_once_is_mended_by_a_run_that_changes_the_policy(ours: Group) -> None:
    for base, directories, files in os.walk(PINS):
        for path in [base, *(f"{base}/{name}" for name in directories + files)]:
            os.chown(path, UID, TTY)
            os.chmod(path, 0o666)
    apply([{**ENTRY, "bind_ports": {"tcp": [1002]}}])
    assert ours.run(binding) == ["EPERM", "ok"]
    assert modes() == {}
    assert {os.stat(path).st_uid for path in [PINS, *everything()]} == {0}


def test_a_group_that_was_given_by_hand_reads_no_more(ours: Group) -> None:
    os.chown(f"{PINS}/policy", 0, TTY)
    os.chmod(f"{PINS}/policy", 0o750)
    assert len(info()["altered"]) == 1
    assert apply([ENTRY])["changed"]
    assert modes() == {}


def test_readers_stay_where_something_else_is_mended(ours: Group) -> None:
    apply([], readers="adm")
    os.chown(storages()[0], UID, ADM)
    assert apply([ENTRY], readers="adm")["changed"]
    assert modes() == open_to(ADM)
    assert os.stat(storages()[0]).st_uid == 0


def test_the_other_modules_mend_theirs(ours: Group) -> None:
    mine = shipped("mine_one", name="mine")
    program("mine", ["ours"], obj=mine)
    raw_xmit("ours")
    runs: dict[str, Callable[..., dict[str, Any]]] = {
        "mine": lambda **more: program("mine", ["ours"], obj=mine, **more),
        "raw_xmit": lambda **more: raw_xmit("ours", **more),
    }
    for name, run in runs.items():
        (version,) = os.listdir(f"{PINS}/{name}")
        path = f"{PINS}/{name}/{version}/prog"
        os.chmod(path, 0o777)
        assert run(check=True)["warnings"] == info()["altered"] != []
        assert run()["changed"]
        assert not run()["changed"]
        assert info()["altered"] == []


# What is not ours


def pin_map(path: str, name: bytes = b"theirs") -> None:
    """Pin an array of somebody's."""
    fd = ctypes.CDLL("libbpf.so.1").bpf_map_create(2, name, 4, 4, 1, None)
    assert fd >= 0
    with _libbpf.closing(fd):
        _libbpf.library().call("bpf_obj_pin", fd, os.fsencode(path))


def pin_program(path: str) -> None:
    """Pin a program of somebody's."""
    with foreign.theirs(["bind4"]) as theirs:
        _libbpf.library().call("bpf_obj_pin", theirs.fds["bind4"], os.fsencode(path))


def again_at(source: str, path: str) -> None:
    """Pin what is pinned at one path at another."""
    with _libbpf.closing(_libbpf.get(source)) as fd:
        _libbpf.library().call("bpf_obj_pin", fd, os.fsencode(path))


def over(path: str, pin: Callable[[str], None]) -> None:
    """Replace a pin."""
    os.unlink(path)
    pin(path)


def directory_over(path: str) -> None:
    os.unlink(path)
    os.mkdir(path)


Place = Callable[[Group], str]


def at(path: str, put: Callable[[str], None]) -> Place:
    """What puts something at a path below our directory, and tells where."""

    def place(ours: Group) -> str:
        found = placed(path, ours)
        put(found)
        return found

    return place


BIND4, BIND6 = f"{TOP}/prog/policy_bind4", f"{TOP}/prog/policy_bind6"
LINK = "policy/VERSION/link/ID/policy_bind4"
STRANGE: dict[str, tuple[Place, str]] = {
    "a map for a program": (
        at("policy/VERSION/prog/policy_bind4", lambda p: over(p, pin_map)),
        "a map, where cgnet has a program"),
    "a program for a map": (
        at("policy/VERSION/map/policies", lambda p: over(p, lambda q: again_at(BIND4, q))),
        "a program, where cgnet has a map"),
    "another map": (
        at("policy/VERSION/map/policies", lambda p: over(p, pin_map)),
        "a map of the name theirs, where cgnet has a map of its own"),
    "a map besides": (
        at("policy/VERSION/map/ours", pin_map),
        "a map of the name theirs, where cgnet has a map of its own"),
    "another program": (
        at("policy/VERSION/prog/policy_bind4", lambda p: over(p, pin_program)),
        "a program of the name theirs_bind4, where cgnet has a program of its own"),
    "a link for a program": (
        lambda ours: at("policy/VERSION/prog/policy_bind4",
                        lambda p: over(p, lambda q: again_at(placed(LINK, ours), q)))(ours),
        "a link, where cgnet has a program"),
    "a program for a link": (
        at(LINK, lambda p: over(p, lambda q: again_at(BIND4, q))),
        "a program, where cgnet has a link"),
    "another link": (
        lambda ours: at("policy/VERSION/link/ID/theirs",
                        lambda p: again_at(placed(LINK, ours), p))(ours),
        "a link of the program policy_bind4, where cgnet has links to that cgroup, each named "
        "for its program"),
    "a link of another cgroup": (
        lambda ours: at("policy/VERSION/link/1/policy_bind4",
                        lambda p: (os.mkdir(os.path.dirname(p)),
                                   again_at(placed(LINK, ours), p)))(ours),
        "a link to something else, where cgnet has links to that cgroup, each named for its "
        "program"),
    "a directory for a program": (
        at("policy/VERSION/prog/policy_bind4", directory_over),
        "no pin, where cgnet has pins of progs"),
    "a symbolic link for a program": (
        at("policy/VERSION/prog/policy_bind4", lambda p: over(p, lambda q: os.symlink(BIND6, q))),
        "no pin, where cgnet has pins of progs"),
    "a pin for a version": (
        at("policy/theirs", pin_map), "no directory, where cgnet has a version's directory"),
    "a symbolic link for a version": (
        at("policy/theirs", lambda p: os.symlink(TOP, p)),
        "a symbolic link, where cgnet has a version's directory"),
    "a directory in a version": (
        at("policy/VERSION/theirs", os.mkdir),
        "of a name that cgnet gives to none, where cgnet has prog, map and link"),
    "a version of an odd name": (
        at("policy/the irs\n", os.mkdir),
        "of a name that cgnet gives to none, where cgnet has an object's versions"),
    "a cgroup that is no number": (
        at("policy/VERSION/link/theirs", os.mkdir),
        "of a name that is no cgroup's id, where cgnet has a directory for each cgroup"),
    "a cgroup with a leading zero": (
        at("policy/VERSION/link/01", os.mkdir),
        "of a name that is no cgroup's id, where cgnet has a directory for each cgroup"),
    "a pin for a cgroup": (
        at("policy/VERSION/link/7", pin_map),
        "no directory, where cgnet has the directory of a cgroup's links"),
}  # fmt: skip


def refusal(run: Callable[[], object]) -> str:
    """The words of the one error, after which nothing is changed."""
    before = everything_but_links()
    with pytest.raises(CgnetError) as raised:
        run()
    assert raised.type is HostError
    assert everything_but_links() == before
    return str(raised.value)


def everything_but_links() -> list[tuple[str, int]]:
    """Every path below our directory, and its inode."""
    return [
        (f"{base}/{name}", os.lstat(f"{base}/{name}").st_ino)
        for base, directories, files in os.walk(PINS)
        for name in directories + files
    ]


@pytest.fixture
def emptied() -> Iterator[None]:
    """In the end our directory goes, whatever is left in it."""
    yield
    shutil.rmtree(PINS, ignore_errors=True)
    if os.path.lexists(PINS):
        os.unlink(PINS)


@pytest.mark.parametrize("what", STRANGE)
def test_what_is_not_ours_is_told_and_left_and_the_remedy_works(
    ours: Group, emptied: None, what: str
) -> None:
    place, words = STRANGE[what]
    path = place(ours)
    shown = path.replace("\n", r"\012")
    runs: list[Callable[[], object]] = [
        lambda: apply([ENTRY], check=True),
        lambda: apply([ENTRY]),
        lambda: apply([], purge=True),
        lambda: apply([{"cgroup": "ours", "state": "absent"}]),
        lambda: program("policy", None, state="absent"),
        info,
    ]
    for run in runs:
        told = refusal(run)
        assert told.startswith(f"{shown} is {words} and nothing else. Nothing was changed. ")
    assert told.endswith(", and run the task again, which pins its own anew.")
    if "(rm" in told and "\n" not in path:
        command = told.partition("(")[2].rpartition(")")[0]
        subprocess.run(command, shell=True, check=True)
    else:
        os.rmdir(path)
    apply([ENTRY])
    assert ours.run(binding) == ["ok", "EPERM"]
    assert not apply([ENTRY])["changed"]
    assert list(info()["policies"]) == ["ours"]
    apply([], purge=True)
    assert not os.path.exists(PINS)


@pytest.mark.parametrize(
    ("name", "put", "words"),
    [
        ("theirs", pin_map, "no directory, where cgnet has an object's directory"),
        ("the irs", os.mkdir,
         "of a name that cgnet gives to none, where cgnet has its objects' directories"),
    ],
)  # fmt: skip
def test_what_lies_beside_the_objects_is_told_by_info_and_stops_nobody(
    ours: Group, emptied: None, name: str, put: Callable[[str], None], words: str
) -> None:
    path = f"{PINS}/{name}"
    put(path)
    assert refusal(info).startswith(f"{path} is {words} and nothing else. Nothing was changed. ")
    assert not apply([ENTRY])["changed"]
    apply([{"cgroup": "ours", "state": "absent"}])
    assert os.listdir(PINS) == [name]
    assert ours.run(binding) == ["ok", "ok"]


def test_something_else_in_place_of_our_directory(group: Make, emptied: None) -> None:
    group("ours")
    for put in (pin_map, lambda path: os.symlink("/sys/fs", path)):
        put(PINS)
        for run in (lambda: apply([ENTRY], check=True), lambda: apply([ENTRY]), info):
            assert f"{PINS} is " in refusal(run)
        os.unlink(PINS)
    assert apply([ENTRY])["changed"]
    apply([], purge=True)


def test_pins_beside_our_directory_are_no_business_of_ours(ours: Group) -> None:
    for name in ("cgnet2", "cgne", "theirs"):
        pin_map(f"/sys/fs/bpf/{name}")
    try:
        assert not apply([ENTRY])["changed"]
        apply([], purge=True)
        assert sorted(os.listdir("/sys/fs/bpf")) == ["cgne", "cgnet2", "theirs"]
    finally:
        for name in ("cgnet2", "cgne", "theirs"):
            os.unlink(f"/sys/fs/bpf/{name}")
