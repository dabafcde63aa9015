# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is documented is what is taken, and every example is a policy."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.linux.cgnet.plugins.doc_fragments.attributes import ModuleDocFragment
from ansible_collections.linux.cgnet.plugins.module_utils import _module, _policy
from ansible_collections.linux.cgnet.plugins.module_utils._model import Policy
from ansible_collections.linux.cgnet.plugins.modules import cgnet_policy
from ansible_collections.linux.cgnet.plugins.plugin_utils import _action

from tests.unit.conftest import ROOT, built

NAMES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
CHANGING = sorted(path.stem for path in (ROOT / "plugins/action").glob("*.py"))
ADDRESS = ("cgroup", "unit", "state")


def module(name: str) -> Any:
    return importlib.import_module(f"ansible_collections.linux.cgnet.plugins.modules.{name}")


def spec(name: str) -> dict[str, Any]:
    """A module's argument specification; cgnet_info has none and takes nothing."""
    return getattr(module(name), "SPEC", {})


def documented(options: dict[str, Any]) -> dict[str, Any]:
    """Documented options in the form of an argument specification."""
    found = {}
    for name, option in options.items():
        kept = {k: v for k, v in option.items() if k not in ("description", "suboptions")}
        if "suboptions" in option:
            kept["options"] = documented(option["suboptions"])
        found[name] = kept
    return found


def described(options: dict[str, Any], at: str = "") -> dict[str, Any]:
    """Every option and suboption by its path, and its description."""
    found = {}
    for name, option in options.items():
        found[f"{at}{name}"] = option.get("description")
        found |= described(option.get("suboptions", {}), f"{at}{name}.")
    return found


def tasks(name: str) -> list[dict[str, Any]]:
    """The arguments of a module in its examples."""
    examples = yaml.safe_load(module(name).EXAMPLES)
    return [task[f"linux.cgnet.{name}"] or {} for task in examples]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Each module's name."""
    return str(request.param)


def test_the_documented_options_are_the_argument_specification(name: str) -> None:
    documentation = yaml.safe_load(module(name).DOCUMENTATION)
    assert documented(documentation["options"]) == spec(name)


def test_the_internal_arguments_are_documented_where_an_action_plugin_hands_them_over() -> None:
    fragment = yaml.safe_load(ModuleDocFragment.CHANGING)
    assert documented(fragment["options"]) == _module._INTERNAL
    with_fragment = [
        name
        for name in NAMES
        if "linux.cgnet.attributes.changing"
        in yaml.safe_load(module(name).DOCUMENTATION)["extends_documentation_fragment"]
    ]
    assert with_fragment == CHANGING


def test_every_option_is_described_in_whole_sentences(name: str) -> None:
    documentation = yaml.safe_load(module(name).DOCUMENTATION)
    for option, lines in described(documentation["options"]).items():
        assert lines, option
        assert [line for line in lines if not line.endswith(".")] == [], option


def test_a_module_is_documented_under_its_own_name(name: str) -> None:
    assert yaml.safe_load(module(name).DOCUMENTATION)["module"] == name


def test_modules_name_only_modules_that_there_are(name: str) -> None:
    seealso = yaml.safe_load(module(name).DOCUMENTATION)["seealso"]
    named = {entry["module"] for entry in seealso}
    assert named <= {f"linux.cgnet.{other}" for other in NAMES if other != name}


def test_the_fields_of_an_entry_are_those_of_a_policy_and_its_address() -> None:
    entry = cgnet_policy.SPEC["policies"]["options"]
    assert sorted(entry) == sorted([*ADDRESS, "retrofit", *Policy._fields])


def test_every_control_is_an_option_of_an_entry_in_the_tables_order() -> None:
    entry = list(cgnet_policy.SPEC["policies"]["options"])
    assert [name for name in entry if name in _policy.CONTROLS] == list(_policy.CONTROLS)


@pytest.mark.parametrize("field", ["bind_ports", "sockopts"])
def test_the_suboptions_of_a_control_are_those_that_are_parsed(field: str) -> None:
    known = {"bind_ports": "tcp, udp, below, unprivileged", "sockopts": "allow, deny"}
    assert ", ".join(cgnet_policy.SPEC["policies"]["options"][field]["options"]) == known[field]
    with pytest.raises(_policy.InputError, match=f"known are {known[field]}"):
        _policy.parse({field: {"other": 1}}, "policies[0]")


def test_an_example_fits_the_argument_specification(name: str) -> None:
    for args in tasks(name):
        assert ArgumentSpecValidator(spec(name)).validate(args).error_messages == []


def test_every_policy_in_the_examples_is_possible_as_it_is_and_as_ansible_hands_it_over() -> None:
    checked = 0
    for args in tasks("cgnet_policy"):
        whole = ArgumentSpecValidator(cgnet_policy.SPEC).validate(args).validated_parameters
        for written, handed in zip(args["policies"], whole["policies"]):
            assert ("cgroup" in written) != ("unit" in written)
            one, other = (
                {key: value for key, value in entry.items() if key not in (*ADDRESS, "retrofit")}
                for entry in (written, handed)
            )
            if handed["state"] == "absent":
                assert one == {}
            else:
                checked += 1
                assert _policy.parse(one, "example") == _policy.parse(other, "example")
    assert checked == 6


def test_every_control_is_in_an_example() -> None:
    shown = {key for args in tasks("cgnet_policy") for entry in args["policies"] for key in entry}
    assert set(_policy.CONTROLS) <= shown


def test_the_programs_in_the_examples_have_a_source_or_are_bundled() -> None:
    for args in tasks("cgnet_program"):
        absent = args.get("state") == "absent"
        source = Path(args.get("source", ""))
        assert absent or args["name"] in _action.BUNDLED or source.suffixes[-2] == ".bpf"


def test_the_examples_of_raw_xmit_name_a_cgroup_or_a_unit_and_both_states() -> None:
    shown = tasks("cgnet_raw_xmit")
    assert [args for args in shown if not (args.get("cgroup") or args.get("unit"))] == []
    assert {args.get("state", "present") for args in shown} == {"present", "absent"}


def test_the_notes_of_raw_xmit_tell_how_many_lsm_hooks_its_object_takes() -> None:
    notes = " ".join(yaml.safe_load(module("cgnet_raw_xmit").DOCUMENTATION)["notes"])
    hooks = [section for _name, section in built("raw_xmit")["programs"] if "lsm" in section]
    assert (len(set(hooks)), "It takes four of the hooks" in notes) == (4, True)


def test_the_programs_that_are_bundled_are_named() -> None:
    documentation = yaml.safe_load(module("cgnet_program").DOCUMENTATION)
    (told, *_rest) = documentation["options"]["name"]["description"]
    assert re.findall(r"V\((\w+)\)", told) == [*_action.BUNDLED]


def test_what_is_returned_is_documented_with_a_sample(name: str) -> None:
    returned = yaml.safe_load(module(name).RETURN)
    expected = {
        "cgnet_htb": ["actions"],
        "cgnet_info": [
            "altered",
            "classes",
            "counters",
            "events",
            "kernel",
            "objects",
            "permanent",
            "policies",
            "raw_xmit",
        ],
        "cgnet_policy": ["actions", "controls"],
        "cgnet_program": ["actions"],
        "cgnet_raw_xmit": ["actions", "controls"],
    }
    assert sorted(returned) == expected[name]
