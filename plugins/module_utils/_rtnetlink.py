# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disciplines of this host's interfaces, through rtnetlink. Looks, and carries out steps.

pyroute2 does the netlink: the distribution's package, from 0.7 on. It is imported when it is used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _classifier,
    _htb_steps,
    _tcmsg,
    _worker,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    HostError,
    InputError,
    KernelError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._htb import ROOT, Leaf, Tree
from ansible_collections.linux.cgnet.plugins.module_utils._htb_steps import (
    Interface,
    Standing,
)

_HTB_PROTOCOL = 3  # TC_HTB_PROTOVER


def _pyroute2() -> Any:
    try:
        import pyroute2
        from pyroute2.netlink.rtnl.tcmsg import sched_htb
    except ImportError as error:
        raise HostError(
            f"the Python of this task, {sys.executable}, has no pyroute2 ({error})",
            "Install the distribution's package, python3-pyroute2, and let "
            "ansible_python_interpreter be the distribution's Python",
        ) from error
    _let_know_of_ids()
    known = [name for name, _kind in sched_htb.options.nla_map]
    if "TCA_HTB_RATE64" not in known:  # before 0.8

        class Options(sched_htb.options):  # type: ignore[misc]
            nla_map = (
                *sched_htb.options.nla_map,
                ("TCA_HTB_DIRECT_QLEN", "uint32"),
                ("TCA_HTB_RATE64", "uint64"),
                ("TCA_HTB_CEIL64", "uint64"),
            )

        sched_htb.options = Options
    return pyroute2


def _let_know_of_ids() -> None:
    """pyroute2 doesn't know which program a filter has."""
    from pyroute2.netlink.rtnl.tcmsg import sched_bpf

    known = [name for name, _kind in sched_bpf.options.nla_map]
    later = (
        ("TCA_BPF_FLAGS_GEN", "uint32"), ("TCA_BPF_TAG", "cdata"), ("TCA_BPF_ID", "uint32"),
    )  # fmt: skip
    if "TCA_BPF_ID" not in known:

        class Options(sched_bpf.options):  # type: ignore[misc]
            nla_map = (*sched_bpf.options.nla_map, *later)

        sched_bpf.options = Options


class Links:
    """This host's interfaces. Needs root to change them."""

    def __init__(self, connection: Any, refusal: type[Exception]) -> None:
        self._connection = connection
        self._refusal = refusal

    @classmethod
    @contextlib.contextmanager
    def open(cls) -> Iterator[Links]:
        """HostError where pyroute2 lacks."""
        pyroute2 = _pyroute2()
        with pyroute2.IPRoute() as connection:
            yield cls(connection, pyroute2.netlink.exceptions.NetlinkError)

    @contextlib.contextmanager
    def _asking(self, what: str, kind: str = "") -> Iterator[None]:
        """KernelError for what the kernel refuses; `kind` is of what is to be made."""
        try:
            with _worker.doing(what):
                yield
        except self._refusal as error:
            code = error.code  # type: ignore[attr-defined]
            lacks = f"This kernel may lack the module of {kind}"
            remedy = lacks if kind and code == errno.ENOENT else ""
            raise KernelError(what, code, remedy) from error

    # Looking

    def look(self, name: str) -> Interface:
        """What an interface has, by its name or another one. InputError where there is none."""
        try:
            index = socket.if_nametoindex(name)
            name = socket.if_indextoname(index)
        except (OSError, ValueError) as error:  # ValueError: with a null byte
            known = ", ".join(each for _index, each in socket.if_nameindex())
            raise InputError("interface", name, f"this host has {known}") from error
        with self._asking("RTM_GETQDISC"):
            disciplines = list(self._connection.get_qdiscs(index))
        with self._asking("RTM_GETTCLASS"):
            classes = [
                each
                for each in self._connection.get_classes(index)
                if each.get_attr("TCA_KIND") == "htb"
            ]
        leaves = {each["parent"]: _tcmsg.leaf_of(each) for each in disciplines if each["handle"]}
        standing = {
            each["parent"]: self._standing(each, classes, leaves, index) for each in disciplines
        }
        root = standing.get(ROOT, Standing("none"))
        below = {
            place: each
            for place, each in standing.items()
            if root.kind == "mq" and root.handle and place & 0xFFFF0000 == root.handle
        }
        queues = f"/sys/class/net/{name}/queues"
        count = len([each for each in os.listdir(queues) if each.startswith("tx-")])
        return Interface(name, index, count, root, below)

    def shaped(self) -> list[str]:
        """The interfaces that have HTB somewhere."""
        with self._asking("RTM_GETQDISC"):
            found = {
                each["index"]
                for each in self._connection.get_qdiscs()
                if each.get_attr("TCA_KIND") == "htb"
            }
        return sorted(name for index, name in socket.if_nameindex() if index in found)

    def counters(self, interface: Interface) -> dict[int, dict[str, int]]:
        """Of each class of HTB by its id."""
        with self._asking("RTM_GETTCLASS"):
            return {
                each["handle"]: _tcmsg.counters(each)
                for each in self._connection.get_classes(interface.index)
                if each.get_attr("TCA_KIND") == "htb"
            }

    def _standing(
        self, message: Any, classes: list[Any], leaves: dict[int, Leaf], index: int
    ) -> Standing:
        kind, handle = message.get_attr("TCA_KIND"), message["handle"]
        if kind != "htb":
            return Standing(kind, handle)
        given = message.get_attr("TCA_OPTIONS").get_attr("TCA_HTB_INIT")
        own = {
            each["handle"]: _tcmsg.class_of(each, leaves)
            for each in classes
            if each["handle"] & 0xFFFF0000 == handle
        }
        with self._asking("RTM_GETTFILTER"):
            found = [
                each
                for each in self._connection.get_filters(index, parent=handle)
                if each["handle"]
            ]
        filters, cgroups, version = [], {}, ""
        for each in found:
            shown, ours = _tcmsg.filter_of(each), ""
            if shown.kind == "bpf" and shown.preference == _htb_steps.BY_CGROUP:
                options = each.get_attr("TCA_OPTIONS")
                ours = _classifier.version(options.get_attr("TCA_BPF_NAME"))
            if ours:
                version, cgroups = ours, _classifier.stored(options.get_attr("TCA_BPF_ID"))
            else:
                filters.append(shown)
        tree = Tree(handle, given["defcls"], given["rate2quantum"], own, cgroups)
        return Standing(kind, handle, tree, tuple(filters), version)

    # Changing

    def carry_out(self, index: int, step: _htb_steps.Action, data: bytes = b"") -> None:
        """One step; `data` is the object of a filter by cgroup. KernelError."""
        from pyroute2.netlink import rtnl

        if isinstance(step, _htb_steps.AddMq):
            self._send(index, rtnl.RTM_NEWQDISC, step, step.handle, ROOT, "mq", _NEW)
        elif isinstance(step, _htb_steps.AddTree):
            given = {
                "version": _HTB_PROTOCOL, "rate2quantum": step.tree.r2q,
                "defcls": step.tree.default, "debug": 0, "direct_pkts": 0,
            }  # fmt: skip
            options = {"attrs": [["TCA_HTB_INIT", given]]}
            handle = step.tree.handle
            self._send(index, rtnl.RTM_NEWQDISC, step, handle, step.parent, "htb", _NEW, options)
        elif isinstance(step, _htb_steps.RemoveDiscipline):
            self._send(index, rtnl.RTM_DELQDISC, step, step.handle, step.parent)
        elif isinstance(step, _htb_steps.AddFilter):
            meta = {"kind": "priority", "opnd": "eq", "shift": 0, "pad": 0}
            match = {"kind": "meta", "object": meta, "value": step.priority}
            with self._asking(f"rtnetlink, {_htb_steps.describe(step)}", "basic and em_meta"):
                self._connection.tc(
                    "add-filter", "basic", index, step.made.handle, parent=step.tree,
                    prio=step.made.preference, protocol=step.made.protocol,
                    classid=step.classid, match=[match],
                )  # fmt: skip
        elif isinstance(step, _htb_steps.RemoveFilter):
            info = step.filter.preference << 16 | socket.htons(step.filter.protocol)
            self._send(
                index, rtnl.RTM_DELTFILTER, step, step.filter.handle, step.tree,
                step.filter.kind, info=info,
            )  # fmt: skip
        elif isinstance(step, _htb_steps.SetClassifier):
            self._set_classifier(index, step, data)
        elif isinstance(step, _htb_steps.RemoveClass):
            self._send(index, rtnl.RTM_DELTCLASS, step, step.classid, ROOT)
        elif isinstance(step, _htb_steps.SetClass):
            parent = step.classid & 0xFFFF0000 if step.cls.parent == ROOT else step.cls.parent
            self._send(
                index, rtnl.RTM_NEWTCLASS, step, step.classid, parent, "htb",
                _NEW if step.new else 0, _tcmsg.parameters(step.cls),
            )  # fmt: skip
        else:
            flags = _NEW | _REPLACE if step.new else 0
            options = _tcmsg.leaf_options(step.leaf)
            self._send(
                index, rtnl.RTM_NEWQDISC, step, 0 if step.new else step.leaf.handle,
                step.classid, step.leaf.kind, flags, options,
            )  # fmt: skip

    def _set_classifier(self, index: int, step: _htb_steps.SetClassifier, data: bytes) -> None:
        """Replace the filter by cgroup, or remove it."""
        from pyroute2.netlink import rtnl

        info = _htb_steps.BY_CGROUP << 16 | socket.htons(_htb_steps.ETH_P_ALL)
        if not step.cgroups:
            self._send(index, rtnl.RTM_DELTFILTER, step, 1, step.tree, "bpf", info=info)
            return
        with _classifier.loaded(data, step.cgroups) as program:
            attributes = [
                ["TCA_BPF_FD", program], ["TCA_BPF_NAME", _classifier.name(step.version)],
                ["TCA_BPF_FLAGS", 0],
            ]  # fmt: skip
            self._send(
                index, rtnl.RTM_NEWTFILTER, step, 1, step.tree, "bpf",
                _NEW if step.new else 0, {"attrs": attributes}, info,
            )  # fmt: skip

    def _send(
        self, index: int, request: int, step: _htb_steps.Action, handle: int, parent: int,
        kind: str = "", flags: int = 0, options: Any = None, info: int = 0,
    ) -> None:  # fmt: skip
        from pyroute2.netlink.rtnl.tcmsg import tcmsg

        message = tcmsg()
        message["index"], message["handle"], message["parent"] = index, handle, parent
        message["info"] = info
        message["attrs"] = [["TCA_KIND", kind]] if kind else []
        if options is not None:
            message["attrs"].append(["TCA_OPTIONS", options])
        with self._asking(f"rtnetlink, {_htb_steps.describe(step)}", kind):
            list(
                self._connection.nlm_request(
                    message, msg_type=request, msg_flags=_REQUEST | _ACK | flags
                )
            )


_REQUEST, _ACK, _REPLACE, _NEW = 0x1, 0x4, 0x100, 0x400  # the last: NLM_F_CREATE
