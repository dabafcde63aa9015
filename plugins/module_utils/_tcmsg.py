# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages of tc, as pyroute2 has them, and what they say in our terms."""

from __future__ import annotations

import socket
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils._htb import Class, Leaf
from ansible_collections.linux.cgnet.plugins.module_utils._htb_steps import Filter

_NARROW_MAX = 0xFFFFFFFF
"""What fits into the rates of struct tc_ratespec; TCA_HTB_RATE64 has the others."""
_LINKLAYER_ETHERNET = 1  # else the kernel wants a table of rates, to guess it from


def class_of(message: Any, leaves: dict[int, Leaf]) -> Class:
    """A class, with the leaf of its id."""
    options = message.get_attr("TCA_OPTIONS")
    given = options.get_attr("TCA_HTB_PARMS")
    is_inner = given["level"] > 0
    return Class(
        parent=message["parent"],
        rate=options.get_attr("TCA_HTB_RATE64") or given["rate"],
        ceil=options.get_attr("TCA_HTB_CEIL64") or given["ceil"],
        burst=given["buffer"],
        cburst=given["cbuffer"],
        prio=0 if is_inner else given["prio"],
        quantum=0 if is_inner else given["quantum"],
        leaf=leaves.get(message["handle"]),
    )


def parameters(each: Class) -> dict[str, Any]:
    """The options that make a class so."""
    given = {
        "rate": min(each.rate, _NARROW_MAX), "ceil": min(each.ceil, _NARROW_MAX),
        "rate___reserved": _LINKLAYER_ETHERNET, "ceil___reserved": _LINKLAYER_ETHERNET,
        "buffer": each.burst, "cbuffer": each.cburst, "prio": each.prio, "quantum": each.quantum,
    }  # fmt: skip
    wide = [
        [name, rate]
        for name, rate in (("TCA_HTB_RATE64", each.rate), ("TCA_HTB_CEIL64", each.ceil))
        if rate > _NARROW_MAX
    ]
    return {"attrs": [["TCA_HTB_PARMS", given], *wide]}


def leaf_of(message: Any) -> Leaf:
    """A discipline as a leaf."""
    kind = message.get_attr("TCA_KIND")
    options = message.get_attr("TCA_OPTIONS")
    found: dict[str, int] = {}
    if kind == "fq_codel" and options:
        prefix = "TCA_FQ_CODEL_"
        found = {
            name[len(prefix) :].lower(): value
            for name, value in options["attrs"]
            if name.startswith(prefix)
        }
    elif kind == "pfifo" and options:
        found = {"limit": options["limit"]}
    return Leaf(kind, found, message["handle"])


def leaf_options(given: Leaf) -> Any:
    """The options that make a leaf so, or None where the kernel is to choose."""
    if not given.options:
        return None
    if given.kind == "pfifo":
        return dict(given.options)
    return {"attrs": [[f"TCA_FQ_CODEL_{name.upper()}", v] for name, v in given.options.items()]}


def filter_of(message: Any) -> Filter:
    """A filter of whatever kind."""
    preference, protocol = message["info"] >> 16, socket.ntohs(message["info"] & 0xFFFF)
    kind = message.get_attr("TCA_KIND")
    classid = (
        message.get_attr("TCA_OPTIONS").get_attr("TCA_BASIC_CLASSID") if kind == "basic" else 0
    )
    return Filter(preference, protocol, kind, message["handle"], classid or 0)


def counters(message: Any) -> dict[str, int]:
    """What a class has sent and what waits in it, as tc -statistics tells it."""
    told = message.get_attr("TCA_STATS2")
    sent, waiting = told.get_attr("TCA_STATS_BASIC"), told.get_attr("TCA_STATS_QUEUE")
    return {
        "bytes": sent["bytes"],
        "packets": sent["packets"],
        "dropped": waiting["drops"],
        "overlimits": waiting["overlimits"],
        "backlog": waiting["backlog"],
    }
