# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether programs of others stand against a plan, and what is said of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ansible_collections.linux.cgnet.plugins.module_utils._actions import (
    Action,
    Attach,
    Hold,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import ConflictError
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    Cgroup,
    Hindrance,
    Program,
    Slots,
)

_LSM = "lsm_cgroup/"

_Wanted = tuple[Cgroup, list[Program]]


def require(
    actions: Iterable[Action],
    hindrances: Callable[[Iterable[_Wanted]], Iterable[tuple[Cgroup, Program, Hindrance]]],
    slots: Callable[[], Slots],
) -> None:
    """ConflictError where a plan can't be carried out beside what others have attached.

    Nothing is asked for a plan that attaches nothing, and `slots` only for one that attaches
    to LSM hooks.
    """
    wanted: dict[int, _Wanted] = {}
    for step in actions:
        if isinstance(step, (Attach, Hold)):
            wanted.setdefault(step.cgroup.id, (step.cgroup, []))[1].append(step.program)
    for hindered in hindrances(wanted.values()) if wanted else ():
        raise _hindered(*hindered)
    hooks: dict[str, str] = {}
    for _cgroup, programs in wanted.values():
        for program in programs:
            if program.section.startswith(_LSM):
                hooks.setdefault(program.section[len(_LSM) :], program.name)
    if hooks:
        _require_slots(hooks, slots())


def _hindered(cgroup: Cgroup, program: Program, found: Hindrance) -> ConflictError:
    where = "the root cgroup" if found.cgroup == "." else found.cgroup
    why = (
        "which forbids others"
        if found.forbids
        else "and with BPF_F_ALLOW_OVERRIDE, so that it would no longer run for this cgroup"
    )
    return ConflictError(
        f"{cgroup.path}: {program.name} ({program.section})",
        f'program {found.id} "{found.name}" is attached to {where} on this hook without '
        f"BPF_F_ALLOW_MULTI, {why}",
        "Let whoever attached it do so with BPF_F_ALLOW_MULTI (bpftool cgroup attach ... multi), "
        "or detach it (bpftool cgroup detach)",
    )


def _require_slots(hooks: Mapping[str, str], slots: Slots) -> None:
    """Room for each hook (→ a program of ours) that has none yet."""
    more = sorted(set(hooks) - set(slots.hooks))
    if len(more) <= slots.total - len(slots.hooks):
        return
    taken = "; ".join(
        f"{hook} by {', '.join(slots.programs.get(hook, ()))}" for hook in slots.hooks
    )
    raise ConflictError(
        ", ".join(f"{hooks[hook]} ({_LSM}{hook})" for hook in more),
        f"one kernel can have programs of lsm_cgroup on {slots.total} hooks, of which "
        f"{len(slots.hooks)} are taken ({taken}), and this needs {len(more)} more",
        "Remove the programs of as many hooks (bpftool link shows whose they are), or leave out "
        "what needs them: priority, sockopts or raw_xmit",
    )
