# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users write wrongly: every error names the field and the value."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.linux.cgnet.plugins.module_utils import _policy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    BindPorts,
    Policy,
    Sockopts,
)
from hypothesis import given, settings

from tests.unit.strategies import CGROUP, documents

AT = "policies[0]"
SPREAD = [256 * n + n for n in range(1, 79)]

# YAML, the field below policies[0] that the error names, and a part of its words.
REFUSED = [
    ("{}", "", "it declares no control, so nothing would be governed"),
    ("netns: any", "", "it declares no control"),
    ("priority:", "", "it declares no control"),
    ("[]", "", "it is a mapping with some of priority, tos, bind_ports"),
    ("text", "", "it is a mapping"),
    ("priority: '1:99999'", ".priority", 'Write it as tc does: "1:10".'),
    ("priority: 4294967296", ".priority", "a number from 0 to 4294967295"),
    ("priority: -1", ".priority", "a number from 0 to 4294967295"),
    ("priority: yes", ".priority", "True is not possible"),
    ("priority: 1.5", ".priority", "1.5 is not possible"),
    ("priority: '010'", ".priority", "a leading zero can mean octal or decimal. Leave it out."),
    ("priority: [1]", ".priority", "a number from 0 to 4294967295"),
    ("tos: [256]", ".tos[0]", "a byte from 0 to 255"),
    ("tos: [cs0, cs9]", ".tos[1]", "a DSCP name"),
    ("tos: cs0", ".tos", "it is a list. Write it in brackets: []."),
    ("tos: [no]", ".tos[0]", "False is not possible"),
    ("bind_ports: {tcp: [0]}", ".bind_ports.tcp[0]", "a port from 1 to 65535"),
    ("bind_ports: {tcp: [443, 65536]}", ".bind_ports.tcp[1]", "a port from 1 to 65535"),
    ("bind_ports: {udp: [90-80]}", ".bind_ports.udp[0]", "90 is above 80. Write 80-90."),
    ("bind_ports: {tcp: [true]}", ".bind_ports.tcp[0]", "True is not possible"),
    ("bind_ports: {tcp: [1.5]}", ".bind_ports.tcp[0]", "1.5 is not possible"),
    ("bind_ports: {tcp: 443}", ".bind_ports.tcp", "it is a list"),
    ("bind_ports: {tcp: [16384]}", ".bind_ports.tcp", "only ports below 16384 are governed"),
    ("bind_ports: {tcp: [], below: 1}", ".bind_ports.below", "a whole number from 2 to 65536"),
    ("bind_ports: {tcp: [], below: 65537}", ".bind_ports.below", "from 2 to 65536"),
    ("bind_ports: {tcp: [], unprivileged: 1}", ".bind_ports.unprivileged", "true or false"),
    ("bind_ports: {tcp: [], unprivileged: 'yes'}", ".bind_ports.unprivileged", "true or false"),
    ("bind_ports: {}", ".bind_ports", "it names neither tcp nor udp"),
    ("bind_ports: {below: 1024}", ".bind_ports", "it names neither tcp nor udp"),
    ("bind_ports: {tcp: , udp: }", ".bind_ports", "it names neither tcp nor udp"),
    ("bind_ports: [443]", ".bind_ports", "it is a mapping with some of tcp, udp, below"),
    ("bind_ports: {sctp: [1]}", ".bind_ports.sctp", "known are tcp, udp, below, unprivileged"),
    (f"bind_ports: {{tcp: {SPREAD}, below: 65536}}", ".bind_ports",
     "spread over 79 different blocks of 256, and 78 fit"),
    ("ipv4: hide", ".ipv4", 'the one possible value is "hidden". Leave it out otherwise.'),
    ("ipv4: no", ".ipv4", "False is not possible"),
    ("sockopts: {}", ".sockopts", "it takes one of allow and deny, not both or none"),
    ("sockopts: {allow: [], deny: []}", ".sockopts", "not both or none"),
    ("sockopts: {deny: }", ".sockopts", "not both or none"),
    ("sockopts: {refuse: []}", ".sockopts.refuse", "known are allow, deny"),
    ("sockopts: [6/42]", ".sockopts", "it is a mapping"),
    ("sockopts: {deny: SOL_SOCKET/SO_MARK}", ".sockopts.deny", "it is a list"),
    ("sockopts: {deny: [SO_MARK]}", ".sockopts.deny[0]", "written LEVEL/NAME"),
    ("sockopts: {deny: [6/42, 42]}", ".sockopts.deny[1]", "written LEVEL/NAME"),
    ("sockopts: {deny: [SOL_SOCKET/SO_MARKS]}", ".sockopts.deny[0]", "Did you mean SO_MARK?"),
    ("sockopts: {deny: [SOL_SOCKETS/SO_MARK]}", ".sockopts.deny[0]", "Did you mean SOL_SOCKET?"),
    ("sockopts: {deny: [6/2147483648]}", ".sockopts.deny[0]", "from 0 to 2147483647"),
    ("sockopts: {deny: [-1/1]}", ".sockopts.deny[0]", "SOL_XDP, SOL_MPTCP. Write its number."),
    ("sockopts: {deny: [6/042]}", ".sockopts.deny[0]", "a leading zero"),
    ("sockopts: {deny: [1/2/3]}", ".sockopts.deny[0]", "written LEVEL/NAME"),
    (f"sockopts: {{allow: {[f'1/{n}' for n in range(129)]}}}", ".sockopts.allow",
     "'129 options' is not possible: at most 128 fit"),
    ("{priority: 1, netns: own}", ".netns", '\'own\' is not possible: it is "host" or "any"'),
    ("{priority: 1, netns: yes}", ".netns", '"host" or "any"'),
    ("{priority: 1, cgroups: x}", ".cgroups", "known are priority, tos"),
    ("{priorty: 1}", ".priorty", "Did you mean priority?"),
    ("{raw_xmit: true}", ".raw_xmit", "known are priority, tos"),
    ("{1: 2}", ".1", "known are priority, tos"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "field", "words"), REFUSED, ids=[r[0][:40] for r in REFUSED])
def test_a_document_is_refused_at_its_field(text: str, field: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        _policy.parse(yaml.safe_load(text), AT)
    assert caught.value.field == AT + field
    assert str(caught.value).startswith(f"{AT}{field}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bind_ports: {tcp: ['90-80']}",
         "policies[0].bind_ports.tcp[0]: '90-80' is not possible: 90 is above 80. Write 80-90."),
        ("ipv4: true",
         "policies[0].ipv4: True is not possible: the one possible value is \"hidden\". "
         "Leave it out otherwise."),
        ("{}",
         "policies[0]: {} is not possible: it declares no control, so nothing would be governed. "
         "Declare one of priority, tos, bind_ports, ipv4, sockopts; to remove a policy: "
         '"state: absent".'),
        ("sockopts: {deny: [SOL_SOCKET/SO_MARKS]}",
         "policies[0].sockopts.deny[0]: 'SO_MARKS' is not possible: no known option of level "
         "SOL_SOCKET. Did you mean SO_MARK?"),
        ("tos: [0x21]",
         "policies[0].tos[0]: 33 is not possible: its two low bits are ECN, which is the network "
         "stack's own. Write 0x20."),
        ("bind_ports: {udp: [70000]}",
         "policies[0].bind_ports.udp[0]: 70000 is not possible: a port from 1 to 65535, or a "
         "range such as 8000-8099."),
    ],
)  # fmt: skip
def test_the_whole_message(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        _policy.parse(yaml.safe_load(text), AT)
    assert str(caught.value) == message


def ports(tcp: Any = None, udp: Any = None, below: int = 16384, low: bool = False) -> Policy:
    return Policy(bind_ports=BindPorts(tcp=tcp, udp=udp, below=below, unprivileged=low))


# What YAML 1.1 (PyYAML, which Ansible reads with) makes of these before we see it.
TRAPS = [
    ("priority: '1:10'", Policy(priority=0x10010)),
    # YAML takes this for 1 minute 10: quotes are needed, and nothing here can tell.
    ("priority: 1:10", Policy(priority=70)),
    # No minute has 60 seconds, so this is text, and means a class.
    ("priority: 1:60", Policy(priority=0x10060)),
    # Octal already: YAML says 8, and nothing here can tell.
    ("priority: 010", Policy(priority=8)),
    ("priority: 0x20", Policy(priority=32)),
    ("priority: '0x20'", Policy(priority=32)),
    ("priority: 0b11", Policy(priority=3)),
    ("priority: 1_000", Policy(priority=1000)),
    ("priority: '8'", Policy(priority=8)),
    ("tos: [0x20, '0x28']", Policy(tos=(8, 10))),
    ("tos: []", Policy(tos=())),
    ("bind_ports: {tcp: []}", ports(tcp=())),
    ("bind_ports: {udp: []}", ports(udp=())),
    ("bind_ports: {tcp: [], udp: []}", ports(tcp=(), udp=())),
    # A key without a value is a key that was not given: udp is not governed.
    ("bind_ports: {tcp: [], udp: }", ports(tcp=())),
    ("bind_ports: {tcp: [], udp: ~, below: , unprivileged: }", ports(tcp=())),
    ("bind_ports: {tcp: [8000-8099]}", ports(tcp=((8000, 8099),))),
    ("bind_ports: {tcp: [0x50]}", ports(tcp=((80, 80),))),
    # Octal again: port 80 is what was meant.
    ("bind_ports: {tcp: [0120]}", ports(tcp=((80, 80),))),
    # 8 is no octal digit, so YAML leaves the text, which is refused below.
    ("bind_ports: {tcp: [1], unprivileged: yes}", ports(tcp=((1, 1),), low=True)),
    ("bind_ports: {tcp: [65535], below: 65536}", ports(tcp=((65535, 65535),), below=65536)),
    ("bind_ports: {tcp: [1], below: 2}", ports(tcp=((1, 1),), below=2)),
    ("sockopts: {deny: []}", Policy(sockopts=Sockopts(allow=False, options=()))),
    ("sockopts: {allow: []}", Policy(sockopts=Sockopts(allow=True, options=()))),
    ("sockopts: {allow: [], deny: }", Policy(sockopts=Sockopts(allow=True, options=()))),
    ("sockopts: {deny: [SOL_TCP/42, 6/0x2a]}", Policy(sockopts=Sockopts(False, ((6, 42),)))),
    ("sockopts: {deny: [SOL_SOCKET/SO_MARK]}", Policy(sockopts=Sockopts(False, ((1, 36),)))),
    ("{ipv4: hidden, tos: , priority: }", Policy(ipv4="hidden")),
    ("{ipv4: hidden, netns: }", Policy(ipv4="hidden")),
]


@pytest.mark.parametrize(("text", "expected"), TRAPS, ids=[t[0] for t in TRAPS])
def test_what_yaml_makes_of_it(text: str, expected: Policy) -> None:
    assert _policy.parse(yaml.safe_load(text), AT) == expected


@pytest.mark.parametrize("text", ["priority: 089", "bind_ports: {tcp: [080]}", "tos: [080]"])
def test_a_leading_zero_that_yaml_leaves_as_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a leading zero can mean octal or decimal"):
        _policy.parse(yaml.safe_load(text), AT)


def test_an_empty_list_is_not_a_missing_key() -> None:
    for some, none in (
        ({"tos": [], "priority": 1}, {"priority": 1}),
        ({"bind_ports": {"tcp": [], "udp": []}}, {"bind_ports": {"tcp": []}}),
        ({"sockopts": {"allow": []}, "priority": 1}, {"priority": 1}),
    ):
        assert _policy.parse(some, AT) != _policy.parse(none, AT)
        assert _policy.show(_policy.parse(some, AT)) != _policy.show(_policy.parse(none, AT))


def test_an_empty_allow_list_is_not_an_empty_deny_list() -> None:
    allow, deny = ({"sockopts": {kind: []}} for kind in ("allow", "deny"))
    assert _policy.parse(allow, AT) != _policy.parse(deny, AT)


def test_as_many_blocks_as_fit() -> None:
    data = {"bind_ports": {"tcp": SPREAD[:77], "below": 65536}}
    policy = _policy.parse(data, AT)
    assert _policy.decode(_policy.encode(policy, 1, CGROUP), 1) == policy


@settings(max_examples=600)
@given(documents)
def test_anything_is_a_policy_or_one_clear_error(document: Any) -> None:
    try:
        policy = _policy.parse(document, AT)
    except InputError as caught:
        error = caught
    else:
        assert _policy.decode(_policy.encode(policy, 1, CGROUP), 1) == policy
        assert _policy.parse(_policy.show(policy), AT) == policy
        return
    assert error.field == AT or error.field.startswith((f"{AT}.", f"{AT}["))
    assert str(error).startswith(f"{error.field}: ")
    assert " is not possible: " in str(error)
