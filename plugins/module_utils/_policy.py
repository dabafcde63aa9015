# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy between its three forms: what the user writes, Policy, and bytes.

    parse: YAML data → Policy          show: Policy → canonical YAML data
    encode: Policy → struct policy     decode: struct policy → Policy

Pure. decode(encode(p)) == p and parse(show(p)) == p for every valid policy.
A control is declared once, in CONTROLS.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _bind_ports,
    _sockopts,
    _values,
)
from ansible_collections.linux.cgnet.plugins.module_utils._abi import Control, Flag, Limit
from ansible_collections.linux.cgnet.plugins.module_utils._abi import Policy as Struct
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    Cgroup,
    Policy,
    Sockopts,
)

SIZE = ctypes.sizeof(Struct)
EMPTY = bytes(SIZE)
"""All-zero: what the kernel hands out before a policy is written, and after one is cleared."""

NETNS_ANY = 0
ENFORCE, AUDIT = "enforce", "audit"
_UNUSED_OPTION = 0xFFFFFFFFFFFFFFFF
_U32 = 0xFFFFFFFF


class ControlSpec(NamedTuple):
    """One control: its number in the struct, the programs that enforce it, and its four forms.

    `put` and `get` see the struct; `put` is called only where the control is declared.
    `setting` are those of the programs that refuse nothing, which `audit` has no use for.
    """

    number: Control
    hooks: tuple[str, ...]
    parse: Callable[[Any, str], Any]
    show: Callable[[Any], Any]
    put: Callable[[Any, Struct], None]
    get: Callable[[Struct], Any]
    setting: tuple[str, ...] = ()


def _put_priority(value: int, raw: Struct) -> None:
    raw.priority = value


def _put_tos(value: tuple[int, ...], raw: Struct) -> None:
    raw.tos = sum(1 << dscp for dscp in value)


def _get_tos(raw: Struct) -> tuple[int, ...]:
    return tuple(dscp for dscp in range(64) if raw.tos >> dscp & 1)


def _parse_ipv4(value: Any, at: str) -> str:
    if value != "hidden":
        raise InputError(at, value, 'the one possible value is "hidden"', "Leave it out otherwise")
    return "hidden"


def _parse_option(value: Any, at: str) -> tuple[int, int]:
    if not isinstance(value, str) or value.count("/") != 1:
        raise InputError(
            at, value, "an option is written LEVEL/NAME, as SOL_SOCKET/SO_MARK or 6/42"
        )
    level_text, name_text = value.split("/")
    level = _values.number_or_name(
        level_text, at, _sockopts.LEVELS, f"level, which are {', '.join(_sockopts.LEVELS)}"
    )
    names = _sockopts.OPTIONS.get(level, {})
    return level, _values.number_or_name(name_text, at, names, f"option of level {level_text}")


def _parse_sockopts(value: Any, at: str) -> Sockopts:
    given = _values.mapping(value, at, ("allow", "deny"))
    if len(given) != 1:
        raise InputError(at, value, "it takes one of allow and deny, not both or none")
    ((kind, listed),) = given.items()
    items = _values.sequence(listed, f"{at}.{kind}")
    options = sorted({_parse_option(v, f"{at}.{kind}[{i}]") for i, v in enumerate(items)})
    if len(options) > Limit.SOCKOPTS:
        raise InputError(
            f"{at}.{kind}", f"{len(options)} options", f"at most {int(Limit.SOCKOPTS)} fit"
        )
    return Sockopts(allow=kind == "allow", options=tuple(options))


def show_option(option: tuple[int, int]) -> str:
    """LEVEL/NAME, with names where they are known."""
    level, name = option
    level_name = next((k for k, v in _sockopts.LEVELS.items() if v == level), str(level))
    names = _sockopts.OPTIONS.get(level, {})
    return f"{level_name}/{next((k for k, v in names.items() if v == name), str(name))}"


def _show_sockopts(value: Sockopts) -> dict[str, list[str]]:
    return {"allow" if value.allow else "deny": [show_option(o) for o in value.options]}


def _put_sockopts(value: Sockopts, raw: Struct) -> None:
    raw.flags |= Flag.SOCKOPTS_ALLOW if value.allow else 0
    keys = [level << 32 | name for level, name in value.options]
    raw.sockopts[:] = keys + [_UNUSED_OPTION] * (Limit.SOCKOPTS - len(keys))


def _get_sockopts(raw: Struct) -> Sockopts:
    used = [key for key in raw.sockopts if key != _UNUSED_OPTION]
    return Sockopts(
        allow=bool(raw.flags & Flag.SOCKOPTS_ALLOW),
        options=tuple((key >> 32, key & _U32) for key in used),
    )


ON_TASKS = "policy_lsm_setsockopt"
"""The program that setsockopt() asks for the task's cgroup, before it asks for the socket's."""

ON_MESSAGES = "policy_sendmsg"
"""The program that only a kernel whose control messages may set the priority needs."""

CONTROLS: dict[str, ControlSpec] = {
    "priority": ControlSpec(
        Control.PRIORITY,
        (
            "policy_sock_create",
            "policy_setsockopt",
            "policy_sockops",
            "policy_egress",
            "policy_post_create",
            "policy_sock_graft",
            ON_TASKS,
            ON_MESSAGES,
        ),
        _values.parse_priority,
        _values.show_priority,
        _put_priority,
        lambda raw: int(raw.priority),
        ("policy_sock_create", "policy_sockops", "policy_egress", "policy_sock_graft"),
    ),
    "tos": ControlSpec(
        Control.TOS,
        ("policy_setsockopt", "policy_bind4", "policy_bind6", "policy_egress"),
        _values.parse_tos,
        _values.show_tos,
        _put_tos,
        _get_tos,
    ),
    "bind_ports": ControlSpec(
        Control.BIND_PORTS,
        ("policy_bind4", "policy_bind6"),
        _bind_ports.parse,
        _bind_ports.show,
        _bind_ports.put,
        _bind_ports.get,
    ),
    "ipv4": ControlSpec(
        Control.IPV4,
        (
            "policy_sock_create",
            "policy_bind4",
            "policy_bind6",
            "policy_connect4",
            "policy_connect6",
            "policy_sendmsg4",
            "policy_sendmsg6",
            "policy_egress",
        ),
        _parse_ipv4,
        str,
        lambda value, raw: None,
        lambda raw: "hidden",
    ),
    "sockopts": ControlSpec(
        Control.SOCKOPTS,
        ("policy_setsockopt", ON_TASKS),
        _parse_sockopts,
        _show_sockopts,
        _put_sockopts,
        _get_sockopts,
    ),
}


def controls(policy: Policy) -> tuple[str, ...]:
    """The names of the controls that a policy declares, in the table's order."""
    return tuple(name for name in CONTROLS if getattr(policy, name) is not None)


def parse(data: Mapping[str, Any], at: str) -> Policy:
    """The policy in one entry's data; `at` names the entry in errors.

    Raises InputError for anything that is not a whole, possible policy.
    """
    given = _values.mapping(data, at, Policy._fields)
    values = {k: CONTROLS[k].parse(v, f"{at}.{k}") for k, v in given.items() if k in CONTROLS}
    if not values:
        raise InputError(
            at,
            dict(data),
            "it declares no control, so nothing would be governed",
            f'Declare one of {", ".join(CONTROLS)}; to remove a policy: "state: absent"',
        )
    return Policy(
        netns=one_of(given, "netns", ("host", "any"), at),
        mode=one_of(given, "mode", (ENFORCE, AUDIT), at),
        **values,
    )


def one_of(given: Mapping[str, Any], name: str, words: tuple[str, str], at: str) -> str:
    """One of two words, the first where the field is not given."""
    value = given.get(name, words[0])
    if value not in words:
        raise InputError(f"{at}.{name}", value, f'it is "{words[0]}" or "{words[1]}"')
    return str(value)


def gives_priority(policy: Policy) -> bool:
    """Whether the sockets and packets of the cgroup get a priority of this policy."""
    return policy.priority is not None and policy.mode == ENFORCE


def show(policy: Policy) -> dict[str, Any]:
    """The policy in the user's terms: canonical, and parse() takes it back."""
    shown = {name: CONTROLS[name].show(getattr(policy, name)) for name in controls(policy)}
    return {**shown, "netns": policy.netns, "mode": policy.mode}


def encode(policy: Policy, netns_cookie: int, cgroup: Cgroup, tasks: bool = False) -> bytes:
    """The SIZE bytes of a cgroup's struct policy; the cookie is that of the host's namespace.

    `tasks` says that ON_TASKS is attached: under audit it counts, not the hook behind it.
    """
    raw = Struct()
    raw.cgroup = cgroup.id
    raw.level = cgroup.path.count("/") + 1
    raw.netns = NETNS_ANY if policy.netns == "any" else netns_cookie
    if policy.mode == AUDIT:
        raw.flags |= Flag.AUDIT | (Flag.TASKS if tasks else 0)
    for name in controls(policy):
        raw.controls |= 1 << CONTROLS[name].number
        CONTROLS[name].put(getattr(policy, name), raw)
    return bytes(raw)


def decode(value: bytes, netns_cookie: int) -> Policy | None:
    """The policy in the bytes of a struct policy, or None where they are all zero."""
    raw = Struct.from_buffer_copy(value)
    if not raw.controls:
        return None
    netns = {NETNS_ANY: "any", netns_cookie: "host"}.get(raw.netns, int(raw.netns))
    values = {k: spec.get(raw) for k, spec in CONTROLS.items() if raw.controls >> spec.number & 1}
    mode = AUDIT if raw.flags & Flag.AUDIT else ENFORCE
    return Policy(netns=netns, mode=mode, **values)
