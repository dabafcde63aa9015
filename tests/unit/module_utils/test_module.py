# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one file that speaks Ansible: arguments in; a result, an error or warnings out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.linux.cgnet.plugins.module_utils import _info, _kernel, _worker
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    HostError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup
from ansible_collections.linux.cgnet.plugins.modules import (
    cgnet_info,
    cgnet_policy,
    cgnet_program,
    cgnet_raw_xmit,
)

from tests.shown import IN_HOST
from tests.unit.conftest import entry, handed
from tests.unit.errors import EXAMPLES
from tests.unit.fake_kernel import HOST, FakeKernel

Module = Callable[..., dict[str, Any]]


@pytest.fixture
def module(capsys: pytest.CaptureFixture[str]) -> Module:
    """Run a module as Ansible does: its entry and its arguments; the result, and how it ended."""

    def task(main: Callable[[], None], **args: Any) -> dict[str, Any]:
        with patch_module_args(args), pytest.raises(SystemExit) as ended:
            main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        result.pop("invocation", None)  # ansible-core 2.19 repeats the arguments
        return {**result, "status": ended.value.code}

    return task


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is done in the test's own process: what becomes of the host can be looked at."""
    monkeypatch.setattr(_worker, "run", lambda work: work())


MAINS = [
    (cgnet_policy.main, {"policies": []}),
    (cgnet_program.main, {"name": "mine"}),
    (cgnet_raw_xmit.main, {}),
    (cgnet_info.main, {}),
]


def raising(error: BaseException) -> Callable[..., None]:
    def opens(reader: bool = False) -> None:
        raise error

    return opens


# Results.


@pytest.mark.usefixtures("in_process")
def test_a_policy_is_applied_and_the_result_is_returned(
    host: FakeKernel, a: Cgroup, module: Module, shipped: dict[str, Any]
) -> None:
    policies = [entry("a.slice", sockopts={"deny": ["6/42"]})]
    result = module(cgnet_policy.main, policies=policies, **shipped)
    steps = [step["action"] for step in result.pop("actions")]
    assert steps == ["load", "hold", "store", "attach", "attach"]
    shown = {"sockopts": {"deny": ["SOL_TCP/42"]}, **IN_HOST}
    assert result == {
        "changed": True,
        "controls": {"a.slice": {"sockopts": "enforced"}},
        "diff": {"before": {}, "after": {"a.slice": shown}},
        "status": 0,
    }
    assert host.attached(a) == {"policy_setsockopt", "policy_lsm_setsockopt"}


@pytest.mark.usefixtures("in_process")
def test_a_program_is_attached(
    host: FakeKernel, a: Cgroup, module: Module, shipped: dict[str, Any]
) -> None:
    result = module(cgnet_program.main, name="policy", cgroups=["a.slice"], **shipped)
    assert (result["changed"], result["status"]) == (True, 0)
    assert host.attached(a) == {"policy_holder"}


@pytest.mark.usefixtures("in_process")
def test_a_cgroup_is_held(
    host: FakeKernel, a: Cgroup, module: Module, sender: dict[str, Any]
) -> None:
    result = module(cgnet_raw_xmit.main, cgroup="a.slice", **handed(sender))
    assert [step["action"] for step in result.pop("actions")] == ["load", *["attach"] * 5]
    assert result == {
        "changed": True,
        "controls": {"a.slice": {"raw_xmit": "enforced"}},
        "diff": {"before": {}, "after": {"a.slice": {"state": "present"}}},
        "status": 0,
    }
    assert host.attached(a, "raw_xmit") == {name for name, _section in sender["programs"]}


def test_the_facts_are_told(host: FakeKernel, module: Module) -> None:
    result = module(cgnet_info.main)
    assert result == {**_info.gather({}), "status": 0}


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("main", "args"),
    [
        (cgnet_policy.main, {"policies": [entry("a.slice", tos=[])]}),
        (cgnet_program.main, {"name": "policy", "cgroups": ["a.slice"]}),
        (cgnet_raw_xmit.main, {"cgroup": ["a.slice"]}),
    ],
)
def test_check_mode_changes_nothing(
    host: FakeKernel, a: Cgroup, module: Module, shipped: dict[str, Any],
    sender: dict[str, Any], main: Callable[[], None], args: dict[str, Any],
) -> None:  # fmt: skip
    needed = handed(sender) if main is cgnet_raw_xmit.main else shipped
    result = module(main, **args, **needed, _ansible_check_mode=True)
    assert (result["changed"], result["status"], host.calls) == (True, 0, [])


def test_the_facts_are_told_in_check_mode_too(host: FakeKernel, module: Module) -> None:
    assert module(cgnet_info.main, _ansible_check_mode=True)["changed"] is False


def test_an_object_that_is_needed_is_asked_for(
    host: FakeKernel, a: Cgroup, module: Module, shipped: dict[str, Any]
) -> None:
    args = {"policies": [entry("a.slice", tos=[])], "_object": shipped["_object"]}
    asked = {"changed": False, "object_needed": True, "status": 0}
    assert module(cgnet_policy.main, **args) == asked


def test_warnings_are_ansibles(
    host: FakeKernel, a: Cgroup, module: Module, shipped: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    heard: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda self, text: heard.append(text))
    host._facts = HOST._replace(lsm_cgroup=False)
    args = {"policies": [entry("a.slice", priority=1)], "on_unsupported": "warn"}
    result = module(cgnet_policy.main, **args, **shipped)
    assert len(heard) == 1
    assert heard[0].startswith("a.slice: priority is not enforced in full: the hook ")
    assert (result["status"], "warnings" in result) == (0, False)


# Errors.


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("main", "args"), MAINS)
def test_an_error_of_ours_fails_the_task_with_its_words_and_its_kind(
    monkeypatch: pytest.MonkeyPatch, module: Module, main: Callable[[], None],
    args: dict[str, Any], error: CgnetError,
) -> None:  # fmt: skip
    monkeypatch.setattr(_kernel.Kernel, "open", raising(error))
    result = module(main, **args)
    kept = {key: result[key] for key in ("failed", "msg", "error", "status")}
    assert kept == {
        "failed": True, "msg": str(error), "error": type(error).__name__, "status": 1,
    }  # fmt: skip


def test_an_error_that_is_not_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernel.Kernel, "open", raising(ZeroDivisionError()))
    with patch_module_args({}), pytest.raises(RuntimeError, match=r"\nZeroDivisionError\n"):
        cgnet_info.main()


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(("main", "args"), MAINS)
def test_the_work_is_done_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch, module: Module, main: Callable[[], None],
    args: dict[str, Any], check: bool,
) -> None:  # fmt: skip
    def opens(reader: bool = False) -> None:
        raise HostError(f"processes {os.getpid()} {os.getppid()}", "None")

    monkeypatch.setattr(_kernel.Kernel, "open", opens)
    _word, pid, parent = (
        module(main, **args, _ansible_check_mode=check)["msg"].split(".")[0].split()
    )
    assert (pid != str(os.getpid()), parent) == (True, str(os.getpid()))


def test_a_wrong_policy_is_told_with_its_field(
    host: FakeKernel, a: Cgroup, module: Module, shipped: dict[str, Any]
) -> None:
    policies = [entry("a.slice", tos=["cs9"])]
    result = module(cgnet_policy.main, policies=policies, **shipped)
    assert (result["status"], result["error"]) == (1, "InputError")
    assert result["msg"].startswith("policies[0].tos[0]: 'cs9' is not possible: ")


# Arguments.


@pytest.mark.parametrize(
    ("main", "args", "words"),
    [
        (cgnet_policy.main, {}, "missing required arguments: policies"),
        (cgnet_policy.main, {"policies": [], "persistent": True}, "Unsupported parameters"),
        (cgnet_policy.main, {"policies": [{"mode": "off"}]}, "one of: enforce, audit"),
        (cgnet_policy.main, {"policies": [{"bind_ports": {"sctp": []}}]}, "bind_ports.sctp"),
        (cgnet_policy.main, {"policies": [{"ipv4": "visible"}]}, "must be one of: hidden"),
        (cgnet_policy.main, {"policies": [], "on_unsupported": "no"}, "one of: fail, warn"),
        (cgnet_program.main, {}, "missing required arguments: name"),
        (cgnet_program.main, {"name": "mine", "state": "gone"}, "one of: present, absent"),
        (cgnet_raw_xmit.main, {"cgroups": ["a.slice"]}, "Unsupported parameters"),
        (cgnet_raw_xmit.main, {"unit": ["a"], "state": "gone"}, "one of: present, absent"),
        (cgnet_info.main, {"_object": {}}, "Unsupported parameters"),
    ],
)
def test_arguments_that_the_specification_refuses(
    host: FakeKernel, module: Module, main: Callable[[], None], args: dict[str, Any], words: str
) -> None:
    result = module(main, **args)
    assert (result["status"], result["failed"]) == (1, True)
    assert words in result["msg"]


def test_what_ansible_makes_of_an_entry_is_the_policy_that_was_written(
    host: FakeKernel, a: Cgroup, module: Module, shipped: dict[str, Any]
) -> None:
    """Ansible fills in every suboption with None and turns text into lists and booleans."""
    written = entry(
        "a.slice", tos="cs1,0x48", bind_ports={"tcp": 443, "udp": [], "unprivileged": "yes"}
    )
    result = module(cgnet_policy.main, policies=[written], **shipped)
    assert result["diff"]["after"]["a.slice"] == {
        "tos": ["cs1", "af21"],
        "bind_ports": {"tcp": [443], "udp": [], "below": 16384, "unprivileged": True},
        **IN_HOST,
    }
